//! A verified license, and the rules for its claims at a given time. The signature is verified in
//! [`crate::verify`].

use std::time::{Duration, SystemTime};

use crate::{CLOCK_LEEWAY_SECONDS, Claims, KeySet, MAX_TIME, Rejection};

/// A license that is valid now. Only [`crate::verify`] returns one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct License {
    claims: Claims,
    status: Status,
}

/// The status of a valid license.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Within the paid period or the trial.
    Active,
    /// Within the grace period after it. The app works, and should tell the user.
    Grace,
}

impl License {
    /// Returns the license with these claims, if they are valid at `now` and cover the build that
    /// was made at `build`.
    pub(crate) fn judge(
        claims: Claims,
        keys: &KeySet,
        now: i64,
        build: Option<i64>,
    ) -> Result<Self, Rejection> {
        well_formed(&claims)?;
        if claims.aud != keys.audience() {
            return Err(Rejection::WrongAudience { found: claims.aud });
        }
        if keys.issuer().is_some_and(|issuer| issuer != claims.iss) {
            return Err(Rejection::WrongIssuer { found: claims.iss });
        }
        let valid_from = claims.nbf.max(claims.iat).saturating_sub(CLOCK_LEEWAY_SECONDS);
        if now < valid_from {
            return Err(Rejection::NotYetValid { valid_from: time(valid_from) });
        }
        if let (Some(until), Some(build)) = (claims.updates_until, build)
            && build > until
        {
            return Err(Rejection::UpdateNotCovered { until: time(until) });
        }
        let paid_until = claims.license_expires.unwrap_or(i64::MAX);
        let works_until = claims.grace_until.unwrap_or(paid_until).max(paid_until);
        if now >= works_until {
            return Err(Rejection::LicenseExpired { at: time(works_until) });
        }
        if now >= claims.exp {
            return Err(Rejection::TokenExpired { at: time(claims.exp) });
        }
        let status = if now < paid_until { Status::Active } else { Status::Grace };
        Ok(Self { claims, status })
    }

    /// Returns whether the plan grants a feature, for example `"sso"`.
    #[must_use]
    pub fn allows(&self, feature: &str) -> bool {
        self.claims.features.iter().any(|granted| granted == feature)
    }

    /// Returns the plan's limit with this name, for example `"seats"`; `None` if the plan has none.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<u64> {
        self.claims.limits.get(name).copied()
    }

    /// Returns the plan's id.
    #[must_use]
    pub fn plan(&self) -> &str {
        &self.claims.plan
    }

    /// Returns whether this is a trial.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.claims.trial
    }

    /// Returns the time until which builds of the app are covered; `None` if all are.
    #[must_use]
    pub fn updates_until(&self) -> Option<SystemTime> {
        self.claims.updates_until.map(time)
    }

    /// Returns whether the license is active or in its grace period.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns all claims.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns when the result of a verification changes next: at the end of the paid period or of
    /// the grace period, or when the license token expires, whichever is first.
    #[must_use]
    pub fn changes_at(&self) -> SystemTime {
        let end = match self.status {
            Status::Active => self.claims.license_expires,
            Status::Grace => self.claims.grace_until,
        };
        time(end.map_or(self.claims.exp, |end| end.min(self.claims.exp)))
    }
}

/// Checks the rules that do not depend on the time or the key set.
fn well_formed(claims: &Claims) -> Result<(), Rejection> {
    let empty = [("iss", &claims.iss), ("sub", &claims.sub), ("jti", &claims.jti)]
        .into_iter()
        .find(|(_, value)| value.is_empty());
    if let Some((name, _)) = empty {
        return Err(Rejection::InvalidClaims(format!("the claim {name:?} is empty")));
    }
    let times = [Some(claims.iat), Some(claims.nbf), Some(claims.exp)];
    let times =
        times.into_iter().chain([claims.license_expires, claims.grace_until, claims.updates_until]);
    if times.flatten().any(|time| !(0..=MAX_TIME).contains(&time)) {
        return Err(Rejection::InvalidClaims("a time is before 1970 or after 9999".into()));
    }
    Ok(())
}

fn time(epoch_seconds: i64) -> SystemTime {
    let seconds = u64::try_from(epoch_seconds.min(MAX_TIME)).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
