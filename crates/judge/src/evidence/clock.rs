//! When something is judged.

use jiff::{SignedDuration, Timestamp};

/// One moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day, for what the API server has dated. Somebody may set it.
    pub wall: Timestamp,
    /// The same but for that: nobody sets it, so what was taken down by it stays as old as it is.
    /// All times of the evidence are by it, but for those that the API server wrote.
    pub steady: Timestamp,
}

impl Moment {
    /// How far somebody has set the time of day.
    pub fn set_by(self) -> SignedDuration {
        self.wall.duration_since(self.steady)
    }

    /// The time of day, as somebody has set it, at this time of the steady clock: for people.
    pub fn by_wall(self, steady: Timestamp) -> Timestamp {
        steady.checked_add(self.set_by()).unwrap_or(steady)
    }
}

impl From<Timestamp> for Moment {
    /// Of a clock that nobody has set.
    fn from(time: Timestamp) -> Moment {
        Moment {
            wall: time,
            steady: time,
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
        let moment = Moment {
            wall: at(1000),
            steady: at(400),
        };
        assert_eq!(moment.by_wall(at(300)), at(900));
        assert_eq!(moment.by_wall(Timestamp::MAX), Timestamp::MAX);
        assert_eq!(Moment::from(at(7)).by_wall(at(3)), at(3));
    }
}
