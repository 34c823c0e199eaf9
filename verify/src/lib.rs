//! Verifies Licentia licenses offline. The crate does no I/O, is not async, and reads no clock. It
//! does not fetch or refresh licenses.
//!
//! An app contains the vendor's public keys, stores the license token from the server, and verifies
//! it at each start. For example:
//!
//! ```no_run
//! use licentia_verify::{KeySet, Rejection, verify};
//! use std::time::SystemTime;
//!
//! let jwks = std::fs::read_to_string("jwks.json")?; // or include_str!("jwks.json")
//! let keys = KeySet::from_jwks(&jwks, "acme-app")?;
//! let token = std::fs::read_to_string("license.jwt")?;
//! match verify(token.trim(), &keys, SystemTime::now()) {
//!     Ok(license) if license.allows("export") => {
//!         println!("{} plan, {:?} seats", license.plan(), license.limit("seats"));
//!     }
//!     Ok(license) => println!("The {} plan has no export.", license.plan()),
//!     Err(Rejection::TokenExpired { .. }) => println!("Go online once to refresh the license."),
//!     Err(rejection) => println!("No valid license ({}): {rejection}", rejection.code()),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The rules follow RFC 7519 and RFC 8725: only Ed25519, only the key that `kid` names, only `typ:
//! license+jwt`. Every claim is required, and base64url and JSON are parsed strictly.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../../README.md")]
struct Readmes;

mod claims;
mod keys;
mod license;
mod rejection;
mod strict_json;

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signature;
use serde_json::{Map, Value};

pub use claims::{Algorithm, CLAIMS_VERSION, Claims, Header, LICENSE_TYPE};
pub use keys::{Jwk, KeySet, KeySetError, MAX_JWKS_BYTES};
pub use license::{License, Status};
pub use rejection::Rejection;

/// The longest accepted license token, in bytes. It fits into a header of common HTTP servers (8
/// KiB).
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How long before its `nbf` a license is accepted, in seconds, for devices whose clocks are
/// behind. Expiry has no leeway.
pub const CLOCK_LEEWAY_SECONDS: i64 = 60;

/// The latest time in a claim: 9999-12-31T23:59:59Z, the latest of RFC 3339.
const MAX_TIME: i64 = 253_402_300_799;

/// Returns the license of a license token, if it is valid at `now`.
///
/// # Errors
/// A [`Rejection`] with the first rule that is violated.
pub fn verify(token: &str, keys: &KeySet, now: SystemTime) -> Result<License, Rejection> {
    let claims = authenticate(token, keys)?;
    License::judge(claims, keys, epoch_seconds(now), None)
}

/// Returns the license of a license token, if it is valid at `now` and covers the build of the app
/// that was made at `build`. An app that is sold once, with a year of updates, calls this with a
/// time that its build script wrote.
///
/// ```no_run
/// # use licentia_verify::{KeySet, Rejection, verify_build};
/// # use std::time::{Duration, SystemTime};
/// # let (token, keys) = ("", KeySet::from_jwks("", "")?);
/// // In build.rs: println!("cargo:rustc-env=BUILT_AT={}", seconds_since_1970);
/// const BUILT_AT: u64 = 1_795_186_800;
/// let build = SystemTime::UNIX_EPOCH + Duration::from_secs(BUILT_AT);
/// if let Err(Rejection::UpdateNotCovered { .. }) =
///     verify_build(token, &keys, SystemTime::now(), build)
/// {
///     println!("Your license covers older versions. Buy the updates to use this one.");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`verify`], and [`Rejection::UpdateNotCovered`].
pub fn verify_build(
    token: &str,
    keys: &KeySet,
    now: SystemTime,
    build: SystemTime,
) -> Result<License, Rejection> {
    let claims = authenticate(token, keys)?;
    License::judge(claims, keys, epoch_seconds(now), Some(epoch_seconds(build)))
}

/// The contents of a license, **unverified**. They may be shown, but must not be trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Unverified {
    /// The members of the header.
    pub header: Map<String, Value>,
    /// The members of the claims.
    pub claims: Map<String, Value>,
}

/// Returns the contents of a license without verifying it.
///
/// # Errors
/// [`Rejection::TooLarge`] or [`Rejection::Malformed`] when the text is not a license.
pub fn inspect(token: &str) -> Result<Unverified, Rejection> {
    let parts = Parts::split(token)?;
    Ok(Unverified { header: parts.header()?, claims: parts.claims()? })
}

/// Returns the claims of a license with a valid signature. Their values are not checked yet.
fn authenticate(token: &str, keys: &KeySet) -> Result<Claims, Rejection> {
    let parts = Parts::split(token)?;
    let header = parts.header()?;
    if header.contains_key("crit") {
        return Err(Rejection::CriticalHeader);
    }
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    if !text("typ").is_some_and(|typ| typ.eq_ignore_ascii_case(LICENSE_TYPE)) {
        return Err(Rejection::WrongType);
    }
    if text("alg").and_then(Algorithm::from_name).is_none() {
        return Err(Rejection::UnsupportedAlgorithm);
    }
    let kid = text("kid").ok_or(Rejection::Malformed("its header names no key (\"kid\")"))?;
    let key = keys.key(kid).ok_or_else(|| Rejection::UnknownKey { kid: kid.to_owned() })?;

    let signature = decode(parts.signature)?;
    let signature = Signature::from_slice(&signature).map_err(|_| Rejection::BadSignature)?;
    key.verify_strict(parts.signed.as_bytes(), &signature).map_err(|_| Rejection::BadSignature)?;

    let claims = parts.claims()?;
    // The version is checked first, because a newer version may have other claims.
    match claims.get("ver").map(Value::as_u64) {
        Some(Some(version)) if version == u64::from(CLAIMS_VERSION) => {}
        Some(Some(found)) if found > u64::from(CLAIMS_VERSION) => {
            return Err(Rejection::UnsupportedVersion { found });
        }
        _ => return Err(Rejection::InvalidClaims("the claim \"ver\" is not a version".into())),
    }
    let claims = serde_json::from_value(Value::Object(claims));
    claims.map_err(|error| Rejection::InvalidClaims(error.to_string()))
}

/// The three parts of a JWS in compact form (RFC 7515, section 7.1), still encoded.
struct Parts<'a> {
    signed: &'a str,
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, Rejection> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejection::TooLarge);
        }
        let malformed = Rejection::Malformed("it does not have three parts");
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed.clone())?;
        let (header, claims) = signed.split_once('.').ok_or(malformed.clone())?;
        if claims.contains('.') {
            return Err(malformed);
        }
        Ok(Self { signed, header, claims, signature })
    }

    fn header(&self) -> Result<Map<String, Value>, Rejection> {
        object(self.header, "its header is not a JSON object without repeated members")
    }

    fn claims(&self) -> Result<Map<String, Value>, Rejection> {
        object(self.claims, "its claims are not a JSON object without repeated members")
    }
}

fn object(part: &str, problem: &'static str) -> Result<Map<String, Value>, Rejection> {
    strict_json::object(&decode(part)?).map_err(|_| Rejection::Malformed(problem))
}

fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Rejection::Malformed("a part of it is not strict base64url"))
}

/// Returns the seconds since 1970; 0 for an earlier time, at which no license is valid.
fn epoch_seconds(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(MAX_TIME)
}
