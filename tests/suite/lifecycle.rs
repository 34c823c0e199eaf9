//! The life of a subscription after the sale: renewals, failed and recovered payments, pauses,
//! cancellations, deletions, and new subscriptions.

use std::time::Duration;

use licentia_sandbox::{AfterRetries, Behavior, CancelField, Card, Options, Order};
use licentia_verify::Rejection;
use serde_json::{Value, json};

use crate::harness::shop::{Buyer, Shop};

/// The end of the first and of the second period, each with the end of its grace period.
const FIRST: (&str, &str) = ("2026-12-20T15:00:00+00:00", "2026-12-27T15:00:00+00:00");
const SECOND: (&str, &str) = ("2027-01-20T15:00:00+00:00", "2027-01-27T15:00:00+00:00");

/// Asserts the plan and the state of the current license, and the time until which it works.
async fn must_have(shop: &Shop, buyer: &Buyer, plan: &str, status: &str, ends: (&str, &str)) {
    let license = shop.license(buyer).await;
    assert_eq!((&license["plan"], &license["status"]), (&json!(plan), &json!(status)), "{license}");
    assert_eq!((&license["expires_at"], &license["grace_until"]), (&json!(ends.0), &json!(ends.1)));
}

async fn shop_where(behavior: Behavior) -> Shop {
    Shop::open_with(Options { behavior, ..Options::default() }, &[]).await
}

/// Lets an app refresh its license. Returns the problem's code; empty on success.
async fn refresh(shop: &Shop, buyer: &Buyer) -> String {
    let token = shop.license(buyer).await["token"].as_str().unwrap().to_owned();
    let app = shop.app.client.with_token(&token);
    let answer = app.send(reqwest::Method::POST, "/api/licenses/refresh", None).await;
    answer.body["code"].as_str().unwrap_or_default().to_owned()
}

fn subjects(shop: &Shop) -> Vec<String> {
    let mails = shop.mails_about_sales("ada@example.com");
    mails.iter().map(|mail| mail.subject().to_owned()).collect()
}

#[tokio::test]
async fn a_subscription_renews_is_canceled_and_ends_stripe_11() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    shop.pass_days(&mut ada, 31).await;
    let license = shop.license(&ada).await;
    assert_eq!(license["expires_at"], "2027-01-20T15:00:00+00:00");
    assert_eq!(shop.orders(&ada).await.len(), 2);
    assert_eq!(
        subjects(&shop),
        ["Your new license for acme-app", "Your license for acme-app has been renewed"]
    );

    shop.sandbox.cancel(&shop.subscription_of(&session), true).unwrap();
    shop.settled().await;
    let license = shop.license(&ada).await;
    assert_eq!(license["grace_until"], Value::Null, "there is no grace after a cancellation");
    let token = license["token"].as_str().unwrap().to_owned();
    assert_eq!(shop.subscription(&ada).await["cancel_at"], "2027-01-20T15:00:00+00:00");
    shop.pass_days(&mut ada, 29).await;
    assert!(shop.offline(&token).await.is_ok());
    shop.sandbox.advance_days(2);
    shop.settled().await;
    assert!(matches!(shop.offline(&token).await, Err(Rejection::LicenseExpired { .. })));
    assert_eq!(shop.subscription(&ada).await["status"], "canceled");
    let app = shop.app.client.with_token(&token);
    let refused = app.send(reqwest::Method::POST, "/api/licenses/refresh", None).await;
    assert_eq!(refused.problem(), (403, "license_expired"));
}

#[tokio::test]
async fn a_failed_renewal_has_a_grace_period_and_then_ends_until_it_is_paid_stripe_11() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let subscription = shop.subscription_of(&session);
    shop.sandbox.replace_card(&shop.stripe_customer_of(&session), Card::DeclinedLater).unwrap();
    shop.pass_days(&mut ada, 31).await;
    assert_eq!(shop.subscription(&ada).await["status"], "past_due");
    must_have(&shop, &ada, "professional", "grace", FIRST).await;
    let token = shop.license(&ada).await["token"].as_str().unwrap().to_owned();
    assert!(shop.offline(&token).await.is_ok());
    assert_eq!(subjects(&shop).len(), 2, "{:?}", subjects(&shop));
    assert_eq!(shop.orders(&ada).await[0]["status"], "failed");

    // The grace period begins at the end of the paid period, not at the failure.
    shop.pass_days(&mut ada, 7).await;
    must_have(&shop, &ada, "professional", "expired", FIRST).await;
    assert!(shop.offline(&token).await.is_err());
    assert_eq!(refresh(&shop, &ada).await, "license_expired");
    assert_eq!(shop.subscription(&ada).await["status"], "past_due");

    shop.sandbox.replace_card(&shop.stripe_customer_of(&session), Card::Paid).unwrap();
    let invoice = shop.sandbox.object(&subscription)["latest_invoice"].clone();
    shop.sandbox.pay_invoice(invoice.as_str().unwrap()).unwrap();
    shop.settled().await;
    must_have(&shop, &ada, "professional", "active", SECOND).await;
    assert_eq!(refresh(&shop, &ada).await, "");
    let orders = shop.orders(&ada).await;
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert!(orders.iter().all(|order| order["status"] == "succeeded"), "{orders:?}");
}

#[tokio::test]
async fn a_renewal_paid_within_its_grace_period_never_loses_access_stripe_11() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    shop.pass_days(&mut ada, 31).await;
    must_have(&shop, &ada, "professional", "grace", FIRST).await;
    // The new card pays at Stripe's next retry.
    shop.sandbox.replace_card(&customer, Card::Paid).unwrap();
    shop.pass_days(&mut ada, 3).await;
    must_have(&shop, &ada, "professional", "active", SECOND).await;
    let licenses = shop.licenses(&ada).await;
    assert!(licenses.iter().all(|license| license["status"] != "revoked"), "{licenses:?}");
}

#[tokio::test]
async fn the_license_works_while_a_bank_debit_for_a_renewal_is_pending_stripe_11() {
    for pays in [true, false] {
        let shop = Shop::open().await;
        let mut ada = shop.buyer("ada@example.com").await;
        let session = shop.buy(&ada, "professional").await;
        let customer = shop.stripe_customer_of(&session);
        let card = if pays { Card::DelayedPaid } else { Card::DelayedFailed };
        shop.sandbox.replace_card(&customer, card).unwrap();
        shop.pass_days(&mut ada, 31).await;
        // Stripe calls it active, but the paid time has ended.
        assert_eq!(shop.subscription(&ada).await["status"], "active");
        let longer = "2027-01-03T15:00:00+00:00";
        must_have(&shop, &ada, "professional", "grace", (FIRST.0, longer)).await;
        assert_eq!(shop.orders(&ada).await[0]["status"], "pending");
        assert_eq!(subjects(&shop)[1..], ["A payment for acme-app is due"]);
        shop.pass_days(&mut ada, 3).await;
        if pays {
            must_have(&shop, &ada, "professional", "active", SECOND).await;
            assert_eq!(subjects(&shop)[2..], ["Your license for acme-app has been renewed"]);
        } else {
            assert_eq!(shop.subscription(&ada).await["status"], "past_due");
            must_have(&shop, &ada, "professional", "grace", FIRST).await;
        }
    }
}

#[tokio::test]
async fn a_stripe_trial_works_until_its_end_and_then_payments_count() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&customer, Card::Paid).unwrap();
    // The vendor gives a free month in the dashboard.
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", "price_pro_monthly"),
        ("trial_period_days", "30"),
    ];
    shop.at_stripe("subscriptions", &form).await;
    shop.settled().await;
    assert_eq!(shop.subscription(&ada).await["status"], "trialing");
    let a_day_more = "2026-12-21T15:00:00+00:00";
    must_have(&shop, &ada, "professional", "active", (FIRST.0, a_day_more)).await;
    shop.pass_days(&mut ada, 31).await;
    must_have(&shop, &ada, "professional", "active", SECOND).await;
    let orders = shop.orders(&ada).await;
    let paid = orders.iter().filter(|order| order["status"] == "succeeded").count();
    assert_eq!(paid, 1, "the trial costs nothing: {orders:?}");
}

#[tokio::test]
async fn when_every_retry_fails_the_paid_license_ends_with_every_account_setting_stripe_11() {
    for (after_retries, status) in [
        (AfterRetries::Cancel, "canceled"),
        (AfterRetries::Unpaid, "unpaid"),
        (AfterRetries::PastDue, "past_due"),
    ] {
        let shop = shop_where(Behavior { after_retries, ..Behavior::default() }).await;
        let mut ada = shop.buyer("ada@example.com").await;
        let session = shop.buy(&ada, "professional").await;
        let customer = shop.stripe_customer_of(&session);
        shop.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
        shop.pass_days(&mut ada, 50).await;
        assert_eq!(shop.subscription(&ada).await["status"], status);
        assert_eq!(shop.license(&ada).await["status"], "expired");
        assert_eq!(refresh(&shop, &ada).await, "license_expired");
        shop.sandbox.replace_card(&customer, Card::Paid).unwrap();
        if after_retries == AfterRetries::Cancel {
            // The subscription has ended for good, so another one is bought.
            shop.buy(&ada, "starter").await;
            assert_eq!(shop.license(&ada).await["plan"], "starter");
        } else {
            // It may charge again, so a second one is refused. Paying the debt restores it.
            assert_eq!(shop.ask(&ada, "starter").await.problem(), (409, "already_subscribed"));
            let subscription = shop.sandbox.object(&shop.subscription_of(&session));
            shop.sandbox.pay_invoice(subscription["latest_invoice"].as_str().unwrap()).unwrap();
            shop.settled().await;
            must_have(&shop, &ada, "professional", "active", SECOND).await;
        }
        assert_eq!(shop.license(&ada).await["status"], "active");
        assert_eq!(shop.stripe_customers(), 1);
    }
}

#[tokio::test]
async fn a_payment_for_an_ended_subscription_does_not_revive_it_stripe_10() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let (customer, subscription) =
        (shop.stripe_customer_of(&session), shop.subscription_of(&session));
    let first = shop.sandbox.events("invoice.paid").remove(0);
    shop.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    shop.pass_days(&mut ada, 31).await;
    let owed = shop.sandbox.object(&subscription)["latest_invoice"].as_str().unwrap().to_owned();
    shop.sandbox.replace_card(&customer, Card::Paid).unwrap();
    shop.sandbox.cancel_now(&subscription).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["status"], "revoked");
    // The invoice is paid later. The checks of the first subscription hold again.
    shop.sandbox.pay_invoice(&owed).unwrap();
    assert_eq!(shop.sandbox.events("invoice.paid").len(), 2);
    shop.redeliver(&first).await;
    shop.settled().await;
    assert_eq!(shop.subscription(&ada).await["status"], "canceled");
    assert_eq!(shop.license(&ada).await["status"], "revoked");
    assert_eq!(shop.orders(&ada).await[0]["status"], "succeeded", "the money came");
    let licenses = shop.licenses(&ada).await;
    let working = licenses.iter().filter(|license| license["status"] == "active");
    assert_eq!(working.count(), 0, "{licenses:?}");
}

#[tokio::test]
async fn a_cancellation_by_either_field_takes_effect_on_its_date_and_can_be_undone_stripe_12() {
    for portal_cancels_by in [CancelField::CancelAt, CancelField::PeriodEnd] {
        let shop = shop_where(Behavior { portal_cancels_by, ..Behavior::default() }).await;
        let mut ada = shop.buyer("ada@example.com").await;
        let session = shop.buy(&ada, "professional").await;
        let subscription = shop.subscription_of(&session);
        shop.sandbox.cancel(&subscription, true).unwrap();
        shop.settled().await;
        let by_flag = shop.sandbox.object(&subscription)["cancel_at_period_end"] == true;
        assert_eq!(by_flag, portal_cancels_by == CancelField::PeriodEnd);
        assert_eq!(shop.subscription(&ada).await["cancel_at"], FIRST.0);
        let license = shop.license(&ada).await;
        assert_eq!(
            (&license["expires_at"], &license["grace_until"]),
            (&json!(FIRST.0), &Value::Null)
        );
        // The cancellation is undone, and the grace period applies again.
        shop.sandbox.cancel(&subscription, false).unwrap();
        shop.settled().await;
        assert_eq!(shop.subscription(&ada).await["cancel_at"], Value::Null);
        must_have(&shop, &ada, "professional", "active", FIRST).await;

        shop.sandbox.cancel(&subscription, true).unwrap();
        shop.pass_days(&mut ada, 29).await;
        let token = shop.license(&ada).await["token"].as_str().unwrap().to_owned();
        assert!(shop.offline(&token).await.is_ok());
        shop.pass_days(&mut ada, 1).await;
        assert_eq!(shop.subscription(&ada).await["status"], "canceled");
        assert_eq!(shop.license(&ada).await["status"], "expired");
        assert!(shop.offline(&token).await.is_err());
        assert_eq!(refresh(&shop, &ada).await, "license_expired");
        assert_eq!(shop.orders(&ada).await.len(), 1);

        // Much later, the same customer buys again.
        shop.pass_days(&mut ada, 20).await;
        shop.buy(&ada, "starter").await;
        let license = shop.license(&ada).await;
        assert_eq!((&license["plan"], &license["status"]), (&json!("starter"), &json!("active")));
        assert_eq!(shop.stripe_customers(), 1);
    }
}

#[tokio::test]
async fn the_license_continues_while_collection_is_paused() {
    for behavior in ["void", "keep_as_draft", "mark_uncollectible"] {
        let shop = Shop::open().await;
        let mut ada = shop.buyer("ada@example.com").await;
        let session = shop.buy(&ada, "professional").await;
        let path = format!("subscriptions/{}", shop.subscription_of(&session));
        shop.at_stripe(&path, &[("pause_collection[behavior]", behavior)]).await;
        shop.pass_days(&mut ada, 31).await;
        assert_eq!(shop.subscription(&ada).await["status"], "active");
        must_have(&shop, &ada, "professional", "active", SECOND).await;
        // It is collected again from the next period on.
        shop.at_stripe(&path, &[("pause_collection", "")]).await;
        shop.pass_days(&mut ada, 31).await;
        let license = shop.license(&ada).await;
        assert_eq!(license["expires_at"], "2027-02-20T15:00:00+00:00", "{behavior}");
        let orders = shop.orders(&ada).await;
        let paid = orders.iter().filter(|order| order["status"] == "succeeded").count();
        assert_eq!(paid, 2, "{behavior}: {orders:?}");
    }
}

#[tokio::test]
async fn a_paused_subscription_grants_nothing_and_a_resumed_one_grants_again() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let subscription = shop.subscription_of(&session);
    for (status, event, license) in [
        ("paused", "customer.subscription.paused", "revoked"),
        ("active", "customer.subscription.resumed", "active"),
    ] {
        shop.sandbox.edit(&subscription, json!({ "status": status }), event).unwrap();
        shop.settled().await;
        assert_eq!(shop.subscription(&ada).await["status"], status);
        assert_eq!(shop.license(&ada).await["status"], license);
    }
    must_have(&shop, &ada, "professional", "active", FIRST).await;
}

#[tokio::test]
async fn a_customer_deleted_at_stripe_is_unlinked_and_can_buy_again_stripe_16() {
    for order in [Order::AsCreated, Order::Reversed] {
        let shop = Shop::open().await;
        let ada = shop.buyer("ada@example.com").await;
        let session = shop.buy(&ada, "professional").await;
        let stripe_id = shop.stripe_customer_of(&session);
        shop.sandbox.faults().hold_deliveries();
        shop.delete_at_stripe(&format!("customers/{stripe_id}")).await;
        shop.sandbox.faults().release_deliveries(order);
        shop.settled().await;
        assert_eq!(shop.license(&ada).await["status"], "revoked", "{order:?}");
        assert_eq!(shop.subscription(&ada).await["status"], "canceled");
        let again = shop.buy(&ada, "starter").await;
        assert_ne!(shop.sandbox.object(&again)["customer"], stripe_id.as_str());
        let license = shop.license(&ada).await;
        assert_eq!((&license["plan"], &license["status"]), (&json!("starter"), &json!("active")));
    }
}

#[tokio::test]
async fn a_draft_renewal_ends_no_access_and_causes_no_mail_stripe_11() {
    let shop = shop_where(Behavior { drafts_renewals: true, ..Behavior::default() }).await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    // Ten minutes into the second month.
    shop.sandbox.advance_days(30);
    shop.sandbox.advance(Duration::from_secs(600));
    shop.log_in(&mut ada).await;
    shop.settled().await;
    assert_eq!(shop.subscription(&ada).await["current_period_end"], SECOND.0);
    must_have(&shop, &ada, "professional", "grace", FIRST).await;
    assert_eq!((shop.orders(&ada).await.len(), subjects(&shop).len()), (1, 1));
    shop.sandbox.advance(Duration::from_secs(3600));
    shop.settled().await;
    must_have(&shop, &ada, "professional", "active", SECOND).await;
    assert_eq!((shop.orders(&ada).await.len(), subjects(&shop).len()), (2, 2));
}
