//! Keys of approved requests, each with the node that it belongs to.

use std::collections::{BTreeMap, VecDeque};

use crate::csr::Fingerprint;
use crate::csr::names::NodeName;

/// Number of keys that are remembered in a cluster of any size.
const MIN_CAPACITY: usize = 4096;
/// Number of keys that are remembered for each Node: one or two rotations and a few restarts.
const CAPACITY_PER_NODE: usize = 4;

/// Keys of approved requests. The oldest are dropped first.
#[derive(Debug, Default)]
pub struct Keys {
    owners: BTreeMap<Fingerprint, NodeName>,
    order: VecDeque<Fingerprint>,
}

impl Keys {
    /// Records the approval of a request of this node with this key. The first node stays the owner.
    /// Returns true if the key is new.
    pub(super) fn record(&mut self, key: Fingerprint, node: NodeName, nodes: usize) -> bool {
        if self.owners.contains_key(&key) {
            return false;
        }
        self.owners.insert(key, node);
        self.order.push_back(key);
        while self.order.len() > MIN_CAPACITY.max(nodes.saturating_mul(CAPACITY_PER_NODE)) {
            if let Some(oldest) = self.order.pop_front() {
                self.owners.remove(&oldest);
            }
        }
        true
    }

    /// The node that owns this key.
    pub fn owner(&self, key: &Fingerprint) -> Option<&NodeName> {
        self.owners.get(key)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(index: usize) -> Fingerprint {
        Fingerprint::of(&index.to_be_bytes())
    }

    fn filled(count: usize, nodes: usize) -> Keys {
        let mut keys = Keys::default();
        for index in 0..count {
            keys.record(key(index), NodeName::parse("a").unwrap(), nodes);
        }
        keys
    }

    #[test]
    fn the_oldest_keys_are_forgotten_first() {
        assert!(filled(MIN_CAPACITY, 1).owner(&key(0)).is_some());
        let keys = filled(MIN_CAPACITY + 1, 1);
        assert!(keys.owner(&key(0)).is_none());
        assert!(keys.owner(&key(1)).is_some());
        assert_eq!(
            (keys.owners.len(), keys.order.len()),
            (MIN_CAPACITY, MIN_CAPACITY)
        );
        assert!(
            filled(MIN_CAPACITY + 1, MIN_CAPACITY)
                .owner(&key(0))
                .is_some()
        );
    }

    #[test]
    fn the_first_node_stays_the_owner() {
        let mut keys = filled(1, 1);
        keys.record(key(0), NodeName::parse("b").unwrap(), 1);
        assert_eq!(keys.owner(&key(0)).unwrap().as_str(), "a");
        assert_eq!(keys.order.len(), 1);
    }
}
