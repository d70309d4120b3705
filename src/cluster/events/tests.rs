//! What is written when, tried without a cluster.

use tokio::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::node_reference;
use super::queue::{Backlog, EACH_SERIES, Ended, Notice, Work};
use judge::csr::names::NodeName;

fn notice(node: &str, reason: &'static str, second: i64) -> Notice {
    Notice {
        regarding: node_reference(&NodeName::parse(node).unwrap()),
        related: None,
        action: "Deny",
        reason,
        note: format!("at {second}"),
        time: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second),
    }
}

fn written(backlog: &mut Backlog, now: Instant) -> Work {
    let work = backlog.next(now).unwrap();
    backlog.ended(&work, Ended::Written, now);
    work
}

#[test]
fn a_node_has_one_event_for_each_reason_and_it_is_patched_seldom() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    assert_eq!(backlog.due(now), None);
    for second in 0..3 {
        backlog.count("a", notice("a", "SanNotOfNode", second), now);
    }
    let first = written(&mut backlog, now);
    assert_eq!(first.create, Some(notice("a", "SanNotOfNode", 0)));
    assert_eq!(first.tally.count, 3);
    assert_eq!(backlog.due(now), None);

    for second in 3..20 {
        backlog.count("a", notice("a", "SanNotOfNode", second), now);
        assert_eq!(backlog.next(now), None);
    }
    assert_eq!(backlog.due(now), Some(now + EACH_SERIES));
    let patch = written(&mut backlog, now + EACH_SERIES);
    assert_eq!((patch.event, patch.create), (first.event.clone(), None));
    assert_eq!(patch.tally.count, 20);
    assert_eq!(patch.tally.last, notice("a", "", 19).time);

    backlog.count("a", notice("a", "KeyOfAnotherNode", 20), now);
    let other = written(&mut backlog, now);
    assert_ne!(other.event, first.event);
    assert_eq!(other.tally.count, 1);
}

#[test]
fn an_event_that_has_expired_is_followed_by_one_with_the_rest() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    backlog.count("a", notice("a", "SanNotOfNode", 0), now);
    let first = written(&mut backlog, now);
    backlog.count("a", notice("a", "SanNotOfNode", 9000), now);
    backlog.count("a", notice("a", "SanNotOfNode", 9001), now);
    let later = now + EACH_SERIES;
    let patch = backlog.next(later).unwrap();
    backlog.ended(&patch, Ended::Gone, later);
    let second = written(&mut backlog, later);
    assert_eq!(second.create, Some(notice("a", "SanNotOfNode", 9000)));
    assert_eq!(second.tally.count, 2);
    assert_ne!(second.event, first.event);
    assert_eq!(backlog.due(later), None);
}

#[test]
fn a_write_that_failed_is_tried_again_but_not_at_once() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    backlog.count("a", notice("a", "SanNotOfNode", 0), now);
    let work = backlog.next(now).unwrap();
    backlog.ended(&work, Ended::Failed, now);
    assert_eq!(backlog.next(now), None);
    let again = backlog.next(now + EACH_SERIES).unwrap();
    assert_eq!(again, work);
    // The answer to the first one was lost: the Event is there.
    backlog.ended(&again, Ended::Exists, now);
    assert_eq!(backlog.due(now), None);
}

#[test]
fn memory_is_bounded_and_the_quiet_make_room() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    for node in 0..1024 {
        let name = format!("node-{node}");
        backlog.count(&name, notice(&name, "SanNotOfNode", node), now);
    }
    backlog.count("node-0", notice("node-0", "SanNotOfNode", 2000), now);
    backlog.count("new", notice("new", "SanNotOfNode", 2001), now);
    let mut seen = Vec::new();
    while let Some(work) = backlog.next(now) {
        backlog.ended(&work, Ended::Written, now);
        seen.push(work.create.unwrap().regarding.name.unwrap());
    }
    assert_eq!(seen.len(), 1024);
    let has = |name: &str| seen.iter().any(|seen| seen == name);
    assert!(has("node-0") && has("new") && !has("node-1"));
}

#[test]
fn a_flood_of_requests_leaves_half_of_the_writes_to_nodes() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    let room = (0..1000).filter(|second| backlog.tell_once(notice("r", "Once", *second)));
    assert_eq!(room.count(), 64);
    for name in ["a", "b"] {
        backlog.count(name, notice(name, "SanNotOfNode", 0), now);
    }
    let reasons: Vec<&str> = (0..6)
        .map(|_| written(&mut backlog, now).create.unwrap().reason)
        .collect();
    let (once, node) = ("Once", "SanNotOfNode");
    assert_eq!(reasons, [once, node, once, node, once, once]);
}

#[test]
fn the_name_of_an_event_fits_however_long_that_of_the_node_is() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    let long = format!("{}.{}", "a".repeat(199), "b".repeat(53));
    let long = long.replacen(&"a".repeat(64), &format!("{}.", "a".repeat(63)), 3);
    let kept = long.get(..200).unwrap().trim_end_matches('.').to_owned();
    backlog.count(&long, notice(&long, "SanNotOfNode", 1), now);
    let work = backlog.next(now).unwrap();
    assert_eq!(work.event, format!("{kept}.3b9aca00"));
}
