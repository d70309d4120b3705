//! Keeps the API server's time known, and reports a machine whose clock differs.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::{MissedTickBehavior, interval};

use super::clock::Offset;
use super::connection::Connection;

/// Interval at which the clocks are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// Longest time without an answer that has the time. Renewals of a Lease come more often.
const MAX_SILENCE: Duration = Duration::from_secs(30);
/// Difference of the clocks that is reported.
const REPORTED: SignedDuration = SignedDuration::from_secs(30);
/// Difference at which the clocks agree again. The comparison is exact to two seconds.
const AGREED: SignedDuration = SignedDuration::from_secs(25);

/// Runs until the future is dropped.
pub async fn keep_time(connection: Connection) {
    let mut ticks = interval(COMPARE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reporter = Reporter::default();
    loop {
        ticks.tick().await;
        let silence = connection.clock.silence();
        if silence.is_none_or(|silence| silence > MAX_SILENCE) {
            connection.ask_time().await;
        }
        if let Some(offset) = connection.clock.offset() {
            reporter.report(offset);
        }
    }
}

/// A change that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crossing {
    Differs,
    Agrees,
}

/// Logs a difference of the clocks once, until they agree again.
#[derive(Debug, Default)]
struct Reporter {
    is_reported: bool,
}

impl Reporter {
    fn report(&mut self, offset: Offset) {
        let ahead = offset.ahead;
        match self.crossing(ahead) {
            Some(Crossing::Differs) => tracing::warn!(
                "this machine's clock is {} the API server's: ages are counted by the API server's \
                 clock, so requests are judged as usual; set this machine's clock, and check NTP on \
                 both",
                describe(ahead)
            ),
            Some(Crossing::Agrees) => {
                tracing::info!("this machine's clock and the API server's agree again");
            }
            None => {}
        }
    }

    fn crossing(&mut self, ahead: SignedDuration) -> Option<Crossing> {
        let crossing = match self.is_reported {
            false if ahead.abs() > REPORTED => Crossing::Differs,
            true if ahead.abs() < AGREED => Crossing::Agrees,
            _ => return None,
        };
        self.is_reported = crossing == Crossing::Differs;
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
            (-31, Some(Crossing::Differs)),
            (-3600, None),
            (-29, None),
            (31, None),
            (-24, Some(Crossing::Agrees)),
            (29, None),
            (31, Some(Crossing::Differs)),
        ] {
            let found = reporter.crossing(SignedDuration::from_secs(ahead));
            assert_eq!(found, expected, "{ahead}");
        }
    }

    #[test]
    fn the_report_names_the_direction() {
        let describe = |seconds| describe(SignedDuration::from_secs(seconds));
        assert_eq!(describe(1200), "1200 s ahead of");
        assert_eq!(describe(-90), "90 s behind");
    }
}
