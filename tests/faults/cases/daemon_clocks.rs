//! The daemon's own clock jumps, while that of everybody else is right.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::daemon_clock::{OwnClock, missing};
use crate::scale::Numbers;
use crate::scenario::{Seen, one_endures};
use crate::test_cluster::Stage;
use control_plane::GLANCE;

/// The Lease is renewed every two seconds.
const SOON: Duration = Duration::from_secs(20);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::new(
            "embedded_own_clock_ahead",
            "the daemon's own clock is an hour ahead, then right again",
            |numbers| jump(numbers, HOUR),
        ),
        Case::new(
            "embedded_own_clock_behind",
            "the daemon's own clock is ten minutes behind, then right again",
            |numbers| jump(numbers, SignedDuration::from_mins(-10)),
        ),
        Case::new(
            "embedded_own_clock_token",
            "the daemon's own clock was an hour ahead; once it is right again its token is another, and the old one is refused",
            token_after_jump,
        ),
    ];
    cases.into_iter().map(|case| case.unless(missing)).collect()
}

/// A stage on which the daemon has a clock of its own.
async fn stage() -> Result<(Stage, OwnClock)> {
    let mut stage = Stage::embedded().await?;
    let clock = OwnClock::right(stage.dir())?;
    stage.start_by(clock.script());
    Ok((stage, clock))
}

async fn jump(numbers: Numbers, ahead: SignedDuration) -> Result<Seen> {
    let (stage, clock) = stage().await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        set(stage, &clock, ahead).await?;
        sleep(lasts).await;
        set(stage, &clock, SignedDuration::ZERO).await
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}

/// What was read by the wrong clock must not be taken for fresh by the right one.
async fn token_after_jump(numbers: Numbers) -> Result<Seen> {
    let (stage, clock) = stage().await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        set(stage, &clock, HOUR).await?;
        set(stage, &clock, SignedDuration::ZERO).await?;
        stage.renew_token("one").await?;
        stage.server()?.drop_watches();
        sleep(lasts).await;
        Ok(())
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}

/// Sets the daemon's clock, and waits until it goes by it.
async fn set(stage: &Stage, clock: &OwnClock, ahead: SignedDuration) -> Result<()> {
    clock.set(ahead)?;
    let leases: Api<Lease> = Api::namespaced(stage.admin()?, "kube-system");
    let begun = Instant::now();
    loop {
        let lease = leases.get("csr-warden").await?;
        let renewed = lease.spec.and_then(|spec| spec.renew_time);
        let renewed = renewed.context("nobody has renewed the Lease")?.0;
        let off = renewed.duration_since(Timestamp::now()) - ahead;
        if off.abs() < SignedDuration::from_mins(1) {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < SOON,
            "it renewed at {renewed}, {off:#} off"
        );
        sleep(GLANCE).await;
    }
}
