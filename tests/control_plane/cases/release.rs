//! The artifacts of a release, installed as users install them.
//!
//! `deploy/release/check` sets `CSR_WARDEN_RELEASE` to the directory of the artifacts, and `CSR_WARDEN_KREW`
//! to the program. Without the directory these cases do not exist.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::fleet::{self, Fleet};
use control_plane::install::Installation;
use control_plane::manifests::helm;

const RELEASE: &str = "CSR_WARDEN_RELEASE";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const NAMESPACE: &str = "csr-warden";
const SOON: Duration = Duration::from_secs(60);
/// The architecture, by the name that images and archives have.
const ARCH: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};

pub fn cases() -> Vec<Case> {
    if std::env::var_os(RELEASE).is_none() {
        return Vec::new();
    }
    vec![
        Case::new("release_serves_kubelets", Needs::Nothing, serves_kubelets),
        Case::new("release_applies_twice", Needs::Nothing, applies_twice),
        Case::new("release_is_a_plugin", Needs::Nothing, is_a_plugin),
    ]
}

fn artifact(name: &str) -> Result<PathBuf> {
    let directory = std::env::var_os(RELEASE).context(RELEASE)?;
    let file = Path::new(&directory).join(name);
    file.canonicalize()
        .with_context(|| format!("no artifact {}", file.display()))
}

/// Runs a program that must succeed, and returns its output.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

/// Unpacks the layers of the image and returns the path of its program.
fn program_of_image(into: &Path) -> Result<PathBuf> {
    let archive = artifact(&format!("csr-warden-linux-{ARCH}.oci.tar"))?;
    let unpack = |archive: &Path| {
        let mut tar = Command::new("tar");
        run(tar.arg("-xf").arg(archive).arg("-C").arg(into))
    };
    unpack(&archive)?;
    let json =
        |file: &Path| -> Result<Value> { Ok(serde_json::from_slice(&std::fs::read(file)?)?) };
    let blob = |reference: &Value| -> Result<PathBuf> {
        let digest = reference["digest"].as_str().context("no digest")?;
        Ok(into.join("blobs").join(digest.replace(':', "/")))
    };
    let manifest = json(&blob(&json(&into.join("index.json"))?["manifests"][0])?)?;
    for layer in manifest["layers"].as_array().context("no layers")? {
        unpack(&blob(layer)?)?;
    }
    Ok(into.join("csr-warden"))
}

/// The image's program serves 25 kubelets, with only the rights that the packed chart grants.
async fn serves_kubelets(assets: Arc<Assets>) -> Result<()> {
    let unpacked = tempfile::tempdir()?;
    let program = program_of_image(unpacked.path())?;
    let chart = artifact(&format!("csr-warden-{VERSION}.tgz"))?;
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let install = ["install", "csr-warden", text(&chart)?, "--create-namespace"];
    let values = [
        "--namespace=csr-warden",
        "--set=image.repository=registry.example.org/csr-warden",
    ];
    let kubeconfig = Some(cluster.admin_kubeconfig());
    let installed = helm(&assets, kubeconfig, [&install[..], &values].concat())?;
    let stderr = String::from_utf8_lossy(&installed.stderr);
    ensure!(installed.status.success(), "{stderr}");

    let installation = Installation::of(&cluster, &program, NAMESPACE).await?;
    let mut daemon = installation.start("csr-warden", &["--lease-namespace", NAMESPACE])?;
    daemon.wait_ready(SOON).await?;
    let mut fleet = Fleet::start(&assets, &cluster, &fleet::Options::nodes(25))?;
    fleet.wait_all_issued(SOON).await?;
    let issued = fleet.latest().len();
    ensure!(issued == 25, "{issued} kubelets were served");
    ensure!(fleet.errors().is_empty(), "{:?}", fleet.errors());
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}

/// Each manifest is applied without a warning. A second time changes nothing.
async fn applies_twice(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let directory = artifact("")?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    let is_manifest = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("install") && name.ends_with(".yaml")
    };
    files.retain(is_manifest);
    files.sort();
    ensure!(files.len() >= 2, "{files:?}");
    for file in &files {
        let file = text(file)?;
        let mut versions = Vec::new();
        for _ in 0..2 {
            let apply = ["apply", "--server-side", "-f", file];
            let output = cluster.kubectl_output(&apply, "").await?;
            let stderr = String::from_utf8_lossy(&output.stderr);
            let clean = output.status.success() && stderr.is_empty();
            ensure!(clean, "{file}: {}\n{stderr}", output.status);
            let version = "-o=jsonpath={range .items[*]}{.kind} {.metadata.name} \
                           {.metadata.resourceVersion}{\"\\n\"}{end}";
            versions.push(cluster.kubectl(&["get", "-f", file, version]).await?);
        }
        let [first, second] = &versions[..] else {
            bail!("{file}: expected two results, found {versions:?}");
        };
        ensure!(first.lines().count() > 10, "{file}: {first}");
        ensure!(first == second, "{file}:\n{first}\nthen\n{second}");
        cluster
            .kubectl(&["diff", "--server-side", "-f", file])
            .await?;
    }
    Ok(())
}

/// krew installs the archive by the manifest, and kubectl finds the plugin.
async fn is_a_plugin(assets: Arc<Assets>) -> Result<()> {
    let home = tempfile::tempdir()?;
    let archive = artifact(&format!("csr-warden-linux-{ARCH}.tar.gz"))?;
    let manifest = artifact("csr-warden.yaml")?;
    let path = std::env::var("PATH")?;
    let path = format!("{}/bin:{path}", home.path().display());
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command.env("KREW_ROOT", home.path()).env("PATH", &path);
        command
    };
    let krew = std::env::var_os("CSR_WARDEN_KREW").context("CSR_WARDEN_KREW")?;
    let mut install = command(Path::new(&krew));
    install.args(["install", "--manifest", text(&manifest)?]);
    run(install.args(["--archive", text(&archive)?]))?;

    let cluster = Cluster::start(&assets, Options::default()).await?;
    let plugin = |args: &[&str]| {
        let mut kubectl = command(&assets.kubectl);
        kubectl.env("KUBECONFIG", cluster.admin_kubeconfig());
        run(kubectl.arg("csr-warden").args(args))
    };
    let version = plugin(&["--version"])?;
    ensure!(version.contains(VERSION), "{version}");
    let status: Value = serde_json::from_str(&plugin(&["status", "-o", "json"])?)?;
    ensure!(status.is_object(), "{status}");

    // krew links only the program.
    let store = home.path().join(format!("store/csr-warden/v{VERSION}"));
    let completion = "kubectl_complete-csr_warden";
    std::os::unix::fs::symlink(
        store.join(completion),
        home.path().join("bin").join(completion),
    )?;
    let mut complete = command(&assets.kubectl);
    let completed = run(complete.args(["__complete", "csr-warden", "do"]))?;
    ensure!(completed.starts_with("doctor\t"), "{completed}");
    Ok(())
}
