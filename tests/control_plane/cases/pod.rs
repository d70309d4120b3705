//! The Pods of the chart, run with exactly what it renders: arguments, environment, ServiceAccount
//! and ConfigMap.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::test_cluster::SOON;
use crate::{BINARY, Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::https::Https;
use control_plane::manifests::{chart, objects};
use control_plane::node_user::{NewRequest, NodeUser, settled, wait_until_later_than};
use control_plane::{decision_log, netns, pod};
use testkit::forge::Recipe;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("pod_of_the_chart", Needs::OwnNetwork, of_the_chart),
        Case::new("pod_while_bootstrapping", Needs::OwnNetwork, bootstrapping),
        Case::new("pod_over_https", Needs::OwnNetwork, over_https),
    ]
}

async fn cluster(assets: &Assets) -> Result<Cluster> {
    let options = Options {
        advertise: Some(netns::ADDRESS),
        ..Options::default()
    };
    Cluster::start(assets, options).await
}

async fn node(cluster: &Cluster, name: &str, ip: &str) -> Result<NodeUser> {
    let user = NodeUser::new(cluster, name).await?;
    let created = user.register().await?;
    let addresses = [format!("Hostname {name}"), format!("InternalIP {ip}")];
    user.report(&addresses).await?;
    wait_until_later_than(&cluster.admin(), created).await?;
    Ok(user)
}

async fn ask(user: &NodeUser, request: &str, ip: &str) -> Result<()> {
    let pem = Recipe::genuine(&user.name, &[&user.name], &[ip.parse()?]).pem();
    user.post(&NewRequest::new(request, pem)).await.map(drop)
}

/// Requests are judged by a policy and an inventory from the values.
async fn of_the_chart(assets: Arc<Assets>) -> Result<()> {
    let cluster = cluster(&assets).await?;
    let dir = tempfile::tempdir()?;
    let values = dir.path().join("values.json");
    let inventory = json!({"nodes": [{"name": "n1", "addresses": ["10.0.0.1"]}]});
    let policy = json!({
        "name": "mine",
        "spec": {"proof": {"ipAddresses": {"allOf": ["Inventory"]}}},
    });
    // A webhook may inject a proxy, which does not lead to the API server.
    let proxy = json!([{"name": "HTTPS_PROXY", "value": "http://127.0.0.1:1"}]);
    let values_of_user = json!({
        "policy": policy, "inventory": inventory, "replicas": 2, "extraEnv": proxy,
    });
    std::fs::write(&values, values_of_user.to_string())?;
    let text = chart(&assets, &[&format!("--values={}", values.display())])?;
    cluster.apply(&text).await?;
    let objects = objects(&text)?;
    let binary = Path::new(BINARY);
    let mut daemon = pod::start(&cluster, binary, &objects, "pod-1", netns::ADDRESS).await?;
    daemon.wait_ready(SOON).await?;
    let digest = "csr_warden_policy_info{name=\"mine\"";
    ensure!(daemon.metric(digest).await? == 1, "another policy");

    let listed = node(&cluster, "n1", "10.0.0.1").await?;
    ask(&listed, "listed", "10.0.0.1").await?;
    settled(&cluster.admin(), "listed", "Approved").await?;
    let unlisted = node(&cluster, "n2", "10.0.0.2").await?;
    ask(&unlisted, "unlisted", "10.0.0.2").await?;
    decision_log::expect(daemon.stdout(), "unlisted", "Wait", &["SanUncorroborated"]).await?;
    let lease = ["get", "lease/csr-warden", "-n", "kube-system", "-o", "name"];
    ensure!(cluster.kubectl(&lease).await?.contains("csr-warden"));
    daemon.sigterm(Duration::from_secs(5)).await?;
    for word in ["forbidden", "permission", "WARN", "ERROR"] {
        let lines = daemon.stderr().containing(word);
        ensure!(lines.is_empty(), "{lines:#?}");
    }
    Ok(())
}

/// Without Services, the API server is reached at the node's own address.
async fn bootstrapping(assets: Arc<Assets>) -> Result<()> {
    let cluster = cluster(&assets).await?;
    let (_, port) = cluster.server().rsplit_once(':').unwrap_or_default();
    let port = format!("--set=bootstrap.enabled=true,apiServer.port={port}");
    let text = chart(&assets, &[&port])?;
    cluster.apply(&text).await?;
    let objects = objects(&text)?;
    ensure!(!objects.keys().any(|key| key.starts_with("Service ")));
    let binary = Path::new(BINARY);
    let mut daemon = pod::start(&cluster, binary, &objects, "pod-1", netns::ADDRESS).await?;
    daemon.wait_ready(SOON).await?;
    ensure!(daemon.address().to_string() == "127.0.0.1:8089");
    let first = node(&cluster, "n1", "10.0.0.1").await?;
    ask(&first, "first", "10.0.0.1").await?;
    settled(&cluster.admin(), "first", "Approved").await?;
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}

/// The certificate is at the path in the flags, next to the policy. Probes need no token, metrics
/// do.
async fn over_https(assets: Arc<Assets>) -> Result<()> {
    let cluster = cluster(&assets).await?;
    let authority = cluster.authority();
    let pair = authority.serving("metrics", &[], &[Ipv4Addr::LOCALHOST.into()])?;
    let files = [("cert", &pair.cert), ("key", &pair.key)];
    let [cert, key] = files.map(|(flag, file)| format!("--{flag}={}", file.display()));
    let secret = [
        "create",
        "secret",
        "tls",
        "csr-warden-tls",
        "-n",
        "kube-system",
    ];
    cluster
        .kubectl(&[&secret[..], &[&cert, &key]].concat())
        .await?;
    let text = chart(
        &assets,
        &[
            "--set=metrics.tls.secretName=csr-warden-tls,metrics.auth.enabled=true",
            "--set=policy.name=mine,policy.spec.names.max=3",
        ],
    )?;
    cluster.apply(&text).await?;
    let objects = objects(&text)?;
    let binary = Path::new(BINARY);
    let mut daemon = pod::start(&cluster, binary, &objects, "pod-1", netns::ADDRESS).await?;
    let https = Https::new(daemon.address(), &authority.pair().cert)?;
    https.wait("/readyz", None, 200, SOON).await?;
    https.wait("/metrics", None, 401, SOON).await?;
    let scraper = "system:serviceaccount:kube-system:csr-warden";
    let bind = "create clusterrolebinding scraper --clusterrole=csr-warden-metrics-reader --user";
    let bind: Vec<&str> = bind.split(' ').chain([scraper]).collect();
    cluster.kubectl(&bind).await?;
    let token = cluster.token("kube-system", "csr-warden").await?;
    https.wait("/metrics", Some(&token), 200, SOON).await?;
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}
