//! Releases of Helm's own client on a real API server: installed, upgraded, within an umbrella chart,
//! and removed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::manifests::{CHART, Objects, helm, objects};

pub const NAMESPACE: &str = "--namespace=kube-system";
pub const IMAGE: &str = "--set=image.repository=registry.example.org/csr-warden";
const ALL: [&str; 5] = [
    "get",
    "all,cm,sa,secret,lease,role,rolebinding,clusterrole,clusterrolebinding,pdb,netpol",
    "--all-namespaces",
    "--selector=app.kubernetes.io/part-of=csr-warden",
    "--output=name",
];

/// Helm, with a cluster.
pub struct Releases<'a> {
    pub assets: &'a Assets,
    pub cluster: &'a Cluster,
}

impl Releases<'_> {
    pub fn helm(&self, args: &[&str]) -> Result<String> {
        let output = helm(self.assets, Some(self.cluster.admin_kubeconfig()), args)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {args:?}: {stderr}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn manifest(&self, release: &str) -> Result<Objects> {
        objects(&self.helm(&["get", "manifest", release, NAMESPACE])?)
    }

    async fn nothing_is_left(&self) -> Result<()> {
        let left = self.cluster.kubectl(&ALL).await?;
        ensure!(left.is_empty(), "left behind:\n{left}");
        Ok(())
    }
}

fn copied(from: &str, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-r").arg(from).arg(to).status()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// An older version of the chart: without any section but that of the image. An absent user is not a
/// new value, but one that the platform assigns.
fn older(dir: &Path) -> Result<PathBuf> {
    let chart = dir.join("older");
    copied(CHART, &chart)?;
    let values = json!({
        "image": {"repository": "registry.example.org/csr-warden"},
        "runAsUser": 65532,
    });
    std::fs::write(chart.join("values.yaml"), values.to_string())?;
    Ok(chart)
}

/// A chart that has this one as a dependency.
fn umbrella(dir: &Path) -> Result<PathBuf> {
    let chart = dir.join("platform");
    std::fs::create_dir_all(chart.join("charts"))?;
    copied(CHART, &chart.join("charts/csr-warden"))?;
    let about: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(format!("{CHART}/Chart.yaml"))?)?;
    let file = json!({
        "apiVersion": "v2",
        "name": "platform",
        "version": "1.0.0",
        "dependencies": [{
            "name": "csr-warden",
            "version": about["version"],
            "repository": "",
            "condition": "csr-warden.enabled",
        }],
    });
    std::fs::write(chart.join("Chart.yaml"), file.to_string())?;
    let values = json!({
        "csr-warden": {"enabled": true, "image": {"repository": "csr-warden"}, "affinity": null},
        "global": {"imageRegistry": "mirror.example", "domain": "example.org"},
    });
    std::fs::write(chart.join("values.yaml"), values.to_string())?;
    Ok(chart)
}

fn deployment(objects: &Objects) -> Result<&Value> {
    let found = objects
        .iter()
        .find(|(key, _)| key.starts_with("Deployment "));
    Ok(found.context("no Deployment")?.1)
}

/// Helm's own client installs the chart on a real API server. After removal, no object is left.
pub async fn installed(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let releases = Releases {
        assets: &assets,
        cluster: &cluster,
    };
    let notes = releases.helm(&["install", "csr-warden", CHART, NAMESPACE, IMAGE])?;
    ensure!(notes.contains("serverTLSBootstrap: true"), "{notes}");
    ensure!(notes.lines().all(|line| line.len() <= 80), "{notes}");
    let first = cluster.kubectl(&ALL).await?;
    ensure!(first.contains("deployment.apps/csr-warden"), "{first}");
    let fresh = releases.manifest("csr-warden")?;

    let more = "--set=replicas=2,machines={cluster-api},policy.name=strict";
    let upgrade = ["upgrade", "csr-warden", CHART, NAMESPACE, IMAGE, more];
    let notes = releases.helm(&upgrade)?;
    ensure!(notes.contains("Every request waits"), "{notes}");
    let second = cluster.kubectl(&ALL).await?;
    for added in [
        "poddisruptionbudget.policy/csr-warden",
        "csr-warden-cluster-api",
    ] {
        ensure!(!first.contains(added) && second.contains(added), "{second}");
    }
    releases.helm(&["uninstall", "csr-warden", NAMESPACE])?;
    releases.nothing_is_left().await?;
    for (values, said) in [
        ("replicas=0", &["Set replicas to 1 or more."][..]),
        ("policy.name=dns", &["Copy policies/dns.yaml"]),
        (
            "policy.name=metal3",
            &["This policy approves only what a Machine shows"],
        ),
        (
            "replicas=0,enforcement=DryRun,policy.name=mine,policy.spec.proof.ipAddresses.allOf={Inventory}",
            &["Set replicas", "Set enforcement", "List the nodes"],
        ),
        (
            "bootstrap.enabled=true,bootstrap.host=0.0.0.0",
            &["Anyone who reaches the node can read the metrics"],
        ),
    ] {
        let values = format!("--set={values}");
        let install = ["install", "csr-warden", CHART, NAMESPACE, IMAGE, &values];
        let notes = releases.helm(&[&install[..], &["--dry-run=client"]].concat())?;
        for part in said {
            ensure!(notes.contains(part), "{values}: no `{part}` in {notes}");
        }
    }

    upgraded(&releases, &fresh).await?;
    within_an_umbrella(&releases).await
}

/// A release whose values lack every new section is upgraded to what a new release has.
async fn upgraded(releases: &Releases<'_>, fresh: &Objects) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let older = older(dir.path())?;
    let older = older.to_str().context("a path that is no text")?;
    for mode in ["--reuse-values", "--reset-then-reuse-values"] {
        releases.helm(&["install", "csr-warden", older, NAMESPACE])?;
        releases.helm(&["upgrade", "csr-warden", CHART, NAMESPACE, mode, IMAGE])?;
        let upgraded = releases.manifest("csr-warden")?;
        ensure!(upgraded == *fresh, "{mode}: {upgraded:?}\nnot {fresh:?}");
        // A user's settings are kept.
        let set = [
            "upgrade",
            "csr-warden",
            CHART,
            NAMESPACE,
            mode,
            "--set=replicas=3",
        ];
        releases.helm(&set)?;
        releases.helm(&["upgrade", "csr-warden", CHART, NAMESPACE, mode])?;
        let upgraded = releases.manifest("csr-warden")?;
        ensure!(deployment(&upgraded)?["spec"]["replicas"] == 3, "{mode}");
        releases.helm(&["uninstall", "csr-warden", NAMESPACE])?;
    }
    releases.nothing_is_left().await
}

/// The condition of an umbrella chart installs and removes it. Its `global` values are honored, and
/// those of other charts do no harm.
async fn within_an_umbrella(releases: &Releases<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let platform = umbrella(dir.path())?;
    let platform = platform.to_str().context("a path that is no text")?;
    releases.helm(&["install", "platform", platform, NAMESPACE])?;
    let installed = releases.manifest("platform")?;
    let deployment = deployment(&installed)?;
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    ensure!(image == "mirror.example/csr-warden:0.1.0", "{image}");
    let disable = "--set=csr-warden.enabled=false";
    releases.helm(&["upgrade", "platform", platform, NAMESPACE, disable])?;
    releases.nothing_is_left().await?;
    releases.helm(&["uninstall", "platform", NAMESPACE])?;
    Ok(())
}
