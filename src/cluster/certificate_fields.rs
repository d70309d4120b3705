//! Fields of X.509 certificates: SANs, the node of a serving certificate, and the validity.

use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use thiserror::Error;
use x509_parser::nom;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Error};

use judge::csr::names::{NodeName, San};
use judge::csr::{NODE_USER_PREFIX, NODES_GROUP};
use judge::evidence::ServingCertificate;

/// A certificate whose SANs cannot be read.
#[derive(Debug, Error)]
pub enum SansError {
    /// The text is not PEM.
    #[error("its PEM cannot be read: {0}")]
    Pem(pem::Error),
    /// The bytes are not a certificate.
    #[error("its certificate cannot be read: {0}")]
    Certificate(nom::Err<X509Error>),
    /// The SAN extension cannot be read.
    #[error("its certificate's SAN cannot be read: {0}")]
    San(X509Error),
}

/// The DNS names and IP addresses of all certificates in a PEM text.
pub fn certificates_of_pem(
    text: &str,
) -> Result<Vec<(CertificateDer<'static>, Vec<San>)>, SansError> {
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(SansError::Pem)?;
        let sans = sans(&certificate)?;
        if !sans.is_empty() {
            all.push((certificate, sans));
        }
    }
    Ok(all)
}

/// The DNS names and IP addresses of a certificate.
///
/// A wildcard is left out: no node is ever approved for one, and it would protect every name under
/// its domain.
pub fn sans(certificate: &CertificateDer<'_>) -> Result<Vec<San>, SansError> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(SansError::Certificate)?;
    let extension = certificate
        .subject_alternative_name()
        .map_err(SansError::San)?;
    let names = extension
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| {
            if let GeneralName::DNSName(name) = name {
                San::from_host_text(name)
            } else if let GeneralName::IPAddress(bytes) = name {
                ip(bytes)
            } else {
                None
            }
        })
        .collect())
}

/// A node's serving certificate. The error is a sentence for a person.
pub fn serving_certificate(certificate: &CertificateDer<'_>) -> Result<ServingCertificate, String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| format!("the certificate cannot be read: {error}"))?;
    let subject = parsed.subject();
    let names: Vec<&str> = subject
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .collect();
    let organizations: Vec<&str> = subject
        .iter_organization()
        .filter_map(|name| name.as_str().ok())
        .collect();
    let owner = match (names.as_slice(), organizations.as_slice()) {
        ([name], [NODES_GROUP]) => name.strip_prefix(NODE_USER_PREFIX),
        _ => None,
    };
    let node = owner
        .and_then(NodeName::parse)
        .ok_or("the certificate is not a node's")?;
    let sans = sans(certificate).map_err(|error| error.to_string())?;
    let issued = parsed.validity().not_before.timestamp();
    Ok(ServingCertificate {
        node,
        issued: Timestamp::from_second(issued).map_err(|error| error.to_string())?,
        sans: sans.into_iter().collect(),
    })
}

/// The first certificate of a PEM text, if it is a node's serving certificate.
pub fn serving_certificate_of_pem(pem: &[u8]) -> Option<ServingCertificate> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    serving_certificate(&certificate).ok()
}

/// `notAfter` of a certificate; `None` if it cannot be read.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// An address as a client compares it: an IPv4-mapped IPv6 address counts as IPv4.
fn ip(bytes: &[u8]) -> Option<San> {
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(San::Ip(ip.to_canonical()))
}
