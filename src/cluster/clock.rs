//! The clock: the only place that reads the time.
//!
//! Ages are computed by the API server's time ([`super::server_time`]) and by a monotonic clock that
//! goes on while the machine sleeps. The machine's own time of day dates log lines. It also takes the
//! place of the API server's time before the first answer.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use tokio::time::Instant;

use super::server_time::{Estimate, Reading, ServerTime};
use judge::evidence::Instants;

/// The monotonic clock that goes on while the machine sleeps.
#[cfg(target_os = "linux")]
const UPTIME: ClockId = ClockId::Boottime;
/// The monotonic clock, which goes on while the machine sleeps on macOS.
#[cfg(not(target_os = "linux"))]
const UPTIME: ClockId = ClockId::Monotonic;

/// A source of the current time, shared by all clients of one connection. Tests pass a clock that
/// follows tokio's, which they can stop and advance.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: TimeSource,
    server: ServerTime,
    /// The API server's time and the uptime when the time was first asked for.
    origin: OnceLock<(Timestamp, Duration)>,
}

#[derive(Clone, Copy, Debug)]
enum TimeSource {
    /// The clocks of the machine.
    Machine,
    /// The time since an instant, at which it was this time of day.
    #[cfg(test)]
    Counted(Timestamp, Instant),
}

impl TimeSource {
    /// The time of day, which an administrator may set.
    fn time_of_day(self) -> Timestamp {
        match self {
            TimeSource::Machine => Timestamp::now(),
            #[cfg(test)]
            TimeSource::Counted(begin, begun) => {
                begin.checked_add(begun.elapsed()).unwrap_or(begin)
            }
        }
    }

    /// The time since an arbitrary point, with the time that the machine slept.
    fn uptime(self) -> Duration {
        match self {
            TimeSource::Machine => Duration::try_from(clock_gettime(UPTIME)).unwrap_or_default(),
            #[cfg(test)]
            TimeSource::Counted(_, begun) => begun.elapsed(),
        }
    }
}

impl Clock {
    /// The machine's clock, which knows no API server's time yet.
    pub fn of_machine() -> Clock {
        Clock::new(TimeSource::Machine)
    }

    /// A clock that starts at this time of day and follows tokio's clock.
    #[cfg(test)]
    pub fn counted_from(begin: Timestamp) -> Clock {
        Clock::new(TimeSource::Counted(begin, Instant::now()))
    }

    fn new(source: TimeSource) -> Clock {
        Clock(Arc::new(Shared {
            source,
            server: ServerTime::default(),
            origin: OnceLock::new(),
        }))
    }

    /// The current time, by all clocks.
    pub fn now(&self) -> Now {
        let instant = Instant::now();
        let uptime = self.uptime();
        let wall = self.wall_at(uptime);
        let (begin, begun) = *self.0.origin.get_or_init(|| (wall, uptime));
        let passed = uptime.saturating_sub(begun);
        Now {
            wall,
            monotonic: begin.checked_add(passed).unwrap_or(begin),
            instant,
        }
    }

    /// The API server's time; the machine's time of day before the first answer.
    pub fn wall(&self) -> Timestamp {
        self.wall_at(self.uptime())
    }

    fn wall_at(&self, uptime: Duration) -> Timestamp {
        let server = self.0.server.at(uptime);
        server.unwrap_or_else(|| self.time_of_day())
    }

    /// The machine's own time of day, for the dates of log lines.
    pub fn time_of_day(&self) -> Timestamp {
        self.0.source.time_of_day()
    }

    /// The time since an arbitrary point, with the time that the machine slept.
    pub(super) fn uptime(&self) -> Duration {
        self.0.source.uptime()
    }

    /// Learns the API server's time from the date of an answer. The request was sent at this uptime,
    /// and the answer has just arrived.
    pub(super) fn learn(&self, date: Timestamp, sent: Duration) {
        let arrived = self.uptime();
        if let Some(reading) = Reading::new(date, sent, arrived) {
            self.0.server.learn(reading, arrived);
        }
    }

    /// The time since the last answer from which the API server's time was learned.
    pub(super) fn silence(&self) -> Option<Duration> {
        let heard = self.0.server.heard()?;
        Some(self.uptime().saturating_sub(heard))
    }

    /// The API server's time, once an answer was learned from.
    pub fn server_time(&self) -> Option<Timestamp> {
        self.0.server.at(self.uptime())
    }

    /// The difference from the API server's time to the machine's time of day, which is negative if
    /// the machine's clock is behind. `None` before the first answer.
    pub fn offset(&self) -> Option<Offset> {
        let Estimate { time, uncertainty } = self.0.server.estimate(self.uptime())?;
        Some(Offset {
            ahead: self.time_of_day().duration_since(time),
            uncertainty,
        })
    }
}

impl TimeProvider for Clock {
    /// The time at which certificates must be valid.
    fn current_time(&self) -> Option<UnixTime> {
        let second = u64::try_from(self.wall().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(second)))
    }
}

/// The difference between the machine's clock and the API server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The time by which the machine's clock is ahead; negative if it is behind.
    pub ahead: SignedDuration,
    /// The maximum error.
    pub uncertainty: Duration,
}

/// One point in time: by the API server's clock, for timestamps of the API server, and by the
/// monotonic clock, in two forms, for timestamps of this process.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The API server's time.
    pub wall: Timestamp,
    /// The monotonic time: the API server's time at the start, plus the time since.
    pub monotonic: Timestamp,
    /// The instant of timers. It stands still while the machine sleeps.
    pub instant: Instant,
}

impl Now {
    /// The difference by which the API server's time has changed since the start.
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

    const BEGIN: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const HOUR: SignedDuration = SignedDuration::from_hours(1);
    /// Longer than a test takes.
    const MINUTE: SignedDuration = SignedDuration::from_mins(1);

    #[track_caller]
    fn assert_soon_after(time: Timestamp, expected: Timestamp) {
        let late = time.duration_since(expected);
        assert!(!late.is_negative() && late < MINUTE, "{time} {expected}");
    }

    #[test]
    fn a_counted_clock_has_no_skew() {
        let clock = Clock::counted_from(BEGIN);
        let before = clock.now();
        let after = clock.now();
        assert_soon_after(before.wall, BEGIN);
        assert!(after.wall >= before.wall && after.monotonic >= before.monotonic);
        assert!(after.clock_skew().abs() < MINUTE);
        assert_eq!((clock.offset(), clock.server_time()), (None, None));
    }

    #[test]
    fn the_api_servers_time_is_in_force_from_its_first_answer() {
        let clock = Clock::counted_from(BEGIN);
        clock.learn(BEGIN + HOUR, clock.uptime());
        let now = clock.now();
        // The date was written before the answer arrived.
        assert_soon_after(now.wall, BEGIN + HOUR);
        assert_eq!(now.clock_skew(), SignedDuration::ZERO);
        let offset = clock.offset().unwrap();
        assert!((offset.ahead + HOUR).abs() < MINUTE, "{offset:?}");
        assert!(clock.silence().is_some());
        let verified_at = i64::try_from(clock.current_time().unwrap().as_secs()).unwrap();
        assert!((verified_at - now.wall.as_second()).abs() < MINUTE.as_secs());
    }

    #[test]
    fn a_first_answer_that_comes_late_changes_no_monotonic_time() {
        let clock = Clock::counted_from(BEGIN);
        assert_soon_after(clock.now().monotonic, BEGIN);
        clock.learn(BEGIN - HOUR, clock.uptime());
        let now = clock.now();
        assert_soon_after(now.wall, BEGIN - HOUR);
        assert_soon_after(now.monotonic, BEGIN);
        assert!((now.clock_skew() + HOUR).abs() < MINUTE);
    }

    #[test]
    fn the_uptime_of_the_machine_goes_on() {
        let clock = Clock::of_machine();
        let before = clock.uptime();
        assert!(before > Duration::ZERO);
        assert!(clock.uptime() >= before);
    }
}
