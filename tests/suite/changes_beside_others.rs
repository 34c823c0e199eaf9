//! Changes of a subscription that somebody else changes too: the vendor, the portal, a former
//! request, or Stripe.

use std::time::Duration;

use licentia_sandbox::{ApiFault, Card, Proration, Times};
use serde_json::{Value, json};

use crate::harness::database::texts;
use crate::harness::subscriber::{CANCEL, PREVIEW, RESUME, Subscriber};

fn schedule(own: &Subscriber) -> Value {
    own.shop.sandbox.object(&own.subscription)["schedule"].clone()
}

/// Lets Stripe refuse a change before it takes effect, so that it may be repeated.
async fn change_is_never_made(own: &Subscriber, wanted: &Value, preview: &Value) {
    let call = format!("POST /v1/subscriptions/{}", own.subscription);
    own.shop.sandbox.faults().api_call(ApiFault::RateLimited, &call, Times::Always);
    let answer = own.change_by(wanted, preview).await;
    assert_eq!(answer.problem(), (503, "billing_unavailable"), "{answer:?}");
    own.shop.sandbox.faults().clear();
}

#[tokio::test]
async fn a_repeated_change_that_was_never_made_is_held_to_its_preview() {
    let wanted = json!({ "quantity": 8 });
    for what in ["portal", "balance", "time"] {
        let own = Subscriber::with_five_seats().await;
        let before = own.newest_invoice()["id"].clone();
        let preview = own.preview(&wanted).await;
        change_is_never_made(&own, &wanted, &preview).await;
        let sandbox = &own.shop.sandbox;
        match what {
            "portal" => {
                let items = sandbox.object(&own.subscription)["items"]["data"].clone();
                let item = items[0]["id"].as_str().unwrap();
                sandbox.set_quantity(&own.subscription, item, 12, Proration::None).unwrap();
            }
            "balance" => drop(sandbox.adjust_balance(&own.customer, -700).unwrap()),
            _ => sandbox.advance(Duration::from_secs(30 * 60 + 1)),
        }
        let answer = own.change_by(&wanted, &preview).await;
        assert_eq!(answer.problem(), (409, "preview_outdated"), "{what}");
        assert_eq!(own.newest_invoice()["id"], before, "{what}");
        assert_eq!(own.seats().await, 5, "{what}");
    }
    let own = Subscriber::with_five_seats().await;
    let preview = own.preview(&wanted).await;
    change_is_never_made(&own, &wanted, &preview).await;
    own.shop.sandbox.advance(Duration::from_secs(60));
    assert_eq!(own.change_by(&wanted, &preview).await.status, 200, "nothing else happened");
    assert_eq!(own.newest_invoice()["amount_due"], preview["due_now"]);
}

#[tokio::test]
async fn a_schedule_of_the_vendor_is_not_thrown_away() {
    let own = Subscriber::with(json!({ "plan": "studio", "interval": "month" })).await;
    let ramp = ["price_team_month", "price_studio_month"];
    own.shop.sandbox.schedule_changes(&own.subscription, &ramp).unwrap();
    let before = schedule(&own);
    assert!(before.is_string());
    for (path, request) in
        [(PREVIEW, json!({ "addons": ["pdf"] })), (CANCEL, json!({ "at": "period_end" }))]
    {
        let answer = own.ada.client.post(path, &request).await;
        assert_eq!(answer.problem(), (409, "change_not_possible"), "{path}");
        assert!(answer.text("/detail").contains("the vendor has scheduled"), "{answer:?}");
    }
    // A vendor can also schedule the end. Then the customer does not undo it.
    let path = format!("subscriptions/{}", own.subscription);
    let released = format!("subscription_schedules/{}/release", before.as_str().unwrap());
    own.shop.at_stripe(&released, &[]).await;
    own.shop.at_stripe(&path, &[("cancel_at_period_end", "true")]).await;
    assert_eq!(own.ada.client.post(RESUME, &Value::Null).await.status, 200);
    own.shop.sandbox.schedule_changes(&own.subscription, &ramp).unwrap();
    let ended = own.ada.client.post(CANCEL, &json!({ "at": "now" })).await;
    assert_eq!((ended.status, ended.text("/status")), (200, "canceled"), "{ended:?}");
}

#[tokio::test]
async fn the_portals_schedule_stays_until_a_change_is_paid() {
    let own = Subscriber::with(json!({ "plan": "studio", "interval": "month" })).await;
    own.shop.sandbox.advance_days(10);
    own.shop.sandbox.schedule_change(&own.subscription, "price_starter_month").unwrap();
    let scheduled = schedule(&own);
    own.shop.sandbox.replace_card(&own.customer, Card::DeclinedLater).unwrap();
    let wanted = json!({ "addons": ["pdf"] });
    let preview = own.preview(&wanted).await;
    assert_eq!(own.change_by(&wanted, &preview).await.status, 402);
    assert_eq!(schedule(&own), scheduled, "the change was declined");
    own.shop.settled().await;
    own.shop.sandbox.advance_days(1);
    own.shop.settled().await;
    assert_eq!(schedule(&own), scheduled, "it was given up");

    let preview = own.preview(&wanted).await;
    assert_eq!(own.change_by(&wanted, &preview).await.status, 402);
    let invoice = own.newest_invoice()["id"].as_str().unwrap().to_owned();
    own.shop.sandbox.pay_invoice_with(&invoice, Card::Paid).unwrap();
    assert!(own.has_pdf().await);
    assert_eq!(schedule(&own), Value::Null, "the payment ends it, without another call");
    assert_eq!(own.change_by(&wanted, &preview).await.status, 200, "it is done");

    own.shop.sandbox.replace_card(&own.customer, Card::Paid).unwrap();
    own.shop.sandbox.schedule_change(&own.subscription, "price_starter_month").unwrap();
    let canceled = own.ada.client.post(CANCEL, &json!({ "at": "period_end" })).await;
    assert_eq!((canceled.status, schedule(&own)), (200, Value::Null));
    let requests = "SELECT detail FROM audit_log WHERE action LIKE 'subscription.%_requested'";
    let details = texts(&own.shop.app.app.store, requests).await;
    assert_eq!(details.len(), 3, "{details:?}");
    for detail in details {
        assert!(detail.contains(r#""replaces_schedule":true"#), "{detail}");
    }
}

#[tokio::test]
async fn a_decrease_waits_for_the_end_of_the_period_also_beside_an_addition() {
    let own = Subscriber::with_five_seats().await;
    let balance = || own.shop.sandbox.object(&own.customer)["balance"].clone();
    let answer = own.ada.client.post(PREVIEW, &json!({ "quantity": 1, "addons": ["pdf"] })).await;
    assert_eq!(answer.problem(), (409, "change_not_possible"), "{answer:?}");
    assert!(answer.text("/detail").contains("two changes"), "{answer:?}");
    for (wanted, seats) in [(json!({ "addons": ["pdf"] }), 5), (json!({ "quantity": 1 }), 5)] {
        let answer = own.change(&wanted).await;
        assert_eq!(answer.status, 200, "{wanted}: {answer:?}");
        assert_eq!(own.seats().await, seats);
    }
    assert!(own.has_pdf().await);
    assert_eq!(balance(), 0, "nothing is credited");
    let mut ada = own.ada.clone();
    own.shop.pass_days(&mut ada, 31).await;
    assert_eq!(own.shop.claims(&ada).await.limits["seats"], 1);
}

#[tokio::test]
async fn a_balance_that_paid_a_part_of_a_waiting_change_is_counted() {
    let own = Subscriber::with_five_seats().await;
    own.shop.sandbox.adjust_balance(&own.customer, -700).unwrap();
    own.shop.sandbox.replace_card(&own.customer, Card::DeclinedLater).unwrap();
    assert_eq!(own.change(&json!({ "quantity": 8 })).await.status, 402);
    own.shop.sandbox.replace_card(&own.customer, Card::Paid).unwrap();
    let wanted = json!({ "quantity": 9 });
    let preview = own.preview(&wanted).await;
    let answer = own.change_by(&wanted, &preview).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(own.newest_invoice()["amount_due"], preview["due_now"], "{preview}");
}

#[tokio::test]
async fn a_preview_reads_what_a_change_reads() {
    let own = Subscriber::with_five_seats().await;
    let listing = "GET /v1/checkout/sessions";
    own.shop.sandbox.faults().api_call(ApiFault::RateLimited, listing, Times::Always);
    let answer = own.ada.client.post(PREVIEW, &json!({ "quantity": 8 })).await;
    own.shop.sandbox.faults().clear();
    assert_eq!(answer.problem(), (503, "billing_unavailable"), "no amount without all purchases");
}
