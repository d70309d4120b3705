//! An API server without sockets, for simulations: its time is tokio's, and its names and UIDs follow
//! from a seed.

use std::sync::Arc;

use anyhow::Result;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::authn::User;
use super::authority::Authority;
use super::call::Shared;
use super::clock::Clock;
use super::entropy::Entropy;
use super::faults::{FaultInjector, Faults};
use super::store::{PageRequest, Scope, Store};
use super::tls::Peer;
use super::{bootstrap, resources, router};

/// The number of events of each resource that are kept for watches.
const HISTORY: usize = 4096;
/// The port in the endpoints of the Service `kubernetes`.
const PORT: u16 = 6443;

/// An API server that is called directly. Watches end when it is dropped.
pub struct InMemory {
    shared: Arc<Shared>,
    authority: Authority,
    _ending: watch::Sender<bool>,
}

impl InMemory {
    /// Creates a server with the objects of a new cluster. It is `begin` now.
    pub fn new(begin: Timestamp, seed: u64) -> Result<InMemory> {
        let authority = Authority::new()?;
        let (ending, ended) = watch::channel(false);
        let shared = Shared {
            store: Arc::new(Store::new(HISTORY)),
            tokens: Arc::default(),
            injector: Arc::new(FaultInjector::new(Faults::default())),
            clock: Arc::new(Clock::counted_from(begin)),
            entropy: Arc::new(Entropy::seeded(seed)),
            write_log: None,
            node_restriction: true,
            ended,
        };
        bootstrap::fill(&shared, PORT, &authority.pem());
        shared.store.compact();
        Ok(InMemory {
            shared: Arc::new(shared),
            authority,
            _ending: ending,
        })
    }

    /// Returns the cluster's CA.
    pub fn ca(&self) -> &Authority {
        &self.authority
    }

    /// Serves one request of this user.
    pub async fn serve(&self, user: &Arc<User>, request: Request) -> Response {
        let peer = Peer {
            user: Some(Arc::clone(user)),
        };
        router::serve(State(Arc::clone(&self.shared)), ConnectInfo(peer), request).await
    }

    /// Returns an object by its key, `NAME` or `NAMESPACE/NAME`.
    pub fn object(&self, plural: &str, key: &str) -> Option<Map<String, Value>> {
        let stored = self.shared.store.get(plural, key)?;
        Some(stored.object())
    }

    /// Returns all objects of a resource, such as `nodes`.
    pub fn objects(&self, plural: &str) -> Vec<Map<String, Value>> {
        let Some(resource) = resources::stored(plural) else {
            return Vec::new();
        };
        let store = &self.shared.store;
        let page = store.list(resource.plural, &Scope::default(), &PageRequest::default());
        let objects = page.map(|page| page.objects).unwrap_or_default();
        objects.iter().map(|stored| stored.object()).collect()
    }

    /// Compacts the event history: a watch from an older version gets 410 and must relist.
    pub fn compact(&self) {
        self.shared.store.compact();
    }

    /// Ends every watch.
    pub fn drop_watches(&self) {
        self.shared.store.drop_watchers();
    }

    /// Sets the clocks of the API servers that this one stands for ahead of tokio's. Behind it, if
    /// negative.
    pub fn set_clocks(&self, ahead: &[SignedDuration]) {
        self.shared.clock.set_servers(ahead);
    }
}
