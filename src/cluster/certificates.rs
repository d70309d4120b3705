//! What the API servers are called, read off their serving certificates: one handshake with the
//! configured server and with every endpoint shows virtual addresses, load balancers and all.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Config;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::certificate_check::client_config;
use super::error::innermost;
use judge::csr::names::San;
use judge::evidence::{IdentityKind, Protection};

/// How long one handshake may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The name that clients inside of the cluster reach every API server by.
const IN_CLUSTER_NAME: &str = "kubernetes.default.svc";

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
    pub fn known_by(&self, certificate: &CertificateDer<'_>) -> Result<Vec<San>, String> {
        let mut sans = sans(certificate)?;
        sans.extend(San::from_host_text(&self.host));
        Ok(sans)
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
    pub fn new(config: &Config) -> Result<CertificateReader, String> {
        let mut roots = RootCertStore::empty();
        for der in config.root_cert.iter().flatten() {
            let certificate = CertificateDer::from(der.clone());
            roots
                .add(certificate)
                .map_err(|error| format!("the CA certificate: {error}"))?;
        }
        if roots.is_empty() {
            return Err("the kubeconfig has no certificate-authority, \
                        so no API server's certificate can be verified"
                .into());
        }
        let verifier = WebPkiServerVerifier::builder(Arc::new(roots))
            .build()
            .map_err(|error| error.to_string())?;
        let mut names = vec![IN_CLUSTER_NAME.to_owned()];
        names.extend(config.tls_server_name.clone());
        names.extend(ApiServer::configured(config).map(|server| server.host));
        let names = names
            .into_iter()
            .filter_map(|name| ServerName::try_from(name).ok())
            .collect();
        Ok(CertificateReader {
            tls: TlsConnector::from(Arc::new(any_of_names(verifier, names))),
        })
    }

    /// The certificate of one API server, which can be read.
    pub async fn read(&self, server: &ApiServer) -> Result<CertificateDer<'static>, String> {
        let failed = |why: String| format!("{}: {why}", server.url());
        timeout(DEADLINE, self.handshake(server))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", DEADLINE.as_secs())))
            .map_err(failed)
    }

    async fn handshake(&self, server: &ApiServer) -> Result<CertificateDer<'static>, String> {
        let name = ServerName::try_from(server.host.clone()).map_err(|error| error.to_string())?;
        let tcp = TcpStream::connect((server.host.as_str(), server.port))
            .await
            .map_err(|error| error.to_string())?;
        let stream = self
            .tls
            .connect(name, tcp)
            .await
            .map_err(|error| innermost(&error))?;
        let (_, session) = stream.get_ref();
        let certificate = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .ok_or("it showed no certificate")?;
        sans(certificate)?;
        Ok(certificate.clone().into_owned())
    }
}

/// The DNS names and IP addresses of every certificate in a PEM text.
pub fn sans_of_pem(text: &str) -> Result<Vec<San>, String> {
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate =
            certificate.map_err(|error| format!("its PEM cannot be read: {error}"))?;
        all.extend(sans(&certificate)?);
    }
    Ok(all)
}

/// The DNS names and IP addresses of a certificate. A wildcard is no name of its own and stays
/// out: nodes are never approved for one, and everything under it would be protected.
pub fn sans(certificate: &CertificateDer<'_>) -> Result<Vec<San>, String> {
    let (_, certificate) = X509Certificate::from_der(certificate)
        .map_err(|error| format!("its certificate cannot be read: {error}"))?;
    let extension = certificate
        .subject_alternative_name()
        .map_err(|error| format!("its certificate's SAN cannot be read: {error}"))?;
    let names = extension
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| {
            if let GeneralName::DNSName(name) = name {
                San::from_host_text(name)
            } else if let GeneralName::IPAddress(bytes) = name {
                ip(bytes)
            } else {
                None
            }
        })
        .collect())
}

/// When a certificate ends; `None` if it cannot be read.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// An address as a client compares it: an IPv4-mapped one is an IPv4 address to it.
fn ip(bytes: &[u8]) -> Option<San> {
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(San::Ip(ip.to_canonical()))
}

/// Verifies as the verifier does, for any of the names that an API server may have: an endpoint need
/// not have its own address in its certificate, and a kubelet's certificate, which the same CA may
/// have signed, has none of these names.
fn any_of_names(
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
