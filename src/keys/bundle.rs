//! Reads signed key bundles.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use licentia_verify::{Companion, KeySet, MAX_BUNDLE_BYTES, Request};

use crate::domain::license::key_bundle::{BundleClaims, RootRecord, StoredBundle};
use crate::domain::time::Timestamp;

/// Returns the claims of a bundle, which is not verified.
#[must_use]
pub fn read(token: &str) -> Option<BundleClaims> {
    let payload = URL_SAFE_NO_PAD.decode(token.trim().split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Returns the warning that a published bundle ends soon or has ended.
#[must_use]
pub fn end_warning(bundle: Option<&StoredBundle>, now: Timestamp) -> Option<String> {
    read(&bundle?.token)?.end_warning(now)
}

/// Returns the claims of a bundle that counts for an app which pins this root, or that counted
/// before its end.
///
/// # Errors
/// The reason, in words.
pub fn open(token: &str, root: &RootRecord) -> Result<BundleClaims, String> {
    if token.len() > MAX_BUNDLE_BYTES {
        return Err(format!("it is longer than {MAX_BUNDLE_BYTES} bytes"));
    }
    let claims = read(token).ok_or("it is not a key bundle")?;
    let jwk = serde_json::to_string(&root.jwk()).map_err(|error| error.to_string())?;
    let apps = KeySet::from_root(&jwk, "any").map_err(|error| error.to_string())?;
    // The verifier reads the bundle before the license.
    let before_its_end = Timestamp::saturating(claims.exp.map_or(0, |exp| exp.saturating_sub(1)));
    let request =
        Request { keys: Some(token), ..Request::new("", before_its_end.to_system_time()) };
    let is_signed = claims.seq > 0 && apps.check(&request).bundle == Companion::Counts;
    if is_signed { Ok(claims) } else { Err(format!("the root {} did not sign it", root.kid)) }
}
