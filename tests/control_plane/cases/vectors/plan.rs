//! The plan of a run: the vectors that can be posted, their protected objects, and their order.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::environment::ENDPOINT;
use super::nodes;
use super::requestor::AUTHENTICATED;
use testkit::cluster::{
    KeySpec, NodeSpec, ProtectedKind, ProtectedSpec, ServedCertificateSpec, kubeadm,
};
use testkit::policies::{BasePolicy, merge};
use testkit::vector::{Outcome, Vector, request_pem};

/// The reason why a vector is not posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// The verdict depends on a source that no kubelet can write. It is covered by
    /// `cases/reloads.rs`, `cases/machines.rs` and `cases/external_sources.rs`.
    IndependentSource,
    /// A source of evidence is down or not synced. It is covered by `cases/faults.rs`.
    SourceDown,
    /// The request is older than the policy permits, or in the future. The API server sets its
    /// time.
    RequestDated,
    /// The Node was created in the same second as the request.
    SameSecond,
    /// The Node is younger than the request. On this cluster it would exist first with a future
    /// date, and the order decides. `cases/late_evidence.rs` creates such Nodes.
    NodeYounger,
    /// The clock of the API server was ahead, or a watch has shown the order:
    /// `tests/faults/cases/clocks.rs`.
    SeenOrder,
    /// The Nodes come from one list, and on this cluster they come one after the other, which decides:
    /// `cases/claims.rs`.
    EqualRank,
    /// The cluster has other Namespaces: `cases/claims.rs`.
    OtherNamespaces,
    /// The clock of csr-warden's machine was set: `tests/faults/cases/daemon_clocks.rs`.
    ClockSet,
    /// The requestor is not in `system:authenticated`. The API server adds every user to it.
    AlwaysAuthenticated,
    /// Fewer names are protected than on this cluster, and the verdict depends on it.
    LessProtected,
    /// The certificates of several API servers matter, and this cluster has one more at most:
    /// `cases/control_planes.rs`.
    OtherApiServers,
    /// A name was protected recently, which csr-warden must have seen: `cases/late_evidence.rs`.
    RecentlyProtected,
}

impl Skip {
    /// Returns true if other cases cover these vectors on a cluster.
    pub fn has_other_cases(self) -> bool {
        match self {
            Self::IndependentSource
            | Self::SourceDown
            | Self::ClockSet
            | Self::NodeYounger
            | Self::SeenOrder
            | Self::EqualRank
            | Self::OtherNamespaces
            | Self::OtherApiServers
            | Self::RecentlyProtected => true,
            Self::RequestDated
            | Self::SameSecond
            | Self::AlwaysAuthenticated
            | Self::LessProtected => false,
        }
    }
}

/// A request to be posted.
pub struct Post<'a> {
    /// Its name.
    pub name: String,
    pub vector: &'a Vector,
    pub pem: String,
    pub expected: &'a Outcome,
}

/// Requests with the same set of Nodes.
pub struct NodeSet<'a> {
    pub nodes: BTreeMap<String, Value>,
    pub posts: Vec<Post<'a>>,
}

/// A run of csr-warden with its configuration and the requests posted meanwhile.
pub struct DaemonRun<'a> {
    pub base: BasePolicy,
    pub policy: Value,
    /// Protected objects in addition to those of this cluster.
    pub also_protected: Vec<ProtectedSpec>,
    /// Keys that were approved before.
    pub keys: &'a [KeySpec],
    /// The requests are already decided or being deleted before csr-warden starts.
    pub settled: bool,
    pub node_sets: Vec<NodeSet<'a>>,
}

/// The plan for one cluster.
pub struct Plan<'a> {
    pub vectors: usize,
    pub skipped: BTreeMap<Skip, usize>,
    pub runs: Vec<DaemonRun<'a>>,
}

impl<'a> Plan<'a> {
    /// Sorts the vectors. The ages of their Nodes are relative to `begun`.
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
                    name: name(vector, index, base),
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

    /// Returns all posts, each with its run of csr-warden.
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

/// A unique name for the request. It ends with the name that the vector sets, and is a DNS-1123
/// subdomain if and only if that one is.
fn name(vector: &Vector, index: usize, base: BasePolicy) -> String {
    let name = format!("vector-{index}-{}", base.as_str());
    match vector.row {
        68 => format!("{name}.{}", vector.object.name),
        _ => name,
    }
}

/// Returns true if the requestor is not the node in the request's CN. Such requests come first: once
/// the node has a certificate for the key, there is one more finding.
fn is_by_another_user(vector: &Vector) -> bool {
    vector.requestor.username != format!("system:node:{}", vector.request.node)
}

/// Returns the policy, without a minimum age of addresses if the vector's addresses are old. On the
/// cluster every Node is new.
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

/// Returns the Node of the requestor.
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
    } else if !vector.issued.is_empty() || has_equal_rank(vector) {
        Some(Skip::EqualRank)
    } else if !vector.namespaces.is_empty() {
        Some(Skip::OtherNamespaces)
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
    } else if has_other_api_servers(vector) {
        Some(Skip::OtherApiServers)
    } else if !is_same_here(vector) {
        Some(Skip::LessProtected)
    } else {
        None
    }
}

/// Returns true if the outcome is another one when the Nodes come in the order of their names.
fn has_equal_rank(vector: &Vector) -> bool {
    let mut ordered = vector.clone();
    let mut nodes: Vec<&mut NodeSpec> = ordered
        .nodes
        .iter_mut()
        .chain(&mut ordered.others)
        .collect();
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    for (node, seconds) in nodes.into_iter().zip((1..1000).rev()) {
        // As old as before by the policy's other rules.
        node.stable = node.stable.or(Some(node.age));
        node.watched = Some(SignedDuration::from_secs(seconds));
    }
    let is_changed = |base| ordered.outcome(base) != *vector.expected(base);
    BasePolicy::ALL.into_iter().any(is_changed)
}

/// Returns true if the outcome is another one when what is protected in addition is in the certificate of one
/// more API server at the endpoint of this cluster.
fn has_other_api_servers(vector: &Vector) -> bool {
    let mut here = vector.clone();
    here.protected = kubeadm();
    here.also_protected = besides(vector);
    let parts = here.also_protected.iter_mut();
    let identities: Vec<&mut ProtectedSpec> = parts
        .filter(|part| part.kind == ProtectedKind::ApiServerIdentity)
        .collect();
    if identities.len() > 1 {
        return true;
    }
    for part in identities {
        part.certificate = Some(ServedCertificateSpec {
            host: Some(ENDPOINT.to_string()),
            der: "facade".into(),
        });
    }
    let is_changed = |base| here.outcome(base) != *vector.expected(base);
    !here.also_protected.is_empty() && BasePolicy::ALL.into_iter().any(is_changed)
}

/// Returns true if `whole` protects everything in `part`, in the same way.
fn covers(whole: &[ProtectedSpec], part: &ProtectedSpec) -> bool {
    whole.iter().any(|whole| {
        whole.kind == part.kind
            && part.sans.iter().all(|san| whole.sans.contains(san))
            && part.networks.iter().all(|net| whole.networks.contains(net))
    })
}

/// Returns the vector's protected objects that this cluster lacks.
fn besides(vector: &Vector) -> Vec<ProtectedSpec> {
    let here = kubeadm();
    let parts = vector.protected.iter().chain(&vector.also_protected);
    parts
        .filter(|part| !covers(&here, part))
        .map(|part| ProtectedSpec {
            // It is added to the object with this origin here.
            origin: format!("also {}", part.origin),
            ..part.clone()
        })
        .collect()
}

/// Returns true if this cluster protects no more than the vector, or the verdict is the same.
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
