//! The license with which the README's code runs. `readme/run.rs` is the end of that code.

#![allow(clippy::unwrap_used)]

mod common;

use common::{
    at, bundle_claims, claims, header, jwk, key, list, list_claims, listed, sign, sign_text, with,
};
use licentia_verify::{Code, KeySet, Request, State};
use serde_json::{Value, json};

/// Before any clock on which the README's code runs.
const ISSUED: i64 = 1_700_000_000;

/// The end of the year 9999.
const FAR: i64 = 253_402_300_799;

/// The RFC 7638 thumbprint of the key number 2. The README's root has no `kid`.
const ROOT: &str = "aVBtapLd11SUVKIMGJfPzOEDuN0sXcmzJQNVT-_sKEU";

/// Returns the file `license.json`, signed with the keys of the tests.
fn license_file() -> Value {
    let license = json!({
        "iat": ISSUED, "nbf": ISSUED, "exp": FAR, "license_expires": FAR, "grace_until": null,
        "warn_days": 14, "on_end": { "mode": "limited", "features": ["export"] },
        "status": listed(7),
    });
    let keys = [with(jwk(1), &json!({ "nbf": 0, "exp": null }))];
    let keys = with(bundle_claims(), &json!({ "iat": ISSUED, "exp": null, "keys": keys }));
    let of_keys = json!({ "alg": "EdDSA", "typ": "license-keys+jwt", "kid": ROOT });
    json!({
        "license": sign(&header(), &with(claims(), &license)),
        "keys": sign_text(&of_keys.to_string(), &keys.to_string(), &key(2)),
    })
}

/// Returns the bundle that comes after the one of the file.
fn newer_bundle() -> String {
    let keys = [with(jwk(1), &json!({ "nbf": 0, "exp": null }))];
    let changes = json!({ "iat": ISSUED, "exp": null, "keys": keys, "seq": 1_000 });
    let of_keys = json!({ "alg": "EdDSA", "typ": "license-keys+jwt", "kid": ROOT });
    sign_text(&of_keys.to_string(), &with(bundle_claims(), &changes).to_string(), &key(2))
}

/// Returns a status list that revokes the license.
fn revoking_list() -> String {
    list(&with(list_claims(&[7]), &json!({ "iat": ISSUED, "exp": FAR })))
}

#[test]
fn the_readme_has_a_valid_license_and_its_root() {
    let file = include_str!("readme/license.json");
    let root = with(jwk(2), &json!({ "kid": "absent" })).to_string();
    let root = KeySet::from_root(&root, "acme-app").unwrap();
    let (verdict, _) = root.verdict(&Request::new(file, at(ISSUED)));
    let expected = format!("tests/readme/license.json should be {:#}", license_file());
    assert_eq!(verdict.state, Some(State::Active), "{expected}");
    let newer = include_str!("readme/newer-keys.jwt");
    let expected = format!("tests/readme/newer-keys.jwt should be {}", newer_bundle());
    let newer = Request { keys: Some(newer), ..Request::new("", at(ISSUED)) };
    assert!(root.verdict(&newer).1.contains("\"keys_seq\":1000"), "{expected}");
    let list = include_str!("readme/revoking-list.jwt");
    let revoked = Request { status: Some(list), ..Request::new(file, at(ISSUED)) };
    let expected = format!("tests/readme/revoking-list.jwt should be {}", revoking_list());
    assert_eq!(root.verdict(&revoked).0.code, Some(Code::Revoked), "{expected}");
    assert!(include_str!("../README.md").contains(jwk(2)["x"].as_str().unwrap()), "{}", jwk(2));
}
