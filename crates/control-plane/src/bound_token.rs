//! A token of csr-warden's ServiceAccount that can be revoked. It is bound to a Secret, as a Pod's
//! token is to its Pod, and invalid without it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::cluster::Cluster;

const NAMESPACE: &str = "kube-system";
/// The API server caches a successful token review for ten seconds.
const TOKEN_CACHE_TTL: Duration = Duration::from_secs(30);

/// A token in a file, which can be renewed and revoked.
pub struct BoundToken {
    file: PathBuf,
    secret: String,
    token: String,
    renewed: u32,
}

impl BoundToken {
    /// Creates the first token, in a file of the cluster's directory.
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

    /// Returns the file with the latest token.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Writes a new token to the file. The previous one stays valid until it is revoked.
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

    /// Revokes the latest token, and waits until the API server rejects it.
    pub async fn revoke(&self, cluster: &Cluster) -> Result<()> {
        let secret = ["delete", "secret", &self.secret, "--namespace", NAMESPACE];
        cluster.kubectl(&secret).await?;
        let https = cluster.https()?;
        https
            .wait("/version", Some(&self.token), 401, TOKEN_CACHE_TTL)
            .await
    }
}
