//! Enforcement `DryRun`, which writes nothing and needs no Lease, and reloads that begin and end it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;

use super::test_cluster::{SOON, TestCluster};
use crate::{Case, Needs};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::config_map_volume::ConfigMapVolume;
use control_plane::decision_log;

const END: Duration = Duration::from_secs(5);
const DEFAULT: &str = include_str!("../../../policies/default.yaml");
const SERVICE: &str = "10.96.0.77";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("dry_run_needs_no_lease", Needs::Nothing, needs_no_lease),
        Case::new("dry_run_begins_and_ends", Needs::Nothing, begins_and_ends),
    ]
}

async fn holder(test_cluster: &TestCluster) -> Result<Option<String>> {
    let leases: Api<Lease> = Api::namespaced(test_cluster.admin.clone(), "kube-system");
    let lease = leases.get("csr-warden").await?;
    Ok(lease.spec.and_then(|spec| spec.holder_identity))
}

/// With a Lease that its Role does not name, only a dry run is ready. It judges, and writes nothing at all.
async fn needs_no_lease(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let other = "--lease-name=other";
    let mut never = test_cluster.installation.start("never", &[other])?;
    let why = "lease: cannot get the Lease kube-system/other: a permission is missing";
    never.wait_unready(why, SOON).await?;
    let rule = "a Role in namespace kube-system needs the rule {apiGroups: [coordination.k8s.io], \
                resources: [leases], resourceNames: [other], verbs: [get, update]}";
    never.wait_unready(rule, SOON).await?;
    never.sigterm(END).await?;

    let args = ["--enforcement=DryRun", other];
    let mut canary = test_cluster.installation.start("canary", &args)?;
    canary.wait_ready(SOON).await?;
    let node = test_cluster.node("n1", &["10.0.0.1"]).await?;
    test_cluster.ask(&node, "genuine", &["10.0.0.1"]).await?;
    test_cluster.ask(&node, "forged", &[SERVICE]).await?;
    let none: [&str; 0] = [];
    decision_log::expect(canary.stdout(), "genuine", "Approve", &none).await?;
    let forged = |line: &str| {
        let decision = decision_log::parse(line)?;
        (decision.request == "forged" && decision.verdict == "Deny").then_some(())
    };
    ensure!(canary.stdout().find(SOON, forged).await.is_some());
    let metrics = canary.http_get("/metrics").await?.body;
    ensure!(!metrics.contains("csr_warden_leader"), "{metrics}");
    canary.sigterm(END).await?;
    for request in ["genuine", "forged"] {
        test_cluster.has_no_conditions(request).await?;
    }
    ensure!(holder(&test_cluster).await?.is_none());
    let events: Api<Event> = Api::default_namespaced(test_cluster.admin.clone());
    let events = events.list(&ListParams::default()).await?.items;
    let ours = |event: &&Event| event.reporting_controller.as_deref() == Some("csr-warden");
    ensure!(events.iter().find(ours).is_none(), "{events:#?}");
    let refused = canary.stderr().containing("a permission is missing");
    ensure!(refused.is_empty(), "{refused:#?}");
    Ok(())
}

/// A reload that ends the dry run acquires the Lease before the first write, and one that begins it releases
/// the Lease.
async fn begins_and_ends(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let dry_run = DEFAULT.replace("enforcement: ApproveAndDeny", "enforcement: DryRun");
    ensure!(dry_run != DEFAULT);
    let file = "policy.yaml";
    let dir = test_cluster.cluster.dir().join("policy");
    let mut volume = ConfigMapVolume::new(dir, file, &dry_run)?;
    let path = volume.path(file)?;
    let args = ["--policy", &path];
    let mut daemon = test_cluster.installation.start("csr-warden", &args)?;
    daemon.wait_ready(SOON).await?;
    let node = test_cluster.node("n1", &["10.0.0.1"]).await?;
    test_cluster.ask(&node, "first", &["10.0.0.1"]).await?;
    let none: [&str; 0] = [];
    decision_log::expect(daemon.stdout(), "first", "Approve", &none).await?;
    test_cluster.has_no_conditions("first").await?;
    ensure!(holder(&test_cluster).await?.is_none());

    volume.swap(file, DEFAULT)?;
    test_cluster.is_approved("first").await?;
    ensure!(daemon.is_leader().await?);
    let leads = holder(&test_cluster).await?.context("no holder")?;
    ensure!(leads.starts_with("csr-warden_"), "{leads}");

    volume.swap(file, &dry_run)?;
    daemon.wait_for_log("released the Lease", SOON).await?;
    let begun = Instant::now();
    while let Some(holder) = holder(&test_cluster).await?.filter(|name| !name.is_empty()) {
        ensure!(begun.elapsed() < SOON, "{holder} still holds the Lease");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    daemon.wait_ready(SOON).await?;
    ensure!(!daemon.is_leader().await?);
    test_cluster.ask(&node, "second", &["10.0.0.1"]).await?;
    decision_log::expect(daemon.stdout(), "second", "Approve", &none).await?;
    test_cluster.has_no_conditions("second").await?;

    // Another replica can lead meanwhile, and the Lease decides between both when the dry run ends.
    let mut other = test_cluster.installation.start("other", &[])?;
    test_cluster.is_approved("second").await?;
    volume.swap(file, DEFAULT)?;
    daemon
        .wait_for_log("another replica holds the Lease", SOON)
        .await?;
    daemon.wait_ready(SOON).await?;
    ensure!(other.is_leader().await? && !daemon.is_leader().await?);
    let status = other.sigterm(END).await?;
    ensure!(status.success(), "{status}");
    test_cluster.ask(&node, "third", &["10.0.0.1"]).await?;
    test_cluster.is_approved("third").await?;
    daemon.sigterm(END).await?;
    Ok(())
}
