//! Two replicas with leader election.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Expectations, Measured, run_scenario};
use crate::test_cluster::TestCluster;

/// The interval of deleting the Lease. The other replica acquires it within a second, and the
/// leader notices within two.
const EVERY: Duration = Duration::from_secs(3);

/// The maximum number of writes in flight when the leader is stopped.
const SENT_BEFORE: u64 = 3;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_leader_paused",
            "the leader is paused (SIGSTOP) for longer than its Lease, then continues",
            |scale| async move { paused(TestCluster::embedded().await?, scale).await },
        ),
        Case::new(
            "embedded_leader_killed",
            "the leader is killed",
            |scale| async move { killed(TestCluster::embedded().await?, scale).await },
        ),
        Case::new(
            "embedded_two_leaders",
            "the holder is removed from the Lease continuously, so that both replicas may write for a moment",
            two_leaders,
        ),
    ]
}

/// Starts two replicas. The leader is the first.
pub async fn two(test_cluster: &mut TestCluster) -> Result<()> {
    test_cluster.start(&["one", "two"], &[]).await?;
    let leader = test_cluster.leader().await?;
    test_cluster.replicas.swap(0, leader);
    Ok(())
}

fn standby() -> Expectations {
    Expectations {
        measured: Some(1),
        ..Expectations::default()
    }
}

pub async fn paused(mut test_cluster: TestCluster, scale: Scale) -> Result<Measured> {
    two(&mut test_cluster).await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let written = test_cluster.replicas[0].written().await?;
        test_cluster.replicas[0].pause()?;
        sleep(lasts).await;
        ensure!(
            test_cluster.replicas[1].is_leader().await?,
            "the standby does not lead"
        );
        test_cluster.replicas[0].resume()?;
        // Pending writes are sent now.
        sleep(Duration::from_secs(1)).await;
        // Its metrics now count writes that it had sent before. The write log has the writer of
        // each.
        let now = test_cluster.replicas[0].written().await?;
        ensure!(
            now <= written + SENT_BEFORE,
            "it has written {}",
            now - written
        );
        ensure!(
            !test_cluster.replicas[0].is_leader().await?,
            "the thawed one leads"
        );
        Ok(())
    };
    run_scenario(
        &mut test_cluster,
        &scale,
        scale.beyond_the_lease,
        standby(),
        during,
    )
    .await
}

pub async fn killed(mut test_cluster: TestCluster, scale: Scale) -> Result<Measured> {
    two(&mut test_cluster).await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        test_cluster.replicas[0].kill()?;
        sleep(lasts).await;
        Ok(())
    };
    run_scenario(&mut test_cluster, &scale, scale.fault, standby(), during).await
}

async fn two_leaders(scale: Scale) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    two(&mut test_cluster).await?;
    let both = std::cell::Cell::new(Duration::ZERO);
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let leases: Api<Lease> = Api::namespaced(test_cluster.admin()?, "kube-system");
        let until = Instant::now() + lasts.max(3 * EVERY);
        let mut next = Instant::now();
        while Instant::now() < until {
            if next <= Instant::now() {
                let free = Patch::Merge(json!({"spec": {"holderIdentity": null}}));
                leases
                    .patch("csr-warden", &PatchParams::default(), &free)
                    .await?;
                next = Instant::now() + EVERY;
            }
            let looked = Instant::now();
            let lead = (
                test_cluster.replicas[0].is_leader().await?,
                test_cluster.replicas[1].is_leader().await?,
            );
            sleep(Duration::from_millis(50)).await;
            if lead == (true, true) {
                both.set(both.get() + looked.elapsed());
            }
        }
        Ok(())
    };
    let expectations = Expectations {
        measured: Some(1),
        lease_is_edited: true,
    };
    let lasts = scale.fault.max(3 * EVERY);
    let seen = run_scenario(&mut test_cluster, &scale, lasts, expectations, during).await?;
    let foreign = test_cluster
        .writes()?
        .iter()
        .filter(|(_, writer, holder)| !holder.starts_with(&format!("{writer}_")))
        .count();
    let both = both.get().as_secs_f64();
    Ok(Measured {
        note: format!(
            "both led for {both:.1} s of it, and {foreign} requests were written by the one that did \
             not hold the Lease any more, each of them once and rightly"
        ),
        ..seen
    })
}
