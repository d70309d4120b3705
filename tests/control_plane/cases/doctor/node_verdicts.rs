//! `doctor` judges every Node before csr-warden is installed. The daemon, started afterwards with the policy
//! lines that doctor printed, decides on the kubelets' own requests as doctor said.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{doctor, run, text};
use crate::cases::test_cluster::{SOON, TestCluster};
use control_plane::assets::Assets;
use control_plane::cluster::Options;
use control_plane::node_user::{NewRequest, NodeUser};
use testkit::forge::Recipe;

/// An address in the API server's certificate that moves between control-plane nodes.
const VIP: &str = "10.60.0.100";
/// The address that two Nodes list.
const CONTESTED: &str = "10.60.0.12";

/// The verdict on each Node, by the report of doctor.
fn verdicts(report: &Value) -> Vec<(&str, &str)> {
    let items = report["nodeVerdicts"]["items"].as_array();
    let items = items.into_iter().flatten();
    let mut all: Vec<(&str, &str)> = items
        .map(|item| (text(&item["node"]), text(&item["verdict"])))
        .collect();
    all.sort_unstable();
    all
}

pub async fn judges_every_node(assets: Arc<Assets>) -> Result<()> {
    let options = Options {
        extra_sans: vec![VIP.into()],
        ..Options::default()
    };
    let test = TestCluster::with(&assets, options).await?;
    let admin = test.cluster.admin_kubeconfig();
    let nodes = [
        ("cp-1", "cp-1", vec!["10.60.0.1", VIP]),
        ("w-1", "w-1", vec!["10.60.0.11"]),
        ("w-2", "w-2", vec![CONTESTED]),
        ("w-3", "w-3", vec!["10.60.0.13", CONTESTED]),
        ("w-4", "registry", vec!["10.60.0.14"]),
        ("w-5", "w-5", vec!["10.60.0.15", VIP]),
    ];
    let mut kubelets = Vec::new();
    for (name, host, ips) in nodes {
        let user = test.node(name, &ips).await?;
        let ips = ips.iter().map(|ip| format!("InternalIP {ip}"));
        let addresses: Vec<String> = std::iter::once(format!("Hostname {host}"))
            .chain(ips)
            .collect();
        user.report(&addresses).await?;
        kubelets.push((user, addresses));
    }
    let label = "node-role.kubernetes.io/control-plane=";
    test.cluster
        .kubectl(&["label", "node", "cp-1", label])
        .await?;

    let report = doctor(admin).await?;
    let expected = [
        ("cp-1", "Wait"),
        ("w-1", "Approve"),
        ("w-2", "Wait"),
        ("w-3", "Wait"),
        ("w-4", "Wait"),
        ("w-5", "Wait"),
    ];
    let found = verdicts(&report.report);
    ensure!(found == expected, "{found:?}\n{:#}", report.report);
    ensure!(report.code == 1, "{}", report.code);
    let contested = report.report["nodeVerdicts"]["contested"].to_string();
    for named in [CONTESTED, "w-2", "w-3"] {
        ensure!(contested.contains(named), "no {named} in {contested}");
    }

    let shown = String::from_utf8(run(admin, &[]).await?.stdout)?;
    // As `sed -n 's/^# //p'` writes it.
    let lines = shown.lines().filter_map(|line| line.strip_prefix("# "));
    let policy = lines.collect::<Vec<_>>().join("\n") + "\n";
    ensure!(!policy.contains("w-5"), "{policy}");
    let file = test.cluster.dir().join("policy.yaml");
    std::fs::write(&file, &policy)?;
    let file = file.to_str().context("a path that is no text")?;
    let output = run(admin, &["--policy", file, "-o", "json"]).await?;
    let again: Value = serde_json::from_slice(&output.stdout)?;
    let expected = [
        ("cp-1", "Approve"),
        ("w-1", "Approve"),
        ("w-2", "Wait"),
        ("w-3", "Wait"),
        ("w-4", "Wait"),
        ("w-5", "Wait"),
    ];
    let found = verdicts(&again);
    ensure!(found == expected, "{found:?}\n{policy}\n{again:#}");

    let mut daemon = test.installation.start("csr-warden", &["--policy", file])?;
    daemon.wait_ready(SOON).await?;
    for (user, addresses) in &kubelets {
        ask(user, addresses).await?;
    }
    for approved in ["cp-1", "w-1"] {
        test.is_approved(&request(approved)).await?;
    }
    for waits in ["w-2", "w-3"] {
        test.waits(&daemon, &request(waits), &["SanContested"])
            .await?;
    }
    test.waits(&daemon, &request("w-4"), &["SanLooksLikeService"])
        .await?;
    test.waits(&daemon, &request("w-5"), &["SanApiServerIdentityUnowned"])
        .await?;
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}

fn request(node: &str) -> String {
    format!("csr-{node}")
}

/// Posts the request of a kubelet with these addresses.
async fn ask(user: &NodeUser, addresses: &[String]) -> Result<()> {
    let of_kind = |kind: &str| -> Vec<&str> {
        let addresses = addresses.iter();
        addresses.filter_map(|one| one.strip_prefix(kind)).collect()
    };
    let ips = of_kind("InternalIP ").into_iter().map(str::parse);
    let ips: Vec<_> = ips.collect::<Result<_, _>>()?;
    let recipe = Recipe::genuine(&user.name, &of_kind("Hostname "), &ips);
    let request = NewRequest::new(&request(&user.name), recipe.pem());
    user.post(&request).await?;
    Ok(())
}
