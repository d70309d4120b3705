//! The results of a benchmark, as a table and as JSON or YAML.

use std::time::Duration;

use serde::Serialize;

use super::super::table::table;
use lab::latency::{Latencies, shown};

/// The number of columns that fit into a terminal.
const COLUMNS: usize = 3;

/// A result that can be printed as text.
pub(super) trait Report {
    /// Renders a table that fits into a terminal if it has few columns.
    fn text(&self) -> String;
}

/// A time in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Micros(u64);

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Micros {
        Micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl Micros {
    /// A number of microseconds, without its fraction.
    pub(super) fn of(micros: f64) -> Micros {
        Duration::try_from_secs_f64(micros / 1e6)
            .unwrap_or_default()
            .into()
    }

    /// The number of microseconds.
    pub(super) fn as_f64(self) -> f64 {
        Duration::from_micros(self.0).as_secs_f64() * 1e6
    }

    pub(super) fn text(self) -> String {
        shown(Duration::from_micros(self.0))
    }
}

/// A summary of many durations.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Times {
    count: usize,
    median: Micros,
    /// The 99th percentile.
    p99: Micros,
}

impl From<&Latencies> for Times {
    fn from(all: &Latencies) -> Times {
        Times {
            count: all.len(),
            median: all.percentile(50).into(),
            p99: all.percentile(99).into(),
        }
    }
}

impl Times {
    pub(super) fn median(&self) -> Micros {
        self.median
    }

    pub(super) fn p99(&self) -> Micros {
        self.p99
    }

    fn text(self) -> String {
        format!("{}, {}", self.median.text(), self.p99.text())
    }

    fn median_to(self, other: Times) -> String {
        ratio(self.median.0, other.median.0)
    }

    fn p99_to_median_of(self, other: Times) -> String {
        ratio(self.p99.0, other.median.0)
    }
}

/// The result of `bench judge`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JudgeBenchmark {
    /// One result for each request and number of Nodes.
    pub(super) judged: Vec<Judged>,
}

/// The result for one request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Judged {
    pub(super) request: &'static str,
    /// `Approve` or `Deny`.
    pub(super) verdict: &'static str,
    pub(super) nodes: usize,
    pub(super) median: Micros,
    /// The 99th percentile.
    pub(super) p99: Micros,
    /// Judgments per second, one after the other.
    pub(super) per_second: f64,
}

impl Report for JudgeBenchmark {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .judged
            .iter()
            .map(|one| {
                vec![
                    one.request.to_owned(),
                    one.verdict.to_owned(),
                    grouped(one.nodes),
                    one.median.text(),
                    one.p99.text(),
                    per_second(one.per_second),
                ]
            })
            .collect();
        let header = ["REQUEST", "VERDICT", "NODES", "MEDIAN", "99%", "RATE"];
        table(&header, &rows, false)
    }
}

/// The result of `bench sim` and `bench cluster`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Benchmark {
    /// The URL of the API server, or a name for the embedded one.
    pub(super) server: String,
    /// The Kubernetes version that the API server reports.
    pub(super) version: String,
    /// The maximum number of concurrent writes of csr-warden.
    pub(super) concurrency: u16,
    /// One result for each number of Nodes.
    pub(super) runs: Vec<Run>,
}

/// The results for one number of Nodes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    /// The number of Nodes. In a backlog, each has one request.
    pub(super) nodes: usize,
    /// Rates of the baseline client, one for each number of connections.
    pub(super) bare: Vec<BaselineResult>,
    pub(super) warden: DaemonResult,
    /// Results for requests at a steady rate.
    pub(super) steady: Option<Steady>,
    /// Results for the same, next to a node that posts many at once.
    pub(super) flood: Option<Flood>,
}

/// A result of the baseline client, which sends each object back with a condition.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BaselineResult {
    pub(super) connections: usize,
    /// Written conditions per second.
    pub(super) per_second: f64,
}

/// A result of csr-warden with a backlog.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DaemonResult {
    /// The time from its start to being ready, with the backlog present.
    pub(super) ready_after: Micros,
    /// Written conditions per second, from being ready to the last one.
    pub(super) per_second: f64,
    /// CPU time per request, including the start.
    pub(super) cpu_per_request: Option<Micros>,
    /// Resident memory in KiB with the Nodes and no request.
    pub(super) resident_kib: Option<u64>,
    /// Peak resident memory in KiB.
    pub(super) peak_kib: Option<u64>,
}

/// Results for requests at a steady rate.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Steady {
    /// Requests per second.
    pub(super) rate: u16,
    /// Round trips of the baseline client's writes, at the same rate.
    pub(super) bare_put: Times,
    /// The time from the creation of a request to the event with its condition.
    pub(super) settled: Times,
}

/// Results for requests at a steady rate next to many of one node.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Flood {
    /// Number of forged requests that the one node posted.
    pub(super) requests: usize,
    /// For the other nodes: the time from the creation of a request to the event with its
    /// condition.
    pub(super) settled: Times,
}

impl Run {
    /// Returns true if there are enough writes to measure a rate. Fewer fit between two readings.
    fn has_rate(&self) -> bool {
        self.nodes >= 100
    }

    /// Returns the best rate of the baseline client.
    fn best(&self) -> f64 {
        self.bare
            .iter()
            .map(|one| one.per_second)
            .fold(0.0, f64::max)
    }
}

impl Report for Benchmark {
    fn text(&self) -> String {
        let tables = self.runs.chunks(COLUMNS).map(columns);
        let tables: Vec<String> = tables.collect();
        format!("{} {}\n\n{}", self.server, self.version, tables.join("\n"))
    }
}

/// Renders a column for each run.
fn columns(runs: &[Run]) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, cell: &dyn Fn(&Run) -> Option<String>| {
        let cells: Vec<Option<String>> = runs.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(Option::unwrap_or_default);
            rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
        }
    };
    row("start to ready", &|run| Some(run.warden.ready_after.text()));
    let connections = |run: &Run| run.bare.iter().map(|one| one.connections).collect();
    let connections: Vec<usize> = runs.first().map(connections).unwrap_or_default();
    for (index, count) in connections.into_iter().enumerate() {
        let plural = if count == 1 { "" } else { "s" };
        row(
            &format!("bare client, {count} connection{plural}"),
            &|run| Some(per_second(run.bare.get(index)?.per_second)),
        );
    }
    row("csr-warden, backlog", &|run| {
        Some(if run.has_rate() {
            per_second(run.warden.per_second)
        } else {
            "too few Nodes".to_owned()
        })
    });
    row("  to the best bare client", &|run| {
        let ratio = || format!("{:.2}", run.warden.per_second / run.best());
        run.has_rate().then(ratio)
    });
    row("  CPU time, each request", &|run| {
        let each = run.warden.cpu_per_request.filter(|_| run.has_rate())?;
        Some(each.text())
    });
    row("  memory before the backlog", &|run| {
        Some(mib(run.warden.resident_kib?))
    });
    row("  peak memory", &|run| Some(mib(run.warden.peak_kib?)));
    row("bare PUT: median, 99%", &|run| {
        Some(run.steady?.bare_put.text())
    });
    row("settled, steady: median, 99%", &|run| {
        Some(run.steady?.settled.text())
    });
    row("  to the median of a bare PUT", &|run| {
        let steady = run.steady?;
        let (median, p99) = (
            steady.settled.median_to(steady.bare_put),
            steady.settled.p99_to_median_of(steady.bare_put),
        );
        Some(format!("{median}, {p99}"))
    });
    row("settled, beside a flood", &|run| {
        Some(run.flood?.settled.text())
    });
    row("  to the median without it", &|run| {
        Some(run.flood?.settled.median_to(run.steady?.settled))
    });
    let columns: Vec<String> = runs
        .iter()
        .map(|run| format!("{} NODES", grouped(run.nodes)))
        .collect();
    let header: Vec<&str> = std::iter::once("")
        .chain(columns.iter().map(String::as_str))
        .collect();
    table(&header, &rows, false)
}

fn ratio(of: u64, to: u64) -> String {
    let number = |micros: u64| Duration::from_micros(micros).as_secs_f64();
    format!("{:.2}", number(of) / number(to.max(1)))
}

/// Returns the mean, or 0 without values.
pub(super) fn mean(values: &[f64]) -> f64 {
    let count = u32::try_from(values.len()).unwrap_or(u32::MAX).max(1);
    values.iter().sum::<f64>() / f64::from(count)
}

/// Formats a rate.
pub(super) fn per_second(rate: f64) -> String {
    format!("{rate:.0}/s")
}

fn mib(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

/// Formats 15000 as 15,000.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(median: u64, p99: u64) -> Times {
        Times {
            count: 3,
            median: Micros(median),
            p99: Micros(p99),
        }
    }

    fn run(nodes: usize, steady: Option<Steady>) -> Run {
        let bare = |connections, per_second| BaselineResult {
            connections,
            per_second,
        };
        Run {
            nodes,
            bare: vec![bare(1, 700.0), bare(32, 1000.0)],
            warden: DaemonResult {
                ready_after: Micros(48_000),
                per_second: 1200.0,
                cpu_per_request: Some(Micros(310)),
                resident_kib: Some(9_000),
                peak_kib: None,
            },
            steady,
            flood: None,
        }
    }

    #[test]
    fn skipped_measurements_have_no_line() {
        let steady = Steady {
            rate: 50,
            bare_put: times(1_000, 2_000),
            settled: times(1_500, 4_000),
        };
        let benchmark = Benchmark {
            server: "here".into(),
            version: "v1.36.2".into(),
            concurrency: 32,
            runs: vec![run(1_000, None), run(15_000, Some(steady))],
        };
        let text = benchmark.text();
        assert!(text.contains("1,000 NODES   15,000 NODES"), "{text}");
        assert!(text.contains("bare client, 1 connection "), "{text}");
        assert!(text.contains("bare client, 32 connections"), "{text}");
        assert!(text.contains("1.20"), "{text}");
        assert!(text.contains("1.50, 4.00"), "{text}");
        assert!(text.contains("8.7 MiB"), "{text}");
        assert!(!text.contains("peak") && !text.contains("flood"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }
}
