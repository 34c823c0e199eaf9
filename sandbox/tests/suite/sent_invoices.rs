//! Invoices that are sent to the customer instead of charged.
//!
//! <https://docs.stripe.com/api/subscriptions/object#subscription_object-status>: with
//! `collection_method=send_invoice`, a subscription is past due when its invoice is not paid by the
//! due date. Paying the most recent invoice makes it active, even if older ones are unpaid.

use licentia_sandbox::Card;

use crate::harness::{START, Stripe};

const DAY: i64 = 86_400;

#[tokio::test]
async fn stripe_23_a_sent_invoice_is_due_after_days_and_nothing_is_charged() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    stripe.sandbox.replace_card(&customer, Card::Paid).unwrap();
    let form = format!(
        "customer={customer}&items[0][price]=price_pro_monthly&collection_method=send_invoice"
    );
    assert_eq!(stripe.post("/v1/subscriptions", &form).await.error("param"), "days_until_due");
    let form = format!("{form}&days_until_due=14");
    let subscription = stripe.post("/v1/subscriptions", &form).await.id();
    assert_eq!(stripe.status(&subscription), "active");
    let (invoice, intent) = stripe.payment(&subscription).await;
    let body = stripe.sandbox.object(&invoice);
    assert_eq!(
        (&body["status"], &body["collection_method"]),
        (&"open".into(), &"send_invoice".into())
    );
    assert_eq!(
        (&body["due_date"], &body["attempted"]),
        (&(START + 14 * DAY).into(), &false.into())
    );
    assert_eq!(stripe.status(&intent), "requires_payment_method");
    assert_eq!(stripe.sandbox.events("invoice.sent").len(), 1);
    stripe.sandbox.pay_invoice_with(&invoice, Card::Declined).unwrap();
    assert!(stripe.sandbox.object(&invoice)["next_payment_attempt"].is_null());
    stripe.sandbox.advance_days(13);
    assert_eq!(stripe.status(&subscription), "active");
    stripe.sandbox.advance_days(1);
    assert_eq!(stripe.status(&subscription), "past_due");
    stripe.sandbox.pay_invoice_with(&invoice, Card::Paid).unwrap();
    assert_eq!(
        (stripe.status(&invoice), stripe.status(&subscription)),
        ("paid".into(), "active".into())
    );
}

#[tokio::test]
async fn stripe_23_the_newest_invoice_decides_while_older_ones_are_overdue() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let subscription =
        stripe.sandbox.subscribe_by_invoice(&customer, "price_pro_monthly", 20).unwrap();
    stripe.sandbox.advance_days(62);
    let open = stripe.get(&format!("/v1/invoices?customer={customer}&status=open")).await;
    let ids: Vec<String> = open.ids().iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(ids.len(), 3);
    let due: Vec<i64> =
        ids.iter().map(|id| stripe.sandbox.object(id)["due_date"].as_i64().unwrap()).collect();
    assert_eq!(due, [START + 81 * DAY, START + 50 * DAY, START + 20 * DAY]);
    assert_eq!(stripe.status(&subscription), "past_due");
    // The newest one is paid, so Stripe calls the subscription active, with two overdue invoices.
    stripe.sandbox.pay_invoice_with(&ids[0], Card::Paid).unwrap();
    assert_eq!(stripe.status(&subscription), "active");
    assert_eq!(stripe.status(&ids[2]), "open");
    // Paying an old one changes nothing.
    stripe.sandbox.pay_invoice_with(&ids[1], Card::Paid).unwrap();
    assert_eq!(stripe.status(&subscription), "active");
}

#[tokio::test]
async fn stripe_23_a_late_due_date_leaves_a_subscription_active_with_several_unpaid_invoices() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let subscription =
        stripe.sandbox.subscribe_by_invoice(&customer, "price_pro_monthly", 45).unwrap();
    stripe.sandbox.advance_days(50);
    // The first is overdue, but the newest is not.
    assert_eq!(stripe.status(&subscription), "active");
    let open = stripe.get(&format!("/v1/invoices?customer={customer}&status=open")).await;
    assert_eq!(open.ids().len(), 2);
}

#[tokio::test]
async fn stripe_23_a_subscription_can_change_to_sent_invoices() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    let path = format!("/v1/subscriptions/{subscription}");
    let form = "collection_method=send_invoice&days_until_due=7";
    assert_eq!(stripe.post(&path, form).await.body["days_until_due"], 7);
    stripe.sandbox.advance_days(31);
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.status(&invoice), "open");
    assert_eq!(stripe.sandbox.object(&invoice)["due_date"], START + 37 * DAY);
}

#[tokio::test]
async fn stripe_23_voiding_the_newest_invoice_leaves_the_older_one_to_decide() {
    // https://docs.stripe.com/billing/subscriptions/overview#voiding-invoice
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let subscription =
        stripe.sandbox.subscribe_by_invoice(&customer, "price_pro_monthly", 45).unwrap();
    stripe.sandbox.advance_days(50);
    assert_eq!(stripe.status(&subscription), "active");
    let (newest, _) = stripe.payment(&subscription).await;
    stripe.sandbox.void_invoice(&newest).unwrap();
    assert_eq!(stripe.status(&subscription), "past_due");
}
