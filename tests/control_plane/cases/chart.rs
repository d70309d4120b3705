//! The chart and the kustomizations. They render the same objects, a real API server accepts them,
//! and the chart rejects contradictory values.

mod rules;
mod values;
mod variants;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use super::machines::definition;
use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::manifests::{CHART, helm};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "chart_renders_what_kustomize_does",
            Needs::Nothing,
            variants::same,
        ),
        Case::new("chart_refuses_wrong_values", Needs::Nothing, refused),
        Case::new("chart_is_installed_and_removed", Needs::Nothing, installed),
        Case::new(
            "chart_applies_every_value",
            Needs::Nothing,
            values::every_value,
        ),
        Case::new(
            "chart_applies_values_to_the_rules",
            Needs::Prometheus,
            rules::configured,
        ),
    ]
}

/// Creates the kinds of the Prometheus Operator.
async fn operator(cluster: &Cluster) -> Result<()> {
    for kind in ["ServiceMonitor", "PodMonitor", "PrometheusRule"] {
        let definition = definition("monitoring.coreos.com", "v1", kind);
        cluster.apply(&definition.to_string()).await?;
        let crd = format!(
            "crd/{}",
            definition["metadata"]["name"].as_str().context("name")?
        );
        let wait = ["wait", "--for=condition=Established", "--timeout=60s", &crd];
        cluster.kubectl(&wait).await?;
    }
    Ok(())
}

/// Applies manifests with and without dry run. A warning is an error.
async fn apply(cluster: &Cluster, name: &str, manifests: &str) -> Result<()> {
    for dry_run in ["server", "none"] {
        let dry_run = format!("--dry-run={dry_run}");
        let args = ["apply", "--server-side", &dry_run, "-f", "-"];
        let output = cluster.kubectl_output(&args, manifests).await?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let clean = output.status.success() && stderr.is_empty();
        ensure!(clean, "{name} {dry_run}: {}\n{stderr}", output.status);
    }
    Ok(())
}

/// Contradictory values, with the error message.
const WRONG: [(&[&str], &str); 16] = [
    (
        &["--set=replica=2"],
        "additional properties 'replica' not allowed",
    ),
    (
        &["--set=replicas=3"],
        "at '/replicas': value must be one of 1, 2",
    ),
    (
        &["--set=enforcement=dryrun"],
        "at '/enforcement': value must be one of",
    ),
    (
        &["--set=machines={capi}"],
        "at '/machines/0': value must be one of 'cluster-api',",
    ),
    (
        &["--set=placement=Anywhere"],
        "at '/placement': value must be one of 'ControlPlane', 'AnyNode'",
    ),
    (&["--set=runAsUser=0"], "at '/runAsUser': minimum:"),
    (
        &["--set=extraArgs={run}"],
        "at '/extraArgs/0': 'run' does not match pattern",
    ),
    (
        &["--set=policy.name=mine,policy.spec.names.maxx=3"],
        "at '/policy/spec/names': additional properties 'maxx' not allowed",
    ),
    (
        &["--set=inventory.nodes[0].addresses[0]=10.0.0.1"],
        "at '/inventory/nodes/0': missing property 'name'",
    ),
    (
        &["--set=policy.name=strikt"],
        "expected policy.name to be a built-in policy",
    ),
    (
        &["--set=policy.name=strict,policy.spec.names.max=3"],
        "give it a name of its own",
    ),
    (
        &["--set=bootstrap.enabled=true,placement=AnyNode"],
        "set apiServer.host",
    ),
    (
        &["--set-json=affinity={\"nodeAffinity\":\
             {\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[]}}}"],
        "would replace what keeps the Pod on the control plane",
    ),
    (
        &["--set=bootstrap.enabled=true,monitoring.serviceMonitor.enabled=true"],
        "needs the Service",
    ),
    (
        &["--set=metrics.auth.enabled=true"],
        "set metrics.tls.secretName",
    ),
    (
        &[
            "--set=metrics.auth.enabled=true,metrics.tls.secretName=a",
            "--set=monitoring.podMonitor.enabled=true",
        ],
        "set monitoring.podMonitor.authorization",
    ),
];

async fn refused(assets: Arc<Assets>) -> Result<()> {
    for (values, said) in WRONG {
        let template = ["template", "csr-warden", CHART, "--namespace=kube-system"];
        let output = helm(&assets, None, [&template, values].concat())?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let refused = !output.status.success() && output.stdout.is_empty();
        ensure!(refused && stderr.contains(said), "{values:?}: {stderr}");
    }
    let lint = helm(&assets, None, ["lint", "--strict", CHART])?;
    let said = String::from_utf8_lossy(&lint.stdout);
    ensure!(lint.status.success(), "{said}");
    ensure!(said.contains("0 chart(s) failed"), "{said}");
    Ok(())
}

/// Helm's own client installs the chart on a real API server. After removal, no object is left.
async fn installed(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let helm = |args: &[&str]| -> Result<String> {
        let output = helm(&assets, Some(cluster.admin_kubeconfig()), args)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {args:?}: {stderr}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let everything = [
        "get",
        "all,cm,sa,role,rolebinding,clusterrole,clusterrolebinding,pdb,netpol",
        "--all-namespaces",
        "--selector=app.kubernetes.io/part-of=csr-warden",
        "--output=name",
    ];
    const NAMESPACE: &str = "--namespace=kube-system";
    let notes = helm(&["install", "csr-warden", CHART, NAMESPACE])?;
    ensure!(notes.contains("serverTLSBootstrap: true"), "{notes}");
    ensure!(notes.lines().all(|line| line.len() <= 80), "{notes}");
    let first = cluster.kubectl(&everything).await?;
    ensure!(first.contains("deployment.apps/csr-warden"), "{first}");

    let more = "--set=replicas=2,machines={cluster-api},policy.name=strict";
    let notes = helm(&["upgrade", "csr-warden", CHART, NAMESPACE, more])?;
    ensure!(notes.contains("Every request waits"), "{notes}");
    let second = cluster.kubectl(&everything).await?;
    for added in [
        "poddisruptionbudget.policy/csr-warden",
        "csr-warden-cluster-api",
    ] {
        ensure!(!first.contains(added) && second.contains(added), "{second}");
    }

    helm(&["uninstall", "csr-warden", NAMESPACE])?;
    let left = cluster.kubectl(&everything).await?;
    ensure!(left.is_empty(), "left behind:\n{left}");
    Ok(())
}
