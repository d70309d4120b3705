//! What arrives: each thing becomes evidence or a request, and wakes what has waited for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Reconciler;
use crate::controller::judged::Now;
use judge::csr::Uid;
use judge::csr::names::NodeName;
use judge::csr::{Object, Request, Settled};
use judge::evidence::{Fact, Node};
use judge::policy::{Enforcement, Policy};

impl Reconciler {
    /// Requests are going to be listed anew.
    pub(in crate::controller) fn requests_restarted(&mut self) {
        self.listed_requests = Some(BTreeSet::new());
    }

    /// All requests have been listed.
    pub(in crate::controller) fn requests_complete(&mut self) {
        if let Some(listed) = self.listed_requests.take() {
            let gone: Vec<Uid> = self
                .book
                .uids()
                .filter(|uid| !listed.contains(*uid))
                .cloned()
                .collect();
            for uid in gone {
                self.forget(&uid);
            }
            self.unissued.retain(|uid| listed.contains(uid));
        }
    }

    /// A request is there, in this state.
    pub(in crate::controller) fn request_seen(&mut self, object: Object, encoded: &[u8], now: Now) {
        let uid = object.uid.clone();
        if let Some(listed) = &mut self.listed_requests {
            listed.insert(uid.clone());
        }
        if !object.is_open() {
            self.request_settled(&uid, &object, encoded, now);
            return;
        }
        let known = self.book.get(&uid).map(|entry| &entry.reading);
        if known.is_some_and(|known| known.resource_version() == object.resource_version) {
            return;
        }
        let requestor = object.requestor.username.clone();
        let created = object.created;
        let is_listed = self.listed_requests.is_some();
        if let Some(oldest) = self.book.put(object, encoded, is_listed, now.monotonic) {
            self.dropped += 1;
            self.forget(&oldest);
        }
        if self.book.get(&uid).is_some() && !self.writing.contains(&uid) {
            self.parking.leave(&uid);
            self.queue.push(&requestor, created, &uid);
        }
    }

    /// A request is gone.
    pub(in crate::controller) fn request_gone(&mut self, uid: &str) {
        let uid: Uid = uid.into();
        self.unissued.remove(&uid);
        self.overtaken.remove(&uid);
        self.forget(&uid);
    }

    fn request_settled(&mut self, uid: &Uid, object: &Object, encoded: &[u8], now: Now) {
        let key = self.book.key(uid);
        self.forget(uid);
        // Its key has been remembered when that was decided.
        let approved_here = self.unissued.contains(uid);
        if self.writing.contains(uid)
            && let Some(settled) = object.settled
        {
            self.overtaken.insert(uid.clone(), settled);
        }
        match object.settled {
            Some(Settled::Issued) => {
                if self.unissued.remove(uid) {
                    self.issued += 1;
                }
            }
            Some(Settled::Denied | Settled::Failed) => {
                self.unissued.remove(uid);
            }
            Some(Settled::Approved) | None => {}
        }
        let approved = matches!(object.settled, Some(Settled::Approved | Settled::Issued));
        if approved
            && !approved_here
            && let Some(node) = object.requestor.node()
            && let Some(key) = key.or_else(|| Request::key_of(encoded))
        {
            self.apply_fact(Fact::Key(key, node), now);
        }
    }

    /// Nodes are going to be listed anew.
    pub(in crate::controller) fn nodes_restarted(&mut self) {
        self.listed_nodes = Some(BTreeSet::new());
    }

    /// All Nodes have been listed.
    pub(in crate::controller) fn nodes_complete(&mut self, now: Now) {
        if let Some(listed) = self.listed_nodes.take() {
            let gone: Vec<NodeName> = self
                .evidence
                .nodes
                .iter()
                .map(|node| node.name.clone())
                .filter(|name| !listed.contains(name))
                .collect();
            for name in gone {
                self.node_gone(name, now);
            }
        }
    }

    /// A Node is there, in this state.
    pub(in crate::controller) fn node_seen(&mut self, mut node: Node, now: Now) {
        let name = node.name.clone();
        if let Some(listed) = &mut self.listed_nodes {
            listed.insert(name.clone());
            if let Some(first_seen) = &mut node.first_seen {
                first_seen.is_creation = false;
            }
        }
        self.apply_fact(Fact::Node(Box::new(node)), now);
    }

    /// A Node is gone.
    pub(in crate::controller) fn node_gone(&mut self, name: NodeName, now: Now) {
        self.apply_fact(Fact::NodeGone(name), now);
    }

    /// Another policy is in force: all that waits is judged again.
    pub(in crate::controller) fn policy_changed(
        &mut self,
        policy: Arc<Policy>,
        enforcement: Enforcement,
    ) {
        let before = std::mem::replace(&mut self.policy, policy);
        self.enforcement = enforcement;
        if before.spec.sources.machines != self.policy.spec.sources.machines {
            self.generation += 1;
        }
        self.evidence
            .policy_changed(&before.spec, &self.policy.spec);
        let woken = self.parking.everyone();
        self.requeue(woken);
    }

    /// Which list of kinds of Machines is in force, of all that there have been. What comes of another
    /// is of Machines that the policy does not name.
    pub(in crate::controller) fn generation(&self) -> u64 {
        self.generation
    }

    /// Applies what is known now, and wakes whoever awaits it. Returns whether it is news.
    pub(in crate::controller) fn apply_fact(&mut self, fact: Fact, now: Now) -> bool {
        let changed = self.evidence.apply(fact, now.steady);
        for awaited in &changed.wakes {
            let woken = self.parking.wake(awaited);
            self.requeue(woken);
        }
        changed.is_news
    }
}
