//! Partial refunds, disputes and credit notes; and invoices that several payments, a balance or a
//! discount pays. Whole refunds and the policy are in `reversals`.

use licentia_sandbox::{Card, CouponDuration, CreditNote, Order};
use serde_json::json;

use crate::harness::shop::{Buyer, Shop};

/// Returns a buyer of the professional plan, with the invoice and the payment.
async fn bought(shop: &Shop) -> (Buyer, String, String) {
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let subscription = shop.subscription_of(&session);
    let invoice = shop.sandbox.object(&subscription)["latest_invoice"].as_str().unwrap().to_owned();
    (ada, invoice, shop.sandbox.payment_intent(&session).unwrap())
}

/// Syncs all customers. Returns the status of the professional plan's order and of the license.
async fn outcome(shop: &Shop, buyer: &Buyer) -> (String, String) {
    shop.sync_all().await;
    let orders = shop.orders(buyer).await;
    let order = orders.iter().find(|order| order["plan"] == "professional").unwrap();
    let order = order["status"].as_str().unwrap().to_owned();
    (order, shop.license(buyer).await["status"].as_str().unwrap().to_owned())
}

fn expected(order: &str, license: &str) -> (String, String) {
    (order.to_owned(), license.to_owned())
}

#[tokio::test]
async fn a_dispute_about_a_part_is_a_refund_of_that_part_stripe_24() {
    let shop = Shop::open().await;
    let (ada, _, payment) = bought(&shop).await;
    let part = shop.sandbox.open_dispute_about(&payment, 2000).unwrap();
    assert_eq!(outcome(&shop, &ada).await, expected("succeeded", "active"));
    shop.sandbox.close_dispute(&part, false).unwrap();
    assert_eq!(outcome(&shop, &ada).await, expected("succeeded", "active"));
}

#[tokio::test]
async fn a_lost_dispute_that_differs_by_the_exchange_rate_counts_as_a_full_one_stripe_24() {
    let shop = Shop::open().await;
    let (ada, _, payment) = bought(&shop).await;
    let all = shop.sandbox.open_dispute_about(&payment, 4850).unwrap();
    assert_eq!(outcome(&shop, &ada).await, expected("disputed", "active"));
    shop.sandbox.close_dispute(&all, false).unwrap();
    assert_eq!(outcome(&shop, &ada).await, expected("disputed", "revoked"));
}

#[tokio::test]
async fn an_inquiry_revokes_nothing_stripe_24() {
    let shop = Shop::open().await;
    let (ada, _, payment) = bought(&shop).await;
    shop.sandbox.open_inquiry(&payment, None).unwrap();
    assert_eq!(outcome(&shop, &ada).await, expected("succeeded", "active"));
}

#[tokio::test]
async fn a_full_credit_note_is_a_refund_and_a_partial_one_a_partial_refund_stripe_26() {
    for (refund, balance, out_of_band) in
        [(4000, 0, 0), (0, 4000, 0), (0, 0, 4000), (1000, 3000, 0)]
    {
        let shop = Shop::open().await;
        let (ada, invoice, _) = bought(&shop).await;
        let part = CreditNote { amount: 900, refund: 0, balance: 900, out_of_band: 0 };
        shop.sandbox.credit(&invoice, part).unwrap();
        assert_eq!(outcome(&shop, &ada).await, expected("succeeded", "active"));
        let rest = CreditNote { amount: 4000, refund, balance, out_of_band };
        shop.sandbox.credit(&invoice, rest).unwrap();
        let found = outcome(&shop, &ada).await;
        assert_eq!(found, expected("refunded", "revoked"), "{refund} {balance} {out_of_band}");
    }
}

#[tokio::test]
async fn refunds_of_all_payments_of_an_invoice_are_summed_in_any_order_stripe_27() {
    for order in [Order::AsCreated, Order::Reversed] {
        let shop = Shop::open().await;
        shop.sandbox.list_payments(order);
        let ada = shop.buyer("ada@example.com").await;
        let session = shop.checkout(&ada, "starter").await;
        let customer = shop.stripe_customer_of(&session);
        let sub = shop.sandbox.subscribe_by_invoice(&customer, "price_pro_monthly", 14).unwrap();
        let invoice = shop.sandbox.object(&sub)["latest_invoice"].as_str().unwrap().to_owned();
        let first = shop.sandbox.pay_part(&invoice, 1900, Card::Paid).unwrap();
        let second = shop.sandbox.pay_part(&invoice, 3000, Card::Paid).unwrap();
        shop.settled().await;
        assert_eq!(outcome(&shop, &ada).await, expected("succeeded", "active"));
        shop.sandbox.refund(&second, None).unwrap();
        assert_eq!(outcome(&shop, &ada).await, expected("succeeded", "active"), "{order:?}");
        shop.sandbox.refund(&first, None).unwrap();
        assert_eq!(outcome(&shop, &ada).await, expected("refunded", "revoked"), "{order:?}");
    }
}

#[tokio::test]
async fn a_balance_or_a_discount_pays_as_money_does_stripe_36() {
    let shop = Shop::open().await;
    // A renewal that a balance pays.
    let (mut ada, _, payment) = bought(&shop).await;
    let customer = shop.sandbox.object(&payment)["customer"].as_str().unwrap().to_owned();
    shop.sandbox.adjust_balance(&customer, -4900).unwrap();
    shop.pass_days(&mut ada, 31).await;
    let license = shop.license(&ada).await;
    assert_eq!(license["expires_at"], "2027-01-20T15:00:00+00:00");
    let renewal = &shop.orders(&ada).await[0];
    assert_eq!((&renewal["status"], &renewal["amount"]), (&json!("succeeded"), &json!(4900)));
    // A first month and a renewal that a promotion code makes free.
    let mut eve = shop.buyer("eve@example.com").await;
    shop.sandbox.add_coupon("free", 100, CouponDuration::Forever);
    let session = shop.checkout(&eve, "professional").await;
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&customer, Card::Paid).unwrap();
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", "price_pro_monthly"),
        ("discounts[0][coupon]", "free"),
    ];
    shop.at_stripe("subscriptions", &form).await;
    shop.settled().await;
    assert_eq!(shop.license(&eve).await["status"], "active");
    shop.pass_days(&mut eve, 31).await;
    assert_eq!(shop.license(&eve).await["expires_at"], "2027-02-21T15:00:00+00:00");
}

#[tokio::test]
async fn a_refund_of_all_the_money_is_full_though_a_balance_paid_a_part_stripe_15_36() {
    for is_disputed in [false, true] {
        let shop = Shop::open().await;
        let (mut ada, invoice, payment) = bought(&shop).await;
        let customer = shop.sandbox.object(&payment)["customer"].as_str().unwrap().to_owned();
        let subscription =
            shop.sandbox.object(&invoice)["parent"]["subscription_details"]["subscription"].clone();
        shop.sandbox.adjust_balance(&customer, -1900).unwrap();
        shop.pass_days(&mut ada, 31).await;
        let payment = shop.sandbox.payment_intent(subscription.as_str().unwrap()).unwrap();
        assert_eq!(shop.sandbox.object(&payment)["amount"], 3000);
        if is_disputed {
            let dispute = shop.sandbox.open_dispute(&payment).unwrap();
            shop.sandbox.close_dispute(&dispute, false).unwrap();
        } else {
            shop.sandbox.refund(&payment, Some(1000)).unwrap();
            assert_eq!(outcome(&shop, &ada).await, expected("succeeded", "active"));
            shop.sandbox.refund(&payment, Some(2000)).unwrap();
        }
        let status = if is_disputed { "disputed" } else { "refunded" };
        assert_eq!(outcome(&shop, &ada).await, expected(status, "revoked"));
    }
}

#[tokio::test]
async fn a_small_credit_for_a_month_that_a_balance_paid_is_a_partial_refund_stripe_26() {
    let shop = Shop::open().await;
    let (mut ada, invoice, payment) = bought(&shop).await;
    let customer = shop.sandbox.object(&payment)["customer"].as_str().unwrap().to_owned();
    let subscription =
        shop.sandbox.object(&invoice)["parent"]["subscription_details"]["subscription"].clone();
    shop.sandbox.adjust_balance(&customer, -4900).unwrap();
    shop.pass_days(&mut ada, 31).await;
    let subscription = shop.sandbox.object(subscription.as_str().unwrap());
    let renewal = subscription["latest_invoice"].as_str().unwrap();
    let part = CreditNote { amount: 100, refund: 0, balance: 100, out_of_band: 0 };
    shop.sandbox.credit(renewal, part).unwrap();
    assert_eq!(outcome(&shop, &ada).await, expected("succeeded", "active"));
}

#[tokio::test]
async fn a_declined_attempt_next_to_the_payment_hides_no_refund_stripe_27() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let subscription = shop.subscription_of(&session);
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    shop.pass_days(&mut ada, 31).await;
    let subscription = shop.sandbox.object(&subscription);
    let renewal = subscription["latest_invoice"].as_str().unwrap();
    let first = shop.sandbox.pay_part(renewal, 2000, Card::Paid).unwrap();
    let second = shop.sandbox.pay_part(renewal, 2900, Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["status"], "active");
    shop.sandbox.refund(&first, None).unwrap();
    shop.sandbox.refund(&second, None).unwrap();
    shop.sync_all().await;
    let statuses: Vec<_> =
        shop.orders(&ada).await.iter().map(|order| order["status"].clone()).collect();
    assert!(statuses.contains(&json!("refunded")), "{statuses:?}");
    assert_ne!(shop.license(&ada).await["status"], "active");
}
