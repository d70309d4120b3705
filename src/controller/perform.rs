//! Performs effects: log lines, metrics, Events, lookups and writes.

use std::time::Duration;

use tokio::time::Instant;

use super::Controller;
use super::effect::Effect;
use super::input::InForce;
use super::judged::{Judged, Write};
use crate::cluster::approval::Outcome;
use crate::cluster::list::Undecodable;
use crate::telemetry::decision_log::Decision;
use crate::telemetry::log_queue::Importance;
use judge::csr::Uid;
use judge::evidence::Source;
use judge::finding::escaped;
use judge::policy::Enforcement;

/// Minimum interval between log lines on objects that cannot be decoded.
const UNDECODABLE_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Reason for `/readyz` while no request is judged because of the log.
const UNREAD_LOG: &str = "standard output is not read, so no request is judged";

impl Controller {
    pub(super) fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::SourceSynced(source, is_news) => {
                if is_news {
                    tracing::info!(source = source.as_str(), "{} synced", source.as_str());
                }
                self.refresh();
            }
            Effect::SourceFailed(source, said, is_news) => {
                self.metrics.record_source_failure(source);
                // Metrics first: a reader of the log line finds them up to date.
                self.refresh();
                if is_news {
                    tracing::warn!(source = source.as_str(), "{said}");
                }
            }
            Effect::SourceReplaced(source, is_news) => {
                self.refresh();
                if is_news {
                    let source = source.as_str();
                    tracing::info!(
                        source,
                        "the API server has no {source}, the policy replaces them"
                    );
                }
            }
            Effect::Undecodable(source, object) => self.report_undecodable(source, &object),
            Effect::AnswerFailed(source, why, is_news) => {
                self.metrics.record_source_failure(source);
                if is_news {
                    tracing::warn!(source = source.as_str(), "{why}");
                }
            }
            Effect::InventoryRead(nodes) => tracing::info!(nodes, "inventory reloaded"),
            Effect::PolicyChanged(in_force) => self.policy_changed(in_force),
            Effect::PolicyRefused(kept, why) => {
                self.metrics.record_policy_reload(false);
                let (name, digest) = (&kept.metadata.name, &kept.digest);
                if self.may_write_events() {
                    self.events.record_refused_policy(&kept, &why);
                }
                tracing::error!(
                    "the policy cannot be used, {name} ({digest}) stays in force: {why}"
                );
            }
            Effect::Record(judged) => self.record(&judged),
            Effect::ListRequests => {
                tracing::info!(
                    "listing all requests again: some were dropped, for lack of memory or as stale by a \
                     later time of the API server"
                );
                self.relist.notify_one();
            }
            Effect::Ask(question, requestor, policy) => {
                self.lookups.ask(question, requestor, &policy);
            }
            Effect::Write(judged) => {
                let uid = judged.uid.clone();
                self.writes.start(uid, self.writer.clone().write(judged));
            }
            Effect::Ended {
                judged,
                outcome,
                after,
            } => self.report_outcome(&judged, &outcome, after),
        }
    }

    /// Counts an object that cannot be decoded. It can change many times a second, so only some of
    /// them are logged.
    fn report_undecodable(&mut self, source: Source, object: &Undecodable) {
        self.metrics.record_undecodable(source);
        let (name, why) = (escaped(object.name.as_bytes()), &object.why);
        let source = source.as_str();
        let now = Instant::now();
        if self
            .undecodable_logged
            .is_some_and(|at| now - at < UNDECODABLE_LOG_INTERVAL)
        {
            tracing::debug!(source, name, "an object cannot be decoded: {why}");
        } else {
            self.undecodable_logged = Some(now);
            tracing::warn!(source, name, "an object cannot be decoded: {why}");
        }
    }

    /// True for the leader, unless it writes nothing.
    fn may_write_events(&self) -> bool {
        self.state.enforcement() != Enforcement::DryRun && self.leadership.may_write()
    }

    fn policy_changed(&mut self, in_force: InForce) {
        let policy = &in_force.policy;
        let (name, digest) = (&policy.metadata.name, &policy.digest);
        tracing::info!(policy = name, digest, "policy reloaded");
        self.metrics.record_policy_reload(true);
        self.metrics.set_policy(policy);
        self.policy.send_replace(in_force);
    }

    fn record(&mut self, judged: &Judged) {
        if !judged.is_news {
            return;
        }
        self.metrics.record_verdict(&judged.judgment);
        let now = self.clock.now();
        self.wait_events.record(judged, now.instant, now.wall);
        let Some(log) = &mut self.decision_log else {
            return;
        };
        let decision = Decision {
            object: &judged.object,
            judgment: &judged.judgment,
            key: judged.key,
            policy: &judged.policy,
            enforcement: judged.enforcement,
        };
        let importance = match judged.write {
            Some(_) => Importance::Required,
            None => Importance::Ordinary,
        };
        log.record(decision, importance);
    }

    /// Writes Events for the requests that have waited for long enough.
    pub(super) fn report_waits(&mut self, now: Instant) {
        let may_write = self.may_write_events();
        let open = self.state.open();
        let is_open = |uid: &Uid| open.get(uid).is_some();
        for request in self.wait_events.due(now, may_write, is_open) {
            self.events.record_wait(&request);
        }
    }

    fn report_outcome(&mut self, judged: &Judged, outcome: &Outcome, after: Duration) {
        let done = *outcome == Outcome::Written;
        self.metrics
            .record_write(outcome.as_str(), done.then_some(after));
        self.log_failure(&judged.object.name, outcome);
        match outcome {
            Outcome::Written => {
                self.health.record_forbidden(None);
                if let Some(Write::Deny(denial)) = &judged.write {
                    let node = judged.object.requestor.node();
                    self.events.record_denial(denial, node.as_ref());
                }
            }
            Outcome::Forbidden(why) => self.health.record_forbidden(Some(why.clone())),
            Outcome::Failed { .. }
            | Outcome::Changed(_)
            | Outcome::Gone(_)
            | Outcome::NotLeading => {}
        }
    }

    /// Warns once for each kind of failure: thousands of requests can fail alike.
    fn log_failure(&mut self, request: &str, outcome: &Outcome) {
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

    /// Updates the gauges and the readiness state.
    pub(super) fn refresh(&self) {
        let now = self.clock.now();
        let evidence = self.state.evidence();
        let unready = self.state.unready(now).into_iter();
        let unready = unready.map(|(source, why)| (source.as_str().to_owned(), why));
        let log = (!self.can_log()).then(|| ("log".to_owned(), UNREAD_LOG.to_owned()));
        self.health.record_loop(unready.chain(log).collect());
        self.metrics.set_sources(evidence, now.monotonic);
        let oldest = self.state.open().oldest();
        let age =
            oldest.and_then(|oldest| Duration::try_from(now.wall.duration_since(oldest)).ok());
        let waiting = self.state.waiting().iter();
        let waiting = waiting.map(|(code, count)| (*code, *count));
        self.metrics.set_pending(waiting, age.unwrap_or_default());
        self.metrics
            .set_totals(self.state.unissued(), self.state.totals());
        self.metrics.set_write_limit(self.writes.limit());
    }
}
