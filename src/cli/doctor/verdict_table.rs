//! Table of the verdicts on Nodes: those that are not approved, then the number of the others.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::render::wrap;
use super::super::table::table;
use super::text::first;
use crate::doctor::{Contested, NodeVerdict, NodeVerdicts};
use judge::Decision;
use judge::finding::Code;

/// Maximum number of rows, unless the wide table is requested.
const ROWS: usize = 50;
/// Maximum number of contested names in the text. JSON and YAML have all.
const MOST_CONTESTED: usize = 10;

/// The table, the meaning of its codes, and the claimants of contested names.
pub(super) fn verdict_table(verdicts: &NodeVerdicts, wide: bool) -> String {
    let approve = Some(Decision::Approve.as_str());
    let (approved, others): (Vec<_>, Vec<_>) = verdicts
        .items
        .iter()
        .partition(|item| item.verdict == approve);
    let mut shown: Vec<&NodeVerdict> = others.clone();
    if wide {
        shown.extend(&approved);
    } else {
        shown.truncate(ROWS);
    }
    let mut text = String::new();
    if !shown.is_empty() {
        let rows: Vec<Vec<String>> = shown.iter().map(|item| row(item, wide)).collect();
        text.push_str(&table(&["NODE", "VERDICT", "REASON"], &rows, wide));
    }
    let mut left = Vec::new();
    let hidden = others.len().saturating_sub(ROWS);
    if !wide && hidden > 0 {
        left.push(format!("{} not approved", nodes(hidden, true)));
    }
    if !wide && !approved.is_empty() {
        left.push(format!(
            "{}: Approve",
            nodes(approved.len(), !others.is_empty())
        ));
    }
    // Writing to a `String` cannot fail.
    for line in left {
        let _ = writeln!(text, "{line}");
    }
    if !wide {
        text.push_str(&meanings(&shown));
    }
    text.push_str(&claimants(&verdicts.contested, wide));
    text
}

/// A number of Nodes, such as `3 more Nodes`.
fn nodes(count: usize, more: bool) -> String {
    let more = if more { " more" } else { "" };
    let noun = if count == 1 { "Node" } else { "Nodes" };
    format!("{count}{more} {noun}")
}

fn row(item: &NodeVerdict, wide: bool) -> Vec<String> {
    let reason = match (&item.not_sent, item.decisive().next()) {
        (Some(why), _) => format!("sends no request: {why}"),
        (None, Some(first)) if wide => format!("{}: {}", first.code, first.detail),
        (None, Some(_)) => item.decisive_codes().join(", "),
        (None, None) => String::new(),
    };
    vec![
        item.node.clone(),
        item.verdict.unwrap_or("<none>").to_owned(),
        reason,
    ]
}

/// The meaning of each code in the table.
fn meanings(shown: &[&NodeVerdict]) -> String {
    let codes: BTreeSet<&str> = shown
        .iter()
        .flat_map(|item| item.decisive_codes())
        .collect();
    let known = Code::ALL
        .iter()
        .filter(|code| codes.contains(code.as_str()));
    let mut text = String::new();
    for code in known {
        let _ = write!(
            text,
            "\n{}\n{}\n",
            wrap(&format!("{code}:"), "  "),
            wrap(code.meaning(), "    ")
        );
    }
    text
}

fn claimants(contested: &[Contested], wide: bool) -> String {
    let mut text = String::new();
    if contested.is_empty() {
        return text;
    }
    let lead = "Claimed by several Nodes. doctor cannot tell which of them is honest, so no policy line \
                gives it to one of them; docs/runbooks.md#csrwardencontested says how to find out.";
    let _ = writeln!(text, "\n{}\n", wrap(lead, ""));
    let most = if wide { usize::MAX } else { MOST_CONTESTED };
    for one in contested.iter().take(most) {
        let names = first(&one.nodes, most, one.nodes.len() + one.more);
        let _ = writeln!(text, "{}", wrap(&format!("{}: {names}", one.claimed), "  "));
    }
    let more = contested.len().saturating_sub(most);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more (-o wide)");
    }
    text
}
