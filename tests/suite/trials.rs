//! One trial per address, also after its account was deleted.

use licentia::customer_file;
use licentia::domain::operator::admin_key::Scope;
use licentia::domain::operator::audit::Actor;
use licentia::flows::Mode;
use licentia::flows::account::import;
use licentia::flows::sale::buyer_claim;
use licentia::flows::sale::claim::ClaimTarget;
use licentia_sandbox::{Card, Paid};
use serde_json::{Value, json};

use crate::harness::database::{execute, number, texts};
use crate::harness::shop::{Buyer, Shop};
use crate::harness::{Answer, BEHIND_A_PROXY, Client, PASSWORD, TestApp};
use crate::payment_links::WITH_CUSTOMER;

const ADA: &str = "ada@example.com";

async fn sign_up(client: &Client, email: &str) -> Answer {
    let request = json!({ "email": email, "password": PASSWORD });
    client.post("/api/customers/signup", &request).await
}

async fn leave(app: &TestApp, answer: &Answer) {
    let me = app.client.with_token(answer.text("/access_token"));
    assert_eq!(me.delete("/api/customers/me").await.status, 204);
}

fn is_refused(answer: &Answer) -> bool {
    assert_eq!(answer.status, 201, "{}", answer.text);
    let refused = answer.body["trial_refused"] == "trial_used";
    assert_eq!(answer.body["license"].is_null(), refused, "{}", answer.text);
    refused
}

#[tokio::test]
async fn security_46_a_deleted_account_does_not_start_another_trial() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let first = app.sign_up(ADA).await;
    assert_eq!(first.body["trial_refused"], Value::Null);
    app.take_mails(ADA).await;
    leave(&app, &first).await;
    app.take_mails(ADA).await;

    let again = sign_up(&app.client, " ADA@example.com").await;
    assert!(is_refused(&again));
    let me = app.client.with_token(again.text("/access_token"));
    assert_eq!(me.get("/api/licenses/current").await.problem(), (404, "not_found"));
    let mail = app.take_mail(ADA).await;
    assert_eq!(mail.subject, "Your account with acme-app");
    assert!(mail.token("verify").starts_with("llnk_") && !mail.text.contains("license.jwt"));
    // A customer without a trial leaves the memory as it is.
    leave(&app, &again).await;
    assert!(is_refused(&sign_up(&app.client, ADA).await));
    assert!(!is_refused(&sign_up(&app.client.at_address("192.0.2.1"), "bob@example.com").await));
}

#[tokio::test]
async fn security_46_only_a_keyed_hash_is_kept_and_not_forever() {
    let app = TestApp::start().await;
    let first = app.sign_up(ADA).await;
    leave(&app, &first).await;
    app.take_mails(ADA).await;
    let kept = texts(&app.app.store, "SELECT address_hash FROM trial_addresses").await;
    assert_eq!((kept.len(), kept[0].len()), (1, 43));
    let everything = "SELECT detail || COALESCE(personal, '') FROM audit_log
        UNION ALL SELECT COALESCE(recipient, '') FROM outbox
        UNION ALL SELECT email FROM former_addresses UNION ALL SELECT email FROM customers";
    assert!(!texts(&app.app.store, everything).await.concat().contains("ada"));

    // The key is the database's own: another one has other hashes.
    let other = TestApp::start().await;
    let first = other.sign_up(ADA).await;
    leave(&other, &first).await;
    let others = texts(&other.app.store, "SELECT address_hash FROM trial_addresses").await;
    assert_ne!(kept, others);

    app.clock.advance_days(729);
    let again = app.sign_up(ADA).await;
    assert!(is_refused(&again));
    leave(&app, &again).await;
    app.clock.advance_days(1);
    let again = app.sign_up(ADA).await;
    assert!(!is_refused(&again));
    leave(&app, &again).await;
    assert_eq!(app.count("trial_addresses").await, 1, "the old row is replaced");
}

/// An address that is given up by a change has had its trial too, whether it comes back or not.
#[tokio::test]
async fn security_46_a_changed_address_does_not_start_another_trial() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let me = app.signed_in(ADA).await;
    app.change_email(&me, "eve@example.com").await;
    let mut mails = app.take_mails(ADA).await;
    mails.retain(|mail| mail.subject.ends_with("was changed"));
    app.clock.advance_days(6);
    let undo = json!({ "token": mails[0].token("undo") });
    assert_eq!(app.client.post("/api/customers/email/undo", &undo).await.status, 200);
    assert!(is_refused(&sign_up(&app.client, "eve@example.com").await));

    let bob = app.signed_in("bob@example.com").await;
    app.change_email(&bob, "bert@example.com").await;
    app.clock.advance_days(8);
    assert!(is_refused(&sign_up(&app.client.at_address("192.0.2.1"), "bob@example.com").await));
}

#[tokio::test]
async fn a_vendor_may_remember_no_trials() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plans.toml");
    let plans =
        include_str!("../../plans.toml").replace("# remember_days = 730 ", "remember_days = 0 #");
    assert!(plans.contains("\nremember_days = 0"));
    std::fs::write(&file, plans).unwrap();
    let app = TestApp::start_with(&[("LICENTIA_PLANS_FILE", file.to_str().unwrap())]).await;
    let first = app.sign_up(ADA).await;
    leave(&app, &first).await;
    assert!(!is_refused(&app.sign_up(ADA).await));
    assert_eq!(app.count("trial_addresses").await, 0);
    let kept = "SELECT COUNT(*) FROM audit_log WHERE action = 'customer.signed_up'";
    assert_eq!(number(&app.app.store, kept).await, 2);
}

/// The ways in which an account is created.
const WAYS: [&str; 6] = ["sign-up", "support", "import", "guest", "link", "claim"];

/// Creates an account with this address, which had one before.
async fn create_again(shop: &Shop, way: &str, email: &str) {
    match way {
        "sign-up" => drop(shop.buyer(email).await),
        "support" => {
            let admin = shop.app.admin(Scope::Support).await;
            let made = admin.post("/api/admin/customers", &json!({ "email": email })).await;
            assert_eq!(made.status, 201, "{made:?}");
        }
        "import" => {
            let file = customer_file::parse(&format!("email\n{email}\n")).unwrap();
            let report = import::customers(&shop.app.app, file, Mode::Apply, |_| {}).await;
            assert_eq!(report.unwrap().imported, 1);
        }
        "guest" => drop(shop.bought_by(&[], email).await),
        "link" => drop(shop.bought_by(&WITH_CUSTOMER, email).await),
        _ => {
            let id = shop.old_customer(email, &[]).await;
            shop.sandbox.replace_card(&id, Card::Paid).unwrap();
            let form = [("customer", id.as_str()), ("items[0][price]", "price_team_month")];
            assert_eq!(shop.at_stripe("subscriptions", &form).await["status"], "active");
            let (app, target) = (&shop.app.app, ClaimTarget::NewAccount);
            let claimed =
                buyer_claim::claim(app, &id.parse().unwrap(), &target, Actor::Operator).await;
            assert_eq!(claimed.unwrap().unwrap().action, "created");
        }
    }
    shop.settled().await;
}

/// Notes that every customer has had a trial at Stripe, as a sync does.
async fn had_stripe_trial(shop: &Shop) {
    let had = "UPDATE customers SET stripe_trial_at = created_at";
    execute(&shop.app.app.store, had).await.unwrap();
}

#[tokio::test]
async fn security_46_no_way_to_create_an_account_leads_to_a_second_trial_at_stripe() {
    for way in WAYS {
        let unknown = matches!(way, "guest" | "link");
        let checkout = format!("[checkout]\nallow_unknown_buyers = {unknown}\n");
        let shop = Shop::selling_with(&checkout).await;
        let store = &shop.app.app.store;
        let had = async |email: &str| {
            let had = format!(
                "SELECT COUNT(*) FROM customers
                 WHERE email = '{email}' AND stripe_trial_at IS NOT NULL"
            );
            number(store, &had).await == 1
        };
        let ada = shop.buyer(ADA).await;
        had_stripe_trial(&shop).await;
        assert!(had(ADA).await);
        assert_eq!(ada.client.delete("/api/customers/me").await.status, 204);
        shop.settled().await;
        create_again(&shop, way, ADA).await;
        create_again(&shop, way, "bob@example.com").await;
        assert_eq!((had(ADA).await, had("bob@example.com").await), (true, false), "{way}");
    }
}

#[tokio::test]
async fn security_46_the_account_of_a_payment_link_gets_no_second_trial_with_another_card() {
    let cloud = r#"
        [[plan]]
        id = "cloud"
        name = "Cloud"
        trial_days = 14
        prices = [{ id = "price_cloud", interval = "month", amount = 2000, currency = "usd" }]
        [checkout]
        allow_unknown_buyers = true
    "#;
    let shop = Shop::selling_with(cloud).await;
    let mut statuses = Vec::new();
    for (email, card) in [(ADA, Card::PaidAmex), ("bob@example.com", Card::PaidMastercard)] {
        if email == ADA {
            let ada = shop.buyer(ADA).await;
            had_stripe_trial(&shop).await;
            assert_eq!(ada.client.delete("/api/customers/me").await.status, 204);
        }
        shop.bought_by(&WITH_CUSTOMER, email).await;
        let mut mails = shop.mails_about_sales(email).into_iter().filter_map(|mail| mail.text);
        let mail = mails.find(|text| text.contains("/account/reset#token=")).unwrap();
        assert_eq!(shop.choose_password(&mail).await.status, 200);
        let login = json!({ "email": email, "password": "OwnedByTheBuyer" });
        let login = shop.app.client.post("/api/customers/login", &login).await;
        let buyer = Buyer {
            email: email.to_owned(),
            client: shop.app.client.with_token(login.text("/access_token")),
            customer_id: login.text("/customer/customer_id").to_owned(),
            trial: String::new(),
        };
        let session = shop.open_checkout(&buyer, json!({ "plan": "cloud" })).await;
        assert_eq!(shop.sandbox.pay(&session, card).unwrap(), Paid::Completed);
        let subscription = shop.subscription_of(&session);
        statuses.push(shop.sandbox.object(&subscription)["status"].clone());
    }
    assert_eq!(statuses, ["active", "trialing"]);
}
