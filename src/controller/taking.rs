//! What each input is for: evidence, the policy, what is counted and told of it.

use std::fmt::Arguments;
use std::sync::Arc;

use super::Controller;
use super::input::{Answered, InForce, Input};
use super::judged::Now;
use crate::cluster::watch::Change;
use judge::csr::Object;
use judge::evidence::{Answer, Fact, Node, Source};
use judge::policy::Policy;

impl Controller {
    pub(super) fn take(&mut self, input: Input) {
        let now = Now::read();
        match input {
            Input::Request(change) => self.take_request(change, now),
            Input::Node(change) => self.take_node(change, now),
            Input::Answered(answered) => self.take_answer(*answered, now),
            Input::Machines(generation, fact) => {
                // Of Machines that the policy in force does not name.
                if generation == self.reconciler.generation() {
                    self.take_fact(fact, now);
                }
            }
            Input::Policy(read) => self.take_policy(read),
            Input::Fact(fact) => self.take_fact(fact, now),
            Input::Certificates(demand, fact) => {
                // Of what a policy asked for that is not in force any more.
                if demand == self.settings.policy.spec.protected.endpoint_certificates {
                    self.take_fact(fact, now);
                }
            }
        }
    }

    fn take_fact(&mut self, fact: Fact, now: Now) {
        match fact {
            Fact::Synced(source) => {
                if self.reconciler.apply_fact(fact, now) {
                    tracing::info!(source = source.as_str(), "{} synced", source.as_str());
                }
                self.show();
            }
            Fact::Failed(source, ref why) => {
                let said = format!("cannot be read: {why}");
                let news = self.reconciler.apply_fact(fact, now);
                self.source_troubled(source, news, format_args!("{said}"));
            }
            Fact::Incomplete(source, ref why) => {
                let said = format!("cannot be read completely: {why}");
                let news = self.reconciler.apply_fact(fact, now);
                self.source_troubled(source, news, format_args!("{said}"));
            }
            Fact::Inventory(ref inventory) => {
                tracing::info!(nodes = inventory.len(), "inventory read anew");
                self.reconciler.apply_fact(fact, now);
            }
            _ => {
                self.reconciler.apply_fact(fact, now);
            }
        }
    }

    fn source_troubled(&mut self, source: Source, news: bool, said: Arguments<'_>) {
        self.metrics.source_failed(source);
        // Before it is told: who reads the line finds it in the metrics too.
        self.show();
        if news {
            let name = source.as_str();
            tracing::warn!(source = name, "{name} {said}");
        }
    }

    fn take_request(&mut self, change: Change<Box<(Object, Vec<u8>)>>, now: Now) {
        match change {
            Change::Restarted => self.reconciler.requests_restarted(),
            Change::Seen(seen) => {
                let (object, encoded) = *seen;
                self.reconciler.request_seen(object, &encoded, now);
            }
            Change::Gone(gone) => self.reconciler.request_gone(&gone.0.uid),
            Change::Complete => {
                self.reconciler.requests_complete();
                self.take_fact(Fact::Synced(Source::Requests), now);
            }
            Change::Failed(why) => self.take_fact(Fact::Failed(Source::Requests, why), now),
        }
    }

    fn take_node(&mut self, change: Change<Box<Node>>, now: Now) {
        match change {
            Change::Restarted => self.reconciler.nodes_restarted(),
            Change::Seen(node) => self.reconciler.node_seen(*node, now),
            Change::Gone(node) => self.reconciler.node_gone(node.name, now),
            Change::Complete => {
                self.reconciler.nodes_complete(now);
                self.take_fact(Fact::Synced(Source::Nodes), now);
            }
            Change::Failed(why) => self.take_fact(Fact::Failed(Source::Nodes, why), now),
        }
    }

    fn take_answer(&mut self, answered: Answered, now: Now) {
        let source = answered.source();
        if answered.asked_by.spec.sources != self.settings.policy.spec.sources {
            return;
        }
        if let Answer::Failed(why) = &answered.answer {
            self.metrics.source_failed(source);
            if self
                .reconciler
                .apply_fact(Fact::Failed(source, why.clone()), now)
            {
                tracing::warn!(source = source.as_str(), "{why}");
            }
        } else {
            self.reconciler.apply_fact(Fact::Synced(source), now);
        }
        let fact = Fact::Answer(answered.question, answered.answer, answered.until);
        self.reconciler.apply_fact(fact, now);
    }

    /// The last good policy stays in force.
    fn take_policy(&mut self, read: Result<Box<Policy>, String>) {
        self.metrics.policy_reloaded(read.is_ok());
        let policy = match read {
            Ok(policy) => Arc::new(*policy),
            Err(why) => {
                let kept = &self.settings.policy;
                let (name, digest) = (&kept.metadata.name, &kept.digest);
                self.events.policy_refused(kept, &why);
                tracing::error!("the policy cannot be used, {name} ({digest}) stays: {why}");
                return;
            }
        };
        let (name, digest) = (&policy.metadata.name, &policy.digest);
        tracing::info!(policy = name, digest, "policy read anew");
        self.settings.policy = policy.clone();
        let enforcement = self.settings.enforcement();
        self.metrics.show_policy(&policy);
        self.reconciler.policy_changed(policy.clone(), enforcement);
        self.policy.send_replace(InForce {
            policy,
            generation: self.reconciler.generation(),
        });
    }
}
