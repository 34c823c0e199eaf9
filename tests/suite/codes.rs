//! Promotion codes in previews and changes of a subscription. The limits for wrong codes are in
//! `code_limits.rs`.

use std::time::Duration;

use licentia_sandbox::{ApiFault, Card, CouponDuration, Times};
use serde_json::{Value, json};

use crate::harness::Answer;
use crate::harness::shop::Shop;
use crate::harness::subscriber::{PREVIEW, Subscriber};

/// Adds a coupon and a promotion code with the same name.
pub fn add_code(shop: &Shop, code: &str, percent_off: i64, duration: CouponDuration) {
    shop.sandbox.add_coupon(code, percent_off, duration);
    shop.sandbox.add_promotion_code(code, code).unwrap();
}

/// Returns how often a coupon was redeemed.
fn redemptions(own: &Subscriber, coupon: &str) -> Value {
    own.shop.sandbox.object(coupon)["times_redeemed"].clone()
}

fn discounts(own: &Subscriber) -> Vec<Value> {
    let subscription = own.shop.sandbox.object(&own.subscription);
    subscription["discounts"].as_array().unwrap().clone()
}

fn sum(preview: &Value) -> i64 {
    let lines = preview["lines"].as_array().unwrap();
    lines.iter().map(|line| line["amount"].as_i64().unwrap()).sum()
}

/// Lets the period end, and returns the invoice of the renewal.
async fn renewal(own: &mut Subscriber) -> Value {
    let mut ada = own.ada.clone();
    own.shop.pass_days(&mut ada, 31).await;
    own.ada = ada;
    let invoice = own.newest_invoice();
    assert_eq!(invoice["billing_reason"], "subscription_cycle");
    invoice
}

/// Returns the reason why a code is refused, with the whole text.
pub fn reason(answer: &Answer) -> (String, String) {
    assert_eq!(answer.problem(), (422, "invalid_promotion_code"), "{answer:?}");
    let detail = answer.text("/detail").strip_prefix("`promotion_code`: ").unwrap();
    (detail.split(':').next().unwrap().to_owned(), detail.to_owned())
}

#[tokio::test]
async fn a_code_alone_lowers_the_next_period() {
    let mut own = Subscriber::with_five_seats().await;
    add_code(&own.shop, "HALF", 50, CouponDuration::Once);
    let wanted = json!({ "promotion_code": "half" });
    let preview = own.preview(&wanted).await;
    assert_eq!((&preview["due_now"], &preview["lines"]), (&json!(0), &json!([])));
    assert_eq!(preview["next_amount"], 2500);
    let before = own.newest_invoice();
    for _ in 0..2 {
        let answer = own.change_by(&wanted, &preview).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(discounts(&own).len(), 1);
        assert_eq!(redemptions(&own, "HALF"), 1);
    }
    assert_eq!(own.newest_invoice()["id"], before["id"], "nothing is billed now");
    assert_eq!(own.seats().await, 5);
    assert_eq!(renewal(&mut own).await["amount_due"], preview["next_amount"]);
    assert_eq!(discounts(&own), Vec::<Value>::new(), "the code was for one invoice");
    assert_eq!(renewal(&mut own).await["amount_due"], 5000);
}

/// The changes that a code is tried with.
fn changes_with(code: &str) -> [Value; 4] {
    [
        json!({ "promotion_code": code }),
        json!({ "quantity": 8, "promotion_code": code }),
        json!({ "addons": ["pdf"], "promotion_code": code }),
        json!({ "interval": "year", "promotion_code": code }),
    ]
}

#[tokio::test]
async fn a_subscription_has_one_discount_at_a_time() {
    for (coupon, until) in [
        (CouponDuration::Once, "for the next invoice of a whole period"),
        (CouponDuration::Months(2), " until 20"),
        (CouponDuration::Forever, "which has no end; ask the vendor"),
    ] {
        let own = Subscriber::with_five_seats().await;
        add_code(&own.shop, "FIRST", 10, coupon);
        own.shop.sandbox.add_promotion_code("FIRST", "SAME").unwrap();
        add_code(&own.shop, "SECOND", 50, CouponDuration::Once);
        let both = json!({ "quantity": 6, "promotion_code": "SECOND" });
        let former = own.preview(&both).await;
        assert_eq!(own.change(&json!({ "promotion_code": "FIRST" })).await.status, 200);
        for code in ["FIRST", "SAME", "SECOND"] {
            for wanted in changes_with(code) {
                let refused = own.ada.client.post(PREVIEW, &wanted).await;
                let (reason, text) = reason(&refused);
                assert_eq!(reason, "discounted", "{coupon:?} {wanted}");
                assert!(text.contains(until), "{text}");
            }
        }
        let refused = own.change_by(&both, &former).await;
        assert_eq!(refused.problem(), (409, "preview_outdated"), "{refused:?}");
        assert_eq!(own.change(&json!({ "quantity": 6 })).await.status, 200, "without a code");
        assert_eq!(discounts(&own).len(), 1);
        assert_eq!((redemptions(&own, "FIRST"), redemptions(&own, "SECOND")), (json!(1), json!(0)));
    }
}

#[tokio::test]
async fn a_discount_of_the_vendor_is_not_replaced_by_a_code() {
    let mut own = Subscriber::with_five_seats().await;
    own.shop.sandbox.add_coupon("tenth", 10, CouponDuration::Forever);
    add_code(&own.shop, "HALF", 50, CouponDuration::Once);
    let wanted = json!({ "promotion_code": "HALF" });
    let former = own.preview(&wanted).await;
    let present = own.shop.sandbox.discount(&own.subscription, "tenth").unwrap();
    assert_eq!(own.change_by(&wanted, &former).await.problem(), (409, "preview_outdated"));
    assert_eq!(reason(&own.ada.client.post(PREVIEW, &wanted).await).0, "discounted");
    assert_eq!(discounts(&own), [json!(present)]);
    assert_eq!(renewal(&mut own).await["amount_due"], 4500);
}

#[tokio::test]
async fn a_code_that_is_used_up_by_one_change_is_refused_by_the_next() {
    for code in ["ONCE", "MONTHS"] {
        for first in changes_with(code) {
            let mut own = Subscriber::with_five_seats().await;
            add_code(&own.shop, "ONCE", 50, CouponDuration::Once);
            add_code(&own.shop, "MONTHS", 50, CouponDuration::Months(1));
            add_code(&own.shop, "OTHER", 20, CouponDuration::Once);
            own.shop.sandbox.add_promotion_code(code, "SAMECOUPON").unwrap();
            assert_eq!(own.change(&first).await.status, 200, "{first}");
            renewal_or_year(&mut own).await;
            for wanted in changes_with(code) {
                let refused = own.ada.client.post(PREVIEW, &wanted).await;
                assert_eq!(reason(&refused).0, "already_used", "{code} after {first}: {wanted}");
            }
            assert_eq!(redemptions(&own, code), 1);
            // Another code is another offer, also if the coupon is the same.
            for other in ["SAMECOUPON", "OTHER"] {
                let answer = own.change(&json!({ "promotion_code": other })).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                renewal_or_year(&mut own).await;
            }
        }
    }
}

/// Lets the period end, which may be a year. Nothing is paid with another currency or interval.
async fn renewal_or_year(own: &mut Subscriber) {
    let is_yearly = own.shop.subscription(&own.ada).await["interval"] == "year";
    let mut ada = own.ada.clone();
    own.shop.pass_days(&mut ada, if is_yearly { 366 } else { 31 }).await;
    own.ada = ada;
}

#[tokio::test]
async fn the_code_of_the_purchase_is_used_by_the_subscription() {
    let shop = Shop::selling().await;
    add_code(&shop, "WELCOME", 50, CouponDuration::Once);
    let ada = shop.buyer("ada@example.com").await;
    let wanted = json!({ "plan": "team", "quantity": 5, "promotion_code": "WELCOME" });
    let session = shop.purchase(&ada, wanted).await;
    assert_eq!(shop.sandbox.object(&session)["amount_total"], 2500);
    for wanted in changes_with("WELCOME") {
        assert_eq!(reason(&ada.client.post(PREVIEW, &wanted).await).0, "already_used", "{wanted}");
    }
}

/// The codes that the next test adds: they last for one invoice, some months, or for ever.
fn add_codes(shop: &Shop) {
    add_code(shop, "ONCE", 50, CouponDuration::Once);
    add_code(shop, "MONTHS", 33, CouponDuration::Months(2));
    add_code(shop, "ALWAYS", 15, CouponDuration::Forever);
}

#[tokio::test]
async fn a_previewed_amount_with_a_code_is_the_invoice_to_the_cent() {
    // The change that adds the code.
    for (code, place) in [
        ("ONCE", 0),
        ("ONCE", 4),
        ("MONTHS", 1),
        ("MONTHS", 4),
        ("ALWAYS", 2),
        ("ALWAYS", 3),
        ("AMOUNT", 0),
        ("AMOUNT", 4),
    ] {
        let mut own =
            Subscriber::with(json!({ "plan": "team", "quantity": 5, "addons": ["pdf"] })).await;
        add_codes(&own.shop);
        let amount = [("id", "AMOUNT"), ("amount_off", "777"), ("currency", "usd")];
        own.shop.at_stripe("coupons", &[&amount[..], &[("duration", "once")]].concat()).await;
        own.shop.sandbox.add_promotion_code("AMOUNT", "AMOUNT").unwrap();
        let mut wait = 100_001;
        let mut changes = [
            json!({ "quantity": 8 }),
            json!({ "plan": "studio" }),
            json!({ "plan": "team", "quantity": 7, "addons": [] }),
            json!({ "addons": ["pdf"] }),
            json!({ "interval": "year" }),
            json!({ "quantity": 11 }),
            json!({ "interval": "month" }),
        ];
        changes[place]["promotion_code"] = code.into();
        let mut preview = Value::Null;
        for wanted in changes {
            own.shop.settled().await;
            own.shop.sandbox.advance(Duration::from_secs(wait));
            wait = wait * 7 % 150_001;
            let before = own.newest_invoice();
            preview = own.preview(&wanted).await;
            assert_eq!(sum(&preview), preview["due_now"].as_i64().unwrap(), "{wanted}: {preview}");
            own.shop.sandbox.advance(Duration::from_secs(wait % 1000));
            let answer = own.change_by(&wanted, &preview).await;
            assert_eq!(answer.status, 200, "{code} {wanted}: {answer:?}");
            let invoice = own.newest_invoice();
            if invoice["id"] == before["id"] {
                assert_eq!(preview["due_now"], 0, "{code} {wanted}: {preview}");
            } else {
                assert_eq!(invoice["amount_due"], preview["due_now"], "{code} {wanted}: {preview}");
            }
            // The preview shows what remains for the next period.
            let again = own.preview(&json!({})).await;
            assert_eq!(again["next_amount"], preview["next_amount"], "{code} {wanted}");
        }
        // A renewal collects what the code still lowers.
        let invoice = renewal(&mut own).await;
        assert_eq!(invoice["amount_due"], preview["next_amount"], "{code}: {preview}");
    }
}

#[tokio::test]
async fn the_next_amount_is_without_a_discount_that_ends_before() {
    for wanted in [json!({}), json!({ "quantity": 8 }), json!({ "interval": "year" })] {
        let own = Subscriber::with_five_seats().await;
        add_code(&own.shop, "MONTH", 50, CouponDuration::Months(1));
        add_code(&own.shop, "YEARS", 50, CouponDuration::Months(13));
        let mut with = wanted.clone();
        // Ten days have passed: it ends ten days after the next renewal, and before the next year.
        with["promotion_code"] = "MONTH".into();
        let is_yearly = wanted["interval"] == "year";
        let full = own.preview(&wanted).await["next_amount"].as_i64().unwrap();
        let preview = own.preview(&with).await;
        let lines = preview["lines"].as_array().unwrap().iter();
        let credited = lines.filter(|line| line["kind"] == "balance");
        let credited: i64 = credited.map(|line| line["amount"].as_i64().unwrap()).sum();
        let next = if is_yearly { full } else { full / 2 } - credited;
        assert_eq!(preview["next_amount"], next, "{with}: {preview}");
        assert_eq!(own.change_by(&with, &preview).await.status, 200);
        assert_eq!(own.preview(&json!({})).await["next_amount"], next);
        if is_yearly {
            continue;
        }
        // By the year, it would have ended.
        let yearly = own.preview(&json!({ "interval": "year" })).await;
        let seats = if wanted["quantity"] == 8 { 8 } else { 5 };
        assert_eq!(yearly["next_amount"], seats * 10_000, "{yearly}");
    }
    let own = Subscriber::with_five_seats().await;
    add_code(&own.shop, "YEARS", 50, CouponDuration::Months(13));
    let lasting = json!({ "interval": "year", "promotion_code": "YEARS" });
    assert_eq!(own.preview(&lasting).await["next_amount"], 25_000);
}

#[tokio::test]
async fn a_code_that_the_customer_cannot_use_is_refused_with_the_reason() {
    let own = Subscriber::with_five_seats().await;
    let shop = &own.shop;
    shop.sandbox.add_coupon("half", 50, CouponDuration::Once);
    let add = async |code: &str, more: &[(&str, &str)]| {
        let fixed = [("promotion[type]", "coupon"), ("promotion[coupon]", "half"), ("code", code)];
        let made = shop.at_stripe("promotion_codes", &[&fixed, more].concat()).await;
        made["id"].as_str().unwrap().to_owned()
    };
    let eve = shop.buyer("eve@example.com").await;
    let eves = shop.open_checkout(&eve, json!({ "plan": "team" })).await;
    let eves = shop.stripe_customer_of(&eves);
    let soon = (shop.sandbox.clock().now() + 60).to_string();
    let least = ["restrictions[minimum_amount]", "restrictions[minimum_amount_currency]"];
    add("SOON", &[("expires_at", &soon)]).await;
    add("EVE", &[("customer", &eves)]).await;
    add("WELCOME", &[("restrictions[first_time_transaction]", "true")]).await;
    add("BIG", &[(least[0], "8000"), (least[1], "usd")]).await;
    let used = add("USED", &[("max_redemptions", "1")]).await;
    shop.add_studio_coupon().await;
    shop.sandbox.add_promotion_code("studio_only", "STUDIO").unwrap();

    // A code can be used up or expire after its preview.
    let soon = json!({ "quantity": 8, "promotion_code": "SOON" });
    let soon_preview = own.preview(&soon).await;
    let used_up = json!({ "quantity": 8, "promotion_code": "USED" });
    let used_preview = own.preview(&used_up).await;
    let session = json!({ "plan": "team", "promotion_code": "USED" });
    let session = shop.open_checkout(&eve, session).await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    assert_eq!(shop.sandbox.object(&used)["active"], false);
    shop.settled().await;
    shop.sandbox.advance(Duration::from_secs(60));
    let before = own.newest_invoice()["id"].clone();
    for (wanted, preview, expected) in
        [(&soon, &soon_preview, "expired"), (&used_up, &used_preview, "used_up")]
    {
        assert_eq!(reason(&own.change_by(wanted, preview).await).0, expected);
    }
    for (code, expected) in [
        ("NONE", "unknown"),
        ("SOON", "expired"),
        ("EVE", "unknown"),
        ("WELCOME", "unknown"),
        ("BIG", "too_small"),
        ("STUDIO", "other_product"),
    ] {
        let wanted = json!({ "quantity": 7, "promotion_code": code });
        assert_eq!(reason(&own.ada.client.post(PREVIEW, &wanted).await).0, expected, "{code}");
    }
    let another = json!({ "quantity": 8 });
    let answer = own.change_by(&another, &soon_preview).await;
    assert_eq!(answer.problem(), (409, "preview_outdated"), "the code is part of the preview");
    assert_eq!(own.newest_invoice()["id"], before);
    assert_eq!(own.seats().await, 5);
    // What the subscription becomes counts.
    for wanted in [
        json!({ "plan": "studio", "interval": "month", "promotion_code": "STUDIO" }),
        json!({ "quantity": 8, "promotion_code": "BIG" }),
    ] {
        own.preview(&wanted).await;
    }
    for request in [json!({ "promotion_code": "" }), json!({ "promotion_code": "x".repeat(501) })] {
        let answer = own.ada.client.post(PREVIEW, &request).await;
        assert_eq!(answer.problem(), (400, "invalid_request"));
    }
}

#[tokio::test]
async fn a_code_waits_with_its_change_for_the_payment_stripe_14() {
    let own = Subscriber::with_five_seats().await;
    add_code(&own.shop, "ALWAYS", 10, CouponDuration::Forever);
    own.shop.sandbox.replace_card(&own.customer, Card::DeclinedLater).unwrap();
    let wanted = json!({ "quantity": 8, "promotion_code": "ALWAYS" });
    let preview = own.preview(&wanted).await;
    let refused = own.change_by(&wanted, &preview).await;
    assert_eq!(refused.problem(), (402, "payment_failed"));
    assert_eq!(discounts(&own), Vec::<Value>::new());
    let invoice = own.newest_invoice();
    assert_eq!(invoice["amount_due"], preview["due_now"]);
    own.shop.sandbox.pay_invoice_with(invoice["id"].as_str().unwrap(), Card::Paid).unwrap();
    assert_eq!(own.seats().await, 8);
    assert_eq!(discounts(&own).len(), 1);
    assert_eq!(own.change_by(&wanted, &preview).await.status, 200, "it is done");
    assert_eq!(redemptions(&own, "ALWAYS"), 1);
}

#[tokio::test]
async fn a_code_is_not_used_by_a_change_that_was_never_paid() {
    let own = Subscriber::with_five_seats().await;
    add_code(&own.shop, "HALF", 50, CouponDuration::Once);
    own.shop.sandbox.replace_card(&own.customer, Card::DeclinedLater).unwrap();
    let refused = own.change(&json!({ "interval": "year", "promotion_code": "HALF" })).await;
    assert_eq!(refused.problem(), (402, "payment_failed"));
    let waiting = own.newest_invoice();
    assert_eq!(waiting["status"], "open");
    own.shop.sandbox.replace_card(&own.customer, Card::Paid).unwrap();
    let answer = own.change(&json!({ "quantity": 8, "promotion_code": "HALF" })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(own.shop.sandbox.object(waiting["id"].as_str().unwrap())["status"], "void");
    assert_eq!((own.seats().await, discounts(&own).len()), (8, 1));
}

#[tokio::test]
async fn a_lost_response_redeems_a_code_once_stripe_6_7() {
    for fault in
        [ApiFault::AnswerLost, ApiFault::ErrorAfter, ApiFault::ErrorBefore, ApiFault::RateLimited]
    {
        for wanted in [
            json!({ "promotion_code": "HALF" }),
            json!({ "quantity": 8, "promotion_code": "HALF" }),
            // The invoice of this change uses the code up.
            json!({ "interval": "year", "promotion_code": "HALF" }),
        ] {
            let own = Subscriber::with_five_seats().await;
            add_code(&own.shop, "HALF", 50, CouponDuration::Once);
            let preview = own.preview(&wanted).await;
            let call = format!("POST /v1/subscriptions/{}", own.subscription);
            own.shop.sandbox.faults().api_call(fault, &call, Times::Always);
            let first = own.change_by(&wanted, &preview).await;
            own.shop.sandbox.faults().clear();
            let second = own.change_by(&wanted, &preview).await;
            assert_eq!(second.status, 200, "{fault:?} {wanted}: {first:?}, {second:?}");
            assert_eq!(redemptions(&own, "HALF"), 1, "{fault:?} {wanted}");
            let is_used = wanted["interval"] == "year";
            assert_eq!(discounts(&own).is_empty(), is_used, "{fault:?} {wanted}");
        }
    }
}
