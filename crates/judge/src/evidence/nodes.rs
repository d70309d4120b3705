//! Nodes, with an index from each name and address to the Nodes that claim it.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::networks::{Networks, to_ipv4_mapped};
use crate::csr::FirstSeen;
use crate::csr::names::{NodeName, San};

/// The type of a Node's address, as Kubernetes spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum AddressType {
    Hostname,
    InternalIP,
    ExternalIP,
    InternalDNS,
    ExternalDNS,
}

impl AddressType {
    /// Parses a type; `None` for a type that kubelets do not request SANs for.
    pub fn parse(text: &str) -> Option<AddressType> {
        match text {
            "Hostname" => Some(AddressType::Hostname),
            "InternalIP" => Some(AddressType::InternalIP),
            "ExternalIP" => Some(AddressType::ExternalIP),
            "InternalDNS" => Some(AddressType::InternalDNS),
            "ExternalDNS" => Some(AddressType::ExternalDNS),
            _ => None,
        }
    }
}

impl fmt::Display for AddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One entry of `status.addresses`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeAddress {
    /// The type.
    pub address_type: AddressType,
    /// The SAN that a kubelet requests for it.
    pub san: San,
}

impl NodeAddress {
    /// Parses an entry as the kubelet does (`addressesToHostnamesAndIPs`). Returns `None` if the
    /// kubelet would not request it, or if it is not a valid SAN.
    pub fn parse(address_type: &str, address: &str) -> Option<NodeAddress> {
        let address_type = AddressType::parse(address_type)?;
        let san = match address_type {
            AddressType::Hostname => San::from_host_text(address),
            AddressType::InternalIP | AddressType::ExternalIP => San::from_ip_text(address),
            AddressType::InternalDNS | AddressType::ExternalDNS => San::from_dns_text(address),
        }?;
        Some(NodeAddress { address_type, san })
    }
}

/// The fields of a Node that a verdict depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: NodeName,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// The first watch event with this UID; `None` for a Node that did not come from a watch.
    pub first_seen: Option<FirstSeen>,
    /// True if `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    /// True if the control plane has lost contact: the condition Ready is Unknown.
    pub lost: bool,
    /// True if it has the label of a control-plane node, which a kubelet cannot set.
    pub control_plane: bool,
    /// True if it has the taint `node.cloudprovider.kubernetes.io/uninitialized`.
    pub uninitialized: bool,
    /// The entries of `status.addresses` that are valid SANs.
    pub addresses: Vec<NodeAddress>,
    /// The monotonic time of the last change of the addresses.
    pub addresses_since: Timestamp,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// `spec.providerID`, the provider's name of the instance; `None` until it is set.
    pub provider_id: Option<Arc<str>>,
}

impl Node {
    /// The entry of its addresses that has this SAN.
    pub fn address(&self, san: &San) -> Option<&NodeAddress> {
        self.addresses.iter().find(|address| address.san == *san)
    }

    /// Returns true if this is the Node's own name.
    fn is_own_name(&self, san: &San) -> bool {
        matches!(san, San::Dns(dns) if dns.as_str() == self.name.as_str())
    }

    /// Returns true if any of its addresses is an IP address.
    pub fn has_ip(&self) -> bool {
        self.addresses
            .iter()
            .any(|address| matches!(address.san, San::Ip(_)))
    }
}

/// Returns true for a pod network of a plausible size. A kubelet can write a pod network into its
/// own Node while that has none. A huge one would contain the addresses of all other Nodes.
fn is_plausible(network: &IpNet) -> bool {
    network.prefix_len() >= if network.addr().is_ipv4() { 16 } else { 48 }
}

/// Names of Nodes, usually one.
type Names = SmallVec<[NodeName; 1]>;

/// All Nodes. The maps are B-trees: a hash map that grows holds its old and its new table at once.
#[derive(Debug, Default)]
pub struct Nodes {
    by_name: BTreeMap<NodeName, Box<Node>>,
    /// Claimants by SAN, without each Node's own name, which `by_name` has.
    claims: BTreeMap<San, Names>,
    pod_cidrs: Networks<NodeName>,
    by_provider_id: BTreeMap<Arc<str>, Names>,
}

impl Nodes {
    /// Adds a Node, or replaces the Node of the same name. A Node with the same UID keeps its first
    /// event, and the age of its addresses if these are unchanged. Returns true if anything changed.
    pub(super) fn apply(&mut self, mut node: Node) -> bool {
        for network in &mut node.pod_cidrs {
            *network = to_ipv4_mapped(network).unwrap_or(*network);
        }
        node.pod_cidrs.retain(is_plausible);
        if let Some(old) = self.by_name.get(node.name.as_str()) {
            if old.uid == node.uid {
                node.first_seen = old.first_seen;
                if old.addresses == node.addresses {
                    node.addresses_since = old.addresses_since;
                }
            }
            if **old == node {
                return false;
            }
        }
        self.remove(node.name.as_str());
        for address in &node.addresses {
            if node.is_own_name(&address.san) {
                continue;
            }
            let claimants = self.claims.entry(address.san.clone()).or_default();
            if !claimants.contains(&node.name) {
                claimants.push(node.name.clone());
            }
        }
        for network in &node.pod_cidrs {
            self.pod_cidrs.insert(*network, node.name.clone());
        }
        if let Some(id) = &node.provider_id {
            let of_id = self.by_provider_id.entry(id.clone()).or_default();
            of_id.push(node.name.clone());
        }
        self.by_name.insert(node.name.clone(), Box::new(node));
        true
    }

    /// Removes and returns the Node of this name.
    pub(super) fn remove(&mut self, name: &str) -> Option<Box<Node>> {
        let node = self.by_name.remove(name)?;
        for address in &node.addresses {
            if let Some(claimants) = self.claims.get_mut(&address.san) {
                claimants.retain(|claimant| claimant.as_str() != name);
                if claimants.is_empty() {
                    self.claims.remove(&address.san);
                }
            }
        }
        for network in &node.pod_cidrs {
            self.pod_cidrs.remove(*network, &node.name);
        }
        if let Some(id) = &node.provider_id
            && let Some(names) = self.by_provider_id.get_mut(id)
        {
            names.retain(|other| other.as_str() != name);
            if names.is_empty() {
                self.by_provider_id.remove(id);
            }
        }
        Some(node)
    }

    /// Rebuilds the trees without free space. A list comes in the order of names, and a tree that
    /// grows only at its end is half empty.
    pub(super) fn compact(&mut self) {
        self.by_name = mem::take(&mut self.by_name).into_iter().collect();
        self.claims = mem::take(&mut self.claims).into_iter().collect();
        self.by_provider_id = mem::take(&mut self.by_provider_id).into_iter().collect();
    }

    /// The Nodes with this provider ID.
    pub fn with_provider_id(&self, provider_id: &str) -> impl Iterator<Item = &Node> {
        self.by_provider_id
            .get(provider_id)
            .into_iter()
            .flatten()
            .filter_map(|name| self.get(name.as_str()))
    }

    /// The Node of this name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.by_name.get(name).map(Box::as_ref)
    }

    /// The Node that has this SAN as its own name.
    pub fn with_own_name(&self, san: &San) -> Option<&Node> {
        match san {
            San::Dns(dns) => self.get(dns.as_str()),
            San::Ip(_) => None,
        }
    }

    /// All Nodes, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.by_name.values().map(Box::as_ref)
    }

    /// The number of Nodes.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Returns true if there are no Nodes.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The Nodes that have this SAN among their addresses.
    pub fn claimants(&self, san: &San) -> impl Iterator<Item = &Node> {
        let names = self.claims.get(san).into_iter().flatten();
        self.with_own_name(san)
            .filter(|node| node.address(san).is_some())
            .into_iter()
            .chain(names.filter_map(|name| self.get(name.as_str())))
    }

    /// The pod networks that contain this address, each with its Node.
    pub fn pod_networks(&self, ip: IpAddr) -> impl Iterator<Item = (IpNet, &Node)> {
        self.pod_cidrs
            .containing(ip)
            .filter_map(|(network, name)| Some((network, self.get(name.as_str())?)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
impl Node {
    /// A Node with a name and no other fields.
    pub(super) fn blank(name: &str) -> Node {
        Node {
            name: NodeName::parse(name).unwrap(),
            uid: "".into(),
            created: Timestamp::UNIX_EPOCH,
            first_seen: None,
            terminating: false,
            lost: false,
            control_plane: false,
            uninitialized: false,
            addresses: Vec::new(),
            addresses_since: Timestamp::UNIX_EPOCH,
            pod_cidrs: Vec::new(),
            provider_id: None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
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
    fn address_types_are_spelled_as_in_kubernetes() {
        for name in [
            "Hostname",
            "InternalIP",
            "ExternalIP",
            "InternalDNS",
            "ExternalDNS",
        ] {
            assert_eq!(AddressType::parse(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn unchanged_addresses_of_the_same_node_keep_their_age() {
        let mut nodes = Nodes::default();
        let since = |nodes: &Nodes| nodes.get("a").unwrap().addresses_since;
        assert!(nodes.apply(node("a", "10.0.0.1", 1)));
        assert!(!nodes.apply(node("a", "10.0.0.1", 2)));
        let lost = Node {
            lost: true,
            ..node("a", "10.0.0.1", 3)
        };
        assert!(nodes.apply(lost));
        assert_eq!(since(&nodes), at(1));
        assert!(nodes.apply(node("a", "10.0.0.2", 4)));
        assert_eq!(since(&nodes), at(4));
        let recreated = Node {
            uid: "2".into(),
            ..node("a", "10.0.0.2", 5)
        };
        assert!(nodes.apply(recreated));
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
        nodes.apply(shown("1", "10.0.0.1", seen(1, "7")));
        assert!(!nodes.apply(shown("1", "10.0.0.1", seen(2, "8"))));
        nodes.apply(shown("1", "10.0.0.2", seen(3, "9")));
        assert_eq!(kept(&nodes), seen(1, "7"));
        nodes.apply(shown("2", "10.0.0.2", seen(4, "10")));
        assert_eq!(kept(&nodes), seen(4, "10"));
        nodes.remove("a");
        nodes.apply(shown("2", "10.0.0.2", seen(5, "11")));
        assert_eq!(kept(&nodes), seen(5, "11"));
    }

    #[test]
    fn a_node_claims_its_own_name_if_it_is_among_its_addresses() {
        let named = |name: &str, address: &str| Node {
            addresses: vec![NodeAddress::parse("Hostname", address).unwrap()],
            ..Node::blank(name)
        };
        let claimants = |nodes: &Nodes, name: &str| {
            let san = San::from_host_text(name).unwrap();
            let names = nodes.claimants(&san).map(|node| node.name.to_string());
            names.collect::<Vec<_>>()
        };
        let mut nodes = Nodes::default();
        nodes.apply(named("b", "b"));
        nodes.apply(named("a", "b"));
        nodes.apply(named("c", "a"));
        assert_eq!(claimants(&nodes, "b"), ["b", "a"]);
        assert_eq!(claimants(&nodes, "a"), ["c"]);
        assert!(claimants(&nodes, "c").is_empty());
        nodes.apply(named("b", "c"));
        assert_eq!(claimants(&nodes, "b"), ["a"]);
        assert_eq!(claimants(&nodes, "c"), ["b"]);
        for name in ["a", "b", "c"] {
            nodes.remove(name);
        }
        assert!(nodes.claims.is_empty());
    }

    #[test]
    fn a_removed_node_claims_nothing() {
        let mut nodes = Nodes::default();
        assert!(nodes.is_empty());
        nodes.apply(node("a", "10.0.0.1", 1));
        nodes.apply(node("b", "10.0.0.1", 1));
        assert_eq!((nodes.len(), nodes.is_empty()), (2, false));
        let san = San::from_host_text("10.0.0.1").unwrap();
        let found = |nodes: &Nodes| {
            let mut names: Vec<Vec<String>> = vec![
                nodes.iter().map(|node| node.name.to_string()).collect(),
                nodes
                    .claimants(&san)
                    .map(|node| node.name.to_string())
                    .collect(),
                nodes
                    .with_provider_id("cloud://1")
                    .map(|node| node.name.to_string())
                    .collect(),
            ];
            let pod = "10.244.1.7".parse().unwrap();
            let of_pod = nodes
                .pod_networks(pod)
                .map(|(_, node)| node.name.to_string());
            names.push(of_pod.collect());
            names.iter_mut().for_each(|names| names.sort());
            names
        };
        assert_eq!(found(&nodes), vec![vec!["a", "b"]; 4]);
        nodes.compact();
        assert_eq!(found(&nodes), vec![vec!["a", "b"]; 4]);
        assert_eq!(nodes.remove("a").unwrap().name.as_str(), "a");
        assert_eq!(nodes.remove("a"), None);
        assert_eq!(found(&nodes), vec![vec!["b"]; 4]);
        assert!(nodes.remove("b").is_some());
        assert!(nodes.claims.is_empty() && nodes.by_provider_id.is_empty());
    }
}
