//! Faults of the network between a client and the API server. A seed draws them.

use std::fmt;
use std::time::Duration;

use lab::random::SeededRng;
use tokio::time::Instant;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The request and the answer take seconds.
    Slow,
    /// 409 Conflict without a write.
    Conflict,
    /// 410 Gone.
    Gone,
    /// 429 with `Retry-After`.
    TooManyRequests,
    /// 500 Internal Server Error.
    Internal,
    /// 503 Service Unavailable.
    Unavailable,
    /// 504, as of an API server that is behind what the client has seen.
    Behind,
    /// The connection breaks before the request arrives.
    Reset,
    /// The connection breaks after the request was served.
    LostAnswer,
    /// The request does not arrive, and no answer comes.
    Hang,
    /// The request is served, and no answer comes.
    HangAfter,
    /// The request arrives after its client has given it up, as from a process that was frozen.
    LateWrite,
    /// A watch ends in order.
    WatchEnd,
    /// A watch breaks within a line.
    WatchTorn,
    /// A watch stays silent.
    WatchSilent,
    /// Events of a watch come seconds late.
    WatchLate,
}

impl Fault {
    /// Every fault.
    pub(super) const ALL: [Fault; 16] = [
        Fault::Slow,
        Fault::Conflict,
        Fault::Gone,
        Fault::TooManyRequests,
        Fault::Internal,
        Fault::Unavailable,
        Fault::Behind,
        Fault::Reset,
        Fault::LostAnswer,
        Fault::Hang,
        Fault::HangAfter,
        Fault::LateWrite,
        Fault::WatchEnd,
        Fault::WatchTorn,
        Fault::WatchSilent,
        Fault::WatchLate,
    ];

    /// The name in tables and traces.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Fault::Slow => "slow",
            Fault::Conflict => "409",
            Fault::Gone => "410",
            Fault::TooManyRequests => "429",
            Fault::Internal => "500",
            Fault::Unavailable => "503",
            Fault::Behind => "504",
            Fault::Reset => "reset",
            Fault::LostAnswer => "lost answer",
            Fault::Hang => "hang",
            Fault::HangAfter => "hang after the write",
            Fault::LateWrite => "late write",
            Fault::WatchEnd => "watch ends",
            Fault::WatchTorn => "watch torn",
            Fault::WatchSilent => "watch silent",
            Fault::WatchLate => "watch late",
        }
    }

    fn is_of_watches(self) -> bool {
        matches!(
            self,
            Fault::WatchEnd | Fault::WatchTorn | Fault::WatchSilent | Fault::WatchLate
        )
    }

    /// True if the fault can happen to such a request.
    fn concerns(self, verb: Verb) -> bool {
        match verb {
            Verb::Watch => !matches!(
                self,
                Fault::LostAnswer | Fault::HangAfter | Fault::Conflict | Fault::LateWrite
            ),
            Verb::Read => {
                !self.is_of_watches() && !matches!(self, Fault::Conflict | Fault::LateWrite)
            }
            Verb::Write => !self.is_of_watches() && !matches!(self, Fault::Gone | Fault::Behind),
        }
    }
}

impl Fault {
    /// Any fault of such a request.
    pub(super) fn any(verb: Verb, rng: &mut SeededRng) -> Option<Fault> {
        let fault = Fault::ALL.get(rng.below(Fault::ALL.len())).copied();
        fault.filter(|fault| fault.concerns(verb))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A class of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Read,
    Watch,
    Write,
}

/// A sender of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    /// The replica with this index.
    Replica(usize),
    /// Kubelets and attackers.
    Kubelets,
    /// The signer, the cleaner and administrators.
    Cluster,
}

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) periods: Vec<Period>,
    /// Probability that any other request fails, in per mille.
    pub(super) background: u16,
}

impl Faults {
    /// Draws the fault of a request.
    pub(super) fn draw(&mut self, party: Party, verb: Verb, rng: &mut SeededRng) -> Option<Fault> {
        self.periods.retain(|period| period.until > Instant::now());
        let mut periods = self.periods.iter();
        if let Some(period) = periods.find(|period| period.strikes(party, verb, rng)) {
            return Some(period.fault);
        }
        let strikes = rng.below(1000) < usize::from(self.background);
        strikes.then(|| Fault::any(verb, rng)).flatten()
    }
}

/// A period in which requests of a party fail in one way.
#[derive(Clone, Debug)]
pub(super) struct Period {
    pub(super) fault: Fault,
    /// The party; `None` for all.
    pub(super) party: Option<Party>,
    /// Probability that a request fails, in percent.
    pub(super) percent: u8,
    pub(super) until: Instant,
}

impl Period {
    /// True if this request fails.
    fn strikes(&self, party: Party, verb: Verb, rng: &mut SeededRng) -> bool {
        self.party.is_none_or(|of| of == party)
            && self.fault.concerns(verb)
            && rng.below(100) < usize::from(self.percent)
    }
}

/// The time that a request or an answer is on its way.
pub(super) fn latency(fault: Option<Fault>, rng: &mut SeededRng) -> Duration {
    let most = match fault {
        Some(Fault::Slow) => 3500,
        _ if rng.below(200) == 0 => 900,
        _ => 8,
    };
    Duration::from_millis(1) + Duration::from_millis(1).mul_f64(rng.share() * f64::from(most))
}
