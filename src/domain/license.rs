//! Licenses: terms and issued licenses. Entitlements and the claims that are signed are in
//! `entitlement.rs`. `coverage.rs` compares licenses, and `parts.rs` describes them.
//! `status_list.rs` is about the list of revoked ones. Signing is in [`crate::keys`], and
//! verification in the crate `licentia-verify`.

mod content;
mod coverage;
mod entitlement;
pub mod explanation;
mod extras;
mod file;
pub mod grant;
pub mod key_bundle;
pub mod parts;
pub mod signing_key;
pub mod status_list;
mod token;

use chrono::TimeDelta;
use licentia_verify::{Claims, Rejection};

use crate::domain::column::row;
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::text_enum::text_enum;
use crate::domain::time::{SKEW, Timestamp};
pub use content::Content;
pub use coverage::{Coverage, MissingParts, Shortfall, covers_new_builds};
pub use entitlement::{Entitlement, Holder, claims, granted_again, token_expires};
pub use extras::Extras;
pub use file::{LICENSE_FILE, LicenseFile};
use parts::{issue_detail, license_parts};
pub use token::LicenseToken;

/// How far before the time of signing `iat` and `nbf` lie, for devices whose clocks are behind.
/// Verifiers allow as much again (`licentia_verify::CLOCK_LEEWAY_SECONDS`).
pub const BACKDATED: TimeDelta = TimeDelta::seconds(60);

/// How long before its app would warn a token is replaced: apps refresh once a day.
const NEXT_REFRESH: TimeDelta = TimeDelta::days(1);

/// A refresh replaces a license of a former signing key if it was issued longer ago than this: only
/// the present key signs again. It also replaces one that names a former address of the server.
/// Servers that disagree about the key or the address replace a license this often, and so does a
/// refresh that avoids a warning.
pub const REPLACED_AFTER: TimeDelta = TimeDelta::hours(1);

text_enum! {
    /// The reason why a license was issued.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Source {
        /// A trial after sign-up.
        Trial = "trial",
        /// A grant by an operator.
        Operator = "operator",
        /// A payment, for a subscription or once ([`Basis`]).
        Paid = "subscription",
    }
}

text_enum! {
    /// How a paid license was bought. It has no meaning for a trial or a grant.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Basis {
        /// By a subscription.
        #[default]
        Subscription = "subscription",
        /// By a single payment: the license is perpetual.
        Once = "once",
        /// By a subscription that ended after it was paid long enough: the license is perpetual.
        Fallback = "fallback",
    }
}

text_enum! {
    /// The reason why a license was revoked. It decides whether the license can still be refreshed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum RevocationReason {
        /// Its payment no longer counts: a refund, a lost dispute, or an early end.
        Payment = "payment",
        /// An operator revoked it, because it leaked.
        Operator = "operator",
        /// The key that signed it was revoked.
        Key = "key",
    }
}

/// How long a license works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// The end of the paid or trial period; `None` is never.
    pub expires: Option<Timestamp>,
    /// The end of the grace period after that.
    pub grace_until: Option<Timestamp>,
}

/// The phase of a [`Term`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Within the paid or trial period.
    Active,
    /// Within the grace period.
    Grace,
    /// Ended.
    Over,
}

impl Term {
    /// Returns the end of the term with its grace period; `None` is never.
    #[must_use]
    pub fn ends(self) -> Option<Timestamp> {
        self.expires.map(|expires| self.grace_until.map_or(expires, |grace| grace.max(expires)))
    }

    /// Returns the phase at `now`.
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

text_enum! {
    /// The status of a license, as responses and commands show it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LicenseStatus {
        /// The license works.
        Active = "active",
        /// The paid time is over, and the license still works during the grace period.
        Grace = "grace",
        /// The license has expired.
        Expired = "expired",
        /// A newer license has replaced it. It still verifies offline until it expires.
        Superseded = "superseded",
        /// The license was revoked.
        Revoked = "revoked",
    }
}

row! {
    /// An issued license.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct IssuedLicense {
        /// The claim `jti`.
        pub license_id: LicenseId,
        /// The customer.
        pub customer_id: CustomerId,
        /// The sequence number among the customer's licenses, from 1.
        pub seq: i64,
        /// The reason for the issue.
        pub source: Source,
        /// The plan's id.
        pub plan: String,
        /// The key that signed it.
        pub key_id: String,
        /// The license token.
        pub token: LicenseToken,
        /// The time of issue.
        pub issued_at: Timestamp,
        /// The time at which the license token expires.
        pub token_expires_at: Timestamp,
        /// The end of the paid or trial period.
        pub expires_at: Option<Timestamp>,
        /// The end of the grace period.
        pub grace_until: Option<Timestamp>,
        /// How it was bought, if it was bought.
        pub basis: Basis,
        /// The units that it was issued for: 1 unless the plan is sold by the unit.
        pub quantity: u32,
        /// The add-ons.
        pub addons: AddonIds,
        /// The time after which builds are not covered; `None` covers all builds.
        pub updates_until: Option<Timestamp>,
        /// The additions of an operator.
        pub extras: Extras,
        /// The time at which a newer license replaced it.
        pub superseded_at: Option<Timestamp>,
        /// The time of the revocation.
        pub revoked_at: Option<Timestamp>,
        /// The reason for the revocation.
        pub revocation_reason: Option<RevocationReason>,
    }
}

row! {
    /// A license that an app sends to refresh it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct HeldLicense {
        /// The stored license token.
        pub held_token: LicenseToken,
        /// The time of the revocation.
        pub held_revoked_at: Option<Timestamp>,
        /// The reason for the revocation.
        pub held_revocation_reason: Option<RevocationReason>,
        /// The Stripe customer of the license's customer.
        pub holder_stripe_id: Option<StripeCustomerId>,
    }
}

impl HeldLicense {
    /// Returns whether the license can be refreshed. One that was revoked for the reason `payment`
    /// can, so that an app recovers without a password after a new payment. A leaked license, or
    /// one of a revoked key, cannot.
    #[must_use]
    pub fn is_credential(&self) -> bool {
        self.held_revoked_at.is_none()
            || self.held_revocation_reason == Some(RevocationReason::Payment)
    }
}

impl IssuedLicense {
    /// Returns how long the license works.
    #[must_use]
    pub fn term(&self) -> Term {
        Term { expires: self.expires_at, grace_until: self.grace_until }
    }

    /// Returns what the license grants; `None` if its plan is no longer in the catalog.
    #[must_use]
    pub fn entitlement<'a>(&self, catalog: &'a Catalog) -> Option<Entitlement<'a>> {
        let plan = catalog.plan(&self.plan)?;
        Some(Entitlement {
            plan,
            source: self.source,
            basis: self.basis,
            term: self.term(),
            quantity: self.quantity,
            addons: catalog
                .addons
                .iter()
                .filter(|addon| self.addons.0.contains(&addon.id))
                .collect(),
            updates_until: self.updates_until,
            extras: self.extras.clone(),
        })
    }

    /// Returns the details of an audit entry about its issue.
    #[must_use]
    pub fn audit_detail(&self) -> serde_json::Value {
        let bought = (&*self.plan, self.source, self.bought_by());
        issue_detail(&self.license_id, bought, (self.quantity, &self.addons, self.updates_until))
    }

    /// Returns its units, add-ons and end of updates as text that follows the name of the plan.
    #[must_use]
    pub fn parts_text(&self) -> String {
        license_parts(self.quantity, &self.addons, self.updates_until)
    }

    /// Returns how it was bought; `None` for a trial and a grant.
    #[must_use]
    pub fn bought_by(&self) -> Option<Basis> {
        (self.source == Source::Paid).then_some(self.basis)
    }

    /// Returns whether the license works only while a payment counts: it was paid for, or adds days
    /// to one that was, whose paid term has not ended at `now`.
    #[must_use]
    pub fn depends_on_payment(&self, now: Timestamp) -> bool {
        self.source == Source::Paid || self.extras.paid_until.is_some_and(|end| end > now)
    }

    /// Returns the status at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> LicenseStatus {
        match self.term().phase(now) {
            _ if self.revoked_at.is_some() => LicenseStatus::Revoked,
            _ if self.superseded_at.is_some() => LicenseStatus::Superseded,
            Phase::Active => LicenseStatus::Active,
            Phase::Grace => LicenseStatus::Grace,
            Phase::Over => LicenseStatus::Expired,
        }
    }

    /// Returns the claims of the token, which we signed; `None` if the stored token is damaged.
    #[must_use]
    pub fn claims(&self) -> Option<Claims> {
        self.token.claims()
    }

    /// Returns the claims of a token that says the same and is signed at `now`, if that is later: a
    /// device whose clock was ahead and is right again needs a later `iat` than any that it has
    /// seen (docs/license-format.md, section 7). It expires when the stored token does, so it is
    /// worth no more.
    #[must_use]
    pub fn claims_signed_again(&self, now: Timestamp) -> Option<Claims> {
        let signed_at = (now - BACKDATED).epoch_seconds();
        let claims = self.claims().filter(|stored| signed_at > stored.iat)?;
        Some(Claims { iat: signed_at, nbf: signed_at, ..claims })
    }

    /// Returns whether an operator revoked it.
    #[must_use]
    pub fn is_revoked_by_operator(&self) -> bool {
        self.revoked_at.is_some() && self.revocation_reason == Some(RevocationReason::Operator)
    }

    /// Returns why the license was revoked, as verifiers say it; `None` if it was not.
    #[must_use]
    pub fn revocation(&self) -> Option<Rejection> {
        self.revoked_at?;
        Some(match self.revocation_reason {
            Some(RevocationReason::Key) => Rejection::KeyRevoked { kid: self.key_id.clone() },
            Some(RevocationReason::Payment | RevocationReason::Operator) | None => {
                Rejection::Revoked
            }
        })
    }

    /// Returns why the license, whose signature holds, does not work at `now`, as verifiers say it.
    /// `None` if it works. A promise about the end (`on_end`) does not count.
    #[must_use]
    pub fn rejection(&self, now: Timestamp) -> Option<Rejection> {
        let ended = |end: &Timestamp| now >= *end;
        let over = || self.term().ends().filter(ended);
        let token = Some(self.token_expires_at).filter(ended);
        self.revocation()
            .or_else(|| Some(Rejection::LicenseExpired { at: over()?.to_system_time() }))
            .or_else(|| Some(Rejection::TokenExpired { at: token?.to_system_time() }))
    }

    /// Returns whether the license works at `now`: it is not revoked, and its term with the grace
    /// period has not ended.
    #[must_use]
    pub fn works(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.term().phase(now) != Phase::Over
    }

    /// Returns whether a clock that was ahead issued the license: its time of issue is more than
    /// [`SKEW`] in the future.
    #[must_use]
    pub fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.issued_at > now + SKEW
    }

    /// Returns whether a fresh license token is due: half of its lifetime has passed, or apps would
    /// warn that it ends soon, and a fresh one would last longer.
    #[must_use]
    pub fn is_refresh_due(&self, catalog: &Catalog, now: Timestamp) -> bool {
        let plan = catalog.plan(&self.plan);
        token_expires(self.term(), plan, catalog, now) > self.token_expires_at
            && (self.is_half_used(now) || self.warns_of_the_token(catalog, now))
    }

    /// Returns whether apps warn that the token ends soon, and would not with a fresh one. An app
    /// that is online must not: it refreshes once a day.
    fn warns_of_the_token(&self, catalog: &Catalog, now: Timestamp) -> bool {
        let plan = catalog.plan(&self.plan);
        let warn_days = plan.map_or(0, |plan| plan.warn_days);
        let warns_from = self.token_expires_at - TimeDelta::days(warn_days.into());
        now >= warns_from - NEXT_REFRESH
            && now >= self.issued_at + REPLACED_AFTER
            && (1..catalog.token_days_of(plan)).contains(&warn_days)
    }

    /// Returns whether a refresh replaces the license because another key signs now.
    #[must_use]
    pub fn is_of_former_key(&self, signing_kid: &str, now: Timestamp) -> bool {
        self.key_id != signing_kid && now >= self.issued_at + REPLACED_AFTER
    }

    /// Returns whether a refresh replaces the license because it says something else about the
    /// server: another issuer (`iss`), or a status list at another address or none.
    #[must_use]
    pub fn is_of_former_server(&self, issuer: &str, origin: &str, now: Timestamp) -> bool {
        let names_it = |claims: Claims| {
            let status = claims.status.map(|status| status.status_list);
            claims.iss == issuer && status.is_some_and(|list| status_list::is_at(&list.uri, origin))
        };
        now >= self.issued_at + REPLACED_AFTER && !self.claims().is_none_or(names_it)
    }

    /// Returns whether at least half of the license token's lifetime has passed.
    #[must_use]
    pub fn is_half_used(&self, now: Timestamp) -> bool {
        let lifetime = self.token_expires_at - self.issued_at;
        now >= self.issued_at + lifetime / 2
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
