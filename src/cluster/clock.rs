//! The clock: the one place that reads the time of day.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use judge::evidence::Instants;

/// What time it is. Handed to everything that dates something, so that a test can hand in one whose
/// time of day passes with tokio's clock, which it can stop and move.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The time of day when the process began, and the monotonic time then.
    begun: (Timestamp, Instant),
    time_of_day: TimeOfDay,
}

#[derive(Clone, Copy, Debug)]
enum TimeOfDay {
    /// As the machine has it; somebody may set it.
    OfMachine,
    /// Counted from the beginning by the monotonic clock.
    #[cfg(test)]
    Counted,
}

impl Clock {
    /// The machine's clock. The steady time begins now.
    pub fn of_machine() -> Clock {
        Clock {
            begun: (Timestamp::now(), Instant::now()),
            time_of_day: TimeOfDay::OfMachine,
        }
    }

    /// A clock that begins at this time of day and goes as tokio's does.
    #[cfg(test)]
    pub fn counted_from(begin: Timestamp) -> Clock {
        Clock {
            begun: (begin, Instant::now()),
            time_of_day: TimeOfDay::Counted,
        }
    }

    /// The present, by all clocks.
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

    /// The time of day.
    pub fn wall(&self) -> Timestamp {
        self.now().wall
    }
}

/// One moment by every clock: one for what the API server dates, two that nobody sets for what is
/// dated here.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The time of day.
    pub wall: Timestamp,
    /// The time of day when this process began, and what has passed since.
    pub monotonic: Timestamp,
    /// The monotonic time.
    pub instant: Instant,
}

impl Now {
    /// The steady time at this monotonic time, which has passed.
    pub fn monotonic_at(self, instant: Instant) -> Timestamp {
        let passed = self.instant.saturating_duration_since(instant);
        self.monotonic.checked_sub(passed).unwrap_or(self.monotonic)
    }

    /// How far somebody has set the time of day since the process began.
    pub fn clock_skew(self) -> SignedDuration {
        self.instants().clock_skew()
    }

    /// What a judgment needs of it.
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
    async fn a_counted_clock_is_set_by_nobody() {
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
