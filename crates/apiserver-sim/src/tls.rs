//! The TLS listener on loopback, with optional client certificates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::authn::{User, by_certificate};
use super::authority::Authority;
use super::connections::{Connection, Connections};

/// The time that a client has for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of accepted connections that wait to be served.
const BACKLOG: usize = 1024;

/// The peer of a connection, by its client certificate.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) user: Option<Arc<User>>,
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Peer {
        stream.remote_addr().clone()
    }
}

/// The listener. Handshakes run concurrently.
pub(super) struct TlsListener {
    connections: mpsc::Receiver<(TlsStream<Connection>, Peer)>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TlsListener {
    pub(super) fn new(
        listener: TcpListener,
        config: watch::Receiver<Arc<ServerConfig>>,
        line: Arc<Connections>,
    ) -> TlsListener {
        let (send, connections) = mpsc::channel(BACKLOG);
        let accepting = tokio::spawn(accept(listener, config, line, send));
        TlsListener {
            connections,
            accepting,
        }
    }
}

async fn accept(
    listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
    line: Arc<Connections>,
    send: mpsc::Sender<(TlsStream<Connection>, Peer)>,
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of file descriptors: other connections will be closed.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let stream = line.wrap(stream);
        let (config, line, send) = (config.clone(), Arc::clone(&line), send.clone());
        tokio::spawn(async move {
            line.until_thawed().await;
            let acceptor = TlsAcceptor::from(Arc::clone(&config.borrow()));
            let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
            let Ok(Ok(stream)) = shaken else {
                return;
            };
            let certificates = stream.get_ref().1.peer_certificates();
            let user = certificates
                .and_then(|chain| chain.first())
                .and_then(by_certificate);
            let peer = Peer {
                user: user.map(Arc::new),
            };
            // An error means that the server is shutting down.
            let _ = send.send((stream, peer)).await;
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<Connection>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Peer) {
        match self.connections.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Peer> {
        Ok(Peer::default())
    }
}

/// Returns the TLS configuration: HTTP/1.1, with optional client certificates.
pub(super) fn config(
    authority: &Authority,
    dns: &[String],
    addresses: &[IpAddr],
) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .context("the verifier of client certificates")?;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let addresses: Vec<IpAddr> = addresses.iter().copied().chain([loopback]).collect();
    let pair = authority.serving("kube-apiserver", dns, &addresses)?;
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes())
        .context("the API server's certificate")?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).context("the API server's key")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Listens on a port of 127.0.0.1. `None` for any free port.
pub(super) async fn listen(port: Option<u16>) -> Result<(TcpListener, SocketAddr)> {
    let wanted = SocketAddr::from(([127, 0, 0, 1], port.unwrap_or(0)));
    let listener = TcpListener::bind(wanted)
        .await
        .with_context(|| format!("the embedded API server cannot listen on {wanted}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
