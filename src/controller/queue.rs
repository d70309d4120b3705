//! Fair queue: one place for each requestor, its newest request first, and no second request of it
//! while the first is being written.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::timeline::Timeline;
use judge::csr::{Uid, Username};

/// Requests that are ready to be judged.
#[derive(Debug, Default)]
pub(super) struct Queue {
    places: BTreeMap<Username, Place>,
    turns: VecDeque<Username>,
}

#[derive(Debug, Default)]
struct Place {
    waiting: Timeline,
    /// True while a request of this requestor is being written.
    busy: bool,
    /// True while the requestor is in `turns`.
    in_line: bool,
}

impl Queue {
    /// Adds a request; nothing happens if it is there already.
    pub(super) fn push(&mut self, requestor: &Username, created: Timestamp, uid: &Uid) {
        let place = self.places.entry(requestor.clone()).or_default();
        place.waiting.insert(created, uid);
        self.line_up(requestor);
    }

    /// Removes a request, wherever it is.
    pub(super) fn remove(&mut self, requestor: &Username, created: Timestamp, uid: &Uid) {
        if let Some(place) = self.places.get_mut(requestor) {
            place.waiting.remove(created, uid);
            self.forget_if_empty(requestor);
        }
    }

    /// Takes the newest request of the next requestor, which goes to the end of the queue.
    pub(super) fn pop(&mut self) -> Option<Uid> {
        while let Some(requestor) = self.turns.pop_front() {
            let Some(place) = self.places.get_mut(&requestor) else {
                continue;
            };
            place.in_line = false;
            if place.busy {
                continue;
            }
            if let Some(uid) = place.waiting.take_newest() {
                self.line_up(&requestor);
                self.forget_if_empty(&requestor);
                return Some(uid);
            }
            self.forget_if_empty(&requestor);
        }
        None
    }

    /// Drops the places without a request, which otherwise stay until their turn. A replica that stands
    /// by takes no turn, and the leader takes none while its writes wait for the API server.
    pub(super) fn prune(&mut self) {
        let places = &mut self.places;
        self.turns.retain(|requestor| {
            let has_request = |place: &Place| !place.waiting.is_empty();
            let keep = places.get(requestor).is_some_and(has_request);
            if !keep && let Some(place) = places.get_mut(requestor) {
                place.in_line = false;
                if !place.busy {
                    places.remove(requestor);
                }
            }
            keep
        });
    }

    /// Begins a write: other requests of this requestor wait.
    pub(super) fn begin(&mut self, requestor: &Username) {
        self.places.entry(requestor.clone()).or_default().busy = true;
    }

    /// Ends the write.
    pub(super) fn end(&mut self, requestor: &Username) {
        if let Some(place) = self.places.get_mut(requestor) {
            place.busy = false;
            self.line_up(requestor);
            self.forget_if_empty(requestor);
        }
    }

    /// True if this request has a place, whose requestor has a turn or is being written for.
    #[cfg(test)]
    pub(super) fn has(&self, requestor: &Username, uid: &Uid) -> bool {
        let place = self.places.get(requestor);
        place.is_some_and(|place| {
            (place.busy || place.in_line && self.turns.contains(requestor))
                && place.waiting.oldest_first().any(|queued| queued == uid)
        })
    }

    /// Number of requestors with a place.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len().max(self.turns.len())
    }

    /// True if no requestor is queued.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    fn line_up(&mut self, requestor: &Username) {
        if let Some(place) = self.places.get_mut(requestor)
            && !place.busy
            && !place.in_line
            && !place.waiting.is_empty()
        {
            place.in_line = true;
            self.turns.push_back(requestor.clone());
        }
    }

    fn forget_if_empty(&mut self, requestor: &Username) {
        let empty = |place: &Place| place.waiting.is_empty() && !place.busy && !place.in_line;
        if self.places.get(requestor).is_some_and(empty) {
            self.places.remove(requestor);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn push(queue: &mut Queue, requestor: &str, second: i64) {
        let uid: Uid = format!("{requestor}-{second}").into();
        queue.push(&requestor.into(), at(second), &uid);
    }

    fn drain(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop())
            .map(|uid| uid.to_string())
            .collect()
    }

    #[test]
    fn a_flood_takes_one_place_and_the_newest_goes_first() {
        let mut queue = Queue::default();
        for second in 0..4 {
            push(&mut queue, "flood", second);
        }
        push(&mut queue, "a", 0);
        push(&mut queue, "b", 0);
        assert_eq!(
            drain(&mut queue),
            ["flood-3", "a-0", "b-0", "flood-2", "flood-1", "flood-0"]
        );
        assert!(queue.places.is_empty());
    }

    #[test]
    fn no_second_turn_while_the_first_is_written() {
        let mut queue = Queue::default();
        push(&mut queue, "a", 1);
        push(&mut queue, "a", 2);
        assert_eq!(queue.pop().as_deref(), Some("a-2"));
        queue.begin(&"a".into());
        assert_eq!(queue.pop(), None);
        push(&mut queue, "b", 1);
        assert_eq!(queue.pop().as_deref(), Some("b-1"));
        queue.end(&"a".into());
        assert_eq!(queue.pop().as_deref(), Some("a-1"));
        queue.begin(&"a".into());
        queue.end(&"a".into());
        assert!(queue.places.is_empty() && queue.is_empty());
    }

    #[test]
    fn a_removed_request_has_no_turn() {
        let mut queue = Queue::default();
        push(&mut queue, "a", 1);
        queue.remove(&"a".into(), at(1), &"a-1".into());
        assert_eq!(queue.pop(), None);
        assert!(queue.places.is_empty());
    }

    #[test]
    fn places_of_removed_requests_are_pruned() {
        let mut queue = Queue::default();
        for requestor in ["a", "b", "busy"] {
            push(&mut queue, requestor, 1);
        }
        queue.begin(&"busy".into());
        for requestor in ["a", "busy"] {
            let uid: Uid = format!("{requestor}-1").into();
            queue.remove(&requestor.into(), at(1), &uid);
        }
        queue.prune();
        assert_eq!((queue.turns.len(), queue.places.len()), (1, 2));
        push(&mut queue, "a", 2);
        assert_eq!(drain(&mut queue), ["b-1", "a-2"]);
        queue.end(&"busy".into());
        assert!(queue.places.is_empty());
    }
}
