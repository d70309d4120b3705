//! The API server's time, learned from the `Date` header of its answers.
//!
//! One answer gives a range: the API server wrote the `Date`, in whole seconds, after the request was
//! sent and before the answer arrived. Answers of several API servers, or of a proxy that writes its
//! own `Date`, differ. Then the earliest time is in force, because it makes a request younger, and
//! staleness protects no one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Maximum time from a request to its answer. It limits the error of the learned time.
pub const QUICK: Duration = Duration::from_secs(2);
/// Resolution of a `Date` header (RFC 9110, 5.6.7).
const DATE_RESOLUTION: Duration = Duration::from_secs(1);
/// Earliest plausible `Date`: 2026-01-01. A machine without a time shows one of the last century.
const EARLIEST_DATE: Timestamp = Timestamp::constant(1_767_225_600, 0);
/// An answer counts for one to two of these.
const PERIOD: Duration = Duration::from_secs(300);
/// An answer that is further back than this counts once a second one within [`PERIOD`] confirms it, with or
/// without others between them: of two API servers, both answer.
const UNCONFIRMED_STEP: SignedDuration = SignedDuration::from_secs(30);

/// The range of the API server's time in one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The earliest possible time of the API server when the uptime was zero.
    earliest: Timestamp,
    /// The size of the range.
    range: Duration,
}

impl Reading {
    /// The reading of an answer with this date. The request was sent and the answer arrived at these
    /// uptimes. Returns `None` if the answer was slow or the date is not plausible.
    pub fn new(date: Timestamp, sent: Duration, arrived: Duration) -> Option<Reading> {
        let took = arrived.checked_sub(sent)?;
        if took > QUICK || date < EARLIEST_DATE {
            return None;
        }
        Some(Reading {
            earliest: date.checked_sub(arrived).ok()?,
            range: took + DATE_RESOLUTION,
        })
    }

    /// The earliest possible time of the API server at this uptime.
    fn earliest_at(self, uptime: Duration) -> Option<Timestamp> {
        self.earliest.checked_add(uptime).ok()
    }
}

/// The most probable time of the API server, and its maximum error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The middle of the range.
    pub time: Timestamp,
    /// Half of the range.
    pub uncertainty: Duration,
}

/// The API server's time, shared by all clients of one connection.
#[derive(Debug, Default)]
pub struct ServerTime(Mutex<Readings>);

/// The earliest reading of the current and of the previous period.
#[derive(Debug, Default)]
struct Readings {
    current: Option<Reading>,
    previous: Option<Reading>,
    /// Uptime at the start of the current period.
    since: Duration,
    /// True once two answers have counted.
    is_confirmed: bool,
    /// The last reading that is too far back and not confirmed, and the uptime at its answer.
    unconfirmed: Option<(Reading, Duration)>,
    /// Uptime at the last answer that counts.
    heard: Option<Duration>,
}

impl ServerTime {
    /// Learns a reading that was made at this uptime.
    pub fn learn(&self, reading: Reading, uptime: Duration) {
        self.readings().learn(reading, uptime);
    }

    /// The time in force at this uptime: the earliest of the recent answers. `None` before the first.
    pub fn at(&self, uptime: Duration) -> Option<Timestamp> {
        self.readings().in_force()?.earliest_at(uptime)
    }

    /// The estimate from the answer that is in force.
    pub fn estimate(&self, uptime: Duration) -> Option<Estimate> {
        let reading = self.readings().in_force()?;
        let uncertainty = reading.range / 2;
        let earliest = reading.earliest_at(uptime)?;
        Some(Estimate {
            time: earliest.checked_add(uncertainty).ok()?,
            uncertainty,
        })
    }

    /// Uptime at the last answer that counts.
    pub fn heard(&self) -> Option<Duration> {
        self.readings().heard
    }

    fn readings(&self) -> MutexGuard<'_, Readings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readings {
    fn learn(&mut self, reading: Reading, uptime: Duration) {
        if self.is_doubtful(reading, uptime) {
            self.unconfirmed = Some((reading, uptime));
            return;
        }
        self.is_confirmed = self.heard.replace(uptime).is_some();
        if uptime.saturating_sub(self.since) >= PERIOD {
            self.previous = self.current.take();
            self.since = uptime;
        }
        self.current = earlier(self.current, Some(reading));
    }

    /// Returns true if the reading is far before the one in force, which more than one answer has
    /// confirmed, and no recent reading of that kind agrees with it.
    fn is_doubtful(&self, reading: Reading, uptime: Duration) -> bool {
        let is_back =
            |from: Reading| from.earliest.duration_since(reading.earliest) > UNCONFIRMED_STEP;
        let agrees = |(other, heard): (Reading, Duration)| {
            let apart = other.earliest.duration_since(reading.earliest);
            apart.abs() <= UNCONFIRMED_STEP && uptime.saturating_sub(heard) <= PERIOD
        };
        self.is_confirmed
            && self.in_force().is_some_and(is_back)
            && !self.unconfirmed.is_some_and(agrees)
    }

    fn in_force(&self) -> Option<Reading> {
        earlier(self.current, self.previous)
    }
}

fn earlier(one: Option<Reading>, other: Option<Reading>) -> Option<Reading> {
    one.into_iter()
        .chain(other)
        .min_by_key(|reading| reading.earliest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Learns from an answer at this uptime, by a clock that is ahead by so many seconds of one that
    /// shows [`START`] at uptime zero.
    fn answer(time: &ServerTime, uptime: u64, ahead: i64) {
        let arrived = seconds(uptime);
        let date = START + arrived + SignedDuration::from_secs(ahead);
        let reading = Reading::new(date, arrived, arrived).unwrap();
        time.learn(reading, arrived);
    }

    /// The number of seconds by which the time in force is ahead.
    fn ahead(time: &ServerTime, uptime: u64) -> i64 {
        let uptime = seconds(uptime);
        let at = time.at(uptime).unwrap();
        at.duration_since(START + uptime).as_secs()
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        let time = ServerTime::default();
        assert_eq!(time.at(seconds(9)), None);
        assert_eq!(time.estimate(seconds(9)), None);
        assert_eq!(time.heard(), None);
    }

    #[test]
    fn the_time_in_force_is_never_later_than_the_servers() {
        // The server writes the date at uptime 100.999, when its clock shows 999 ms more than a second.
        let date = START + seconds(100);
        let written = Duration::from_millis(100_999);
        for took in [0, 1, 500, 2000] {
            let took = Duration::from_millis(took);
            for before in [Duration::ZERO, took / 2, took] {
                let sent = written - before;
                let time = ServerTime::default();
                time.learn(Reading::new(date, sent, sent + took).unwrap(), sent + took);
                let later = written + seconds(50);
                let at = time.at(later).unwrap();
                assert!(at <= START + later, "{at}");
                assert!(at >= START + later - seconds(1) - took, "{at}");
                let estimate = time.estimate(later).unwrap();
                let error = estimate.time.duration_since(START + later).unsigned_abs();
                assert!(error <= estimate.uncertainty, "{estimate:?}");
            }
        }
    }

    #[test]
    fn slow_answers_and_implausible_dates_are_not_used() {
        let slow = seconds(10) + QUICK + Duration::from_millis(1);
        assert_eq!(Reading::new(START, seconds(10), slow), None);
        assert_eq!(Reading::new(START, seconds(10), seconds(9)), None);
        for date in ["1970-01-01T00:00:00Z", "2025-12-31T23:59:59Z"] {
            let date: Timestamp = date.parse().unwrap();
            assert_eq!(Reading::new(date, seconds(1), seconds(1)), None);
        }
        for date in ["2026-01-01T00:00:00Z", "9999-12-30T00:00:00Z"] {
            let date: Timestamp = date.parse().unwrap();
            assert!(Reading::new(date, seconds(1), seconds(1)).is_some());
        }
    }

    #[test]
    fn a_time_that_cannot_be_represented_is_unknown() {
        let time = ServerTime::default();
        let reading = Reading::new(Timestamp::MAX, seconds(1), seconds(1)).unwrap();
        time.learn(reading, seconds(1));
        assert_eq!(time.at(seconds(100)), None);
        assert_eq!(time.estimate(seconds(100)), None);
        answer(&time, 100, 0);
        assert_eq!(ahead(&time, 100), 0);
    }

    #[test]
    fn of_two_servers_the_earlier_one_counts() {
        let time = ServerTime::default();
        answer(&time, 1, 7);
        assert_eq!(ahead(&time, 1), 7);
        answer(&time, 2, 0);
        answer(&time, 3, 7);
        assert_eq!(ahead(&time, 3), 0);
        // Over the limit of a period too.
        for uptime in (10..2000).step_by(10) {
            let of = if uptime % 100 == 0 { 0 } else { 7 };
            answer(&time, uptime, of);
            assert_eq!(ahead(&time, uptime), 0, "{uptime}");
        }
    }

    #[test]
    fn one_absurd_answer_changes_nothing() {
        let day = 24 * 3600;
        for absurd in [-day, day, 100 * 365 * day] {
            let time = ServerTime::default();
            for uptime in 1..1000 {
                answer(&time, uptime, if uptime % 350 == 50 { absurd } else { 0 });
                assert_eq!(ahead(&time, uptime), 0, "{absurd} {uptime}");
            }
        }
    }

    #[test]
    fn of_two_servers_in_turn_the_one_far_behind_counts_at_its_second_answer() {
        let time = ServerTime::default();
        let behind = -3 * 3600;
        for (uptime, of, expected) in [(1, 0, 0), (2, 0, 0), (3, behind, 0), (4, 0, 0)] {
            answer(&time, uptime, of);
            assert_eq!(ahead(&time, uptime), expected, "{uptime}");
        }
        for uptime in 5..2000 {
            answer(&time, uptime, if uptime % 2 == 1 { behind } else { 0 });
            assert_eq!(ahead(&time, uptime), behind, "{uptime}");
        }
    }

    #[test]
    fn an_absurd_first_answer_counts_until_the_next() {
        let time = ServerTime::default();
        answer(&time, 1, 1_000_000_000);
        answer(&time, 2, 0);
        assert_eq!(ahead(&time, 2), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_counts_at_the_second_answer() {
        let time = ServerTime::default();
        answer(&time, 1, 600);
        answer(&time, 2, 600);
        answer(&time, 3, 0);
        assert_eq!(ahead(&time, 3), 600);
        assert_eq!(time.heard(), Some(seconds(2)));
        answer(&time, 4, 0);
        assert_eq!(ahead(&time, 4), 0);
        assert_eq!(time.heard(), Some(seconds(4)));
    }

    #[test]
    fn a_clock_that_is_set_forward_counts_within_two_periods() {
        let time = ServerTime::default();
        answer(&time, 1, 0);
        for uptime in 2..=PERIOD.as_secs() * 2 + 1 {
            answer(&time, uptime, 600);
        }
        assert_eq!(ahead(&time, 1000), 600);
        // The last one stays in force, however long ago it was.
        assert_eq!(ahead(&time, 1_000_000), 600);
    }
}
