//! A Node that its kubelet changes all the time, while as many of its requests wait as are kept.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::Client;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use super::budgets::{OF_ONE, median_of, post_large};
use super::load::as_kubelet;
use super::real_control_plane;
use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Measured, all_served, end, memory, no_forgery_was_approved};
use crate::test_cluster::{ATTACKER_PREFIX, TestCluster};
use control_plane::cluster::Options;

/// The number of judgments that the changes of one Node cause at once (`wake_budget.rs`).
const AT_ONCE: u64 = 64;
/// The pause between two changes of a Node.
const CHANGE: Duration = Duration::from_millis(5);
/// The number of honest kubelets that ask before and during an attack.
const HONEST: usize = 20;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_node_keeps_changing",
            "a kubelet changes its own Node 200 times a second while 32 of its requests wait",
            |scale| async move { node_keeps_changing(TestCluster::embedded().await?, scale).await },
        ),
        Case::new(
            "real_node_keeps_changing",
            "a kubelet changes its own Node 200 times a second while 32 of its requests wait",
            |scale| async move {
                let options = Options::default();
                node_keeps_changing(real_control_plane::test_cluster(options).await?, scale).await
            },
        ),
    ]
}

/// Changes the addresses of this Node until it is dropped. Returns the task, which never ends.
fn keep_changing(admin: Client, node: String) -> JoinHandle<Result<()>> {
    tokio::spawn(async move {
        let path = format!("/api/v1/nodes/{node}/status");
        let mut ticks = interval(CHANGE);
        for change in 0_u64.. {
            ticks.tick().await;
            let mut addresses = vec![json!({"type": "Hostname", "address": node})];
            if change % 2 == 0 {
                addresses.push(json!({"type": "InternalIP", "address": "10.9.0.66"}));
            }
            let patch = json!([{"op": "add", "path": "/status/addresses", "value": addresses}]);
            let request = http::Request::patch(&path)
                .header("content-type", "application/json-patch+json")
                .header("impersonate-user", format!("system:node:{node}"))
                .header("impersonate-group", "system:nodes")
                .body(patch.to_string().into_bytes())?;
            admin.request::<Value>(request).await?;
        }
        Ok(())
    })
}

async fn node_keeps_changing(mut test_cluster: TestCluster, scale: Scale) -> Result<Measured> {
    test_cluster.start(&["one"], &[]).await?;
    let admin = test_cluster.admin()?;
    let quiet = median_of(&test_cluster, 1..1 + HONEST).await?;
    let before = memory(&test_cluster, 0)?;

    let node = format!("{ATTACKER_PREFIX}1");
    let own = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node},
        "status": {"addresses": [{"type": "Hostname", "address": node}]},
    });
    as_kubelet(&admin, &node, "/api/v1/nodes", &own).await?;
    // The changes alone make the API server slower.
    let changing = keep_changing(admin.clone(), node.clone());
    let mut first = 1 + HONEST;
    let usual = median_of(&test_cluster, first..first + HONEST).await?;
    first += HONEST;
    post_large(&admin, &node).await?;
    let judged = test_cluster.replicas[0]
        .metric("csr_warden_judge_seconds_count")
        .await?;
    let (begun, asked_before) = (Instant::now(), first);
    let mut beside = Vec::new();
    while beside.is_empty() || begun.elapsed() < scale.fault {
        beside.push(median_of(&test_cluster, first..first + HONEST).await?);
        first += HONEST;
        let alive = test_cluster.replicas[0].http_get("/livez").await?;
        ensure!(alive.status == 200, "/livez: {}", alive.body);
    }
    ensure!(!changing.is_finished(), "the Node has stopped changing");
    let more = test_cluster.replicas[0]
        .metric("csr_warden_judge_seconds_count")
        .await?
        - judged;
    let lasted = begun.elapsed();
    changing.abort();
    // Each honest request is judged a few times. Those of the Node once a second, and the first ones.
    let wakes = lasted.as_secs() + 2 + AT_ONCE / OF_ONE as u64;
    let most = wakes * OF_ONE as u64 + 10 * (first - asked_before) as u64;
    beside.sort_unstable();
    let beside = beside.get(beside.len() / 2).copied().unwrap_or_default();
    let times = |to: Duration| beside.as_secs_f64() / to.as_secs_f64();
    let note = format!(
        "{more} judgments; a certificate after {:.1} ms, {:.2} times as long as without its requests, {:.2} \
         times as long as without its changes",
        beside.as_secs_f64() * 1e3,
        times(usual),
        times(quiet)
    );
    ensure!(
        more <= most,
        "{most} judgments at most in {lasted:?}: {note}"
    );

    let served = all_served(&test_cluster, scale.patience).await?;
    no_forgery_was_approved(&test_cluster).await?;
    let after = memory(&test_cluster, 0)?;
    end(&mut test_cluster).await?;
    Ok(Measured {
        lasted,
        served,
        denied: 0,
        recovered: Duration::ZERO,
        memory: (before, after),
        note,
    })
}
