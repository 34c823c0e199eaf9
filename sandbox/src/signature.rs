//! The `Stripe-Signature` header of a webhook. Secrets are kept in `world`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Signs a webhook's body as Stripe does: HMAC-SHA256 over the time, a dot and the body, for each
/// secret. Returns the header's value (<https://docs.stripe.com/webhooks/signature>).
#[must_use]
pub fn sign<S: AsRef<str>>(secrets: &[S], time: i64, body: &[u8]) -> String {
    let signatures =
        secrets.iter().map(|secret| format!(",v1={}", hmac(secret.as_ref(), time, body)));
    format!("t={time}{}", signatures.collect::<String>())
}

fn hmac(secret: &str, time: i64, body: &[u8]) -> String {
    // HMAC accepts keys of any length, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}
