//! Refunds and disputes, and the vendor's policy about them. Partial amounts are in `money_back`.

use licentia::flows::Mode;
use licentia::flows::sale::reconcile::{AT_ONCE, run as reconcile};
use licentia_sandbox::{DeliveryFault, Times};
use serde_json::json;

use crate::harness::database::number;
use crate::harness::shop::{Buyer, Shop, plans_with, shop_with_policy};

/// Returns the status of the newest order and of the license, after all work is done.
async fn look(shop: &Shop, buyer: &Buyer) -> (String, String) {
    shop.settled().await;
    let order = shop.orders(buyer).await[0]["status"].as_str().unwrap().to_owned();
    (order, shop.license(buyer).await["status"].as_str().unwrap().to_owned())
}

fn seen(order: &str, license: &str) -> (String, String) {
    (order.to_owned(), license.to_owned())
}

#[tokio::test]
async fn refunds_and_disputes_are_applied_until_they_are_decided_stripe_15() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    let look = async || {
        shop.settled().await;
        let order = shop.orders(&ada).await[0]["status"].as_str().unwrap().to_owned();
        (order, shop.license(&ada).await["status"].as_str().unwrap().to_owned())
    };
    let seen = |order: &str, license: &str| (order.to_owned(), license.to_owned());
    let dispute = shop.sandbox.open_dispute(&intent).unwrap();
    assert_eq!(look().await, seen("disputed", "active"));
    shop.sandbox.close_dispute(&dispute, true).unwrap();
    assert_eq!(look().await, seen("succeeded", "active"));
    shop.sandbox.refund(&intent, Some(100)).unwrap();
    assert_eq!(look().await, seen("succeeded", "active"));
    shop.sandbox.refund(&intent, None).unwrap();
    assert_eq!(look().await, seen("refunded", "revoked"));

    let eve = shop.buyer("eve@example.com").await;
    let session = shop.buy(&eve, "professional").await;
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    let dispute = shop.sandbox.open_dispute(&intent).unwrap();
    shop.sandbox.close_dispute(&dispute, false).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&eve).await["status"], "revoked");
    assert_eq!(shop.orders(&eve).await[0]["status"], "disputed");
}

#[tokio::test]
async fn a_refund_revokes_every_license_that_its_payment_covers_stripe_15() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let first = shop.license(&ada).await["token"].as_str().unwrap().to_owned();
    // A cancellation issues another license. A refund revokes both.
    shop.sandbox.cancel(&shop.subscription_of(&session), true).unwrap();
    shop.settled().await;
    let second = shop.license(&ada).await["token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&intent, None).unwrap();
    shop.settled().await;
    assert_eq!(verdict(&shop, &first).await, "revoked");
    assert_eq!(verdict(&shop, &second).await, "revoked");
    assert_eq!(verdict(&shop, &ada.trial).await, "valid");
    // Also once its token has expired.
    shop.sandbox.advance_days(60);
    assert_eq!(verdict(&shop, &first).await, "revoked");
}

/// Returns the online verdict about a license.
async fn verdict(shop: &Shop, token: &str) -> String {
    let answer = shop.app.client.post("/api/licenses/verify", &json!({ "token": token })).await;
    answer.body["reason"].as_str().unwrap_or("valid").to_owned()
}

#[tokio::test]
async fn only_licenses_that_exceed_the_remaining_payments_are_revoked_stripe_15() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "starter").await;
    let token = async || shop.license(&ada).await["token"].as_str().unwrap().to_owned();
    let starter = token().await;
    let subscription = shop.subscription_of(&session);
    shop.sandbox.change_plan(&subscription, "price_pro_monthly").unwrap();
    shop.settled().await;
    let professional = token().await;
    assert_eq!(verdict(&shop, &starter).await, "valid");
    let upgrade = shop.sandbox.payment_intent(&subscription).unwrap();
    shop.sandbox.refund(&upgrade, None).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "starter");
    assert_eq!(verdict(&shop, &professional).await, "revoked");
    assert_eq!(verdict(&shop, &starter).await, "valid");
}

#[tokio::test]
async fn after_a_cancellation_no_former_license_stays_valid_stripe_12() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let with_grace = shop.license(&ada).await["token"].as_str().unwrap().to_owned();
    shop.sandbox.cancel(&shop.subscription_of(&session), true).unwrap();
    shop.settled().await;
    assert_eq!(verdict(&shop, &with_grace).await, "valid");
    shop.pass_days(&mut ada, 31).await;
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["status"], "expired");
    assert_eq!(verdict(&shop, &with_grace).await, "revoked");
}

#[tokio::test]
async fn a_vendor_may_keep_what_was_refunded_until_its_period_ends_stripe_15() {
    let shop = shop_with_policy("refund = \"keep\"\ndispute_lost = \"keep\"").await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&intent, None).unwrap();
    assert_eq!(look(&shop, &ada).await, seen("refunded", "active"));
    shop.sandbox.cancel(&shop.subscription_of(&session), true).unwrap();
    assert_eq!(look(&shop, &ada).await, seen("refunded", "active"));
    shop.pass_days(&mut ada, 31).await;
    assert_eq!(shop.license(&ada).await["status"], "expired");

    let eve = shop.buyer("eve@example.com").await;
    let session = shop.buy(&eve, "professional").await;
    let dispute =
        shop.sandbox.open_dispute(&shop.sandbox.payment_intent(&session).unwrap()).unwrap();
    assert_eq!(look(&shop, &eve).await, seen("disputed", "active"));
    shop.sandbox.close_dispute(&dispute, false).unwrap();
    assert_eq!(look(&shop, &eve).await, seen("disputed", "active"));
}

#[tokio::test]
async fn a_vendor_may_revoke_while_a_dispute_is_open_and_winning_it_restores_stripe_15() {
    let shop = shop_with_policy("dispute = \"revoke\"").await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let before = shop.license(&ada).await;
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    let dispute = shop.sandbox.open_dispute(&intent).unwrap();
    assert_eq!(look(&shop, &ada).await, seen("disputed", "revoked"));
    shop.sandbox.close_dispute(&dispute, true).unwrap();
    assert_eq!(look(&shop, &ada).await, seen("succeeded", "active"));
    let restored = shop.license(&ada).await;
    assert_ne!(restored["license_id"], before["license_id"], "what was revoked stays revoked");
    for field in ["plan", "expires_at", "grace_until"] {
        assert_eq!(restored[field], before[field], "{field}");
    }
    assert!(shop.offline(restored["token"].as_str().unwrap()).await.is_ok());

    let eve = shop.buyer("eve@example.com").await;
    let session = shop.buy(&eve, "starter").await;
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    let dispute = shop.sandbox.open_dispute(&intent).unwrap();
    assert_eq!(look(&shop, &eve).await, seen("disputed", "revoked"));
    shop.sandbox.close_dispute(&dispute, false).unwrap();
    assert_eq!(look(&shop, &eve).await, seen("disputed", "revoked"));
}

#[tokio::test]
async fn a_policy_is_applied_once_for_repeated_events_stripe_15() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    shop.sandbox.faults().delivery(DeliveryFault::Repeat(5), Times::Always);
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    // In parts: only the last one makes it a full refund.
    for amount in [Some(900), Some(1000), None] {
        shop.sandbox.refund(&intent, amount).unwrap();
    }
    assert_eq!(look(&shop, &ada).await, seen("refunded", "revoked"));
    let again = reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    assert_eq!(again.drifted.len(), 0, "{again:?}");
    let store = &shop.app.app.store;
    let revoked = "SELECT COUNT(*) FROM audit_log WHERE action = 'license.revoked'";
    assert_eq!(number(store, revoked).await, 1);
    let subjects: Vec<_> = shop
        .mails_about_sales("ada@example.com")
        .iter()
        .map(|mail| mail.subject().to_owned())
        .collect();
    assert_eq!(subjects, ["Your new license for acme-app", "Your license for acme-app has ended"]);
}

#[tokio::test]
async fn a_refunded_subscription_continues_and_its_next_payment_counts_stripe_15() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&intent, None).unwrap();
    assert_eq!(look(&shop, &ada).await, seen("refunded", "revoked"));
    assert_eq!(shop.subscription(&ada).await["status"], "active");
    shop.pass_days(&mut ada, 31).await;
    assert_eq!(look(&shop, &ada).await, seen("succeeded", "active"));
}

#[tokio::test]
async fn a_changed_policy_is_applied_by_the_next_reconciliation_stripe_15() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&intent, None).unwrap();
    assert_eq!(look(&shop, &ada).await, seen("refunded", "revoked"));
    let (_directory, file) = plans_with("refund = \"keep\"");
    let changed = shop.another_app(file).await;
    let compared = reconcile(&changed, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    assert_eq!(compared.drifted.len(), 1, "{compared:?}");
    assert_eq!(look(&shop, &ada).await, seen("refunded", "active"));
}

#[tokio::test]
async fn an_inquiry_is_no_dispute_and_a_won_dispute_does_not_undo_a_lost_one_stripe_15() {
    let shop = shop_with_policy("dispute = \"revoke\"").await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    let is_now = async |dispute: &str, status: &str| {
        let event = "charge.dispute.updated";
        shop.sandbox.edit(dispute, json!({ "status": status }), event).unwrap();
        look(&shop, &ada).await
    };
    let first = shop.sandbox.open_dispute(&intent).unwrap();
    assert_eq!(look(&shop, &ada).await, seen("disputed", "revoked"));
    assert_eq!(is_now(&first, "warning_needs_response").await, seen("succeeded", "active"));
    assert_eq!(is_now(&first, "lost").await, seen("disputed", "revoked"));
    let second = shop.sandbox.open_dispute(&intent).unwrap();
    assert_eq!(is_now(&second, "won").await, seen("disputed", "revoked"));
    assert_eq!(is_now(&first, "won").await, seen("succeeded", "active"));
}
