//! Report of `doctor` on several clusters.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::color::Paint;
use super::super::contexts::{InContext, heading};
use super::super::table::table;
use super::text;
use crate::doctor::{Report, Severity};

/// Reports of `doctor` on several clusters.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DoctorOfContexts")]
pub(in crate::cli) struct Fleet {
    /// One for each context, in the order of the flag or of the kubeconfig.
    pub(super) clusters: Vec<InContext<Report>>,
}

/// Each report, and at the end a line for each cluster.
pub(super) fn text(fleet: &Fleet, wide: bool, paint: Paint) -> String {
    let mut text = String::new();
    for cluster in &fleet.clusters {
        if let Some(report) = &cluster.report {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{}", heading(&cluster.context));
            let _ = writeln!(text, "{}", text::text(report, wide, paint));
        }
    }
    let header = [
        "CONTEXT", "RESULT", "PROBLEMS", "WARNINGS", "UNKNOWN", "REASON",
    ];
    let rows: Vec<Vec<String>> = fleet.clusters.iter().map(row).collect();
    text.push_str(&table(&header, &rows, wide));
    text
}

fn row(cluster: &InContext<Report>) -> Vec<String> {
    let none = || "<none>".to_owned();
    let mut row = vec![cluster.context.clone()];
    match &cluster.report {
        Some(report) => {
            row.push(text::word(report.severity).to_owned());
            for severity in [Severity::Problem, Severity::Warning, Severity::Unknown] {
                row.push(report.count(severity).to_string());
            }
            let worst = report.checks.iter().flat_map(|checked| &checked.findings);
            let mut codes: Vec<&str> = worst
                .filter(|finding| finding.severity == Severity::Problem)
                .map(|finding| finding.code.as_str())
                .collect();
            codes.dedup();
            row.push(codes.join(", "));
        }
        None => {
            row.extend(["error".to_owned(), none(), none(), none()]);
            row.push(cluster.error.clone().unwrap_or_default());
        }
    }
    row
}
