//! Two replicas, of which one writes.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::DeleteParams;
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::scale::Numbers;
use crate::scenario::{Seen, Terms, endure};
use crate::test_cluster::Stage;

/// How often the Lease is deleted: the other replica takes it within a second, and the leader finds
/// out within two.
const EVERY: Duration = Duration::from_secs(3);

/// Writes that may be on their way when the leader is stopped.
const SENT_BEFORE: u64 = 3;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_leader_paused",
            "the leader stands still (SIGSTOP) for longer than its Lease, then goes on",
            |numbers| async move { paused(Stage::embedded().await?, numbers).await },
        ),
        Case::new(
            "embedded_leader_killed",
            "the leader is killed",
            |numbers| async move { killed(Stage::embedded().await?, numbers).await },
        ),
        Case::new(
            "embedded_two_leaders",
            "the Lease is deleted continuously, so that both replicas may write for a moment",
            two_leaders,
        ),
    ]
}

/// The leader first.
pub async fn two(stage: &mut Stage) -> Result<()> {
    stage.start(&["one", "two"], &[]).await?;
    let leader = stage.leader().await?;
    stage.replicas.swap(0, leader);
    Ok(())
}

fn standby() -> Terms {
    Terms {
        measured: Some(1),
        ..Terms::default()
    }
}

pub async fn paused(mut stage: Stage, numbers: Numbers) -> Result<Seen> {
    two(&mut stage).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let written = stage.replicas[0].written().await?;
        stage.replicas[0].pause()?;
        sleep(lasts).await;
        ensure!(
            stage.replicas[1].leads().await?,
            "the standby does not lead"
        );
        stage.replicas[0].resume()?;
        // What it would write it writes now.
        sleep(Duration::from_secs(1)).await;
        // It is told now of what it had sent before. The embedded API server knows who wrote.
        let now = stage.replicas[0].written().await?;
        ensure!(
            now <= written + SENT_BEFORE,
            "it has written {}",
            now - written
        );
        ensure!(!stage.replicas[0].leads().await?, "the thawed one leads");
        Ok(())
    };
    endure(
        &mut stage,
        &numbers,
        numbers.beyond_the_lease,
        standby(),
        during,
    )
    .await
}

pub async fn killed(mut stage: Stage, numbers: Numbers) -> Result<Seen> {
    two(&mut stage).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        stage.replicas[0].kill()?;
        sleep(lasts).await;
        Ok(())
    };
    endure(&mut stage, &numbers, numbers.fault, standby(), during).await
}

async fn two_leaders(numbers: Numbers) -> Result<Seen> {
    let mut stage = Stage::embedded().await?;
    two(&mut stage).await?;
    let both = std::cell::Cell::new(Duration::ZERO);
    let during = async |stage: &mut Stage, lasts: Duration| {
        let leases: Api<Lease> = Api::namespaced(stage.admin()?, "kube-system");
        let until = Instant::now() + lasts.max(3 * EVERY);
        let mut next = Instant::now();
        while Instant::now() < until {
            if next <= Instant::now() {
                leases
                    .delete("csr-warden", &DeleteParams::default())
                    .await?;
                next = Instant::now() + EVERY;
            }
            let looked = Instant::now();
            let lead = (
                stage.replicas[0].leads().await?,
                stage.replicas[1].leads().await?,
            );
            sleep(Duration::from_millis(50)).await;
            if lead == (true, true) {
                both.set(both.get() + looked.elapsed());
            }
        }
        Ok(())
    };
    let terms = Terms {
        measured: Some(1),
        lease_is_edited: true,
    };
    let lasts = numbers.fault.max(3 * EVERY);
    let seen = endure(&mut stage, &numbers, lasts, terms, during).await?;
    let foreign = stage
        .writes()?
        .iter()
        .filter(|(_, writer, holder)| !holder.starts_with(&format!("{writer}_")))
        .count();
    let both = both.get().as_secs_f64();
    Ok(Seen {
        note: format!(
            "both led for {both:.1} s of it, and {foreign} requests were written by the one that did \
             not hold the Lease any more, each of them once and rightly"
        ),
        ..seen
    })
}
