//! Limits how many mails to new addresses a client can cause. Anybody can sign up with the address
//! of somebody else, who then gets a mail (security_34). Kept in memory, per server.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;

use super::throttle::network;
use crate::domain::time::{SKEW, Timestamp};
use crate::error::{Error, Result};

/// The mails that one client address can cause at once: enough for a few people who share it.
const AT_ONCE: i32 = 10;

/// The time after which a client address can cause one more mail.
const REFILL: TimeDelta = TimeDelta::minutes(1);

/// The mails that one network can cause in an hour: enough for a company or a campus.
const NETWORK_PER_HOUR: usize = 60;
const HOUR: TimeDelta = TimeDelta::hours(1);

/// Unused records are removed when this many were added since the last removal.
const FORGET_AFTER: usize = 10_000;

/// The budgets of all addresses and networks.
#[derive(Default)]
pub struct MailBudget(Mutex<Records>);

#[derive(Default)]
struct Records {
    /// When the budget of each client address is full again.
    addresses: HashMap<IpAddr, Timestamp>,
    /// When each network caused mails in the last hour, oldest first.
    networks: HashMap<IpAddr, VecDeque<Timestamp>>,
    /// The number of records after the last removal.
    kept: usize,
}

/// A mail that is counted against the budget, until [`MailBudget::give_back`].
#[must_use]
pub struct Reserved {
    address: IpAddr,
    at: Timestamp,
}

impl MailBudget {
    /// Counts a mail to a new address before it is sent.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] with the time until the next mail. Then nothing is counted.
    pub fn reserve(&self, address: IpAddr, now: Timestamp) -> Result<Reserved> {
        let address = network(address);
        let mut records = self.lock();
        records.forget(now);
        // A later time was recorded while the clock was ahead, and is ignored.
        let latest = now + REFILL * AT_ONCE + SKEW;
        let full_at = records.addresses.get(&address).filter(|full_at| **full_at <= latest);
        let next = full_at.map_or(now, |full_at| now.max(*full_at)) + REFILL;
        let caused = records.networks.entry(wide_network(address)).or_default();
        caused.retain(|at| now < *at + HOUR && *at <= now + SKEW);
        let address_wait = next - now - REFILL * AT_ONCE;
        let network_wait = match caused.front() {
            Some(oldest) if caused.len() >= NETWORK_PER_HOUR => *oldest + HOUR - now,
            _ => TimeDelta::zero(),
        };
        let wait = address_wait.max(network_wait);
        if wait > TimeDelta::zero() {
            let retry_after = wait.to_std().unwrap_or_default();
            return Err(Error::TooManyRequests { retry_after });
        }
        caused.push_back(now);
        records.addresses.insert(address, next);
        Ok(Reserved { address, at: now })
    }

    /// Returns a mail to the budget that was not sent.
    pub fn give_back(&self, Reserved { address, at }: Reserved) {
        let mut records = self.lock();
        if let Some(full_at) = records.addresses.get_mut(&address) {
            *full_at = *full_at - REFILL;
        }
        if let Some(caused) = records.networks.get_mut(&wide_network(address))
            && let Some(place) = caused.iter().position(|time| *time == at)
        {
            caused.remove(place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    /// Removes records that no longer limit anybody, if many were added.
    fn forget(&mut self, now: Timestamp) {
        if self.addresses.len() + self.networks.len() > self.kept + FORGET_AFTER {
            self.addresses.retain(|_, full_at| *full_at > now);
            self.networks.retain(|_, caused| caused.back().is_some_and(|at| now < *at + HOUR));
            self.kept = self.addresses.len() + self.networks.len();
        }
    }
}

/// Returns the network of an address that usually has one owner: /24 for IPv4, /48 for IPv6.
fn wide_network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many of `tries` mails an address can cause at `second`.
    fn allowed(budget: &MailBudget, address: &str, second: i64, tries: usize) -> usize {
        let (address, now) = (address.parse().unwrap(), Timestamp::saturating(second));
        (0..tries).filter(|_| budget.reserve(address, now).is_ok()).count()
    }

    fn wait(budget: &MailBudget, address: &str, second: i64) -> u64 {
        match budget.reserve(address.parse().unwrap(), Timestamp::saturating(second)) {
            Err(Error::TooManyRequests { retry_after }) => retry_after.as_secs(),
            _ => panic!("{address} can cause a mail"),
        }
    }

    #[test]
    fn security_34_an_address_can_cause_ten_mails_at_once_and_then_one_a_minute() {
        let budget = MailBudget::default();
        assert_eq!(allowed(&budget, "192.0.2.1", 0, 50), 10);
        assert_eq!(wait(&budget, "192.0.2.1", 0), 60);
        assert_eq!(wait(&budget, "192.0.2.1", 59), 1);
        assert_eq!(allowed(&budget, "192.0.2.1", 60, 50), 1);
        assert_eq!(allowed(&budget, "192.0.2.1", 240, 50), 3);
        assert_eq!(allowed(&budget, "192.0.2.2", 240, 50), 10, "another address");
        assert_eq!(allowed(&budget, "192.0.2.1", 7200, 50), 10, "full again");
    }

    #[test]
    fn security_34_a_network_can_cause_sixty_mails_an_hour() {
        for host in ["192.0.2.", "2001:db8:0:"] {
            let budget = MailBudget::default();
            let address = |n: usize| {
                if host.ends_with('.') { format!("{host}{n}") } else { format!("{host}{n}::1") }
            };
            let at =
                |second| (0..100).map(|n| allowed(&budget, &address(n), second, 3)).sum::<usize>();
            assert_eq!((at(0), at(1800), at(3599)), (60, 0, 0), "{host}");
            assert_eq!(wait(&budget, &address(99), 3599), 1);
            assert_eq!(at(3600), 60, "{host}");
            assert_eq!(allowed(&budget, "203.0.113.1", 3600, 3), 3, "another network");
        }
    }

    #[test]
    fn security_34_an_ipv6_network_counts_as_one_address() {
        let budget = MailBudget::default();
        assert_eq!(allowed(&budget, "2001:db8::1", 0, 6), 6);
        assert_eq!(allowed(&budget, "2001:db8::ffff:2", 0, 6), 4);
        assert_eq!(allowed(&budget, "::ffff:192.0.2.1", 0, 6), 6);
        assert_eq!(allowed(&budget, "192.0.2.1", 0, 6), 4);
    }

    #[test]
    fn a_mail_that_was_given_back_does_not_count() {
        let budget = MailBudget::default();
        let now = Timestamp::saturating(0);
        for _ in 0..100 {
            budget.give_back(budget.reserve("192.0.2.1".parse().unwrap(), now).unwrap());
        }
        assert_eq!(allowed(&budget, "192.0.2.1", 0, 50), 10);
    }

    #[test]
    fn records_of_a_clock_that_was_ahead_are_ignored() {
        let budget = MailBudget::default();
        for n in 0..7 {
            allowed(&budget, &format!("192.0.2.{n}"), 365 * 86_400, 10);
        }
        assert_eq!(allowed(&budget, "192.0.2.1", 0, 50), 10);
        assert_eq!(allowed(&budget, "192.0.2.1", -1, 50), 0, "a second behind is no jump");
    }

    #[test]
    fn unused_records_are_removed() {
        let budget = MailBudget::default();
        for n in 0..30_000_u32 {
            let address = Ipv4Addr::from(n << 8).into();
            let _ = budget.reserve(address, Timestamp::saturating(i64::from(n))).unwrap();
        }
        let records = budget.lock();
        assert!(records.addresses.len() < 15_000, "{}", records.addresses.len());
    }
}
