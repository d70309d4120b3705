//! Application of inputs: facts to the evidence, requests to the queue, a policy to all of it.

use std::sync::Arc;

use super::{CLOCK_SKEW_TOLERANCE, State};
use crate::cluster::clock::Now;
use crate::cluster::objects::key_in_use;
use crate::controller::effect::Effect;
use crate::controller::input::{Answered, InForce, Input};
use judge::csr::{CsrObject, Settled, Uid};
use judge::evidence::{Answer, Fact, Source};
use judge::policy::{Policy, Requirement};

/// Limit of requests that one tick wakes because their time has come.
const DUE_AT_ONCE: usize = 1000;

impl State {
    /// Applies an input. Returns the effects.
    pub(in crate::controller) fn apply(&mut self, input: Input, now: Now) -> Vec<Effect> {
        match input {
            Input::Request { request, is_listed } => {
                let (object, encoded) = *request;
                self.request_seen(object, &encoded, is_listed, now);
                Vec::new()
            }
            Input::RequestGone(uid) => {
                self.request_gone(&uid);
                Vec::new()
            }
            Input::Fact(fact) => self.apply_fact(fact, now),
            Input::Undecodable(source, object) => vec![Effect::Undecodable(source, object)],
            // Of Machines that the policy in force does not name.
            Input::Machines(generation, _) if generation != self.generation => Vec::new(),
            Input::Machines(_, fact) => self.apply_fact(fact, now),
            // The answer to a question of a policy that is no longer in force.
            Input::Certificates(demand, _) if demand != self.demand() => Vec::new(),
            Input::Certificates(_, fact) => self.apply_fact(fact, now),
            Input::Answered(answered) => self.answered(*answered, now),
            Input::Policy(Ok(policy)) => self.policy_changed(Arc::new(*policy), now),
            // The last good policy stays in force.
            Input::Policy(Err(why)) => vec![Effect::PolicyRefused(self.policy.clone(), why)],
        }
    }

    /// Wakes the requests whose time has come; all of them after a change of the API server's time.
    /// Returns the effects.
    pub(in crate::controller) fn tick(&mut self, now: Now) -> Vec<Effect> {
        let clock_skew = now.clock_skew();
        if (clock_skew - self.clock_skew).abs() > CLOCK_SKEW_TOLERANCE {
            // By the earlier time, what was dropped as stale may be young.
            self.is_incomplete |= clock_skew < self.clock_skew;
            self.clock_skew = clock_skew;
            // The time differs too after a virtual machine was paused, which its clocks do not show.
            // It has missed what has changed.
            self.evidence.clear_answers();
            let woken = self.waiting.everyone();
            self.requeue(woken);
        }
        self.evidence.prune(now.monotonic);
        let due = self.waiting.due(now.instant, DUE_AT_ONCE);
        self.requeue(due);
        self.queue.prune();
        self.denials.prune(now.instant);
        self.check_grace(now);
        self.list_again(now)
    }

    /// Drops stale requests, one of each requestor at a time: a replica that is not the leader judges
    /// none.
    pub(in crate::controller) fn forget_stale(&mut self, now: Now) {
        let limit = now.wall.checked_sub(self.policy.spec.request.max_age);
        if let Ok(limit) = limit {
            let stale = self.open.oldest_before(limit);
            let stale = stale
                .filter(|uid| !self.writing.contains_key(*uid) && !self.may_look_stale(uid, now));
            let stale: Vec<Uid> = stale.cloned().collect();
            for uid in &stale {
                self.forget(uid);
            }
            // A replica that does not judge takes no turns, and a set clock makes many requests stale at once.
            if !stale.is_empty() {
                self.queue.prune();
            }
        }
    }

    /// Applies a fact. Returns the effects that report it.
    fn apply_fact(&mut self, fact: Fact, now: Now) -> Vec<Effect> {
        match fact {
            Fact::Synced(source) => {
                let is_news = self.learn(fact, now);
                self.check_grace(now);
                vec![Effect::SourceSynced(source, is_news)]
            }
            Fact::Failed(source, ref why) => {
                let said = format!("{} cannot be read: {why}", source.as_str());
                let is_news = self.learn(fact, now);
                self.check_grace(now);
                vec![Effect::SourceFailed(source, said, is_news)]
            }
            Fact::Incomplete(source, ref why) => {
                let said = format!("{} cannot be read completely: {why}", source.as_str());
                let is_news = self.learn(fact, now);
                self.check_grace(now);
                vec![Effect::SourceFailed(source, said, is_news)]
            }
            Fact::NotServed(source, ref why) => {
                let said = format!("{} cannot be read: {why}", source.as_str());
                let is_news = self.learn(fact, now);
                self.check_grace(now);
                let mut required = self.evidence.required_sources();
                vec![if required.any(|needed| needed == source) {
                    Effect::SourceFailed(source, said, is_news)
                } else {
                    Effect::SourceReplaced(source, is_news)
                }]
            }
            Fact::Inventory(ref inventory) => {
                let nodes = inventory.len();
                self.learn(fact, now);
                vec![Effect::InventoryRead(nodes)]
            }
            Fact::Node(_)
            | Fact::ListedNode(_)
            | Fact::NodeGone(_)
            | Fact::Namespace(_)
            | Fact::NamespaceGone(_)
            | Fact::Issued(_)
            | Fact::Protected(_)
            | Fact::Unprotected(_)
            | Fact::Key(..)
            | Fact::Machine(_)
            | Fact::MachineGone(_)
            | Fact::Answer(..) => {
                self.learn(fact, now);
                Vec::new()
            }
        }
    }

    /// Applies a fact to the evidence and wakes the requests that await it. Returns true if it is new.
    pub(super) fn learn(&mut self, fact: Fact, now: Now) -> bool {
        let applied = self.evidence.apply(fact, now.monotonic);
        for awaited in &applied.wakes {
            let woken = self.waiting.wake(awaited, now.instant);
            self.requeue(woken);
        }
        applied.changed
    }

    /// Adds, updates or settles a request.
    pub(super) fn request_seen(
        &mut self,
        object: CsrObject,
        encoded: &[u8],
        is_listed: bool,
        now: Now,
    ) {
        let uid = object.uid.clone();
        if !object.is_open() {
            self.request_settled(&uid, &object, encoded, now);
            return;
        }
        let known = self.open.get(&uid).map(|entry| &entry.request);
        if known.is_some_and(|known| known.resource_version() == object.resource_version) {
            return;
        }
        let requestor = object.requestor.username.clone();
        let created = object.created;
        if let Some(oldest) = self.open.put(object, encoded, is_listed, now) {
            self.totals.dropped += 1;
            self.forget(&oldest);
        }
        self.keep_within_memory();
        if self.open.get(&uid).is_some() && !self.writing.contains_key(&uid) {
            self.waiting.leave(&uid);
            self.queue.push(&requestor, created, &uid);
        }
    }

    /// Drops a deleted request.
    fn request_gone(&mut self, uid: &Uid) {
        self.unissued.remove(uid);
        self.overtaken.remove(uid);
        self.forget(uid);
    }

    fn request_settled(&mut self, uid: &Uid, object: &CsrObject, encoded: &[u8], now: Now) {
        let key = self.open.key(uid);
        self.forget(uid);
        // Its key has been remembered when that was decided.
        let approved_here = self.unissued.contains(uid);
        if self.writing.contains_key(uid)
            && let Some(settled) = object.settled
        {
            self.overtaken.insert(uid.clone(), settled);
        }
        match object.settled {
            Some(Settled::Issued) => {
                if self.unissued.remove(uid) {
                    self.totals.issued += 1;
                }
            }
            Some(Settled::Denied | Settled::Failed) => {
                self.unissued.remove(uid);
            }
            Some(Settled::Approved) | None => {}
        }
        if object.is_approved() && !approved_here {
            if key.is_some() {
                self.learn_key(key, object, now);
            } else if let Some(fact) = key_in_use(object, encoded) {
                self.learn(fact, now);
            }
        }
    }

    /// Requirement of the policy in force for the API servers' certificates.
    fn demand(&self) -> Requirement {
        self.policy.spec.protected.endpoint_certificates
    }

    /// Puts a policy in force. All waiting requests are judged again.
    fn policy_changed(&mut self, policy: Arc<Policy>, now: Now) -> Vec<Effect> {
        let before = std::mem::replace(&mut self.policy, policy);
        if before.spec.sources.machines != self.policy.spec.sources.machines {
            self.generation += 1;
        }
        self.evidence
            .policy_changed(&before.spec, &self.policy.spec, now.monotonic);
        let woken = self.waiting.everyone();
        self.requeue(woken);
        vec![Effect::PolicyChanged(self.in_force())]
    }

    /// The policy in force, as published to its followers.
    pub(in crate::controller) fn in_force(&self) -> InForce {
        InForce {
            policy: self.policy.clone(),
            generation: self.generation,
        }
    }

    /// Applies an answer, unless the policy in force has other sources than the one that asked.
    fn answered(&mut self, answered: Answered, now: Now) -> Vec<Effect> {
        if answered.asked_by.spec.sources != self.policy.spec.sources {
            return Vec::new();
        }
        let Answered {
            question,
            answer,
            until,
            ..
        } = answered;
        let source = question.source();
        let mut effects = Vec::new();
        // Rivals of a claim name any address. An address without an answer is not a failure of a source.
        let is_source = source != Source::ServingCertificates
            || self.policy.spec.sources.serving_certificate.is_some();
        if !is_source {
            self.learn(Fact::Answer(question, answer, until), now);
            return effects;
        }
        if let Answer::Failed(why) = &answer {
            let is_news = self.learn(Fact::Failed(source, why.clone()), now);
            effects.push(Effect::AnswerFailed(source, why.clone(), is_news));
        } else {
            self.learn(Fact::Synced(source), now);
        }
        self.learn(Fact::Answer(question, answer, until), now);
        effects
    }
}
