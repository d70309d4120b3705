//! Checks of all issued certificates, decoded from the certificates themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::ListParams;
use kube::{Api, Client};
use x509_parser::prelude::{GeneralName, X509Certificate, parse_x509_pem};

/// The names that a requestor may have.
pub struct Served {
    pub may_have: BTreeSet<String>,
}

/// Names and addresses that no certificate may contain.
const PROTECTED_NAMES: [&str; 3] = ["kubernetes", "localhost", "api.example.com"];
const PROTECTED_DOMAINS: [&str; 3] = [".svc", ".cluster.local", ".k8s.example"];
const PROTECTED_NETWORKS: [&str; 7] = [
    "10.96.0.0/16",
    "10.244.0.0/16",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "192.0.2.10/32",
    "203.0.113.7/32",
    "::1/128",
];

/// Checks the certificate of every request. Returns the numbers of certificates and of nodes.
pub async fn check(admin: &Client, served: &BTreeMap<String, Served>) -> Result<(usize, usize)> {
    let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
    let (mut certificates, mut holders) = (0, BTreeSet::new());
    for request in api.list(&ListParams::default()).await?.items {
        let Some(pem) = request.status.and_then(|status| status.certificate) else {
            continue;
        };
        let name = request.metadata.name.context("name")?;
        let requestor = request.spec.username.context("requestor")?;
        let served = served
            .get(&requestor)
            .with_context(|| format!("{name}: {requestor} has a certificate and no Node"))?;
        let (_, pem) = parse_x509_pem(&pem.0)?;
        check_one(&pem.parse_x509()?, &requestor, served)
            .with_context(|| format!("certificate of {name}"))?;
        certificates += 1;
        holders.insert(requestor);
    }
    Ok((certificates, holders.len()))
}

/// Checks that the certificate is a serving certificate of this node.
pub fn is_serving(certificate: &X509Certificate<'_>, requestor: &str) -> Result<()> {
    let expected = format!("O=system:nodes, CN={requestor}");
    let subject = certificate.subject().to_string();
    ensure!(subject == expected, "expected {expected}, found {subject}");
    ensure!(!certificate.is_ca(), "it is a CA");
    let usage = certificate
        .extended_key_usage()?
        .context("no extended key usage")?
        .value;
    ensure!(
        usage.server_auth && !usage.client_auth && !usage.any,
        "{usage:?}"
    );
    Ok(())
}

fn check_one(certificate: &X509Certificate<'_>, requestor: &str, served: &Served) -> Result<()> {
    is_serving(certificate, requestor)?;
    let names = certificate.subject_alternative_name()?.context("no SAN")?;
    for name in &names.value.general_names {
        let text = if let GeneralName::DNSName(name) = name {
            ensure!(!is_protected_name(name), "{name} is protected");
            (*name).to_owned()
        } else if let GeneralName::IPAddress(bytes) = name {
            let ip = address(bytes).with_context(|| format!("IP {bytes:?}"))?;
            for network in PROTECTED_NETWORKS {
                let network: ipnet::IpNet = network.parse()?;
                ensure!(!network.contains(&ip), "{ip} is protected by {network}");
            }
            ip.to_string()
        } else {
            bail!("{name:?}");
        };
        ensure!(
            served.may_have.contains(&text),
            "{text} is not among {:?}",
            served.may_have
        );
    }
    Ok(())
}

fn is_protected_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_lowercase();
    name.starts_with("kubernetes.default")
        || PROTECTED_NAMES.iter().any(|other| name == *other)
        || PROTECTED_DOMAINS
            .iter()
            .any(|domain| name.ends_with(domain))
        || name.contains('*')
}

/// Decodes the IP address in a SAN.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    match <[u8; 4]>::try_from(bytes) {
        Ok(four) => Some(four.into()),
        Err(_) => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}
