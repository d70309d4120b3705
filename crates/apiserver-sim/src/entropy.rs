//! Randomness for names, UIDs and tokens: of the system, or reproducible.

use std::sync::{Mutex, PoisonError};

use fastrand::Rng;

/// A source of random bytes.
#[derive(Debug, Default)]
pub(super) struct Entropy(Option<Mutex<Rng>>);

impl Entropy {
    /// A source that gives the same bytes for the same seed.
    pub(super) fn seeded(seed: u64) -> Entropy {
        Entropy(Some(Mutex::new(Rng::with_seed(seed))))
    }

    /// Returns this number of random bytes.
    pub(super) fn bytes(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        if let Some(seeded) = &self.0 {
            let mut seeded = seeded.lock().unwrap_or_else(PoisonError::into_inner);
            seeded.fill(&mut bytes);
            return bytes;
        }
        let source = ring::rand::SystemRandom::new();
        // Without randomness, names and tokens repeat, which is reported as a conflict.
        let _ = ring::rand::SecureRandom::fill(&source, &mut bytes);
        bytes
    }
}
