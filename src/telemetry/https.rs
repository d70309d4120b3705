//! HTTPS: a serving certificate that is reloaded when its files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

use crate::sources::watched_file;

/// A certificate and key that cannot be used.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] watched_file::ReadError),
    /// The content cannot be used.
    #[error("{} and {}: {cause}", chain.display(), key.display())]
    Pair {
        /// File of the certificate chain.
        chain: PathBuf,
        /// File of the private key.
        key: PathBuf,
        /// The cause.
        cause: PairError,
    },
}

/// A certificate and key that do not form a pair. The error never contains any of the key.
#[derive(Debug, Error)]
pub enum PairError {
    /// The certificate is not PEM.
    #[error("the certificate: {0}")]
    Pem(pem::Error),
    /// The file has no certificate.
    #[error("expected certificates in PEM, found none")]
    NoCertificate,
    /// The file has no private key.
    #[error("expected a private key in PEM, found none")]
    NoKey,
    /// The key is not the certificate's.
    #[error("certificate and key do not match: {0}")]
    Mismatch(rustls::Error),
}

/// Files of a serving certificate and its key, and their last content.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    chain: PathBuf,
    key: PathBuf,
    texts: (String, String),
    current: Arc<CurrentCertificate>,
}

/// The certificate that is currently served.
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

    /// An acceptor that serves this certificate.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut server_config = ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        server_config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(server_config))
    }

    /// Follows both files and serves each new valid pair. Does not end.
    pub(super) async fn follow(self) {
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
                tracing::info!("the certificate of the HTTPS server was reloaded");
            }
            (Err(error), _) => tracing::warn!(
                "the certificate of the HTTPS server cannot be used, the last one stays in use: {error}"
            ),
            (Ok(_), Err(_)) => {}
        }
    }
}

/// Reads both files. Returns their texts and the pair.
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
