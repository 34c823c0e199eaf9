//! Signing up creates a customer, a trial license that verifies offline, and a login session; all
//! or nothing.

use std::time::{Duration, SystemTime};

use licentia::domain::operator::admin_key::Scope;
use licentia_verify::{KeySet, Rejection, verify};
use serde_json::json;

use crate::harness::{BEHIND_A_PROXY, PASSWORD, START, TestApp};

#[tokio::test]
async fn signing_up_creates_a_customer_a_trial_and_a_session() {
    let app = TestApp::start().await;
    let request = json!({
        "email": "Ada@Example.com", "password": PASSWORD,
        "name": "Ada Lovelace", "company_name": "Analytical Engines Ltd",
    });
    let answer = app.client.post("/api/customers/signup", &request).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("cache-control"), "no-store");

    let customer = &answer.body["customer"];
    let id = answer.text("/customer/customer_id");
    assert!(id.starts_with("cust_") && id.len() == 37, "{id}");
    assert_eq!(customer["email"], "ada@example.com");
    assert_eq!(customer["name"], "Ada Lovelace");
    assert_eq!(customer["company_name"], "Analytical Engines Ltd");
    assert!(!answer.text.contains("stripe"), "Stripe is shown: {}", answer.text);

    assert_eq!(answer.body["license"]["plan"], "trial");
    assert_eq!(answer.body["license"]["trial"], true);
    assert_eq!(answer.text("/license/expires_at"), "2026-12-04T15:00:00+00:00");

    let me = app.client.with_token(answer.text("/access_token"));
    assert_eq!(me.get("/api/customers/me").await.body, *customer);
    let current = me.get("/api/licenses/current").await;
    assert_eq!(current.body, answer.body["license"]);
}

#[tokio::test]
async fn the_trial_license_verifies_offline_from_the_published_keys() {
    let app = TestApp::start().await;
    let answer = app.sign_up("ada@example.com").await;
    let token = answer.text("/license/token");
    let jwks = app.client.get("/.well-known/jwks.json").await.text;
    let keys = KeySet::from_jwks(&jwks, "acme-app").unwrap();

    let at = |days: i64| {
        let seconds = u64::try_from(START + days * 86_400).unwrap();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    let license = verify(token, &keys, at(0)).unwrap();
    assert!(license.is_trial() && license.allows("editor") && !license.allows("sso"));
    assert_eq!((license.plan(), license.limit("seats")), ("trial", Some(1)));
    assert_eq!(license.changes_at(), Some(at(14)));
    let claims = license.claims();
    assert_eq!(claims.sub, answer.text("/customer/customer_id"));
    assert_eq!(claims.jti, answer.text("/license/license_id"));
    assert_eq!((claims.seq, claims.ver), (1, 1));

    assert_eq!(verify(token, &keys, at(14)), Err(Rejection::LicenseExpired { at: at(14) }));
    let other = KeySet::from_jwks(&jwks, "other-app").unwrap();
    assert!(matches!(verify(token, &other, at(0)), Err(Rejection::WrongAudience { .. })));
}

#[tokio::test]
async fn a_taken_email_is_409_whatever_its_case_security_15() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let again = json!({ "email": "ADA@example.com", "password": PASSWORD });
    let answer = app.client.post("/api/customers/signup", &again).await;
    assert_eq!(answer.problem(), (409, "email_taken"));
    assert_eq!((app.count("users").await, app.count("licenses").await), (1, 1));
}

/// One mailbox, however its domain is written, has one account. Mails and support find it.
#[tokio::test]
async fn an_internationalised_domain_is_mailed_in_ascii_and_shown_in_unicode() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("Ada@B\u{fc}cher.example").await;
    assert_eq!(signed_up.text("/customer/email"), "ada@b\u{fc}cher.example");
    app.take_mail("ada@xn--bcher-kva.example").await;
    let admin = app.admin(Scope::Read).await;
    for email in
        ["ada@xn--bcher-kva.example", "ada@bu\u{308}cher.example", "ADA@B\u{dc}CHER.example"]
    {
        let account = json!({ "email": email, "password": PASSWORD });
        let again = app.client.post("/api/customers/signup", &account).await;
        assert_eq!(again.problem(), (409, "email_taken"), "{email}");
        let login = app.client.post("/api/customers/login", &account).await;
        assert_eq!(login.status, 200, "{email}");
    }
    for query in ["ada@xn--bcher", "ada@b%C3%BCch"] {
        let found = admin.get(&format!("/api/admin/customers?query={query}")).await;
        assert_eq!(found.body["customers"].as_array().map(Vec::len), Some(1), "{query}");
    }
    let local = json!({ "email": "ad\u{e4}@example.com", "password": PASSWORD });
    let refused = app.client.post("/api/customers/signup", &local).await;
    assert_eq!(refused.problem(), (422, "invalid_email"));
}

#[tokio::test]
async fn of_many_sign_ups_with_one_email_at_once_one_wins() {
    let app = TestApp::start().await;
    let request = json!({ "email": "ada@example.com", "password": PASSWORD });
    let tries = (0..8).map(|_| {
        let (client, request) = (app.client.clone(), request.clone());
        tokio::spawn(async move { client.post("/api/customers/signup", &request).await.status })
    });
    let mut statuses = Vec::new();
    for attempt in tries.collect::<Vec<_>>() {
        statuses.push(attempt.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    for table in ["users", "customers", "licenses", "sessions"] {
        assert_eq!(app.count(table).await, 1, "{table}");
    }
    assert_eq!(app.count("audit_log").await, 2, "the customer and the trial license");
}

#[tokio::test]
async fn invalid_input_is_reported_and_writes_nothing() {
    let app = TestApp::start().await;
    let good = json!({ "email": "ada@example.com", "password": PASSWORD });
    let long = "x".repeat(201);
    let cases = [
        (json!({ "plan": "professional" }), 400, "invalid_request", "plan"), // SECURITY 23
        (json!({ "stripe_customer_id": "cus_1" }), 400, "invalid_request", "stripe_customer_id"),
        (json!({ "email": 7 }), 400, "invalid_request", "email"),
        (json!({ "email": null }), 400, "invalid_request", "email"),
        (json!({ "password": { "a": 1 } }), 400, "invalid_request", "`password` is an object"),
        (json!({ "email": "ada" }), 422, "invalid_email", "`email`"),
        (
            json!({ "email": "ada@example.com\r\nBcc: x@y.example" }),
            422,
            "invalid_email",
            "`email`",
        ),
        (json!({ "email": format!("{long}@example.com") }), 422, "invalid_email", "`email`"),
        (json!({ "password": "short" }), 422, "weak_password", "too short"),
        (json!({ "password": "password1234" }), 422, "weak_password", "`password`"),
        (json!({ "password": "ada@example.com" }), 422, "weak_password", "`password`"),
        (json!({ "password": "x".repeat(1025) }), 422, "weak_password", "too long"),
        (json!({ "name": "Ada\r\nBcc: eve@example.com" }), 422, "invalid_name", "`name`"), // SECURITY 30
        (json!({ "name": " " }), 422, "invalid_name", "`name`"),
        (json!({ "company_name": "A\u{0}" }), 422, "invalid_name", "`company_name`"),
        (json!({ "name": long }), 400, "invalid_request", "name"),
    ];
    for (change, status, code, names) in cases {
        let mut request = good.clone();
        request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = app.client.post("/api/customers/signup", &request).await;
        assert_eq!(answer.problem(), (status, code), "{change}: {}", answer.text);
        assert!(answer.text("/detail").contains(names), "{change}: {}", answer.text);
    }
    for table in ["users", "customers", "licenses", "sessions", "audit_log"] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_reported() {
    let app = TestApp::start().await;
    let path = "/api/customers/signup";
    let broken = app.client.post_raw(path, "application/json", "{\"email\":").await;
    assert_eq!(broken.problem(), (400, "invalid_request"));
    let list = app.client.post_raw(path, "application/json", "[]").await;
    assert_eq!(list.problem(), (400, "invalid_request"));
    let nothing = app.client.post_raw(path, "application/json", "").await;
    assert_eq!(nothing.problem(), (400, "invalid_request"));
    let form = app.client.post_raw(path, "application/x-www-form-urlencoded", "email=a").await;
    assert_eq!(form.problem(), (415, "unsupported_media_type"));
}

#[tokio::test]
async fn security_34_sign_ups_of_one_address_are_limited_and_others_are_not() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let sign_up = async |address: &str, email: &str, password: &str| {
        let request = json!({ "email": email, "password": password });
        app.client.at_address(address).post("/api/customers/signup", &request).await
    };
    let flood = "192.0.2.1";
    assert_eq!(sign_up(flood, "ada@example.com", PASSWORD).await.status, 201);
    // Only requests that cause a mail count.
    for _ in 0..10 {
        assert_eq!(sign_up(flood, "ada@example.com", PASSWORD).await.status, 409);
        assert_eq!(sign_up(flood, "bob@example.com", "short").await.status, 422);
    }
    for n in 1..10 {
        assert_eq!(sign_up(flood, &format!("{n}@example.com"), PASSWORD).await.status, 201);
    }
    let refused = sign_up(flood, "eve@example.com", PASSWORD).await;
    assert_eq!(refused.problem(), (429, "too_many_requests"));
    assert_eq!(refused.header("retry-after"), "60");
    assert_eq!((app.count("users").await, app.count("outbox").await), (10, 10));
    assert_eq!(sign_up("192.0.2.2", "eve@example.com", PASSWORD).await.status, 201);
    app.clock.advance_seconds(60);
    assert_eq!(sign_up(flood, "mallory@example.com", PASSWORD).await.status, 201);
    assert_eq!(sign_up(flood, "trent@example.com", PASSWORD).await.status, 429);
}

#[tokio::test]
async fn security_34_a_forwarded_address_counts_only_behind_a_trusted_proxy() {
    let app = TestApp::start().await;
    let statuses = (0..11).map(async |n| {
        let client = app.client.at_address(&format!("192.0.2.{n}"));
        let request = json!({ "email": format!("{n}@example.com"), "password": PASSWORD });
        client.post("/api/customers/signup", &request).await.status
    });
    let mut statuses = futures_util::future::join_all(statuses).await;
    statuses.sort_unstable();
    assert_eq!((statuses[9], statuses[10]), (201, 429), "{statuses:?}");
}
