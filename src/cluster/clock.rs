//! The clock: the only place that reads the time.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use judge::evidence::Instants;

/// A source of the current time. Tests pass a clock that follows tokio's, which they can stop and
/// advance.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Wall-clock time and instant of the start of the process.
    begun: (Timestamp, Instant),
    time_of_day: TimeOfDay,
}

#[derive(Clone, Copy, Debug)]
enum TimeOfDay {
    /// The wall clock of the machine, which may be set.
    OfMachine,
    /// The time since the start, by the monotonic clock.
    #[cfg(test)]
    Counted,
}

impl Clock {
    /// The machine's clock. The monotonic time starts at the current wall-clock time.
    pub fn of_machine() -> Clock {
        Clock {
            begun: (Timestamp::now(), Instant::now()),
            time_of_day: TimeOfDay::OfMachine,
        }
    }

    /// A clock that starts at this wall-clock time and follows tokio's clock.
    #[cfg(test)]
    pub fn counted_from(begin: Timestamp) -> Clock {
        Clock {
            begun: (begin, Instant::now()),
            time_of_day: TimeOfDay::Counted,
        }
    }

    /// The current time, by all clocks.
    pub fn now(&self) -> Now {
        let (begin, begun) = self.begun;
        let instant = Instant::now();
        let passed = instant.saturating_duration_since(begun);
        let monotonic = begin.checked_add(passed).unwrap_or(begin);
        let wall = match self.time_of_day {
            TimeOfDay::OfMachine => Timestamp::now(),
            #[cfg(test)]
            TimeOfDay::Counted => monotonic,
        };
        Now {
            wall,
            monotonic,
            instant,
        }
    }

    /// The current wall-clock time.
    pub fn wall(&self) -> Timestamp {
        self.now().wall
    }
}

/// One point in time, by every clock: the wall clock for timestamps of the API server, and the
/// monotonic clock, in two forms, for timestamps of this process.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The wall-clock time.
    pub wall: Timestamp,
    /// The monotonic time: the wall-clock time at the start of the process, plus the time since.
    pub monotonic: Timestamp,
    /// The monotonic time as an instant.
    pub instant: Instant,
}

impl Now {
    /// The monotonic time at a past instant.
    pub fn monotonic_at(self, instant: Instant) -> Timestamp {
        let passed = self.instant.saturating_duration_since(instant);
        self.monotonic.checked_sub(passed).unwrap_or(self.monotonic)
    }

    /// The difference by which the wall clock was set since the start of the process.
    pub fn clock_skew(self) -> SignedDuration {
        self.instants().clock_skew()
    }

    /// The times that a judgment needs.
    pub fn instants(self) -> Instants {
        Instants {
            wall: self.wall,
            monotonic: self.monotonic,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_counted_clock_has_no_skew() {
        let begin = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = Clock::counted_from(begin);
        let before = clock.now();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let after = clock.now();
        assert!(after.wall > before.wall && before.wall >= begin);
        assert_eq!(after.clock_skew(), SignedDuration::ZERO);
        assert_eq!(after.monotonic_at(before.instant), before.monotonic);
    }
}
