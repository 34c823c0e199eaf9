//! The limits for wrong promotion codes: nobody can search for codes, and a search keeps nobody
//! else from using one.

use std::time::Duration;

use licentia_sandbox::{Card, CouponDuration, Options};
use serde_json::json;

use crate::codes::{add_code, reason};
use crate::harness::BEHIND_A_PROXY;
use crate::harness::shop::{Buyer, Shop};
use crate::harness::subscriber::{CHANGE, PREVIEW, Subscriber};

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
    assert_eq!(shop.stripe_customers(), 0, "a wrong code creates no Stripe customer");
    // Right codes do not count.
    for _ in 0..3 {
        assert_eq!(try_code(&shop, &ada, "SECRET").await, "found");
    }
    let wanted = json!({ "promotion_code": "GUESS9" });
    let session = shop.open_checkout(&ada, json!({ "plan": "team" })).await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled().await;
    let right = json!({ "promotion_code": "SECRET" });
    let preview = ada.client.post(PREVIEW, &right).await;
    assert_eq!(preview.status, 200, "{preview:?}");
    // A preview and a change are counted together with purchases.
    assert_eq!(ada.client.post(PREVIEW, &wanted).await.problem(), (422, "invalid_promotion_code"));
    let answer = ada.client.post(PREVIEW, &right).await;
    assert_eq!(answer.problem(), (429, "too_many_requests"), "even the right one");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 60);
    assert_eq!(ada.client.post(PREVIEW, &json!({ "quantity": 3 })).await.status, 200);
    let mut change = right.clone();
    change["preview_id"] = preview.body["preview_id"].clone();
    assert_eq!(ada.client.post(CHANGE, &change).await.problem(), (429, "too_many_requests"));
    shop.sandbox.advance(Duration::from_secs(3600));
    let answer = ada.client.post(PREVIEW, &right).await;
    assert_eq!(answer.status, 200, "an hour later: {answer:?}");
}

#[tokio::test]
async fn a_refusal_that_reveals_no_code_is_not_counted() {
    let own = Subscriber::with_five_seats().await;
    add_code(&own.shop, "HALF", 50, CouponDuration::Forever);
    assert_eq!(own.change(&json!({ "promotion_code": "HALF" })).await.status, 200);
    for number in 0..11 {
        let wanted = json!({ "promotion_code": format!("GUESS{number}") });
        // Whether there is such a code is not even looked up.
        let refused = own.ada.client.post(PREVIEW, &wanted).await;
        assert_eq!(reason(&refused).0, "discounted");
    }
}

#[tokio::test]
async fn codes_cannot_be_searched_with_many_accounts_and_a_search_blocks_no_other_network() {
    let shop = Shop::open_with(Options::default(), &[BEHIND_A_PROXY]).await;
    add_code(&shop, "SECRET", 50, CouponDuration::Once);
    let at = async |email: &str, address: &str| {
        let buyer = shop.buyer(email).await;
        Buyer { client: buyer.client.at_address(address), ..buyer }
    };
    let starter = |code: &str| json!({ "plan": "starter", "promotion_code": code });
    let tried = async |buyer: &Buyer, code: &str| {
        let answer = shop.order(buyer, starter(code)).await;
        if answer.status == 200 { "found".to_owned() } else { answer.text("/code").to_owned() }
    };
    // Each account has ten wrong codes, each address thirty, and each network sixty.
    for (account, address) in
        ["192.0.2.1", "192.0.2.2"].into_iter().flat_map(|address| [address; 3]).enumerate()
    {
        let buyer = at(&format!("searcher{account}@example.com"), address).await;
        for number in 0..10 {
            assert_eq!(tried(&buyer, &format!("GUESS{number}")).await, "invalid_promotion_code");
        }
        if account == 2 {
            let fourth = at("fourth@example.com", address).await;
            assert_eq!(tried(&fourth, "SECRET").await, "too_many_requests");
        }
    }
    let third = at("third@example.com", "192.0.2.3").await;
    assert_eq!(tried(&third, "SECRET").await, "too_many_requests");
    assert_eq!(shop.order(&third, json!({ "plan": "starter" })).await.status, 200, "no code");
    let elsewhere = at("ada@example.com", "198.51.100.1").await;
    assert_eq!(tried(&elsewhere, "SECRET").await, "found");
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
