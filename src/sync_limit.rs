//! Limits the syncs with Stripe that customers cause when they fetch a license: each customer
//! causes one every few seconds at most. The limit counts on this server only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::TimeDelta;

use crate::domain::ids::CustomerId;
use crate::domain::time::Timestamp;

/// The least time between two syncs that one customer causes.
const LEAST_INTERVAL: TimeDelta = TimeDelta::seconds(5);

/// The most customers that are remembered. At this number, older entries are removed.
const MAX_CUSTOMERS: usize = 10_000;

/// The time of each customer's last sync of this kind.
#[derive(Default)]
pub struct SyncLimit(Mutex<HashMap<CustomerId, Timestamp>>);

impl SyncLimit {
    /// Returns whether the customer may cause a sync at `now`, and records it. A sync that fails
    /// counts too.
    pub fn allows(&self, id: &CustomerId, now: Timestamp) -> bool {
        let mut last_syncs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last_syncs.len() >= MAX_CUSTOMERS {
            last_syncs.retain(|_, at| now < *at + LEAST_INTERVAL);
        }
        let is_recent = |at: &Timestamp| *at <= now && now < *at + LEAST_INTERVAL;
        if last_syncs.get(id).is_some_and(is_recent) {
            return false;
        }
        last_syncs.insert(id.clone(), now);
        true
    }
}
