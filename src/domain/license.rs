//! What a license will say: from what somebody is entitled to, to the claims that are signed.
//! Signing is in [`crate::keys`]; verifying is the crate `licentia-verify`.

use std::fmt;

use licentia_verify::{CLAIMS_VERSION, Claims};

use crate::domain::column::row;
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::plan::{Catalog, Plan};
use crate::domain::stripe_ids::StripeCustomerId;
use crate::domain::text_enum::text_enum;
use crate::domain::time::{DAY, SKEW, Timestamp};

/// How far before the time of signing `iat` and `nbf` lie, in seconds, for devices whose clocks are
/// behind. Verifiers allow as much again (`licentia_verify::CLOCK_LEEWAY_SECONDS`).
pub const BACKDATED_SECONDS: i64 = 60;

text_enum! {
    /// Why a license was issued.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Source {
        /// Somebody signed up.
        Trial = "trial",
        /// An operator granted it by hand.
        Operator = "operator",
        /// A subscription was paid for.
        Subscription = "subscription",
    }
}

text_enum! {
    /// Why a license was revoked. It decides whether the license still fetches its successor.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum RevocationReason {
        /// Nothing is paid for any more: a refund, a lost dispute, or an end before its time.
        Payment = "payment",
        /// An operator revoked it, because it leaked.
        Operator = "operator",
        /// The key that signed it was revoked.
        Key = "key",
    }
}

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
#[derive(Clone, Debug, PartialEq)]
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

row! {
    /// A license that was issued.
    #[derive(Clone, PartialEq, Eq)]
    pub struct IssuedLicense {
        /// The claim `jti`.
        pub license_id: LicenseId,
        /// Whose it is.
        pub customer_id: CustomerId,
        /// Its place in the row of this customer's licenses, from 1.
        pub seq: i64,
        /// Why it was issued.
        pub source: Source,
        /// The plan's id.
        pub plan: String,
        /// The key that signed it.
        pub key_id: String,
        /// The signed token.
        pub token: String,
        /// When it was issued.
        pub issued_at: Timestamp,
        /// When the token runs out.
        pub token_expires_at: Timestamp,
        /// The end of what was bought, or of the trial.
        pub expires_at: Option<Timestamp>,
        /// Until when it still works after that.
        pub grace_until: Option<Timestamp>,
        /// When a newer one took its place.
        pub superseded_at: Option<Timestamp>,
        /// When it was revoked.
        pub revoked_at: Option<Timestamp>,
        /// Why it was revoked.
        pub revocation_reason: Option<RevocationReason>,
    }
}

row! {
    /// A license that an app sends to fetch its successor.
    #[derive(Clone, PartialEq, Eq)]
    pub struct HeldLicense {
        /// The token on record for its id.
        pub held_token: String,
        /// When it was revoked.
        pub held_revoked_at: Option<Timestamp>,
        /// Why it was revoked.
        pub held_revocation_reason: Option<RevocationReason>,
        /// Its customer's Stripe customer.
        pub holder_stripe_id: Option<StripeCustomerId>,
    }
}

impl HeldLicense {
    /// Whether it still fetches its successor. A license that was revoked because nothing is paid
    /// for does, so that an app recovers without a password once something is. A leaked one, or
    /// one of a revoked key, does not.
    #[must_use]
    pub fn is_credential(&self) -> bool {
        self.held_revoked_at.is_none()
            || self.held_revocation_reason == Some(RevocationReason::Payment)
    }
}

/// Shows which license it is, and not its token: the token is a credential.
impl fmt::Debug for IssuedLicense {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { license_id, customer_id, seq, plan, .. } = self;
        write!(formatter, "IssuedLicense({license_id} of {customer_id}, seq {seq}, {plan})")
    }
}

impl IssuedLicense {
    /// How long what it stands for works.
    #[must_use]
    pub fn term(&self) -> Term {
        Term { expires: self.expires_at, grace_until: self.grace_until }
    }

    /// Whether the license works at `now`: it is not revoked, and neither it nor its grace is over.
    #[must_use]
    pub fn works(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.term().phase(now) != Phase::Over
    }

    /// Whether a clock that was ahead issued it: its time lies further in the future than the
    /// clocks of two servers may be apart.
    #[must_use]
    pub fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.issued_at > now.plus(SKEW)
    }

    /// Whether half of the token's life, or more, is over.
    #[must_use]
    pub fn is_half_used(&self, now: Timestamp) -> bool {
        let life = self.token_expires_at.epoch_seconds() - self.issued_at.epoch_seconds();
        now >= self.issued_at.plus(life / 2)
    }
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
