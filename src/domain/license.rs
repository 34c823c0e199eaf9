//! What a license will say: from what somebody is entitled to, to the claims that are signed.
//! Signing is in [`crate::keys`]; verifying is the crate `licentia-verify`.

use std::fmt;
use std::str::FromStr;

use licentia_verify::{CLAIMS_VERSION, Claims};

use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::plan::{Catalog, Plan};
use crate::domain::time::{DAY, Timestamp};

/// How far before the time of signing `iat` and `nbf` lie, in seconds, for devices whose clocks are
/// behind. Verifiers allow as much again (`licentia_verify::CLOCK_LEEWAY_SECONDS`).
pub const BACKDATED_SECONDS: i64 = 60;

/// Why a license was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Somebody signed up.
    Trial,
    /// An operator granted it by hand.
    Operator,
    /// A subscription was paid for.
    Subscription,
}

impl Source {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Trial, Self::Operator, Self::Subscription];

    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Operator => "operator",
            Self::Subscription => "subscription",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        Self::ALL.into_iter().find(|source| source.as_str() == text).ok_or(UnknownSource)
    }
}

/// A text that names no [`Source`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this names no reason for which a license is issued")]
pub struct UnknownSource;

/// Why a license was revoked. It decides whether the license still fetches its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationReason {
    /// Nothing is paid for any more: a refund, a lost dispute, or an end before its time.
    Payment,
    /// An operator revoked it, because it leaked.
    Operator,
    /// The key that signed it was revoked.
    Key,
}

impl RevocationReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Payment, Self::Operator, Self::Key];

    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Operator => "operator",
            Self::Key => "key",
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for RevocationReason {
    type Err = UnknownRevocationReason;

    fn from_str(text: &str) -> Result<Self, UnknownRevocationReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(UnknownRevocationReason)
    }
}

/// A text that names no [`RevocationReason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no reason to revoke a license")]
pub struct UnknownRevocationReason;

/// How long something that was bought, or tried, works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// The end of what was bought; `None` is without end.
    pub expires: Option<Timestamp>,
    /// Until when it still works after that.
    pub grace_until: Option<Timestamp>,
}

/// Where a [`Term`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Within what was bought.
    Active,
    /// Past it, within the grace.
    Grace,
    /// Over.
    Over,
}

impl Term {
    /// When it stops working for good; `None` is never.
    #[must_use]
    pub fn ends(self) -> Option<Timestamp> {
        self.expires.map(|expires| self.grace_until.map_or(expires, |grace| grace.max(expires)))
    }

    /// Where it stands at `now`.
    #[must_use]
    pub fn phase(self, now: Timestamp) -> Phase {
        let reached = |time: Option<Timestamp>| time.is_some_and(|time| time <= now);
        match (reached(self.expires), reached(self.ends())) {
            (false, _) => Phase::Active,
            (true, false) => Phase::Grace,
            (true, true) => Phase::Over,
        }
    }
}

/// What somebody is entitled to.
#[derive(Clone, Debug)]
pub struct Entitlement<'a> {
    /// What it grants.
    pub plan: &'a Plan,
    /// Why.
    pub source: Source,
    /// How long.
    pub term: Term,
}

impl<'a> Entitlement<'a> {
    /// The same entitlement, issued with the right clock after one that was ahead. A trial ends no
    /// later than one that begins at `now`. Every other term comes from a payment or an operator,
    /// and stays.
    #[must_use]
    pub fn with_the_right_clock(self, catalog: &'a Catalog, now: Timestamp) -> Self {
        if self.source != Source::Trial {
            return self;
        }
        let full = Self::trial(catalog, now).term.expires;
        let expires = [self.term.expires, full].into_iter().flatten().min();
        Self { term: Term { expires, ..self.term }, ..self }
    }

    /// The trial of somebody who signs up now.
    #[must_use]
    pub fn trial(catalog: &'a Catalog, now: Timestamp) -> Self {
        let expires = Some(now.plus(i64::from(catalog.trial_days) * DAY));
        let term = Term { expires, grace_until: None };
        Self { plan: catalog.trial(), source: Source::Trial, term }
    }
}

/// Whom a license is for, and its place in the row of licenses that this customer was given.
#[derive(Clone, Debug)]
pub struct Holder<'a> {
    /// The customer.
    pub customer_id: &'a CustomerId,
    /// The new license's own id.
    pub license_id: &'a LicenseId,
    /// One more than the customer's last license.
    pub seq: u64,
}

/// When a token issued at `now` runs out: it never outlives what it stands for, nor the catalog's
/// longest token life.
#[must_use]
pub fn token_expires(term: Term, catalog: &Catalog, now: Timestamp) -> Timestamp {
    let longest = now.plus(i64::from(catalog.token_days) * DAY);
    term.ends().map_or(longest, |ends| ends.min(longest))
}

/// The claims of a license issued at `now`. `iat` and `nbf` are [`BACKDATED_SECONDS`] before that.
#[must_use]
pub fn claims(
    entitlement: &Entitlement<'_>,
    holder: &Holder<'_>,
    catalog: &Catalog,
    issuer: &str,
    now: Timestamp,
) -> Claims {
    let token_expires = token_expires(entitlement.term, catalog, now);
    let plan = entitlement.plan;
    let limits = plan.limits.iter();
    let signed_at = now.plus(-BACKDATED_SECONDS).epoch_seconds();
    Claims {
        iss: issuer.to_owned(),
        sub: holder.customer_id.to_string(),
        aud: catalog.product.to_string(),
        iat: signed_at,
        nbf: signed_at,
        exp: token_expires.epoch_seconds(),
        jti: holder.license_id.to_string(),
        plan: plan.id.to_string(),
        trial: entitlement.source == Source::Trial,
        features: plan.features.iter().map(ToString::to_string).collect(),
        limits: limits.map(|(name, limit)| (name.to_string(), *limit)).collect(),
        license_expires: entitlement.term.expires.map(Timestamp::epoch_seconds),
        grace_until: entitlement.term.grace_until.map(Timestamp::epoch_seconds),
        seq: holder.seq,
        ver: CLAIMS_VERSION,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_active_then_in_grace_then_over_to_the_second() {
        let at = Timestamp::saturating;
        let phases = |expires, grace_until, times: [i64; 4]| {
            let term = Term { expires, grace_until };
            times.map(|time| term.phase(at(time)))
        };
        use Phase::{Active, Grace, Over};
        let both = phases(Some(at(10)), Some(at(20)), [9, 10, 19, 20]);
        assert_eq!(both, [Active, Grace, Grace, Over]);
        assert_eq!(phases(Some(at(10)), None, [9, 10, 11, 20]), [Active, Over, Over, Over]);
        assert_eq!(phases(Some(at(10)), Some(at(5)), [5, 9, 10, 11]), [Active, Active, Over, Over]);
        assert_eq!(phases(None, None, [0, 1, 2, i64::MAX]), [Active; 4]);
    }
}
