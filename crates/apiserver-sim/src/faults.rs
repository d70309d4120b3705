//! Faults on demand: what a bad day of a real API server looks like.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The answer comes this much later.
    Delay(Duration),
    /// No answer comes, until the client or the server gives up.
    Hang,
    /// 409.
    Conflict,
    /// 410.
    Gone,
    /// 429 with `Retry-After` in seconds.
    TooManyRequests(u32),
    /// 500.
    Internal,
    /// 503.
    Unavailable,
    /// A watch is cut off after this many events.
    DropWatch(usize),
    /// Each event of a watch is sent this much later.
    Late(Duration),
    /// Each event of a watch is sent twice.
    Duplicate,
    /// Neighbouring events of a watch change places, if both are there.
    Reorder,
    /// What has kind is forgotten before the request is served: an old watch gets 410.
    Compact,
}

impl Fault {
    /// Whether it is about the events of a watch, not the request.
    pub(super) fn is_watch_fault(&self) -> bool {
        matches!(
            self,
            Fault::DropWatch(_) | Fault::Late(_) | Fault::Duplicate | Fault::Reorder
        )
    }
}

/// A fault, and which requests it meets.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// How likely, from 0 to 1.
    pub probability: f64,
    /// Only requests whose path has this in it.
    pub path: String,
    /// Only this verb of the API, such as `list` or `watch`; all if empty.
    pub verb: String,
}

/// All that may go wrong. None by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The first rule that meets a request holds.
    pub rules: Vec<Rule>,
    /// The same seed gives the same faults to the same sequence of requests.
    pub seed: u64,
}

impl Faults {
    /// One more fault for requests with `path` in their path, and this verb if it is not empty.
    #[must_use]
    pub fn with(mut self, fault: Fault, probability: f64, verb: &str, path: &str) -> Faults {
        self.rules.push(Rule {
            fault,
            probability,
            path: path.to_owned(),
            verb: verb.to_owned(),
        });
        self
    }
}

/// Random numbers that are the same for the same seed: splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
struct FaultRng(u64);

impl FaultRng {
    /// A share of a whole, from 0 to 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let high = u32::try_from(mixed >> 32).unwrap_or(u32::MAX);
        f64::from(high) / f64::from(u32::MAX)
    }
}

/// The faults in force, and the state of their random numbers.
pub(super) struct FaultInjector {
    faults: Mutex<(Faults, FaultRng)>,
}

impl FaultInjector {
    pub(super) fn new(faults: Faults) -> FaultInjector {
        let rng = FaultRng(faults.seed);
        FaultInjector {
            faults: Mutex::new((faults, rng)),
        }
    }

    pub(super) fn set(&self, faults: Faults) {
        let rng = FaultRng(faults.seed);
        let mut held = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        *held = (faults, rng);
    }

    /// The fault that meets this request, if one does.
    pub(super) fn select(&self, verb: &str, path: &str) -> Option<Fault> {
        let mut held = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let (faults, rng) = &mut *held;
        let meets = |rule: &&Rule| {
            let concerns = path.contains(&rule.path) && (rule.verb.is_empty() || rule.verb == verb);
            concerns && rng.share() < rule.probability
        };
        faults
            .rules
            .iter()
            .find(meets)
            .map(|rule| rule.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let faults = || Faults {
            seed: 7,
            ..Faults::default().with(Fault::Internal, 0.5, "list", "/nodes")
        };
        let select = |injector: &FaultInjector| -> Vec<bool> {
            (0..200)
                .map(|_| injector.select("list", "/api/v1/nodes").is_some())
                .collect()
        };
        let first = select(&FaultInjector::new(faults()));
        assert_eq!(first, select(&FaultInjector::new(faults())));
        let hits = first.iter().filter(|hit| **hit).count();
        assert!((60..140).contains(&hits), "{hits} of 200");
        let injector = FaultInjector::new(faults());
        assert!((0..200).all(|_| injector.select("get", "/api/v1/nodes").is_none()));
        assert!((0..200).all(|_| injector.select("list", "/api/v1/services").is_none()));
    }
}
