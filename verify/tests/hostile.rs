//! Hostile texts in every place: none of them panics, and an altered document counts as not given.

#![allow(clippy::unwrap_used)]

mod common;

use common::{
    DAY, LIST, NOW, at, bundle, bundle_claims, claims, header, json_text, jwk, key, keys, list,
    list_claims, listed, root, sign, sign_text, with,
};
use licentia_verify::{Code, KeySet, Request, Verdict, inspect, license_token};
use proptest::prelude::*;
use serde_json::{Value, json};

fn license() -> String {
    sign(&header(), &with(claims(), &json!({ "status": listed(5) })))
}

/// Returns the verdict of an app with a root.
fn verdict(license: &str, keys: &str, status: &str, memory: &str) -> (Verdict, String) {
    root().verdict(&Request {
        keys: Some(keys),
        status: Some(status),
        memory: Some(memory),
        ..Request::new(license, at(NOW))
    })
}

/// Returns the text with one character replaced, added or removed.
fn altered(text: &str, place: usize, letter: char, mode: u8) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let place = place % letters.len();
    match mode {
        0 => letters[place] = letter,
        1 => letters.insert(place, letter),
        _ => drop(letters.remove(place)),
    }
    letters.into_iter().collect()
}

fn letter() -> impl Strategy<Value = char> {
    prop_oneof![any::<char>(), prop::char::range(' ', '~')]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_has_a_verdict(license in ".*", keys in ".*", status in ".*", memory in ".*") {
        let (verdict, new_memory) = verdict(&license, &keys, &status, &memory);
        prop_assert!(!verdict.valid);
        prop_assert!(serde_json::from_str::<Value>(&new_memory).is_ok());
        prop_assert!(KeySet::from_root(&license, "acme-app").is_err());
        drop((license_token(&license), inspect(&license)));
    }

    #[test]
    fn an_altered_document_counts_as_not_given(
        place in any::<prop::sample::Index>(),
        letter in letter(),
        mode in 0_u8..3,
    ) {
        let (license, keys) = (license(), bundle(&bundle_claims()));
        let status = list(&list_claims(&[5]));
        let alter = |text: &str| altered(text, place.index(text.len()), letter, mode);
        let is_altered = |text: &str| license_token(&alter(text)).as_deref() != Ok(text);
        if is_altered(&license) {
            prop_assert!(!verdict(&alter(&license), &keys, "", "").0.valid);
        }
        if is_altered(&keys) {
            let code = verdict(&license, &alter(&keys), "", "").0.code;
            prop_assert_eq!(code, Some(Code::UnknownKey));
        }
        if is_altered(&status) {
            prop_assert!(verdict(&license, &keys, &alter(&status), "").0.valid);
        }
        prop_assert_eq!(verdict(&license, &keys, &status, "").0.code, Some(Code::Revoked));
    }

    #[test]
    fn an_altered_license_file_is_no_better(
        place in any::<prop::sample::Index>(),
        letter in letter(),
        mode in 0_u8..3,
    ) {
        let file = json!({ "license": license(), "keys": bundle(&bundle_claims()) }).to_string();
        let file = altered(&file, place.index(file.len()), letter, mode);
        let (verdict, _) = verdict(&file, "", "", "");
        prop_assert!(!verdict.valid || verdict.license_id.as_deref() == Some("lic_1"));
    }

    #[test]
    fn an_altered_memory_is_read_or_lost(
        place in any::<prop::sample::Index>(),
        letter in letter(),
        mode in 0_u8..3,
    ) {
        let memory = json!({
            "v": 1, "time": NOW - DAY, "signed": NOW - DAY, "keys_seq": 3, "seq": { "cust_1": 3 },
            "lists": { LIST: { "iat": NOW - DAY, "revoked": [9] } },
        })
        .to_string();
        let memory = altered(&memory, place.index(memory.len()), letter, mode);
        let (_, new) = verdict(&license(), &bundle(&bundle_claims()), "", &memory);
        prop_assert!(serde_json::from_str::<Value>(&new).is_ok());
    }

    #[test]
    fn any_signed_json_counts_as_not_given(header in json_text(), claims in json_text()) {
        let (license, keys) = (license(), bundle(&bundle_claims()));
        for header in [
            header.as_str(),
            r#"{"alg":"EdDSA","typ":"license-keys+jwt","kid":"key-2"}"#,
            r#"{"alg":"EdDSA","typ":"statuslist+jwt","kid":"key-1"}"#,
        ] {
            let by_root = sign_text(header, &claims, &key(2));
            prop_assert_eq!(verdict(&license, &by_root, "", "").0.code, Some(Code::UnknownKey));
            let by_key = sign_text(header, &claims, &key(1));
            prop_assert!(verdict(&license, &keys, &by_key, "").0.valid);
        }
        prop_assert!(verdict(&license, &keys, "", &claims).0.valid);
    }
}

#[test]
fn each_kind_of_document_is_refused_in_the_place_of_another_security_3() {
    let documents = [license(), bundle(&bundle_claims()), list(&list_claims(&[5]))];
    let [license, keys, status] = &documents;
    for other in [keys, status] {
        let code = verdict(other, keys, status, "").0.code;
        assert_eq!(code, Some(Code::WrongType));
    }
    for other in [license, status] {
        assert_eq!(verdict(license, other, "", "").0.code, Some(Code::UnknownKey));
    }
    for other in [license, keys] {
        assert!(verdict(license, keys, other, "").0.valid);
    }
}

#[test]
fn an_unusable_root_is_refused() {
    for (root, message) in [
        (with(jwk(2), &json!({ "d": "secret" })), "private key"),
        (with(jwk(2), &json!({ "kid": "" })), "empty"),
        (with(jwk(2), &json!({ "kid": 1 })), "not a string"),
        (with(jwk(2), &json!({ "use": "enc" })), "not a usable"),
        (with(jwk(2), &json!({ "kty": "EC" })), "not a usable"),
        // A point of small order, and one with a y that is not reduced.
        (with(jwk(2), &json!({ "x": "A".repeat(43) })), "not a usable"),
        (with(jwk(2), &json!({ "x": format!("8{}38", "_".repeat(40)) })), "not a usable"),
        (json!({ "keys": [jwk(2)] }), "not a usable"),
    ] {
        let error = KeySet::from_root(&root.to_string(), "acme-app").unwrap_err();
        assert!(error.to_string().contains(message), "{root}: {error}");
    }
    let jwks = json!({ "keys": [jwk(1)] }).to_string();
    for error in [
        KeySet::from_root(&jwk(2).to_string(), "").unwrap_err(),
        KeySet::from_jwks(&jwks, "").unwrap_err(),
    ] {
        assert!(error.to_string().contains("audience"), "{error}");
    }
}

#[test]
fn a_jwks_ignores_bundles() {
    let revoked = bundle(&with(bundle_claims(), &json!({ "revoked": ["key-1"] })));
    let license = license();
    let request = Request { keys: Some(&revoked), ..Request::new(&license, at(NOW)) };
    assert!(keys().verdict(&request).0.valid);
    assert_eq!(root().verdict(&request).0.code, Some(Code::KeyRevoked));
}
