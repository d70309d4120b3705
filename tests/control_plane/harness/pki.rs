//! The certificates and kubeconfig files of a cluster, as kubeadm would make them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use serde_json::json;

/// The certificate authority of a cluster, and the directory that it writes to.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
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
        let mut params = params("kubernetes", &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = Self {
            issuer,
            dir: dir.to_owned(),
        };
        let pair = authority.pair();
        write(&pair.cert, &authority.issuer.pem())?;
        write(&pair.key, &authority.issuer.key().serialize_pem())?;
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
        self.issuer.pem()
    }

    /// A serving certificate, `NAME.crt` and `NAME.key`.
    pub fn serving(&self, name: &str, dns: &[String], ips: &[IpAddr]) -> Result<Pair> {
        let mut params = params(name, &[])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in dns {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.as_str().try_into()?));
        }
        params
            .subject_alt_names
            .extend(ips.iter().copied().map(SanType::IpAddress));
        self.sign(name, params)
    }

    /// A client certificate, `NAME.crt` and `NAME.key`, of a user in at most two groups.
    pub fn client(&self, name: &str, user: &str, groups: &[&str]) -> Result<Pair> {
        let mut params = params(user, groups)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, params)
    }

    fn sign(&self, name: &str, mut params: CertificateParams) -> Result<Pair> {
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        let pair = Pair {
            cert: self.dir.join(format!("{name}.crt")),
            key: self.dir.join(format!("{name}.key")),
        };
        write(&pair.cert, &cert.pem())?;
        write(&pair.key, &key.serialize_pem())?;
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

/// A certificate signing request in PEM with a key that is thrown away.
pub fn request(user: &str, groups: &[&str]) -> Result<String> {
    Ok(params(user, groups)?
        .serialize_request(&KeyPair::generate()?)?
        .pem()?)
}

fn params(common_name: &str, organizations: &[&str]) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    // Whatever the authority signs ends with the authority: years, so that no test meets it.
    let year = i32::from(
        jiff::Timestamp::now()
            .to_zoned(jiff::tz::TimeZone::UTC)
            .year(),
    );
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + 10, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    // rcgen keeps one value for each type of attribute; spelling the type differently gives a second.
    let types = [
        DnType::OrganizationName,
        DnType::CustomDnType(vec![2, 5, 4, 10]),
    ];
    ensure!(
        organizations.len() <= types.len(),
        "at most two groups, not {organizations:?}"
    );
    for (organization, kind) in organizations.iter().zip(types) {
        params.distinguished_name.push(kind, *organization);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("write `{}`", file.display()))
}
