//! The server's clock, which tests can set wrong, and the `Date` of its answers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The clocks of the API servers that this one stands for, and the clock of a proxy.
#[derive(Debug, Default)]
pub(super) struct Clock {
    source: Source,
    offsets: Mutex<Offsets>,
}

/// The clock that the others differ from.
#[derive(Debug, Default)]
enum Source {
    /// The machine's.
    #[default]
    Machine,
    /// One that showed this time at an instant and follows tokio's.
    Counted(Timestamp, Instant),
}

/// Offsets from the source. Negative if it is behind.
#[derive(Debug, Default)]
struct Offsets {
    /// Those of the API servers, which take turns; zero without API servers.
    servers: Vec<SignedDuration>,
    /// Index of the server whose turn is next.
    turn: usize,
    /// The clock of a proxy that replaces the `Date`.
    proxy: Option<SignedDuration>,
}

impl Clock {
    /// A clock that starts at this time and follows tokio's.
    pub(super) fn counted_from(begin: Timestamp) -> Clock {
        Clock {
            source: Source::Counted(begin, Instant::now()),
            offsets: Mutex::default(),
        }
    }

    /// Sets the offset of each API server from the source.
    pub(super) fn set_servers(&self, ahead: &[SignedDuration]) {
        let mut offsets = self.offsets();
        offsets.servers = ahead.to_vec();
        offsets.turn = 0;
    }

    /// Sets the offset of a proxy's clock. `None` for no proxy.
    pub(super) fn set_proxy(&self, ahead: Option<SignedDuration>) {
        self.offsets().proxy = ahead;
    }

    /// Returns the current time, to the second.
    pub(super) fn now(&self) -> String {
        let ahead = self.offsets().next_server();
        let time = self.shifted(ahead);
        let second = Timestamp::from_second(time.as_second());
        second.unwrap_or(time).to_string()
    }

    /// Returns the current time as in a `Date` header.
    pub(super) fn date(&self) -> String {
        let ahead = {
            let mut offsets = self.offsets();
            match offsets.proxy {
                Some(ahead) => ahead,
                None => offsets.next_server(),
            }
        };
        let format = "%a, %d %b %Y %H:%M:%S GMT";
        self.shifted(ahead).strftime(format).to_string()
    }

    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shifted(&self, ahead: SignedDuration) -> Timestamp {
        let source = match self.source {
            Source::Machine => Timestamp::now(),
            Source::Counted(begin, begun) => begin.checked_add(begun.elapsed()).unwrap_or(begin),
        };
        source.checked_add(ahead).unwrap_or(source)
    }
}

impl Offsets {
    fn next_server(&mut self) -> SignedDuration {
        let number = self.servers.len().max(1);
        let ahead = self.servers.get(self.turn % number).copied();
        self.turn = (self.turn + 1) % number;
        ahead.unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn servers_take_turns_and_a_proxy_has_its_own_date() {
        let clock = Clock::default();
        let hour = SignedDuration::from_hours(1);
        let hours = |time: Timestamp| {
            let ahead = time.duration_since(Timestamp::now()).as_secs_f64() / 3600.0;
            ahead.round()
        };
        let now = || hours(clock.now().parse().unwrap());
        assert_eq!(now(), 0.0);
        clock.set_servers(&[hour, -hour]);
        assert_eq!([now(), now(), now()], [1.0, -1.0, 1.0]);
        clock.set_proxy(Some(hour * 5));
        let date = clock.date();
        let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(&date);
        assert_eq!(hours(parsed.unwrap()), 5.0, "{date}");
        assert_eq!(now(), -1.0);
        clock.set_proxy(None);
        clock.set_servers(&[]);
        assert_eq!(now(), 0.0);
    }
}
