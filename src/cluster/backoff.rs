//! Jittered exponential backoff.

use std::time::Duration;

use super::random::Random;

/// Exponential backoff from `initial` to `max`. Jitter of up to half a pause keeps the replicas of
/// a cluster apart.
#[derive(Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    next: Duration,
    random: Random,
}

impl Backoff {
    /// A backoff that starts with `initial`.
    pub fn new(initial: Duration, max: Duration, random: &Random) -> Backoff {
        Backoff {
            initial,
            max,
            next: initial,
            random: random.clone(),
        }
    }

    /// Returns the next pause, and doubles the one after it.
    pub fn pause(&mut self) -> Duration {
        let base = self.next;
        self.next = (base * 2).min(self.max);
        base + self.random.jitter(base / 2)
    }

    /// Starts over with `initial`.
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
