//! The `Stripe-Signature` header.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Signs a webhook's body as Stripe does: HMAC-SHA256 over the time, a dot, and the body.
#[must_use]
pub fn sign(secret: &str, time: i64, body: &[u8]) -> String {
    // HMAC takes a key of any length, so that there is always one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    format!("t={time},v1={}", hex::encode(mac.finalize().into_bytes()))
}
