//! The end of a license: what it promises (`on_end`), and what verifiers and the server say about
//! it at every boundary. What a refresh returns then is in `refreshes`.

use licentia::app::App;
use licentia::domain::ids::{CustomerId, LicenseId};
use licentia::domain::license::status_list::{StatusIndex, draws};
use licentia::domain::license::{
    BACKDATED, Entitlement, Extras, Holder, IssuedLicense, Source, Term, claims,
};
use licentia::domain::sale::plan::{Catalog, Plan};
use licentia::domain::time::Timestamp;
use licentia::fail_point::{FailPoints, Place};
use licentia_verify::{Code, OnEnd, Request, State, Verdict};
use proptest::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::database::execute;
use crate::harness::{Answer, BEHIND_A_PROXY, START, TestApp};

pub const DAY: i64 = 86_400;

/// A plan for each mode.
pub const PLANS: &str = r#"
product = "acme-app"
token_days = 30
[trial]
plan = "trial"
days = 14
[[plan]]
id = "trial"
name = "Trial"
features = ["view"]
on_end = { mode = "limited" }
[[plan]]
id = "stop"
name = "Stop"
features = ["view", "export"]
limits = { seats = 5 }
token_days = 5
[[plan]]
id = "limited"
name = "Limited"
features = ["view", "export"]
limits = { seats = 5 }
token_days = 5
warn_days = 2
[plan.on_end]
mode = "limited"
features = ["view"]
limits = { seats = 1 }
[[plan]]
id = "warn"
name = "Warn"
features = ["view", "export"]
limits = { seats = 5 }
token_days = 5
warn_days = 1
on_end = { mode = "warn" }
"#;

pub const MODES: [&str; 3] = ["stop", "limited", "warn"];

pub async fn start() -> TestApp {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plans.toml");
    std::fs::write(&file, PLANS).unwrap();
    let plans = ("LICENTIA_PLANS_FILE", file.to_str().unwrap());
    TestApp::start_with(&[plans, BEHIND_A_PROXY]).await
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::saturating(seconds)
}

/// Stores a license for a new customer that was issued at [`START`], and returns it.
pub async fn issued(app: &TestApp, name: &str, plan: &str, term: Term) -> IssuedLicense {
    let signed_up = app.sign_up(&format!("{name}@example.com")).await;
    let customer_id: CustomerId = signed_up.text("/customer/customer_id").parse().unwrap();
    let server = &app.app;
    let entitlement = Entitlement::new(server.plans.plan(plan).unwrap(), Source::Paid, term);
    let license_id = LicenseId::from_random(server.random.bits());
    let mut tx = server.store.write().await.unwrap();
    let seq = tx.next_license_seq(&customer_id).await.unwrap();
    let origin = server.public_url.to_string();
    let draws = draws(&server.random.bytes());
    let place = tx.take_status_index(&origin, &draws, at(START)).await.unwrap();
    let status = place.reference(&origin);
    let holder =
        Holder { customer_id: &customer_id, license_id: &license_id, seq: 2, status: &status };
    let signed = claims(&entitlement, &holder, &server.plans, &server.issuer, at(START));
    let key = server.keys.signing(at(START)).unwrap();
    let license = IssuedLicense {
        token: key.sign(&signed).unwrap(),
        key_id: key.kid.clone(),
        license_id,
        customer_id,
        seq,
        source: entitlement.source,
        plan: plan.to_owned(),
        issued_at: at(START),
        token_expires_at: at(signed.exp),
        expires_at: term.expires,
        grace_until: term.grace_until,
        basis: entitlement.basis,
        quantity: 1,
        addons: entitlement.addon_ids(),
        updates_until: None,
        extras: Extras::default(),
        superseded_at: None,
        revoked_at: None,
        revocation_reason: None,
    };
    tx.insert_license(&license, &place).await.unwrap();
    tx.commit(FailPoints::default().at(Place::LicenseRefreshed)).await.unwrap();
    license
}

/// Returns the verdict of the crate for apps at the service's time.
pub fn offline(app: &App, text: &str) -> Verdict {
    let keys = app.keys.current();
    keys.trusted.verdict(&Request::new(text, app.now().to_system_time())).0
}

pub async fn online(app: &TestApp, text: &str) -> Answer {
    app.client.post("/api/licenses/verify", &json!({ "token": text })).await
}

pub async fn refresh(app: &TestApp, token: &str) -> Answer {
    app.client.with_token(token).send(Method::POST, "/api/licenses/refresh", None).await
}

pub fn set_clock(app: &TestApp, time: i64) {
    app.clock.advance_seconds(time - app.app.now().epoch_seconds());
}

/// Fails unless the online verdict says what the crate says.
pub fn must_agree(online: &Answer, offline: &Verdict, why: &str) {
    let changes_at = offline.changes_at;
    let expected = json!({
        "valid": offline.valid,
        "state": offline.state.map(State::as_str),
        "code": offline.code.map(Code::as_str),
        "reason": offline.code.map(Code::as_str),
        "warn": offline.warn,
        "changes_at": changes_at.map(|time| Timestamp::from(time).to_datetime().to_rfc3339()),
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(online.body[name], *value, "{why}: {name}");
    }
    if offline.valid {
        let license = &online.body["license"];
        assert_eq!(license["features"], json!(offline.features), "{why}");
        assert_eq!(license["limits"], json!(offline.limits), "{why}");
    } else {
        assert_eq!(online.body["license"], Value::Null, "{why}");
    }
}

/// The ends of a term in days, and the time of a refresh in seconds.
pub fn terms() -> [(&'static str, Term); 4] {
    let end = |days: i64| Some(at(START + days * DAY));
    [
        ("ends", Term { expires: end(9), grace_until: None }),
        ("grace", Term { expires: end(9), grace_until: end(11) }),
        ("short", Term { expires: end(2), grace_until: end(4) }),
        ("forever", Term::default()),
    ]
}

#[tokio::test]
async fn the_online_verdict_is_that_of_the_crate_at_every_boundary_license_5() {
    let app = start().await;
    for mode in MODES {
        for (name, term) in terms() {
            set_clock(&app, START);
            let license = issued(&app, &format!("{mode}-{name}"), mode, term).await;
            let token = license.token.expose();
            let claims = license.claims().unwrap();
            let own = [Some(claims.iat), Some(claims.exp), claims.license_expires];
            let edges = own.into_iter().chain([claims.grace_until]).flatten();
            let mut states = Vec::new();
            for time in edges.flat_map(|edge| [edge - 61, edge - 60, edge - 1, edge, edge + 1]) {
                set_clock(&app, time);
                let verdict = offline(&app.app, token);
                let why = format!("{mode} {name} at {time}");
                must_agree(&online(&app, token).await, &verdict, &why);
                states.push(verdict.state);
                // A revocation has its place in the order of the codes.
                let revoke = |at: &str, reason: &str| {
                    format!(
                        "UPDATE licenses SET revoked_at = {at}, revocation_reason = {reason} \
                         WHERE license_id = '{}'",
                        license.license_id
                    )
                };
                for (reason, code) in [("payment", "revoked"), ("key", "key_revoked")] {
                    execute(&app.app.store, &revoke("1", &format!("'{reason}'"))).await.unwrap();
                    let is_early = verdict.code == Some(Code::NotYetValid) && reason != "key";
                    let expected = if is_early { "not_yet_valid" } else { code };
                    let answer = online(&app, token).await;
                    assert_eq!(answer.body["valid"], false, "{why}");
                    assert_eq!(
                        (answer.text("/code"), answer.text("/reason")),
                        (expected, expected)
                    );
                }
                execute(&app.app.store, &revoke("NULL", "NULL")).await.unwrap();
            }
            let at_end = match mode {
                "stop" => None,
                "limited" => Some(State::Limited),
                _ => Some(State::Overdue),
            };
            assert!(states.contains(&Some(State::Active)) && states.contains(&at_end));
        }
    }
}

#[test]
fn the_codes_of_a_refused_refresh_are_those_of_verifiers_license_5() {
    for code in [Code::KeyRevoked, Code::Revoked, Code::LicenseExpired, Code::TokenExpired] {
        let of_problem =
            licentia::error::Code::ALL.iter().find(|own| own.as_str() == code.as_str());
        assert_eq!(of_problem.map(|own| own.status()), Some(403), "{code}");
    }
}

fn promises() -> impl Strategy<Value = OnEnd> {
    let names = prop::collection::vec("[a-z]{1,8}", 0..4);
    let limits = prop::collection::btree_map("[a-z]{1,8}", 0_u64..1 << 53, 0..4);
    prop_oneof![
        Just(OnEnd::Stop),
        Just(OnEnd::Warn),
        (names, limits).prop_map(|(features, limits)| OnEnd::Limited { features, limits }),
    ]
}

fn plans_with(plan: Plan) -> Catalog {
    let mut catalog = licentia::plans::parse("plans.toml", PLANS).unwrap();
    catalog.plans.push(plan);
    catalog
}

#[tokio::test]
async fn a_signed_license_keeps_its_promise_at_any_time_license_1() {
    let app = start().await;
    let server = &app.app;
    let ends = prop::option::of((1..400_i64, prop::option::of(1..90_i64)));
    let days = (prop::option::of(1..400_u32), 0..366_u32);
    let case = (promises(), ends, days, 0..600 * DAY);
    proptest!(|((on_end, ends, (token_days, warn_days), passed) in case)| {
        let base = server.plans.plan("stop").unwrap().clone();
        let id = "any".parse().unwrap();
        let plan = Plan { id, on_end: on_end.clone(), token_days, warn_days, ..base };
        let catalog = plans_with(plan);
        let plan = catalog.plan("any").unwrap();
        let expires = ends.map(|(days, _)| at(START + days * DAY));
        let grace = ends.and_then(|(days, grace)| Some(at(START + (days + grace?) * DAY)));
        let term = Term { expires, grace_until: grace };
        let entitlement = Entitlement::new(plan, Source::Paid, term);
        let (customer_id, license_id) = (CustomerId::from_random(1), LicenseId::from_random(1));
        let status = StatusIndex { list_id: 1, idx: 1 }.reference("https://example.com");
        let holder =
            Holder { customer_id: &customer_id, license_id: &license_id, seq: 1, status: &status };
        let signed = claims(&entitlement, &holder, &catalog, &server.issuer, at(START));
        prop_assert_eq!((signed.iat, signed.nbf), (START - BACKDATED.num_seconds(), signed.iat));
        let over = signed.license_expires.max(signed.grace_until);
        prop_assert!(over.is_none_or(|over| signed.exp <= over));
        let token = server.keys.signing(at(START)).unwrap().sign(&signed).unwrap();
        let now = at(START + passed);
        let request = Request::new(token.expose(), now.to_system_time());
        let verdict = server.keys.current().trusted.verdict(&request).0;

        let now = now.epoch_seconds();
        let code = if over.is_some_and(|over| now >= over) {
            Some(Code::LicenseExpired)
        } else if now >= signed.exp {
            Some(Code::TokenExpired)
        } else {
            None
        };
        let (state, features, limits) = match (code, on_end) {
            (None, _) => (None, signed.features, signed.limits),
            (Some(_), OnEnd::Stop) => (None, Vec::new(), Default::default()),
            (Some(_), OnEnd::Warn) => (Some(State::Overdue), signed.features, signed.limits),
            (Some(_), OnEnd::Limited { features, limits }) => {
                (Some(State::Limited), features, limits)
            }
        };
        match code {
            Some(code) => prop_assert_eq!((verdict.state, verdict.code), (state, Some(code))),
            None => prop_assert!(matches!(verdict.state, Some(State::Active | State::Grace))),
        }
        prop_assert_eq!((verdict.features, verdict.limits), (features, limits));
        let next = verdict.changes_at.map(|time| Timestamp::from(time).epoch_seconds());
        let is_close = next.is_some_and(|next| now >= next - i64::from(warn_days) * DAY);
        let is_calm = verdict.state == Some(State::Active) && !is_close;
        prop_assert_eq!(verdict.warn, verdict.valid && !is_calm);
    });
}

#[tokio::test]
async fn a_license_is_read_online_as_verifiers_read_it_license_0() {
    let app = start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let token = signed_up.text("/license/token").to_owned();
    let middle = token.len() / 2;
    let wrapped = format!("{}\r\n  {}", &token[..middle], &token[middle..]);
    let file = |license: &str| json!({ "license": license, "keys": null }).to_string();
    let large = |bytes: usize| {
        let frame = json!({ "license": token, "status": "" }).to_string().len();
        json!({ "license": token, "status": "a".repeat(bytes - frame) }).to_string()
    };
    const FILE: usize = 328 * 1024;
    let blanks = format!("{}{token}{}", " ".repeat(100_000), "\n".repeat(100_000));
    for text in [
        format!(" \u{feff}“{token}”\r\n"),
        format!("'`{token}`'"),
        wrapped.clone(),
        file(&token),
        file(&wrapped),
        format!("\n{}", file(&format!("\"{token}\""))),
        large(FILE),
        blanks,
    ] {
        let answer = online(&app, &text).await;
        assert_eq!(answer.body["valid"], true, "{answer:?}");
        must_agree(&answer, &offline(&app.app, &text), "valid");
    }
    let nested = file(&file(&token));
    for (text, code) in [
        (format!("{} {}", &token[..middle], &token[middle..]), "malformed"),
        (format!("'''{token}'''"), "malformed"),
        (nested, "malformed"),
        ("{\"license\":7}".into(), "malformed"),
        ("a".repeat(8 * 1024), "malformed"),
        ("a".repeat(8 * 1024 + 1), "too_large"),
        (large(FILE + 1), "too_large"),
    ] {
        let answer = online(&app, &text).await;
        assert_eq!((answer.status, answer.text("/code")), (200, code));
        must_agree(&answer, &offline(&app.app, &text), code);
    }
    let most = 512 * 1024 - "{\"token\":\"\"}".len();
    let path = "/api/licenses/verify";
    let body = |bytes: usize| format!("{{\"token\":\"{}\"}}", "a".repeat(bytes));
    let fits = app.client.post_raw(path, "application/json", body(most)).await;
    assert_eq!(fits.text("/code"), "too_large");
    let over = app.client.post_raw(path, "application/json", body(most + 1)).await;
    assert_eq!(over.problem(), (413, "payload_too_large"));

    // The bearer of a refresh may be pasted too, as far as a header can have it.
    for text in [format!("\"{token}\""), format!("' {token} '"), file(&token)] {
        assert_eq!(refresh(&app, &text).await.text("/token"), token, "{text}");
    }
    assert_eq!(refresh(&app, &file("a.b.c")).await.problem(), (401, "invalid_license"));
    execute(&app.app.store, "UPDATE licenses SET revoked_at = 1").await.unwrap();
    for text in [format!("'{token}'"), wrapped, file(&token)] {
        assert_eq!(online(&app, &text).await.text("/code"), "revoked", "the stored token is found");
    }
}
