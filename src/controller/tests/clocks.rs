//! Somebody sets the wall clock.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Scene, codes, node, request};
use crate::controller::turn::Write;
use crate::evidence::Source;
use crate::finding::Code;

#[test]
fn a_wrong_clock_makes_nobody_wait_and_no_request_old() {
    for off in [
        SignedDuration::from_hours(1),
        SignedDuration::from_mins(-10),
    ] {
        let mut scene = Scene::synced();
        let right = scene.now.wall;
        scene.now.wall += off;
        scene.reconciler.node_seen(node("a", right));
        scene
            .reconciler
            .source_failed(Source::Nodes, "gone fishing", scene.now);
        scene.pass(Duration::from_secs(1));
        let (object, encoded) = request("a", 1, right);
        scene.reconciler.request_seen(object, encoded, scene.now);
        let turn = scene.turn().unwrap();
        let approved = matches!(turn.write, Some(Write::Approve(_)));
        assert!(approved, "{off:#}: {:?}", turn.judgement);
    }
}

#[test]
fn a_request_that_is_old_by_both_clocks_is_ignored() {
    let mut scene = Scene::synced();
    scene.reconciler.node_seen(node("a", scene.now.wall));
    let (object, encoded) = request("a", 1, scene.now.wall);
    scene.pass(Duration::from_secs(3600));
    scene.reconciler.request_seen(object, encoded, scene.now);
    let turn = scene.turn().unwrap();
    assert_eq!(codes(&turn), [Code::RequestStale]);
}
