//! Claims of Nodes on names, addresses, pod networks and provider IDs, and their order.
//!
//! A kubelet writes its own Node, so a Node proves only that its kubelet claims something. The order of
//! claims is the order of watch events, which no kubelet can choose for others. What one list brings
//! has equal rank: its order was not seen.

use std::cmp::Ordering;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use smallvec::SmallVec;

use crate::csr::names::{NodeName, San};

/// A name, address, pod network or provider ID that a Node can claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claimed {
    /// A name or an address.
    San(San),
    /// Every address in a pod network.
    PodNetwork(IpNet),
    /// A provider ID.
    ProviderId(Arc<str>),
}

/// The way in which an object became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// A list contained it, in any order.
    Listed,
    /// The running watch reported it.
    Watched,
}

/// The beginning of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    rank: u64,
    /// The monotonic time at which it was first seen.
    pub since: Timestamp,
}

impl Claim {
    /// The order of two claims; equal if it was not seen.
    pub fn order(&self, other: &Claim) -> Ordering {
        self.rank.cmp(&other.rank)
    }

    /// Returns true if this claim was seen to begin before the other one.
    pub fn precedes(&self, other: &Claim) -> bool {
        self.order(other) == Ordering::Less
    }
}

/// A Node that claims something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The Node's name. A Node with another UID is another claimant.
    pub node: NodeName,
    /// The beginning of its claim.
    pub claim: Claim,
}

/// The claimants of one thing, usually one, in the order of their claims, and by name where that is equal.
#[derive(Debug, Default)]
pub(super) struct Claimants(SmallVec<[Claimant; 1]>);

impl Claimants {
    pub(super) fn insert(&mut self, claimant: Claimant) {
        let (Ok(at) | Err(at)) = self.find(&claimant.node, claimant.claim);
        self.0.insert(at, claimant);
    }

    pub(super) fn remove(&mut self, node: &NodeName) {
        self.0.retain(|claimant| claimant.node != *node);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Claimant> {
        self.0.iter()
    }

    /// The claim of a Node. Most claims begin when the Node is first seen, and thousands of Nodes may claim the
    /// same, so that one is searched for first.
    pub(super) fn of(&self, node: &NodeName, there: Claim) -> Option<Claim> {
        let began_with_it = self.find(node, there).ok().and_then(|at| self.0.get(at));
        let found = began_with_it.or_else(|| self.iter().find(|one| one.node == *node));
        found.map(|claimant| claimant.claim)
    }

    /// The index of a claimant, or the one at which it belongs.
    fn find(&self, node: &NodeName, claim: Claim) -> Result<usize, usize> {
        self.0
            .binary_search_by(|one| one.claim.order(&claim).then_with(|| one.node.cmp(node)))
    }
}

/// Source of ranks.
#[derive(Debug, Default)]
pub(super) struct Ranks {
    next: u64,
}

impl Ranks {
    /// The claim that begins with a sighting at this monotonic time.
    pub(super) fn begin(&mut self, sighting: Sighting, at: Timestamp) -> Claim {
        if sighting == Sighting::Watched {
            self.next += 1;
        }
        let rank = self.next;
        if sighting == Sighting::Watched {
            self.next += 1;
        }
        Claim { rank, since: at }
    }

    /// Ends a list: what the next one brings has another rank.
    pub(super) fn end_list(&mut self) {
        self.next += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn events_have_an_order_and_one_list_has_none() {
        let mut ranks = Ranks::default();
        let mut begin = |sighting| ranks.begin(sighting, Timestamp::UNIX_EPOCH);
        let (a, b) = (begin(Sighting::Listed), begin(Sighting::Listed));
        let (c, d) = (begin(Sighting::Watched), begin(Sighting::Watched));
        let (e, f) = (begin(Sighting::Listed), begin(Sighting::Listed));
        ranks.end_list();
        let g = ranks.begin(Sighting::Listed, Timestamp::UNIX_EPOCH);
        assert_eq!(a.order(&b), Ordering::Equal);
        assert_eq!(e.order(&f), Ordering::Equal);
        let ordered = [a, c, d, e, g];
        for (index, one) in ordered.iter().enumerate() {
            for later in ordered.iter().skip(index + 1) {
                assert!(one.precedes(later) && !later.precedes(one));
            }
        }
    }

    #[test]
    fn claimants_are_sorted_by_claim_and_name() {
        let name = |name: &str| NodeName::parse(name).unwrap();
        let claim = |rank| Claim {
            rank,
            since: Timestamp::UNIX_EPOCH,
        };
        let mut claimants = Claimants::default();
        for (node, rank) in [("d", 2), ("b", 1), ("c", 1), ("a", 3)] {
            claimants.insert(Claimant {
                node: name(node),
                claim: claim(rank),
            });
        }
        let names: Vec<&str> = claimants.iter().map(|one| one.node.as_str()).collect();
        assert_eq!(names, ["b", "c", "d", "a"]);
        // The claim of `a` began after the Node was first seen.
        for (node, there, rank) in [("c", 1, Some(1)), ("a", 1, Some(3)), ("e", 1, None)] {
            let found = claimants.of(&name(node), claim(there));
            assert_eq!(found.map(|claim| claim.rank), rank, "{node}");
        }
        claimants.remove(&name("c"));
        assert_eq!(claimants.iter().count(), 3);
    }
}
