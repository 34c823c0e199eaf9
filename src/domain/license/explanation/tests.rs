use licentia_verify::{Confirmation, StatusClaim, StatusReference};
use serde_json::json;

use super::*;

const NOW: i64 = 1_795_186_800;
const DAY: i64 = 86_400;

/// Returns the claims of a license that is paid for 20 days, with 7 days of grace.
fn claims() -> Claims {
    serde_json::from_value(json!({
        "iss": "https://acme.example", "sub": "cust_1", "aud": "acme-app",
        "iat": NOW, "nbf": NOW, "exp": NOW + 30 * DAY, "jti": "lic_1", "plan": "professional",
        "trial": false, "features": ["export", "sso"], "limits": { "seats": 5 },
        "license_expires": NOW + 20 * DAY, "grace_until": NOW + 27 * DAY, "seq": 3, "ver": 1,
    }))
    .unwrap()
}

fn limited() -> OnEnd {
    serde_json::from_value(json!({ "mode": "limited", "features": ["open"] })).unwrap()
}

/// Returns a verdict. `code` is the reason of a state, or of an invalid license.
fn verdict(state: Option<State>, code: Option<Code>) -> Verdict {
    let claims = claims();
    Verdict {
        valid: state.is_some(),
        state,
        code,
        features: claims.features,
        limits: claims.limits,
        plan: Some(claims.plan),
        trial: Some(false),
        customer_id: Some(claims.sub),
        license_id: Some(claims.jti),
        updates_until: None,
        warn: state.is_some_and(|state| state != State::Active),
        changes_at: None,
    }
}

fn check(verdict: &Verdict) -> Check<'_> {
    Check {
        verdict,
        rejection: None,
        bundle: Companion::NotGiven,
        list: Companion::NotGiven,
        next: None,
        now: at(NOW),
        has_root: false,
        audience: Some("acme-app"),
        build: None,
        device: None,
    }
}

fn verdict_text(check: Check<'_>, claims: &Claims) -> String {
    explain(&Facts { claims: Some(claims), check: Some(check) }).verdict.join("\n")
}

#[test]
fn a_license_says_what_it_grants_and_until_when() {
    let license = |claims: &Claims| explain(&Facts { claims: Some(claims), check: None });
    let mut claims = claims();
    assert_eq!(
        license(&claims).license,
        [
            "It is the license `lic_1` of the customer `cust_1`, for the product `acme-app`.",
            "`https://acme.example` issued it at 2026-11-20T15:00:00Z.",
            "Its plan is `professional`. It is a full license, not a trial.",
            "It grants the features `export`, `sso`, and the limit `seats` 5.",
            "It ends at 2026-12-10T15:00:00Z. After that, everything works until \
             2026-12-17T15:00:00Z, while the vendor waits for the payment.",
            "This license token works until 2026-12-20T15:00:00Z. An app that is online gets a new \
             one before then.",
            "When it has ended, or its token has run out, nothing of it works any more.",
            "It covers every build of the app.",
            "It works on any device.",
            "It names no status list, so an app without a network never learns that it is revoked.",
        ]
    );
    assert!(license(&claims).verdict[0].starts_with("Nothing was checked"));

    claims.trial = true;
    claims.features.clear();
    claims.limits.clear();
    claims.grace_until = None;
    claims.on_end = Some(limited());
    claims.warn_days = Some(7);
    claims.updates_until = Some(NOW);
    claims.cnf = Some(Confirmation { jkt: "thumb".into() });
    let status_list = StatusReference { idx: 42, uri: "https://acme.example/1".into() };
    claims.status = Some(StatusClaim { status_list });
    assert_eq!(
        license(&claims).license[2..],
        [
            "Its plan is `professional`. It is a trial.",
            "It grants no features, and no limits.",
            "The trial ends at 2026-12-10T15:00:00Z.",
            "This license token works until 2026-12-20T15:00:00Z. An app that is online gets a new \
             one before then.",
            "When it has ended, or its token has run out, only this remains: the feature `open`, \
             and no limits.",
            "The app warns 7 days before a change.",
            "It covers the builds of the app that were made until 2026-11-20T15:00:00Z, and none \
             made later.",
            "It works only on the device whose key is `thumb`.",
            "The status list `https://acme.example/1` says at number 42 whether it is revoked.",
        ]
    );
    claims.license_expires = None;
    claims.on_end = Some(OnEnd::Warn);
    let license = license(&claims).license;
    assert_eq!(license[4], "It never ends.");
    assert_eq!(
        license[6],
        "When it has ended, or its token has run out, everything keeps working, with a reminder."
    );
}

#[test]
fn each_state_has_a_sentence() {
    for (state, code, says) in [
        (
            State::Active,
            None,
            "The license is valid (state `active`): everything that it grants works.",
        ),
        (
            State::Grace,
            Some(Code::LicenseExpired),
            "The license is valid (state `grace`): it has ended, and everything works until the \
             payment arrives or the grace period ends.\n\
             The license ended at 2026-12-10T15:00:00Z, and the grace period ends at \
             2026-12-17T15:00:00Z.\n\
             Once it is renewed, the app gets a new license.\n\
             The app should warn the user now.",
        ),
        (
            State::Overdue,
            Some(Code::LicenseExpired),
            "The license is valid (state `overdue`): everything keeps working, with a reminder, as \
             the vendor promised.\n\
             The license ended at 2026-12-10T15:00:00Z, and the grace period ends at \
             2026-12-17T15:00:00Z.\n\
             Once it is renewed, the app gets a new license.\n\
             The app should warn the user now.",
        ),
        (
            State::Limited,
            Some(Code::TokenExpired),
            "The license is valid (state `limited`): only this remains, as the vendor promised: \
             the features `export`, `sso`, and the limit `seats` 5.\n\
             Its token ran out at 2026-12-20T15:00:00Z, and was not refreshed.\n\
             The license itself lasts until 2026-12-17T15:00:00Z. The app gets a new token when it \
             is online.\n\
             The app should warn the user now.",
        ),
    ] {
        let verdict = verdict(Some(state), code);
        assert_eq!(verdict_text(check(&verdict), &claims()), says, "{state:?}");
    }
}

#[test]
fn each_code_has_its_reason_and_what_to_do() {
    let mut seen = Vec::new();
    for code in Code::ALL {
        let verdict = verdict(None, Some(*code));
        let sentences = verdict_text(check(&verdict), &claims());
        let mut lines = sentences.lines();
        let first = format!("The license is not valid (code `{code}`).");
        assert_eq!(lines.next(), Some(first.as_str()));
        let rest: Vec<_> = lines.collect();
        assert!(rest.len() >= 2, "{code}: a reason and what to do: {rest:?}");
        assert!(!seen.contains(&rest.join(" ")), "{code}: the sentences of another code");
        seen.push(rest.join(" "));
        for line in rest {
            assert!(line.ends_with('.') && !line.contains(".."), "{code}: {line}");
        }
        assert!(!reason::in_short(*code).is_empty());
    }
}

/// A license of a revoked key is no credential, so no text may advise to refresh it.
#[test]
fn the_texts_about_a_revoked_key_say_how_to_get_another_license() {
    let rejection = Rejection::KeyRevoked { kid: "key-9".to_owned() };
    let verdict = verdict(None, Some(Code::KeyRevoked));
    let check = Check { rejection: Some(&rejection), ..check(&verdict) };
    assert_eq!(
        verdict_text(check, &claims()).lines().collect::<Vec<_>>(),
        [
            "The license is not valid (code `key_revoked`).",
            "It is signed with the key `key-9`, which the vendor revoked.",
            "The customer needs a license that another key signed, and this one cannot be \
             refreshed: log in, or have the new license mailed.",
        ]
    );
    let text = rejection.to_string();
    assert!(text.contains("was revoked; log in") && text.contains("mailed"), "{text}");
    assert!(!text.contains("refresh"), "{text}");
}

#[test]
fn the_text_about_a_list_of_an_unknown_key_says_what_to_get() {
    let verdict = verdict(None, Some(Code::StaleStatus));
    let check = Check { list: Companion::UnknownKey, ..check(&verdict) };
    let text = verdict_text(check, &claims());
    assert!(
        text.contains("The status list does not count: it is signed with a key that"),
        "{text}"
    );
    assert!(text.contains("Get the newest one, and give it with the list."), "{text}");
}

#[test]
fn a_reason_names_what_was_found_and_what_was_expected() {
    let kid = || "key-9".to_owned();
    let found = || "other".to_owned();
    let unknown = Rejection::UnknownKey { kid: kid() };
    let is_root = |check: Check<'static>| Check { has_root: true, ..check };
    let with = |rejection: Rejection, change: &dyn Fn(Check<'static>) -> Check<'static>| {
        let verdict: &'static Verdict = Box::leak(Box::new(Verdict {
            updates_until: Some(at(NOW - DAY).to_system_time()),
            changes_at: Some(at(NOW + DAY).to_system_time()),
            ..verdict(None, Some(rejection.code()))
        }));
        let rejection: &'static Rejection = Box::leak(Box::new(rejection));
        let check = change(Check { rejection: Some(rejection), ..check(verdict) });
        let mut claims = claims();
        let status_list = StatusReference { idx: 42, uri: "u".into() };
        claims.status = Some(StatusClaim { status_list });
        verdict_text(check, &claims)
    };
    let same = |check| check;
    for (text, says) in [
        (with(Rejection::Malformed("it is short"), &same), "not a license: it is short."),
        (with(Rejection::InvalidClaims("no `sub`".into()), &same), "claims are wrong: no `sub`."),
        (with(Rejection::KeyRevoked { kid: kid() }, &same), "the key `key-9`, which the vendor"),
        (with(unknown.clone(), &same), "the key `key-9`, which is not in the key set."),
        (with(unknown.clone(), &is_root), "No key bundle was given."),
        (
            with(unknown.clone(), &|check| Check {
                bundle: Companion::DoesNotCount,
                ..is_root(check)
            }),
            "The key bundle does not count: the root did not sign it",
        ),
        (
            with(unknown, &|check| Check { bundle: Companion::Counts, ..is_root(check) }),
            "`key-9`, which is not in the key bundle.",
        ),
        (
            with(Rejection::WrongAudience { found: found() }, &same),
            "It is for the product `other`, not for `acme-app`.",
        ),
        (
            with(Rejection::WrongIssuer { found: found() }, &same),
            "It was issued by `other`, not by the required issuer.",
        ),
        (
            with(Rejection::NotYetValid { valid_from: at(NOW).to_system_time() }, &same),
            "It is valid from 2026-11-21T15:00:00Z, and the clock says 2026-11-20T15:00:00Z.",
        ),
        (with(Rejection::Revoked, &same), "An earlier status list said"),
        (
            with(Rejection::Revoked, &|check| Check { list: Companion::Counts, ..check }),
            "The status list says that the vendor revoked it (number 42 of `u`).",
        ),
        (with(Rejection::StaleStatus, &same), "there is none that counts."),
        (
            with(Rejection::StaleStatus, &|check| Check { list: Companion::Counts, ..check }),
            "The status list is older than the app allows.",
        ),
        (with(Rejection::WrongDevice, &same), "this device is not known."),
        (
            with(Rejection::WrongDevice, &|check| Check { device: Some("thumb"), ..check }),
            "This is another device: its key is `thumb`.",
        ),
        (
            with(Rejection::UpdateNotCovered { until: at(NOW).to_system_time() }, &|check| Check {
                build: Some(at(NOW)),
                ..check
            }),
            "This build was made at 2026-11-20T15:00:00Z, and the license covers builds until \
             2026-11-19T15:00:00Z.",
        ),
    ] {
        assert!(text.contains(says), "{says}\n{text}");
    }
}

#[test]
fn the_next_change_names_its_time_and_what_follows() {
    let next = |state, code, changes_at: Option<i64>, then: Option<&Verdict>| {
        let changes_at = changes_at.map(|time| at(time).to_system_time());
        let verdict = Verdict { changes_at, ..verdict(state, code) };
        let check = Check { next: then, ..check(&verdict) };
        explain(&Facts { claims: None, check: Some(check) }).next.join(" ")
    };
    let active = Some(State::Active);
    let grace = verdict(Some(State::Grace), Some(Code::LicenseExpired));
    assert_eq!(
        next(active, None, Some(NOW + 20 * DAY), Some(&grace)),
        "If nothing new is fetched, the verdict changes at 2026-12-10T15:00:00Z, in 20 days. The \
         license is then valid (state `grace`): it has ended, and everything works until the \
         payment arrives or the grace period ends."
    );
    let ended = verdict(None, Some(Code::TokenExpired));
    assert_eq!(
        next(active, None, Some(NOW + 90), Some(&ended)),
        "If nothing new is fetched, the verdict changes at 2026-11-20T15:01:30Z, in 90 seconds. \
         The license is then not valid (code `token_expired`): its token has run out, unless it is \
         refreshed."
    );
    let stays = next(Some(State::Overdue), Some(Code::LicenseExpired), None, None);
    assert!(stays.starts_with("Time changes nothing more"), "{stays}");
    let stays = next(None, Some(Code::Revoked), None, None);
    assert_eq!(stays, "Time alone does not change this verdict.");
}

#[test]
fn a_license_that_was_not_verified_cannot_write_to_the_terminal() {
    let claims = Claims { plan: "pro\u{1b}[2J\n`x` \u{202e}é".into(), ..claims() };
    let bad = Verdict { plan: None, ..verdict(None, Some(Code::BadSignature)) };
    let explained = explain(&Facts { claims: Some(&claims), check: Some(check(&bad)) });
    assert_eq!(explained.license[0], "None of this was verified: anyone can write it.");
    let plan = r"Its plan is `pro\u{1b}[2J\n\`x\` \u{202e}é`. It is a full license, not a trial.";
    assert_eq!(explained.license[3], plan);
}
