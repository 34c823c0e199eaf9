//! Guests: buyers by a payment link for whom Stripe creates no customer, as by default. The numbers
//! are those of docs/requirements.md.

use licentia::domain::operator::admin_key::Scope;
use licentia::domain::operator::audit::Actor;
use licentia::flows::Mode;
use licentia::flows::sale::buyer_claim;
use licentia::flows::sale::claim::ClaimTarget;
use licentia::flows::sale::reconcile::{AT_ONCE, run as reconcile};
use licentia_sandbox::{Card, DeliveryFault, Interval, NewPrice, Times};
use serde_json::{Value, json};

use crate::harness::database::{execute, number, texts};
use crate::harness::shop::Shop;
use crate::payment_links::{open_to_all, verify_by_the_trial_mail, waiting_mail};

/// A payment link as Stripe's dashboard makes it.
const DEFAULT: &[(&str, &str)] = &[];

const ADA: &str = "ada@example.com";

impl Shop {
    /// Buys a perpetual license as a guest. Returns the Checkout session.
    async fn bought_as_guest(&self, email: &str) -> String {
        let session = self.bought_by(DEFAULT, email).await;
        assert!(self.sandbox.object(&session)["customer"].is_null(), "a guest");
        session
    }

    /// Buys while all events are lost. Returns the session.
    async fn bought_unseen(&self, email: &str) -> String {
        self.sandbox.faults().delivery(DeliveryFault::Drop, Times::Always);
        self.bought_as_guest(email).await
    }

    async fn reconciled(&self) {
        reconcile(&self.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
        self.settled().await;
    }

    /// Returns the listed Checkout sessions of guests.
    async fn listed_guests(&self) -> Vec<String> {
        let listed = self.listed().await;
        let listed = listed.as_array().unwrap().iter();
        listed
            .map(|buyer| {
                assert!(buyer["stripe_customer_id"].is_null(), "{buyer}");
                assert_eq!(buyer["plan"], "studio");
                buyer["stripe_checkout_session_id"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    async fn claim_guest(&self, session: &str, to: ClaimTarget) -> Result<&'static str, String> {
        let buyer = session.parse().unwrap();
        let claimed = buyer_claim::claim(&self.app.app, &buyer, &to, Actor::Operator).await;
        self.settled().await;
        match claimed {
            Ok(Ok(done)) => Ok(done.action),
            Ok(Err(left)) => Err(left.reason.to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[tokio::test]
async fn stripe_28_a_guest_gets_an_account_a_license_and_a_password_link() {
    let shop = open_to_all().await;
    let session = shop.bought_as_guest(ADA).await;
    assert_eq!(shop.plans_held(ADA).await, ["studio"]);
    assert_eq!(shop.listed().await, json!([]));
    let mails = shop.mails_about_sales(ADA);
    let [mail] = &mails[..] else { panic!("{} mails", mails.len()) };
    assert_eq!(mail.subject(), "Your license for acme-app");
    let text = mail.text.clone().unwrap();
    assert!(text.contains("Choose a password") && text.contains("300.00"), "{text}");
    // Repeated events change nothing.
    for event in shop.sandbox.events("") {
        shop.redeliver(&event).await;
    }
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
    let counts = async |table: &str| shop.app.count(table).await;
    assert_eq!((counts("customers").await, counts("licenses").await), (1, 1));
    assert_eq!((counts("orders").await, shop.mails_about_sales(ADA).len()), (1, 1));
    // The account has a Stripe customer of its own, for later purchases.
    let row = "SELECT stripe_customer_id || ' ' || customer_id FROM customers";
    let row = texts(&shop.app.app.store, row).await.remove(0);
    let (stripe_id, id) = row.split_once(' ').unwrap();
    assert_eq!(shop.sandbox.object(stripe_id)["metadata"]["customer_id"], id);
    // The password opens the account, and the order is there.
    assert_eq!(shop.choose_password(&text).await.status, 200);
    let login = json!({ "email": ADA, "password": "OwnedByTheBuyer" });
    let login = shop.app.client.post("/api/customers/login", &login).await;
    let ada = shop.app.client.with_token(login.text("/access_token"));
    let orders = ada.get("/api/orders").await;
    assert_eq!(orders.body["orders"][0]["amount"], 30000, "{orders:?}");
    // It stays licensed after Stripe no longer lists the session among the recent ones.
    shop.sandbox.advance_days(60);
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
    assert_eq!(shop.plans_held(ADA).await, ["studio"]);
    // A refund revokes the license.
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    assert!(shop.plans_held(ADA).await.is_empty());
    assert_eq!(shop.listed().await, json!([]));
}

#[tokio::test]
async fn stripe_28_a_guest_who_buys_what_needs_a_license_is_listed_or_joined() {
    let shop = open_to_all().await;
    for (price, id, email) in [
        ("price_pdf_once", "pdf", "eve@example.com"),
        ("price_studio_updates", "studio", "bob@example.com"),
    ] {
        let session = shop.bought_at(price, DEFAULT, email).await;
        let listed = shop.listed().await;
        let of_session = |one: &&Value| one["stripe_checkout_session_id"] == session.as_str();
        let listed = listed.as_array().unwrap().iter().find(of_session).unwrap();
        assert_eq!(listed["plan"], id, "{price}");
        assert!(shop.mails_about_sales(email).is_empty(), "{price}: it has no effect yet");
    }
    assert_eq!(shop.app.count("customers").await, 0, "no account without a license");
    let parts = "SELECT addons || ' ' || updates_until FROM licenses WHERE superseded_at IS NULL";
    shop.bought_as_guest(ADA).await;
    let before = texts(&shop.app.app.store, parts).await.remove(0);
    shop.bought_at("price_pdf_once", DEFAULT, ADA).await;
    let with_pdf = texts(&shop.app.app.store, parts).await.remove(0);
    assert!(!before.contains("pdf") && with_pdf.contains("pdf"), "{before}, then {with_pdf}");
    shop.bought_at("price_studio_updates", DEFAULT, ADA).await;
    let longer = texts(&shop.app.app.store, parts).await.remove(0);
    assert_ne!(longer, with_pdf, "more updates");
    assert_eq!(shop.listed().await.as_array().unwrap().len(), 2, "the two from the beginning");
}

impl Shop {
    /// Returns the Stripe customer of the only customer here, if there is one.
    async fn only_link(&self) -> Option<String> {
        let link = "SELECT COALESCE(stripe_customer_id, '') FROM customers";
        let links = texts(&self.app.app.store, link).await;
        let [link] = &links[..] else { panic!("{} customers", links.len()) };
        (!link.is_empty()).then(|| link.clone())
    }

    /// Deletes the Stripe customer of the only customer here, at Stripe. Returns its id.
    async fn delete_only_stripe_customer(&self) -> String {
        let link = self.only_link().await.unwrap();
        let deleted = self.delete_at_stripe(&format!("customers/{link}")).await;
        assert_eq!(deleted["deleted"], true);
        link
    }
}

#[tokio::test]
async fn stripe_16_the_license_of_a_guest_survives_the_deletion_of_the_stripe_customer() {
    for is_event_lost in [false, true] {
        let shop = open_to_all().await;
        let session = shop.bought_as_guest(ADA).await;
        if is_event_lost {
            shop.sandbox.faults().delivery(DeliveryFault::Drop, Times::Always);
        }
        let former = shop.delete_only_stripe_customer().await;
        if is_event_lost {
            let dry = reconcile(&shop.app.app, Mode::DryRun, AT_ONCE, |_| {}).await.unwrap();
            assert_eq!((dry.drifted.len(), dry.need_action()), (1, 0), "{dry:?}");
            shop.reconciled().await;
            shop.sandbox.faults().clear();
        }
        shop.settled().await;
        assert_eq!(shop.plans_held(ADA).await, ["studio"], "{is_event_lost}");
        let revoked = "SELECT COUNT(*) FROM licenses WHERE revoked_at IS NOT NULL";
        assert_eq!(number(&shop.app.app.store, revoked).await, 0, "the license goes on");
        let link = shop.only_link().await.expect("another Stripe customer");
        assert_ne!(link, former);
        assert_eq!(shop.mails_about_sales(ADA).len(), 1, "the buyer notices nothing");
        assert_eq!(shop.sync_all().await.drifted.len(), 0);
        assert_eq!((shop.listed().await, shop.app.count("customers").await), (json!([]), 1));
        // The purchase is followed as before.
        let payment = shop.sandbox.payment_intent(&session).unwrap();
        shop.sandbox.refund(&payment, None).unwrap();
        shop.settled().await;
        assert!(shop.plans_held(ADA).await.is_empty());
    }
}

#[tokio::test]
async fn stripe_16_only_the_purchase_as_a_guest_survives_the_stripe_customer() {
    let shop = open_to_all().await;
    let ada = shop.buyer(ADA).await;
    execute(&shop.app.app.store, "UPDATE customers SET email_verified_at = 1").await.unwrap();
    shop.bought_as_guest(ADA).await;
    assert_eq!(shop.license(&ada).await["plan"], "studio");
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "updates" })).await;
    let until = "SELECT updates_until FROM licenses WHERE superseded_at IS NULL";
    let extended = number(&shop.app.app.store, until).await;
    shop.delete_only_stripe_customer().await;
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "studio");
    assert!(number(&shop.app.app.store, until).await < extended, "the updates went with it");
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
}

#[tokio::test]
async fn stripe_17_a_guest_who_lost_the_license_gets_it_back_without_an_event() {
    for how in ["reconcile", "app"] {
        let shop = open_to_all().await;
        let ada = shop.buyer(ADA).await;
        execute(&shop.app.app.store, "UPDATE customers SET email_verified_at = 1").await.unwrap();
        shop.bought_as_guest(ADA).await;
        // As an earlier version left it: unlinked, and revoked.
        for lost in [
            "UPDATE customers SET stripe_customer_id = NULL, stripe_sync_status = NULL",
            "DELETE FROM kept_purchases",
            "UPDATE licenses SET revoked_at = 1, revocation_reason = 'payment'",
        ] {
            execute(&shop.app.app.store, lost).await.unwrap();
        }
        if how == "reconcile" {
            let dry = reconcile(&shop.app.app, Mode::DryRun, AT_ONCE, |_| {}).await.unwrap();
            assert_eq!(dry.drifted.len(), 1, "{dry:?}");
            assert_eq!(shop.only_link().await, None, "a dry run writes nothing");
            shop.reconciled().await;
        }
        assert_eq!(shop.license(&ada).await["plan"], "studio", "{how}");
        assert!(shop.only_link().await.is_some(), "{how}");
    }
}

#[tokio::test]
async fn stripe_28_support_removes_the_stripe_customer_of_a_guest_and_the_purchase_stays() {
    let shop = open_to_all().await;
    shop.bought_as_guest(ADA).await;
    let former = shop.only_link().await.unwrap();
    let id = texts(&shop.app.app.store, "SELECT customer_id FROM customers").await.remove(0);
    let admin = shop.app.admin(Scope::Admin).await;
    let path = format!("/api/admin/customers/{id}/stripe-link");
    let unlinked = admin.post(&path, &json!({ "stripe_customer_id": null })).await;
    assert_eq!(unlinked.status, 200, "{unlinked:?}");
    shop.settled().await;
    assert_eq!(shop.plans_held(ADA).await, ["studio"]);
    assert_ne!(shop.only_link().await, Some(former), "another one follows later purchases");
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
}

#[tokio::test]
async fn stripe_15_a_dispute_of_a_guest_revokes_the_license_and_a_won_one_restores_it() {
    let shop = open_to_all().await;
    let session = shop.bought_as_guest(ADA).await;
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    let dispute = shop.sandbox.open_dispute(&payment).unwrap();
    shop.settled().await;
    shop.sandbox.close_dispute(&dispute, false).unwrap();
    shop.settled().await;
    assert!(shop.plans_held(ADA).await.is_empty());

    let session = shop.bought_as_guest("bob@example.com").await;
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    let dispute = shop.sandbox.open_dispute(&payment).unwrap();
    shop.settled().await;
    shop.sandbox.close_dispute(&dispute, true).unwrap();
    shop.settled().await;
    assert_eq!(shop.plans_held("bob@example.com").await, ["studio"]);
}

#[tokio::test]
async fn stripe_28_a_guest_is_reported_and_claimable_when_accounts_are_not_created() {
    let shop = Shop::selling().await;
    let session = shop.bought_as_guest(ADA).await;
    assert_eq!(shop.app.count("customers").await, 0);
    assert_eq!(shop.listed_guests().await, [session.as_str()]);
    for mode in [Mode::DryRun, Mode::Apply, Mode::Apply] {
        let report = reconcile(&shop.app.app, mode, AT_ONCE, |_| {}).await.unwrap();
        let listed = report.unknown_buyers.iter().map(|buyer| buyer.buyer_id.to_string());
        assert_eq!(listed.collect::<Vec<_>>(), [session.as_str()], "{mode:?}");
    }
    // It stays listed after Stripe no longer lists the session among the recent ones.
    shop.sandbox.advance_days(40);
    shop.reconciled().await;
    assert_eq!(shop.listed_guests().await, [session.as_str()]);
    assert_eq!(shop.claim_guest(&session, ClaimTarget::Recognized).await, Err("no_account".into()));
    assert_eq!(shop.claim_guest(&session, ClaimTarget::NewAccount).await, Ok("created"));
    assert_eq!(shop.plans_held(ADA).await, ["studio"]);
    let mails = shop.mails_about_sales(ADA);
    assert!(mails[0].text.as_ref().unwrap().contains("Choose a password"));
    assert_eq!(shop.listed().await, json!([]));
    // A second claim does no harm, and the purchase is not moved.
    assert_eq!(shop.claim_guest(&session, ClaimTarget::NewAccount).await, Ok("finished"));
    let bob = shop.buyer("bob@example.com").await;
    let bob = ClaimTarget::Customer(bob.customer_id.parse().unwrap());
    let refused = shop.claim_guest(&session, bob).await.unwrap_err();
    assert!(refused.contains("is not moved"), "{refused}");
    assert_eq!(shop.app.count("licenses").await, 2, "one of Ada, and Bob's trial");
}

#[tokio::test]
async fn stripe_28_support_gives_the_purchase_of_a_guest_to_a_customer() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@work.example").await;
    let session = shop.bought_as_guest(ADA).await;
    let admin = shop.app.admin(Scope::Admin).await;
    let path = format!("/api/admin/customers/{}/stripe-link", ada.customer_id);
    let linked = admin.post(&path, &json!({ "stripe_customer_id": session })).await;
    assert_eq!(linked.status, 200, "{linked:?}");
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "studio");
    assert_eq!(shop.listed().await, json!([]));
    let nonsense = admin.post(&path, &json!({ "stripe_customer_id": "sub_1" })).await;
    assert_eq!(nonsense.problem().1, "invalid_request");
    let unknown = admin.post(&path, &json!({ "stripe_customer_id": "cs_unknown" })).await;
    assert_eq!(unknown.problem().1, "stripe_link_refused");
}

#[tokio::test]
async fn stripe_28_a_refunded_guest_is_removed_from_the_list() {
    let shop = Shop::selling().await;
    let session = shop.bought_as_guest(ADA).await;
    assert_eq!(shop.listed_guests().await, [session.as_str()]);
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    assert_eq!(shop.listed().await, json!([]));
}

#[tokio::test]
async fn stripe_28_a_guest_whose_events_were_lost_is_found_by_reconciling() {
    for shop in [open_to_all().await, Shop::selling().await] {
        let session = shop.bought_unseen(ADA).await;
        assert_eq!((shop.app.count("customers").await, shop.listed().await), (0, json!([])));
        shop.reconciled().await;
        if shop.app.app.plans.checkout.allow_unknown_buyers {
            assert_eq!(shop.plans_held(ADA).await, ["studio"]);
        } else {
            assert_eq!(shop.listed_guests().await, [session]);
        }
    }
}

#[tokio::test]
async fn stripe_28_each_event_of_a_guest_alone_suffices_and_their_order_does_not_matter() {
    let shop = open_to_all().await;
    for (n, kind) in
        ["checkout.session.completed", "payment_intent.succeeded"].into_iter().enumerate()
    {
        let email = format!("guest{n}@example.com");
        let session = shop.bought_unseen(&email).await;
        let payment = shop.sandbox.payment_intent(&session).unwrap();
        let about = |event: &String| {
            let object = &shop.sandbox.object(event)["data"]["object"];
            object["id"] == session.as_str() || object["id"] == payment.as_str()
        };
        let events: Vec<_> = shop.sandbox.events("").into_iter().filter(about).collect();
        for event in shop.sandbox.events(kind).iter().filter(|event| about(event)) {
            shop.redeliver(event).await;
        }
        shop.settled().await;
        assert_eq!(shop.plans_held(&email).await, ["studio"], "{kind}");
        for event in events.iter().rev() {
            shop.redeliver(event).await;
            shop.settled().await;
        }
        assert_eq!(shop.mails_about_sales(&email).len(), 1, "{kind}");
        assert_eq!(shop.app.count("customers").await, n as i64 + 1, "{kind}");
        assert_eq!(shop.app.count("licenses").await, n as i64 + 1, "{kind}");
    }
}

#[tokio::test]
async fn stripe_3_the_delayed_payment_of_a_guest_is_licensed_when_it_succeeds() {
    let shop = open_to_all().await;
    let price = [("line_items[0][price]", "price_studio_once"), ("line_items[0][quantity]", "1")];
    let link = shop.at_stripe("payment_links", &price).await;
    let session = shop.sandbox.open_payment_link(link["id"].as_str().unwrap(), None).unwrap();
    shop.sandbox.pay_as(&session, Card::DelayedPaid, ADA).unwrap();
    shop.settled().await;
    shop.reconciled().await;
    assert_eq!((shop.app.count("customers").await, shop.listed().await), (0, json!([])));
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.settle(&payment, true).unwrap();
    shop.settled().await;
    assert_eq!(shop.plans_held(ADA).await, ["studio"]);
}

#[tokio::test]
async fn stripe_28_a_guest_with_a_verified_account_gets_the_license_there() {
    let shop = open_to_all().await;
    let ada = shop.buyer(ADA).await;
    execute(&shop.app.app.store, "UPDATE customers SET email_verified_at = 1").await.unwrap();
    shop.purchase(&ada, json!({ "plan": "starter", "interval": "month" })).await;
    shop.bought_as_guest(ADA).await;
    assert_eq!(shop.license(&ada).await["plan"], "studio");
    assert_eq!((shop.app.count("customers").await, shop.listed().await), (1, json!([])));
    assert_eq!(shop.stripe_customers(), 1, "no second Stripe customer");
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
}

#[tokio::test]
async fn stripe_28_a_guest_who_buys_again_keeps_the_account() {
    let shop = open_to_all().await;
    shop.bought_as_guest(ADA).await;
    let second = shop.bought_as_guest(ADA).await;
    assert_eq!((shop.app.count("customers").await, shop.listed().await), (1, json!([])));
    let until = "SELECT COUNT(*) FROM licenses WHERE superseded_at IS NULL AND updates_until
         > (SELECT MIN(updates_until) FROM licenses)";
    assert_eq!(number(&shop.app.app.store, until).await, 1, "the updates are extended");
    // Each purchase is followed by itself.
    let payment = shop.sandbox.payment_intent(&second).unwrap();
    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    assert_eq!(shop.plans_held(ADA).await, ["studio"]);
}

#[tokio::test]
async fn stripe_28_a_guest_with_the_address_of_an_unverified_account_must_prove_it_security_34() {
    let shop = open_to_all().await;
    let thief = shop.buyer(ADA).await;
    let token = shop.license(&thief).await["token"].as_str().unwrap().to_owned();
    let session = shop.bought_as_guest(ADA).await;
    shop.reconciled().await;
    assert_eq!(shop.plans_held(ADA).await, ["trial"]);
    assert_eq!(shop.listed_guests().await, [session.as_str()], "never silent");
    for path in ["/api/orders", "/api/licenses", "/api/customers/me/export"] {
        let seen = thief.client.get(path).await.body.to_string();
        assert!(!seen.contains("studio") && !seen.contains(&session), "{path}: {seen}");
    }
    let mail = waiting_mail(&shop);
    assert_eq!(shop.choose_password(&mail).await.status, 200);
    assert_eq!(shop.plans_held(ADA).await, ["studio"]);
    assert_eq!((shop.listed().await, shop.app.count("customers").await), (json!([]), 1));
    assert_eq!(thief.client.get("/api/customers/me").await.status, 401);
    let holder = shop.app.client.with_token(&token);
    let refreshed = holder.post("/api/licenses/refresh", &json!({})).await;
    assert_eq!(refreshed.problem().1, "revoked");
}

#[tokio::test]
async fn stripe_28_while_a_purchase_waits_a_verified_address_gives_away_no_later_one_security_34() {
    // A Stripe customer beside that of the guest is left to the operator.
    let with_customer: &[(&str, &str)] = &[("customer_creation", "always")];
    for (settings, left) in [(DEFAULT, 0), (with_customer, 1)] {
        let shop = open_to_all().await;
        let thief = shop.buyer(ADA).await;
        shop.bought_as_guest(ADA).await;
        let mail = waiting_mail(&shop);
        // The buyer expects a mail, and follows the link of the sign-up.
        verify_by_the_trial_mail(&shop).await;
        shop.bought_by(settings, ADA).await;
        shop.reconciled().await;
        assert_eq!(shop.license(&thief).await["plan"], "trial", "{settings:?}");
        assert_eq!(shop.listed().await.as_array().unwrap().len(), 2);
        assert_eq!(shop.choose_password(&mail).await.status, 200);
        assert_eq!(shop.plans_held(ADA).await, ["studio"]);
        assert_eq!(shop.listed().await.as_array().unwrap().len(), left);
        assert_eq!(shop.app.count("waiting_purchases").await, 0);
        assert_eq!(thief.client.get("/api/customers/me").await.status, 401);
    }
}

#[tokio::test]
async fn stripe_28_the_purchase_of_a_guest_creates_no_second_account_after_the_deletion() {
    let shop = open_to_all().await;
    let session = shop.bought_unseen(ADA).await;
    shop.reconciled().await;
    let id = texts(&shop.app.app.store, "SELECT customer_id FROM customers").await.remove(0);
    let admin = shop.app.admin(Scope::Admin).await;
    let deleted = admin.delete(&format!("/api/admin/customers/{id}")).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    for event in shop.sandbox.events("") {
        shop.redeliver(&event).await;
    }
    shop.settled().await;
    shop.reconciled().await;
    assert_eq!((shop.app.count("customers").await, shop.listed().await), (0, json!([])));
    // The operator can still give it to a new account of the buyer.
    assert_eq!(shop.claim_guest(&session, ClaimTarget::NewAccount).await, Ok("created"));
    assert_eq!(shop.plans_held(ADA).await, ["studio"]);
}

#[tokio::test]
async fn stripe_28_guests_who_buy_other_products_are_not_listed() {
    let shop = open_to_all().await;
    let new = NewPrice {
        id: "price_mug",
        product: "Mug",
        amount: 900,
        currency: "usd",
        interval: Interval::Once,
    };
    shop.sandbox.add_price(&new);
    let mug = [("line_items[0][price]", new.id), ("line_items[0][quantity]", "1")];
    let link = shop.at_stripe("payment_links", &mug).await;
    let session = shop.sandbox.open_payment_link(link["id"].as_str().unwrap(), None).unwrap();
    shop.sandbox.pay_as(&session, Card::Paid, ADA).unwrap();
    shop.settled().await;
    shop.reconciled().await;
    assert_eq!((shop.app.count("customers").await, shop.listed().await), (0, json!([])));
    let kept = "SELECT COUNT(*) FROM inbox WHERE body <> ''";
    assert_eq!(number(&shop.app.app.store, kept).await, 0, "it may name people");
}
