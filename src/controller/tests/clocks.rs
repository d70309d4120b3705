//! The API server's clock is set, or the first answers showed another one.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Scene, assert_approved, codes, node};
use crate::controller::effect::Effect;
use judge::evidence::{Fact, Source};
use judge::finding::Code;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[test]
fn a_wrong_clock_makes_nobody_wait() {
    for off in [
        SignedDuration::from_mins(10),
        SignedDuration::from_mins(-10),
    ] {
        let mut scene = Scene::synced();
        let right = scene.now.wall;
        scene.now.wall += off;
        scene.show(node("a", right));
        scene.know(Fact::Failed(Source::Nodes, "gone fishing".into()));
        scene.pass(Duration::from_secs(1));
        scene.ask_at("a", 1, right);
        assert_approved(&scene.turn().unwrap());
    }
}

/// A Node, and a clock that is an hour ahead.
fn ahead() -> Scene {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    scene.now.wall += HOUR;
    scene.pass(Duration::from_secs(1));
    scene
}

/// The clock is an hour ahead, and a request that was made just now and came in a list has had its
/// turn.
fn stale_by_a_set_clock() -> Scene {
    let mut scene = ahead();
    let right = scene.now.wall - HOUR;
    scene.is_listing = true;
    scene.ask_at("a", 1, right);
    assert_eq!(codes(&scene.turn().unwrap()), [Code::RequestStale]);
    scene
}

#[test]
fn what_is_old_by_a_clock_that_was_set_is_looked_at_again() {
    let mut scene = stale_by_a_set_clock();
    assert!(scene.turn().is_none());

    scene.now.wall -= HOUR;
    scene.pass(Duration::from_secs(1));
    assert_approved(&scene.turn().unwrap());
}

#[test]
fn what_stays_old_by_a_clock_that_was_set_is_forgotten_in_time() {
    let mut scene = stale_by_a_set_clock();
    scene.pass(Duration::from_secs(16 * 60));
    assert_eq!(codes(&scene.turn().unwrap()), [Code::RequestStale]);
    assert_eq!(scene.state.open().oldest(), None);
}

#[test]
fn who_does_not_lead_forgets_what_is_old() {
    let mut scene = Scene::synced();
    scene.ask("a", 1);
    scene.pass(Duration::from_secs(16 * 60));
    scene.ask("a", 2);
    for _ in 0..2 {
        scene.state.forget_stale(scene.now);
        assert_eq!(scene.state.open().oldest(), Some(scene.now.wall));
    }
    // Nothing takes their turns.
    scene.pass(Duration::from_secs(16 * 60));
    assert!(scene.state.has_next(scene.now));
    scene.state.forget_stale(scene.now);
    assert!(!scene.state.has_next(scene.now));
}

#[test]
fn what_is_old_by_a_clock_that_is_right_is_forgotten() {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    let created = scene.now.wall;
    scene.pass(HOUR.unsigned_abs());
    scene.is_listing = true;
    scene.ask_at("a", 1, created);
    assert_eq!(codes(&scene.turn().unwrap()), [Code::RequestStale]);
    assert_eq!(scene.state.open().oldest(), None);
}

#[test]
fn what_was_forgotten_as_stale_is_listed_again_once_the_time_is_earlier() {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall - HOUR * 4));
    let created = scene.now.wall - HOUR * 3;
    scene.is_listing = true;
    scene.ask_at("a", 1, created);
    assert_eq!(codes(&scene.turn().unwrap()), [Code::RequestStale]);
    assert_eq!(scene.state.open().oldest(), None);
    assert!(scene.state.tick(scene.now).is_empty());

    // The second of two API servers answers, whose clock is behind.
    scene.now.wall -= HOUR * 3;
    let effects = scene.state.tick(scene.now);
    assert!(matches!(effects.as_slice(), [Effect::ListRequests]));
    assert!(scene.state.tick(scene.now).is_empty());
    scene.ask_at("a", 1, created);
    assert_approved(&scene.turn().unwrap());

    scene.now.wall += HOUR * 3;
    scene.pass(Duration::from_secs(120));
    assert!(scene.state.tick(scene.now).is_empty());
}

#[test]
fn a_request_of_the_running_watch_is_as_old_as_its_event() {
    let mut scene = ahead();
    scene.ask_at("a", 1, scene.now.wall - HOUR);
    assert_approved(&scene.turn().unwrap());
    // It waits, and is not judged continuously.
    scene.ask_at("b", 2, scene.now.wall - HOUR);
    assert_eq!(codes(&scene.turn().unwrap()), [Code::NodeMissing]);
    for _ in 0..59 {
        scene.pass(Duration::from_secs(1));
        assert!(scene.turn().is_none());
    }
    scene.pass(Duration::from_secs(16 * 60));
    assert_eq!(codes(&scene.turn().unwrap()), [Code::RequestStale]);
}

#[test]
fn a_replica_that_does_not_lead_keeps_what_may_be_young() {
    for is_listing in [false, true] {
        let mut scene = ahead();
        scene.is_listing = is_listing;
        scene.ask_at("a", 1, scene.now.wall - HOUR);
        scene.state.forget_stale(scene.now);
        assert!(scene.state.open().oldest().is_some());
        scene.pass(Duration::from_secs(15 * 60));
        scene.state.forget_stale(scene.now);
        assert!(scene.state.open().oldest().is_none());
    }
}
