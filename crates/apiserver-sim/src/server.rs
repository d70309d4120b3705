//! The public interface of the server: start, stop, credentials, faults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use jiff::SignedDuration;
use rustls::ServerConfig;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::authn::User;
use super::authority::{self, Authority};
use super::call::{Shared, until_ended};
use super::connections::Connections;
use super::faults::{FaultInjector, Faults};
use super::store::Store;
use super::tls::{self, Peer, TlsListener};
use super::write_log::Entry;
use super::{bootstrap, resources, router};

/// The time that open connections have to end at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Options of a server.
pub struct Options {
    /// The port on 127.0.0.1. `None` for any free port.
    pub port: Option<u16>,
    /// The faults at start.
    pub faults: Faults,
    /// The number of events of each resource that are kept for watches.
    pub history: usize,
    /// Enables `NodeRestriction`: a kubelet may write only its own Node, and request only its own
    /// name.
    pub node_restriction: bool,
    /// Keeps a log of the writes of Leases and approvals.
    pub write_log: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            port: None,
            faults: Faults::default(),
            history: 4096,
            node_restriction: true,
            write_log: false,
        }
    }
}

/// A running API server. It stops when dropped.
pub struct Server {
    address: SocketAddr,
    authority: Arc<Authority>,
    certificate: watch::Sender<Arc<ServerConfig>>,
    line: Arc<Connections>,
    shared: Shared,
    running: Running,
}

/// The tasks of the server between a start and the next stop.
struct Running {
    ending: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Starts a server with the objects of a new cluster. It accepts connections on return.
    pub async fn start(options: Options) -> Result<Server> {
        let authority = Arc::new(Authority::new()?);
        let (listener, address) = tls::listen(options.port).await?;
        let store = Arc::new(Store::new(options.history));
        let shared = Shared {
            store,
            tokens: Arc::default(),
            injector: Arc::new(FaultInjector::new(options.faults)),
            clock: Arc::default(),
            entropy: Arc::default(),
            write_log: options.write_log.then(Arc::default),
            node_restriction: options.node_restriction,
            // Each start has a channel of its own.
            ended: watch::channel(true).1,
        };
        bootstrap::fill(&shared, address.port(), &authority.pem());
        shared.store.compact();
        let certificate = watch::channel(certificate(&authority)?).0;
        let line = Arc::new(Connections::new());
        let running = Running::begin(listener, &certificate, &line, &shared);
        Ok(Server {
            address,
            authority,
            certificate,
            line,
            shared,
            running,
        })
    }

    /// Returns `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Returns the cluster's CA. It signs for clients, and for kubelets if the signer uses it.
    pub fn ca(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Returns a kubeconfig with a client certificate for a user in at most two groups.
    pub fn kubeconfig(&self, user: &str, groups: &[&str]) -> Result<kube::config::Kubeconfig> {
        let pair = self.authority.client(user, groups)?;
        let credential = json!({
            "client-certificate-data": authority::encode(&pair.certificate),
            "client-key-data": authority::encode(&pair.key),
        });
        authority::kubeconfig(&self.url(), &self.authority.pem(), &credential)
    }

    /// Returns a kubeconfig with a bearer token of a user.
    pub fn kubeconfig_for_token(&self, user: User) -> Result<kube::config::Kubeconfig> {
        let credential = json!({"token": self.token(user)});
        authority::kubeconfig(&self.url(), &self.authority.pem(), &credential)
    }

    /// Issues a bearer token for a user.
    pub fn token(&self, user: User) -> String {
        self.shared.tokens.issue(user)
    }

    /// Revokes a bearer token.
    pub fn revoke(&self, token: &str) {
        self.shared.tokens.revoke(token);
    }

    /// Replaces all faults.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.injector.set(faults);
    }

    /// Compacts the event history: a watch from an older version gets 410 and must relist.
    pub fn compact(&self) {
        self.shared.store.compact();
    }

    /// Ends every watch.
    pub fn drop_watches(&self) {
        self.shared.store.drop_watchers();
    }

    /// Returns the number of objects of a resource, such as `nodes`.
    pub fn count(&self, plural: &str) -> usize {
        let scope = super::store::Scope::default();
        let stored = resources::stored(plural).map(|resource| resource.plural);
        let page = stored.map(|storage| {
            let cut = super::store::PageRequest::default();
            self.shared.store.list(storage, &scope, &cut)
        });
        page.and_then(Result::ok)
            .map_or(0, |page| page.objects.len())
    }

    /// Resets every connection.
    pub fn reset_connections(&self) {
        self.line.reset();
    }

    /// Stalls every open connection, as a router that has lost its state does. It stays open but
    /// transfers no data. New connections work.
    pub fn stall_connections(&self) {
        self.line.stall();
    }

    /// Freezes the server, as SIGSTOP does: connections are accepted by the kernel and get no
    /// response.
    pub fn freeze(&self) {
        self.line.freeze(true);
    }

    /// Ends [`Server::freeze`].
    pub fn thaw(&self) {
        self.line.freeze(false);
    }

    /// Replaces the serving certificate for new connections by another one of the same CA.
    pub fn rotate_certificate(&self) -> Result<()> {
        self.certificate.send_replace(certificate(&self.authority)?);
        Ok(())
    }

    /// Sets the clock ahead of the machine's clock. Behind it, if negative.
    pub fn set_clock(&self, ahead: SignedDuration) {
        self.shared.clock.set_servers(&[ahead]);
    }

    /// Answers as several API servers in turn, with their clocks so far ahead.
    pub fn set_clocks(&self, ahead: &[SignedDuration]) {
        self.shared.clock.set_servers(ahead);
    }

    /// Replaces the `Date` of each answer, as a proxy does whose clock is so far ahead. `None` ends it.
    pub fn set_proxy_clock(&self, ahead: Option<SignedDuration>) {
        self.shared.clock.set_proxy(ahead);
    }

    /// Returns the logged writes of Leases and approvals, if [`Options::write_log`] is set.
    pub fn write_log(&self) -> Vec<Entry> {
        let write_log = self.shared.write_log.as_ref();
        write_log
            .map(|write_log| write_log.entries())
            .unwrap_or_default()
    }

    /// Stops at once, as on SIGKILL. The stored objects remain, as in etcd.
    pub async fn kill(&mut self) {
        self.running.serving.abort();
        self.line.reset();
        self.running.ending.send_replace(true);
        // Wait until the port is free.
        let _ = (&mut self.running.serving).await;
    }

    /// Starts again after [`Server::kill`], on the same port.
    pub async fn restart(&mut self) -> Result<()> {
        let (listener, _) = tls::listen(Some(self.address.port())).await?;
        self.running = Running::begin(listener, &self.certificate, &self.line, &self.shared);
        Ok(())
    }

    /// Stops the server and waits until its connections have ended.
    pub async fn stop(mut self) {
        self.running.ending.send_replace(true);
        let serving = &mut self.running.serving;
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, serving)
            .await
            .is_err()
        {
            self.running.serving.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Connections and watches end after this message.
        self.running.ending.send_replace(true);
    }
}

impl Running {
    fn begin(
        listener: TcpListener,
        certificate: &watch::Sender<Arc<ServerConfig>>,
        line: &Arc<Connections>,
        shared: &Shared,
    ) -> Running {
        let (ending, ended) = watch::channel(false);
        let shared = Shared {
            ended: ended.clone(),
            ..shared.clone()
        };
        let router = Router::new()
            .fallback(router::serve)
            .with_state(Arc::new(shared))
            .into_make_service_with_connect_info::<Peer>();
        let listener = TlsListener::new(listener, certificate.subscribe(), Arc::clone(line));
        let serving = tokio::spawn(async move {
            let shutdown = until_ended(ended);
            let served = axum::serve(listener, router).with_graceful_shutdown(shutdown);
            // The task ends only after the message above.
            let _ = served.await;
        });
        Running { ending, serving }
    }
}

/// Signs a new serving certificate and returns the TLS configuration.
fn certificate(authority: &Authority) -> Result<Arc<ServerConfig>> {
    let names = ["", ".default", ".default.svc", ".default.svc.cluster.local"];
    let mut dns: Vec<String> = names.map(|end| format!("kubernetes{end}")).into();
    dns.push("localhost".into());
    let service = IpAddr::V4(Ipv4Addr::from(bootstrap::SERVICE));
    tls::config(authority, &dns, &[service])
}
