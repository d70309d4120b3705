//! Budgets: judgments that a Node's changes cause, denials of one requestor, memory of all requests.

use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Scene, assert_approved, node, request};
use crate::cluster::approval::Outcome;
use crate::controller::DENIAL_INTERVAL;
use crate::controller::effect::Effect;
use crate::controller::judged::Write;
use crate::controller::open_requests::MOST_OF_ONE_REQUESTOR;
use judge::Decision;
use judge::evidence::NodeAddress;
use testkit::forge::recipe::Recipe;

const TICK: Duration = Duration::from_millis(5);

impl Scene {
    /// Time passes without a tick.
    fn wait(&mut self, time: Duration) {
        let signed = SignedDuration::try_from(time).unwrap();
        self.now.instant += time;
        self.now.wall += signed;
        self.now.monotonic += signed;
    }

    /// Node `a` has this address.
    fn move_to(&mut self, ip: &str) {
        let mut moved = node("a", Timestamp::UNIX_EPOCH);
        moved.addresses[1] = NodeAddress::parse("InternalIP", ip).unwrap();
        self.show(moved);
    }

    /// A request of this node for an address of a Service.
    fn forge(&mut self, node: &str, number: usize) {
        let (object, _) = request(node, number, self.now.wall);
        let ips: [IpAddr; 1] = ["127.0.0.1".parse().unwrap()];
        let pem = Recipe::genuine(node, &[node], &ips).pem();
        self.see(object, pem.as_bytes());
    }

    /// As many requests of this node as one requestor can have. They wait, and are almost as large as can
    /// be.
    fn ask_at_length(&mut self, node: &str) {
        let label = "a".repeat(60);
        let names = (0..56).map(|index| format!("{index:05}.{label}.{label}.{label}.example"));
        let names: Vec<String> = names.collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let pem = Recipe::genuine(node, &names, &[]).pem();
        assert!(pem.len() < judge::csr::MAX_REQUEST_BYTES, "{}", pem.len());
        for number in 0..MOST_OF_ONE_REQUESTOR {
            let (object, _) = request(node, number, self.now.wall);
            self.see(object, pem.as_bytes());
        }
    }

    /// Writes the next decision, which must be a denial.
    fn deny_next(&mut self) -> String {
        let turn = self.turn().unwrap();
        assert!(matches!(turn.write, Some(Write::Deny(_))), "{turn:?}");
        self.end(&turn, Outcome::Written);
        turn.object.name.clone()
    }
}

#[test]
fn a_node_that_keeps_changing_is_judged_at_a_limited_rate() {
    let mut scene = Scene::synced();
    scene.move_to("10.0.0.8");
    for number in 0..MOST_OF_ONE_REQUESTOR {
        scene.ask("a", number);
    }
    assert_eq!(scene.decisions().len(), MOST_OF_ONE_REQUESTOR);
    let mut judged = 0;
    for change in 0..2000 {
        if change % 200 == 0 {
            scene.state.tick(scene.now);
        }
        scene.move_to(if change % 2 == 0 {
            "10.0.0.9"
        } else {
            "10.0.0.8"
        });
        judged += scene.decisions().len();
        scene.wait(TICK);
    }
    // Ten seconds: three wakes at once, and one for each second.
    let wakes = judged / MOST_OF_ONE_REQUESTOR;
    assert!((10..=13).contains(&wakes), "{wakes}");
}

#[test]
fn the_last_change_of_a_node_is_judged() {
    let mut scene = Scene::synced();
    scene.move_to("10.0.0.8");
    for number in 0..MOST_OF_ONE_REQUESTOR {
        scene.ask("a", number);
    }
    scene.decisions();
    for change in 0..10 {
        scene.move_to(if change % 2 == 0 {
            "10.0.0.9"
        } else {
            "10.0.0.8"
        });
        scene.decisions();
    }
    scene.move_to("10.0.0.1");
    assert!(scene.turn().is_none());
    // Another node is served meanwhile.
    let mut other = node("b", scene.now.wall);
    other.addresses[1] = NodeAddress::parse("InternalIP", "10.0.0.2").unwrap();
    scene.show(other);
    let (object, _) = request("b", 1, scene.now.wall);
    let pem = Recipe::genuine("b", &["b"], &["10.0.0.2".parse().unwrap()]).pem();
    scene.see(object, pem.as_bytes());
    assert_approved(&scene.turn().unwrap());
    scene.pass(Duration::from_secs(2));
    assert_approved(&scene.turn().unwrap());
}

#[test]
fn a_kubelet_that_registers_is_woken_by_each_change() {
    let mut scene = Scene::synced();
    scene.ask("a", 1);
    scene.decisions();
    for change in 2..60 {
        scene.move_to(&format!("10.0.0.{change}"));
        assert_eq!(scene.decisions().len(), 1, "{change}");
    }
    scene.move_to("10.0.0.1");
    assert_approved(&scene.turn().unwrap());
}

#[test]
fn a_requestor_has_one_denial_in_an_interval() {
    let mut scene = Scene::synced();
    for number in 1..=3 {
        scene.forge("a", number);
        scene.wait(Duration::from_secs(1));
    }
    scene.forge("b", 1);
    assert_eq!(scene.deny_next(), "csr-a-3");
    assert_eq!(scene.deny_next(), "csr-b-1");
    assert!(scene.turn().is_none());
    assert_eq!(scene.state.totals().denials_deferred, 2);
    scene.pass(DENIAL_INTERVAL - Duration::from_millis(1));
    assert!(scene.turn().is_none());
    scene.pass(Duration::from_millis(1));
    assert_eq!(scene.deny_next(), "csr-a-2");
    assert!(scene.turn().is_none());
    scene.pass(DENIAL_INTERVAL);
    assert_eq!(scene.deny_next(), "csr-a-1");
    assert_eq!(scene.state.totals().denials_deferred, 2, "each counts once");
    assert_eq!(scene.state.open().oldest(), None);
}

#[test]
fn an_approval_does_not_wait_behind_deferred_denials() {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    scene.ask("a", 0);
    for number in 1..=5 {
        scene.wait(Duration::from_secs(1));
        scene.forge("a", number);
    }
    assert_eq!(scene.deny_next(), "csr-a-5");
    let approved = scene.turn().unwrap();
    assert_eq!(approved.object.name, "csr-a-0");
    assert_approved(&approved);
}

/// A denial that could not be written does not count as a denial.
#[test]
fn a_denial_that_could_not_be_written_is_not_counted() {
    let mut scene = Scene::synced();
    scene.forge("a", 1);
    let turn = scene.turn().unwrap();
    let failed = Outcome::Failed {
        why: "the API server answered 500".into(),
        retry_after: None,
    };
    scene.end(&turn, failed);
    scene.pass(Duration::from_secs(1));
    assert_eq!(scene.deny_next(), "csr-a-1");
}

#[test]
fn the_largest_requestor_gives_way_and_honest_ones_are_served() {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    for attacker in 0..70 {
        scene.ask_at_length(&format!("flood-{attacker}"));
    }
    let dropped = scene.state.totals().dropped_for_memory;
    assert!(dropped > 500, "{dropped}");
    scene.ask("a", 1);
    let decisions = scene.decisions();
    // Each attacker has about as much as any other, and the honest node has all that it asked for.
    let of = |name: &str| {
        decisions
            .iter()
            .filter(|(of, _)| of.starts_with(name))
            .count()
    };
    let attackers: Vec<usize> = (0..70).map(|n| of(&format!("csr-flood-{n}-"))).collect();
    let (least, most) = (attackers.iter().min(), attackers.iter().max());
    assert!(least.unwrap() + 2 >= *most.unwrap(), "{attackers:?}");
    assert!(decisions.contains(&("csr-a-1".into(), Decision::Approve)));
}

#[test]
fn dropped_requests_are_listed_again_when_there_is_room() {
    let mut scene = Scene::synced();
    for attacker in 0..70 {
        scene.ask_at_length(&format!("flood-{attacker}"));
    }
    assert!(scene.state.tick(scene.now).is_empty());
    for attacker in 0..70 {
        for number in 0..MOST_OF_ONE_REQUESTOR {
            let uid = format!("uid-flood-{attacker}-{number}");
            let gone = crate::controller::input::Input::RequestGone(uid.as_str().into());
            scene.state.apply(gone, scene.now);
        }
    }
    let effects = scene.state.tick(scene.now);
    assert!(matches!(effects.as_slice(), [Effect::ListRequests]));
    assert!(scene.state.tick(scene.now).is_empty());
    scene.ask_at_length("flood-1");
    assert_eq!(scene.decisions().len(), MOST_OF_ONE_REQUESTOR);
}

/// Entries are for an interval, not for every requestor that ever was.
#[test]
fn budgets_of_denials_are_dropped() {
    let mut scene = Scene::synced();
    for attacker in 0..3 {
        scene.forge(&format!("a-{attacker}"), 1);
        scene.deny_next();
    }
    assert_eq!(scene.state.denial_budgets(), 3);
    scene.pass(DENIAL_INTERVAL);
    assert_eq!(scene.state.denial_budgets(), 0);
}

/// A leader whose writes wait for the API server takes no turn.
#[test]
fn turns_of_requests_that_are_gone_are_dropped_without_a_turn() {
    let mut scene = Scene::synced();
    for requestor in 0..100 {
        scene.ask(&format!("a-{requestor}"), 1);
        let gone = format!("uid-a-{requestor}-1").as_str().into();
        let gone = crate::controller::input::Input::RequestGone(gone);
        scene.state.apply(gone, scene.now);
    }
    assert!(scene.state.has_next(scene.now));
    scene.pass(Duration::from_secs(1));
    assert!(!scene.state.has_next(scene.now));
}
