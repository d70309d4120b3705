//! Audits of the state for simulations: every open request must have a future, every queue a bound, and
//! no judgment may be out of date.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::State;
use crate::cluster::clock::Now;
use crate::controller::open_requests::{MOST_OF_ONE_REQUESTOR, OpenRequest};
use crate::controller::request_memory::MEMORY_OF_ALL_REQUESTS;
use crate::controller::{Controller, WRITES_AT_ONCE};
use judge::csr::names::San;
use judge::{Decision, judge};

/// Receiver of audits.
pub(crate) type Auditor = Arc<dyn Fn(&Audit) + Send + Sync>;

/// Interval of audits, in seconds.
const AUDIT_EVERY: i64 = 5;

/// Number of requestors without a request that may have a turn: they lose it when it comes.
const UNTAKEN_TURNS: usize = 16;

/// The findings of one audit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit {
    /// True if this replica may write.
    pub(crate) leads: bool,
    /// True if every source is ready.
    pub(crate) is_ready: bool,
    /// Names of the open requests.
    pub(crate) open: Vec<String>,
    /// Names, UIDs and addresses of the known Nodes.
    pub(crate) nodes: Vec<(String, String, Vec<String>)>,
    /// Requests that nothing will judge, write or wake.
    pub(crate) orphans: Vec<String>,
    /// The verdicts that open requests get now, by name, each with its findings as text.
    pub(crate) verdicts: BTreeMap<String, (Decision, String)>,
    /// Requests that would get another verdict now, each with both verdicts.
    pub(crate) outdated: Vec<(String, Outdated)>,
    /// Queues that exceed their bounds.
    pub(crate) too_long: Vec<String>,
}

/// A judgment that is out of date.
#[derive(Clone, Debug)]
pub(crate) struct Outdated {
    /// True if it was to be approved or denied, and the policy's enforcement writes that not.
    pub(crate) is_unwritten: bool,
    /// Both decisions.
    pub(crate) text: String,
}

impl Controller {
    /// Sends an audit to the auditor, if there is one.
    pub(in crate::controller) fn audit(&mut self, now: Now) {
        let Some(auditor) = self.auditor.clone() else {
            return;
        };
        if now.monotonic.as_second() % AUDIT_EVERY != 0 {
            return;
        }
        let leads = self.leadership.may_write();
        auditor(&Audit {
            leads,
            ..self.state.audit(self.writes.limit(), leads, now)
        });
    }
}

impl State {
    fn audit(&self, most_writes: usize, judges: bool, now: Now) -> Audit {
        let mut audit = Audit {
            is_ready: self.unready(now).is_empty(),
            ..Audit::default()
        };
        for node in self.evidence.nodes().iter() {
            let addresses = node.addresses.iter();
            audit.nodes.push((
                node.name.to_string(),
                node.uid.to_string(),
                addresses.map(|address| text(&address.san)).collect(),
            ));
        }
        for (uid, entry) in self.open.iter() {
            let is_next =
                self.writing.contains_key(uid) || self.queue.has(entry.request.username(), uid);
            if !is_next && !self.waiting.has(uid) {
                audit.orphans.push(uid.to_string());
            }
            let OpenRequest::Read(request) = &entry.request else {
                continue;
            };
            let name = &request.object.name;
            audit.open.push(name.clone());
            if is_next || !judges {
                continue;
            }
            let judgment = judge(
                request.as_ref(),
                &self.policy,
                &self.evidence,
                now.instants(),
            );
            let decision = judgment.verdict.decision();
            let findings = format!("{:?}", judgment.findings);
            audit.verdicts.insert(name.clone(), (decision, findings));
            if let Some(before) = entry.settled_decision()
                && before != decision
                && !self.unissued.is_full(&request.object.requestor.username)
            {
                let codes = judgment.codes();
                let text = format!("{before} when it was judged, now {decision} {codes:?}");
                let is_unwritten = before != Decision::Wait;
                let why = Outdated { is_unwritten, text };
                audit.outdated.push((name.clone(), why));
            }
        }
        let open = self.open.iter().count();
        let (of_one, memory) = self.open.extent();
        let bounds = [
            ("requests of one requestor", of_one, MOST_OF_ONE_REQUESTOR),
            ("memory of requests", memory, MEMORY_OF_ALL_REQUESTS),
            (
                "queue",
                self.queue.len(),
                open + self.writing.len() + UNTAKEN_TURNS,
            ),
            ("waiting requests", self.waiting.len(), open),
            (
                "running writes",
                self.writing.len(),
                most_writes.max(WRITES_AT_ONCE.into()),
            ),
            ("overtaken writes", self.overtaken.len(), self.writing.len()),
        ];
        for (what, found, most) in bounds {
            if found > most {
                audit
                    .too_long
                    .push(format!("{what}: expected at most {most}, found {found}"));
            }
        }
        audit
    }
}

/// A name or an address as in a Node.
fn text(san: &San) -> String {
    match san {
        San::Dns(name) => name.to_string(),
        San::Ip(ip) => ip.to_string(),
    }
}
