//! A real Prometheus with the shipped rules, while kubelets and attackers make requests.

mod clusters;
mod kubelet_metrics;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use self::kubelet_metrics::KubeletMetrics;
use super::test_cluster::{SOON, TestCluster};
use crate::{Case, Needs};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::daemon::Daemon;
use control_plane::fleet::{self, Fleet};
use control_plane::https::Https;
use control_plane::monitoring_queries::{of_dashboard, rendered};
use control_plane::node_user::{NodeUser, settled};
use control_plane::pki::Pair;
use control_plane::prometheus::Prometheus;

/// An address in the network of Services.
const SERVICE: &str = "10.96.0.77";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "monitoring_by_a_real_prometheus",
            Needs::Prometheus,
            by_a_real_prometheus,
        ),
        Case::new(
            "monitoring_for_those_who_may",
            Needs::Prometheus,
            for_those_who_may,
        ),
        Case::new(
            "monitoring_of_several_clusters",
            Needs::Prometheus,
            clusters::one_stops,
        ),
    ]
}

async fn by_a_real_prometheus(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let mut daemon = test_cluster.installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let dir = test_cluster.cluster.dir();
    let kubelet = KubeletMetrics::start().await?;
    let kubelets = kubelet.job(&[json!({"node": "n1"})]);
    let mut prometheus = Prometheus::start(dir, daemon.address(), &json!({}), vec![kubelets])?;
    prometheus
        .wait_value("csr_warden_leader == 1", SOON)
        .await?;

    // Kubelets alone must not cause an alert.
    let mut fleet = Fleet::start(&assets, &test_cluster.cluster, &fleet::Options::nodes(5))?;
    fleet.wait_all_issued(SOON).await?;
    fleet.rotate_all()?;
    fleet.wait_all_issued(SOON).await?;
    prometheus
        .wait_value("csr_warden_issued_total == 10", SOON)
        .await?;
    let firing = prometheus.firing().await?;
    ensure!(firing.is_empty(), "{firing:#?}");

    let late = NodeUser::new(&test_cluster.cluster, "late").await?;
    test_cluster.ask(&late, "waits", &["10.0.0.9"]).await?;
    let thief = test_cluster.node("thief", &["10.0.0.66", SERVICE]).await?;
    test_cluster
        .ask(&thief, "forged", &["10.0.0.66", SERVICE])
        .await?;
    settled(&test_cluster.admin, "forged", "Denied").await?;
    let alert = wait_firing(&prometheus, "CsrWardenForgery").await?;
    let description = alert["annotations"]["description"].as_str();
    let description = description.context("description")?;
    ensure!(
        description.contains("last 10 minutes: 1. An attacker"),
        "{description}"
    );

    for query in of_dashboard() {
        let expr = rendered(&query.expr, "30s");
        let shown = prometheus.wait_value(&expr, SOON).await;
        shown.with_context(|| format!("panel `{}`", query.of))?;
    }
    let broken = prometheus.broken_rules().await?;
    ensure!(broken.is_empty(), "{broken:#?}");
    let up = r#"up{job="csr-warden"} == 1"#;
    prometheus.wait_value(up, SOON).await?;
    let firing = prometheus.firing().await?;
    ensure!(firing.len() == 1, "{firing:#?}");

    check_lines(&daemon)?;

    // Without the daemon there are no metrics, and the alert becomes pending.
    daemon.sigterm(Duration::from_secs(5)).await?;
    let pending = r#"ALERTS{alertname="CsrWardenAbsent",alertstate="pending"}"#;
    prometheus.wait_value(pending, SOON).await?;
    Ok(())
}

/// Checks that every logged decision matches the schema, without additional fields.
fn check_lines(daemon: &Daemon) -> Result<()> {
    const SCHEMA: &str = include_str!("../../../docs/decision.schema.json");
    let mut schema: Value = serde_json::from_str(SCHEMA)?;
    schema["additionalProperties"] = false.into();
    for part in schema["$defs"]
        .as_object_mut()
        .context("$defs")?
        .values_mut()
    {
        part["additionalProperties"] = false.into();
    }
    let schema = jsonschema::validator_for(&schema)?;
    let mut verdicts = BTreeSet::new();
    for line in daemon.stdout().lines() {
        let decision: Value = serde_json::from_str(&line)?;
        let wrong: Vec<String> = schema
            .iter_errors(&decision)
            .map(|e| e.to_string())
            .collect();
        ensure!(wrong.is_empty(), "{line}: {wrong:?}");
        verdicts.insert(decision["verdict"].as_str().context("verdict")?.to_owned());
    }
    let seen: Vec<&str> = verdicts.iter().map(String::as_str).collect();
    ensure!(seen == ["Approve", "Deny", "Wait"], "{seen:?}");
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
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Writes a certificate to the daemon's files, atomically for each file.
fn put(pair: &Pair, folder: &Path) -> Result<()> {
    for (from, name) in [(&pair.cert, "tls.crt"), (&pair.key, "tls.key")] {
        let fresh = folder.join("fresh");
        std::fs::copy(from, &fresh)?;
        std::fs::rename(&fresh, folder.join(name))?;
    }
    Ok(())
}

async fn for_those_who_may(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let kubectl = |args: &'static str| {
        let args: Vec<&str> = args.split(' ').collect();
        let cluster = &test_cluster.cluster;
        async move { anyhow::Ok(cluster.kubectl(&args).await?.trim().to_owned()) }
    };
    test_cluster.grants("metrics-auth").await?;
    let authority = test_cluster.cluster.authority();
    let folder = test_cluster.cluster.dir().join("tls");
    std::fs::create_dir(&folder)?;
    let first = authority.serving("metrics-1", &[], &[HERE])?;
    put(&first, &folder)?;
    let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let text = |path: &Path| path.to_str().map(str::to_owned).context("no text");
    let (chain, key) = (text(&chain)?, text(&key)?);
    let flags = ["--tls-cert-file", &chain, "--tls-private-key-file", &key];
    let args = [&flags[..], &["--metrics-auth"]].concat();
    let mut daemon = test_cluster.installation.start("csr-warden", &args)?;
    let https = Https::new(daemon.address(), &authority.pair().cert)?;

    // Probes need no token.
    https.wait("/readyz", None, 200, SOON).await?;
    https.wait("/livez", None, 200, SOON).await?;
    let status = async |token| anyhow::Ok(https.get("/metrics", token).await?.0.status);
    ensure!(status(None).await? == 401, "without a token");
    ensure!(status(Some("abc")).await? == 401, "an unknown token");

    kubectl("create serviceaccount scraper -n default").await?;
    let token = test_cluster.cluster.token("default", "scraper").await?;
    let (answer, _) = https.get("/metrics", Some(&token)).await?;
    ensure!(answer.status == 403, "{answer:?}");
    let user = "system:serviceaccount:default:scraper may not get";
    ensure!(answer.body.starts_with(user), "{answer:?}");
    kubectl(
        "create clusterrolebinding scraper --clusterrole=csr-warden-metrics-reader \
         --serviceaccount=default:scraper",
    )
    .await?;
    https.wait("/metrics", Some(&token), 200, SOON).await?;

    let file = test_cluster.cluster.dir().join("token");
    std::fs::write(&file, &token)?;
    let scrape = json!({
        "scheme": "https",
        "authorization": {"credentials_file": file},
        "tls_config": {"ca_file": authority.pair().cert},
    });
    let mut prometheus = Prometheus::start(
        test_cluster.cluster.dir(),
        daemon.address(),
        &scrape,
        Vec::new(),
    )?;
    prometheus
        .wait_value("csr_warden_leader == 1", SOON)
        .await?;

    // A new certificate is used without a restart. An unusable one is not.
    let before = https.get("/livez", None).await?.1;
    put(&authority.serving("metrics-2", &[], &[HERE])?, &folder)?;
    let begun = Instant::now();
    let shown = loop {
        let shown = https.get("/livez", None).await?.1;
        if shown != before {
            break shown;
        }
        ensure!(begun.elapsed() < SOON, "the old certificate is shown");
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    std::fs::write(folder.join("tls.key"), "no key")?;
    daemon.wait_for_log("the last one stays", SOON).await?;
    ensure!(https.get("/livez", None).await?.1 == shown);

    // An error is neither an approval nor a rejection of the token.
    kubectl("delete clusterrolebinding csr-warden-metrics-auth").await?;
    let other = test_cluster.cluster.token("default", "scraper").await?;
    https.wait("/metrics", Some(&other), 503, SOON).await?;
    daemon
        .wait_for_log("cannot check who may read the metrics: a permission", SOON)
        .await?;
    ensure!(status(Some(&token)).await? == 200, "a grant that holds");
    let (health, error) = prometheus.target().await?;
    ensure!(health == "up", "{health}: {error}");
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}
