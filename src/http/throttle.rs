//! Rate limits against floods: per client address, customer and admin key. The buckets refill, so
//! that no client is locked out permanently. Kept in memory, per server. Attempts that guess a
//! password or cause a mail are counted by all servers together (`flows/account/attempts.rs`).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::account::attempts::client_network;
use crate::domain::ids::{AdminKeyId, CustomerId};
use crate::error::{Error, Result};

/// Requests from one address that need no session, or that enter a password: enough for an office
/// behind one address, or a test suite. The limit on password hashing bounds their cost as well.
const ADDRESS: (u32, Duration) = (600, Duration::from_millis(500));

/// Exports from one address, then one every ten seconds: each reads up to a few thousand rows.
const EXPORT: (u32, Duration) = (20, Duration::from_secs(10));

/// Checkout and portal requests of one customer, then one every two seconds. Each makes several
/// calls to Stripe, which limits the calls of the whole account.
const BILLING: (u32, Duration) = (60, Duration::from_secs(2));

/// Calls with one admin key: one for each event that can be listed, then two a second. Each call
/// writes to the audit log, which a stolen key or a loop must not fill. The limit is not against
/// guessing: a key has 256 bits.
const ADMIN: (u32, Duration) = (1000, Duration::from_millis(500));

/// Passwords hashed at once for one address: enough for an office on a Monday morning.
const MAX_HASHES_FROM_ADDRESS: usize = 8;

/// The longest wait for other requests from the same address.
const MAX_WAIT: Duration = Duration::from_secs(20);

/// Full buckets are removed when this many were added since the last removal.
const FORGET_AFTER: usize = 10_000;

/// All rate limits in memory.
pub struct Throttle {
    address: Buckets<IpAddr>,
    export: Buckets<IpAddr>,
    billing: Buckets<CustomerId>,
    admin: Buckets<AdminKeyId>,
    hashing: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            address: Buckets::new(ADDRESS),
            export: Buckets::new(EXPORT),
            billing: Buckets::new(BILLING),
            admin: Buckets::new(ADMIN),
            hashing: Mutex::default(),
        }
    }
}

impl Throttle {
    /// Counts a request that needs no session, or that enters a password.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next attempt.
    pub fn client(&self, address: IpAddr) -> Result<()> {
        self.address.take(&client_network(address))
    }

    /// Counts an export of a customer's data.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next attempt.
    pub fn export(&self, address: IpAddr) -> Result<()> {
        self.export.take(&client_network(address))
    }

    /// Counts a checkout or portal request of a customer.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next attempt.
    pub fn billing(&self, customer_id: &CustomerId) -> Result<()> {
        self.billing.take(customer_id)
    }

    /// Counts a call with an admin key.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next attempt.
    pub fn admin(&self, id: &AdminKeyId) -> Result<()> {
        self.admin.take(id)
    }

    /// Waits for one of [`MAX_HASHES_FROM_ADDRESS`] permits of an address. Keep the permit while
    /// hashing. A client with many requests waits for its own requests and delays no other client.
    ///
    /// # Errors
    /// [`Error::Busy`] after [`MAX_WAIT`].
    pub async fn hash_permit(&self, address: IpAddr) -> Result<OwnedSemaphorePermit> {
        let permits = {
            let mut hashing = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
            if hashing.len() > FORGET_AFTER {
                hashing.retain(|_, permits| Arc::strong_count(permits) > 1);
            }
            let permits = hashing.entry(client_network(address));
            Arc::clone(permits.or_insert_with(|| Arc::new(Semaphore::new(MAX_HASHES_FROM_ADDRESS))))
        };
        let permit = tokio::time::timeout(MAX_WAIT, permits.acquire_owned()).await;
        permit.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)
    }
}

/// The buckets of one limit, by key.
struct Buckets<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    /// The number of buckets after the last removal.
    kept: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new((burst, refill): (u32, Duration)) -> Self {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(refill).unwrap_or(Quota::per_second(burst));
        let limiter = DefaultKeyedRateLimiter::keyed(quota.allow_burst(burst));
        Self { limiter, kept: AtomicUsize::new(0) }
    }

    fn take(&self, key: &K) -> Result<()> {
        if self.limiter.len() > self.kept.load(Ordering::Relaxed) + FORGET_AFTER {
            self.limiter.retain_recent();
            self.kept.store(self.limiter.len(), Ordering::Relaxed);
        }
        self.limiter.check_key(key).map_err(|denied| {
            let wait = denied.wait_time_from(DefaultClock::default().now());
            // Whole seconds, rounded up, so that a retry after this time succeeds.
            Error::TooManyRequests { retry_after: Duration::from_secs(wait.as_secs() + 1) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn one_address_cannot_flood_security_13() {
        let throttle = Throttle::default();
        let allowed = (0..2000).filter(|_| throttle.client(HOME).is_ok()).count();
        assert!((600..1000).contains(&allowed), "{allowed} requests were allowed");
        assert!(throttle.client(ELSEWHERE).is_ok());
    }

    #[tokio::test]
    async fn a_client_with_many_requests_waits_only_for_its_own() {
        let throttle = Throttle::default();
        let mut permits = Vec::new();
        for _ in 0..MAX_HASHES_FROM_ADDRESS {
            permits.push(throttle.hash_permit(HOME).await.unwrap());
        }
        let mut next = Box::pin(throttle.hash_permit(HOME));
        assert!(futures_util::poll!(&mut next).is_pending());
        assert!(futures_util::poll!(Box::pin(throttle.hash_permit(ELSEWHERE))).is_ready());
        drop(permits.pop());
        drop(next.await.unwrap());
    }
}
