//! The `Stripe-Signature` header.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Signs a webhook's body as Stripe does: HMAC-SHA256 over the time, a dot, and the body, once
/// for each secret.
#[must_use]
pub fn sign<S: AsRef<str>>(secrets: &[S], time: i64, body: &[u8]) -> String {
    let signatures =
        secrets.iter().map(|secret| format!(",v1={}", hmac(secret.as_ref(), time, body)));
    format!("t={time}{}", signatures.collect::<String>())
}

fn hmac(secret: &str, time: i64, body: &[u8]) -> String {
    // HMAC takes a key of any length, so that there is always one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}
