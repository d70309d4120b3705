//! The Nodes of a vector on a real cluster, and a barrier that waits until csr-warden has seen
//! them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use control_plane::cluster::Cluster;
use control_plane::decision_log;
use control_plane::etcd::Store;
use control_plane::node_user::{NewRequest, NodeUser};
use control_plane::output::Output;
use testkit::api_objects;
use testkit::forge::Recipe;
use testkit::vector::Vector;

const SOON: Duration = Duration::from_secs(30);
/// A Node that is younger than a request must also be younger than the last one posted.
const LONGER_THAN_A_RUN: SignedDuration = SignedDuration::from_hours(2);

/// Renders a vector's Nodes as API objects, by name.
pub fn nodes(vector: &Vector, begun: Timestamp) -> Result<BTreeMap<String, Value>> {
    let all = vector.nodes.iter().chain(&vector.others);
    all.map(|node| {
        let after_request = vector.object.age - node.age;
        let created = if after_request.is_positive() {
            begun.checked_add(after_request + LONGER_THAN_A_RUN)?
        } else {
            begun.checked_add(after_request)?
        };
        Ok((node.name.clone(), api_objects::node(node, created, begun)))
    })
    .collect()
}

/// The Nodes of the cluster.
pub struct Nodes {
    store: Store,
    present: BTreeMap<String, Value>,
}

impl Nodes {
    /// Creates an empty set.
    pub fn none(cluster: &Cluster) -> Self {
        Self {
            store: cluster.etcd_store(),
            present: BTreeMap::new(),
        }
    }

    /// Replaces all Nodes by these.
    pub async fn replace_with(&mut self, wanted: &BTreeMap<String, Value>) -> Result<()> {
        for name in self
            .present
            .keys()
            .filter(|name| !wanted.contains_key(*name))
        {
            self.store.remove_node(name).await?;
        }
        for (name, node) in wanted {
            if self.present.get(name) != Some(node) {
                self.store.put_node(name, node).await?;
            }
        }
        self.present.clone_from(wanted);
        Ok(())
    }
}

/// A node outside of the vectors, whose Node is changed after all others. When csr-warden has
/// judged its request again because of this change, it has seen the others.
pub struct WatchBarrier {
    store: Store,
    user: NodeUser,
    request: String,
    opened: usize,
    has_address: bool,
}

impl WatchBarrier {
    /// Creates the node without an address and without a request.
    pub async fn new(cluster: &Cluster) -> Result<Self> {
        let mut barrier = Self {
            store: cluster.etcd_store(),
            user: NodeUser::new(cluster, "gate").await?,
            request: String::new(),
            opened: 0,
            has_address: true,
        };
        barrier.toggle_address().await?;
        Ok(barrier)
    }

    /// Returns the name of its request.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Posts a request that is never approved.
    pub async fn open(&mut self) -> Result<()> {
        self.opened += 1;
        self.request = format!("gate-{}", self.opened);
        let recipe = Recipe::genuine("gate", &["gate"], &["fd00:9a7e::1".parse()?]);
        let ask = NewRequest::new(&self.request, recipe.pem());
        self.user.post(&ask).await.map(|_| ())
    }

    /// Waits until csr-warden has seen all previous writes.
    pub async fn wait(&mut self, output: &Output) -> Result<()> {
        let read = output.count();
        self.toggle_address().await?;
        let (request, has_address) = (&self.request, self.has_address);
        let seen = output.find_after(read, SOON, |line| {
            let decision = line
                .contains(request)
                .then(|| decision_log::parse(line))??;
            let has = |code: &str| decision.codes.iter().any(|other| other == code);
            let is_now = has("NodeAddressesMissing") != has_address && !has("NodeMissing");
            (decision.request == *request && is_now).then_some(())
        });
        seen.await
            .with_context(|| format!("no news of {request} within {SOON:?}"))
    }

    async fn toggle_address(&mut self) -> Result<()> {
        self.has_address = !self.has_address;
        let addresses = if self.has_address {
            json!([{"type": "InternalIP", "address": "fd00:9a7e::2"}])
        } else {
            json!([])
        };
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "gate", "uid": "gate", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"addresses": addresses},
        });
        self.store.put_node("gate", &node).await
    }
}
