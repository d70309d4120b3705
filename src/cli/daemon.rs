//! The daemon put together from its parts, the same way for every command that runs it.

#[cfg(feature = "lab")]
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use kube::api::Api;
use tokio::sync::watch;

use super::serving_args::ServingArgs;
use crate::cluster::clock::Clock;
use crate::cluster::connection::Connection;
use crate::cluster::events::EventRecorder;
use crate::cluster::lease::{Candidate, Leadership};
use crate::cluster::random::Random;
use crate::controller::{Controller, Settings, Setup};
use crate::telemetry::decision_log::{self, DecisionLog};
use crate::telemetry::health::Health;
use crate::telemetry::http_server::Server;
use crate::telemetry::metrics::Metrics;
use judge::policy::{Enforcement, Policy};

/// What a daemon is made of.
pub(super) struct Plan {
    /// The cluster.
    pub(super) connection: Connection,
    /// The policy that it begins with.
    pub(super) policy: Policy,
    /// What is written, if somebody says otherwise than the policy.
    pub(super) enforcement: Option<Enforcement>,
    /// The policy's file, and sources besides the cluster.
    pub(super) setup: Setup,
    /// Namespace and name of the Lease; without one it writes unelected.
    pub(super) lease: Option<(String, String)>,
    /// Where and for whom the HTTP server is.
    pub(super) serving: ServingArgs,
    /// How decisions are logged; `None` if something else tells of them.
    pub(super) decision_log: Option<decision_log::Format>,
    /// Writes at the same time.
    pub(super) concurrency: usize,
}

/// A daemon that watches, and writes nothing before [`Daemon::run`].
pub(super) struct Daemon {
    controller: Controller,
    candidate: Option<Candidate>,
    server: Server,
    #[cfg(feature = "lab")]
    health: Arc<Health>,
}

impl Daemon {
    /// Takes the port and starts the watches.
    pub(super) async fn start(plan: Plan) -> Result<Daemon> {
        let (clock, random) = (Clock::of_machine(), Random::from_os());
        let policy = Arc::new(plan.policy);
        let health = Arc::new(Health::new());
        let metrics = Arc::new(Metrics::new(&policy, clock.wall()));
        let server = plan
            .serving
            .bind(&plan.connection, health.clone(), metrics.clone())
            .await?;
        let enforcement = plan.enforcement.unwrap_or(policy.spec.enforcement);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            server = plan.connection.server(),
            policy = policy.metadata.name,
            digest = policy.digest,
            %enforcement,
            "csr-warden starts"
        );

        let identity = identity(&random);
        let (leading, leading_seen) = watch::channel(false);
        let leadership = match plan.lease {
            Some(_) => Leadership::not_held(),
            None => Leadership::without_election(),
        };
        let candidate = plan.lease.map(|(namespace, name)| {
            Candidate::new(
                Api::namespaced(plan.connection.lease.clone(), &namespace),
                &name,
                &identity,
                leadership.clone(),
                leading,
                clock.clone(),
                random.clone(),
            )
        });
        let leads = leadership.clone();
        metrics.register_leader(move || leads.may_write());
        let settings = Settings {
            policy,
            enforcement: plan.enforcement,
            setup: plan.setup,
            concurrency: plan.concurrency,
            decision_log: plan
                .decision_log
                .map(|format| DecisionLog::new(format, identity.clone())),
            leadership,
            leading: leading_seen,
            clock: clock.clone(),
            random,
        };
        let events = EventRecorder::start(plan.connection.writes.clone(), identity, clock);
        let connection = &plan.connection;
        Ok(Daemon {
            controller: Controller::new(settings, connection, events, metrics, health.clone()),
            candidate,
            server,
            #[cfg(feature = "lab")]
            health,
        })
    }

    /// Where `/metrics`, `/livez` and `/readyz` are.
    #[cfg(feature = "lab")]
    pub(super) fn address(&self) -> Result<SocketAddr> {
        Ok(self.server.address()?)
    }

    /// Whether it is ready, for others to ask while it runs.
    #[cfg(feature = "lab")]
    pub(super) fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    /// Works until told to stop, and then until the last write has ended.
    pub(super) async fn run(self, stopped: watch::Receiver<bool>) -> Result<()> {
        let Daemon {
            mut controller,
            candidate,
            server,
            ..
        } = self;
        let http = tokio::spawn(server.run());
        let work = async {
            match candidate {
                None => {
                    controller.run(stopped).await;
                }
                Some(mut candidate) => {
                    let ended = tokio::select! {
                        ended = controller.run(stopped) => ended,
                        () = candidate.run() => false,
                    };
                    // Only when no write is on its way any more may another start at once.
                    if ended {
                        candidate.release().await;
                    }
                }
            }
        };
        let http_ends = http.abort_handle();
        let done = tokio::select! {
            () = work => Ok(()),
            ended = http => ended.context("the HTTP server has stopped")?,
        };
        http_ends.abort();
        Ok(done?)
    }
}

/// The Pod's name, so that people find it, and something that no other process has.
fn identity(random: &Random) -> String {
    let host = std::env::var("HOSTNAME")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .unwrap_or_default();
    format!("{}_{:016x}", host.trim(), random.number())
}
