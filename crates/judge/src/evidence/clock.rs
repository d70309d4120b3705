//! When something is judged.

use jiff::{SignedDuration, Timestamp};

/// One instant by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instants {
    /// The time of day, for what the API server has dated. Somebody may set it.
    pub wall: Timestamp,
    /// The same but for that: nobody sets it, so what was taken down by it stays as old as it is.
    /// All times of the evidence are by it, but for those that the API server wrote.
    pub monotonic: Timestamp,
}

impl Instants {
    /// How far somebody has set the time of day.
    pub fn clock_skew(self) -> SignedDuration {
        self.wall.duration_since(self.monotonic)
    }

    /// The time of day, as somebody has set it, at this time of the monotonic clock: for people.
    pub fn to_wall(self, monotonic: Timestamp) -> Timestamp {
        monotonic
            .checked_add(self.clock_skew())
            .unwrap_or(monotonic)
    }
}

impl From<Timestamp> for Instants {
    /// Of a clock that nobody has set.
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
    fn people_are_told_the_time_of_day() {
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
