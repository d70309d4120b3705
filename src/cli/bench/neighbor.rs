//! The neighbor benchmark: the latency and the watches of a second client while an approver drains a
//! backlog.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures::AsyncBufReadExt;
use kube::{Client, Config};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::super::render::note;
use super::daemon_process::{DaemonProcess, Launch};
use super::neighbor_report::{Approver, NeighborBenchmark, Round};
use super::{baseline, fixtures};
use crate::cluster::error::describe;
use judge::csr::KUBELET_SERVING_SIGNER;
use lab::latency::Latencies;

/// The second client's reads per second.
const READS_PER_SECOND: u32 = 50;
/// The second client's watches on requests.
const WATCHES: usize = 4;
/// The number of reads before a backlog, to open connections and to measure the quiet latency.
const QUIET_READS: usize = 100;
/// The deadline of one read of the second client.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The measurements to take.
pub(super) struct Plan {
    /// The number of pending requests, one for each Node.
    pub(super) pending: usize,
    /// The number of backlogs for each approver.
    pub(super) rounds: usize,
    /// The approvers to compare. The first is the reference.
    pub(super) approvers: Vec<Approver>,
}

/// The environment of the benchmark.
pub(super) struct Neighborhood {
    /// The name of the API server in the report.
    pub(super) server: String,
    /// The second client. It may create Nodes and impersonate them.
    pub(super) config: Config,
    /// The client of the baseline approver, with the credential of the daemon.
    pub(super) approver: Config,
    /// The launch configuration of the daemon.
    pub(super) launch: Launch,
}

impl Neighborhood {
    /// Takes all measurements, with the approvers in turn. The caller deletes the Nodes and requests.
    pub(super) async fn measure(&self, plan: &Plan) -> Result<NeighborBenchmark> {
        let client = Client::try_from(self.config.clone())?;
        let version = client.apiserver_version().await;
        let version = version.map_err(|error| anyhow!("{}: {}", self.server, describe(&error)))?;
        progress(&format!("creating {} Nodes", plan.pending));
        fixtures::make_nodes(&client, 1..=plan.pending).await?;
        let mut rounds = Vec::new();
        for number in 1..=plan.rounds {
            // An API server gets slower with its history. So the order is reversed in each round.
            let mut turns: Vec<(usize, Approver)> =
                plan.approvers.iter().copied().enumerate().collect();
            if number % 2 == 0 {
                turns.reverse();
            }
            let mut round = Vec::new();
            for (index, approver) in turns {
                progress(&format!("round {number} of {}: {approver}", plan.rounds));
                fixtures::post_backlog(&client, plan.pending).await?;
                round.push((index, self.drain(&client, plan.pending, approver).await?));
                fixtures::clear_requests(&client).await?;
            }
            round.sort_by_key(|(index, _)| *index);
            rounds.push(round.into_iter().map(|(_, measured)| measured).collect());
        }
        Ok(NeighborBenchmark::new(
            self.server.clone(),
            version.git_version,
            plan.pending,
            &plan.approvers,
            &rounds,
        ))
    }

    /// Drains a backlog beside the second client.
    async fn drain(&self, client: &Client, count: usize, approver: Approver) -> Result<Round> {
        let watches = Watches::open(client).await?;
        let quiet = Reader::start(self.config.clone(), Some(QUIET_READS))
            .end()
            .await?;
        let (reader, took) = match approver {
            Approver::Bare(connections) => {
                let backlog = baseline::Backlog::read(&self.approver).await?;
                let reader = Reader::start(self.config.clone(), None);
                let took = backlog.drain(&self.approver, connections).await?;
                (reader, took)
            }
            Approver::Warden(concurrency) => {
                let mut daemon = DaemonProcess::start(&self.launch, concurrency)?;
                // Its lists are not part of the drain, as the list of the bare client is not.
                daemon.begins().await?;
                let reader = Reader::start(self.config.clone(), None);
                let (_, took) = daemon.drains(count).await?;
                (reader, took)
            }
        };
        let beside = reader.end().await?;
        Ok(Round {
            per_second: f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64(),
            quiet: (&quiet).into(),
            reads: (&beside).into(),
            closed_watches: watches.closed(),
        })
    }
}

/// The second client's reads of one Node, at a constant rate even while the API server is slow.
struct Reader {
    reads: JoinHandle<Result<Latencies>>,
    stop: Arc<AtomicUsize>,
}

impl Reader {
    /// Reads at most `most` times, or until [`Reader::end`].
    fn start(config: Config, most: Option<usize>) -> Reader {
        let stop = Arc::new(AtomicUsize::new(most.unwrap_or(usize::MAX)));
        let limit = stop.clone();
        let reads = tokio::spawn(async move {
            let client = Client::try_from(config)?;
            // Opens the first connection.
            fixtures::read_node(&client, 1).await?;
            let mut ticks = interval(Duration::from_secs(1) / READS_PER_SECOND);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut running = JoinSet::new();
            let mut started = 0;
            while started < limit.load(Ordering::Relaxed) {
                ticks.tick().await;
                let client = client.clone();
                running.spawn(async move {
                    let begun = Instant::now();
                    timeout(READ_TIMEOUT, fixtures::read_node(&client, 1))
                        .await
                        .context("the API server does not answer the second client")??;
                    anyhow::Ok(begun.elapsed())
                });
                started += 1;
            }
            let mut took = Latencies::default();
            while let Some(one) = running.join_next().await {
                took.add(one??);
            }
            Ok(took)
        });
        Reader { reads, stop }
    }

    /// Waits for the limit if there is one, or else stops. Returns the latencies.
    async fn end(self) -> Result<Latencies> {
        if self.stop.load(Ordering::Relaxed) == usize::MAX {
            self.stop.store(0, Ordering::Relaxed);
        }
        self.reads.await?
    }
}

/// The second client's watches on requests.
struct Watches {
    watches: Vec<JoinHandle<()>>,
}

impl Drop for Watches {
    fn drop(&mut self) {
        for watch in &self.watches {
            watch.abort();
        }
    }
}

impl Watches {
    /// Opens the watches.
    async fn open(client: &Client) -> Result<Watches> {
        let mut watches = Vec::new();
        for _ in 0..WATCHES {
            let path = format!(
                "/apis/certificates.k8s.io/v1/certificatesigningrequests?watch=true&timeoutSeconds=600\
                 &fieldSelector=spec.signerName%3D{KUBELET_SERVING_SIGNER}"
            );
            let request = http::Request::get(path).body(Vec::new())?;
            let events = client.request_stream(request).await;
            let events = events.map_err(|error| anyhow!(describe(&error)))?;
            watches.push(tokio::spawn(async move {
                // Lines are not decoded: a client that is busy with itself measures itself.
                let mut events = Box::pin(events);
                let mut line = Vec::new();
                while matches!(events.read_until(b'\n', &mut line).await, Ok(1..)) {
                    line.clear();
                }
            }));
        }
        Ok(Watches { watches })
    }

    /// Returns the number of watches that the API server has closed.
    fn closed(&self) -> usize {
        self.watches
            .iter()
            .filter(|watch| watch.is_finished())
            .count()
    }
}

/// Logs the progress of the benchmark.
fn progress(what: &str) {
    note(&[format!("{what} …")]);
}
