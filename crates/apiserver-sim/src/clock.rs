//! The server's clock, which may be wrong.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// A clock that is so many seconds ahead of that of the machine, or behind it.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicI64);

impl Clock {
    /// From now on it is ahead by so much.
    pub(super) fn set_ahead(&self, ahead: SignedDuration) {
        self.0.store(ahead.as_secs(), Ordering::SeqCst);
    }

    /// Now, to the second.
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
