//! Trials at Stripe (`trial_days`): with a card, one for each customer and each card. The numbers
//! are those of docs/requirements.md.

use std::time::Duration;

use licentia_sandbox::{Card, Mail, Order, Paid};
use serde_json::{Value, json};

use crate::harness::database::{number, texts};
use crate::harness::pause::Pause;
use crate::harness::shop::{Buyer, Shop, session_of};

/// A plan that begins with a trial of two weeks.
pub const CLOUD: &str = r#"
[[plan]]
id = "cloud"
name = "Cloud"
features = ["cloud"]
trial_days = 14
prices = [{ id = "price_cloud_month", interval = "month", amount = 2000, currency = "usd" }]
"#;

const DAY: i64 = 86_400;

fn cloud() -> Value {
    json!({ "plan": "cloud" })
}

/// Buys the plan with a card. Returns the subscription at Stripe, once everything is done.
async fn buy(shop: &Shop, buyer: &Buyer, card: Card) -> Value {
    let session = shop.open_checkout(buyer, cloud()).await;
    assert_eq!(shop.sandbox.pay(&session, card).unwrap(), Paid::Completed);
    shop.settled().await;
    shop.sandbox.object(&shop.subscription_of(&session))
}

/// Returns the sum of a buyer's paid orders.
async fn paid(shop: &Shop, buyer: &Buyer) -> i64 {
    let orders = shop.orders(buyer).await;
    let paid = orders.iter().filter(|order| order["status"] == "succeeded");
    paid.filter_map(|order| order["amount"].as_i64()).sum()
}

/// Returns the id of a subscription.
fn id_of(subscription: &Value) -> String {
    subscription["id"].as_str().unwrap().to_owned()
}

/// Returns the mails to a buyer that announce the first payment.
fn announcements(shop: &Shop, buyer: &Buyer) -> Vec<Mail> {
    let mails = shop.mails_about_sales(&buyer.email).into_iter();
    mails.filter(|mail| mail.subject().ends_with("begins soon")).collect()
}

#[tokio::test]
async fn one_trial_per_customer() {
    let shop = Shop::selling_with(CLOUD).await;
    let ada = shop.buyer("ada@example.com").await;
    let first = buy(&shop, &ada, Card::Paid).await;
    assert_eq!(first["status"], "trialing");
    let claims = shop.claims(&ada).await;
    let end = shop.sandbox.clock().now() + 14 * DAY;
    assert_eq!((claims.plan.as_str(), claims.license_expires), ("cloud", Some(end)));
    shop.sandbox.cancel_now(&id_of(&first)).unwrap();
    shop.settled().await;
    // Even with another card, and if Stripe no longer knows the first subscription.
    let second = buy(&shop, &ada, Card::PaidAmex).await;
    assert_eq!((&second["status"], &second["trial_end"]), (&json!("active"), &Value::Null));
    let stored = "SELECT COUNT(*) FROM customers WHERE stripe_trial_at IS NOT NULL";
    assert_eq!(number(&shop.app.app.store, stored).await, 1);
    // A plan without `trial_days`, and a single payment, have no trial.
    let bob = shop.buyer("bob@example.com").await;
    let session = shop.purchase(&bob, json!({ "plan": "team", "interval": "month" })).await;
    assert_eq!(shop.sandbox.object(&shop.subscription_of(&session))["status"], "active");
}

#[tokio::test]
async fn security_46_a_deleted_account_does_not_start_another_trial_at_stripe() {
    let shop = Shop::selling_with(CLOUD).await;
    let ada = shop.buyer("ada@example.com").await;
    let first = buy(&shop, &ada, Card::Paid).await;
    assert_eq!(first["status"], "trialing");
    shop.sandbox.cancel_now(&id_of(&first)).unwrap();
    shop.settled().await;
    assert_eq!(ada.client.delete("/api/customers/me").await.status, 204);
    let again = shop.buyer("ada@example.com").await;
    assert_ne!(again.customer_id, ada.customer_id);
    assert_eq!(buy(&shop, &again, Card::PaidAmex).await["status"], "active");
    // Another address has its trial.
    let bob = shop.buyer("bob@example.com").await;
    assert_eq!(buy(&shop, &bob, Card::PaidMastercard).await["status"], "trialing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_begins_and_ends_while_another_checkout_opens_is_the_only_one() {
    let shop = Shop::selling_with(CLOUD).await;
    let pause = Pause::at("settle.committed");
    let server = shop.server_with(Pause::any_of(&[&pause])).await;
    let ada = shop.buyer("ada@example.com").await;
    let first = shop.open_checkout(&ada, cloud()).await;
    shop.settled().await;
    pause.arm();
    let (there, base) = (server.serves(&ada), shop.app.client.base.clone());
    let asked = tokio::spawn(async move { Shop::ask_to_return(&there, "cloud", &base).await });
    shop.until("the other checkout pauses after its sync", async || pause.has_begun()).await;
    assert_eq!(shop.sandbox.pay(&first, Card::Paid).unwrap(), Paid::Completed);
    let trial = shop.subscription_of(&first);
    assert_eq!(shop.sandbox.object(&trial)["status"], "trialing");
    shop.sandbox.cancel_now(&trial).unwrap();
    pause.end();
    let second = session_of(asked.await.unwrap().text("/checkout_url"));
    assert_eq!(shop.sandbox.pay(&second, Card::PaidAmex).unwrap(), Paid::Completed);
    let paid = shop.sandbox.object(&shop.subscription_of(&second));
    assert_eq!((&paid["status"], &paid["trial_end"]), (&json!("active"), &Value::Null));
    server.end_worker().await;
}

#[tokio::test]
async fn a_card_that_has_had_a_trial_is_charged_at_once() {
    let shop = Shop::selling_with(CLOUD).await;
    let (ada, bob) = (shop.buyer("ada@example.com").await, shop.buyer("bob@example.com").await);
    assert_eq!(buy(&shop, &ada, Card::Paid).await["status"], "trialing");
    let charged = shop.sandbox.object(&id_of(&buy(&shop, &bob, Card::Paid).await));
    assert_eq!(charged["status"], "active");
    assert_eq!(paid(&shop, &bob).await, 2000);
    let claims = shop.claims(&bob).await;
    let period_end = charged["items"]["data"][0]["current_period_end"].as_i64();
    assert_eq!((claims.plan.as_str(), claims.license_expires), ("cloud", period_end));
    assert_eq!(shop.claims(&ada).await.plan, "cloud", "the first trial goes on");
    assert_eq!(shop.sync_all().await.drifted.len(), 0, "a repeated sync is silent");

    // Nothing is granted for a card that cannot pay, not even for a day.
    let (eve, dan) = (shop.buyer("eve@example.com").await, shop.buyer("dan@example.com").await);
    assert_eq!(buy(&shop, &eve, Card::DeclinedLater).await["status"], "trialing");
    let unpaid = buy(&shop, &dan, Card::DeclinedLater).await;
    assert_eq!(shop.sandbox.object(&id_of(&unpaid))["status"], "past_due");
    assert_eq!(shop.claims(&dan).await.plan, "trial");
    // Once it is paid, it counts.
    let customer = unpaid["customer"].as_str().unwrap();
    shop.sandbox.replace_card(customer, Card::PaidMastercard).unwrap();
    let invoice = shop.sandbox.object(&id_of(&unpaid))["latest_invoice"].clone();
    shop.sandbox.pay_invoice(invoice.as_str().unwrap()).unwrap();
    shop.settled().await;
    assert_eq!(shop.claims(&dan).await.plan, "cloud");
}

#[tokio::test]
async fn the_refusal_of_a_trial_is_explained_once() {
    let shop = Shop::selling_with(CLOUD).await;
    let (ada, bob) = (shop.buyer("ada@example.com").await, shop.buyer("bob@example.com").await);
    buy(&shop, &ada, Card::Paid).await;
    buy(&shop, &bob, Card::Paid).await;
    for event in shop.sandbox.events("customer.subscription.created") {
        shop.redeliver(&event).await;
    }
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
    let explained = |buyer: &Buyer| {
        let mails = shop.mails_about_sales(&buyer.email).into_iter();
        mails.filter(|mail| mail.subject().ends_with("began without a trial")).count()
    };
    assert_eq!((explained(&ada), explained(&bob)), (0, 1));
    let refused = "SELECT customer_id FROM audit_log WHERE action = 'trial.refused'";
    assert_eq!(texts(&shop.app.app.store, refused).await, *std::slice::from_ref(&bob.customer_id));
}

#[tokio::test]
async fn a_trial_goes_on_with_another_card_which_keeps_its_own_trial() {
    let shop = Shop::selling_with(CLOUD).await;
    let (ada, bob) = (shop.buyer("ada@example.com").await, shop.buyer("bob@example.com").await);
    buy(&shop, &ada, Card::Paid).await;
    let trial = buy(&shop, &bob, Card::PaidAmex).await;
    // The card of the company, which a colleague used for a trial.
    let customer = trial["customer"].as_str().unwrap();
    shop.sandbox.replace_card(customer, Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(shop.sandbox.object(&id_of(&trial))["status"], "trialing");
    assert_eq!((shop.claims(&bob).await.plan.as_str(), paid(&shop, &bob).await), ("cloud", 0));
    // A card that only pays has had no trial.
    shop.sandbox.replace_card(customer, Card::PaidMastercard).unwrap();
    shop.settled().await;
    let eve = shop.buyer("eve@example.com").await;
    assert_eq!(buy(&shop, &eve, Card::PaidMastercard).await["status"], "trialing");
}

#[tokio::test]
async fn two_accounts_with_one_card_at_once_get_one_trial() {
    let shop = Shop::selling_with(CLOUD).await;
    let mut buyers = Vec::new();
    let mut subscriptions = Vec::new();
    for name in ["ada", "bob", "eve", "dan"] {
        buyers.push(shop.buyer(&format!("{name}@example.com")).await);
    }
    shop.sandbox.faults().hold_deliveries();
    for buyer in &buyers {
        let session = shop.open_checkout(buyer, cloud()).await;
        assert_eq!(shop.sandbox.pay(&session, Card::Paid).unwrap(), Paid::Completed);
        subscriptions.push(shop.subscription_of(&session));
    }
    shop.sandbox.faults().release_deliveries(Order::Shuffled);
    shop.until("each is decided", async || {
        // Of two syncs that remember the card at once, one is repeated a second later.
        shop.sandbox.advance(Duration::from_secs(1));
        let status = |id: &String| shop.sandbox.object(id)["status"].clone();
        let trials = subscriptions.iter().filter(|id| status(id) == "trialing").count();
        trials == 1 && shop.open_work().await == 0
    })
    .await;
    for buyer in &buyers {
        assert_eq!(shop.claims(buyer).await.plan, "cloud");
    }
    assert_eq!(number(&shop.app.app.store, "SELECT COUNT(*) FROM trial_cards").await, 1);
}

/// Lets the vendor begin a trial without a card that is paused at its end. Returns the
/// subscription's id.
pub async fn trial_without_card(shop: &Shop, buyer: &Buyer) -> (String, String) {
    let session = shop.open_checkout(buyer, cloud()).await;
    let customer = shop.stripe_customer_of(&session);
    shop.at_stripe(&format!("checkout/sessions/{session}/expire"), &[]).await;
    let trial = [
        ("customer", customer.as_str()),
        ("items[0][price]", "price_cloud_month"),
        ("trial_period_days", "14"),
        ("trial_settings[end_behavior][missing_payment_method]", "pause"),
    ];
    let made = shop.at_stripe("subscriptions", &trial).await;
    shop.settled().await;
    (id_of(&made), customer)
}

#[tokio::test]
async fn without_a_card_the_subscription_pauses_and_there_is_no_license() {
    let shop = Shop::selling_with(CLOUD).await;
    let mut ada = shop.buyer("ada@example.com").await;
    let (subscription, customer) = trial_without_card(&shop, &ada).await;
    assert_eq!(shop.claims(&ada).await.plan, "cloud");
    shop.pass_days(&mut ada, 14).await;
    assert_eq!(shop.sandbox.object(&subscription)["status"], "paused");
    assert_eq!(shop.subscription(&ada).await["status"], "paused");
    assert_ne!(shop.license(&ada).await["status"], "active");
    shop.sandbox.replace_card(&customer, Card::Paid).unwrap();
    let resume = format!("subscriptions/{subscription}/resume");
    let when_paid = [("payment_behavior", "resume_on_payment_success")];
    shop.at_stripe(&resume, &when_paid).await;
    shop.settled().await;
    assert_eq!(shop.sandbox.object(&subscription)["status"], "active");
    assert_eq!(shop.license(&ada).await["status"], "active");
    assert_eq!(shop.claims(&ada).await.plan, "cloud");
}

/// Returns a shop with a subscription that is paused, its owner, and Stripe's ids of both.
async fn paused() -> (Shop, Buyer, String, String) {
    let shop = Shop::selling_with(CLOUD).await;
    let mut ada = shop.buyer("ada@example.com").await;
    let (subscription, customer) = trial_without_card(&shop, &ada).await;
    shop.pass_days(&mut ada, 14).await;
    assert_eq!(shop.subscription(&ada).await["status"], "paused");
    (shop, ada, subscription, customer)
}

#[tokio::test]
async fn a_paused_subscription_ends_at_once_and_another_can_be_bought() {
    let (shop, ada, subscription, _) = paused().await;
    let body = json!({ "plan": "team", "interval": "month" });
    let refused = shop.order(&ada, body.clone()).await;
    assert_eq!((refused.status, refused.text("/code")), (409, "already_subscribed"));
    assert!(refused.text("/detail").contains("/api/subscriptions/cancel"), "{refused:?}");
    let at = json!({ "at": "period_end" });
    let canceled = ada.client.post("/api/subscriptions/cancel", &at).await;
    assert_eq!((canceled.status, canceled.text("/status")), (200, "canceled"), "{canceled:?}");
    assert_eq!(shop.sandbox.object(&subscription)["status"], "canceled");
    shop.settled().await;
    shop.purchase(&ada, body).await;
    assert_eq!(shop.claims(&ada).await.plan, "team");
}

#[tokio::test]
async fn a_resumed_subscription_no_longer_has_the_end_that_was_scheduled() {
    let (shop, ada, subscription, customer) = paused().await;
    shop.sandbox.replace_card(&customer, Card::Paid).unwrap();
    // In the Dashboard, an end can be scheduled beside a pause.
    let path = format!("subscriptions/{subscription}");
    shop.at_stripe(&path, &[("cancel_at_period_end", "true")]).await;
    shop.settled().await;
    let resumed = ada.client.post("/api/subscriptions/resume", &Value::Null).await;
    assert_eq!((resumed.status, resumed.text("/status")), (200, "active"), "{resumed:?}");
    assert_eq!(resumed.body["cancel_at"], Value::Null);
    assert_eq!(shop.sandbox.object(&subscription)["cancel_at"], Value::Null);
}

#[tokio::test]
async fn an_end_voids_the_invoice_of_a_resumption_that_waits_for_its_payment() {
    let (shop, ada, subscription, customer) = paused().await;
    shop.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    let refused = ada.client.post("/api/subscriptions/resume", &Value::Null).await;
    assert_eq!(refused.status, 402, "{refused:?}");
    let waiting = shop.sandbox.object(&subscription)["latest_invoice"].clone();
    let at = json!({ "at": "now" });
    assert_eq!(ada.client.post("/api/subscriptions/cancel", &at).await.status, 200);
    assert_eq!(shop.sandbox.object(waiting.as_str().unwrap())["status"], "void");
}

#[tokio::test]
async fn the_mail_before_the_first_charge_is_sent_once_stripe_8() {
    let shop = Shop::selling_with(CLOUD).await;
    let mut ada = shop.buyer("ada@example.com").await;
    buy(&shop, &ada, Card::Paid).await;
    shop.pass_days(&mut ada, 10).await;
    assert_eq!(announcements(&shop, &ada).len(), 0);
    shop.pass_days(&mut ada, 1).await;
    let announced = announcements(&shop, &ada);
    let [mail] = announced.as_slice() else { panic!("{}", announced.len()) };
    let text = mail.text.as_ref().unwrap();
    assert!(text.contains("Cloud") && text.contains("20.00"), "{text}");
    for event in shop.sandbox.events("customer.subscription.trial_will_end") {
        shop.redeliver(&event).await;
    }
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
    assert_eq!(announcements(&shop, &ada).len(), 1);
    shop.pass_days(&mut ada, 3).await;
    assert_eq!(paid(&shop, &ada).await, 2000);
    assert_eq!(announcements(&shop, &ada).len(), 1);
}

#[tokio::test]
async fn the_mails_about_a_trial_without_a_card_ask_for_one_stripe_8() {
    let shop = Shop::selling_with(CLOUD).await;
    let mut ada = shop.buyer("ada@example.com").await;
    trial_without_card(&shop, &ada).await;
    let mails = |shop: &Shop| {
        let all = shop.sandbox.mails().into_iter();
        all.filter(|mail| mail.to.contains(&"ada@example.com".to_owned())).collect::<Vec<_>>()
    };
    let before = mails(&shop).len();
    shop.pass_days(&mut ada, 11).await;
    let since = mails(&shop).split_off(before);
    let asks = since.iter().find(|mail| mail.subject().ends_with("acme-app ends soon"));
    let text = asks.unwrap_or_else(|| panic!("{since:?}")).text.clone().unwrap();
    for part in ["add one before", "20.00", "/account/portal?token="] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("your payment method"), "{text}");
    let before = mails(&shop).len();
    shop.pass_days(&mut ada, 3).await;
    assert_eq!(shop.subscription(&ada).await["status"], "paused");
    // The reminder would ask the customer to subscribe again.
    shop.pass_days(&mut ada, 1).await;
    let since = mails(&shop).split_off(before);
    let [paused] = since.as_slice() else { panic!("{since:?}") };
    assert!(paused.subject().ends_with("is paused"), "{}", paused.subject());
    let text = paused.text.as_ref().unwrap();
    assert!(text.contains("Nothing was charged") && text.contains("/account/portal?"), "{text}");
}

#[tokio::test]
async fn the_mail_about_a_pause_contains_the_perpetual_license_that_remains() {
    let shop = Shop::selling_with(CLOUD).await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "once" })).await;
    trial_without_card(&shop, &ada).await;
    assert_eq!(shop.claims(&ada).await.plan, "cloud");
    shop.pass_days(&mut ada, 11).await;
    let before = shop.mails_about_sales("ada@example.com").len();
    shop.pass_days(&mut ada, 3).await;
    assert_eq!(shop.subscription(&ada).await["status"], "paused");
    let since = shop.mails_about_sales("ada@example.com").split_off(before);
    let [paused] = since.as_slice() else { panic!("{since:?}") };
    assert!(paused.subject().ends_with("is paused"), "{}", paused.subject());
    let text = paused.text.as_ref().unwrap();
    let license = shop.license(&ada).await;
    let token = license["token"].as_str().unwrap();
    for part in ["has ended without a payment method", "Until then, this license is valid", token] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("your license has ended"), "{text}");
    assert_eq!(shop.claims(&ada).await.plan, "studio");
}

#[tokio::test]
async fn a_subscription_that_was_paid_and_is_paused_ends_with_what_was_paid() {
    let shop = Shop::selling_with(CLOUD).await;
    let mut ada = shop.buyer("ada@example.com").await;
    let id = id_of(&buy(&shop, &ada, Card::Paid).await);
    shop.pass_days(&mut ada, 15).await;
    assert_eq!(paid(&shop, &ada).await, 2000);
    let before = shop.mails_about_sales("ada@example.com").len();
    let paused = json!({ "status": "paused" });
    shop.sandbox.edit(&id, paused, "customer.subscription.paused").unwrap();
    shop.settled().await;
    let since = shop.mails_about_sales("ada@example.com").split_off(before);
    let [paused] = since.as_slice() else { panic!("{since:?}") };
    let text = paused.text.as_ref().unwrap();
    assert!(text.contains("please resume the subscription"), "{text}");
    assert!(!text.contains("trial") && !text.contains("Nothing was charged"), "{text}");
    let at = json!({ "at": "period_end" });
    let canceled = ada.client.post("/api/subscriptions/cancel", &at).await;
    assert_eq!((canceled.status, canceled.text("/status")), (200, "paused"), "{canceled:?}");
    assert!(canceled.body["cancel_at"].is_string(), "{canceled:?}");
}

#[tokio::test]
async fn an_extended_trial_is_followed_and_announced_again() {
    let shop = Shop::selling_with(CLOUD).await;
    let mut ada = shop.buyer("ada@example.com").await;
    let subscription = buy(&shop, &ada, Card::Paid).await;
    shop.pass_days(&mut ada, 11).await;
    assert_eq!(announcements(&shop, &ada).len(), 1);
    let end = shop.sandbox.clock().now() + 10 * DAY;
    let path = format!("subscriptions/{}", id_of(&subscription));
    let extended = [("trial_end", &*end.to_string()), ("proration_behavior", "none")];
    shop.at_stripe(&path, &extended).await;
    shop.settled().await;
    assert_eq!(shop.claims(&ada).await.license_expires, Some(end));
    shop.pass_days(&mut ada, 6).await;
    assert_eq!(announcements(&shop, &ada).len(), 1);
    shop.pass_days(&mut ada, 1).await;
    assert_eq!(announcements(&shop, &ada).len(), 2);
    // A canceled one is not charged.
    let bob = shop.buyer("bob@example.com").await;
    let subscription = buy(&shop, &bob, Card::PaidAmex).await;
    shop.sandbox.cancel(&id_of(&subscription), true).unwrap();
    shop.sandbox.advance_days(12);
    shop.settled().await;
    assert_eq!(announcements(&shop, &bob).len(), 0);
}

#[tokio::test]
async fn the_card_is_remembered_after_the_account_is_deleted() {
    let shop = Shop::selling_with(CLOUD).await;
    let ada = shop.buyer("ada@example.com").await;
    buy(&shop, &ada, Card::Paid).await;
    let cards = texts(&shop.app.app.store, "SELECT card_hash FROM trial_cards").await;
    assert_eq!((cards.len(), cards[0].len()), (1, 43), "a keyed hash");
    assert_eq!(ada.client.delete("/api/customers/me").await.status, 204);
    let again = shop.buyer("ada@lovelace.example").await;
    let charged = buy(&shop, &again, Card::Paid).await;
    assert_eq!(shop.sandbox.object(&id_of(&charged))["status"], "active");
    assert_eq!(paid(&shop, &again).await, 2000);
    // After the time that the vendor chose, it is forgotten.
    shop.sandbox.cancel_now(&id_of(&charged)).unwrap();
    shop.sandbox.advance_days(731 + 14);
    shop.settled().await;
    let bob = shop.buyer("bob@example.com").await;
    assert_eq!(buy(&shop, &bob, Card::Paid).await["status"], "trialing");
}
