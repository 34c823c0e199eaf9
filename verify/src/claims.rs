//! The contents of a license: the JOSE header and the claims. The server signs these types. The
//! verifier reads them strictly, in [`read`].

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

mod read;

/// The `typ` of every license (RFC 8725, section 3.11: explicit typing). It prevents that another
/// signed document is used as a license.
pub const LICENSE_TYPE: &str = "license+jwt";

/// The version of the claims that this crate understands, in the claim `ver`.
pub const CLAIMS_VERSION: u32 = 1;

/// The accepted names of Ed25519 in a header: the older, polymorphic name of RFC 8037, and the
/// exact name of RFC 9864.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// RFC 8037. Most libraries support this name.
    #[default]
    EdDSA,
    /// RFC 9864.
    Ed25519,
}

impl Algorithm {
    /// Returns the name in a header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// Returns the algorithm with this name, or `None` if it is not accepted.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::EdDSA, Self::Ed25519].into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// The JOSE header of a license (RFC 7515, section 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The signature algorithm.
    pub alg: Algorithm,
    /// Always [`LICENSE_TYPE`].
    pub typ: String,
    /// The RFC 7638 thumbprint of the signing key.
    pub kid: String,
}

/// The claims of a license. Times are seconds since 1970-01-01T00:00:00Z (RFC 7519 `NumericDate`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer: the vendor's licensing server.
    pub iss: String,
    /// The id of the customer (`cust_…`).
    pub sub: String,
    /// The product.
    pub aud: String,
    /// The time of issue.
    pub iat: i64,
    /// The time from which it is valid.
    pub nbf: i64,
    /// The time at which the license token expires. An app that is online refreshes it earlier.
    pub exp: i64,
    /// The id of the license (`lic_…`).
    pub jti: String,
    /// The plan's id, for example `professional`.
    pub plan: String,
    /// Whether this is a trial.
    pub trial: bool,
    /// The features that the plan grants.
    pub features: Vec<String>,
    /// The plan's numeric limits, by name.
    pub limits: BTreeMap<String, u64>,
    /// The end of the paid period or of the trial; `null` if the license does not end. The member
    /// is required.
    #[serde(deserialize_with = "Option::deserialize")]
    pub license_expires: Option<i64>,
    /// The end of the grace period after `license_expires`, while a payment is late; `null` if
    /// there is none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub grace_until: Option<i64>,
    /// The time until which builds of the app are covered. A build made later is not. Absent if all
    /// builds are covered.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub updates_until: Option<i64>,
    /// What remains when the license is over or its token has run out. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub on_end: Option<OnEnd>,
    /// How many days before the next change for the worse the app should warn.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub warn_days: Option<u64>,
    /// The status list that says whether the license is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub status: Option<StatusClaim>,
    /// The device that the license is bound to (RFC 7800).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub cnf: Option<Confirmation>,
    /// The sequence number among the customer's licenses. A newer license has a higher one.
    pub seq: u64,
    /// The version of this set of claims: [`CLAIMS_VERSION`].
    pub ver: u32,
}

/// What remains when a license is over, or its token has run out without a refresh. The vendor
/// cannot withdraw it from a license in the field. A revocation, another device and a build that is
/// not covered end the license all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum OnEnd {
    /// Nothing.
    #[default]
    Stop,
    /// Only these features and limits.
    Limited {
        /// The features, instead of the license's.
        #[serde(default)]
        features: Vec<String>,
        /// The limits, instead of the license's.
        #[serde(default)]
        limits: BTreeMap<String, u64>,
    },
    /// Everything. The app shows a reminder.
    Warn,
}

/// The claim `status` (draft-ietf-oauth-status-list-21).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusClaim {
    /// The license's index in a status list.
    pub status_list: StatusReference,
}

/// The index of a license in a status list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReference {
    /// The index of the license's bit.
    pub idx: u64,
    /// The list's address: its `sub`.
    pub uri: String,
}

/// The claim `cnf` (RFC 7800): the key of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The RFC 7638 thumbprint of the device's key.
    pub jkt: String,
}

/// Reads a member that may be absent, but not `null`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
