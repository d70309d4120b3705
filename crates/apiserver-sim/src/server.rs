//! The server as its owner sees it.

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

/// How long open connections may take to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// What kind of API server.
pub struct Options {
    /// The port on 127.0.0.1; any free one if there is none.
    pub port: Option<u16>,
    /// What goes wrong from the beginning.
    pub faults: Faults,
    /// Events of each kind that are remembered for watches that come back.
    pub history: usize,
    /// A kubelet may write only to its own Node, and ask only for its own name.
    pub node_restriction: bool,
    /// Who writes Leases and approvals is kept, to be asked for.
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

/// A running API server. Dropping it ends it.
pub struct Server {
    address: SocketAddr,
    authority: Arc<Authority>,
    certificate: watch::Sender<Arc<ServerConfig>>,
    line: Arc<Connections>,
    shared: Shared,
    running: Running,
}

/// From a start to the end that follows.
struct Running {
    ending: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Starts one, with the objects that every cluster has; it serves when this returns.
    pub async fn start(options: Options) -> Result<Server> {
        let authority = Arc::new(Authority::new()?);
        let (listener, address) = tls::listen(options.port).await?;
        let store = Arc::new(Store::new(options.history));
        bootstrap::fill(&store, address.port(), &authority.pem());
        store.compact();
        let shared = Shared {
            store,
            tokens: Arc::default(),
            injector: Arc::new(FaultInjector::new(options.faults)),
            clock: Arc::default(),
            write_log: options.write_log.then(Arc::default),
            node_restriction: options.node_restriction,
            // Of each running another.
            ended: watch::channel(true).1,
        };
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

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The cluster's authority: signs for clients, and for kubelets if the signer uses it.
    pub fn ca(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// A kubeconfig with a client certificate of this user in at most two groups.
    pub fn kubeconfig(&self, user: &str, groups: &[&str]) -> Result<kube::config::Kubeconfig> {
        let pair = self.authority.client(user, groups)?;
        let credential = json!({
            "client-certificate-data": authority::encode(&pair.certificate),
            "client-key-data": authority::encode(&pair.key),
        });
        authority::kubeconfig(&self.url(), &self.authority.pem(), &credential)
    }

    /// A kubeconfig with a bearer token of this user in any groups.
    pub fn kubeconfig_for_token(&self, user: User) -> Result<kube::config::Kubeconfig> {
        let credential = json!({"token": self.token(user)});
        authority::kubeconfig(&self.url(), &self.authority.pem(), &credential)
    }

    /// A bearer token of this user in any groups.
    pub fn token(&self, user: User) -> String {
        self.shared.tokens.issue(user)
    }

    /// Takes this token no more.
    pub fn revoke(&self, token: &str) {
        self.shared.tokens.revoke(token);
    }

    /// From now on this goes wrong, and nothing else.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.injector.set(faults);
    }

    /// Forgets what has kind: whoever watched and comes back is told to list again.
    pub fn compact(&self) {
        self.shared.store.compact();
    }

    /// Cuts every watch off.
    pub fn drop_watches(&self) {
        self.shared.store.drop_watchers();
    }

    /// How many objects there are of a resource, such as `nodes`.
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

    /// Ends every connection with a reset.
    pub fn reset_connections(&self) {
        self.line.reset();
    }

    /// Loses every connection: it stays open and carries nothing any more, as behind a router that
    /// has forgotten it. New ones work.
    pub fn stall_connections(&self) {
        self.line.stall();
    }

    /// Stops, as a process does on SIGSTOP: connections come about and nothing is answered.
    pub fn freeze(&self) {
        self.line.freeze(true);
    }

    /// Goes on where it stopped.
    pub fn thaw(&self) {
        self.line.freeze(false);
    }

    /// Shows another certificate of the same authority on every new connection.
    pub fn rotate_certificate(&self) -> Result<()> {
        self.certificate.send_replace(certificate(&self.authority)?);
        Ok(())
    }

    /// Lets its clock be so much ahead of the machine's; behind it if that is negative.
    pub fn set_clock(&self, ahead: SignedDuration) {
        self.shared.clock.set_ahead(ahead);
    }

    /// Who has written Leases and approvals, if [`Options::write_log`] is set.
    pub fn write_log(&self) -> Vec<Entry> {
        let write_log = self.shared.write_log.as_ref();
        write_log
            .map(|write_log| write_log.entries())
            .unwrap_or_default()
    }

    /// Ends at once, as a process does on SIGKILL. What it has stored stays, as in etcd.
    pub async fn kill(&mut self) {
        self.running.serving.abort();
        self.line.reset();
        self.running.ending.send_replace(true);
        // Until the port is free.
        let _ = (&mut self.running.serving).await;
    }

    /// Starts again after [`Server::kill`], on the same port.
    pub async fn restart(&mut self) -> Result<()> {
        let (listener, _) = tls::listen(Some(self.address.port())).await?;
        self.running = Running::begin(listener, &self.certificate, &self.line, &self.shared);
        Ok(())
    }

    /// Ends it and waits until its connections have.
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
        // Connections and watches end by themselves when they hear of it.
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
            // It ends only when told to.
            let _ = served.await;
        });
        Running { ending, serving }
    }
}

/// A new serving certificate, and the rest of the server's side of TLS.
fn certificate(authority: &Authority) -> Result<Arc<ServerConfig>> {
    let names = ["", ".default", ".default.svc", ".default.svc.cluster.local"];
    let mut dns: Vec<String> = names.map(|end| format!("kubernetes{end}")).into();
    dns.push("localhost".into());
    let service = IpAddr::V4(Ipv4Addr::from(bootstrap::SERVICE));
    tls::config(authority, &dns, &[service])
}
