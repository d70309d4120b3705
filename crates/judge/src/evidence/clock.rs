//! The time of a judgment, by the wall clock and by the monotonic clock.

use jiff::{SignedDuration, Timestamp};

/// One point in time, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instants {
    /// The wall-clock time, for timestamps that the API server wrote. An administrator or NTP may
    /// change it.
    pub wall: Timestamp,
    /// The monotonic time as a timestamp. Setting the wall clock does not change it, so ages that are
    /// measured by it stay correct. All times in the evidence are monotonic, except those that the
    /// API server wrote.
    pub monotonic: Timestamp,
}

impl Instants {
    /// The difference from the monotonic time to the wall-clock time. It is zero until the wall clock
    /// is set.
    pub fn clock_skew(self) -> SignedDuration {
        self.wall.duration_since(self.monotonic)
    }

    /// Converts a monotonic time to wall-clock time, for people.
    pub fn to_wall(self, monotonic: Timestamp) -> Timestamp {
        monotonic
            .checked_add(self.clock_skew())
            .unwrap_or(monotonic)
    }
}

impl From<Timestamp> for Instants {
    /// An instant without clock skew.
    fn from(time: Timestamp) -> Instants {
        Instants {
            wall: time,
            monotonic: time,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_monotonic_time_converts_to_the_wall_clock() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let instants = Instants {
            wall: at(1000),
            monotonic: at(400),
        };
        assert_eq!(instants.to_wall(at(300)), at(900));
        assert_eq!(instants.to_wall(Timestamp::MAX), Timestamp::MAX);
        assert_eq!(Instants::from(at(7)).to_wall(at(3)), at(3));
    }
}
