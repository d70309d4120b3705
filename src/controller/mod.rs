//! The daemon's one loop: inputs go to the state, its effects are performed, writes run beside it.

mod apiserver_certificates;
mod effect;
mod input;
mod judged;
mod lookups;
mod open_requests;
mod packed;
mod perform;
mod protected_objects;
mod queue;
mod reload;
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
mod waiting;
mod watches;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinError, JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::cluster::approval::Outcome;
use crate::cluster::clock::Clock;
use crate::cluster::connection::Connection;
use crate::cluster::events::Events;
use crate::cluster::lease::Leadership;
use crate::cluster::random::Random;
use crate::telemetry::audit;
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
use writer::Writer;

/// Requests that are judged in a row before the loop looks at what has happened meanwhile.
const JUDGED_AT_ONCE: usize = 64;
/// Conditions that are written at the same time, unless an administrator says otherwise. The more, the
/// more of them etcd takes in one batch: 128 are 6 % faster than 32. Each is a connection, which takes
/// about 44 KiB here, and one of the 245 seats that the API server has for most ServiceAccounts
/// (`pkg/apis/flowcontrol/bootstrap` of apiserver).
pub const WRITES_AT_ONCE: u16 = 128;
/// How long writes may go on after the daemon was told to stop.
const LAST_WRITES: Duration = Duration::from_millis(2500);

/// What the loop needs.
pub struct Settings {
    /// The policy that it begins with.
    pub policy: Arc<Policy>,
    /// What is written, if the administrator says otherwise than the policy.
    pub enforcement: Option<Enforcement>,
    /// The policy's file and the sources that no kubelet can write.
    pub setup: Setup,
    /// Writes at the same time.
    pub concurrency: usize,
    /// How decisions are logged; `None` if something else tells of them.
    pub format: Option<audit::Format>,
    /// Whether a write may start.
    pub leadership: Leadership,
    /// Changes of leadership.
    pub leading: watch::Receiver<bool>,
    /// What time it is.
    pub clock: Clock,
    /// What spreads out pauses.
    pub random: Random,
}

/// The loop.
pub struct Controller {
    state: State,
    inputs: mpsc::Receiver<Input>,
    lookups: Lookups,
    /// The policy in force, for those that follow it.
    policy: watch::Sender<InForce>,
    writer: Writer,
    writes: JoinSet<(Uid, Outcome)>,
    /// The requests whose writes run, by the task of the write.
    writing: HashMap<task::Id, Uid>,
    concurrency: usize,
    format: Option<audit::Format>,
    leadership: Leadership,
    leading: watch::Receiver<bool>,
    clock: Clock,
    events: Events,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// How writes failed last, until one does not.
    failing: Option<&'static str>,
}

impl Controller {
    /// Starts the watches. Nothing is written before [`Controller::run`].
    pub fn new(
        settings: Settings,
        connection: &Connection,
        events: Events,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> Controller {
        let Settings {
            policy,
            enforcement,
            setup,
            concurrency,
            format,
            leadership,
            leading,
            clock,
            random,
        } = settings;
        let now = clock.now();
        let mut state = State::new(policy, enforcement, random.clone(), now);
        // Before anything is judged: a source that is set up is heard from the beginning.
        if let Some(file) = &setup.inventory {
            let inventory = Fact::Inventory(Box::new(file.inventory.clone()));
            for fact in [inventory, Fact::Synced(Source::Inventory)] {
                state.apply(Input::Fact(fact), now);
            }
        }
        let (policy, in_force) = watch::channel(state.in_force());
        let (inputs, lookups) = watches::start(connection, setup, in_force, &clock, &random);
        Controller {
            state,
            inputs,
            lookups,
            policy,
            writer: Writer::new(connection.writes.clone(), leadership.clone()),
            writes: JoinSet::new(),
            writing: HashMap::new(),
            concurrency,
            format,
            leadership,
            leading,
            clock,
            events,
            metrics,
            health,
            failing: None,
        }
    }

    /// Goes round until told to stop, and then until the last write has ended. Returns whether it
    /// has: one that has not may still arrive.
    pub async fn run(&mut self, mut stop: watch::Receiver<bool>) -> bool {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let more = self.judge_next();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(ended) = self.writes.join_next_with_id() => self.write_ended(ended),
                // Before what happens: however much that is, time goes on.
                _ = ticks.tick() => self.tick(),
                // Without an election nobody sends, and that is no news.
                Ok(()) = self.leading.changed() => {}
                Some(input) = self.inputs.recv() => {
                    let effects = self.state.apply(input, self.clock.now());
                    self.perform(effects);
                }
                () = yield_now(), if more => {}
            }
        }
        let last = async {
            while let Some(ended) = self.writes.join_next_with_id().await {
                self.write_ended(ended);
            }
        };
        let ended = timeout(LAST_WRITES, last).await.is_ok();
        if !ended {
            tracing::warn!("stopping although the API server has not answered a write");
        }
        ended
    }

    /// Judges requests while there are free hands to write. Returns whether more could be judged at
    /// once.
    fn judge_next(&mut self) -> bool {
        for _ in 0..JUDGED_AT_ONCE {
            let idle = self.writes.len() < self.concurrency;
            if !idle || !self.leadership.may_write() {
                return false;
            }
            let begun = self.clock.now();
            let Some(effects) = self.state.next(begun) else {
                return false;
            };
            self.metrics.judge_took(begun.monotonic.elapsed());
            self.perform(effects);
        }
        self.state.has_next(self.clock.now())
    }

    fn write_ended(&mut self, ended: Result<(task::Id, (Uid, Outcome)), JoinError>) {
        let (uid, outcome) = match ended {
            Ok((id, ended)) => {
                self.writing.remove(&id);
                ended
            }
            // A panic, which is a fault of ours: the request must not count as being written for good.
            Err(error) => {
                let Some(uid) = self.writing.remove(&error.id()) else {
                    return;
                };
                let why = format!("the write ended without an outcome: {error}");
                (uid, Outcome::Failed { why, after: None })
            }
        };
        let effects = self.state.written(&uid, outcome, self.clock.now());
        self.perform(effects);
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        self.state.tick(now);
        if !self.leadership.may_write() {
            self.state.forget_stale(now);
        }
        self.show();
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.perform_one(effect);
        }
    }
}
