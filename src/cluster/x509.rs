//! Fields of X.509 certificates: SANs and the end of validity.

use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use thiserror::Error;
use x509_parser::nom;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Error};

use judge::csr::names::San;

/// A certificate whose names cannot be read.
#[derive(Debug, Error)]
pub enum SansError {
    /// The text around it is not PEM.
    #[error("its PEM cannot be read: {0}")]
    Pem(pem::Error),
    /// It is not a certificate.
    #[error("its certificate cannot be read: {0}")]
    Certificate(nom::Err<X509Error>),
    /// It has no SAN extension that can be read.
    #[error("its certificate's SAN cannot be read: {0}")]
    San(X509Error),
}

/// The DNS names and IP addresses of every certificate in a PEM text.
pub fn sans_of_pem(text: &str) -> Result<Vec<San>, SansError> {
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        all.extend(sans(&certificate.map_err(SansError::Pem)?)?);
    }
    Ok(all)
}

/// The DNS names and IP addresses of a certificate. A wildcard is no name of its own and stays
/// out: nodes are never approved for one, and everything under it would be protected.
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

/// When a certificate ends; `None` if it cannot be read.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// An address as a client compares it: an IPv4-mapped one is an IPv4 address to it.
fn ip(bytes: &[u8]) -> Option<San> {
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(San::Ip(ip.to_canonical()))
}
