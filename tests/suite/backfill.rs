//! Stripe customers without an account here, and accounts without a link: those that a vendor
//! brings, and those that a restored backup has lost. The command is in `stripe_backfill`.

use licentia::customer_file;
use licentia::flows::Mode;
use licentia::flows::account::import;
use licentia::flows::sale::backfill::{self, Newcomers, Report};
use licentia_sandbox::{ApiFault, Card, Interval, NewPrice, Times};
use serde_json::{Value, json};

use crate::harness::PASSWORD;
use crate::harness::database::{execute, texts};
use crate::harness::shop::Shop;

async fn backfill(shop: &Shop, mode: Mode, newcomers: Newcomers) -> Report {
    let report = backfill::run(&shop.app.app, mode, newcomers, |_| {}).await.unwrap();
    shop.settled().await;
    report
}

async fn linking(shop: &Shop) -> Report {
    backfill(shop, Mode::Apply, Newcomers::ReportOnly).await
}

async fn import(shop: &Shop, csv: &str) {
    let file = customer_file::parse(csv).unwrap();
    import::customers(&shop.app.app, file, Mode::Apply, |_| {}).await.unwrap();
}

/// Returns what was done, and the reasons for what was not.
fn summary(report: &Report) -> (Vec<&str>, Vec<&str>) {
    let mut done: Vec<_> = report.done.iter().map(|done| done.action).collect();
    let mut left: Vec<_> = report.undecided.iter().map(|left| left.reason).collect();
    done.sort();
    left.sort();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    (done, left)
}

/// Returns the plan of a customer's current license, by email address.
async fn plan_of(shop: &Shop, email: &str) -> Vec<String> {
    let current = format!(
        "SELECT l.plan FROM licenses l JOIN customers c ON c.customer_id = l.customer_id
         WHERE c.email = '{email}' AND l.superseded_at IS NULL AND l.revoked_at IS NULL"
    );
    texts(&shop.app.app.store, &current).await
}

/// Returns everything that a dry run must not change.
async fn everything(shop: &Shop) -> (Vec<String>, usize, usize) {
    let rows = "SELECT customer_id || email || COALESCE(stripe_customer_id, '-') ||
                COALESCE(stripe_sync_status, '-') || updated_at FROM customers
                UNION ALL SELECT audit_id FROM audit_log UNION ALL SELECT license_id FROM licenses
                UNION ALL SELECT order_id FROM orders UNION ALL SELECT mail_id FROM outbox
                UNION ALL SELECT customer_id || fence FROM customer_leases ORDER BY 1";
    let rows = texts(&shop.app.app.store, rows).await;
    (rows, shop.sandbox.events("").len(), shop.sandbox.mails().len())
}

#[tokio::test]
async fn the_account_that_the_metadata_names_is_linked_and_licensed() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let tag = [("customer_id", ada.customer_id.as_str())];
    // The address at Stripe differs: billing@, for example.
    let stripe_id = shop.old_buyer("billing@example.com", &tag).await;
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "trial");

    let report = linking(&shop).await;
    assert_eq!(summary(&report), (vec!["linked_by_metadata"], vec![]));
    assert_eq!(report.done[0].plan.as_deref(), Some("professional"));
    assert!(report.done[0].changes.join(";").contains("license: professional"));
    shop.must_be_paid(&ada).await;
    let mails = shop.mails_about_sales("ada@example.com");
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].subject(), "Your new license for acme-app");
    let linked =
        "SELECT detail FROM audit_log WHERE action = 'stripe.linked' AND actor = 'operator'";
    let linked: Value = serde_json::from_str(&texts(&shop.app.app.store, linked).await[0]).unwrap();
    assert_eq!(linked, json!({ "by": "metadata", "stripe_customer_id": stripe_id }));

    // A second run writes nothing, here or there.
    let before = everything(&shop).await;
    let report = linking(&shop).await;
    assert_eq!((summary(&report), report.settled), ((vec![], vec![]), 1));
    assert_eq!(everything(&shop).await, before);
    // From now on, it is a normal customer.
    shop.sandbox.advance_days(32);
    shop.settled().await;
    assert_eq!(shop.mails_about_sales("ada@example.com").len(), 2, "no renewal");
}

#[tokio::test]
async fn a_verified_address_is_linked_and_named_at_stripe() {
    let shop = Shop::open().await;
    import(&shop, "email,email_verified\nada@example.com,yes\nbob@example.com,1\n").await;
    let ada = shop.old_buyer("Ada@Example.com", &[]).await;
    let bob = shop.old_buyer("bob@example.com", &[("customer_id", "12345"), ("a", "b")]).await;
    shop.at_stripe(&format!("customers/{ada}"), &[("name", "Ada Lovelace")]).await;

    let report = linking(&shop).await;
    assert_eq!(summary(&report), (vec!["linked_by_email"; 2], vec![]));
    for email in ["ada@example.com", "bob@example.com"] {
        assert_eq!(plan_of(&shop, email).await, ["professional"]);
        let mails = shop.mails_about_sales(email);
        assert_eq!(mails.len(), 1, "{email}");
        assert_eq!(mails[0].subject(), "Your license for acme-app");
    }
    let of_ada = "SELECT customer_id FROM customers WHERE email = 'ada@example.com'";
    let of_ada = texts(&shop.app.app.store, of_ada).await;
    assert_eq!(shop.sandbox.object(&ada)["metadata"], json!({ "customer_id": of_ada[0] }));
    // The vendor's own number stays.
    let metadata = json!({ "customer_id": "12345", "a": "b" });
    assert_eq!(shop.sandbox.object(&bob)["metadata"], metadata);
    // A name that is unknown here is imported, and never removed at Stripe.
    assert_eq!(shop.sandbox.object(&ada)["name"], "Ada Lovelace");
    let names = "SELECT name FROM customers WHERE name IS NOT NULL";
    assert_eq!(texts(&shop.app.app.store, names).await, ["Ada Lovelace"]);

    let before = everything(&shop).await;
    assert_eq!(summary(&linking(&shop).await), (vec![], vec![]));
    assert_eq!(everything(&shop).await, before);
}

#[tokio::test]
async fn signing_up_with_a_strangers_address_does_not_grant_their_subscription() {
    let shop = Shop::open().await;
    let thief = shop.buyer("ada@example.com").await;
    let stripe_id = shop.old_buyer("ada@example.com", &[]).await;
    // An import says who owns an address. It does not say who owns an account that someone created
    // with the address.
    import(&shop, "email,email_verified\nada@example.com,yes\n").await;
    shop.settled().await;
    let before = everything(&shop).await;
    let report = backfill(&shop, Mode::Apply, Newcomers::Create).await;
    assert_eq!(summary(&report), (vec![], vec!["unverified_email"]));
    assert_eq!(report.paying_undecided().count(), 1);
    assert!(
        report.undecided[0].message.contains(&thief.customer_id),
        "{}",
        report.undecided[0].message
    );
    assert_eq!(everything(&shop).await, before);
    assert_eq!(shop.license(&thief).await["plan"], "trial");

    // The vendor has asked: the Stripe customer is Ada.
    let tag = [("metadata[customer_id]", thief.customer_id.as_str())];
    shop.at_stripe(&format!("customers/{stripe_id}"), &tag).await;
    assert_eq!(summary(&linking(&shop).await), (vec!["linked_by_metadata"], vec![]));
    shop.must_be_paid(&thief).await;
}

#[tokio::test]
async fn a_requested_address_is_not_theirs_until_it_is_confirmed() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let change = json!({ "email": "bob@example.com", "current_password": PASSWORD });
    assert_eq!(ada.client.patch("/api/customers/me", &change).await.status, 200);
    shop.old_buyer("bob@example.com", &[]).await;
    assert_eq!(summary(&linking(&shop).await), (vec![], vec!["no_account"]));
}

#[tokio::test]
async fn ambiguous_stripe_customers_are_reported_and_not_linked() {
    let shop = Shop::open().await;
    // Linked by a sale, and another Stripe customer has the same address or name.
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    shop.old_buyer("ada@example.com", &[]).await;
    shop.old_customer("x@example.com", &[("customer_id", &ada.customer_id)]).await;
    // Twice at Stripe, and once or never here.
    import(&shop, "email\nbob@example.com\n").await;
    for email in ["bob@example.com", "bob@example.com", "eve@example.com", "eve@example.com"] {
        shop.old_buyer(email, &[]).await;
    }
    // Two Stripe customers name one account.
    let carl = shop.buyer("carl@example.com").await;
    for _ in 0..2 {
        shop.old_customer("carl@example.com", &[("customer_id", &carl.customer_id)]).await;
    }
    shop.old_customer("not an address", &[]).await;
    shop.settled().await;
    let before = everything(&shop).await;
    let report = backfill(&shop, Mode::Apply, Newcomers::Create).await;
    let left = [
        "named_twice",
        "named_twice",
        "no_email",
        "shared_email",
        "shared_email",
        "shared_email",
        "shared_email",
        "taken",
        "taken",
    ];
    assert_eq!(summary(&report), (vec![], left.to_vec()));
    assert_eq!((report.settled, report.paying_undecided().count()), (1, 5));
    assert_eq!(everything(&shop).await, before);

    // Linked to one Stripe customer here, and named by another.
    let linked = "SELECT stripe_customer_id FROM customers WHERE stripe_customer_id IS NOT NULL";
    let stripe_id = texts(&shop.app.app.store, linked).await.remove(0);
    let tag = [("metadata[customer_id]", carl.customer_id.as_str())];
    shop.at_stripe(&format!("customers/{stripe_id}"), &tag).await;
    let report = linking(&shop).await;
    assert!(
        report.undecided.iter().any(|left| left.reason == "contradiction"),
        "{:?}",
        report.undecided
    );
    assert_eq!(texts(&shop.app.app.store, linked).await, [stripe_id]);
}

#[tokio::test]
async fn a_paying_customer_without_an_account_gets_one_if_requested() {
    let shop = Shop::open().await;
    let stripe_id = shop.old_buyer("ada@example.com", &[]).await;
    shop.old_customer("idle@example.com", &[]).await;
    let gone = shop.old_buyer("gone@example.com", &[]).await;
    let delete = format!("{}/v1/customers/{gone}", shop.sandbox.url());
    let delete = reqwest::Client::new().delete(delete).bearer_auth(shop.sandbox.secret_key());
    assert_eq!(delete.send().await.unwrap().status(), 200);

    let report = linking(&shop).await;
    assert_eq!(summary(&report), (vec![], vec!["no_account", "no_account"]));
    assert_eq!(report.paying_undecided().count(), 1, "who pays for nothing can wait");
    assert_eq!(shop.app.count("customers").await, 0);

    let report = backfill(&shop, Mode::Apply, Newcomers::Create).await;
    assert_eq!(summary(&report), (vec!["created"], vec!["no_account"]));
    assert_eq!(shop.app.count("customers").await, 1);
    assert_eq!(plan_of(&shop, "ada@example.com").await, ["professional"]);
    let id = report.done[0].customer_id.as_deref().unwrap();
    assert_eq!(shop.sandbox.object(&stripe_id)["metadata"]["customer_id"], id);
    let mails = shop.mails_about_sales("ada@example.com");
    assert_eq!((mails.len(), mails[0].subject()), (1, "Your license for acme-app"));
    assert_eq!(shop.sandbox.mails().len(), 1, "nobody else was mailed");

    // The license refreshes itself. The mail does not mention the missing password.
    let text = mails[0].text.as_deref().unwrap();
    let token = text.split_whitespace().find(|word| word.starts_with("eyJ")).unwrap();
    let refreshed =
        shop.app.client.with_token(token).post("/api/licenses/refresh", &json!({})).await;
    assert_eq!((refreshed.status, refreshed.text("/plan")), (200, "professional"));
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    let answer = shop.app.client.post("/api/customers/login", &login).await;
    let stranger = json!({ "email": "nobody@example.com", "password": PASSWORD });
    let same = shop.app.client.post("/api/customers/login", &stranger).await;
    assert_eq!((answer.status, &answer.body["code"]), (401, &json!("invalid_credentials")));
    assert_eq!(answer.body["detail"], same.body["detail"]);

    let before = everything(&shop).await;
    let report = backfill(&shop, Mode::Apply, Newcomers::Create).await;
    assert_eq!(summary(&report), (vec![], vec!["no_account"]));
    assert_eq!(everything(&shop).await, before);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_reports_the_same() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.old_buyer("ada@example.com", &[("customer_id", &ada.customer_id)]).await;
    import(&shop, "email\nbob@example.com\n").await;
    shop.old_customer("bob@example.com", &[]).await;
    shop.old_buyer("eve@example.com", &[]).await;
    shop.settled().await;
    let before = everything(&shop).await;
    let dry_run = backfill(&shop, Mode::DryRun, Newcomers::Create).await;
    let would = vec!["created", "linked_by_email", "linked_by_metadata"];
    assert_eq!(summary(&dry_run), (would.clone(), vec![]));
    assert_eq!(everything(&shop).await, before);
    let done = backfill(&shop, Mode::Apply, Newcomers::Create).await;
    assert_eq!(summary(&done), (would, vec![]));
}

#[tokio::test]
async fn two_runs_at_once_link_each_customer_once() {
    let shop = Shop::open().await;
    let emails: Vec<String> = (0..6).map(|number| format!("c{number}@example.com")).collect();
    import(&shop, &format!("email\n{}", emails.join("\n"))).await;
    for email in &emails {
        shop.old_buyer(email, &[]).await;
    }
    let (one, other) = tokio::join!(linking(&shop), linking(&shop));
    assert_eq!((one.failed.len(), other.failed.len()), (0, 0), "{one:?} {other:?}");
    for email in &emails {
        assert_eq!(plan_of(&shop, email).await, ["professional"]);
        assert_eq!(shop.mails_about_sales(email).len(), 1);
    }
    assert_eq!(shop.app.count("licenses").await, 6);
}

#[tokio::test]
async fn a_price_that_no_plan_has_is_reported() {
    let shop = Shop::open().await;
    let new = NewPrice {
        id: "price_of_long_ago",
        product: "Professional",
        amount: 2900,
        currency: "usd",
        interval: Interval::Month,
    };
    shop.sandbox.add_price(&new);
    for email in ["ada@example.com", "bob@example.com"] {
        let id = shop.old_customer(email, &[]).await;
        shop.sandbox.replace_card(&id, Card::Paid).unwrap();
        let form = [("customer", id.as_str()), ("items[0][price]", new.id)];
        shop.at_stripe("subscriptions", &form).await;
    }
    let report = backfill(&shop, Mode::Apply, Newcomers::Create).await;
    assert_eq!(summary(&report), (vec![], vec!["no_account"; 2]));
    assert_eq!(report.unknown_prices.into_iter().collect::<Vec<_>>(), [(new.id.to_owned(), 2)]);
}

#[tokio::test]
async fn every_page_is_read() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    // Listed last, because Stripe lists the newest first.
    shop.old_buyer("ada@example.com", &[("customer_id", &ada.customer_id)]).await;
    for number in 0..230 {
        shop.old_customer(&format!("idle{number}@example.com"), &[]).await;
    }
    // More than one lookup here covers.
    let rows: String = (0..700).map(|number| format!("c{number}@example.com\n")).collect();
    import(&shop, &format!("email\n{rows}")).await;
    for number in [0, 350, 699] {
        shop.old_customer(&format!("c{number}@example.com"), &[]).await;
    }
    let report = linking(&shop).await;
    assert_eq!((report.customers, report.undecided.len()), (234, 230));
    assert_eq!(report.done.len(), 4);
    shop.must_be_paid(&ada).await;
}

#[tokio::test]
async fn calls_that_failed_at_stripe_are_repeated_by_the_next_run() {
    for failing in ["POST /v1/customers/", "GET /v1/customers/", "GET /v1/invoices"] {
        let shop = Shop::open().await;
        import(&shop, "email\nada@example.com\n").await;
        shop.old_buyer("ada@example.com", &[]).await;
        shop.old_buyer("eve@example.com", &[]).await;
        shop.settled().await;
        shop.sandbox.faults().api_call(ApiFault::ErrorBefore, failing, Times::Always);
        let app = &shop.app.app;
        let failed = backfill::run(app, Mode::Apply, Newcomers::Create, |_| {}).await;
        let failed = failed.unwrap();
        assert_eq!((failed.done.len(), failed.failed.len()), (0, 2), "{failing}");
        assert!(failed.failed[0].error.contains("Stripe"), "{}", failed.failed[0].error);
        shop.sandbox.faults().clear();
        let report = backfill(&shop, Mode::Apply, Newcomers::Create).await;
        assert_eq!(summary(&report), (vec!["finished"; 2], vec![]), "{failing}");
        for email in ["ada@example.com", "eve@example.com"] {
            assert_eq!(plan_of(&shop, email).await, ["professional"], "{failing}");
            assert_eq!(shop.mails_about_sales(email).len(), 1, "{failing}");
        }
        assert_eq!(shop.app.count("licenses").await, 2, "{failing}");
        assert_eq!(summary(&linking(&shop).await), (vec![], vec![]), "{failing}");
    }
}

#[tokio::test]
async fn if_stripe_customers_cannot_be_listed_nothing_changes() {
    let shop = Shop::open().await;
    import(&shop, "email\nada@example.com\n").await;
    shop.old_buyer("ada@example.com", &[]).await;
    shop.settled().await;
    let before = everything(&shop).await;
    for listing in ["GET /v1/customers", "GET /v1/subscriptions"] {
        shop.sandbox.faults().api_call(ApiFault::RateLimited, listing, Times::Next(3));
        let app = &shop.app.app;
        let failed = backfill::run(app, Mode::Apply, Newcomers::ReportOnly, |_| {}).await;
        assert!(failed.unwrap_err().to_string().contains("Stripe cannot be reached: 429"));
        assert_eq!(everything(&shop).await, before);
    }
    assert_eq!(linking(&shop).await.done.len(), 1);
}

#[tokio::test]
async fn after_a_restored_backup_the_links_are_restored() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let bob = shop.buyer("bob@example.com").await;
    let eve = shop.buyer("eve@example.com").await;
    for buyer in [&ada, &bob, &eve] {
        shop.buy(buyer, "professional").await;
    }
    assert_eq!(eve.client.delete("/api/customers/me").await.status, 204);
    // The backup is older than Ada's purchase and Bob's sign-up.
    for back in [
        "DELETE FROM users WHERE email = 'bob@example.com'",
        "DELETE FROM licenses WHERE source = 'subscription'",
        "UPDATE licenses SET superseded_at = NULL, superseded_by = NULL",
        "DELETE FROM orders",
        "DELETE FROM subscriptions",
        "DELETE FROM stripe_attempts",
        "DELETE FROM outbox",
        "UPDATE customers SET stripe_customer_id = NULL, stripe_sync_status = NULL,
             stripe_synced_at = NULL",
    ] {
        execute(&shop.app.app.store, back).await.unwrap();
    }
    let report = backfill(&shop, Mode::Apply, Newcomers::Create).await;
    assert_eq!(summary(&report), (vec!["linked_by_metadata"], vec!["deleted", "not_here"]));
    let left: Vec<_> = report.paying_undecided().collect();
    assert_eq!((left.len(), left[0].reason), (1, "not_here"), "Eve's subscription was ended");
    assert!(left[0].message.contains(&bob.customer_id), "{}", left[0].message);
    shop.must_be_paid(&ada).await;
    assert_eq!(shop.stripe_customers(), 3, "nobody was made anew");

    // The vendor tells them apart, and Bob gets a new account.
    let untag = [("metadata[customer_id]", "")];
    shop.at_stripe(&format!("customers/{}", left[0].buyer), &untag).await;
    let report = backfill(&shop, Mode::Apply, Newcomers::Create).await;
    assert_eq!(summary(&report), (vec!["created"], vec!["deleted"]));
    assert_eq!(plan_of(&shop, "bob@example.com").await, ["professional"]);
}

#[tokio::test]
async fn a_customer_who_deleted_the_account_and_returns_is_licensed() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "starter").await;
    let stripe_id = shop.stripe_customer_of(&session);
    assert_eq!(ada.client.delete("/api/customers/me").await.status, 204);
    shop.settled().await;
    // The vendor names the new account in the Stripe customer, who pays again.
    let again = shop.buyer("ada@example.com").await;
    let named = [("metadata[customer_id]", again.customer_id.as_str())];
    shop.at_stripe(&format!("customers/{stripe_id}"), &named).await;
    shop.sandbox.replace_card(&stripe_id, Card::Paid).unwrap();
    let form = [("customer", stripe_id.as_str()), ("items[0][price]", "price_pro_monthly")];
    assert_eq!(shop.at_stripe("subscriptions", &form).await["status"], "active");
    assert_eq!(summary(&linking(&shop).await), (vec!["linked_by_metadata"], vec![]));
    assert_eq!(plan_of(&shop, "ada@example.com").await, ["professional"]);
    let plans: Vec<_> = shop.orders(&again).await.iter().map(|o| o["plan"].clone()).collect();
    assert_eq!(plans.len(), 2, "what they bought before is theirs, too: {plans:?}");
}
