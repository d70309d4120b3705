//! A central Prometheus with the metrics of several clusters, one of which loses csr-warden.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::kubelet_metrics::KubeletMetrics;
use crate::cases::test_cluster::{SOON, TestCluster};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::prometheus::{Prometheus, impatient_rules};

/// The clusters `a` and `b` have csr-warden, and `b` has a canary too. `c` has kubelets only.
pub async fn one_stops(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let mut first = test_cluster.installation.start("a", &[])?;
    let mut second = test_cluster.installation.start("b", &[])?;
    first.wait_ready(SOON).await?;
    second.wait_ready(SOON).await?;

    let dir = test_cluster.cluster.dir();
    let rules = dir.join("rules.yaml");
    impatient_rules(&rules)?;
    let of_cluster = |address: &str, cluster: &str| {
        let labels = json!({"namespace": "kube-system", "cluster": cluster});
        json!({"targets": [address], "labels": labels})
    };
    let (of_a, of_b) = (first.address().to_string(), second.address().to_string());
    let scrape = json!({"static_configs": [of_cluster(&of_a, "a"), of_cluster(&of_b, "b")]});
    let canary = json!({
        "job_name": "csr-warden-canary",
        "static_configs": [of_cluster(&of_a, "b")],
    });
    let kubelet = KubeletMetrics::start().await?;
    let labels = ["a", "b", "c"].map(|cluster| json!({"cluster": cluster, "node": "n1"}));
    let others = vec![kubelet.job(&labels), canary];
    let mut prometheus = Prometheus::with_rules(dir, &rules, first.address(), &scrape, others)?;

    let alive = "count by (job) (csr_warden_build_info{job=\"csr-warden\"}) == 2";
    prometheus.wait_value(alive, SOON).await?;
    absent_in(&prometheus, &["c"]).await?;
    let all = "min(cluster:kubelet_serving_certificates:ratio) == 1";
    prometheus.wait_value(all, SOON).await?;

    second.sigterm(Duration::from_secs(5)).await?;
    let firing = absent_in(&prometheus, &["b", "c"]).await?;
    let of_b = firing
        .iter()
        .find(|alert| alert["labels"]["cluster"] == "b");
    let of_b = of_b.context("cluster b")?;
    let description = of_b["annotations"]["description"].as_str();
    let description = description.context("description")?;
    ensure!(
        description.starts_with("Prometheus has had no metrics of csr-warden in cluster b for"),
        "{description}"
    );
    ensure!(of_b["labels"]["job"] == "csr-warden", "{of_b}");
    let broken = prometheus.broken_rules().await?;
    ensure!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

/// Waits until `CsrWardenAbsent` fires for exactly these clusters. Returns the alerts.
async fn absent_in(prometheus: &Prometheus, clusters: &[&str]) -> Result<Vec<Value>> {
    let expected: BTreeSet<&str> = clusters.iter().copied().collect();
    let begun = Instant::now();
    loop {
        let mut firing = prometheus.firing().await?;
        firing.retain(|alert| alert["labels"]["alertname"] == "CsrWardenAbsent");
        let of = firing.iter().map(|alert| &alert["labels"]["cluster"]);
        let of: BTreeSet<&str> = of.map(|name| name.as_str().unwrap_or_default()).collect();
        if of == expected {
            return Ok(firing);
        }
        ensure!(
            begun.elapsed() < SOON,
            "expected an alert for {expected:?}, found {firing:#?}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
