//! The folders in `deploy/` that are rendered from the chart. `UPDATE_DOCS=1` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{apply, monitoring_kinds};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::manifests::{Kustomization, ROOT, chart, kustomize, objects};

/// A rendered folder.
pub struct Variant {
    /// Below `deploy/`.
    folder: &'static str,
    about: &'static str,
    args: &'static [&'static str],
    form: Form,
}

enum Form {
    /// All objects, in `kube-system`.
    Installation,
    /// All objects, in a namespace `csr-warden` with this Pod Security Standard.
    OwnNamespace(&'static str),
    /// Rights that are added to an installation: the objects of this template.
    Rights(&'static str),
}

/// An inventory without nodes, for users to replace.
const INVENTORY: &str = r#"--set-json=extraObjects=[{"apiVersion": "v1", "kind": "ConfigMap",
    "metadata": {"name": "csr-warden", "namespace": "kube-system",
        "labels": {"app.kubernetes.io/name": "csr-warden", "app.kubernetes.io/part-of": "csr-warden"}},
    "data": {"inventory.yaml":
        "apiVersion: csr-warden.dev/v1beta1\nkind: Inventory\nnodes: []\npatterns: []\n"}}]"#;

pub const VARIANTS: [Variant; 16] = [
    Variant {
        folder: "base",
        about: "One replica on the control plane, with the default policy.",
        args: &[],
        form: Form::Installation,
    },
    Variant {
        folder: "variants/ha",
        about: "Two replicas, of which one writes and the other takes over within seconds.",
        args: &["--set=replicas=2"],
        form: Form::Installation,
    },
    Variant {
        folder: "variants/any-node",
        about: "For clusters whose control plane has no Nodes, as that of a cloud. The node that the Pod runs on\n\
                # can then approve anything: see docs/threat-model.md.",
        args: &["--set=placement=AnyNode"],
        form: Form::Installation,
    },
    Variant {
        folder: "variants/strict",
        about: "The policy `strict`. The inventory here has no nodes, so every request waits: replace it by a\n\
                # `configMapGenerator` with `behavior: replace` (docs/install.md).",
        args: &[
            "--set=policy.name=strict,inventory.existing.configMapName=csr-warden",
            INVENTORY,
        ],
        form: Form::Installation,
    },
    Variant {
        folder: "variants/bootstrap",
        about: "Works while the cluster comes up, on the network of its node. Pod Security: privileged.",
        args: &["--set=bootstrap.enabled=true"],
        form: Form::Installation,
    },
    Variant {
        folder: "variants/metrics-tls",
        about: "Metrics and probes over HTTPS, with the certificate in the Secret csr-warden-tls.",
        args: &["--set=metrics.tls.secretName=csr-warden-tls"],
        form: Form::Installation,
    },
    Variant {
        folder: "variants/metrics-auth",
        about: "Metrics over HTTPS, for those who may get the nonResourceURL /metrics: bind scrapers to the\n\
                # ClusterRole csr-warden-metrics-reader.",
        args: &["--set=metrics.tls.secretName=csr-warden-tls,metrics.auth.enabled=true"],
        form: Form::Installation,
    },
    Variant {
        folder: "variants/monitoring",
        about: "With scraping, alerts and the dashboard, for a cluster that has kube-prometheus-stack.",
        args: &[
            "--set=monitoring.serviceMonitor.enabled=true,monitoring.prometheusRule.enabled=true,\
                 monitoring.dashboard.enabled=true",
        ],
        form: Form::Installation,
    },
    Variant {
        folder: "variants/cluster-wide",
        about: "Without Roles in `default` and `kube-public`, for `namespace:` of kustomize, `targetNamespace` of\n\
                # Flux and the like, which would move these.",
        args: &["--set=rbac.clusterWide=true"],
        form: Form::Installation,
    },
    Variant {
        folder: "variants/own-namespace",
        about: "In a namespace of its own, which enforces the Pod Security Standard `restricted`.",
        args: &[],
        form: Form::OwnNamespace("restricted"),
    },
    Variant {
        folder: "variants/own-namespace-bootstrap",
        about: "Works while the cluster comes up, in a namespace of its own, which must be `privileged`.",
        args: &["--set=bootstrap.enabled=true"],
        form: Form::OwnNamespace("privileged"),
    },
    Variant {
        folder: "components/cluster-api",
        about: "The right to read what policies/cluster-api.yaml names.",
        args: &["--set=machines={cluster-api}"],
        form: Form::Rights("templates/machines.yaml"),
    },
    Variant {
        folder: "components/gardener",
        about: "The right to read what policies/gardener.yaml names.",
        args: &["--set=machines={gardener}"],
        form: Form::Rights("templates/machines.yaml"),
    },
    Variant {
        folder: "components/metal3",
        about: "The right to read what policies/metal3.yaml names.",
        args: &["--set=machines={metal3}"],
        form: Form::Rights("templates/machines.yaml"),
    },
    Variant {
        folder: "components/openshift",
        about: "The right to read what policies/openshift.yaml names.",
        args: &["--set=machines={openshift}"],
        form: Form::Rights("templates/machines.yaml"),
    },
    Variant {
        folder: "components/metrics-auth",
        about: "The rights for `--metrics-auth`.",
        args: &["--set=metrics.tls.secretName=csr-warden-tls,metrics.auth.enabled=true"],
        form: Form::Rights("templates/metrics-auth.yaml"),
    },
];

impl Variant {
    pub fn name(&self) -> &'static str {
        self.folder
    }

    pub fn is_installation(&self) -> bool {
        !matches!(self.form, Form::Rights(_))
    }

    /// Uses the network of its node.
    pub fn is_privileged(&self) -> bool {
        self.folder.ends_with("bootstrap")
    }

    pub fn charted(&self, assets: &Assets) -> Result<String> {
        let mut args = self.args.to_vec();
        match self.form {
            Form::Installation => {}
            Form::OwnNamespace(_) => args.push("--namespace=csr-warden"),
            Form::Rights(template) => args.extend(["--show-only", template]),
        }
        chart(assets, &args)
    }

    /// Renders the text of each file.
    fn files(&self, assets: &Assets) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::<String, String>::new();
        let text = self.charted(assets)?;
        for document in text.split("\n---\n").filter(|one| !one.trim().is_empty()) {
            let document = document.trim_start_matches("---\n");
            let source = document.strip_prefix("# Source: csr-warden/templates/");
            let (file, body) = source
                .and_then(|source| source.split_once('\n'))
                .with_context(|| format!("no source of `{document}`"))?;
            let file = match self.form {
                Form::Rights(_) => "rights.yaml",
                Form::Installation | Form::OwnNamespace(_) => file,
            };
            let into = files.entry(file.to_owned()).or_default();
            if !into.is_empty() {
                into.push_str("---\n");
            }
            for line in body.lines().filter(|line| !is_helms(line)) {
                into.push_str(line);
                into.push('\n');
            }
        }
        if let Form::OwnNamespace(level) = self.form {
            files.insert("namespace.yaml".into(), namespace(level));
        }
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        let (version, kind) = match self.form {
            Form::Rights(_) => ("v1alpha1", "Component"),
            Form::Installation | Form::OwnNamespace(_) => ("v1beta1", "Kustomization"),
        };
        let mut kustomization = format!(
            "# {}\n# Rendered by `just manifests` from deploy/helm/csr-warden: change the chart instead.\n\
             apiVersion: kustomize.config.k8s.io/{version}\nkind: {kind}\nresources:\n  - {}\n",
            self.about,
            names.join("\n  - "),
        );
        if let Form::Rights(_) = self.form {
            kustomization.push_str(&bound_to_the_installation(&text)?);
        }
        files.insert("kustomization.yaml".into(), kustomization);
        Ok(files)
    }
}

/// An empty line, or a label of Helm's releases.
fn is_helms(line: &str) -> bool {
    const LABELS: [&str; 2] = ["app.kubernetes.io/managed-by: Helm", "helm.sh/chart: "];
    let line = line.trim_start();
    line.is_empty() || LABELS.iter().any(|label| line.starts_with(label))
}

/// Replacements of a component: its bindings are for the ServiceAccount of the installation, in the
/// namespace that this has.
fn bound_to_the_installation(rights: &str) -> Result<String> {
    let mut text = "replacements:\n  - source: {kind: ServiceAccount, name: csr-warden, \
                    fieldPath: metadata.namespace}\n    targets:\n"
        .to_owned();
    for key in objects(rights)?.keys() {
        if let Some(name) = key.strip_prefix("ClusterRoleBinding /") {
            text.push_str(&format!(
                "      - select: {{kind: ClusterRoleBinding, name: {name}}}\n        \
                 fieldPaths: [subjects.0.namespace]\n"
            ));
        }
    }
    Ok(text)
}

fn namespace(level: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: csr-warden\n  labels:\n    \
         app.kubernetes.io/name: csr-warden\n    app.kubernetes.io/part-of: csr-warden\n    \
         pod-security.kubernetes.io/enforce: {level}\n    \
         pod-security.kubernetes.io/audit: {level}\n    \
         pod-security.kubernetes.io/warn: {level}\n"
    )
}

/// The folders have what the chart renders, and no folder is left over.
pub async fn are_rendered(assets: Arc<Assets>) -> Result<()> {
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    let deploy = Path::new(ROOT).join("deploy");
    for variant in &VARIANTS {
        let folder = deploy.join(variant.folder);
        let files = variant.files(&assets)?;
        if update {
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder)?;
            for (name, text) in &files {
                std::fs::write(folder.join(name), text)?;
            }
        }
        let mut found = BTreeMap::new();
        for file in std::fs::read_dir(&folder)? {
            let path = file?.path();
            let name = path.file_name().context("a name")?.to_string_lossy();
            found.insert(name.into_owned(), std::fs::read_to_string(&path)?);
        }
        ensure!(
            found == files,
            "deploy/{} is not what the chart renders: run `just manifests`",
            variant.folder
        );
    }
    for parent in ["variants", "components"] {
        let mut found = BTreeSet::new();
        for folder in std::fs::read_dir(deploy.join(parent))? {
            let name = folder?.file_name();
            found.insert(format!("{parent}/{}", name.to_string_lossy()));
        }
        let known = VARIANTS.iter().map(|variant| variant.folder.to_owned());
        let known: BTreeSet<String> = known.filter(|one| one.starts_with(parent)).collect();
        ensure!(found == known, "{found:?} are not {known:?}");
    }
    Ok(())
}

/// The bindings of each component are for the ServiceAccount of the installation that it is added to.
pub async fn components_follow(assets: Arc<Assets>) -> Result<()> {
    let components = VARIANTS.iter().filter(|one| !one.is_installation());
    let folders: Vec<&str> = components.map(|one| one.folder).collect();
    for (folder, own, namespace) in [
        ("base", "", "kube-system"),
        ("variants/own-namespace", "", "csr-warden"),
        ("variants/cluster-wide", "namespace: mine\n", "mine"),
    ] {
        let text = format!(
            "{own}resources: [deploy/{folder}]\ncomponents:\n  - deploy/{}\n",
            folders.join("\n  - deploy/"),
        );
        let built = kustomize(&assets, Kustomization::new(&text)?.path())?;
        let built = objects(&built)?;
        let account = format!("ServiceAccount {namespace}/csr-warden");
        ensure!(built.contains_key(&account), "{folder}: no {account}");
        let bindings = built.iter().filter(|(key, _)| key.contains("Binding "));
        let subjects: Vec<_> = bindings.map(|(key, one)| (key, &one["subjects"])).collect();
        ensure!(subjects.len() > folders.len(), "{folder}: {subjects:?}");
        for (key, subjects) in subjects {
            let expected = json!([
                {"kind": "ServiceAccount", "name": "csr-warden", "namespace": namespace}
            ]);
            ensure!(*subjects == expected, "{folder}: {key}: {subjects}");
        }
    }
    Ok(())
}

/// kustomize builds each folder, and a real API server accepts it, with and without dry run.
pub async fn are_accepted(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    monitoring_kinds(&cluster).await?;
    for variant in VARIANTS.iter().filter(|one| one.is_installation()) {
        let name = variant.folder;
        let text = kustomize(&assets, &Path::new(ROOT).join("deploy").join(name))?;
        let mut built = objects(&text)?;
        built.retain(|key, _| !key.starts_with("Namespace "));
        let charted = objects(&variant.charted(&assets)?)?;
        ensure!(
            built.keys().eq(charted.keys()),
            "{name}: {:?}",
            built.keys()
        );
        if let Form::OwnNamespace(_) = variant.form {
            let namespace = text.split("---\n").next().unwrap_or_default();
            ensure!(namespace.contains("kind: Namespace"), "{name}: {namespace}");
            let args = ["apply", "--server-side", "-f", "-"];
            let applied = cluster.kubectl_output(&args, namespace).await?;
            ensure!(applied.status.success(), "{name}: {applied:?}");
        }
        apply(&cluster, name, &text).await?;
    }
    Ok(())
}
