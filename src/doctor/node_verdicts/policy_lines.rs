//! Candidates for policy lines: the fields that would lift the findings about honest-looking names, each
//! with the protection that is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::Refused;
use super::lift::{Lift, lift};
use judge::csr::names::San;
use judge::evidence::{AddressType, Evidence, IdentityKind, Node};
use judge::finding::Code;
use judge::policy::{MOST_NAMES, Policy};

/// Number of Nodes from which an address counts as shared by a site. Two may be a node and an attacker.
const SHARED_BY: usize = 3;
/// Number of Nodes in one network or domain from which that is suggested instead of each address or name.
const MANY: usize = 3;

/// A line that may be suggested.
pub(super) struct Candidate {
    /// Its path below `spec`.
    pub(super) field: &'static str,
    /// Its whole value.
    pub(super) value: Value,
    pub(super) gives_up: String,
    /// The Nodes that it is for, each once.
    pub(super) nodes: BTreeSet<String>,
}

/// The evidence and the policy that candidates are derived from.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) refused: &'a [Refused<'a>],
    pub(super) evidence: &'a Evidence,
    pub(super) policy: &'a Policy,
    /// The policy as it is written.
    pub(super) written: &'a Value,
}

/// All candidates, in the order of the fields in a policy.
pub(super) fn candidates(scene: Scene<'_>) -> Vec<Candidate> {
    let all = [
        max(scene),
        dns_suffixes(scene),
        networks(scene),
        shared(scene),
        allowed(scene),
    ];
    all.into_iter().flatten().collect()
}

impl<'a> Scene<'a> {
    /// The SANs with a finding of this kind and none that nothing lifts, each with its Node.
    fn sans(self, wanted: Lift) -> Vec<(&'a Refused<'a>, &'a San)> {
        let refused = self.refused.iter();
        let all =
            refused.flat_map(|one| one.sans.iter().map(move |(san, codes)| (one, san, codes)));
        let lifts = |codes: &[Code]| codes.iter().map(|code| lift(*code)).collect::<Vec<Lift>>();
        all.filter(|(_, _, codes)| {
            let lifts = lifts(codes);
            lifts.contains(&wanted) && !lifts.contains(&Lift::NoLine)
        })
        .map(|(one, san, _)| (one, san))
        .collect()
    }

    /// The requests with a finding of this kind.
    fn requests(self, wanted: Lift) -> Vec<&'a Refused<'a>> {
        let refused = self.refused.iter();
        refused
            .filter(|one| one.codes.iter().any(|code| lift(*code) == wanted))
            .collect()
    }

    fn node(self, name: &str) -> Option<&'a Node> {
        self.evidence.nodes().get(name)
    }

    /// The entries of a list in the policy as it is written.
    fn list(self, pointer: &str) -> Vec<Value> {
        let list = self.written.pointer(pointer).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    }
}

fn nodes(sans: &[(&Refused<'_>, &San)]) -> BTreeSet<String> {
    sans.iter().map(|(one, _)| one.node.to_owned()).collect()
}

fn askers(requests: &[&Refused<'_>]) -> BTreeSet<String> {
    requests.iter().map(|one| one.node.to_owned()).collect()
}

fn max(scene: Scene<'_>) -> Option<Candidate> {
    let mut requests = scene.requests(Lift::Max);
    let count = |one: &&Refused<'_>| {
        let content = one.request.content.as_ref();
        content.map_or(0, |content| content.san_count)
    };
    requests.retain(|one| count(one) <= MOST_NAMES);
    let most = requests.iter().map(count).max()?;
    let limit = scene.policy.spec.names.max;
    (limit < most).then(|| Candidate {
        field: "names.max",
        value: json!(most),
        gives_up: format!(
            "Each node can claim {most} names and addresses instead of {limit}, and so contest more \
             of other nodes'."
        ),
        nodes: askers(&requests),
    })
}

fn dns_suffixes(scene: Scene<'_>) -> Option<Candidate> {
    let sans = scene.sans(Lift::OutsidePolicy);
    let sans: Vec<_> = sans
        .into_iter()
        .filter(|(_, san)| matches!(san, San::Dns(_)))
        .collect();
    let mut names: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
    for (one, san) in &sans {
        let San::Dns(name) = san else { continue };
        let parent = name.as_str().split_once('.').map_or("", |(_, rest)| rest);
        let (names, nodes) = names.entry(parent).or_default();
        names.insert(name.as_str());
        nodes.insert(one.node);
    }
    // A top-level domain would allow nearly every name, and one Node can list many.
    let added = names.into_iter().flat_map(|(parent, (names, nodes))| {
        let is_domain = nodes.len() >= MANY && parent.contains('.');
        match is_domain {
            true => BTreeSet::from([parent]),
            false => names,
        }
    });
    let mut suffixes = scene.list("/spec/names/dnsSuffixes");
    suffixes.extend(added.map(Value::from));
    (!sans.is_empty()).then(|| Candidate {
        field: "names.dnsSuffixes",
        value: Value::from(suffixes),
        gives_up:
            "Every node can get a certificate for its addresses with names under these domains."
                .to_owned(),
        nodes: nodes(&sans),
    })
}

fn networks(scene: Scene<'_>) -> Option<Candidate> {
    let sans = scene.sans(Lift::OutsidePolicy);
    let sans: Vec<_> = sans
        .into_iter()
        .filter(|(_, san)| matches!(san, San::Ip(_)))
        .collect();
    let mut by_network: BTreeMap<IpNet, (BTreeSet<IpAddr>, BTreeSet<&str>)> = BTreeMap::new();
    for (one, san) in &sans {
        let San::Ip(ip) = san else { continue };
        let (ips, nodes) = by_network.entry(surrounding(*ip)).or_default();
        ips.insert(*ip);
        nodes.insert(one.node);
    }
    // One Node can list many addresses.
    let added = by_network.into_iter().flat_map(|(network, (ips, nodes))| {
        if nodes.len() < MANY {
            ips.into_iter().map(IpNet::from).collect()
        } else {
            vec![network]
        }
    });
    let mut networks = scene.list("/spec/names/networks");
    networks.extend(added.map(|network| Value::from(network.to_string())));
    (!sans.is_empty()).then(|| Candidate {
        field: "names.networks",
        value: Value::from(networks),
        gives_up:
            "Every node can get a certificate for an address in these networks that it lists and \
                   no other node has claimed."
                .to_owned(),
        nodes: nodes(&sans),
    })
}

/// The network of 256 IPv4 addresses, or the IPv6 subnet, that an address is in.
fn surrounding(ip: IpAddr) -> IpNet {
    let length = if ip.is_ipv4() { 24 } else { 64 };
    IpNet::new(ip, length).map_or_else(|_| IpNet::from(ip), |network| network.trunc())
}

/// Addresses that many Nodes list beside one of their own. An address at which a kubelet is reached is
/// never among them: who could share it would receive what is meant for that node.
fn shared(scene: Scene<'_>) -> Option<Candidate> {
    let sans = scene.sans(Lift::Contested);
    let mut decided: BTreeMap<&San, bool> = BTreeMap::new();
    let sans: Vec<_> = sans
        .into_iter()
        .filter(|(_, san)| *decided.entry(san).or_insert_with(|| is_of_site(scene, san)))
        .collect();
    let addresses: BTreeSet<String> = sans
        .iter()
        .filter_map(|(_, san)| match san {
            San::Ip(ip) => Some(ip.to_string()),
            San::Dns(_) => None,
        })
        .collect();
    let mut shared = scene.list("/spec/names/shared");
    shared.extend(addresses.iter().cloned().map(Value::from));
    (!sans.is_empty()).then(|| Candidate {
        field: "names.shared",
        value: Value::from(shared),
        gives_up: format!(
            "Every node that lists one of these addresses gets a certificate for it, so it proves no \
             node. Only for addresses of a site (NAT) or of every machine (docker0): {}.",
            listed(addresses.iter().cloned())
        ),
        nodes: nodes(&sans),
    })
}

fn is_of_site(scene: Scene<'_>, san: &San) -> bool {
    let San::Ip(_) = san else {
        return false;
    };
    let nodes = scene.evidence.nodes();
    let mut count = 0;
    for (node, _) in nodes.claimants(san) {
        if is_reached_at(node, san) || node.named_address().as_ref() == Some(san) {
            return false;
        }
        count += 1;
    }
    count >= SHARED_BY && scene.evidence.protected().find(san).next().is_none()
}

/// Returns true if a kubelet may be reached at this address: an InternalIP, or an ExternalIP of a Node
/// without one.
fn is_reached_at(node: &Node, san: &San) -> bool {
    let of_type = |wanted: AddressType| {
        let mut addresses = node.addresses.iter();
        addresses.any(move |address| address.address_type == wanted && address.san == *san)
    };
    let mut addresses = node.addresses.iter();
    let has_internal = addresses.any(|address| address.address_type == AddressType::InternalIP);
    of_type(AddressType::InternalIP) || (!has_internal && of_type(AddressType::ExternalIP))
}

/// Identities of the API server, for control-plane nodes. A virtual address moves between them, so each of
/// them may have it.
fn allowed(scene: Scene<'_>) -> Option<Candidate> {
    // An endpoint is one machine's.
    let is_not_shared = |san: &San| {
        let mut identities = scene.evidence.protected().find(san);
        identities.any(|identity| identity.kind != IdentityKind::ApiServerIdentity)
    };
    let sans: Vec<_> = scene
        .sans(Lift::ApiServerIdentity)
        .into_iter()
        .filter(|(one, san)| {
            // No kubelet can set the label.
            let is_labeled = scene.node(one.node).is_some_and(|node| node.control_plane);
            is_labeled && !is_not_shared(san)
        })
        .collect();
    let texts: BTreeSet<String> = sans.iter().map(|(_, san)| host_text(san)).collect();
    let texts: Vec<String> = texts.into_iter().collect();
    let mut entries = scene.list("/spec/protected/allowed");
    entries.push(json!({"nodes": "ControlPlane", "sans": texts}));
    (!sans.is_empty()).then(|| Candidate {
        field: "protected.allowed",
        value: Value::from(entries),
        gives_up: format!(
            "Every control-plane node that lists {} gets a certificate with which it can pose as the API \
             server. Each of them runs one anyway.",
            listed(texts.iter().cloned())
        ),
        nodes: nodes(&sans),
    })
}

/// A SAN without its kind, as policies have it.
fn host_text(san: &San) -> String {
    match san {
        San::Dns(name) => name.to_string(),
        San::Ip(ip) => ip.to_string(),
    }
}

/// The first five, and the number of the others.
fn listed(all: impl Iterator<Item = String>) -> String {
    const NAMED: usize = 5;
    let all: BTreeSet<String> = all.collect();
    let more = all.len().saturating_sub(NAMED);
    let first: Vec<String> = all.into_iter().take(NAMED).collect();
    let first = first.join(", ");
    match more {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
