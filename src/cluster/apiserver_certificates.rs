//! What the API servers are called, read off their serving certificates: one handshake with the
//! configured server and with every endpoint shows virtual addresses, load balancers and all.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kube::Config;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::innermost;
use super::tls_verifier::client_config;
use super::x509::{SansError, sans};
use judge::csr::names::San;
use judge::evidence::{IdentityKind, Protection};

/// How long one handshake may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The name that clients inside of the cluster reach every API server by.
const IN_CLUSTER_NAME: &str = "kubernetes.default.svc";

/// A configuration whose CA cannot verify an API server.
#[derive(Debug, Error)]
pub enum ClusterCaError {
    /// It has no CA.
    #[error(
        "the kubeconfig has no certificate-authority, so no API server's certificate can be verified"
    )]
    Missing,
    /// A certificate of its CA cannot be used.
    #[error("the CA certificate: {0}")]
    Certificate(rustls::Error),
    /// The TLS library refuses the CA.
    #[error("{0}")]
    Verifier(VerifierBuilderError),
}

/// An API server whose certificate could not be read.
#[derive(Debug, Error)]
#[error("{server}: {failure}")]
pub struct ReadCertificateError {
    /// The server's URL.
    pub server: String,
    /// The reason.
    pub failure: HandshakeError,
}

/// A handshake that showed no certificate with readable names.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The server did not answer in time.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    /// Its host is no name that TLS can ask for.
    #[error("{0}")]
    Host(InvalidDnsNameError),
    /// It cannot be reached.
    #[error("{0}")]
    Connection(io::Error),
    /// TLS failed, or the certificate is not trusted.
    #[error("{}", innermost(.0))]
    Tls(io::Error),
    /// It showed no certificate.
    #[error("it showed no certificate")]
    NoCertificate,
    /// The names in its certificate cannot be read.
    #[error(transparent)]
    Sans(#[from] SansError),
}

/// An API server to be asked for its certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiServer {
    /// A name or address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl ApiServer {
    /// The server that a configuration points to; `None` if it has no host.
    pub fn configured(config: &Config) -> Option<ApiServer> {
        let url = &config.cluster_url;
        let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
        let https = url.scheme_str() != Some("http");
        Some(ApiServer {
            host: host.to_owned(),
            port: url.port_u16().unwrap_or(if https { 443 } else { 80 }),
        })
    }

    /// An endpoint of the Service `kubernetes`.
    pub fn endpoint(san: &San, port: u16) -> ApiServer {
        let host = match san {
            San::Ip(ip) => ip.to_string(),
            San::Dns(name) => name.to_string(),
        };
        ApiServer { host, port }
    }

    /// What protects the names in its certificate, as people are told of it.
    pub fn origin(&self) -> String {
        format!("certificate of {}", self.url())
    }

    /// What is protected because this server is known by these names and addresses.
    pub fn protection(&self, sans: Vec<San>) -> Protection {
        Protection {
            origin: self.origin(),
            kind: IdentityKind::ApiServerIdentity,
            sans,
            networks: Vec::new(),
        }
    }

    /// What clients know this server by: the names in its certificate, and the one that is
    /// dialled, whether it is there or not.
    pub fn identities(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Result<Vec<San>, ReadCertificateError> {
        let mut sans = sans(certificate).map_err(|error| self.failed(error.into()))?;
        sans.extend(San::from_host_text(&self.host));
        Ok(sans)
    }

    fn failed(&self, failure: HandshakeError) -> ReadCertificateError {
        let server = self.url();
        ReadCertificateError { server, failure }
    }

    /// Its address as a URL has it.
    pub fn url(&self) -> String {
        if self.host.contains(':') {
            format!("https://[{}]:{}", self.host, self.port)
        } else {
            format!("https://{}:{}", self.host, self.port)
        }
    }
}

/// Reads certificates of servers that the cluster's CA vouches for.
#[derive(Clone)]
pub struct CertificateReader {
    tls: TlsConnector,
}

impl CertificateReader {
    /// A reader that trusts what this configuration trusts.
    pub fn new(config: &Config) -> Result<CertificateReader, ClusterCaError> {
        let mut roots = RootCertStore::empty();
        for der in config.root_cert.iter().flatten() {
            let certificate = CertificateDer::from(der.clone());
            roots
                .add(certificate)
                .map_err(ClusterCaError::Certificate)?;
        }
        if roots.is_empty() {
            return Err(ClusterCaError::Missing);
        }
        let verifier = WebPkiServerVerifier::builder(Arc::new(roots))
            .build()
            .map_err(ClusterCaError::Verifier)?;
        let mut names = vec![IN_CLUSTER_NAME.to_owned()];
        names.extend(config.tls_server_name.clone());
        names.extend(ApiServer::configured(config).map(|server| server.host));
        let names = names
            .into_iter()
            .filter_map(|name| ServerName::try_from(name).ok())
            .collect();
        Ok(CertificateReader {
            tls: TlsConnector::from(Arc::new(accept_any_name(verifier, names))),
        })
    }

    /// The certificate of one API server, which can be read.
    pub async fn read(
        &self,
        server: &ApiServer,
    ) -> Result<CertificateDer<'static>, ReadCertificateError> {
        timeout(DEADLINE, self.handshake(server))
            .await
            .unwrap_or(Err(HandshakeError::Timeout))
            .map_err(|failure| server.failed(failure))
    }

    async fn handshake(
        &self,
        server: &ApiServer,
    ) -> Result<CertificateDer<'static>, HandshakeError> {
        let name = ServerName::try_from(server.host.clone()).map_err(HandshakeError::Host)?;
        let tcp = TcpStream::connect((server.host.as_str(), server.port))
            .await
            .map_err(HandshakeError::Connection)?;
        let stream = self
            .tls
            .connect(name, tcp)
            .await
            .map_err(HandshakeError::Tls)?;
        let (_, session) = stream.get_ref();
        let certificate = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .ok_or(HandshakeError::NoCertificate)?;
        sans(certificate)?;
        Ok(certificate.clone().into_owned())
    }
}

/// Verifies as the verifier does, for any of the names that an API server may have: an endpoint need
/// not have its own address in its certificate, and a kubelet's certificate, which the same CA may
/// have signed, has none of these names.
fn accept_any_name(
    verifier: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
) -> ClientConfig {
    client_config(move |(certificate, intermediates, ocsp, now)| {
        let mut refused = rustls::Error::General("no name to verify with".into());
        for name in &names {
            match verifier.verify_server_cert(certificate, intermediates, name, ocsp, now) {
                Ok(_) => return Ok(()),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    })
}
