//! The right to write, shared by the election that grants it and the writers that check it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The right to write. Checked without a lock right before every write.
#[derive(Clone, Debug)]
pub struct Leadership {
    epoch: Instant,
    /// End of the right to write, in milliseconds from `epoch`; `u64::MAX` without leader election.
    writes_until: Arc<AtomicU64>,
}

impl Leadership {
    /// A leadership that is not held yet.
    pub fn not_held() -> Leadership {
        Leadership {
            epoch: Instant::now(),
            writes_until: Arc::new(AtomicU64::new(0)),
        }
    }

    /// A permanent leadership, for a replica without leader election.
    pub fn without_election() -> Leadership {
        let leadership = Leadership::not_held();
        leadership.writes_until.store(u64::MAX, Ordering::SeqCst);
        leadership
    }

    /// Returns true if a write may start now.
    pub fn may_write(&self) -> bool {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        now < self.writes_until.load(Ordering::SeqCst)
    }

    /// Grants the right for this time after a renewal.
    pub(super) fn extend(&self, renewed: Instant, write_within: Duration) {
        let until = renewed.duration_since(self.epoch) + write_within;
        let until = u64::try_from(until.as_millis()).unwrap_or(0);
        self.writes_until.store(until, Ordering::SeqCst);
    }

    /// Withdraws the right.
    pub(super) fn end(&self) {
        self.writes_until.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_right_to_write_ends_by_itself_and_at_once_if_it_is_lost() {
        let leadership = Leadership::not_held();
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        assert!(!leadership.may_write());
        leadership.extend(Instant::now(), second * 2);
        tokio::time::advance(second).await;
        assert!(leadership.may_write());
        tokio::time::advance(second).await;
        assert!(!leadership.may_write());
        leadership.extend(Instant::now(), second * 2);
        assert!(leadership.may_write());
        leadership.end();
        assert!(!leadership.may_write());
    }
}
