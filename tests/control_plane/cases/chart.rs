//! The chart and the kustomizations. They render the same objects, a real API server accepts them,
//! and the chart rejects contradictory values.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::machines::definition;
use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::manifests::{CHART, Kustomization, Objects, chart, helm, kustomize, objects};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("chart_renders_what_kustomize_does", Needs::Nothing, same),
        Case::new("chart_refuses_wrong_values", Needs::Nothing, refused),
        Case::new("chart_is_installed_and_removed", Needs::Nothing, installed),
        Case::new("chart_applies_every_value", Needs::Nothing, every_value),
    ]
}

/// An installation method in both forms.
struct Variant {
    name: &'static str,
    kustomization: &'static str,
    values: &'static [&'static str],
}

/// Every overlay, every component, and some combinations.
const VARIANTS: [Variant; 14] = [
    Variant {
        name: "base",
        kustomization: "resources: [deploy/base]",
        values: &[],
    },
    Variant {
        name: "any-node",
        kustomization: "resources: [deploy/overlays/any-node]",
        values: &["--set=placement=AnyNode"],
    },
    Variant {
        name: "ha",
        kustomization: "resources: [deploy/overlays/ha]",
        values: &["--set=replicas=2"],
    },
    Variant {
        name: "bootstrap",
        kustomization: "resources: [deploy/overlays/bootstrap]",
        values: &["--set=bootstrap.enabled=true"],
    },
    Variant {
        name: "bootstrap and ha, with an image",
        kustomization: "resources: [deploy/base]\n\
                        components: [deploy/components/ha, deploy/components/bootstrap]\n\
                        images:\n  \
                        - {name: csr-warden, newName: registry.example.org/csr-warden, newTag: v9}",
        values: &[
            "--set=replicas=2,bootstrap.enabled=true",
            "--set=image.repository=registry.example.org/csr-warden,image.tag=v9",
        ],
    },
    Variant {
        name: "strict, with an inventory",
        kustomization: "resources: [deploy/overlays/strict]\n\
                        configMapGenerator:\n  \
                        - name: csr-warden\n    \
                        namespace: kube-system\n    \
                        behavior: replace\n    \
                        files: [inventory.yaml]",
        values: &["--set=policy.name=strict", "--values=inventory.yaml"],
    },
    Variant {
        name: "strict and ha",
        kustomization: "resources: [deploy/overlays/strict]\n\
                        components: [deploy/components/ha]\n\
                        configMapGenerator:\n  \
                        - name: csr-warden\n    \
                        namespace: kube-system\n    \
                        behavior: replace\n    \
                        files: [inventory.yaml]",
        values: &[
            "--set=policy.name=strict,replicas=2",
            "--values=inventory.yaml",
        ],
    },
    Variant {
        name: "cluster-api",
        kustomization: "resources: [deploy/base]\ncomponents: [deploy/components/cluster-api]",
        values: &["--set=machines={cluster-api}"],
    },
    Variant {
        name: "openshift",
        kustomization: "resources: [deploy/base]\ncomponents: [deploy/components/openshift]",
        values: &["--set=machines={openshift}"],
    },
    Variant {
        name: "metal3",
        kustomization: "resources: [deploy/base]\ncomponents: [deploy/components/metal3]",
        values: &["--set=machines={metal3}"],
    },
    Variant {
        name: "gardener",
        kustomization: "resources: [deploy/base]\ncomponents: [deploy/components/gardener]",
        values: &["--set=machines={gardener}"],
    },
    Variant {
        name: "metrics-tls, while the cluster comes up",
        kustomization: "resources: [deploy/overlays/bootstrap]\n\
                        components: [deploy/components/metrics-tls]",
        values: &["--set=bootstrap.enabled=true,metrics.tls.secretName=csr-warden-tls"],
    },
    Variant {
        name: "metrics-auth and strict",
        kustomization: "resources: [deploy/overlays/strict]\n\
                        components: [deploy/components/metrics-auth]\n\
                        configMapGenerator:\n  \
                        - name: csr-warden\n    \
                        namespace: kube-system\n    \
                        behavior: replace\n    \
                        files: [inventory.yaml]",
        values: &[
            "--set=policy.name=strict,metrics.tls.secretName=csr-warden-tls",
            "--set=metrics.auth.enabled=true",
            "--values=inventory.yaml",
        ],
    },
    Variant {
        name: "a ServiceMonitor, with metrics-auth",
        kustomization: "resources: [deploy/base, deploy/monitoring/service-monitor.yaml]\n\
                        components: [deploy/components/metrics-auth]",
        values: &[
            "--set=metrics.tls.secretName=csr-warden-tls,metrics.auth.enabled=true",
            "--set=monitoring.serviceMonitor.enabled=true",
        ],
    },
];

const INVENTORY: &str = include_str!("../../../examples/inventory.yaml");

impl Variant {
    fn kustomized(&self, assets: &Assets) -> Result<String> {
        let kustomization = Kustomization::new(self.kustomization)?;
        std::fs::write(kustomization.path().join("inventory.yaml"), INVENTORY)?;
        kustomize(assets, kustomization.path())
    }

    fn charted(&self, assets: &Assets) -> Result<String> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("inventory.yaml");
        let mut inventory: Value = serde_saphyr::from_str(INVENTORY)?;
        let fields = inventory.as_object_mut().context("an inventory")?;
        fields.retain(|field, _| field == "nodes" || field == "patterns");
        std::fs::write(&file, json!({"inventory": inventory}).to_string())?;
        let values: Vec<String> = self
            .values
            .iter()
            .map(|value| value.replace("inventory.yaml", &file.to_string_lossy()))
            .collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        chart(assets, &values)
    }
}

/// Normalizes objects: labels for Helm users are removed, and YAML files in a ConfigMap are parsed,
/// as one has comments.
fn comparable(text: &str) -> Result<Objects> {
    const HELMS: [&str; 4] = [
        "helm.sh/chart",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/version",
    ];
    let mut objects = objects(text)?;
    for object in objects.values_mut() {
        if let Some(labels) = object.pointer_mut("/metadata/labels") {
            let labels = labels.as_object_mut().context("labels")?;
            labels.retain(|name, _| !HELMS.contains(&name.as_str()));
        }
        if let Some(data) = object.get_mut("data") {
            for file in data.as_object_mut().context("data")?.values_mut() {
                *file = serde_saphyr::from_str(file.as_str().context("text")?)?;
            }
        }
    }
    Ok(objects)
}

/// Each variant renders the same objects in both forms, and is accepted with and without dry run.
async fn same(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    operator(&cluster).await?;
    for variant in &VARIANTS {
        let texts = [variant.kustomized(&assets)?, variant.charted(&assets)?];
        let [kustomized, charted] = [comparable(&texts[0])?, comparable(&texts[1])?];
        let name = variant.name;
        ensure!(
            kustomized.keys().eq(charted.keys()),
            "{name}: kustomize {:?}, Helm {:?}",
            kustomized.keys(),
            charted.keys(),
        );
        for (key, object) in &kustomized {
            let other = &charted[key];
            ensure!(
                object == other,
                "{name}: {key}:\nkustomize {object}\nHelm      {other}"
            );
        }
        for text in texts {
            apply(&cluster, name, &text).await?;
        }
    }
    Ok(())
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

/// Returns values of the chart that all differ from the default.
fn other_values() -> Value {
    let monitor = json!({
        "enabled": true,
        "labels": {"release": "p"},
        "interval": "15s",
        "tlsConfig": {"insecureSkipVerify": true},
        "authorization": {"credentials": {"name": "token", "key": "token"}},
    });
    json!({
        "image": {
            "repository": "registry.example.org/csr-warden",
            "tag": "v9",
            "digest": "",
            "pullPolicy": "Always",
        },
        "imagePullSecrets": [{"name": "registry"}],
        "nameOverride": "warden",
        "fullnameOverride": "warden-of-kubelets",
        "replicas": 2,
        "placement": "AnyNode",
        "bootstrap": {"enabled": true, "host": "::", "port": 10280},
        "apiServer": {"host": "192.0.2.1", "port": 8443},
        "policy": {"name": "mine", "spec": {"names": {"networks": ["10.0.0.0/16"]}}},
        "inventory": {
            "nodes": [{"name": "n1", "addresses": ["10.0.0.1"]}],
            "patterns": [{"nodes": "pool-*", "networks": ["10.0.1.0/24"]}],
        },
        "enforcement": "DryRun",
        "machines": ["metal3"],
        "extraArgs": ["--log-level=debug"],
        "extraEnv": [{"name": "CSR_WARDEN_CONCURRENCY", "value": "8"}],
        "extraVolumes": [{"name": "far", "secret": {"secretName": "far"}}],
        "extraVolumeMounts": [{"name": "far", "mountPath": "/far", "readOnly": true}],
        "podAnnotations": {"example.org/a": "b"},
        "podLabels": {"example.org/c": "d"},
        "priorityClassName": "system-node-critical",
        "nodeSelector": {"example.org/pool": "trusted"},
        "tolerations": [{"key": "example.org/pool", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}},
        ]}},
        "runAsUser": 1000,
        "resources": {"requests": {"cpu": "20m"}, "limits": {"memory": "128Mi"}},
        "service": {"enabled": false, "annotations": {"example.org/e": "f"}},
        "networkPolicy": {"enabled": false, "egressPorts": [{"protocol": "UDP", "port": 53}]},
        "metrics": {"tls": {"secretName": "tls"}, "auth": {"enabled": true}},
        "monitoring": {
            "serviceMonitor": monitor,
            "podMonitor": monitor,
            "prometheusRule": {"enabled": true, "labels": {"release": "p"}},
        },
    })
}

/// Collects the pointers to all values. A value with fields in `values.yaml` has values below it.
fn pointers(path: &str, value: &Value, into: &mut Vec<String>) {
    match value.as_object().filter(|fields| !fields.is_empty()) {
        Some(fields) => {
            for (name, value) in fields {
                // Users replace these as a whole.
                if name == "resources" {
                    into.push(format!("{path}/{name}"));
                } else {
                    pointers(&format!("{path}/{name}"), value, into);
                }
            }
        }
        None => into.push(path.to_owned()),
    }
}

/// A change of any single value to its default changes the rendered objects. A real API server
/// accepts everything that is rendered.
async fn every_value(assets: Arc<Assets>) -> Result<()> {
    const DEFAULTS: &str = include_str!("../../../deploy/helm/csr-warden/values.yaml");
    let cluster = Cluster::start(&assets, Options::default()).await?;
    operator(&cluster).await?;
    let defaults: Value = serde_saphyr::from_str(DEFAULTS)?;
    let all = other_values();
    // Some values exclude each other, so the effect must be visible in at least one of these
    // combinations.
    let mut on_pods = all.clone();
    on_pods["bootstrap"]["enabled"] = json!(false);
    on_pods["service"]["enabled"] = json!(true);
    on_pods["networkPolicy"]["enabled"] = json!(true);
    let mut on_nodes = all.clone();
    on_nodes["monitoring"]["serviceMonitor"]["enabled"] = json!(false);
    let mut bare = all.clone();
    bare["bootstrap"]["enabled"] = json!(false);
    bare["monitoring"]["serviceMonitor"]["enabled"] = json!(false);
    bare["image"]["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    let surroundings = [on_pods, on_nodes, bare];
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("values.json");
    let named = format!("--values={}", file.display());
    let render = |values: &Value| -> Result<String> {
        std::fs::write(&file, values.to_string())?;
        chart(&assets, &[&named])
    };
    let mut whole = Vec::new();
    for values in &surroundings {
        let text = render(values)?;
        apply(&cluster, "all values", &text).await?;
        whole.push(text);
    }

    let mut paths = Vec::new();
    pointers("", &defaults, &mut paths);
    for path in paths {
        let default = defaults.pointer(&path).context("a default")?;
        let mut seen = false;
        for (values, text) in surroundings.iter().zip(&whole) {
            let mut values = values.clone();
            let value = values
                .pointer_mut(&path)
                .with_context(|| format!("{path} has no other value here"))?;
            *value = default.clone();
            // A rejection counts as an effect: some values require another one.
            seen |= render(&values).map_or(true, |other| other != *text);
        }
        ensure!(seen, "{path} does nothing");
    }
    Ok(())
}
