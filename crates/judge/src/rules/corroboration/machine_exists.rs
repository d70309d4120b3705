//! Rows 39, 62 and 63: corroboration by the existence of the Node's Machine.
//!
//! It proves that the Node was not made up. It does not say whose an address is: a Machine without
//! addresses vouches for each of its Node, so it decides no contest of claims.

use super::SourceResult;
use super::machines::{check_own, not_listed};
use crate::csr::names::San;
use crate::evidence::{Machine, Node};
use crate::finding::Findings;
use crate::rules::Case;

pub(super) fn check(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    findings: &mut Findings,
) -> SourceResult {
    let Some(machines) = &case.evidence.machines else {
        return SourceResult::NotConfigured;
    };
    let own = machines.for_node(node);
    let exists = |machine: &Machine| SourceResult::Vouched(format!("{} exists", machine.key));
    let result = check_own(&own, node, findings, exists);
    let is_listed = own.iter().any(|machine| machine.addresses.contains(san));
    if !matches!(result, SourceResult::Vouched(_)) || is_listed || node.is_own_name(san) {
        return result;
    }
    // A Machine that lists addresses lists all of them, and one that lists names lists all of these.
    let lists_others = |machine: &&&Machine| {
        let mut listed = machine.addresses.iter();
        listed.any(|other| is_of_same_kind(other, san) && !node.is_own_name(other))
    };
    match own.iter().find(lists_others) {
        Some(machine) => not_listed(
            machine,
            node,
            san,
            "it need not be if the policy's sources.machines leaves `addresses` out",
        ),
        None => result,
    }
}

/// Returns true if both are names, or both are addresses.
fn is_of_same_kind(one: &San, other: &San) -> bool {
    matches!(
        (one, other),
        (San::Dns(_), San::Dns(_)) | (San::Ip(_), San::Ip(_))
    )
}
