//! `csr-warden bench`: measures the judge, and compares the daemon with a baseline client that
//! approves without looking. It runs on the embedded API server or on a given cluster.

mod baseline;
mod daemon_process;
mod end_to_end;
mod fixtures;
mod judge;
mod latency;
mod neighbor;
mod neighbor_report;
mod report;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use kube::Client;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use self::daemon_process::Launch;
use self::end_to_end::{EndToEnd, Plan};
use self::neighbor::Neighborhood;
use self::neighbor_report::{Approver, NeighborBenchmark};
use self::report::{Benchmark, Report};
use super::approve::ask;
use super::cluster_args::{ClusterArgs, INTERRUPTED, block_on};
use super::demo::KubeconfigFile;
use super::format::TextFormat;
use super::render::print;
use crate::cluster::connection::Connection;
use crate::controller::WRITES_AT_ONCE;
use apiserver_sim::{Options, Server};

/// Flags of `bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: BenchCommand,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text, value_name = "FORMAT",
          global = true)]
    output: TextFormat,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Measure the judge alone: decode and judge one request, for each number of Nodes
    Judge(JudgeArgs),
    /// Measure approval end to end, on an API server in this process
    Sim(SimArgs),
    /// Measure approval end to end, on a test cluster: creates Nodes and requests, and deletes them
    Cluster(Box<OnClusterArgs>),
    /// Measure what a second client of the API server notices while a backlog is approved
    Neighbor(NeighborArgs),
}

#[derive(Debug, Args)]
struct JudgeArgs {
    /// Numbers of Nodes
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1000,5000,15000",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: Vec<u32>,
}

#[derive(Debug, Args)]
struct SimArgs {
    /// Numbers of Nodes, one column each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1000",
          value_parser = clap::value_parser!(u32).range(1..=30_000))]
    nodes: Vec<u32>,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "For a disposable test cluster: every controller sees the Nodes that it \
    creates, and each certificate is signed. Its Nodes are named csr-warden-bench-N and \
    have addresses in 198.18.0.0/15 (RFC 2544). No other approver may run meanwhile; a \
    cloud controller deletes Nodes that its cloud does not have."
)]
struct OnClusterArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Kubeconfig file of the daemon and the baseline client, if different, such as that of a
    /// ServiceAccount
    #[arg(long, value_name = "FILE")]
    daemon_kubeconfig: Option<PathBuf>,
    /// Numbers of Nodes, one column each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "200",
          value_parser = clap::value_parser!(u32).range(1..=30_000))]
    nodes: Vec<u32>,
    /// Do not ask before writing
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The second client reads one Node 50 times a second and holds four watches on requests. \
    The ratios are to the first number of --connections, in the same round."
)]
struct NeighborArgs {
    /// Kubeconfig file of a test cluster, on which Nodes and requests are created and deleted [default:
    /// an API server in this process]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Kubeconfig file of the daemon and the baseline client, if different
    #[arg(long, value_name = "FILE", requires = "kubeconfig")]
    daemon_kubeconfig: Option<PathBuf>,
    /// Do not ask before writing
    #[arg(short, long)]
    yes: bool,
    /// Number of pending requests, one for each Node
    #[arg(long, default_value_t = 3_000, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=30_000))]
    pending: u16,
    /// Number of backlogs for each approver
    #[arg(long, default_value_t = 3, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=20))]
    rounds: u16,
    /// Numbers of connections of the baseline client
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "8,32,128",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: Vec<u16>,
    /// Maximum numbers of concurrent writes of the daemon
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "4,8,32,128",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: Vec<u16>,
    /// Program to run as the daemon, such as that of the image, instead of this one
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
}

impl NeighborArgs {
    fn plan(&self) -> neighbor::Plan {
        let bare = self.connections.iter().copied().map(Approver::Bare);
        let warden = self.concurrency.iter().copied().map(Approver::Warden);
        neighbor::Plan {
            pending: self.pending.into(),
            rounds: self.rounds.into(),
            approvers: bare.chain(warden).collect(),
        }
    }
}

/// Parameters of the end-to-end benchmark.
#[derive(Clone, Debug, Args)]
pub(super) struct PlanArgs {
    /// Number of backlogs for each approver
    #[arg(long, default_value_t = 2, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=20))]
    rounds: u16,
    /// Numbers of connections of the baseline client
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,32",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: Vec<u16>,
    /// Maximum number of concurrent writes of the daemon
    #[arg(long, default_value_t = WRITES_AT_ONCE, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Steady rate of requests per second; 0 to skip
    #[arg(long, default_value_t = 50, value_name = "N",
          value_parser = clap::value_parser!(u16).range(0..=1000))]
    rate: u16,
    /// Duration of the steady rate, in seconds
    #[arg(long, default_value_t = 10, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Number of forged requests that one node posts at once; 0 to skip
    #[arg(long, default_value_t = 2_000, value_name = "N",
          value_parser = clap::value_parser!(u16).range(0..=20_000))]
    flood: u16,
    /// Program to run as the daemon, such as that of the image, instead of this one
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
}

impl PlanArgs {
    fn plan(&self, nodes: &[u32]) -> Plan {
        let number = |nodes: &u32| usize::try_from(*nodes).unwrap_or(usize::MAX);
        let mut nodes: Vec<usize> = nodes.iter().map(number).collect();
        nodes.sort_unstable();
        nodes.dedup();
        Plan {
            nodes,
            rounds: self.rounds.into(),
            connections: self.connections.clone(),
            concurrency: self.concurrency,
            rate: self.rate,
            seconds: self.seconds,
            flood: self.flood.into(),
        }
    }
}

/// Runs a benchmark and prints the results. No target is checked.
pub(super) fn bench(args: &BenchArgs) -> Result<ExitCode> {
    match &args.what {
        BenchCommand::Judge(of) => {
            let nodes: Vec<usize> = of.nodes.iter().map(|&n| n as usize).collect();
            show(&judge::measure(&nodes)?, args.output)
        }
        BenchCommand::Sim(of) => {
            let report = block_on(interruptible(on_sim(of)))?;
            report.map_or(Ok(ExitCode::from(INTERRUPTED)), |report| {
                show(&report, args.output)
            })
        }
        BenchCommand::Cluster(of) => {
            let report = block_on(on_cluster(of))?;
            report.map_or(Ok(ExitCode::from(INTERRUPTED)), |report| {
                show(&report, args.output)
            })
        }
        BenchCommand::Neighbor(of) => {
            let report = block_on(beside_neighbor(of))?;
            report.map_or(Ok(ExitCode::from(INTERRUPTED)), |report| {
                show(&report, args.output)
            })
        }
    }
}

fn show(report: &(impl Report + Serialize), output: TextFormat) -> Result<ExitCode> {
    print(&output.write(report, || report.text())?)?;
    Ok(ExitCode::SUCCESS)
}

async fn on_sim(args: &SimArgs) -> Result<Benchmark> {
    let server = Server::start(Options::default()).await?;
    let kubeconfig = server.kubeconfig("kubernetes-admin", &["system:masters"])?;
    let file = KubeconfigFile::create("bench", &kubeconfig)?;
    let cluster = ClusterArgs::of_file(file.path());
    let connection = cluster.connect().await?;
    let field = EndToEnd {
        server: "the embedded API server".into(),
        approver: connection.config.clone(),
        config: connection.config,
        launch: Launch::new(args.plan.daemon.as_deref(), &cluster)?,
    };
    field.measure(&args.plan.plan(&args.nodes)).await
}

/// Asks before a cluster is written to.
fn confirm(yes: bool, nodes: usize, connection: &Connection) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("expected --yes, since standard input is not a terminal");
    }
    let question = format!(
        "Create {nodes} Nodes and many requests on {}, and delete them? [y/N] ",
        connection.server()
    );
    if !ask(&question)? {
        bail!("nothing was written");
    }
    Ok(())
}

/// Returns `None` if it was interrupted. All created objects are deleted in any case.
async fn beside_neighbor(args: &NeighborArgs) -> Result<Option<NeighborBenchmark>> {
    let plan = args.plan();
    let Some(kubeconfig) = &args.kubeconfig else {
        let server = Server::start(Options::default()).await?;
        let kubeconfig = server.kubeconfig("kubernetes-admin", &["system:masters"])?;
        let file = KubeconfigFile::create("bench", &kubeconfig)?;
        let cluster = ClusterArgs::of_file(file.path());
        let config = cluster.connect().await?.config;
        let field = Neighborhood {
            server: "the embedded API server".into(),
            approver: config.clone(),
            config,
            launch: Launch::new(args.daemon.as_deref(), &cluster)?,
        };
        return interruptible(field.measure(&plan)).await;
    };
    let cluster = ClusterArgs::of_file(kubeconfig);
    let connection = cluster.connect().await?;
    confirm(args.yes, plan.pending, &connection)?;
    let client = Client::try_from(connection.config.clone())?;
    let own = args.daemon_kubeconfig.as_deref().map(ClusterArgs::of_file);
    let own = own.as_ref().unwrap_or(&cluster);
    let field = Neighborhood {
        server: connection.server(),
        config: connection.config,
        approver: own.connect().await?.config,
        launch: Launch::new(args.daemon.as_deref(), own)?,
    };
    let measured = interruptible(field.measure(&plan)).await;
    let cleared = fixtures::clear(&client).await.context("cannot clean up");
    // The first error is returned.
    let measured = measured?;
    cleared?;
    Ok(measured)
}

/// Returns `None` if it was interrupted. All created objects are deleted in any case.
async fn on_cluster(args: &OnClusterArgs) -> Result<Option<Benchmark>> {
    let connection = args.cluster.connect().await?;
    let plan = args.plan.plan(&args.nodes);
    let most = plan.nodes.last().copied().unwrap_or_default();
    confirm(args.yes, most, &connection)?;
    let client = Client::try_from(connection.config.clone())?;
    let own = args.daemon_kubeconfig.as_deref().map(ClusterArgs::of_file);
    let own = own.as_ref().unwrap_or(&args.cluster);
    let launch = Launch::new(args.plan.daemon.as_deref(), own)?;
    let field = EndToEnd {
        server: connection.server(),
        config: connection.config,
        approver: own.connect().await?.config,
        launch,
    };
    let measured = interruptible(field.measure(&plan)).await;
    let cleared = fixtures::clear(&client).await.context("cannot clean up");
    // The first error is returned.
    let measured = measured?;
    cleared?;
    Ok(measured)
}

/// Returns `None` on SIGINT or SIGTERM.
async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::select! {
        done = work => done.map(Some),
        _ = terminate.recv() => Ok(None),
        _ = interrupt.recv() => Ok(None),
    }
}
