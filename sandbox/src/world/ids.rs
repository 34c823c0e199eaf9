//! Ids like Stripe's, from a seeded generator: the same seed and the same calls give the same ids.
//! Their prefixes are in `objects::kind`.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The length of Stripe's newer ids after their prefix.
const ID_CHARACTERS: usize = 24;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Generates ids and secrets.
pub struct Ids(StdRng);

impl Ids {
    /// Returns a generator for this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Returns a new id.
    pub fn next(&mut self, prefix: &str) -> String {
        let mut id = prefix.to_owned();
        for _ in 0..ID_CHARACTERS {
            id.push(char::from(ALPHABET[self.0.random_range(0..ALPHABET.len())]));
        }
        id
    }

    /// Returns a random number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }
}
