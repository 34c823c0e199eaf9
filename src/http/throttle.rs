//! Rate limits: per account against password guessing, and per client address against floods. The
//! buckets refill, so that no client is locked out permanently. Kept in memory, per server.

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
use crate::domain::contact::Email;
use crate::domain::ids::{AdminKeyId, CustomerId};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// Login attempts for one account from one address: ten typing errors, then one every ten seconds.
const ACCOUNT_FROM_ADDRESS: (u32, Duration) = (10, Duration::from_secs(10));

/// Login attempts for one account from all addresses without a successful login: against guessing
/// from many addresses at once. At 1,500 a day, a million guesses take almost two years. Addresses
/// that the owner has logged in from do not count, so the owner is not locked out.
const ACCOUNT: (u32, Duration) = (100, Duration::from_secs(60));

/// Logins and sign-ups from one address: enough for an office behind one address, or a test suite.
/// The limit on password hashing bounds their cost as well.
const ADDRESS: (u32, Duration) = (600, Duration::from_millis(500));

/// Mails with a link to one mailbox: three, then one each half hour, so that it gets at most five
/// in any hour.
const MAILBOX: (u32, Duration) = (3, Duration::from_secs(1800));

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

/// The maximum number of stored owner addresses and of unlocked accounts. Beyond this, all are
/// deleted.
const MAX_OWNERS: usize = 100_000;

/// An account, and how often it was unlocked. An account that is unlocked has new buckets.
type Account = (String, u32);

/// All rate limits.
pub struct Throttle {
    /// Mails to new addresses.
    pub mail_budget: MailBudget,
    account_from_address: Buckets<(Account, IpAddr)>,
    account: Buckets<Account>,
    address: Buckets<IpAddr>,
    mailbox: Buckets<String>,
    export: Buckets<IpAddr>,
    billing: Buckets<CustomerId>,
    admin: Buckets<AdminKeyId>,
    owners: Mutex<HashSet<(String, IpAddr)>>,
    /// How often each account was unlocked.
    unlocked: Mutex<HashMap<String, u32>>,
    hashing: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            mail_budget: MailBudget::default(),
            account_from_address: Buckets::new(ACCOUNT_FROM_ADDRESS),
            account: Buckets::new(ACCOUNT),
            address: Buckets::new(ADDRESS),
            mailbox: Buckets::new(MAILBOX),
            export: Buckets::new(EXPORT),
            billing: Buckets::new(BILLING),
            admin: Buckets::new(ADMIN),
            owners: Mutex::default(),
            unlocked: Mutex::default(),
            hashing: Mutex::default(),
        }
    }
}

impl Throttle {
    /// Counts a sign-up, or another request that reveals whether an email address has an account.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next attempt.
    pub fn sign_up(&self, address: IpAddr) -> Result<()> {
        self.address.take(&network(address))
    }

    /// Counts a login attempt for an account (its email address) from an address.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next attempt.
    pub fn log_in(&self, account: &str, address: IpAddr) -> Result<()> {
        let pair = pair(account, address);
        self.address.take(&pair.1)?;
        let unlocked = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
        let account = (pair.0.clone(), unlocked.get(&pair.0).copied().unwrap_or_default());
        drop(unlocked);
        self.account_from_address.take(&(account.clone(), pair.1))?;
        let is_owner = self.owners.lock().unwrap_or_else(PoisonError::into_inner).contains(&pair);
        if is_owner { Ok(()) } else { self.account.take(&account) }
    }

    /// Forgets the login attempts for an account, from all addresses, after its owner has used a
    /// link from the mailbox (security_42).
    pub fn unlock(&self, account: &str, address: IpAddr) {
        self.remember_owner(account, address);
        let mut unlocked = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
        if unlocked.len() >= MAX_OWNERS {
            unlocked.clear();
        }
        *unlocked.entry(pair(account, address).0).or_default() += 1;
    }

    /// Counts the use of a link from a mail. Its token cannot be guessed; this is against floods.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next attempt.
    pub fn link(&self, address: IpAddr) -> Result<()> {
        self.address.take(&network(address))
    }

    /// Counts a mail with a link that a client requests for this mailbox.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next mail.
    pub fn link_mail(&self, mailbox: &Email, client: IpAddr, now: Timestamp) -> Result<()> {
        let reserved = self.mail_budget.reserve(client, now)?;
        let taken = self.mailbox.take(&mailbox.as_str().to_owned());
        taken.inspect_err(|_| self.mail_budget.give_back(reserved))
    }

    /// Counts an export of a customer's data.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next attempt.
    pub fn export(&self, address: IpAddr) -> Result<()> {
        self.export.take(&network(address))
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
            let permits = hashing.entry(network(address));
            Arc::clone(permits.or_insert_with(|| Arc::new(Semaphore::new(MAX_HASHES_FROM_ADDRESS))))
        };
        let permit = tokio::time::timeout(MAX_WAIT, permits.acquire_owned()).await;
        permit.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)
    }

    /// Stores an address from which the owner of an account has logged in.
    pub fn remember_owner(&self, account: &str, address: IpAddr) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.len() >= MAX_OWNERS {
            owners.clear();
        }
        owners.insert(pair(account, address));
    }
}

/// Returns the key for an account from an address. Spellings of an email address are one account.
fn pair(account: &str, address: IpAddr) -> (String, IpAddr) {
    (account.trim_matches(' ').to_ascii_lowercase(), network(address))
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

/// Returns the network that counts as one client: an IPv4 address, or an IPv6 network of 64 bits.
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
        throttle.remember_owner("ada@example.com", HOME);
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
    fn security_42_a_reset_link_ends_a_lockout_everywhere() {
        let throttle = Throttle::default();
        for number in 0..200_u8 {
            drop(throttle.log_in("ada@example.com", IpAddr::from([203, 0, 113, number])));
        }
        while throttle.log_in("ada@example.com", HOME).is_ok() {}
        throttle.unlock("Ada@example.com", ELSEWHERE);
        assert!(throttle.log_in("ada@example.com", ELSEWHERE).is_ok());
        assert!(throttle.log_in("ada@example.com", HOME).is_ok());
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

    #[test]
    fn an_ipv6_network_counts_as_one_client() {
        let address = |text: &str| network(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:2"));
        assert_ne!(address("2001:db8:0:1::1"), address("2001:db8:0:2::1"));
        assert_eq!(address("::ffff:192.0.2.1"), HOME);
    }
}
