//! Unpaid renewals: forgiven by the vendor, given up by dunning, paid late, or not collected during
//! a pause.

use licentia_sandbox::{AfterRetries, Behavior, Card, Options, Pause};

use crate::harness::{START, Stripe};

const DAY: i64 = 86_400;

/// Returns a subscription whose renewal could not be paid, with its customer and invoice.
async fn past_due(stripe: &Stripe) -> (String, String, String) {
    let (customer, subscription) = stripe.subscriber().await;
    stripe.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    stripe.sandbox.advance_days(31);
    assert_eq!(stripe.status(&subscription), "past_due");
    let (invoice, _) = stripe.payment(&subscription).await;
    (customer, subscription, invoice)
}

#[tokio::test]
async fn stripe_25_a_voided_renewal_leaves_the_subscription_active() {
    // https://docs.stripe.com/billing/subscriptions/overview#voiding-invoice
    let stripe = Stripe::start().await;
    let (_, subscription, invoice) = past_due(&stripe).await;
    let body = stripe.sandbox.object(&invoice);
    assert_eq!((&body["attempt_count"], &body["auto_advance"]), (&1.into(), &true.into()));
    assert!(body["next_payment_attempt"].as_i64().unwrap() > START + 31 * DAY);
    let voided = stripe.post(&format!("/v1/invoices/{invoice}/void"), "").await.body;
    assert_eq!((&voided["status"], &voided["auto_advance"]), (&"void".into(), &false.into()));
    assert!(voided["next_payment_attempt"].is_null());
    assert_eq!(voided["status_transitions"]["voided_at"], START + 31 * DAY);
    assert!(voided["status_transitions"]["paid_at"].is_null());
    assert_eq!(stripe.status(&subscription), "active");
    stripe.sandbox.advance_days(20);
    assert_eq!(stripe.sandbox.object(&invoice)["attempt_count"], 1, "nothing is retried");
    assert!(stripe.sandbox.pay_invoice_with(&invoice, Card::Paid).is_err());
}

#[tokio::test]
async fn stripe_25_a_renewal_written_off_by_the_vendor_has_that_reason_and_can_be_paid() {
    // https://docs.stripe.com/changelog/endive/2026-09-30/invoice-uncollectible-status-detail
    let stripe = Stripe::start().await;
    let (_, subscription, invoice) = past_due(&stripe).await;
    let path = format!("/v1/invoices/{invoice}/mark_uncollectible");
    let body = stripe.post(&path, "").await.body;
    assert_eq!((&body["status"], &body["auto_advance"]), (&"uncollectible".into(), &false.into()));
    assert_eq!(body["status_details"]["uncollectible"]["reason"], "user_forgiven");
    assert_eq!(body["status_transitions"]["marked_uncollectible_at"], START + 31 * DAY);
    assert_eq!(stripe.status(&subscription), "active");
    assert_eq!(stripe.sandbox.events("invoice.marked_uncollectible").len(), 1);
    stripe.sandbox.pay_invoice_with(&invoice, Card::Paid).unwrap();
    let body = stripe.sandbox.object(&invoice);
    assert_eq!((&body["status"], body.get("status_details")), (&"paid".into(), None));
}

#[tokio::test]
async fn stripe_25_a_renewal_written_off_by_dunning_has_that_reason() {
    for (after_retries, status) in [
        (AfterRetries::Cancel, "canceled"),
        (AfterRetries::Unpaid, "unpaid"),
        (AfterRetries::PastDue, "past_due"),
    ] {
        let behavior = Behavior { after_retries, ..Behavior::default() };
        let stripe = Stripe::with(Options { behavior, ..Options::default() }).await;
        stripe.sandbox.write_off_after_retries(true);
        let (_, subscription, invoice) = past_due(&stripe).await;
        stripe.sandbox.advance_days(16);
        let body = stripe.sandbox.object(&invoice);
        assert_eq!(body["status"], "uncollectible");
        assert_eq!(body["status_details"]["uncollectible"]["reason"], "max_payment_attempts");
        assert_eq!(
            (&body["attempt_count"], &body["next_payment_attempt"]),
            (&4.into(), &().into())
        );
        assert_eq!(stripe.status(&subscription), status);
    }
}

#[tokio::test]
async fn stripe_22_a_renewal_can_be_paid_after_dunning_has_canceled() {
    // https://docs.stripe.com/billing/subscriptions/cancel: open invoices stay open, uncollected.
    let stripe = Stripe::start().await;
    let (_, subscription, invoice) = past_due(&stripe).await;
    stripe.sandbox.advance_days(16);
    assert_eq!(stripe.status(&subscription), "canceled");
    let details = stripe.sandbox.object(&subscription)["cancellation_details"].clone();
    assert_eq!(details["reason"], "payment_failed");
    let body = stripe.sandbox.object(&invoice);
    assert_eq!((&body["status"], &body["auto_advance"]), (&"open".into(), &false.into()));
    stripe.sandbox.pay_invoice_with(&invoice, Card::Declined).unwrap();
    assert_eq!(stripe.status(&invoice), "open");
    stripe.sandbox.pay_invoice_with(&invoice, Card::Paid).unwrap();
    let body = stripe.sandbox.object(&invoice);
    assert_eq!((&body["status"], &body["amount_paid"]), (&"paid".into(), &4900.into()));
    assert_eq!(body["status_transitions"]["paid_at"], START + 47 * DAY);
    assert_eq!(body["lines"]["data"][0]["period"]["end"], START + 61 * DAY);
    assert_eq!(stripe.status(&subscription), "canceled", "it does not come back");
    assert_eq!(stripe.sandbox.events("invoice.paid").len(), 2);
}

#[tokio::test]
async fn stripe_25_a_first_invoice_that_is_voided_ends_the_subscription() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let subscription =
        stripe.sandbox.subscribe(&customer, "price_pro_monthly", Card::DeclinedLater).unwrap();
    assert_eq!(stripe.status(&subscription), "incomplete");
    let (invoice, _) = stripe.payment(&subscription).await;
    stripe.sandbox.void_invoice(&invoice).unwrap();
    assert_eq!(stripe.status(&subscription), "incomplete_expired");
    assert_eq!(stripe.sandbox.events("invoice.voided").len(), 1);
}

#[tokio::test]
async fn stripe_31_an_invoice_that_is_not_collected_during_a_pause_has_that_reason() {
    // https://docs.stripe.com/billing/subscriptions/pause-payment
    for (pause, status, reason) in [
        (Pause::Void, "void", None),
        (Pause::KeepAsDraft, "draft", None),
        (Pause::MarkUncollectible, "uncollectible", Some("subscription_paused")),
    ] {
        for drafts_renewals in [false, true] {
            let behavior = Behavior { drafts_renewals, ..Behavior::default() };
            let stripe = Stripe::with(Options { behavior, ..Options::default() }).await;
            let (_, subscription) = stripe.subscriber().await;
            stripe.sandbox.pause(&subscription, pause).unwrap();
            stripe.sandbox.advance_days(31);
            let (invoice, _) = stripe.payment(&subscription).await;
            let body = stripe.sandbox.object(&invoice);
            assert_eq!((&body["status"], &body["auto_advance"]), (&status.into(), &false.into()));
            let said = &body["status_details"]["uncollectible"]["reason"];
            assert_eq!(said.as_str(), reason);
            assert_eq!(stripe.status(&subscription), "active");
            assert_eq!(stripe.sandbox.events("invoice.payment_failed").len(), 0);
            stripe.sandbox.resume(&subscription).unwrap();
            stripe.sandbox.advance_days(31);
            assert_eq!(stripe.sandbox.events("invoice.paid").len(), 2);
            if pause == Pause::KeepAsDraft {
                // It can be finalized later, and is charged only by a call.
                stripe.sandbox.finalize_invoice(&invoice).unwrap();
                assert_eq!(stripe.status(&invoice), "open");
            }
        }
    }
}

#[tokio::test]
async fn stripe_31_a_pause_can_end_at_a_set_time() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    let form = format!(
        "pause_collection[behavior]=void&pause_collection[resumes_at]={}",
        START + 40 * DAY
    );
    stripe.post(&format!("/v1/subscriptions/{subscription}"), &form).await.id();
    stripe.sandbox.advance_days(39);
    assert!(stripe.sandbox.object(&subscription)["pause_collection"].is_object());
    stripe.sandbox.advance_days(1);
    assert!(stripe.sandbox.object(&subscription)["pause_collection"].is_null());
    stripe.sandbox.advance_days(30);
    assert_eq!(stripe.sandbox.events("invoice.paid").len(), 2);
}

#[tokio::test]
async fn manual_attempts_do_not_change_the_schedule_of_retries() {
    // https://docs.stripe.com/api/invoices/object#invoice_object-attempt_count
    let stripe = Stripe::start().await;
    let (_, subscription, invoice) = past_due(&stripe).await;
    let before = stripe.sandbox.object(&invoice);
    stripe.sandbox.pay_invoice_with(&invoice, Card::Declined).unwrap();
    let after = stripe.sandbox.object(&invoice);
    assert_eq!(after["attempt_count"], before["attempt_count"]);
    assert_eq!(after["next_payment_attempt"], before["next_payment_attempt"]);
    assert_eq!(stripe.sandbox.events("invoice.payment_failed").len(), 2);
    stripe.sandbox.write_off_invoice(&invoice).unwrap();
    stripe.sandbox.pay_invoice_with(&invoice, Card::Declined).unwrap();
    assert_eq!(stripe.status(&invoice), "uncollectible");
    assert_eq!(stripe.status(&subscription), "active");
    stripe.sandbox.advance_days(20);
    assert_eq!(stripe.sandbox.object(&invoice)["attempt_count"], 1);
}
