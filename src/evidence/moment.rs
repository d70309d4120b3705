//! When something is judged.

use jiff::Timestamp;

/// One moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day, for what the API server has dated. Somebody may set it.
    pub wall: Timestamp,
    /// The same but for that: nobody sets it, so what was taken down by it stays as old as it is.
    /// All times of the evidence are by it, but for those that the API server wrote.
    pub steady: Timestamp,
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
