//! The certificates and kubeconfig files of a cluster, as kubeadm would make them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use apiserver_sim as api;
pub use apiserver_sim::request;
use rcgen::KeyPair;
use serde_json::json;

/// The certificate authority of a cluster, and the directory that it writes to.
pub struct Authority {
    authority: api::Authority,
    dir: PathBuf,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// PEM of the certificate.
    pub cert: PathBuf,
    /// PEM of the key, PKCS#8.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority: `ca.crt` and `ca.key` in `dir`.
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

    /// The authority's own files.
    pub fn pair(&self) -> Pair {
        Pair {
            cert: self.dir.join("ca.crt"),
            key: self.dir.join("ca.key"),
        }
    }

    /// The authority's certificate in PEM.
    pub fn pem(&self) -> String {
        self.authority.pem()
    }

    /// A serving certificate, `NAME.crt` and `NAME.key`.
    pub fn serving(&self, name: &str, dns: &[String], ips: &[IpAddr]) -> Result<Pair> {
        self.write(name, &self.authority.serving(name, dns, ips)?)
    }

    /// A client certificate, `NAME.crt` and `NAME.key`, of a user in at most two groups.
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

    /// A kubeconfig file `NAME.conf` for a client certificate.
    pub fn kubeconfig(&self, name: &str, server: &str, client: &Pair) -> Result<PathBuf> {
        let user = json!({"client-certificate": client.cert, "client-key": client.key});
        self.kubeconfig_file(name, server, &user)
    }

    /// A kubeconfig file `NAME.conf` for a bearer token.
    pub fn kubeconfig_for_token(&self, name: &str, server: &str, token: &str) -> Result<PathBuf> {
        self.kubeconfig_file(name, server, &json!({"token": token}))
    }

    /// The same for a token that is read from a file again and again.
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

    /// The key that signs service account tokens. Verification takes `NAME.pub`: the API server reads
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
