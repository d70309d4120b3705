//! Topologies: whole clusters of one distribution each, in `tests/topologies`, with the requests that
//! their kubelets make.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use judge::csr::names::San;
use judge::csr::{CsrObject, KUBELET_SERVING_SIGNER, Request, Requestor};
use judge::evidence::{Evidence, Fact, Instants, Inventory, TimedFact};
use judge::policy::Policy;
use judge::{Decision, Judgment, judge};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cluster::{CertificateSpec, MachineSpec, NodeSpec, ProtectedSpec};
use super::facts::{evidence, facts};
use super::forge::Recipe;
use super::policies::merge;
use super::vector::{NAMESPACES, ObjectSpec, Outcome, RequestorSpec, request_pem};
use super::{now, read_yaml};

/// A cluster, and what happens in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Topology {
    /// The name of its file, without the ending.
    #[serde(skip)]
    pub name: String,
    pub title: String,
    /// A shipped policy.
    pub policy: String,
    /// By node: what a stolen credential of it gets beyond its own names, each with a comment that says why.
    #[serde(default)]
    pub accepted: BTreeMap<String, BTreeSet<String>>,
    pub steps: Vec<Step>,
}

/// Changes to the cluster. Then every node makes a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Step {
    pub title: String,
    /// Changes to the `spec` of the policy, which stay.
    #[serde(default)]
    pub change: Option<Value>,
    /// The inventory: `nodes` and `patterns`. It stays.
    #[serde(default)]
    pub inventory: Option<Value>,
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Nodes in their new state. Those of the first step are in the first list.
    #[serde(default)]
    pub nodes: Vec<NodeSpec>,
    /// Nodes that are deleted, before the others change.
    #[serde(default)]
    pub gone: Vec<String>,
    /// Protected identities, by their origins.
    #[serde(default)]
    pub protected: Vec<ProtectedSpec>,
    #[serde(default)]
    pub unprotected: Vec<String>,
    #[serde(default)]
    pub machines: Vec<MachineSpec>,
    /// Machines that are deleted, by their names.
    #[serde(default)]
    pub machines_gone: Vec<String>,
    #[serde(default)]
    pub issued: Vec<CertificateSpec>,
    /// The nodes that are not approved.
    #[serde(default)]
    pub expect: BTreeMap<String, Outcome>,
}

impl Topology {
    /// All topologies, in the order of their names.
    pub fn all() -> Vec<Topology> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/topologies");
        let entries = std::fs::read_dir(dir).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let read = |path: &PathBuf| {
            let mut topology: Topology = read_yaml(path);
            topology.name = path.file_stem().unwrap().to_string_lossy().into_owned();
            topology
        };
        files.iter().map(read).collect()
    }

    /// The cluster after this step and all before it.
    pub fn after(&self, step: usize) -> Snapshot {
        let steps = &self.steps[..=step];
        let mut policy = shipped(&self.policy);
        for change in steps.iter().filter_map(|step| step.change.as_ref()) {
            merge(&mut policy["spec"], change);
        }
        // JSON is YAML.
        let read = judge::policy::parse(&policy.to_string());
        let mut snapshot = Snapshot {
            policy: read.unwrap_or_else(|e| panic!("{}: {e}", self.name)),
            facts: Vec::new(),
            nodes: BTreeMap::new(),
            protected: BTreeMap::new(),
            other: Vec::new(),
            has_machines: false,
        };
        for (index, step) in steps.iter().enumerate() {
            snapshot.apply(step, index == 0);
        }
        snapshot
    }
}

/// A cluster at one time.
#[derive(Clone)]
pub struct Snapshot {
    pub policy: Policy,
    /// The facts in the order in which they happened.
    facts: Vec<TimedFact>,
    /// The Nodes as they are now.
    pub nodes: BTreeMap<String, NodeSpec>,
    protected: BTreeMap<String, ProtectedSpec>,
    /// The facts without Nodes and protected identities.
    other: Vec<TimedFact>,
    has_machines: bool,
}

impl Snapshot {
    fn apply(&mut self, step: &Step, is_first: bool) {
        let gone = step.gone.iter().map(|name| {
            let node = self.nodes.remove(name);
            Fact::NodeGone(node.unwrap_or_else(|| panic!("no Node {name}")).node().name)
        });
        let mut changed: Vec<Fact> = gone.collect();
        for node in &step.nodes {
            self.nodes.insert(node.name.clone(), node.clone());
            if !is_first {
                changed.push(Fact::Node(Box::new(node.node())));
            }
        }
        for origin in &step.unprotected {
            let known = self.protected.remove(origin);
            assert!(known.is_some(), "nothing has the origin {origin}");
            changed.push(Fact::Unprotected(origin.clone()));
        }
        for spec in &step.protected {
            self.protected.insert(spec.origin.clone(), spec.clone());
            if !is_first {
                changed.push(Fact::Protected(spec.protection()));
            }
        }
        let other = self.other_facts(step);
        if is_first {
            self.facts = self.as_listed(&self.nodes);
        }
        let changed = changed.into_iter().chain(other.clone());
        self.facts.extend(changed.map(|fact| (fact, now())));
        self.other
            .extend(other.into_iter().map(|fact| (fact, now())));
    }

    fn other_facts(&mut self, step: &Step) -> Vec<Fact> {
        self.has_machines |= !step.machines.is_empty();
        let mut other = Vec::new();
        if let Some(inventory) = &step.inventory {
            let mut file = inventory.clone();
            file["apiVersion"] = "csr-warden.dev/v1beta1".into();
            file["kind"] = "Inventory".into();
            let read = Inventory::parse(&file.to_string());
            other.push(Fact::Inventory(Box::new(
                read.unwrap_or_else(|e| panic!("{file}: {e}")),
            )));
        }
        let namespaces = step.namespaces.iter().map(String::as_str);
        let namespaces = NAMESPACES.into_iter().chain(namespaces);
        other.extend(namespaces.map(|name| Fact::Namespace(name.into())));
        let gone = step.machines_gone.iter();
        other.extend(gone.map(|name| Fact::MachineGone(format!("Machine test/{name}"))));
        let machines = step.machines.iter();
        other.extend(machines.map(|spec| Fact::Machine(Box::new(spec.machine()))));
        other.extend(
            step.issued
                .iter()
                .map(|spec| Fact::Issued(spec.certificate())),
        );
        other
    }

    /// The facts if one list shows these Nodes.
    fn as_listed(&self, nodes: &BTreeMap<String, NodeSpec>) -> Vec<TimedFact> {
        let nodes: Vec<NodeSpec> = nodes.values().cloned().collect();
        let protected: Vec<ProtectedSpec> = self.protected.values().cloned().collect();
        facts(&nodes, &protected, &[], &BTreeMap::new())
    }

    /// The evidence of a replica that has watched from the first step on. Then one Node changes to this
    /// state.
    pub fn watched(&self, changed: Option<&NodeSpec>) -> Evidence {
        let changed = changed.map(|node| (Fact::Node(Box::new(node.node())), now()));
        self.evidence(self.facts.iter().cloned().chain(changed).collect())
    }

    /// The evidence of a replica that starts now, with one Node in another state, and these answers.
    pub fn started(&self, changed: &NodeSpec, answers: Vec<Fact>) -> Evidence {
        let mut nodes = self.nodes.clone();
        nodes.insert(changed.name.clone(), changed.clone());
        let answers = answers.into_iter().map(|fact| (fact, now()));
        let listed = self.as_listed(&nodes).into_iter();
        self.evidence(listed.chain(self.other.clone()).chain(answers).collect())
    }

    fn evidence(&self, facts: Vec<TimedFact>) -> Evidence {
        evidence(facts, self.has_machines, self.policy.spec.names.max)
    }

    /// Every protected identity, with one address of each network.
    pub fn protected_sans(&self) -> BTreeSet<String> {
        let sans = self.protected.values().flat_map(|spec| spec.sans.clone());
        let networks = self.protected.values().flat_map(|spec| &spec.networks);
        sans.chain(networks.filter_map(|network| Some(network.hosts().nth(9)?.to_string())))
            .collect()
    }

    /// True if the policy gives this to the Node, although others have it too.
    pub fn is_given(&self, node: &NodeSpec, san: &San) -> bool {
        let spec = &self.policy.spec;
        let is_shared = spec.names.shared.iter().any(|shared| shared.contains(san));
        let is_allowed = spec.protected.allowed.iter().any(|entry| {
            let is_meant = match &entry.node {
                Some(name) if !name.contains('*') => *name == node.name,
                Some(_) | None => node.control_plane,
            };
            let listed = entry.sans.iter().map(|text| San::from_host_text(text));
            is_meant && listed.flatten().any(|listed| listed == *san)
        });
        is_shared || is_allowed
    }
}

/// The names and addresses that a kubelet asks for: `addressesToHostnamesAndIPs` of
/// pkg/kubelet/certificate/kubelet.go. `None` without an IP address, when it makes no request.
pub fn kubelet_names(node: &NodeSpec) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut has_ip = false;
    for (kind, address) in node.addresses.iter().flatten() {
        match (kind.as_str(), address.parse::<IpAddr>()) {
            ("Hostname" | "InternalIP" | "ExternalIP", Ok(ip)) => {
                has_ip = true;
                names.insert(ip.to_string());
            }
            ("Hostname" | "InternalDNS" | "ExternalDNS", _) => {
                names.insert(address.clone());
            }
            _ => {}
        }
    }
    has_ip.then_some(names)
}

/// A request of this node for these names and addresses.
pub fn request(node: &str, names: &BTreeSet<String>) -> Request {
    let ip = |name: &&String| name.parse::<IpAddr>().is_ok();
    let dns: Vec<&str> = names
        .iter()
        .filter(|name| !ip(name))
        .map(String::as_str)
        .collect();
    let ips: Vec<IpAddr> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let pem = request_pem(&Recipe::genuine(node, &dns, &ips));
    let (object, requestor) = (ObjectSpec::default(), RequestorSpec::default());
    let object = CsrObject {
        name: object.name,
        uid: "uid-of-csr-1".into(),
        resource_version: "1".into(),
        created: super::cluster::before_now(object.age),
        terminating: false,
        signer: KUBELET_SERVING_SIGNER.into(),
        requestor: Requestor {
            username: format!("system:node:{node}").into(),
            uid: String::new(),
            groups: requestor.groups.into(),
            credential_ids: requestor.credential_ids,
        },
        usages: object.usages.into(),
        expiration_seconds: None,
        settled: None,
        preserved: Default::default(),
    };
    Request::read(object, pem.as_bytes())
}

/// The judgment of a request at [`now`].
pub fn judged(request: &Request, policy: &Policy, evidence: &Evidence) -> Judgment {
    let now = Instants {
        wall: now(),
        monotonic: now(),
    };
    judge(request, policy, evidence, now)
}

pub fn outcome(judged: &Judgment) -> Outcome {
    Outcome {
        verdict: judged.verdict.decision(),
        codes: judged.codes().into_iter().collect(),
    }
}

/// The outcome of a node that no step expects otherwise.
pub fn approved() -> Outcome {
    Outcome {
        verdict: Decision::Approve,
        codes: BTreeSet::new(),
    }
}

/// A shipped policy, as the content of a file.
fn shipped(name: &str) -> Value {
    let path = format!("{}/../../policies/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let mut policy: Value = read_yaml(Path::new(&path));
    if policy["spec"].is_null() {
        policy["spec"] = json!({});
    }
    policy
}
