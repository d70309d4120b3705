//! Waiting requests, indexed by what wakes each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::wake_budget::WakeBudget;
use judge::csr::Uid;
use judge::evidence::Claimed;
use judge::finding::{Awaited, Question};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum WakeKey {
    Node(Arc<str>),
    Claim(Claimed),
    Machine(Arc<str>),
    Answer(Question),
    Source,
    ProtectedIdentities,
    Policy,
}

impl WakeKey {
    /// The key for an awaited object; `None` for a time.
    fn of(awaited: &Awaited) -> Option<WakeKey> {
        match awaited {
            Awaited::Node(name) => Some(WakeKey::Node(name.clone())),
            Awaited::Claim(claimed) => Some(WakeKey::Claim(claimed.clone())),
            Awaited::Machine(key) => Some(WakeKey::Machine(key.clone())),
            Awaited::Answer(question) => Some(WakeKey::Answer(question.clone())),
            Awaited::Source(_) => Some(WakeKey::Source),
            Awaited::ProtectedIdentities => Some(WakeKey::ProtectedIdentities),
            Awaited::Policy => Some(WakeKey::Policy),
            Awaited::Time(_) => None,
        }
    }

    /// True for an object that a node can change as often as it likes.
    fn has_budget(&self) -> bool {
        match self {
            WakeKey::Node(_) | WakeKey::Claim(_) | WakeKey::Machine(_) | WakeKey::Answer(_) => true,
            WakeKey::Source | WakeKey::ProtectedIdentities | WakeKey::Policy => false,
        }
    }
}

/// Keys of one request, mostly one.
type WakeKeys = SmallVec<[WakeKey; 1]>;

/// All waiting requests.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    parked: BTreeMap<Uid, (WakeKeys, Instant)>,
    by_key: BTreeSet<(WakeKey, Uid)>,
    by_time: BTreeSet<(Instant, Uid)>,
    budget: WakeBudget<WakeKey>,
}

impl Waiting {
    /// Lets a request wait until one of these changes, at most until `at`.
    pub(super) fn park(&mut self, uid: &Uid, awaits: &[Awaited], at: Instant) {
        self.leave(uid);
        let mut keys = WakeKeys::new();
        for awaited in awaits {
            // The caller has made `at` of a time.
            let Some(key) = WakeKey::of(awaited) else {
                continue;
            };
            self.by_key.insert((key.clone(), uid.clone()));
            keys.push(key);
        }
        self.by_time.insert((at, uid.clone()));
        self.parked.insert(uid.clone(), (keys, at));
    }

    /// True if this request waits.
    #[cfg(test)]
    pub(super) fn has(&self, uid: &Uid) -> bool {
        self.parked.contains_key(uid)
    }

    /// Number of waiting requests.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parked.len().max(self.by_time.len())
    }

    /// Removes a request. Returns true if it was waiting.
    pub(super) fn leave(&mut self, uid: &Uid) -> bool {
        let Some((keys, at)) = self.parked.remove(uid) else {
            return false;
        };
        self.by_time.remove(&(at, uid.clone()));
        for key in keys {
            self.by_key.remove(&(key, uid.clone()));
        }
        true
    }

    /// Wakes the requests that await this. A source wakes those that await any source. An object that
    /// changes too often wakes them later, by [`Waiting::due`].
    pub(super) fn wake(&mut self, awaited: &Awaited, now: Instant) -> Vec<Uid> {
        match WakeKey::of(awaited) {
            Some(key) if !key.has_budget() => self.wake_all(&key),
            Some(key) if self.listeners(&key).next().is_none() => Vec::new(),
            Some(key) if self.budget.changed(&key, now) => self.wake_within_budget(&key, now),
            Some(_) | None => Vec::new(),
        }
    }

    /// Wakes all requests.
    pub(super) fn everyone(&mut self) -> Vec<Uid> {
        let all = self.parked.keys().cloned().collect();
        self.take_out(all)
    }

    /// Wakes at most `most` requests whose time has come, and those that await an object which has
    /// changed too often.
    pub(super) fn due(&mut self, now: Instant, most: usize) -> Vec<Uid> {
        let mut woken = Vec::new();
        for key in self.budget.due(now) {
            woken.extend(self.wake_within_budget(&key, now));
        }
        let due: Vec<Uid> = self
            .by_time
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(most)
            .map(|(_, uid)| uid.clone())
            .collect();
        woken.extend(self.take_out(due));
        woken
    }

    fn wake_within_budget(&mut self, key: &WakeKey, now: Instant) -> Vec<Uid> {
        let woken = self.wake_all(key);
        self.budget.spend(key, woken.len(), now);
        woken
    }

    fn wake_all(&mut self, key: &WakeKey) -> Vec<Uid> {
        let listeners = self.listeners(key).cloned().collect();
        self.take_out(listeners)
    }

    fn listeners(&self, key: &WakeKey) -> impl Iterator<Item = &Uid> {
        self.by_key
            .range((key.clone(), Uid::default())..)
            .take_while(move |(of, _)| of == key)
            .map(|(_, uid)| uid)
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
        let mut waiting = Waiting::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let (a, b, c): (Uid, Uid, Uid) = ("a".into(), "b".into(), "c".into());
        let node = |name: &str| Awaited::Node(name.into());
        waiting.park(&a, &[node("n1"), node("n2")], later);
        waiting.park(&b, &[Awaited::Source("nodes")], later);
        waiting.park(&c, &[Awaited::Policy], now);
        assert!(waiting.wake(&node("n3"), now).is_empty());
        assert_eq!(waiting.wake(&node("n2"), now), [a]);
        assert!(waiting.wake(&node("n1"), now).is_empty());
        assert_eq!(waiting.wake(&Awaited::Source("requests"), now), [b]);
        assert_eq!(waiting.due(now, 10), [c]);
        assert!(waiting.parked.is_empty() && waiting.by_key.is_empty());
        assert!(waiting.by_time.is_empty());
    }
}
