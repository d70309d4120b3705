//! Serving certificates of the cluster's CA that were seen: the newest of each node.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::csr::names::{NodeName, San};

/// Minimum number of certificates that are kept. Requests can be listed before Nodes.
const MIN_KEPT: usize = 16_384;

/// A serving certificate that the cluster's CA has issued to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingCertificate {
    /// The node that it names, `system:node:<name>`.
    pub node: NodeName,
    /// The beginning of its validity, `notBefore`.
    pub issued: Timestamp,
    /// Its names and addresses.
    pub sans: BTreeSet<San>,
}

/// The newest certificate of each node.
#[derive(Debug, Default)]
pub struct Certificates {
    by_node: BTreeMap<NodeName, Box<Known>>,
    by_san: BTreeMap<San, Holders>,
}

/// The nodes whose newest certificates have one SAN, or may have it, usually one node, the oldest certificate first.
type Holders = SmallVec<[(Timestamp, NodeName); 1]>;

#[derive(Debug)]
struct Known {
    certificate: ServingCertificate,
    /// SANs that only one of several certificates of the same time has. They prove nothing for the node, and count
    /// against the others.
    doubtful: BTreeSet<San>,
    /// True if csr-warden saw its request.
    was_watched: bool,
}

impl Certificates {
    /// Records a certificate, unless a newer one of the same node is known. Of two that were issued at the same
    /// time, no one knows which is newer, so only what both have proves anything. Returns true if it is new. `nodes` is
    /// the number of Nodes, which limits how many are kept.
    pub(super) fn record(
        &mut self,
        mut certificate: ServingCertificate,
        mut was_watched: bool,
        nodes: usize,
    ) -> bool {
        let mut doubtful = BTreeSet::new();
        if let Some(known) = self.by_node.get_mut(&certificate.node) {
            if known.certificate.issued > certificate.issued {
                return false;
            }
            if known.certificate.issued == certificate.issued {
                let sans = &known.certificate.sans;
                doubtful.clone_from(&known.doubtful);
                doubtful.extend(sans.symmetric_difference(&certificate.sans).cloned());
                certificate.sans.retain(|san| sans.contains(san));
                doubtful.retain(|san| !certificate.sans.contains(san));
                let is_news = was_watched && !known.was_watched;
                known.was_watched |= was_watched;
                was_watched = known.was_watched;
                if known.certificate == certificate && known.doubtful == doubtful {
                    return is_news;
                }
            }
        }
        let is_new = !self.by_node.contains_key(&certificate.node);
        if is_new && self.by_node.len() >= MIN_KEPT.max(nodes.saturating_mul(2)) {
            let certificates = self.by_node.values().map(|known| &known.certificate);
            let oldest = certificates.min_by_key(|certificate| certificate.issued);
            if let Some(oldest) = oldest.map(|certificate| certificate.node.clone()) {
                self.forget(&oldest);
            }
        }
        self.forget(&certificate.node);
        let node = certificate.node.clone();
        for san in certificate.sans.iter().chain(&doubtful) {
            let holders = self.by_san.entry(san.clone()).or_default();
            let holder = (certificate.issued, node.clone());
            let (Ok(at) | Err(at)) = holders.binary_search(&holder);
            holders.insert(at, holder);
        }
        let known = Known {
            certificate,
            doubtful,
            was_watched,
        };
        self.by_node.insert(node, Box::new(known));
        true
    }

    fn forget(&mut self, node: &NodeName) {
        let Some(known) = self.by_node.remove(node) else {
            return;
        };
        for san in known.certificate.sans.iter().chain(&known.doubtful) {
            if let Some(holders) = self.by_san.get_mut(san) {
                holders.retain(|(_, holder)| holder != node);
                if holders.is_empty() {
                    self.by_san.remove(san);
                }
            }
        }
    }

    /// The nodes whose newest certificates have this SAN, or may have it, and when these were issued, the latest first.
    pub fn holders(&self, san: &San) -> impl Iterator<Item = (Timestamp, &NodeName)> {
        let holders = self.by_san.get(san).into_iter().flatten().rev();
        holders.map(|(issued, node)| (*issued, node))
    }

    /// The newest certificate of this node.
    pub fn newest(&self, node: &NodeName) -> Option<&ServingCertificate> {
        self.by_node.get(node).map(|known| &known.certificate)
    }

    /// The time at which the newest certificate of this node was issued, if it has this SAN.
    pub fn issued(&self, node: &NodeName, san: &San) -> Option<Timestamp> {
        let newest = self.newest(node)?;
        newest.sans.contains(san).then_some(newest.issued)
    }

    /// Returns true if the newest certificate of this node has this SAN and was issued while csr-warden
    /// watched. What was issued later would be known.
    pub fn was_watched(&self, node: &NodeName, san: &San) -> bool {
        let known = self.by_node.get(node);
        known.is_some_and(|known| known.was_watched && known.certificate.sans.contains(san))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(node: &str, second: usize, sans: &[&str]) -> ServingCertificate {
        ServingCertificate {
            node: NodeName::parse(node).unwrap(),
            issued: Timestamp::from_second(i64::try_from(second).unwrap()).unwrap(),
            sans: sans.iter().filter_map(|s| San::from_host_text(s)).collect(),
        }
    }

    fn node_and_san() -> (NodeName, San) {
        let san = San::from_ip_text("10.0.0.1").unwrap();
        (NodeName::parse("a").unwrap(), san)
    }

    #[test]
    fn the_newest_certificate_of_a_node_counts() {
        let mut certificates = Certificates::default();
        let (node, san) = node_and_san();
        assert_eq!(certificates.issued(&node, &san), None);
        assert!(certificates.record(shown("a", 2, &["10.0.0.1"]), false, 1));
        assert!(!certificates.record(shown("a", 2, &["10.0.0.1"]), false, 1));
        assert!(!certificates.record(shown("a", 1, &["10.0.0.2"]), false, 1));
        assert!(certificates.issued(&node, &san).is_some());
        assert!(certificates.record(shown("a", 3, &["10.0.0.2"]), false, 1));
        assert_eq!(certificates.issued(&node, &san), None);
    }

    #[test]
    fn of_two_certificates_of_the_same_time_what_both_have_counts() {
        let (node, san) = node_and_san();
        let mut both = [&["10.0.0.1", "10.0.0.2"][..], &["10.0.0.2", "10.0.0.3"]];
        for _ in 0..2 {
            let mut certificates = Certificates::default();
            assert!(certificates.record(shown("a", 2, both[0]), true, 1));
            assert!(certificates.record(shown("a", 2, both[1]), false, 1));
            assert!(!certificates.record(shown("a", 2, both[0]), false, 1));
            assert_eq!(certificates.issued(&node, &san), None);
            // It may have it, which counts against others.
            assert_eq!(certificates.holders(&san).count(), 1);
            let common = San::from_ip_text("10.0.0.2").unwrap();
            assert!(certificates.was_watched(&node, &common));
            both.reverse();
        }
    }

    #[test]
    fn a_certificate_that_was_shown_first_counts_as_watched_later() {
        let mut certificates = Certificates::default();
        let (node, san) = node_and_san();
        assert!(certificates.record(shown("a", 2, &["10.0.0.1"]), false, 1));
        assert!(!certificates.was_watched(&node, &san));
        assert!(certificates.record(shown("a", 2, &["10.0.0.1"]), true, 1));
        assert!(certificates.was_watched(&node, &san));
        assert!(!certificates.record(shown("a", 2, &["10.0.0.1"]), true, 1));
        assert!(!certificates.record(shown("a", 2, &["10.0.0.1"]), false, 1));
        assert!(certificates.was_watched(&node, &san));
    }

    #[test]
    fn beyond_the_limit_the_oldest_is_forgotten() {
        let mut certificates = Certificates::default();
        for index in 0..=MIN_KEPT {
            certificates.record(
                shown(&format!("n{index}"), 10 + index, &["10.0.0.1"]),
                false,
                1,
            );
        }
        assert_eq!(certificates.by_node.len(), MIN_KEPT);
        let issued = |name: &str| {
            let san = San::from_ip_text("10.0.0.1").unwrap();
            certificates.issued(&NodeName::parse(name).unwrap(), &san)
        };
        assert!(issued("n0").is_none() && issued("n1").is_some());
    }

    #[test]
    fn holders_of_a_name_are_sorted_by_date_of_issue() {
        let mut certificates = Certificates::default();
        for (node, second, sans) in [
            ("a", 1, &["10.0.0.1", "10.0.0.9"][..]),
            ("b", 3, &["10.0.0.9"]),
            ("c", 2, &["10.0.0.9"]),
            // Its newest certificate does not have the address.
            ("b", 4, &["10.0.0.2"]),
        ] {
            certificates.record(shown(node, second, sans), false, 1);
        }
        let holders = |ip: &str| -> Vec<&str> {
            let san = San::from_ip_text(ip).unwrap();
            let holders = certificates.holders(&san);
            holders.map(|(_, node)| node.as_str()).collect()
        };
        assert_eq!(holders("10.0.0.9"), ["c", "a"]);
        assert_eq!(holders("10.0.0.2"), ["b"]);
        assert_eq!(holders("10.0.0.3"), [""; 0]);
    }
}
