//! What a license will say: from what somebody is entitled to, to the claims that are signed.
//! Signing is in [`crate::keys`]; verifying is the crate `licentia-verify`.

use std::fmt;
use std::str::FromStr;

use licentia_verify::{CLAIMS_VERSION, Claims};

use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::plan::{Catalog, Plan};
use crate::domain::time::{DAY, Timestamp};

/// Why a license was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Somebody signed up.
    Trial,
    /// An operator granted it by hand.
    Operator,
}

impl Source {
    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Operator => "operator",
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
        match text {
            "trial" => Ok(Self::Trial),
            "operator" => Ok(Self::Operator),
            _ => Err(UnknownSource),
        }
    }
}

/// A text that names no [`Source`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this names no reason for which a license is issued")]
pub struct UnknownSource;

/// What somebody is entitled to.
#[derive(Clone, Debug)]
pub struct Entitlement<'a> {
    /// What it grants.
    pub plan: &'a Plan,
    /// Why.
    pub source: Source,
    /// Until when; `None` is without end.
    pub expires: Option<Timestamp>,
    /// Until when it still works after that.
    pub grace_until: Option<Timestamp>,
}

impl<'a> Entitlement<'a> {
    /// The trial of somebody who signs up now.
    #[must_use]
    pub fn trial(catalog: &'a Catalog, now: Timestamp) -> Self {
        let expires = now.plus(i64::from(catalog.trial_days) * DAY);
        Self {
            plan: catalog.trial(),
            source: Source::Trial,
            expires: Some(expires),
            grace_until: None,
        }
    }

    /// When it stops working for good.
    fn ends(&self) -> Option<Timestamp> {
        self.expires.map(|expires| self.grace_until.map_or(expires, |grace| grace.max(expires)))
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

/// The claims of a license issued at `now`. Its token never outlives the entitlement, nor the
/// catalog's longest token life.
#[must_use]
pub fn claims(
    entitlement: &Entitlement<'_>,
    holder: &Holder<'_>,
    catalog: &Catalog,
    issuer: &str,
    now: Timestamp,
) -> Claims {
    let longest = now.plus(i64::from(catalog.token_days) * DAY);
    let token_expires = entitlement.ends().map_or(longest, |ends| ends.min(longest));
    let plan = entitlement.plan;
    let limits = plan.limits.iter();
    Claims {
        iss: issuer.to_owned(),
        sub: holder.customer_id.to_string(),
        aud: catalog.product.to_string(),
        iat: now.epoch_seconds(),
        nbf: now.epoch_seconds(),
        exp: token_expires.epoch_seconds(),
        jti: holder.license_id.to_string(),
        plan: plan.id.to_string(),
        trial: entitlement.source == Source::Trial,
        features: plan.features.iter().map(ToString::to_string).collect(),
        limits: limits.map(|(name, limit)| (name.to_string(), *limit)).collect(),
        license_expires: entitlement.expires.map(Timestamp::epoch_seconds),
        grace_until: entitlement.grace_until.map(Timestamp::epoch_seconds),
        seq: holder.seq,
        ver: CLAIMS_VERSION,
    }
}
