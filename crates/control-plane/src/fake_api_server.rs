//! A fake API server, which only presents a serving certificate.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::pki::Authority;

/// A running fake. It stops when dropped.
pub struct FakeApiServer {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl FakeApiServer {
    /// Listens at this address, with a certificate of this CA for these names.
    pub async fn start(
        authority: &Authority,
        ip: IpAddr,
        dns: &[String],
        ips: &[IpAddr],
    ) -> Result<Self> {
        let pair = authority.serving("facade", dns, ips)?;
        let chain = CertificateDer::pem_file_iter(&pair.cert)?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&pair.key)?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = acceptor.accept(stream).await;
            }
        });
        Ok(Self { address, serving })
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for FakeApiServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
