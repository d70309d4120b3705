//! Writes: enforcement, outcomes, conflicts, retries, and what follows an approval.

use super::*;
use crate::cluster::leadership::Leadership;
use crate::controller::UNISSUED;
use crate::controller::writer::Writer;

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
    scene.end(&turn, Outcome::Changed(changed));
    let again = scene.turn().unwrap();
    let Some(Write::Approve(approval)) = &again.write else {
        panic!("{:?}", again.judgment);
    };
    assert_eq!(approval.resource_version(), "2");

    let (mut fresh, encoded) = request("a", 1, created);
    fresh.settled = Some(Settled::Denied);
    let changed = Some(Box::new((fresh, encoded)));
    scene.end(&again, Outcome::Changed(changed));
    assert!(scene.turn().is_none(), "another client has denied it");
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
    scene.end(&turn, Outcome::Changed(changed));
    assert!(scene.turn().is_none());
}

/// As after a panic of the task that wrote it: there is no other end of a write.
#[test]
fn a_write_that_fails_without_a_word_is_tried_again() {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    scene.ask("a", 1);
    let judged = scene.turn().unwrap();
    let effects = scene.end(&judged, failed(None));
    assert!(matches!(effects.as_slice(), [Effect::Ended { .. }]));
    assert!(
        scene.end(&judged, failed(None)).is_empty(),
        "it has ended once"
    );
    assert!(scene.turn().is_none());
    scene.pass(Duration::from_secs(1));
    assert_approved(&scene.turn().unwrap());
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
        assert_eq!(turn.judgment.verdict.decision(), Decision::Approve);
        assert_eq!(turn.write.is_some(), approves, "{enforcement}");
        let (mut forged, encoded) = request("b", 1, created);
        forged.usages = ["digital signature", "client auth"].map(Into::into).into();
        scene.see(forged, &encoded);
        let turn = scene.turn().unwrap();
        assert_eq!(turn.judgment.verdict.decision(), Decision::Deny);
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
    scene.end(&turn, failed);
    scene.pass(Duration::from_secs(2));
    assert!(scene.turn().is_none());
    scene.know(Fact::NodeGone(NodeName::parse("a").unwrap()));
    scene.pass(Duration::from_secs(2));
    assert_eq!(codes(&scene.turn().unwrap()), [Code::NodeMissing]);
}

fn failed(retry_after: Option<Duration>) -> Outcome {
    Outcome::Failed {
        why: "the API server answered 429".into(),
        retry_after,
    }
}

/// Of many writes on their way one is told to come back later, and another fails without a word.
#[test]
fn a_failure_does_not_end_the_pause_that_another_asked_for() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    for (name, ip) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")] {
        let mut node = node(name, created);
        node.addresses[1] = NodeAddress::parse("InternalIP", ip).unwrap();
        scene.show(node);
        let (object, _) = request(name, 1, created);
        let recipe = Recipe::genuine(name, &[name], &[ip.parse().unwrap()]);
        scene.see(object, recipe.pem().as_bytes());
    }
    let [first, second, third] = [(); 3].map(|()| scene.turn().unwrap());
    for judged in [&first, &second, &third] {
        assert_approved(judged);
    }
    scene.end(&first, failed(Some(Duration::from_secs(10))));
    scene.end(&second, failed(None));
    scene.end(&third, failed(Some(Duration::from_secs(1))));
    scene.ask("d", 1);
    assert!(scene.turn().is_none() && !scene.state.has_next(scene.now));
    scene.pass(Duration::from_secs(9));
    assert!(scene.turn().is_none());
    scene.pass(Duration::from_secs(1));
    assert!(scene.state.has_next(scene.now));
    assert!(scene.turn().is_some());
}

#[test]
fn the_key_of_an_approved_request_belongs_to_its_node() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    scene.ask("a", 1);
    let turn = scene.turn().unwrap();
    scene.end(&turn, Outcome::Written);
    assert_eq!(scene.state.unissued(), 1, "approved and not issued yet");

    let mut recipe = Recipe::genuine("b", &["b"], &["10.0.0.2".parse().unwrap()]);
    recipe.key_seed = Some("a".into());
    let (object, _) = request("b", 1, created);
    scene.show(node("b", created));
    scene.see(object, recipe.pem().as_bytes());
    let turn = scene.turn().unwrap();
    assert!(
        codes(&turn).contains(&Code::KeyOfAnotherNode),
        "{:?}",
        turn.judgment
    );
    assert_eq!(turn.judgment.verdict.decision(), Decision::Deny);

    let (mut issued, encoded) = request("a", 1, created);
    issued.settled = Some(Settled::Issued);
    scene.see(issued, &encoded);
    assert_eq!(
        (scene.state.unissued(), scene.state.totals().issued),
        (0, 1)
    );
}

/// The watch may show what the signer did before the answer to the write is here.
#[test]
fn the_signer_may_be_faster_than_the_answer_to_the_write() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    for (number, shown, counts) in [
        (1, vec![Settled::Approved], (1, 0)),
        (2, vec![Settled::Approved, Settled::Issued], (1, 1)),
        (3, vec![Settled::Failed], (1, 1)),
    ] {
        scene.ask("a", number);
        let turn = scene.turn().unwrap();
        for settled in shown {
            let (mut object, encoded) = request("a", number, created);
            object.settled = Some(settled);
            scene.see(object, &encoded);
        }
        scene.end(&turn, Outcome::Written);
        let found = (scene.state.unissued(), scene.state.totals().issued);
        assert_eq!(found, counts, "{number}");
    }
}

/// The watch reports a deletion once: the answer to our write must not bring the request back.
#[test]
fn a_conflict_does_not_revive_a_deleted_request() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    scene.ask("a", 1);
    let judged = scene.turn().unwrap();
    let gone = Input::RequestGone(judged.uid.clone());
    scene.state.apply(gone, scene.now);
    let (mut fresh, encoded) = request("a", 1, created);
    fresh.resource_version = "2".into();
    scene.end(&judged, Outcome::Changed(Some(Box::new((fresh, encoded)))));
    assert!(scene.turn().is_none());
    assert_eq!(scene.state.open().oldest(), None);
}

/// Another approver has approved it, before it was seen here or after.
#[test]
fn a_key_that_another_approver_approved_belongs_to_its_node() {
    for was_open in [false, true] {
        let mut scene = Scene::new(Enforcement::DryRun);
        scene.sync();
        let created = scene.now.wall;
        if was_open {
            scene.ask("a", 1);
            scene.turn().unwrap();
        }
        let (mut approved, encoded) = request("a", 1, created);
        approved.settled = Some(Settled::Approved);
        scene.see(approved, &encoded);

        let mut recipe = Recipe::genuine("b", &["b"], &["10.0.0.2".parse().unwrap()]);
        recipe.key_seed = Some("a".into());
        let (object, _) = request("b", 1, created);
        scene.see(object, recipe.pem().as_bytes());
        let codes = codes(&scene.turn().unwrap());
        assert!(codes.contains(&Code::KeyOfAnotherNode), "{codes:?}");
    }
}

/// Else a requestor could fill the signer's queue.
#[test]
fn a_requestor_has_few_approvals_that_wait_for_the_signer() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    for number in 0..UNISSUED {
        scene.ask("a", number);
        let turn = scene.turn().unwrap();
        assert_approved(&turn);
        scene.end(&turn, Outcome::Written);
    }
    scene.ask("a", UNISSUED);
    assert!(scene.turn().is_none());
    scene.pass(Duration::from_secs(2));
    assert!(scene.turn().is_none());

    let (mut issued, encoded) = request("a", 0, created);
    issued.settled = Some(Settled::Issued);
    scene.see(issued, &encoded);
    scene.pass(Duration::from_secs(2));
    assert_approved(&scene.turn().unwrap());
}

/// The check right before the request is sent: the loop's own may be older.
#[tokio::test]
async fn a_replica_without_the_lease_sends_no_write() {
    let server = tower::service_fn(async |_: http::Request<kube::client::Body>| {
        Err::<http::Response<kube::client::Body>, _>("a request was sent")
    });
    let client = kube::Client::new(server, "default");
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    scene.ask("a", 1);
    let judged = scene.turn().unwrap();
    assert_approved(&judged);
    let writer = Writer::new(client, Leadership::not_held());
    assert_eq!(writer.write(judged).await, Outcome::NotLeading);
}

#[test]
fn a_request_that_could_not_be_written_is_judged_again_in_time() {
    for (outcome, after) in [
        (Outcome::NotLeading, Duration::ZERO),
        (Outcome::Forbidden("no".into()), Duration::from_secs(30)),
    ] {
        let mut scene = Scene::synced();
        scene.show(node("a", scene.now.wall));
        scene.ask("a", 1);
        let judged = scene.turn().unwrap();
        scene.end(&judged, outcome);
        assert!(scene.turn().is_none());
        if !after.is_zero() {
            scene.pass(after - Duration::from_secs(1));
            assert!(scene.turn().is_none());
        }
        scene.pass(Duration::from_secs(1));
        assert_approved(&scene.turn().unwrap());
    }
}

#[test]
fn a_write_that_keeps_failing_is_tried_less_and_less() {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    scene.ask("a", 1);
    for _ in 0..10 {
        let judged = scene.turn().unwrap();
        scene.end(&judged, failed(None));
        scene.pass(Duration::from_secs(45));
    }
    let judged = scene.turn().unwrap();
    scene.end(&judged, failed(None));
    scene.pass(Duration::from_secs(29));
    assert!(scene.turn().is_none());
    scene.pass(Duration::from_secs(16));
    assert_approved(&scene.turn().unwrap());
}

/// Else two writers that react to each other keep the API server busy.
#[test]
fn conflicts_in_a_row_are_retried_later() {
    let mut scene = Scene::synced();
    let created = scene.now.wall;
    scene.show(node("a", created));
    scene.ask("a", 1);
    for version in 2..=7 {
        let judged = scene.turn().unwrap();
        let (mut fresh, encoded) = request("a", 1, created);
        fresh.resource_version = version.to_string();
        scene.end(&judged, Outcome::Changed(Some(Box::new((fresh, encoded)))));
    }
    assert!(scene.turn().is_none());
    scene.pass(Duration::from_secs(10));
    assert_approved(&scene.turn().unwrap());
}

/// The watch reports nothing about a request that was deleted between two lists.
#[test]
fn a_request_that_is_gone_when_it_is_written_is_forgotten() {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    scene.ask("a", 1);
    let judged = scene.turn().unwrap();
    scene.end(&judged, Outcome::Gone("not found".into()));
    assert_eq!(scene.state.open().oldest(), None);
}

/// The deletion was reported before the answer to the write, so nothing would end its place.
#[test]
fn a_request_that_is_deleted_while_it_is_written_waits_for_no_signer() {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    scene.ask("a", 1);
    let judged = scene.turn().unwrap();
    let gone = Input::RequestGone(judged.uid.clone());
    scene.state.apply(gone, scene.now);
    scene.end(&judged, Outcome::Written);
    assert_eq!(scene.state.unissued(), 0);
}

/// The former keys do not wake it: after a failed write it is retried when its time has come.
#[test]
fn an_updated_request_leaves_its_former_waiting_place() {
    let mut scene = Scene::synced();
    scene.ask("a", 1);
    assert_eq!(codes(&scene.turn().unwrap()), [Code::NodeMissing]);
    let (mut updated, encoded) = request("a", 1, scene.now.wall);
    updated.resource_version = "2".into();
    scene.see(updated, &encoded);
    scene.pass(Duration::from_secs(1));
    // The request is queued: nothing but its turn is left to come.
    scene.show(node("a", scene.now.wall));
    let judged = scene.turn().unwrap();
    scene.pass(Duration::from_secs(60));
    scene.end(&judged, failed(None));
    assert!(scene.turn().is_none());
}
