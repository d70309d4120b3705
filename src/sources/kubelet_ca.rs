//! CA certificates that verify kubelets' serving certificates.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};
use thiserror::Error;

/// CA certificates that cannot be used.
#[derive(Clone, Debug, Error)]
pub enum KubeletCaError {
    /// The list is empty.
    #[error("there is no CA certificate to verify kubelets with")]
    Missing,
    /// A certificate cannot be used.
    #[error("the CA of kubelets: {0}")]
    Certificate(rustls::Error),
    /// The TLS library rejects them.
    #[error("the CA of kubelets: {0}")]
    Verifier(VerifierBuilderError),
}

/// Decodes the certificates of a PEM text to DER.
pub fn parse_pem(text: &[u8]) -> Result<Vec<Vec<u8>>, pem::Error> {
    CertificateDer::pem_slice_iter(text)
        .map(|der| der.map(|der| der.to_vec()))
        .collect()
}

/// A verifier of chains by these CA certificates, in DER.
pub(super) fn verifier<'a>(
    authorities: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Arc<WebPkiServerVerifier>, KubeletCaError> {
    let mut roots = RootCertStore::empty();
    for der in authorities {
        roots
            .add(CertificateDer::from(der.to_vec()))
            .map_err(KubeletCaError::Certificate)?;
    }
    if roots.is_empty() {
        return Err(KubeletCaError::Missing);
    }
    WebPkiServerVerifier::builder(Arc::new(roots))
        .build()
        .map_err(KubeletCaError::Verifier)
}

/// Verifies a chain at this time, regardless of the names in it: a certificate says whose it is, wherever
/// it is shown.
pub(super) fn verify(
    verifier: &WebPkiServerVerifier,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let any_name = ServerName::IpAddress(IpAddr::from(Ipv4Addr::UNSPECIFIED).into());
    match verifier.verify_server_cert(end_entity, intermediates, &any_name, &[], now) {
        Ok(_) => Ok(()),
        // Names are verified last.
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => Ok(()),
        Err(error) => Err(error),
    }
}
