//! Mails about a perpetual license beside a subscription: what they say about the subscription is
//! true.

use licentia_sandbox::{Card, Mail};
use serde_json::json;

use crate::harness::shop::{Buyer, Shop};
use crate::stripe_trials::{CLOUD, trial_without_card};

const ADA: &str = "ada@example.com";

/// A plan above the others that is sold for ever.
const PEAK: &str = r#"
[[plan]]
id = "peak"
name = "Peak"
features = ["peak"]
prices = [{ id = "price_peak_once", interval = "once", amount = 50000, currency = "usd" }]
"#;

/// Returns the subject and the text of the newest mail to the customer.
fn newest(shop: &Shop) -> (String, String) {
    let mail: Mail = shop.mails_about_sales(ADA).pop().unwrap();
    (mail.subject().to_owned(), mail.text.unwrap())
}

/// Returns a customer whose perpetual license covers no new builds, and who subscribes. Returns the
/// subscription too.
async fn subscriber() -> (Shop, Buyer, String) {
    let shop = Shop::selling().await;
    let mut ada = shop.buyer(ADA).await;
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "once" })).await;
    shop.pass_days(&mut ada, 367).await;
    let session = shop.purchase(&ada, json!({ "plan": "team", "quantity": 5 })).await;
    assert_eq!(shop.license(&ada).await["plan"], "team");
    let subscription = shop.subscription_of(&session);
    (shop, ada, subscription)
}

#[tokio::test]
async fn updates_that_replace_a_running_subscription_are_mailed_as_updates() {
    let (shop, ada, _) = subscriber().await;
    let wanted = json!({ "plan": "studio", "interval": "updates", "accept_smaller": true });
    shop.purchase(&ada, wanted).await;
    assert_eq!(shop.license(&ada).await["plan"], "studio");
    let (subject, text) = newest(&shop);
    assert_eq!(subject, "Your updates of acme-app are extended");
    assert!(text.contains("90.00 USD") && !text.contains("has ended"), "{text}");
    assert!(text.contains("Your subscription continues and is still charged"), "{text}");
}

#[tokio::test]
async fn a_refund_of_a_running_subscription_is_not_mailed_as_its_end() {
    let (shop, ada, subscription) = subscriber().await;
    let payment = shop.sandbox.payment_intent(&subscription).unwrap();
    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "studio");
    assert_eq!(shop.subscription(&ada).await["status"], "active");
    let (subject, text) = newest(&shop);
    assert_eq!(subject, "Your perpetual license for acme-app");
    assert!(text.contains("instead of the license of your subscription"), "{text}");
    assert!(!text.contains("has ended"), "{text}");
    assert!(text.contains("Your subscription continues and is still charged"), "{text}");
    // Then it ends.
    shop.sandbox.cancel_now(&subscription).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "studio");
}

#[tokio::test]
async fn what_remains_of_a_subscription_that_is_not_paid_is_not_mailed_as_its_end() {
    let shop = Shop::selling().await;
    let mut ada = shop.buyer(ADA).await;
    let session = shop.purchase(&ada, json!({ "plan": "team", "interval": "year" })).await;
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    shop.pass_days(&mut ada, 366).await;
    assert_eq!(shop.subscription(&ada).await["status"], "past_due");
    shop.pass_days(&mut ada, 7).await;
    shop.sync_all().await;
    assert_eq!(shop.subscription(&ada).await["status"], "past_due");
    assert!(shop.license(&ada).await["expires_at"].is_null());
    let (subject, text) = newest(&shop);
    assert_eq!(subject, "Your perpetual license for acme-app");
    assert!(text.contains("once your subscription is paid"), "{text}");
    assert!(!text.contains("has ended") && !text.contains("a new subscription"), "{text}");
}

#[tokio::test]
async fn a_paused_subscription_beside_a_perpetual_license_is_not_mailed_as_charged() {
    let shop = Shop::selling_with(CLOUD).await;
    let mut ada = shop.buyer(ADA).await;
    trial_without_card(&shop, &ada).await;
    shop.pass_days(&mut ada, 15).await;
    assert_eq!(shop.subscription(&ada).await["status"], "paused");
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "once" })).await;
    assert_eq!(shop.license(&ada).await["plan"], "studio");
    let (_, text) = newest(&shop);
    assert!(text.contains("300.00 USD") && !text.contains("continues"), "{text}");
}

#[tokio::test]
async fn a_trial_beside_a_perpetual_license_is_mailed_with_the_time_of_its_first_charge() {
    let shop = Shop::selling_with(&format!("{CLOUD}{PEAK}")).await;
    let ada = shop.buyer(ADA).await;
    let session = shop.open_checkout(&ada, json!({ "plan": "cloud" })).await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(shop.subscription(&ada).await["status"], "trialing");
    shop.purchase(&ada, json!({ "plan": "peak", "interval": "once" })).await;
    assert_eq!(shop.license(&ada).await["plan"], "peak");
    let (_, text) = newest(&shop);
    assert!(text.contains("Your subscription continues and is charged from "), "{text}");
}

#[tokio::test]
async fn a_pause_after_a_declined_card_is_not_mailed_as_one_without_a_payment_method() {
    let shop = Shop::selling_with(CLOUD).await;
    let mut ada = shop.buyer(ADA).await;
    let session = shop.open_checkout(&ada, json!({ "plan": "cloud" })).await;
    shop.sandbox.pay(&session, Card::DeclinedLater).unwrap();
    shop.settled().await;
    let subscription = shop.subscription_of(&session);
    let paused = json!({ "status": "paused" });
    for days in [1, 14] {
        // The vendor pauses it while its trial runs; Stripe does so when the first payment fails.
        shop.pass_days(&mut ada, days).await;
        shop.sandbox.edit(&subscription, paused.clone(), "customer.subscription.paused").unwrap();
        shop.settled().await;
        let (subject, text) = newest(&shop);
        assert!(subject.ends_with("is paused"), "{days}: {subject}");
        assert!(text.contains("please resume the subscription"), "{days}: {text}");
        assert!(!text.contains("payment method. So"), "{days}: {text}");
        assert!(!text.contains("Nothing was charged"), "{days}: {text}");
        let resumed = json!({ "status": if days == 1 { "trialing" } else { "past_due" } });
        shop.sandbox.edit(&subscription, resumed, "customer.subscription.resumed").unwrap();
        shop.settled().await;
    }
}
