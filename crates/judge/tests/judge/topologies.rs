//! Tests of the judge against the clusters of `tests/topologies`: every node of every step has its verdict,
//! and a stolen node gets nothing that was not its own before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::SignedDuration;
use judge::Decision;
use judge::csr::names::San;
use judge::evidence::{Answer, Evidence, Fact};
use judge::finding::Question;
use testkit::cluster::{CertificateSpec, NodeSpec};
use testkit::now;
use testkit::topology::{Snapshot, Topology, approved, judged, kubelet_names, outcome, request};

/// Minimum number of clusters.
const MIN_TOPOLOGIES: usize = 20;

#[test]
fn every_node_has_its_verdict_in_every_step() {
    let mut wrong = Vec::new();
    let topologies = Topology::all();
    assert!(topologies.len() >= MIN_TOPOLOGIES, "{}", topologies.len());
    for topology in &topologies {
        for (index, step) in topology.steps.iter().enumerate() {
            let snapshot = topology.after(index);
            let (policy, evidence) = (&snapshot.policy, snapshot.watched(None));
            let unknown = step
                .expect
                .keys()
                .find(|name| !snapshot.nodes.contains_key(*name));
            assert_eq!(unknown, None, "{}", topology.name);
            for (name, node) in &snapshot.nodes {
                let Some(names) = kubelet_names(node) else {
                    continue;
                };
                let judged = judged(&request(name, &names), policy, &evidence);
                let expected = step.expect.get(name).cloned().unwrap_or_else(approved);
                let found = outcome(&judged);
                if found != expected {
                    wrong.push(format!(
                        "{}, step `{}`, {name}:\n  expected {expected}\n  found    {found}: {:?}",
                        topology.name, step.title, judged.findings
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A stolen node gets no more than what was its own before, and what its file accepts.
#[test]
fn a_stolen_node_gets_nothing_that_was_not_its_own() {
    let mut wrong = Vec::new();
    let mut attempts = 0;
    for topology in Topology::all() {
        let mut found = BTreeMap::new();
        for index in 0..topology.steps.len() {
            let snapshot = topology.after(index);
            for stolen in snapshot.nodes.values() {
                let got = Attack::new(&snapshot, stolen).results(&mut attempts);
                let of_node: &mut BTreeSet<String> = found.entry(stolen.name.clone()).or_default();
                of_node.extend(got);
            }
        }
        found.retain(|_, got| !got.is_empty());
        if found != topology.accepted {
            let (name, accepted) = (&topology.name, &topology.accepted);
            wrong.push(format!("{name}: expected {accepted:?}, found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(attempts > 20_000, "only {attempts} attempts");
}

/// A stolen node delays no other node: neither when it claims everything, nor if csr-warden is restarted
/// then and kubelets present their certificates.
#[test]
fn a_stolen_node_changes_no_other_verdict() {
    let mut wrong = Vec::new();
    for topology in Topology::all() {
        let snapshot = topology.after(topology.steps.len() - 1);
        let policy = &snapshot.policy;
        for stolen in snapshot.nodes.values() {
            let attack = Attack::new(&snapshot, stolen);
            let liar = attack.liar(&attack.targets);
            let others = || {
                let mut others = snapshot.nodes.values();
                others
                    .by_ref()
                    .filter(|node| node.name != stolen.name)
                    .collect::<Vec<_>>()
            };
            let now_and_before = [
                (
                    "later",
                    snapshot.watched(None),
                    snapshot.watched(Some(&liar)),
                ),
                (
                    "over a restart",
                    snapshot.started(stolen, attack.answers(stolen)),
                    snapshot.started(&liar, attack.answers(&liar)),
                ),
            ];
            for (when, before, beside) in &now_and_before {
                for node in others() {
                    let Some(names) = kubelet_names(node) else {
                        continue;
                    };
                    let request = request(&node.name, &names);
                    let expected = outcome(&judged(&request, policy, before));
                    let found = judged(&request, policy, beside);
                    if outcome(&found) != expected {
                        wrong.push(format!(
                            "{}, {} beside {}, {when}:\n  expected {expected}\n  found    {}: {:?}",
                            topology.name,
                            node.name,
                            stolen.name,
                            outcome(&found),
                            found.findings
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A node whose credential was stolen, in a cluster.
struct Attack<'a> {
    snapshot: &'a Snapshot,
    stolen: &'a NodeSpec,
    /// The names and addresses that were its own before.
    own: BTreeSet<String>,
    /// Everything else that it claims.
    targets: BTreeSet<String>,
}

impl<'a> Attack<'a> {
    fn new(snapshot: &'a Snapshot, stolen: &'a NodeSpec) -> Attack<'a> {
        let mut own = kubelet_names(stolen).unwrap_or_default();
        own.insert(stolen.name.clone());
        let own_sans: Vec<San> = own
            .iter()
            .filter_map(|text| San::from_host_text(text))
            .collect();
        let others = snapshot
            .nodes
            .values()
            .filter(|node| node.name != stolen.name);
        let names = others.clone().map(|node| node.name.clone());
        let addresses = others.flat_map(|node| kubelet_names(node).unwrap_or_default());
        let networks = snapshot.nodes.values().flat_map(|node| &node.pod_cidrs);
        let pods = networks.filter_map(|network| Some(network.hosts().nth(4)?.to_string()));
        let all = names
            .chain(addresses)
            .chain(snapshot.protected_sans())
            .chain(pods);
        let is_target = |text: &String| {
            let san = San::from_host_text(text).unwrap_or_else(|| panic!("`{text}`"));
            !own_sans.contains(&san) && !snapshot.is_given(stolen, &san)
        };
        Attack {
            snapshot,
            stolen,
            own,
            targets: all.filter(is_target).collect(),
        }
    }

    /// The Node after it has written these names and addresses into itself.
    fn liar(&self, claimed: &BTreeSet<String>) -> NodeSpec {
        let mut liar = self.stolen.clone();
        liar.addresses.extend(claimed.iter().map(|text| {
            let kind = match text.parse::<IpAddr>() {
                Ok(_) => "InternalIP",
                Err(_) => "InternalDNS",
            };
            [(kind.to_owned(), text.clone())].into()
        }));
        liar
    }

    /// The answers of all kubelets: each shows its own certificate at each of its addresses, and the other
    /// addresses of the liar are silent.
    fn answers(&self, liar: &NodeSpec) -> Vec<Fact> {
        let until = now() + SignedDuration::from_mins(1);
        let mut answered = BTreeSet::new();
        let mut facts = Vec::new();
        let ips = |names: &BTreeSet<String>| -> Vec<IpAddr> {
            names.iter().filter_map(|name| name.parse().ok()).collect()
        };
        for node in self.snapshot.nodes.values() {
            let names = kubelet_names(node).unwrap_or_default();
            for ip in ips(&names) {
                if answered.insert(ip) {
                    let spec = CertificateSpec {
                        node: node.name.clone(),
                        age: SignedDuration::from_hours(1),
                        sans: names.iter().cloned().collect(),
                    };
                    let answer = Answer::Certificate(spec.certificate());
                    facts.push(Fact::Answer(Question::Certificate(ip), answer, until));
                }
            }
        }
        for ip in ips(&kubelet_names(liar).unwrap_or_default()) {
            if answered.insert(ip) {
                let answer = Answer::Failed("no answer".into());
                facts.push(Fact::Answer(Question::Certificate(ip), answer, until));
            }
        }
        facts
    }

    /// The targets that the stolen node is approved for: each address alone, each name with its own addresses,
    /// and all together, while it claims what it asks for and while it claims everything.
    fn results(&self, attempts: &mut usize) -> BTreeSet<String> {
        let policy = &self.snapshot.policy;
        let mut got = BTreeSet::new();
        let alone = self.targets.iter().map(|target| [target.clone()].into());
        let of_all = self.evidence(&self.targets);
        for claimed in alone.chain([self.targets.clone()]) {
            let mut asked: BTreeSet<String> = claimed.clone();
            // No request is approved without an IP address.
            let is_ip = |text: &String| text.parse::<IpAddr>().is_ok();
            if claimed.len() > 1 || !claimed.iter().any(is_ip) {
                asked.extend(self.own.iter().cloned());
            }
            let request = request(&self.stolen.name, &asked);
            for evidence in self.evidence(&claimed).iter().chain(&of_all) {
                *attempts += 1;
                let judged = judged(&request, policy, evidence);
                if judged.verdict.decision() == Decision::Approve {
                    got.extend(claimed.iter().cloned());
                }
            }
        }
        got
    }

    /// The evidence after the Node has claimed these: later than the others, in one list with them, with and
    /// without answers of kubelets, and as another Node's instance.
    fn evidence(&self, claimed: &BTreeSet<String>) -> Vec<Evidence> {
        let liar = self.liar(claimed);
        let mut evidence = vec![
            self.snapshot.watched(Some(&liar)),
            self.snapshot.started(&liar, Vec::new()),
            self.snapshot.started(&liar, self.answers(&liar)),
        ];
        evidence.extend(self.instances().into_iter().map(|instance| {
            let liar = NodeSpec {
                provider_id: Some(instance),
                ..liar.clone()
            };
            self.snapshot.watched(Some(&liar))
        }));
        evidence
    }

    /// The provider IDs of other Nodes.
    fn instances(&self) -> BTreeSet<String> {
        let others = self.snapshot.nodes.values();
        let others = others.filter(|node| node.name != self.stolen.name);
        others.filter_map(|node| node.provider_id.clone()).collect()
    }
}
