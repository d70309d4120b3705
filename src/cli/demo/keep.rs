//! Support for `demo --keep`: a kubeconfig file for other programs, and commands to try with it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::config::Kubeconfig;

/// Kubeconfig file in a new directory that only its owner can read. Dropping it removes both.
pub(in crate::cli) struct KubeconfigFile {
    directory: PathBuf,
    path: PathBuf,
}

impl KubeconfigFile {
    /// Writes the file into a new temporary directory whose name contains `what`. Fails if the
    /// directory exists.
    pub(in crate::cli) fn create(what: &str, kubeconfig: &Kubeconfig) -> Result<KubeconfigFile> {
        let name = format!("csr-warden-{what}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        // Fails if it exists: anyone who created it could read the kubeconfig.
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("cannot create the directory {}", directory.display()))?;
        let file = KubeconfigFile {
            path: directory.join("kubeconfig"),
            directory,
        };
        let text = serde_saphyr::to_string(kubeconfig).context("cannot write the kubeconfig")?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file.path)
            .and_then(|mut opened| opened.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", file.path.display()))?;
        Ok(file)
    }

    /// Path of the kubeconfig file.
    pub(in crate::cli) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for KubeconfigFile {
    fn drop(&mut self) {
        // A leftover file grants no access: its API server has stopped.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Commands to try, as text. Paths are not wrapped, so that they can be copied.
pub(super) fn invitation(kubeconfig: &Path, program: &Path, metrics: &str) -> String {
    let file = program.file_name().unwrap_or("csr-warden".as_ref());
    let name = file.display();
    let directory = program.parent().unwrap_or(Path::new("."));
    format!(
        "
It keeps running. In another terminal:

  export KUBECONFIG={}
  export PATH=\"{}:$PATH\"

  {name} status
  {name} explain NAME
  {name} audit --dial
  {name} doctor
  kubectl get csr
  kubectl get nodes -o wide
  kubectl get events
  curl http://{metrics}/metrics
  {name} run --enforcement DryRun --lease-name look \\
    --log-format text --bind-address 127.0.0.1:0

NAME is the name of a request, which `status` lists. The last command runs a
second daemon, which only logs what it would do. It holds a Lease of its own,
and waits for the next request.

The kubelets are simulated and have no port to dial, as `{name} doctor` and
`{name} audit --dial` report.

Press Ctrl-C to stop it and to remove everything.",
        kubeconfig.display(),
        directory.display()
    )
}
