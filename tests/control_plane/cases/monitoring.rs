//! A real Prometheus with the rules that are shipped, while kubelets and forgers ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::scene::{SOON, Scene};
use crate::harness::GLANCE;
use crate::harness::assets::Assets;
use crate::harness::fleet::{self, Fleet};
use crate::harness::node_user::{NodeUser, settled};
use crate::harness::prometheus::Prometheus;
use crate::queries::{of_dashboard, rendered};
use crate::{Case, Needs};

/// An address of the network of Services.
const SERVICE: &str = "10.96.0.77";

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "monitoring_by_a_real_prometheus",
        Needs::Prometheus,
        by_a_real_prometheus,
    )]
}

async fn by_a_real_prometheus(assets: Arc<Assets>) -> Result<()> {
    let scene = Scene::new(&assets).await?;
    let mut daemon = scene.installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let dir = scene.cluster.dir();
    let mut prometheus = Prometheus::start(dir, daemon.address(), &json!({}))?;
    prometheus
        .wait_value("csr_warden_leader == 1", SOON)
        .await?;

    // Kubelets alone are no reason for an alert.
    let mut fleet = Fleet::start(&assets, &scene.cluster, &fleet::Options::nodes(5))?;
    fleet.wait_all_issued(SOON).await?;
    fleet.rotate_all()?;
    fleet.wait_all_issued(SOON).await?;
    prometheus
        .wait_value("csr_warden_issued_total == 10", SOON)
        .await?;
    let firing = prometheus.firing().await?;
    ensure!(firing.is_empty(), "{firing:#?}");

    let late = NodeUser::new(&scene.cluster, "late").await?;
    scene.ask(&late, "waits", &["10.0.0.9"]).await?;
    let thief = scene.node("thief", &["10.0.0.66", SERVICE]).await?;
    scene.ask(&thief, "forged", &["10.0.0.66", SERVICE]).await?;
    settled(&scene.admin, "forged", "Denied").await?;
    let alert = wait_firing(&prometheus, "CsrWardenForgery").await?;
    let description = alert["annotations"]["description"].as_str();
    let description = description.context("description")?;
    ensure!(
        description.contains("last 10 minutes: 1. Somebody"),
        "{description}"
    );

    for query in of_dashboard() {
        let expr = rendered(&query.expr, "30s");
        let shown = prometheus.wait_value(&expr, SOON).await;
        shown.with_context(|| format!("panel `{}`", query.of))?;
    }
    let broken = prometheus.broken_rules().await?;
    ensure!(broken.is_empty(), "{broken:#?}");
    let (health, error) = prometheus.target().await?;
    ensure!(health == "up", "{health}: {error}");
    let firing = prometheus.firing().await?;
    ensure!(firing.len() == 1, "{firing:#?}");

    // Without the daemon nothing is shown: the alert is on its way.
    daemon.sigterm(Duration::from_secs(5)).await?;
    let pending = r#"ALERTS{alertname="CsrWardenAbsent",alertstate="pending"}"#;
    prometheus.wait_value(pending, SOON).await?;
    Ok(())
}

async fn wait_firing(prometheus: &Prometheus, name: &str) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let firing = prometheus.firing().await?;
        let found = firing.iter().find(|one| one["labels"]["alertname"] == name);
        if let Some(found) = found {
            return Ok(found.clone());
        }
        ensure!(begun.elapsed() < SOON, "{name} does not fire: {firing:#?}");
        tokio::time::sleep(GLANCE).await;
    }
}
