//! Attacks on the verification. Each is rejected with its reason. The numbers in the names are
//! those of `docs/requirements.md`.

#![allow(clippy::unwrap_used)]

mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{DAY, NOW, at, claims, header, json_text, jwk, key, keys, sign, sign_text, with};
use licentia_verify::{Code, KeySet, MAX_JWKS_BYTES, MAX_TOKEN_BYTES, license_token, verify};
use proptest::prelude::*;
use serde_json::{Value, json};

fn refusal(token: &str) -> &'static str {
    let verified = verify(token, &keys(), at(NOW));
    verified.map_or_else(|rejection| rejection.code().as_str(), |_| "accepted")
}

fn with_header(change: &Value) -> String {
    sign(&with(header(), change), &claims())
}

fn with_claims(change: &Value) -> String {
    sign(&header(), &with(claims(), change))
}

#[test]
fn only_ed25519_is_an_algorithm_security_1() {
    for algorithm in ["none", "None", "HS256", "RS256", "ES256", "PS256", "eddsa", "Ed448", ""] {
        assert_eq!(refusal(&with_header(&json!({ "alg": algorithm }))), "unsupported_algorithm");
    }
    assert_eq!(refusal(&with_header(&json!({ "alg": "absent" }))), "unsupported_algorithm");
    assert_eq!(refusal(&with_header(&json!({ "alg": ["EdDSA"] }))), "unsupported_algorithm");
    // `none` without a signature.
    let unsigned = with_header(&json!({ "alg": "none" }));
    let unsigned = &unsigned[..=unsigned.rfind('.').unwrap()];
    assert_eq!(refusal(unsigned), "unsupported_algorithm");
}

#[test]
fn a_key_in_the_header_is_ignored_and_crit_fails_security_2() {
    let mallory = key(9);
    let header = with(
        header(),
        &json!({
            "jwk": jwk(9), "jku": "https://evil.example/jwks.json", "x5u": "https://evil.example",
        }),
    );
    let token = sign_text(&header.to_string(), &claims().to_string(), &mallory);
    assert_eq!(refusal(&token), "bad_signature");
    for crit in [json!(["exp"]), json!([]), json!("b64")] {
        assert_eq!(
            refusal(&with_header(&json!({ "crit": crit, "b64": false }))),
            "critical_header"
        );
    }
    let null = header.to_string().replacen('{', "{\"crit\":null,", 1);
    let token = sign_text(&null, &claims().to_string(), &key(1));
    assert_eq!(refusal(&token), "critical_header");
}

#[test]
fn every_other_kind_of_document_is_refused_security_3() {
    for typ in ["JWT", "jwt", "license", "application/license+jwt", "statuslist+jwt", "keys+jwt"] {
        assert_eq!(refusal(&with_header(&json!({ "typ": typ }))), "wrong_type");
    }
    assert_eq!(refusal(&with_header(&json!({ "typ": "absent" }))), "wrong_type");
    assert_eq!(refusal(&with_header(&json!({ "typ": 1 }))), "wrong_type");
}

#[test]
fn every_claim_is_required_and_of_its_kind_security_4() {
    for claim in claims().as_object().unwrap().keys() {
        let without = with_claims(&json!({ claim: "absent" }));
        assert_eq!(refusal(&without), "invalid_claims", "without {claim}");
    }
    for wrong in [
        json!({ "exp": "never" }),
        json!({ "exp": 1e30 }),
        json!({ "exp": -1 }),
        json!({ "exp": 253402300800_i64 }),
        json!({ "exp": 1.5 }),
        json!({ "nbf": -1 }),
        json!({ "iss": "" }),
        json!({ "sub": "" }),
        json!({ "jti": "" }),
        json!({ "aud": ["acme-app"] }),
        json!({ "features": "sso" }),
        json!({ "limits": { "seats": -1 } }),
        json!({ "limits": { "seats": "many" } }),
        json!({ "trial": 0 }),
        json!({ "license_expires": -1 }),
        json!({ "grace_until": "soon" }),
        json!({ "grace_until": null, "license_expires": 1.0 }),
        json!({ "license_expires": null }),
        json!({ "limits": { "seats": 1_u64 << 53 } }),
        json!({ "seq": 1_u64 << 53 }),
        json!({ "on_end": null }),
        json!({ "on_end": "stop" }),
        json!({ "on_end": {} }),
        json!({ "on_end": { "mode": "Warn" } }),
        json!({ "on_end": { "mode": "warn", "features": "all" } }),
        json!({ "on_end": { "mode": "limited", "limits": null } }),
        json!({ "warn_days": -1 }),
        json!({ "warn_days": null }),
        json!({ "status": {} }),
        json!({ "status": null }),
        json!({ "status": { "status_list": { "idx": 1, "uri": "" } } }),
        json!({ "status": { "status_list": { "idx": "1", "uri": "u" } } }),
        json!({ "cnf": {} }),
        json!({ "cnf": { "jkt": "" } }),
        json!({ "updates_until": null }),
        json!({ "updates_until": "soon" }),
        json!({ "updates_until": 1.0 }),
        json!({ "updates_until": -1 }),
        json!({ "updates_until": 253402300800_i64 }),
    ] {
        assert_eq!(refusal(&with_claims(&wrong)), "invalid_claims", "{wrong}");
    }
    assert_eq!(refusal(&with_claims(&json!({ "aud": "other-app" }))), "wrong_audience");
    assert_eq!(refusal(&with_claims(&json!({ "aud": "ACME-APP" }))), "wrong_audience");
    assert_eq!(refusal(&with_claims(&json!({ "nbf": NOW + DAY }))), "not_yet_valid");
    assert_eq!(refusal(&with_claims(&json!({ "iat": NOW + DAY }))), "not_yet_valid");
    assert_eq!(refusal(&with_claims(&json!({ "exp": NOW }))), "token_expired");
    // A newer version is reported as such, even if other claims are invalid.
    let newer = with_claims(&json!({ "ver": 2, "plan": { "id": "x" }, "exp": null }));
    assert_eq!(refusal(&newer), "unsupported_version");
    for ver in [json!(0), json!("1"), json!(1.5), json!(-1)] {
        assert_eq!(refusal(&with_claims(&json!({ "ver": ver }))), "invalid_claims", "{ver}");
    }
}

#[test]
fn an_unknown_key_fails_and_no_key_is_tried_by_chance_security_5() {
    assert_eq!(refusal(&with_header(&json!({ "kid": "key-2" }))), "unknown_key");
    assert_eq!(refusal(&with_header(&json!({ "kid": "absent" }))), "malformed");
    assert_eq!(refusal(&with_header(&json!({ "kid": 1 }))), "malformed");
    // Signed by one key of the set, but naming another one.
    let both = json!({ "keys": [jwk(1), jwk(2)] }).to_string();
    let both = KeySet::from_jwks(&both, "acme-app").unwrap();
    let token = with_header(&json!({ "kid": "key-2" }));
    assert_eq!(verify(&token, &both, at(NOW)).unwrap_err().code(), Code::BadSignature);
}

#[test]
fn the_form_is_read_strictly_security_6() {
    let token = sign(&header(), &claims());
    let [head, body, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    for wrong in [
        String::new(),
        ".".into(),
        "..".into(),
        head.into(),
        format!("{head}.{body}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{token}"),
        format!("{token}="),
        format!("{head}=.{body}.{signature}"),
        format!("{head}.{body}. {signature}"),
        format!("'{token}"),
        "{\"license\":\"{}\"}".into(),
        token.replace('-', "+").replace('_', "/") + "+",
    ] {
        assert_eq!(refusal(&wrong), "malformed", "{wrong:?}");
    }
    for length in ["", "AA", &format!("{signature}AA")] {
        assert_eq!(refusal(&format!("{head}.{body}.{length}")), "bad_signature", "{length}");
    }
    // 64 bytes leave four unused bits in the last letter, which must be zero.
    let last = signature.as_bytes()[85];
    let other = if last == b'A' { 'B' } else { (last + 1) as char };
    assert_eq!(refusal(&format!("{head}.{body}.{}{other}", &signature[..85])), "malformed");
    assert_eq!(refusal(&"a".repeat(MAX_TOKEN_BYTES + 1)), "too_large");
}

#[test]
fn a_repeated_member_is_refused_anywhere_security_6() {
    let (header, claims) = (header().to_string(), claims().to_string());
    let sign = |header: &str, claims: &str| sign_text(header, claims, &key(1));
    for (header, claims) in [
        (header.replacen('{', "{\"kid\":\"key-2\",", 1), claims.clone()),
        (header.replacen('{', "{\"x\":{\"a\":1,\"a\":2},", 1), claims.clone()),
        (header.clone(), claims.replacen('{', "{\"plan\":\"trial\",", 1)),
        (header.clone(), claims.replacen("{\"seats\":5", "{\"seats\":9,\"seats\":5", 1)),
        (header.clone(), claims.replacen("\"plan\"", "\"pl\\u0061n\":\"x\",\"plan\"", 1)),
        (header.clone(), format!("{claims} {claims}")),
        (format!("[{header}]"), claims.clone()),
        (header, "null".into()),
    ] {
        assert_eq!(refusal(&sign(&header, &claims)), "malformed", "{header} {claims}");
    }
}

#[test]
fn an_invalid_key_set_is_refused() {
    let with_private = with(jwk(1), &json!({ "d": "secret" }));
    let weak = with(jwk(1), &json!({ "x": URL_SAFE_NO_PAD.encode([0_u8; 32]) }));
    for (keys, message) in [
        (json!([with_private]), "private key"),
        (json!([jwk(1), jwk(1)]), "used twice"),
        (json!([]), "no usable Ed25519 key"),
        (json!([{ "kty": "RSA", "n": "x", "e": "AQAB", "kid": "r" }]), "no usable Ed25519 key"),
        (json!([with(jwk(1), &json!({ "use": "enc" }))]), "no usable Ed25519 key"),
        (json!([with(jwk(1), &json!({ "x": "AAAA" }))]), "no usable Ed25519 key"),
        (json!([with(jwk(1), &json!({ "alg": "HS256" }))]), "no usable Ed25519 key"),
        (json!([with(jwk(1), &json!({ "kid": "absent" }))]), "no usable Ed25519 key"),
        (json!([weak]), "no usable Ed25519 key"),
        (json!("key"), "no array"),
    ] {
        let error =
            KeySet::from_jwks(&json!({ "keys": keys }).to_string(), "acme-app").unwrap_err();
        assert!(error.to_string().contains(message), "{keys}: {error}");
    }
    assert!(KeySet::from_jwks("{", "acme-app").is_err());
    assert!(KeySet::from_jwks(&" ".repeat(MAX_JWKS_BYTES + 1), "acme-app").is_err());
    // Keys of other types are ignored.
    let mixed = json!({ "keys": [{ "kty": "RSA", "n": "x", "e": "AQAB" }, jwk(1)] }).to_string();
    let mixed = KeySet::from_jwks(&mixed, "acme-app").unwrap();
    assert!(verify(&sign(&header(), &claims()), &mixed, at(NOW)).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Any altered license is refused without a panic.
    #[test]
    fn an_altered_license_is_refused(
        place in 0_usize..1000,
        letter in any::<char>(),
        mode in 0_u8..3,
    ) {
        let token = sign(&header(), &claims());
        let place = place % token.len();
        let mut letters: Vec<char> = token.chars().collect();
        match mode {
            0 => letters[place] = letter,
            1 => letters.insert(place, letter),
            _ => drop(letters.remove(place)),
        }
        let altered: String = letters.into_iter().collect();
        prop_assume!(license_token(&altered).as_deref() != Ok(&token));
        prop_assert!(verify(&altered, &keys(), at(NOW)).is_err());
    }

    /// Any text is refused without a panic.
    #[test]
    fn any_text_is_refused(text in ".*") {
        prop_assert!(verify(&text, &keys(), at(NOW)).is_err());
        prop_assert!(KeySet::from_jwks(&text, "acme-app").is_err());
    }

    /// Any signed JSON as header or claims is refused without a panic.
    #[test]
    fn any_signed_json_is_refused(
        header in json_text(),
        claims in json_text(),
        now in 0_i64..4_000_000_000,
    ) {
        let token = sign_text(&header, &claims, &key(1));
        prop_assert!(verify(&token, &keys(), at(now)).is_err());
    }
}
