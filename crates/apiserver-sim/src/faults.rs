//! Fault injection: delays, errors and broken watches.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Delays the response by this time.
    Delay(Duration),
    /// Sends no response until the client or the server gives up.
    Hang,
    /// Answers 409 Conflict.
    Conflict,
    /// Answers 410 Gone.
    Gone,
    /// Answers 429 with `Retry-After` in seconds.
    TooManyRequests(u32),
    /// Answers 404, as for a resource that the API server does not have.
    NotServed,
    /// Answers 500 Internal Server Error.
    Internal,
    /// Answers 503 Service Unavailable.
    Unavailable,
    /// Ends a watch after this many events.
    DropWatch(usize),
    /// Delays each event of a watch by this time.
    Late(Duration),
    /// Sends each event of a watch twice.
    Duplicate,
    /// Swaps adjacent events of a watch, if both are pending.
    Reorder,
    /// Compacts the store before the request is served, so that an old watch gets 410.
    Compact,
}

impl Fault {
    /// Returns true if the fault affects the events of a watch, not the request.
    pub(super) fn is_watch_fault(&self) -> bool {
        matches!(
            self,
            Fault::DropWatch(_) | Fault::Late(_) | Fault::Duplicate | Fault::Reorder
        )
    }
}

/// A fault and the requests that it applies to.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The fault.
    pub fault: Fault,
    /// Its probability, from 0 to 1.
    pub probability: f64,
    /// A substring of the request path.
    pub path: String,
    /// An API verb, such as `list` or `watch`. Empty for all verbs.
    pub verb: String,
}

/// The faults of a server. The default is no fault.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The rules. The first one that matches a request applies.
    pub rules: Vec<Rule>,
    /// The seed. The same seed gives the same faults to the same sequence of requests.
    pub seed: u64,
}

impl Faults {
    /// Adds a fault for requests with `path` in their path. An empty verb means all verbs.
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

/// The active faults, with the state of their random numbers.
pub(super) struct FaultInjector {
    faults: Mutex<(Faults, Rng)>,
}

impl FaultInjector {
    pub(super) fn new(faults: Faults) -> FaultInjector {
        let rng = Rng::with_seed(faults.seed);
        FaultInjector {
            faults: Mutex::new((faults, rng)),
        }
    }

    pub(super) fn set(&self, faults: Faults) {
        let rng = Rng::with_seed(faults.seed);
        let mut held = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        *held = (faults, rng);
    }

    /// Selects the fault for a request, if a rule applies.
    pub(super) fn select(&self, verb: &str, path: &str) -> Option<Fault> {
        let mut held = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let (faults, rng) = &mut *held;
        let meets = |rule: &&Rule| {
            let concerns = path.contains(&rule.path) && (rule.verb.is_empty() || rule.verb == verb);
            concerns && rng.f64() < rule.probability
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
