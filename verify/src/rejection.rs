//! Every reason for which a license is refused, each with a stable code.

use std::fmt;
use std::time::SystemTime;

/// Why a license is not valid. The first rule that does not hold is named.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// Longer than [`crate::MAX_TOKEN_BYTES`].
    TooLarge,
    /// Not a JWT in compact form; the text says what is wrong with it.
    Malformed(&'static str),
    /// `alg` is not Ed25519: `none`, HMAC, RSA and the rest are never accepted.
    UnsupportedAlgorithm,
    /// `typ` says that this is another kind of document.
    WrongType,
    /// The header has `crit`: it demands an extension, and this crate knows none.
    CriticalHeader,
    /// Signed by a key that is not in the key set. A newer key set may know it.
    UnknownKey {
        /// The key that the license names.
        kid: String,
    },
    /// The signature does not belong to this text and key: forged or altered.
    BadSignature,
    /// Signed, but a claim is missing or of the wrong kind.
    InvalidClaims(String),
    /// Written for a newer version of this crate.
    UnsupportedVersion {
        /// The version that the license has.
        found: u64,
    },
    /// A license of another issuer.
    WrongIssuer {
        /// The issuer that the license names.
        found: String,
    },
    /// A license for another product.
    WrongAudience {
        /// The product that the license names.
        found: String,
    },
    /// Not valid yet: most often the device's clock is behind.
    NotYetValid {
        /// The first time at which it will be accepted.
        valid_from: SystemTime,
    },
    /// What was bought still stands, but this token is too old: fetch a fresh one.
    TokenExpired {
        /// When it ran out.
        at: SystemTime,
    },
    /// What was bought, and the grace after it, is over (or the trial is).
    LicenseExpired {
        /// When it ended.
        at: SystemTime,
    },
}

impl Rejection {
    /// A stable name for machines, for example `token_expired`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed(_) => "malformed",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::WrongType => "wrong_type",
            Self::CriticalHeader => "critical_header",
            Self::UnknownKey { .. } => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::InvalidClaims(_) => "invalid_claims",
            Self::UnsupportedVersion { .. } => "unsupported_version",
            Self::WrongIssuer { .. } => "wrong_issuer",
            Self::WrongAudience { .. } => "wrong_audience",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::TokenExpired { .. } => "token_expired",
            Self::LicenseExpired { .. } => "license_expired",
        }
    }

    /// When the answer will change if nothing new is fetched; only waiting for the start helps.
    #[must_use]
    pub fn changes_at(&self) -> Option<SystemTime> {
        match self {
            Self::NotYetValid { valid_from } => Some(*valid_from),
            _ => None,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => {
                write!(formatter, "the license is longer than {} bytes", crate::MAX_TOKEN_BYTES)
            }
            Self::Malformed(what) => write!(formatter, "this is not a license: {what}"),
            Self::UnsupportedAlgorithm => {
                formatter.write_str("the license is not signed with Ed25519")
            }
            Self::WrongType => write!(
                formatter,
                "this is a signed document of another kind, its \"typ\" is not {:?}",
                crate::LICENSE_TYPE
            ),
            Self::CriticalHeader => {
                formatter.write_str("the license demands an extension (\"crit\") that is not known")
            }
            Self::UnknownKey { kid } => write!(
                formatter,
                "the license is signed with the key {kid:?}, which is not in the key set; \
                 a newer key set may have it"
            ),
            Self::BadSignature => formatter
                .write_str("the signature does not match: the license was altered or forged"),
            Self::InvalidClaims(what) => {
                write!(formatter, "the license's claims are wrong: {what}")
            }
            Self::UnsupportedVersion { found } => write!(
                formatter,
                "the license has version {found}, newer than this app understands; update the app"
            ),
            Self::WrongIssuer { found } => {
                write!(formatter, "the license was issued by another server, {found:?}")
            }
            Self::WrongAudience { found } => {
                write!(formatter, "the license is for another product, {found:?}")
            }
            Self::NotYetValid { .. } => formatter
                .write_str("the license is not valid yet; is the clock of this device right?"),
            Self::TokenExpired { .. } => formatter.write_str(
                "the license needs a refresh: go online once, what was bought is still valid",
            ),
            Self::LicenseExpired { .. } => formatter.write_str("the license has ended"),
        }
    }
}

impl std::error::Error for Rejection {}
