//! Checks of the verdicts on Nodes: which kubelets would get no certificate, and which addresses are not
//! one Node's alone.

use super::count;
use crate::doctor::finding_code::Code;
use crate::doctor::node_verdicts::{NodeVerdict, NodeVerdicts};
use crate::doctor::report::{Check, Checked, Finding};
use judge::Decision;

/// Maximum number of Nodes that are named for one shared address. JSON and YAML have more.
const NAMED: usize = 3;

pub(super) fn nodes(verdicts: Result<&NodeVerdicts, &String>) -> Checked {
    let verdicts = match verdicts {
        Ok(verdicts) => verdicts,
        Err(why) => return unknown(Check::Nodes, "what Nodes would get", why),
    };
    let mut findings = Vec::new();
    findings.extend(refused(verdicts, Decision::Deny, Code::NodesDenied));
    findings.extend(refused(verdicts, Decision::Wait, Code::NodesWaiting));
    let silent: Vec<&NodeVerdict> = verdicts
        .items
        .iter()
        .filter(|item| item.not_sent.is_some())
        .collect();
    if let Some(first) = silent.first() {
        let why = first.not_sent.as_deref().unwrap_or_default();
        let summary = format!(
            "{} no request ({}: {why})",
            count(silent.len(), "kubelet sends", "kubelets send"),
            first.node
        );
        findings.push(Finding::new(Code::NodesNotAsking, summary).about(named(silent)));
    }
    findings.extend(verdicts.missing_evidence.iter().map(|missing| {
        let summary = format!(
            "Nodes were judged without source {}, which cannot be read: {}",
            missing.source, missing.reason
        );
        Finding::new(Code::EvidenceMissing, summary)
    }));
    let all = verdicts.items.len();
    let approved = verdicts.count(Decision::Approve);
    let observed = (all > 0).then(|| {
        format!(
            "{approved} of {} would be approved by policy {}",
            count(all, "Node", "Nodes"),
            verdicts.policy
        )
    });
    Checked::new(Check::Nodes, observed, findings)
}

fn named<'a>(items: impl IntoIterator<Item = &'a NodeVerdict>) -> Vec<String> {
    let items = items.into_iter();
    items.map(|item| item.node.clone()).collect()
}

fn refused(verdicts: &NodeVerdicts, decision: Decision, code: Code) -> Option<Finding> {
    let nodes = named(verdicts.named(decision));
    let would = if decision == Decision::Deny {
        "would be denied"
    } else {
        "would wait"
    };
    let summary = format!(
        "{} {would} by policy {}",
        count(nodes.len(), "Node's request", "Nodes' requests"),
        verdicts.policy
    );
    (!nodes.is_empty()).then(|| Finding::new(code, summary).about(nodes))
}

fn unknown(check: Check, so: &str, why: &str) -> Checked {
    let finding = Finding::new(
        Code::EvidenceMissing,
        format!("cannot determine {so}: {why}"),
    );
    Checked::new(check, None, vec![finding])
}

pub(super) fn addresses(verdicts: Result<&NodeVerdicts, &String>) -> Checked {
    let verdicts = match verdicts {
        Ok(verdicts) => verdicts,
        Err(why) => return unknown(Check::Addresses, "which addresses Nodes share", why),
    };
    let mut findings = Vec::new();
    let shared = verdicts.shared_addresses.iter();
    let (allowed, shared): (Vec<_>, Vec<_>) = shared.partition(|one| one.allowed);
    if let Some(most) = shared.iter().max_by_key(|one| one.count) {
        let summary = format!(
            "{} of several Nodes; {} is {} Nodes'",
            count(
                shared.len(),
                "address is an address",
                "addresses are addresses"
            ),
            most.address,
            most.count
        );
        let all = shared.iter().map(|one| {
            let first: Vec<&str> = one.nodes.iter().take(NAMED).map(String::as_str).collect();
            let names = first.join(", ");
            match one.count.saturating_sub(first.len()) {
                0 => format!("{} ({names})", one.address),
                more => format!("{} ({names} and {more} more)", one.address),
            }
        });
        findings.push(Finding::new(Code::AddressesShared, summary).about(all));
    }
    let below = &verdicts.under_cluster_domain;
    if !below.is_empty() {
        let summary = format!(
            "{} under the cluster's own domain",
            count(below.len(), "Node's name is", "Nodes' names are")
        );
        findings.push(Finding::new(Code::NodesUnderClusterDomain, summary).about(below.clone()));
    }
    let addresses = verdicts.virtual_addresses.iter();
    let addresses: Vec<String> = addresses
        .map(|one| match one.nodes.as_slice() {
            [] => format!("{} (on no control-plane node)", one.address),
            nodes => format!("{} (on {})", one.address, nodes.join(", ")),
        })
        .collect();
    let mut observed = Vec::new();
    if !addresses.is_empty() {
        let addresses = addresses.join(", ");
        observed.push(format!("virtual, of the API server: {addresses}"));
    }
    if !allowed.is_empty() {
        let shared = count(allowed.len(), "address", "addresses");
        observed.push(format!("shared, as names.shared allows: {shared}"));
    }
    if observed.is_empty() && findings.is_empty() {
        observed.push("each belongs to one Node".to_owned());
    }
    let observed = (!observed.is_empty()).then(|| observed.join("; "));
    Checked::new(Check::Addresses, observed, findings)
}
