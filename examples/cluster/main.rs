//! A real control plane on this machine, with csr-warden, kubelets and attackers.
//!
//! The kubelets request their serving certificates, and the attackers request those of others:
//!
//!     cargo run --release --example cluster
//!
//! Needs Go, which builds the control plane from source the first time. It uses only the loopback
//! address and one temporary directory, and removes everything at the end.

#![allow(missing_docs, unreachable_pub)]

mod terminal;

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options, START_DEADLINE};
use control_plane::daemon::Daemon;
use control_plane::fleet::{self, Fleet};
use control_plane::install::Installation;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use kube::api::ListParams;
use lab::attacker::{self, AttackOutcome};
use lab::forgery::{Forgery, ForgeryKind, Targets};
use lab::latency::{Latencies, shown};
use lab::random::SeededRng;
use terminal::Screen;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// A real control plane with csr-warden, kubelets and attackers, on this machine.
#[derive(Debug, Parser)]
#[command(name = "cluster")]
struct Flags {
    /// Number of kubelets
    #[arg(long, default_value_t = 20, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=5000))]
    nodes: u16,
    /// Number of forged requests
    #[arg(long, default_value_t = 6, value_name = "N",
          value_parser = clap::value_parser!(u16).range(0..=1000))]
    attackers: u16,
    /// End after the summary, with exit code 1 if a node was not served or a forgery was approved
    #[arg(long)]
    once: bool,
    /// Program to run as csr-warden, instead of the one of the example's profile
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    run(&flags).unwrap_or_else(|error| {
        // If writing fails, the exit code still reports the error.
        let _ = writeln!(std::io::stderr(), "cluster: {error:#}");
        ExitCode::from(2)
    })
}

fn run(flags: &Flags) -> Result<ExitCode> {
    let (assets, runtime) = control_plane::prepare()?;
    let binary = match &flags.daemon {
        Some(file) => file.canonicalize().context("--daemon")?,
        None => daemon_binary()?,
    };
    let screen = Screen::new();
    // All processes and files are removed, even after an error.
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut told_to_end = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        let stage = tokio::select! {
            stage = run_cluster(flags, screen, &assets, &binary) => stage?,
            () = told_to_end() => {
                screen.line("\ninterrupted; everything is removed");
                return Ok(ExitCode::from(130));
            }
        };
        if !flags.once {
            let daemon = stage.daemon.address();
            print_next_steps(screen, &stage.cluster, &assets, &daemon.to_string());
            told_to_end().await;
            screen.line("\nends; everything is removed");
        }
        Ok(ExitCode::from(u8::from(!stage.good)))
    })
}

/// The processes that keep running after the summary. They are stopped when dropped.
struct RunningCluster {
    good: bool,
    // In the order of dropping: clients before the cluster.
    _fleet: Fleet,
    daemon: Daemon,
    cluster: Cluster,
}

async fn run_cluster(
    flags: &Flags,
    screen: Screen,
    assets: &Assets,
    binary: &Path,
) -> Result<RunningCluster> {
    let begun = Instant::now();
    let cluster = Cluster::start(assets, Options::default()).await?;
    screen.event(&format!(
        "API server, etcd and signer are ready, in {}",
        shown(begun.elapsed())
    ));
    let begun = Instant::now();
    let installation = Installation::apply(&cluster, binary).await?;
    let mut daemon = installation.start("csr-warden", &[])?;
    daemon.wait_ready(START_DEADLINE).await?;
    screen.event(&format!(
        "csr-warden is installed and ready, in {}",
        shown(begun.elapsed())
    ));

    let mut attackers = Vec::new();
    let tricks = ForgeryKind::ALL.into_iter().cycle();
    for (index, kind) in (1..=flags.attackers).zip(tricks) {
        let node = format!("rogue-{index}");
        let user = format!("system:node:{node}");
        let client = cluster.client_for(&user, &["system:nodes"]).await?;
        let [high, low] = index.to_be_bytes();
        let own = (node, Ipv4Addr::new(10, 66, high, low).into());
        let forgery = Forgery::new(kind, own, &targets(), &mut SeededRng::new(1));
        attackers.push((client, forgery));
    }
    screen.event(&format!(
        "{} kubelets start, and {} attackers with stolen kubelet credentials",
        flags.nodes, flags.attackers
    ));
    let nodes = usize::from(flags.nodes);
    let mut fleet = Fleet::start(assets, &cluster, &fleet::Options::nodes(nodes))?;
    let mut strikes = JoinSet::new();
    for (client, forgery) in attackers {
        let admin = cluster.admin();
        strikes.spawn(async move {
            attacker::wait_for_victim_approval(&admin, &forgery).await?;
            attacker::wait_for_victim(&admin, &forgery).await?;
            let fate = attacker::attack(&client, &forgery).await?;
            print_outcome(screen, &forgery, &fate);
            anyhow::Ok(fate)
        });
    }
    let deadline = Duration::from_secs(60) + Duration::from_millis(20) * u32::from(flags.nodes);
    watch(screen, &mut fleet, deadline).await?;
    let mut fates = Vec::new();
    while let Some(fate) = strikes.join_next().await {
        fates.push(fate??);
    }

    let good = summary(screen, &cluster, &fleet, &fates).await?;
    Ok(RunningCluster {
        good,
        _fleet: fleet,
        daemon,
        cluster,
    })
}

/// Prints each node that is served, until all are or the deadline has passed.
async fn watch(screen: Screen, fleet: &mut Fleet, deadline: Duration) -> Result<()> {
    let mut missing = fleet.names().len();
    let lines = fleet.process().stdout.clone();
    let all = lines.find(deadline, |line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let text = |field: &str| event.get(field).and_then(|value| value.as_str());
        match (text("event"), text("node")) {
            (Some("issued"), Some(node)) => {
                let millis = event.get("millis").and_then(|value| value.as_f64())?;
                screen.event(&format!("{node} served in {millis:.0} ms"));
                missing = missing.saturating_sub(1);
            }
            (Some("error"), node) => screen.event(&format!(
                "{} failed: {}",
                node.unwrap_or("the fleet"),
                text("message").unwrap_or_default()
            )),
            (_, _) => {}
        }
        (missing == 0).then_some(())
    });
    all.await;
    fleet.process().must_run()
}

/// Returns the targets of the attackers. The victim is the fleet's first node.
fn targets() -> Targets {
    Targets {
        service: Ipv4Addr::new(10, 96, 0, 1),
        api_server: Ipv4Addr::LOCALHOST.into(),
        victims: vec![("node-1".into(), Ipv4Addr::new(10, 128, 0, 2).into())],
    }
}

fn print_outcome(screen: Screen, forgery: &Forgery, fate: &AttackOutcome) {
    let details = match fate {
        AttackOutcome::Denied {
            code,
            detail,
            after,
        } => vec![
            format!("denied in {}: {code}", shown(*after)),
            detail.clone(),
        ],
        AttackOutcome::Approved => vec!["APPROVED, which must never be".to_owned()],
        AttackOutcome::Pending => vec!["left waiting, and so without a certificate".to_owned()],
        AttackOutcome::Refused(why) => vec![format!("refused by the API server: {why}")],
    };
    let says = format!(
        "{} {}, {}",
        forgery.node,
        forgery.description(),
        forgery.purpose()
    );
    screen.event_with(&says, &details);
}

/// Prints the summary. Returns true if all nodes were served and all forgeries rejected.
async fn summary(
    screen: Screen,
    cluster: &Cluster,
    fleet: &Fleet,
    fates: &[AttackOutcome],
) -> Result<bool> {
    // The requests on the API server are authoritative.
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    let requests = requests.list(&ListParams::default()).await?.items;
    let approved_forgeries = requests.iter().filter(|request| {
        let by = request.spec.username.as_deref().unwrap_or_default();
        let status = request.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let approved = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Approved");
        let issued = status.is_some_and(|status| status.certificate.is_some());
        by.starts_with("system:node:rogue-") && (approved || issued)
    });
    let approved_forgeries = approved_forgeries.count();
    let issued: Vec<_> = fleet.latest().into_values().collect();
    let denied = fates
        .iter()
        .filter(|fate| matches!(fate, AttackOutcome::Denied { .. }));
    let denied = denied.count();

    screen.line("");
    screen.line(&format!(
        "nodes served        {} of {}",
        issued.len(),
        fleet.names().len()
    ));
    if !issued.is_empty() {
        let waits: Latencies = issued
            .iter()
            .map(|one| Duration::from_secs_f64(one.millis / 1e3))
            .collect();
        screen.line(&format!(
            "latency             {waits}, from start to certificate"
        ));
    }
    screen.line(&format!(
        "forgeries refused   {} of {} ({denied} denied)",
        fates.len().saturating_sub(approved_forgeries),
        fates.len()
    ));
    let waiting = fleet.waiting();
    if !waiting.is_empty() {
        screen.line(&format!("not served          {}", waiting.join(" ")));
    }
    let approved_fates = fates.contains(&AttackOutcome::Approved);
    Ok(waiting.is_empty() && approved_forgeries == 0 && !approved_fates)
}

/// Prints commands to try. Paths are not wrapped, so that they can be copied.
fn print_next_steps(screen: Screen, cluster: &Cluster, assets: &Assets, daemon: &str) {
    screen.line("\nIt keeps running. In another terminal:\n");
    screen.line(&format!(
        "  export KUBECONFIG={}",
        cluster.admin_kubeconfig().display()
    ));
    screen.line(&format!("  alias k={}\n", assets.kubectl.display()));
    screen.line("  k get csr");
    screen.line("  k get events --field-selector reportingComponent=csr-warden");
    screen.line("  k get nodes -o wide");
    screen.line(&format!("  curl http://{daemon}/metrics\n"));
    screen.line("Press Ctrl-C to stop it.");
}

/// Returns the path of `csr-warden` in the profile of this example. Cargo does not build it for an
/// example.
fn daemon_binary() -> Result<PathBuf> {
    let example = std::env::current_exe().context("cannot find the example's own file")?;
    let profile = example
        .parent()
        .and_then(Path::parent)
        .context("the example is not where Cargo puts examples")?;
    let binary = profile.join("csr-warden");
    // If run by Cargo, build it now. An old program would show old behavior.
    let cargo = std::env::var_os("CARGO");
    if binary.is_file() && cargo.is_none() {
        return Ok(binary);
    }
    let mut build = Command::new(cargo.unwrap_or_else(|| "cargo".into()));
    // Built with the example, so that dependencies have the same features and are built once.
    build
        .args(["build", "--quiet", "--bin", "csr-warden"])
        .args(["--example", "cluster", "--target-dir"])
        .arg(profile.parent().unwrap_or(profile))
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let profile = profile.file_name().unwrap_or_default();
    if profile != "debug" {
        build.arg("--profile").arg(profile);
    }
    let status = build
        .status()
        .context("cannot run `cargo build --bin csr-warden`")?;
    ensure!(
        status.success() && binary.is_file(),
        "`cargo build --bin csr-warden` built no {}",
        binary.display()
    );
    Ok(binary)
}
