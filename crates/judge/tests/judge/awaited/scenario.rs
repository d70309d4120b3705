//! A scenario: a request, a cluster, a policy and a time, each of which can change.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use judge::csr::Request;
use judge::csr::names::San;
use judge::evidence::{Claimed, Source};
use judge::finding::{Awaited, Code, Question};
use judge::policy::{AllowOrWait, AllowedIdentities, Corroboration, Policy, ServiceLike};
use judge::{Judgment, judge};

use testkit::cluster::{
    AnswerSpec, CertificateSpec, MachineSpec, NodeSpec, ProtectedSpec, QuestionSpec,
};
use testkit::now;
use testkit::policies::BasePolicy;
use testkit::strategies::{Address, address};
use testkit::vector::{Vector, request_pem};

/// An address that no vector and no random cluster has.
const UNCLAIMED: &str = "192.0.2.77";

/// The state of everything that a verdict depends on.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub vector: Vector,
    request: Request,
    policy: Policy,
    now: Timestamp,
}

impl Scenario {
    pub fn new(vector: &Vector, base: BasePolicy) -> Scenario {
        let mut vector = vector.clone();
        vector.nodes.append(&mut vector.others);
        vector.protected.append(&mut vector.also_protected);
        let text = request_pem(&vector.request);
        Scenario {
            request: vector.read(text.as_bytes()),
            policy: base.with(vector.policy.as_ref()),
            now: now(),
            vector,
        }
    }

    pub fn judge(&self) -> Judgment {
        judge(
            &self.request,
            &self.policy,
            &self.vector.evidence(),
            self.now,
        )
    }

    /// Changes this thing only: an existing Node is removed, a Node of another name comes, everything else
    /// is fixed.
    pub fn change(&mut self, thing: &Awaited) {
        match thing {
            Awaited::Node(name) if self.has_node(name) => self.remove_node(name),
            Awaited::Node(name) if !self.is_requestor(name) => self.vector.nodes.push(NodeSpec {
                name: name.to_string(),
                addresses: Vec::new(),
                ..NodeSpec::default()
            }),
            Awaited::Node(_)
            | Awaited::Claim(_)
            | Awaited::Machine(_)
            | Awaited::Answer(_)
            | Awaited::Source(_)
            | Awaited::Time(_)
            | Awaited::ProtectedIdentities
            | Awaited::Policy => {
                self.fix(thing);
            }
        }
    }

    /// Changes this thing only, in favor of the request.
    pub fn fix(&mut self, thing: &Awaited) {
        match thing {
            Awaited::Node(name) if self.is_requestor(name) => self.fix_own_node(),
            Awaited::Node(name) => self.remove_node(name),
            Awaited::Claim(claimed) => self.end_claims(claimed),
            Awaited::Machine(key) => self.fix_machines(key),
            Awaited::Answer(question) => self.fix_answer(question),
            Awaited::Source(name) => self.fix_source(name),
            Awaited::Time(time) => self.now = self.now.max(*time),
            Awaited::ProtectedIdentities => self.unprotect(),
            Awaited::Policy => self.loosen_policy(),
        }
    }

    /// Ends all claims on this but the requestor's.
    fn end_claims(&mut self, claimed: &Claimed) {
        let own = self.request.object.requestor.node();
        let own = own.as_ref().map(|own| own.as_str());
        if let Claimed::San(San::Ip(ip)) = claimed {
            let named = ip.to_string();
            let nodes = &mut self.vector.nodes;
            nodes.retain(|node| node.name != named || Some(&*node.name) == own);
        }
        for node in &mut self.vector.nodes {
            let is_own = Some(&*node.name) == own;
            match claimed {
                Claimed::San(_) | Claimed::ProviderId(_) if is_own => {}
                Claimed::San(san) => node.addresses.retain(|entry| !has(entry, san)),
                Claimed::PodNetwork(network) => node.pod_cidrs.retain(|own| own != network),
                Claimed::ProviderId(_) => node.provider_id = None,
            }
        }
    }

    fn is_claimant(node: &NodeSpec, claimed: &Claimed) -> bool {
        match claimed {
            Claimed::San(san) => {
                node.addresses.iter().any(|entry| has(entry, san)) || text(san) == node.name
            }
            Claimed::PodNetwork(network) => node.pod_cidrs.contains(network),
            Claimed::ProviderId(id) => node.provider_id.as_deref() == Some(id),
        }
    }

    /// Changes everything but these things in favor of the request. The policy stays, because a new
    /// policy judges every request again.
    pub fn fix_all_except(&mut self, these: &[Awaited]) {
        let codes = self.judge().codes();
        let named = |name: &str| {
            these
                .iter()
                .any(|thing| matches!(thing, Awaited::Node(node) if **node == *name))
        };
        let claims = |node: &NodeSpec| {
            these.iter().any(
                |thing| matches!(thing, Awaited::Claim(claimed) if Scenario::is_claimant(node, claimed)),
            )
        };
        let own = self.request.object.requestor.node();
        let is_own = |name: &str| own.as_ref().is_some_and(|own| own.as_str() == name);
        self.vector
            .nodes
            .retain(|node| named(&node.name) || is_own(&node.name) || claims(node));
        if own.as_ref().is_some_and(|own| !named(own.as_str())) {
            self.fix_own_node();
        }
        for source in Source::ALL {
            if !these.contains(&Awaited::Source(source.as_str())) {
                self.fix_source(source.as_str());
            }
        }
        let is_machine = |thing: &Awaited| matches!(thing, Awaited::Machine(_));
        if self.vector.machines.is_some() && !these.iter().any(is_machine) {
            self.fix_machines("");
        }
        let waits_for_time = these.iter().any(|thing| matches!(thing, Awaited::Time(_)));
        if !waits_for_time {
            self.now += SignedDuration::from_mins(1);
        }
        // Recently protected identities expire with time only.
        let goes_with_time = |part: &ProtectedSpec| part.until.is_some();
        // And what is protected stays so for as long.
        let waits_for_label_or_policy = codes.iter().any(|code| {
            [
                Code::SanApiServerEndpointUnowned,
                Code::SanApiServerIdentityUnowned,
                Code::SanApiServerIdentityNotAllowed,
            ]
            .contains(code)
        });
        let waits_for_protection = these.contains(&Awaited::ProtectedIdentities);
        let keeps_all = waits_for_label_or_policy || waits_for_protection;
        self.vector
            .protected
            .retain(|part| keeps_all || (waits_for_time && goes_with_time(part)));
        self.vector.keys.clear();
    }

    /// Ends the protection of the requested names by certificates and objects.
    fn unprotect(&mut self) {
        let wanted: BTreeSet<String> = self.wanted().iter().map(text).collect();
        let is_wanted = |part: &ProtectedSpec| part.sans.iter().any(|san| wanted.contains(san));
        self.vector.protected.retain(|part| !is_wanted(part));
    }

    /// Makes the source ready, and lists the requested names in the inventory.
    fn fix_source(&mut self, name: &str) {
        self.vector.sources.remove(name);
        if name != Source::Inventory.as_str() || self.vector.inventory.is_none() {
            return;
        }
        let of = |wanted: fn(&San) -> bool| -> Vec<String> {
            let wanted = self.wanted().into_iter().filter(wanted);
            wanted.map(|san| text(&san)).collect()
        };
        if let Some(own) = self.request.object.requestor.node() {
            self.vector.inventory = Some(serde_json::json!({"nodes": [{
                "name": own.as_str(),
                "addresses": of(|san| matches!(san, San::Ip(_))),
                "names": of(|san| matches!(san, San::Dns(_))),
            }]}));
        }
    }

    /// Removes Machines without a node, and adds the one complete Machine of the node. A key removes
    /// the Machine of that key instead.
    fn fix_machines(&mut self, key: &str) {
        let own = self.request.object.requestor.node();
        let name = own.as_ref().map(|own| own.as_str());
        let addresses = self.wanted().iter().map(text).collect();
        let of_node = self
            .vector
            .nodes
            .iter()
            .find(|node| Some(&*node.name) == name);
        let id = of_node.and_then(|node| node.provider_id.clone());
        let machines = self.vector.machines.get_or_insert_default();
        if key.contains(' ') {
            machines.retain(|spec| spec.machine().key.as_ref() != key);
            return;
        }
        machines.retain(|spec| spec.node.is_some() && spec.node.as_deref() != name);
        machines.push(MachineSpec {
            name: "put-right".into(),
            node: name.map(str::to_owned),
            provider_id: id.or_else(|| MachineSpec::default().provider_id),
            addresses,
            ..MachineSpec::default()
        });
    }

    /// Answers the question with the requested names.
    fn fix_answer(&mut self, question: &Question) {
        let wanted = self.wanted();
        let own = self.request.object.requestor.node();
        let under = |suffix| own.iter().map(move |own| format!("{own}.{suffix}"));
        let (to, sans): (QuestionSpec, Vec<String>) = match question {
            Question::Addresses(name) => {
                let ips = wanted.iter().filter(|san| matches!(san, San::Ip(_)));
                (
                    QuestionSpec::Addresses(name.to_string()),
                    ips.map(text).collect(),
                )
            }
            Question::Names(ip) => (QuestionSpec::Names(*ip), under("example.com").collect()),
            Question::Certificate(ip) => {
                let to = QuestionSpec::Certificate(*ip);
                (to, wanted.iter().map(text).collect())
            }
        };
        let is_certificate = matches!(to, QuestionSpec::Certificate(_));
        let (sans, certificate) = if is_certificate {
            let node = own.map(|own| own.as_str().to_owned()).unwrap_or_default();
            let age = SignedDuration::ZERO;
            (None, Some(CertificateSpec { node, age, sans }))
        } else {
            (Some(sans), None)
        };
        self.vector.answers.push(AnswerSpec {
            to,
            sans,
            empty: None,
            certificate,
            failed: None,
            holds: SignedDuration::from_hours(1),
        });
    }

    fn is_requestor(&self, name: &str) -> bool {
        let own = self.request.object.requestor.node();
        own.is_some_and(|own| own.as_str() == name)
    }

    fn has_node(&self, name: &str) -> bool {
        self.vector.nodes.iter().any(|node| node.name == name)
    }

    fn remove_node(&mut self, name: &str) {
        self.vector.nodes.retain(|node| node.name != name);
    }

    /// Adds or completes the Node: older than the request, initialized, with the requested names.
    fn fix_own_node(&mut self) {
        let Some(name) = self.request.object.requestor.node() else {
            return;
        };
        if !self.has_node(name.as_str()) {
            self.vector.nodes.push(NodeSpec {
                name: name.as_str().into(),
                addresses: Vec::new(),
                age: SignedDuration::ZERO,
                ..NodeSpec::default()
            });
        }
        let asked_ago = now().duration_since(self.request.object.created);
        let wanted = self.wanted();
        let nodes = &mut self.vector.nodes;
        let node = nodes.iter_mut().find(|node| node.name == name.as_str());
        let node = node.expect("it is there by now");
        node.uninitialized = false;
        node.control_plane = true;
        let id = || MachineSpec::default().provider_id;
        node.provider_id = node.provider_id.take().or_else(id);
        node.age = node.age.max(asked_ago + SignedDuration::from_secs(1));
        node.first_seen = None;
        let has: BTreeSet<San> = node.node().addresses.into_iter().map(|a| a.san).collect();
        if has != wanted {
            node.addresses = wanted
                .iter()
                .map(|san| match san {
                    San::Dns(_) => address("InternalDNS", &text(san)),
                    San::Ip(_) => address("InternalIP", &text(san)),
                })
                .collect();
            node.stable = Some(SignedDuration::ZERO);
        }
    }

    /// The addresses for which the request is correct. A Node must have an IP address even if the
    /// request has none.
    fn wanted(&self) -> BTreeSet<San> {
        let content = self.request.content.as_ref();
        let asked = content.map_or(&[][..], |content| &content.sans);
        let mut wanted: BTreeSet<San> = asked.iter().cloned().collect();
        if !asked.iter().any(|san| matches!(san, San::Ip(_))) {
            wanted.extend(San::from_ip_text(UNCLAIMED));
        }
        wanted
    }

    fn loosen_policy(&mut self) {
        let own = self.request.object.requestor.node();
        let wanted = self.wanted();
        let spec = &mut self.policy.spec;
        spec.proof.ip_addresses = Corroboration::default();
        spec.proof.node_name = Corroboration::default();
        spec.proof.dns_names = Corroboration::default();
        spec.names.max = 256;
        spec.names.dns_only = AllowOrWait::Allow;
        spec.names.incomplete = AllowOrWait::Allow;
        spec.names.dns_suffixes.clear();
        spec.names.networks.clear();
        spec.names.service_like = ServiceLike::Allow;
        if let Some(own) = own {
            let sans = wanted.iter().map(text).collect();
            let node = own.as_str().to_owned();
            spec.protected.allowed.push(AllowedIdentities {
                node: Some(node),
                nodes: None,
                sans,
            });
        }
    }
}

fn has(entry: &Address, san: &San) -> bool {
    let mut values = entry.values();
    values.any(|value| San::from_host_text(value).as_ref() == Some(san))
}

/// The name or address alone.
fn text(san: &San) -> String {
    match san {
        San::Dns(name) => name.to_string(),
        San::Ip(ip) => ip.to_string(),
    }
}
