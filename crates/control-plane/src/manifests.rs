//! What Helm and kustomize make of `deploy/`: the objects, by kind, namespace and name.

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

/// Runs Helm, as one who has never run it before, whatever comes of it.
///
/// `kubeconfig` is where the cluster is, if it needs one.
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
        // Without one it must not find that of a developer.
        .env("KUBECONFIG", kubeconfig.unwrap_or(Path::new("/dev/null")));
    command.output().context("run helm")
}

/// The text of what `helm template` renders into `kube-system` with these more arguments.
pub fn chart(assets: &Assets, args: &[&str]) -> Result<String> {
    let template = ["template", "csr-warden", CHART, "--namespace=kube-system"];
    let output = helm(assets, None, [&template, args].concat())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm template {args:?}: {stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The text of what `kubectl kustomize` makes of this directory.
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

/// A directory with a kustomization of these resources and components of `deploy/`, and more of its
/// fields; dropping it removes it.
pub struct Kustomization {
    directory: tempfile::TempDir,
}

impl Kustomization {
    /// The directory holds a copy of `deploy`, since kustomize reads nothing above its own root.
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// The objects in YAML with any number of documents.
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
