//! Manifests that Helm and kustomize render from `deploy/`, by kind, namespace and name.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::assets::Assets;

/// The root of this repository.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// The chart.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/helm/csr-warden");

/// Objects by `Kind namespace/name`.
pub type Objects = BTreeMap<String, Value>;

/// Runs Helm without any configuration of the user, and returns its output with any exit code.
///
/// `kubeconfig` is the file of the cluster, if one is needed.
pub fn helm(
    assets: &Assets,
    kubeconfig: Option<&Path>,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<Output> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new(&assets.helm);
    command
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        // Without this, Helm would use a developer's kubeconfig.
        .env("KUBECONFIG", kubeconfig.unwrap_or(Path::new("/dev/null")));
    command.output().context("run helm")
}

/// Runs `helm template` for `kube-system` with these additional arguments, and an image for
/// kustomize to replace. The Pod of `helm test` is left out.
pub fn chart(assets: &Assets, args: &[&str]) -> Result<String> {
    template(assets, &[&["--skip-tests"], args].concat())
}

/// Runs `helm template` as [`chart`] does, also for the Pod of `helm test`.
pub fn template(assets: &Assets, args: &[&str]) -> Result<String> {
    let fixed = [
        "template",
        "csr-warden",
        CHART,
        "--namespace=kube-system",
        "--set=image.repository=csr-warden",
    ];
    let output = helm(assets, None, [&fixed, args].concat())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm template {args:?}: {stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs `kubectl kustomize` on this directory.
pub fn kustomize(assets: &Assets, directory: &Path) -> Result<String> {
    let output = Command::new(&assets.kubectl)
        .arg("kustomize")
        .arg(directory)
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let shown = directory.display();
    ensure!(output.status.success(), "kustomize {shown}: {stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

/// A directory with a kustomization of resources and components of `deploy/`. It is removed when
/// dropped.
pub struct Kustomization {
    directory: tempfile::TempDir,
}

impl Kustomization {
    /// Creates the directory with a copy of `deploy`, since kustomize reads nothing above its root.
    pub fn new(text: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let copied = Command::new("cp")
            .args(["-r", &format!("{ROOT}/deploy")])
            .arg(directory.path())
            .status()?;
        ensure!(copied.success(), "{copied}");
        std::fs::write(directory.path().join("kustomization.yaml"), text)?;
        Ok(Self { directory })
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Parses the objects of a YAML stream.
pub fn objects(text: &str) -> Result<Objects> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    let mut objects = Objects::new();
    for document in documents.into_iter().filter(|one| !one.is_null()) {
        let field = |path| document.pointer(path).and_then(Value::as_str);
        let kind = field("/kind").context("an object without a kind")?;
        let name = field("/metadata/name").context("an object without a name")?;
        let namespace = field("/metadata/namespace").unwrap_or_default();
        let key = format!("{kind} {namespace}/{name}");
        let twice = objects.insert(key.clone(), document);
        ensure!(twice.is_none(), "{key} is there twice");
    }
    Ok(objects)
}
