//! A token of csr-warden's ServiceAccount that can be taken from it: it is bound to a Secret, as those
//! of Pods are to their Pod, and void without.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::cluster::Cluster;

const NAMESPACE: &str = "kube-system";
/// The API server remembers for ten seconds that a token was good.
const TOKEN_CACHE_TTL: Duration = Duration::from_secs(30);

/// A token in a file, which can be renewed.
pub struct BoundToken {
    file: PathBuf,
    secret: String,
    token: String,
    renewed: u32,
}

impl BoundToken {
    /// A first token, in a file of the cluster's directory.
    pub async fn create(cluster: &Cluster) -> Result<Self> {
        let mut token = Self {
            file: cluster.dir().join("csr-warden.token"),
            secret: String::new(),
            token: String::new(),
            renewed: 0,
        };
        token.renew(cluster).await?;
        Ok(token)
    }

    /// The file that always has the last one.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Puts another one into the file; the one before stays good until it is revoked.
    pub async fn renew(&mut self, cluster: &Cluster) -> Result<()> {
        self.renewed += 1;
        self.secret = format!("csr-warden-token-{}", self.renewed);
        let secret = ["secret", "generic", &self.secret, "--namespace", NAMESPACE];
        cluster
            .kubectl(&[&["create"], secret.as_slice()].concat())
            .await?;
        let bound = [
            "create",
            "token",
            "csr-warden",
            "--namespace",
            NAMESPACE,
            "--bound-object-kind=Secret",
            "--bound-object-name",
            &self.secret,
        ];
        self.token = cluster.kubectl(&bound).await?.trim().to_owned();
        std::fs::write(&self.file, &self.token)?;
        Ok(())
    }

    /// Makes the last one void, and waits until the API server refuses it.
    pub async fn revoke(&self, cluster: &Cluster) -> Result<()> {
        let secret = ["delete", "secret", &self.secret, "--namespace", NAMESPACE];
        cluster.kubectl(&secret).await?;
        let https = cluster.https()?;
        https
            .wait("/version", Some(&self.token), 401, TOKEN_CACHE_TTL)
            .await
    }
}
