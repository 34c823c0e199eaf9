//! Randomness from the seed. All draws of a history are made here, in one sequence.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The source of the draws. Clones share the sequence.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Returns a number below `bound`, which must not be zero.
    pub fn below(&self, bound: usize) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..bound)
    }

    /// Returns true with a probability of `per_mille` in a thousand.
    pub fn happens(&self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }

    /// Returns one of several; none if there are none.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }

    /// Returns one of several, by weight.
    pub fn weighted<T: Copy>(&self, from: &[(usize, T)]) -> Option<T> {
        let total: usize = from.iter().map(|(weight, _)| weight).sum();
        let mut drawn = if total == 0 { return None } else { self.below(total) };
        for (weight, what) in from {
            match drawn.checked_sub(*weight) {
                Some(rest) => drawn = rest,
                None => return Some(*what),
            }
        }
        None
    }

    pub fn seed(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}
