//! The daemon's event loop: applies inputs to the state, performs its effects, and runs the writes.

mod apiserver_certificates;
mod denial_budget;
mod effect;
mod input;
mod judged;
mod lookups;
mod open_requests;
mod packed_request;
mod perform;
mod protected_objects;
mod queue;
mod reload;
mod request_memory;
mod state;
#[cfg(test)]
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]
mod tests;
mod timeline;
mod unissued;
mod wait_events;
mod waiting;
mod wake_budget;
mod watches;
mod write_limit;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::cluster::approval::Outcome;
use crate::cluster::clock::Clock;
use crate::cluster::connection::Connection;
use crate::cluster::events::EventRecorder;
use crate::cluster::leadership::Leadership;
use crate::cluster::random::Random;
use crate::telemetry::decision_log::DecisionLog;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use effect::Effect;
use input::{InForce, Input};
use judge::csr::Uid;
use judge::evidence::{Fact, Source};
use judge::policy::{Enforcement, Policy};
use lookups::Lookups;
pub use reload::{InventoryFile, Setup};
use state::State;
#[cfg(test)]
pub(crate) use state::audit;
use wait_events::WaitEvents;
use writer::{Writer, Writes};

/// Limit of requests judged in a row before the loop handles other events.
const JUDGED_AT_ONCE: usize = 64;
/// Limit of the time for which it judges in a row.
const JUDGING_TIME: Duration = Duration::from_millis(20);
/// Default limit of concurrent writes. More drain a backlog hardly faster, and every other client of
/// the API server pays for it (docs/performance.md). Each takes a connection, about 44 KiB here.
pub const WRITES_AT_ONCE: u16 = 8;
/// Default interval between two denials of one requestor.
pub const DENIAL_INTERVAL: Duration = Duration::from_secs(5);
/// Default limit of a requestor's approved requests that wait for the signer. An honest kubelet has one.
pub const UNISSUED: usize = 8;

/// Limits of what one requestor can cost others.
#[derive(Clone, Copy, Debug)]
pub struct RequestorLimits {
    /// Interval between two denials.
    pub denial_interval: Duration,
    /// Number of approved requests that wait for the signer.
    pub unissued: usize,
}

impl Default for RequestorLimits {
    fn default() -> RequestorLimits {
        RequestorLimits {
            denial_interval: DENIAL_INTERVAL,
            unissued: UNISSUED,
        }
    }
}
/// Grace period of running writes after the signal to stop.
const LAST_WRITES: Duration = Duration::from_millis(2500);

/// Settings of the loop.
pub struct Settings {
    /// The policy at startup.
    pub policy: Arc<Policy>,
    /// Override of the policy's enforcement.
    pub enforcement: Option<Enforcement>,
    /// The policy's file and the sources that no kubelet can write.
    pub setup: Setup,
    /// Limit of concurrent writes.
    pub concurrency: usize,
    /// Interval between two denials of one requestor.
    pub limits: RequestorLimits,
    /// Audit log of decisions; `None` if the caller reports them itself.
    pub decision_log: Option<DecisionLog>,
    /// Leadership, checked before each write.
    pub leadership: Leadership,
    /// Changes of leadership.
    pub leading: watch::Receiver<bool>,
    /// Receiver of the need for the Lease: false in a dry run, which writes nothing.
    pub lease_needed: watch::Sender<bool>,
    /// The clock.
    pub clock: Clock,
    /// Randomness for jitter.
    pub random: Random,
    /// Receiver of audits of the state.
    #[cfg(test)]
    pub(crate) auditor: Option<audit::Auditor>,
}

/// The event loop.
pub struct Controller {
    state: State,
    inputs: mpsc::Receiver<Input>,
    lookups: Lookups,
    /// Requests a fresh list of all requests.
    relist: Arc<Notify>,
    /// Publisher of the policy in force.
    policy: watch::Sender<InForce>,
    writer: Writer,
    writes: Writes,
    decision_log: Option<DecisionLog>,
    leadership: Leadership,
    leading: watch::Receiver<bool>,
    lease_needed: watch::Sender<bool>,
    clock: Clock,
    events: EventRecorder,
    wait_events: WaitEvents,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// Kind of the last failure of a write; `None` after a success.
    failing: Option<&'static str>,
    /// Time of the last log line on an object that cannot be decoded.
    undecodable_logged: Option<Instant>,
    #[cfg(test)]
    auditor: Option<audit::Auditor>,
}

impl Controller {
    /// Starts the watches. Nothing is written before [`Controller::run`].
    pub fn new(
        settings: Settings,
        connection: &Connection,
        events: EventRecorder,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> Controller {
        let Settings {
            policy,
            enforcement,
            setup,
            concurrency,
            limits,
            decision_log,
            leadership,
            leading,
            lease_needed,
            clock,
            random,
            #[cfg(test)]
            auditor,
        } = settings;
        let now = clock.now();
        let mut state = State::new(policy, enforcement, limits, random.clone(), now);
        // Before anything is judged: a source that is set up is heard from the beginning.
        if let Some(file) = &setup.inventory {
            let inventory = Fact::Inventory(Box::new(file.inventory.clone()));
            for fact in [inventory, Fact::Synced(Source::Inventory)] {
                state.apply(Input::Fact(fact), now);
            }
        }
        let (policy, in_force) = watch::channel(state.in_force());
        let relist = Arc::new(Notify::new());
        let (inputs, lookups) =
            watches::start(connection, setup, in_force, relist.clone(), &clock, &random);
        Controller {
            state,
            inputs,
            lookups,
            relist,
            policy,
            writer: Writer::new(connection.writes.clone(), leadership.clone()),
            writes: Writes::new(concurrency),
            decision_log,
            leadership,
            leading,
            lease_needed,
            clock,
            events,
            wait_events: WaitEvents::default(),
            metrics,
            health,
            failing: None,
            undecodable_logged: None,
            #[cfg(test)]
            auditor,
        }
    }

    /// Runs until the signal to stop, then waits for running writes. Returns false if one of them has
    /// not ended: it may still arrive.
    pub async fn run(&mut self, mut stop: watch::Receiver<bool>) -> bool {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.publish_lease_need();
            let more = self.judge_next();
            self.events.set_busy(!self.writes.has_room());
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some((uid, outcome)) = self.writes.next() => self.write_ended(&uid, outcome),
                // Before what happens: however much that is, time goes on.
                _ = ticks.tick() => self.tick(),
                // Without leader election this channel stays silent.
                Ok(()) = self.leading.changed() => {}
                Some(input) = self.inputs.recv() => {
                    let effects = self.state.apply(input, self.clock.now());
                    self.perform(effects);
                }
                // While the log has no room nothing is judged. This ends the pause.
                () = log_has_room(self.decision_log.as_ref()), if !self.can_log() => {}
                () = yield_now(), if more => {}
            }
        }
        let last = async {
            while let Some((uid, outcome)) = self.writes.next().await {
                self.write_ended(&uid, outcome);
            }
        };
        let ended = timeout(LAST_WRITES, last).await.is_ok();
        if !ended {
            tracing::warn!("stopping although the API server has not answered a write");
        }
        ended
    }

    /// Judges requests while another write may start. Returns true if more could be judged at once.
    fn judge_next(&mut self) -> bool {
        let started = Instant::now();
        for _ in 0..JUDGED_AT_ONCE {
            if started.elapsed() >= JUDGING_TIME {
                break;
            }
            if !self.writes.has_room() || !self.may_judge() || !self.can_log() {
                return false;
            }
            let begun = self.clock.now();
            let Some(effects) = self.state.next(begun) else {
                return false;
            };
            self.metrics.observe_judgment(begun.instant.elapsed());
            self.perform(effects);
        }
        self.state.has_next(self.clock.now())
    }

    /// Returns true if this replica judges: it leads, or it writes nothing.
    fn may_judge(&self) -> bool {
        self.state.enforcement() == Enforcement::DryRun || self.leadership.may_write()
    }

    /// Publishes that the Lease is needed: for everything but a dry run, and until the last write has ended
    /// that was decided before it.
    fn publish_lease_need(&self) {
        let is_dry_run = self.state.enforcement() == Enforcement::DryRun;
        let needed = !is_dry_run || !self.writes.is_empty();
        self.lease_needed
            .send_if_modified(|before| std::mem::replace(before, needed) != needed);
    }

    /// Returns true if the decision log has room for a decision that is written.
    pub(super) fn can_log(&self) -> bool {
        let log = self.decision_log.as_ref();
        log.is_none_or(|log| log.queue().has_room())
    }

    fn write_ended(&mut self, uid: &Uid, outcome: Outcome) {
        let effects = self.state.written(uid, outcome, self.clock.now());
        self.perform(effects);
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        let effects = self.state.tick(now);
        self.perform(effects);
        if !self.may_judge() {
            self.state.forget_stale(now);
        }
        self.report_waits(now.instant);
        self.refresh();
        #[cfg(test)]
        self.audit(now);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.perform_one(effect);
        }
    }
}

async fn log_has_room(log: Option<&DecisionLog>) {
    if let Some(log) = log {
        log.queue().room().await;
    }
}
