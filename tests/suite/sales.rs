//! A sale, from the checkout to the license in the mail, and what the customer sees of it.

use licentia_sandbox::{ApiFault, Options, Times};
use serde_json::json;

use crate::harness::TestApp;
use crate::harness::database::{number, texts};
use crate::harness::shop::{Shop, session_of};

#[tokio::test]
async fn an_upgrade_issues_a_license_and_mails_it() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    assert_eq!(shop.stripe_customers(), 0, "a trial calls Stripe");
    assert_eq!(shop.offline(&ada.trial).await.unwrap().claims().plan, "trial");

    let session = shop.checkout(&ada, "professional").await;
    let orders = shop.orders(&ada).await;
    assert_eq!(orders.len(), 1);
    assert_eq!((&orders[0]["status"], &orders[0]["amount"]), (&json!("pending"), &json!(4900)));
    assert_eq!(shop.license(&ada).await["plan"], "trial");
    let asked = shop.sandbox.object(&session);
    assert_eq!(asked["metadata"]["customer_id"], ada.customer_id.as_str());
    shop.sandbox.pay(&session, licentia_sandbox::Card::Paid).unwrap();
    shop.settled().await;

    let subscription = shop.subscription(&ada).await;
    assert_eq!(
        (&subscription["status"], &subscription["plan"]),
        (&json!("active"), &json!("professional"))
    );
    assert_eq!(subscription["current_period_end"], "2026-12-20T15:00:00+00:00");
    let sub = shop.sandbox.object(&shop.subscription_of(&session));
    assert_eq!(sub["metadata"]["customer_id"], ada.customer_id.as_str());
    let orders = shop.orders(&ada).await;
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!(orders[0]["status"], "succeeded");
    assert_eq!(orders[0]["purchased_at"], "2026-11-20T15:00:00+00:00");

    let license = shop.license(&ada).await;
    assert_eq!((&license["plan"], &license["trial"]), (&json!("professional"), &json!(false)));
    assert_eq!(license["expires_at"], "2026-12-20T15:00:00+00:00");
    assert_eq!(license["grace_until"], "2026-12-27T15:00:00+00:00");
    let token = license["token"].as_str().unwrap();
    let verified = shop.offline(token).await.unwrap();
    assert_eq!(verified.claims().features, ["editor", "export", "sso"]);
    assert_eq!(verified.claims().sub, ada.customer_id);
    // The previous license is superseded, and verifies until it expires.
    assert!(shop.offline(&ada.trial).await.is_ok());
    assert_eq!(shop.licenses(&ada).await[1]["status"], "superseded");

    let [mail] = shop.mails_about_sales("ada@example.com").try_into().unwrap();
    assert_eq!(mail.subject(), "Your new license for acme-app");
    assert_eq!(String::from_utf8_lossy(&mail.attachments[0].bytes).trim(), token);
    // The app gets it without a password.
    let app = shop.app.client.with_token(&ada.trial);
    let fresh = app.send(reqwest::Method::POST, "/api/licenses/refresh", None).await;
    assert_eq!(fresh.text("/token"), token);
}

#[tokio::test]
async fn stripes_ids_are_never_shown_to_customers() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "starter").await;
    for path in ["/api/customers/me", "/api/subscriptions/current", "/api/orders", "/api/licenses"]
    {
        let answer = ada.client.get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for prefix in ["cus_", "sub_", "cs_test", "in_", "pi_", "price_"] {
            assert!(!answer.text.contains(&format!("\"{prefix}")), "{path}: {}", answer.text);
        }
    }
    let claims =
        format!("{:?}", shop.offline(shop.license(&ada).await["token"].as_str().unwrap()).await);
    assert!(!claims.contains("cus_") && !claims.contains("sub_"), "{claims}");
}

#[tokio::test]
async fn a_checkout_for_another_plan_or_interval_replaces_the_open_one() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let first = shop.checkout(&ada, "starter").await;
    assert_eq!(shop.checkout(&ada, "starter").await, first);
    let second = shop.checkout(&ada, "professional").await;
    assert_ne!(second, first);
    assert_eq!(shop.sandbox.object(&first)["status"], "expired");
    let back = format!("{}/docs", shop.app.client.base);
    let yearly = json!({ "plan": "professional", "interval": "year", "success_url": back,
        "cancel_url": back, "customer_id": ada.customer_id });
    let answer = ada.client.post("/api/subscriptions/checkout", &yearly).await;
    let third = session_of(answer.text("/checkout_url"));
    assert_eq!(shop.sandbox.object(&second)["status"], "expired");
    assert_eq!(shop.sandbox.object(&third)["amount_total"], 49000);
    shop.settled().await;
    let orders = shop.orders(&ada).await;
    assert_eq!((orders.len(), &orders[0]["amount"]), (1, &json!(49000)), "{orders:?}");
    assert_eq!(shop.stripe_customers(), 1);
}

#[tokio::test]
async fn an_impossible_purchase_is_refused_with_the_reason() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let eve = shop.buyer("eve@example.com").await;
    let back = format!("{}/docs", shop.app.client.base);
    let ask = async |change: serde_json::Value| {
        let mut request = json!({ "plan": "starter", "success_url": back, "cancel_url": back });
        request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = ada.client.post("/api/subscriptions/checkout", &request).await;
        let (status, code) = answer.problem();
        (status, code.to_owned())
    };
    let problem = |status, code: &str| (status, code.to_owned());
    assert_eq!(ask(json!({ "plan": "gold" })).await, problem(422, "unknown_plan"));
    assert_eq!(ask(json!({ "plan": "trial" })).await, problem(422, "unknown_plan"));
    assert_eq!(ask(json!({ "interval": "week" })).await, problem(422, "unknown_plan"));
    let foreign = json!({ "customer_id": eve.customer_id });
    assert_eq!(ask(foreign).await, problem(404, "not_found"));
    for url in ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/docs"] {
        let refused = problem(422, "invalid_return_url");
        assert_eq!(ask(json!({ "success_url": url })).await, refused, "{url}");
        assert_eq!(ask(json!({ "cancel_url": url })).await, refused, "{url}");
    }
    assert_eq!(shop.stripe_customers(), 0);
    let portal = ada.client.post("/api/subscriptions/portal", &json!({})).await;
    assert_eq!(portal.problem(), (404, "not_found"));
    assert_eq!(ada.client.get("/api/subscriptions/current").await.problem(), (404, "not_found"));
}

#[tokio::test]
async fn a_second_subscription_is_refused_with_a_hint_to_the_portal() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "starter").await;
    assert_eq!(shop.ask(&ada, "professional").await.problem(), (409, "already_subscribed"));
    let without = ada.client.send(reqwest::Method::POST, "/api/subscriptions/portal", None).await;
    assert!(without.text("/portal_url").starts_with(shop.sandbox.url()), "{without:?}");
    let evil = json!({ "return_url": "https://evil.example/" });
    let refused = ada.client.post("/api/subscriptions/portal", &evil).await;
    assert_eq!(refused.problem(), (422, "invalid_return_url"));

    // After its end, another one can be bought on the same day.
    shop.sandbox.cancel_now(&shop.subscription_of(&session)).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["status"], "revoked");
    shop.buy(&ada, "professional").await;
    assert_eq!(shop.license(&ada).await["plan"], "professional");
    assert_eq!(shop.stripe_customers(), 1);
}

#[tokio::test]
async fn a_changed_name_or_address_is_sent_to_stripe() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "starter").await;
    let stripe_id = texts(&shop.app.app.store, "SELECT stripe_customer_id FROM customers").await;
    // A short outage of Stripe changes nothing.
    shop.sandbox.faults().api(ApiFault::RateLimited, Times::Next(3));
    let change = json!({ "name": "Ada King" });
    assert_eq!(ada.client.patch("/api/customers/me", &change).await.status, 200);
    shop.change_email(&ada, "ada@lovelace.example").await;
    shop.until("Stripe is told", async || {
        shop.sandbox.advance(std::time::Duration::from_secs(1));
        let told = shop.sandbox.object(&stripe_id[0]);
        told["email"] == "ada@lovelace.example" && told["name"] == "Ada King"
    })
    .await;
    shop.settled().await;
    let status = texts(&shop.app.app.store, "SELECT stripe_sync_status FROM customers").await;
    assert_eq!(status, ["synced"]);
}

#[tokio::test]
async fn a_stripe_customer_created_at_signup_never_delays_the_signup() {
    let at_signup = [("LICENTIA_STRIPE__CREATE_CUSTOMER", "signup")];
    let shop = Shop::open_with(Options::default(), &at_signup).await;
    shop.sandbox.faults().api(ApiFault::ErrorBefore, Times::Next(9));
    let ada = shop.buyer("ada@example.com").await;
    shop.until("the counterpart is there", async || {
        shop.sandbox.advance(std::time::Duration::from_secs(1));
        shop.stripe_customers() == 1
    })
    .await;
    shop.settled().await;
    shop.buy(&ada, "starter").await;
    assert_eq!(shop.stripe_customers(), 1);
}

#[tokio::test]
async fn deleting_an_account_ends_the_subscription_and_keeps_an_anonymous_order() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "starter").await;
    // Stripe is called first. If it does not respond, nothing is deleted.
    shop.sandbox.faults().api(ApiFault::ErrorBefore, Times::Next(9));
    let answer = ada.client.delete("/api/customers/me").await;
    assert_eq!(answer.problem(), (503, "billing_unavailable"));
    shop.sandbox.faults().clear();
    assert_eq!(ada.client.delete("/api/customers/me").await.status, 204);
    let sub = shop.sandbox.object(&shop.subscription_of(&session));
    assert_eq!(sub["status"], "canceled");
    shop.settled().await;
    let store = &shop.app.app.store;
    assert_eq!(number(store, "SELECT COUNT(*) FROM orders WHERE customer_id IS NULL").await, 1);
    let said = texts(store, "SELECT body FROM inbox").await;
    assert!(!said.is_empty() && said.iter().all(|body| !body.contains("ada@")), "{said:?}");
    for table in ["customers", "users", "licenses", "subscriptions", "outbox", "stripe_attempts"] {
        assert_eq!(shop.app.count(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn without_stripe_everything_but_buying_works_stripe_20() {
    let app = TestApp::start().await;
    let answer = app.sign_up("ada@example.com").await;
    let ada = app.client.with_token(answer.text("/access_token"));
    let back = json!({ "plan": "starter", "success_url": "http://127.0.0.1:3100/docs",
        "cancel_url": "http://127.0.0.1:3100/docs" });
    let refused = ada.post("/api/subscriptions/checkout", &back).await;
    assert_eq!(refused.problem(), (503, "billing_not_configured"));
    let portal = ada.post("/api/subscriptions/portal", &json!({})).await;
    assert_eq!(portal.problem(), (503, "billing_not_configured"));
    let webhook = app.client.post_raw("/api/webhooks/stripe", "application/json", "{}").await;
    assert_eq!(webhook.problem(), (400, "bad_webhook"));
    assert_eq!(ada.get("/api/licenses/current").await.status, 200);
    assert_eq!(app.count("inbox").await, 0);
}

#[tokio::test]
async fn deleting_an_account_ends_a_subscription_that_is_not_known_here_yet() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "starter").await;
    shop.sandbox.faults().hold_deliveries();
    shop.sandbox.pay(&session, licentia_sandbox::Card::Paid).unwrap();
    assert_eq!(ada.client.delete("/api/customers/me").await.status, 204);
    let sub = shop.sandbox.object(&shop.subscription_of(&session));
    assert_eq!(sub["status"], "canceled");
    // An open checkout cannot be paid any more either.
    let eve = shop.buyer("eve@example.com").await;
    let open = shop.checkout(&eve, "starter").await;
    assert_eq!(eve.client.delete("/api/customers/me").await.status, 204);
    assert_eq!(shop.sandbox.object(&open)["status"], "expired");
}

#[tokio::test]
async fn a_request_for_the_license_returns_the_paid_one_without_a_webhook() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.sandbox.faults().hold_deliveries();
    shop.sandbox.pay(&session, licentia_sandbox::Card::Paid).unwrap();
    shop.sandbox.advance(std::time::Duration::from_secs(31));
    let app = shop.app.client.with_token(&ada.trial);
    let fresh = app.send(reqwest::Method::POST, "/api/licenses/refresh", None).await;
    assert_eq!(fresh.text("/plan"), "professional");
    assert_eq!(shop.license(&ada).await["plan"], "professional");
    // The same for a renewal whose events were lost.
    shop.sandbox.advance_days(31);
    let paid = shop.app.client.with_token(fresh.text("/token"));
    let renewed = paid.send(reqwest::Method::POST, "/api/licenses/refresh", None).await;
    assert_eq!(renewed.text("/expires_at"), "2027-01-20T15:00:00+00:00");
}

#[tokio::test]
async fn nothing_is_sold_without_a_webhook_secret() {
    let shop =
        Shop::open_with(Options::default(), &[("LICENTIA_STRIPE__WEBHOOK_SECRET", "")]).await;
    let ada = shop.buyer("ada@example.com").await;
    assert_eq!(shop.ask(&ada, "starter").await.problem(), (503, "billing_not_configured"));
    assert_eq!(shop.stripe_customers(), 0);
}

#[tokio::test]
async fn a_grant_applies_again_when_nothing_paid_is_left() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.app.grant(&ada.customer_id, "starter").await;
    let session = shop.buy(&ada, "professional").await;
    assert_eq!(shop.license(&ada).await["plan"], "professional");
    shop.sandbox.cancel_now(&shop.subscription_of(&session)).unwrap();
    shop.settled().await;
    let license = shop.license(&ada).await;
    assert_eq!((&license["plan"], &license["status"]), (&json!("starter"), &json!("active")));
    assert_eq!(license["expires_at"], serde_json::Value::Null);
    let paid = &shop.licenses(&ada).await[1];
    assert_eq!((&paid["plan"], &paid["status"]), (&json!("professional"), &json!("revoked")));
}
