//! Licenses over the API: the current one, the history, and the online verdict.

use licentia::domain::license::IssuedLicense;
use licentia::domain::license::RevocationReason::{self, Key, Operator, Payment};
use licentia::fail_point::{FailPoints, Place};
use reqwest::Method;
use serde_json::json;

use crate::harness::shop::Shop;
use crate::harness::{Answer, TestApp, database};

async fn granted(app: &TestApp, signed_up: &Answer, plan: &str) -> IssuedLicense {
    app.grant(signed_up.text("/customer/customer_id"), plan).await
}

async fn verdict(app: &TestApp, token: &str) -> Answer {
    app.client.post("/api/licenses/verify", &json!({ "token": token })).await
}

#[tokio::test]
async fn a_newer_license_replaces_the_trial() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let me = app.client.with_token(signed_up.text("/access_token"));
    let paid = granted(&app, &signed_up, "professional").await;

    let current = me.get("/api/licenses/current").await;
    assert_eq!(current.text("/license_id"), paid.license_id.as_str());
    assert_eq!(current.body["features"], json!(["editor", "export", "sso"]));
    assert_eq!(current.body["limits"], json!({ "seats": 5, "devices": 3 }));
    assert!(current.body["expires_at"].is_null());

    let history = me.get("/api/licenses").await;
    let plans: Vec<_> = history.body["licenses"].as_array().unwrap().iter().collect();
    assert_eq!(plans.len(), 2);
    assert_eq!(
        (&plans[0]["plan"], &plans[0]["status"]),
        (&json!("professional"), &json!("active"))
    );
    assert_eq!((&plans[1]["plan"], &plans[1]["status"]), (&json!("trial"), &json!("superseded")));

    // Both verify until they expire. The online verdict says that the old one is replaced.
    let old = verdict(&app, signed_up.text("/license/token")).await;
    assert_eq!((&old.body["valid"], &old.body["superseded"]), (&json!(true), &json!(true)));
    let new = verdict(&app, paid.token.expose()).await;
    assert_eq!((&new.body["valid"], &new.body["superseded"]), (&json!(true), &json!(false)));
    assert_eq!(new.body["license"]["plan"], "professional");
}

#[tokio::test]
async fn concurrent_grants_leave_one_current_license_and_unique_numbers() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let grants = (0..8).map(|_| granted(&app, &signed_up, "professional"));
    let licenses = futures_util::future::join_all(grants).await;
    let mut numbers: Vec<_> = licenses.iter().map(|license| license.seq).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (2..=9).collect::<Vec<_>>());
    let current = "DELETE FROM licenses WHERE superseded_at IS NULL";
    assert_eq!(database::execute(&app.app.store, current).await.unwrap(), 1);
}

#[tokio::test]
async fn the_history_is_listed_in_pages() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let me = app.client.with_token(signed_up.text("/access_token"));
    for _ in 0..4 {
        granted(&app, &signed_up, "starter").await;
    }
    let first = me.get("/api/licenses?limit=2").await;
    assert_eq!(first.body["licenses"].as_array().unwrap().len(), 2);
    let before = first.body["next_before"].as_i64().unwrap();
    let second = me.get(&format!("/api/licenses?limit=2&before={before}")).await;
    let before = second.body["next_before"].as_i64().unwrap();
    let third = me.get(&format!("/api/licenses?limit=2&before={before}")).await;
    assert_eq!(third.body["licenses"].as_array().unwrap().len(), 1);
    assert!(third.body["next_before"].is_null());
    assert_eq!(third.text("/licenses/0/plan"), "trial");

    for query in ["limit=0", "limit=101", "limit=x", "before=0", "before=-1"] {
        let answer = me.get(&format!("/api/licenses?{query}")).await;
        assert_eq!(answer.problem(), (400, "invalid_request"), "{query}");
    }
}

#[tokio::test]
async fn the_verdict_gives_the_reason_why_a_license_is_invalid() {
    let app = TestApp::start().await;
    let other = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let token = signed_up.text("/license/token").to_owned();
    let foreign = other.sign_up("ada@example.com").await;

    let valid = verdict(&app, &token).await;
    assert_eq!(valid.body["valid"], true);
    assert_eq!(valid.text("/changes_at"), "2026-12-04T15:00:00+00:00");
    assert_eq!(valid.body["license"]["customer_id"], signed_up.body["customer"]["customer_id"]);

    // A different character in the middle of the signature.
    let place = token.len() - 10;
    let mut forged = token.clone();
    let another = if &token[place..=place] == "A" { "B" } else { "A" };
    forged.replace_range(place..=place, another);
    for (token, reason) in [
        (foreign.text("/license/token"), "unknown_key"),
        (signed_up.text("/access_token"), "malformed"),
        ("", "malformed"),
        (forged.as_str(), "bad_signature"),
    ] {
        let answer = verdict(&app, token).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            (&answer.body["valid"], answer.text("/reason")),
            (&json!(false), reason),
            "{token}"
        );
        assert!(!answer.text("/message").is_empty());
    }

    app.clock.advance_days(14);
    assert_eq!(verdict(&app, &token).await.text("/reason"), "license_expired");
    let me = app.client.with_token(signed_up.text("/access_token"));
    assert_eq!(me.get("/api/licenses/current").await.text("/status"), "expired");
}

#[tokio::test]
async fn the_online_verdict_reports_a_revoked_license() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    database::execute(&app.app.store, "UPDATE licenses SET revoked_at = 1").await.unwrap();
    let answer = verdict(&app, signed_up.text("/license/token")).await;
    assert_eq!(answer.text("/reason"), "revoked");
    let me = app.client.with_token(signed_up.text("/access_token"));
    assert_eq!(me.get("/api/licenses/current").await.text("/status"), "revoked");
}

#[tokio::test]
async fn a_token_that_is_too_long_is_refused_before_it_is_read_security_6() {
    let app = TestApp::start().await;
    let answer = verdict(&app, &"a".repeat(8193)).await;
    assert_eq!((answer.status, answer.text("/reason")), (200, "too_large"));
}

#[tokio::test]
async fn the_plans_are_listed_without_stripe_ids() {
    let app = TestApp::start().await;
    let answer = app.client.get("/api/plans").await;
    let plans = answer.body["plans"].as_array().unwrap();
    let ids: Vec<_> = plans.iter().map(|plan| plan["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["trial", "starter", "professional"]);
    assert_eq!(plans[0]["prices"], json!([]));
    let price = json!({ "interval": "month", "amount": 4900, "currency": "usd" });
    assert_eq!(plans[2]["prices"][0], price);
    assert_eq!((&plans[2]["addons"], &answer.body["addons"]), (&json!([]), &json!([])));
    assert!(plans[2].get("quantity").is_none() && plans[2].get("trial_days").is_none());
    assert!(!answer.text.contains("price_"), "{}", answer.text);
}

#[tokio::test]
async fn prices_in_each_currency_quantities_and_add_ons_are_listed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plans.toml");
    let more = r#"
        [[plan]]
        id = "team"
        name = "Team"
        limits = { seats = 1 }
        per_unit = ["seats"]
        quantity = { min = 2, max = 500 }
        trial_days = 30
        prices = [
            { id = "price_year", interval = "year", amount = 9000, currency = "usd" },
            { id = "price_eur", interval = "month", amount = 800, currency = "eur" },
            { id = "price_usd", interval = "month", amount = 900, currency = "usd",
              currencies = { gbp = 700 } },
            { id = "price_old", interval = "month", amount = 1, currency = "usd", sold = false },
        ]
        [[plan]]
        id = "studio"
        name = "Studio"
        prices = [{ id = "price_once", interval = "once", amount = 29900, currency = "usd",
                    updates_months = 12 }]
        [[addon]]
        id = "pdf"
        name = "PDF export"
        features = ["pdf"]
        limits = { pages = 100 }
        plans = ["team", "trial"]
        prices = [{ id = "price_pdf", interval = "month", amount = 500, currency = "usd" }]
    "#;
    std::fs::write(&file, format!("{}{more}", include_str!("../../plans.toml"))).unwrap();
    let app = TestApp::start_with(&[("LICENTIA_PLANS_FILE", file.to_str().unwrap())]).await;
    let answer = app.client.get("/api/plans").await;
    let team = json!({
        "id": "team",
        "name": "Team",
        "features": [],
        "limits": { "seats": 1 },
        "per_unit": ["seats"],
        "quantity": { "min": 2, "max": 500 },
        "trial_days": 30,
        "prices": [
            { "interval": "month", "amount": 800, "currency": "eur" },
            { "interval": "month", "amount": 900, "currency": "usd" },
            { "interval": "month", "amount": 700, "currency": "gbp" },
            { "interval": "year", "amount": 9000, "currency": "usd" },
        ],
        "addons": ["pdf"],
    });
    assert_eq!(answer.body["plans"][3], team);
    let once =
        json!({ "interval": "once", "amount": 29900, "currency": "usd", "updates_months": 12 });
    assert_eq!(answer.body["plans"][4]["prices"], json!([once]));
    assert_eq!(answer.body["plans"][0]["addons"], json!([]), "nothing is sold with the trial");
    let addon = json!({
        "id": "pdf",
        "name": "PDF export",
        "features": ["pdf"],
        "limits": { "pages": 100 },
        "prices": [{ "interval": "month", "amount": 500, "currency": "usd" }],
    });
    assert_eq!(answer.body["addons"], json!([addon]));
    assert!(!answer.text.contains("price_"), "{}", answer.text);
}

#[tokio::test]
async fn licenses_carry_the_older_or_the_newer_name_of_the_algorithm() {
    for (setting, in_jwks) in [("EdDSA", Some("EdDSA")), ("Ed25519", None)] {
        let app = TestApp::start_with(&[("LICENTIA_LICENSE_ALGORITHM", setting)]).await;
        let signed_up = app.sign_up("ada@example.com").await;
        let token = signed_up.text("/license/token");
        let header = licentia_verify::inspect(token).unwrap().header;
        assert_eq!(header["alg"], setting);
        let jwks = app.client.get("/.well-known/jwks.json").await;
        assert_eq!(jwks.body["keys"][0].get("alg").and_then(|alg| alg.as_str()), in_jwks);
        assert_eq!(verdict(&app, token).await.body["valid"], true);
    }
}

async fn refresh(app: &TestApp, token: &str) -> Answer {
    app.client.with_token(token).send(Method::POST, "/api/licenses/refresh", None).await
}

#[tokio::test]
async fn an_app_gets_an_upgrade_with_its_current_license() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let trial = signed_up.text("/license/token");
    assert_eq!(refresh(&app, trial).await.text("/token"), trial);

    let paid = granted(&app, &signed_up, "professional").await;
    assert_eq!(refresh(&app, trial).await.text("/token"), paid.token.expose());
    // The trial is over, and its token still fetches the license that followed it.
    app.clock.advance_days(14);
    assert_eq!(refresh(&app, trial).await.text("/plan"), "professional");
    assert_eq!(app.count("licenses").await, 2);
}

#[tokio::test]
async fn an_expired_token_is_refreshed_while_the_license_is_valid() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let first = granted(&app, &signed_up, "professional").await;
    app.clock.advance_days(14);
    let again = refresh(&app, first.token.expose()).await;
    assert_eq!(again.text("/license_id"), first.license_id.as_str());
    app.clock.advance_days(17);
    assert_eq!(verdict(&app, first.token.expose()).await.text("/reason"), "token_expired");

    let second = refresh(&app, first.token.expose()).await;
    assert_eq!(second.text("/plan"), "professional");
    assert_eq!(second.text("/token_expires_at"), "2027-01-20T15:00:00+00:00");
    assert_eq!(verdict(&app, second.text("/token")).await.body["valid"], true);
    // A repeated refresh returns the same license.
    assert_eq!(refresh(&app, first.token.expose()).await.text("/token"), second.text("/token"));
    assert_eq!(app.count("licenses").await, 3);
}

#[tokio::test]
async fn an_expired_revoked_or_invalid_license_cannot_be_refreshed() {
    let app = TestApp::start().await;
    let other = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let trial = signed_up.text("/license/token").to_owned();
    let foreign = other.sign_up("ada@example.com").await;
    for token in [foreign.text("/license/token"), signed_up.text("/access_token"), "nonsense"] {
        assert_eq!(refresh(&app, token).await.problem(), (401, "invalid_license"), "{token}");
    }
    let nothing = app.client.send(Method::POST, "/api/licenses/refresh", None).await;
    assert_eq!(nothing.problem(), (401, "unauthenticated"));

    app.clock.advance_days(14);
    assert_eq!(refresh(&app, &trial).await.problem(), (403, "license_expired"));
    let paid = granted(&app, &signed_up, "professional").await;
    database::execute(&app.app.store, "UPDATE licenses SET revoked_at = 1").await.unwrap();
    assert_eq!(refresh(&app, paid.token.expose()).await.problem(), (403, "revoked"));
    database::execute(&app.app.store, "UPDATE licenses SET revoked_at = NULL").await.unwrap();

    // A token that expired more than a season ago is no credential.
    app.clock.advance_days(89);
    assert_eq!(refresh(&app, &trial).await.status, 200);
    app.clock.advance_days(1);
    assert_eq!(refresh(&app, &trial).await.problem(), (401, "invalid_license"));

    let me = app.client.with_token(signed_up.text("/access_token"));
    assert_eq!(me.delete("/api/customers/me").await.problem(), (401, "unauthenticated"));
}

#[tokio::test]
async fn concurrent_refreshes_issue_one_license() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let first = granted(&app, &signed_up, "professional").await;
    app.clock.advance_days(20);
    let answers = (0..8).map(|_| refresh(&app, first.token.expose()));
    let answers = futures_util::future::join_all(answers).await;
    let tokens: Vec<_> = answers.iter().map(|answer| answer.text("/token")).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0] && *token != first.token.expose()));
    assert_eq!(app.count("licenses").await, 3);
}

async fn revoke(app: &TestApp, license: &IssuedLicense, reason: RevocationReason) {
    let mut tx = app.app.store.write().await.unwrap();
    tx.revoke_license(&license.license_id, Some(reason), app.app.now()).await.unwrap();
    tx.commit(FailPoints::default().at(Place::LicenseRefreshed)).await.unwrap();
}

#[tokio::test]
async fn a_leaked_license_or_one_of_a_revoked_key_is_no_credential_security_39() {
    let app = TestApp::start().await;
    for (place, reasons, status) in [
        (0, &[Payment][..], 200),
        (1, &[Operator], 403),
        (2, &[Key], 403),
        (3, &[Payment, Operator], 403),
        (4, &[Payment, Key], 403),
        (5, &[Operator, Payment], 403),
        (6, &[Key, Payment], 403),
    ] {
        let signed_up = app.sign_up(&format!("ada{place}@example.com")).await;
        let first = granted(&app, &signed_up, "starter").await;
        for reason in reasons {
            revoke(&app, &first, *reason).await;
        }
        // Without a newer license, the reason does not matter.
        let nothing = refresh(&app, first.token.expose()).await;
        let code = if reasons.contains(&Key) { "key_revoked" } else { "revoked" };
        assert_eq!(nothing.problem(), (403, code), "{reasons:?}");
        assert_eq!(verdict(&app, first.token.expose()).await.text("/reason"), code);

        let second = granted(&app, &signed_up, "professional").await;
        let answer = refresh(&app, first.token.expose()).await;
        assert_eq!(answer.status, status, "{reasons:?}: {answer:?}");
        if status == 200 {
            assert_eq!(answer.text("/token"), second.token.expose());
        } else {
            assert_eq!(answer.problem(), (403, code), "{reasons:?}");
        }
        // The customer with the password has the new license, which is a credential.
        let me = app.client.with_token(signed_up.text("/access_token"));
        let current = me.get("/api/licenses/current").await;
        assert_eq!(
            refresh(&app, current.text("/token")).await.text("/token"),
            second.token.expose()
        );
    }
}

#[tokio::test]
async fn an_app_recovers_without_a_password_after_a_late_payment_security_39() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let held = shop.license(&ada).await["token"].as_str().unwrap().to_owned();
    shop.sandbox.refund(&shop.sandbox.payment_intent(&session).unwrap(), None).unwrap();
    shop.settled().await;
    assert_eq!(refresh(&shop.app, &held).await.problem(), (403, "revoked"));

    shop.pass_days(&mut ada, 31).await;
    shop.settled().await;
    let again = refresh(&shop.app, &held).await;
    assert_eq!((again.text("/plan"), again.text("/status")), ("professional", "active"));
    assert_eq!(again.text("/token"), shop.license(&ada).await["token"]);
}

#[tokio::test]
async fn a_different_token_with_a_licenses_id_is_not_that_license_security_45() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let token = signed_up.text("/license/token");
    let claims = licentia_verify::inspect(token).unwrap().claims;
    let mut claims: licentia_verify::Claims = serde_json::from_value(claims.into()).unwrap();
    claims.plan = "professional".into();
    // A token forged with the real key.
    let forged = app.app.keys.signing(app.app.now()).unwrap().sign(&claims).unwrap();
    assert_eq!(verdict(&app, token).await.body["valid"], true);
    assert_eq!(verdict(&app, forged.expose()).await.text("/reason"), "unknown_license");
    assert_eq!(refresh(&app, forged.expose()).await.problem(), (401, "invalid_license"));

    // A refresh signs the license again, and only the time of signing may differ.
    app.clock.advance_days(1);
    let again = refresh(&app, token).await.text("/token").to_owned();
    assert_ne!(again, token);
    assert_eq!(verdict(&app, &again).await.body["valid"], true);
    assert_eq!(refresh(&app, &again).await.text("/token"), again);
    let signed = licentia_verify::inspect(&again).unwrap().claims;
    let signed: licentia_verify::Claims = serde_json::from_value(signed.into()).unwrap();
    type Forgery = fn(&mut licentia_verify::Claims);
    let forgeries: [Forgery; 7] = [
        |claims| claims.exp += 1,
        |claims| claims.nbf -= 1,
        |claims| (claims.iat, claims.nbf) = (claims.iat - 86_401, claims.nbf - 86_401),
        |claims| claims.seq += 1,
        |claims| claims.license_expires = None,
        |claims| claims.limits = [("seats".to_owned(), 99)].into(),
        |claims| claims.on_end = Some(licentia_verify::OnEnd::Warn),
    ];
    for (place, forge) in forgeries.into_iter().enumerate() {
        let mut claims = signed.clone();
        forge(&mut claims);
        let key = app.app.keys.signing(app.app.now()).unwrap();
        let forged = key.sign(&claims).unwrap();
        let answer = verdict(&app, forged.expose()).await;
        assert_eq!(answer.text("/reason"), "unknown_license", "{place}");
        assert_eq!(refresh(&app, forged.expose()).await.problem(), (401, "invalid_license"));
    }
    app.clock.advance_days(-1);

    // The state of one license does not affect the verdict on the other token.
    database::execute(&app.app.store, "UPDATE licenses SET revoked_at = 1").await.unwrap();
    assert_eq!(verdict(&app, forged.expose()).await.text("/reason"), "unknown_license");
    app.clock.advance_days(14);
    assert_eq!(verdict(&app, token).await.text("/reason"), "revoked");
    assert_eq!(verdict(&app, forged.expose()).await.text("/reason"), "license_expired");
}

#[tokio::test]
async fn a_refresh_without_changes_does_not_write() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let lock = database::HeldLock::take(&app.config.database_url, "customers, licenses").await;
    let token = signed_up.text("/license/token");
    assert_eq!(refresh(&app, token).await.text("/token"), token);
    // The license is signed again, which is not stored.
    for _ in 0..6 {
        app.clock.advance_days(1);
        let again = refresh(&app, token).await;
        assert_eq!(again.text("/license_id"), signed_up.text("/license/license_id"));
        assert_ne!(again.text("/token"), token);
    }
    lock.release().await;
}
