//! Serving certificates of the cluster's CA that were seen: the newest of each node.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::csr::names::{NodeName, San};

/// Minimum number of certificates that are kept, for small clusters.
const MIN_KEPT: usize = 256;

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
    by_node: BTreeMap<NodeName, Box<ServingCertificate>>,
}

impl Certificates {
    /// Records a certificate, unless a newer one of the same node is known. Returns true if it is new.
    /// `nodes` is the number of Nodes, which limits how many are kept.
    pub(super) fn record(&mut self, certificate: ServingCertificate, nodes: usize) -> bool {
        let known = self.by_node.get(&certificate.node);
        if known.is_some_and(|known| known.issued >= certificate.issued) {
            return false;
        }
        if known.is_none() && self.by_node.len() >= MIN_KEPT.max(nodes.saturating_mul(2)) {
            let oldest = self.by_node.values().min_by_key(|known| known.issued);
            let oldest = oldest.map(|known| known.node.clone());
            self.by_node.retain(|name, _| Some(name) != oldest.as_ref());
        }
        let node = certificate.node.clone();
        self.by_node.insert(node, Box::new(certificate));
        true
    }

    /// The time at which the newest certificate of this node was issued, if it has this SAN.
    pub fn issued(&self, node: &NodeName, san: &San) -> Option<Timestamp> {
        let certificate = self.by_node.get(node)?;
        certificate.sans.contains(san).then_some(certificate.issued)
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

    #[test]
    fn the_newest_certificate_of_a_node_counts() {
        let mut certificates = Certificates::default();
        let (node, san) = (
            NodeName::parse("a").unwrap(),
            San::from_ip_text("10.0.0.1").unwrap(),
        );
        assert_eq!(certificates.issued(&node, &san), None);
        assert!(certificates.record(shown("a", 2, &["10.0.0.1"]), 1));
        assert!(!certificates.record(shown("a", 2, &["10.0.0.1"]), 1));
        assert!(!certificates.record(shown("a", 1, &["10.0.0.2"]), 1));
        assert!(certificates.issued(&node, &san).is_some());
        assert!(certificates.record(shown("a", 3, &["10.0.0.2"]), 1));
        assert_eq!(certificates.issued(&node, &san), None);
    }

    #[test]
    fn beyond_the_limit_the_oldest_is_forgotten() {
        let mut certificates = Certificates::default();
        for index in 0..=MIN_KEPT {
            certificates.record(shown(&format!("n{index}"), 10 + index, &["10.0.0.1"]), 1);
        }
        assert_eq!(certificates.by_node.len(), MIN_KEPT);
        let issued = |name: &str| {
            let san = San::from_ip_text("10.0.0.1").unwrap();
            certificates.issued(&NodeName::parse(name).unwrap(), &san)
        };
        assert!(issued("n0").is_none() && issued("n1").is_some());
    }
}
