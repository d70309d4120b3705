//! A minimal HTTPS client that returns the server's certificate.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::POLL_INTERVAL;
use super::daemon::{Answer, read_answer};

/// The timeout of one exchange.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server and the CA that is trusted for it.
pub struct Https {
    address: SocketAddr,
    connector: TlsConnector,
}

impl Https {
    /// Creates a client that trusts this CA for the server's IP address.
    pub fn new(address: SocketAddr, authority: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority)?)?;
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A resumed session presents no certificate, so the old one would be returned.
        config.resumption = Resumption::disabled();
        Ok(Self {
            address,
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Sends a GET. Returns the response and the certificate in DER.
    pub async fn get(&self, path: &str, token: Option<&str>) -> Result<(Answer, Vec<u8>)> {
        timeout(PATIENCE, self.exchange(path, token)).await?
    }

    /// Starts a POST without a body. Returns its connection if the server waits for the body for
    /// this time, `None` if it responds.
    pub async fn unfinished_post(
        &self,
        path: &str,
        token: &str,
        waits: Duration,
    ) -> Result<Option<TlsStream<TcpStream>>> {
        let mut stream = self.connect().await?;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 1\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let answered = timeout(waits, stream.read_u8()).await.is_ok();
        Ok((!answered).then_some(stream))
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::from(self.address.ip());
        Ok(self.connector.connect(name, stream).await?)
    }

    async fn exchange(&self, path: &str, token: Option<&str>) -> Result<(Answer, Vec<u8>)> {
        let mut stream = self.connect().await?;
        let shown = stream.get_ref().1.peer_certificates();
        let shown = shown.and_then(<[_]>::first).context("no certificate")?;
        let shown = shown.to_vec();
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n{}Connection: close\r\n\r\n",
            self.address,
            authorization.unwrap_or_default()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok((read_answer(answer)?, shown))
    }

    /// Waits for a response with this status.
    pub async fn wait(
        &self,
        path: &str,
        token: Option<&str>,
        status: u16,
        deadline: Duration,
    ) -> Result<()> {
        let begun = Instant::now();
        loop {
            let answer = self.get(path, token).await;
            if answer.as_ref().is_ok_and(|(one, _)| one.status == status) {
                return Ok(());
            }
            if begun.elapsed() > deadline {
                bail!("{path} is not answered with {status}: {answer:?}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
