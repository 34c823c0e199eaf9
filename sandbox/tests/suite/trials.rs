//! Trials: with and without a card, announced, extended, paused and resumed
//! (<https://docs.stripe.com/billing/subscriptions/trials>).

use licentia_sandbox::{Behavior, Card, Options, Paid};
use serde_json::{Value, json};

use crate::harness::{START, Stripe};

const DAY: i64 = 86_400;

/// A trial of 14 days that pauses the subscription without a card.
const PAUSES: &str = "&subscription_data[trial_period_days]=14\
    &subscription_data[trial_settings][end_behavior][missing_payment_method]=pause\
    &payment_method_collection=if_required";

impl Stripe {
    /// Returns a customer and a subscription in a trial that began without a card.
    async fn trial_without_card(&self, more: &str) -> (String, String) {
        let customer = self.customer().await;
        let session = self.session(&customer, more).await;
        assert_eq!(self.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
        let body = self.sandbox.object(&session);
        assert_eq!(body["payment_status"], "no_payment_required");
        (customer, body["subscription"].as_str().unwrap().to_owned())
    }

    async fn resume(&self, subscription: &str, form: &str) -> Value {
        let resumed = self.post(&format!("/v1/subscriptions/{subscription}/resume"), form).await;
        assert_eq!(resumed.status, 200, "{:#}", resumed.body);
        resumed.body
    }

    fn count(&self, event: &str) -> usize {
        self.sandbox.events(event).len()
    }
}

#[tokio::test]
async fn a_card_has_the_fingerprint_of_its_number() {
    // https://docs.stripe.com/api/payment_methods/object#payment_method_object-card-fingerprint
    let stripe = Stripe::start().await;
    let mut fingerprints = Vec::new();
    for card in [Card::Paid, Card::Paid, Card::PaidMastercard, Card::PaidAmex] {
        let customer = stripe.customer().await;
        let session = stripe.session(&customer, "&subscription_data[trial_period_days]=7").await;
        assert_eq!(stripe.sandbox.pay(&session, card), Ok(Paid::Completed));
        stripe.sandbox.replace_card(&customer, card).unwrap();
        let path = format!(
            "/v1/subscriptions?customer={customer}&expand[]=data.default_payment_method\
             &expand[]=data.customer.invoice_settings.default_payment_method"
        );
        let subscription = stripe.get(&path).await.body["data"][0].take();
        let own = &subscription["default_payment_method"]["card"]["fingerprint"];
        let path =
            format!("/v1/customers/{customer}?expand[]=invoice_settings.default_payment_method");
        let settings = stripe.get(&path).await.body["invoice_settings"].take();
        assert_eq!(settings["default_payment_method"]["card"]["fingerprint"], *own);
        let customer = &subscription["customer"]["invoice_settings"]["default_payment_method"];
        assert_eq!(customer["card"]["fingerprint"], *own);
        fingerprints.push(own.as_str().unwrap().to_owned());
    }
    assert_eq!(fingerprints[0], fingerprints[1], "the same number");
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), 3, "{fingerprints:?}");
}

#[tokio::test]
async fn a_trial_needs_no_card_if_the_session_says_so() {
    // https://docs.stripe.com/payments/checkout/free-trials
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.trial_without_card(PAUSES).await;
    let body = stripe.sandbox.object(&subscription);
    assert_eq!(
        (&body["status"], &body["default_payment_method"]),
        (&json!("trialing"), &json!(null))
    );
    assert_eq!(body["trial_end"], START + 14 * DAY);
    assert_eq!(body["trial_settings"]["end_behavior"]["missing_payment_method"], "pause");
    let customer = stripe.customer().await;
    let always = stripe.session(&customer, "&subscription_data[trial_period_days]=14").await;
    assert_eq!(stripe.sandbox.object(&always)["payment_method_collection"], "always");
    assert_eq!(stripe.sandbox.pay(&always, Card::Declined), Ok(Paid::Declined));
    let not_free = stripe.session(&customer, "&payment_method_collection=if_required").await;
    assert_eq!(stripe.sandbox.pay(&not_free, Card::Declined), Ok(Paid::Declined));
}

#[tokio::test]
async fn a_trial_without_a_card_ends_as_its_settings_say() {
    // https://docs.stripe.com/api/subscriptions/object#subscription_object-trial_settings
    for (behavior, status) in
        [("pause", "paused"), ("cancel", "canceled"), ("create_invoice", "past_due")]
    {
        let stripe = Stripe::start().await;
        let (_, subscription) =
            stripe.trial_without_card(&PAUSES.replace("=pause", &format!("={behavior}"))).await;
        stripe.sandbox.advance_days(14);
        assert_eq!(stripe.status(&subscription), status);
        assert_eq!(stripe.count("customer.subscription.paused"), usize::from(status == "paused"));
        let invoices = if behavior == "create_invoice" { 2 } else { 1 };
        assert_eq!(stripe.count("invoice.created"), invoices, "{behavior}");
    }
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.trial_without_card(PAUSES).await;
    stripe.sandbox.replace_card(&customer, Card::Paid).unwrap();
    stripe.sandbox.advance_days(14);
    assert_eq!(stripe.status(&subscription), "active", "a card came in time");
}

#[tokio::test]
async fn a_new_card_does_not_resume_a_paused_subscription_but_a_call_does() {
    // https://docs.stripe.com/api/subscriptions/resume
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.trial_without_card(PAUSES).await;
    stripe.sandbox.advance_days(20);
    stripe.sandbox.replace_card(&customer, Card::Paid).unwrap();
    stripe.sandbox.advance_days(1);
    assert_eq!(stripe.status(&subscription), "paused");
    let resumed = stripe.resume(&subscription, "payment_behavior=resume_on_payment_success").await;
    assert_eq!(resumed["status"], "active");
    assert_eq!(resumed["billing_cycle_anchor"], START + 21 * DAY);
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.sandbox.object(&invoice)["amount_paid"], 4900);
    assert_eq!(stripe.count("customer.subscription.resumed"), 1);
    stripe.sandbox.advance_days(31);
    assert_eq!(stripe.count("invoice.paid"), 3, "the trial's, the resumption's, a renewal's");
    let again = stripe.post(&format!("/v1/subscriptions/{subscription}/resume"), "").await;
    assert_eq!(again.status, 400, "it is not paused");
}

#[tokio::test]
async fn a_failed_resumption_leaves_the_subscription_paused_or_past_due() {
    // https://docs.stripe.com/changelog/dahlia/2026-05-27/pause-subscriptions
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.trial_without_card(PAUSES).await;
    stripe.sandbox.advance_days(14);
    stripe.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    let by_success = "payment_behavior=resume_on_payment_success";
    assert_eq!(stripe.resume(&subscription, by_success).await["status"], "paused");
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.status(&invoice), "open");
    stripe.sandbox.advance_days(1);
    assert_eq!(stripe.status(&invoice), "void", "it was not paid in time");
    assert_eq!(stripe.status(&subscription), "paused");

    assert_eq!(stripe.resume(&subscription, "").await["status"], "paused", "nothing is tried");
    let (invoice, _) = stripe.payment(&subscription).await;
    stripe.sandbox.pay_invoice(&invoice).unwrap();
    assert_eq!(stripe.status(&subscription), "past_due");
    stripe.sandbox.replace_card(&customer, Card::Paid).unwrap();
    stripe.sandbox.pay_invoice(&invoice).unwrap();
    assert_eq!(stripe.status(&subscription), "active");
}

#[tokio::test]
async fn a_subscription_resumes_in_the_period_that_it_would_have_had() {
    // https://docs.stripe.com/api/subscriptions/resume#resume_subscription-billing_cycle_anchor
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.trial_without_card(PAUSES).await;
    stripe.sandbox.advance_days(24);
    stripe.sandbox.replace_card(&customer, Card::Paid).unwrap();
    let form = "billing_cycle_anchor=unchanged&proration_behavior=always_invoice\
                &payment_behavior=resume_on_payment_success";
    let resumed = stripe.resume(&subscription, form).await;
    assert_eq!(
        (&resumed["status"], &resumed["billing_cycle_anchor"]),
        (&json!("active"), &json!(START + 14 * DAY))
    );
    let item = &resumed["items"]["data"][0];
    assert_eq!(item["current_period_start"], START + 14 * DAY);
    let (invoice, _) = stripe.payment(&subscription).await;
    // The period has 31 days, of which ten have passed.
    assert_eq!(stripe.sandbox.object(&invoice)["total"], (4900 * 21 + 15) / 31);

    // Without an invoice for it, it resumes at once, and the next invoice bills the rest.
    let (_, subscription) = stripe.trial_without_card(PAUSES).await;
    stripe.sandbox.advance_days(24);
    let resumed = stripe.resume(&subscription, "billing_cycle_anchor=unchanged").await;
    assert_eq!(resumed["status"], "active");
    stripe.sandbox.advance_days(21);
    let (invoice, _) = stripe.payment(&subscription).await;
    let invoice = stripe.sandbox.object(&invoice);
    assert_eq!(invoice["lines"]["data"].as_array().unwrap().len(), 2, "{invoice:#}");
}

#[tokio::test]
async fn the_end_of_a_trial_is_announced_three_days_before() {
    // https://docs.stripe.com/api/events/types#event_types-customer.subscription.trial_will_end
    let name = "customer.subscription.trial_will_end";
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.trial_without_card(PAUSES).await;
    stripe.sandbox.advance_days(10);
    assert_eq!(stripe.count(name), 0);
    stripe.sandbox.advance_days(1);
    assert_eq!(stripe.count(name), 1);
    // The vendor extends it: it is announced again.
    let path = format!("/v1/subscriptions/{subscription}");
    let extended = stripe.post(&path, &format!("trial_end={}", START + 30 * DAY)).await;
    assert_eq!(extended.body["trial_end"], START + 30 * DAY);
    assert_eq!(extended.body["items"]["data"][0]["current_period_end"], START + 30 * DAY);
    stripe.sandbox.advance_days(15);
    assert_eq!((stripe.status(&subscription).as_str(), stripe.count(name)), ("trialing", 1));
    stripe.sandbox.advance_days(1);
    assert_eq!(stripe.count(name), 2);
    stripe.sandbox.advance_days(3);
    assert_eq!(stripe.status(&subscription), "paused");
    // A shorter trial is announced at once.
    stripe.trial_without_card(&PAUSES.replace("=14", "=2")).await;
    assert_eq!(stripe.count(name), 3);

    let behavior = Behavior { announces_trial_ends: false, ..Behavior::default() };
    let stripe = Stripe::with(Options { behavior, ..Options::default() }).await;
    stripe.trial_without_card(PAUSES).await;
    stripe.sandbox.advance_days(20);
    assert_eq!(stripe.count(name), 0, "the switch is off");
}

#[tokio::test]
async fn a_trial_can_be_ended_now() {
    // https://docs.stripe.com/billing/subscriptions/trials#end-a-trial-early
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "&subscription_data[trial_period_days]=14").await;
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    let subscription = stripe.sandbox.object(&session)["subscription"].as_str().unwrap().to_owned();
    stripe.sandbox.advance_days(2);
    let path = format!("/v1/subscriptions/{subscription}");
    let ended = stripe.post(&path, "trial_end=now&proration_behavior=none").await;
    assert_eq!((ended.status, &ended.body["status"]), (200, &json!("active")));
    assert_eq!(ended.body["trial_end"], START + 2 * DAY);
    assert_eq!(ended.body["items"]["data"][0]["current_period_start"], START + 2 * DAY);
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.sandbox.object(&invoice)["amount_paid"], 4900);
    let again = stripe.post(&path, "trial_end=now").await;
    assert_eq!((again.status, stripe.count("invoice.paid")), (200, 2), "nothing is left to end");
    let past = stripe.post(&path, &format!("trial_end={START}")).await;
    assert_eq!((past.status, past.error("param")), (400, "trial_end"));
}
