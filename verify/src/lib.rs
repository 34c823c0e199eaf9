//! Verifies Licentia licenses offline: no I/O, no async, no clock of its own.
//!
//! An app ships with the vendor's public keys, keeps the license that the server gave it, and
//! asks this crate on each start. What a desktop app pastes:
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
//! The rules are those of RFC 7519 and RFC 8725: only Ed25519, only the key that `kid` names,
//! only `typ: license+jwt`, every claim required, strict base64url and JSON.

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

/// The longest license that is read, in bytes. It fits an HTTP header of common servers (8 KiB).
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far a device's clock may be behind the server's, in seconds: a license is accepted this
/// long before its `nbf`. There is no leeway at the other end; expiry is exact.
pub const CLOCK_LEEWAY_SECONDS: i64 = 60;

/// The last time that a claim may name: 9999-12-31T23:59:59Z, the end of RFC 3339.
const MAX_TIME: i64 = 253_402_300_799;

/// Decides whether `token` is a valid license at the time `now`.
///
/// # Errors
/// A [`Rejection`] that names the first rule which did not hold.
pub fn verify(token: &str, keys: &KeySet, now: SystemTime) -> Result<License, Rejection> {
    let claims = authenticate(token, keys)?;
    License::judge(claims, keys, epoch_seconds(now))
}

/// What a license says, **unverified**: for showing, never for trusting.
#[derive(Clone, Debug, PartialEq)]
pub struct Unverified {
    /// The members of the header.
    pub header: Map<String, Value>,
    /// The members of the claims.
    pub claims: Map<String, Value>,
}

/// Reads a license without verifying it.
///
/// # Errors
/// [`Rejection::TooLarge`] or [`Rejection::Malformed`] when the text is no license at all.
pub fn inspect(token: &str) -> Result<Unverified, Rejection> {
    let parts = Parts::split(token)?;
    Ok(Unverified { header: parts.header()?, claims: parts.claims()? })
}

/// The claims of a license whose signature holds, whatever they say.
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
    // Before anything else is read: a newer version may have other claims.
    match claims.get("ver").map(Value::as_u64) {
        Some(Some(found)) if found == u64::from(CLAIMS_VERSION) => {}
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
        let three = Rejection::Malformed("it does not have three parts");
        let (signed, signature) = token.rsplit_once('.').ok_or(three.clone())?;
        let (header, claims) = signed.split_once('.').ok_or(three.clone())?;
        if claims.contains('.') {
            return Err(three);
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

fn object(part: &str, otherwise: &'static str) -> Result<Map<String, Value>, Rejection> {
    strict_json::object(&decode(part)?).map_err(|_| Rejection::Malformed(otherwise))
}

fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Rejection::Malformed("a part of it is not strict base64url"))
}

/// Seconds since 1970; a clock set before that reads as 1970, where no license is valid yet.
fn epoch_seconds(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(MAX_TIME)
}
