//! The scenarios of docs/requirements.md, each named by its number: forged and repeated webhooks,
//! late or missing payments, a Stripe that fails. Those about doing something once are in `once`.

use std::time::Duration;

use licentia::domain::operator::admin_key::Scope;
use licentia_sandbox::{ApiFault, Card, MailFault, Options, Paid, Sending, Times, sign};
use serde_json::json;

use crate::harness::database::{execute, number};
use crate::harness::shop::{Shop, event, session_of};

/// Sends a body to the webhook, signed or not. Returns the status and the code.
async fn deliver(shop: &Shop, body: &str, signature: Option<&str>) -> (u16, String) {
    let answer = shop.app.client.deliver(body, signature).await;
    let code = answer.body["code"].as_str().unwrap_or_default();
    (answer.status, code.to_owned())
}

fn signed(shop: &Shop, body: &str, secrets: &[&str]) -> String {
    sign(secrets, shop.sandbox.clock().now(), body.as_bytes())
}

#[tokio::test]
async fn a_forged_unsigned_or_altered_webhook_changes_nothing_stripe_1() {
    let shop = Shop::open().await;
    let body = event("evt_1", false, "cus_1");
    let now = shop.sandbox.clock().now();
    let good = signed(&shop, &body, &[&shop.secret]);
    let refused = (400, "bad_webhook".to_owned());
    let signature = |secret: &str, time| sign(&[secret], time, body.as_bytes());
    let forged = [
        None,
        Some(String::new()),
        Some("t=,v1=".to_owned()),
        Some(format!("t={now}")),
        Some(good.replace("v1=", "v0=")),
        Some(signature("whsec_wrong", now)),
        Some(signature("", now)),
        Some(signature(&shop.secret, now - 301)),
        Some(signature(&shop.secret, now + 301)),
        Some(good.replace("t=", "t=1")),
    ];
    for header in &forged {
        assert_eq!(deliver(&shop, &body, header.as_deref()).await, refused, "{header:?}");
    }
    // One byte of the body, at the start, in the middle and at the end.
    for place in [0, body.len() / 2, body.len() - 1] {
        let mut altered = body.clone().into_bytes();
        altered[place] ^= 1;
        let altered = String::from_utf8(altered).unwrap();
        assert_eq!(deliver(&shop, &altered, Some(&good)).await, refused, "{altered}");
    }
    for nothing in ["null", "[]", "{}", "{", "{\"id\":\"evt_1\"}"] {
        let signature = signed(&shop, nothing, &[&shop.secret]);
        assert_eq!(deliver(&shop, nothing, Some(&signature)).await, refused, "{nothing}");
    }
    assert_eq!(shop.app.count("inbox").await, 0);
    assert_eq!(deliver(&shop, &body, Some(&good)).await.0, 200);
    assert_eq!(shop.app.count("inbox").await, 1);
}

#[tokio::test]
async fn a_test_event_at_a_live_server_and_a_foreign_one_do_nothing_stripe_2() {
    let live = [
        ("LICENTIA_STRIPE__SECRET_KEY", "sk_live_other"),
        ("LICENTIA_STRIPE__API_URL", "http://127.0.0.1:1/"),
    ];
    let shop = Shop::open_with(Options::default(), &live).await;
    let ada = shop.buyer("ada@example.com").await;
    // Even an event about one of our customers.
    let link = "UPDATE customers SET stripe_customer_id = 'cus_1'";
    assert_eq!(execute(&shop.app.app.store, link).await.unwrap(), 1);
    let test = event("evt_test", false, "cus_1");
    let signature = signed(&shop, &test, &[&shop.secret]);
    assert_eq!(deliver(&shop, &test, Some(&signature)).await.0, 200);
    assert_eq!(shop.app.count("inbox").await, 0);
    assert_eq!(shop.license(&ada).await["plan"], "trial");

    // The reverse: this server is in test mode.
    let shop = Shop::open().await;
    let body = event("evt_live", true, "cus_1");
    let signature = signed(&shop, &body, &[&shop.secret]);
    assert_eq!(deliver(&shop, &body, Some(&signature)).await.0, 200);
    assert_eq!(shop.app.count("inbox").await, 0);
    // A type that is not about sales, and an unknown customer.
    let unknown =
        body.replace("customer.subscription.updated", "radar.warning").replace("true", "false");
    let signature = signed(&shop, &unknown, &[&shop.secret]);
    assert_eq!(deliver(&shop, &unknown, Some(&signature)).await.0, 200);
    assert_eq!(shop.app.count("inbox").await, 0);
    let foreign = event("evt_foreign", false, "cus_foreign");
    let signature = signed(&shop, &foreign, &[&shop.secret]);
    assert_eq!(deliver(&shop, &foreign, Some(&signature)).await.0, 200);
    shop.settled().await;
    let done = "SELECT COUNT(*) FROM inbox WHERE done_at IS NOT NULL AND body = ''";
    assert_eq!(number(&shop.app.app.store, done).await, 1, "a foreign event is kept");
}

#[tokio::test]
async fn a_delayed_payment_counts_when_the_money_has_arrived_stripe_3() {
    let shop = Shop::open().await;
    for (email, card, paid) in [
        ("ada@example.com", Card::DelayedPaid, true),
        ("eve@example.com", Card::DelayedFailed, false),
    ] {
        let buyer = shop.buyer(email).await;
        let session = shop.checkout(&buyer, "professional").await;
        assert_eq!(shop.sandbox.pay(&session, card).unwrap(), Paid::Completed);
        shop.settled().await;
        // Stripe calls the subscription active, but nothing was paid.
        assert_eq!(shop.subscription(&buyer).await["status"], "active");
        assert_eq!(shop.license(&buyer).await["plan"], "trial");
        assert_eq!(shop.orders(&buyer).await[0]["status"], "pending");
        let intent = shop.sandbox.payment_intent(&session).unwrap();
        shop.sandbox.settle(&intent, paid).unwrap();
        shop.settled().await;
        if paid {
            shop.must_be_paid(&buyer).await;
            assert_eq!(shop.mails_about_sales(email).len(), 1);
        } else {
            assert_eq!(shop.license(&buyer).await["plan"], "trial");
            assert_eq!(shop.orders(&buyer).await[0]["status"], "failed");
        }
    }
}

#[tokio::test]
async fn a_pending_first_debit_does_not_ask_the_customer_to_pay_again_stripe_3() {
    let shop = Shop::open().await;
    for (email, card, paid) in [
        ("ada@example.com", Card::DelayedPaid, true),
        ("eve@example.com", Card::DelayedFailed, false),
    ] {
        let buyer = shop.buyer(email).await;
        let session = shop.checkout(&buyer, "professional").await;
        shop.sandbox.pay(&session, card).unwrap();
        // Stripe may also call such a subscription incomplete.
        let subscription = shop.subscription_of(&session);
        let incomplete = json!({ "status": "incomplete" });
        shop.sandbox.edit(&subscription, incomplete, "customer.subscription.updated").unwrap();
        shop.settled().await;
        for plan in ["professional", "starter"] {
            let answer = shop.ask(&buyer, plan).await;
            assert_eq!(answer.problem(), (409, "payment_under_way"), "{email} {plan}");
        }
        let intent = shop.sandbox.payment_intent(&session).unwrap();
        shop.sandbox.settle(&intent, paid).unwrap();
        let status = if paid { "active" } else { "incomplete_expired" };
        let status = json!({ "status": status });
        shop.sandbox.edit(&subscription, status, "customer.subscription.updated").unwrap();
        shop.settled().await;
        match paid {
            true => {
                assert_eq!(shop.ask(&buyer, "starter").await.problem(), (409, "already_subscribed"))
            }
            false => assert_ne!(shop.checkout(&buyer, "starter").await, session),
        }
    }
}

#[tokio::test]
async fn a_failed_delayed_payment_grants_nothing_with_any_status_stripe_3() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.sandbox.pay(&session, Card::DelayedFailed).unwrap();
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.settle(&intent, false).unwrap();
    let subscription = shop.subscription_of(&session);
    let active = json!({ "status": "active" });
    shop.sandbox.edit(&subscription, active, "customer.subscription.updated").unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "trial");
    assert_eq!(shop.orders(&ada).await[0]["status"], "failed");
}

#[tokio::test]
async fn a_change_to_a_lower_plan_is_not_paid_by_a_failed_payment_stripe_3() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let back = format!("{}/docs", shop.app.client.base);
    let yearly = json!({ "plan": "professional", "interval": "year", "success_url": back,
        "cancel_url": back });
    let opened = ada.client.post("/api/subscriptions/checkout", &yearly).await;
    let session = session_of(opened.text("/checkout_url"));
    shop.sandbox.pay(&session, Card::DelayedFailed).unwrap();
    let (intent, subscription) =
        (shop.sandbox.payment_intent(&session).unwrap(), shop.subscription_of(&session));
    shop.sandbox.change_plan(&subscription, "price_starter_monthly").unwrap();
    shop.settled().await;
    let latest = shop.sandbox.object(&subscription)["latest_invoice"].clone();
    let latest = shop.sandbox.object(latest.as_str().unwrap());
    assert_eq!((&latest["status"], &latest["amount_paid"]), (&json!("paid"), &json!(0)));
    assert_eq!(shop.license(&ada).await["plan"], "trial", "the bank decides yet");
    shop.sandbox.settle(&intent, false).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "trial", "nothing was ever paid");
    let drift = shop.app.admin(Scope::Read).await.get("/api/admin/drift").await.body;
    assert_eq!(drift["paid_customers_without_license"], 0, "{drift}");
}

#[tokio::test]
async fn webhooks_get_5xx_while_the_database_is_down_stripe_5() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    let store = &shop.app.app.store;
    execute(store, "ALTER TABLE inbox RENAME TO inbox_away").await.unwrap();
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.until("every delivery was refused", async || {
        let deliveries = shop.sandbox.deliveries();
        let refused =
            deliveries.iter().filter(|delivery| delivery.last.starts_with("HTTP 5")).count();
        refused > 0 && deliveries.iter().all(|delivery| delivery.attempts > 0)
    })
    .await;
    let paid = "SELECT COUNT(*) FROM licenses WHERE source = 'subscription'";
    assert_eq!(number(store, paid).await, 0);
    execute(store, "ALTER TABLE inbox_away RENAME TO inbox").await.unwrap();
    shop.sandbox.retry_deliveries();
    shop.settled().await;
    shop.must_be_paid(&ada).await;
}

#[tokio::test]
async fn a_failing_stripe_delays_its_customer_and_nothing_else_stripe_6() {
    for fault in [ApiFault::ErrorBefore, ApiFault::RateLimited, ApiFault::AnswerLost] {
        let shop = Shop::open().await;
        let ada = shop.buyer("ada@example.com").await;
        let session = shop.checkout(&ada, "professional").await;
        shop.sandbox.faults().api(fault, Times::Always);
        shop.sandbox.pay(&session, Card::Paid).unwrap();
        shop.sandbox.settled().await;
        let tried = "SELECT COUNT(*) FROM inbox WHERE attempts > 0";
        shop.until("it was tried", async || number(&shop.app.app.store, tried).await > 0).await;
        // Nothing is marked as done, and other routes work.
        let done = "SELECT COUNT(*) FROM inbox WHERE done_at IS NOT NULL AND stripe_customer_id IS NOT NULL";
        assert_eq!(number(&shop.app.app.store, done).await, 0, "{fault:?}");
        assert_eq!(shop.license(&ada).await["plan"], "trial");
        shop.buyer("eve@example.com").await;
        shop.sandbox.faults().clear();
        // All retries are due within a minute. One may be under way, and fail later.
        shop.until("all retries are done", async || {
            shop.sandbox.advance(Duration::from_secs(10));
            shop.open_work().await == 0
        })
        .await;
        shop.settled().await;
        shop.must_be_paid(&ada).await;
    }
}

#[tokio::test]
async fn a_silent_or_slow_stripe_times_out_and_is_retried_stripe_6() {
    let held_up = async |fault| {
        let shop = Shop::open().await;
        let ada = shop.buyer("ada@example.com").await;
        let session = shop.checkout(&ada, "professional").await;
        shop.sandbox.faults().api_call(fault, "GET /v1/subscriptions", Times::Next(1));
        shop.sandbox.pay(&session, Card::Paid).unwrap();
        shop.sandbox.settled().await;
        shop.until("somebody waits", async || shop.sandbox.faults().active().is_empty()).await;
        // Meanwhile all other customers are served.
        let eve = shop.buyer("eve@example.com").await;
        let other = shop.checkout(&eve, "professional").await;
        shop.sandbox.pay(&other, Card::Paid).unwrap();
        let served = async || shop.license(&eve).await["trial"] == false;
        shop.until("the other has a license", served).await;
        shop.must_be_paid(&eve).await;
        assert_eq!(shop.license(&ada).await["plan"], "trial", "{fault:?}");
        shop.until("it was tried again", async || {
            shop.sandbox.advance(Duration::from_secs(1));
            shop.open_work().await == 0
        })
        .await;
        shop.must_be_paid(&ada).await;
    };
    tokio::join!(held_up(ApiFault::Silence), held_up(ApiFault::SlowBytes));
}

#[tokio::test]
async fn access_requires_completed_3d_secure_stripe_14() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    let paid = shop.sandbox.pay(&session, Card::Authenticate).unwrap();
    let Paid::AuthenticationRequired { payment_intent } = paid else { panic!("{paid:?}") };
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "trial");
    // The same checkout is still open.
    assert_eq!(shop.checkout(&ada, "professional").await, session);
    shop.sandbox.authenticate(&payment_intent, true).unwrap();
    shop.settled().await;
    shop.must_be_paid(&ada).await;

    // Without 3-D Secure it expires, and another checkout is possible.
    let eve = shop.buyer("eve@example.com").await;
    let left = shop.checkout(&eve, "professional").await;
    shop.sandbox.pay(&left, Card::Authenticate).unwrap();
    shop.sandbox.advance_days(2);
    shop.settled().await;
    assert_eq!(shop.license(&eve).await["plan"], "trial");
    assert_eq!(shop.orders(&eve).await[0]["status"], "failed");
    let again = shop.buy(&eve, "professional").await;
    assert_ne!(again, left);
    assert_eq!(shop.license(&eve).await["plan"], "professional");
}

#[tokio::test]
async fn a_declined_card_changes_nothing_and_another_card_pays_stripe_14() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    assert_eq!(shop.sandbox.pay(&session, Card::Declined).unwrap(), Paid::Declined);
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "trial");
    assert!(shop.mails_about_sales("ada@example.com").is_empty());
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled().await;
    shop.must_be_paid(&ada).await;
}

#[tokio::test]
async fn both_webhook_secrets_are_accepted_in_any_order_while_one_is_rolled_stripe_18() {
    let shop = Shop::open_with(
        Options { sending: Sending::Manual, ..Options::default() },
        &[("LICENTIA_STRIPE__WEBHOOK_SECRET", "whsec_new, whsec_old")],
    )
    .await;
    for (n, secrets) in [
        &["whsec_new", "whsec_other"][..],
        &["whsec_other", "whsec_new"],
        &["whsec_old"],
        &["whsec_old", "whsec_new"],
    ]
    .iter()
    .enumerate()
    {
        let body = event(&format!("evt_{n}"), false, "cus_1");
        let signature = signed(&shop, &body, secrets);
        assert_eq!(deliver(&shop, &body, Some(&signature)).await.0, 200, "{secrets:?}");
    }
    let body = event("evt_other", false, "cus_1");
    let signature = signed(&shop, &body, &["whsec_other"]);
    assert_eq!(deliver(&shop, &body, Some(&signature)).await.0, 400);
}

#[tokio::test]
async fn while_stripe_is_down_everything_but_buying_works_stripe_20() {
    let shop = Shop::open().await;
    shop.sandbox.faults().api(ApiFault::ErrorBefore, Times::Always);
    let ada = shop.buyer("ada@example.com").await;
    assert_eq!(shop.license(&ada).await["plan"], "trial");
    let login = json!({ "email": "ada@example.com", "password": "SecurePass123" });
    assert_eq!(shop.app.client.post("/api/customers/login", &login).await.status, 200);
    let app = shop.app.client.with_token(&ada.trial);
    let fresh = app.send(reqwest::Method::POST, "/api/licenses/refresh", None).await;
    assert_eq!(fresh.status, 200);
    let verdict =
        shop.app.client.post("/api/licenses/verify", &json!({ "token": ada.trial })).await;
    assert_eq!(verdict.body["valid"], true, "{verdict:?}");
    assert_eq!(shop.ask(&ada, "starter").await.problem(), (503, "billing_unavailable"));
    assert_eq!(shop.app.client.get("/health/ready").await.status, 200);
    shop.sandbox.faults().clear();
    shop.buy(&ada, "starter").await;
    assert_eq!(shop.license(&ada).await["plan"], "starter");
    assert_eq!(shop.stripe_customers(), 1);
}

#[tokio::test]
async fn a_mail_server_that_fails_delays_the_mail_and_nothing_else_stripe_4() {
    for fault in [MailFault::RefuseForNow, MailFault::AcceptThenDrop, MailFault::Drop] {
        let shop = Shop::open().await;
        let ada = shop.buyer("ada@example.com").await;
        shop.settled().await;
        shop.sandbox.faults().mail(fault, Times::Next(2));
        let session = shop.checkout(&ada, "professional").await;
        shop.sandbox.pay(&session, Card::Paid).unwrap();
        shop.until("the mail is out", async || {
            shop.sandbox.advance(Duration::from_secs(1));
            let paid = "SELECT COUNT(*) FROM outbox WHERE kind = 'upgrade' AND sent_at IS NOT NULL";
            number(&shop.app.app.store, paid).await == 1
        })
        .await;
        shop.must_be_paid(&ada).await;
        let mails = shop.mails_about_sales("ada@example.com");
        let ids: Vec<_> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
        assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]), "{fault:?}: {ids:?}");
    }
}
