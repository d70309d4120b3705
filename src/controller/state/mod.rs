//! What is done about what happens: evidence in, turns out. No I/O, no clock of its own, so that
//! every order of events can be tried.

mod apply;
mod written;

pub(in crate::controller) use written::Fresh;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use super::judged::{Now, Turn, Write};
use super::open_requests::{Book, Entry};
use super::queue::Queue;
use super::waiting::Parking;
use judge::csr::names::NodeName;
use judge::csr::{Object, Settled, Uid};
use judge::evidence::{Evidence, Fact};
use judge::finding::{Awaited, Code};
use judge::policy::{Enforcement, Policy};
use judge::{Judgement, Verdict, judge};

/// How long a parked request is left alone at most. What it waits for wakes it; this is the net
/// below that.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Two clocks that differ by more were set, and not read one after the other.
const A_SET_CLOCK: SignedDuration = SignedDuration::from_secs(1);
/// Parked requests that are woken by time in one tick.
const DUE_AT_ONCE: usize = 1000;

/// Everything that is known, and everything that is open.
#[derive(Debug)]
pub(super) struct Reconciler {
    policy: Arc<Policy>,
    enforcement: Enforcement,
    evidence: Evidence,
    book: Book,
    queue: Queue,
    parking: Parking,
    /// Requests that are being written.
    writing: HashSet<Uid>,
    /// No write begins before this: the API server has asked for it.
    paused_until: Option<Instant>,
    /// What the watch has shown of them before the answer to the write came.
    overtaken: HashMap<Uid, Settled>,
    /// What has been listed since a watch began anew.
    listed_nodes: Option<BTreeSet<NodeName>>,
    listed_requests: Option<BTreeSet<Uid>>,
    /// Requests that were approved here and have no certificate yet.
    unissued: BTreeSet<Uid>,
    /// How often the kinds of Machines that the policy names have changed.
    generation: u64,
    issued: u64,
    dropped: u64,
    /// How far the time of day had been set when this was looked at last.
    set_by: SignedDuration,
}

impl Reconciler {
    /// Nothing known yet.
    pub(super) fn new(policy: Arc<Policy>, enforcement: Enforcement) -> Reconciler {
        Reconciler {
            evidence: Evidence::new(&policy.spec),
            policy,
            enforcement,
            book: Book::default(),
            queue: Queue::default(),
            parking: Parking::default(),
            writing: HashSet::new(),
            paused_until: None,
            overtaken: HashMap::new(),
            listed_nodes: None,
            listed_requests: None,
            unissued: BTreeSet::new(),
            generation: 0,
            issued: 0,
            dropped: 0,
            set_by: SignedDuration::ZERO,
        }
    }

    /// What is known.
    pub(super) fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The open requests.
    pub(super) fn book(&self) -> &Book {
        &self.book
    }

    /// How many requests that were approved here have no certificate yet, how many have got one,
    /// and how many were dropped because their requestor had too many.
    pub(super) fn counts(&self) -> (usize, u64, u64) {
        (self.unissued.len(), self.issued, self.dropped)
    }

    /// Wakes the requests whose time has come; all, if somebody has set the clock.
    pub(super) fn tick(&mut self, now: Now) {
        let set_by = now.set_by();
        if (set_by - self.set_by).abs() > A_SET_CLOCK {
            self.set_by = set_by;
            // A machine that has slept sets its clock too, and has missed what has changed.
            self.evidence.forget_answers();
            let woken = self.parking.everyone();
            self.requeue(woken);
        }
        self.evidence.prune(now.steady);
        let due = self.parking.due(now.monotonic, DUE_AT_ONCE);
        self.requeue(due);
    }

    /// Forgets what is too old for a verdict, one of each requestor at a time: nobody has a turn in a
    /// replica that does not lead.
    pub(super) fn forget_stale(&mut self, now: Now) {
        let limit = now.wall.checked_sub(self.policy.spec.request.max_age);
        if let Ok(limit) = limit
            && now.set_by().abs() <= A_SET_CLOCK
        {
            let stale = self.book.oldest_before(limit);
            let stale = stale.filter(|uid| !self.writing.contains(*uid));
            let stale: Vec<Uid> = stale.cloned().collect();
            for uid in &stale {
                self.forget(uid);
            }
        }
    }

    /// Whether a request could be judged now.
    pub(super) fn has_turns(&self, now: Now) -> bool {
        !self.queue.is_empty() && !self.is_paused(now)
    }

    fn is_paused(&self, now: Now) -> bool {
        self.paused_until.is_some_and(|until| now.monotonic < until)
    }

    /// Judges the next request; none while the API server wants to be left alone.
    pub(super) fn take_turn(&mut self, now: Now) -> Option<Turn> {
        if self.is_paused(now) {
            return None;
        }
        let uid = self.queue.pop()?;
        let seen = self.book.get(&uid)?.seen;
        let request = self.book.request(&uid, now)?;
        let judgement = judge(request, &self.policy, &self.evidence, now.moment());
        let object = request.object.clone();
        let decision = judgement.verdict.decision();
        let is_news = self.book.say(&uid, decision, judgement.codes());
        let write = self.follow_up(&uid, &object, &judgement, now);
        Some(Turn {
            uid,
            object,
            judgement,
            seen,
            is_news,
            write,
        })
    }

    fn follow_up(
        &mut self,
        uid: &Uid,
        object: &Object,
        judgement: &Judgement,
        now: Now,
    ) -> Option<Write> {
        let write = match (&judgement.verdict, self.enforcement) {
            (
                Verdict::Approve(approval),
                Enforcement::ApproveAndDeny | Enforcement::ApproveOnly,
            ) => Write::Approve(approval.clone()),
            (Verdict::Deny(denial), Enforcement::ApproveAndDeny) => Write::Deny(denial.clone()),
            (Verdict::Approve(_), Enforcement::DryRun)
            | (Verdict::Deny(_), Enforcement::ApproveOnly | Enforcement::DryRun) => {
                self.park(uid, object, &[Awaited::Policy], now);
                return None;
            }
            (Verdict::Wait(awaits), _) => {
                self.park(uid, object, awaits, now);
                return None;
            }
            (Verdict::Ignore, _) if self.may_be_young(uid, judgement, now) => {
                self.parking.park(uid, &[], now.monotonic + LOOK_AGAIN);
                return None;
            }
            (Verdict::Ignore, _) => {
                self.forget(uid);
                return None;
            }
        };
        if matches!(write, Write::Approve(_)) {
            self.remember_key(uid, object, now);
        }
        self.writing.insert(uid.clone());
        self.queue.begin(&object.requestor.username);
        Some(write)
    }

    /// A clock that was set for a moment makes every request old, and is right again later.
    fn may_be_young(&self, uid: &Uid, judgement: &Judgement, now: Now) -> bool {
        let known_for = |entry: &Entry| now.monotonic.saturating_duration_since(entry.seen);
        let most = self.policy.spec.request.max_age.unsigned_abs();
        now.set_by().abs() > A_SET_CLOCK
            && judgement.codes() == [Code::RequestStale]
            && self
                .book
                .get(uid)
                .is_some_and(|entry| known_for(entry) < most)
    }

    /// From the decision on, not from the end of the write: another node's request with the same
    /// key may be judged in between.
    fn remember_key(&mut self, uid: &Uid, object: &Object, now: Now) {
        if let Some(key) = self.book.key(uid)
            && let Some(node) = object.requestor.node()
        {
            self.apply_fact(Fact::Key(key, node), now);
        }
    }

    fn park(&mut self, uid: &Uid, object: &Object, awaits: &[Awaited], now: Now) {
        let mut after = LOOK_AGAIN;
        let times = awaits.iter().filter_map(|awaited| match awaited {
            Awaited::Time(time) => Some(*time),
            Awaited::Node(_)
            | Awaited::Machine(_)
            | Awaited::Answer(_)
            | Awaited::Source(_)
            | Awaited::Policy => None,
        });
        let given_up = object.created.checked_add(self.policy.spec.request.max_age);
        let waits = times.map(|time| time.duration_since(now.steady));
        let given_up = given_up.map(|time| time.duration_since(now.wall));
        for wait in waits.chain(given_up) {
            let wait = Duration::try_from(wait).unwrap_or_default();
            after = after.min(wait + Duration::from_millis(10));
        }
        self.parking.park(uid, awaits, now.monotonic + after);
    }

    fn requeue(&mut self, uids: Vec<Uid>) {
        for uid in uids {
            if self.writing.contains(&uid) {
                continue;
            }
            if let Some(entry) = self.book.get(&uid) {
                let reading = &entry.reading;
                self.queue.push(reading.username(), reading.created(), &uid);
            }
        }
    }

    fn forget(&mut self, uid: &Uid) {
        self.parking.leave(uid);
        if let Some(entry) = self.book.remove(uid) {
            let reading = &entry.reading;
            self.queue
                .remove(reading.username(), reading.created(), uid);
        }
    }

    /// The code that most requests wait because of comes with each number.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (Code, usize)> {
        self.book
            .waiting()
            .iter()
            .map(|(code, count)| (*code, *count))
    }
}
