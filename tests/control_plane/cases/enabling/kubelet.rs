//! A fake kubelet for the Ansible role. It reads its configuration at a restart, and presents its
//! current certificate on a port.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use control_plane::cluster::Cluster;
use control_plane::kubelet_port::request;
use control_plane::netns;
use control_plane::node_user::{NewRequest, NodeUser, issued, wait_until_later_than};

/// The serving-certificate part of a kubelet.
pub struct Kubelet {
    pub name: &'static str,
    pub config: PathBuf,
    pub address: SocketAddr,
    /// The address at which a restart is requested. The client gets a line when it is done.
    pub restarter: SocketAddr,
    state: Arc<State>,
    tasks: Vec<AbortHandle>,
}

#[derive(Debug, Default)]
struct State {
    shown: Mutex<Option<Arc<CertifiedKey>>>,
    restarts: Mutex<u32>,
}

impl ResolvesServerCert for State {
    /// `None` without a certificate: the handshake fails, as with a kubelet.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        lock(&self.shown).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn certified(chain: &[u8], key: &str) -> Result<Arc<CertifiedKey>> {
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    Ok(Arc::new(CertifiedKey::new(
        chain,
        any_supported_type(&key)?,
    )))
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Kubelet {
    /// Starts a node with this address and kubelet configuration.
    pub async fn start(
        cluster: &Cluster,
        name: &'static str,
        address: Ipv4Addr,
        port: u16,
        config: &str,
    ) -> Result<Self> {
        netns::add(address)?;
        let user = NodeUser::new(cluster, name).await?;
        let created = user.register().await?;
        let addresses = [format!("InternalIP {address}"), format!("Hostname {name}")];
        user.report(&addresses).await?;
        wait_until_later_than(&cluster.admin(), created).await?;

        let address = SocketAddr::from((address, port));
        let state = Arc::new(State::default());
        let restarts = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut kubelet = Self {
            name,
            config: cluster.dir().join(format!("{name}.yaml")),
            address,
            restarter: restarts.local_addr()?,
            state: state.clone(),
            tasks: Vec::new(),
        };
        std::fs::write(&kubelet.config, config)?;
        kubelet.tasks.push(serve(address, state.clone()).await?);
        let restarting = Restarting {
            cluster: cluster.admin(),
            user,
            config: kubelet.config.clone(),
            address,
            state,
        };
        restarting.now()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = restarts.accept().await {
                *lock(&restarting.state.restarts) += 1;
                let done = match restarting.now() {
                    Ok(()) => "done\n".to_owned(),
                    Err(error) => format!("{error:#}\n"),
                };
                let mut stream = stream;
                let _ = stream.write_all(done.as_bytes()).await;
            }
        });
        kubelet.tasks.push(task.abort_handle());
        Ok(kubelet)
    }

    /// Returns the number of restarts.
    pub fn restarts(&self) -> u32 {
        *lock(&self.state.restarts)
    }

    /// Returns the current configuration.
    pub fn read(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.config)?)
    }
}

/// The state that a restart needs.
struct Restarting {
    cluster: kube::Client,
    user: NodeUser,
    config: PathBuf,
    address: SocketAddr,
    state: Arc<State>,
}

impl Restarting {
    /// Reads the configuration. Then it requests a certificate from the cluster, and has none until
    /// it is issued, or it signs its own.
    fn now(&self) -> Result<()> {
        let text = std::fs::read_to_string(&self.config)?;
        let config: Value = serde_saphyr::from_str(&text).map_err(|e| anyhow!("{e}"))?;
        if config["serverTLSBootstrap"] != Value::Bool(true) {
            let own = rcgen::generate_simple_self_signed([self.user.name.clone()])?;
            let shown = certified(own.cert.pem().as_bytes(), &own.signing_key.serialize_pem())?;
            *lock(&self.state.shown) = Some(shown);
            return Ok(());
        }
        *lock(&self.state.shown) = None;
        let std::net::IpAddr::V4(ip) = self.address.ip() else {
            return Err(anyhow!("{} is no IPv4 address", self.address));
        };
        let (pem, key) = request(&self.user.name, &[&self.user.name], &[ip])?;
        let restarts = *lock(&self.state.restarts);
        let ask = NewRequest::new(&format!("{}-{restarts}", self.user.name), pem);
        let (client, admin) = (self.user.client().clone(), self.cluster.clone());
        let state = self.state.clone();
        tokio::spawn(async move {
            let got = async {
                let name = ask.post(&client).await?.metadata.name.context("a name")?;
                certified(&issued(&admin, &name).await?, &key)
            };
            match got.await {
                Ok(shown) => *lock(&state.shown) = Some(shown),
                Err(error) => eprintln!("no certificate: {error:#}"),
            }
        });
        Ok(())
    }
}

/// Serves the kubelet's port, which only presents its certificate.
async fn serve(address: SocketAddr, state: Arc<State>) -> Result<AbortHandle> {
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(state);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(address).await?;
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(acceptor.accept(stream).await?);
                let mut line = String::new();
                while stream.read_line(&mut line).await? > 2 {
                    line.clear();
                }
                let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\
                               Connection: close\r\n\r\n";
                stream.write_all(refusal.as_bytes()).await?;
                stream.shutdown().await?;
                stream.read_to_end(&mut Vec::new()).await
            });
        }
    });
    Ok(task.abort_handle())
}
