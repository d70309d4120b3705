//! State of the controller: evidence, open requests, queue. Without I/O and without a clock, so that
//! tests can try every order of events.

mod apply;
#[cfg(test)]
pub(crate) mod audit;
mod outcome;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use super::RequestorLimits;
use super::denial_budget::DenialBudget;
use super::effect::Effect;
use super::judged::{Judged, Write};
use super::open_requests::{Entry, OpenRequests};
use super::queue::Queue;
use super::unissued::Unissued;
use super::waiting::Waiting;
use crate::cluster::clock::Now;
use crate::cluster::random::Random;
use crate::telemetry::metrics::Totals;
use judge::csr::{CsrObject, Fingerprint, Settled, Uid};
use judge::evidence::{Evidence, Fact, Source};
use judge::finding::{Awaited, Code};
use judge::policy::{Enforcement, Policy};
use judge::{Judgment, Verdict, judge};

/// Startup grace period: no request is judged until every source has synced, or this time has passed.
const STARTUP_GRACE: Duration = Duration::from_secs(3);
/// Longest time between two judgments of a waiting request: a safety net, should nothing wake it.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Shortest time between two lists of all requests because some were dropped.
const LIST_INTERVAL: Duration = Duration::from_secs(60);
/// Time after which an approval is tried again that waits for the signer.
const AFTER_THE_SIGNER: Duration = Duration::from_secs(1);
/// Smallest clock skew that counts as a change of the API server's clock. One answer tells its time to
/// three seconds.
const CLOCK_SKEW_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// The controller's state.
#[derive(Debug)]
pub(super) struct State {
    policy: Arc<Policy>,
    /// Override of the policy's enforcement.
    enforcement: Option<Enforcement>,
    evidence: Evidence,
    open: OpenRequests,
    queue: Queue,
    waiting: Waiting,
    /// Requests that are being written.
    writing: HashMap<Uid, Arc<Judged>>,
    denials: DenialBudget,
    /// Earliest time of the next write, as asked for by the API server (429, `Retry-After`).
    paused_until: Option<Instant>,
    /// Decisions that the watch showed before the answer to our write arrived.
    overtaken: HashMap<Uid, Settled>,
    /// Requests approved here that have no certificate yet.
    unissued: Unissued,
    /// Number of changes of the policy's list of Machine kinds.
    generation: u64,
    totals: Totals,
    /// True if requests were dropped since the last list was asked for: for lack of memory, or as stale by an
    /// API server's time that is ahead of the one in force now.
    is_incomplete: bool,
    /// Earliest time at which all requests are listed again.
    next_list: Instant,
    /// Clock skew at the last tick.
    clock_skew: SignedDuration,
    /// Start of the grace period; `None` once it is over.
    grace_since: Option<Instant>,
    random: Random,
}

impl State {
    /// An empty state. `enforcement` overrides the policy's.
    pub(super) fn new(
        policy: Arc<Policy>,
        enforcement: Option<Enforcement>,
        limits: RequestorLimits,
        random: Random,
        now: Now,
    ) -> State {
        State {
            evidence: Evidence::new(&policy.spec),
            policy,
            enforcement,
            open: OpenRequests::default(),
            queue: Queue::default(),
            waiting: Waiting::default(),
            writing: HashMap::new(),
            denials: DenialBudget::new(limits.denial_interval),
            paused_until: None,
            overtaken: HashMap::new(),
            unissued: Unissued::new(limits.unissued),
            generation: 0,
            totals: Totals::default(),
            is_incomplete: false,
            next_list: now.instant,
            clock_skew: SignedDuration::ZERO,
            grace_since: Some(now.instant),
            random,
        }
    }

    /// The evidence.
    pub(super) fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The open requests.
    pub(super) fn open(&self) -> &OpenRequests {
        &self.open
    }

    /// Number of requests approved here that have no certificate yet.
    pub(super) fn unissued(&self) -> usize {
        self.unissued.len()
    }

    /// Number of requestors with a budget of denials.
    #[cfg(test)]
    pub(super) fn denial_budgets(&self) -> usize {
        self.denials.len()
    }

    /// Numbers of requests since the start.
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Number of waiting requests by the first code of each.
    pub(super) fn waiting(&self) -> &BTreeMap<Code, usize> {
        self.open.waiting()
    }

    /// Sources that are not ready, each with the reason.
    pub(super) fn unready(&self, now: Now) -> Vec<(Source, String)> {
        judge::unready(&self.evidence, now.monotonic)
    }

    /// True if a request could be judged now.
    pub(super) fn has_next(&self, now: Now) -> bool {
        !self.queue.is_empty() && !self.is_paused(now) && self.grace_since.is_none()
    }

    fn is_paused(&self, now: Now) -> bool {
        self.paused_until.is_some_and(|until| now.instant < until)
    }

    /// Ends the startup grace period when it is over: at each tick and change of a source, since
    /// nothing else can end it.
    fn check_grace(&mut self, now: Now) {
        if let Some(since) = self.grace_since
            && (now.instant.duration_since(since) >= STARTUP_GRACE || self.unready(now).is_empty())
        {
            self.grace_since = None;
        }
    }

    /// Judges the next request. Returns `None` if the queue is empty, during the startup grace period,
    /// and while the API server has asked for a pause.
    pub(super) fn next(&mut self, now: Now) -> Option<Vec<Effect>> {
        if self.is_paused(now) || self.grace_since.is_some() {
            return None;
        }
        let uid = self.queue.pop()?;
        let effects = self.judge_one(uid, now);
        // A decoded request can be larger than a packed one.
        self.keep_within_memory();
        effects
    }

    fn judge_one(&mut self, uid: Uid, now: Now) -> Option<Vec<Effect>> {
        let seen = self.open.get(&uid)?.seen;
        let request = self.open.request(&uid)?;
        let judgment = judge(request, &self.policy, &self.evidence, now.instants());
        let age = now.instants().age_of(request);
        let object = request.object.clone();
        let key = request.content.as_ref().map(|content| content.key);
        if self.defers(&uid, &object, &judgment, now) {
            return Some(Vec::new());
        }
        let decision = judgment.verdict.decision();
        let is_news = self.open.record_verdict(&uid, decision, judgment.codes());
        let write = self.follow_up(&uid, age, &judgment, now);
        if let Some(Write::Approve(_)) = write {
            // At the decision, not at the end of the write: another node's request with the same key
            // may be judged in between.
            self.learn_key(key, &object, now);
        }
        let judged = Arc::new(Judged {
            uid,
            object,
            key,
            judgment,
            policy: self.policy.clone(),
            enforcement: self.enforcement(),
            seen,
            is_news,
            write,
        });
        let mut effects = vec![Effect::Record(judged.clone())];
        let requestor: Arc<str> = (*judged.object.requestor.username).into();
        let ask = |question| Effect::Ask(question, requestor.clone(), judged.policy.clone());
        effects.extend(judged.questions().cloned().map(ask));
        if judged.write.is_some() {
            self.writing.insert(judged.uid.clone(), judged.clone());
            self.queue.begin(&judged.object.requestor.username);
            effects.push(Effect::Write(judged));
        }
        Some(effects)
    }

    /// The enforcement in force.
    pub(super) fn enforcement(&self) -> Enforcement {
        self.enforcement.unwrap_or(self.policy.spec.enforcement)
    }

    /// Lets a denial wait while its requestor has had one recently, and an approval while the signer has
    /// others of its requestor to sign. Nothing is recorded before the condition is written.
    fn defers(&mut self, uid: &Uid, object: &CsrObject, judgment: &Judgment, now: Now) -> bool {
        let requestor = &object.requestor.username;
        if matches!(judgment.verdict, Verdict::Approve(_))
            && self.enforcement() != Enforcement::DryRun
            && self.unissued.is_full(requestor)
        {
            self.waiting.park(uid, &[], now.instant + AFTER_THE_SIGNER);
            return true;
        }
        if !matches!(judgment.verdict, Verdict::Deny(_))
            || self.enforcement() != Enforcement::ApproveAndDeny
        {
            return false;
        }
        let Some(until) = self.denials.deferred_until(requestor, now.instant) else {
            return false;
        };
        self.totals.denials_deferred += u64::from(self.open.defer(uid));
        self.waiting.park(uid, &[], until);
        true
    }

    fn follow_up(
        &mut self,
        uid: &Uid,
        age: SignedDuration,
        judgment: &Judgment,
        now: Now,
    ) -> Option<Write> {
        match (&judgment.verdict, self.enforcement()) {
            (
                Verdict::Approve(approval),
                Enforcement::ApproveAndDeny | Enforcement::ApproveOnly,
            ) => return Some(Write::Approve(approval.clone())),
            (Verdict::Deny(denial), Enforcement::ApproveAndDeny) => {
                return Some(Write::Deny(denial.clone()));
            }
            (Verdict::Approve(_), Enforcement::DryRun)
            | (Verdict::Deny(_), Enforcement::ApproveOnly | Enforcement::DryRun) => {
                self.park(uid, age, &[Awaited::Policy], now);
            }
            (Verdict::Wait(awaits), _) => self.park(uid, age, awaits, now),
            (Verdict::Ignore, _) if self.may_be_young(uid, judgment, now) => {
                self.waiting.park(uid, &[], now.instant + LOOK_AGAIN);
            }
            (Verdict::Ignore, _) => self.forget(uid),
        }
        None
    }

    /// True if a judged request may only look stale because the API server's clock was wrong or is
    /// not known.
    fn may_be_young(&self, uid: &Uid, judgment: &Judgment, now: Now) -> bool {
        judgment.codes() == [Code::RequestStale] && self.may_look_stale(uid, now)
    }

    /// True if the request is known for less than the policy's `maxAge`, and either the API server's
    /// time has changed since the start or the watch has shown its creation.
    fn may_look_stale(&self, uid: &Uid, now: Now) -> bool {
        let is_doubtful = |entry: &Entry| {
            let known_for = now.monotonic.duration_since(entry.seen_at);
            let is_skewed = now.clock_skew().abs() > CLOCK_SKEW_TOLERANCE;
            known_for < self.policy.spec.request.max_age && (is_skewed || entry.is_creation)
        };
        self.open.get(uid).is_some_and(is_doubtful)
    }

    /// Records that the key of a decoded request is in use by its node.
    fn learn_key(&mut self, key: Option<Fingerprint>, object: &CsrObject, now: Now) {
        if let (Some(key), Some(node)) = (key, object.requestor.node()) {
            self.learn(Fact::Key(key, node), now);
        }
    }

    fn park(&mut self, uid: &Uid, age: SignedDuration, awaits: &[Awaited], now: Now) {
        let mut after = LOOK_AGAIN;
        let times = awaits.iter().filter_map(Awaited::time);
        let waits = times.map(|time| time.duration_since(now.monotonic));
        let given_up = self.policy.spec.request.max_age.checked_sub(age);
        for wait in waits.chain(given_up) {
            let wait = Duration::try_from(wait).unwrap_or_default();
            after = after.min(wait + Duration::from_millis(10));
        }
        self.open.awaits(uid, awaits);
        self.waiting.park(uid, awaits, now.instant + after);
    }

    /// Drops requests while all of them take too much memory, the oldest of the largest requestor first.
    fn keep_within_memory(&mut self) {
        while let Some(uid) = self.open.over_budget(|uid| self.writing.contains_key(uid)) {
            self.forget(&uid);
            self.totals.dropped_for_memory += 1;
            self.is_incomplete = true;
        }
    }

    /// Asks for a list when requests were dropped and there is room again: none of them is reported
    /// otherwise.
    fn list_again(&mut self, now: Now) -> Vec<Effect> {
        if !self.is_incomplete || !self.open.has_room() || now.instant < self.next_list {
            return Vec::new();
        }
        self.is_incomplete = false;
        self.next_list = now.instant + LIST_INTERVAL;
        vec![Effect::ListRequests]
    }

    fn requeue(&mut self, uids: Vec<Uid>) {
        for uid in uids {
            if self.writing.contains_key(&uid) {
                continue;
            }
            if let Some(entry) = self.open.get(&uid) {
                let request = &entry.request;
                self.queue.push(request.username(), request.created(), &uid);
            }
        }
    }

    fn forget(&mut self, uid: &Uid) {
        self.waiting.leave(uid);
        if let Some(entry) = self.open.remove(uid) {
            let request = &entry.request;
            self.queue
                .remove(request.username(), request.created(), uid);
        }
    }
}
