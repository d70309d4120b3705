//! `csr-warden demo`: a simulated cluster in this process, with kubelets, attackers and the daemon
//! of `run`.

mod installation;
mod keep;
mod screen;
mod tally;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, ListParams};
use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub(super) use self::keep::KubeconfigFile;
use self::screen::Screen;
use self::tally::Tally;
use super::cluster_args::{INTERRUPTED, block_on};
use super::daemon::{Daemon, Plan};
use super::logging::messages;
use super::output_end::stdout_ended;
use super::policy;
use super::serving_args::ServingArgs;
use crate::cluster::connection::Connection;
use crate::cluster::protected_objects::KUBERNETES_SERVICE;
use crate::cluster::random::Random;
use crate::controller::{RequestorLimits, Setup, WRITES_AT_ONCE};
use crate::telemetry::health::Health;
use apiserver_sim::{Options, Server};
use lab::attacker::{self, AttackOutcome, outcome};
use lab::fleet::{self, Event};
use lab::forgery::{Forgery, ForgeryKind, Targets};
use lab::kubelet::Kubelet;
use lab::latency::shown;
use lab::random::SeededRng;
use lab::signer;

/// Longest period over which kubelets and attackers arrive, so that a person can follow.
const LONGEST_ARRIVAL: Duration = Duration::from_secs(5);
/// Interval between two arrivals, if there are few.
const BETWEEN: Duration = Duration::from_millis(150);
/// Time limit of the demo, and the time that each kubelet adds to it.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_EACH: Duration = Duration::from_millis(50);
/// Maximum number of nodes with a line each, without a terminal. Above it, each tenth of them
/// has a line.
const MOST_LINES: usize = 100;
/// Interval at which the status lines are redrawn.
const REDRAW: Duration = Duration::from_millis(100);
/// Maximum number of nodes that can be attacked.
const VICTIMS: usize = 8;
/// Name prefix of the attackers' nodes.
const ROGUE: &str = "rogue-";

/// Flags of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Number of kubelets
    #[arg(long, default_value_t = 25, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=5000))]
    nodes: u16,
    /// Number of attackers with stolen kubelet credentials
    #[arg(long, default_value_t = 5, value_name = "N",
          value_parser = clap::value_parser!(u16).range(0..=1000))]
    attackers: u16,
    /// Seed of the order and kinds of forgeries: the same number repeats them
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Keep it running until Ctrl-C, with a kubeconfig to look around
    #[arg(long)]
    keep: bool,
}

/// Runs the demo. The exit code is 0 only if every kubelet was served and no forgery approved.
pub(super) fn demo(args: &DemoArgs) -> Result<ExitCode> {
    let screen = Screen::new();
    start_logging(&screen)?;
    block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let told_to_end = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        // The demo writes only one directory, which is removed however the demo ends.
        play(args, &screen, told_to_end).await
    })
}

async fn play(
    args: &DemoArgs,
    screen: &Screen,
    told_to_end: impl Future<Output = ()>,
) -> Result<ExitCode> {
    let server = Server::start(Options::default()).await?;
    let admin = config(&server, "kubernetes-admin", &["system:masters"]).await?;
    let client = Client::try_from(admin.clone())?;
    let own = installation::install(&admin).await?;
    let daemon = start_daemon(Connection::with(own)?).await?;
    let cast = Cast {
        screen,
        server: &server,
        client: client.clone(),
        metrics: daemon.address()?,
        health: daemon.health(),
    };
    // Never sent to: the daemon runs until this scope is dropped.
    let (_stop, stopped) = watch::channel(false);
    let (come, comes) = oneshot::channel();
    let (tell, told) = mpsc::unbounded_channel();
    let kubelets = async {
        if let Ok(kubelets) = comes.await {
            fleet::run(kubelets, tell).await;
        }
        std::future::pending::<()>().await;
    };
    // `None` until the result is known.
    let good = Cell::new(None);
    tokio::select! {
        ended = cast.story(args, come, told, &good) => ended?,
        ended = daemon.run(stopped) => ended.context("the daemon has stopped")?,
        () = signer::run(client, server.ca().clone(), signer::LIFETIME) => {}
        () = kubelets => {}
        () = told_to_end => {}
        () = stdout_ended() => {}
    }
    Ok(ExitCode::from(match good.get() {
        Some(true) => 0,
        Some(false) => 1,
        None => INTERRUPTED,
    }))
}

/// Parts of the demo other than the kubelets and the attackers.
struct Cast<'a> {
    screen: &'a Screen,
    server: &'a Server,
    /// Client of an administrator.
    client: Client,
    metrics: SocketAddr,
    health: Arc<Health>,
}

type Kubelets = Vec<(Duration, Kubelet)>;
type Strikes = JoinSet<Result<(Forgery, AttackOutcome)>>;

impl Cast<'_> {
    async fn story(
        &self,
        args: &DemoArgs,
        come: oneshot::Sender<Kubelets>,
        told: mpsc::UnboundedReceiver<Event>,
        good: &Cell<Option<bool>>,
    ) -> Result<()> {
        let screen = self.screen;
        screen.event(&[&format!(
            "a cluster starts in this process, at {}",
            self.server.url()
        )]);
        self.health.ready().await;
        screen.event(&[
            "csr-warden has read it and is ready, as `csr-warden run` would be",
            "with the rights of its ServiceAccount in deploy/base",
        ]);
        let mut choices = SeededRng::new(args.seed);
        let kubelets = self.kubelets(args, &mut choices).await?;
        let strikes = self.strikes(args, &mut choices).await?;
        screen.event(&[&tally::cast(args.nodes, args.attackers)]);
        let _ = come.send(kubelets);

        let mut tally = Tally::new(args.nodes.into(), args.attackers.into());
        self.follow(&mut tally, told, strikes).await?;
        tally.correct(approved_forgeries(&self.client).await?);
        screen.line(&tally.summary(screen));
        good.set(Some(tally.is_good()));
        if args.keep {
            let kubeconfig = self
                .server
                .kubeconfig("kubernetes-admin", &["system:masters"])?;
            let file = KubeconfigFile::create("demo", &kubeconfig)?;
            let metrics = self.metrics.to_string();
            let program = std::env::current_exe().context("cannot find this program's own path")?;
            screen.line(&keep::invitation(file.path(), &program, &metrics));
            // The end of the demo drops this future, and the file with it.
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Creates the kubelets one after the other, each with its own client certificate.
    async fn kubelets(&self, args: &DemoArgs, choices: &mut SeededRng) -> Result<Kubelets> {
        let nodes = usize::from(args.nodes);
        let mut kubelets = Vec::with_capacity(nodes);
        for index in 1..=nodes {
            let name = fleet::name(index);
            let kubelet = Kubelet {
                config: config(
                    self.server,
                    &format!("system:node:{name}"),
                    &["system:nodes"],
                )
                .await?,
                ips: vec![fleet::address(index)],
                labels: Vec::new(),
                name,
            };
            kubelets.push((arrival(index, nodes, choices), kubelet));
        }
        Ok(kubelets)
    }

    async fn strikes(&self, args: &DemoArgs, choices: &mut SeededRng) -> Result<Strikes> {
        let surroundings = self.surroundings(args.nodes.into()).await?;
        let attackers = usize::from(args.attackers);
        let tricks = ForgeryKind::some(attackers, choices);
        let mut strikes = JoinSet::new();
        for (index, kind) in (1..).zip(tricks) {
            let node = format!("{ROGUE}{index}");
            let user = format!("system:node:{node}");
            let config = config(self.server, &user, &["system:nodes"]).await?;
            let own = rogue_address(index);
            let forgery = Forgery::new(kind, (node, own), &surroundings, choices);
            let delay = arrival(index, attackers, choices);
            let admin = self.client.clone();
            strikes.spawn(async move {
                sleep(delay).await;
                attacker::wait_for_victim_approval(&admin, &forgery).await?;
                attacker::wait_for_victim(&admin, &forgery).await?;
                let fate = attacker::attack(&Client::try_from(config)?, &forgery).await?;
                Ok((forgery, fate))
            });
        }
        Ok(strikes)
    }

    async fn surroundings(&self, nodes: usize) -> Result<Targets> {
        let (namespace, name) = KUBERNETES_SERVICE;
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let spec = services.get(name).await?.spec.unwrap_or_default();
        let service = spec.cluster_ip.unwrap_or_default();
        Ok(Targets {
            service: service
                .parse()
                .context("the address of the Service kubernetes")?,
            api_server: Ipv4Addr::LOCALHOST.into(),
            // The first nodes to arrive, so that attackers do not wait long for a victim.
            victims: (1..=nodes.min(VICTIMS))
                .map(|index| (fleet::name(index), fleet::address(index)))
                .collect(),
        })
    }

    /// Records and prints events until every outcome is known, or the time limit is reached.
    async fn follow(
        &self,
        tally: &mut Tally,
        mut told: mpsc::UnboundedReceiver<Event>,
        mut strikes: Strikes,
    ) -> Result<()> {
        let screen = self.screen;
        let patience = PATIENCE + PATIENCE_EACH * u32::try_from(tally.nodes()).unwrap_or_default();
        let deadline = Instant::now() + patience;
        let mut redraw = interval(REDRAW);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !tally.is_complete() {
            tokio::select! {
                Some(event) = told.recv() => self.tell(tally, event),
                Some(struck) = strikes.join_next() => {
                    let (forgery, fate) = struck.context("an attacker has stopped")??;
                    let says = format!("{} {}, {}", forgery.node, forgery.description(), forgery.purpose());
                    let mut parts = vec![says];
                    parts.extend(tally::told(&fate));
                    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                    tally.struck(fate);
                    screen.event(&parts);
                }
                _ = redraw.tick() => screen.draw(tally.status(screen)),
                () = sleep_until(deadline) => break,
            }
        }
        screen.draw(Vec::new());
        Ok(())
    }

    fn tell(&self, tally: &mut Tally, event: Event) {
        match event {
            Event::Served { node, served } => {
                let Some(count) = tally.served(&node, served.after) else {
                    return;
                };
                if self.screen.is_terminal() {
                    return;
                }
                let nodes = tally.nodes();
                let after = shown(served.after);
                if nodes <= MOST_LINES {
                    self.screen.event(&[&format!("{node} served in {after}")]);
                } else if count.is_multiple_of(nodes.div_ceil(10)) || count == nodes {
                    self.screen
                        .event(&[&format!("{count} of {nodes} kubelets served")]);
                }
            }
            Event::Unserved { node, why } => {
                self.screen.event(&[&format!("{node} tries again: {why}")]);
            }
        }
    }
}

/// Starts the daemon of `run`, with the default policy and leader election.
async fn start_daemon(connection: Connection) -> Result<Daemon> {
    let (policy, policy_file) = policy::load(None)?;
    Daemon::start(Plan {
        setup: Setup {
            kubelet_authorities: connection.config.root_cert.clone().unwrap_or_default(),
            policy: policy_file,
            #[cfg(test)]
            policies: None,
            inventory: None,
            machines: connection.watches.clone(),
        },
        connection,
        policy,
        enforcement: None,
        lease: Some(("kube-system".into(), "csr-warden".into())),
        serving: Some(ServingArgs::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))),
        decision_log: None,
        concurrency: WRITES_AT_ONCE.into(),
        limits: RequestorLimits::default(),
        random: Random::from_os(),
        #[cfg(test)]
        auditor: None,
    })
    .await
}

async fn config(server: &Server, user: &str, groups: &[&str]) -> Result<Config> {
    let kubeconfig = server.kubeconfig(user, groups)?;
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    // kube takes the proxy of the environment for a server in this process too.
    config.proxy_url = None;
    Ok(config)
}

/// Arrival time of number `index` of `count`, from the start. Arrivals are in order, at slightly
/// random intervals.
fn arrival(index: usize, count: usize, choices: &mut SeededRng) -> Duration {
    let count = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let before = f64::from(u32::try_from(index.saturating_sub(1)).unwrap_or(u32::MAX));
    let span = (BETWEEN * count).min(LONGEST_ARRIVAL);
    span.mul_f64((before + choices.share()) / f64::from(count))
}

/// Address of the attacker with this index, from 10.66.0.1 on.
fn rogue_address(index: usize) -> IpAddr {
    let first = Ipv4Addr::new(10, 66, 0, 0).to_bits();
    let index = u32::try_from(index).unwrap_or_default();
    Ipv4Addr::from_bits(first.wrapping_add(index)).into()
}

/// Counts approved forgeries on the API server, whose state is authoritative.
async fn approved_forgeries(client: &Client) -> Result<usize> {
    let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
    let all = requests.list(&ListParams::default()).await?.items;
    let is_approved_forgery = |request: &&CertificateSigningRequest| {
        let by = request.spec.username.as_deref().unwrap_or_default();
        let node = by.strip_prefix("system:node:").unwrap_or_default();
        node.starts_with(ROGUE) && outcome(request, Duration::ZERO) == Some(AttackOutcome::Approved)
    };
    Ok(all.iter().filter(is_approved_forgery).count())
}

/// Sends the daemon's warnings to the same screen as all other output.
fn start_logging(screen: &Screen) -> Result<()> {
    let screen = screen.clone();
    tracing_subscriber::fmt()
        .with_writer(move || screen.clone())
        .with_target(false)
        .with_ansi(false)
        .log_internal_errors(false)
        .finish()
        .with(messages(LevelFilter::WARN))
        .try_init()
        .map_err(|error| anyhow!("cannot log: {error}"))
}
