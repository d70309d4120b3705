//! Machines: the objects from which nodes were created, with the nodes' addresses. No kubelet can
//! write a Machine.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use super::Node;
use crate::csr::names::{NodeName, San};

/// A Machine's reference to its Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeReference {
    /// The Node's name; `None` until the Node exists.
    Name(Option<NodeName>),
    /// The provider ID that both have.
    ProviderId,
}

/// The fields of a Machine that a verdict depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Kind, group, namespace and name, as findings show them.
    pub key: Arc<str>,
    /// The reference to its Node.
    pub node: NodeReference,
    /// The provider's name of the instance; `None` if it has none.
    pub provider_id: Option<Arc<str>>,
    /// True if the policy has a path for its provider ID, which then must be the Node's.
    pub checks_provider_id: bool,
    /// Its addresses and names.
    pub addresses: BTreeSet<San>,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// True if `metadata.deletionTimestamp` is set.
    pub terminating: bool,
}

impl Machine {
    /// Parses one of its addresses or names. Some providers write an address with the length of its
    /// network's prefix (`195.201.236.66/26`), which still is that address alone.
    pub fn parse_address(text: &str) -> Option<San> {
        match text.parse::<IpNet>() {
            Ok(with_prefix) => San::from_ip_text(&with_prefix.addr().to_string()),
            Err(_) => San::from_host_text(text),
        }
    }

    /// The names under which requests await it: its key, its Node's name and its provider ID.
    pub fn wake_names(&self) -> Vec<Arc<str>> {
        let node = match &self.node {
            NodeReference::Name(node) => node.as_ref().map(NodeName::shared),
            NodeReference::ProviderId => None,
        };
        let all = [Some(self.key.clone()), node, self.provider_id.clone()];
        all.into_iter().flatten().collect()
    }

    /// The kind, which is the first word of the key. A Node may have one Machine of each kind.
    pub fn kind(&self) -> &str {
        self.key.split(' ').next().unwrap_or_default()
    }

    /// Returns true if it names another Node or has the provider ID of another instance.
    pub fn belongs_to_other_node(&self, node: &Node) -> bool {
        let names_another = match &self.node {
            NodeReference::Name(name) => name.as_ref().is_some_and(|name| *name != node.name),
            NodeReference::ProviderId => false,
        };
        let ids = (&self.provider_id, &node.provider_id);
        names_another || matches!(ids, (Some(one), Some(other)) if one != other)
    }

    /// Returns true if it refers to this Node.
    pub fn refers_to(&self, node: &Node) -> bool {
        match &self.node {
            NodeReference::Name(name) => name.as_ref() == Some(&node.name),
            NodeReference::ProviderId => {
                self.provider_id.is_some() && self.provider_id == node.provider_id
            }
        }
    }
}

/// All Machines, with indexes by Node, provider ID and address.
#[derive(Debug, Default)]
pub struct Machines {
    by_key: HashMap<Arc<str>, Machine>,
    by_node: HashMap<NodeName, BTreeSet<Arc<str>>>,
    by_provider_id: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    by_address: HashMap<San, BTreeSet<Arc<str>>>,
}

impl Machines {
    /// Adds a Machine, or replaces the Machine of the same key. Returns true if anything changed.
    pub(super) fn apply(&mut self, machine: Machine) -> bool {
        if self.by_key.get(&machine.key) == Some(&machine) {
            return false;
        }
        self.remove(&machine.key.clone());
        let key = &machine.key;
        match (&machine.node, &machine.provider_id) {
            (NodeReference::Name(Some(node)), _) => {
                let of_node = self.by_node.entry(node.clone()).or_default();
                of_node.insert(key.clone());
            }
            (NodeReference::ProviderId, Some(provider_id)) => {
                let of_provider = self.by_provider_id.entry(provider_id.clone()).or_default();
                of_provider.insert(key.clone());
            }
            (NodeReference::Name(None) | NodeReference::ProviderId, _) => {}
        }
        for san in &machine.addresses {
            let of_address = self.by_address.entry(san.clone()).or_default();
            of_address.insert(key.clone());
        }
        self.by_key.insert(key.clone(), machine);
        true
    }

    /// Removes and returns the Machine of this key.
    pub(super) fn remove(&mut self, key: &str) -> Option<Machine> {
        let machine = self.by_key.remove(key)?;
        match (&machine.node, &machine.provider_id) {
            (NodeReference::Name(Some(node)), _) => remove_key(&mut self.by_node, node, key),
            (NodeReference::ProviderId, Some(id)) => remove_key(&mut self.by_provider_id, id, key),
            (NodeReference::Name(None) | NodeReference::ProviderId, _) => {}
        }
        for san in &machine.addresses {
            remove_key(&mut self.by_address, san, key);
        }
        Some(machine)
    }

    /// The Machine of this key.
    pub fn get(&self, key: &str) -> Option<&Machine> {
        self.by_key.get(key)
    }

    /// The Machines that refer to this Node, in the order of their keys.
    pub fn for_node(&self, node: &Node) -> Vec<&Machine> {
        let by_id = |id: &Arc<str>| self.by_provider_id.get(id);
        let keys: BTreeSet<&Arc<str>> = self
            .by_node
            .get(&node.name)
            .into_iter()
            .chain(node.provider_id.as_ref().and_then(by_id))
            .flatten()
            .collect();
        keys.into_iter().filter_map(|key| self.get(key)).collect()
    }

    /// The Machines that have this SAN among their addresses, in the order of their keys.
    pub fn with_address(&self, san: &San) -> impl Iterator<Item = &Machine> {
        self.by_address
            .get(san)
            .into_iter()
            .flatten()
            .filter_map(|key| self.get(key))
    }

    /// The number of Machines.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Returns true if there are no Machines.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

fn remove_key<K, Q>(index: &mut HashMap<K, BTreeSet<Arc<str>>>, at: &Q, key: &str)
where
    K: std::borrow::Borrow<Q> + Eq + std::hash::Hash,
    Q: Eq + std::hash::Hash + ?Sized,
{
    if let Some(keys) = index.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn machine(key: &str, node: NodeReference, provider_id: Option<&str>) -> Machine {
        Machine {
            key: key.into(),
            node,
            provider_id: provider_id.map(Into::into),
            checks_provider_id: true,
            addresses: BTreeSet::from([San::from_host_text("10.0.0.1").unwrap()]),
            created: Timestamp::UNIX_EPOCH,
            terminating: false,
        }
    }

    fn named(key: &str, node: &str) -> Machine {
        let node = NodeName::parse(node);
        machine(key, NodeReference::Name(node), Some("cloud://1"))
    }

    fn node(name: &str, provider_id: Option<&str>) -> Node {
        Node {
            provider_id: provider_id.map(Into::into),
            ..Node::blank(name)
        }
    }

    #[test]
    fn an_address_with_a_prefix_length_is_that_address() {
        let parsed = |text: &str| Machine::parse_address(text).map(|san| san.to_string());
        for (text, expected) in [
            ("195.201.236.66/26", Some("IP:195.201.236.66")),
            ("2001:DB8::1/64", Some("IP:2001:db8::1")),
            ("::ffff:10.0.0.1/120", Some("IP:10.0.0.1")),
            ("10.0.0.1", Some("IP:10.0.0.1")),
            ("Node-1.example.", Some("DNS:node-1.example")),
            ("10.0.0.1/33", None),
            ("node-1/24", None),
        ] {
            assert_eq!(parsed(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn requests_await_it_by_key_node_and_provider_id() {
        let known = named("Machine a", "n").wake_names();
        assert_eq!(known, ["Machine a".into(), "n".into(), "cloud://1".into()]);
        let by_id = machine("Machine b", NodeReference::ProviderId, None);
        assert_eq!(by_id.wake_names(), ["Machine b".into()]);
    }

    #[test]
    fn it_belongs_to_another_node_by_name_or_by_instance() {
        let of_n = named("Machine a", "n");
        assert!(!of_n.belongs_to_other_node(&node("n", None)));
        assert!(!of_n.belongs_to_other_node(&node("n", Some("cloud://1"))));
        assert!(of_n.belongs_to_other_node(&node("n", Some("cloud://2"))));
        assert!(of_n.belongs_to_other_node(&node("m", Some("cloud://1"))));
        let by_id = machine("Machine b", NodeReference::ProviderId, Some("cloud://1"));
        assert!(!by_id.belongs_to_other_node(&node("m", Some("cloud://1"))));
        assert!(by_id.belongs_to_other_node(&node("m", Some("cloud://2"))));
    }

    #[test]
    fn a_removed_machine_is_not_found() {
        let mut machines = Machines::default();
        let by_id = machine("Machine b", NodeReference::ProviderId, Some("cloud://2"));
        assert!(machines.is_empty());
        assert!(machines.apply(named("Machine a", "n")));
        assert!(!machines.apply(named("Machine a", "n")));
        assert!(machines.apply(by_id.clone()));
        assert_eq!((machines.len(), machines.is_empty()), (2, false));
        let (n, m) = (node("n", None), node("m", Some("cloud://2")));
        let san = San::from_host_text("10.0.0.1").unwrap();
        assert_eq!(
            (machines.for_node(&n).len(), machines.for_node(&m).len()),
            (1, 1)
        );
        assert_eq!(machines.with_address(&san).count(), 2);

        assert!(machines.apply(named("Machine a", "other")));
        assert!(machines.for_node(&n).is_empty());
        assert_eq!(machines.remove("Machine b"), Some(by_id));
        assert_eq!(machines.remove("Machine b"), None);
        assert!(machines.for_node(&m).is_empty());
        assert_eq!(machines.with_address(&san).count(), 1);
        assert!(machines.remove("Machine a").is_some());
        assert!(machines.by_node.is_empty() && machines.by_provider_id.is_empty());
        assert!(machines.by_address.is_empty() && machines.is_empty());
    }
}
