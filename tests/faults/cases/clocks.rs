//! Clocks that disagree. To the daemon the API server's clock jumps when its own does, and the other
//! way round.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::load::{ask, register};
use crate::Case;
use crate::scale::Numbers;
use crate::scenario::{Seen, Terms, endure};
use crate::test_cluster::Stage;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_clock_ahead",
            "the API server's clock is an hour ahead, then right again",
            |numbers| jump(numbers, SignedDuration::from_hours(1)),
        ),
        Case::new(
            "embedded_clock_behind",
            "the API server's clock is ten minutes behind, then right again",
            |numbers| jump(numbers, SignedDuration::from_mins(-10)),
        ),
        Case::new(
            "embedded_lease_of_tomorrow",
            "the daemon finds a Lease that a dead replica has renewed tomorrow, by a wrong clock",
            lease_of_tomorrow,
        ),
    ]
}

/// Kubelets that register while the clock is wrong and ask for the first time when it is right
/// again: by creationTimestamps their Nodes are younger than their requests for as long as the clock
/// was ahead.
const LATE: usize = 3;

async fn jump(numbers: Numbers, ahead: SignedDuration) -> Result<Seen> {
    let mut stage = Stage::embedded().await?;
    // Nodes that stand for an hour: one that is younger than its request is waited for.
    stage.server()?.set_clock(SignedDuration::from_hours(-1));
    let admin = stage.admin()?;
    for index in 1..=numbers.kubelets - numbers.kubelets.div_ceil(10) {
        register(&admin, index).await?;
    }
    stage.server()?.set_clock(SignedDuration::ZERO);
    stage.start(&["one"], &[]).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let late = numbers.kubelets + 1..=numbers.kubelets + LATE;
        stage.server()?.set_clock(ahead);
        for index in late.clone() {
            register(&admin, index).await?;
        }
        sleep(lasts).await;
        stage.server()?.set_clock(SignedDuration::ZERO);
        for index in late {
            ask(&admin, index).await?;
        }
        Ok(())
    };
    endure(
        &mut stage,
        &numbers,
        numbers.fault,
        Terms::default(),
        during,
    )
    .await
}

/// What counts is when the Lease was seen to change, not what is written in it.
async fn lease_of_tomorrow(numbers: Numbers) -> Result<Seen> {
    const HELD: Duration = Duration::from_secs(15);
    let mut stage = Stage::embedded().await?;
    let tomorrow = MicroTime(Timestamp::now() + SignedDuration::from_hours(24));
    let lease: Lease = serde_json::from_value(json!({
        "metadata": {"name": "csr-warden"},
        "spec": {
            "holderIdentity": "dead_0123456789abcdef",
            "leaseDurationSeconds": HELD.as_secs(),
            "acquireTime": tomorrow,
            "renewTime": tomorrow,
        },
    }))?;
    let leases: Api<Lease> = Api::namespaced(stage.admin()?, "kube-system");
    leases.create(&PostParams::default(), &lease).await?;
    let begun = Instant::now();
    stage.start(&["one"], &[]).await?;
    let waited = begun.elapsed();
    ensure!(waited >= HELD, "it leads after {waited:?}");
    let nothing = async |_: &mut Stage, _: Duration| Ok(());
    let seen = endure(
        &mut stage,
        &numbers,
        Duration::ZERO,
        Terms::default(),
        nothing,
    )
    .await?;
    Ok(Seen {
        lasted: waited,
        ..seen
    })
}
