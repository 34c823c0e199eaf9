//! Licenses, bundles and lists that are built by hand, so that each test can change one part.

#![allow(dead_code, reason = "each test binary uses some of these")]

pub mod zlib;

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use licentia_verify::KeySet;
use proptest::prelude::*;
use serde_json::{Value, json};

pub const NOW: i64 = 1_795_186_800;
pub const DAY: i64 = 86_400;

pub fn at(epoch_seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(epoch_seconds.try_into().unwrap())
}

/// Returns the key number `n`.
pub fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub fn jwk(n: u8) -> Value {
    let x = URL_SAFE_NO_PAD.encode(key(n).verifying_key().as_bytes());
    json!({
        "kty": "OKP", "crv": "Ed25519", "kid": format!("key-{n}"), "x": x,
        "alg": "EdDSA", "use": "sig",
    })
}

/// Returns a key set with the key number 1, for `acme-app`.
pub fn keys() -> KeySet {
    KeySet::from_jwks(&json!({ "keys": [jwk(1)] }).to_string(), "acme-app").unwrap()
}

pub fn header() -> Value {
    json!({ "alg": "EdDSA", "typ": "license+jwt", "kid": "key-1" })
}

/// Returns the claims of a license that is issued now: its token is valid for 30 days, and it is
/// paid for 20 days, with 7 days of grace.
pub fn claims() -> Value {
    json!({
        "iss": "https://licenses.acme.example", "sub": "cust_1", "aud": "acme-app",
        "iat": NOW, "nbf": NOW, "exp": NOW + 30 * DAY, "jti": "lic_1",
        "plan": "professional", "trial": false,
        "features": ["export", "sso"], "limits": { "seats": 5 },
        "license_expires": NOW + 20 * DAY, "grace_until": NOW + 27 * DAY, "seq": 3, "ver": 1,
    })
}

/// Returns a key set with the key number 2 as its root.
pub fn root() -> KeySet {
    KeySet::from_root(&jwk(2).to_string(), "acme-app").unwrap()
}

/// Returns the claims of a bundle that the root issues now, for a year, with the key number 1.
pub fn bundle_claims() -> Value {
    let times = json!({ "nbf": NOW - DAY, "exp": null });
    json!({
        "iss": "https://licenses.acme.example", "iat": NOW, "exp": NOW + 365 * DAY, "seq": 3,
        "keys": [with(jwk(1), &times)], "revoked": [],
    })
}

/// Returns a bundle with these claims, signed by the root.
pub fn bundle(claims: &Value) -> String {
    let header = json!({ "alg": "EdDSA", "typ": "license-keys+jwt", "kid": "key-2" });
    sign_text(&header.to_string(), &claims.to_string(), &key(2))
}

pub const LIST: &str = "https://licenses.acme.example/.well-known/license-status/1";

/// Returns the claim `status` of a license.
pub fn listed(idx: u64) -> Value {
    json!({ "status_list": { "idx": idx, "uri": LIST } })
}

/// Returns the claims of a list of 64 licenses, of which these are revoked.
pub fn list_claims(revoked: &[usize]) -> Value {
    let mut bits = [0_u8; 8];
    for idx in revoked {
        bits[idx / 8] |= 1 << (idx % 8);
    }
    let lst = URL_SAFE_NO_PAD.encode(zlib::stored(&bits));
    json!({
        "sub": LIST, "iat": NOW, "exp": NOW + 7 * DAY, "ttl": 43_200,
        "status_list": { "bits": 1, "lst": lst },
    })
}

/// Returns a list with these claims, signed with the key number 1.
pub fn list(claims: &Value) -> String {
    let header = json!({ "alg": "EdDSA", "typ": "statuslist+jwt", "kid": "key-1" });
    sign_text(&header.to_string(), &claims.to_string(), &key(1))
}

/// Returns the value with some members replaced. A member whose new value is `"absent"` is removed.
pub fn with(mut value: Value, change: &Value) -> Value {
    for (name, new) in change.as_object().unwrap() {
        if new == "absent" {
            value.as_object_mut().unwrap().remove(name);
        } else {
            value[name] = new.clone();
        }
    }
    value
}

/// Returns a token with exactly these texts, signed with this key.
pub fn sign_text(header: &str, claims: &str, key: &SigningKey) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}

/// Returns a token with this header and these claims, signed with the key number 1.
pub fn sign(header: &Value, claims: &Value) -> String {
    sign_text(&header.to_string(), &claims.to_string(), &key(1))
}

/// Returns any JSON, as text.
pub fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,5}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    value.prop_map(|value| value.to_string())
}
