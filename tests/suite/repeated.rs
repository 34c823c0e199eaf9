//! Repeated requests and events, at once and on several servers, take effect once. The numbers are
//! those of docs/requirements.md.

use futures_util::future::join_all;
use licentia_sandbox::{ApiFault, Card, DeliveryFault, Order, Times};
use serde_json::{Value, json};

use crate::harness::database::number;
use crate::harness::shop::Shop;

#[tokio::test]
async fn two_upgrades_at_once_create_one_stripe_customer_and_one_checkout_stripe_7() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let plans = ["professional", "starter", "professional", "starter", "professional", "starter"];
    let answers = join_all(plans.iter().map(|plan| shop.ask(&ada, plan))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(shop.stripe_customers(), 1);
    let sessions =
        answers.iter().map(|a| crate::harness::shop::session_of(a.text("/checkout_url")));
    let mut open: Vec<_> =
        sessions.filter(|id| shop.sandbox.object(id)["status"] == "open").collect();
    open.sort();
    open.dedup();
    assert_eq!(open.len(), 1, "{open:?}");
}

#[tokio::test]
async fn two_servers_on_one_database_create_one_of_everything_stripe_7() {
    let shop = Shop::open().await;
    let other = shop.second_server().await;
    let ada = shop.buyer("ada@example.com").await;
    let there = other.serves(&ada);
    let asked = (0..8).map(|n| shop.ask(if n % 2 == 0 { &ada } else { &there }, "professional"));
    let answers = join_all(asked).await;
    let urls: Vec<_> = answers.iter().map(|answer| answer.text("/checkout_url")).collect();
    assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
    assert_eq!(shop.stripe_customers(), 1);
    // Both servers get every event several times, and both have a worker.
    shop.sandbox.faults().delivery(DeliveryFault::Repeat(5), Times::Always);
    shop.sandbox.pay(&crate::harness::shop::session_of(urls[0]), Card::Paid).unwrap();
    shop.settled().await;
    shop.must_be_paid(&ada).await;
    assert_eq!(shop.mails_about_sales("ada@example.com").len(), 1);
}

#[tokio::test]
async fn lost_responses_cause_no_second_stripe_customer_or_checkout_stripe_7() {
    for fault in [ApiFault::AnswerLost, ApiFault::ErrorAfter, ApiFault::ErrorPage] {
        for call in ["POST /v1/customers", "POST /v1/checkout/sessions"] {
            let shop = Shop::open().await;
            let ada = shop.buyer("ada@example.com").await;
            shop.sandbox.faults().api_call(fault, call, Times::Next(3));
            let mut answer = shop.ask(&ada, "professional").await;
            for _ in 0..3 {
                if answer.status == 200 {
                    break;
                }
                assert_eq!(answer.problem(), (503, "billing_unavailable"));
                answer = shop.ask(&ada, "professional").await;
            }
            let session = crate::harness::shop::session_of(answer.text("/checkout_url"));
            assert_eq!(shop.stripe_customers(), 1, "{fault:?} {call}");
            shop.sandbox.faults().clear();
            assert_eq!(shop.checkout(&ada, "professional").await, session, "{fault:?} {call}");
            shop.sandbox.pay(&session, Card::Paid).unwrap();
            shop.settled().await;
            shop.must_be_paid(&ada).await;
        }
    }
}

#[tokio::test]
async fn a_refusal_after_a_lost_response_causes_no_second_stripe_customer_stripe_7() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    // As if the key lost a right, or was rolled, before the call is repeated.
    for fault in [ApiFault::AnswerLost, ApiFault::Refused] {
        shop.sandbox.faults().api_call(fault, "POST /v1/customers", Times::Next(1));
    }
    shop.checkout(&ada, "professional").await;
    assert_eq!(shop.stripe_customers(), 1);
}

#[tokio::test]
async fn no_second_checkout_is_created_while_the_first_attempt_is_uncertain_stripe_7() {
    for fault in [ApiFault::ErrorAfter, ApiFault::ErrorPage] {
        let shop = Shop::open().await;
        let ada = shop.buyer("ada@example.com").await;
        let faults = shop.sandbox.faults();
        faults.api_call(fault, "POST /v1/checkout/sessions", Times::Always);
        // The session cannot be looked up either.
        faults.api_call(ApiFault::ErrorBefore, "GET /v1/checkout/sessions", Times::Always);
        for plan in ["professional", "starter"] {
            assert_eq!(shop.ask(&ada, plan).await.problem(), (503, "billing_unavailable"));
        }
        faults.clear();
        shop.checkout(&ada, "starter").await;
        let listed = format!("{}/v1/checkout/sessions?status=open", shop.sandbox.url());
        let listed = reqwest::Client::new().get(listed).bearer_auth(shop.sandbox.secret_key());
        let open: Value = listed.send().await.unwrap().json().await.unwrap();
        assert_eq!(open["data"].as_array().unwrap().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn two_paid_sessions_are_reported_and_the_higher_plan_applies_stripe_7() {
    let shop = Shop::open().await;
    let alerts = async || shop.app.client.metric("licentia_sync_alerts_total").await.unwrap();
    let ada = shop.buyer("ada@example.com").await;
    let first = shop.checkout(&ada, "starter").await;
    // As if a second session had slipped through: created without the service.
    let stripe_id = shop.stripe_customer_of(&first);
    let form = [
        ("mode", "subscription"),
        ("customer", stripe_id.as_str()),
        ("line_items[0][price]", "price_pro_monthly"),
        ("line_items[0][quantity]", "1"),
        ("success_url", "https://app.example/"),
    ];
    let second = shop.at_stripe("checkout/sessions", &form).await;
    let second = second["id"].as_str().unwrap();
    shop.sandbox.pay(&first, Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "starter");
    assert_eq!(alerts().await, 0);
    shop.sandbox.pay(second, Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "professional");
    assert!(alerts().await > 0);
    // When it ends, the other one takes over.
    shop.sandbox.cancel_now(&shop.subscription_of(second)).unwrap();
    shop.settled().await;
    let license = shop.license(&ada).await;
    assert_eq!((&license["plan"], &license["status"]), (&json!("starter"), &json!("active")));
}

#[tokio::test]
async fn the_same_event_fifty_times_at_once_takes_effect_once_stripe_8() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.sandbox.faults().delivery(DeliveryFault::Repeat(50), Times::Always);
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled().await;
    shop.must_be_paid(&ada).await;
    assert_eq!(shop.mails_about_sales("ada@example.com").len(), 1);
    let twice = "SELECT COUNT(*) - COUNT(DISTINCT event_id) FROM inbox";
    assert_eq!(number(&shop.app.app.store, twice).await, 0);
}

#[tokio::test]
async fn the_events_of_a_payment_in_any_order_have_one_effect_stripe_8() {
    for order in [Order::AsCreated, Order::Reversed, Order::Shuffled] {
        let shop = Shop::open().await;
        let ada = shop.buyer("ada@example.com").await;
        let session = shop.checkout(&ada, "professional").await;
        shop.sandbox.faults().hold_deliveries();
        shop.sandbox.pay(&session, Card::Paid).unwrap();
        shop.sandbox.faults().release_deliveries(order);
        shop.settled().await;
        shop.must_be_paid(&ada).await;
        assert_eq!(shop.mails_about_sales("ada@example.com").len(), 1);
    }
}
