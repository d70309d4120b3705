//! Findings about the verdicts on Nodes.

use super::*;
use crate::doctor::node_verdicts::{MissingEvidence, SharedAddress, VirtualAddress};
use crate::doctor::report::{Check, Report};

fn with(change: impl FnOnce(&mut NodeVerdicts)) -> Report {
    let mut verdicts = approved();
    change(&mut verdicts);
    report(&healthy(), Ok(verdicts))
}

#[test]
fn nodes_without_a_certificate_are_problems() {
    let report = with(|verdicts| {
        verdicts.items = vec![
            node_verdict("n1", Some("Deny")),
            node_verdict("n2", Some("Wait")),
            node_verdict("n3", None),
            node_verdict("n4", Some("Approve")),
        ];
    });
    assert_eq!(
        report.codes(),
        [Code::NodesDenied, Code::NodesWaiting, Code::NodesNotAsking]
    );
    assert_eq!(report.severity, Severity::Problem);
    let checked = report.checks.iter().find(|one| one.check == Check::Nodes);
    let checked = checked.unwrap();
    let observed = checked.observed.as_deref().unwrap();
    assert_eq!(observed, "1 of 4 Nodes would be approved by policy default");
    let named: Vec<&str> = checked
        .findings
        .iter()
        .flat_map(|finding| finding.objects.iter().map(String::as_str))
        .collect();
    assert_eq!(named, ["n1", "n2", "n3"]);
}

#[test]
fn a_source_that_cannot_be_read_is_unknown() {
    let report = with(|verdicts| {
        verdicts.missing_evidence = vec![MissingEvidence {
            source: "service_cidrs".into(),
            reason: "forbidden".into(),
        }];
    });
    assert_eq!(report.codes(), [Code::EvidenceMissing]);
    assert_eq!(report.severity, Severity::Unknown);
}

#[test]
fn addresses_of_several_nodes_are_warnings_and_virtual_ones_are_shown() {
    let report = with(|verdicts| {
        verdicts.shared_addresses = vec![SharedAddress {
            address: "172.17.0.1".into(),
            count: 12,
            nodes: vec!["n1".into(), "n2".into()],
            allowed: false,
        }];
        verdicts.virtual_addresses = vec![VirtualAddress {
            address: "10.0.0.100".into(),
            nodes: Vec::new(),
        }];
        verdicts.under_cluster_domain = vec!["n1.cluster.local".into()];
    });
    assert_eq!(
        report.codes(),
        [Code::AddressesShared, Code::NodesUnderClusterDomain]
    );
    let mut checks = report.checks.iter();
    let checked = checks.find(|one| one.check == Check::Addresses).unwrap();
    assert!(checked.observed.as_deref().unwrap().contains("10.0.0.100"));
    assert_eq!(
        checked.findings[0].objects,
        ["172.17.0.1 (n1, n2 and 10 more)"]
    );
}

#[test]
fn addresses_that_the_policy_shares_are_no_warning() {
    let report = with(|verdicts| {
        verdicts.shared_addresses = vec![SharedAddress {
            address: "192.0.2.1".into(),
            count: 12,
            nodes: vec!["n1".into(), "n2".into()],
            allowed: true,
        }];
    });
    assert_eq!(report.codes(), []);
    let mut checks = report.checks.iter();
    let checked = checks.find(|one| one.check == Check::Addresses).unwrap();
    assert_eq!(
        checked.observed.as_deref(),
        Some("shared, as names.shared allows: 1 address")
    );
}
