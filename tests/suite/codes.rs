//! Promotion codes in previews and changes of a subscription, and the search for codes.

use std::time::Duration;

use licentia_sandbox::{ApiFault, Card, CouponDuration, Times};
use serde_json::{Value, json};

use crate::harness::shop::{Buyer, Shop};
use crate::harness::subscriber::{CHANGE, PREVIEW, Subscriber};

/// Adds a coupon and a promotion code with the same name.
fn add_code(shop: &Shop, code: &str, percent_off: i64, duration: CouponDuration) {
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

#[tokio::test]
async fn a_code_alone_lowers_the_next_period_and_the_present_discounts_stay() {
    let mut own = Subscriber::with_five_seats().await;
    own.shop.sandbox.add_coupon("tenth", 10, CouponDuration::Forever);
    let present = own.shop.sandbox.discount(&own.subscription, "tenth").unwrap();
    add_code(&own.shop, "HALF", 50, CouponDuration::Once);
    let wanted = json!({ "promotion_code": "half" });
    let preview = own.preview(&wanted).await;
    assert_eq!((&preview["due_now"], &preview["lines"]), (&json!(0), &json!([])));
    assert_eq!(preview["next_amount"], 2250);
    let before = own.newest_invoice();
    for _ in 0..2 {
        let answer = own.change_by(&wanted, &preview).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(discounts(&own).len(), 2);
        assert_eq!(redemptions(&own, "HALF"), 1);
    }
    assert_eq!(own.newest_invoice()["id"], before["id"], "nothing is billed now");
    assert_eq!(own.seats().await, 5);
    assert_eq!(renewal(&mut own).await["amount_due"], preview["next_amount"]);
    assert_eq!(discounts(&own), [json!(present)], "the code was for one invoice");
    assert_eq!(renewal(&mut own).await["amount_due"], 4500);
}

/// The codes that the next test adds: they last for one invoice, some months, or for ever.
fn add_codes(shop: &Shop) {
    add_code(shop, "ONCE", 50, CouponDuration::Once);
    add_code(shop, "MONTHS", 33, CouponDuration::Months(2));
    add_code(shop, "ALWAYS", 15, CouponDuration::Forever);
}

#[tokio::test]
async fn a_previewed_amount_with_a_code_is_the_invoice_to_the_cent() {
    for code in ["ONCE", "MONTHS", "ALWAYS", "AMOUNT"] {
        let mut own =
            Subscriber::with(json!({ "plan": "team", "quantity": 5, "addons": ["pdf"] })).await;
        add_codes(&own.shop);
        let amount = [("id", "AMOUNT"), ("amount_off", "777"), ("currency", "usd")];
        own.shop.at_stripe("coupons", &[&amount[..], &[("duration", "once")]].concat()).await;
        own.shop.sandbox.add_promotion_code("AMOUNT", "AMOUNT").unwrap();
        let (mut wait, mut is_yearly) = (100_001, false);
        for wanted in [
            json!({ "quantity": 8, "promotion_code": code }),
            json!({ "quantity": 2 }),
            json!({ "plan": "studio", "promotion_code": code }),
            json!({ "plan": "team", "quantity": 7, "addons": [], "promotion_code": code }),
            json!({ "addons": ["pdf"], "promotion_code": code }),
            json!({ "interval": "year", "promotion_code": code }),
            json!({ "quantity": 11, "promotion_code": code }),
        ] {
            own.shop.settled().await;
            own.shop.sandbox.advance(Duration::from_secs(wait));
            wait = wait * 7 % 150_001;
            let before = own.newest_invoice();
            let preview = own.preview(&wanted).await;
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
            is_yearly |= wanted["interval"] == "year";
            if !(is_yearly && code == "MONTHS") {
                // The preview shows what remains for the next period.
                let again = own.preview(&json!({})).await;
                assert_eq!(again["next_amount"], preview["next_amount"], "{code} {wanted}");
            }
        }
        // A renewal collects what the code still lowers.
        let back = json!({ "interval": "month", "promotion_code": code });
        let preview = own.preview(&back).await;
        assert_eq!(own.change_by(&back, &preview).await.status, 200);
        let invoice = renewal(&mut own).await;
        assert_eq!(invoice["amount_due"], preview["next_amount"], "{code}: {preview}");
    }
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
    let reason = |answer: &crate::harness::Answer| {
        assert_eq!(answer.problem(), (422, "invalid_promotion_code"), "{answer:?}");
        let reason = answer.text("/detail").strip_prefix("`promotion_code`: ").unwrap();
        reason.split(':').next().unwrap().to_owned()
    };
    for (wanted, preview, expected) in
        [(&soon, &soon_preview, "expired"), (&used_up, &used_preview, "used_up")]
    {
        assert_eq!(reason(&own.change_by(wanted, preview).await), expected);
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
        assert_eq!(reason(&own.ada.client.post(PREVIEW, &wanted).await), expected, "{code}");
    }
    let another = json!({ "quantity": 8 });
    let answer = own.change_by(&another, &soon_preview).await;
    assert_eq!(answer.problem(), (409, "preview_outdated"), "the code is part of the preview");
    assert_eq!(own.newest_invoice()["id"], before);
    assert_eq!(own.seats().await, 5);
    // What the subscription becomes counts.
    for wanted in [
        json!({ "quantity": 8, "promotion_code": "BIG" }),
        json!({ "plan": "studio", "interval": "month", "promotion_code": "STUDIO" }),
    ] {
        assert_eq!(own.change(&wanted).await.status, 200, "{wanted}");
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

/// Requests a purchase with a code. Returns the error's code.
async fn try_code(shop: &Shop, buyer: &Buyer, code: &str) -> String {
    let answer = shop.order(buyer, json!({ "plan": "team", "promotion_code": code })).await;
    if answer.status == 200 { "found".to_owned() } else { answer.text("/code").to_owned() }
}

#[tokio::test]
async fn codes_cannot_be_searched_by_a_customer() {
    let shop = Shop::selling().await;
    add_code(&shop, "SECRET", 50, CouponDuration::Once);
    let ada = shop.buyer("ada@example.com").await;
    for number in 0..9 {
        assert_eq!(
            try_code(&shop, &ada, &format!("GUESS{number}")).await,
            "invalid_promotion_code"
        );
    }
    assert_eq!(shop.counterparts(), 0, "a wrong code creates no Stripe customer");
    // Right codes do not count.
    for _ in 0..3 {
        assert_eq!(try_code(&shop, &ada, "SECRET").await, "found");
    }
    let wanted = json!({ "promotion_code": "GUESS9" });
    let session = shop.open_checkout(&ada, json!({ "plan": "team" })).await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled().await;
    // A preview and a change are counted together with purchases.
    assert_eq!(ada.client.post(PREVIEW, &wanted).await.problem(), (422, "invalid_promotion_code"));
    let answer = ada.client.post(PREVIEW, &json!({ "promotion_code": "SECRET" })).await;
    assert_eq!(answer.problem(), (429, "too_many_requests"), "even the right one");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 60);
    assert_eq!(ada.client.post(PREVIEW, &json!({ "quantity": 3 })).await.status, 200);
    let change = json!({ "promotion_code": "SECRET", "preview_id": "prev_a.b" });
    assert_eq!(ada.client.post(CHANGE, &change).await.problem(), (429, "too_many_requests"));
    shop.sandbox.advance(Duration::from_secs(3600));
    let answer = ada.client.post(PREVIEW, &json!({ "promotion_code": "SECRET" })).await;
    assert_eq!(answer.status, 200, "an hour later: {answer:?}");
}

#[tokio::test]
async fn codes_cannot_be_searched_with_many_accounts() {
    let shop = Shop::selling().await;
    add_code(&shop, "SECRET", 50, CouponDuration::Once);
    for account in 0..3 {
        let buyer = shop.buyer(&format!("buyer{account}@example.com")).await;
        for number in 0..10 {
            let code = format!("GUESS{number}");
            assert_eq!(try_code(&shop, &buyer, &code).await, "invalid_promotion_code");
        }
    }
    let last = shop.buyer("last@example.com").await;
    assert_eq!(try_code(&shop, &last, "SECRET").await, "too_many_requests");
    assert_eq!(shop.order(&last, json!({ "plan": "team" })).await.status, 200, "without a code");
}

#[tokio::test]
async fn a_code_of_another_customer_costs_as_many_calls_as_an_unknown_one() {
    let shop = Shop::selling().await;
    let (ada, bob) = (shop.buyer("ada@example.com").await, shop.buyer("bob@example.com").await);
    let of = async |buyer: &Buyer| {
        shop.stripe_customer_of(&shop.open_checkout(buyer, json!({ "plan": "team" })).await)
    };
    let bobs = of(&bob).await;
    of(&ada).await;
    let product = shop.sandbox.object("price_team_month")["product"].clone();
    let product = product.as_str().unwrap();
    let coupon = [("id", "team"), ("percent_off", "10"), ("applies_to[products][0]", product)];
    shop.at_stripe("coupons", &coupon).await;
    let code = [("promotion[type]", "coupon"), ("promotion[coupon]", "team"), ("code", "BOB")];
    shop.at_stripe("promotion_codes", &[&code[..], &[("customer", bobs.as_str())]].concat()).await;
    shop.settled().await;
    let calls = async |code: &str| {
        let before = shop.sandbox.api_calls();
        assert_eq!(try_code(&shop, &ada, code).await, "invalid_promotion_code");
        shop.sandbox.api_calls() - before
    };
    assert_eq!(calls("BOB").await, calls("NONE").await);
    assert_eq!(try_code(&shop, &bob, "BOB").await, "found");
}
