//! Idempotency keys as at Stripe: the first response is stored for a day and returned again. Which
//! responses are stored is in `api_error`.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use crate::api_error::ApiError;

/// Stripe keeps a key for a day.
const KEPT_SECONDS: i64 = 86_400;

/// Stripe's limit on a key.
const MAX_KEY_LENGTH: usize = 255;

/// The keys in use, and the stored responses.
#[derive(Default)]
pub struct IdempotencyKeys {
    entries: HashMap<String, Entry>,
    /// Keys and the time of their first use, the oldest first.
    by_age: VecDeque<(i64, String)>,
}

struct Entry {
    call: String,
    since: i64,
    response: Option<(u16, Value)>,
}

impl IdempotencyKeys {
    /// Claims a key for this call (method, path and parameters), or returns the stored response.
    ///
    /// # Errors
    /// When the key is in use by another call, or was used with other parameters.
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
            return entry.response.clone().map(Some).ok_or_else(|| ApiError::key_in_use(key));
        }
        let entry = Entry { call: call.to_owned(), since: now, response: None };
        self.entries.insert(key.to_owned(), entry);
        self.by_age.push_back((now, key.to_owned()));
        Ok(None)
    }

    /// Stores the response under the key.
    pub fn store(&mut self, key: &str, status: u16, response: Value) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.response = Some((status, response));
        }
    }

    /// Releases the key of a call that took no effect.
    pub fn release(&mut self, key: &str) {
        self.entries.remove(key);
    }

    fn forget_old(&mut self, now: i64) {
        while self.by_age.front().is_some_and(|(since, _)| now - since >= KEPT_SECONDS) {
            let Some((since, key)) = self.by_age.pop_front() else { return };
            // If the key was released and claimed again, its entry is younger.
            if self.entries.get(&key).is_some_and(|entry| entry.since == since) {
                self.entries.remove(&key);
            }
        }
    }
}
