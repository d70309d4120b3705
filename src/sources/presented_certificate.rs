//! The certificate on a kubelet's port, whoever has signed it: for people who look at what is in use.
//! It is evidence for nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::kubelet_ca::{KubeletCaError, root_store};
use crate::cluster::error::{find, innermost};
use crate::cluster::tls_verifier::client_config;

/// Who has signed a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The cluster's CA, whatever else may be wrong with it.
    ClusterCa,
    /// Somebody else, and what the verifier says.
    Other(String),
}

/// Why a port showed no certificate.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// A kubelet is there and has none yet: Go answers so if its `GetCertificate` has none to give.
    #[error("it has no certificate to show")]
    NoCertificate,
    /// The port did not answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The port cannot be reached.
    #[error("{0}")]
    Connection(io::Error),
    /// The handshake failed.
    #[error("{}", innermost(.0))]
    Tls(io::Error),
}

/// Looks at kubelets' ports. Nothing is sent but the handshake, so nothing is lost if it is somebody
/// else's.
#[derive(Clone)]
pub struct CertificateProbe {
    tls: TlsConnector,
    /// `None` without any CA.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    deadline: Duration,
}

impl CertificateProbe {
    /// Tells certificates of these CAs, in DER, from others. One handshake may take so long.
    pub fn new<'a>(
        authorities: impl IntoIterator<Item = &'a [u8]>,
        deadline: Duration,
    ) -> Result<CertificateProbe, KubeletCaError> {
        let verifier = WebPkiServerVerifier::builder(Arc::new(root_store(authorities)?))
            .build()
            .map_err(KubeletCaError::Verifier)?;
        Ok(CertificateProbe {
            verifier: Some(verifier),
            ..CertificateProbe::without_ca(deadline)
        })
    }

    /// Takes every certificate for that of somebody else.
    pub fn without_ca(deadline: Duration) -> CertificateProbe {
        CertificateProbe {
            // Any certificate whose key the peer has: it is looked at afterwards.
            tls: TlsConnector::from(Arc::new(client_config(|_| Ok(())))),
            verifier: None,
            deadline,
        }
    }

    /// The certificate that is shown there and those behind it, by somebody who has its key.
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

    /// Who has signed it, as of a moment, whatever its names are.
    pub fn signed_by(&self, chain: &Chain, then: UnixTime) -> Trust {
        let Some(verifier) = &self.verifier else {
            return Trust::Other("no CA of the cluster is known".into());
        };
        // Names are looked at last, so that any does.
        let name = ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into());
        match verifier.verify_server_cert(&chain.end_entity, &chain.intermediates, &name, &[], then)
        {
            Ok(_) => Trust::ClusterCa,
            Err(error) if is_signed_by_cluster_ca(&error) => Trust::ClusterCa,
            Err(error) => Trust::Other(error.to_string()),
        }
    }
}

/// What a port showed.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The server's own.
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

/// Names are looked at after signatures: who is refused for these is of the cluster's CA.
fn is_signed_by_cluster_ca(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(error) = error else {
        return false;
    };
    matches!(
        error,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    )
}
