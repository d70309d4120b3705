//! Somebody sets the wall clock.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Scene, assert_approved, codes, node};
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

/// The clock is an hour ahead, and a request that was made just now has had its turn.
fn stale_by_a_set_clock() -> Scene {
    let mut scene = Scene::synced();
    let right = scene.now.wall;
    scene.show(node("a", right));
    scene.now.wall += HOUR;
    scene.pass(Duration::from_secs(1));
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
}

#[test]
fn what_is_old_by_a_clock_that_is_right_is_forgotten() {
    let mut scene = Scene::synced();
    scene.show(node("a", scene.now.wall));
    let created = scene.now.wall;
    scene.pass(HOUR.unsigned_abs());
    scene.ask_at("a", 1, created);
    assert_eq!(codes(&scene.turn().unwrap()), [Code::RequestStale]);
    assert_eq!(scene.state.open().oldest(), None);
}
