//! The life of a subscription, by the sandbox's clock and by the actions of customers and vendors.

use std::time::Duration;

use licentia_sandbox::{AfterRetries, Behavior, CancelField, Card, Options, Paid};

use crate::harness::{START, Stripe};

const DAY: i64 = 86_400;

#[tokio::test]
async fn a_paid_checkout_creates_an_active_subscription_with_a_paid_invoice() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    let path = format!("/v1/subscriptions/{subscription}?expand[]=latest_invoice.payments");
    let body = stripe.get(&path).await.body;
    assert_eq!(body["status"], "active");
    assert_eq!(body["customer"], customer.as_str());
    assert_eq!(body["metadata"]["customer_id"], "cust_1");
    assert_eq!(body["current_period_end"], serde_json::Value::Null);
    assert_eq!(body["items"]["data"][0]["current_period_end"], START + 30 * DAY);
    assert_eq!(body["items"]["data"][0]["price"]["id"], "price_pro_monthly");
    let invoice = &body["latest_invoice"];
    assert_eq!(invoice["status"], "paid");
    assert_eq!(invoice["amount_paid"], 4900);
    let billed = &invoice["parent"]["subscription_details"]["subscription"];
    assert_eq!(*billed, subscription.as_str());
    let intent = invoice["payments"]["data"][0]["payment"]["payment_intent"].as_str().unwrap();
    assert_eq!(stripe.status(intent), "succeeded");
}

#[tokio::test]
async fn the_session_shows_its_result() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "").await;
    assert_eq!(stripe.sandbox.pay(&session, Card::Declined), Ok(Paid::Declined));
    assert_eq!(stripe.status(&session), "open");
    assert_eq!(stripe.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
    let body = stripe.sandbox.object(&session);
    assert_eq!(body["status"], "complete");
    assert_eq!(body["payment_status"], "paid");
    assert_eq!(body["payment_intent"], serde_json::Value::Null);
    let path = format!("/v1/subscriptions?customer={customer}&status=all");
    let subscriptions = stripe.get(&path).await;
    assert_eq!(subscriptions.ids(), [body["subscription"].as_str().unwrap()]);
    assert!(stripe.sandbox.pay(&session, Card::Paid).is_err());
}

#[tokio::test]
async fn an_undecided_3d_secure_payment_is_incomplete_and_expires() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "").await;
    let Ok(Paid::AuthenticationRequired { payment_intent }) =
        stripe.sandbox.pay(&session, Card::Authenticate)
    else {
        panic!("3-D Secure was not asked for")
    };
    let subscriptions = stripe.get(&format!("/v1/subscriptions?customer={customer}")).await;
    let subscription = subscriptions.ids()[0].to_owned();
    assert_eq!(stripe.status(&subscription), "incomplete");
    assert_eq!(stripe.status(&session), "open");
    let path = format!("/v1/subscriptions/{subscription}");
    let item = &stripe.get(&path).await.body["items"]["data"][0]["id"];
    let yearly = format!("items[0][id]={item}&items[0][price]=price_pro_yearly").replace('"', "");
    let changes = [
        (yearly.as_str(), 400),
        ("cancel_at_period_end=true", 400),
        ("pause_collection[behavior]=void", 400),
        ("description=x", 400),
        ("metadata[note]=x", 200),
    ];
    for (change, status) in changes {
        let answer = stripe.post(&path, change).await;
        assert_eq!(answer.status, status, "{change}: {}", answer.body);
    }
    assert!(stripe.sandbox.change_plan(&subscription, "price_pro_yearly").is_err());
    stripe.sandbox.advance_days(1);
    assert_eq!(stripe.status(&subscription), "incomplete_expired");
    assert_eq!(stripe.status(&session), "expired");
    assert_eq!(stripe.status(&payment_intent), "canceled");
    assert!(stripe.sandbox.authenticate(&payment_intent, true).is_err());
}

#[tokio::test]
async fn completed_3d_secure_pays_and_failed_3d_secure_leaves_the_session_open() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "").await;
    for (succeeds, status) in [(false, "open"), (true, "complete")] {
        let Ok(Paid::AuthenticationRequired { payment_intent }) =
            stripe.sandbox.pay(&session, Card::Authenticate)
        else {
            panic!("3-D Secure was not asked for")
        };
        stripe.sandbox.authenticate(&payment_intent, succeeds).unwrap();
        assert_eq!(stripe.status(&session), status);
    }
    let subscriptions = stripe.get(&format!("/v1/subscriptions?customer={customer}")).await;
    assert_eq!(subscriptions.body["data"][0]["status"], "active");
    assert_eq!(subscriptions.ids().len(), 1);
}

#[tokio::test]
async fn a_bank_debit_completes_unpaid_and_is_decided_days_later() {
    let (succeeded, failed) =
        ("checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed");
    for (card, event, payment_status, [at_first, at_last]) in [
        (Card::DelayedPaid, succeeded, "paid", ["active", "active"]),
        (Card::DelayedFailed, failed, "unpaid", ["past_due", "canceled"]),
    ] {
        let stripe = Stripe::start().await;
        let customer = stripe.customer().await;
        let session = stripe.session(&customer, "").await;
        assert_eq!(stripe.sandbox.pay(&session, card), Ok(Paid::Completed));
        assert_eq!(stripe.status(&session), "complete");
        assert_eq!(stripe.sandbox.object(&session)["payment_status"], "unpaid");
        let intent = stripe.sandbox.payment_intent(&session).unwrap();
        assert_eq!(stripe.status(&intent), "processing");
        assert_eq!(stripe.sandbox.events(event).len(), 0);
        stripe.sandbox.advance_days(3);
        assert_eq!(stripe.sandbox.events(event).len(), 1);
        assert_eq!(stripe.sandbox.object(&session)["payment_status"], payment_status);
        let subscription = stripe.sandbox.object(&session)["subscription"].clone();
        let subscription = subscription.as_str().unwrap();
        assert_eq!(stripe.status(subscription), at_first);
        stripe.sandbox.advance_days(25); // Three retries, days apart.
        assert_eq!(stripe.status(subscription), at_last);
        assert_eq!(stripe.sandbox.events(event).len(), 1);
    }
}

#[tokio::test]
async fn a_subscription_renews_month_after_month() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    stripe.sandbox.advance_days(62);
    let body = stripe.sandbox.object(&subscription);
    assert_eq!(body["status"], "active");
    // From the 20th of November to the 20th of January and of February.
    assert_eq!(body["items"]["data"][0]["current_period_start"], START + 61 * DAY);
    assert_eq!(body["items"]["data"][0]["current_period_end"], START + 92 * DAY);
    let invoices = stripe.get(&format!("/v1/invoices?customer={customer}&status=paid")).await;
    let reasons: Vec<&str> = invoices.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|invoice| invoice["billing_reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["subscription_cycle", "subscription_cycle", "subscription_create"]);
    assert_eq!(stripe.sandbox.events("invoice.paid").len(), 3);
}

#[tokio::test]
async fn a_failed_renewal_is_past_due_and_recovers_with_a_new_card() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    stripe.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    stripe.sandbox.advance_days(31);
    assert_eq!(stripe.status(&subscription), "past_due");
    let (invoice, intent) = stripe.payment(&subscription).await;
    assert_eq!(stripe.status(&invoice), "open");
    assert_eq!(stripe.status(&intent), "requires_payment_method");
    stripe.sandbox.replace_card(&customer, Card::Paid).unwrap();
    assert_eq!(stripe.status(&subscription), "past_due");
    stripe.sandbox.advance_days(3);
    assert_eq!(stripe.status(&subscription), "active");
    assert_eq!(stripe.status(&invoice), "paid");
}

#[tokio::test]
async fn when_every_retry_fails_the_accounts_setting_applies() {
    for (after_retries, status) in [
        (AfterRetries::Cancel, "canceled"),
        (AfterRetries::Unpaid, "unpaid"),
        (AfterRetries::PastDue, "past_due"),
    ] {
        let behavior = Behavior { after_retries, ..Behavior::default() };
        let stripe = Stripe::with(Options { behavior, ..Options::default() }).await;
        let (customer, subscription) = stripe.subscriber().await;
        stripe.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
        stripe.sandbox.advance_days(50);
        assert_eq!(stripe.status(&subscription), status);
        assert_eq!(stripe.sandbox.events("invoice.payment_failed").len(), 4);
        if after_retries == AfterRetries::Unpaid {
            // From then on all invoices stay drafts, which the customer can pay.
            stripe.sandbox.advance_days(20);
            stripe.sandbox.replace_card(&customer, Card::Paid).unwrap();
            let draft = stripe.sandbox.object(&subscription)["latest_invoice"].clone();
            let draft = draft.as_str().unwrap();
            assert_eq!(stripe.status(draft), "draft");
            stripe.sandbox.pay_invoice(draft).unwrap();
            assert_eq!(stripe.status(&subscription), "active");
        }
    }
}

#[tokio::test]
async fn the_invoice_of_a_renewal_may_be_a_draft_for_an_hour() {
    let behavior = Behavior { drafts_renewals: true, ..Behavior::default() };
    let stripe = Stripe::with(Options { behavior, ..Options::default() }).await;
    let (_, subscription) = stripe.subscriber().await;
    stripe.sandbox.advance_days(30);
    let invoice = stripe.sandbox.object(&subscription)["latest_invoice"].clone();
    let invoice = invoice.as_str().unwrap();
    assert_eq!(
        (stripe.status(&subscription), stripe.status(invoice)),
        ("active".into(), "draft".into())
    );
    stripe.sandbox.advance(Duration::from_secs(3600));
    assert_eq!(stripe.status(invoice), "paid");
}

#[tokio::test]
async fn a_cancellation_takes_effect_at_the_end_of_the_period_by_either_field() {
    for (portal_cancels_by, with_period) in
        [(CancelField::CancelAt, false), (CancelField::PeriodEnd, true)]
    {
        let behavior = Behavior { portal_cancels_by, ..Behavior::default() };
        let stripe = Stripe::with(Options { behavior, ..Options::default() }).await;
        let (_, subscription) = stripe.subscriber().await;
        stripe.sandbox.cancel(&subscription, true).unwrap();
        let body = stripe.sandbox.object(&subscription);
        assert_eq!(body["cancel_at_period_end"], with_period);
        assert_eq!(body["cancel_at"], START + 30 * DAY);
        assert_eq!(body["status"], "active");
        stripe.sandbox.cancel(&subscription, false).unwrap();
        assert!(stripe.sandbox.object(&subscription)["cancel_at"].is_null());
        stripe.sandbox.cancel(&subscription, true).unwrap();
        stripe.sandbox.advance_days(30);
        let body = stripe.sandbox.object(&subscription);
        assert_eq!(body["status"], "canceled");
        assert_eq!(body["ended_at"], START + 30 * DAY);
        assert_eq!(stripe.sandbox.events("customer.subscription.deleted").len(), 1);
        assert_eq!(stripe.sandbox.events("invoice.paid").len(), 1);
        assert!(stripe.sandbox.cancel(&subscription, false).is_err());
    }
}

#[tokio::test]
async fn periods_begin_without_a_charge_while_collection_is_paused() {
    for (behavior, status) in
        [("void", "void"), ("keep_as_draft", "draft"), ("mark_uncollectible", "uncollectible")]
    {
        let stripe = Stripe::start().await;
        let (_, subscription) = stripe.subscriber().await;
        let path = format!("/v1/subscriptions/{subscription}");
        let paused = stripe.post(&path, &format!("pause_collection[behavior]={behavior}")).await;
        assert_eq!(paused.body["pause_collection"]["behavior"], behavior);
        stripe.sandbox.advance_days(31);
        let (invoice, _) = stripe.payment(&subscription).await;
        assert_eq!(stripe.status(&invoice), status);
        assert_eq!(stripe.status(&subscription), "active");
        assert_eq!(stripe.sandbox.events("invoice.paid").len(), 1);
        assert!(stripe.post(&path, "pause_collection=").await.body["pause_collection"].is_null());
        stripe.sandbox.advance_days(31);
        assert_eq!(stripe.sandbox.events("invoice.paid").len(), 2);
    }
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    let path = format!("/v1/subscriptions/{subscription}");
    let unknown = stripe.post(&path, "pause_collection[behavior]=sleep").await;
    assert_eq!((unknown.status, unknown.error("param")), (400, "pause_collection[behavior]"));
}

#[tokio::test]
async fn a_trial_is_free_and_ends_in_a_payment() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "&subscription_data[trial_period_days]=14").await;
    assert_eq!(stripe.sandbox.pay(&session, Card::Declined), Ok(Paid::Declined));
    assert_eq!(stripe.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
    let body = stripe.sandbox.object(&session);
    assert_eq!(body["payment_status"], "no_payment_required");
    let subscription = body["subscription"].as_str().unwrap();
    assert_eq!(stripe.status(subscription), "trialing");
    assert_eq!(stripe.sandbox.object(subscription)["trial_end"], START + 14 * DAY);
    stripe.sandbox.advance_days(14);
    assert_eq!(stripe.status(subscription), "active");
    let (invoice, _) = stripe.payment(subscription).await;
    assert_eq!(stripe.sandbox.object(&invoice)["amount_paid"], 4900);
}

#[tokio::test]
async fn a_change_of_plan_bills_the_difference_and_keeps_or_begins_a_period() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    stripe.sandbox.advance_days(15);
    stripe.sandbox.change_plan(&subscription, "price_team_monthly").unwrap();
    let item = stripe.sandbox.object(&subscription)["items"]["data"][0].clone();
    assert_eq!(item["price"]["id"], "price_team_monthly");
    assert_eq!(item["current_period_end"], START + 30 * DAY);
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.sandbox.object(&invoice)["amount_paid"], 2500);
    assert_eq!(stripe.sandbox.object(&invoice)["billing_reason"], "subscription_update");

    stripe.sandbox.change_plan(&subscription, "price_pro_yearly").unwrap();
    let item = stripe.sandbox.object(&subscription)["items"]["data"][0].clone();
    assert_eq!(item["current_period_start"], START + 15 * DAY);
    assert_eq!(item["current_period_end"], START + (15 + 365) * DAY);
    stripe.sandbox.advance_days(40);
    assert_eq!(stripe.sandbox.events("invoice.paid").len(), 3);
}

#[tokio::test]
async fn refunds_and_disputes_return_money() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    let (_, intent) = stripe.payment(&subscription).await;
    let dispute = stripe.sandbox.open_dispute(&intent).unwrap();
    stripe.sandbox.close_dispute(&dispute, true).unwrap();
    assert_eq!(stripe.status(&dispute), "won");
    assert!(stripe.sandbox.close_dispute(&dispute, false).is_err());
    let part = stripe.post("/v1/refunds", &format!("payment_intent={intent}&amount=900")).await;
    assert_eq!(part.body["amount"], 900);
    let charge = part.body["charge"].as_str().unwrap();
    assert_eq!(stripe.sandbox.object(charge)["refunded"], false);
    stripe.sandbox.refund(&intent, None).unwrap();
    assert_eq!(stripe.sandbox.object(charge)["amount_refunded"], 4900);
    assert_eq!(stripe.sandbox.object(charge)["refunded"], true);
    let again = stripe.post("/v1/refunds", &format!("payment_intent={intent}")).await;
    assert_eq!((again.status, again.error("code")), (400, "charge_already_refunded"));
    assert_eq!(stripe.sandbox.events("charge.refunded").len(), 2);
    assert_eq!(stripe.sandbox.events("charge.dispute.closed").len(), 1);
}

#[tokio::test]
async fn deleting_a_customer_ends_its_subscription_first() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    let deleted = stripe.delete(&format!("/v1/customers/{customer}")).await;
    assert_eq!(deleted.body["deleted"], true);
    assert_eq!(stripe.status(&subscription), "canceled");
    assert_eq!(stripe.get(&format!("/v1/customers/{customer}")).await.body["deleted"], true);
    let events = stripe.sandbox.events("");
    let place = |event: &str| {
        let id = stripe.sandbox.events(event).pop().unwrap();
        events.iter().position(|candidate| *candidate == id)
    };
    assert!(place("customer.subscription.deleted") < place("customer.deleted"));
    let form = format!("customer={customer}");
    let portal = stripe.post("/v1/billing_portal/sessions", &form).await;
    assert_eq!((portal.status, portal.error("code")), (400, "resource_missing"));
}

#[tokio::test]
async fn items_of_different_intervals_renew_at_their_own_times() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    stripe.sandbox.replace_card(&customer, Card::Paid).unwrap();
    let form = format!(
        "customer={customer}&items[0][price]=price_pro_yearly&items[1][price]=price_team_monthly"
    );
    let subscription = stripe.post("/v1/subscriptions", &form).await.id();
    assert_eq!(stripe.status(&subscription), "active");
    stripe.sandbox.advance_days(31);
    let items = stripe.sandbox.object(&subscription)["items"]["data"].clone();
    assert_eq!(items[0]["current_period_end"], START + 365 * DAY);
    assert_eq!(items[1]["current_period_end"], START + 61 * DAY);
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.sandbox.object(&invoice)["amount_paid"], 9900);
}

#[tokio::test]
async fn a_state_that_no_action_leads_to_can_be_written() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    let fields = serde_json::json!({ "status": "paused" });
    stripe.sandbox.edit(&subscription, fields, "customer.subscription.paused").unwrap();
    assert_eq!(stripe.status(&subscription), "paused");
    assert_eq!(stripe.sandbox.events("customer.subscription.paused").len(), 1);
    assert!(stripe.sandbox.edit("sub_no", serde_json::json!({}), "x").is_err());
}
