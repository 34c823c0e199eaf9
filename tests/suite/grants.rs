//! Support grants, extends, revokes and sends licenses.

use licentia::domain::operator::admin_key::Scope;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::process::{Done, licentia, run};
use crate::harness::shop::Shop;
use crate::harness::{Answer, Client, TestApp};
use secrecy::ExposeSecret;

const DAY: i64 = 86_400;

fn licenses_of(customer_id: &str) -> String {
    format!("/api/admin/customers/{customer_id}/licenses")
}

async fn current(client: &Client) -> Value {
    client.get("/api/licenses/current").await.body
}

async fn verdict(app: &TestApp, token: &Value) -> Value {
    app.client.post("/api/licenses/verify", &json!({ "token": token })).await.body
}

async fn revoke(admin: &Client, license: &Value) -> Answer {
    let path = format!("/api/admin/licenses/{}/revoke", license.as_str().unwrap());
    admin.send(Method::POST, &path, None).await
}

async fn resend(admin: &Client, license: &Value, body: &Value) -> Answer {
    let path = format!("/api/admin/licenses/{}/resend", license.as_str().unwrap());
    admin.post(&path, body).await
}

#[tokio::test]
async fn a_grant_never_takes_anything_away_unless_it_says_so() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let me = app.client.with_token(ada.text("/access_token"));
    let admin = app.admin(Scope::Support).await;
    let path = licenses_of(ada.text("/customer/customer_id"));

    let granted = json!({
        "plan": "professional", "days": 30, "features": ["beta"], "limits": { "seats": 50 },
        "note": "a partner",
    });
    let answer = admin.post(&path, &granted).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.text("/expires_at"), "2026-12-20T15:00:00+00:00");
    assert_eq!((answer.text("/note"), answer.text("/source")), ("a partner", "operator"));
    assert!(answer.body.get("token").is_none(), "whoever has the token can use the license");
    let held = current(&me).await;
    assert_eq!(held["license_id"], answer.body["license_id"]);
    assert_eq!(held["features"], json!(["editor", "export", "sso", "beta"]));
    assert_eq!(held["limits"], json!({ "seats": 50, "devices": 3 }));
    let mails = app.take_mails("ada@example.com").await;
    assert!(mails.iter().any(|mail| mail.subject.starts_with("Your license for")), "{mails:?}");

    for less in [
        json!({ "plan": "starter", "forever": true }),
        json!({ "plan": "professional", "days": 29 }),
        json!({ "plan": "professional", "until": "2026-12-20T14:59:59Z" }),
    ] {
        let refused = admin.post(&path, &less).await;
        assert_eq!(refused.problem(), (409, "would_shorten"), "{less}");
        assert!(refused.text("/detail").contains("2026-12-20T15:00:00Z"), "{}", refused.text);
    }
    assert_eq!(current(&me).await, held, "nothing was written");
    let more = json!({ "plan": "professional", "until": "2027-01-01T00:00:00Z" });
    assert_eq!(admin.post(&path, &more).await.status, 201);
    let shorter = json!({ "plan": "starter", "days": 1, "replace": true });
    assert_eq!(admin.post(&path, &shorter).await.status, 201);
    assert_eq!(current(&me).await["plan"], "starter");
    let endless = json!({ "plan": "professional", "forever": true });
    assert_eq!(admin.post(&path, &endless).await.body["expires_at"], Value::Null);
}

#[tokio::test]
async fn a_grant_survives_refreshes_with_what_was_added() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Support).await;
    let grant = json!({
        "plan": "starter", "forever": true, "features": ["beta"], "limits": { "seats": 9 },
        "note": "kept",
    });
    let path = licenses_of(ada.text("/customer/customer_id"));
    assert_eq!(admin.post(&path, &grant).await.status, 201);
    app.clock.advance_days(20);
    let me = app.client.with_token(ada.text("/access_token"));
    let fresh = current(&me).await;
    assert_eq!(fresh["issued_at"], "2026-12-10T15:00:00+00:00");
    assert_eq!(fresh["limits"]["seats"], 9);
    assert!(fresh["features"].as_array().unwrap().contains(&json!("beta")));
    let listed = admin.get(&path).await;
    assert_eq!(
        (listed.text("/licenses/0/note"), listed.text("/licenses/1/note")),
        ("kept", "kept")
    );
}

#[tokio::test]
async fn a_malformed_grant_or_extension_is_refused() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Support).await;
    let path = licenses_of(ada.text("/customer/customer_id"));
    let many: Vec<_> = (0..51).map(|number| format!("f{number}")).collect();
    let long: Vec<_> = (0..50).map(|number| format!("f{number:063}")).collect();
    let limits: serde_json::Map<_, _> = (0..50).map(|n| (format!("l{n:063}"), json!(1))).collect();
    for wrong in [
        json!({ "plan": "starter" }),
        json!({ "plan": "starter", "days": 1, "forever": true }),
        json!({ "plan": "starter", "forever": false }),
        json!({ "plan": "starter", "days": 0 }),
        json!({ "plan": "starter", "days": 36_526 }),
        json!({ "plan": "starter", "until": "2026-11-20T15:00:00Z" }),
        json!({ "plan": "starter", "until": "tomorrow" }),
        json!({ "plan": "starter", "forever": true, "features": ["a b"] }),
        json!({ "plan": "starter", "forever": true, "features": many }),
        json!({ "plan": "starter", "forever": true, "features": long, "limits": limits }),
        json!({ "plan": "starter", "forever": true, "limits": { "": 1 } }),
        json!({ "plan": "starter", "forever": true, "limits": { "seats": -1 } }),
        json!({ "plan": "starter", "forever": true, "limits": { "seats": 1_u64 << 53 } }),
        json!({ "plan": "starter", "forever": true, "note": "a\u{0}b" }),
        json!({ "plan": "starter", "forever": true, "note": "n".repeat(501) }),
        json!({ "plan": "starter", "forever": true, "gift": 1 }),
    ] {
        assert_eq!(admin.post(&path, &wrong).await.problem(), (400, "invalid_request"), "{wrong}");
    }
    let unknown = admin.post(&path, &json!({ "plan": "gold", "forever": true })).await;
    assert_eq!(unknown.problem(), (422, "no_such_plan"));
    assert!(unknown.text("/detail").contains("professional"), "{}", unknown.text);
    for wrong in [json!({}), json!({ "days": 0 }), json!({ "days": 36_526 })] {
        let answer = admin.post(&format!("{path}/extend"), &wrong).await;
        assert_eq!(answer.problem(), (400, "invalid_request"), "{wrong}");
    }
    assert_eq!(app.count("licenses").await, 1);
}

#[tokio::test]
async fn a_trial_is_extended_and_stays_a_trial() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let me = app.client.with_token(ada.text("/access_token"));
    let admin = app.admin(Scope::Support).await;
    let path = format!("{}/extend", licenses_of(ada.text("/customer/customer_id")));
    let answer = admin.post(&path, &json!({ "days": 14, "note": "a holiday" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.text("/expires_at"), "2026-12-18T15:00:00+00:00");
    let held = current(&me).await;
    assert_eq!((&held["trial"], &held["license_id"]), (&json!(true), &answer.body["license_id"]));
    // One that has ended is extended from now.
    app.clock.advance_seconds(60 * DAY);
    let answer = admin.post(&path, &json!({ "days": 1 })).await;
    assert_eq!(answer.text("/expires_at"), "2027-01-20T15:00:00+00:00");

    let endless = json!({ "plan": "starter", "forever": true });
    admin.post(&licenses_of(ada.text("/customer/customer_id")), &endless).await;
    let answer = admin.post(&path, &json!({ "days": 1 })).await;
    assert_eq!(answer.problem(), (409, "would_shorten"));
    let new = admin.post("/api/admin/customers", &json!({ "email": "bob@example.com" })).await;
    let path = format!("{}/extend", licenses_of(new.text("/customer_id")));
    let answer = admin.post(&path, &json!({ "days": 1 })).await;
    assert_eq!(answer.problem(), (409, "nothing_to_extend"));
}

#[tokio::test]
async fn days_after_a_paid_term_survive_syncs_and_end_with_a_refund() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let admin = shop.app.admin(Scope::Support).await;
    let path = format!("{}/extend", licenses_of(&ada.customer_id));
    let before = shop.license(&ada).await;
    assert_eq!(before["expires_at"], "2026-12-20T15:00:00+00:00");
    let answer = admin.post(&path, &json!({ "days": 14 })).await;
    assert_eq!(answer.text("/expires_at"), "2027-01-03T15:00:00+00:00");
    shop.sync_all().await;
    assert_eq!(shop.license(&ada).await["license_id"], answer.body["license_id"]);

    // The renewal is worth more.
    shop.pass_days(&mut ada, 31).await;
    let renewed = shop.license(&ada).await;
    assert_eq!(renewed["expires_at"], "2027-01-20T15:00:00+00:00");

    // Of a year, a refund ends the days after it as well.
    admin.post(&path, &json!({ "days": 300 })).await;
    let longer = shop.license(&ada).await;
    shop.sandbox.refund(&shop.sandbox.payment_intent(&session).unwrap(), None).unwrap();
    let payments = "SELECT stripe_payment_intent_id FROM orders WHERE status = 'succeeded'";
    shop.settled().await;
    for payment in crate::harness::database::texts(&shop.app.app.store, payments).await {
        shop.sandbox.refund(&payment, None).unwrap();
    }
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["status"], "revoked");
    assert_eq!(verdict(&shop.app, &longer["token"]).await["reason"], "revoked");
    assert!(shop.sync_all().await.drifted.is_empty(), "a second sync changes nothing");
}

#[tokio::test]
async fn a_revoked_license_stays_revoked_until_the_next_payment() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    let admin = shop.app.admin(Scope::Support).await;
    let leaked = shop.license(&ada).await;
    let answer = revoke(&admin, &leaked["license_id"]).await;
    assert_eq!((answer.status, answer.text("/revocation_reason")), (200, "operator"));
    assert_eq!(verdict(&shop.app, &leaked["token"]).await["reason"], "revoked");

    // Neither a reconciliation, nor a sync, nor an event brings it back.
    assert!(shop.sync_all().await.drifted.is_empty());
    let sync = format!("/api/admin/customers/{}/sync", ada.customer_id);
    let synced = admin.send(Method::POST, &sync, None).await;
    assert_eq!(synced.body["changes"], json!([]), "{}", synced.text);
    let stripe_id = admin.get(&format!("/api/admin/customers/{}", ada.customer_id)).await;
    let stripe_id = stripe_id.text("/stripe_customer_id").to_owned();
    shop.at_stripe(&format!("customers/{stripe_id}"), &[("name", "Ada")]).await;
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["license_id"], leaked["license_id"]);
    let drift = admin.get("/api/admin/drift").await;
    assert_eq!(drift.body["paid_customers_without_license"], 0, "{}", drift.text);
    // Revoking it again changes nothing.
    assert_eq!(revoke(&admin, &leaked["license_id"]).await.body, answer.body);

    shop.pass_days(&mut ada, 31).await;
    let renewed = shop.license(&ada).await;
    assert_eq!((&renewed["status"], &renewed["plan"]), (&json!("active"), &json!("professional")));
    assert_ne!(renewed["license_id"], leaked["license_id"]);
    // The leaked one cannot fetch it.
    let thief = shop.app.client.with_token(leaked["token"].as_str().unwrap());
    let refreshed = thief.send(Method::POST, "/api/licenses/refresh", None).await;
    assert_eq!(refreshed.problem(), (403, "revoked"));
}

#[tokio::test]
async fn a_revoked_license_is_replaced_by_a_new_issue_or_a_grant() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let admin = shop.app.admin(Scope::Support).await;
    let leaked = shop.license(&ada).await;
    revoke(&admin, &leaked["license_id"]).await;

    let refused = resend(&admin, &leaked["license_id"], &json!({})).await;
    assert_eq!(refused.problem(), (409, "nothing_to_send"));
    let reissued = resend(&admin, &leaked["license_id"], &json!({ "reissue": true })).await;
    assert_eq!(reissued.status, 200, "{}", reissued.text);
    let held = shop.license(&ada).await;
    assert_eq!(
        (&held["license_id"], &held["status"]),
        (&reissued.body["license_id"], &json!("active"))
    );
    assert_eq!(held["expires_at"], leaked["expires_at"]);
    assert!(shop.sync_all().await.drifted.is_empty());
    assert_eq!(verdict(&shop.app, &leaked["token"]).await["reason"], "revoked");

    // After a grant that replaces, a sync continues as usual.
    revoke(&admin, &held["license_id"]).await;
    let grant = json!({ "plan": "professional", "forever": true, "replace": true });
    assert_eq!(admin.post(&licenses_of(&ada.customer_id), &grant).await.status, 201);
    shop.sync_all().await;
    assert_eq!(shop.license(&ada).await["expires_at"], Value::Null);

    // Nothing is issued for a payment that was refunded, even if its event was lost.
    shop.sandbox
        .faults()
        .delivery(licentia_sandbox::DeliveryFault::Drop, licentia_sandbox::Times::Always);
    shop.sandbox.refund(&shop.sandbox.payment_intent(&session).unwrap(), None).unwrap();
    let refused = resend(&admin, &leaked["license_id"], &json!({ "reissue": true })).await;
    // The license was replaced, so the grant is what would be sent.
    assert_eq!(refused.status, 200, "{}", refused.text);
    let listed = admin.get(&licenses_of(&ada.customer_id)).await;
    let sources: Vec<_> = listed.body["licenses"].as_array().unwrap().clone();
    assert_eq!(sources[0]["source"], "operator", "{}", listed.text);
}

#[tokio::test]
async fn a_refunded_license_is_not_issued_again() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let admin = shop.app.admin(Scope::Support).await;
    let leaked = shop.license(&ada).await;
    revoke(&admin, &leaked["license_id"]).await;
    shop.sandbox
        .faults()
        .delivery(licentia_sandbox::DeliveryFault::Drop, licentia_sandbox::Times::Always);
    shop.sandbox.refund(&shop.sandbox.payment_intent(&session).unwrap(), None).unwrap();
    let refused = resend(&admin, &leaked["license_id"], &json!({ "reissue": true })).await;
    assert_eq!(refused.problem(), (409, "nothing_to_send"));
}

#[tokio::test]
async fn a_former_license_is_revoked_alone() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Support).await;
    let granted = app.grant(ada.text("/customer/customer_id"), "professional").await;
    let former = revoke(&admin, &ada.body["license"]["license_id"]).await;
    assert_eq!(former.text("/status"), "revoked");
    assert_eq!(verdict(&app, &ada.body["license"]["token"]).await["reason"], "revoked");
    let held = verdict(&app, &json!(granted.token.expose())).await;
    assert_eq!(held["valid"], true);
    // Resending the former one sends the current one.
    let sent = resend(&admin, &ada.body["license"]["license_id"], &json!({})).await;
    assert_eq!(sent.text("/license_id"), granted.license_id.as_str());
    for unknown in ["lic_0123456789abcdef0123456789abcdef", "lic_1", "a%00b"] {
        for what in ["revoke", "resend"] {
            let path = format!("/api/admin/licenses/{unknown}/{what}");
            let answer = admin.send(Method::POST, &path, None).await;
            assert_eq!(answer.problem(), (404, "not_found"), "{path}");
        }
    }
}

#[tokio::test]
async fn with_the_current_license_those_that_it_replaced_are_revoked() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Support).await;
    let granted = app.grant(ada.text("/customer/customer_id"), "professional").await;
    let trial = &ada.body["license"]["token"];
    assert_eq!(verdict(&app, trial).await["valid"], true, "it was replaced, and works");
    revoke(&admin, &json!(granted.license_id.as_str())).await;
    for token in [trial, &json!(granted.token.expose())] {
        assert_eq!(verdict(&app, token).await["reason"], "revoked");
    }
}

#[tokio::test]
async fn a_license_that_is_sent_again_has_a_fresh_token() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Support).await;
    let granted = app.grant(ada.text("/customer/customer_id"), "professional").await;
    app.take_mails("ada@example.com").await;
    let id = json!(granted.license_id.as_str());
    let same = resend(&admin, &id, &json!({})).await;
    assert_eq!(same.body["license_id"], id);
    let mail = app.take_mail("ada@example.com").await;
    assert!(mail.text.contains(granted.token.expose()), "{}", mail.text);
    // The token has expired: it would be of no use.
    app.clock.advance_days(40);
    let fresh = resend(&admin, &id, &json!({})).await;
    assert_ne!(fresh.body["license_id"], id);
    let mail = app.take_mail("ada@example.com").await;
    assert!(!mail.text.contains(granted.token.expose()), "{}", mail.text);
}

#[tokio::test]
async fn the_command_line_does_the_same_as_the_api() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let licentia = |arguments: &[&str]| -> Done {
        let mut command = licentia(app.directory.path());
        let url = app.config.database_url.expose_secret();
        run(command.args(arguments).env("LICENTIA_DATABASE_URL", url))
    };
    let json = |done: &Done| serde_json::from_str::<Value>(&done.out).expect(&done.err);
    let issue = ["license", "grant", "--email", "ada@example.com", "--plan", "professional"];
    let granted =
        licentia(&[&issue[..], &["--days", "400", "--feature", "beta", "--json"]].concat());
    assert_eq!(granted.code, 0, "{granted:?}");
    let less = licentia(&[&issue[..], &["--days", "1"]].concat());
    assert_eq!(less.code, 1);
    assert!(less.err.contains("this would shorten it"), "{less:?}");
    let extended = licentia(&["license", "extend", "ada@example.com", "--days", "14", "--json"]);
    assert_eq!(json(&extended)["plan"], "professional", "{extended:?}");
    let id = json(&extended)["license_id"].as_str().unwrap().to_owned();
    let resent = licentia(&["license", "resend", &id, "--json"]);
    assert_eq!(json(&resent)["license_id"], id.as_str());
    let revoked = licentia(&["license", "revoke", &id]);
    assert!(revoked.out.contains("revoked 20"), "{revoked:?}");
    let again = licentia(&["license", "resend", &id]);
    assert!(again.code == 1 && again.err.contains("was revoked"), "{again:?}");
    let anew = licentia(&["license", "resend", &id, "--reissue", "--json"]);
    assert_eq!(anew.code, 0, "{anew:?}");
    let shorter = licentia(&[&issue[..], &["--days", "1", "--replace"]].concat());
    assert_eq!(shorter.code, 0, "{shorter:?}");
    let missing = licentia(&["license", "extend", "bob@example.com", "--days", "1"]);
    assert!(missing.code == 1 && missing.err.contains("no such customer"), "{missing:?}");
    assert_eq!(ada.status, 201);
}
