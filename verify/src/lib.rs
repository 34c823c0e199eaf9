//! Verifies Licentia licenses offline. The crate does no I/O, is not async, and reads no clock. It
//! does not fetch or refresh licenses.
//!
//! An app contains the vendor's public keys, stores the license token from the server, and verifies
//! it at each start. [`KeySet::verdict`] takes everything that an app may know ([`Request`]): key
//! bundle, status list, memory, build and device. [`verify`] takes a license alone:
//!
//! ```no_run
//! use licentia_verify::{KeySet, Rejection, verify};
//! use std::time::SystemTime;
//!
//! let jwks = std::fs::read_to_string("jwks.json")?; // or include_str!("jwks.json")
//! let keys = KeySet::from_jwks(&jwks, "acme-app")?;
//! let token = std::fs::read_to_string("license.jwt")?;
//! match verify(&token, &keys, SystemTime::now()) {
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
//! The rules are those of `docs/license-format.md`, in the same order in every language. They
//! follow RFC 7519 and RFC 8725: only Ed25519, only the key that `kid` names, only `typ:
//! license+jwt`. base64url and JSON are parsed strictly.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../../README.md")]
struct Readmes;

mod bundle;
mod check;
mod claims;
mod json;
mod jws;
mod keys;
mod license;
mod memory;
mod rejection;
mod status_list;
mod text;
mod verdict;

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

pub use bundle::BUNDLE_TYPE;
pub use check::{Checked, Companion, Request};
pub use claims::{
    Algorithm, CLAIMS_VERSION, Claims, Confirmation, Header, LICENSE_TYPE, OnEnd, StatusClaim,
    StatusReference,
};
pub use keys::{Jwk, KeySet, KeySetError, MAX_JWKS_BYTES};
pub use license::{License, State};
pub use rejection::Rejection;
pub use status_list::STATUS_LIST_TYPE;
pub use text::license_token;
pub use verdict::{Code, Verdict};

/// The longest accepted license token, in bytes. It fits into a header of common HTTP servers (8
/// KiB).
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The longest accepted key bundle, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 64 * 1024;

/// The longest accepted status list, in bytes.
pub const MAX_LIST_BYTES: usize = 256 * 1024;

/// How long before its `nbf` a license is accepted, in seconds, for devices whose clocks are
/// behind. Expiry has no leeway.
pub const CLOCK_LEEWAY_SECONDS: i64 = 60;

/// The latest time in a claim: 9999-12-31T23:59:59Z, the latest of RFC 3339.
const MAX_TIME: i64 = 253_402_300_799;

/// Returns the license in a text, if it is valid at `now`.
///
/// # Errors
/// A [`Rejection`] with the first rule that is violated.
pub fn verify(license: &str, keys: &KeySet, now: SystemTime) -> Result<License, Rejection> {
    keys.license(&Request::new(license, now))
}

/// Returns the license in a text, if it is valid at `now` and covers the build of the app that was
/// made at `build`. An app that is sold once, with a year of updates, calls this with a time that
/// its build script wrote.
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
    license: &str,
    keys: &KeySet,
    now: SystemTime,
    build: SystemTime,
) -> Result<License, Rejection> {
    keys.license(&Request { build: Some(build), ..Request::new(license, now) })
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
pub fn inspect(license: &str) -> Result<Unverified, Rejection> {
    let token = license_token(license)?;
    let parts = jws::Parts::read(&token, MAX_TOKEN_BYTES)?;
    parts.header()?;
    jws::members(&parts.claims)?;
    let shown = |text: &[u8]| {
        serde_json::from_slice(text)
            .map_err(|_| Rejection::Malformed("it has a number that cannot be shown"))
    };
    Ok(Unverified { header: shown(&parts.header)?, claims: shown(&parts.claims)? })
}

/// Returns the seconds since 1970: 0 for an earlier time, at which no license is valid.
fn epoch_seconds(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// Returns the time of seconds since 1970.
fn time(epoch_seconds: i64) -> SystemTime {
    let seconds = u64::try_from(epoch_seconds.min(MAX_TIME)).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
