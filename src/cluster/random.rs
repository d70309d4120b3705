//! Randomness that spreads out what many do at once. Nothing secret is made of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;

/// The process's one source of randomness, handed to everything that needs some.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<Rng>>);

impl Random {
    /// One that the operating system has seeded.
    pub fn from_os() -> Random {
        Random(Arc::new(Mutex::new(Rng::new())))
    }

    /// One that always says the same.
    #[cfg(test)]
    pub fn seeded(seed: u64) -> Random {
        Random(Arc::new(Mutex::new(Rng::with_seed(seed))))
    }

    /// A random share of this duration.
    pub fn jitter(&self, most: Duration) -> Duration {
        most.mul_f64(self.with(Rng::f64))
    }

    /// Any number.
    pub fn number(&self) -> u64 {
        self.with(|random| random.u64(..))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        // A number from a generator that somebody has left in a panic is as good as any.
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
