//! The certificate that a kubelet presents on its port, regardless of its issuer. It is shown to
//! people and is never evidence.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::AlertDescription;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::kubelet_ca::{KubeletCaError, verifier, verify};
use crate::cluster::error::{find, innermost};
use crate::cluster::tls_verifier::client_config;

/// The issuer of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The cluster's CA. The certificate may be invalid for other reasons.
    ClusterCa,
    /// Any other issuer; this is the verifier's error.
    Other(String),
}

/// A port that presented no certificate.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// A kubelet answers and has no certificate yet. Go sends this alert if `GetCertificate`
    /// returns none.
    #[error("it has no certificate to show")]
    NoCertificate,
    /// The port did not answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection failed.
    #[error("{0}")]
    Connection(io::Error),
    /// The handshake failed.
    #[error("{}", innermost(.0))]
    Tls(io::Error),
}

/// Reads certificates from kubelet ports. Only the handshake is sent, so an unknown peer learns
/// nothing.
#[derive(Clone)]
pub struct CertificateProbe {
    tls: TlsConnector,
    /// The verifier; `None` without a CA.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    deadline: Duration,
}

impl CertificateProbe {
    /// A probe that recognizes certificates of these CAs, in DER. `deadline` limits one handshake.
    pub fn new<'a>(
        authorities: impl IntoIterator<Item = &'a [u8]>,
        deadline: Duration,
    ) -> Result<CertificateProbe, KubeletCaError> {
        Ok(CertificateProbe {
            verifier: Some(verifier(authorities)?),
            ..CertificateProbe::without_ca(deadline)
        })
    }

    /// A probe that attributes every certificate to another issuer.
    pub fn without_ca(deadline: Duration) -> CertificateProbe {
        CertificateProbe {
            // Accepts any certificate whose key the peer holds. It is evaluated afterwards.
            tls: TlsConnector::from(Arc::new(client_config(|_| Ok(())))),
            verifier: None,
            deadline,
        }
    }

    /// Reads the certificate chain that is presented at this address. The peer holds the key of its
    /// first certificate.
    pub async fn probe(&self, at: SocketAddr) -> Result<Chain, ProbeError> {
        timeout(self.deadline, self.handshake(at))
            .await
            .unwrap_or(Err(ProbeError::Timeout(self.deadline)))
    }

    async fn handshake(&self, at: SocketAddr) -> Result<Chain, ProbeError> {
        let tcp = TcpStream::connect(at)
            .await
            .map_err(ProbeError::Connection)?;
        let name = ServerName::IpAddress(at.ip().into());
        let stream = self.tls.connect(name, tcp).await.map_err(|error| {
            if is_internal_error_alert(&error) {
                ProbeError::NoCertificate
            } else {
                ProbeError::Tls(error)
            }
        })?;
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        let (end_entity, intermediates) = chain.split_first().ok_or(ProbeError::NoCertificate)?;
        Ok(Chain {
            end_entity: end_entity.clone().into_owned(),
            intermediates: intermediates
                .iter()
                .map(|one| one.clone().into_owned())
                .collect(),
        })
    }

    /// The issuer of a chain at this time, regardless of its names.
    pub fn signed_by(&self, chain: &Chain, then: Timestamp) -> Trust {
        let Some(verifier) = &self.verifier else {
            return Trust::Other("no CA of the cluster is known".into());
        };
        let second = u64::try_from(then.as_second()).unwrap_or_default();
        let then = UnixTime::since_unix_epoch(Duration::from_secs(second));
        match verify(verifier, &chain.end_entity, &chain.intermediates, then) {
            Ok(()) => Trust::ClusterCa,
            Err(error) => Trust::Other(error.to_string()),
        }
    }
}

/// A certificate chain that was presented.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The server's own certificate.
    pub end_entity: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
}

fn is_internal_error_alert(error: &io::Error) -> bool {
    matches!(
        find(error),
        Some(rustls::Error::AlertReceived(
            AlertDescription::InternalError
        ))
    )
}
