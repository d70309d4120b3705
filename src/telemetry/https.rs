//! HTTPS for the server: a certificate that is read again when its files change, and handshakes
//! that hold up nobody else.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::sources::watched_file;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes at the same time. One more ends the oldest: whoever opens connections and says
/// nothing keeps no probe waiting.
const MAX_HANDSHAKES: usize = 128;

/// A certificate and its key that cannot be used.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// One of the files cannot be read.
    #[error(transparent)]
    File(#[from] watched_file::ReadError),
    /// The files' contents cannot be used.
    #[error("{} and {}: {cause}", chain.display(), key.display())]
    Pair {
        /// The file of the certificate.
        chain: PathBuf,
        /// The file of its key.
        key: PathBuf,
        /// The reason.
        cause: PairError,
    },
}

/// A certificate and a key that no server can show. The error never holds any of the key.
#[derive(Debug, Error)]
pub enum PairError {
    /// The certificate is not PEM.
    #[error("the certificate: {0}")]
    Pem(pem::Error),
    /// There is no certificate.
    #[error("expected certificates in PEM, found none")]
    NoCertificate,
    /// There is no key.
    #[error("expected a private key in PEM, found none")]
    NoKey,
    /// The key is not that of the certificate.
    #[error("certificate and key do not go together: {0}")]
    Mismatch(rustls::Error),
}

/// Where the certificate and its key are, and what they held last.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    chain: PathBuf,
    key: PathBuf,
    texts: (String, String),
    current: Arc<CurrentCertificate>,
}

/// The certificate that is current now.
#[derive(Debug)]
struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().ok().map(|current| current.clone())
    }
}

impl ServerCertificate {
    /// Reads both files, in PEM.
    pub fn read(chain: PathBuf, key: PathBuf) -> Result<ServerCertificate, CertificateError> {
        let (texts, pair) = load(&chain, &key)?;
        Ok(ServerCertificate {
            chain,
            key,
            texts,
            current: Arc::new(CurrentCertificate(RwLock::new(Arc::new(pair)))),
        })
    }

    /// How connections are made that show it.
    fn server_config(&self) -> ServerConfig {
        let mut server_config = ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        server_config.alpn_protocols = vec![b"http/1.1".to_vec()];
        server_config
    }

    /// Shows another certificate when the files hold one. Does not end.
    async fn follow(self) {
        let (chain, key) = self.texts.clone();
        let reload = |_| {
            self.reload();
            std::future::ready(true)
        };
        tokio::join!(
            watched_file::follow(self.chain.clone(), chain, reload),
            watched_file::follow(self.key.clone(), key, reload),
        );
    }

    fn reload(&self) {
        let read = load(&self.chain, &self.key);
        match (read, self.current.0.write()) {
            (Ok((_, pair)), Ok(mut current)) => {
                *current = Arc::new(pair);
                tracing::info!("the certificate of the HTTPS server was read anew");
            }
            (Err(error), _) => tracing::warn!(
                "the certificate of the HTTPS server cannot be used, the last one stays: {error}"
            ),
            (Ok(_), Err(_)) => {}
        }
    }
}

/// The texts of both files, and the pair in them.
fn load(chain: &Path, key: &Path) -> Result<((String, String), CertifiedKey), CertificateError> {
    let texts = (watched_file::read(chain)?, watched_file::read(key)?);
    match pair(&texts) {
        Ok(pair) => Ok((texts, pair)),
        Err(cause) => Err(CertificateError::Pair {
            chain: chain.to_owned(),
            key: key.to_owned(),
            cause,
        }),
    }
}

fn pair((chain, key): &(String, String)) -> Result<CertifiedKey, PairError> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(PairError::Pem)?;
    if chain.is_empty() {
        return Err(PairError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| PairError::NoKey)?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(PairError::Mismatch)
}

/// Connections whose handshake is done.
pub(super) struct TlsListener {
    address: SocketAddr,
    streams: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    /// Takes connections from here, until it is dropped, and follows the certificate's files.
    pub(super) fn start(
        listener: TcpListener,
        certificate: ServerCertificate,
    ) -> std::io::Result<TlsListener> {
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(Arc::new(certificate.server_config()));
        let (sender, streams) = mpsc::channel(1);
        tokio::spawn(async move {
            tokio::select! {
                () = accept_all(listener, acceptor, sender.clone()) => {}
                () = certificate.follow() => {}
                () = sender.closed() => {}
            }
        });
        Ok(TlsListener { address, streams })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.streams.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept_all(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let (stream, peer) = Listener::accept(&mut listener).await;
        open.retain(|handshake| !handshake.is_finished());
        if open.len() >= MAX_HANDSHAKES
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        let handshake = tokio::spawn(async move {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                // An error means that nobody serves any more.
                let _ = sender.send((stream, peer)).await;
            }
        });
        open.push_back(handshake.abort_handle());
    }
}
