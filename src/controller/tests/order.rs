//! The clock of an API server was ahead for a while: the order that the watches showed decides.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Scene, assert_approved, codes, node, request};
use crate::cluster::approval::Outcome;
use judge::Decision;
use judge::csr::FirstSeen;
use judge::csr::names::NodeName;
use judge::evidence::Fact;
use judge::finding::Code;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const MINUTE: Duration = Duration::from_secs(60);

impl Scene {
    /// The watch shows Node `a`, which a clock this far ahead has dated.
    fn register(&mut self, uid: &str, ahead: SignedDuration, version: u32) {
        let mut node = node("a", self.now.wall + ahead);
        node.uid = uid.into();
        node.addresses_since = self.now.monotonic;
        node.first_seen = FirstSeen::new(self.now.monotonic, &version.to_string(), true);
        self.show(node);
    }

    /// The watch shows a request of node `a`, which a clock this far ahead has dated.
    fn post(&mut self, number: usize, ahead: SignedDuration, version: u32) {
        let (mut object, encoded) = request("a", number, self.now.wall + ahead);
        object.resource_version = version.to_string();
        self.see(object, &encoded);
    }

    /// The next request waits because its Node is younger, and the finding names what decided.
    #[track_caller]
    fn expect_younger(&mut self, decided: &str) {
        let turn = self.turn().unwrap();
        assert_eq!(codes(&turn), [Code::NodeYounger], "{:?}", turn.judgment);
        assert_eq!(turn.judgment.verdict.decision(), Decision::Wait);
        let findings = turn.judgment.findings.iter();
        let details: Vec<&str> = findings.map(|finding| finding.detail.as_str()).collect();
        assert!(details[0].contains(decided), "{details:?}");
    }
}

#[test]
fn a_node_that_came_while_the_clock_was_ahead_is_served_when_it_is_right() {
    let mut scene = Scene::synced();
    scene.register("uid-1", HOUR, 10);
    scene.pass(MINUTE);
    scene.post(1, SignedDuration::ZERO, 11);
    let turn = scene.turn().unwrap();
    assert_approved(&turn);
    scene.end(&turn, Outcome::Written);
    // An update of the Node changes nothing about that.
    scene.register("uid-1", HOUR - SignedDuration::from_mins(1), 12);
    scene.pass(MINUTE);
    scene.post(2, SignedDuration::ZERO, 13);
    assert_approved(&scene.turn().unwrap());
}

#[test]
fn a_node_that_is_recreated_while_its_request_waits_is_younger() {
    let by_timestamps =
        "was created at 2026-11-24T10:01:00Z, after the request at 2026-11-24T10:00:00Z";
    for (ahead, decided) in [
        (SignedDuration::ZERO, by_timestamps),
        (HOUR, "the request has resourceVersion 10, the Node 11"),
    ] {
        let mut scene = Scene::synced();
        scene.register("uid-1", SignedDuration::ZERO, 8);
        scene.know(Fact::NodeGone(NodeName::parse("a").unwrap()));
        scene.post(1, SignedDuration::ZERO, 10);
        assert_eq!(codes(&scene.turn().unwrap()), [Code::NodeMissing]);
        scene.pass(MINUTE);
        scene.decisions();
        scene.register("uid-2", ahead, 11);
        scene.expect_younger(decided);
        // The new kubelet's own request is served.
        scene.pass(Duration::from_secs(1));
        scene.post(2, ahead, 12);
        assert_approved(&scene.turn().unwrap());
    }
}

#[test]
fn a_node_that_is_recreated_without_a_gap_is_younger() {
    let mut scene = Scene::synced();
    scene.register("uid-1", HOUR, 8);
    scene.pass(MINUTE);
    scene.post(1, SignedDuration::ZERO, 10);
    scene.register("uid-2", HOUR, 11);
    scene.expect_younger("the request has resourceVersion 10, the Node 11");
}

#[test]
fn a_request_of_the_future_does_not_outlive_its_node() {
    let mut scene = Scene::synced();
    scene.post(1, HOUR, 10);
    assert_eq!(codes(&scene.turn().unwrap()), [Code::NodeMissing]);
    scene.pass(MINUTE);
    scene.decisions();
    scene.register("uid-2", SignedDuration::ZERO, 11);
    scene.expect_younger("because 2026-11-24T11:00:00Z was in the future");
}

#[test]
fn lists_show_no_order() {
    let mut scene = Scene::synced();
    scene.is_listing = true;
    scene.register("uid-1", HOUR, 20);
    scene.post(1, SignedDuration::ZERO, 30);
    scene.is_listing = false;
    scene.expect_younger("the order of their creation was not observed");
    // The watch reports later objects.
    scene.post(2, SignedDuration::ZERO, 31);
    assert_approved(&scene.turn().unwrap());
}

/// An update of an old request gives it the resourceVersion of a new one.
#[test]
fn a_request_that_may_have_been_updated_shows_no_order() {
    let mut scene = Scene::synced();
    scene.register("uid-2", HOUR, 20);
    let (mut object, encoded) = request("a", 1, scene.now.wall);
    object.resource_version = "30".into();
    object.preserved.has_more = true;
    scene.see(object, &encoded);
    scene.expect_younger("the order of their creation was not observed");
}

#[test]
fn an_update_of_a_request_does_not_change_when_it_was_first_seen() {
    let mut scene = Scene::synced();
    scene.post(1, SignedDuration::ZERO, 10);
    scene.decisions();
    scene.register("uid-2", HOUR, 20);
    scene.decisions();
    scene.post(1, SignedDuration::ZERO, 30);
    scene.expect_younger("the request has resourceVersion 10, the Node 20");
}
