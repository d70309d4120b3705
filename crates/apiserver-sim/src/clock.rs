//! The server's clock, which tests can set wrong.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// The offset from the machine's clock, in seconds. Negative if it is behind.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicI64);

impl Clock {
    /// Sets the offset from the machine's clock.
    pub(super) fn set_ahead(&self, ahead: SignedDuration) {
        self.0.store(ahead.as_secs(), Ordering::SeqCst);
    }

    /// Returns the current time, to the second.
    pub(super) fn now(&self) -> String {
        let machine = Timestamp::now();
        let seconds = machine
            .as_second()
            .saturating_add(self.0.load(Ordering::SeqCst));
        Timestamp::from_second(seconds)
            .unwrap_or(machine)
            .to_string()
    }
}
