//! Renewals that were not paid when they were due: forgiven by the vendor, paid after the end, or
//! sent as invoices and overdue.

use licentia_sandbox::{Card, CreditNote, Pause};
use serde_json::{Value, json};

use crate::harness::shop::{Buyer, Shop, shop_with_policy};

/// Returns a shop with a buyer whose renewal was declined, so the subscription is past due.
async fn declined_renewal(shop: &Shop) -> (Buyer, String) {
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let subscription = shop.subscription_of(&session);
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    shop.pass_days(&mut ada, 31).await;
    assert_eq!(shop.subscription(&ada).await["status"], "past_due");
    (ada, subscription)
}

fn latest_invoice(shop: &Shop, subscription: &str) -> String {
    shop.sandbox.object(subscription)["latest_invoice"].as_str().unwrap().to_owned()
}

/// Forgives a renewal in one of the vendor's ways.
fn forgive(shop: &Shop, way: &str, invoice: &str) {
    let sandbox = &shop.sandbox;
    match way {
        "void" => sandbox.void_invoice(invoice).unwrap(),
        "written off" => sandbox.write_off_invoice(invoice).unwrap(),
        _ => {
            let amount = sandbox.object(invoice)["amount_remaining"].as_i64().unwrap();
            let note = CreditNote { amount, refund: 0, balance: 0, out_of_band: 0 };
            sandbox.credit(invoice, note).unwrap();
        }
    }
}

#[tokio::test]
async fn a_forgiven_renewal_is_kept_or_revoked_by_one_policy_stripe_25() {
    for (policy, expected) in [
        ("forgiven = \"keep\"", ("active", json!("2027-01-20T15:00:00+00:00"))),
        ("forgiven = \"revoke\"", ("revoked", json!("2026-12-20T15:00:00+00:00"))),
    ] {
        for way in ["void", "written off", "credited in full"] {
            let shop = shop_with_policy(policy).await;
            let (ada, subscription) = declined_renewal(&shop).await;
            forgive(&shop, way, &latest_invoice(&shop, &subscription));
            shop.sync_all().await;
            assert_eq!(shop.subscription(&ada).await["status"], "active", "{way}");
            let license = shop.license(&ada).await;
            let found = (license["status"].as_str().unwrap(), license["expires_at"].clone());
            assert_eq!(found, expected, "{policy}: {way}");
        }
    }
}

#[tokio::test]
async fn dunning_that_writes_a_renewal_off_forgives_nothing_stripe_25() {
    let shop = Shop::open().await;
    shop.sandbox.write_off_after_retries(true);
    let (mut ada, subscription) = declined_renewal(&shop).await;
    shop.pass_days(&mut ada, 30).await;
    let written_off = latest_invoice(&shop, &subscription);
    assert_eq!(shop.sandbox.object(&written_off)["status"], "uncollectible");
    assert_ne!(shop.license(&ada).await["status"], "active");
}

#[tokio::test]
async fn a_renewal_paid_after_dunning_canceled_is_licensed_and_reported_stripe_22() {
    let shop = Shop::open().await;
    let (mut ada, subscription) = declined_renewal(&shop).await;
    let renewal = latest_invoice(&shop, &subscription);
    shop.sandbox.cancel_now(&subscription).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["status"], "revoked");
    shop.sandbox.advance_days(1);
    shop.sandbox.pay_invoice_with(&renewal, Card::Paid).unwrap();
    shop.settled().await;
    let license = shop.license(&ada).await;
    assert_eq!((&license["plan"], &license["status"]), (&json!("professional"), &json!("active")));
    assert_eq!(license["expires_at"], "2027-01-20T15:00:00+00:00");
    assert_eq!(license["grace_until"], Value::Null);
    let report = shop.sync_all().await;
    assert!(report.alerts[0].alerts[0].contains("no renewal follows"), "{report:?}");
    assert!(!report.alerts[0].needs_action);
    // It ends with the period, and a new subscription can be bought.
    shop.pass_days(&mut ada, 31).await;
    assert_ne!(shop.license(&ada).await["status"], "active");
    shop.buy(&ada, "professional").await;
    assert_eq!(shop.license(&ada).await["status"], "active");
}

#[tokio::test]
async fn the_oldest_overdue_sent_invoice_ends_access_stripe_23() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    // The checkout links the customer. Then the vendor sells to them by invoice.
    let session = shop.checkout(&ada, "starter").await;
    let customer = shop.stripe_customer_of(&session);
    let subscription =
        shop.sandbox.subscribe_by_invoice(&customer, "price_pro_monthly", 14).unwrap();
    shop.sandbox.pay_invoice_with(&latest_invoice(&shop, &subscription), Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["status"], "active");
    // The first renewal is due on 3 January, with a grace period of seven days.
    shop.pass_days(&mut ada, 40).await;
    let license = shop.license(&ada).await;
    assert_eq!(license["status"], "grace", "{license}");
    shop.pass_days(&mut ada, 14).await;
    shop.sync_all().await;
    let license = shop.license(&ada).await;
    assert!(license["status"] != "active" && license["status"] != "grace", "{license}");
}

#[tokio::test]
async fn a_period_that_was_voided_while_collection_was_paused_announces_no_payment_stripe_31() {
    for policy in ["forgiven = \"keep\"", "forgiven = \"revoke\""] {
        let shop = shop_with_policy(policy).await;
        let mut ada = shop.buyer("ada@example.com").await;
        let session = shop.buy(&ada, "professional").await;
        let subscription = shop.subscription_of(&session);
        shop.sandbox.pause(&subscription, Pause::Void).unwrap();
        shop.pass_days(&mut ada, 31).await;
        shop.sandbox.resume(&subscription).unwrap();
        shop.settled().await;
        shop.sync_all().await;
        for mail in shop.mails_about_sales(&ada.email) {
            assert!(!mail.subject().to_lowercase().contains("payment"), "{}", mail.subject());
        }
    }
}
