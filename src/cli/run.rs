//! `csr-warden run`: the daemon.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{ArgAction, Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::cluster_args::{ClusterArgs, block_on_one_thread};
use super::color;
use super::daemon::{Daemon, Plan};
use super::judging_args::JudgingArgs;
use super::logging::{TextLines, messages};
use super::serving_args::ServingArgs;
use crate::cluster::random::Random;
use crate::controller::{DENIAL_INTERVAL, RequestorLimits, Setup, UNISSUED, WRITES_AT_ONCE};
use crate::sources::replaced_file::FileVersion;
use crate::telemetry::decision_log;
use crate::telemetry::log_queue::LogQueue;
use judge::policy::{Enforcement, Policy};

/// Flags of `run`. Each can be given as an environment variable too.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    judging: JudgingArgs,
    /// ApproveAndDeny, ApproveOnly or DryRun; overrides the policy
    #[arg(long, env = "CSR_WARDEN_ENFORCEMENT", value_name = "MODE")]
    enforcement: Option<Enforcement>,
    /// Elect a leader, which alone writes; the other replicas stand by
    #[arg(long, env = "CSR_WARDEN_LEADER_ELECT", default_value_t = true,
          action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true",
          value_name = "BOOL")]
    leader_elect: bool,
    /// Namespace of the Lease [default: the Pod's, else kube-system]
    #[arg(long, env = "CSR_WARDEN_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,
    /// Name of the Lease
    #[arg(
        long,
        env = "CSR_WARDEN_LEASE_NAME",
        default_value = "csr-warden",
        value_name = "NAME"
    )]
    lease_name: String,
    #[command(flatten)]
    serving: ServingArgs,
    /// Format of decisions and messages
    #[arg(long, env = "CSR_WARDEN_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json,
          value_name = "FORMAT")]
    log_format: LogFormat,
    /// Least severe level of messages that are logged
    #[arg(long, env = "CSR_WARDEN_LOG_LEVEL", value_enum, default_value_t = LogLevel::Info,
          value_name = "LEVEL")]
    log_level: LogLevel,
    /// Maximum number of concurrent writes, 1 to 256; fewer while the API server is overloaded
    #[arg(long, env = "CSR_WARDEN_CONCURRENCY", default_value_t = WRITES_AT_ONCE, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Minimum number of seconds between two denials of one requestor, 0 to 60; its other requests wait meanwhile
    #[arg(long, env = "CSR_WARDEN_DENIAL_INTERVAL", default_value_t = DENIAL_INTERVAL.as_secs(),
          value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=60))]
    denial_interval: u64,
    /// Maximum number of a requestor's approved requests that wait for the signer; its others are approved later
    #[arg(long, env = "CSR_WARDEN_MAX_UNISSUED", default_value_t = UNISSUED, value_name = "NUMBER")]
    max_unissued: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

impl LogFormat {
    fn of_decisions(self) -> decision_log::Format {
        match self {
            LogFormat::Json => decision_log::Format::Json,
            LogFormat::Text => decision_log::Format::Text,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// Runs the daemon until SIGTERM or SIGINT.
pub(super) fn run(args: RunArgs) -> Result<ExitCode> {
    let log = start_logging(args.log_format, args.log_level)?;
    let ended = load_and_serve(args, log.clone());
    log.flush(FLUSH_TIMEOUT);
    ended.map(|()| ExitCode::SUCCESS)
}

fn load_and_serve(args: RunArgs, log: LogQueue) -> Result<()> {
    let (policy, policy_file) = args.judging.policy()?;
    block_on_one_thread(serve(args, policy, policy_file, log))
}

async fn serve(
    args: RunArgs,
    policy: Policy,
    policy_file: Option<FileVersion>,
    log: LogQueue,
) -> Result<()> {
    // Installed first: process 1 of a container ignores signals without a handler.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let connection = args.cluster.connect().await?;
    let setup = Setup {
        kubelet_authorities: args.judging.kubelet_authorities(&connection)?,
        policy: policy_file,
        #[cfg(test)]
        policies: None,
        inventory: args.judging.inventory()?,
        machines: args.judging.machines(&connection).await?,
    };
    let lease = args.leader_elect.then(|| {
        let in_cluster = !args.cluster.names_a_file() && std::env::var_os(IN_CLUSTER).is_some();
        let pods = in_cluster.then(|| connection.config.default_namespace.clone());
        let namespace = args.lease_namespace.clone().or(pods);
        let namespace = namespace.unwrap_or_else(|| "kube-system".into());
        (namespace, args.lease_name.clone())
    });
    let daemon = Daemon::start(Plan {
        connection,
        policy,
        enforcement: args.enforcement,
        setup,
        lease,
        serving: Some(args.serving),
        decision_log: Some((args.log_format.of_decisions(), log)),
        concurrency: args.concurrency.into(),
        limits: RequestorLimits {
            denial_interval: Duration::from_secs(args.denial_interval),
            unissued: args.max_unissued.max(1),
        },
        random: Random::from_os(),
        #[cfg(test)]
        auditor: None,
    })
    .await?;

    let (stop, stopped) = watch::channel(false);
    let signals = async {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal, "csr-warden stops");
        stop.send_replace(true);
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        done = daemon.run(stopped) => done,
        never = signals => never,
    }
}

/// Environment variable that Kubernetes sets in every Pod.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

/// Deadline for the last log lines when the daemon has stopped.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts the log of messages on standard error. Returns its queue, which the decision log shares.
fn start_logging(format: LogFormat, level: LogLevel) -> Result<LogQueue> {
    let filter = messages(match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    });
    let queue = LogQueue::start().context("cannot log")?;
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(queue.clone())
        .with_target(false)
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Json => {
            let lines = builder.json().flatten_event(true).finish();
            lines.with(filter).try_init()
        }
        LogFormat::Text => {
            let lines = builder
                .with_writer(|| TextLines(std::io::stderr()))
                .with_ansi(color::wanted(&std::io::stderr()));
            lines.finish().with(filter).try_init()
        }
    };
    started.map_err(|error| anyhow!("cannot log: {error}"))?;
    Ok(queue)
}
