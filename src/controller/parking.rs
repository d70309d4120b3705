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
            let bell = match awaited {
                Awaited::Node(name) => Bell::Node(name.clone()),
                Awaited::Machine(key) => Bell::Machine(key.clone()),
                Awaited::Answer(question) => Bell::Answer(question.clone()),
                Awaited::Source(_) => Bell::Source,
                Awaited::Policy => Bell::Policy,
                // The caller has made `at` of it.
                Awaited::Time(_) => continue,
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

    /// Wakes those that wait for this Node.
    pub(super) fn node_changed(&mut self, name: &Arc<str>) -> Vec<Uid> {
        self.ring(Bell::Node(name.clone()))
    }

    /// Wakes those that wait for a Machine that is known by this.
    pub(super) fn machine_changed(&mut self, key: &Arc<str>) -> Vec<Uid> {
        self.ring(Bell::Machine(key.clone()))
    }

    /// Wakes those that wait for this answer.
    pub(super) fn answered(&mut self, question: &Question) -> Vec<Uid> {
        self.ring(Bell::Answer(question.clone()))
    }

    /// Wakes those that wait for any source.
    pub(super) fn source_changed(&mut self) -> Vec<Uid> {
        self.ring(Bell::Source)
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
        assert!(parking.node_changed(&"n3".into()).is_empty());
        assert_eq!(parking.node_changed(&"n2".into()), [a]);
        assert!(parking.node_changed(&"n1".into()).is_empty());
        assert_eq!(parking.source_changed(), [b]);
        assert_eq!(parking.due(now, 10), [c]);
        assert!(parking.parked.is_empty() && parking.by_bell.is_empty());
        assert!(parking.by_time.is_empty());
    }
}
