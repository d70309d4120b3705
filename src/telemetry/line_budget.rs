//! Budget of each requestor for lines about decisions that are not written to the API server, so that
//! one that changes all the time does not fill the log.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use tokio::time::Instant;

/// Lines that a requestor may have at once: eight verdicts for each of the 32 requests that are kept
/// of it.
const BURST: u32 = 256;
/// Time in which a requestor earns one more line.
const INTERVAL: Duration = Duration::from_millis(250);
/// Maximum number of budgets in use. Requestors beyond it share one.
const MAX_BUDGETS: usize = 16_384;
/// Interval at which full budgets are forgotten.
const CLEAN_INTERVAL: Duration = Duration::from_secs(1);

/// Budgets of all requestors. One that is full again is forgotten.
#[derive(Clone, Debug)]
pub(super) struct LineBudget {
    /// Time at which each budget is full again, by the hash of the requestor.
    full_at: HashMap<u64, Instant>,
    hasher: RandomState,
    cleaned: Instant,
}

impl LineBudget {
    pub(super) fn new(now: Instant) -> LineBudget {
        LineBudget {
            full_at: HashMap::new(),
            hasher: RandomState::new(),
            cleaned: now,
        }
    }

    /// Takes a line from this requestor's budget. Returns false if nothing is left of it.
    pub(super) fn take(&mut self, requestor: &str, now: Instant) -> bool {
        if now.duration_since(self.cleaned) >= CLEAN_INTERVAL {
            self.cleaned = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        let mut key = self.hasher.hash_one(requestor);
        if self.full_at.len() >= MAX_BUDGETS && !self.full_at.contains_key(&key) {
            key = 0;
        }
        let full_at = self.full_at.entry(key).or_insert(now);
        let next = (*full_at).max(now) + INTERVAL;
        let is_left = next.duration_since(now) <= INTERVAL * BURST;
        if is_left {
            *full_at = next;
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut LineBudget, requestor: &str, now: Instant) -> u32 {
        let mut lines = 0;
        while budget.take(requestor, now) {
            lines += 1;
        }
        lines
    }

    #[test]
    fn a_requestor_has_a_burst_and_then_some_lines_a_second() {
        let begun = Instant::now();
        let mut budget = LineBudget::new(begun);
        assert_eq!(taken(&mut budget, "loud", begun), BURST);
        assert!(budget.take("quiet", begun));
        let later = begun + Duration::from_secs(1);
        assert_eq!(taken(&mut budget, "loud", later), 4);
        assert_eq!(budget.full_at.len(), 1, "`quiet` is forgotten");
        let full = later + INTERVAL * BURST;
        assert_eq!(taken(&mut budget, "loud", full), BURST);
    }

    #[test]
    fn the_number_of_budgets_is_bounded() {
        let begun = Instant::now();
        let mut budget = LineBudget::new(begun);
        for number in 0..MAX_BUDGETS + 1000 {
            budget.take(&number.to_string(), begun);
        }
        assert_eq!(budget.full_at.len(), MAX_BUDGETS + 1);
        assert!(!budget.take("one more", begun), "they share one budget");
        let later = begun + INTERVAL * BURST;
        assert!(budget.take("one more", later));
        assert_eq!(budget.full_at.len(), 1);
    }
}
