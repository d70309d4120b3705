//! Requests that wait, and what wakes each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use judge::csr::Uid;
use judge::finding::{Awaited, Question};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bell {
    Node(Arc<str>),
    Machine(Arc<str>),
    Answer(Question),
    Source,
    Policy,
}

impl Bell {
    /// What rings for this; `None` for a time.
    fn of(awaited: &Awaited) -> Option<Bell> {
        match awaited {
            Awaited::Node(name) => Some(Bell::Node(name.clone())),
            Awaited::Machine(key) => Some(Bell::Machine(key.clone())),
            Awaited::Answer(question) => Some(Bell::Answer(question.clone())),
            Awaited::Source(_) => Some(Bell::Source),
            Awaited::Policy => Some(Bell::Policy),
            Awaited::Time(_) => None,
        }
    }
}

/// Mostly one.
type Bells = SmallVec<[Bell; 1]>;

/// The parked requests.
#[derive(Debug, Default)]
pub(super) struct Parking {
    parked: BTreeMap<Uid, (Bells, Instant)>,
    by_bell: BTreeSet<(Bell, Uid)>,
    by_time: BTreeSet<(Instant, Uid)>,
}

impl Parking {
    /// Parks a request until one of these changes, or until `at` at the latest.
    pub(super) fn park(&mut self, uid: &Uid, awaits: &[Awaited], at: Instant) {
        self.leave(uid);
        let mut bells = Bells::new();
        for awaited in awaits {
            // The caller has made `at` of a time.
            let Some(bell) = Bell::of(awaited) else {
                continue;
            };
            self.by_bell.insert((bell.clone(), uid.clone()));
            bells.push(bell);
        }
        self.by_time.insert((at, uid.clone()));
        self.parked.insert(uid.clone(), (bells, at));
    }

    /// Takes a request out. Returns whether it was parked.
    pub(super) fn leave(&mut self, uid: &Uid) -> bool {
        let Some((bells, at)) = self.parked.remove(uid) else {
            return false;
        };
        self.by_time.remove(&(at, uid.clone()));
        for bell in bells {
            self.by_bell.remove(&(bell, uid.clone()));
        }
        true
    }

    /// Wakes those that await this, or any source where this is one.
    pub(super) fn wake(&mut self, awaited: &Awaited) -> Vec<Uid> {
        match Bell::of(awaited) {
            Some(bell) => self.ring(bell),
            None => Vec::new(),
        }
    }

    /// Wakes all.
    pub(super) fn everyone(&mut self) -> Vec<Uid> {
        let all = self.parked.keys().cloned().collect();
        self.take_out(all)
    }

    /// Wakes those whose time has come, at most `most` of them.
    pub(super) fn due(&mut self, now: Instant, most: usize) -> Vec<Uid> {
        let due: Vec<Uid> = self
            .by_time
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(most)
            .map(|(_, uid)| uid.clone())
            .collect();
        self.take_out(due)
    }

    fn ring(&mut self, bell: Bell) -> Vec<Uid> {
        let first = (bell, Uid::default());
        let listeners = self
            .by_bell
            .range(&first..)
            .take_while(|(bell, _)| *bell == first.0)
            .map(|(_, uid)| uid.clone())
            .collect();
        self.take_out(listeners)
    }

    fn take_out(&mut self, uids: Vec<Uid>) -> Vec<Uid> {
        for uid in &uids {
            self.leave(uid);
        }
        uids
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn wakes_by_node_by_source_and_by_time() {
        let mut parking = Parking::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let (a, b, c): (Uid, Uid, Uid) = ("a".into(), "b".into(), "c".into());
        let node = |name: &str| Awaited::Node(name.into());
        parking.park(&a, &[node("n1"), node("n2")], later);
        parking.park(&b, &[Awaited::Source("nodes")], later);
        parking.park(&c, &[Awaited::Policy], now);
        assert!(parking.wake(&node("n3")).is_empty());
        assert_eq!(parking.wake(&node("n2")), [a]);
        assert!(parking.wake(&node("n1")).is_empty());
        assert_eq!(parking.wake(&Awaited::Source("requests")), [b]);
        assert_eq!(parking.due(now, 10), [c]);
        assert!(parking.parked.is_empty() && parking.by_bell.is_empty());
        assert!(parking.by_time.is_empty());
    }
}
