//! Budget of judgments that the changes of one object can cause, however often it changes.
//!
//! A kubelet can change its own Node hundreds of times a second, while many requests wait for it. The
//! first changes wake them at once, more of them at a limited rate, and the last one always.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Time that pays for one judgment.
const EACH: Duration = Duration::from_millis(125);
/// Judgments ahead of that time, expressed as time: 64. A kubelet changes its Node a few times when it
/// registers, and has one request.
const CREDIT: Duration = Duration::from_secs(8);
/// Longest time between two wakes of an object that keeps changing, however many requests await it.
const LONGEST: Duration = Duration::from_secs(1);

/// Judgments caused by each object that has changed recently.
#[derive(Debug)]
pub(super) struct WakeBudget<K>(BTreeMap<K, Spent>);

#[derive(Debug)]
struct Spent {
    /// Time at which all judgments so far are paid for.
    until: Instant,
    /// True if it has changed since its requests were woken.
    has_changed: bool,
}

impl<K> Default for WakeBudget<K> {
    fn default() -> WakeBudget<K> {
        WakeBudget(BTreeMap::new())
    }
}

impl<K: Clone + Ord> WakeBudget<K> {
    /// Records a change of an object that requests await. Returns true if they can be judged now;
    /// otherwise [`WakeBudget::due`] returns the object later.
    pub(super) fn changed(&mut self, key: &K, now: Instant) -> bool {
        let Some(spent) = self.0.get_mut(key) else {
            return true;
        };
        let can_pay = spent.until <= now + CREDIT;
        spent.has_changed = !can_pay;
        can_pay
    }

    /// Pays for judgments that an object causes now.
    pub(super) fn spend(&mut self, key: &K, judgments: usize, now: Instant) {
        let judgments = u32::try_from(judgments).unwrap_or(u32::MAX);
        let spent = self.0.entry(key.clone()).or_insert(Spent {
            until: now,
            has_changed: false,
        });
        let until = spent.until.max(now) + EACH.saturating_mul(judgments).min(CREDIT + LONGEST);
        spent.until = until.min(now + CREDIT + LONGEST);
    }

    /// Objects with an unseen change whose requests can be judged now. Drops what is paid for.
    pub(super) fn due(&mut self, now: Instant) -> Vec<K> {
        self.0
            .retain(|_, spent| spent.has_changed || spent.until > now);
        let unseen = self.0.iter_mut().filter(|(_, spent)| spent.has_changed);
        let due = unseen.filter_map(|(key, spent)| {
            spent.has_changed = spent.until > now + CREDIT;
            (!spent.has_changed).then(|| key.clone())
        });
        due.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes an object 200 times a second for ten seconds. Returns the times of its wakes, in
    /// milliseconds.
    fn wakes(listeners: usize) -> Vec<u64> {
        let begun = Instant::now();
        let mut budget = WakeBudget::default();
        let mut woken = Vec::new();
        for millis in (0..10_000).step_by(5) {
            let now = begun + Duration::from_millis(millis);
            let is_due = millis % 1000 == 0 && budget.due(now) == ["a"];
            if is_due || budget.changed(&"a", now) {
                budget.spend(&"a", listeners, now);
                woken.push(millis);
            }
        }
        woken
    }

    #[test]
    fn the_first_changes_wake_at_once_and_more_at_a_limited_rate() {
        let of_one = wakes(1);
        assert_eq!(of_one.iter().filter(|at| **at < 320).count(), 64);
        assert!(of_one.len() <= 64 + 80, "{}", of_one.len());
        let of_many = wakes(32);
        assert_eq!(of_many.iter().filter(|at| **at < 100).count(), 3);
        assert!((10..=13).contains(&of_many.len()), "{of_many:?}");
        assert!((9..=11).contains(&wakes(15_000).len()));
    }

    #[test]
    fn the_last_change_is_not_lost_and_nothing_stays() {
        let begun = Instant::now();
        let mut budget = WakeBudget::default();
        budget.spend(&"a", 1000, begun);
        assert!(!budget.changed(&"a", begun));
        assert!(budget.due(begun).is_empty());
        let later = begun + LONGEST;
        assert_eq!(budget.due(later), ["a"]);
        assert!(budget.due(later).is_empty());
        assert!(budget.due(begun + LONGEST + CREDIT).is_empty());
        assert!(budget.0.is_empty());
    }
}
