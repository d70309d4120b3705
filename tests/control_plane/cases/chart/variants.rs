//! Variants of an installation, each rendered by Helm and by kustomize.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{apply, operator};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::manifests::{Kustomization, Objects, chart, kustomize, objects};

/// An installation method in both forms.
struct Variant {
    name: &'static str,
    kustomization: &'static str,
    values: &'static [&'static str],
}

/// Every overlay, every component, and some combinations.
const VARIANTS: [Variant; 15] = [
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
    Variant {
        name: "metrics for one namespace",
        kustomization: "resources: [deploy/base]\n\
                        patches:\n  \
                        - target: {kind: NetworkPolicy, name: csr-warden}\n    \
                        patch: |\n      \
                        - op: add\n        \
                        path: /spec/ingress/0/from\n        \
                        value:\n          \
                        - namespaceSelector:\n              \
                        matchLabels: {kubernetes.io/metadata.name: monitoring}",
        values: &["--set-json=networkPolicy.scrapers=[{\"namespaceSelector\":\
             {\"matchLabels\":{\"kubernetes.io/metadata.name\":\"monitoring\"}}}]"],
    },
];

const INVENTORY: &str = include_str!("../../../../examples/inventory.yaml");

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
pub async fn same(assets: Arc<Assets>) -> Result<()> {
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
