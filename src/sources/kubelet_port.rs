//! The certificate on a kubelet's port, whoever has signed it: for people who look at what is in use.
//! It is evidence for nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::cluster::error::innermost;

/// How long one handshake may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Who has signed a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The cluster's CA, whatever else may be wrong with it.
    OfCluster,
    /// Somebody else, and what the verifier says.
    Other(String),
}

/// Looks at kubelets' ports.
pub struct KubeletPorts {
    tls: TlsConnector,
    verifier: Arc<WebPkiServerVerifier>,
}

impl KubeletPorts {
    /// Tells certificates of these CAs, in DER, from others.
    pub fn new<'a>(
        authorities: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<KubeletPorts, String> {
        let mut roots = RootCertStore::empty();
        for der in authorities {
            roots
                .add(CertificateDer::from(der.to_vec()))
                .map_err(|error| format!("the CA of kubelets: {error}"))?;
        }
        let verifier = WebPkiServerVerifier::builder(Arc::new(roots))
            .build()
            .map_err(|error| format!("the CA of kubelets: {error}"))?;
        let config = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(verifier.clone())))
            .with_no_client_auth();
        Ok(KubeletPorts {
            tls: TlsConnector::from(Arc::new(config)),
            verifier,
        })
    }

    /// The certificate that is shown there, by somebody who has its key. The error says why there is
    /// none.
    pub async fn look_at(
        &self,
        at: SocketAddr,
    ) -> Result<(CertificateDer<'static>, Trust), String> {
        let chain = timeout(DEADLINE, self.handshake(at))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", DEADLINE.as_secs())))?;
        let (first, others) = chain.split_first().ok_or("it showed no certificate")?;
        let name = ServerName::IpAddress(at.ip().into());
        let now = UnixTime::now();
        let verified = self
            .verifier
            .verify_server_cert(first, others, &name, &[], now);
        let trust = match verified {
            Ok(_) => Trust::OfCluster,
            Err(error) if is_of_cluster(&error) => Trust::OfCluster,
            Err(error) => Trust::Other(error.to_string()),
        };
        Ok((first.clone(), trust))
    }

    async fn handshake(&self, at: SocketAddr) -> Result<Vec<CertificateDer<'static>>, String> {
        let tcp = TcpStream::connect(at)
            .await
            .map_err(|error| error.to_string())?;
        let name = ServerName::IpAddress(at.ip().into());
        let stream = self
            .tls
            .connect(name, tcp)
            .await
            .map_err(|error| innermost(&error))?;
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        Ok(chain.iter().map(|one| one.clone().into_owned()).collect())
    }
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

/// Takes every certificate, of whoever proves to have its key.
#[derive(Debug)]
struct AnyCertificate(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
