//! A fake kubelet port: it presents a certificate and serves the kubelet's configuration or given
//! responses, or it never answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// The TLS record with which Go rejects a connection without a certificate: alert, TLS 1.2, two
/// bytes, fatal, internal_error.
const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// A listening port. It is closed when dropped.
pub struct KubeletPort {
    accepting: JoinHandle<()>,
    connections: watch::Receiver<usize>,
}

impl Drop for KubeletPort {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl KubeletPort {
    /// Presents this chain, and reports `serverTLSBootstrap` in `/configz`.
    pub async fn start(
        at: SocketAddr,
        chain_pem: &[u8],
        key_pem: &str,
        bootstrap: bool,
    ) -> Result<Self> {
        Self::answering(at, chain_pem, key_pem, move |_| configz(bootstrap)).await
    }

    /// Presents this chain, and responds to each path and query with a body.
    pub async fn answering(
        at: SocketAddr,
        chain_pem: &[u8],
        key_pem: &str,
        answer: impl Fn(&str) -> String + Clone + Send + 'static,
    ) -> Result<Self> {
        Self::responding(at, chain_pem, key_pem, move |path| {
            whole(200, &answer(path))
        })
        .await
    }

    /// Presents this chain, and responds to each request with this error, as the API server renders
    /// its own.
    pub async fn failing(
        at: SocketAddr,
        chain_pem: &[u8],
        key_pem: &str,
        message: &str,
    ) -> Result<Self> {
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": "InternalError", "code": 500,
        });
        let response = whole(500, &status.to_string());
        Self::responding(at, chain_pem, key_pem, move |_| response.clone()).await
    }

    async fn responding(
        at: SocketAddr,
        chain_pem: &[u8],
        key_pem: &str,
        respond: impl Fn(&str) -> String + Clone + Send + 'static,
    ) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(chain_pem).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())?;
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::serving(at, move |stream| {
            let (acceptor, respond) = (acceptor.clone(), respond.clone());
            async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await?);
                }
                let request = String::from_utf8_lossy(&request);
                let path = request.split(' ').nth(1).unwrap_or_default();
                stream.write_all(respond(path).as_bytes()).await?;
                stream.shutdown().await
            }
        })
        .await
    }

    /// Rejects connections because it has no certificate.
    pub async fn without_certificate(at: SocketAddr) -> Result<Self> {
        Self::serving(at, |mut stream| async move {
            // Closing before the ClientHello is read would reset the connection.
            let _ = stream.read(&mut [0; 4096]).await?;
            stream.write_all(&INTERNAL_ERROR).await?;
            stream.shutdown().await
        })
        .await
    }

    /// Accepts connections and never answers.
    pub async fn silent(at: SocketAddr) -> Result<Self> {
        Self::serving(at, |mut stream| async move {
            stream.read_to_end(&mut Vec::new()).await.map(drop)
        })
        .await
    }

    async fn serving<F>(
        at: SocketAddr,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await?;
        let (count, connections) = watch::channel(0);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                tokio::spawn(serve(stream));
            }
        });
        Ok(Self {
            accepting,
            connections,
        })
    }

    /// Waits until this many connections have been accepted.
    pub async fn accepted(&self, least: usize, deadline: Duration) -> Result<()> {
        let mut connections = self.connections.clone();
        let enough = connections.wait_for(|count| *count >= least);
        let waited = timeout(deadline, enough).await;
        waited.with_context(|| format!("{least} connections after {deadline:?}"))??;
        Ok(())
    }

    /// Closes the port, whose address is free afterwards.
    pub async fn close(mut self) {
        self.accepting.abort();
        // The result is that of the abort.
        let _ = (&mut self.accepting).await;
    }
}

/// Renders `/configz` as a kubelet does, which omits false values.
fn configz(bootstrap: bool) -> String {
    let field = if bootstrap {
        r#","serverTLSBootstrap":true"#
    } else {
        ""
    };
    format!(r#"{{"kubeletconfig":{{"enableServer":true{field}}}}}"#)
}

/// Renders a response with this status and body. No client checks its content type.
fn whole(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Creates a key and a node's request for these names.
pub fn request(node: &str, dns: &[&str], ips: &[Ipv4Addr]) -> Result<(String, String)> {
    use rcgen::{DnType, DnValue, SanType};
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let printable = |text: &str| anyhow::Ok(DnValue::PrintableString(text.try_into()?));
    let subject = &mut params.distinguished_name;
    subject.push(DnType::OrganizationName, printable("system:nodes")?);
    subject.push(
        DnType::CommonName,
        printable(&format!("system:node:{node}"))?,
    );
    for name in dns {
        let name = (*name).try_into()?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    let ips = ips.iter().map(|ip| SanType::IpAddress((*ip).into()));
    params.subject_alt_names.extend(ips);
    Ok((params.serialize_request(&key)?.pem()?, key.serialize_pem()))
}
