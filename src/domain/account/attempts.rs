//! Limits for attempts that all servers on one database count together: those that guess a password
//! or a promotion code, or cause a mail. This decides; `flows/account/attempts.rs` reads and stores
//! the states. Limits against floods are in memory (`http/throttle.rs`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::ParseIntError;
use std::str::FromStr;

use chrono::TimeDelta;

use crate::domain::column::text_columns;
use crate::domain::text_enum::text_enum;
use crate::domain::time::{SKEW, Timestamp};

text_enum! {
    /// The subject of a limit. The text is part of the hash under which they are stored.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Counted {
        /// Login attempts for one account from one network.
        LoginFromNetwork = "login_from_network",
        /// Login attempts for one account from all networks that its owner has not used.
        Login = "login",
        /// Mails with a link to one mailbox.
        Mailbox = "mailbox",
        /// Mails with the link that sets a password to one mailbox, besides [`Self::Mailbox`].
        ResetMailbox = "reset_mailbox",
        /// Mails of sign-ups to one mailbox, besides [`Self::Mailbox`].
        SignupMailbox = "signup_mailbox",
        /// Mails that one client address causes.
        Client = "client",
        /// Mails that the clients of one network cause.
        Network = "network",
        /// Wrong promotion codes of one customer.
        CodeOfCustomer = "code_of_customer",
        /// Wrong promotion codes from one client address.
        CodeFromClient = "code_from_client",
        /// Wrong promotion codes from the clients of one network.
        CodeFromNetwork = "code_from_network",
    }
}

/// How many attempts are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Some at once, and one more after each refill.
    Bucket {
        /// The number at once.
        burst: i32,
        /// The time until one more.
        refill: TimeDelta,
    },
    /// A number in any period.
    Window {
        /// The number.
        most: usize,
        /// The length of the period.
        period: TimeDelta,
    },
}

impl Counted {
    /// Returns the limit.
    #[must_use]
    pub fn limit(self) -> Limit {
        match self {
            // Ten typing errors.
            Self::LoginFromNetwork => Limit::Bucket { burst: 10, refill: TimeDelta::seconds(10) },
            // Against guessing from many addresses at once. At 1,500 a day, a million guesses take
            // almost two years.
            Self::Login => Limit::Bucket { burst: 100, refill: TimeDelta::seconds(60) },
            // `Mailbox`, `ResetMailbox` and `SignupMailbox` together: at most five mails in any
            // hour (security_34).
            Self::Mailbox => Limit::Window { most: 3, period: TimeDelta::hours(1) },
            Self::ResetMailbox | Self::SignupMailbox => {
                Limit::Window { most: 1, period: TimeDelta::hours(1) }
            }
            // Enough for a few people that share an address.
            Self::Client => Limit::Bucket { burst: 10, refill: TimeDelta::minutes(1) },
            // Enough for a company or a campus.
            Self::Network => Limit::Window { most: 60, period: TimeDelta::hours(1) },
            // Ten typing errors, and then one an hour: nobody has more codes to try.
            Self::CodeOfCustomer => Limit::Bucket { burst: 10, refill: TimeDelta::hours(1) },
            // A few people that share an address. Accounts are free to create, so this limits a
            // search with many of them.
            Self::CodeFromClient => Limit::Bucket { burst: 30, refill: TimeDelta::minutes(10) },
            // Against a search from many addresses; enough for a company or a campus. There is no
            // limit for all networks together, because a stranger could use it up and keep
            // everybody from using a code. At 144 a day from each of ten thousand networks, half of
            // all codes of eight letters and digits take more than two thousand years.
            Self::CodeFromNetwork => Limit::Bucket { burst: 60, refill: TimeDelta::minutes(10) },
        }
    }
}

/// The state of a limit for one key. New keys have the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// For a bucket: the time at which it is full again. For a window: the times of the attempts.
    times: Vec<Timestamp>,
}

text_columns!(State);

/// Returns the state after one more attempt at `now`.
///
/// # Errors
/// The time until the next attempt is allowed, when this one is not.
pub fn take(limit: Limit, state: &State, now: Timestamp) -> Result<State, TimeDelta> {
    let mut times = recent(limit, state, now);
    match limit {
        Limit::Bucket { burst, refill } => {
            let full_at = times.first().copied().unwrap_or(now) + refill;
            let wait = full_at - now - refill * burst;
            if wait > TimeDelta::zero() {
                return Err(wait);
            }
            times = vec![full_at];
        }
        Limit::Window { most, period } => {
            if let Some(oldest) = times.first().filter(|_| times.len() >= most) {
                return Err(*oldest + period - now);
            }
            times.push(now);
        }
    }
    Ok(State { times })
}

/// Returns the state without the attempt at `at`, which had no effect.
#[must_use]
pub fn give_back(limit: Limit, mut state: State, at: Timestamp) -> State {
    match limit {
        Limit::Bucket { refill, .. } => {
            for full_at in &mut state.times {
                *full_at = *full_at - refill;
            }
        }
        Limit::Window { .. } => {
            if let Some(place) = state.times.iter().position(|time| *time == at) {
                state.times.remove(place);
            }
        }
    }
    state
}

/// Returns the time from which a state is the same as none.
#[must_use]
pub fn expires(limit: Limit, state: &State) -> Timestamp {
    let last = state.times.last().copied().unwrap_or(Timestamp::saturating(0));
    match limit {
        Limit::Bucket { .. } => last,
        Limit::Window { period, .. } => last + period,
    }
}

/// Returns the times of a state that still count, oldest first. A later time than possible was
/// stored while the clock was ahead, and is ignored, so that a jump back locks nobody out.
fn recent(limit: Limit, state: &State, now: Timestamp) -> Vec<Timestamp> {
    let counts = |time: &Timestamp| match limit {
        Limit::Bucket { burst, refill } => now < *time && *time <= now + refill * burst + SKEW,
        Limit::Window { period, .. } => now < *time + period && *time <= now + SKEW,
    };
    state.times.iter().copied().filter(counts).collect()
}

/// Returns the network that counts as one client: an IPv4 address, or an IPv6 network of 64 bits.
#[must_use]
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Returns the network of an address that usually has one owner: /24 for IPv4, /48 for IPv6.
#[must_use]
pub fn wide_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
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

/// The times as seconds since 1970, separated by spaces.
impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times: Vec<_> =
            self.times.iter().map(|time| time.epoch_seconds().to_string()).collect();
        formatter.write_str(&times.join(" "))
    }
}

impl FromStr for State {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let times = text.split_whitespace().map(|time| time.parse().map(Timestamp::saturating));
        Ok(Self { times: times.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The state of one key, as the flow keeps it.
    struct Key(Limit, State);

    impl Key {
        fn of(counted: Counted) -> Self {
            Self(counted.limit(), State::default())
        }

        /// Returns how many of `tries` attempts at `second` are allowed.
        fn allowed(&mut self, second: i64, tries: usize) -> usize {
            (0..tries).filter(|_| self.attempt(second).is_ok()).count()
        }

        fn attempt(&mut self, second: i64) -> Result<(), TimeDelta> {
            self.1 = take(self.0, &self.1, Timestamp::saturating(second))?;
            self.1 = self.1.to_string().parse().unwrap();
            Ok(())
        }

        fn wait(&mut self, second: i64) -> i64 {
            self.attempt(second).unwrap_err().num_seconds()
        }
    }

    #[test]
    fn security_34_an_address_can_cause_ten_mails_at_once_and_then_one_a_minute() {
        let mut client = Key::of(Counted::Client);
        assert_eq!(client.allowed(0, 50), 10);
        assert_eq!((client.wait(0), client.wait(59)), (60, 1));
        assert_eq!((client.allowed(60, 50), client.allowed(240, 50)), (1, 3));
        assert_eq!(client.allowed(7200, 50), 10, "full again");
    }

    #[test]
    fn security_34_a_network_can_cause_sixty_mails_in_any_hour() {
        let mut network = Key::of(Counted::Network);
        assert_eq!((network.allowed(0, 40), network.allowed(1800, 40)), (40, 20));
        assert_eq!((network.allowed(3599, 5), network.wait(3599)), (0, 1));
        assert_eq!(network.allowed(3600, 50), 40);
        assert_eq!(network.allowed(5400, 50), 20);
    }

    #[test]
    fn wrong_promotion_codes_are_limited_for_a_customer_a_client_and_a_network() {
        for (counted, at_once, in_an_hour) in [
            (Counted::CodeOfCustomer, 10, 1),
            (Counted::CodeFromClient, 30, 6),
            (Counted::CodeFromNetwork, 60, 6),
        ] {
            let mut key = Key::of(counted);
            assert_eq!(key.allowed(0, 1000), at_once, "{counted}");
            assert_eq!(key.allowed(3600, 1000), in_an_hour, "{counted}");
        }
    }

    #[test]
    fn an_attempt_without_effect_is_given_back() {
        for counted in Counted::ALL {
            let mut key = Key::of(counted);
            for _ in 0..1000 {
                assert_eq!(key.allowed(50, 1), 1, "{counted}");
                key.1 = give_back(key.0, key.1, Timestamp::saturating(50));
            }
        }
    }

    #[test]
    fn a_state_of_a_clock_that_was_ahead_locks_nobody_out() {
        for counted in Counted::ALL {
            let mut key = Key::of(counted);
            key.allowed(365 * 86_400, 1000);
            assert!(key.allowed(0, 1000) >= 1, "{counted}");
            assert_eq!(key.allowed(-1, 1000), 0, "{counted}: a second behind is no jump");
        }
    }

    #[test]
    fn networks_count_as_one() {
        let of = |find: fn(IpAddr) -> IpAddr, text: &str| find(text.parse().unwrap()).to_string();
        assert_eq!(of(client_network, "2001:db8::ffff:2"), "2001:db8::");
        assert_eq!(of(client_network, "2001:db8:0:1::1"), "2001:db8:0:1::");
        assert_eq!(of(client_network, "::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(of(wide_network, "2001:db8:0:1::1"), "2001:db8::");
        assert_eq!(of(wide_network, "::ffff:192.0.2.1"), "192.0.2.0");
    }

    proptest! {
        /// The contract: a mailbox gets at least three mails in an hour, and at most five.
        #[test]
        fn security_34_a_mailbox_gets_three_to_five_in_an_hour(
            requests in prop::collection::vec((0_i64..2000, 0_usize..3), 1..200),
        ) {
            let mut mailbox = Key::of(Counted::Mailbox);
            let mut own = [Counted::ResetMailbox, Counted::SignupMailbox].map(Key::of);
            prop_assert_eq!(Key::of(Counted::Mailbox).allowed(0, 9), 3);
            let (mut now, mut sent) = (0, Vec::new());
            for (pause, kind) in requests {
                now += pause;
                let own = own.get_mut(kind);
                let is_sent = own.is_some_and(|own| own.attempt(now).is_ok())
                    || mailbox.attempt(now).is_ok();
                sent.extend(is_sent.then_some(now));
            }
            for start in &sent {
                let within = sent.iter().filter(|at| (*start..start + 3600).contains(*at));
                prop_assert!(within.count() <= 5);
            }
        }

        /// An expired state allows what none allows, so it may be deleted.
        #[test]
        fn an_expired_state_is_the_same_as_none(
            pauses in prop::collection::vec(0_i64..100, 1..80),
            which in prop::sample::select(Counted::ALL.to_vec()),
        ) {
            let (mut key, mut now) = (Key::of(which), 0);
            for pause in pauses {
                now += pause;
                key.allowed(now, 1);
            }
            let after = expires(key.0, &key.1).epoch_seconds().max(now);
            let (mut fresh, mut old) = (Key::of(which), key);
            prop_assert_eq!(old.allowed(after, 200), fresh.allowed(after, 200));
        }
    }
}
