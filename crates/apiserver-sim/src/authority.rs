//! The cluster's certificate authority.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

/// A certificate and its key, both in PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key, PKCS#8.
    pub key: String,
}

/// The certificate authority of a cluster. It signs serving and client certificates, as kubeadm's
/// does.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Creates an authority with a new key.
    pub fn new() -> Result<Authority> {
        let mut params = params("kubernetes", &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Authority { issuer })
    }

    /// Returns its certificate in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Returns its certificate in DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        self.issuer.der()
    }

    /// Returns the issuer, for a signer of requests.
    pub fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// Signs a client certificate for a user in at most two groups.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Pair> {
        let mut params = params(user, groups)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// Signs a serving certificate with this common name, these DNS names and addresses.
    pub fn serving(&self, name: &str, dns: &[String], addresses: &[IpAddr]) -> Result<Pair> {
        let mut params = params(name, &[])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in dns {
            let name = name.as_str().try_into()?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let addresses = addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Pair> {
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(Pair {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// Creates a certificate request in PEM for a user in at most two groups. Its key is discarded.
pub fn request(user: &str, groups: &[&str]) -> Result<String> {
    let request = params(user, groups)?.serialize_request(&KeyPair::generate()?)?;
    Ok(request.pem()?)
}

fn params(common_name: &str, organizations: &[&str]) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    // Certificates expire with the authority, after years: no test lives that long.
    let year = i32::from(Timestamp::now().to_zoned(TimeZone::UTC).year());
    params.not_before = date_time_ymd(year.saturating_sub(1), 1, 1);
    params.not_after = date_time_ymd(year.saturating_add(10), 1, 1);
    params.distinguished_name = DistinguishedName::new();
    // rcgen keeps one value for each type. Another spelling of the type gives a second value.
    let types = [
        DnType::OrganizationName,
        DnType::CustomDnType(vec![2, 5, 4, 10]),
    ];
    ensure!(
        organizations.len() <= types.len(),
        "a client certificate holds at most two groups here, found {organizations:?}; use a token"
    );
    for (organization, kind) in organizations.iter().zip(types) {
        params.distinguished_name.push(kind, *organization);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

/// Renders the kubeconfig of a client, with all certificates embedded.
pub(super) fn kubeconfig(
    server: &str,
    authority: &str,
    user: &serde_json::Value,
) -> Result<kube::config::Kubeconfig> {
    let authority = encode(authority);
    serde_json::from_value(serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "csr-warden",
        "clusters": [{"name": "csr-warden", "cluster": {
            "server": server, "certificate-authority-data": authority,
        }}],
        "contexts": [{"name": "csr-warden", "context": {
            "cluster": "csr-warden", "user": "csr-warden",
        }}],
        "users": [{"name": "csr-warden", "user": user}],
    }))
    .context("the kubeconfig of the embedded API server")
}

/// Encodes bytes as Kubernetes does, in base64.
pub(super) fn encode(text: &str) -> serde_json::Value {
    let bytes = k8s_openapi::ByteString(text.as_bytes().to_vec());
    serde_json::to_value(bytes).unwrap_or_default()
}
