//! What arrives: each thing becomes evidence or a request, and wakes what has waited for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::Reconciler;
use crate::controller::turn::Now;
use judge::csr::Uid;
use judge::csr::names::{NodeName, San};
use judge::csr::{Object, Request, Settled};
use judge::evidence::{Answer, IdentityKind, Inventory, Machine, Machines, Node, Source};
use judge::finding::Question;
use judge::policy::{Demand, Enforcement, Policy};

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
            self.request_settled(&uid, &object, encoded);
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

    fn request_settled(&mut self, uid: &Uid, object: &Object, encoded: &[u8]) {
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
            self.evidence.remember_key(key, node);
        }
    }

    /// Nodes are going to be listed anew.
    pub(in crate::controller) fn nodes_restarted(&mut self) {
        self.listed_nodes = Some(BTreeSet::new());
    }

    /// All Nodes have been listed.
    pub(in crate::controller) fn nodes_complete(&mut self) {
        if let Some(listed) = self.listed_nodes.take() {
            let gone: Vec<NodeName> = self
                .evidence
                .nodes
                .iter()
                .map(|node| node.name.clone())
                .filter(|name| !listed.contains(name))
                .collect();
            for name in gone {
                self.node_gone(name.as_str());
            }
        }
        self.evidence.nodes.pack();
    }

    /// A Node is there, in this state.
    pub(in crate::controller) fn node_seen(&mut self, mut node: Node) {
        let name = node.name.clone();
        if let Some(listed) = &mut self.listed_nodes {
            listed.insert(name.clone());
            if let Some(first_seen) = &mut node.first_seen {
                first_seen.is_creation = false;
            }
        }
        if self.evidence.nodes.apply(node) {
            self.wake_for_node(&name.shared());
        }
    }

    /// A Node is gone.
    pub(in crate::controller) fn node_gone(&mut self, name: &str) {
        if let Some(node) = self.evidence.nodes.remove(name) {
            self.wake_for_node(&node.name.shared());
        }
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
            self.forget_machines();
        }
        if before.spec.sources != self.policy.spec.sources {
            self.evidence.answers.clear();
        }
        let demand = |policy: &Policy| policy.spec.protected.endpoint_certificates;
        if demand(&before) == Demand::Optional && demand(&self.policy) == Demand::Required {
            // What could be left out before may be missing.
            self.evidence.sources.forget(Source::ApiServerCertificates);
        }
        if before.spec != self.policy.spec {
            // Nobody may ask them any more; whoever does is heard of again.
            for asked in [Source::Dns, Source::ServingCertificates] {
                self.evidence.sources.forget(asked);
            }
        }
        let woken = self.parking.everyone();
        self.requeue(woken);
    }

    /// A question has been answered.
    pub(in crate::controller) fn answered(
        &mut self,
        question: Question,
        answer: Answer,
        until: Timestamp,
    ) {
        let woken = self.parking.answered(&question);
        self.evidence.answers.set(question, answer, until);
        self.requeue(woken);
    }

    /// The administrator's inventory is this.
    pub(in crate::controller) fn inventory_seen(&mut self, inventory: Inventory, now: Now) {
        self.evidence.inventory = Some(inventory);
        self.evidence.sources.synced(Source::Inventory, now.steady);
        let woken = self.parking.source_changed();
        self.requeue(woken);
    }

    /// None of the Machines that the policy names is known.
    pub(in crate::controller) fn forget_machines(&mut self) {
        let named = !self.policy.spec.sources.machines.is_empty();
        self.evidence.machines = named.then(Machines::default);
        self.evidence.sources.forget(Source::Machines);
    }

    /// Which list of kinds of Machines is in force, of all that there have been. What comes of another
    /// is of Machines that the policy does not name.
    pub(in crate::controller) fn generation(&self) -> u64 {
        self.generation
    }

    /// A Machine is there, in this state.
    pub(in crate::controller) fn machine_seen(&mut self, machine: Machine) {
        let Some(machines) = &mut self.evidence.machines else {
            return;
        };
        let before = machines.get(&machine.key).cloned();
        if machines.apply(machine.clone()) {
            self.wake_for_machines(before.iter().chain([&machine]));
        }
    }

    /// A Machine is gone.
    pub(in crate::controller) fn machine_gone(&mut self, key: &str) {
        let machines = self.evidence.machines.as_mut();
        if let Some(machine) = machines.and_then(|machines| machines.remove(key)) {
            self.wake_for_machines([&machine].into_iter());
        }
    }

    /// An origin protects these and nothing else.
    pub(in crate::controller) fn protected(
        &mut self,
        origin: &str,
        kind: IdentityKind,
        sans: Vec<San>,
        networks: Vec<ipnet::IpNet>,
        now: Now,
    ) {
        let protected = &mut self.evidence.protected;
        protected.replace(origin, kind, sans, networks, now.steady);
    }

    /// An origin protects nothing any more.
    pub(in crate::controller) fn unprotected(&mut self, origin: &str, now: Now) {
        self.evidence.protected.remove(origin, now.steady);
    }

    /// A source is complete.
    pub(in crate::controller) fn source_synced(&mut self, source: Source, now: Now) -> bool {
        let news = self.evidence.sources.synced(source, now.steady);
        // Whoever waits for an answer is woken by that alone.
        let is_asked = matches!(source, Source::Dns | Source::ServingCertificates);
        if news && !is_asked {
            let woken = self.parking.source_changed();
            self.requeue(woken);
        }
        news
    }

    /// A source fails. Returns whether that is news.
    pub(in crate::controller) fn source_failed(
        &mut self,
        source: Source,
        why: &str,
        now: Now,
    ) -> bool {
        self.evidence.sources.failed(source, now.steady, why)
    }

    /// A source fails in a way that leaves something unknown. Returns whether that is news.
    pub(in crate::controller) fn source_incomplete(
        &mut self,
        source: Source,
        why: &str,
        now: Now,
    ) -> bool {
        self.evidence.sources.incomplete(source, now.steady, why)
    }

    fn wake_for_node(&mut self, name: &Arc<str>) {
        let woken = self.parking.node_changed(name);
        self.requeue(woken);
    }

    fn wake_for_machines<'a>(&mut self, machines: impl Iterator<Item = &'a Machine>) {
        for machine in machines {
            for known_by in machine.known_by() {
                let woken = self.parking.machine_changed(&known_by);
                self.requeue(woken);
            }
        }
    }
}
