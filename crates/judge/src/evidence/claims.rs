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

/// What a Node can claim.
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

/// The claimants of one thing in the order of their claims, usually one.
pub(super) type Claimants = SmallVec<[Claimant; 1]>;

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
}
