//! Row 40: what the administrator's inventory says of a name.

use super::Statement;
use crate::csr::names::San;
use crate::evidence::{Listing, Node, Source};
use crate::finding::{Awaited, Code, Findings};
use crate::rules::Case;

pub(super) fn hear(case: &Case<'_>, node: &Node, san: &San, findings: &mut Findings) -> Statement {
    let Some(inventory) = &case.evidence.inventory else {
        return Statement::NotConfigured;
    };
    match inventory.listing(&node.name, san) {
        Listing::Listed(by) => Statement::Vouched(by),
        Listing::Otherwise(why) => {
            findings.add(Code::SanContradicted, why);
            Statement::Found
        }
        Listing::Unlisted => {
            let awaits = vec![Awaited::Source(Source::Inventory.as_str())];
            let why = format!("the inventory does not list {san} at Node {}", node.name);
            Statement::Silent(Code::SanUncorroborated, awaits, why)
        }
    }
}
