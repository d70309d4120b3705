//! The administrator's inventory: the names and addresses of nodes, by node name or by pattern.

use std::collections::{BTreeSet, HashMap};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api_version::API_VERSION;
use crate::csr::names::{DnsName, NodeName, San};
use crate::yaml::{FieldError, quoted};
use crate::{node_pattern, policy, yaml};

/// The `kind` of an inventory.
pub const KIND: &str = "Inventory";
/// Maximum size of an inventory, in bytes: more than Kubernetes stores in a ConfigMap.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// An inventory file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InventoryFile {
    /// Always `csr-warden.dev/v1beta1`.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// Always `Inventory`.
    #[schemars(extend("const" = KIND))]
    pub kind: String,
    /// Nodes by their names.
    #[serde(default)]
    pub nodes: Vec<InventoryNode>,
    /// Nodes by patterns of their names.
    #[serde(default)]
    pub patterns: Vec<InventoryPattern>,
}

/// The names and addresses of one node.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InventoryNode {
    /// The Node's name.
    pub name: String,
    /// All its IP addresses, or none if they are not known here.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// All its DNS names, or none if they are not known here.
    #[serde(default)]
    pub names: Vec<String>,
}

/// The names and addresses of all nodes whose names match a pattern.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InventoryPattern {
    /// A Node's name in which each `*` stands for any characters but a dot.
    pub nodes: String,
    /// Networks in which their IP addresses lie.
    #[serde(default, deserialize_with = "policy::networks")]
    #[schemars(with = "Vec<String>")]
    pub networks: Vec<IpNet>,
    /// Domains under which each has its Node's name: `example.com` for `<node>.example.com`.
    #[serde(default)]
    pub dns_suffixes: Vec<String>,
}

/// The result of looking up a SAN of a node in an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InventoryMatch {
    /// The SAN belongs to the node, with the entry that says so.
    Listed(String),
    /// The SAN does not belong to the node, with the reason.
    Conflict(String),
    /// The inventory has no entry for it.
    Unlisted,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    addresses: BTreeSet<San>,
    names: BTreeSet<San>,
}

#[derive(Clone, Debug)]
struct Pattern {
    nodes: String,
    networks: Vec<IpNet>,
    dns_suffixes: Vec<DnsName>,
}

/// A parsed inventory.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    entries: HashMap<NodeName, Entry>,
    owners: HashMap<San, NodeName>,
    patterns: Vec<Pattern>,
}

impl Inventory {
    /// Parses and validates an inventory. The error names the field, or two nodes that share a SAN.
    pub fn parse(text: &str) -> Result<Inventory, yaml::Error> {
        let file: InventoryFile = yaml::read(text, MAX_BYTES, (API_VERSION, KIND))?;
        let inventory = Inventory::from_file(&file).map_err(|error| error.located_in(text))?;
        Ok(inventory)
    }

    fn from_file(file: &InventoryFile) -> Result<Inventory, FieldError> {
        for (path, expected, found) in [
            ("kind", KIND, &file.kind),
            ("apiVersion", API_VERSION, &file.api_version),
        ] {
            if found != expected {
                return Err(FieldError::new(path, &quoted(expected), &quoted(found)));
            }
        }
        let mut inventory = Inventory::default();
        for (index, node) in file.nodes.iter().enumerate() {
            inventory.add(&format!("nodes[{index}]"), node)?;
        }
        for (index, pattern) in file.patterns.iter().enumerate() {
            let pattern = Pattern::read(&format!("patterns[{index}]"), pattern)?;
            inventory.patterns.push(pattern);
        }
        Ok(inventory)
    }

    fn add(&mut self, path: &str, node: &InventoryNode) -> Result<(), FieldError> {
        let of_name = format!("{path}.name");
        let name = NodeName::parse(&node.name)
            .ok_or_else(|| FieldError::new(&of_name, "a Node's name", &quoted(&node.name)))?;
        let mut entry = Entry::default();
        for (index, text) in node.addresses.iter().enumerate() {
            let path = format!("{path}.addresses[{index}]");
            let san = San::from_ip_text(text)
                .ok_or_else(|| FieldError::new(&path, "an IP address", &quoted(text)))?;
            self.claim(&path, &san, &name)?;
            entry.addresses.insert(san);
        }
        for (index, text) in node.names.iter().enumerate() {
            let path = format!("{path}.names[{index}]");
            let san = San::from_dns_text(text)
                .ok_or_else(|| FieldError::new(&path, "a DNS name", &quoted(text)))?;
            self.claim(&path, &san, &name)?;
            entry.names.insert(san);
        }
        // A node's own name need not be listed, but no other node may have it.
        if let Some(own) = San::from_host_text(name.as_str()) {
            self.claim(&of_name, &own, &name)?;
        }
        match self.entries.insert(name, entry) {
            None => Ok(()),
            Some(_) => {
                let found = format!("{} again", quoted(&node.name));
                Err(FieldError::new(of_name, "each Node once", &found))
            }
        }
    }

    fn claim(&mut self, path: &str, san: &San, name: &NodeName) -> Result<(), FieldError> {
        match self.owners.insert(san.clone(), name.clone()) {
            Some(first) if first != *name => {
                let found = format!("{san} at {first} and at {name}");
                Err(FieldError::new(
                    path,
                    "each name and address at one Node only",
                    &found,
                ))
            }
            _ => Ok(()),
        }
    }

    /// Looks up a SAN for a node. The entry of a node takes precedence over patterns.
    pub fn lookup(&self, node: &NodeName, san: &San) -> InventoryMatch {
        match self.owners.get(san) {
            Some(owner) if owner == node => {
                return InventoryMatch::Listed(format!("inventory: {node}"));
            }
            Some(owner) => {
                return InventoryMatch::Conflict(format!("the inventory assigns {san} to {owner}"));
            }
            None => {}
        }
        let (kind, listed) = match (self.entries.get(node), san) {
            (Some(entry), San::Ip(_)) => ("addresses", Some(&entry.addresses)),
            (Some(entry), San::Dns(_)) => ("names", Some(&entry.names)),
            (None, _) => ("", None),
        };
        // An entry with any SAN of a kind is complete; patterns do not extend it.
        if listed.is_some_and(|listed| !listed.is_empty()) {
            return InventoryMatch::Conflict(format!(
                "the inventory lists all {kind} of {node}, and {san} is not among them"
            ));
        }
        let patterns = || {
            self.patterns
                .iter()
                .filter(|p| node_pattern::matches(&p.nodes, node))
        };
        if let Some(pattern) = patterns().find(|pattern| pattern.holds(node, san)) {
            return InventoryMatch::Listed(format!("inventory: pattern {}", pattern.nodes));
        }
        InventoryMatch::Unlisted
    }

    /// The number of nodes that it lists by name.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if it has neither nodes nor patterns.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.patterns.is_empty()
    }
}

impl Pattern {
    fn read(path: &str, pattern: &InventoryPattern) -> Result<Pattern, FieldError> {
        if !node_pattern::is_well_formed(&pattern.nodes) {
            let found = quoted(&pattern.nodes);
            let path = format!("{path}.nodes");
            return Err(FieldError::new(path, node_pattern::EXPECTED, &found));
        }
        policy::validate_networks(&format!("{path}.networks"), &pattern.networks)?;
        let mut dns_suffixes = Vec::new();
        for (index, text) in pattern.dns_suffixes.iter().enumerate() {
            let suffix = DnsName::parse(text.as_bytes()).map_err(|_| {
                let expected = "a DNS name without a leading dot or `*`";
                let path = format!("{path}.dnsSuffixes[{index}]");
                FieldError::new(path, expected, &quoted(text))
            })?;
            dns_suffixes.push(suffix);
        }
        Ok(Pattern {
            nodes: pattern.nodes.clone(),
            networks: pattern.networks.clone(),
            dns_suffixes,
        })
    }

    fn holds(&self, node: &NodeName, san: &San) -> bool {
        match san {
            San::Ip(ip) => self.networks.iter().any(|network| network.contains(ip)),
            San::Dns(name) => {
                self.dns_suffixes.iter().any(|suffix| {
                    let first = name.as_str().strip_suffix(suffix.as_str());
                    first.and_then(|first| first.strip_suffix('.')) == Some(node.as_str())
                }) || name.as_str() == node.as_str()
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn its_size_is_the_number_of_listed_nodes() {
        let head = "apiVersion: csr-warden.dev/v1beta1\nkind: Inventory\n";
        let of = |rest: &str| {
            let inventory = Inventory::parse(&format!("{head}{rest}")).unwrap();
            (inventory.len(), inventory.is_empty())
        };
        assert_eq!(of("nodes: []\n"), (0, true));
        assert_eq!(of("nodes: [{name: a}, {name: b}]\n"), (2, false));
        assert_eq!(of("patterns: [{nodes: 'a-*'}]\n"), (0, false));
    }

    #[test]
    fn an_address_belongs_to_one_node_and_may_be_listed_twice() {
        let head = "apiVersion: csr-warden.dev/v1beta1\nkind: Inventory\nnodes:\n";
        let twice = "- {name: a, addresses: [10.0.0.1, 10.0.0.1]}\n";
        assert!(Inventory::parse(&format!("{head}{twice}")).is_ok());
        let other = "- {name: b, addresses: [10.0.0.1]}\n";
        assert!(Inventory::parse(&format!("{head}{twice}{other}")).is_err());
    }

    #[test]
    fn it_may_be_larger_than_a_config_map_up_to_a_limit() {
        let of = |bytes: usize| {
            let text = "apiVersion: csr-warden.dev/v1beta1\nkind: Inventory\nnodes: []\n# ";
            Inventory::parse(&format!("{text}{}", "x".repeat(bytes))).is_ok()
        };
        assert!(of(2 * 1024 * 1024));
        assert!(!of(4 * 1024 * 1024));
    }
}
