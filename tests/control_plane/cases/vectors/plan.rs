//! Which vectors can be posted, in what protected_objects, and in what order.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::nodes;
use super::requestor::AUTHENTICATED;
use testkit::cluster::{KeySpec, NodeSpec, ProtectedSpec, kubeadm};
use testkit::policies::{BasePolicy, merge};
use testkit::vector::{Outcome, Vector, request_pem};

/// Why a vector cannot be posted, or would not be what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// The verdict rests on a source that no kubelet can write: `cases/reloads.rs`,
    /// `cases/machines.rs` and `cases/external_sources.rs` are about those.
    IndependentSource,
    /// A source of evidence is down or has not been read: `cases/faults.rs` is about those.
    SourceDown,
    /// The request is older than the policy allows, or of the future: the API server dates it.
    RequestDated,
    /// The Node is of the very second of the request.
    SameSecond,
    /// The Node is younger than the request: on this cluster it is there first, dated in the future,
    /// and the order decides. `cases/late_evidence.rs` creates such Nodes.
    NodeYounger,
    /// An API server's clock was ahead, or a watch has shown an order: `tests/faults/cases/clocks.rs`.
    SeenOrder,
    /// Somebody has set the clock of csr-warden's machine: `tests/faults/cases/daemon_clocks.rs`.
    ClockSet,
    /// The requestor is not in `system:authenticated`: the API server puts everybody there.
    AlwaysAuthenticated,
    /// Less is protected than on this cluster, and the verdict depends on it.
    LessProtected,
    /// Something was protected until lately, which csr-warden must have seen: `cases/late_evidence.rs`.
    RecentlyProtected,
}

impl Skip {
    /// Whether other cases show on a cluster what these vectors are about.
    pub fn has_other_cases(self) -> bool {
        match self {
            Self::IndependentSource
            | Self::SourceDown
            | Self::ClockSet
            | Self::NodeYounger
            | Self::SeenOrder
            | Self::RecentlyProtected => true,
            Self::RequestDated
            | Self::SameSecond
            | Self::AlwaysAuthenticated
            | Self::LessProtected => false,
        }
    }
}

/// One request to be posted.
pub struct Post<'a> {
    /// Its name.
    pub name: String,
    pub vector: &'a Vector,
    pub pem: String,
    pub expected: &'a Outcome,
}

/// Requests that have the same Nodes around them.
pub struct NodeSet<'a> {
    pub nodes: BTreeMap<String, Value>,
    pub posts: Vec<Post<'a>>,
}

/// What csr-warden is started with, and what is posted while it runs.
pub struct DaemonRun<'a> {
    pub base: BasePolicy,
    pub policy: Value,
    /// What is protected besides what this cluster always protects.
    pub also_protected: Vec<ProtectedSpec>,
    /// Keys that were approved before.
    pub keys: &'a [KeySpec],
    /// Whether the requests are settled, or on their way out, before csr-warden sees them.
    pub settled: bool,
    pub node_sets: Vec<NodeSet<'a>>,
}

/// All that is to be done on one cluster.
pub struct Plan<'a> {
    pub vectors: usize,
    pub skipped: BTreeMap<Skip, usize>,
    pub runs: Vec<DaemonRun<'a>>,
}

impl<'a> Plan<'a> {
    /// Sorts the vectors. Their Nodes get the ages that they have before `begun`.
    pub fn new(vectors: &'a [Vector], begun: Timestamp) -> Result<Self> {
        let mut skipped = BTreeMap::new();
        let mut runs: BTreeMap<String, Unsorted<'a>> = BTreeMap::new();
        for (index, vector) in vectors.iter().enumerate() {
            if let Some(skip) = skip(vector) {
                *skipped.entry(skip).or_default() += 1;
                continue;
            }
            for base in BasePolicy::ALL {
                let run = Unsorted::new(vector, base);
                let nodes = nodes::nodes(vector, begun)?;
                let order = (!is_by_another_user(vector), serde_json::to_string(&nodes)?);
                let run = runs.entry(run.key()).or_insert(run);
                let node_set = run.node_sets.entry(order);
                let empty = || NodeSet {
                    nodes,
                    posts: Vec::new(),
                };
                node_set.or_insert_with(empty).posts.push(Post {
                    name: format!("vector-{index}-{}", base.as_str()),
                    vector,
                    pem: request_pem(&vector.request),
                    expected: vector.expected(base),
                });
            }
        }
        Ok(Self {
            vectors: vectors.len(),
            skipped,
            runs: runs.into_values().map(Unsorted::sorted).collect(),
        })
    }

    /// All posts, each with what csr-warden is started with.
    pub fn posts(&self) -> impl Iterator<Item = (&DaemonRun<'a>, &Post<'a>)> {
        self.runs.iter().flat_map(|run| {
            let posts = run.node_sets.iter().flat_map(|node_set| &node_set.posts);
            posts.map(move |post| (run, post))
        })
    }
}

struct Unsorted<'a> {
    run: DaemonRun<'a>,
    node_sets: BTreeMap<(bool, String), NodeSet<'a>>,
}

impl<'a> Unsorted<'a> {
    fn new(vector: &'a Vector, base: BasePolicy) -> Self {
        Self {
            run: DaemonRun {
                base,
                policy: policy_for(vector, base),
                also_protected: besides(vector),
                keys: &vector.keys,
                settled: vector.object.settled.is_some() || vector.object.terminating,
                node_sets: Vec::new(),
            },
            node_sets: BTreeMap::new(),
        }
    }

    fn key(&self) -> String {
        let DaemonRun {
            base,
            policy,
            also_protected,
            keys,
            settled,
            ..
        } = &self.run;
        format!("{base:?} {policy} {also_protected:?} {keys:?} {settled}")
    }

    fn sorted(mut self) -> DaemonRun<'a> {
        self.run.node_sets = self.node_sets.into_values().collect();
        self.run
    }
}

/// Whoever asks with a key of another node comes first: once that node has a certificate for the
/// key, there is one finding more.
fn is_by_another_user(vector: &Vector) -> bool {
    vector.requestor.username != format!("system:node:{}", vector.request.node)
}

/// The policy, but it does not ask for addresses that have stood for long where the vector's Node
/// has such: on the cluster every Node has come a moment ago.
fn policy_for(vector: &Vector, base: BasePolicy) -> Value {
    let mut written = base.written(vector.policy.as_ref());
    let demanded = base.with(vector.policy.as_ref()).spec.proof;
    let is_unstable = requestors_node(vector)
        .is_some_and(|node| node.stable.unwrap_or(node.age) < demanded.addresses_stable_for);
    if !is_unstable && demanded.addresses_stable_for > SignedDuration::ZERO {
        let at_once = json!({"spec": {"proof": {"addressesStableFor": "0s"}}});
        merge(&mut written, &at_once);
    }
    written
}

/// The Node of the one who asks.
pub fn requestors_node(vector: &Vector) -> Option<&NodeSpec> {
    let name = vector.requestor.username.strip_prefix("system:node:")?;
    let mut nodes = vector.nodes.iter().chain(&vector.others);
    nodes.find(|node| node.name == name)
}

fn skip(vector: &Vector) -> Option<Skip> {
    let object = &vector.object;
    let of_policy = |base: BasePolicy| base.with(vector.policy.as_ref()).spec;
    let is_stale = |base: BasePolicy| object.age >= of_policy(base).request.max_age;
    let is_dated = object.age.is_negative() || BasePolicy::ALL.into_iter().any(is_stale);
    let same_second = requestors_node(vector).is_some_and(|node| node.age == object.age);
    let is_younger = requestors_node(vector).is_some_and(|node| node.age < object.age);
    let groups = &vector.requestor.groups;
    let is_heard = vector.inventory.is_some() || vector.machines.is_some();
    if is_heard || !vector.answers.is_empty() {
        Some(Skip::IndependentSource)
    } else if !vector.sources.is_empty() {
        Some(Skip::SourceDown)
    } else if !vector.clock_skew.is_zero() {
        Some(Skip::ClockSet)
    } else if vector.has_seen_order() {
        Some(Skip::SeenOrder)
    } else if is_dated {
        Some(Skip::RequestDated)
    } else if same_second {
        Some(Skip::SameSecond)
    } else if is_younger {
        Some(Skip::NodeYounger)
    } else if !groups.iter().any(|group| group == AUTHENTICATED) {
        Some(Skip::AlwaysAuthenticated)
    } else if vector
        .also_protected
        .iter()
        .any(|part| part.until.is_some())
    {
        Some(Skip::RecentlyProtected)
    } else if !is_same_here(vector) {
        Some(Skip::LessProtected)
    } else {
        None
    }
}

/// Whether `whole` protects all that `part` does, in the same way.
fn covers(whole: &[ProtectedSpec], part: &ProtectedSpec) -> bool {
    whole.iter().any(|whole| {
        whole.kind == part.kind
            && part.sans.iter().all(|san| whole.sans.contains(san))
            && part.networks.iter().all(|net| whole.networks.contains(net))
    })
}

/// What the vector protects and this cluster does not of itself.
fn besides(vector: &Vector) -> Vec<ProtectedSpec> {
    let here = kubeadm();
    let parts = vector.protected.iter().chain(&vector.also_protected);
    parts
        .filter(|part| !covers(&here, part))
        .map(|part| ProtectedSpec {
            // It comes beside what has this origin here.
            origin: format!("also {}", part.origin),
            ..part.clone()
        })
        .collect()
}

/// Whether this cluster protects nothing more than the vector, or the verdict is the same with that.
fn is_same_here(vector: &Vector) -> bool {
    let here = Vector {
        protected: kubeadm(),
        also_protected: besides(vector),
        ..vector.clone()
    };
    let is_same = |base: BasePolicy| here.outcome(base) == *vector.expected(base);
    let mut parts = here.protected.iter();
    parts.all(|part| covers(&vector.protected, part)) || BasePolicy::ALL.into_iter().all(is_same)
}
