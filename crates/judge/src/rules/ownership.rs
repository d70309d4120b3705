//! Rows 37, 38, 47, 52 and 53: proof that each name belongs to this node and to no other.

use super::{Case, corroboration};
use crate::csr::names::San;
use crate::evidence::Node;
use crate::finding::{Awaited, Code, Findings};
use crate::policy::Reaction;

/// A requested SAN, with the sources that vouch for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SanProof {
    /// The SAN.
    pub san: San,
    /// The sources that prove it to be the node's, as text for a person; empty if there is no proof.
    pub vouched_by: Vec<String>,
}

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) -> Vec<SanProof> {
    let Some(node) = case.node else {
        return Vec::new();
    };
    let mut proofs = Vec::with_capacity(case.sans().len());
    for san in case.sans() {
        check_others(case, node, san, findings);
        let mut vouched_by = Vec::new();
        if let Some(address) = node.address(san) {
            let detail = format!("{} of Node {}", address.address_type, node.name);
            vouched_by.push(detail);
        } else {
            let detail = format!("{san} is not among the addresses of Node {}", node.name);
            let awaits = vec![Awaited::Node(node.name.shared())];
            findings.wait(Code::SanNotOfNode, awaits, detail);
        }
        vouched_by.extend(corroboration::check(case, node, san, findings));
        proofs.push(SanProof {
            san: san.clone(),
            vouched_by,
        });
    }
    check_complete(case, node, findings);
    proofs
}

fn check_complete(case: &Case<'_>, node: &Node, findings: &mut Findings) {
    // A request without readable names has its own finding.
    if case.policy.spec.names.incomplete == Reaction::Allow || case.sans().is_empty() {
        return;
    }
    for address in &node.addresses {
        if !case.sans().contains(&address.san) {
            let detail = format!(
                "Node {} has {} as {}, which is not asked for",
                node.name, address.san, address.address_type
            );
            let awaits = vec![Awaited::Node(node.name.shared())];
            findings.wait(Code::SanIncomplete, awaits, detail);
        }
    }
}

/// Checks that no other Node claims the SAN. In a conflict no node is approved. The younger Node is
/// denied, unless the older one is being deleted or has lost contact.
fn check_others(case: &Case<'_>, node: &Node, san: &San, findings: &mut Findings) {
    let called_so = case.evidence.nodes.with_own_name(san);
    if let Some(other) = called_so.filter(|other| other.name != node.name) {
        if is_there_to_stay(other) {
            let detail = format!("{san} is the name of another Node");
            findings.add(Code::SanOfAnotherNode, detail);
        } else {
            contested(node, other, san, findings);
        }
    }
    for other in case.evidence.nodes.claimants(san) {
        if other.name == node.name {
            continue;
        }
        if other.created < node.created && is_there_to_stay(other) {
            let detail = format!("{san} is claimed by older Node {}", other.name);
            findings.add(Code::SanOfOlderNode, detail);
        } else {
            contested(node, other, san, findings);
        }
    }
}

fn is_there_to_stay(node: &Node) -> bool {
    !node.terminating && !node.lost
}

fn contested(node: &Node, other: &Node, san: &San, findings: &mut Findings) {
    let how = if other.terminating {
        "which is being deleted"
    } else if other.lost {
        "which the control plane has lost contact with"
    } else {
        "which is not older"
    };
    let detail = format!("{san} is claimed by Node {} too, {how}", other.name);
    let awaits = vec![
        Awaited::Node(other.name.shared()),
        Awaited::Node(node.name.shared()),
    ];
    findings.wait(Code::SanContested, awaits, detail);
}
