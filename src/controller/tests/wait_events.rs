//! Events for requests that wait: grace period, budget, bounds.

use std::sync::Arc;
use std::time::Duration;

use super::{Scene, node};
use crate::cluster::events::WaitingRequest;
use crate::controller::judged::Judged;
use crate::controller::wait_events::{GRACE, MOST_IN_PERIOD, PERIOD, WaitEvents};
use judge::finding::{Awaited, Code, Findings};
use judge::policy::Enforcement;
use judge::{Judgment, Verdict};

const SECOND: Duration = Duration::from_secs(1);

struct Reports {
    scene: Scene,
    events: WaitEvents,
}

impl Reports {
    fn new(enforcement: Enforcement) -> Reports {
        let mut scene = Scene::new(enforcement);
        scene.sync();
        Reports {
            scene,
            events: WaitEvents::default(),
        }
    }

    /// Judges all that is due, and records it as the loop does.
    fn judge(&mut self) {
        while let Some(judged) = self.scene.turn() {
            self.record(&judged);
        }
    }

    fn record(&mut self, judged: &Judged) {
        if judged.is_news {
            let now = self.scene.now;
            self.events.record(judged, now.instant, now.wall);
        }
    }

    fn due(&mut self) -> Vec<WaitingRequest> {
        let open = self.scene.state.open();
        let is_open = |uid: &judge::csr::Uid| open.get(uid).is_some();
        self.events.due(self.scene.now.instant, true, is_open)
    }

    fn codes(&mut self) -> Vec<(String, Code)> {
        let due = self.due().into_iter();
        due.map(|one| (one.name, one.code)).collect()
    }
}

/// A request of a node that waits with this code, without a state.
fn waits(node: &str, number: usize, code: Code) -> Judged {
    let mut scene = Scene::synced();
    scene.ask(node, number);
    let judged = scene.turn().unwrap();
    let mut findings = Findings::default();
    findings.wait(code, vec![Awaited::Policy], "expected a, found b");
    Judged {
        judgment: Judgment {
            verdict: Verdict::Wait(vec![Awaited::Policy]),
            findings,
            sans: Vec::new(),
        },
        is_news: true,
        ..Arc::unwrap_or_clone(judged)
    }
}

#[test]
fn a_wait_that_ends_within_the_grace_period_has_no_event() {
    let mut reports = Reports::new(Enforcement::ApproveAndDeny);
    reports.scene.ask("a", 1);
    reports.judge();
    reports.scene.pass(GRACE - SECOND);
    assert_eq!(reports.codes(), []);
    let created = reports.scene.now.wall;
    reports.scene.show(node("a", created));
    reports.judge();
    reports.scene.pass(GRACE);
    assert_eq!(reports.codes(), []);
}

#[test]
fn a_request_has_an_event_for_each_code_that_lasts() {
    let mut reports = Reports::new(Enforcement::ApproveAndDeny);
    reports.scene.ask("a", 1);
    reports.judge();
    reports.scene.pass(GRACE);
    let due = reports.due();
    assert_eq!(due.len(), 1);
    assert_eq!((&*due[0].name, due[0].code), ("csr-a-1", Code::NodeMissing));
    assert_eq!(due[0].node.as_ref().unwrap().as_str(), "a");
    assert!(
        due[0].note.ends_with("Changes when Node a exists."),
        "{}",
        due[0].note
    );

    // Judged again with the same result, it has no other one.
    reports.scene.pass(Duration::from_secs(120));
    reports.judge();
    assert_eq!(reports.codes(), []);

    let mut other = node("a", reports.scene.now.wall);
    other.addresses.truncate(1);
    reports.scene.show(other);
    reports.judge();
    assert_eq!(reports.codes(), []);
    reports.scene.pass(GRACE);
    let found = reports.codes();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_ne!(found[0].1, Code::NodeMissing);
}

#[test]
fn the_requests_of_a_node_share_a_budget() {
    let mut reports = Reports::new(Enforcement::ApproveAndDeny);
    for number in 0..32 {
        reports.scene.ask("flood", number);
    }
    reports.scene.ask("b", 1);
    reports.judge();
    reports.scene.pass(GRACE);
    let found = reports.codes();
    let of_flood = found.iter().filter(|(name, _)| name.contains("flood"));
    assert_eq!(of_flood.count(), MOST_IN_PERIOD);
    assert!(found.iter().any(|(name, _)| name == "csr-b-1"), "{found:?}");
    // A code that changes continuously is within the same budget.
    let changing = [Code::NodeMissing, Code::SanNotOfNode].map(|code| waits("b", 1, code));
    let mut found = 0;
    for second in 0..3600 {
        reports.record(&changing[second / 11 % 2]);
        reports.scene.now.instant += SECOND;
        let now = reports.scene.now.instant;
        found += reports.events.due(now, true, |_| true).len();
    }
    assert_eq!(found, MOST_IN_PERIOD - 1);
    reports.scene.now.instant += PERIOD;
    reports.record(&waits("b", 1, Code::NodeYounger));
    reports.scene.now.instant += GRACE;
    let now = reports.scene.now.instant;
    assert_eq!(reports.events.due(now, true, |_| true).len(), 1);
}

#[test]
fn memory_is_bounded_by_requestors_and_requests() {
    let mut events = WaitEvents::default();
    let judged = waits("a", 1, Code::NodeMissing);
    let mut now = judged.seen;
    let of = |number: usize| {
        let mut judged = judged.clone();
        judged.uid = format!("uid-{number}").into();
        let object = Arc::make_mut(&mut judged.object);
        object.uid = judged.uid.clone();
        object.requestor.username = format!("system:node:n{number}").into();
        judged
    };
    let mut found = 0;
    for number in 0..10_000 {
        events.record(&of(number), now, judged.object.created);
        if number % 1000 == 999 {
            now += GRACE;
            found += events.due(now, true, |_| true).len();
        }
    }
    assert_eq!(found, 4096);
    for number in 20_000..22_000 {
        events.record(&of(number), now + PERIOD + SECOND, judged.object.created);
    }
    now += 2 * PERIOD;
    assert_eq!(
        events.due(now, true, |_| true).len(),
        0,
        "there was no room"
    );
    for number in 20_000..22_000 {
        events.record(&of(number), now, judged.object.created);
    }
    assert_eq!(events.due(now + GRACE, true, |_| true).len(), 1024);
}

#[test]
fn a_wait_is_reported_once_the_replica_may_write() {
    let mut events = WaitEvents::default();
    let judged = waits("a", 1, Code::NodeMissing);
    let now = judged.seen;
    events.record(&judged, now, judged.object.created);
    let later = now + GRACE;
    assert_eq!(events.due(later, false, |_| true).len(), 0);
    assert_eq!(events.due(later, true, |_| true).len(), 1);
    // A request that is gone meanwhile is forgotten.
    events.record(
        &waits("a", 2, Code::NodeMissing),
        now,
        judged.object.created,
    );
    assert_eq!(events.due(later, false, |_| false).len(), 0);
    assert_eq!(events.due(later, true, |_| true).len(), 0);
}

#[test]
fn a_denial_that_is_not_written_is_reported() {
    for (enforcement, expected) in [
        (Enforcement::ApproveOnly, 1),
        (Enforcement::ApproveAndDeny, 0),
    ] {
        let mut reports = Reports::new(enforcement);
        let created = reports.scene.now.wall;
        let (object, _) = super::request("a", 1, created);
        reports.scene.show(node("a", created));
        reports.scene.see(object, b"not PEM");
        reports.judge();
        reports.scene.pass(GRACE);
        let found = reports.codes();
        assert_eq!(found.len(), expected, "{found:?}");
        assert!(found.iter().all(|(_, code)| *code == Code::PemMissing));
    }
}
