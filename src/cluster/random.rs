//! Randomness for jitter and for names. It is not secret.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;

/// The process's source of randomness, shared by clones.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<Rng>>);

impl Random {
    /// A source that is seeded by the operating system.
    pub fn from_os() -> Random {
        let mut seed = [0; 8];
        let random = ring::rand::SystemRandom::new();
        let rng = match ring::rand::SecureRandom::fill(&random, &mut seed) {
            Ok(()) => Rng::with_seed(u64::from_le_bytes(seed)),
            // Without the system's randomness: fastrand's own seed, from the clock.
            Err(_) => Rng::new(),
        };
        Random(Arc::new(Mutex::new(rng)))
    }

    /// A source with a reproducible sequence.
    #[cfg(test)]
    pub fn seeded(seed: u64) -> Random {
        Random(Arc::new(Mutex::new(Rng::with_seed(seed))))
    }

    /// A random duration from zero to `max`.
    pub fn jitter(&self, max: Duration) -> Duration {
        max.mul_f64(self.with(Rng::f64))
    }

    /// A random number.
    pub fn number(&self) -> u64 {
        self.with(|random| random.u64(..))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        // A generator stays usable after a panic of another thread.
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
