//! `csr-warden run`: the daemon.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{ArgAction, Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use super::daemon::{Daemon, Plan};
use super::policy;
use super::target::{ClusterArgs, block_on};
use crate::cluster::connection::{Connection, Target};
use crate::controller::{InventoryFile, Setup};
use crate::evidence::Inventory;
use crate::policy::{Enforcement, Policy};
use crate::sources::file;
use crate::sources::serving_certificate::authorities;
use crate::telemetry::audit;

/// Flags of `run`. Each can be given as an environment variable too.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Policy file, or `default` or `strict`
    #[arg(long, env = "CSR_WARDEN_POLICY", value_name = "FILE")]
    policy: Option<String>,
    /// Inventory file: which names and addresses each node has
    #[arg(long, env = "CSR_WARDEN_INVENTORY", value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Kubeconfig file of the cluster that has the Machines, if it is another
    #[arg(long, env = "CSR_WARDEN_MACHINES_KUBECONFIG", value_name = "FILE")]
    machines_kubeconfig: Option<PathBuf>,
    /// CA certificates that kubelets' certificates are verified with [default: the cluster's]
    #[arg(
        long,
        env = "CSR_WARDEN_KUBELET_CERTIFICATE_AUTHORITY",
        value_name = "FILE"
    )]
    kubelet_certificate_authority: Option<PathBuf>,
    /// ApproveAndDeny, ApproveOnly or DryRun; overrides the policy
    #[arg(long, env = "CSR_WARDEN_ENFORCEMENT", value_name = "MODE")]
    enforcement: Option<Enforcement>,
    /// Let one replica write and the others stand by
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
    /// Where /metrics, /livez and /readyz are served [default: [::]:8080, which is every IPv4
    /// address too]
    #[arg(long, env = "CSR_WARDEN_BIND_ADDRESS", value_name = "IP:PORT")]
    bind_address: Option<SocketAddr>,
    /// How decisions and messages are written
    #[arg(long, env = "CSR_WARDEN_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json,
          value_name = "FORMAT")]
    log_format: LogFormat,
    /// Which messages are written
    #[arg(long, env = "CSR_WARDEN_LOG_LEVEL", value_enum, default_value_t = LogLevel::Info,
          value_name = "LEVEL")]
    log_level: LogLevel,
    /// Conditions that are written at the same time, 1 to 256
    #[arg(long, env = "CSR_WARDEN_CONCURRENCY", default_value_t = 32, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// Runs until SIGTERM or SIGINT.
pub(super) fn run(args: RunArgs) -> Result<ExitCode> {
    start_logging(args.log_format, args.log_level)?;
    let (policy, policy_file) = policy::load(args.policy.as_deref())?;
    block_on(serve(args, policy, policy_file))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(
    args: RunArgs,
    policy: Policy,
    policy_file: Option<policy::PolicyFile>,
) -> Result<()> {
    // First of all: process 1 of a container ignores signals that nobody listens for.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let connection = args.cluster.connect().await?;
    let kubelet_authorities = match &args.kubelet_certificate_authority {
        None => connection.config.root_cert.clone().unwrap_or_default(),
        Some(path) => {
            let pem = file::read(path).map_err(|why| anyhow!("{why}"))?;
            authorities(pem.as_bytes()).map_err(|why| anyhow!("{}: {why}", path.display()))?
        }
    };
    let setup = Setup {
        kubelet_authorities,
        policy: policy_file,
        inventory: args.inventory.clone().map(inventory).transpose()?,
        machines: match &args.machines_kubeconfig {
            None => connection.watches.clone(),
            Some(kubeconfig) => {
                let target = Target {
                    kubeconfigs: vec![kubeconfig.clone()],
                    context: None,
                };
                Connection::new(&target).await?.watches
            }
        },
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
        addresses: args
            .bind_address
            .map_or(EVERYWHERE.to_vec(), |one| vec![one]),
        audit: Some(match args.log_format {
            LogFormat::Json => audit::Format::Json,
            LogFormat::Text => audit::Format::Text,
        }),
        concurrency: args.concurrency.into(),
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

fn inventory(path: PathBuf) -> Result<InventoryFile> {
    let text = file::read(&path).map_err(|why| anyhow!("inventory: {why}"))?;
    let inventory =
        Inventory::parse(&text).map_err(|why| anyhow!("inventory {}: {why}", path.display()))?;
    Ok(InventoryFile {
        path,
        text,
        inventory,
    })
}

/// Where the HTTP server listens if nobody says: where the machine has no IPv6, on IPv4.
const EVERYWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8080),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080),
];

/// Set by Kubernetes in every Pod.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

fn start_logging(format: LogFormat, level: LogLevel) -> Result<()> {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    let filter = EnvFilter::try_new(format!("{level},kube=off,hyper=off,rustls=off"))
        .context("cannot log")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
    };
    started.map_err(|error| anyhow!("cannot log: {error}"))
}
