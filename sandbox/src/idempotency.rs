//! Idempotency keys as Stripe treats them: the first answer is kept for a day and given again.

use std::collections::HashMap;

use serde_json::Value;

use crate::api::ApiError;

/// Stripe forgets a key after a day.
const KEPT: i64 = 86_400;

/// Stripe's limit on a key.
const MAX_KEY_LENGTH: usize = 255;

/// The keys in use and the answers that they keep.
#[derive(Default)]
pub struct IdempotencyKeys(HashMap<String, Entry>);

struct Entry {
    call: String,
    since: i64,
    answer: Option<(u16, Value)>,
}

impl IdempotencyKeys {
    /// Takes a key into use for this call (its method, path and parameters), or gives the answer
    /// that it keeps.
    ///
    /// # Errors
    /// When the key is in use by a call under way, or was used for another call.
    pub fn begin(
        &mut self,
        key: &str,
        call: &str,
        now: i64,
    ) -> Result<Option<(u16, Value)>, ApiError> {
        if key.len() > MAX_KEY_LENGTH {
            return Err(ApiError::invalid("Idempotency keys are limited to 255 characters.", ""));
        }
        self.0.retain(|_, entry| now - entry.since < KEPT);
        if let Some(entry) = self.0.get(key) {
            if entry.call != call {
                return Err(ApiError::key_of_another_call(key));
            }
            return entry.answer.clone().map(Some).ok_or_else(|| ApiError::key_in_use(key));
        }
        let entry = Entry { call: call.to_owned(), since: now, answer: None };
        self.0.insert(key.to_owned(), entry);
        Ok(None)
    }

    /// Keeps the answer under the key.
    pub fn keep(&mut self, key: &str, status: u16, answer: Value) {
        if let Some(entry) = self.0.get_mut(key) {
            entry.answer = Some((status, answer));
        }
    }

    /// Frees a key whose call took no effect.
    pub fn release(&mut self, key: &str) {
        self.0.remove(key);
    }
}
