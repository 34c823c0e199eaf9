//! Invoices that are paid by several payments, or outside of Stripe.
//!
//! <https://docs.stripe.com/invoicing/partial-payments>,
//! <https://docs.stripe.com/changelog/basil/2025-03-31/add-support-for-multiple-partial-payments-on-invoices>

use licentia_sandbox::{Card, Order};
use serde_json::Value;

use crate::harness::Stripe;

/// Returns a subscription with sent invoices, and the first invoice, with 4900 due.
async fn sent(stripe: &Stripe) -> (String, String) {
    let customer = stripe.customer().await;
    let subscription =
        stripe.sandbox.subscribe_by_invoice(&customer, "price_pro_monthly", 14).unwrap();
    let (invoice, _) = stripe.payment(&subscription).await;
    (customer, invoice)
}

async fn payments(stripe: &Stripe, invoice: &str) -> Vec<Value> {
    let expanded = stripe.get(&format!("/v1/invoices/{invoice}?expand[]=payments")).await.body;
    let listed = stripe.get(&format!("/v1/invoice_payments?invoice={invoice}")).await.body;
    assert_eq!(expanded["payments"]["data"], listed["data"]);
    listed["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn stripe_27_several_payments_pay_an_invoice_together() {
    let stripe = Stripe::start().await;
    let (_, invoice) = sent(&stripe).await;
    let first = stripe.sandbox.pay_part(&invoice, 1900, Card::Paid).unwrap();
    let body = stripe.sandbox.object(&invoice);
    assert_eq!((&body["status"], &body["amount_paid"]), (&"open".into(), &1900.into()));
    assert_eq!((&body["amount_due"], &body["amount_remaining"]), (&4900.into(), &3000.into()));
    let declined = stripe.sandbox.pay_part(&invoice, 1000, Card::Declined).unwrap();
    assert_eq!(stripe.status(&declined), "requires_payment_method");
    assert_eq!(stripe.sandbox.events("invoice.payment_failed").len(), 0, "nothing is retried");
    assert!(stripe.sandbox.pay_part(&invoice, 3001, Card::Paid).is_err());
    let second = stripe.sandbox.pay_part(&invoice, 3000, Card::Paid).unwrap();
    let body = stripe.sandbox.object(&invoice);
    assert_eq!((&body["status"], &body["amount_paid"]), (&"paid".into(), &4900.into()));
    assert_eq!(stripe.sandbox.events("invoice_payment.paid").len(), 2);
    assert_eq!(stripe.sandbox.events("invoice.paid").len(), 1);

    let mut paid = Vec::new();
    for payment in payments(&stripe, &invoice).await {
        let intent = payment["payment"]["payment_intent"].as_str().unwrap().to_owned();
        match payment["status"].as_str().unwrap() {
            "paid" => paid.push((intent, payment["amount_paid"].as_i64().unwrap())),
            status => {
                assert_eq!((status, stripe.status(&intent).as_str()), ("canceled", "canceled"))
            }
        }
    }
    assert_eq!(paid, [(second.clone(), 3000), (first.clone(), 1900)]);
    // Each payment has its own charge, which can be refunded.
    stripe.sandbox.refund(&first, None).unwrap();
    stripe.sandbox.refund(&second, Some(1000)).unwrap();
    assert_eq!(stripe.sandbox.events("charge.refunded").len(), 2);
    assert_eq!(stripe.status(&invoice), "paid");
}

#[tokio::test]
async fn stripe_27_the_payments_are_listed_in_any_order() {
    let stripe = Stripe::start().await;
    let (_, invoice) = sent(&stripe).await;
    for amount in [1000, 1900, 2000] {
        stripe.sandbox.pay_part(&invoice, amount, Card::Paid).unwrap();
    }
    let mut orders = Vec::new();
    for order in [Order::Reversed, Order::AsCreated, Order::Shuffled] {
        stripe.sandbox.list_payments(order);
        let amounts = payments(&stripe, &invoice).await;
        let amounts = amounts.iter().filter_map(|payment| payment["amount_paid"].as_i64());
        orders.push(amounts.collect::<Vec<_>>());
    }
    assert_eq!(orders[0], [2000, 1900, 1000]);
    assert_eq!(orders[1], [1000, 1900, 2000]);
    orders[2].sort_unstable();
    assert_eq!(orders[2], [1000, 1900, 2000]);
}

#[tokio::test]
async fn stripe_27_an_invoice_shows_ten_payments_and_lists_the_rest() {
    let stripe = Stripe::start().await;
    let (_, invoice) = sent(&stripe).await;
    for _ in 0..12 {
        stripe.sandbox.pay_part(&invoice, 100, Card::Paid).unwrap();
    }
    let shown = stripe.get(&format!("/v1/invoices/{invoice}?expand[]=payments")).await.body;
    assert_eq!(shown["payments"]["data"].as_array().unwrap().len(), 10);
    assert_eq!(shown["payments"]["has_more"], true);
    let path = format!("/v1/invoice_payments?invoice={invoice}&status=paid&limit=100");
    assert_eq!(stripe.get(&path).await.ids().len(), 12);
}

#[tokio::test]
async fn stripe_27_a_payment_outside_of_stripe_has_no_payment_intent() {
    // https://docs.stripe.com/changelog/dahlia/2026-05-27/invoice-object-amount-paid-off-stripe-property
    let stripe = Stripe::start().await;
    let (_, invoice) = sent(&stripe).await;
    stripe.sandbox.pay_part(&invoice, 1900, Card::Paid).unwrap();
    let path = format!("/v1/invoices/{invoice}/pay");
    let paid = stripe.post(&path, "paid_out_of_band=true").await;
    assert_eq!((&paid.body["status"], &paid.body["amount_paid"]), (&"paid".into(), &4900.into()));
    let payments = payments(&stripe, &invoice).await;
    let record = &payments[0]["payment"];
    assert_eq!(record["type"], "payment_record");
    assert!(record["payment_intent"].is_null());
    let path = format!("/v1/payment_records/{}", record["payment_record"].as_str().unwrap());
    assert_eq!(stripe.get(&path).await.body["amount_guaranteed"]["value"], 3000);
    assert_eq!(stripe.sandbox.events("invoice.paid").len(), 1);
    assert_eq!(stripe.sandbox.events("invoice.payment_succeeded").len(), 0);
    assert!(stripe.sandbox.pay_out_of_band(&invoice, None).is_err());
}

#[tokio::test]
async fn stripe_27_a_payment_is_attached_later_and_its_excess_is_credited() {
    // https://docs.stripe.com/api/invoices/attach_payment
    let stripe = Stripe::start().await;
    let (customer, invoice) = sent(&stripe).await;
    let payment = stripe.sandbox.charge(&customer, 5000, Card::Paid).unwrap();
    assert_eq!(stripe.status(&invoice), "open");
    let form = format!("payment_intent={payment}");
    let path = format!("/v1/invoices/{invoice}/attach_payment");
    let attached = stripe.post(&path, &form).await.body;
    assert_eq!((&attached["status"], &attached["amount_paid"]), (&"paid".into(), &4900.into()));
    assert_eq!(attached["amount_overpaid"], 100);
    assert_eq!(stripe.sandbox.object(&customer)["balance"], -100);
    assert_eq!(stripe.post(&path, &form).await.status, 400);
    let (_, other) = sent(&stripe).await;
    assert!(stripe.sandbox.attach_payment(&other, &payment).is_err(), "it pays an invoice already");
}

#[tokio::test]
async fn stripe_27_a_payment_made_by_the_api_pays_a_part() {
    let stripe = Stripe::start().await;
    let (customer, invoice) = sent(&stripe).await;
    stripe.sandbox.replace_card(&customer, Card::Paid).unwrap();
    let settings = &stripe.sandbox.object(&customer)["invoice_settings"];
    let method = settings["default_payment_method"].as_str().unwrap().to_owned();
    let form =
        format!("amount=900&currency=usd&customer={customer}&payment_method={method}&confirm=true");
    let intent = stripe.post("/v1/payment_intents", &form).await.id();
    stripe.sandbox.attach_payment(&invoice, &intent).unwrap();
    assert_eq!(stripe.sandbox.object(&invoice)["amount_remaining"], 4000);
    // The default payment asks for the remaining amount.
    stripe.sandbox.pay_invoice(&invoice).unwrap();
    assert_eq!(stripe.status(&invoice), "paid");
    let amounts: Vec<i64> = payments(&stripe, &invoice)
        .await
        .iter()
        .map(|payment| payment["amount_paid"].as_i64().unwrap())
        .collect();
    assert_eq!(amounts, [900, 4000]);
}
