//! What each input is for: evidence, the policy, what is counted and told of it.

use std::fmt::Arguments;
use std::sync::Arc;

use super::Controller;
use super::input::{Answered, InForce, Input};
use super::turn::Now;
use crate::cluster::protected::Part;
use crate::cluster::watch::Change;
use crate::sources::machine_watch::News;
use judge::csr::Object;
use judge::evidence::{Answer, Node, Source};
use judge::policy::Policy;

impl Controller {
    pub(super) fn take(&mut self, input: Input) {
        let now = Now::read();
        match input {
            Input::Request(change) => self.take_request(change, now),
            Input::Node(change) => self.take_node(change),
            Input::Answered(answered) => self.take_answer(*answered, now),
            Input::Machines(generation, news) => {
                // Of Machines that the policy in force does not name.
                if generation == self.reconciler.generation() {
                    self.take_machines(news);
                }
            }
            Input::Policy(read) => self.take_policy(read),
            Input::Inventory(inventory) => {
                tracing::info!(nodes = inventory.len(), "inventory read anew");
                self.reconciler.inventory_seen(*inventory, now);
            }
            Input::Protected(part) => {
                let Part {
                    origin,
                    kind,
                    sans,
                    networks,
                } = part;
                self.reconciler
                    .protected(&origin, kind, sans, networks, now);
            }
            Input::Unprotected(origin) => self.reconciler.unprotected(&origin, now),
            Input::Certificates(demand, said) => {
                // Of what a policy asked for that is not in force any more.
                if demand == self.settings.policy.spec.protected.endpoint_certificates {
                    self.take(*said);
                }
            }
            Input::Synced(source) => {
                if self.reconciler.source_synced(source, now) {
                    tracing::info!(source = source.as_str(), "{} synced", source.as_str());
                }
                self.show();
            }
            Input::Failed(source, why) => {
                let news = self.reconciler.source_failed(source, &why, now);
                self.source_troubled(source, news, format_args!("cannot be read: {why}"));
            }
            Input::Incomplete(source, why) => {
                let news = self.reconciler.source_incomplete(source, &why, now);
                let said = format_args!("cannot be read completely: {why}");
                self.source_troubled(source, news, said);
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
                self.take(Input::Synced(Source::Requests));
            }
            Change::Failed(why) => self.take(Input::Failed(Source::Requests, why)),
        }
    }

    fn take_node(&mut self, change: Change<Box<Node>>) {
        match change {
            Change::Restarted => self.reconciler.nodes_restarted(),
            Change::Seen(node) => self.reconciler.node_seen(*node),
            Change::Gone(node) => self.reconciler.node_gone(node.name.as_str()),
            Change::Complete => {
                self.reconciler.nodes_complete();
                self.take(Input::Synced(Source::Nodes));
            }
            Change::Failed(why) => self.take(Input::Failed(Source::Nodes, why)),
        }
    }

    fn take_answer(&mut self, answered: Answered, now: Now) {
        let source = answered.source();
        if answered.asked_by.spec.sources != self.settings.policy.spec.sources {
            return;
        }
        if let Answer::Failed(why) = &answered.answer {
            self.metrics.source_failed(source);
            if self.reconciler.source_failed(source, why, now) {
                tracing::warn!(source = source.as_str(), "{why}");
            }
        } else {
            self.reconciler.source_synced(source, now);
        }
        self.reconciler
            .answered(answered.question, answered.answer, answered.until);
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

    fn take_machines(&mut self, news: News) {
        match news {
            News::Seen(machine) => self.reconciler.machine_seen(*machine),
            News::Gone(key) => self.reconciler.machine_gone(&key),
            News::Synced => self.take(Input::Synced(Source::Machines)),
            News::Failed(why) => self.take(Input::Failed(Source::Machines, why)),
        }
    }
}
