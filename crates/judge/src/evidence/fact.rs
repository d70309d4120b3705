//! Facts, and their application to the evidence.

use ipnet::IpNet;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::{
    Answer, Claimed, Evidence, IdentityKind, Inventory, Machine, Machines, Node, ServedCertificate,
    ServingCertificate, Sighting, Source,
};
use crate::csr::Fingerprint;
use crate::csr::names::{NodeName, San};
use crate::finding::{Awaited, Question};
use crate::policy::{Requirement, Spec};

/// One fact about the cluster. API objects, certificates, files and answers are converted to facts.
/// Nothing else becomes evidence.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The running watch reported a Node in this state.
    Node(Box<Node>),
    /// A list contained a Node in this state.
    ListedNode(Box<Node>),
    /// The Node of this name was deleted.
    NodeGone(NodeName),
    /// An origin protects exactly these identities.
    Protected(Protection),
    /// This origin no longer protects anything.
    Unprotected(String),
    /// A Namespace of this name exists.
    Namespace(Box<str>),
    /// The Namespace of this name was deleted.
    NamespaceGone(Box<str>),
    /// The cluster's CA issued this certificate for an approved request.
    Issued(Box<ServingCertificate>),
    /// A request of this node with this key was approved.
    Key(Fingerprint, NodeName),
    /// The administrator's inventory, replacing the previous one.
    Inventory(Box<Inventory>),
    /// A Machine exists, in this state.
    Machine(Box<Machine>),
    /// The Machine of this key was deleted.
    MachineGone(String),
    /// A question, its answer, and the expiry of the answer in monotonic time.
    Answer(Question, Answer, Timestamp),
    /// A source has synced.
    Synced(Source),
    /// A source fails, with the reason. Its last state stays valid for a while.
    Failed(Source, String),
    /// A source fails, with the reason, and its last state is no longer complete.
    Incomplete(Source, String),
    /// A source fails, since the API server has no such resource. The reason names it.
    NotServed(Source, String),
}

/// Origin of the networks of Services that the policy names.
pub(super) const POLICY_SERVICE_NETWORKS: &str = "protected.serviceNetworks of the policy";

/// A fact, with the monotonic time at which it was found out.
pub type TimedFact = (Fact, Timestamp);

/// The identities that one origin protects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The object or certificate that protects them, for a person.
    pub origin: String,
    /// The kind of all these identities.
    pub kind: IdentityKind,
    /// Names and addresses.
    pub sans: Vec<San>,
    /// Networks.
    pub networks: Vec<IpNet>,
    /// The certificate that holds them; `None` if they come from an object.
    pub certificate: Option<ServedCertificate>,
}

/// The result of applying a fact.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// True if the evidence changed.
    pub changed: bool,
    /// Requests that await one of these must be judged again.
    pub wakes: SmallVec<[Awaited; 1]>,
}

impl Applied {
    fn silent(changed: bool) -> Applied {
        Applied {
            changed,
            wakes: SmallVec::new(),
        }
    }

    /// These claims of a Node began or ended; `None` if the Node has not changed.
    fn of_node(name: &NodeName, claims: Option<Vec<Claimed>>) -> Applied {
        let Some(claims) = claims else {
            return Applied::default();
        };
        let claims = claims.into_iter().map(Awaited::Claim);
        Applied {
            changed: true,
            wakes: std::iter::once(Awaited::Node(name.shared()))
                .chain(claims)
                .collect(),
        }
    }

    fn waking(changed: bool, awaited: impl FnOnce() -> Awaited) -> Applied {
        Applied {
            changed,
            wakes: changed.then(awaited).into_iter().collect(),
        }
    }
}

impl Evidence {
    /// Empty evidence. Machines are part of it only if the policy names a kind of Machine.
    pub fn new(policy: &Spec) -> Evidence {
        let mut evidence = Evidence::default();
        evidence.reset_machines(policy);
        let nothing_is_known = Timestamp::UNIX_EPOCH;
        evidence
            .nodes
            .set_max_claims(policy.names.max, nothing_is_known);
        evidence.protect_service_networks(policy, nothing_is_known);
        evidence
    }

    /// Protects the networks of Services that the policy names, and no longer those that another one named.
    fn protect_service_networks(&mut self, policy: &Spec, at: Timestamp) {
        let networks = &policy.protected.service_networks;
        if networks.is_empty() {
            self.protected.remove(POLICY_SERVICE_NETWORKS, at);
            return;
        }
        let protection = Protection {
            origin: POLICY_SERVICE_NETWORKS.to_owned(),
            kind: IdentityKind::Service,
            sans: Vec::new(),
            networks: networks.clone(),
            certificate: None,
        };
        self.protected.replace(protection, at);
    }

    /// Applies a fact that was observed at this monotonic time.
    pub fn apply(&mut self, fact: Fact, at: Timestamp) -> Applied {
        match fact {
            Fact::Node(node) => self.apply_node(*node, Sighting::Watched, at),
            Fact::ListedNode(node) => self.apply_node(*node, Sighting::Listed, at),
            Fact::NodeGone(name) => Applied::of_node(&name, self.nodes.remove(name.as_str())),
            Fact::Protected(protection) => {
                let changed = self.protected.replace(protection, at);
                Applied::waking(changed, || Awaited::ProtectedIdentities)
            }
            Fact::Unprotected(origin) => {
                let changed = self.protected.remove(&origin, at);
                Applied::waking(changed, || Awaited::ProtectedIdentities)
            }
            Fact::Namespace(name) => Applied::silent(self.namespaces.insert(name)),
            Fact::NamespaceGone(name) => Applied::silent(self.namespaces.remove(&name)),
            Fact::Issued(certificate) => {
                Applied::silent(self.record_certificate(*certificate, true))
            }
            Fact::Key(key, node) => Applied::silent(self.record_key(key, node)),
            Fact::Inventory(inventory) => {
                self.inventory = Some(*inventory);
                Applied::waking(true, || Awaited::Source(Source::Inventory.as_str()))
            }
            Fact::Machine(machine) => self.apply_machine(*machine),
            Fact::MachineGone(key) => self.remove_machine(&key),
            Fact::Answer(question, answer, until) => {
                if let Answer::Certificate(certificate) = &answer {
                    self.record_certificate((**certificate).clone(), false);
                }
                self.answers.set(question.clone(), answer, until);
                Applied::waking(true, || Awaited::Answer(question))
            }
            Fact::Synced(source) => self.source_synced(source, at),
            Fact::Failed(source, why) => Applied::silent(self.sources.failed(source, at, &why)),
            Fact::Incomplete(source, why) => {
                Applied::silent(self.sources.incomplete(source, at, &why))
            }
            Fact::NotServed(source, why) => {
                let changed = self.sources.not_served(source, at, &why);
                Applied::waking(changed, || Awaited::Source(source.as_str()))
            }
        }
    }

    /// Drops evidence that was valid only under the previous policy, which ends at this monotonic time.
    pub fn policy_changed(&mut self, before: &Spec, policy: &Spec, at: Timestamp) {
        self.nodes.set_max_claims(policy.names.max, at);
        self.protect_service_networks(policy, at);
        if before.sources.machines != policy.sources.machines {
            self.reset_machines(policy);
        }
        if before.sources != policy.sources {
            self.answers.clear();
        }
        let demands = (
            before.protected.endpoint_certificates,
            policy.protected.endpoint_certificates,
        );
        if demands == (Requirement::Optional, Requirement::Required) {
            // Certificates that were optional may be missing.
            self.sources.reset(Source::ApiServerCertificates);
        }
        if before != policy {
            // The new policy may not use them. They report again as soon as a request does.
            for source in [Source::Dns, Source::ServingCertificates] {
                self.sources.reset(source);
            }
        }
    }

    /// Drops evidence that has expired at this monotonic time.
    pub fn prune(&mut self, now: Timestamp) {
        self.answers.prune(now);
        self.protected.prune(now);
    }

    /// Drops all answers. The caller uses it after the machine slept, when the monotonic clock may
    /// have stood still.
    pub fn clear_answers(&mut self) {
        self.answers.clear();
    }

    fn apply_node(&mut self, node: Node, sighting: Sighting, at: Timestamp) -> Applied {
        let name = node.name.clone();
        Applied::of_node(&name, self.nodes.apply(node, sighting, at))
    }

    fn record_certificate(&mut self, certificate: ServingCertificate, was_watched: bool) -> bool {
        let nodes = self.nodes.len();
        self.certificates.record(certificate, was_watched, nodes)
    }

    fn reset_machines(&mut self, policy: &Spec) {
        let are_named = !policy.sources.machines.is_empty();
        self.machines = are_named.then(Machines::default);
        self.sources.reset(Source::Machines);
    }

    fn apply_machine(&mut self, machine: Machine) -> Applied {
        // The policy in force names no kind of Machine.
        let Some(machines) = &mut self.machines else {
            return Applied::default();
        };
        let before = machines.get(&machine.key).map(Machine::wake_names);
        let now = machine.wake_names();
        if !machines.apply(machine) {
            return Applied::default();
        }
        let known_by = before.into_iter().flatten().chain(now);
        Applied {
            changed: true,
            wakes: known_by.map(Awaited::Machine).collect(),
        }
    }

    fn remove_machine(&mut self, key: &str) -> Applied {
        let machines = self.machines.as_mut();
        match machines.and_then(|machines| machines.remove(key)) {
            Some(machine) => Applied {
                changed: true,
                wakes: machine
                    .wake_names()
                    .into_iter()
                    .map(Awaited::Machine)
                    .collect(),
            },
            None => Applied::default(),
        }
    }

    fn source_synced(&mut self, source: Source, at: Timestamp) -> Applied {
        if source == Source::Nodes {
            self.nodes.compact();
            // A list that was interrupted has the rank of the next one: its order was not seen.
            self.nodes.end_list();
        }
        let changed = self.sources.synced(source, at);
        match source {
            // A request that awaits an answer is woken by that answer alone.
            Source::Dns | Source::ServingCertificates => Applied::silent(changed),
            Source::Nodes
            | Source::Namespaces
            | Source::Requests
            | Source::KubernetesService
            | Source::ApiServerEndpoints
            | Source::ServiceCidrs
            | Source::ClusterInfo
            | Source::ApiServerCertificates
            | Source::Inventory
            | Source::Machines => Applied::waking(changed, || Awaited::Source(source.as_str())),
        }
    }

    /// Records the approval of a request of this node with this key.
    fn record_key(&mut self, key: Fingerprint, node: NodeName) -> bool {
        let known = self.nodes.get(node.as_str());
        // All keys of a Node share one string.
        let node = known.map_or(node, |known| known.name.clone());
        self.keys.record(key, node, self.nodes.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::NodeReference;
    use super::*;
    use crate::policy::{Policy, SHIPPED, default_policy, parse};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn cluster_api() -> Policy {
        let shipped = SHIPPED.iter().find(|(name, _)| *name == "cluster-api");
        parse(shipped.unwrap().1).unwrap()
    }

    fn machine(node: &str) -> Fact {
        Fact::Machine(Box::new(Machine {
            key: "Machine test/a".into(),
            node: NodeReference::Name(NodeName::parse(node)),
            provider_id: None,
            checks_provider_id: true,
            addresses: BTreeSet::new(),
            created: at(0),
            terminating: false,
        }))
    }

    #[test]
    fn a_changed_fact_wakes_and_an_unchanged_one_does_not() {
        let mut evidence = Evidence::default();
        let node = || Fact::Node(Box::new(Node::blank("a")));
        let own: [Awaited; 1] = [Awaited::Node("a".into())];
        assert_eq!(evidence.apply(node(), at(1)).wakes.as_slice(), own);
        assert_eq!(evidence.apply(node(), at(2)), Applied::default());
        let gone = || Fact::NodeGone(NodeName::parse("a").unwrap());
        assert_eq!(evidence.apply(gone(), at(3)).wakes.as_slice(), own);
        assert_eq!(evidence.apply(gone(), at(4)), Applied::default());
        let synced = |evidence: &mut Evidence| evidence.apply(Fact::Synced(Source::Nodes), at(5));
        let nodes = [Awaited::Source("nodes")];
        assert_eq!(synced(&mut evidence).wakes.as_slice(), nodes);
        assert_eq!(synced(&mut evidence), Applied::default());
    }

    #[test]
    fn the_policy_names_service_networks_where_the_api_server_cannot() {
        let without = default_policy().unwrap();
        let mut with = without.clone();
        with.spec.protected.service_networks = vec!["10.96.0.0/12".parse().unwrap()];
        let san = San::from_host_text("10.96.0.1").unwrap();
        let is_required = |evidence: &Evidence| {
            let mut required = evidence.required_sources();
            required.any(|source| source == Source::ServiceCidrs)
        };
        let not_served = || Fact::NotServed(Source::ServiceCidrs, "none".to_owned());
        let mut evidence = Evidence::new(&without.spec);
        let awaited = [Awaited::Source("servicecidrs")];
        assert_eq!(
            evidence.apply(not_served(), at(1)).wakes.as_slice(),
            awaited
        );
        assert_eq!(evidence.apply(not_served(), at(2)), Applied::default());
        assert!(is_required(&evidence) && evidence.protected.find(&san).next().is_none());
        evidence.policy_changed(&without.spec, &with.spec, at(3));
        assert!(!is_required(&evidence));
        let found: Vec<_> = evidence.protected.find(&san).collect();
        assert!(
            matches!(&found[..], [one] if one.kind == IdentityKind::Service),
            "{found:?}"
        );
        // A resource that exists and cannot be read is needed.
        let failed = Fact::Failed(Source::ServiceCidrs, "forbidden".to_owned());
        assert!(evidence.apply(failed, at(4)).changed);
        assert!(is_required(&evidence));
        evidence.apply(not_served(), at(5));
        evidence.policy_changed(&with.spec, &without.spec, at(6));
        assert!(is_required(&evidence));
        // For an hour, no node gets what was protected.
        assert_eq!(evidence.protected.find_recent(&san, at(7)).count(), 1);
    }

    #[test]
    fn machines_are_evidence_only_if_the_policy_names_them() {
        let (with, without) = (cluster_api(), default_policy().unwrap());
        let mut evidence = Evidence::new(&without.spec);
        assert_eq!(evidence.apply(machine("a"), at(1)), Applied::default());
        evidence.policy_changed(&without.spec, &with.spec, at(1));
        let wake_names = |node: &str| {
            [
                Awaited::Machine("Machine test/a".into()),
                Awaited::Machine(node.into()),
            ]
        };
        let first = evidence.apply(machine("a"), at(2));
        assert_eq!(first.wakes.as_slice(), wake_names("a"));
        // Requests that await the old Node, and requests that await the new one.
        let moved = evidence.apply(machine("b"), at(3));
        assert_eq!(
            moved.wakes.as_slice(),
            [wake_names("a"), wake_names("b")].concat()
        );
        evidence.policy_changed(&with.spec, &without.spec, at(4));
        assert!(evidence.machines.is_none());
    }
}
