//! Keeps the API server's time known, and reports a machine whose clock differs.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::{MissedTickBehavior, interval};

use super::connection::Connection;

/// Interval at which the clocks are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// Longest time without an answer that has the time. Renewals of a Lease come more often.
const MAX_SILENCE: Duration = Duration::from_secs(30);
/// Difference of the clocks that is reported.
const REPORTED: SignedDuration = SignedDuration::from_secs(30);
/// Difference at which the clocks agree again. The comparison is exact to two seconds.
const AGREED: SignedDuration = SignedDuration::from_secs(25);

/// Runs until the future is dropped. `show` receives each report, and `None` when the clocks agree
/// again.
pub async fn keep_time(connection: Connection, show: impl Fn(Option<String>)) {
    let mut ticks = interval(COMPARE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reporter = Reporter::default();
    loop {
        ticks.tick().await;
        let silence = connection.clock.silence();
        if silence.is_none_or(|silence| silence > MAX_SILENCE) {
            connection.ask_time().await;
        }
        let offset = connection.clock.offset();
        match offset.and_then(|offset| reporter.crossing(offset.ahead)) {
            Some(Crossing::Differs(report)) => {
                tracing::warn!("{report}");
                show(Some(report));
            }
            Some(Crossing::Agrees) => {
                tracing::info!("this machine's clock and the API server's agree again");
                show(None);
            }
            None => {}
        }
    }
}

/// A change that is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Crossing {
    Differs(String),
    Agrees,
}

/// Reports a difference of the clocks once, until they agree again.
#[derive(Debug, Default)]
struct Reporter {
    is_reported: bool,
}

impl Reporter {
    fn crossing(&mut self, ahead: SignedDuration) -> Option<Crossing> {
        let crossing = match self.is_reported {
            false if ahead.abs() > REPORTED => Crossing::Differs(format!(
                "this machine's clock is {} the API server's: ages are counted by the API server's \
                 clock, so requests are judged as usual; set the clock that is wrong: this machine's, or \
                 that of an API server or of a proxy in front of it",
                describe(ahead)
            )),
            true if ahead.abs() < AGREED => Crossing::Agrees,
            _ => return None,
        };
        self.is_reported = crossing != Crossing::Agrees;
        Some(crossing)
    }
}

/// The difference in words, such as `1200 s ahead of`.
fn describe(ahead: SignedDuration) -> String {
    let seconds = ahead.abs().as_secs();
    let way = if ahead.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    format!("{seconds} s {way}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_reported_once_for_each_crossing() {
        let mut reporter = Reporter::default();
        for (ahead, expected) in [
            (0, None),
            (30, None),
            (-31, Some("clock is 31 s behind the API server's")),
            (-3600, None),
            (-29, None),
            (31, None),
            (-24, Some("agree")),
            (29, None),
            (1200, Some("clock is 1200 s ahead of the API server's")),
        ] {
            let found = reporter.crossing(SignedDuration::from_secs(ahead));
            let found = found.map(|crossing| match crossing {
                Crossing::Differs(report) => report,
                Crossing::Agrees => "agree".to_owned(),
            });
            let matches = match (&found, expected) {
                (Some(found), Some(expected)) => found.contains(expected),
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(matches, "{ahead}: {found:?}");
        }
    }
}
