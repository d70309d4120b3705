//! Errors and jumps of the daemon's own clock, while all other clocks are right.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::daemon_clock::{DaemonClock, missing};
use crate::scale::Scale;
use crate::scenario::{Measured, run_one_replica};
use crate::test_cluster::TestCluster;
use control_plane::POLL_INTERVAL;

/// The deadline for the daemon to show the new clock. It renews its Lease every two seconds.
const SOON: Duration = Duration::from_secs(20);
/// The interval at which it compares the clocks.
const COMPARED_EVERY: Duration = Duration::from_secs(5);
const OFFSET: &str = "csr_warden_clock_offset_seconds ";
const REPORT: &str = "this machine's clock is";
const WRONG_BY: SignedDuration = SignedDuration::from_mins(20);
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
            "embedded_own_clock_ahead_from_the_start",
            "the daemon's own clock is 20 minutes ahead all the time",
            |scale| wrong_from_the_start(scale, WRONG_BY),
        ),
        Case::new(
            "embedded_own_clock_behind_from_the_start",
            "the daemon's own clock is 20 minutes behind all the time",
            |scale| wrong_from_the_start(scale, -WRONG_BY),
        ),
        Case::new(
            "embedded_own_clock_token",
            "the daemon's own clock was an hour ahead; once it is right again its token has changed, and the old one is rejected",
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

/// The daemon's clock is wrong from the start: requests are approved as usual, and the difference is
/// reported once.
async fn wrong_from_the_start(scale: Scale, ahead: SignedDuration) -> Result<Measured> {
    let (test_cluster, clock) = test_cluster().await?;
    clock.set(ahead)?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        wait_for_offset(test_cluster, ahead).await?;
        is_reported_once(test_cluster, lasts).await
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}

/// Waits for the report of the difference, in the log and in `/readyz`, and checks that it is not repeated.
pub(super) async fn is_reported_once(test_cluster: &TestCluster, lasts: Duration) -> Result<()> {
    let replica = test_cluster.replicas.first().context("no replica")?;
    replica.wait_for_log(REPORT, SOON).await?;
    let ready = replica.http_get("/readyz").await?;
    ensure!(
        ready.status == 200 && ready.body.contains(REPORT),
        "{ready:?}"
    );
    sleep(lasts.max(2 * COMPARED_EVERY)).await;
    let reports = replica.stderr().containing(REPORT).len();
    ensure!(reports == 1, "reported {reports} times");
    Ok(())
}

/// Sets the daemon's clock, and waits until the daemon shows it.
async fn set(test_cluster: &TestCluster, clock: &DaemonClock, ahead: SignedDuration) -> Result<()> {
    clock.set(ahead)?;
    wait_for_offset(test_cluster, ahead).await
}

/// Waits until the metric shows by how much the daemon's clock is ahead.
pub(super) async fn wait_for_offset(
    test_cluster: &TestCluster,
    ahead: SignedDuration,
) -> Result<()> {
    let replica = test_cluster.replicas.first().context("no replica")?;
    let begun = Instant::now();
    loop {
        let text = replica.http_get("/metrics").await?.body;
        let shown = text.lines().find_map(|line| line.strip_prefix(OFFSET));
        let shown: f64 = shown.context("no clock offset")?.parse()?;
        if (shown - ahead.as_secs_f64()).abs() < 5.0 {
            return Ok(());
        }
        ensure!(begun.elapsed() < SOON, "it shows {shown} s");
        sleep(POLL_INTERVAL).await;
    }
}
