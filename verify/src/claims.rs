//! What a license says: the JOSE header and the claims, exactly as they travel.
//!
//! The server signs these types and the verifier reads the claims back; there is no second copy.
//! Nothing here judges a license: see [`crate::verify`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The `typ` of every license (RFC 8725, section 3.11: explicit typing), so that no other
/// signed document can be passed off as one.
pub const LICENSE_TYPE: &str = "license+jwt";

/// The version of the claims that this crate understands, in the claim `ver`.
pub const CLAIMS_VERSION: u32 = 1;

/// The names by which a header may call Ed25519: the older polymorphic name of RFC 8037 and the
/// exact one of RFC 9864.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// RFC 8037; what most libraries know.
    #[default]
    EdDSA,
    /// RFC 9864.
    Ed25519,
}

impl Algorithm {
    /// The name as it stands in a header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// The algorithm of this name, if it is one that is accepted.
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
    /// Who issued the license: the vendor's licensing server.
    pub iss: String,
    /// The customer it was issued to (`cust_…`).
    pub sub: String,
    /// The product it is for.
    pub aud: String,
    /// When it was issued.
    pub iat: i64,
    /// Not valid before this time.
    pub nbf: i64,
    /// When this token runs out. An app that is online fetches a fresh one before.
    pub exp: i64,
    /// The license's own id (`lic_…`).
    pub jti: String,
    /// The plan's id, for example `professional`.
    pub plan: String,
    /// Whether this is a trial.
    pub trial: bool,
    /// The features that the plan grants.
    pub features: Vec<String>,
    /// The plan's numeric limits, by name.
    pub limits: BTreeMap<String, u64>,
    /// The end of what the customer bought (or of the trial); `null` for a license without end.
    /// A license that says nothing of it is refused.
    #[serde(deserialize_with = "Option::deserialize")]
    pub license_expires: Option<i64>,
    /// Until when the license still works after `license_expires`, while a payment is late; `null`
    /// for no longer.
    #[serde(deserialize_with = "Option::deserialize")]
    pub grace_until: Option<i64>,
    /// Counts up with each license issued to the same customer: the higher one is the newer one.
    pub seq: u64,
    /// The version of this set of claims: [`CLAIMS_VERSION`].
    pub ver: u32,
}
