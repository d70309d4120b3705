//! The server as its owner sees it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::authn::{Tokens, User};
use super::authority::{self, Authority};
use super::faults::{Faults, Roulette};
use super::http::{self, Shared};
use super::store::Store;
use super::tls::{self, Peer, TlsListener};
use super::{bootstrap, resources};

/// How long open connections may take to end.
const FAREWELL: Duration = Duration::from_secs(3);

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
}

impl Default for Options {
    fn default() -> Options {
        Options {
            port: None,
            faults: Faults::default(),
            history: 4096,
            node_restriction: true,
        }
    }
}

/// A running API server. Dropping it ends it.
pub struct Server {
    url: String,
    authority: Authority,
    shared: Arc<Shared>,
    ending: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Starts one, with the objects that every cluster has; it serves when this returns.
    pub async fn start(options: Options) -> Result<Server> {
        let authority = Authority::new()?;
        let (listener, address) = tls::listen(options.port).await?;
        let names = ["", ".default", ".default.svc", ".default.svc.cluster.local"];
        let mut dns: Vec<String> = names.map(|end| format!("kubernetes{end}")).into();
        dns.push("localhost".into());
        let service = IpAddr::V4(Ipv4Addr::from(bootstrap::SERVICE));
        let config = tls::config(&authority, &dns, &[service])?;

        let store = Arc::new(Store::new(options.history));
        bootstrap::fill(&store, address.port(), &authority.pem());
        store.forget();
        let (ending, ended) = watch::channel(false);
        let shared = Arc::new(Shared {
            store,
            tokens: Tokens::default(),
            roulette: Roulette::new(options.faults),
            node_restriction: options.node_restriction,
            ended: ended.clone(),
        });
        let router = Router::new()
            .fallback(http::serve)
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<Peer>();
        let listener = TlsListener::new(listener, config);
        let serving = tokio::spawn(async move {
            let shutdown = wait_for(ended);
            let served = axum::serve(listener, router).with_graceful_shutdown(shutdown);
            // It ends only when told to.
            let _ = served.await;
        });
        Ok(Server {
            url: format!("https://{address}"),
            authority,
            shared,
            ending,
            serving,
        })
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The cluster's authority: signs for clients, and for kubelets if the signer uses it.
    pub fn ca(&self) -> &Authority {
        &self.authority
    }

    /// A kubeconfig with a client certificate of this user in at most two groups.
    pub fn kubeconfig(&self, user: &str, groups: &[&str]) -> Result<kube::config::Kubeconfig> {
        let pair = self.authority.client(user, groups)?;
        let credential = json!({
            "client-certificate-data": authority::encode(&pair.certificate),
            "client-key-data": authority::encode(&pair.key),
        });
        authority::kubeconfig(&self.url, &self.authority.pem(), &credential)
    }

    /// A kubeconfig with a bearer token of this user in any groups.
    pub fn kubeconfig_for_token(&self, user: User) -> Result<kube::config::Kubeconfig> {
        let credential = json!({"token": self.shared.tokens.issue(user)});
        authority::kubeconfig(&self.url, &self.authority.pem(), &credential)
    }

    /// From now on this goes wrong, and nothing else.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.roulette.set(faults);
    }

    /// Forgets what has happened: whoever watched and comes back is told to list again.
    pub fn compact(&self) {
        self.shared.store.forget();
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
            let cut = super::store::Cut::default();
            self.shared.store.list(storage, &scope, &cut)
        });
        page.and_then(Result::ok)
            .map_or(0, |page| page.objects.len())
    }

    /// Ends it and waits until its connections have.
    pub async fn stop(mut self) {
        self.ending.send_replace(true);
        if tokio::time::timeout(FAREWELL, &mut self.serving)
            .await
            .is_err()
        {
            self.serving.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Connections and watches end by themselves when they hear of it.
        self.ending.send_replace(true);
    }
}

/// Until the server is to end, or is no more.
pub(super) async fn wait_for(mut ended: watch::Receiver<bool>) {
    // An error says that the sender is gone, which is the same.
    let _ = ended.wait_for(|ended| *ended).await;
}
