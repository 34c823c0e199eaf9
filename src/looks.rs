//! When customers who fetched a license last caused a sync with Stripe, on this server, so that none
//! causes one with every call.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::ids::CustomerId;
use crate::domain::time::Timestamp;

/// The least time between two syncs that one customer causes, in seconds.
const BETWEEN_LOOKS: i64 = 5;

/// Customers that are remembered; at this number, those of more than [`BETWEEN_LOOKS`] ago are forgotten.
const MAX_LOOKS: usize = 10_000;

/// The time of each customer's last sync of this kind.
#[derive(Default)]
pub struct Looks(Mutex<HashMap<CustomerId, Timestamp>>);

impl Looks {
    /// Whether the customer may cause a sync at `now`. If so, that is noted, also of a sync that will fail.
    pub fn may_look(&self, id: &CustomerId, now: Timestamp) -> bool {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() >= MAX_LOOKS {
            looks.retain(|_, at| now < at.plus(BETWEEN_LOOKS));
        }
        let recently = looks.get(id).is_some_and(|at| *at <= now && now < at.plus(BETWEEN_LOOKS));
        if !recently {
            looks.insert(id.clone(), now);
        }
        !recently
    }
}
