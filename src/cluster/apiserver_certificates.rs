//! Serving certificates of the API servers, and the SANs in them.
//!
//! One handshake with the configured server and one with each endpoint find every name and address
//! of the API server. Virtual IPs and load balancers are among them.

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

use super::certificate_fields::{SansError, sans};
use super::clock::Clock;
use super::error::innermost;
use super::proxy::{ProxyConnector, ProxyError};
use super::tls_verifier::client_config_by;
use judge::csr::Fingerprint;
use judge::csr::names::San;
use judge::evidence::{IdentityKind, Protection, ServedCertificate};

/// Deadline of one handshake.
const DEADLINE: Duration = Duration::from_secs(5);
/// The DNS name that in-cluster clients use for every API server.
const IN_CLUSTER_NAME: &str = "kubernetes.default.svc";

/// A CA that cannot verify an API server.
#[derive(Debug, Error)]
pub enum ClusterCaError {
    /// The configuration has no CA.
    #[error(
        "the kubeconfig has no certificate-authority, so no API server's certificate can be verified"
    )]
    Missing,
    /// A certificate of the CA cannot be used.
    #[error("the CA certificate: {0}")]
    Certificate(rustls::Error),
    /// The TLS library rejects the CA.
    #[error("{0}")]
    Verifier(VerifierBuilderError),
    /// The proxy before the configured server cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// A serving certificate that could not be read.
#[derive(Debug, Error)]
#[error("{server}: {failure}")]
pub struct ReadCertificateError {
    /// The server's URL.
    pub server: String,
    /// The cause.
    pub failure: HandshakeError,
}

/// A handshake without a readable certificate.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The server did not answer in time.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    /// The host is not a name that TLS supports.
    #[error("{0}")]
    Host(InvalidDnsNameError),
    /// The connection failed.
    #[error("{0}")]
    Connection(io::Error),
    /// The handshake failed, or the certificate is not trusted.
    #[error("{}", innermost(.0))]
    Tls(io::Error),
    /// The server presented no certificate.
    #[error("it presented no certificate")]
    NoCertificate,
    /// The SANs of the certificate cannot be read.
    #[error(transparent)]
    Sans(#[from] SansError),
}

/// Host and port of an API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiServer {
    /// DNS name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl ApiServer {
    /// The server of a kubeconfig or in-cluster configuration; `None` if it has no host.
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

    /// Origin of the identities in this server's certificate, as findings name it.
    pub fn origin(&self) -> String {
        format!("certificate of {}", self.url())
    }

    /// The protection of this server's identities: the SANs of its certificate, and the host that was
    /// dialed. The host counts even if the certificate lacks it.
    pub fn protection(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Result<Protection, ReadCertificateError> {
        let mut sans = sans(certificate).map_err(|error| self.failed(error.into()))?;
        let host = San::from_host_text(&self.host);
        sans.extend(host.clone());
        Ok(Protection {
            origin: self.origin(),
            kind: IdentityKind::ApiServerIdentity,
            sans,
            networks: Vec::new(),
            certificate: Some(ServedCertificate {
                host,
                sha256: Fingerprint::of(certificate),
            }),
        })
    }

    fn failed(&self, failure: HandshakeError) -> ReadCertificateError {
        let server = self.url();
        ReadCertificateError { server, failure }
    }

    /// The server's URL, with brackets around an IPv6 address.
    pub fn url(&self) -> String {
        if self.host.contains(':') {
            format!("https://[{}]:{}", self.host, self.port)
        } else {
            format!("https://{}:{}", self.host, self.port)
        }
    }
}

/// Reads serving certificates that the cluster's CA has signed.
#[derive(Clone)]
pub struct CertificateReader {
    tls: TlsConnector,
    /// The configured server, and the proxy before it. Endpoints are reached directly.
    configured: Option<(ApiServer, ProxyConnector)>,
}

impl CertificateReader {
    /// A reader that trusts the CA of this configuration, and verifies by this clock.
    pub fn new(config: &Config, clock: &Clock) -> Result<CertificateReader, ClusterCaError> {
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
        let tls = accept_any_name(verifier, names, clock);
        let connector = ProxyConnector::new(config.proxy_url.as_ref())?;
        Ok(CertificateReader {
            tls: TlsConnector::from(Arc::new(tls)),
            configured: ApiServer::configured(config).map(|server| (server, connector)),
        })
    }

    /// Returns the certificate of one API server. Its SANs are known to be readable.
    pub async fn read(
        &self,
        server: &ApiServer,
    ) -> Result<CertificateDer<'static>, ReadCertificateError> {
        timeout(DEADLINE, self.handshake(server))
            .await
            .unwrap_or(Err(HandshakeError::Timeout))
            .map_err(|failure| server.failed(failure))
    }

    async fn open(&self, server: &ApiServer) -> io::Result<TcpStream> {
        match &self.configured {
            Some((configured, connector)) if configured == server => {
                let url = server.url().parse().map_err(io::Error::other)?;
                connector.connect(url).await.map_err(io::Error::other)
            }
            Some(_) | None => TcpStream::connect((server.host.as_str(), server.port)).await,
        }
    }

    async fn handshake(
        &self,
        server: &ApiServer,
    ) -> Result<CertificateDer<'static>, HandshakeError> {
        #[cfg(test)]
        if let Some(shown) = super::simulated_handshakes::of_host(&server.host).await {
            return shown.ok_or(HandshakeError::NoCertificate);
        }
        let name = ServerName::try_from(server.host.clone()).map_err(HandshakeError::Host)?;
        let tcp = self
            .open(server)
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

/// A TLS configuration that accepts a certificate for any of these names.
///
/// The certificate of an endpoint may lack the endpoint's own address. A kubelet's certificate may
/// have the same issuer, but has none of these names.
fn accept_any_name(
    verifier: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
    clock: &Clock,
) -> ClientConfig {
    client_config_by(clock, move |(certificate, intermediates, ocsp, now)| {
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
