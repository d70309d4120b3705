//! The simulated world: the API server, the faults, and the record of what happens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apiserver_sim::InMemory;
use jiff::Timestamp;
use lab::random::SeededRng;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::faults::{Fault, Faults, Party};
use super::machines::MACHINES;
use super::network::{Call, Client};
use super::tally::Tally;
use super::truth::Truth;

/// The time at which every simulation begins.
pub(super) const BEGIN: Timestamp = Timestamp::constant(1_796_000_000, 0);
/// The collection of requests.
pub(super) const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// The collection of Nodes.
pub(super) const NODES: &str = "/api/v1/nodes";
/// The maximum number of findings of one simulation: more tell nothing new.
const MAX_FINDINGS: usize = 20;

/// The world of one simulation.
pub(super) struct World {
    pub(super) api: InMemory,
    seed: u64,
    begun: Instant,
    /// The certificate that the API server shows.
    pub(super) server_certificate: Vec<u8>,
    record: Mutex<Record>,
    truth: Mutex<Truth>,
    faults: Mutex<Faults>,
    /// Clients that wait for a change of a request.
    waiting: Mutex<BTreeMap<String, Arc<Notify>>>,
    /// Names of approved requests.
    approved: mpsc::UnboundedSender<String>,
    /// Names of new requests.
    created: mpsc::UnboundedSender<String>,
}

/// The record of what happened.
#[derive(Default)]
struct Record {
    tally: Tally,
    findings: Vec<String>,
    /// Every write, fault and event, if it is kept.
    trace: Option<String>,
    /// A digest of the same.
    digest: DefaultHasher,
}

/// The result of a simulation.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) findings: Vec<String>,
    pub(super) trace: String,
    pub(super) digest: u64,
}

impl World {
    pub(super) fn new(
        seed: u64,
        keeps_trace: bool,
        approved: mpsc::UnboundedSender<String>,
        created: mpsc::UnboundedSender<String>,
    ) -> Arc<World> {
        let api = InMemory::new(BEGIN, seed).expect("an API server");
        let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let addresses = ["10.96.0.1", "127.0.0.1"].map(|ip| ip.parse().expect("an address"));
        let pair = api
            .ca()
            .serving("kube-apiserver", &names.map(str::to_owned), &addresses);
        let pem = pair.expect("a certificate").certificate;
        let certificates = crate::cluster::certificate_fields::certificates_of_pem(&pem);
        let (server, _) = certificates.expect("PEM").remove(0);
        Arc::new(World {
            api,
            seed,
            begun: Instant::now(),
            server_certificate: server.to_vec(),
            record: Mutex::new(Record {
                trace: keeps_trace.then(String::new),
                ..Record::default()
            }),
            truth: Mutex::default(),
            faults: Mutex::default(),
            waiting: Mutex::default(),
            approved,
            created,
        })
    }

    /// The time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Random numbers of this name and number.
    pub(super) fn rng(&self, name: &str, number: u64) -> SeededRng {
        rng(self.seed, name, number)
    }

    pub(super) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the counts.
    pub(super) fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.record().tally);
    }

    /// Adds a line to the trace.
    pub(super) fn trace(&self, line: &str) {
        let at = self.elapsed().as_millis();
        let mut record = self.record();
        (at, line).hash(&mut record.digest);
        if let Some(trace) = &mut record.trace {
            let _ = writeln!(trace, "{:>12}.{:03} {line}", at / 1000, at % 1000);
        }
    }

    /// Records a finding.
    pub(super) fn find(&self, finding: String) {
        self.trace(&format!("FINDING {finding}"));
        let at = self.elapsed().as_secs();
        let mut record = self.record();
        record.tally.findings += 1;
        if record.findings.len() < MAX_FINDINGS {
            record.findings.push(format!("after {at} s: {finding}"));
        }
    }

    /// Returns true once there is a finding.
    pub(super) fn has_failed(&self) -> bool {
        !self.record().findings.is_empty()
    }

    /// The result so far.
    pub(super) fn outcome(&self) -> Outcome {
        let mut record = self.record();
        record.tally.seeds = 1;
        record.tally.simulated = self.elapsed();
        Outcome {
            tally: record.tally.clone(),
            findings: record.findings.clone(),
            trace: record.trace.clone().unwrap_or_default(),
            digest: record.digest.finish(),
        }
    }

    /// The faults in force.
    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the fault of a request.
    pub(super) fn draw_fault(
        &self,
        client: &str,
        party: Party,
        call: &Call,
        rng: &mut SeededRng,
    ) -> Option<Fault> {
        let fault = self.faults().draw(party, call.verb, rng)?;
        self.trace(&format!("{client} {} {}: {fault}", call.method, call.path));
        self.count(|tally| *tally.faults.entry(fault.as_str()).or_default() += 1);
        Some(fault)
    }

    /// A notification of the next change of this request.
    pub(super) fn changes_of(&self, request: &str) -> Arc<Notify> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(request.to_owned()).or_default().clone()
    }

    /// Forgets the notification of this request.
    pub(super) fn forget_changes_of(&self, request: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(request);
    }

    fn notify(&self, request: &str) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(changed) = waiting.get(request) {
            changed.notify_one();
        }
    }

    /// Checks a request right before it is served.
    pub(super) fn before(&self, client: &Client, call: &Call, body: &[u8], is_late: bool) {
        let Party::Replica(_) = client.link.party else {
            return;
        };
        if let Some((name, "approval")) = call.object(REQUESTS) {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            self.check_decision(&client.link.name, name, &body, is_late);
        }
    }

    /// Records a write that was served.
    pub(super) fn after(
        &self,
        client: &Client,
        call: &Call,
        status: u16,
        body: &[u8],
        asked: Option<u64>,
    ) {
        let link = &client.link.name;
        self.trace(&format!("{link} {} {} {status}", call.method, call.path));
        if status >= 300 || call.is_dry_run {
            return;
        }
        if let Some((name, _)) = call.object(MACHINES) {
            let name = written_name(name, body);
            let machine = self
                .api
                .object("networkpolicies", &format!("kube-system/{name}"));
            self.truth().machine_written(&name, machine.as_ref());
        } else if call.path.contains("/leases") {
            let lease: Value = serde_json::from_slice(body).unwrap_or_default();
            let holder = lease
                .pointer("/spec/holderIdentity")
                .and_then(Value::as_str);
            let changed = self.truth().lease_written(link, holder.unwrap_or_default());
            self.count(|tally| tally.leader_changes += u64::from(changed));
        } else if let Some((name, part)) = call.object(REQUESTS) {
            if name.is_empty() {
                let made: Value = serde_json::from_slice(body).unwrap_or_default();
                let name = made.pointer("/metadata/name").and_then(Value::as_str);
                if let (Some(name), Some(asked)) = (name, asked) {
                    self.truth().requested(name, asked);
                    // The labeler runs as long as the world.
                    let _ = self.created.send(name.to_owned());
                }
                return;
            }
            let stored = self.api.object("certificatesigningrequests", name);
            if part == "approval" && stored.is_some_and(|stored| has_condition(&stored, "Approved"))
            {
                // The signer runs as long as the world.
                let _ = self.approved.send(name.to_owned());
            }
            self.notify(name);
        } else if let Some((name, _)) = call.object(NODES) {
            let name = written_name(name, body);
            let node = self.api.object("nodes", &name);
            let contested = self.truth().node_written(&name, node.as_ref());
            self.count(|tally| tally.contested_claims += contested);
        }
    }
}

/// The name of a written object: that in the path, or in the answer if it was created.
fn written_name(in_path: &str, answer: &[u8]) -> String {
    if !in_path.is_empty() {
        return in_path.to_owned();
    }
    let made: Value = serde_json::from_slice(answer).unwrap_or_default();
    let name = made.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

/// True if an object has this condition.
pub(super) fn has_condition(object: &serde_json::Map<String, Value>, wanted: &str) -> bool {
    let conditions = object
        .get("status")
        .and_then(|status| status.get("conditions"));
    let conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    conditions
        .into_iter()
        .any(|condition| condition.get("type").and_then(Value::as_str) == Some(wanted))
}

/// Random numbers of this seed, name and number.
pub(super) fn rng(seed: u64, name: &str, number: u64) -> SeededRng {
    let mut hasher = DefaultHasher::new();
    (seed, name, number).hash(&mut hasher);
    SeededRng::new(hasher.finish())
}
