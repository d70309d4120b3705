//! The commands of the README for manifests, and of docs/check.md, run word for word on a real cluster.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{BINARY, Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::install::Installation;
use control_plane::manifests::{Kustomization, ROOT};
use control_plane::node_user::{NewRequest, NodeUser};
use testkit::forge::Recipe;

const README: &str = include_str!("../../../README.md");
const CHECK: &str = include_str!("../../../docs/check.md");
const DEPLOYMENT: [&str; 6] = [
    "get",
    "deployment/csr-warden",
    "-n",
    "kube-system",
    "-o",
    "json",
];

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("manifests_place_the_pod", Needs::Nothing, place_the_pod),
        Case::new("manifests_are_checked", Needs::Nothing, recipe_of_check),
    ]
}

async fn deployment(cluster: &Cluster) -> Result<Value> {
    Ok(serde_json::from_str(&cluster.kubectl(&DEPLOYMENT).await?)?)
}

async fn apply(cluster: &Cluster, directory: &Path) -> Result<Value> {
    let directory = directory.to_str().context("a path that is no text")?;
    let args = ["apply", "--server-side", "-k", directory];
    cluster.kubectl(&args).await?;
    deployment(cluster).await
}

/// The Pod is scheduled to the control plane unless the overlay changes it, with the image of the
/// overlay.
async fn place_the_pod(assets: Arc<Assets>) -> Result<()> {
    const LABEL: &str = "node-role.kubernetes.io/control-plane";
    let at = |deployment: &Value, field: &str| {
        let path = format!("/spec/template/spec/{field}");
        deployment.pointer(&path).cloned().unwrap_or_default()
    };
    let cluster = Cluster::start(&assets, Options::default()).await?;
    Installation::apply(&cluster, Path::new(BINARY)).await?;
    let base = deployment(&cluster).await?;
    let terms = at(
        &base,
        "affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
    );
    let expected = serde_json::json!([
        {"matchExpressions": [{"key": LABEL, "operator": "Exists"}]}
    ]);
    ensure!(terms == expected, "{terms}");
    ensure!(at(&base, "tolerations/0/key") == LABEL);

    // As in the README: a kustomization next to it, which names the image.
    let example = README
        .split_once("```yaml\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .context("no kustomization in the README")?
        .0;
    let named = apply(&cluster, Kustomization::new(example)?.path()).await?;
    let image = at(&named, "containers/0/image");
    ensure!(image == "registry.example.org/csr-warden:0.1.0", "{image}");

    let overlay = "deploy/variants/any-node";
    let example = example.replace("deploy/base", overlay);
    let named = apply(&cluster, Kustomization::new(&example)?.path()).await?;
    ensure!(at(&named, "affinity").is_null(), "{named}");
    let plain = apply(&cluster, &Path::new(ROOT).join(overlay)).await?;
    ensure!(at(&plain, "affinity").is_null(), "{plain}");
    ensure!(at(&plain, "containers/0/image") == at(&base, "containers/0/image"));
    Ok(())
}

/// A Service's address is denied from the files that the commands of docs/check.md collect.
async fn recipe_of_check(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let service = [
        "get",
        "service",
        "kubernetes",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ];
    let service: IpAddr = cluster.kubectl(&service).await?.trim().parse()?;
    let info = "--from-literal=kubeconfig={clusters: [{name: a, cluster: {server: \
                'https://192.0.2.10'}}]}";
    let info = [
        "create",
        "configmap",
        "cluster-info",
        "-n",
        "kube-public",
        info,
    ];
    cluster.kubectl(&info).await?;
    let node = NodeUser::new(&cluster, "node-1").await?;
    node.register().await?;
    let addresses = ["InternalIP 192.0.2.10", "Hostname node-1"].map(str::to_owned);
    let claimed = format!("InternalIP {service}");
    node.report(&[&addresses[..], &[claimed]].concat()).await?;
    let ips = ["192.0.2.10".parse()?, service];
    let pem = Recipe::genuine("node-1", &["node-1"], &ips).pem();
    node.post(&NewRequest::new("csr-x7k2p", pem)).await?;
    let listed = cluster.kubectl(&["get", "csr"]).await?;
    ensure!(listed.contains("Pending"), "{listed}");

    let dir = tempfile::tempdir()?;
    let section = CHECK
        .split_once("```sh\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .context("no commands in docs/check.md")?
        .0;
    let mut checked = None;
    for line in section.lines() {
        if let Some(args) = line.strip_prefix("kubectl ") {
            let (args, file) = args.split_once(" >").context("no file")?;
            let args: Vec<&str> = args.split(' ').collect();
            std::fs::write(dir.path().join(file), cluster.kubectl(&args).await?)?;
        } else if let Some(args) = line.strip_prefix("csr-warden ") {
            let mut command = Command::new(BINARY);
            command.args(args.split(' ')).current_dir(dir.path());
            checked = Some(command.env_remove("CSR_WARDEN_POLICY").output()?);
        }
    }
    let checked = checked.context("no `csr-warden` among the commands")?;
    let text = String::from_utf8(checked.stdout)?;
    ensure!(checked.status.code() == Some(1), "{text}");
    for part in [
        "SanServiceAddress",
        "SanApiServerIdentity",
        "Not checked",
        "certificates of all",
    ] {
        ensure!(text.contains(part), "no `{part}` in\n{text}");
    }
    ensure!(!text.contains("ServiceCIDRs,"), "{text}");
    Ok(())
}
