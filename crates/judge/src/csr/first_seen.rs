//! The first event by which a watch showed an object. Two such events order two objects without
//! their timestamps.

use std::num::NonZeroU64;

use jiff::{SignedDuration, Timestamp};

/// Nodes and requests arrive by two watches. One may show an object this much later than the other.
/// Ten seconds are far more than a loaded machine needs for two events, and far less than a broken
/// connection hides.
const WATCH_SKEW: SignedDuration = SignedDuration::from_secs(10);

/// The first event that showed an object to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstSeen {
    /// When it arrived, by the steady clock.
    pub at: Timestamp,
    /// `metadata.resourceVersion` of the object in this event. The object existed by then.
    pub resource_version: NonZeroU64,
    /// Whether this was the event of the creation. Then `resource_version` is that of the creation.
    /// A list shows an object at any later state.
    pub is_creation: bool,
}

impl FirstSeen {
    /// Reads the resourceVersion. Returns `None` for one that is not a positive integer: it orders
    /// nothing.
    pub fn new(at: Timestamp, resource_version: &str, is_creation: bool) -> Option<FirstSeen> {
        Some(FirstSeen {
            at,
            resource_version: resource_version.parse().ok()?,
            is_creation,
        })
    }

    /// Whether this object was there before the other one was created.
    ///
    /// The resourceVersions decide. They are revisions of one etcd, so they have the order of the
    /// writes. The order of delivery has not: a watch can be late, and then an old request arrives
    /// after the Node that replaced its own. Kubernetes promises the order of resourceVersions
    /// within one kind only, and `--etcd-servers-overrides` can move a kind to an etcd of its own.
    /// So the order of delivery must not contradict them by more than the skew of two watches.
    /// Where the two disagree, no order was seen.
    pub fn precedes(&self, later: &FirstSeen) -> bool {
        later.is_creation
            && self.resource_version < later.resource_version
            && self.at.duration_since(later.at) <= WATCH_SKEW
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn seen(second: i64, resource_version: &str, is_creation: bool) -> FirstSeen {
        let at = Timestamp::from_second(second).unwrap();
        FirstSeen::new(at, resource_version, is_creation).unwrap()
    }

    #[test]
    fn resource_versions_order_what_the_watches_do_not_contradict() {
        let node = seen(100, "10", true);
        for (at, resource_version, node_first, request_first) in [
            (200, "11", true, false),
            (100, "11", true, false),
            (90, "11", true, false),
            (89, "11", false, false),
            (90, "9", false, true),
            (110, "9", false, true),
            (111, "9", false, false),
            (100, "10", false, false),
        ] {
            let request = seen(at, resource_version, true);
            let found = (node.precedes(&request), request.precedes(&node));
            assert_eq!(found, (node_first, request_first), "{request:?}");
        }
    }

    #[test]
    fn an_object_of_a_list_may_be_of_any_time_before() {
        let (listed, created) = (seen(100, "10", false), seen(100, "11", true));
        assert!(listed.precedes(&created));
        let (created, listed) = (seen(100, "10", true), seen(100, "11", false));
        assert!(!created.precedes(&listed) && !listed.precedes(&created));
    }

    #[test]
    fn a_resource_version_that_is_no_number_orders_nothing() {
        for text in ["", "0", "-1", "a7", "18446744073709551616"] {
            assert_eq!(FirstSeen::new(Timestamp::UNIX_EPOCH, text, true), None);
        }
    }
}
