//! Sales without a line of code: payment links and Buy Buttons, whose buyers may have no account.
//! The numbers are those of docs/requirements.md.

use std::time::Duration;

use licentia::domain::operator::admin_key::Scope;
use licentia::domain::operator::audit::Actor;
use licentia::flows::Mode;
use licentia::flows::sale::buyer_claim;
use licentia::flows::sale::claim::ClaimTarget;
use licentia::flows::sale::reconcile::{AT_ONCE, run as reconcile};
use licentia_sandbox::{Card, DeliveryFault, Interval, NewPrice, Times};
use serde_json::{Value, json};

use crate::harness::database::{number, texts};
use crate::harness::shop::{Buyer, Shop};
use crate::harness::traced::Listener;
use crate::sell_once::customer_of;

/// The settings by which Stripe creates a customer for the buyer.
pub const WITH_CUSTOMER: [(&str, &str); 2] =
    [("customer_creation", "always"), ("invoice_creation[enabled]", "true")];

pub async fn open_to_all() -> Shop {
    Shop::selling_with("[checkout]\nallow_unknown_buyers = true\n").await
}

impl Shop {
    /// Buys a perpetual license by a payment link with these settings, and waits until all work is
    /// done. Returns the Checkout session.
    pub async fn bought_by(&self, settings: &[(&str, &str)], email: &str) -> String {
        self.bought_at("price_studio_once", settings, email).await
    }

    /// The same at this price.
    pub async fn bought_at(&self, price: &str, settings: &[(&str, &str)], email: &str) -> String {
        let price = [("line_items[0][price]", price), ("line_items[0][quantity]", "1")];
        let link = self.at_stripe("payment_links", &[&price, settings].concat()).await;
        let id = link["id"].as_str().unwrap_or_else(|| panic!("{link}"));
        let session = self.sandbox.open_payment_link(id, None).unwrap();
        self.sandbox.pay_as(&session, Card::Paid, email).unwrap();
        self.settled_with_invoice().await;
        session
    }

    pub async fn listed(&self) -> Value {
        let admin = self.app.admin(Scope::Read).await;
        admin.get("/api/admin/drift").await.body["buyers"].clone()
    }

    /// Returns the plans of the current licenses of an account.
    pub async fn plans_held(&self, email: &str) -> Vec<String> {
        let current = format!(
            "SELECT l.plan FROM licenses l JOIN customers c ON c.customer_id = l.customer_id
             WHERE c.email = '{email}' AND l.superseded_at IS NULL AND l.revoked_at IS NULL"
        );
        texts(&self.app.app.store, &current).await
    }

    /// Sets the password by the link in a mail. Returns the response.
    pub async fn choose_password(&self, mail: &str) -> crate::harness::Answer {
        let (_, rest) = mail.split_once("/account/reset#token=").expect("a link in the mail");
        let token = rest.split_whitespace().next().unwrap();
        let chosen = json!({ "token": token, "password": "OwnedByTheBuyer" });
        let answer = self.app.client.post("/api/customers/password/reset", &chosen).await;
        self.settled().await;
        answer
    }
}

#[tokio::test]
async fn stripe_28_a_perpetual_link_creates_an_account_and_mails_license_and_link() {
    for settings in [&WITH_CUSTOMER[..1], &WITH_CUSTOMER[1..]] {
        let shop = open_to_all().await;
        let session = shop.bought_by(settings, "ada@example.com").await;
        assert_eq!(shop.plans_held("ada@example.com").await, ["studio"], "{settings:?}");
        assert_eq!(shop.listed().await, json!([]));
        let mails = shop.mails_about_sales("ada@example.com");
        let [mail] = &mails[..] else { panic!("{settings:?}: {}", mails.len()) };
        assert_eq!(mail.subject(), "Your license for acme-app");
        let text = mail.text.clone().unwrap();
        assert!(text.contains("Choose a password") && text.contains("300.00"), "{text}");
        // The link works for longer than one that was asked for, and once.
        shop.sandbox.advance_days(13);
        let set = shop.choose_password(&text).await;
        assert_eq!(set.status, 200, "{set:?}");
        let again = shop.choose_password(&text).await;
        assert_eq!(again.problem().1, "link_used");
        // The password opens the account.
        let login = json!({ "email": "ada@example.com", "password": "OwnedByTheBuyer" });
        assert_eq!(shop.app.client.post("/api/customers/login", &login).await.status, 200);
        assert_eq!(shop.sync_all().await.drifted.len(), 0);
        // A refund revokes the license.
        let payment = shop.sandbox.payment_intent(&session).unwrap();
        shop.sandbox.refund(&payment, None).unwrap();
        shop.settled().await;
        assert!(shop.plans_held("ada@example.com").await.is_empty());
    }
}

#[tokio::test]
async fn stripe_28_off_it_is_reported_and_claimable() {
    let shop = Shop::selling().await;
    let session = shop.bought_by(&WITH_CUSTOMER, "ada@example.com").await;
    let stripe_id = shop.stripe_customer_of(&session);
    assert_eq!(shop.app.count("customers").await, 0);
    let listed = shop.listed().await;
    assert_eq!(listed[0]["stripe_customer_id"], stripe_id.as_str(), "{listed}");
    assert_eq!(listed[0]["plan"], "studio");
    for mode in [Mode::DryRun, Mode::Apply, Mode::Apply] {
        let report = reconcile(&shop.app.app, mode, AT_ONCE, |_| {}).await.unwrap();
        let listed = report.unknown_buyers.iter().map(|buyer| buyer.buyer_id.to_string());
        assert_eq!(listed.collect::<Vec<_>>(), [stripe_id.as_str()], "{mode:?}");
    }
    // It stays listed after Stripe no longer lists its events.
    shop.sandbox.advance_days(40);
    reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    assert_eq!(shop.listed().await.as_array().unwrap().len(), 1);
    let id = stripe_id.parse().unwrap();
    let claimed =
        buyer_claim::claim(&shop.app.app, &id, &ClaimTarget::NewAccount, Actor::Operator).await;
    assert_eq!(claimed.unwrap().map_err(|left| left.reason).unwrap().action, "created");
    shop.settled().await;
    assert_eq!(shop.plans_held("ada@example.com").await, ["studio"]);
    let mails = shop.mails_about_sales("ada@example.com");
    assert!(mails[0].text.as_ref().unwrap().contains("Choose a password"));
    assert_eq!(shop.listed().await, json!([]));
}

#[tokio::test]
async fn stripe_28_a_refunded_link_purchase_is_removed_from_the_list() {
    let shop = Shop::selling().await;
    let session = shop.bought_by(&WITH_CUSTOMER, "ada@example.com").await;
    assert_eq!(shop.listed().await.as_array().unwrap().len(), 1);
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    assert_eq!(shop.listed().await, json!([]));
}

#[tokio::test]
async fn stripe_28_a_link_purchase_whose_events_were_lost_is_found_by_reconciling() {
    let shop = open_to_all().await;
    shop.sandbox.faults().delivery(DeliveryFault::Drop, Times::Always);
    shop.bought_by(&WITH_CUSTOMER, "ada@example.com").await;
    assert_eq!(shop.app.count("customers").await, 0);
    reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    shop.settled().await;
    assert_eq!(shop.plans_held("ada@example.com").await, ["studio"]);
}

/// Somebody signs up with the address of a buyer and does not verify it.
async fn waiting(shop: &Shop) -> (Buyer, String) {
    let thief = shop.buyer("ada@example.com").await;
    let token = shop.license(&thief).await["token"].as_str().unwrap().to_owned();
    let named = json!({ "name": "Locked, see evil.example" });
    assert_eq!(thief.client.patch("/api/customers/me", &named).await.status, 200);
    shop.bought_by(&WITH_CUSTOMER, "ada@example.com").await;
    for event in shop.sandbox.events("") {
        shop.redeliver(&event).await;
    }
    reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    shop.settled().await;
    assert_eq!(shop.plans_held("ada@example.com").await, ["trial"]);
    assert_eq!(shop.listed().await.as_array().unwrap().len(), 1, "never silent");
    (thief, token)
}

/// Returns the text of the only mail about the purchase.
pub fn waiting_mail(shop: &Shop) -> String {
    let mails = shop.mails_about_sales("ada@example.com");
    let [mail] = &mails[..] else { panic!("{} mails", mails.len()) };
    assert_eq!(mail.subject(), "Your purchase of acme-app");
    mail.text.clone().unwrap()
}

/// Follows the link in the mail about the trial, which only verifies the address.
pub async fn verify_by_the_trial_mail(shop: &Shop) {
    let mails = shop.sandbox.mails();
    let trial = mails.iter().find(|mail| mail.subject().starts_with("Your trial")).unwrap();
    let text = trial.text.clone().unwrap();
    let (_, rest) = text.split_once("/account/verify#token=").unwrap();
    let verify = json!({ "token": rest.split_whitespace().next().unwrap() });
    assert_eq!(shop.app.client.post("/api/customers/verify", &verify).await.status, 200);
}

#[tokio::test]
async fn stripe_28_an_unverified_account_must_prove_the_mailbox_first_security_34() {
    let shop = open_to_all().await;
    let (thief, token) = waiting(&shop).await;
    let mail = waiting_mail(&shop);
    assert!(!mail.contains("evil"), "{mail}");
    let set = shop.choose_password(&mail).await;
    assert_eq!(set.status, 200, "{set:?}");
    assert_eq!(shop.plans_held("ada@example.com").await, ["studio"]);
    assert_eq!((shop.listed().await, shop.app.count("customers").await), (json!([]), 1));
    let mails = shop.mails_about_sales("ada@example.com");
    assert_eq!(mails.last().unwrap().subject(), "Your new license for acme-app");
    assert!(mails.iter().all(|mail| !mail.text.as_ref().unwrap().contains("evil")));
    // Whoever signed up has neither a session, nor a password, nor a license that fetches the next.
    assert_eq!(thief.client.get("/api/customers/me").await.status, 401);
    let holder = shop.app.client.with_token(&token);
    let refreshed = holder.post("/api/licenses/refresh", &json!({})).await;
    assert_eq!(refreshed.problem().1, "revoked");
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
}

#[tokio::test]
async fn stripe_28_a_verify_link_joins_nothing() {
    let shop = open_to_all().await;
    let (thief, _) = waiting(&shop).await;
    let mail = waiting_mail(&shop);
    verify_by_the_trial_mail(&shop).await;
    for event in shop.sandbox.events("") {
        shop.redeliver(&event).await;
    }
    reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&thief).await["plan"], "trial");
    assert_eq!(shop.listed().await.as_array().unwrap().len(), 1);
    assert_eq!(shop.choose_password(&mail).await.status, 200);
    assert_eq!(shop.plans_held("ada@example.com").await, ["studio"]);
}

/// The purchase of Ada is not shown to somebody who signed up with her address, by any call.
#[tokio::test]
async fn stripe_28_whoever_signed_up_first_sees_neither_the_license_nor_the_purchase() {
    let shop = open_to_all().await;
    let (thief, token) = waiting(&shop).await;
    for path in [
        "/api/customers/me",
        "/api/customers/me/export",
        "/api/licenses",
        "/api/licenses/current",
        "/api/orders",
        "/api/subscriptions/current",
    ] {
        let seen = thief.client.get(path).await.body.to_string();
        assert!(!seen.contains("studio") && !seen.contains("cus_"), "{path}: {seen}");
    }
    let holder = shop.app.client.with_token(&token);
    let refreshed = holder.post("/api/licenses/refresh", &json!({})).await;
    assert_eq!(refreshed.body["plan"], "trial", "{refreshed:?}");
    assert_eq!(shop.plans_held("ada@example.com").await, ["trial"]);
}

#[tokio::test]
async fn stripe_28_an_address_change_ends_the_wait() {
    let shop = open_to_all().await;
    let (thief, _) = waiting(&shop).await;
    let mail = waiting_mail(&shop);
    shop.change_email(&thief, "eve@example.com").await;
    assert_eq!(shop.app.count("waiting_purchases").await, 0);
    // The link to the account does not work any more, and proves nothing.
    assert_eq!(shop.choose_password(&mail).await.problem().1, "invalid_link");
    assert_eq!(shop.license(&thief).await["plan"], "trial");
    // The former address is reserved for a week, so that the change can be undone.
    reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    assert_eq!(shop.listed().await.as_array().unwrap().len(), 1, "never silent");
    shop.sandbox.advance_days(8);
    reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    shop.settled().await;
    assert_eq!(shop.plans_held("ada@example.com").await, ["studio"]);
    assert_eq!(shop.license(&thief).await["plan"], "trial");
}

#[tokio::test]
async fn stripe_28_a_waiting_buyer_gets_another_link_after_it_has_expired_and_a_few_at_most() {
    let shop = open_to_all().await;
    waiting(&shop).await;
    let mail = waiting_mail(&shop);
    shop.sandbox.advance(Duration::from_secs(3600));
    assert_eq!(shop.choose_password(&mail).await.problem().1, "link_expired");
    let sent = async || {
        for _ in 0..2 {
            reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
            shop.settled().await;
        }
        let mails = shop.mails_about_sales("ada@example.com");
        mails.iter().filter(|mail| mail.subject() == "Your purchase of acme-app").count()
    };
    let mut counts = Vec::new();
    for _ in 0..5 {
        counts.push(sent().await);
        shop.sandbox.advance_days(1);
    }
    assert_eq!(counts, [2, 3, 4, 4, 4], "once for each expiry");
    // After that, the buyer can still ask for a link.
    let forgot = json!({ "email": "ada@example.com" });
    assert_eq!(shop.app.client.post("/api/customers/password/forgot", &forgot).await.status, 202);
    shop.settled().await;
    let mails = shop.sandbox.mails();
    let asked = mails.iter().rev().find(|mail| mail.text.as_ref().unwrap().contains("#token="));
    assert_eq!(shop.choose_password(asked.unwrap().text.as_ref().unwrap()).await.status, 200);
    assert_eq!(shop.plans_held("ada@example.com").await, ["studio"]);
}

#[tokio::test]
async fn stripe_28_an_operator_who_verifies_the_address_connects_the_purchase() {
    let shop = open_to_all().await;
    let (owner, _) = waiting(&shop).await;
    let admin = shop.app.admin(Scope::Support).await;
    let path = format!("/api/admin/customers/{}", owner.customer_id);
    assert_eq!(admin.patch(&path, &json!({ "email_verified": true })).await.status, 200);
    shop.settled().await;
    assert_eq!(shop.license(&owner).await["plan"], "studio");
    assert_eq!(shop.listed().await, json!([]));
}

#[tokio::test]
async fn stripe_28_a_customer_with_what_a_subscription_left_keeps_the_stripe_customer() {
    let shop = Shop::selling().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.purchase(&ada, json!({ "plan": "team", "interval": "month" })).await;
    for _ in 0..13 {
        shop.pass_days(&mut ada, 31).await;
    }
    shop.sandbox.cancel_now(&shop.subscription_of(&session)).unwrap();
    shop.pass_days(&mut ada, 40).await;
    let left = shop.license(&ada).await;
    assert_eq!((&left["plan"], &left["expires_at"]), (&json!("team"), &Value::Null), "{left}");
    let other = shop.bought_by(&WITH_CUSTOMER, "ada@work.example").await;
    let other = shop.stripe_customer_of(&other);
    let admin = shop.app.admin(Scope::Admin).await;
    let path = format!("/api/admin/customers/{}/stripe-link", ada.customer_id);
    for to in [json!(other), Value::Null] {
        let refused = admin.post(&path, &json!({ "stripe_customer_id": to })).await;
        assert_eq!(refused.problem(), (409, "stripe_link_refused"), "{refused:?}");
        assert!(refused.text("/detail").contains("left a perpetual license"), "{refused:?}");
    }
    shop.sync_all().await;
    assert_eq!(shop.license(&ada).await["plan"], "team");
}

#[tokio::test]
async fn stripe_28_an_account_that_was_deleted_leaves_the_purchase_to_the_buyer() {
    let shop = open_to_all().await;
    let (thief, _) = waiting(&shop).await;
    assert_eq!(thief.client.delete("/api/customers/me").await.status, 204);
    shop.settled().await;
    reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    shop.settled().await;
    assert_eq!(shop.plans_held("ada@example.com").await, ["studio"]);
}

#[tokio::test]
async fn the_single_payments_of_a_deleted_account_need_nothing() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "once" })).await;
    let customer = customer_of(&shop, &ada).await;
    assert_eq!(ada.client.delete("/api/customers/me").await.status, 204);
    for _ in 0..2 {
        let report = shop.sync_all().await;
        assert!(report.unknown_buyers.is_empty() && report.need_action() == 0, "{report:?}");
        shop.sandbox.advance_days(45);
    }
    assert_eq!(shop.listed().await, json!([]));
    let id = customer.parse().unwrap();
    let claim =
        async |to| buyer_claim::claim(&shop.app.app, &id, &to, Actor::Operator).await.unwrap();
    let refused = claim(ClaimTarget::NewAccount).await.unwrap_err();
    assert_eq!(refused.reason, "deleted");
    assert!(refused.message.contains("It has no subscription"), "{}", refused.message);
    // Whatever is paid after the deletion belongs to somebody.
    let session = shop.session_at_stripe(&customer, "price_site_once").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled_with_invoice().await;
    assert_eq!(shop.listed().await[0]["plan"], "site");
    assert_eq!(shop.sync_all().await.unknown_buyers.len(), 1);
    // The advice works.
    let again = shop.buyer("ada@example.com").await;
    let to = ClaimTarget::Customer(again.customer_id.parse().unwrap());
    assert_eq!(claim(to).await.unwrap().action, "claimed");
    shop.settled().await;
    assert_eq!(shop.license(&again).await["plan"], "site");
}

#[tokio::test]
async fn a_deleted_account_does_not_come_back_whatever_the_metadata_at_stripe_say() {
    for settings in [true, false] {
        let shop = if settings { open_to_all().await } else { Shop::selling().await };
        let ada = shop.buyer("ada@example.com").await;
        shop.purchase(&ada, json!({ "plan": "studio", "interval": "once" })).await;
        let customer = customer_of(&shop, &ada).await;
        let book = NewPrice {
            id: "price_of_a_book",
            product: "Book",
            amount: 2900,
            currency: "usd",
            interval: Interval::Once,
        };
        shop.sandbox.add_price(&book);
        // The vendor's own system uses the same name.
        let path = format!("customers/{customer}");
        shop.at_stripe(&path, &[("metadata[customer_id]", "acme-17")]).await;
        assert_eq!(ada.client.delete("/api/customers/me").await.status, 204);
        shop.settled().await;
        let mails = shop.sandbox.mails().len();
        for _ in 0..2 {
            let report = shop.sync_all().await;
            assert!(report.unknown_buyers.is_empty() && report.need_action() == 0, "{report:?}");
        }
        // A later event, for example about another product.
        let session = shop.session_at_stripe(&customer, book.id).await;
        shop.sandbox.pay(&session, Card::Paid).unwrap();
        shop.settled_with_invoice().await;
        assert_eq!(shop.listed().await, json!([]));
        let accounts = number(&shop.app.app.store, "SELECT COUNT(*) FROM customers").await;
        assert_eq!((accounts, shop.sandbox.mails().len()), (0, mails), "{settings}");
        let id = customer.parse().unwrap();
        let to = ClaimTarget::NewAccount;
        let refused = buyer_claim::claim(&shop.app.app, &id, &to, Actor::Operator).await.unwrap();
        assert_eq!(refused.unwrap_err().reason, "deleted");
    }
}

#[tokio::test]
async fn a_buyer_who_gets_an_account_at_once_causes_no_warning() {
    let listener = Listener::to_warnings();
    let about_buyers = || {
        let all = listener.texts();
        all.iter().filter(|text| text.contains("a buyer without an account")).count()
    };
    let shop = open_to_all().await;
    shop.bought_by(&WITH_CUSTOMER, "ada@example.com").await;
    assert_eq!((shop.plans_held("ada@example.com").await.len(), about_buyers()), (1, 0));
    let shop = Shop::selling().await;
    shop.bought_by(&WITH_CUSTOMER, "ada@example.com").await;
    assert_eq!(about_buyers(), 1);
}
