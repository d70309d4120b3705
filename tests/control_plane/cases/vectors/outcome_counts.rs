//! What became of all that was posted, counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use judge::Decision;

/// The lines of the table, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    Posted,
    /// By an administrator in the requestor's place.
    PostedByImpersonation,
    /// By the API server, with the HTTP status and the reason.
    Refused(u16, String),
    Verdict(&'static str),
    Certificates,
    NamesInCertificates,
    ForgeriesApproved,
    GenuineRefused,
    Differences,
}

/// The counts of one policy on one cluster.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<Line, usize>);

impl Tally {
    /// Counts so many more.
    pub fn add(&mut self, line: Line, more: usize) {
        *self.0.entry(line).or_default() += more;
    }

    /// How many.
    pub fn get(&self, line: &Line) -> usize {
        self.0.get(line).copied().unwrap_or_default()
    }

    /// Counts a verdict, and whether it is one that must never be.
    pub fn verdict(&mut self, verdict: &str, expected: Decision) {
        if let Some(known) = Decision::ALL.into_iter().find(|d| d.as_str() == verdict) {
            self.add(Line::Verdict(known.as_str()), 1);
            match (known, expected) {
                (Decision::Approve, Decision::Approve) => {}
                (Decision::Approve, _) => self.add(Line::ForgeriesApproved, 1),
                (_, Decision::Approve) => self.add(Line::GenuineRefused, 1),
                (_, _) => {}
            }
        }
    }
}

/// A table with a column for each tally.
pub fn table(columns: &[(String, &Tally)]) -> String {
    let lines: BTreeSet<&Line> = columns
        .iter()
        .flat_map(|(_, tally)| tally.0.keys())
        .collect();
    let mut out = format!("{:>50}", "NodeRestriction, policy");
    for (head, _) in columns {
        let _ = write!(out, " {head:>12}");
    }
    for line in lines {
        let _ = write!(out, "\n{:>50}", text(line));
        for (_, tally) in columns {
            let _ = write!(out, " {:>12}", tally.get(line));
        }
    }
    out
}

fn text(line: &Line) -> String {
    match line {
        Line::Posted => "posted".into(),
        Line::PostedByImpersonation => "of these by impersonation".into(),
        Line::Refused(status, why) => format!("refused, {status}: {why}"),
        Line::Verdict(verdict) => (*verdict).into(),
        Line::Certificates => "certificates issued".into(),
        Line::NamesInCertificates => "names in them, each of the node".into(),
        Line::ForgeriesApproved => "forgeries approved".into(),
        Line::GenuineRefused => "genuine requests refused".into(),
        Line::Differences => "differences".into(),
    }
}
