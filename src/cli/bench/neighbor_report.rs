//! The results of the neighbor benchmark, as a table and as JSON or YAML.

use std::fmt;

use serde::Serialize;

use super::super::table::table;
use super::report::{Micros, Report, Times, mean, per_second};

/// A client that drains a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Approver {
    /// The bare client, with this number of connections.
    Bare(u16),
    /// csr-warden, with this maximum number of concurrent writes.
    Warden(u16),
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Approver::Bare(connections) => write!(f, "bare client, {connections}"),
            Approver::Warden(concurrency) => write!(f, "csr-warden, {concurrency}"),
        }
    }
}

/// The measurements of one drained backlog.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Written conditions per second.
    pub(super) per_second: f64,
    /// The second client's reads before the backlog is drained.
    pub(super) quiet: Times,
    /// The second client's reads meanwhile.
    pub(super) reads: Times,
    /// The second client's watches that the API server has closed.
    pub(super) closed_watches: usize,
}

/// The result of `bench neighbor`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NeighborBenchmark {
    /// The URL of the API server, or a name for the embedded one.
    server: String,
    /// The Kubernetes version that the API server reports.
    version: String,
    /// The number of pending requests.
    pending: usize,
    /// The number of backlogs for each approver.
    rounds: usize,
    /// One result for each approver. The first is the reference of the ratios.
    approvers: Vec<ApproverResult>,
}

/// The medians of all rounds with one approver.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApproverResult {
    approver: String,
    /// Written conditions per second.
    per_second: f64,
    /// Their ratio to the reference, the median of the ratios of each round.
    to_reference: f64,
    /// The second client's quiet reads before the backlog is drained: the median of the medians.
    quiet_median: Micros,
    /// The second client's reads meanwhile.
    read_median: Micros,
    /// The 99th percentile.
    read_p99: Micros,
    /// Its ratio to the reference, the median of the ratios of each round.
    p99_to_reference: f64,
    /// The mean number of the second client's watches that the API server has closed.
    closed_watches: f64,
}

impl NeighborBenchmark {
    /// Summarizes the rounds. Each has one measurement for each approver, in the same order.
    pub(super) fn new(
        server: String,
        version: String,
        pending: usize,
        approvers: &[Approver],
        rounds: &[Vec<Round>],
    ) -> NeighborBenchmark {
        let summary = |(index, approver): (usize, &Approver)| {
            let of = |value: fn(&Round) -> f64| -> Vec<f64> {
                rounds
                    .iter()
                    .filter_map(|round| round.get(index))
                    .map(value)
                    .collect()
            };
            let ratio = |value: fn(&Round) -> f64| -> f64 {
                let pairs = rounds
                    .iter()
                    .filter_map(|round| Some((round.get(index)?, round.first()?)));
                median(
                    pairs
                        .map(|(one, reference)| value(one) / value(reference))
                        .collect(),
                )
            };
            let p99 = |round: &Round| round.reads.p99().as_f64();
            ApproverResult {
                approver: approver.to_string(),
                per_second: median(of(|round| round.per_second)),
                to_reference: ratio(|round| round.per_second),
                quiet_median: Micros::of(median(of(|round| round.quiet.median().as_f64()))),
                read_median: Micros::of(median(of(|round| round.reads.median().as_f64()))),
                read_p99: Micros::of(median(of(p99))),
                p99_to_reference: ratio(p99),
                closed_watches: mean(&of(|round| {
                    f64::from(u32::try_from(round.closed_watches).unwrap_or(u32::MAX))
                })),
            }
        };
        NeighborBenchmark {
            server,
            version,
            pending,
            rounds: rounds.len(),
            approvers: approvers.iter().enumerate().map(summary).collect(),
        }
    }
}

impl Report for NeighborBenchmark {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .approvers
            .iter()
            .map(|one| {
                vec![
                    one.approver.clone(),
                    per_second(one.per_second),
                    format!("{:.2}", one.to_reference),
                    one.quiet_median.text(),
                    one.read_median.text(),
                    one.read_p99.text(),
                    format!("{:.2}", one.p99_to_reference),
                    format!("{:.1}", one.closed_watches),
                ]
            })
            .collect();
        let header = [
            "APPROVER", "RATE", "RATIO", "QUIET", "MEDIAN", "99%", "RATIO", "CLOSED",
        ];
        format!(
            "{} {}, {} pending requests, {} rounds\n\n{}",
            self.server,
            self.version,
            self.pending,
            self.rounds,
            table(&header, &rows, false)
        )
    }
}

/// Returns the median, or 0 without values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lab::latency::Latencies;

    use super::*;

    fn round(per_second: f64, millis: u64, closed_watches: usize) -> Round {
        let reads: Latencies = [Duration::from_millis(millis)].into_iter().collect();
        Round {
            per_second,
            quiet: (&reads).into(),
            reads: (&reads).into(),
            closed_watches,
        }
    }

    #[test]
    fn ratios_compare_rounds_and_not_medians() {
        let rounds = [
            vec![round(400.0, 10, 0), round(200.0, 20, 1)],
            vec![round(100.0, 40, 0), round(100.0, 40, 0)],
            vec![round(300.0, 10, 0), round(150.0, 20, 2)],
        ];
        let approvers = [Approver::Bare(8), Approver::Warden(4)];
        let found = NeighborBenchmark::new("here".into(), "v1".into(), 5, &approvers, &rounds);
        let text = found.text();
        let line = text.lines().last().unwrap_or_default();
        let cells: Vec<&str> = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect();
        let expected = [
            "csr-warden, 4",
            "150/s",
            "0.50",
            "20 ms",
            "20 ms",
            "20 ms",
            "2.00",
            "1.0",
        ];
        assert_eq!(cells, expected, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }
}
