//! The chart, and the folders in `deploy/` that are rendered from it. Every value has its effect,
//! contradictory values are rejected, and a real API server accepts the objects.

mod pod_security;
mod releases;
mod rules;
mod side_by_side;
mod values;
mod variants;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::machines::definition;
use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::Cluster;
use control_plane::manifests::{CHART, Objects, helm, objects, template};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "chart_renders_its_variants",
            Needs::Nothing,
            variants::are_rendered,
        ),
        Case::new(
            "chart_components_follow_the_namespace",
            Needs::Nothing,
            variants::components_follow,
        ),
        Case::new(
            "chart_variants_are_accepted",
            Needs::Nothing,
            variants::are_accepted,
        ),
        Case::new(
            "chart_pod_security",
            Needs::Nothing,
            pod_security::is_restricted,
        ),
        Case::new("chart_refuses_wrong_values", Needs::Nothing, refused),
        Case::new("chart_fills_absent_values", Needs::Nothing, absent),
        Case::new("chart_adapts_to_openshift", Needs::Nothing, openshift),
        Case::new(
            "chart_is_installed_and_removed",
            Needs::Nothing,
            releases::installed,
        ),
        Case::new(
            "chart_releases_side_by_side",
            Needs::Nothing,
            side_by_side::are_separate,
        ),
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
async fn monitoring_kinds(cluster: &Cluster) -> Result<()> {
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

/// Renders the chart with these values, and an image unless they name one.
fn render(assets: &Assets, values: &Value) -> Result<Objects> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), values.to_string())?;
    let named = format!("--values={}", file.path().display());
    let mut args = vec![
        "template",
        "csr-warden",
        CHART,
        "--namespace=kube-system",
        "--skip-tests",
        &named,
    ];
    if values.pointer("/image/repository").is_none() {
        args.push("--set=image.repository=csr-warden");
    }
    let output = helm(assets, None, args)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{values}: {stderr}");
    objects(&String::from_utf8(output.stdout)?)
}

/// Renders the Pod of `helm test`.
fn hook(assets: &Assets, more: &[&str]) -> Result<Value> {
    let only = ["--show-only=templates/tests/doctor.yaml"];
    let pods = objects(&template(assets, &[&only, more].concat())?)?;
    pods.into_values().next().context("no Pod")
}

/// Contradictory values, with the error message.
const WRONG: [(&[&str], &str); 36] = [
    (&["--set=image.repository="], "image.repository is empty"),
    (
        &["--set=image.repository=registry.example:5000/csr-warden:0.1.0"],
        "put the part after the last `:` into image.tag",
    ),
    (
        &["--set=image.repository=csr-warden@sha256:0000"],
        "put the part after `@` into image.digest",
    ),
    (
        &["--set=image.repository=registry.example/csr-warden,global.imageRegistry=mirror.example"],
        "remove `registry.example/` from image.repository",
    ),
    (
        &["--set=image.repository=localhost/csr-warden,image.registry=mirror.example"],
        "image.registry is `mirror.example`, and image.repository",
    ),
    (
        &["--set=image.repository=team/"],
        "remove the `/` at its begin or end",
    ),
    (
        &["--set=serviceAccount.create=false"],
        "set serviceAccount.name",
    ),
    (&["--set=enabled=false"], "`condition` of an umbrella chart"),
    (
        &["--set=global.imageRegistry.name=a"],
        "at '/global/imageRegistry': got object, want string",
    ),
    (
        &["--set=replica=2"],
        "additional properties 'replica' not allowed",
    ),
    (&["--set=replicas=-1"], "at '/replicas': minimum:"),
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
        &["--set=extraArgs={--bind-address=0.0.0.0:9090}"],
        "use metrics.port, or bootstrap.host and bootstrap.port",
    ),
    (
        &["--set=extraArgs={--lease-name,mine}"],
        "at '/extraArgs/1': 'mine' does not match pattern",
    ),
    (&["--set=extraArgs={--lease-name=mine}"], "use lease.name"),
    (
        &["--set=extraEnv[0].name=CSR_WARDEN_BIND_ADDRESS"],
        "use metrics.port, or bootstrap.host and bootstrap.port",
    ),
    (
        &["--set=podLabels.app\\.kubernetes\\.io/name=mine"],
        "podLabels has `app.kubernetes.io/name`, which the chart sets",
    ),
    (
        &["--set=commonLabels.helm\\.sh/chart=mine"],
        "commonLabels has `helm.sh/chart`, which the chart sets",
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
        &["--set=policy.name=strict,policy.existing.configMapName=a"],
        "remove policy.spec and policy.name",
    ),
    (
        &["--set=inventory.nodes[0].name=n1,inventory.existing.configMapName=a"],
        "remove inventory.nodes and inventory.patterns",
    ),
    (
        &["--set=machinesKubeconfig.configMapName=a,machinesKubeconfig.secretName=b"],
        "machinesKubeconfig names a ConfigMap and a Secret",
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
        &["--set=bootstrap.enabled=true,monitoring.podMonitor.enabled=true"],
        "monitoring.podMonitor reaches no Pod at 127.0.0.1",
    ),
    (
        &["--set=monitoring.serviceMonitor.enabled=true,monitoring.podMonitor.enabled=true"],
        "would count everything twice",
    ),
    (
        &["--set=metrics.auth.enabled=true"],
        "set metrics.tls.secretName",
    ),
    (
        &[
            "--set=metrics.tls.secretName=a",
            "--set=monitoring.podMonitor.enabled=true,monitoring.podMonitor.namespace=b",
        ],
        "set monitoring.podMonitor.tlsConfig",
    ),
];

async fn refused(assets: Arc<Assets>) -> Result<()> {
    let template = ["template", "csr-warden", CHART, "--namespace=kube-system"];
    let image = ["--set=image.repository=csr-warden"];
    for (values, said) in WRONG {
        let output = helm(&assets, None, [&template[..], &image, values].concat())?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let refused = !output.status.success() && output.stdout.is_empty();
        ensure!(refused && stderr.contains(said), "{values:?}: {stderr}");
    }
    let lint = helm(&assets, None, ["lint", "--strict", CHART, image[0]])?;
    let said = String::from_utf8_lossy(&lint.stdout);
    ensure!(lint.status.success(), "{said}");
    ensure!(said.contains("0 chart(s) failed"), "{said}");
    ensure!(!said.contains("icon"), "{said}");
    Ok(())
}

/// Replaces every value by null. Values of free form and the image's name stay.
fn nothing(path: &str, value: &Value) -> Value {
    match value.as_object() {
        Some(fields) if path != "/resources" && !fields.is_empty() => {
            let below = |(name, value): (&String, &Value)| {
                (name.clone(), nothing(&format!("{path}/{name}"), value))
            };
            Value::Object(fields.iter().map(below).collect())
        }
        _ if path == "/runAsUser" || path == "/image/repository" => value.clone(),
        _ => Value::Null,
    }
}

/// Absent values, as with `helm upgrade --reuse-values` after an older chart, have their defaults:
/// whole sections, and every value in them.
async fn absent(assets: Arc<Assets>) -> Result<()> {
    let defaults = std::fs::read_to_string(format!("{CHART}/values.yaml"))?;
    let mut defaults: Value = serde_saphyr::from_str(&defaults)?;
    defaults["image"]["repository"] = json!("csr-warden");
    let expected = render(&assets, &json!({}))?;
    let mut sections = defaults.clone();
    for (name, section) in sections.as_object_mut().context("sections")? {
        if name != "runAsUser" && name != "image" {
            *section = Value::Null;
        }
    }
    let leaves = nothing("", &defaults);
    ensure!(leaves["monitoring"]["dashboard"]["labels"]["grafana_dashboard"].is_null());
    for values in [sections, leaves] {
        let rendered = render(&assets, &values)?;
        ensure!(rendered == expected, "{values}: {rendered:?}");
    }
    Ok(())
}

/// OpenShift assigns the user of each namespace, and has this API group.
async fn openshift(assets: Arc<Assets>) -> Result<()> {
    let group = "--api-versions=security.openshift.io/v1";
    for (more, assigned) in [(&[][..], false), (&[group], true)] {
        let context = &hook(&assets, more)?["spec"]["securityContext"];
        ensure!(context["runAsUser"].is_null() == assigned, "{context}");
        ensure!(context["runAsNonRoot"] == true, "{context}");
        let args = [&["--set=metrics.tls.secretName=a"], more].concat();
        let rendered = objects(&control_plane::manifests::chart(&assets, &args)?)?;
        let deployment = rendered.get("Deployment kube-system/csr-warden");
        let pod = &deployment.context("no Deployment")?["spec"]["template"]["spec"];
        let context = &pod["securityContext"];
        for field in ["runAsUser", "runAsGroup", "fsGroup"] {
            ensure!(context[field].is_null() == assigned, "{field}: {context}");
        }
    }
    Ok(())
}
