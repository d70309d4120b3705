//! Wrong clocks of API servers, and of a proxy that writes the `Date` of their answers.

use std::time::Duration;

use anyhow::{Result, ensure};
use apiserver_sim::Server;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::daemon_clocks::{is_reported_once, wait_for_offset};
use super::load::{ask, register};
use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Expectations, Measured, all_served, run_one_replica, run_scenario};
use crate::test_cluster::TestCluster;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_clock_ahead",
            "the API server's clock is an hour ahead, then right again",
            |scale| jump(scale, SignedDuration::from_hours(1)),
        ),
        Case::new(
            "embedded_clock_behind",
            "the API server's clock is ten minutes behind, then right again",
            |scale| jump(scale, SignedDuration::from_mins(-10)),
        ),
        Case::new(
            "embedded_clocks_apart",
            "the clocks of two API servers that answer in turn are 20 seconds apart",
            |scale| {
                dates(scale, |server| {
                    server.set_clocks(&[SignedDuration::ZERO, SignedDuration::from_secs(20)]);
                })
            },
        ),
        Case::new(
            "embedded_one_clock_behind",
            "the clock of one of two API servers that answer in turn is three hours behind, from before the daemon starts",
            one_clock_behind,
        ),
        Case::new(
            "embedded_one_clock_behind_unheard",
            "the clock of one of two API servers that write in turn is three hours behind, and the daemon gets answers of the other one only",
            |scale| {
                dates(scale, |server| {
                    server.set_clocks(&[SignedDuration::ZERO, SignedDuration::from_hours(-3)]);
                    server.set_proxy_clock(Some(SignedDuration::ZERO));
                })
            },
        ),
        Case::new(
            "embedded_proxy_clock_ahead",
            "a proxy writes the Date of all answers, by a clock that is 20 minutes ahead",
            |scale| {
                dates(scale, |server| {
                    server.set_proxy_clock(Some(SignedDuration::from_mins(20)));
                })
            },
        ),
        Case::new(
            "embedded_proxy_clock_behind",
            "a proxy writes the Date of all answers, by a clock that is 20 minutes behind",
            |scale| {
                dates(scale, |server| {
                    server.set_proxy_clock(Some(SignedDuration::from_mins(-20)));
                })
            },
        ),
        Case::new(
            "embedded_lease_in_the_future",
            "the daemon finds a Lease with a renewal time of tomorrow, written by a dead replica with a wrong clock",
            lease_in_the_future,
        ),
    ]
}

/// The number of kubelets that register while the clock is ahead, and make their first request
/// after it is right again. By creationTimestamp, their Nodes are younger than their requests for
/// that time.
const LATE: usize = 3;

async fn jump(scale: Scale, ahead: SignedDuration) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    // Nodes that are an hour old, because a Node younger than its request is waited for.
    test_cluster
        .server()?
        .set_clock(SignedDuration::from_hours(-1));
    let admin = test_cluster.admin()?;
    for index in 1..=scale.kubelets - scale.kubelets.div_ceil(10) {
        register(&admin, index).await?;
    }
    test_cluster.server()?.set_clock(SignedDuration::ZERO);
    test_cluster.start(&["one"], &[]).await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let late = scale.kubelets + 1..=scale.kubelets + LATE;
        test_cluster.server()?.set_clock(ahead);
        for index in late.clone() {
            register(&admin, index).await?;
        }
        sleep(lasts).await;
        test_cluster.server()?.set_clock(SignedDuration::ZERO);
        for index in late {
            ask(&admin, index).await?;
        }
        Ok(())
    };
    run_scenario(
        &mut test_cluster,
        &scale,
        scale.fault,
        Expectations::default(),
        during,
    )
    .await
}

/// Of two API servers, one is three hours behind. Requests of both were made before the daemon starts, so that no
/// watch shows their creation.
async fn one_clock_behind(scale: Scale) -> Result<Measured> {
    let behind = SignedDuration::from_hours(-3);
    let mut test_cluster = TestCluster::embedded().await?;
    let admin = test_cluster.admin()?;
    // Nodes that are older than all requests, by the clock of either.
    let server = test_cluster.server()?;
    server.set_clock(behind - SignedDuration::from_hours(1));
    let late = scale.kubelets + 1..=scale.kubelets + 2 * LATE;
    let present = 1..=scale.kubelets - scale.kubelets.div_ceil(10);
    for index in present.chain(late.clone()) {
        register(&admin, index).await?;
    }
    for index in late {
        let clock = if index % 2 == 0 {
            behind
        } else {
            SignedDuration::ZERO
        };
        test_cluster.server()?.set_clock(clock);
        ask(&admin, index).await?;
    }
    test_cluster
        .server()?
        .set_clocks(&[SignedDuration::ZERO, behind]);
    test_cluster.start(&["one"], &[]).await?;
    all_served(&test_cluster, scale.patience).await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        wait_for_offset(test_cluster, -behind).await?;
        is_reported_once(test_cluster, lasts).await
    };
    run_scenario(
        &mut test_cluster,
        &scale,
        scale.fault,
        Expectations::default(),
        during,
    )
    .await
}

/// The dates of all answers are wrong, from before the daemon starts.
async fn dates(scale: Scale, set: impl Fn(&Server)) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    set(test_cluster.server()?);
    let during = async |_: &mut TestCluster, lasts: Duration| {
        sleep(lasts).await;
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}

/// A Lease whose renewTime is in the future expires by the time at which it was last seen to
/// change.
async fn lease_in_the_future(scale: Scale) -> Result<Measured> {
    const HELD: Duration = Duration::from_secs(15);
    let mut test_cluster = TestCluster::embedded().await?;
    let tomorrow = MicroTime(Timestamp::now() + SignedDuration::from_hours(24));
    let lease = Patch::Merge(json!({
        "spec": {
            "holderIdentity": "dead_0123456789abcdef",
            "leaseDurationSeconds": HELD.as_secs(),
            "acquireTime": tomorrow,
            "renewTime": tomorrow,
        },
    }));
    let leases: Api<Lease> = Api::namespaced(test_cluster.admin()?, "kube-system");
    leases
        .patch("csr-warden", &PatchParams::default(), &lease)
        .await?;
    let begun = Instant::now();
    test_cluster.start(&["one"], &[]).await?;
    let waited = begun.elapsed();
    ensure!(waited >= HELD, "it leads after {waited:?}");
    let nothing = async |_: &mut TestCluster, _: Duration| Ok(());
    let seen = run_scenario(
        &mut test_cluster,
        &scale,
        Duration::ZERO,
        Expectations::default(),
        nothing,
    )
    .await?;
    Ok(Measured {
        lasted: waited,
        ..seen
    })
}
