//! CA certificates that verify kubelets' serving certificates.

use rustls::RootCertStore;
use rustls::client::VerifierBuilderError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
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

/// A root store of these certificates, in DER.
pub(super) fn root_store<'a>(
    certificates: impl IntoIterator<Item = &'a [u8]>,
) -> Result<RootCertStore, KubeletCaError> {
    let mut roots = RootCertStore::empty();
    for der in certificates {
        roots
            .add(CertificateDer::from(der.to_vec()))
            .map_err(KubeletCaError::Certificate)?;
    }
    if roots.is_empty() {
        return Err(KubeletCaError::Missing);
    }
    Ok(roots)
}
