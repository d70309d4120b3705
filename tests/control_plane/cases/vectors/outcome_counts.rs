//! Counts of the outcomes of all posted requests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use judge::Decision;

/// The lines of the table, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    Posted,
    /// Posted by an administrator who impersonates the requestor.
    PostedByImpersonation,
    /// Rejected by the API server, with the HTTP status and the reason.
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
pub struct OutcomeCounts(BTreeMap<Counted, usize>);

impl OutcomeCounts {
    /// Adds to a count.
    pub fn add(&mut self, line: Counted, more: usize) {
        *self.0.entry(line).or_default() += more;
    }

    /// Returns a count.
    pub fn get(&self, line: &Counted) -> usize {
        self.0.get(line).copied().unwrap_or_default()
    }

    /// Counts a verdict, and whether it is one that must never occur.
    pub fn verdict(&mut self, verdict: &str, expected: Decision) {
        if let Some(known) = Decision::ALL.into_iter().find(|d| d.as_str() == verdict) {
            self.add(Counted::Verdict(known.as_str()), 1);
            match (known, expected) {
                (Decision::Approve, Decision::Approve) => {}
                (Decision::Approve, _) => self.add(Counted::ForgeriesApproved, 1),
                (_, Decision::Approve) => self.add(Counted::GenuineRefused, 1),
                (_, _) => {}
            }
        }
    }
}

/// Renders a table with a column for each set of counts.
pub fn table(columns: &[(String, &OutcomeCounts)]) -> String {
    let lines: BTreeSet<&Counted> = columns
        .iter()
        .flat_map(|(_, counts)| counts.0.keys())
        .collect();
    let mut out = format!("{:>50}", "NodeRestriction, policy");
    for (head, _) in columns {
        let _ = write!(out, " {head:>12}");
    }
    for line in lines {
        let _ = write!(out, "\n{:>50}", text(line));
        for (_, counts) in columns {
            let _ = write!(out, " {:>12}", counts.get(line));
        }
    }
    out
}

fn text(line: &Counted) -> String {
    match line {
        Counted::Posted => "posted".into(),
        Counted::PostedByImpersonation => "of these by impersonation".into(),
        Counted::Refused(status, why) => format!("refused, {status}: {why}"),
        Counted::Verdict(verdict) => (*verdict).into(),
        Counted::Certificates => "certificates issued".into(),
        Counted::NamesInCertificates => "names in them, each of the node".into(),
        Counted::ForgeriesApproved => "forgeries approved".into(),
        Counted::GenuineRefused => "genuine requests refused".into(),
        Counted::Differences => "differences".into(),
    }
}
