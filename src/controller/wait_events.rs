//! Events for requests that wait: `kubectl describe csr` says why a request is pending.
//!
//! A wait that ends by itself within seconds, as in a normal join, has no Event. The requests of one
//! requestor share a budget of Events, so that neither a thief nor a Node that changes continuously makes more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::judged::Judged;
use crate::cluster::events::WaitingRequest;
use crate::telemetry::printable::cut;
use crate::telemetry::remedy::remedy;
use jiff::Timestamp;
use judge::Verdict;
use judge::csr::{Uid, Username};
use judge::finding::{Code, Effect, Finding};
use judge::policy::Enforcement;

/// Time for which a request must have waited before it has an Event.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// Limit of reported waits of one requestor in [`PERIOD`].
pub(super) const MOST_IN_PERIOD: usize = 6;
/// The API server keeps Events for as long by default.
pub(super) const PERIOD: Duration = Duration::from_secs(3600);
/// Limit of waits that are to be reported.
const MAX_PENDING: usize = 1024;
/// Limit of requestors whose reported waits are remembered. Another one has no Events.
const MAX_REQUESTORS: usize = 4096;
/// Maximum length of the name of a request that has an Event, in bytes. A kubelet's is `csr-` and five characters.
const MAX_NAME_BYTES: usize = 253;
/// Maximum length of a finding's detail, in bytes. The remedy follows it.
const MAX_DETAIL_BYTES: usize = 500;
/// Limit of the further codes that a note names.
const MAX_FURTHER: usize = 8;

/// A wait that is to be reported.
#[derive(Debug)]
struct Pending {
    due: Instant,
    requestor: Username,
    request: WaitingRequest,
}

/// A reported wait.
#[derive(Debug)]
struct Reported {
    at: Instant,
    uid: Uid,
    code: Code,
}

/// Waits that are to be reported, and those that were.
#[derive(Debug, Default)]
pub(super) struct WaitEvents {
    pending: BTreeMap<Uid, Pending>,
    by_time: BTreeSet<(Instant, Uid)>,
    reported: BTreeMap<Username, Vec<Reported>>,
}

impl WaitEvents {
    /// Records a changed verdict.
    pub(super) fn record(&mut self, judged: &Judged, now: Instant, wall: Timestamp) {
        let before = self.remove(&judged.uid);
        let Some((finding, further)) = reason(judged) else {
            return;
        };
        let object = &judged.object;
        let requestor = &object.requestor.username;
        if !self.has_budget(requestor, &judged.uid, finding.code, now)
            || self.pending.len() >= MAX_PENDING
            || object.name.len() > MAX_NAME_BYTES
        {
            return;
        }
        // A code that changes all the time does not begin the time again.
        let due = before.map_or(now + GRACE, |pending| pending.due);
        let request = WaitingRequest {
            name: object.name.clone(),
            uid: object.uid.clone(),
            node: object.requestor.node(),
            code: finding.code,
            note: note(finding, further, wall),
        };
        self.by_time.insert((due, judged.uid.clone()));
        let pending = Pending {
            due,
            requestor: requestor.clone(),
            request,
        };
        self.pending.insert(judged.uid.clone(), pending);
    }

    /// The waits to report now, of requests that still exist. None while `may_write` is false: they are
    /// reported later.
    pub(super) fn due(
        &mut self,
        now: Instant,
        may_write: bool,
        is_open: impl Fn(&Uid) -> bool,
    ) -> Vec<WaitingRequest> {
        self.forget_old(now);
        let due = self.by_time.iter().take_while(|(due, _)| *due <= now);
        let due: Vec<Uid> = due.map(|(_, uid)| uid.clone()).collect();
        let mut requests = Vec::new();
        for uid in due {
            if may_write || !is_open(&uid) {
                let pending = self.remove(&uid).filter(|_| is_open(&uid));
                requests.extend(pending.and_then(|pending| self.report(pending, now)));
            }
        }
        requests
    }

    /// Takes a wait out of its requestor's budget. `None` if that is used up.
    fn report(&mut self, pending: Pending, now: Instant) -> Option<WaitingRequest> {
        let Pending {
            requestor, request, ..
        } = pending;
        if !self.has_budget(&requestor, &request.uid, request.code, now) {
            return None;
        }
        self.reported.entry(requestor).or_default().push(Reported {
            at: now,
            uid: request.uid.clone(),
            code: request.code,
        });
        Some(request)
    }

    /// True if another wait of the requestor may be reported, and this one was not reported with this code.
    fn has_budget(&self, requestor: &Username, uid: &Uid, code: Code, now: Instant) -> bool {
        let Some(reported) = self.reported.get(requestor) else {
            return self.reported.len() < MAX_REQUESTORS;
        };
        let recent = reported.iter().filter(|one| now < one.at + PERIOD);
        let last = reported.iter().rev().find(|one| one.uid == *uid);
        recent.count() < MOST_IN_PERIOD && last.is_none_or(|one| one.code != code)
    }

    fn remove(&mut self, uid: &Uid) -> Option<Pending> {
        let pending = self.pending.remove(uid)?;
        self.by_time.remove(&(pending.due, uid.clone()));
        Some(pending)
    }

    fn forget_old(&mut self, now: Instant) {
        self.reported.retain(|_, reported| {
            reported.retain(|one| now < one.at + PERIOD);
            !reported.is_empty()
        });
    }
}

/// The finding for which a request stays pending, and the codes of the others; `None` if it does not.
fn reason(judged: &Judged) -> Option<(&Finding, Vec<&'static str>)> {
    let effect = match (&judged.judgment.verdict, judged.enforcement) {
        (Verdict::Wait(_), _) => Effect::Wait,
        (Verdict::Deny(_), Enforcement::ApproveOnly) => Effect::Deny,
        (Verdict::Deny(_) | Verdict::Approve(_) | Verdict::Ignore, _) => return None,
    };
    let findings = judged.judgment.findings.iter();
    let decisive = findings.filter(|finding| finding.effect == effect);
    // A contested name concerns another node too.
    let contested = decisive.clone().find(|one| one.code.is_contested());
    let first = contested.or_else(|| decisive.clone().next())?;
    let mut further: Vec<&'static str> = Vec::new();
    for finding in decisive {
        let code = finding.code.as_str();
        if finding.code != first.code && !further.contains(&code) {
            further.push(code);
        }
    }
    Some((first, further))
}

fn note(finding: &Finding, further: Vec<&'static str>, wall: Timestamp) -> String {
    let detail = cut(&finding.detail, MAX_DETAIL_BYTES);
    let mut note = format!("{detail}. {}", remedy(finding, wall));
    if !further.is_empty() {
        let named: Vec<&str> = further.into_iter().take(MAX_FURTHER).collect();
        note.push_str(&format!(" Also: {}.", named.join(", ")));
    }
    note
}
