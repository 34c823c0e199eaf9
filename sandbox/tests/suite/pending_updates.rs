//! Updates that wait for their payment
//! (<https://docs.stripe.com/billing/subscriptions/pending-updates-reference>).

use licentia_sandbox::{Card, CouponDuration, Proration};
use serde_json::{Value, json};

use crate::harness::{Answer, START, Stripe};

const DAY: i64 = 86_400;

const HOUR: i64 = 3_600;

const PENDING: &str = "&proration_behavior=always_invoice&payment_behavior=pending_if_incomplete\
                       &expand[]=latest_invoice.payments.data.payment.payment_intent";

struct Seats {
    stripe: Stripe,
    customer: String,
    subscription: String,
}

impl Seats {
    /// Returns a subscription of one unit in the middle of its period, to be paid by a card.
    async fn paid_later_by(card: Card) -> Self {
        let stripe = Stripe::start().await;
        let (customer, subscription) = stripe.subscriber().await;
        stripe.sandbox.replace_card(&customer, card).unwrap();
        stripe.sandbox.advance_days(15);
        Self { stripe, customer, subscription }
    }

    async fn set(&self, quantity: i64, more: &str) -> Answer {
        let item = self.stripe.item(&self.subscription, 0);
        let form = format!("items[0][id]={item}&items[0][quantity]={quantity}{PENDING}{more}");
        self.stripe.post(&format!("/v1/subscriptions/{}", self.subscription), &form).await
    }

    fn object(&self) -> Value {
        self.stripe.sandbox.object(&self.subscription)
    }

    fn quantity(&self) -> i64 {
        self.object()["items"]["data"][0]["quantity"].as_i64().unwrap()
    }

    fn latest(&self) -> String {
        self.object()["latest_invoice"].as_str().unwrap().to_owned()
    }

    fn count(&self, event: &str) -> usize {
        self.stripe.sandbox.events(event).len()
    }
}

fn intent(answer: &Answer) -> &Value {
    &answer.body["latest_invoice"]["payments"]["data"][0]["payment"]["payment_intent"]
}

#[tokio::test]
async fn an_update_that_is_paid_at_once_applies_at_once() {
    let seats = Seats::paid_later_by(Card::Paid).await;
    let changed = seats.set(3, "").await;
    assert_eq!(changed.body["pending_update"], Value::Null);
    assert_eq!(changed.body["latest_invoice"]["amount_paid"], 2 * 2450);
    assert_eq!(intent(&changed)["status"], "succeeded");
    assert_eq!(seats.quantity(), 3);
    assert_eq!(seats.count("customer.subscription.pending_update_applied"), 0);
}

#[tokio::test]
async fn a_declined_update_waits_and_applies_when_its_invoice_is_paid() {
    let seats = Seats::paid_later_by(Card::DeclinedLater).await;
    let item = seats.stripe.item(&seats.subscription, 0);
    let changed = seats.set(3, "").await;
    let pending = &changed.body["pending_update"];
    assert_eq!(pending["expires_at"], START + 15 * DAY + 23 * HOUR);
    assert_eq!(
        (&pending["subscription_items"][0]["id"], &pending["subscription_items"][0]["quantity"]),
        (&json!(item), &json!(3))
    );
    assert_eq!(intent(&changed)["status"], "requires_payment_method");
    assert_eq!((seats.quantity(), &seats.object()["status"]), (1, &json!("active")));
    // Nothing is retried, and the page of the invoice takes another card.
    let invoice = seats.stripe.sandbox.object(&seats.latest());
    assert_eq!((&invoice["status"], &invoice["amount_due"]), (&json!("open"), &json!(2 * 2450)));
    assert_eq!(invoice["next_payment_attempt"], Value::Null);
    let page = invoice["hosted_invoice_url"].as_str().unwrap();
    let paid = seats.stripe.http.post(page).body("card=4242424242424242").send().await.unwrap();
    assert_eq!(paid.status(), 303);
    assert_eq!((seats.quantity(), &seats.object()["pending_update"]), (3, &Value::Null));
    assert_eq!(seats.count("customer.subscription.pending_update_applied"), 1);
    seats.stripe.sandbox.replace_card(&seats.customer, Card::Paid).unwrap();
    seats.stripe.sandbox.advance_days(15);
    assert_eq!(seats.stripe.sandbox.object(&seats.latest())["amount_paid"], 3 * 4900);
    assert_eq!(seats.count("customer.subscription.pending_update_expired"), 0);
}

#[tokio::test]
async fn an_update_waits_for_three_d_secure() {
    for succeeds in [true, false] {
        let seats = Seats::paid_later_by(Card::Authenticate).await;
        let changed = seats.set(3, "").await;
        assert!(changed.body["pending_update"].is_object());
        let intent = intent(&changed);
        assert_eq!(intent["status"], "requires_action");
        assert_eq!(seats.count("invoice.payment_action_required"), 1);
        seats.stripe.sandbox.authenticate(intent["id"].as_str().unwrap(), succeeds).unwrap();
        assert_eq!(seats.quantity(), if succeeds { 3 } else { 1 });
        assert_eq!(seats.object()["pending_update"].is_object(), !succeeds);
        assert_eq!(seats.object()["status"], "active");
    }
    let seats = Seats::paid_later_by(Card::Authenticate).await;
    seats.set(3, "&off_session=true").await.id();
    assert_eq!(seats.quantity(), 3);
}

#[tokio::test]
async fn an_update_expires_after_23_hours_or_with_the_period() {
    for (days, hours) in [(0, 23), (14, 24)] {
        let seats = Seats::paid_later_by(Card::DeclinedLater).await;
        seats.stripe.sandbox.advance_days(days);
        let expires = seats.set(3, "").await.body["pending_update"]["expires_at"].take();
        let after = expires.as_i64().unwrap() - seats.stripe.sandbox.clock().now();
        assert_eq!(after, hours.min(23) * HOUR);
        let invoice = seats.latest();
        seats.stripe.sandbox.advance(std::time::Duration::from_secs(after.unsigned_abs()));
        assert_eq!(seats.stripe.status(&invoice), "void");
        assert_eq!((seats.quantity(), &seats.object()["pending_update"]), (1, &Value::Null));
        assert_eq!(seats.count("customer.subscription.pending_update_expired"), 1);
        assert_eq!(seats.count("customer.subscription.pending_update_applied"), 0);
    }
}

#[tokio::test]
async fn a_renewal_bills_the_items_from_before_a_pending_update() {
    let seats = Seats::paid_later_by(Card::DeclinedLater).await;
    seats.stripe.sandbox.advance_days(14);
    seats.stripe.sandbox.advance(std::time::Duration::from_secs(2 * 3_600));
    let pending = seats.set(3, "").await.body["pending_update"].take();
    assert_eq!(pending["expires_at"], START + 30 * DAY);
    let invoice = seats.latest();
    seats.stripe.sandbox.replace_card(&seats.customer, Card::Paid).unwrap();
    seats.stripe.sandbox.advance_days(1);
    assert_eq!(seats.stripe.status(&invoice), "void");
    let renewal = seats.stripe.sandbox.object(&seats.latest());
    assert_eq!((&renewal["amount_paid"], seats.quantity()), (&json!(4900), 1));
}

#[tokio::test]
async fn voiding_the_invoice_or_another_change_discards_an_update() {
    let seats = Seats::paid_later_by(Card::DeclinedLater).await;
    seats.set(3, "").await.id();
    let first = seats.latest();
    seats.stripe.post(&format!("/v1/invoices/{first}/void"), "").await.id();
    assert_eq!(seats.object()["pending_update"], Value::Null);
    seats.set(4, "").await.id();
    let second = seats.latest();
    let item = seats.stripe.item(&seats.subscription, 0);
    seats.stripe.sandbox.replace_card(&seats.customer, Card::Paid).unwrap();
    seats.stripe.sandbox.set_quantity(&seats.subscription, &item, 2, Proration::Now).unwrap();
    assert_eq!(seats.stripe.status(&second), "void");
    assert_eq!((seats.quantity(), &seats.object()["pending_update"]), (2, &Value::Null));
    // The debit of the first unit is credited once, the voided ones never.
    assert_eq!(seats.stripe.sandbox.object(&seats.latest())["amount_paid"], 2450);
}

#[tokio::test]
async fn a_pending_update_does_not_hide_that_a_renewal_was_paid() {
    let seats = Seats::paid_later_by(Card::DeclinedLater).await;
    seats.stripe.sandbox.advance_days(15);
    let renewal = seats.latest();
    assert_eq!(seats.object()["status"], "past_due");
    assert!(seats.set(3, "").await.body["pending_update"].is_object());
    seats.stripe.sandbox.pay_invoice_with(&renewal, Card::Paid).unwrap();
    assert_eq!((seats.quantity(), &seats.object()["status"]), (1, &json!("active")));
}

#[tokio::test]
async fn a_cancellation_forgets_an_update() {
    let seats = Seats::paid_later_by(Card::DeclinedLater).await;
    seats.set(3, "").await.id();
    let invoice = seats.latest();
    seats.stripe.sandbox.cancel_now(&seats.subscription).unwrap();
    assert_eq!(seats.object()["pending_update"], Value::Null);
    seats.stripe.sandbox.pay_invoice_with(&invoice, Card::Paid).unwrap();
    assert_eq!((seats.quantity(), &seats.object()["status"]), (1, &json!("canceled")));
}

#[tokio::test]
async fn a_lower_quantity_needs_no_payment() {
    let seats = Seats::paid_later_by(Card::Paid).await;
    seats.set(3, "").await.id();
    seats.stripe.sandbox.replace_card(&seats.customer, Card::DeclinedLater).unwrap();
    let changed = seats.set(1, "").await;
    assert_eq!(changed.body["pending_update"], Value::Null);
    assert_eq!((seats.quantity(), seats.stripe.status(&seats.latest())), (1, "paid".to_owned()));
    let customer = seats.stripe.sandbox.object(&seats.customer);
    assert_eq!(customer["balance"], -2 * 2450);
}

/// <https://docs.stripe.com/changelog/dahlia/2026-05-27>
#[tokio::test]
async fn discounts_wait_with_the_update() {
    let seats = Seats::paid_later_by(Card::DeclinedLater).await;
    seats.stripe.sandbox.add_coupon("HALF", 50, CouponDuration::Forever);
    let changed = seats.set(3, "&discounts[0][coupon]=HALF").await;
    assert_eq!(changed.body["discounts"], json!([]));
    assert_eq!(changed.body["pending_update"]["discounts"].as_array().unwrap().len(), 1);
    // The credit is what was paid; the debit has the discount.
    assert_eq!(changed.body["latest_invoice"]["total"], 3 * 1225 - 2450);
    // A discount that is given meanwhile does not wait.
    seats.stripe.sandbox.add_coupon("TENTH", 10, CouponDuration::Once);
    let path = format!("/v1/subscriptions/{}", seats.subscription);
    let given = seats.stripe.post(&path, "discounts[0][coupon]=TENTH").await.body;
    assert_eq!(given["discounts"].as_array().unwrap().len(), 1);
    seats.stripe.sandbox.pay_invoice_with(&seats.latest(), Card::Paid).unwrap();
    assert_eq!(seats.object()["discounts"], changed.body["pending_update"]["discounts"]);
}

#[tokio::test]
async fn only_some_parameters_can_wait() {
    let seats = Seats::paid_later_by(Card::Paid).await;
    let refused = seats.set(3, "&description=x").await;
    assert_eq!((refused.status, refused.error("param")), (400, "description"));
    let path = format!("/v1/subscriptions/{}", seats.subscription);
    let form = "collection_method=send_invoice&days_until_due=7";
    seats.stripe.post(&path, form).await.id();
    let refused = seats.set(3, "").await;
    assert_eq!((refused.status, refused.error("param")), (400, "payment_behavior"));
    assert_eq!(seats.quantity(), 1);
}

/// <https://docs.stripe.com/api/subscriptions/update#update_subscription-cancel_at>
#[tokio::test]
async fn a_cancellation_is_set_and_undone_by_each_field() {
    let seats = Seats::paid_later_by(Card::Paid).await;
    let path = format!("/v1/subscriptions/{}", seats.subscription);
    let end = START + 30 * DAY;
    for (field, at) in [
        ("cancel_at_period_end=true", json!(end)),
        ("cancel_at=", Value::Null),
        ("cancel_at_period_end=true", json!(end)),
        ("cancel_at_period_end=false", Value::Null),
    ] {
        let changed = seats.stripe.post(&path, field).await.body;
        assert_eq!((&changed["cancel_at"], &changed["status"]), (&at, &json!("active")), "{field}");
        assert_eq!(changed["cancel_at_period_end"], at != Value::Null);
    }
    assert_eq!(seats.stripe.delete(&path).await.body["status"], "canceled");
}
