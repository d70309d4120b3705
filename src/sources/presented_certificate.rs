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

use super::kubelet_ca::{AuthorityError, roots};
use crate::cluster::error::{find, innermost};
use crate::cluster::tls_verifier::client_config;

/// Who has signed a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The cluster's CA, whatever else may be wrong with it.
    OfCluster,
    /// Somebody else, and what the verifier says.
    Other(String),
}

/// Why a port showed no certificate.
#[derive(Debug, Error)]
pub enum NotShown {
    /// A kubelet is there and has none yet: Go answers so if its `GetCertificate` has none to give.
    #[error("it has no certificate to show")]
    HasNone,
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
pub struct KubeletPorts {
    tls: TlsConnector,
    /// `None` without any CA.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    deadline: Duration,
}

impl KubeletPorts {
    /// Tells certificates of these CAs, in DER, from others. One handshake may take so long.
    pub fn new<'a>(
        authorities: impl IntoIterator<Item = &'a [u8]>,
        deadline: Duration,
    ) -> Result<KubeletPorts, AuthorityError> {
        let verifier = WebPkiServerVerifier::builder(Arc::new(roots(authorities)?))
            .build()
            .map_err(AuthorityError::Verifier)?;
        Ok(KubeletPorts {
            verifier: Some(verifier),
            ..KubeletPorts::without_authority(deadline)
        })
    }

    /// Takes every certificate for that of somebody else.
    pub fn without_authority(deadline: Duration) -> KubeletPorts {
        KubeletPorts {
            // Any certificate whose key the peer has: it is looked at afterwards.
            tls: TlsConnector::from(Arc::new(client_config(|_| Ok(())))),
            verifier: None,
            deadline,
        }
    }

    /// The certificate that is shown there and those behind it, by somebody who has its key.
    pub async fn look_at(&self, at: SocketAddr) -> Result<Chain, NotShown> {
        timeout(self.deadline, self.handshake(at))
            .await
            .unwrap_or(Err(NotShown::Timeout(self.deadline)))
    }

    async fn handshake(&self, at: SocketAddr) -> Result<Chain, NotShown> {
        let tcp = TcpStream::connect(at).await.map_err(NotShown::Connection)?;
        let name = ServerName::IpAddress(at.ip().into());
        let stream = self.tls.connect(name, tcp).await.map_err(|error| {
            if is_no_certificate(&error) {
                NotShown::HasNone
            } else {
                NotShown::Tls(error)
            }
        })?;
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        let (first, behind) = chain.split_first().ok_or(NotShown::HasNone)?;
        Ok(Chain {
            first: first.clone().into_owned(),
            behind: behind.iter().map(|one| one.clone().into_owned()).collect(),
        })
    }

    /// Who has signed it, as of a moment, whatever its names are.
    pub fn signed_by(&self, chain: &Chain, then: UnixTime) -> Trust {
        let Some(verifier) = &self.verifier else {
            return Trust::Other("no CA of the cluster is known".into());
        };
        // Names are looked at last, so that any does.
        let name = ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into());
        match verifier.verify_server_cert(&chain.first, &chain.behind, &name, &[], then) {
            Ok(_) => Trust::OfCluster,
            Err(error) if is_of_cluster(&error) => Trust::OfCluster,
            Err(error) => Trust::Other(error.to_string()),
        }
    }
}

/// What a port showed.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The server's own.
    pub first: CertificateDer<'static>,
    behind: Vec<CertificateDer<'static>>,
}

fn is_no_certificate(error: &io::Error) -> bool {
    matches!(
        find(error),
        Some(rustls::Error::AlertReceived(
            AlertDescription::InternalError
        ))
    )
}

/// Names are looked at after signatures: who is refused for these is of the cluster's CA.
fn is_of_cluster(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(error) = error else {
        return false;
    };
    matches!(
        error,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    )
}
