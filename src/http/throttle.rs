//! How often somebody may try: per account, so that passwords cannot be guessed, and per address,
//! so that nobody floods the service. A bucket that is empty fills again: nobody is locked out
//! for good. Kept in memory, per server.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use crate::error::{Error, Result};

/// Tries at one account from one address: ten typing errors, then one more every ten seconds.
const ACCOUNT_FROM_ADDRESS: (u32, Duration) = (10, Duration::from_secs(10));

/// Tries at one account from everywhere: an owner still gets through a slow attack, and a fast one
/// gets a few thousand guesses a day against passwords that withstand a million.
const ACCOUNT: (u32, Duration) = (100, Duration::from_secs(2));

/// Logins and sign-ups from one address: an office behind one address, or a test suite. What one
/// costs is bounded by the hashing turns as well.
const ADDRESS: (u32, Duration) = (600, Duration::from_millis(500));

/// Buckets that are full again are forgotten when there are this many.
const FORGET_ABOVE: usize = 10_000;

/// The buckets.
pub struct Throttle {
    account_from_address: DefaultKeyedRateLimiter<(String, IpAddr)>,
    account: DefaultKeyedRateLimiter<String>,
    address: DefaultKeyedRateLimiter<IpAddr>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            account_from_address: limiter(ACCOUNT_FROM_ADDRESS),
            account: limiter(ACCOUNT),
            address: limiter(ADDRESS),
        }
    }
}

impl Throttle {
    /// Counts a try at an account (its email address) from an address.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next try.
    pub fn attempt(&self, account: &str, address: IpAddr) -> Result<()> {
        let address = network(address);
        let account = account.trim().to_lowercase();
        check(&self.address, &address)?;
        check(&self.account_from_address, &(account.clone(), address))?;
        check(&self.account, &account)
    }
}

fn limiter<K: Hash + Eq + Clone>((burst, refill): (u32, Duration)) -> DefaultKeyedRateLimiter<K> {
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(refill).unwrap_or(Quota::per_second(burst));
    DefaultKeyedRateLimiter::keyed(quota.allow_burst(burst))
}

fn check<K: Hash + Eq + Clone>(limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> Result<()> {
    if limiter.len() > FORGET_ABOVE {
        limiter.retain_recent();
    }
    limiter.check_key(key).map_err(|denied| {
        let wait = denied.wait_time_from(DefaultClock::default().now());
        // Whole seconds, rounded up: who comes back then is let in.
        Error::TooManyRequests { retry_after: Duration::from_secs(wait.as_secs() + 1) }
    })
}

/// One household has one IPv4 address, or one IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
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
    fn guessing_one_account_is_stopped_and_the_owner_elsewhere_is_not_security_13() {
        let throttle = Throttle::default();
        let allowed = (0..50).filter(|_| throttle.attempt("ada@example.com", HOME).is_ok()).count();
        assert_eq!(allowed, 10);
        let denied = throttle.attempt(" ADA@example.com", HOME);
        assert!(matches!(denied, Err(Error::TooManyRequests { retry_after })
            if (1..=11).contains(&retry_after.as_secs())));
        assert!(throttle.attempt("ada@example.com", ELSEWHERE).is_ok());
        assert!(throttle.attempt("bob@example.com", HOME).is_ok());
    }

    #[test]
    fn one_address_cannot_flood_with_many_accounts_security_13() {
        let throttle = Throttle::default();
        let tries = (0..2000).map(|n| throttle.attempt(&format!("{n}@example.com"), HOME));
        let allowed = tries.filter(std::result::Result::is_ok).count();
        assert!((600..1000).contains(&allowed), "{allowed} tries were allowed");
    }

    #[test]
    fn an_ipv6_household_is_one_network() {
        let address = |text: &str| network(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:2"));
        assert_ne!(address("2001:db8:0:1::1"), address("2001:db8:0:2::1"));
        assert_eq!(address("::ffff:192.0.2.1"), HOME);
    }
}
