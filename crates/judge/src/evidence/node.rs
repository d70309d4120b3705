//! A Node: the fields that a verdict depends on.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use smallvec::SmallVec;

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
    /// The entries of `status.addresses` that are valid SANs, in the Node's own order.
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

    /// The entry of its addresses that has this SAN, if it is one of the first `max` distinct ones.
    pub fn address_within(&self, san: &San, max: usize) -> Option<&NodeAddress> {
        let mut distinct: SmallVec<[&San; 64]> = SmallVec::new();
        for address in &self.addresses {
            if address.san == *san {
                return Some(address);
            }
            if !distinct.contains(&&address.san) {
                distinct.push(&address.san);
            }
            if distinct.len() >= max {
                return None;
            }
        }
        None
    }

    /// Returns true if this DNS name is the Node's own name.
    pub fn is_own_name(&self, san: &San) -> bool {
        matches!(san, San::Dns(dns) if dns.as_str() == self.name.as_str())
    }

    /// The address that is the Node's name; `None` for a Node that is named otherwise.
    pub fn named_address(&self) -> Option<San> {
        San::from_ip_text(self.name.as_str())
    }

    /// Returns true if any of its addresses is an IP address.
    pub fn has_ip(&self) -> bool {
        self.addresses
            .iter()
            .any(|address| matches!(address.san, San::Ip(_)))
    }

    /// The names and addresses that it claims: the first `max` distinct ones of its addresses, without its
    /// own DNS name, and the address that is its name.
    pub(super) fn claimed(&self, max: usize) -> BTreeSet<San> {
        let mut first = BTreeSet::new();
        for address in &self.addresses {
            if first.len() >= max {
                break;
            }
            first.insert(address.san.clone());
        }
        first.retain(|san| !self.is_own_name(san));
        first.extend(self.named_address());
        first
    }

    /// Returns true if both have the same addresses, in any order.
    pub(super) fn has_addresses_of(&self, other: &Node) -> bool {
        let sorted = |node: &Node| {
            let mut addresses = node.addresses.clone();
            addresses.sort_unstable();
            addresses
        };
        sorted(self) == sorted(other)
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
    fn only_the_first_addresses_of_a_node_count() {
        let addresses = ["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"];
        let addresses = addresses.iter();
        let addresses = addresses.filter_map(|text| NodeAddress::parse("Hostname", text));
        let node = Node {
            addresses: addresses.collect(),
            ..Node::blank("a")
        };
        let within = |text: &str, max| {
            let san = San::from_host_text(text).unwrap();
            node.address_within(&san, max).is_some()
        };
        assert!(within("10.0.0.2", 2) && !within("10.0.0.2", 1));
        assert!(!within("10.0.0.3", 2) && within("10.0.0.3", 3) && !within("10.0.0.4", 9));
    }
}
