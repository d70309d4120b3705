//! Jumps of the daemon's own clock, while all other clocks are right.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::daemon_clock::{DaemonClock, missing};
use crate::scale::Scale;
use crate::scenario::{Measured, run_one_replica};
use crate::test_cluster::TestCluster;
use control_plane::POLL_INTERVAL;

/// The deadline for the daemon to use the new clock. It renews its Lease every two seconds.
const SOON: Duration = Duration::from_secs(20);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::new(
            "embedded_own_clock_ahead",
            "the daemon's own clock is an hour ahead, then right again",
            |scale| jump(scale, HOUR),
        ),
        Case::new(
            "embedded_own_clock_behind",
            "the daemon's own clock is ten minutes behind, then right again",
            |scale| jump(scale, SignedDuration::from_mins(-10)),
        ),
        Case::new(
            "embedded_own_clock_token",
            "the daemon's own clock was an hour ahead; once it is right again its token is another, and the old one is refused",
            token_after_jump,
        ),
    ];
    cases.into_iter().map(|case| case.unless(missing)).collect()
}

/// Starts a cluster whose daemon has a clock of its own.
async fn test_cluster() -> Result<(TestCluster, DaemonClock)> {
    let mut test_cluster = TestCluster::embedded().await?;
    let clock = DaemonClock::right(test_cluster.dir())?;
    test_cluster.start_by(clock.script());
    Ok((test_cluster, clock))
}

async fn jump(scale: Scale, ahead: SignedDuration) -> Result<Measured> {
    let (test_cluster, clock) = test_cluster().await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        set(test_cluster, &clock, ahead).await?;
        sleep(lasts).await;
        set(test_cluster, &clock, SignedDuration::ZERO).await
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}

/// A token read under the wrong clock must not count as fresh under the right one.
async fn token_after_jump(scale: Scale) -> Result<Measured> {
    let (test_cluster, clock) = test_cluster().await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        set(test_cluster, &clock, HOUR).await?;
        set(test_cluster, &clock, SignedDuration::ZERO).await?;
        test_cluster.renew_token("one").await?;
        test_cluster.server()?.drop_watches();
        sleep(lasts).await;
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}

/// Sets the daemon's clock, and waits until the daemon uses it.
async fn set(test_cluster: &TestCluster, clock: &DaemonClock, ahead: SignedDuration) -> Result<()> {
    clock.set(ahead)?;
    let leases: Api<Lease> = Api::namespaced(test_cluster.admin()?, "kube-system");
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
        sleep(POLL_INTERVAL).await;
    }
}
