//! Valid licenses: what they grant, and how the result changes with time.

#![allow(clippy::unwrap_used)]

mod common;

use common::{
    DAY, NOW, at, bundle, bundle_claims, claims, header, key, keys, list, list_claims, listed,
    root, sign, sign_text, with,
};
use licentia_verify::{Code, Companion, Rejection, Request, State, verify, verify_build};
use serde_json::json;

#[test]
fn a_valid_license_has_the_features_and_limits_of_its_plan() {
    let license = verify(&sign(&header(), &claims()), &keys(), at(NOW)).unwrap();
    assert_eq!((license.plan(), license.is_trial()), ("professional", false));
    assert!(license.allows("sso") && !license.allows("SSO") && !license.allows(""));
    assert_eq!((license.limit("seats"), license.limit("devices")), (Some(5), None));
    assert_eq!(license.claims().sub, "cust_1");
}

#[test]
fn a_license_is_active_then_in_grace_then_over_to_the_second() {
    let token = sign(&header(), &claims());
    let verify_at = |time| verify(&token, &keys(), at(time));
    let (bought, grace) = (NOW + 20 * DAY, NOW + 27 * DAY);

    let license = verify_at(bought - 1).unwrap();
    assert_eq!((license.state(), license.changes_at()), (State::Active, Some(at(bought))));
    let license = verify_at(bought).unwrap();
    assert_eq!((license.state(), license.changes_at()), (State::Grace, Some(at(grace))));
    assert_eq!(verify_at(grace - 1).unwrap().state(), State::Grace);
    assert_eq!(verify_at(grace), Err(Rejection::LicenseExpired { at: at(grace) }));
    assert_eq!(verify_at(NOW + 400 * DAY), Err(Rejection::LicenseExpired { at: at(grace) }));
}

#[test]
fn a_token_that_expires_before_the_license_needs_a_refresh() {
    let year = json!({ "license_expires": NOW + 365 * DAY, "grace_until": null });
    let token = sign(&header(), &with(claims(), &year));
    let exp = NOW + 30 * DAY;
    let license = verify(&token, &keys(), at(exp - 1)).unwrap();
    assert_eq!(license.changes_at(), Some(at(exp)));
    let refused = verify(&token, &keys(), at(exp));
    assert_eq!(refused, Err(Rejection::TokenExpired { at: at(exp) }));
    let refused = verify(&token, &keys(), at(NOW + 366 * DAY)).unwrap_err();
    assert_eq!(refused.code(), Code::LicenseExpired);
}

#[test]
fn a_license_without_an_end_works_until_its_token_expires() {
    let forever = json!({ "license_expires": null, "grace_until": null });
    let token = sign(&header(), &with(claims(), &forever));
    let license = verify(&token, &keys(), at(NOW + 29 * DAY)).unwrap();
    assert_eq!((license.state(), license.changes_at()), (State::Active, Some(at(NOW + 30 * DAY))));
    assert_eq!(verify(&token, &keys(), at(NOW + 30 * DAY)).unwrap_err().code(), Code::TokenExpired);
}

#[test]
fn a_license_covers_the_builds_until_a_time_to_the_second() {
    let until = NOW + 5 * DAY;
    let token = sign(&header(), &with(claims(), &json!({ "updates_until": until })));
    let of_build = |build| verify_build(&token, &keys(), at(NOW), at(build));
    assert_eq!(of_build(until).unwrap().updates_until(), Some(at(until)));
    assert!(of_build(0).is_ok());
    let refused = of_build(until + 1).unwrap_err();
    assert_eq!(refused, Rejection::UpdateNotCovered { until: at(until) });
    assert_eq!(refused.changes_at(), None);
    // The time now does not matter, only that of the build, if it is known.
    let later = at(NOW + 25 * DAY);
    assert!(verify_build(&token, &keys(), later, at(until)).is_ok());
    assert!(verify(&token, &keys(), later).is_ok());
    // A build that is not covered is told so even if the license has ended.
    let over = verify_build(&token, &keys(), at(NOW + 90 * DAY), at(until + 1)).unwrap_err();
    assert_eq!(over.code(), Code::UpdateNotCovered);
    let all = sign(&header(), &claims());
    assert!(verify_build(&all, &keys(), at(NOW), at(NOW + 9000 * DAY)).is_ok());
}

#[test]
fn a_clock_may_be_a_minute_behind_and_no_more() {
    let token = sign(&header(), &claims());
    assert!(verify(&token, &keys(), at(NOW - 60)).is_ok());
    let refused = verify(&token, &keys(), at(NOW - 61)).unwrap_err();
    assert_eq!(refused, Rejection::NotYetValid { valid_from: at(NOW - 60) });
    assert_eq!(refused.changes_at(), Some(at(NOW - 60)));
    assert_eq!(verify(&token, &keys(), at(0)).unwrap_err().code(), Code::NotYetValid);
}

#[test]
fn either_name_of_the_algorithm_is_accepted_and_typ_in_any_case() {
    for change in [json!({ "alg": "Ed25519" }), json!({ "typ": "LICENSE+JWT" })] {
        let token = sign(&with(header(), &change), &claims());
        assert!(verify(&token, &keys(), at(NOW)).is_ok(), "{change}");
    }
}

#[test]
fn unknown_claims_are_ignored() {
    let token = sign(&header(), &with(claims(), &json!({ "colour": { "of": ["the", "year"] } })));
    assert!(verify(&token, &keys(), at(NOW)).is_ok());
}

#[test]
fn the_issuer_is_checked_if_it_is_set() {
    let token = sign(&header(), &claims());
    let ours = keys().issued_by("https://licenses.acme.example");
    assert!(verify(&token, &ours, at(NOW)).is_ok());
    let other = keys().issued_by("https://licenses.acme.example/");
    assert_eq!(verify(&token, &other, at(NOW)).unwrap_err().code(), Code::WrongIssuer);
}

#[test]
fn a_check_says_what_became_of_the_status_list() {
    let license = sign(&header(), &with(claims(), &json!({ "status": listed(7) })));
    let counts = list(&list_claims(&[]));
    let older = list(&with(list_claims(&[]), &json!({ "iat": NOW - 60 })));
    let elsewhere = list(&with(list_claims(&[]), &json!({ "sub": "https://other.example" })));
    let by = |kid: &str, n: u8| {
        let header = json!({ "alg": "EdDSA", "typ": "statuslist+jwt", "kid": kid });
        sign_text(&header.to_string(), &list_claims(&[]).to_string(), &key(n))
    };
    let (unknown, forged) = (by("key-3", 3), by("key-1", 3));
    let of = |license: &str, status: Option<&str>, memory: Option<&str>| {
        let request = Request { status, memory, ..Request::new(license, at(NOW)) };
        keys().check(&request).list
    };
    for (name, status, expected) in [
        ("none", None, Companion::NotGiven),
        ("one that counts", Some(&counts), Companion::Counts),
        ("by a key that the key set lacks", Some(&unknown), Companion::UnknownKey),
        ("by another key than it says", Some(&forged), Companion::DoesNotCount),
        ("another list", Some(&elsewhere), Companion::DoesNotCount),
        ("no list", Some(&license), Companion::DoesNotCount),
    ] {
        assert_eq!(of(&license, status.map(String::as_str), None), expected, "{name}");
    }
    // Beside one that counts, and one that does not, in the license file.
    let file = |status: &str| json!({ "license": license, "status": status }).to_string();
    assert_eq!(of(&file(&counts), Some(&unknown), None), Companion::Counts);
    assert_eq!(of(&file(&forged), Some(&unknown), None), Companion::UnknownKey);
    // One that is older than the one before, and licenses that need none.
    let request = Request { status: Some(&counts), ..Request::new(&license, at(NOW)) };
    let memory = keys().check(&request).memory;
    assert_eq!(of(&license, Some(&older), Some(&memory)), Companion::DoesNotCount);
    assert_eq!(of(&license, Some(&unknown), Some(&memory)), Companion::UnknownKey);
    assert_eq!(of(&sign(&header(), &claims()), Some(&unknown), None), Companion::NotRead);
    assert_eq!(of("no license", Some(&unknown), None), Companion::NotRead);
}

#[test]
fn the_rejection_of_a_revoked_key_names_the_key_and_the_ways_to_a_new_license() {
    let bundle = bundle(&with(bundle_claims(), &json!({ "keys": [], "revoked": ["key-1"] })));
    let license = sign(&header(), &claims());
    let request = Request { keys: Some(&bundle), ..Request::new(&license, at(NOW)) };
    let rejection = root().check(&request).license.unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "the license is signed with the key \"key-1\", which was revoked; log in, or have the new \
         license mailed"
    );
}
