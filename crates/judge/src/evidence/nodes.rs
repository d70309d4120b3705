//! Nodes, with an index from each name, address, pod network and provider ID to the Nodes that claim it.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::claims::{Claim, Claimant, Claimants, Claimed, Ranks, Sighting};
use super::networks::{Networks, to_ipv4_mapped};
use super::node::Node;
use crate::csr::names::{DnsName, NodeName, San};
use crate::policy::NamePolicy;

/// Returns true for a pod network of a plausible size. A kubelet can write a pod network into its
/// own Node while that has none. A huge one would contain the addresses of all other Nodes.
fn is_plausible(network: &IpNet) -> bool {
    network.prefix_len() >= if network.addr().is_ipv4() { 16 } else { 48 }
}

/// A Node, and the time since which it is there.
#[derive(Debug)]
struct KnownNode {
    node: Node,
    there: Claim,
}

/// All Nodes. The maps are B-trees: a hash map that grows holds its old and its new table at once.
#[derive(Debug, Default)]
pub struct Nodes {
    by_name: BTreeMap<NodeName, Box<KnownNode>>,
    /// Claimants by SAN, without each Node's own DNS name, which `by_name` has.
    claims: BTreeMap<San, Claimants>,
    pod_cidrs: Networks<Claimant>,
    by_provider_id: BTreeMap<Arc<str>, Claimants>,
    ranks: Ranks,
    max_claims: MaxClaims,
}

/// Maximum number of names and addresses that count of one Node, `names.max` of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MaxClaims(usize);

impl Default for MaxClaims {
    fn default() -> MaxClaims {
        MaxClaims(NamePolicy::default().max)
    }
}

/// Maximum number of Nodes whose names begin with a name and a dot that are looked at. More make it a name
/// of other Nodes, regardless of their order.
pub const MAX_ALIKE: usize = 1024;

impl Nodes {
    /// Adds a Node, or replaces the Node of the same name. A Node with the same UID keeps its first
    /// event, its claims on what it still has, and the age of its addresses if these are unchanged. Returns
    /// the claims that began or ended; `None` if nothing changed.
    pub(super) fn apply(
        &mut self,
        mut node: Node,
        sighting: Sighting,
        at: Timestamp,
    ) -> Option<Vec<Claimed>> {
        for network in &mut node.pod_cidrs {
            *network = to_ipv4_mapped(network).unwrap_or(*network);
        }
        node.pod_cidrs.retain(is_plausible);
        node.pod_cidrs.sort_unstable();
        node.pod_cidrs.dedup();
        let old = self.by_name.get(node.name.as_str());
        if let Some(old) = old.filter(|old| old.node.uid == node.uid) {
            node.first_seen = old.node.first_seen;
            if old.node.has_addresses_of(&node) {
                node.addresses_since = old.node.addresses_since;
            }
            if old.node == node {
                return None;
            }
        }
        let begin = self.ranks.begin(sighting, at);
        let mut claims = Vec::new();
        let there = match self.by_name.remove(node.name.as_str()) {
            Some(old) if old.node.uid == node.uid => {
                self.update_claims(Some(&old.node), Some(&node), begin, &mut claims);
                old.there
            }
            old => {
                if let Some(old) = old {
                    self.update_claims(Some(&old.node), None, begin, &mut claims);
                }
                self.update_claims(None, Some(&node), begin, &mut claims);
                begin
            }
        };
        let known = KnownNode { node, there };
        self.by_name
            .insert(known.node.name.clone(), Box::new(known));
        Some(claims)
    }

    /// Removes the Node of this name. Returns the claims that ended; `None` if there is no such Node.
    pub(super) fn remove(&mut self, name: &str) -> Option<Vec<Claimed>> {
        let known = self.by_name.remove(name)?;
        let mut claims = Vec::new();
        self.update_claims(Some(&known.node), None, known.there, &mut claims);
        Some(claims)
    }

    /// Ends the claims of a Node on what it has no more, and begins those on what it has newly.
    fn update_claims(
        &mut self,
        old: Option<&Node>,
        new: Option<&Node>,
        begin: Claim,
        changed: &mut Vec<Claimed>,
    ) {
        let Some(name) = new.or(old).map(|node| &node.name) else {
            return;
        };
        let claimant = || Claimant {
            node: name.clone(),
            claim: begin,
        };
        let MaxClaims(max) = self.max_claims;
        let claimed = |node: Option<&Node>| node.map(|node| node.claimed(max)).unwrap_or_default();
        self.update_sans(&claimed(old), &claimed(new), &claimant(), changed);
        let networks = |node: Option<&Node>| node.map_or(Vec::new(), |node| node.pod_cidrs.clone());
        let (before, now) = (networks(old), networks(new));
        for network in before.iter().filter(|network| !now.contains(network)) {
            self.pod_cidrs.remove(*network, |owner| owner.node == *name);
            changed.push(Claimed::PodNetwork(*network));
        }
        for network in now.iter().filter(|network| !before.contains(network)) {
            self.pod_cidrs.insert(*network, claimant());
        }
        let id = |node: Option<&Node>| node.and_then(|node| node.provider_id.clone());
        let (before, now) = (id(old), id(new));
        if before != now {
            if let Some(id) = before {
                end(&mut self.by_provider_id, &id, name);
                changed.push(Claimed::ProviderId(id));
            }
            if let Some(id) = now {
                self.by_provider_id
                    .entry(id)
                    .or_default()
                    .insert(claimant());
            }
        }
    }

    /// Ends a Node's claims on names and addresses that it has no more, and begins those on others.
    fn update_sans(
        &mut self,
        before: &BTreeSet<San>,
        now: &BTreeSet<San>,
        claimant: &Claimant,
        changed: &mut Vec<Claimed>,
    ) {
        for san in before.difference(now) {
            end(&mut self.claims, san, &claimant.node);
            changed.push(Claimed::San(san.clone()));
        }
        for san in now.difference(before) {
            let claimants = self.claims.entry(san.clone()).or_default();
            claimants.insert(claimant.clone());
            changed.push(Claimed::San(san.clone()));
        }
    }

    /// Sets the number of names and addresses that count of one Node. Claims that begin by that have equal
    /// rank.
    pub(super) fn set_max_claims(&mut self, max: usize, at: Timestamp) {
        let before = std::mem::replace(&mut self.max_claims, MaxClaims(max));
        if before.0 == max {
            return;
        }
        let claim = self.ranks.begin(Sighting::Listed, at);
        self.ranks.end_list();
        let mut sets = Vec::new();
        for KnownNode { node, .. } in self.by_name.values().map(Box::as_ref) {
            sets.push((node.name.clone(), node.claimed(before.0), node.claimed(max)));
        }
        for (node, before, now) in sets {
            // The caller judges all requests again.
            self.update_sans(&before, &now, &Claimant { node, claim }, &mut Vec::new());
        }
    }

    /// Ends a list: what the next one brings has another rank.
    pub(super) fn end_list(&mut self) {
        self.ranks.end_list();
    }

    /// Rebuilds the trees without free space. A list comes in the order of names, and a tree that
    /// grows only at its end is half empty.
    pub(super) fn compact(&mut self) {
        self.by_name = mem::take(&mut self.by_name).into_iter().collect();
        self.claims = mem::take(&mut self.claims).into_iter().collect();
        self.by_provider_id = mem::take(&mut self.by_provider_id).into_iter().collect();
    }

    /// The Node of this name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.by_name.get(name).map(|known| &known.node)
    }

    /// The claim of a Node on its own name, which it has while it is there.
    pub fn there(&self, name: &NodeName) -> Option<Claim> {
        self.by_name.get(name).map(|known| known.there)
    }

    /// The Node that has this DNS name as its own name.
    pub fn with_own_name(&self, san: &San) -> Option<&Node> {
        match san {
            San::Dns(dns) => self.get(dns.as_str()),
            San::Ip(_) => None,
        }
    }

    /// The Nodes whose names are this DNS name with some labels more, or with some of its last labels
    /// less: `a.example` for `a`, and `a` for `a.example`.
    pub fn named_alike(&self, dns: &DnsName) -> impl Iterator<Item = &Node> {
        let text = dns.as_str();
        let shorter = text.match_indices('.').filter_map(move |(dot, _)| {
            let head = text.get(..dot)?;
            self.get(head)
        });
        // `-` and `.` sort before letters and digits, and `/` follows `.`.
        let (first, end) = (format!("{text}."), format!("{text}/"));
        let longer = self.by_name.range::<str, _>((
            Bound::Included(first.as_str()),
            Bound::Excluded(end.as_str()),
        ));
        // Each can have come before or after a claim.
        let longer = longer.take(MAX_ALIKE);
        let longer: SmallVec<[&Node; 1]> = longer.map(|(_, known)| &known.node).collect();
        shorter.chain(longer)
    }

    /// All Nodes, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.by_name.values().map(|known| &known.node)
    }

    /// The number of Nodes.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Returns true if there are no Nodes.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The Nodes that claim this SAN in the order of their claims, except the Node that has it as its
    /// own DNS name.
    pub fn claimants(&self, san: &San) -> impl Iterator<Item = (&Node, Claim)> {
        self.known(self.claims.get(san))
    }

    /// The Node that is named by this address, which is its alone, with its claim.
    pub fn named_by(&self, san: &San) -> Option<(&Node, Claim)> {
        let San::Ip(ip) = san else { return None };
        let node = self.get(&ip.to_string())?;
        Some((node, self.claim(san, &node.name)?))
    }

    /// The claim of a Node on this SAN; `None` if it does not have it among its addresses, and is not
    /// named by it.
    pub fn claim(&self, san: &San, name: &NodeName) -> Option<Claim> {
        self.claims.get(san)?.of(name, self.there(name)?)
    }

    /// The Nodes with this provider ID, in the order of their claims.
    pub fn with_provider_id(&self, provider_id: &str) -> impl Iterator<Item = (&Node, Claim)> {
        self.known(self.by_provider_id.get(provider_id))
    }

    /// The pod networks that contain this address, each with its Node.
    pub fn pod_networks(&self, ip: IpAddr) -> impl Iterator<Item = (IpNet, &Node, Claim)> {
        self.pod_cidrs
            .containing(ip)
            .filter_map(|(network, owner)| {
                Some((network, self.get(owner.node.as_str())?, owner.claim))
            })
    }

    /// The number of other Nodes of which this one claims a name or an address, itself or within a pod
    /// network; at most `most`.
    pub fn contested_by(&self, node: &Node, most: usize) -> usize {
        const MAX_VISITED: usize = 1024;
        let mut others: BTreeSet<&str> = BTreeSet::new();
        let sans = || node.addresses.iter().map(|address| &address.san);
        let named_so = sans().filter_map(|san| self.with_own_name(san));
        others.extend(named_so.map(|other| other.name.as_str()));
        others.remove(node.name.as_str());
        let claimed = sans().filter(|san| !node.is_own_name(san));
        let by_address = claimed.filter_map(|san| self.claims.get(san));
        let by_network = node.pod_cidrs.iter().flat_map(|network| {
            let ends = San::Ip(network.network())..=San::Ip(network.broadcast());
            self.claims.range(ends).map(|(_, claimants)| claimants)
        });
        let claimants = by_address.chain(by_network).flat_map(Claimants::iter);
        for claimant in claimants.take(MAX_VISITED) {
            if claimant.node != node.name {
                others.insert(claimant.node.as_str());
            }
            if others.len() >= most {
                break;
            }
        }
        others.len().min(most)
    }

    /// Returns true if at least this many other Nodes had an address in a Node's pod network before it
    /// claimed that. Then it is a network of machines, whatever the Node says.
    pub fn is_of_machines(
        &self,
        network: &IpNet,
        owner: &Node,
        claim: Claim,
        least: usize,
    ) -> bool {
        const MAX_VISITED: usize = 1024;
        let ends = San::Ip(network.network())..=San::Ip(network.broadcast());
        let claimants = self
            .claims
            .range(ends)
            .flat_map(|(_, claimants)| claimants.iter());
        let earlier = claimants
            .take(MAX_VISITED)
            .filter(|claimant| claimant.node != owner.name && claimant.claim.precedes(&claim));
        let mut nodes: SmallVec<[&NodeName; 4]> = SmallVec::new();
        for claimant in earlier {
            if !nodes.contains(&&claimant.node) {
                nodes.push(&claimant.node);
            }
            if nodes.len() >= least {
                return true;
            }
        }
        false
    }

    fn known<'a>(
        &'a self,
        claimants: Option<&'a Claimants>,
    ) -> impl Iterator<Item = (&'a Node, Claim)> {
        let claimants = claimants.into_iter().flat_map(Claimants::iter);
        claimants.filter_map(|one| Some((self.get(one.node.as_str())?, one.claim)))
    }
}

/// Ends a Node's claim on something.
fn end<K: Ord + Borrow<Q>, Q: Ord + ?Sized>(
    claims: &mut BTreeMap<K, Claimants>,
    claimed: &Q,
    name: &NodeName,
) {
    if let Some(claimants) = claims.get_mut(claimed) {
        claimants.remove(name);
        if claimants.is_empty() {
            claims.remove(claimed);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::csr::FirstSeen;
    use crate::evidence::NodeAddress;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn apply(nodes: &mut Nodes, node: Node) -> bool {
        nodes.apply(node, Sighting::Listed, at(0)).is_some()
    }

    fn node(name: &str, address: &str, since: i64) -> Node {
        Node {
            uid: "1".into(),
            addresses: vec![NodeAddress::parse("InternalIP", address).unwrap()],
            addresses_since: at(since),
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
            provider_id: Some("cloud://1".into()),
            ..Node::blank(name)
        }
    }

    #[test]
    fn unchanged_addresses_of_the_same_node_keep_their_age() {
        let mut nodes = Nodes::default();
        let since = |nodes: &Nodes| nodes.get("a").unwrap().addresses_since;
        assert!(apply(&mut nodes, node("a", "10.0.0.1", 1)));
        assert!(!apply(&mut nodes, node("a", "10.0.0.1", 2)));
        let lost = Node {
            lost: true,
            ..node("a", "10.0.0.1", 3)
        };
        assert!(apply(&mut nodes, lost));
        assert_eq!(since(&nodes), at(1));
        assert!(apply(&mut nodes, node("a", "10.0.0.2", 4)));
        assert_eq!(since(&nodes), at(4));
        let recreated = Node {
            uid: "2".into(),
            ..node("a", "10.0.0.2", 5)
        };
        assert!(apply(&mut nodes, recreated));
        assert_eq!(since(&nodes), at(5));
    }

    #[test]
    fn a_node_with_the_same_uid_keeps_its_first_event() {
        let seen = |second, version: &str| FirstSeen::new(at(second), version, true);
        let shown = |uid: &str, address: &str, first_seen| Node {
            uid: uid.into(),
            first_seen,
            ..node("a", address, 1)
        };
        let mut nodes = Nodes::default();
        let kept = |nodes: &Nodes| nodes.get("a").unwrap().first_seen;
        apply(&mut nodes, shown("1", "10.0.0.1", seen(1, "7")));
        assert!(!apply(&mut nodes, shown("1", "10.0.0.1", seen(2, "8"))));
        apply(&mut nodes, shown("1", "10.0.0.2", seen(3, "9")));
        assert_eq!(kept(&nodes), seen(1, "7"));
        apply(&mut nodes, shown("2", "10.0.0.2", seen(4, "10")));
        assert_eq!(kept(&nodes), seen(4, "10"));
        nodes.remove("a");
        apply(&mut nodes, shown("2", "10.0.0.2", seen(5, "11")));
        assert_eq!(kept(&nodes), seen(5, "11"));
    }

    fn named(name: &str, addresses: &[&str]) -> Node {
        let addresses = addresses.iter();
        let addresses = addresses.filter_map(|text| NodeAddress::parse("Hostname", text));
        Node {
            addresses: addresses.collect(),
            ..Node::blank(name)
        }
    }

    fn claimants(nodes: &Nodes, name: &str) -> Vec<String> {
        let san = San::from_host_text(name).unwrap();
        let names = nodes.claimants(&san).map(|(node, _)| node.name.to_string());
        names.collect()
    }

    #[test]
    fn nobody_else_has_a_rank_for_a_nodes_own_name() {
        let mut nodes = Nodes::default();
        apply(&mut nodes, named("b", &["b"]));
        apply(&mut nodes, named("a", &["b"]));
        assert_eq!(claimants(&nodes, "b"), ["a"]);
        apply(&mut nodes, named("10.0.0.1", &[]));
        apply(&mut nodes, named("c", &["10.0.0.1"]));
        assert_eq!(claimants(&nodes, "10.0.0.1"), ["10.0.0.1", "c"]);
        for name in ["a", "b", "c", "10.0.0.1"] {
            nodes.remove(name);
        }
        assert!(nodes.claims.is_empty());
    }

    #[test]
    fn claims_keep_their_order_until_the_address_or_the_uid_changes() {
        let mut nodes = Nodes::default();
        let watched = |nodes: &mut Nodes, node: Node| {
            nodes
                .apply(node, Sighting::Watched, at(1))
                .unwrap_or_default()
        };
        let claimed = |text: &str| Claimed::San(San::from_host_text(text).unwrap());
        watched(&mut nodes, named("b", &["10.0.0.1"]));
        watched(&mut nodes, named("a", &["10.0.0.1", "10.0.0.2"]));
        assert_eq!(claimants(&nodes, "10.0.0.1"), ["b", "a"]);
        // Other changes of the Node are none of the claim.
        let lost = Node {
            lost: true,
            ..named("b", &["10.0.0.1"])
        };
        assert_eq!(watched(&mut nodes, lost), []);
        assert_eq!(claimants(&nodes, "10.0.0.1"), ["b", "a"]);
        let both = [claimed("10.0.0.1"), claimed("10.0.0.3")];
        assert_eq!(watched(&mut nodes, named("b", &["10.0.0.3"])), both);
        watched(&mut nodes, named("b", &["10.0.0.1"]));
        assert_eq!(claimants(&nodes, "10.0.0.1"), ["a", "b"]);
        let recreated = Node {
            uid: "2".into(),
            ..named("a", &["10.0.0.1"])
        };
        watched(&mut nodes, recreated);
        assert_eq!(claimants(&nodes, "10.0.0.1"), ["b", "a"]);
    }

    #[test]
    fn a_name_is_alike_with_more_or_fewer_labels() {
        let mut nodes = Nodes::default();
        for name in ["a", "a-b", "b.example", "b.example.org", "bc"] {
            apply(&mut nodes, named(name, &[]));
        }
        let alike = |text: &str| {
            let name = DnsName::parse(text.as_bytes()).unwrap();
            let names = nodes.named_alike(&name).map(|node| node.name.to_string());
            names.collect::<Vec<_>>()
        };
        assert_eq!(alike("a.example"), ["a"]);
        assert_eq!(alike("b"), ["b.example", "b.example.org"]);
        assert_eq!(alike("b.example"), ["b.example.org"]);
        assert!(alike("a").is_empty() && alike("c.example").is_empty());
    }

    #[test]
    fn contested_nodes_are_counted_once() {
        let mut nodes = Nodes::default();
        apply(&mut nodes, named("a", &["a", "10.0.0.1"]));
        apply(&mut nodes, named("b", &["b", "10.0.0.2", "10.0.0.3"]));
        apply(&mut nodes, named("c", &["10.0.1.1"]));
        let mut liar = named("liar", &["liar", "a", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        liar.pod_cidrs = vec!["10.0.0.0/16".parse().unwrap()];
        apply(&mut nodes, liar.clone());
        assert_eq!(nodes.contested_by(&liar, 100), 3);
        assert_eq!(nodes.contested_by(&liar, 2), 2);
        assert_eq!(nodes.contested_by(nodes.get("b").unwrap(), 100), 1);
    }

    #[test]
    fn a_removed_node_claims_nothing() {
        let mut nodes = Nodes::default();
        assert!(nodes.is_empty());
        apply(&mut nodes, node("a", "10.0.0.1", 1));
        apply(&mut nodes, node("b", "10.0.0.1", 1));
        assert_eq!((nodes.len(), nodes.is_empty()), (2, false));
        let san = San::from_host_text("10.0.0.1").unwrap();
        let found = |nodes: &Nodes| {
            let mut names: Vec<Vec<String>> = vec![
                nodes.iter().map(|node| node.name.to_string()).collect(),
                nodes
                    .claimants(&san)
                    .map(|(node, _)| node.name.to_string())
                    .collect(),
                nodes
                    .with_provider_id("cloud://1")
                    .map(|(node, _)| node.name.to_string())
                    .collect(),
            ];
            let pod = "10.244.1.7".parse().unwrap();
            let of_pod = nodes
                .pod_networks(pod)
                .map(|(_, node, _)| node.name.to_string());
            names.push(of_pod.collect());
            names.iter_mut().for_each(|names| names.sort());
            names
        };
        assert_eq!(found(&nodes), vec![vec!["a", "b"]; 4]);
        nodes.compact();
        assert_eq!(found(&nodes), vec![vec!["a", "b"]; 4]);
        assert!(nodes.remove("a").is_some());
        assert_eq!(nodes.remove("a"), None);
        assert_eq!(found(&nodes), vec![vec!["b"]; 4]);
        assert!(nodes.remove("b").is_some());
        assert!(nodes.claims.is_empty() && nodes.by_provider_id.is_empty());
    }
}
