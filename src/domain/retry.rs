//! When to try again what did not work. Pure; who tries is in [`crate::flows`].

use crate::domain::time::{DAY, SKEW, Timestamp};

/// What did not work for this long, in seconds, is given up; an operator sees it.
pub const GIVE_UP_AFTER: i64 = 3 * DAY;

/// Before that it was tried this often, however old it seems: the waits between come to nine hours, so that
/// a clock that is ahead, or a server that was off for days, does not give up in a minute.
const LEAST_TRIES: i64 = 20;

/// How long something counts as fresh, in seconds: within it, the wait stays short, so that what a
/// fault held up is done within a minute of its end.
const FRESH: i64 = 3600;

/// The longest wait while fresh, and afterwards, in seconds.
const LONGEST: (i64, i64) = (60, 3600);

/// How long a worker has for what it took, in seconds: longer than it waits for a customer's lease and works
/// under it, or than the time limits of one mail add up to; and short enough that what a dead one held up
/// is done within a minute.
const LEASE_SECONDS: i64 = 45;

/// What may be taken at a moment: what is due and nobody holds. What waits, or is held, for longer than is
/// ever waited or held was put off by a clock that was ahead, and may be taken as well.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// The moment.
    pub now: Timestamp,
    /// Nothing waits for longer than until then.
    pub latest: Timestamp,
    /// What is fresh does not wait for longer than until then;
    pub latest_fresh: Timestamp,
    /// that is what came later than this.
    pub fresh_since: Timestamp,
    /// Nothing is held for longer than until then.
    pub latest_lease: Timestamp,
    /// Until when what is taken now is held.
    pub until: Timestamp,
}

impl Due {
    /// At this moment.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            latest: now.plus(LONGEST.1 + SKEW),
            latest_fresh: now.plus(LONGEST.0 + SKEW),
            fresh_since: now.plus(SKEW - FRESH),
            latest_lease: now.plus(LEASE_SECONDS + SKEW),
            until: now.plus(LEASE_SECONDS),
        }
    }
}

/// When to try again, at `now`, what came at `since` and was tried `attempts` times in vain, this time not
/// counted; never, if it is to be given up. `jitter` is random.
#[must_use]
pub fn next(since: Timestamp, attempts: i64, now: Timestamp, jitter: u128) -> Option<Timestamp> {
    let age = now.epoch_seconds() - since.epoch_seconds();
    // What came in the future came by a clock that was ahead: nothing tells how old it is.
    let age = if age < -SKEW { GIVE_UP_AFTER } else { age };
    let again = age < GIVE_UP_AFTER || attempts < LEAST_TRIES;
    again.then(|| now.plus(wait(attempts + 1, age, jitter)))
}

/// How long to wait before the next try, in seconds: from a second, doubling to a minute while the
/// work is younger than an hour, then to an hour. `jitter` is random: it adds up to half as much
/// again, so that a thousand do not come back in the same second.
#[must_use]
fn wait(attempts: i64, age: i64, jitter: u128) -> i64 {
    let longest = if age < FRESH { LONGEST.0 } else { LONGEST.1 };
    let doublings = u32::try_from(attempts.clamp(1, 13) - 1).unwrap_or(0);
    let wait = 1_i64.checked_shl(doublings).unwrap_or(1).min(longest);
    let half = u128::try_from(wait / 2 + 1).unwrap_or(1);
    // While fresh, the wait and its jitter together stay below the longest.
    (wait + i64::try_from(jitter % half).unwrap_or(0)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_begins_at_a_second_and_is_capped_at_a_minute_for_an_hour() {
        let waits = |age| [1, 2, 3, 6, 7, 8, 20].map(|attempts| wait(attempts, age, 0));
        assert_eq!(waits(0), [1, 2, 4, 32, 60, 60, 60]);
        assert_eq!(waits(3600), [1, 2, 4, 32, 64, 128, 3600]);
    }

    #[test]
    fn what_is_three_days_old_and_was_tried_often_is_given_up() {
        let at = Timestamp::saturating;
        assert_eq!(next(at(0), 0, at(10), 0), Some(at(11)));
        assert_eq!(next(at(0), 90, at(3 * DAY - 1), 0), Some(at(3 * DAY + 3599)));
        assert_eq!(next(at(0), 4, at(3 * DAY), 0), Some(at(3 * DAY + 16)));
        assert_eq!(next(at(0), 19, at(3 * DAY), 0), Some(at(3 * DAY + 3600)));
        assert_eq!(next(at(0), 20, at(3 * DAY), 0), None);
        assert_eq!(next(at(365 * DAY), 20, at(0), 0), None, "it came by a clock that was ahead");
        assert_eq!(next(at(60), 20, at(0), 0), Some(at(60)));
    }

    #[test]
    fn a_clock_that_is_a_year_ahead_gives_nothing_up_within_nine_hours() {
        let came = Timestamp::saturating(0);
        let (mut now, mut attempts) = (came.plus(365 * DAY), 0);
        while let Some(again) = next(came, attempts, now, 0) {
            (now, attempts) = (again, attempts + 1);
        }
        assert!(now >= came.plus(365 * DAY + 9 * 3600), "{now}");
    }

    #[test]
    fn jitter_adds_up_to_half_and_never_passes_the_longest() {
        assert_eq!((0..9).map(|jitter| wait(4, 0, jitter)).max(), Some(12));
        assert!((0..100).all(|jitter| wait(20, 0, jitter) <= 60));
    }
}
