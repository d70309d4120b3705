//! Assembly of the daemon, shared by all commands that run it.

#[cfg(feature = "lab")]
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use kube::api::Api;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::serving_args::ServingArgs;
use crate::cluster::connection::Connection;
use crate::cluster::events::EventRecorder;
use crate::cluster::leadership::Leadership;
use crate::cluster::lease::{Candidate, Election};
use crate::cluster::random::Random;
use crate::cluster::time_keeper::keep_time;
use crate::controller::{Controller, RequestorLimits, Settings, Setup};
use crate::telemetry::decision_log::{self, DecisionLog};
use crate::telemetry::health::Health;
use crate::telemetry::http_server::Server;
use crate::telemetry::log_queue::LogQueue;
use crate::telemetry::metrics::Metrics;
use crate::version::{COMMIT, VERSION};
use judge::policy::{Enforcement, Policy};

/// Configuration of a daemon.
pub(crate) struct Plan {
    /// Connection to the cluster.
    pub(crate) connection: Connection,
    /// Policy at startup.
    pub(crate) policy: Policy,
    /// Enforcement that overrides the policy's.
    pub(crate) enforcement: Option<Enforcement>,
    /// Policy file, and sources besides the cluster.
    pub(crate) setup: Setup,
    /// Namespace and name of the Lease; `None` to write without leader election.
    pub(crate) lease: Option<(String, String)>,
    /// Flags of the HTTP server; `None` for no server.
    pub(crate) serving: Option<ServingArgs>,
    /// Format of the decision log, and the queue of its lines; `None` to disable it.
    pub(crate) decision_log: Option<(decision_log::Format, LogQueue)>,
    /// Maximum number of concurrent writes.
    pub(crate) concurrency: usize,
    /// Limits of what one requestor can cost others.
    pub(crate) limits: RequestorLimits,
    /// Randomness for jitter and for the identity.
    pub(crate) random: Random,
    /// Receiver of audits of the state.
    #[cfg(test)]
    pub(crate) auditor: Option<crate::controller::audit::Auditor>,
}

/// Daemon whose watches have started. It does not write before [`Daemon::run`].
pub(crate) struct Daemon {
    controller: Controller,
    candidate: Option<Candidate>,
    /// The need for the Lease.
    lease_needed: watch::Receiver<bool>,
    server: Option<Server>,
    /// The task that keeps the API server's time known.
    time_keeper: JoinSet<()>,
    #[cfg(feature = "lab")]
    health: Arc<Health>,
}

impl Daemon {
    /// Binds the HTTP port and starts the watches.
    pub(crate) async fn start(plan: Plan) -> Result<Daemon> {
        let (clock, random) = (plan.connection.clock.clone(), plan.random);
        let policy = Arc::new(plan.policy);
        let health = Arc::new(Health::new());
        let metrics = Arc::new(Metrics::new(&policy, clock.time_of_day()));
        let server = match plan.serving {
            Some(serving) => {
                let connection = &plan.connection;
                Some(
                    serving
                        .bind(connection, health.clone(), metrics.clone())
                        .await?,
                )
            }
            None => None,
        };
        let enforcement = plan.enforcement.unwrap_or(policy.spec.enforcement);
        tracing::info!(
            version = VERSION,
            commit = COMMIT,
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
        let (need_of_lease, lease_needed) = watch::channel(enforcement != Enforcement::DryRun);
        let unready = health.clone();
        let candidate = plan.lease.map(|(namespace, name)| {
            Candidate::new(Election {
                api: Api::namespaced(plan.connection.lease.clone(), &namespace),
                namespace,
                name,
                identity: identity.clone(),
                leadership: leadership.clone(),
                leading,
                report: Box::new(move |why| unready.record_lease(why)),
                clock: clock.clone(),
                random: random.clone(),
            })
        });
        let (leads, needed) = (leadership.clone(), lease_needed.clone());
        // Without a series in a dry run: that no replica leads is no alert then.
        metrics.register_leader(move || (*needed.borrow()).then(|| leads.may_write()));
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
            lease_needed: need_of_lease,
            clock: clock.clone(),
            random: random.clone(),
            #[cfg(test)]
            auditor: plan.auditor,
        };
        let writes = plan.connection.writes.clone();
        let events = EventRecorder::start(writes, identity, clock, &random);
        let connection = &plan.connection;
        let shown = health.clone();
        let mut time_keeper = JoinSet::new();
        time_keeper.spawn(keep_time(connection.clone(), move |remark| {
            shown.record_clock(remark);
        }));
        Ok(Daemon {
            controller: Controller::new(settings, connection, events, metrics, health.clone()),
            candidate,
            lease_needed,
            server,
            time_keeper,
            #[cfg(feature = "lab")]
            health,
        })
    }

    /// Address of `/metrics`, `/livez` and `/readyz`.
    #[cfg(feature = "lab")]
    pub(super) fn address(&self) -> Result<SocketAddr> {
        let server = self.server.as_ref().context("there is no HTTP server")?;
        Ok(server.address()?)
    }

    /// Shared health state, to query readiness while the daemon runs.
    #[cfg(feature = "lab")]
    pub(super) fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    /// Runs until `stopped` is signaled and the last write has ended.
    pub(crate) async fn run(self, stopped: watch::Receiver<bool>) -> Result<()> {
        let Daemon {
            mut controller,
            candidate,
            lease_needed,
            server,
            // Its task ends with this value.
            time_keeper: _time_keeper,
            ..
        } = self;
        let http = tokio::spawn(async {
            match server {
                Some(server) => server.run().await,
                None => std::future::pending().await,
            }
        });
        let work = async {
            match candidate {
                None => {
                    controller.run(stopped).await;
                }
                Some(mut candidate) => {
                    let ended = tokio::select! {
                        biased;
                        ended = controller.run(stopped) => ended,
                        () = candidate.run(lease_needed) => false,
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
            biased;
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
