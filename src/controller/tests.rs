//! Orders of events, tried on the state without a cluster.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::RequestorLimits;
use super::effect::Effect;
use super::input::Input;
use super::judged::{Judged, Write};
use super::open_requests::MOST_OF_ONE_REQUESTOR;
use super::state::State;
use crate::cluster::approval::Outcome;
use crate::cluster::clock::Now;
use crate::cluster::random::Random;
use judge::Decision;
use judge::csr::names::NodeName;
use judge::csr::{CsrObject, KUBELET_SERVING_SIGNER, PreservedMetadata, Requestor, Settled};
use judge::evidence::{Fact, Node, NodeAddress, Source};
use judge::finding::Code;
use judge::policy::{Enforcement, default_policy};

mod budgets;
mod clocks;
mod order;
mod sources;
mod wait_events;
mod writes;

use testkit::forge::recipe::Recipe;

/// A state with clocks of its own.
struct Scene {
    state: State,
    now: Now,
    /// True while the objects come from a list instead of a watch.
    is_listing: bool,
}

impl Scene {
    fn new(enforcement: Enforcement) -> Scene {
        let policy = Arc::new(default_policy().unwrap());
        let mut now = Now {
            wall: "2026-11-24T10:00:00Z".parse().unwrap(),
            monotonic: "2026-11-24T10:00:00Z".parse().unwrap(),
            instant: Instant::now(),
        };
        let mut state = State::new(
            policy,
            Some(enforcement),
            RequestorLimits::default(),
            Random::seeded(1),
            now,
        );
        // It has waited for its sources for as long as it does.
        now.instant += Duration::from_secs(3);
        state.tick(now);
        Scene {
            state,
            now,
            is_listing: false,
        }
    }

    /// One in which every source has been read.
    fn synced() -> Scene {
        let mut scene = Scene::new(Enforcement::ApproveAndDeny);
        scene.sync();
        scene
    }

    fn sync(&mut self) {
        for source in Source::ALL {
            self.know(Fact::Synced(source));
        }
    }

    fn know(&mut self, fact: Fact) {
        self.state.apply(Input::Fact(fact), self.now);
    }

    fn show(&mut self, mut node: Node) {
        if let Some(first_seen) = &mut node.first_seen {
            first_seen.is_creation = !self.is_listing;
        }
        self.know(Fact::Node(Box::new(node)));
    }

    fn see(&mut self, object: CsrObject, encoded: &[u8]) {
        let input = Input::Request {
            request: Box::new((object, encoded.to_vec())),
            is_listed: self.is_listing,
        };
        self.state.apply(input, self.now);
    }

    fn end(&mut self, judged: &Judged, outcome: Outcome) -> Vec<Effect> {
        self.state.written(&judged.uid, outcome, self.now)
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        let signed = SignedDuration::try_from(time).unwrap();
        self.now.wall += signed;
        self.now.monotonic += signed;
        self.state.tick(self.now);
    }

    fn ask(&mut self, node: &str, number: usize) {
        self.ask_at(node, number, self.now.wall);
    }

    fn ask_at(&mut self, node: &str, number: usize, created: Timestamp) {
        let (object, encoded) = request(node, number, created);
        self.see(object, &encoded);
    }

    /// The next request, judged. Deferred denials are skipped.
    fn turn(&mut self) -> Option<Arc<Judged>> {
        let told = |effect| match effect {
            Effect::Record(judged) => Some(judged),
            _ => None,
        };
        let mut effects = std::iter::from_fn(|| self.state.next(self.now)).flatten();
        effects.find_map(told)
    }

    /// All decisions that are due, without ending any write.
    fn decisions(&mut self) -> Vec<(String, Decision)> {
        std::iter::from_fn(|| self.turn())
            .map(|turn| (turn.object.name.clone(), turn.judgment.verdict.decision()))
            .collect()
    }
}

fn request(node: &str, number: usize, created: Timestamp) -> (CsrObject, Vec<u8>) {
    let ip: IpAddr = "10.0.0.1".parse().unwrap();
    let object = CsrObject {
        name: format!("csr-{node}-{number}"),
        uid: format!("uid-{node}-{number}").into(),
        resource_version: "1".into(),
        created,
        terminating: false,
        signer: KUBELET_SERVING_SIGNER.into(),
        requestor: Requestor {
            username: format!("system:node:{node}").into(),
            groups: ["system:nodes", "system:authenticated"]
                .map(Into::into)
                .into(),
            ..Requestor::default()
        },
        usages: ["digital signature", "server auth"].map(Into::into).into(),
        expiration_seconds: None,
        settled: None,
        preserved: PreservedMetadata::default(),
    };
    (
        object,
        Recipe::genuine(node, &[node], &[ip]).pem().into_bytes(),
    )
}

fn node(name: &str, created: Timestamp) -> Node {
    let address = |kind, text| NodeAddress::parse(kind, text).unwrap();
    Node {
        name: NodeName::parse(name).unwrap(),
        uid: format!("uid-{name}").into(),
        created,
        first_seen: None,
        terminating: false,
        lost: false,
        control_plane: false,
        uninitialized: false,
        addresses: vec![address("Hostname", name), address("InternalIP", "10.0.0.1")],
        addresses_since: created,
        pod_cidrs: Vec::new(),
        provider_id: None,
    }
}

#[track_caller]
fn assert_approved(turn: &Judged) {
    assert!(
        matches!(turn.write, Some(Write::Approve(_))),
        "{:?}",
        turn.judgment
    );
}

fn codes(turn: &Judged) -> Vec<Code> {
    turn.judgment.codes()
}

#[test]
fn waits_for_the_node_and_is_woken_by_it() {
    let mut scene = Scene::synced();
    scene.ask("a", 1);
    let turn = scene.turn().unwrap();
    assert_eq!(codes(&turn), [Code::NodeMissing]);
    assert!(turn.write.is_none() && scene.turn().is_none());

    let created = scene.now.wall;
    scene.show(node("other", created));
    assert!(scene.turn().is_none(), "another Node wakes no request");
    scene.show(node("a", created));
    let turn = scene.turn().unwrap();
    assert_eq!(codes(&turn), [Code::SanContested], "{:?}", turn.judgment);
    scene.know(Fact::NodeGone(NodeName::parse("other").unwrap()));
    assert_approved(&scene.turn().unwrap());
}

#[test]
fn nothing_is_decided_by_evidence_before_all_of_it_is_there() {
    let mut scene = Scene::new(Enforcement::ApproveAndDeny);
    let created = scene.now.wall;
    scene.show(node("a", created));
    scene.ask("a", 1);
    let turn = scene.turn().unwrap();
    assert_eq!(codes(&turn), [Code::SourceUnready]);
    scene.sync();
    assert!(matches!(
        scene.turn().unwrap().write,
        Some(Write::Approve(_))
    ));
}

#[test]
fn a_source_that_is_down_for_long_stops_approvals_and_not_at_once() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    scene.know(Fact::Failed(Source::Nodes, "gone fishing".into()));
    scene.pass(Duration::from_secs(59));
    scene.ask("a", 1);
    assert!(matches!(
        scene.turn().unwrap().write,
        Some(Write::Approve(_))
    ));
    scene.pass(Duration::from_secs(2));
    let (object, encoded) = request("b", 1, scene.now.wall);
    scene.show(node("b", created));
    scene.see(object, &encoded);
    let turn = scene.turn().unwrap();
    assert_eq!(codes(&turn), [Code::SourceUnready]);
}

#[test]
fn is_dropped_after_fifteen_minutes_and_never_denied() {
    let mut scene = Scene::synced();
    scene.ask("a", 1);
    for _ in 0..15 {
        for (_, decision) in scene.decisions() {
            assert_eq!(decision, Decision::Wait);
        }
        scene.pass(Duration::from_secs(60));
    }
    scene.pass(Duration::from_secs(1));
    let turn = scene.turn().unwrap();
    assert_eq!(codes(&turn)[0], Code::RequestStale);
    assert!(turn.write.is_none());
    assert_eq!(scene.state.open().oldest(), None);
    scene.pass(Duration::from_secs(3600));
    assert!(scene.turn().is_none());
}

#[test]
fn what_the_node_says_at_the_time_of_the_turn_counts() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    scene.ask("a", 1);
    let mut moved = node("a", created);
    moved.addresses = vec![NodeAddress::parse("InternalIP", "10.0.0.9").unwrap()];
    scene.show(moved);
    let turn = scene.turn().unwrap();
    assert!(codes(&turn).contains(&Code::SanNotOfNode));
    assert!(turn.write.is_none());
}

#[test]
fn one_requestor_writes_one_at_a_time_and_others_are_not_delayed() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    for number in 0..5 {
        scene.ask("flood", number);
    }
    scene.show(node("flood", created));
    scene.ask("b", 1);
    let decisions = scene.decisions();
    let of_flood = decisions.iter().filter(|(name, _)| name.contains("flood"));
    assert_eq!(of_flood.count(), 1, "{decisions:?}");
    assert!(decisions.iter().any(|(name, _)| name == "csr-b-1"));
}

#[test]
fn a_flood_does_not_grow_memory_and_the_newest_stay() {
    let mut scene = Scene::synced();
    for number in 0..100 {
        scene.ask("flood", number);
        scene.now.wall += SignedDuration::from_secs(1);
    }
    let dropped = scene.state.totals().dropped;
    assert_eq!(dropped, 100 - MOST_OF_ONE_REQUESTOR as u64);
    let names: Vec<String> = scene
        .decisions()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names.len(), MOST_OF_ONE_REQUESTOR);
    assert_eq!(names[0], "csr-flood-99");
}

#[test]
fn a_request_that_is_gone_is_forgotten() {
    let mut scene = Scene::synced();
    scene.ask("a", 1);
    scene.ask("b", 1);
    let gone = Input::RequestGone("uid-a-1".into());
    assert!(scene.state.apply(gone, scene.now).is_empty());
    let names = scene.decisions().into_iter().map(|(name, _)| name);
    assert_eq!(names.collect::<Vec<_>>(), ["csr-b-1"]);
}

/// Else the safety net would find it, a minute later.
#[test]
fn a_node_that_comes_with_a_requested_name_wakes_the_request() {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    let (object, _) = request("a", 1, scene.now.wall);
    let ip = "10.0.0.1".parse().unwrap();
    let asking = Recipe::genuine("a", &["a", "b"], &[ip]).pem();
    scene.see(object, asking.as_bytes());
    let turn = scene.turn().unwrap();
    assert_eq!(turn.judgment.verdict.decision(), Decision::Wait);
    assert!(codes(&turn).contains(&Code::SanNotOfNode));
    assert!(scene.turn().is_none());
    scene.show(node("b", scene.now.wall));
    let turn = scene.turn().unwrap();
    assert_eq!(turn.judgment.verdict.decision(), Decision::Deny);
    assert!(codes(&turn).contains(&Code::SanOfAnotherNode));
}

#[test]
fn a_node_that_is_gone_is_forgotten() {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    scene.know(Fact::NodeGone(NodeName::parse("a").unwrap()));
    scene.ask("a", 1);
    assert_eq!(codes(&scene.turn().unwrap()), [Code::NodeMissing]);
}

/// No request gets the verdict Wait in the first moment, and none waits longer than that for a source.
#[test]
fn the_first_judgment_waits_for_the_sources_and_not_for_long() {
    let policy = Arc::new(default_policy().unwrap());
    for synced in [false, true] {
        let mut scene = Scene::new(Enforcement::ApproveAndDeny);
        let begun = scene.now;
        scene.state = State::new(
            policy.clone(),
            None,
            RequestorLimits::default(),
            Random::seeded(1),
            begun,
        );
        scene.ask("a", 1);
        assert!(scene.turn().is_none() && !scene.state.has_next(begun));
        if synced {
            scene.sync();
        } else {
            scene.pass(Duration::from_secs(3));
        }
        let expected = if synced {
            Code::NodeMissing
        } else {
            Code::SourceUnready
        };
        assert_eq!(codes(&scene.turn().unwrap()), [expected]);
    }
}
