//! Order and content of the writes, without a cluster.

use tokio::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::node_reference;
use super::queue::{EventContent, EventQueue, EventWrite, SERIES_INTERVAL, WriteOutcome};
use judge::csr::names::NodeName;

fn content(node: &str, reason: &'static str, second: i64) -> EventContent {
    EventContent {
        regarding: node_reference(&NodeName::parse(node).unwrap()),
        related: None,
        action: "Deny",
        reason,
        note: format!("at {second}"),
        time: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second),
    }
}

fn written(queue: &mut EventQueue, now: Instant) -> EventWrite {
    let write = queue.next_write(now).unwrap();
    queue.complete(&write, WriteOutcome::Written, now);
    write
}

#[test]
fn a_node_has_one_event_for_each_reason_and_it_is_patched_rarely() {
    let mut queue = EventQueue::default();
    let now = Instant::now();
    assert_eq!(queue.next_due(now), None);
    for second in 0..3 {
        queue.add_to_series("a", content("a", "SanNotOfNode", second), now);
    }
    let first = written(&mut queue, now);
    assert_eq!(first.create, Some(content("a", "SanNotOfNode", 0)));
    assert_eq!(first.series.count, 3);
    assert_eq!(queue.next_due(now), None);

    for second in 3..20 {
        queue.add_to_series("a", content("a", "SanNotOfNode", second), now);
        assert_eq!(queue.next_write(now), None);
    }
    assert_eq!(queue.next_due(now), Some(now + SERIES_INTERVAL));
    let patch = written(&mut queue, now + SERIES_INTERVAL);
    assert_eq!((patch.event, patch.create), (first.event.clone(), None));
    assert_eq!(patch.series.count, 20);
    assert_eq!(patch.series.last, content("a", "", 19).time);

    queue.add_to_series("a", content("a", "KeyOfAnotherNode", 20), now);
    let other = written(&mut queue, now);
    assert_ne!(other.event, first.event);
    assert_eq!(other.series.count, 1);
}

#[test]
fn an_expired_event_is_replaced_by_one_with_the_rest() {
    let mut queue = EventQueue::default();
    let now = Instant::now();
    queue.add_to_series("a", content("a", "SanNotOfNode", 0), now);
    let first = written(&mut queue, now);
    queue.add_to_series("a", content("a", "SanNotOfNode", 9000), now);
    queue.add_to_series("a", content("a", "SanNotOfNode", 9001), now);
    let later = now + SERIES_INTERVAL;
    let patch = queue.next_write(later).unwrap();
    queue.complete(&patch, WriteOutcome::Gone, later);
    let second = written(&mut queue, later);
    assert_eq!(second.create, Some(content("a", "SanNotOfNode", 9000)));
    assert_eq!(second.series.count, 2);
    assert_ne!(second.event, first.event);
    assert_eq!(queue.next_due(later), None);
}

#[test]
fn a_failed_write_is_retried_later() {
    let mut queue = EventQueue::default();
    let now = Instant::now();
    queue.add_to_series("a", content("a", "SanNotOfNode", 0), now);
    let write = queue.next_write(now).unwrap();
    queue.complete(&write, WriteOutcome::Failed, now);
    assert_eq!(queue.next_write(now), None);
    let again = queue.next_write(now + SERIES_INTERVAL).unwrap();
    assert_eq!(again, write);
    // The response to the first write was lost, and the Event exists.
    queue.complete(&again, WriteOutcome::Exists, now);
    assert_eq!(queue.next_due(now), None);
}

#[test]
fn memory_is_bounded_and_the_quietest_series_is_dropped() {
    let mut queue = EventQueue::default();
    let now = Instant::now();
    for node in 0..1024 {
        let name = format!("node-{node}");
        queue.add_to_series(&name, content(&name, "SanNotOfNode", node), now);
    }
    queue.add_to_series("node-0", content("node-0", "SanNotOfNode", 2000), now);
    queue.add_to_series("new", content("new", "SanNotOfNode", 2001), now);
    let mut seen = Vec::new();
    while let Some(write) = queue.next_write(now) {
        queue.complete(&write, WriteOutcome::Written, now);
        seen.push(write.create.unwrap().regarding.name.unwrap());
    }
    assert_eq!(seen.len(), 1024);
    let has = |name: &str| seen.iter().any(|seen| seen == name);
    assert!(has("node-0") && has("new") && !has("node-1"));
}

#[test]
fn a_flood_of_requests_leaves_half_of_the_writes_to_nodes() {
    let mut queue = EventQueue::default();
    let now = Instant::now();
    let room = (0..1000).filter(|second| queue.push(content("r", "Once", *second)));
    assert_eq!(room.count(), 64);
    for name in ["a", "b"] {
        queue.add_to_series(name, content(name, "SanNotOfNode", 0), now);
    }
    let reasons: Vec<&str> = (0..6)
        .map(|_| written(&mut queue, now).create.unwrap().reason)
        .collect();
    let (once, node) = ("Once", "SanNotOfNode");
    assert_eq!(reasons, [once, node, once, node, once, once]);
}

#[test]
fn the_name_of_an_event_fits_for_any_node_name() {
    let mut queue = EventQueue::default();
    let now = Instant::now();
    let long = format!("{}.{}", "a".repeat(199), "b".repeat(53));
    let long = long.replacen(&"a".repeat(64), &format!("{}.", "a".repeat(63)), 3);
    let kept = long.get(..200).unwrap().trim_end_matches('.').to_owned();
    queue.add_to_series(&long, content(&long, "SanNotOfNode", 1), now);
    let write = queue.next_write(now).unwrap();
    assert_eq!(write.event, format!("{kept}.3b9aca00"));
}

#[test]
fn a_single_event_is_written_again_a_few_times() {
    let mut queue = EventQueue::default();
    let now = Instant::now();
    assert!(queue.push(content("r", "Once", 0)) && queue.push(content("r", "Once", 1)));
    let mut attempts = 0;
    let first = loop {
        let write = queue.next_write(now).unwrap();
        if write.create == Some(content("r", "Once", 1)) {
            break write;
        }
        attempts += 1;
        queue.complete(&write, WriteOutcome::Failed, now);
    };
    assert_eq!(attempts, 6);
    // The response to the first write was lost.
    queue.complete(&first, WriteOutcome::Failed, now);
    let again = queue.next_write(now).unwrap();
    assert_eq!(again.event, first.event);
    queue.complete(&again, WriteOutcome::Exists, now);
    assert_eq!(queue.next_due(now), None);
}
