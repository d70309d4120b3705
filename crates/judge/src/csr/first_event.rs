//! The first watch event with an object. Two such events order two objects without their timestamps.

use std::num::NonZeroU64;

use jiff::{SignedDuration, Timestamp};

/// Maximum delay between the watch on Nodes and the watch on requests. Ten seconds are far more than
/// a loaded machine needs for two events, and far less than a broken connection hides.
const WATCH_SKEW: SignedDuration = SignedDuration::from_secs(10);

/// The first watch event with an object in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstSeen {
    /// The monotonic time of its arrival.
    pub at: Timestamp,
    /// `metadata.resourceVersion` of the object in this event. The object existed by then.
    pub resource_version: NonZeroU64,
    /// True if this was the creation event. Then `resource_version` is that of the creation. A list
    /// has an object in any later state.
    pub is_creation: bool,
}

impl FirstSeen {
    /// Parses the resourceVersion. Returns `None` if it is not a positive integer, which orders
    /// nothing.
    pub fn new(at: Timestamp, resource_version: &str, is_creation: bool) -> Option<FirstSeen> {
        Some(FirstSeen {
            at,
            resource_version: resource_version.parse().ok()?,
            is_creation,
        })
    }

    /// Returns true if this object existed before the other one was created.
    ///
    /// The resourceVersions decide. They are revisions of one etcd, so they have the order of the
    /// writes. Delivery has another order: a watch can be late, and then an old request arrives after
    /// the Node that replaced its own. Kubernetes guarantees the order of resourceVersions within one
    /// kind only, and `--etcd-servers-overrides` can move a kind to its own etcd. So the order of
    /// delivery must not contradict the resourceVersions by more than the skew of two watches. If
    /// they disagree, the order is unknown.
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
    fn resource_versions_order_objects_unless_the_watches_contradict() {
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
    fn an_object_from_a_list_may_be_of_any_age() {
        let (listed, created) = (seen(100, "10", false), seen(100, "11", true));
        assert!(listed.precedes(&created));
        let (created, listed) = (seen(100, "10", true), seen(100, "11", false));
        assert!(!created.precedes(&listed) && !listed.precedes(&created));
    }

    #[test]
    fn a_resource_version_that_is_not_a_number_is_rejected() {
        for text in ["", "0", "-1", "a7", "18446744073709551616"] {
            assert_eq!(FirstSeen::new(Timestamp::UNIX_EPOCH, text, true), None);
        }
    }
}
