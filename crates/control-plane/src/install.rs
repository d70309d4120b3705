//! An installation of csr-warden with the manifests. Its ServiceAccount has only the rights of the
//! manifests. The daemon runs as a process next to the cluster, which has no Pods.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::bound_token::BoundToken;
use super::cluster::Cluster;
use super::daemon::Daemon;
use super::ports;

/// The manifests of every installation.
const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/base");

/// An installation, from which any number of replicas can be started.
pub struct Installation {
    binary: PathBuf,
    kubeconfig: PathBuf,
    dir: PathBuf,
}

impl Installation {
    /// Applies the manifests and requests a token of the ServiceAccount.
    pub async fn apply(cluster: &Cluster, binary: &Path) -> Result<Self> {
        cluster
            .kubectl(&["apply", "--server-side", "-k", BASE])
            .await?;
        Self::of(cluster, binary, "kube-system").await
    }

    /// Returns the installation in this namespace, whose manifests are applied already.
    pub async fn of(cluster: &Cluster, binary: &Path, namespace: &str) -> Result<Self> {
        let token = cluster.token(namespace, "csr-warden").await?;
        Ok(Self {
            binary: binary.to_owned(),
            kubeconfig: cluster.kubeconfig_for_token(&token)?,
            dir: cluster.dir().to_owned(),
        })
    }

    /// Returns an installation whose replicas have this token.
    pub fn with_token(&self, cluster: &Cluster, token: &str) -> Result<Self> {
        Ok(Self {
            binary: self.binary.clone(),
            kubeconfig: cluster.kubeconfig_for_token(token)?,
            dir: self.dir.clone(),
        })
    }

    /// Returns an installation whose replicas use this URL of the API server, and a token that can
    /// be revoked.
    pub fn through(&self, cluster: &Cluster, server: &str, token: &BoundToken) -> Result<Self> {
        let authority = cluster.authority();
        Ok(Self {
            binary: self.binary.clone(),
            kubeconfig: authority.kubeconfig_for_token_file("through", server, token.file())?,
            dir: self.dir.clone(),
        })
    }

    /// Returns the kubeconfig with the ServiceAccount's token.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Starts a replica. `name` is the name of its log.
    pub fn start(&self, name: &str, args: &[&str]) -> Result<Daemon> {
        let [port] = ports::free::<1>()?;
        self.start_at(name, SocketAddr::from(([127, 0, 0, 1], port)), args)
    }

    /// Starts a replica with its HTTP server at this address.
    pub fn start_at(&self, name: &str, address: SocketAddr, args: &[&str]) -> Result<Daemon> {
        let kubeconfig = self.kubeconfig.to_str().context("a path that is no text")?;
        let bind = address.to_string();
        let mut all = vec!["run", "--kubeconfig", kubeconfig, "--bind-address", &bind];
        all.extend_from_slice(args);
        let host = [("HOSTNAME", name.to_owned())];
        Daemon::start(&self.binary, name, &self.dir, address, all, host)
    }
}
