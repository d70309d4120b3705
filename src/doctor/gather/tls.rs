//! One handshake with a kubelet. Whatever certificate it shows is taken and looked at afterwards:
//! nothing is sent to it, so nothing is lost if it is somebody else's.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::cluster::certificates::sans;
use crate::cluster::error::innermost;
use crate::doctor::facts::{Certificate, Dialled, SignedBy};

/// Reads what kubelets show.
#[derive(Clone)]
pub(super) struct Dialler {
    tls: TlsConnector,
    /// `None` without any authority.
    cluster: Option<Arc<WebPkiServerVerifier>>,
    deadline: Duration,
}

impl Dialler {
    /// Certificates signed by one of these authorities, in DER, are the cluster's.
    pub(super) fn new(authorities: &[Vec<u8>], deadline: Duration) -> Dialler {
        let mut roots = RootCertStore::empty();
        // One that cannot be read verifies nothing.
        roots.add_parsable_certificates(authorities.iter().cloned().map(CertificateDer::from));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let cluster =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let tls = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        Dialler {
            tls: TlsConnector::from(Arc::new(tls)),
            cluster: cluster.ok(),
            deadline,
        }
    }

    pub(super) async fn dial(&self, address: IpAddr, port: u16) -> Dialled {
        match timeout(self.deadline, self.handshake(address, port)).await {
            Ok(dialled) => dialled,
            Err(_) => Dialled::Failed(format!("no answer within {} s", self.deadline.as_secs())),
        }
    }

    async fn handshake(&self, address: IpAddr, port: u16) -> Dialled {
        let tcp = match TcpStream::connect(SocketAddr::new(address, port)).await {
            Ok(tcp) => tcp,
            Err(error) => return Dialled::Failed(error.to_string()),
        };
        let name = ServerName::IpAddress(address.into());
        let stream = match self.tls.connect(name, tcp).await {
            Ok(stream) => stream,
            Err(error) if has_no_certificate(&error) => return Dialled::NoCertificate,
            Err(error) => return Dialled::Failed(innermost(&error)),
        };
        let (_, session) = stream.get_ref();
        match session.peer_certificates() {
            Some([leaf, chain @ ..]) => match self.read(address, leaf, chain) {
                Ok(certificate) => Dialled::Certificate(Box::new(certificate)),
                Err(why) => Dialled::Failed(why),
            },
            Some([]) | None => Dialled::NoCertificate,
        }
    }

    fn read(
        &self,
        address: IpAddr,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
    ) -> Result<Certificate, String> {
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|error| format!("the certificate cannot be read: {error}"))?;
        let time = |seconds: i64| {
            Timestamp::from_second(seconds)
                .map_err(|_| "the certificate has a time that is none".to_owned())
        };
        let validity = parsed.validity();
        let not_after = time(validity.not_after.timestamp())?;
        let signed_by = if self.signed_by_cluster(address, leaf, chain, not_after) {
            SignedBy::Cluster
        } else if signs_itself(&parsed) {
            SignedBy::Itself
        } else {
            SignedBy::Other(parsed.issuer().to_string())
        };
        let mut common_names = parsed.subject().iter_common_name();
        let common_name = common_names.next().and_then(|name| name.as_str().ok());
        Ok(Certificate {
            address,
            common_name: common_name.unwrap_or_default().to_owned(),
            signed_by,
            not_before: time(validity.not_before.timestamp())?,
            not_after,
            sans: sans(leaf)?.into_iter().collect(),
        })
    }

    /// Whether there is a way to an authority, whatever its names, and as of a moment at which the
    /// certificate still held.
    fn signed_by_cluster(
        &self,
        address: IpAddr,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        not_after: Timestamp,
    ) -> bool {
        let Some(cluster) = &self.cluster else {
            return false;
        };
        let last = u64::try_from(not_after.as_second()).unwrap_or_default();
        let then = UnixTime::since_unix_epoch(Duration::from_secs(last.saturating_sub(1)));
        let name = ServerName::IpAddress(address.into());
        match cluster.verify_server_cert(leaf, chain, &name, &[], then) {
            // Names are looked at last.
            Ok(_)
            | Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => true,
            Err(_) => false,
        }
    }
}

/// Go answers so if its `GetCertificate` has none to give.
fn has_no_certificate(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        matches!(
            inner.downcast_ref::<rustls::Error>(),
            Some(rustls::Error::AlertReceived(
                AlertDescription::InternalError
            ))
        )
    })
}

/// A kubelet without serverTLSBootstrap makes an authority `NAME-ca@SECONDS` and signs `NAME@SECONDS`
/// with it (client-go `util/cert/cert.go`).
fn signs_itself(certificate: &X509Certificate<'_>) -> bool {
    let (subject, issuer) = (certificate.subject(), certificate.issuer());
    if subject.as_raw() == issuer.as_raw() {
        return true;
    }
    let mut names = issuer.iter_common_name();
    let name = names.next().and_then(|name| name.as_str().ok());
    name.and_then(|name| name.rsplit_once("-ca@"))
        .is_some_and(|(_, time)| !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit()))
}

/// Takes any certificate whose key the peer has.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
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
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
