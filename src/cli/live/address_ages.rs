//! Age of Nodes' addresses, for a command that reads the cluster more than once.

use std::collections::HashMap;

use jiff::Timestamp;

use judge::csr::names::NodeName;
use judge::evidence::{Node, NodeAddress, Nodes};

/// Age of each Node's addresses.
pub(in crate::cli) enum AddressAges {
    /// Unlimited, as for files. For commands that do not write.
    Unlimited,
    /// Counted from the first read that had these addresses.
    Seen(HashMap<NodeName, Seen>),
}

/// Observed addresses of one Node.
pub(in crate::cli) struct Seen {
    uid: Box<str>,
    addresses: Vec<NodeAddress>,
    since: Timestamp,
}

impl Default for AddressAges {
    fn default() -> AddressAges {
        AddressAges::Seen(HashMap::new())
    }
}

impl AddressAges {
    /// Time from which this Node has its current addresses; `now` if they are new.
    pub(super) fn since(&self, node: &Node, now: Timestamp) -> Timestamp {
        match self {
            AddressAges::Unlimited => Timestamp::UNIX_EPOCH,
            AddressAges::Seen(seen) => seen
                .get(&node.name)
                .filter(|seen| seen.uid == node.uid && seen.addresses == node.addresses)
                .map_or(now, |seen| seen.since),
        }
    }

    /// Stores the Nodes of this read, and drops all others.
    pub(super) fn remember(&mut self, nodes: &Nodes) {
        let AddressAges::Seen(seen) = self else {
            return;
        };
        *seen = nodes
            .iter()
            .map(|node| {
                let of_node = Seen {
                    uid: node.uid.clone(),
                    addresses: node.addresses.clone(),
                    since: node.addresses_since,
                };
                (node.name.clone(), of_node)
            })
            .collect();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::objects::SlimNode;
    use judge::evidence::{Evidence, Fact};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn node(uid: &str, address: &str) -> Node {
        let object: SlimNode = serde_json::from_value(json!({
            "metadata": {"name": "node-1", "uid": uid},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        }))
        .unwrap();
        object.into_evidence(at(0)).unwrap()
    }

    #[test]
    fn addresses_age_from_look_to_look_while_they_and_the_node_stay() {
        let mut ages = AddressAges::default();
        let mut look = |uid: &str, address: &str, now| {
            let mut node = node(uid, address);
            node.addresses_since = ages.since(&node, at(now));
            let since = node.addresses_since;
            let mut evidence = Evidence::default();
            evidence.apply(Fact::ListedNode(Box::new(node)), at(now));
            ages.remember(evidence.nodes());
            since
        };
        assert_eq!(look("a", "10.0.0.1", 10), at(10));
        assert_eq!(look("a", "10.0.0.1", 20), at(10));
        assert_eq!(look("a", "10.0.0.2", 30), at(30));
        assert_eq!(look("b", "10.0.0.2", 40), at(40));
        assert_eq!(look("b", "10.0.0.2", 50), at(40));
        let unlimited = AddressAges::Unlimited.since(&node("a", "10.0.0.1"), at(60));
        assert_eq!(unlimited, Timestamp::UNIX_EPOCH);
    }
}
