//! Idempotency keys as Stripe treats them: the first answer is kept for a day and given again.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use crate::api_error::ApiError;

/// Stripe forgets a key after a day.
const KEPT: i64 = 86_400;

/// Stripe's limit on a key.
const MAX_KEY_LENGTH: usize = 255;

/// The keys in use and the answers that they keep.
#[derive(Default)]
pub struct IdempotencyKeys {
    entries: HashMap<String, Entry>,
    /// Keys with the time of their first use, the oldest first, to forget them by.
    by_age: VecDeque<(i64, String)>,
}

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
        self.forget_old(now);
        if let Some(entry) = self.entries.get(key) {
            if entry.call != call {
                return Err(ApiError::key_of_another_call(key));
            }
            return entry.answer.clone().map(Some).ok_or_else(|| ApiError::key_in_use(key));
        }
        let entry = Entry { call: call.to_owned(), since: now, answer: None };
        self.entries.insert(key.to_owned(), entry);
        self.by_age.push_back((now, key.to_owned()));
        Ok(None)
    }

    /// Keeps the answer under the key.
    pub fn keep(&mut self, key: &str, status: u16, answer: Value) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.answer = Some((status, answer));
        }
    }

    /// Frees a key whose call took no effect.
    pub fn release(&mut self, key: &str) {
        self.entries.remove(key);
    }

    fn forget_old(&mut self, now: i64) {
        while self.by_age.front().is_some_and(|(since, _)| now - since >= KEPT) {
            let Some((since, key)) = self.by_age.pop_front() else { return };
            // A key that was released and taken again is younger than this.
            if self.entries.get(&key).is_some_and(|entry| entry.since == since) {
                self.entries.remove(&key);
            }
        }
    }
}
