//! Row 40: corroboration by the administrator's inventory.

use super::SourceResult;
use crate::csr::names::San;
use crate::evidence::{InventoryMatch, Node, Source};
use crate::finding::{Awaited, Code, Findings};
use crate::rules::Case;

pub(super) fn check(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    findings: &mut Findings,
) -> SourceResult {
    let Some(inventory) = &case.evidence.inventory else {
        return SourceResult::NotConfigured;
    };
    match inventory.lookup(&node.name, san) {
        InventoryMatch::Listed(by) => SourceResult::Vouched(by),
        InventoryMatch::Conflict(why) => {
            findings.add(Code::SanContradicted, why);
            SourceResult::Contradicted
        }
        InventoryMatch::Unlisted => {
            let awaits = vec![Awaited::Source(Source::Inventory.as_str())];
            let why = format!("the inventory does not list {san} at Node {}", node.name);
            SourceResult::Unproven(Code::SanUncorroborated, awaits, why)
        }
    }
}
