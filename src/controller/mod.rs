//! The daemon's one loop: what happens goes in, turns come out, writes run beside it.

mod apiserver_certificates;
mod input;
mod judged;
mod lookups;
mod open_requests;
mod packed;
mod protected_objects;
mod queue;
mod reload;
mod state;
mod taking;
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
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinError, JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::cluster::approval::Outcome;
use crate::cluster::connection::Connection;
use crate::cluster::events::Events;
use crate::cluster::lease::Leadership;
use crate::telemetry::audit;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use input::{InForce, Input};
use judge::evidence::{Fact, Source};
use judge::policy::{Enforcement, Policy};
use judged::{Now, Turn, Write};
use lookups::Asker;
pub use reload::{InventoryFile, Setup};
use state::Reconciler;
use writer::{Ended, Writer};

/// Turns that are taken in a row before the loop looks at what has happened meanwhile.
const TURNS_AT_ONCE: usize = 64;
/// How long nobody is judged because a source has not been heard of yet. Requests are read and judged
/// once that way, and not told to wait in the first moment; a source that fails holds up no longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Conditions that are written at the same time, unless an administrator says otherwise. The more, the
/// more of them etcd takes in one batch: 128 are 6 % faster than 32. Each is a connection, which takes
/// about 44 KiB here, and one of the 245 seats that the API server has for most ServiceAccounts
/// (`pkg/apis/flowcontrol/bootstrap` of apiserver).
pub const WRITES_AT_ONCE: u16 = 128;
/// How long writes may go on after the daemon was told to stop.
const LAST_WRITES: Duration = Duration::from_millis(2500);

/// What the loop needs.
pub struct Settings {
    /// The policy.
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
}

/// The loop.
pub struct Controller {
    settings: Settings,
    reconciler: Reconciler,
    inputs: mpsc::Receiver<Input>,
    asker: Asker,
    /// The policy in force, for those that follow it.
    policy: watch::Sender<InForce>,
    writer: Writer,
    writes: JoinSet<Ended>,
    /// The turns whose writes run, by the task of the write.
    writing: HashMap<task::Id, Turn>,
    events: Events,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// When it was set up; `None` once turns are taken.
    begun: Option<Instant>,
    /// How writes failed last, until one does not.
    failing: Option<&'static str>,
}

impl Settings {
    /// What is written.
    fn enforcement(&self) -> Enforcement {
        self.enforcement.unwrap_or(self.policy.spec.enforcement)
    }
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
        let enforcement = settings.enforcement();
        let (policy, in_force) = watch::channel(InForce {
            policy: settings.policy.clone(),
            generation: 0,
        });
        let mut reconciler = Reconciler::new(settings.policy.clone(), enforcement);
        if let Some(file) = &settings.setup.inventory {
            let now = Now::read();
            reconciler.apply_fact(Fact::Inventory(Box::new(file.inventory.clone())), now);
            reconciler.apply_fact(Fact::Synced(Source::Inventory), now);
        }
        let (inputs, asker) = watches::start(connection, settings.setup.clone(), in_force);
        Controller {
            reconciler,
            inputs,
            asker,
            policy,
            writer: Writer::new(connection.writes.clone(), settings.leadership.clone()),
            writes: JoinSet::new(),
            writing: HashMap::new(),
            settings,
            events,
            metrics,
            health,
            begun: Some(Instant::now()),
            failing: None,
        }
    }

    /// Goes round until told to stop, and then until the last write has ended. Returns whether it
    /// has: one that has not may still arrive.
    pub async fn run(&mut self, mut stop: watch::Receiver<bool>) -> bool {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let more = self.take_turns();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(ended) = self.writes.join_next_with_id() => self.write_ended(ended),
                // Before what happens: however much that is, time goes on.
                _ = ticks.tick() => self.tick(),
                // Without an election nobody sends, and that is no news.
                Ok(()) = self.settings.leading.changed() => {}
                Some(input) = self.inputs.recv() => self.take(input),
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

    /// Takes turns while there are free hands. Returns whether more could be taken at once.
    fn take_turns(&mut self) -> bool {
        if self.begun.is_some() {
            return false;
        }
        for _ in 0..TURNS_AT_ONCE {
            let idle = self.writes.len() < self.settings.concurrency;
            if !idle || !self.settings.leadership.may_write() {
                return false;
            }
            let begun = Instant::now();
            let Some(turn) = self.reconciler.take_turn(Now::read()) else {
                return false;
            };
            self.metrics.judge_took(begun.elapsed());
            self.tell(&turn);
            for question in turn.questions() {
                self.asker.ask(question.clone(), &self.settings.policy);
            }
            if let Some(write) = turn.write.clone() {
                let (writer, object) = (self.writer.clone(), turn.object.clone());
                let task = self
                    .writes
                    .spawn(async move { writer.write(&object, &write).await });
                self.writing.insert(task.id(), turn);
            }
        }
        self.reconciler.has_turns(Now::read())
    }

    fn tell(&self, turn: &Turn) {
        if !turn.is_news {
            return;
        }
        self.metrics.judged(&turn.judgement);
        let Settings { policy, format, .. } = &self.settings;
        let Some(format) = *format else { return };
        let now = Now::read().wall;
        if audit::log(
            format,
            now,
            &turn.object,
            &turn.judgement,
            policy,
            self.settings.enforcement(),
        )
        .is_err()
        {
            self.metrics.line_lost();
        }
    }

    fn write_ended(&mut self, ended: Result<(task::Id, Ended), JoinError>) {
        let (id, Ended { outcome, fresh }) = ended.unwrap_or_else(|error| {
            // A panic, which is a fault of ours: the request must not count as being written for good.
            let why = format!("the write ended without an outcome: {error}");
            (error.id(), Outcome::Failed { why, after: None }.into())
        });
        let Some(turn) = self.writing.remove(&id) else {
            return;
        };
        let now = Now::read();
        let request = turn.object.name.as_str();
        let after = now.monotonic.duration_since(turn.seen);
        let done = outcome == Outcome::Written;
        self.metrics.wrote(outcome.as_str(), done.then_some(after));
        self.tell_failure(request, &outcome);
        match &outcome {
            Outcome::Written => {
                self.health.note_forbidden(None);
                if let Some(Write::Deny(denial)) = &turn.write {
                    let node = turn.object.requestor.node();
                    self.events.denied(denial, node.as_ref());
                }
            }
            Outcome::Forbidden(why) => self.health.note_forbidden(Some(why.clone())),
            Outcome::Failed { .. } | Outcome::Changed | Outcome::Gone(_) | Outcome::NotLeading => {}
        }
        self.reconciler.written(&turn, &outcome, fresh, now);
    }

    /// Warns once of each way to fail: thousands of requests can fail in the same one.
    fn tell_failure(&mut self, request: &str, outcome: &Outcome) {
        let kind = outcome.as_str();
        let Some(why) = outcome.why() else {
            if *outcome == Outcome::Written {
                self.failing = None;
            }
            return;
        };
        if matches!(outcome, Outcome::Gone(_)) {
            tracing::info!(request, "the request is gone: {why}");
        } else if self.failing.replace(kind) == Some(kind) {
            tracing::debug!(request, "cannot write a condition: {why}");
        } else {
            tracing::warn!(request, "cannot write a condition: {why}");
        }
    }

    fn tick(&mut self) {
        let now = Now::read();
        self.reconciler.tick(now);
        if !self.settings.leadership.may_write() {
            self.reconciler.forget_stale(now);
        }
        self.show();
    }

    fn show(&mut self) {
        let now = Now::read();
        let evidence = self.reconciler.evidence();
        let unready = judge::unready(evidence, now.steady);
        let patience_ends = |begun: Instant| now.monotonic.duration_since(begun) >= PATIENCE;
        if unready.is_empty() || self.begun.is_some_and(patience_ends) {
            self.begun = None;
        }
        let unready = unready
            .into_iter()
            .map(|(source, why)| (source.as_str().to_owned(), why));
        self.health.note(unready.collect());
        self.metrics.show_sources(evidence, now.steady);
        let oldest = self.reconciler.book().oldest();
        let age =
            oldest.and_then(|oldest| Duration::try_from(now.wall.duration_since(oldest)).ok());
        let waiting = self.reconciler.waiting();
        self.metrics.show_pending(waiting, age.unwrap_or_default());
        let (unissued, issued, dropped) = self.reconciler.counts();
        self.metrics.show_counts(unissued, issued, dropped);
    }
}
