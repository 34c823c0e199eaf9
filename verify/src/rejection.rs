//! The reasons why a license is rejected, each with a stable code and a message.

use std::fmt;
use std::time::SystemTime;

use crate::Code;

/// The reason why a license is not valid: the first rule that is violated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The token is longer than [`crate::MAX_TOKEN_BYTES`].
    TooLarge,
    /// The token is not a JWT in compact form. The text is the problem.
    Malformed(&'static str),
    /// `alg` is not Ed25519. `none`, HMAC, RSA and others are never accepted.
    UnsupportedAlgorithm,
    /// `typ` is that of another kind of document.
    WrongType,
    /// The header requires an extension (`crit`). This crate supports none.
    CriticalHeader,
    /// The vendor revoked the signing key, because it is no longer secret.
    KeyRevoked {
        /// The key that the license names.
        kid: String,
    },
    /// The signing key is not in the key set. A newer key set or bundle may have it.
    UnknownKey {
        /// The key that the license names.
        kid: String,
    },
    /// The signature does not match the text and the key: it was forged or altered.
    BadSignature,
    /// The signature is valid, but a claim is missing or has the wrong type.
    InvalidClaims(String),
    /// The license needs a newer version of this crate.
    UnsupportedVersion {
        /// The version that the license has.
        found: u64,
    },
    /// The signing key was not in use when the license was issued.
    KeyNotValid,
    /// The license is from another issuer.
    WrongIssuer {
        /// The issuer that the license names.
        found: String,
    },
    /// The license is for another product.
    WrongAudience {
        /// The product that the license names.
        found: String,
    },
    /// The license is not valid yet. Usually the device's clock is behind.
    NotYetValid {
        /// The time from which it is accepted.
        valid_from: SystemTime,
    },
    /// The device's clock was set back: it is more than an hour behind what is remembered.
    ClockRolledBack {
        /// When the clock has caught up; `None` if the license is not valid then either.
        right_at: Option<SystemTime>,
    },
    /// The license was revoked.
    Revoked,
    /// The app requires a newer status list than the one that was given.
    StaleStatus,
    /// The license is for another device, or the app did not say which device this is.
    WrongDevice,
    /// The license does not cover this build of the app: it was made too late. An older build
    /// works.
    UpdateNotCovered {
        /// The time until which builds are covered.
        until: SystemTime,
    },
    /// The license is still paid for, but the token has expired. Refresh it.
    TokenExpired {
        /// The time at which the token expired.
        at: SystemTime,
    },
    /// The paid period or the trial is over, including the grace period.
    LicenseExpired {
        /// The time at which the license ended.
        at: SystemTime,
    },
}

impl Rejection {
    /// Returns the stable code, for programs, for example `token_expired`.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge => Code::TooLarge,
            Self::Malformed(_) => Code::Malformed,
            Self::UnsupportedAlgorithm => Code::UnsupportedAlgorithm,
            Self::WrongType => Code::WrongType,
            Self::CriticalHeader => Code::CriticalHeader,
            Self::KeyRevoked { .. } => Code::KeyRevoked,
            Self::UnknownKey { .. } => Code::UnknownKey,
            Self::BadSignature => Code::BadSignature,
            Self::InvalidClaims(_) => Code::InvalidClaims,
            Self::UnsupportedVersion { .. } => Code::UnsupportedVersion,
            Self::KeyNotValid => Code::KeyNotValid,
            Self::WrongIssuer { .. } => Code::WrongIssuer,
            Self::WrongAudience { .. } => Code::WrongAudience,
            Self::NotYetValid { .. } => Code::NotYetValid,
            Self::ClockRolledBack { .. } => Code::ClockRolledBack,
            Self::Revoked => Code::Revoked,
            Self::StaleStatus => Code::StaleStatus,
            Self::WrongDevice => Code::WrongDevice,
            Self::UpdateNotCovered { .. } => Code::UpdateNotCovered,
            Self::TokenExpired { .. } => Code::TokenExpired,
            Self::LicenseExpired { .. } => Code::LicenseExpired,
        }
    }

    /// Returns when the license becomes valid if nothing new is fetched. Only a clock that is
    /// behind makes it so.
    #[must_use]
    pub fn changes_at(&self) -> Option<SystemTime> {
        match self {
            Self::NotYetValid { valid_from } => Some(*valid_from),
            Self::ClockRolledBack { right_at } => *right_at,
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
            Self::Malformed(problem) => write!(formatter, "this is not a license: {problem}"),
            Self::UnsupportedAlgorithm => {
                formatter.write_str("the license is not signed with Ed25519")
            }
            Self::WrongType => write!(
                formatter,
                "this is another kind of signed document: its \"typ\" is not {:?}",
                crate::LICENSE_TYPE
            ),
            Self::CriticalHeader => {
                formatter.write_str("the license requires an unknown extension (\"crit\")")
            }
            Self::KeyRevoked { kid } => write!(
                formatter,
                "the license is signed with the key {kid:?}, which was revoked; log in, or have \
                 the new license mailed"
            ),
            Self::UnknownKey { kid } => write!(
                formatter,
                "the license is signed with the key {kid:?}, which is not in the key set; \
                 a newer key set may have it"
            ),
            Self::BadSignature => formatter
                .write_str("the signature does not match: the license was altered or forged"),
            Self::InvalidClaims(problem) => {
                write!(formatter, "the license's claims are not valid: {problem}")
            }
            Self::UnsupportedVersion { found } => write!(
                formatter,
                "the license has version {found}, which this app does not support; update the app"
            ),
            Self::KeyNotValid => formatter
                .write_str("the license is signed with a key that was not in use at that time"),
            Self::WrongIssuer { found } => {
                write!(formatter, "the license was issued by another server, {found:?}")
            }
            Self::WrongAudience { found } => {
                write!(formatter, "the license is for another product, {found:?}")
            }
            Self::NotYetValid { .. } => {
                formatter.write_str("the license is not valid yet; check the clock of this device")
            }
            Self::ClockRolledBack { .. } => {
                formatter.write_str("the clock of this device was set back; set it right")
            }
            Self::Revoked => formatter.write_str("the license was revoked"),
            Self::StaleStatus => formatter.write_str(
                "nothing recent says whether the license was revoked; get the newest status list",
            ),
            Self::WrongDevice => formatter.write_str("the license is for another device"),
            Self::UpdateNotCovered { .. } => formatter.write_str(
                "the license does not cover this version of the app; use an older one, or buy the \
                 updates",
            ),
            Self::TokenExpired { .. } => formatter.write_str(
                "the license token has expired, but the license has not; go online to refresh it",
            ),
            Self::LicenseExpired { .. } => formatter.write_str("the license has ended"),
        }
    }
}

impl std::error::Error for Rejection {}
