//! How long to wait before something is tried again.

use std::time::Duration;

use super::random::Random;

/// Pauses between tries: doubled from `initial` to `max`, each with up to half of it more, so that
/// the replicas of a cluster do not come back at the same moment.
#[derive(Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    next: Duration,
    random: Random,
}

impl Backoff {
    /// A backoff that begins with `initial`.
    pub fn new(initial: Duration, max: Duration, random: &Random) -> Backoff {
        Backoff {
            initial,
            max,
            next: initial,
            random: random.clone(),
        }
    }

    /// How long to wait now.
    pub fn pause(&mut self) -> Duration {
        let base = self.next;
        self.next = (base * 2).min(self.max);
        base + self.random.jitter(base / 2)
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        self.next = self.initial;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most_and_differ() {
        let (initial, max) = (Duration::from_secs(1), Duration::from_secs(5));
        let mut backoff = Backoff::new(initial, max, &Random::seeded(7));
        for base in [1, 2, 4, 5, 5] {
            let base = Duration::from_secs(base);
            let pause = backoff.pause();
            assert!(pause >= base && pause <= base * 3 / 2, "{pause:?}");
            assert_ne!(pause, base);
        }
        backoff.reset();
        assert!(backoff.pause() <= initial * 3 / 2);
    }
}
