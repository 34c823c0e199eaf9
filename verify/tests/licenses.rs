//! What a valid license grants, and how the answer changes with time.

#![allow(clippy::unwrap_used)]

mod common;

use common::{DAY, NOW, at, claims, header, keys, sign, with};
use licentia_verify::{Rejection, Status, verify};
use serde_json::json;

#[test]
fn a_valid_license_says_what_it_grants() {
    let license = verify(&sign(&header(), &claims()), &keys(), at(NOW)).unwrap();
    assert_eq!((license.plan(), license.is_trial()), ("professional", false));
    assert!(license.allows("sso") && !license.allows("SSO") && !license.allows(""));
    assert_eq!((license.limit("seats"), license.limit("devices")), (Some(5), None));
    assert_eq!(license.claims().sub, "cust_1");
}

#[test]
fn active_then_grace_then_over_to_the_second() {
    let token = sign(&header(), &claims());
    let ask = |time| verify(&token, &keys(), at(time));
    let (bought, grace) = (NOW + 20 * DAY, NOW + 27 * DAY);

    let license = ask(bought - 1).unwrap();
    assert_eq!((license.status(), license.changes_at()), (Status::Active, at(bought)));
    let license = ask(bought).unwrap();
    assert_eq!((license.status(), license.changes_at()), (Status::Grace, at(grace)));
    assert_eq!(ask(grace - 1).unwrap().status(), Status::Grace);
    assert_eq!(ask(grace), Err(Rejection::LicenseExpired { at: at(grace) }));
    assert_eq!(ask(NOW + 400 * DAY), Err(Rejection::LicenseExpired { at: at(grace) }));
}

#[test]
fn a_token_that_ends_before_the_license_asks_for_a_refresh() {
    let year = json!({ "license_expires": NOW + 365 * DAY, "grace_until": null });
    let token = sign(&header(), &with(claims(), &year));
    let exp = NOW + 30 * DAY;
    let license = verify(&token, &keys(), at(exp - 1)).unwrap();
    assert_eq!(license.changes_at(), at(exp));
    let refused = verify(&token, &keys(), at(exp));
    assert_eq!(refused, Err(Rejection::TokenExpired { at: at(exp) }));
    let refused = verify(&token, &keys(), at(NOW + 366 * DAY)).unwrap_err();
    assert_eq!(refused.code(), "license_expired");
}

#[test]
fn a_license_without_end_ends_with_its_token_only() {
    let forever = json!({ "license_expires": null, "grace_until": null });
    let token = sign(&header(), &with(claims(), &forever));
    let license = verify(&token, &keys(), at(NOW + 29 * DAY)).unwrap();
    assert_eq!((license.status(), license.changes_at()), (Status::Active, at(NOW + 30 * DAY)));
    assert_eq!(verify(&token, &keys(), at(NOW + 30 * DAY)).unwrap_err().code(), "token_expired");
}

#[test]
fn a_clock_may_be_a_minute_behind_and_no_more() {
    let token = sign(&header(), &claims());
    assert!(verify(&token, &keys(), at(NOW - 60)).is_ok());
    let refused = verify(&token, &keys(), at(NOW - 61)).unwrap_err();
    assert_eq!(refused, Rejection::NotYetValid { valid_from: at(NOW - 60) });
    assert_eq!(refused.changes_at(), Some(at(NOW - 60)));
    assert_eq!(verify(&token, &keys(), at(0)).unwrap_err().code(), "not_yet_valid");
}

#[test]
fn either_name_of_the_algorithm_is_accepted_and_typ_in_any_case() {
    for change in [json!({ "alg": "Ed25519" }), json!({ "typ": "LICENSE+JWT" })] {
        let token = sign(&with(header(), &change), &claims());
        assert!(verify(&token, &keys(), at(NOW)).is_ok(), "{change}");
    }
}

#[test]
fn claims_that_a_newer_server_adds_are_passed_over() {
    let token = sign(&header(), &with(claims(), &json!({ "colour": { "of": ["the", "year"] } })));
    assert!(verify(&token, &keys(), at(NOW)).is_ok());
}

#[test]
fn the_issuer_is_checked_when_it_is_known() {
    let token = sign(&header(), &claims());
    let ours = keys().issued_by("https://licenses.acme.example");
    assert!(verify(&token, &ours, at(NOW)).is_ok());
    let other = keys().issued_by("https://licenses.acme.example/");
    assert_eq!(verify(&token, &other, at(NOW)).unwrap_err().code(), "wrong_issuer");
}
