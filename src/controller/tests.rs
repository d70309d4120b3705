//! Orders of events, tried on the reconciler without a cluster.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::judged::{Now, Turn, Write};
use super::open_requests::MOST_OF_ONE_REQUESTOR;
use super::state::Reconciler;
use crate::cluster::approval::Outcome;
use judge::Decision;
use judge::csr::names::NodeName;
use judge::csr::{KUBELET_SERVING_SIGNER, Kept, Object, Requestor, Settled};
use judge::evidence::{Fact, Node, NodeAddress, Source};
use judge::finding::Code;
use judge::policy::{Enforcement, default_policy};

mod clocks;
mod order;
mod sources;

use testkit::forge::recipe::Recipe;

/// A reconciler with clocks of its own.
struct Scene {
    reconciler: Reconciler,
    now: Now,
}

impl Scene {
    fn new(enforcement: Enforcement) -> Scene {
        let policy = Arc::new(default_policy().unwrap());
        Scene {
            reconciler: Reconciler::new(policy, enforcement),
            now: Now {
                wall: "2026-11-24T10:00:00Z".parse().unwrap(),
                steady: "2026-11-24T10:00:00Z".parse().unwrap(),
                monotonic: Instant::now(),
            },
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
        self.reconciler.apply_fact(fact, self.now);
    }

    fn show(&mut self, node: Node) {
        self.reconciler.node_seen(node, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        let signed = SignedDuration::try_from(time).unwrap();
        self.now.wall += signed;
        self.now.steady += signed;
        self.reconciler.tick(self.now);
    }

    fn ask(&mut self, node: &str, number: usize) {
        self.ask_at(node, number, self.now.wall);
    }

    fn ask_at(&mut self, node: &str, number: usize, created: Timestamp) {
        let (object, encoded) = request(node, number, created);
        self.reconciler.request_seen(object, &encoded, self.now);
    }

    fn turn(&mut self) -> Option<Turn> {
        self.reconciler.take_turn(self.now)
    }

    /// All decisions that are due, without ending any write.
    fn decisions(&mut self) -> Vec<(String, Decision)> {
        std::iter::from_fn(|| self.turn())
            .map(|turn| (turn.object.name.clone(), turn.judgement.verdict.decision()))
            .collect()
    }
}

fn request(node: &str, number: usize, created: Timestamp) -> (Object, Vec<u8>) {
    let ip: IpAddr = "10.0.0.1".parse().unwrap();
    let object = Object {
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
        kept: Kept::default(),
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
fn assert_approved(turn: &Turn) {
    assert!(
        matches!(turn.write, Some(Write::Approve(_))),
        "{:?}",
        turn.judgement
    );
}

fn codes(turn: &Turn) -> Vec<Code> {
    turn.judgement.codes()
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
    assert!(scene.turn().is_none(), "another Node wakes nobody");
    scene.show(node("a", created));
    let turn = scene.turn().unwrap();
    assert_eq!(codes(&turn), [Code::SanContested], "{:?}", turn.judgement);
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
    scene.reconciler.request_seen(object, &encoded, scene.now);
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
    assert_eq!(scene.reconciler.book().oldest(), None);
    scene.pass(Duration::from_secs(3600));
    assert!(scene.turn().is_none());
}

#[test]
fn a_conflict_is_judged_again_from_a_fresh_read() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    scene.ask("a", 1);
    let turn = scene.turn().unwrap();
    let (mut fresh, encoded) = request("a", 1, created);
    fresh.resource_version = "2".into();
    let changed = Some(Box::new((fresh, encoded)));
    scene
        .reconciler
        .written(&turn, &Outcome::Changed, changed, scene.now);
    let again = scene.turn().unwrap();
    let Some(Write::Approve(approval)) = &again.write else {
        panic!("{:?}", again.judgement);
    };
    assert_eq!(approval.resource_version(), "2");

    let (mut fresh, encoded) = request("a", 1, created);
    fresh.settled = Some(Settled::Denied);
    let changed = Some(Box::new((fresh, encoded)));
    scene
        .reconciler
        .written(&again, &Outcome::Changed, changed, scene.now);
    assert!(scene.turn().is_none(), "somebody else has denied it");
}

#[test]
fn another_object_by_the_same_name_is_not_taken_for_it() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    scene.ask("a", 1);
    let turn = scene.turn().unwrap();
    let (mut other, encoded) = request("a", 1, created);
    other.uid = "another".into();
    let changed = Some(Box::new((other, encoded)));
    scene
        .reconciler
        .written(&turn, &Outcome::Changed, changed, scene.now);
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
    let (_, _, dropped) = scene.reconciler.counts();
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
fn a_request_that_was_not_listed_again_is_forgotten() {
    let mut scene = Scene::synced();
    scene.ask("a", 1);
    scene.ask("b", 1);
    scene.reconciler.requests_restarted();
    scene.ask("b", 1);
    scene.reconciler.requests_complete();
    let names: Vec<String> = scene
        .decisions()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["csr-b-1"]);
}

#[test]
fn a_node_that_was_not_listed_again_is_forgotten() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    scene.reconciler.nodes_restarted();
    scene.reconciler.nodes_complete(scene.now);
    scene.ask("a", 1);
    assert_eq!(codes(&scene.turn().unwrap()), [Code::NodeMissing]);
}

#[test]
fn enforcement_limits_what_is_written_and_not_what_is_judged() {
    for (enforcement, approves, denies) in [
        (Enforcement::ApproveAndDeny, true, true),
        (Enforcement::ApproveOnly, true, false),
        (Enforcement::DryRun, false, false),
    ] {
        let mut scene = Scene::new(enforcement);
        scene.sync();
        let created = scene.now.wall;
        scene.show(node("a", created));
        scene.ask("a", 1);
        let turn = scene.turn().unwrap();
        assert_eq!(turn.judgement.verdict.decision(), Decision::Approve);
        assert_eq!(turn.write.is_some(), approves, "{enforcement}");
        let (mut forged, encoded) = request("b", 1, created);
        forged.usages = ["digital signature", "client auth"].map(Into::into).into();
        scene.reconciler.request_seen(forged, &encoded, scene.now);
        let turn = scene.turn().unwrap();
        assert_eq!(turn.judgement.verdict.decision(), Decision::Deny);
        assert_eq!(turn.write.is_some(), denies, "{enforcement}");
    }
}

#[test]
fn a_failed_write_is_tried_again_later_and_judged_again() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    scene.ask("a", 1);
    let turn = scene.turn().unwrap();
    let failed = failed(Some(Duration::from_secs(3)));
    scene.reconciler.written(&turn, &failed, None, scene.now);
    scene.pass(Duration::from_secs(2));
    assert!(scene.turn().is_none());
    scene.know(Fact::NodeGone(NodeName::parse("a").unwrap()));
    scene.pass(Duration::from_secs(2));
    assert_eq!(codes(&scene.turn().unwrap()), [Code::NodeMissing]);
}

fn failed(after: Option<Duration>) -> Outcome {
    Outcome::Failed {
        why: "the API server answered 429".into(),
        after,
    }
}

/// Of many writes on their way one is told to come back later, and another fails without a word.
#[test]
fn a_failure_does_not_end_the_pause_that_another_asked_for() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    for (name, ip) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")] {
        let mut node = node(name, created);
        node.addresses = vec![NodeAddress::parse("InternalIP", ip).unwrap()];
        scene.show(node);
        scene.ask(name, 1);
    }
    let (first, second) = (scene.turn().unwrap(), scene.turn().unwrap());
    let asked = failed(Some(Duration::from_secs(10)));
    scene.reconciler.written(&first, &asked, None, scene.now);
    scene
        .reconciler
        .written(&second, &failed(None), None, scene.now);
    let shorter = failed(Some(Duration::from_secs(1)));
    scene.reconciler.written(&second, &shorter, None, scene.now);
    assert!(scene.turn().is_none() && !scene.reconciler.has_turns(scene.now));
    scene.pass(Duration::from_secs(9));
    assert!(scene.turn().is_none());
    scene.pass(Duration::from_secs(1));
    assert!(scene.reconciler.has_turns(scene.now));
    assert!(scene.turn().is_some());
}

#[test]
fn the_key_of_an_approved_request_belongs_to_its_node() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    scene.ask("a", 1);
    let turn = scene.turn().unwrap();
    scene
        .reconciler
        .written(&turn, &Outcome::Written, None, scene.now);
    assert_eq!(
        scene.reconciler.counts().0,
        1,
        "approved and not issued yet"
    );

    let mut recipe = Recipe::genuine("b", &["b"], &["10.0.0.2".parse().unwrap()]);
    recipe.key_seed = Some("a".into());
    let (object, _) = request("b", 1, created);
    scene.show(node("b", created));
    scene
        .reconciler
        .request_seen(object, recipe.pem().as_bytes(), scene.now);
    let turn = scene.turn().unwrap();
    assert!(
        codes(&turn).contains(&Code::KeyOfAnotherNode),
        "{:?}",
        turn.judgement
    );
    assert_eq!(turn.judgement.verdict.decision(), Decision::Deny);

    let (mut issued, encoded) = request("a", 1, created);
    issued.settled = Some(Settled::Issued);
    scene.reconciler.request_seen(issued, &encoded, scene.now);
    assert_eq!(scene.reconciler.counts(), (0, 1, 0));
}

/// The watch may show what the signer did before the answer to the write is here.
#[test]
fn the_signer_may_be_faster_than_the_answer_to_the_write() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    for (number, shown, counts) in [
        (1, vec![Settled::Approved], (1, 0, 0)),
        (2, vec![Settled::Approved, Settled::Issued], (1, 1, 0)),
        (3, vec![Settled::Failed], (1, 1, 0)),
    ] {
        scene.ask("a", number);
        let turn = scene.turn().unwrap();
        for settled in shown {
            let (mut object, encoded) = request("a", number, created);
            object.settled = Some(settled);
            scene.reconciler.request_seen(object, &encoded, scene.now);
        }
        scene
            .reconciler
            .written(&turn, &Outcome::Written, None, scene.now);
        assert_eq!(scene.reconciler.counts(), counts, "{number}");
    }
}
