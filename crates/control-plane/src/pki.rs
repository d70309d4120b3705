//! Certificates and kubeconfig files of a cluster, as kubeadm creates them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use apiserver_sim as api;
pub use apiserver_sim::request;
use rcgen::KeyPair;
use serde_json::json;

/// The certificate authority of a cluster, with its output directory.
pub struct Authority {
    authority: api::Authority,
    dir: PathBuf,
}

/// Paths of a certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, in PEM.
    pub cert: PathBuf,
    /// The key, PKCS#8 in PEM.
    pub key: PathBuf,
}

impl Authority {
    /// Creates an authority: `ca.crt` and `ca.key` in `dir`.
    pub fn create(dir: &Path) -> Result<Self> {
        let authority = Self {
            authority: api::Authority::new()?,
            dir: dir.to_owned(),
        };
        let pair = authority.pair();
        write(&pair.cert, &authority.pem())?;
        let key = authority.authority.issuer().key();
        write(&pair.key, &key.serialize_pem())?;
        Ok(authority)
    }

    /// Returns the authority's own files.
    pub fn pair(&self) -> Pair {
        Pair {
            cert: self.dir.join("ca.crt"),
            key: self.dir.join("ca.key"),
        }
    }

    /// Returns the authority's certificate in PEM.
    pub fn pem(&self) -> String {
        self.authority.pem()
    }

    /// Signs a serving certificate, `NAME.crt` and `NAME.key`.
    pub fn serving(&self, name: &str, dns: &[String], ips: &[IpAddr]) -> Result<Pair> {
        self.write(name, &self.authority.serving(name, dns, ips)?)
    }

    /// Signs a client certificate, `NAME.crt` and `NAME.key`, of a user in at most two groups.
    pub fn client(&self, name: &str, user: &str, groups: &[&str]) -> Result<Pair> {
        self.write(name, &self.authority.client(user, groups)?)
    }

    fn write(&self, name: &str, signed: &api::Pair) -> Result<Pair> {
        let pair = Pair {
            cert: self.dir.join(format!("{name}.crt")),
            key: self.dir.join(format!("{name}.key")),
        };
        write(&pair.cert, &signed.certificate)?;
        write(&pair.key, &signed.key)?;
        Ok(pair)
    }

    /// Writes a kubeconfig file `NAME.conf` with a client certificate.
    pub fn kubeconfig(&self, name: &str, server: &str, client: &Pair) -> Result<PathBuf> {
        let user = json!({"client-certificate": client.cert, "client-key": client.key});
        self.kubeconfig_file(name, server, &user)
    }

    /// Writes a kubeconfig file `NAME.conf` with a bearer token.
    pub fn kubeconfig_for_token(&self, name: &str, server: &str, token: &str) -> Result<PathBuf> {
        self.kubeconfig_file(name, server, &json!({"token": token}))
    }

    /// Writes a kubeconfig file with the path of a token, which clients re-read.
    pub fn kubeconfig_for_token_file(
        &self,
        name: &str,
        server: &str,
        token: &Path,
    ) -> Result<PathBuf> {
        self.kubeconfig_file(name, server, &json!({"tokenFile": token}))
    }

    fn kubeconfig_file(
        &self,
        name: &str,
        server: &str,
        user: &serde_json::Value,
    ) -> Result<PathBuf> {
        let file = self.dir.join(format!("{name}.conf"));
        let authority = self.pair().cert;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": authority}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": user}],
        });
        write(&file, &serde_json::to_string_pretty(&config)?)?;
        Ok(file)
    }

    /// Creates the key for service account tokens. Verifiers need `NAME.pub`: the API server reads
    /// a PKCS#8 key for signing only.
    pub fn service_account_key(&self, name: &str) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let pair = Pair {
            cert: self.dir.join(format!("{name}.pub")),
            key: self.dir.join(format!("{name}.key")),
        };
        write(&pair.cert, &key.public_key_pem())?;
        write(&pair.key, &key.serialize_pem())?;
        Ok(pair)
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("write `{}`", file.display()))
}
