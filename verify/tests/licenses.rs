//! Valid licenses: what they grant, and how the result changes with time.

#![allow(clippy::unwrap_used)]

mod common;

use common::{DAY, NOW, at, claims, header, keys, sign, with};
use licentia_verify::{Code, Rejection, State, verify, verify_build};
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
