//! TLS verification by a custom check of the server's certificate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::clock::Clock;

/// The server's certificate, its intermediates, its OCSP response, and the current time.
type Presented<'a> = (
    &'a CertificateDer<'a>,
    &'a [CertificateDer<'a>],
    &'a [u8],
    UnixTime,
);

/// A TLS configuration without a client certificate that accepts what the check accepts. The
/// handshake always proves that the server holds the certificate's key.
pub fn client_config(
    check: impl Fn(Presented<'_>) -> Result<(), rustls::Error> + Send + Sync + 'static,
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(CheckVerifier { check, provider }))
        .with_no_client_auth()
}

/// The same, by the API server's time, and by the machine's clock if the certificate is not valid then. An API
/// server whose clock is wrong must not hide the certificates of others.
pub fn client_config_by(
    clock: &Clock,
    check: impl Fn(Presented<'_>) -> Result<(), rustls::Error> + Send + Sync + 'static,
) -> ClientConfig {
    let machine = clock.clone();
    let mut config = client_config(move |(certificate, intermediates, ocsp, now)| {
        match check((certificate, intermediates, ocsp, now)) {
            Err(error) if is_of_validity(&error) => {
                let second = u64::try_from(machine.time_of_day().as_second()).unwrap_or_default();
                let now = UnixTime::since_unix_epoch(Duration::from_secs(second));
                check((certificate, intermediates, ocsp, now))
            }
            checked => checked,
        }
    });
    config.time_provider = Arc::new(clock.clone());
    config
}

/// Returns true if a certificate is not valid yet, or has expired.
pub fn is_of_validity(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
                | CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
        )
    )
}

struct CheckVerifier<F> {
    check: F,
    provider: Arc<CryptoProvider>,
}

impl<F> fmt::Debug for CheckVerifier<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckVerifier")
    }
}

impl<F> ServerCertVerifier for CheckVerifier<F>
where
    F: Fn(Presented<'_>) -> Result<(), rustls::Error> + Send + Sync,
{
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialed: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        (self.check)((end_entity, intermediates, ocsp_response, now))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
