//! Fields that Stripe may leave out of a response, and equivalent forms. A null field never removes
//! what was paid and never grants more.

use std::future::ready;

use futures_util::FutureExt;
use licentia::domain::sale::invoice::Payment;
use licentia::flows::Mode;
use licentia::flows::sale::reconcile::{AT_ONCE, run as reconcile};
use licentia::stripe::{Double, Needs};
use licentia_sandbox::{Card, Order, sign};
use serde_json::{Value, json};

use crate::harness::database::execute;
use crate::harness::shop::{Buyer, Shop, event};
use crate::harness::stripe_of;

/// Returns a shop with a customer who paid by this card while events were lost, and the Checkout
/// session.
async fn paid_unheard(card: Card) -> (Shop, Buyer, String) {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.sandbox.faults().hold_deliveries();
    shop.sandbox.pay(&session, card).unwrap();
    (shop, ada, session)
}

/// Returns the plan and the state of the license after a sync.
async fn licensed(shop: &Shop, buyer: &Buyer) -> (String, String) {
    shop.sandbox.faults().release_deliveries(Order::AsCreated);
    shop.settled().await;
    let license = shop.license(buyer).await;
    let text = |field: &str| license[field].as_str().unwrap().to_owned();
    (text("plan"), text("status"))
}

fn is(plan: &str, status: &str) -> (String, String) {
    (plan.to_owned(), status.to_owned())
}

fn first_invoice(shop: &Shop, session: &str) -> String {
    let invoice = &shop.sandbox.object(&shop.subscription_of(session))["latest_invoice"];
    invoice.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_refund_of_an_unlisted_payment_or_of_a_charge_id_is_applied_stripe_15() {
    let whole =
        json!({ "id": "pi_1", "status": "succeeded", "latest_charge": { "refunded": true } });
    let by_id = json!({ "id": "pi_1", "status": "succeeded", "latest_charge": "ch_1" });
    let cases = [
        (vec![whole.clone()], whole.clone()),
        (vec![], whole),
        (vec![by_id.clone()], by_id.clone()),
        (vec![], by_id),
        // No other source knows more, so the invoice counts.
        (vec![], Value::Null),
    ];
    for (listed, intent) in cases {
        let known = !intent.is_null();
        let paid_by = json!({ "status": "paid", "payment": { "payment_intent": "pi_1" } });
        let invoice = json!({ "id": "in_1", "status": "paid", "payments": { "data": [paid_by] } });
        let double: Double = Box::new(move |call| {
            let answer = match call.path.as_str() {
                "/v1/invoices" => json!({ "data": [invoice] }),
                "/v1/payment_intents" => json!({ "data": listed }),
                "/v1/payment_intents/pi_1" if known => intent.clone(),
                "/v1/payment_intents/pi_1" => return ready(Some((404, json!({})))).boxed(),
                "/v1/charges/ch_1" => json!({ "id": "ch_1", "refunded": true, "disputed": false }),
                _ => json!({ "data": [] }),
            };
            ready(Some((200, answer))).boxed()
        });
        let seen = stripe_of(double)
            .await
            .purchases(&"cus_1".parse().unwrap(), &Needs::default())
            .await
            .unwrap();
        let refunded = if known { Payment::Refunded } else { Payment::Unremarkable };
        assert_eq!(seen.invoices[0].payment, refunded);
    }
}

#[tokio::test]
async fn a_checkout_that_does_not_name_its_invoice_has_one_order_stripe_3() {
    for (card, paid, order) in [
        (Card::Paid, None, "succeeded"),
        (Card::DelayedPaid, Some(true), "succeeded"),
        (Card::DelayedFailed, Some(false), "failed"),
    ] {
        let (shop, ada, session) = paid_unheard(card).await;
        let unnamed = json!({ "invoice": null });
        shop.sandbox.edit(&session, unnamed, "checkout.session.completed").unwrap();
        licensed(&shop, &ada).await;
        if let Some(paid) = paid {
            shop.sandbox.settle(&shop.sandbox.payment_intent(&session).unwrap(), paid).unwrap();
            shop.settled().await;
        }
        let orders: Vec<Value> = shop.orders(&ada).await;
        assert_eq!((orders.len(), &orders[0]["status"]), (1, &json!(order)), "{card:?}");
    }
}

#[tokio::test]
async fn an_active_subscription_without_an_invoice_waits_for_its_checkout_to_be_paid_stripe_3() {
    let (shop, ada, session) = paid_unheard(Card::DelayedPaid).await;
    let invoice = first_invoice(&shop, &session);
    shop.sandbox.edit(&invoice, json!({ "parent": null }), "invoice.updated").unwrap();
    let subscription = shop.subscription_of(&session);
    let updated = "customer.subscription.updated";
    shop.sandbox.edit(&subscription, json!({ "latest_invoice": null }), updated).unwrap();
    let completed = "checkout.session.completed";
    shop.sandbox.edit(&session, json!({ "invoice": null }), completed).unwrap();
    assert_eq!(shop.sandbox.object(&subscription)["status"], "active");
    assert_eq!(licensed(&shop, &ada).await, is("trial", "active"));
    let paid = json!({ "payment_status": "paid" });
    shop.sandbox.edit(&session, paid, "checkout.session.async_payment_succeeded").unwrap();
    assert_eq!(licensed(&shop, &ada).await, is("professional", "active"));
}

#[tokio::test]
async fn a_line_with_an_empty_period_grants_nothing_and_revokes_nothing_stripe_11() {
    let (shop, ada, session) = paid_unheard(Card::Paid).await;
    let once = json!({ "start": 1_721_954_054, "end": 1_721_954_054 });
    let line = json!({ "id": "il_once", "object": "line_item", "amount": 4900, "period": once });
    let lines = json!({ "lines": { "object": "list", "data": [line], "has_more": false } });
    shop.sandbox.edit(&first_invoice(&shop, &session), lines, "invoice.paid").unwrap();
    assert_eq!(licensed(&shop, &ada).await, is("professional", "active"));
}

#[tokio::test]
async fn a_customer_whom_stripe_does_not_know_any_more_is_unlinked_stripe_16() {
    let (shop, ada, session) = paid_unheard(Card::Paid).await;
    assert_eq!(licensed(&shop, &ada).await, is("professional", "active"));
    let store = &shop.app.app.store;
    execute(store, "UPDATE customers SET stripe_customer_id = 'cus_gone'").await.unwrap();
    // Otherwise a checkout would find it again.
    let path = format!("customers/{}", shop.stripe_customer_of(&session));
    shop.at_stripe(&path, &[("metadata[customer_id]", "")]).await;
    // A 404 for the customer may come from a wrong key. That alone removes nothing.
    let report = reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    assert_eq!(report.failed.len(), 1, "{report:?}");
    assert_eq!(shop.license(&ada).await["status"], "active");
    let mut told: Value = serde_json::from_str(&event("evt_gone", false, "cus_gone")).unwrap();
    told["type"] = json!("customer.deleted");
    told["data"]["object"] = json!({ "object": "customer", "id": "cus_gone" });
    let (told, now) = (told.to_string(), shop.sandbox.clock().now());
    let signature = sign(&[&shop.secret], now, told.as_bytes());
    assert_eq!(shop.app.client.deliver(&told, Some(&signature)).await.status, 200);
    assert_eq!(licensed(&shop, &ada).await, is("professional", "revoked"));
    shop.checkout(&ada, "starter").await;
}
