//! Assembly of the daemon, shared by all commands that run it.

#[cfg(feature = "lab")]
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use kube::api::Api;
use tokio::sync::watch;

use super::serving_args::ServingArgs;
use crate::cluster::connection::Connection;
use crate::cluster::events::EventRecorder;
use crate::cluster::lease::{Candidate, Leadership};
use crate::cluster::random::Random;
use crate::cluster::time_keeper::keep_time;
use crate::controller::{Controller, RequestorLimits, Settings, Setup};
use crate::telemetry::decision_log::{self, DecisionLog};
use crate::telemetry::health::Health;
use crate::telemetry::http_server::Server;
use crate::telemetry::log_queue::LogQueue;
use crate::telemetry::metrics::Metrics;
use judge::policy::{Enforcement, Policy};

/// Configuration of a daemon.
pub(super) struct Plan {
    /// Connection to the cluster.
    pub(super) connection: Connection,
    /// Policy at startup.
    pub(super) policy: Policy,
    /// Enforcement that overrides the policy's.
    pub(super) enforcement: Option<Enforcement>,
    /// Policy file, and sources besides the cluster.
    pub(super) setup: Setup,
    /// Namespace and name of the Lease; `None` to write without leader election.
    pub(super) lease: Option<(String, String)>,
    /// Flags of the HTTP server.
    pub(super) serving: ServingArgs,
    /// Format of the decision log, and the queue of its lines; `None` to disable it.
    pub(super) decision_log: Option<(decision_log::Format, LogQueue)>,
    /// Maximum number of concurrent writes.
    pub(super) concurrency: usize,
    /// Limits of what one requestor can cost others.
    pub(super) limits: RequestorLimits,
}

/// Daemon whose watches have started. It does not write before [`Daemon::run`].
pub(super) struct Daemon {
    controller: Controller,
    candidate: Option<Candidate>,
    server: Server,
    #[cfg(feature = "lab")]
    health: Arc<Health>,
}

impl Daemon {
    /// Binds the HTTP port and starts the watches.
    pub(super) async fn start(plan: Plan) -> Result<Daemon> {
        let (clock, random) = (plan.connection.clock.clone(), Random::from_os());
        let policy = Arc::new(plan.policy);
        let health = Arc::new(Health::new());
        let metrics = Arc::new(Metrics::new(&policy, clock.time_of_day()));
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

        // Before anything is dated.
        plan.connection.ask_time().await;
        let compared = clock.clone();
        metrics.register_clock_offset(move || compared.offset());

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
        let decision_log = plan.decision_log.map(|(format, queue)| {
            metrics.register_lost_lines(queue.lost());
            DecisionLog::new(format, identity.clone(), queue, clock.clone())
        });
        let settings = Settings {
            policy,
            enforcement: plan.enforcement,
            setup: plan.setup,
            concurrency: plan.concurrency,
            limits: plan.limits,
            decision_log,
            leadership,
            leading: leading_seen,
            clock: clock.clone(),
            random,
        };
        let events = EventRecorder::start(plan.connection.writes.clone(), identity, clock);
        let connection = &plan.connection;
        let shown = health.clone();
        tokio::spawn(keep_time(connection.clone(), move |remark| {
            shown.record_clock(remark);
        }));
        Ok(Daemon {
            controller: Controller::new(settings, connection, events, metrics, health.clone()),
            candidate,
            server,
            #[cfg(feature = "lab")]
            health,
        })
    }

    /// Address of `/metrics`, `/livez` and `/readyz`.
    #[cfg(feature = "lab")]
    pub(super) fn address(&self) -> Result<SocketAddr> {
        Ok(self.server.address()?)
    }

    /// Shared health state, to query readiness while the daemon runs.
    #[cfg(feature = "lab")]
    pub(super) fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    /// Runs until `stopped` is signaled and the last write has ended.
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
                    // Only after the last write, since the next leader starts at once.
                    if ended {
                        candidate.release().await;
                    }
                }
            }
        };
        let http_ends = http.abort_handle();
        let done = tokio::select! {
            () = work => Ok(()),
            ended = http => ended.context("the HTTP server has stopped"),
        };
        http_ends.abort();
        done
    }
}

/// Identity of this replica: the Pod's name, so that people can find it, and a random suffix.
fn identity(random: &Random) -> String {
    let host = std::env::var("HOSTNAME")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .unwrap_or_default();
    format!("{}_{:016x}", host.trim(), random.number())
}
