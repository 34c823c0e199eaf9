//! The verdict on a license: the same members, with the same names, in every language.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize, Serializer};

use crate::{Checked, State, epoch_seconds};

/// The verdict on a license. As JSON, its times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether the app may run.
    pub valid: bool,
    /// The state of a valid license.
    pub state: Option<State>,
    /// The reason why the license is not valid or not active.
    pub code: Option<Code>,
    /// The features that are in effect now.
    pub features: Vec<String>,
    /// The limits that are in effect now.
    pub limits: BTreeMap<String, u64>,
    /// The plan's id. This and the next four members are known once the signature and the claims
    /// hold, even if the license is not valid.
    pub plan: Option<String>,
    /// Whether this is a trial.
    pub trial: Option<bool>,
    /// The id of the customer.
    pub customer_id: Option<String>,
    /// The id of the license.
    pub license_id: Option<String>,
    /// The time until which builds of the app are covered; `None` if all are.
    #[serde(serialize_with = "as_seconds")]
    pub updates_until: Option<SystemTime>,
    /// Whether the app should warn the user.
    pub warn: bool,
    /// When the verdict changes next if nothing new is fetched: verify again then.
    #[serde(serialize_with = "as_seconds")]
    pub changes_at: Option<SystemTime>,
}

impl Verdict {
    /// Returns whether a feature is granted now, for example `"sso"`.
    #[must_use]
    pub fn allows(&self, feature: &str) -> bool {
        self.features.iter().any(|granted| granted == feature)
    }

    /// Returns the limit with this name now, for example `"seats"`; `None` if there is none.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<u64> {
        self.limits.get(name).copied()
    }
}

impl From<&Checked> for Verdict {
    fn from(checked: &Checked) -> Self {
        let claims = checked.claims();
        let license = checked.license.as_ref();
        let valid = license.ok();
        Self {
            valid: valid.is_some(),
            state: valid.map(|license| license.state()),
            code: license.map_or_else(|rejection| Some(rejection.code()), |valid| valid.code()),
            features: valid.map(|license| license.features().to_vec()).unwrap_or_default(),
            limits: valid.map(|license| license.limits().clone()).unwrap_or_default(),
            plan: claims.map(|claims| claims.plan.clone()),
            trial: claims.map(|claims| claims.trial),
            customer_id: claims.map(|claims| claims.sub.clone()),
            license_id: claims.map(|claims| claims.jti.clone()),
            updates_until: claims.and_then(|claims| claims.updates_until).map(crate::time),
            warn: valid.is_some_and(|license| license.needs_warning()),
            changes_at: license
                .map_or_else(|rejection| rejection.changes_at(), |license| license.changes_at()),
        }
    }
}

fn as_seconds<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(epoch_seconds).serialize(serializer)
}

/// Declares [`Code`], so that each name is written once.
macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal,)*) => {
        /// The reason why a license is not valid or not active.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $name)] $code,)*
        }

        impl Code {
            /// Every code, in the order of the rules.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// Returns the name, for example `token_expired`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }
        }
    };
}

codes! {
    /// It is too long.
    TooLarge = "too_large",
    /// It is not a signed document, or has no claims.
    Malformed = "malformed",
    /// It is another kind of signed document.
    WrongType = "wrong_type",
    /// It requires an extension.
    CriticalHeader = "critical_header",
    /// It is not signed with Ed25519.
    UnsupportedAlgorithm = "unsupported_algorithm",
    /// Its key was revoked.
    KeyRevoked = "key_revoked",
    /// Its key is not known.
    UnknownKey = "unknown_key",
    /// It was forged or altered.
    BadSignature = "bad_signature",
    /// It needs a newer version of this crate.
    UnsupportedVersion = "unsupported_version",
    /// A claim is missing or wrong.
    InvalidClaims = "invalid_claims",
    /// Its key was not in use when it was issued.
    KeyNotValid = "key_not_valid",
    /// It is for another product.
    WrongAudience = "wrong_audience",
    /// It is from another issuer.
    WrongIssuer = "wrong_issuer",
    /// It is not valid yet.
    NotYetValid = "not_yet_valid",
    /// The clock was set back.
    ClockRolledBack = "clock_rolled_back",
    /// It was revoked.
    Revoked = "revoked",
    /// Its status list is missing or too old.
    StaleStatus = "stale_status",
    /// It is for another device.
    WrongDevice = "wrong_device",
    /// It does not cover this build of the app.
    UpdateNotCovered = "update_not_covered",
    /// The paid period or the trial is over.
    LicenseExpired = "license_expired",
    /// The token has run out.
    TokenExpired = "token_expired",
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
