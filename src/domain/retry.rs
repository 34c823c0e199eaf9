//! When failed entries of a queue are retried, and when they are given up. The retries themselves
//! are in [`crate::flows`].

use chrono::TimeDelta;

use crate::domain::time::{SKEW, Timestamp};

/// An entry that has failed for this long is given up. Operators can list and retry it.
pub const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(3);

/// The least number of attempts before an entry is given up, however old it is. They take nine
/// hours, so that a clock that is ahead, or a server that was off for days, does not give up in a
/// minute.
const LEAST_ATTEMPTS: i64 = 20;

/// How long an entry is fresh. Fresh entries have short waits, so that they are processed within a
/// minute after an outage.
const FRESH: TimeDelta = TimeDelta::hours(1);

/// The longest wait of fresh and of older entries.
const LONGEST: (TimeDelta, TimeDelta) = (TimeDelta::minutes(1), TimeDelta::hours(1));

/// How long a worker leases an entry: longer than it waits for a customer's lease, and longer than
/// the time limits of one mail. A sync renews the leases of its events (`flows/sale/lease.rs`).
/// After a crash, the entry is processed within a minute.
const LEASE: TimeDelta = TimeDelta::seconds(45);

/// The limits by which an entry may be leased at a given time. An entry is due if its time has come
/// and it is not leased. Due times and leases further in the future than any wait or lease come
/// from a clock that was ahead, and are ignored.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// The given time.
    pub now: Timestamp,
    /// The latest valid due time.
    pub latest: Timestamp,
    /// The latest valid due time of a fresh entry.
    pub latest_fresh: Timestamp,
    /// Entries that were added after this time are fresh.
    pub fresh_since: Timestamp,
    /// The latest valid end of a lease.
    pub latest_lease: Timestamp,
    /// The end of a lease that begins now.
    pub until: Timestamp,
}

impl Due {
    /// Returns the limits at a given time.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            latest: now + LONGEST.1 + SKEW,
            latest_fresh: now + LONGEST.0 + SKEW,
            fresh_since: now + SKEW - FRESH,
            latest_lease: now + LEASE + SKEW,
            until: now + LEASE,
        }
    }
}

/// Returns when to retry an entry that failed at `now`, or `None` to give it up. The entry was
/// added at `since` and had failed `attempts` times before. `jitter` is random.
#[must_use]
pub fn next(since: Timestamp, attempts: i64, now: Timestamp, jitter: u128) -> Option<Timestamp> {
    let age = now - since;
    // An entry from the future was added by a clock that was ahead, so its age is unknown.
    let age = if age < -SKEW { GIVE_UP_AFTER } else { age };
    let is_retried = age < GIVE_UP_AFTER || attempts < LEAST_ATTEMPTS;
    is_retried.then(|| now + wait(attempts + 1, age, jitter))
}

/// Returns the wait before the next attempt. It begins with a second and doubles, up to
/// a minute for fresh entries and an hour for older ones. `jitter` is random and adds up to half of
/// the wait, so that a thousand entries are not retried in the same second.
#[must_use]
fn wait(attempts: i64, age: TimeDelta, jitter: u128) -> TimeDelta {
    let longest = if age < FRESH { LONGEST.0 } else { LONGEST.1 };
    let doublings = u32::try_from(attempts.clamp(1, 13) - 1).unwrap_or(0);
    let wait = (TimeDelta::seconds(1) * (1 << doublings)).min(longest);
    let half = u128::try_from(wait.num_seconds() / 2 + 1).unwrap_or(1);
    // The wait with its jitter stays within the longest wait.
    (wait + TimeDelta::seconds(i64::try_from(jitter % half).unwrap_or(0))).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn waiting_begins_at_a_second_and_is_capped_at_a_minute_for_an_hour() {
        let waits =
            |age| [1, 2, 3, 6, 7, 8, 20].map(|attempts| wait(attempts, age, 0).num_seconds());
        assert_eq!(waits(TimeDelta::zero()), [1, 2, 4, 32, 60, 60, 60]);
        assert_eq!(waits(TimeDelta::hours(1)), [1, 2, 4, 32, 64, 128, 3600]);
    }

    #[test]
    fn an_entry_is_given_up_after_three_days_and_twenty_attempts() {
        let at = Timestamp::saturating;
        assert_eq!(next(at(0), 0, at(10), 0), Some(at(11)));
        assert_eq!(next(at(0), 90, at(3 * DAY - 1), 0), Some(at(3 * DAY + 3599)));
        assert_eq!(next(at(0), 4, at(3 * DAY), 0), Some(at(3 * DAY + 16)));
        assert_eq!(next(at(0), 19, at(3 * DAY), 0), Some(at(3 * DAY + 3600)));
        assert_eq!(next(at(0), 20, at(3 * DAY), 0), None);
        assert_eq!(
            next(at(365 * DAY), 20, at(0), 0),
            None,
            "it was added by a clock that was ahead"
        );
        assert_eq!(next(at(60), 20, at(0), 0), Some(at(60)));
    }

    #[test]
    fn a_clock_that_is_a_year_ahead_gives_nothing_up_within_nine_hours() {
        let came = Timestamp::saturating(0);
        let (mut now, mut attempts) = (came + TimeDelta::days(365), 0);
        while let Some(again) = next(came, attempts, now, 0) {
            (now, attempts) = (again, attempts + 1);
        }
        assert!(now >= came + TimeDelta::days(365) + TimeDelta::hours(9), "{now}");
    }

    #[test]
    fn jitter_adds_up_to_half_and_never_passes_the_longest() {
        assert_eq!(
            (0..9).map(|jitter| wait(4, TimeDelta::zero(), jitter)).max(),
            Some(TimeDelta::seconds(12))
        );
        assert!(
            (0..100).all(|jitter| wait(20, TimeDelta::zero(), jitter) <= TimeDelta::minutes(1))
        );
    }
}
