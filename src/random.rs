//! The random generator as a parameter. Ids, session tokens, salts and keys are made from it.

use std::sync::{Mutex, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};

use crate::error::{Error, Result};

/// A cryptographic random generator that is seeded once.
pub struct Random(Mutex<StdRng>);

impl Random {
    /// Returns a generator that is seeded by the operating system.
    ///
    /// # Errors
    /// When the system provides no randomness.
    pub fn from_system() -> Result<Self> {
        StdRng::try_from_rng(&mut SysRng)
            .map(|generator| Self(Mutex::new(generator)))
            .map_err(|error| Error::Internal(format!("the system has no randomness: {error}")))
    }

    /// Returns a generator with a known seed, for simulations. A server must not use it: its
    /// secrets could be guessed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// Returns 128 random bits, for an id.
    pub fn bits(&self) -> u128 {
        u128::from_le_bytes(self.bytes())
    }

    /// Returns `N` random bytes, for a secret.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }
}
