//! Previews and changes of a subscription through Licentia, its cancellation and resumption. Those
//! that wait for their payment are in `changes_waiting`.

use std::time::Duration;

use licentia_sandbox::{ApiFault, Card, CouponDuration, Proration, Times};
use serde_json::{Value, json};

use crate::harness::Answer;
use crate::harness::selling::{LOFT, loft};
use crate::harness::shop::{Buyer, Shop};
use crate::harness::subscriber::{CANCEL, CHANGE, PREVIEW, RESUME, Subscriber};

/// Returns the sum of the lines of a preview.
fn sum(preview: &Value) -> i64 {
    let lines = preview["lines"].as_array().unwrap();
    lines.iter().map(|line| line["amount"].as_i64().unwrap()).sum()
}

#[tokio::test]
async fn a_previewed_amount_is_the_invoice_to_the_cent() {
    let own = Subscriber::with_five_seats().await;
    for wanted in [
        json!({ "quantity": 8 }),
        json!({ "addons": ["pdf"] }),
        json!({ "quantity": 9, "addons": ["pdf"] }),
        json!({ "interval": "year" }),
        json!({ "plan": "studio", "interval": "month", "addons": [] }),
        json!({ "plan": "team", "quantity": 20, "addons": ["pdf"] }),
    ] {
        let preview = own.preview(&wanted).await;
        assert_eq!(sum(&preview), preview["due_now"].as_i64().unwrap(), "{wanted}: {preview}");
        let before = own.newest_invoice();
        let answer = own.change_by(&wanted, &preview).await;
        assert_eq!(answer.status, 200, "{wanted}: {answer:?}");
        let invoice = own.newest_invoice();
        assert_ne!(invoice["id"], before["id"], "{wanted}");
        assert_eq!(invoice["amount_due"], preview["due_now"], "{wanted}: {preview}");
        assert_eq!(invoice["status"], "paid", "{wanted}");
        // A jump of the clock ends the lease of a sync in progress.
        own.shop.settled().await;
        own.shop.sandbox.advance(Duration::from_secs(7 * 3600 + 11));
    }
    assert_eq!(own.seats().await, 20);
    assert!(own.has_pdf().await);
    let next = own.preview(&json!({})).await;
    assert_eq!((&next["due_now"], &next["lines"]), (&json!(0), &json!([])));
    let subscription = own.shop.subscription(&own.ada).await;
    assert_eq!(subscription["quantity"], 20);
    assert_eq!(subscription["addons"], json!(["pdf"]));
    assert_eq!(
        (&subscription["interval"], &subscription["currency"]),
        (&json!("month"), &json!("usd"))
    );
}

#[tokio::test]
async fn the_next_amount_is_that_of_the_renewal() {
    let mut own = Subscriber::with_five_seats().await;
    for wanted in [
        json!({ "quantity": 8 }),
        json!({ "plan": "starter" }),
        json!({ "plan": "team", "quantity": 3, "addons": ["pdf"] }),
        json!({ "quantity": 2 }),
        json!({}),
    ] {
        let preview = own.preview(&wanted).await;
        let answer = own.change_by(&wanted, &preview).await;
        assert_eq!(answer.status, 200, "{wanted}: {answer:?}");
        let end = own.shop.subscription(&own.ada).await["current_period_end"].clone();
        assert_eq!(preview["next_date"], end, "{wanted}");
        let mut ada = own.ada.clone();
        own.shop.pass_days(&mut ada, 31).await;
        own.ada = ada;
        let renewal = own.newest_invoice();
        assert_eq!(renewal["billing_reason"], "subscription_cycle", "{wanted}");
        assert_eq!(renewal["amount_due"], preview["next_amount"], "{wanted}: {preview}");
    }
}

#[tokio::test]
async fn lines_add_up_and_a_credit_goes_to_the_balance() {
    let own = Subscriber::with(json!({ "plan": "team", "interval": "year", "quantity": 5 })).await;
    own.shop.sandbox.advance_days(10);
    let wanted = json!({ "plan": "starter", "interval": "month" });
    let preview = own.preview(&wanted).await;
    assert_eq!((preview["due_now"].as_i64(), sum(&preview)), (Some(0), 0), "{preview}");
    let credited = preview["lines"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&credited["kind"], &credited["text"]),
        (&json!("balance"), &json!("Credited to your balance"))
    );
    assert_eq!(own.change_by(&wanted, &preview).await.status, 200);
    let balance = own.shop.sandbox.object(&own.customer)["balance"].as_i64().unwrap();
    assert_eq!(Some(-balance), credited["amount"].as_i64());
    assert_eq!(preview["next_amount"], 0, "the balance pays it");
}

#[tokio::test]
async fn discount_tax_and_balance_have_their_own_lines() {
    let own = Subscriber::with_five_seats().await;
    let (shop, path) = (&own.shop, format!("subscriptions/{}", own.subscription));
    shop.at_stripe(&format!("customers/{}", own.customer), &[("address[country]", "DE")]).await;
    shop.at_stripe(&path, &[("automatic_tax[enabled]", "true")]).await;
    shop.sandbox.add_coupon("half", 50, CouponDuration::Forever);
    shop.sandbox.discount(&own.subscription, "half").unwrap();
    shop.sandbox.adjust_balance(&own.customer, -700).unwrap();
    for (wanted, expected) in [
        // The discount of the rest of a period is part of its amount.
        (json!({ "quantity": 20 }), vec!["Tax", "Your balance"]),
        (json!({ "interval": "year" }), vec!["Discount", "Tax"]),
    ] {
        let preview = own.preview(&wanted).await;
        let lines = preview["lines"].as_array().unwrap();
        let added: Vec<_> = lines.iter().filter(|line| line["kind"] != "item").collect();
        let added: Vec<_> = added.iter().map(|line| line["text"].as_str().unwrap()).collect();
        assert_eq!(added, expected, "{wanted}: {preview}");
        assert_eq!(sum(&preview), preview["due_now"].as_i64().unwrap(), "{wanted}");
        assert_eq!(own.change_by(&wanted, &preview).await.status, 200, "{wanted}");
        assert_eq!(own.newest_invoice()["amount_due"], preview["due_now"], "{wanted}");
    }
    let order = &shop.orders(&own.ada).await[0];
    assert!(order["tax"].as_i64() > Some(0), "{order}");
}

/// Asserts that a change is refused because its preview is outdated.
pub fn must_be_outdated(answer: &Answer, why: &str) {
    assert_eq!((answer.status, answer.text("/code")), (409, "preview_outdated"), "{why}");
}

#[tokio::test]
async fn an_outdated_preview_changes_nothing() {
    let own = Subscriber::with_five_seats().await;
    let wanted = json!({ "quantity": 8 });
    let preview = own.preview(&wanted).await;
    let before = own.newest_invoice()["id"].clone();

    must_be_outdated(&own.change_by(&json!({ "quantity": 9 }), &preview).await, "another request");
    let eve = own.shop.buyer("eve@example.com").await;
    let mut request = wanted.clone();
    request["preview_id"] = preview["preview_id"].clone();
    must_be_outdated(&eve.client.post(CHANGE, &request).await, "another customer");
    let id = preview["preview_id"].as_str().unwrap();
    let (text, signature) = id.rsplit_once('.').unwrap();
    for forged in [
        format!("{text}A.{signature}"),
        format!("{text}.{}", signature.to_lowercase()),
        format!("{text}."),
        text.to_owned(),
        "prev_".to_owned(),
        String::new(),
    ] {
        let forged = json!({ "preview_id": forged });
        must_be_outdated(&own.change_by(&wanted, &forged).await, "forged");
    }
    own.shop.sandbox.advance(Duration::from_secs(30 * 60 + 1));
    must_be_outdated(&own.change_by(&wanted, &preview).await, "half an hour later");

    let preview = own.preview(&wanted).await;
    let item = own.shop.sandbox.object(&own.subscription)["items"]["data"][0]["id"].clone();
    let item = item.as_str().unwrap();
    own.shop.sandbox.set_quantity(&own.subscription, item, 6, Proration::None).unwrap();
    must_be_outdated(&own.change_by(&wanted, &preview).await, "changed meanwhile");

    let preview = own.preview(&wanted).await;
    own.shop.sandbox.adjust_balance(&own.customer, -700).unwrap();
    must_be_outdated(&own.change_by(&wanted, &preview).await, "the balance changed");
    assert_eq!(own.newest_invoice()["id"], before);
    assert_eq!(own.seats().await, 5);
}

#[tokio::test]
async fn a_lost_response_changes_once_stripe_6_7() {
    for fault in [ApiFault::AnswerLost, ApiFault::ErrorAfter, ApiFault::ErrorBefore] {
        let own = Subscriber::with_five_seats().await;
        let wanted = json!({ "quantity": 8 });
        let preview = own.preview(&wanted).await;
        let call = format!("POST /v1/subscriptions/{}", own.subscription);
        own.shop.sandbox.faults().api_call(fault, &call, Times::Always);
        let first = own.change_by(&wanted, &preview).await;
        own.shop.sandbox.faults().clear();
        let second = own.change_by(&wanted, &preview).await;
        assert_eq!(second.status, 200, "{fault:?}: {first:?}, {second:?}");
        assert_eq!(own.newest_invoice()["amount_due"], preview["due_now"], "{fault:?}");
        assert_eq!(own.seats().await, 8, "{fault:?}");
        let orders = own.shop.orders(&own.ada).await;
        assert_eq!(orders.len(), 2, "{fault:?}: {orders:?}");
    }
}

#[tokio::test]
async fn two_tabs_change_once_stripe_7() {
    let own = Subscriber::with_five_seats().await;
    let wanted = json!({ "quantity": 8 });
    let preview = own.preview(&wanted).await;
    let (one, other) =
        tokio::join!(own.change_by(&wanted, &preview), own.change_by(&wanted, &preview));
    assert_eq!((one.status, other.status), (200, 200), "{one:?} {other:?}");
    assert_eq!(own.seats().await, 8);
    assert_eq!(own.shop.orders(&own.ada).await.len(), 2);
}

#[tokio::test]
async fn a_change_back_within_the_period_costs_nothing() {
    let own = Subscriber::with(json!({ "plan": "team", "quantity": 5, "addons": ["pdf"] })).await;
    own.shop.sandbox.advance_days(3);
    for wanted in [
        json!({ "quantity": 2 }),
        json!({ "quantity": 5 }),
        json!({ "addons": [] }),
        json!({ "addons": ["pdf"] }),
        json!({ "quantity": 2, "addons": [] }),
        json!({ "quantity": 4, "addons": ["pdf"] }),
    ] {
        let preview = own.preview(&wanted).await;
        assert_eq!(preview["due_now"], 0, "{wanted}: {preview}");
        let answer = own.change_by(&wanted, &preview).await;
        assert_eq!(answer.status, 200, "{wanted}: {answer:?}");
        // Paid units and add-ons work to the end of their period.
        assert_eq!(own.seats().await, 5, "{wanted}");
        assert!(own.has_pdf().await, "{wanted}");
    }
    let more = own.preview(&json!({ "quantity": 6 })).await;
    assert!(more["due_now"].as_i64() > Some(0), "{more}");
    let mut ada = own.ada.clone();
    own.shop.pass_days(&mut ada, 31).await;
    let claims = own.shop.claims(&ada).await;
    assert_eq!(claims.limits["seats"], 4);
}

#[tokio::test]
async fn an_impossible_change_is_refused_with_the_reason() {
    let mut own = Subscriber::with_five_seats().await;
    for (wanted, status, code) in [
        (json!({ "plan": "gold" }), 422, "unknown_plan"),
        (json!({ "plan": "trial" }), 422, "unknown_plan"),
        (json!({ "plan": "starter", "interval": "year" }), 422, "unknown_plan"),
        (json!({ "interval": "decade" }), 422, "unknown_plan"),
        (json!({ "interval": "once" }), 409, "change_not_possible"),
        (json!({ "quantity": 0 }), 400, "invalid_request"),
        (json!({ "quantity": 21 }), 422, "invalid_quantity"),
        (json!({ "quantity": 1_000_000_000 }), 422, "invalid_quantity"),
        (json!({ "plan": "starter", "quantity": 2 }), 422, "invalid_quantity"),
        (json!({ "addons": ["pdf", "pdf"] }), 422, "unknown_addon"),
        (json!({ "addons": ["gold"] }), 422, "unknown_addon"),
        (json!({ "plan": "starter", "addons": ["pdf"] }), 422, "unknown_addon"),
        (json!({ "seats": 2 }), 400, "invalid_request"),
    ] {
        let answer = own.ada.client.post(PREVIEW, &wanted).await;
        assert_eq!((answer.status, answer.text("/code")), (status, code), "{wanted}");
    }
    let eve = own.shop.buyer("eve@example.com").await;
    for (path, request) in [
        (PREVIEW, json!({ "quantity": 2 })),
        (CANCEL, json!({ "at": "now" })),
        (RESUME, Value::Null),
    ] {
        let answer = eve.client.post(path, &request).await;
        assert_eq!((answer.status, answer.text("/code")), (409, "no_subscription"), "{path}");
    }
    own.shop.sandbox.replace_card(&own.customer, Card::DeclinedLater).unwrap();
    let mut ada = own.ada.clone();
    own.shop.pass_days(&mut ada, 25).await;
    own.ada = ada;
    let answer = own.ada.client.post(PREVIEW, &json!({ "quantity": 8 })).await;
    assert_eq!((answer.status, answer.text("/code")), (409, "change_not_possible"));
    assert!(answer.text("/detail").contains("unpaid"), "{answer:?}");
}

#[tokio::test]
async fn an_app_previews_with_its_license_and_cannot_change() {
    let own = Subscriber::with_five_seats().await;
    let license = own.shop.license(&own.ada).await;
    let app = own.shop.app.client.with_token(license["token"].as_str().unwrap());
    let preview = app.post(PREVIEW, &json!({ "quantity": 8 })).await;
    assert_eq!(preview.status, 200, "{preview:?}");
    let change = json!({ "quantity": 8, "preview_id": preview.body["preview_id"] });
    assert_eq!(app.post(CHANGE, &change).await.status, 401);
    assert_eq!(app.post(CANCEL, &json!({ "at": "now" })).await.status, 401);
    assert_eq!(own.seats().await, 5);
}

#[tokio::test]
async fn cancel_and_resume_by_call_stripe_12() {
    let own = Subscriber::with_five_seats().await;
    let before = own.shop.subscription(&own.ada).await;
    for _ in 0..2 {
        let canceled = own.ada.client.post(CANCEL, &json!({ "at": "period_end" })).await;
        assert_eq!(canceled.status, 200, "{canceled:?}");
        assert_eq!(canceled.body["cancel_at"], before["current_period_end"]);
        assert_eq!(canceled.body["status"], "active");
    }
    assert_eq!(own.seats().await, 5);
    let preview = own.preview(&json!({ "quantity": 8 })).await;
    assert_eq!((&preview["next_amount"], &preview["next_date"]), (&Value::Null, &Value::Null));
    for _ in 0..2 {
        let resumed = own.ada.client.post(RESUME, &Value::Null).await;
        assert_eq!(resumed.status, 200, "{resumed:?}");
        assert_eq!(resumed.body["cancel_at"], Value::Null);
    }
    // The portal sets the other one of Stripe's two fields.
    let end = own.shop.sandbox.object(&own.subscription)["items"]["data"][0]["current_period_end"]
        .to_string();
    let path = format!("subscriptions/{}", own.subscription);
    own.shop.at_stripe(&path, &[("cancel_at", &end)]).await;
    let resumed = own.ada.client.post(RESUME, &Value::Null).await;
    assert_eq!((resumed.status, &resumed.body["cancel_at"]), (200, &Value::Null));
    assert_eq!(own.shop.sandbox.object(&own.subscription)["cancel_at"], Value::Null);
}

#[tokio::test]
async fn cancel_now_ends_access_at_once() {
    let own = Subscriber::with_five_seats().await;
    let canceled = own.ada.client.post(CANCEL, &json!({ "at": "now" })).await;
    assert_eq!((canceled.status, canceled.text("/status")), (200, "canceled"));
    own.shop.settled().await;
    assert_eq!(own.shop.license(&own.ada).await["status"], "revoked");
    let again = own.ada.client.post(CANCEL, &json!({ "at": "now" })).await;
    assert_eq!((again.status, again.text("/code")), (409, "no_subscription"));
    let resumed = own.ada.client.post(RESUME, &Value::Null).await;
    assert_eq!((resumed.status, resumed.text("/code")), (409, "no_subscription"));
}

#[tokio::test]
async fn a_change_beside_the_portals_schedule() {
    let own = Subscriber::with(json!({ "plan": "studio", "interval": "month" })).await;
    own.shop.sandbox.advance_days(10);
    own.shop.sandbox.schedule_change(&own.subscription, "price_starter_month").unwrap();
    let wanted = json!({ "addons": ["pdf"] });
    let preview = own.preview(&wanted).await;
    assert_eq!(own.change_by(&wanted, &preview).await.status, 200);
    assert_eq!(own.newest_invoice()["amount_due"], preview["due_now"]);
    assert_eq!(own.shop.sandbox.object(&own.subscription)["schedule"], Value::Null);
    assert!(own.has_pdf().await);
    own.shop.sandbox.schedule_change(&own.subscription, "price_starter_month").unwrap();
    let canceled = own.ada.client.post(CANCEL, &json!({ "at": "period_end" })).await;
    assert_eq!(canceled.status, 200, "{canceled:?}");
    assert_eq!(own.shop.sandbox.object(&own.subscription)["schedule"], Value::Null);
}

#[tokio::test]
async fn a_schedule_that_the_key_may_not_end_stops_an_end_but_no_change_that_is_paid() {
    let own = Subscriber::with(json!({ "plan": "studio", "interval": "month" })).await;
    own.shop.sandbox.advance_days(10);
    own.shop.sandbox.schedule_change(&own.subscription, "price_starter_month").unwrap();
    own.shop.settled().await;
    let schedules = "POST /v1/subscription_schedules";
    own.shop.sandbox.faults().api_call(ApiFault::Forbidden, schedules, Times::Always);
    let refused = own.ada.client.post(CANCEL, &json!({ "at": "period_end" })).await;
    assert_eq!(refused.problem(), (502, "billing_refused"), "{refused:?}");
    let alerts = async || own.shop.app.client.metric("licentia_sync_alerts_total").await.unwrap();
    let before = alerts().await;
    assert_eq!(own.change(&json!({ "addons": ["pdf"] })).await.status, 200);
    assert!(own.has_pdf().await, "it is paid");
    assert!(alerts().await > before, "an operator must end it");
    assert!(own.shop.sandbox.object(&own.subscription)["schedule"].is_string());
    own.shop.sandbox.faults().clear();
    own.shop.sync_all().await;
    assert_eq!(own.shop.sandbox.object(&own.subscription)["schedule"], Value::Null);
}

/// Returns a customer who is known at Stripe, with a card there, and the customer's id at Stripe.
async fn customer_with_card(shop: &Shop, card: Card) -> (Buyer, String) {
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.open_checkout(&ada, json!({ "plan": "team" })).await;
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&customer, card).unwrap();
    (ada, customer)
}

#[tokio::test]
async fn a_sent_invoice_is_paid_before_more_is_granted() {
    let shop = Shop::selling().await;
    let (ada, customer) = customer_with_card(&shop, Card::Paid).await;
    let subscription =
        shop.sandbox.subscribe_by_invoice(&customer, "price_team_month", 14).unwrap();
    let newest = |shop: &Shop| {
        shop.sandbox.object(&subscription)["latest_invoice"].as_str().unwrap().to_owned()
    };
    shop.sandbox.pay_invoice(&newest(&shop)).unwrap();
    shop.settled().await;
    let own = Subscriber { shop, ada, subscription: subscription.clone(), customer };
    let wanted = json!({ "quantity": 4 });
    let preview = own.preview(&wanted).await;
    let answer = own.change_by(&wanted, &preview).await;
    assert_eq!((answer.status, answer.text("/code")), (402, "payment_action_required"));
    let invoice = own.newest_invoice();
    assert_eq!(answer.body["payment_url"], invoice["hosted_invoice_url"]);
    assert_eq!(invoice["amount_due"], preview["due_now"]);
    assert_eq!(own.seats().await, 1);
    own.shop.sandbox.pay_invoice(invoice["id"].as_str().unwrap()).unwrap();
    assert_eq!(own.seats().await, 4);
}

#[tokio::test]
async fn a_trial_is_changed_without_a_payment_and_a_paused_one_is_resumed() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.open_checkout(&ada, json!({ "plan": "team" })).await;
    let customer = shop.stripe_customer_of(&session);
    let pause = "trial_settings[end_behavior][missing_payment_method]";
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", "price_team_month"),
        ("trial_period_days", "7"),
        (pause, "pause"),
    ];
    let made = shop.at_stripe("subscriptions", &form).await;
    let subscription = made["id"].as_str().unwrap().to_owned();
    shop.settled().await;
    let mut own = Subscriber { shop, ada, subscription, customer };
    let wanted = json!({ "quantity": 3 });
    let preview = own.preview(&wanted).await;
    assert_eq!((&preview["due_now"], &preview["next_amount"]), (&json!(0), &json!(3000)));
    assert_eq!(preview["next_date"], own.shop.subscription(&own.ada).await["trial_end"]);
    assert_eq!(own.change_by(&wanted, &preview).await.status, 200);
    assert_eq!(own.seats().await, 3);

    let mut ada = own.ada.clone();
    own.shop.pass_days(&mut ada, 8).await;
    own.ada = ada;
    assert_eq!(own.shop.subscription(&own.ada).await["status"], "paused");
    let refused = own.ada.client.post(PREVIEW, &wanted).await;
    assert_eq!((refused.status, refused.text("/code")), (409, "change_not_possible"));
    let refused = own.ada.client.post(RESUME, &Value::Null).await;
    assert_eq!((refused.status, refused.text("/code")), (402, "payment_action_required"));
    assert!(refused.text("/payment_url").contains("portal"), "{refused:?}");
    own.shop.sandbox.replace_card(&own.customer, Card::DeclinedLater).unwrap();
    let refused = own.ada.client.post(RESUME, &Value::Null).await;
    assert_eq!((refused.status, refused.text("/code")), (402, "payment_failed"), "{refused:?}");
    assert_eq!(refused.body["payment_url"], own.newest_invoice()["hosted_invoice_url"]);
    own.shop.sandbox.replace_card(&own.customer, Card::Paid).unwrap();
    let resumed = own.ada.client.post(RESUME, &Value::Null).await;
    assert_eq!((resumed.status, resumed.text("/status")), (200, "active"), "{resumed:?}");
    assert_eq!(own.seats().await, 3);
}

#[tokio::test]
async fn a_change_to_less_than_the_customer_owns_is_refused() {
    let shop = Shop::selling_with(LOFT).await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, loft("once", 10, &[])).await;
    shop.purchase(&ada, loft("year", 10, &[])).await;
    let preview = async |wanted: Value| ada.client.post(PREVIEW, &wanted).await;
    for wanted in [json!({ "quantity": 9 }), json!({ "plan": "team", "quantity": 10 })] {
        let refused = preview(wanted.clone()).await;
        assert_eq!(refused.problem(), (409, "change_not_possible"), "{wanted}");
    }
    let detail = preview(json!({ "quantity": 1 })).await.text("/detail").to_owned();
    assert!(detail.contains("owns `loft` with 10 units"), "{detail}");
    assert!(detail.contains("choose at least 10 units, or accept that by"), "{detail}");
    assert_eq!(preview(json!({ "quantity": 12 })).await.status, 200);
}
