//! Reload of inventory and policy when Kubernetes swaps the files.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::test_cluster::{SOON, TestCluster};
use crate::{Case, Needs};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::config_map_volume::ConfigMapVolume;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("sources_inventory", Needs::Nothing, inventory),
        Case::new("sources_policy_is_reloaded", Needs::Nothing, policy),
    ]
}

fn listing(nodes: &Value) -> String {
    json!({"apiVersion": "csr-warden.dev/v1beta1", "kind": "Inventory", "nodes": nodes}).to_string()
}

async fn inventory(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let file = "inventory.yaml";
    let first = listing(&json!([{"name": "n1", "addresses": ["10.0.0.1"]}]));
    let mut volume =
        ConfigMapVolume::new(test_cluster.cluster.dir().join("inventory"), file, &first)?;
    let path = volume.path(file)?;
    let args = ["--policy", "inventory", "--inventory", &path];
    let mut daemon = test_cluster.installation.start("csr-warden", &args)?;
    daemon.wait_ready(SOON).await?;

    let listed = test_cluster.node("n1", &["10.0.0.1"]).await?;
    test_cluster.ask(&listed, "listed", &["10.0.0.1"]).await?;
    test_cluster.is_approved("listed").await?;

    let unlisted = test_cluster.node("n2", &["10.0.0.2"]).await?;
    test_cluster
        .ask(&unlisted, "unlisted", &["10.0.0.2"])
        .await?;
    test_cluster
        .waits(&daemon, "unlisted", &["SanUncorroborated"])
        .await?;

    // The attack that succeeds under the default policy: an address that no node claims.
    let thief = test_cluster.node("n3", &["10.0.0.3", "10.0.0.77"]).await?;
    let second = json!([
        {"name": "n1", "addresses": ["10.0.0.1"]},
        {"name": "n2", "addresses": ["10.0.0.2"]},
        {"name": "n3", "addresses": ["10.0.0.3"]},
    ]);
    volume.swap(file, &listing(&second))?;
    test_cluster.is_approved("unlisted").await?;
    test_cluster
        .ask(&thief, "stolen", &["10.0.0.3", "10.0.0.77"])
        .await?;
    test_cluster
        .is_denied(&daemon, "stolen", &["SanContradicted"])
        .await?;

    // An invalid file does not replace the last valid one.
    volume.swap(file, "nodes: [")?;
    daemon
        .wait_for_log("inventory cannot be read", SOON)
        .await?;
    let synced = daemon.metric("csr_warden_source_synced{source=\"inventory\"}");
    ensure!(synced.await? == 0, "a broken inventory counts as synced");
    test_cluster
        .ask(&listed, "listed-again", &["10.0.0.1"])
        .await?;
    test_cluster.is_approved("listed-again").await?;
    volume.swap(file, &first)?;
    daemon.wait_for_log("inventory reloaded", SOON).await?;
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}

async fn policy(assets: Arc<Assets>) -> Result<()> {
    const STRICT: &str = include_str!("../../../policies/strict.yaml");
    const DEFAULT: &str = include_str!("../../../policies/default.yaml");
    let test_cluster = TestCluster::new(&assets).await?;
    let file = "policy.yaml";
    let mut volume = ConfigMapVolume::new(test_cluster.cluster.dir().join("policy"), file, STRICT)?;
    let path = volume.path(file)?;
    let mut daemon = test_cluster
        .installation
        .start("csr-warden", &["--policy", &path])?;
    daemon.wait_ready(SOON).await?;
    let user = test_cluster.node("n1", &["10.0.0.1"]).await?;
    test_cluster.ask(&user, "waits", &["10.0.0.1"]).await?;
    let said = |line: &str| line.contains("SanUncorroborated").then_some(());
    ensure!(daemon.stdout().find(SOON, said).await.is_some());

    volume.swap(file, "apiVersion: csr-warden/v2\nkind: Policy\n")?;
    daemon
        .wait_for_log("the policy cannot be used, strict", SOON)
        .await?;
    let selector = "--field-selector=reportingComponent=csr-warden";
    let about = ["get", "events", "-n", "default", selector, "-o"];
    let columns = "jsonpath={.items[*].reason} {.items[*].involvedObject.name}";
    let told = async || {
        test_cluster
            .cluster
            .kubectl(&[about.as_slice(), &[columns]].concat())
            .await
    };
    let begun = std::time::Instant::now();
    while told().await?.trim() != "PolicyRefused strict" {
        ensure!(begun.elapsed() < SOON, "no Event: {}", told().await?);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let refused = daemon.metric("csr_warden_policy_reloads_total{result=\"error\"}");
    ensure!(refused.await? == 1, "the refusal is not counted");
    let in_force = "csr_warden_policy_info{name=\"strict\"";
    ensure!(
        daemon.metric(in_force).await? == 1,
        "strict is not in force"
    );

    volume.swap(file, DEFAULT)?;
    test_cluster.is_approved("waits").await?;
    let in_force = "csr_warden_policy_info{name=\"default\"";
    ensure!(
        daemon.metric(in_force).await? == 1,
        "default is not in force"
    );
    ensure!(
        daemon.metric("csr_warden_policy_info").await? == 1,
        "two in force"
    );
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}
