//! Result of `audit` on several clusters.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::contexts::{InContext, heading};
use super::super::table::table;
use super::{Audited, AuditedCluster};
use judge::Decision;

/// Results of `audit` on several clusters.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditOfContexts")]
pub(in crate::cli) struct Fleet {
    /// One for each context, in the order of the flag or of the kubeconfig.
    clusters: Vec<InContext<Audited>>,
}

impl Fleet {
    /// Separates the results from the decisions and the notes on all clusters.
    pub(super) fn new(
        examined: Vec<InContext<AuditedCluster>>,
    ) -> (Fleet, Vec<Decision>, Vec<String>) {
        let mut clusters = Vec::new();
        let mut decisions = Vec::new();
        let mut notes = Vec::new();
        for cluster in examined {
            let context = cluster.context;
            let report = cluster.report.map(|(audited, judged, told)| {
                decisions.extend(judged);
                notes.extend(told.iter().map(|note| format!("{context}: {note}")));
                audited
            });
            clusters.push(InContext {
                context,
                report,
                error: cluster.error,
            });
        }
        (Fleet { clusters }, decisions, notes)
    }

    /// Returns true if a cluster could not be examined.
    pub(super) fn has_errors(&self) -> bool {
        self.clusters.iter().any(|cluster| cluster.error.is_some())
    }

    /// Each result, and at the end a line for each cluster.
    pub(super) fn text(&self, wide: bool, dialed: bool) -> String {
        let mut text = String::new();
        for cluster in &self.clusters {
            if let Some(report) = &cluster.report {
                // Writing to a `String` cannot fail.
                let _ = writeln!(text, "{}\n", heading(&cluster.context));
                let _ = writeln!(text, "{}", report.text(wide, dialed));
            }
        }
        let header = ["CONTEXT", "DENY", "WAIT", "APPROVE", "OTHER", "REASON"];
        let rows: Vec<Vec<String>> = self.clusters.iter().map(row).collect();
        text.push_str(&table(&header, &rows, wide));
        text
    }
}

fn row(cluster: &InContext<Audited>) -> Vec<String> {
    let mut row = vec![cluster.context.clone()];
    let Some(report) = &cluster.report else {
        row.extend(std::iter::repeat_n("<none>".to_owned(), 4));
        row.push(cluster.error.clone().unwrap_or_default());
        return row;
    };
    let count = |verdicts: &[Option<&str>]| {
        let items = report.items.iter();
        items
            .filter(|item| verdicts.contains(&item.verdict))
            .count()
            .to_string()
    };
    row.extend([
        count(&[Some("Deny")]),
        count(&[Some("Wait")]),
        count(&[Some("Approve")]),
        count(&[Some("Ignore"), None]),
        String::new(),
    ]);
    row
}
