//! Randomness, as a parameter: ids, session tokens, salts and keys all come from here.

use std::sync::{Mutex, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};

use crate::error::{Error, Result};

/// A cryptographic generator, seeded once.
pub struct Random(Mutex<StdRng>);

impl Random {
    /// Seeded by the operating system.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn from_system() -> Result<Self> {
        StdRng::try_from_rng(&mut SysRng)
            .map(|generator| Self(Mutex::new(generator)))
            .map_err(|error| Error::Internal(format!("the system gives no randomness: {error}")))
    }

    /// Decided by a seed, for a simulation: nobody may guess what a server draws.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// 128 random bits, for an id.
    pub fn bits(&self) -> u128 {
        u128::from_le_bytes(self.bytes())
    }

    /// `N` random bytes, for a secret.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }
}
