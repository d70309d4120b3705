//! Budget of denials: a requestor has at most one written in each interval, however many it deserves.
//!
//! Each denial costs the API server a write and every watch on requests an event. A kubelet has one
//! request open, so an honest one never notices.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use judge::csr::Username;

/// Requestors with a recently written denial.
#[derive(Debug)]
pub(super) struct DenialBudget {
    interval: Duration,
    /// Earliest time of the next denial. It has at most one entry for each write of the last interval.
    next: BTreeMap<Username, Instant>,
}

impl DenialBudget {
    /// A budget with this interval between two denials of one requestor.
    pub(super) fn new(interval: Duration) -> DenialBudget {
        DenialBudget {
            interval,
            next: BTreeMap::new(),
        }
    }

    /// Earliest time of the requestor's next denial; `None` if it can be written now.
    pub(super) fn deferred_until(&self, requestor: &Username, now: Instant) -> Option<Instant> {
        self.next.get(requestor).copied().filter(|next| *next > now)
    }

    /// Records that a denial was written.
    pub(super) fn spend(&mut self, requestor: &Username, now: Instant) {
        self.next.insert(requestor.clone(), now + self.interval);
    }

    /// Number of entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.next.len()
    }

    /// Drops entries that no longer have an effect.
    pub(super) fn prune(&mut self, now: Instant) {
        self.next.retain(|_, next| *next > now);
    }
}
