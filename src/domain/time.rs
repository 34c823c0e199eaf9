//! Points in time, in whole seconds: the unit of JWT, Stripe and the database. Reading the clock is
//! in [`crate::clock`].

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Months, SecondsFormat, TimeDelta, Utc};

use crate::domain::column::{Column, ColumnType, Parameter, Value};

/// The largest accepted difference between the clocks of two servers. A stored time that lies
/// further in the future than planned plus this difference comes from a wrong clock and is ignored.
pub const SKEW: TimeDelta = TimeDelta::seconds(120);

/// Seconds since 1970-01-01T00:00:00Z, from 1970 to 9999 (the range of RFC 3339).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(253_402_300_799);

    /// Returns the time this many seconds after 1970, clamped to the range.
    #[must_use]
    pub fn saturating(epoch_seconds: i64) -> Self {
        Self(epoch_seconds.clamp(0, Self::MAX.0))
    }

    /// Returns the time; for `None`, which stands for never, the latest possible one.
    #[must_use]
    pub fn or_never(time: Option<Self>) -> Self {
        time.unwrap_or(Self::MAX)
    }

    /// Returns the seconds since 1970.
    #[must_use]
    pub fn epoch_seconds(self) -> i64 {
        self.0
    }

    /// Returns the time for the verifier, which uses the standard library's type.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.unsigned_abs())
    }

    /// Returns the time this many calendar months later, in UTC: on the same day of the month, or
    /// on its last day if the month is shorter. Clamped to the range.
    #[must_use]
    pub fn plus_months(self, months: u32) -> Self {
        self.to_datetime().checked_add_months(Months::new(months)).map_or(Self::MAX, Self::from)
    }

    /// Returns the time this many calendar months earlier, like [`Self::plus_months`].
    #[must_use]
    pub fn minus_months(self, months: u32) -> Self {
        let earlier = self.to_datetime().checked_sub_months(Months::new(months));
        earlier.map_or(Self::saturating(0), Self::from)
    }

    /// Returns the time for formatting.
    #[must_use]
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0, 0).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// Clamped to the range.
impl Add<TimeDelta> for Timestamp {
    type Output = Self;

    fn add(self, delta: TimeDelta) -> Self {
        Self::saturating(self.0.saturating_add(delta.num_seconds()))
    }
}

/// Clamped to the range.
impl Sub<TimeDelta> for Timestamp {
    type Output = Self;

    fn sub(self, delta: TimeDelta) -> Self {
        Self::saturating(self.0.saturating_sub(delta.num_seconds()))
    }
}

impl Sub for Timestamp {
    type Output = TimeDelta;

    fn sub(self, earlier: Self) -> TimeDelta {
        // Two times of the range are at most eight thousand years apart, which a delta can hold.
        TimeDelta::seconds(self.0 - earlier.0)
    }
}

impl TryFrom<i64> for Timestamp {
    type Error = OutOfRange;

    fn try_from(epoch_seconds: i64) -> Result<Self, OutOfRange> {
        let time = Self::saturating(epoch_seconds);
        if time.0 == epoch_seconds { Ok(time) } else { Err(OutOfRange) }
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self::saturating(time.timestamp())
    }
}

/// A time before 1970 becomes the first time, and one after the year 9999 the latest one.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::saturating(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

impl Parameter for Timestamp {
    const TYPE: ColumnType = i64::TYPE;

    fn to_value(&self) -> Value {
        self.0.to_value()
    }
}

impl Column for Timestamp {
    fn from_value(value: Value) -> Result<Self, String> {
        i64::from_value(value)?.try_into().map_err(|error: OutOfRange| error.to_string())
    }
}

/// RFC 3339 in UTC, for example `2026-11-20T15:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_datetime().to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

/// A time before 1970 or after 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this time is before 1970 or after 9999")]
pub struct OutOfRange;
