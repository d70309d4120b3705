//! The truth of the simulated world, and the checks of each decision by it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::terms::{Terms, number_in};
use super::world::World;
use judge::policy::Enforcement;

/// The longest time by which a judgment may be behind the API server, by design: a source that fails is
/// used for a minute, a silent watch is noticed after 65 s, and a write takes 4 s.
pub(super) const MAX_LAG: Duration = Duration::from_secs(60 + 65 + 10);
/// The longest time after the read of a policy for which one may still write by the policy before.
const MAX_POLICY_LAG: Duration = Duration::from_secs(6);
/// Validity of a Lease.
const LEASE: Duration = crate::cluster::lease::DURATION;

/// The content of a request, as its maker knows it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) node: String,
    /// Names and addresses, as in Nodes.
    pub(super) sans: Vec<String>,
    /// The kind of forgery; `None` for a genuine request.
    pub(super) forgery: Option<String>,
    /// True if the request waits, since another Node's word denies no one.
    pub(super) is_left_waiting: bool,
}

/// A Node's claim on a name or an address.
#[derive(Clone, Debug)]
struct Claim {
    node: String,
    /// The order of all claims.
    number: u64,
    until: Option<Instant>,
}

/// The truth.
#[derive(Default)]
pub(super) struct Truth {
    /// Claims by name or address, in the order of the API server.
    claims: BTreeMap<String, Vec<Claim>>,
    numbers: u64,
    /// Contents of requests by their number.
    asked: Vec<Asked>,
    /// The number of each request's content, by its name.
    requests: BTreeMap<String, usize>,
    /// Client, holder and time of the last write of the Lease.
    lease: Option<(String, String, Instant)>,
    /// The certificate that each host shows.
    pub(super) shown: BTreeMap<String, CertificateDer<'static>>,
    /// UIDs of the present Nodes by name.
    pub(super) nodes: BTreeMap<String, String>,
    /// Names of honest Nodes.
    pub(super) honest: BTreeSet<String>,
    /// All policies, by number.
    pub(super) policies: Vec<Terms>,
    /// The policies that each client has read, with the times.
    policies_read: BTreeMap<String, Vec<(usize, Instant)>>,
    /// Addresses of each Node's Machine, with the times at which they were removed.
    machines: BTreeMap<String, BTreeMap<String, Option<Instant>>>,
    /// Numbers of the last planned changes of Machines, with the addresses.
    machine_plans: BTreeMap<String, (u64, Option<IpAddr>)>,
}

impl Truth {
    /// Adds the content of a request. Returns its number.
    pub(super) fn ask(&mut self, asked: Asked) -> u64 {
        self.asked.push(asked);
        u64::try_from(self.asked.len() - 1).unwrap_or_default()
    }

    /// Records the name of a request.
    pub(super) fn requested(&mut self, name: &str, asked: u64) {
        self.requests
            .insert(name.to_owned(), usize::try_from(asked).unwrap_or_default());
    }

    /// Forgets a request that was deleted.
    pub(super) fn forget(&mut self, name: &str) {
        self.requests.remove(name);
    }

    /// The content of a request.
    pub(super) fn content(&self, name: &str) -> Option<&Asked> {
        self.asked.get(*self.requests.get(name)?)
    }

    /// Records a write of the Lease. Returns true if it has another holder.
    pub(super) fn lease_written(&mut self, client: &str, holder: &str) -> bool {
        let before = self
            .lease
            .replace((client.to_owned(), holder.to_owned(), Instant::now()));
        !holder.is_empty() && before.is_none_or(|(_, before, _)| before != holder)
    }

    /// Records that a client has read this policy.
    pub(super) fn policy_read(&mut self, client: &str, number: usize) {
        let read = self.policies_read.entry(client.to_owned()).or_default();
        read.push((number, Instant::now()));
    }

    /// Records a planned change of a Machine. Returns its number.
    pub(super) fn machine_planned(&mut self, node: &str, address: Option<IpAddr>) -> u64 {
        let (number, planned) = self.machine_plans.entry(node.to_owned()).or_default();
        *number += 1;
        *planned = address;
        *number
    }

    /// True if no later change of the Machine is planned.
    pub(super) fn is_latest_machine(&self, node: &str, number: u64) -> bool {
        let latest = self.machine_plans.get(node);
        latest.is_some_and(|(latest, _)| *latest == number)
    }

    /// Records the state of a Machine.
    pub(super) fn machine_written(&mut self, node: &str, machine: Option<&Map<String, Value>>) {
        let annotations = machine.and_then(|machine| machine.get("metadata")?.get("annotations"));
        let address = annotations.and_then(|annotations| annotations.get("address")?.as_str());
        let addresses = self.machines.entry(node.to_owned()).or_default();
        for (of, until) in addresses.iter_mut() {
            if until.is_none() && address != Some(of) {
                *until = Some(Instant::now());
            }
        }
        if let Some(address) = address {
            addresses.insert(address.to_owned(), None);
        }
    }

    /// Records the state of a Node. Returns the number of claims that begin on what an honest Node has.
    pub(super) fn node_written(&mut self, name: &str, node: Option<&Map<String, Value>>) -> u64 {
        let sans = node.map(sans).unwrap_or_default();
        let now = Instant::now();
        let uid = node.and_then(|node| node.get("metadata")?.get("uid")?.as_str());
        match uid {
            Some(uid) => self.nodes.insert(name.to_owned(), uid.to_owned()),
            None => self.nodes.remove(name),
        };
        for (san, claims) in &mut self.claims {
            claims.retain(|claim| claim.until.is_none_or(|until| now - until < MAX_LAG));
            for claim in claims.iter_mut().filter(|claim| claim.node == name) {
                if claim.until.is_none() && !sans.contains(san) {
                    claim.until = Some(now);
                }
            }
        }
        self.claims.retain(|_, claims| !claims.is_empty());
        let mut contested = 0;
        for san in sans {
            let claims = self.claims.entry(san).or_default();
            let is_held = |claim: &Claim| claim.until.is_none();
            if claims
                .iter()
                .any(|claim| claim.node == name && is_held(claim))
            {
                continue;
            }
            let is_honest = |claim: &Claim| self.honest.contains(&claim.node);
            contested += u64::from(
                claims
                    .iter()
                    .any(|claim| is_held(claim) && is_honest(claim)),
            );
            self.numbers += 1;
            claims.push(Claim {
                node: name.to_owned(),
                number: self.numbers,
                until: None,
            });
        }
        contested
    }

    /// The reason why an approval with this message is wrong, if it is.
    fn objection(&self, name: &str, message: &str) -> Option<String> {
        let asked = self.content(name)?;
        if let Some(forgery) = &asked.forgery
            && !asked.is_left_waiting
        {
            return Some(format!("it is forged: {forgery}"));
        }
        for san in &asked.sans {
            let claims = self.claims.get(san).map(Vec::as_slice).unwrap_or_default();
            let Some(own) = claims.iter().rev().find(|claim| claim.node == asked.node) else {
                return Some(format!("Node {} did not have {san} recently", asked.node));
            };
            // Where a Machine must vouch, a Node without one takes nothing from others.
            let terms = number_in(message).and_then(|number| self.policies.get(number));
            let needs_machine = terms.is_some_and(|terms| terms.needs_machines);
            let may_have = |claim: &Claim| !needs_machine || self.has_machine(&claim.node, san);
            let is_owner = |claim: &&Claim| {
                claim.until.is_none() && claim.number < own.number && may_have(claim)
            };
            if let Some(owner) = claims.iter().find(is_owner) {
                return Some(format!(
                    "Node {} had {san} before {}",
                    owner.node, asked.node
                ));
            }
        }
        None
    }

    /// The reason why this decision is not by the client's policy, if it is not.
    fn not_by_policy(
        &self,
        client: &str,
        request: &str,
        is_approval: bool,
        message: &str,
    ) -> Option<String> {
        let number = number_in(message)?;
        let read = self.policies_read.get(client)?;
        let replaced = read.iter().rev().take_while(|(of, _)| *of != number).last();
        if let Some((by, at)) = replaced
            && at.elapsed() > MAX_POLICY_LAG
        {
            let seconds = at.elapsed().as_secs();
            return Some(format!(
                "policy {number} was replaced by {by} {seconds} s ago"
            ));
        }
        let terms = self.policies.get(number)?;
        match (terms.enforcement, is_approval) {
            (Enforcement::DryRun, _) | (Enforcement::ApproveOnly, false) => {
                return Some(format!("the policy is {}", terms.enforcement));
            }
            (Enforcement::ApproveOnly | Enforcement::ApproveAndDeny, _) => {}
        }
        if !terms.needs_machines || !is_approval {
            return None;
        }
        let asked = self.content(request)?;
        let mut sans = asked.sans.iter();
        let lacking = sans.find(|san| !self.has_machine(&asked.node, san))?;
        Some(format!(
            "the Machine of {} did not have {lacking} recently",
            asked.node
        ))
    }

    /// True if the Machine of this Node had the name or address recently.
    fn has_machine(&self, node: &str, san: &str) -> bool {
        let is_recent = |until: &Option<Instant>| until.is_none_or(|at| at.elapsed() < MAX_LAG);
        self.machines.get(node).is_some_and(|machine| {
            let is_name = san == node && machine.values().any(is_recent);
            is_name || machine.get(san).is_some_and(is_recent)
        })
    }

    /// The reason why a client may not write decisions now, if it may not.
    fn not_leading(&self, client: &str) -> Option<String> {
        let Some((by, holder, renewed)) = &self.lease else {
            return Some("no one has the Lease".into());
        };
        if by != client || holder.is_empty() {
            return Some(format!(
                "{by} has written the Lease, with holder `{holder}`"
            ));
        }
        let age = renewed.elapsed();
        (age >= LEASE).then(|| format!("its Lease ended, {} s after the renewal", age.as_secs()))
    }
}

impl World {
    /// Checks a decision right before it is stored. `is_late`: its client has given the write up.
    pub(super) fn check_decision(&self, client: &str, name: &str, body: &Value, is_late: bool) {
        let Some(object) = body.as_object() else {
            return;
        };
        let is_approval = super::world::has_condition(object, "Approved");
        let stored = self.api.object("certificatesigningrequests", name);
        // The API server rejects a write on another version.
        let version =
            |object: &Map<String, Value>| object.get("metadata")?.get("resourceVersion").cloned();
        if stored.as_ref().and_then(version) != version(object) {
            return;
        }
        let message = body.pointer("/status/conditions/0/message");
        let message = message.and_then(Value::as_str).unwrap_or_default();
        let truth = self.truth();
        let mut objections = Vec::new();
        if !is_late {
            objections.extend(truth.not_leading(client));
            objections.extend(truth.not_by_policy(client, name, is_approval, message));
        }
        if is_approval {
            objections.extend(truth.objection(name, message));
        } else if truth
            .content(name)
            .is_some_and(|asked| asked.forgery.is_none())
        {
            objections.push("the request is genuine".into());
        }
        drop(truth);
        self.count(|tally| match is_approval {
            true => tally.approvals += 1,
            false => tally.denials += 1,
        });
        let what = if is_approval { "approves" } else { "denies" };
        for objection in objections {
            self.find(format!(
                "{client} {what} {name} ({message}), but {objection}"
            ));
        }
    }
}

/// The names and addresses in a Node, with its own name.
fn sans(node: &Map<String, Value>) -> BTreeSet<String> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let addresses = node
        .get("status")
        .and_then(|status| status.get("addresses"));
    let addresses = addresses.and_then(Value::as_array).into_iter().flatten();
    let name = node
        .get("metadata")
        .and_then(|metadata| text(metadata, "name"));
    let addresses = addresses.filter_map(|address| text(address, "address"));
    addresses.chain(name).collect()
}
