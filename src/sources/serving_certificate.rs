//! The serving certificate that a kubelet presents on its port. If the cluster's CA signed it for
//! the node, it proves what was approved before.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::kubelet_ca::{KubeletCaError, verifier, verify};
use crate::cluster::certificate_fields::serving_certificate;
use crate::cluster::clock::Clock;
use crate::cluster::error::{find, innermost};
#[cfg(test)]
use crate::cluster::simulated_handshakes;
use crate::cluster::tls_verifier::{client_config_by, is_of_validity};
use judge::evidence::Answer;
use judge::policy::ServingCertificatePolicy;

/// Validity of an answer, long enough for the requests of one renewal.
const ANSWER_LIFETIME: Duration = Duration::from_secs(60);
/// Validity of a failure, or of an answer without a usable certificate.
const FAILURE_LIFETIME: Duration = Duration::from_secs(10);

/// Reads serving certificates of kubelets, and trusts those that the cluster's CA has signed.
#[derive(Clone)]
pub struct ServingCertificates {
    tls: TlsConnector,
}

impl ServingCertificates {
    /// A reader that trusts these CA certificates, in DER, and verifies by this clock.
    pub fn new<'a>(
        authorities: impl IntoIterator<Item = &'a [u8]>,
        clock: &Clock,
    ) -> Result<ServingCertificates, KubeletCaError> {
        let verifier = verifier(authorities)?;
        let config = client_config_by(clock, move |(certificate, intermediates, _, now)| {
            verify(&verifier, certificate, intermediates, now)
        });
        Ok(ServingCertificates {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Reads the certificate that a kubelet presents at this address, and returns for how long the
    /// answer is valid.
    pub async fn read(&self, policy: &ServingCertificatePolicy, ip: IpAddr) -> (Answer, Duration) {
        let deadline = Duration::try_from(policy.timeout).unwrap_or(FAILURE_LIFETIME);
        let at = std::net::SocketAddr::new(ip, policy.port);
        match timeout(deadline, self.handshake(at)).await {
            Ok(Ok(certificate)) => match serving_certificate(&certificate) {
                Ok(shown) => (Answer::Certificate(Box::new(shown)), ANSWER_LIFETIME),
                Err(why) => (Answer::Empty(format!("{at}: {why}")), FAILURE_LIFETIME),
            },
            Ok(Err(HandshakeError::Certificate(why))) => {
                let why = format!("{at} shows no certificate of the cluster's CA: {why}");
                (Answer::Empty(why), FAILURE_LIFETIME)
            }
            Ok(Err(HandshakeError::Connection(why))) => {
                (Answer::Failed(format!("{at}: {why}")), FAILURE_LIFETIME)
            }
            Err(_) => {
                let seconds = deadline.as_secs_f32();
                let why = format!("{at}: no answer within {seconds} s");
                (Answer::Failed(why), FAILURE_LIFETIME)
            }
        }
    }

    async fn handshake(
        &self,
        at: std::net::SocketAddr,
    ) -> Result<CertificateDer<'static>, HandshakeError> {
        #[cfg(test)]
        if let Some(shown) = simulated_handshakes::of_host(&at.ip().to_string()).await {
            return shown.ok_or_else(|| HandshakeError::Connection("refused".into()));
        }
        let tcp = TcpStream::connect(at)
            .await
            .map_err(|error| HandshakeError::Connection(error.to_string()))?;
        let name = ServerName::IpAddress(at.ip().into());
        let stream = self.tls.connect(name, tcp).await.map_err(|error| {
            // A certificate that no known time accepts may be the newest: it is no answer.
            let is_of_tls = matches!(
                find(&error),
                Some(refused @ rustls::Error::InvalidCertificate(_)) if !is_of_validity(refused)
            );
            let why = innermost(&error);
            if is_of_tls {
                HandshakeError::Certificate(why)
            } else {
                HandshakeError::Connection(why)
            }
        })?;
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        let certificate = chain.first().cloned();
        certificate.ok_or_else(|| HandshakeError::Connection("it presented no certificate".into()))
    }
}

enum HandshakeError {
    Connection(String),
    Certificate(String),
}
