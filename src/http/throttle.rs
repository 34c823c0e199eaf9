//! How often somebody may try: per account, so that passwords cannot be guessed, and per address,
//! so that nobody floods the service. A bucket that is empty fills again: nobody is locked out
//! for good. Kept in memory, per server.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::mail_budget::MailBudget;
use crate::domain::ids::{AdminKeyId, CustomerId};
use crate::error::{Error, Result};

/// Tries at one account from one address: ten typing errors, then one more every ten seconds.
const ACCOUNT_FROM_ADDRESS: (u32, Duration) = (10, Duration::from_secs(10));

/// Tries at one account from all addresses that it was never opened from: against guessing from
/// many at once. 1,500 a day are years for the million guesses that a password withstands. The
/// addresses that its owner logs in from do not count, so the owner is not kept out meanwhile.
const ACCOUNT: (u32, Duration) = (100, Duration::from_secs(60));

/// Logins and sign-ups from one address: an office behind one address, or a test suite. What one
/// costs is bounded by the hashing turns as well.
const ADDRESS: (u32, Duration) = (600, Duration::from_millis(500));

/// Checkouts and portals of one customer, in a row and then one every two seconds: each asks Stripe
/// several times, and Stripe limits what a whole account asks.
const BILLING: (u32, Duration) = (60, Duration::from_secs(2));

/// Calls with one admin key: one for each event that can be listed, and then two a second. Guessing a key
/// is hopeless without this (it has 256 bits); but each call writes into the audit log, which a key that
/// somebody stole, or a loop without a pause, must not fill.
const ADMIN: (u32, Duration) = (1000, Duration::from_millis(500));

/// Passwords hashed at once for one address: enough for an office on a Monday morning.
const AT_WORK_FROM_ADDRESS: usize = 8;

/// How long somebody waits behind others from the same address.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Buckets that are full again are forgotten when there are this many more than after the last time.
const FORGET_AFTER: usize = 10_000;

/// The owners' addresses that are remembered; beyond that, all are forgotten and learned again.
const MAX_OWNERS: usize = 100_000;

/// The buckets.
pub struct Throttle {
    /// Mails to new mailboxes.
    pub mail_budget: MailBudget,
    account_from_address: Buckets<(String, IpAddr)>,
    account: Buckets<String>,
    address: Buckets<IpAddr>,
    billing: Buckets<CustomerId>,
    admin: Buckets<AdminKeyId>,
    owners: Mutex<HashSet<(String, IpAddr)>>,
    turns: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            mail_budget: MailBudget::default(),
            account_from_address: Buckets::new(ACCOUNT_FROM_ADDRESS),
            account: Buckets::new(ACCOUNT),
            address: Buckets::new(ADDRESS),
            billing: Buckets::new(BILLING),
            admin: Buckets::new(ADMIN),
            owners: Mutex::default(),
            turns: Mutex::default(),
        }
    }
}

impl Throttle {
    /// Counts a sign-up, or another question about an email address, from an address.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next try.
    pub fn sign_up(&self, address: IpAddr) -> Result<()> {
        self.address.take(&network(address))
    }

    /// Counts a try to log in to an account (its email address) from an address.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next try.
    pub fn log_in(&self, account: &str, address: IpAddr) -> Result<()> {
        let pair = pair(account, address);
        self.address.take(&pair.1)?;
        self.account_from_address.take(&pair)?;
        let owner = self.owners.lock().unwrap_or_else(PoisonError::into_inner).contains(&pair);
        if owner { Ok(()) } else { self.account.take(&pair.0) }
    }

    /// Counts a customer's asking for a checkout or the portal.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next try.
    pub fn billing(&self, customer_id: &CustomerId) -> Result<()> {
        self.billing.take(customer_id)
    }

    /// Counts a call with an admin key.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next try.
    pub fn admin(&self, id: &AdminKeyId) -> Result<()> {
        self.admin.take(id)
    }

    /// Waits until not too many from this address are at work; hold on to the turn while working.
    /// Who sends many at once waits behind their own, and not everybody behind them.
    ///
    /// # Errors
    /// [`Error::Busy`] when it takes too long.
    pub async fn turn(&self, address: IpAddr) -> Result<OwnedSemaphorePermit> {
        let turns = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.len() > FORGET_AFTER {
                turns.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            let turns = turns.entry(network(address));
            Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(AT_WORK_FROM_ADDRESS))))
        };
        let turn = tokio::time::timeout(LONGEST_WAIT, turns.acquire_owned()).await;
        turn.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)
    }

    /// Remembers that the owner of an account logs in from an address.
    pub fn succeeded(&self, account: &str, address: IpAddr) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.len() >= MAX_OWNERS {
            owners.clear();
        }
        owners.insert(pair(account, address));
    }
}

/// What counts as one account from one address. Spellings of an email address are one account.
fn pair(account: &str, address: IpAddr) -> (String, IpAddr) {
    (account.trim_matches(' ').to_ascii_lowercase(), network(address))
}

/// One kind of bucket, by key.
struct Buckets<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    /// How many there were after the full ones were forgotten last.
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
            // Whole seconds, rounded up: who comes back then is let in.
            Error::TooManyRequests { retry_after: Duration::from_secs(wait.as_secs() + 1) }
        })
    }
}

/// One household has one IPv4 address, or one IPv6 network of 64 bits.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn guessing_from_one_address_is_stopped_security_13() {
        let throttle = Throttle::default();
        let allowed = (0..50).filter(|_| throttle.log_in("ada@example.com", HOME).is_ok()).count();
        assert_eq!(allowed, 10);
        let denied = throttle.log_in(" ADA@example.com", HOME);
        assert!(matches!(denied, Err(Error::TooManyRequests { retry_after })
            if (1..=11).contains(&retry_after.as_secs())));
        assert!(throttle.log_in("bob@example.com", HOME).is_ok());
    }

    #[test]
    fn guessing_from_many_addresses_is_stopped_and_the_owner_is_not_security_13() {
        let throttle = Throttle::default();
        throttle.succeeded("ada@example.com", HOME);
        let botnet = (0..200_u8).flat_map(|n| {
            let address = IpAddr::from([203, 0, 113, n]);
            (0..10).map(move |_| address)
        });
        let guesses = botnet.filter(|bot| throttle.log_in("ada@example.com", *bot).is_ok()).count();
        assert!((100..110).contains(&guesses), "{guesses} guesses were allowed");
        assert!(throttle.log_in("ada@example.com", ELSEWHERE).is_err());
        assert!(throttle.log_in("Ada@example.com ", HOME).is_ok(), "the owner is locked out");
    }

    #[test]
    fn one_address_cannot_flood_with_many_accounts_security_13() {
        let throttle = Throttle::default();
        let tries = (0..2000).map(|n| throttle.log_in(&format!("{n}@example.com"), HOME));
        let allowed = tries.filter(std::result::Result::is_ok).count();
        assert!((600..1000).contains(&allowed), "{allowed} tries were allowed");
        assert!(throttle.sign_up(HOME).is_err());
        assert!(throttle.sign_up(ELSEWHERE).is_ok());
    }

    #[tokio::test]
    async fn who_sends_many_at_once_waits_behind_their_own() {
        let throttle = Throttle::default();
        let mut turns = Vec::new();
        for _ in 0..AT_WORK_FROM_ADDRESS {
            turns.push(throttle.turn(HOME).await.unwrap());
        }
        let mut next = Box::pin(throttle.turn(HOME));
        assert!(futures_util::poll!(&mut next).is_pending());
        assert!(futures_util::poll!(Box::pin(throttle.turn(ELSEWHERE))).is_ready());
        drop(turns.pop());
        drop(next.await.unwrap());
    }

    #[test]
    fn an_ipv6_household_is_one_network() {
        let address = |text: &str| network(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:2"));
        assert_ne!(address("2001:db8:0:1::1"), address("2001:db8:0:2::1"));
        assert_eq!(address("::ffff:192.0.2.1"), HOME);
    }
}
