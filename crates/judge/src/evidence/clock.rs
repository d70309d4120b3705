//! The time of a judgment, by the API server's clock and by the monotonic clock.

use jiff::{SignedDuration, Timestamp};

use crate::csr::Request;

/// One point in time, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instants {
    /// The API server's time, for timestamps that the API server wrote. It changes when the API
    /// server's clock is set.
    pub wall: Timestamp,
    /// The monotonic time as a timestamp. Setting a clock does not change it, so ages that are
    /// measured by it stay correct. All times in the evidence are monotonic, except those that the
    /// API server wrote.
    pub monotonic: Timestamp,
}

impl Instants {
    /// The difference from the monotonic time to the API server's time. It is zero until the API
    /// server's clock is set.
    pub fn clock_skew(self) -> SignedDuration {
        self.wall.duration_since(self.monotonic)
    }

    /// The age of a request. If the watch has shown its creation, it is no older than that event,
    /// whatever the clock says that dated the request: staleness protects no one.
    pub fn age_of(self, request: &Request) -> SignedDuration {
        let by_timestamp = self.wall.duration_since(request.object.created);
        match request.first_seen {
            Some(seen) if seen.is_creation => {
                by_timestamp.min(self.monotonic.duration_since(seen.at))
            }
            Some(_) | None => by_timestamp,
        }
    }

    /// Converts a monotonic time to the API server's time.
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
    fn a_monotonic_time_converts_to_the_api_servers() {
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
