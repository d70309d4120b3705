//! The end-to-end benchmark: csr-warden and a baseline client approve posted requests in turn.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{Client, Config};
use rcgen::KeyPair;

use super::super::render::note;
use super::baseline::Backlog;
use super::daemon_process::{DaemonProcess, Launch};
use super::latency::Observer;
use super::report::{BaselineResult, Benchmark, DaemonResult as Drained, Flood, Run, Steady, mean};
use super::{baseline, fixtures};
use crate::cluster::error::describe;

/// Nodes that post requests at a steady rate, next to one that floods.
const STEADY_NODES: usize = 50;
/// Concurrent requests of the flooding node.
const FLOODERS: usize = 16;

/// The measurements to take.
pub(super) struct Plan {
    /// The numbers of Nodes, in ascending order.
    pub(super) nodes: Vec<usize>,
    /// The number of backlogs for each approver.
    pub(super) rounds: usize,
    /// The numbers of connections of the baseline client.
    pub(super) connections: Vec<u16>,
    /// The maximum number of concurrent writes of the daemon.
    pub(super) concurrency: u16,
    /// The steady rate of requests per second. 0 for none.
    pub(super) rate: u16,
    /// The duration of the steady rate in seconds.
    pub(super) seconds: u16,
    /// The number of requests of the flooding node. 0 for none.
    pub(super) flood: usize,
}

/// The environment of a benchmark.
pub(super) struct EndToEnd {
    /// The name of the API server in the report.
    pub(super) server: String,
    /// A client that may create Nodes and impersonate them.
    pub(super) config: Config,
    /// The client of the baseline approver. It has the credential of the daemon, because the cost
    /// of authentication and authorization depends on the credential.
    pub(super) approver: Config,
    /// The launch configuration of the daemon.
    pub(super) launch: Launch,
}

impl EndToEnd {
    /// Takes all measurements. The caller deletes the Nodes and requests.
    pub(super) async fn measure(&self, plan: &Plan) -> Result<Benchmark> {
        let client = Client::try_from(self.config.clone())?;
        let version = client.apiserver_version().await;
        let version = version.map_err(|error| anyhow!("{}: {}", self.server, describe(&error)))?;
        let mut runs = Vec::new();
        let mut made = 0;
        for &nodes in &plan.nodes {
            progress(&format!("creating {} Nodes", nodes - made));
            fixtures::make_nodes(&client, made + 1..=nodes).await?;
            made = nodes;
            runs.push(self.run(&client, plan, nodes).await?);
        }
        Ok(Benchmark {
            server: self.server.clone(),
            version: version.git_version,
            concurrency: plan.concurrency,
            runs,
        })
    }

    async fn run(&self, client: &Client, plan: &Plan, nodes: usize) -> Result<Run> {
        let mut bare = Vec::new();
        let mut drained = Vec::new();
        for round in 1..=plan.rounds {
            progress(&format!(
                "{nodes} Nodes: backlog {round} of {}",
                plan.rounds
            ));
            let resident_kib = self.idle(plan).await?;
            // An API server gets slower with its history. So the order is reversed in each round.
            let mut turns: Vec<Option<usize>> = (0..plan.connections.len())
                .map(Some)
                .chain([None])
                .collect();
            if round % 2 == 0 {
                turns.reverse();
            }
            for turn in turns {
                fixtures::post_backlog(client, nodes).await?;
                match turn.and_then(|index| plan.connections.get(index)) {
                    Some(&connections) => {
                        let backlog = Backlog::read(&self.approver).await?;
                        let count = backlog.len();
                        let took = backlog.drain(&self.approver, connections).await?;
                        bare.push((connections, per_second(count, took)));
                    }
                    None => drained.push(self.drain(plan, nodes, resident_kib).await?),
                }
                fixtures::clear_requests(client).await?;
            }
        }
        let of = |connections: u16| -> Vec<f64> {
            let rates = bare.iter().filter(|(of, _)| *of == connections);
            rates.map(|(_, rate)| *rate).collect()
        };
        let (steady, flood) = self.steadily(client, plan, nodes).await?;
        Ok(Run {
            nodes,
            bare: plan
                .connections
                .iter()
                .map(|&connections| BaselineResult {
                    connections: connections.into(),
                    per_second: mean(&of(connections)),
                })
                .collect(),
            warden: typical(&drained).context("no round")?,
            steady,
            flood,
        })
    }

    /// Returns the daemon's memory in KiB after it has read the Nodes, without requests.
    async fn idle(&self, plan: &Plan) -> Result<Option<u64>> {
        let mut daemon = DaemonProcess::start(&self.launch, plan.concurrency)?;
        daemon.ready().await?;
        Ok(daemon.resident_kib())
    }

    async fn drain(&self, plan: &Plan, count: usize, resident_kib: Option<u64>) -> Result<Drained> {
        let mut daemon = DaemonProcess::start(&self.launch, plan.concurrency)?;
        let (ready_after, took) = daemon.drains(count).await?;
        let processor = daemon.processor();
        let each = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        Ok(Drained {
            ready_after: ready_after.into(),
            per_second: per_second(count, took),
            cpu_per_request: processor.map(|all| (all / each).into()),
            resident_kib,
            peak_kib: daemon.peak_kib(),
        })
    }

    async fn steadily(
        &self,
        client: &Client,
        plan: &Plan,
        nodes: usize,
    ) -> Result<(Option<Steady>, Option<Flood>)> {
        if plan.rate == 0 {
            return Ok((None, None));
        }
        let asking = nodes.saturating_sub(1).clamp(1, STEADY_NODES);
        let count = usize::from(plan.rate) * usize::from(plan.seconds);
        progress(&format!("{nodes} Nodes: {} requests per second", plan.rate));
        let approver = Client::try_from(self.approver.clone())?;
        let put = baseline::steady(client, &approver, asking, plan.rate, count).await?;
        fixtures::clear_requests(client).await?;

        let mut daemon = DaemonProcess::start(&self.launch, plan.concurrency)?;
        daemon.ready().await?;
        let mut observer = Observer::new(client);
        let settled = observer.steady(client, asking, plan.rate, count).await?;
        let steady = Steady {
            rate: plan.rate,
            bare_put: (&put).into(),
            settled: (&settled).into(),
        };
        fixtures::clear_requests(client).await?;
        if plan.flood == 0 || nodes <= asking {
            return Ok((Some(steady), None));
        }
        progress(&format!("{nodes} Nodes: one of them floods"));
        let flooding = flood(client, asking + 1, plan.flood);
        let asked = observer.steady(client, asking, plan.rate, count);
        let ((), settled) = tokio::try_join!(flooding, asked)?;
        fixtures::clear_requests(client).await?;
        let flood = Flood {
            requests: plan.flood,
            settled: (&settled).into(),
        };
        Ok((Some(steady), Some(flood)))
    }
}

/// Posts forged requests of one Node as fast as the API server accepts them.
async fn flood(client: &Client, node: usize, count: usize) -> Result<()> {
    let pem = fixtures::forged(node, &KeyPair::generate()?)?;
    stream::iter(0..count)
        .map(|_| fixtures::post(client, node, pem.clone()))
        .buffer_unordered(FLOODERS)
        .map_ok(drop)
        .try_collect()
        .await
}

/// Returns the round with the median rate, with the peak memory of all rounds.
fn typical(rounds: &[Drained]) -> Option<Drained> {
    let mut by_rate = rounds.to_vec();
    by_rate.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    let middle = by_rate.get(by_rate.len() / 2)?;
    Some(Drained {
        per_second: mean(&rounds.iter().map(|one| one.per_second).collect::<Vec<_>>()),
        peak_kib: rounds.iter().filter_map(|one| one.peak_kib).max(),
        ..*middle
    })
}

fn per_second(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

/// Logs the progress of the benchmark.
fn progress(what: &str) {
    note(&[format!("{what} …")]);
}
