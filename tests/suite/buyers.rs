//! Purchases by Stripe customers without an account here: by a payment link, a quote or the
//! dashboard.

use std::time::Duration;

use licentia::app::App;
use licentia::domain::operator::admin_key::Scope;
use licentia::domain::operator::audit::Actor;
use licentia::flows::Mode;
use licentia::flows::sale::backfill::{self, Newcomers};
use licentia::flows::sale::buyer_claim;
use licentia::flows::sale::claim::ClaimTarget;
use licentia::flows::sale::inbox;
use licentia::flows::sale::reconcile::{AT_ONCE, run as reconcile};
use licentia_sandbox::{Card, Interval, NewPrice, Options};
use serde_json::{Value, json};

use crate::harness::database::{execute, number, texts};
use crate::harness::shop::Shop;
use crate::harness::vendor::Vendor;

/// Returns a plans file that creates accounts for unknown buyers.
fn allowing(directory: &tempfile::TempDir) -> String {
    let file = directory.path().join("plans.toml");
    let plans =
        format!("{}\n[checkout]\nallow_unknown_buyers = true\n", include_str!("../../plans.toml"));
    std::fs::write(&file, plans).unwrap();
    file.to_str().unwrap().to_owned()
}

async fn open_to_all(directory: &tempfile::TempDir) -> Shop {
    let file = allowing(directory);
    Shop::open_with(Options::default(), &[("LICENTIA_PLANS_FILE", &file)]).await
}

impl Shop {
    /// Buys the professional plan by a payment link. Returns the Stripe customer.
    async fn bought_by_link(&self, email: &str) -> String {
        let link = self.sandbox.add_payment_link("price_pro_monthly").unwrap();
        let session = self.sandbox.open_payment_link(&link, None).unwrap();
        self.sandbox.pay_as(&session, Card::Paid, email).unwrap();
        self.settled().await;
        self.stripe_customer_of(&session)
    }

    async fn drift(&self) -> Value {
        let admin = self.app.admin(Scope::Read).await;
        admin.get("/api/admin/drift").await.body
    }

    /// Returns the listed unknown buyers.
    async fn unknown(&self) -> Vec<String> {
        let drift = self.drift().await;
        let buyers = drift["buyers"].as_array().unwrap();
        assert_eq!(drift["unknown_buyers"], buyers.len());
        let ids = buyers.iter().map(|buyer| buyer["stripe_customer_id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    }

    async fn claimed(&self, stripe_id: &str, to: ClaimTarget) -> Result<String, String> {
        let id = stripe_id.parse().unwrap();
        let claimed = buyer_claim::claim(&self.app.app, &id, &to, Actor::Operator).await.unwrap();
        self.settled().await;
        match claimed {
            Ok(done) => Ok(done.action.to_owned()),
            Err(left) => Err(left.reason.to_owned()),
        }
    }

    async fn plan_of(&self, email: &str) -> Vec<String> {
        let current = format!(
            "SELECT l.plan FROM licenses l JOIN customers c ON c.customer_id = l.customer_id
             WHERE c.email = '{email}' AND l.superseded_at IS NULL AND l.revoked_at IS NULL"
        );
        texts(&self.app.app.store, &current).await
    }
}

#[tokio::test]
async fn stripe_28_a_purchase_by_an_unknown_stripe_customer_is_listed_until_it_is_claimed() {
    let shop = Shop::open().await;
    assert!(shop.unknown().await.is_empty());
    let by_link = shop.bought_by_link("link@example.com").await;
    let by_quote = shop.sandbox.add_customer("quote@example.com", &[]);
    shop.sandbox.replace_card(&by_quote, Card::Paid).unwrap();
    shop.sandbox.sell_by_quote(&by_quote, "price_pro_monthly", None).unwrap();
    let by_hand = shop.sandbox.add_customer("hand@example.com", &[]);
    shop.sandbox.subscribe(&by_hand, "price_pro_yearly", Card::Paid).unwrap();
    let by_invoice = shop.sandbox.add_customer("invoice@example.com", &[]);
    shop.sandbox.subscribe_by_invoice(&by_invoice, "price_pro_monthly", 30).unwrap();
    shop.settled().await;

    let mut expected = vec![by_link.clone(), by_quote, by_hand, by_invoice];
    expected.sort();
    let mut listed = shop.unknown().await;
    listed.sort();
    assert_eq!(listed, expected);
    assert_eq!(shop.drift().await["buyers"][0]["plan"], "professional");
    for mode in [Mode::DryRun, Mode::Apply] {
        let report = reconcile(&shop.app.app, mode, AT_ONCE, |_| {}).await.unwrap();
        let listed = report.unknown_buyers.iter().map(|buyer| buyer.buyer_id.to_string());
        let mut listed: Vec<_> = listed.collect();
        listed.sort();
        assert_eq!(listed, expected, "{mode:?}");
    }
    assert_eq!(shop.app.count("customers").await, 0);

    // Without that setting, nothing is done about an unknown buyer.
    assert_eq!(shop.claimed(&by_link, ClaimTarget::Recognized).await, Err("no_account".into()));
    assert_eq!(shop.claimed(&by_link, ClaimTarget::NewAccount).await, Ok("created".into()));
    assert_eq!(shop.plan_of("link@example.com").await, ["professional"]);
    let mails = shop.mails_about_sales("link@example.com");
    assert_eq!((mails.len(), mails[0].subject()), (1, "Your license for acme-app"));
    assert!(!shop.unknown().await.contains(&by_link));
    assert_eq!(shop.unknown().await.len(), 3);
    // A second claim does no harm.
    assert_eq!(shop.claimed(&by_link, ClaimTarget::Recognized).await, Ok("finished".into()));
    assert_eq!(shop.app.count("licenses").await, 1);
}

#[tokio::test]
async fn stripe_28_a_buyer_who_is_recognized_for_sure_is_claimed_without_a_name() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    execute(&shop.app.app.store, "UPDATE customers SET email_verified_at = 1").await.unwrap();
    let stripe_id = shop.bought_by_link("ada@example.com").await;
    assert_eq!(shop.unknown().await, [stripe_id.as_str()]);
    assert_eq!(shop.license(&ada).await["plan"], "trial", "nothing happens by itself");
    assert_eq!(
        shop.claimed(&stripe_id, ClaimTarget::Recognized).await,
        Ok("linked_by_email".into())
    );
    shop.must_be_paid(&ada).await;
    assert!(shop.unknown().await.is_empty());
}

#[tokio::test]
async fn stripe_28_signing_up_with_a_strangers_address_claims_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let shop = open_to_all(&directory).await;
    let thief = shop.buyer("ada@example.com").await;
    let stripe_id = shop.bought_by_link("ada@example.com").await;
    assert_eq!(shop.unknown().await, [stripe_id.as_str()], "never silent");
    for to in [ClaimTarget::Recognized, ClaimTarget::NewAccount] {
        assert_eq!(shop.claimed(&stripe_id, to).await, Err("unverified_email".into()));
    }
    reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    assert_eq!(shop.license(&thief).await["plan"], "trial");
    assert_eq!(
        (shop.app.count("customers").await, shop.mails_about_sales("ada@example.com").len()),
        (1, 1),
        "one mail with the link that proves the mailbox"
    );
    assert!(shop.sandbox.object(&stripe_id)["metadata"]["customer_id"].is_null());
    // The operator has asked: it is the same person.
    let id = thief.customer_id.parse().unwrap();
    assert_eq!(shop.claimed(&stripe_id, ClaimTarget::Customer(id)).await, Ok("claimed".into()));
    shop.must_be_paid(&thief).await;
    assert!(shop.unknown().await.is_empty());
}

#[tokio::test]
async fn stripe_28_an_unknown_buyer_gets_an_account_if_the_plans_file_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let shop = open_to_all(&directory).await;
    let stripe_id = shop.bought_by_link("ada@example.com").await;
    assert_eq!(shop.plan_of("ada@example.com").await, ["professional"]);
    let mails = shop.mails_about_sales("ada@example.com");
    assert_eq!((mails.len(), mails[0].subject()), (1, "Your license for acme-app"));
    assert!(shop.unknown().await.is_empty());
    let ids = "SELECT customer_id FROM customers";
    let ids = texts(&shop.app.app.store, ids).await;
    assert_eq!(shop.sandbox.object(&stripe_id)["metadata"]["customer_id"], ids[0]);
    let made = "SELECT actor FROM audit_log WHERE action = 'customer.created'";
    assert_eq!(texts(&shop.app.app.store, made).await, ["system"]);
    // From now on, it is a normal customer: repeated events change nothing.
    for event in shop.sandbox.events("") {
        shop.redeliver(&event).await;
    }
    shop.settled().await;
    assert_eq!((shop.app.count("licenses").await, shop.app.count("customers").await), (1, 1));
    shop.sandbox.advance_days(32);
    shop.settled().await;
    assert_eq!(shop.mails_about_sales("ada@example.com").len(), 2, "no renewal");

    // A buyer who is recognized with certainty gets no second account.
    let bob = shop.buyer("bob@example.com").await;
    execute(&shop.app.app.store, "UPDATE customers SET email_verified_at = 1").await.unwrap();
    shop.bought_by_link("bob@example.com").await;
    shop.must_be_paid(&bob).await;
    assert_eq!(shop.app.count("customers").await, 2);
}

/// The former address of a customer is not given away: otherwise the change could not be undone.
#[tokio::test]
async fn stripe_28_a_buyer_with_a_reserved_address_is_listed_and_gets_no_account() {
    let directory = tempfile::tempdir().unwrap();
    let shop = open_to_all(&directory).await;
    let ada = shop.buyer("ada@example.com").await;
    shop.change_email(&ada, "ada.king@example.com").await;
    let stripe_id = shop.bought_by_link("ada@example.com").await;
    assert_eq!(shop.app.count("customers").await, 1);
    assert_eq!(shop.unknown().await, [stripe_id.as_str()]);
    // Also before anybody asks for an account: the advice names no command that is refused.
    for to in [ClaimTarget::Recognized, ClaimTarget::NewAccount] {
        assert_eq!(shop.claimed(&stripe_id, to).await, Err("reserved_email".into()));
    }
    for newcomers in [Newcomers::ReportOnly, Newcomers::Create] {
        let report = backfill::run(&shop.app.app, Mode::Apply, newcomers, |_| {}).await.unwrap();
        assert_eq!(report.undecided[0].reason, "reserved_email", "{newcomers:?}");
    }
}

#[tokio::test]
async fn stripe_28_a_pending_debit_creates_an_account_without_a_license() {
    let directory = tempfile::tempdir().unwrap();
    let shop = open_to_all(&directory).await;
    let link = shop.sandbox.add_payment_link("price_pro_monthly").unwrap();
    let session = shop.sandbox.open_payment_link(&link, None).unwrap();
    shop.sandbox.pay_as(&session, Card::DelayedPaid, "ada@example.com").unwrap();
    shop.settled().await;
    assert!(shop.plan_of("ada@example.com").await.is_empty());
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.settle(&intent, true).unwrap();
    shop.settled().await;
    assert_eq!(shop.plan_of("ada@example.com").await, ["professional"]);
}

#[tokio::test]
async fn stripe_28_sales_of_other_products_are_not_listed_and_cause_no_call() {
    let shop = Shop::open().await;
    let new = NewPrice {
        id: "price_support",
        product: "Support",
        amount: 9900,
        currency: "usd",
        interval: Interval::Month,
    };
    shop.sandbox.add_price(&new);
    let calls = shop.sandbox.api_calls();
    let other = shop.sandbox.add_customer("other@example.com", &[]);
    shop.sandbox.subscribe(&other, new.id, Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(shop.sandbox.api_calls(), calls);
    // A purchase that was never paid is not listed.
    let declined = shop.sandbox.add_customer("declined@example.com", &[]);
    let _ = shop.sandbox.subscribe(&declined, "price_pro_monthly", Card::Declined);
    shop.settled().await;
    let report = reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    assert!(report.unknown_buyers.is_empty(), "{report:?}");
    assert!(shop.unknown().await.is_empty());
    let kept = "SELECT COUNT(*) FROM inbox WHERE body <> ''";
    assert_eq!(number(&shop.app.app.store, kept).await, 0, "it may name people");
}

#[tokio::test]
async fn stripe_28_an_unknown_buyer_who_stops_paying_is_removed_from_the_list() {
    let shop = Shop::open().await;
    let ada = shop.sandbox.add_customer("ada@example.com", &[]);
    let subscription = shop.sandbox.subscribe(&ada, "price_pro_monthly", Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(shop.unknown().await, [ada.as_str()]);
    shop.sandbox.cancel_now(&subscription).unwrap();
    shop.settled().await;
    assert!(shop.unknown().await.is_empty());
    // If the event was lost, the reconciliation removes it.
    let row = "INSERT INTO unknown_buyers VALUES ('cus_gone', 'professional', 1, 1)";
    execute(&shop.app.app.store, row).await.unwrap();
    assert_eq!(shop.unknown().await, ["cus_gone"]);
    reconcile(&shop.app.app, Mode::DryRun, AT_ONCE, |_| {}).await.unwrap();
    assert_eq!(shop.unknown().await, ["cus_gone"]);
    reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    assert!(shop.unknown().await.is_empty());
}

#[tokio::test]
async fn stripe_28_a_purchase_whose_events_were_lost_is_found_by_reconciling() {
    for is_allowed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let shop = if is_allowed { open_to_all(&directory).await } else { Shop::open().await };
        let ada = shop.sandbox.add_customer("ada@example.com", &[]);
        let faults = shop.sandbox.faults();
        faults.delivery(licentia_sandbox::DeliveryFault::Drop, licentia_sandbox::Times::Always);
        shop.sandbox.subscribe(&ada, "price_pro_monthly", Card::Paid).unwrap();
        shop.settled().await;
        assert!(shop.unknown().await.is_empty());
        reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
        shop.settled().await;
        if is_allowed {
            assert_eq!(shop.plan_of("ada@example.com").await, ["professional"]);
            assert!(shop.unknown().await.is_empty());
        } else {
            assert_eq!(shop.unknown().await, [ada.as_str()]);
        }
    }
}

/// What checks whether an unknown buyer pays.
#[derive(Clone, Copy, Debug)]
enum Check {
    Event,
    Reconciliation,
}

impl Check {
    async fn run(self, app: &App) {
        match self {
            Self::Event => {
                for (subject, events) in inbox::take_due(app, 10).await.unwrap() {
                    inbox::work(app, &subject, &events).await.unwrap();
                }
            }
            Self::Reconciliation => {
                reconcile(app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn stripe_28_an_older_answer_removes_no_buyer_who_was_recorded_since() {
    for (check, was_recorded) in [
        (Check::Event, false),
        (Check::Event, true),
        (Check::Reconciliation, false),
        (Check::Reconciliation, true),
    ] {
        let mut shop = Shop::open().await;
        let ada = shop.sandbox.add_customer("ada@example.com", &[]);
        if !was_recorded {
            shop.end_worker().await;
        }
        let former = shop.sandbox.subscribe(&ada, "price_pro_monthly", Card::Paid).unwrap();
        if was_recorded {
            shop.settled().await;
            assert_eq!(shop.unknown().await, [ada.as_str()]);
            shop.end_worker().await;
        }
        shop.sandbox.cancel_now(&former).unwrap();
        shop.sandbox.settled().await;
        // Stripe answers that nothing is paid for. Before that arrives, the buyer pays again.
        let (slow, mut answer) = shop.server_with_held_answer("/v1/subscriptions").await;
        let checked = tokio::spawn(async move { check.run(&slow).await });
        answer.given().await;
        shop.sandbox.advance(Duration::from_secs(1));
        shop.sandbox.subscribe(&ada, "price_pro_monthly", Card::Paid).unwrap();
        shop.sandbox.settled().await;
        Check::Event.run(&shop.app.app).await;
        assert_eq!(shop.unknown().await, [ada.as_str()], "{check:?} {was_recorded}");
        answer.release();
        checked.await.unwrap();
        assert_eq!(shop.unknown().await, [ada.as_str()], "{check:?} {was_recorded}");
    }
}

#[tokio::test]
async fn security_34_the_account_of_an_unknown_buyer_has_no_verified_address_and_no_typed_name() {
    let directory = tempfile::tempdir().unwrap();
    let shop = open_to_all(&directory).await;
    let stripe_id = shop.sandbox.add_customer("ada@example.com", &[]);
    let name = [("name", "Locked, see evil.example")];
    shop.at_stripe(&format!("customers/{stripe_id}"), &name).await;
    shop.sandbox.subscribe(&stripe_id, "price_pro_monthly", Card::Paid).unwrap();
    shop.settled().await;
    let account = "SELECT u.email || ' ' || COALESCE(c.name, 'no name') || ' '
         || CASE WHEN c.email_verified_at IS NULL THEN 'unverified' ELSE 'verified' END
         FROM users u JOIN customers c ON c.user_id = u.user_id";
    let accounts = texts(&shop.app.app.store, account).await;
    assert_eq!(accounts, ["ada@example.com no name unverified"]);
    let mails = shop.mails_about_sales("ada@example.com");
    assert_eq!(mails.len(), 1);
    let text = mails[0].text.as_deref().unwrap();
    assert!(!text.contains("evil"), "{text}");
}

#[tokio::test]
async fn stripe_28_a_claim_leaves_the_subscription_of_the_former_stripe_customer_behind() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    shop.settled().await;
    let id = shop.subscription(&ada).await["plan"].clone();
    assert_eq!(id, "professional");
    // The end of the subscription is never announced, because another Stripe customer is linked.
    let faults = shop.sandbox.faults();
    faults.delivery(licentia_sandbox::DeliveryFault::Drop, licentia_sandbox::Times::Always);
    for event in shop.sandbox.events("customer.subscription.created") {
        let event = shop.sandbox.object(&event);
        let subscription = event["data"]["object"]["id"].as_str().unwrap();
        shop.sandbox.cancel_now(subscription).unwrap();
    }
    let other = shop.sandbox.add_customer("ada@work.example", &[]);
    let to = ClaimTarget::Customer(ada.customer_id.parse().unwrap());
    assert_eq!(shop.claimed(&other, to).await, Ok("claimed".into()));
    assert_eq!(shop.app.count("subscriptions").await, 0);
    assert_eq!(shop.ask(&ada, "starter").await.status, 200);
}

#[tokio::test]
async fn stripe_28_a_linked_customer_who_buys_by_a_payment_link_is_listed_and_claimed() {
    let directory = tempfile::tempdir().unwrap();
    let shop = open_to_all(&directory).await;
    let ada = shop.buyer("ada@example.com").await;
    let abandoned = shop.checkout(&ada, "starter").await;
    // A payment link creates a new Stripe customer.
    let stripe_id = shop.bought_by_link("ada@example.com").await;
    assert_eq!(shop.unknown().await, [stripe_id.as_str()]);
    assert_eq!(shop.claimed(&stripe_id, ClaimTarget::NewAccount).await, Err("taken".into()));
    let id = ada.customer_id.parse().unwrap();
    assert_eq!(shop.claimed(&stripe_id, ClaimTarget::Customer(id)).await, Ok("claimed".into()));
    assert_eq!(shop.license(&ada).await["plan"], "professional");
    assert!(shop.unknown().await.is_empty());
    // The checkout of the other Stripe customer cannot be paid any more.
    assert_eq!(shop.sandbox.object(&abandoned)["status"], "expired");
    assert_eq!(shop.ask(&ada, "starter").await.text("/code"), "already_subscribed");
}

#[tokio::test]
async fn stripe_28_the_list_is_bounded() {
    let shop = Shop::open().await;
    let rows = (0..1000).map(|n| format!("('cus_{n}', 'starter', 1, 4000000000)"));
    let rows = rows.collect::<Vec<_>>().join(",");
    execute(&shop.app.app.store, &format!("INSERT INTO unknown_buyers VALUES {rows}"))
        .await
        .unwrap();
    shop.bought_by_link("ada@example.com").await;
    let drift = shop.drift().await;
    assert_eq!(drift["unknown_buyers"], 1000);
    assert_eq!(drift["buyers"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn stripe_28_the_commands_list_and_claim() {
    let vendor = Vendor::new().await;
    let nobody = vendor.run(&["stripe", "claim"]).await;
    assert_eq!(nobody.code, 0, "{nobody:?}");
    assert_eq!(nobody.out, "Every known buyer is linked.\n");
    let ada = vendor.buyer("ada@example.com").await;
    let told = vendor.reconcile(&[]).await;
    assert_eq!(told.code, 1, "{told:?}");
    let command = format!("is not linked: `licentia stripe claim {ada}`");
    assert!(told.out.contains(&command), "{told:?}");
    assert!(told.out.contains("1 need your action"), "{told:?}");
    let listed = vendor.run(&["stripe", "claim"]).await;
    assert_eq!(listed.code, 1, "{listed:?}");
    assert!(listed.out.contains(&command), "{listed:?}");
    let json = vendor.run(&["stripe", "claim", "--json"]).await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["buyers"][0]["stripe_customer_id"], json!(ada));
    let left = vendor.run(&["stripe", "claim", &ada]).await;
    assert_eq!(left.code, 1, "{left:?}");
    assert!(left.out.contains(&format!("`licentia stripe claim {ada} --create`")), "{left:?}");
    let done = vendor.run(&["stripe", "claim", &ada, "--create"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("license: professional until"), "{done:?}");
    assert_eq!(vendor.run(&["stripe", "claim"]).await.code, 0);
    assert_eq!(vendor.reconcile(&[]).await.code, 0);
}
