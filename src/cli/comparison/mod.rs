//! `csr-warden status --compare`: the verdicts of two Deployments of csr-warden, as their logs have them, and the
//! requests on which they differ.

mod decisions;
mod releases;
#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::cluster_args::{ClusterArgs, block_on};
use super::format::TableFormat;
use super::render::{note, print};
use super::table::table;
use crate::cluster::connection::Connection;
use decisions::Decision;
use releases::Release;
pub(super) use releases::ReleaseName;

/// Exit code for verdicts that differ.
const DIFFERENT: u8 = 1;
/// Exit code if an open request has a verdict of only one Deployment.
const INCOMPLETE: u8 = 3;

/// The verdicts of two Deployments.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Comparison {
    /// When the logs were read.
    #[schemars(with = "String")]
    time: Timestamp,
    /// Both Deployments, in the order of the flag.
    deployments: Vec<Release>,
    /// Requests with a verdict of both.
    compared: usize,
    /// Number of requests whose verdicts or codes differ.
    different: usize,
    /// Number of open requests with a verdict of only one.
    incomplete: usize,
    /// Number of decided requests with a verdict of only one: the other one did not run yet, or its log was
    /// rotated.
    decided_before: usize,
    /// The requests that differ, and open ones with a verdict of only one. The newest come first.
    items: Vec<Compared>,
}

/// A request on which both differ.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Compared {
    /// Its name.
    request: String,
    /// Its UID.
    uid: String,
    /// The node of the requestor; empty if the requestor is not a node.
    node: String,
    /// True if it is not decided.
    is_open: bool,
    /// The last verdict of each Deployment; null without any.
    verdicts: Vec<Option<Decision>>,
}

/// Requests that exist on the cluster, by UID; true for those that are open.
type Existing = BTreeMap<String, bool>;

/// Runs `status --compare`.
pub(super) fn compare(
    cluster: &ClusterArgs,
    names: &[ReleaseName],
    output: TableFormat,
) -> Result<ExitCode> {
    let comparison = block_on(async {
        let connection = cluster.connect().await?;
        gather(&connection, names).await
    })?;
    print(&output.write(&comparison, |wide| comparison.text(wide))?)?;
    note(&comparison.remarks());
    Ok(ExitCode::from(comparison.exit_code()))
}

async fn gather(connection: &Connection, names: &[ReleaseName]) -> Result<Comparison> {
    let client = &connection.watches;
    let existing = releases::requests(client).await?;
    let mut releases = Vec::new();
    let mut decisions = Vec::new();
    for name in names {
        let (release, last) = releases::read(client, name)
            .await
            .with_context(|| format!("deployment {name}"))?;
        releases.push(release);
        decisions.push(last);
    }
    let mut decisions = decisions.into_iter();
    let (first, second) = (decisions.next(), decisions.next());
    let both = [first.unwrap_or_default(), second.unwrap_or_default()];
    let time = connection.clock.wall();
    Ok(Comparison::of(time, releases, &existing, &both))
}

impl Comparison {
    /// Compares the last decisions of both.
    fn of(
        time: Timestamp,
        deployments: Vec<Release>,
        existing: &Existing,
        [first, second]: &[BTreeMap<String, Decision>; 2],
    ) -> Comparison {
        let mut comparison = Comparison {
            time,
            deployments,
            compared: 0,
            different: 0,
            incomplete: 0,
            decided_before: 0,
            items: Vec::new(),
        };
        let uids: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
        for uid in uids {
            // A request that is gone has nothing left to decide.
            let Some(is_open) = existing.get(uid).copied() else {
                continue;
            };
            let both = [first.get(uid), second.get(uid)];
            let is_listed = match both {
                [Some(one), Some(other)] => {
                    comparison.compared += 1;
                    let differs = !one.is_like(other);
                    comparison.different += usize::from(differs);
                    differs
                }
                [_, _] if is_open => {
                    comparison.incomplete += 1;
                    true
                }
                [_, _] => {
                    comparison.decided_before += 1;
                    false
                }
            };
            if let (true, Some(known)) = (is_listed, both.into_iter().flatten().next()) {
                comparison.items.push(Compared {
                    request: known.request.clone(),
                    uid: uid.clone(),
                    node: known.node.clone(),
                    is_open,
                    verdicts: both.map(|decision| decision.cloned()).into(),
                });
            }
        }
        let newest = |item: &Compared| {
            item.verdicts
                .iter()
                .flatten()
                .map(|one| one.timestamp)
                .max()
        };
        comparison.items.sort_by(|one, other| {
            newest(other)
                .cmp(&newest(one))
                .then(one.request.cmp(&other.request))
        });
        comparison
    }

    fn exit_code(&self) -> u8 {
        match (self.different, self.incomplete) {
            (0, 0) => 0,
            (0, _) => INCOMPLETE,
            (_, _) => DIFFERENT,
        }
    }

    fn text(&self, wide: bool) -> String {
        let header = ["", "DEPLOYMENT", "VERSION", "POLICY", "ENFORCEMENT"];
        let deployments = ["A", "B"].iter().zip(&self.deployments);
        let rows: Vec<Vec<String>> = deployments.map(|(name, one)| one.row(name)).collect();
        let mut text = table(&header, &rows, wide);
        text.push('\n');
        if !self.items.is_empty() {
            let header = ["REQUEST", "NODE", "OPEN", "A", "B"];
            let rows: Vec<Vec<String>> = self.items.iter().map(Compared::row).collect();
            text.push_str(&table(&header, &rows, wide));
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "{} of {} requests with a verdict of both differ",
            self.different, self.compared
        );
        text
    }

    /// Remarks on what was not compared, for standard error.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.incomplete > 0 {
            remarks.push(format!(
                "{} open requests have a verdict of only one of both: wait for the other one, and see its log",
                self.incomplete
            ));
        }
        if self.decided_before > 0 {
            remarks.push(format!(
                "{} decided requests were decided before both had judged them, and are not compared",
                self.decided_before
            ));
        }
        for deployment in &self.deployments {
            remarks.extend(deployment.remarks());
        }
        remarks
    }
}

impl Compared {
    fn row(&self) -> Vec<String> {
        let open = if self.is_open { "yes" } else { "no" };
        let mut row = vec![self.request.clone(), self.node.clone(), open.to_owned()];
        row.extend(self.verdicts.iter().map(|decision| match decision {
            None => "<none>".to_owned(),
            Some(decision) if decision.codes.is_empty() => decision.verdict.clone(),
            Some(decision) => format!("{} {}", decision.verdict, decision.codes.join(", ")),
        }));
        row
    }
}
