//! `licentia reconcile`, as an operator runs it. The daily reconciliation is in `daily`.

use licentia_sandbox::{
    ApiFault, Card, DeliveryFault, Interval, NewPrice, Options, Sandbox, Times,
};
use serde_json::{Value, json};

use crate::harness::database::count;
use crate::harness::process::{Done, Server, licentia, run};
use crate::harness::shop::session_of;
use crate::harness::vendor::Vendor;
use crate::harness::{PASSWORD, TestDatabase};

#[tokio::test]
async fn reconcile_reports_differences_repairs_them_and_then_finds_none() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let new = NewPrice {
        id: "price_pro_monthly",
        product: "Professional",
        amount: 4900,
        currency: "usd",
        interval: Interval::Month,
    };
    sandbox.add_price(&new);
    let (key, api) = (sandbox.secret_key().to_owned(), sandbox.url().to_owned());
    let settings = [
        ("LICENTIA_DATABASE_URL", database.url.as_str()),
        ("LICENTIA_STRIPE__SECRET_KEY", key.as_str()),
        ("LICENTIA_STRIPE__API_URL", api.as_str()),
        // No endpoint is registered, so no event ever arrives.
        ("LICENTIA_STRIPE__WEBHOOK_SECRET", "whsec_1"),
        ("LICENTIA_RETURN_ORIGINS", "https://app.example"),
    ];
    let server = Server::start(directory.path(), &database, &settings);
    let account = json!({ "email": "ada@example.com", "password": PASSWORD });
    let answer = server.client.post("/api/customers/signup", &account).await;
    let me = server.client.with_token(answer.text("/access_token"));
    let back = "https://app.example/";
    let wanted = json!({ "plan": "professional", "success_url": back, "cancel_url": back });
    let opened = me.post("/api/subscriptions/checkout", &wanted).await;
    sandbox.pay(&session_of(opened.text("/checkout_url")), Card::Paid).unwrap();

    let reconcile = async |more: &[&str]| -> Done {
        let mut command = licentia(directory.path());
        command.arg("reconcile").args(more).envs(settings);
        // In a thread of its own, because the double responds in this one.
        tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
    };
    let dry_run = reconcile(&["--dry-run", "--json"]).await;
    assert_eq!(dry_run.code, 1, "{dry_run:?}");
    let report: Value = serde_json::from_str(&dry_run.out).unwrap();
    let changes = report["drifted"][0]["changes"].to_string();
    assert_eq!(report["drifted"][0]["customer_id"], answer.text("/customer/customer_id"));
    assert!(changes.contains("subscription: none -> active (professional)"), "{changes}");
    assert!(changes.contains("license: professional until"), "{changes}");
    assert!(changes.contains(": pending -> succeeded"), "the order of the checkout: {changes}");

    // Two operators at once: one of them repairs it.
    let both: [Done; 2] = tokio::join!(reconcile(&[]), reconcile(&[])).into();
    assert!(both.iter().all(|done| done.code == 0), "{both:?}");
    let repaired = |many: usize| {
        let line = format!("1 customers compared with Stripe: {many} repaired, 0 failed");
        both.iter().filter(|done| done.out.contains(&line)).count()
    };
    assert_eq!((repaired(1), repaired(0)), (1, 1), "{both:?}");
    let licenses = me.get("/api/licenses").await.body;
    assert_eq!(licenses["licenses"].as_array().unwrap().len(), 2, "with the trial: {licenses}");
    let store = database.open().await;
    assert_eq!(count(&store, "outbox").await, 2, "with the trial's");
    store.close().await;
    assert_eq!(me.get("/api/licenses/current").await.text("/plan"), "professional");
    let again = reconcile(&[]).await;
    assert!(again.out.contains("1 customers compared with Stripe: 0 repaired, 0 failed"));

    // A customer who cannot be reconciled is left, and reported.
    sandbox.stop().await;
    let failed = reconcile(&[]).await;
    assert_eq!(failed.code, 1);
    assert!(failed.err.contains("Stripe cannot be reached"), "{failed:?}");
}

#[tokio::test]
async fn a_customer_who_pays_for_an_unknown_price_or_twice_is_reported_and_left() {
    let vendor = Vendor::new().await;
    vendor.add_price("price_of_long_ago");
    let (ada, bob) =
        (vendor.buyer("ada@example.com").await, vendor.customer("bob@example.com").await);
    vendor.subscribe(&bob, "price_of_long_ago").await;
    let csv = format!("email,stripe_customer_id\nada@example.com,{ada}\nbob@example.com,{bob}\n");
    vendor.import(&csv).await;
    let unknown = "the customer has a live subscription to price_of_long_ago, which no plan has; add it \
                   to the plan's `prices` or `former_prices`, or to `other_prices` if it is for no plan";
    for arguments in [&[][..], &["--dry-run"]] {
        let done = vendor.reconcile(arguments).await;
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.out.contains(&format!(": {unknown}\n")), "{done:?}");
        assert!(done.out.contains("0 failed, 1 need your action;"), "{done:?}");
    }

    // After a grant, or with another plan besides it, no action is needed. It is reported all the
    // same.
    let issue =
        ["license", "issue", "--email", "bob@example.com", "--plan", "starter", "--forever"];
    assert_eq!(vendor.run(&issue).await.code, 0);
    vendor.subscribe(&ada, "price_of_long_ago").await;
    let beside = vendor.reconcile(&[]).await;
    assert_eq!((beside.code, beside.out.matches(unknown).count()), (0, 2), "{beside:?}");
    assert!(beside.out.contains("0 failed, 0 need your action;"), "{beside:?}");

    vendor.subscribe(&ada, "price_pro_monthly").await;
    let twice = vendor.reconcile(&["--json"]).await;
    assert_eq!(twice.code, 1, "{twice:?}");
    let report: Value = serde_json::from_str(&twice.out).unwrap();
    let alerts = report["alerts"].as_array().unwrap().iter();
    let left: Vec<_> = alerts.filter(|alerted| alerted["needs_action"] == true).collect();
    let [left] = left.as_slice() else { panic!("{report}") };
    assert!(left["customer_id"].as_str().unwrap().starts_with("cust_"), "{report}");
    assert!(
        left["alerts"][1]
            .as_str()
            .unwrap()
            .starts_with("the customer has several live subscriptions")
    );
}

#[tokio::test]
async fn missed_events_and_a_failed_list_of_events_are_reported() {
    let vendor = Vendor::new().await;
    let ada = vendor.buyer("ada@example.com").await;
    assert_eq!(vendor.backfill(&["--create"]).await.code, 0);
    let faults = vendor.sandbox.faults();
    faults.api_call(ApiFault::Refused, "GET /v1/events", Times::Always);
    let refused = vendor.reconcile(&[]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("missed events cannot be listed"), "{refused:?}");
    assert!(!refused.out.contains("were missed"), "{refused:?}");
    faults.clear();
    assert_eq!(vendor.reconcile(&[]).await.code, 0);

    // All customers are in line with Stripe, but an event was missed.
    vendor.sandbox.add_webhook_endpoint("http://127.0.0.1:1/", &["*"]);
    faults.delivery(DeliveryFault::Drop, Times::Always);
    vendor.at_stripe(&format!("customers/{ada}"), &[("metadata[a]", "b")]).await;
    vendor.sandbox.settled().await;
    let dry_run = vendor.reconcile(&["--dry-run"]).await;
    assert_eq!(dry_run.code, 1, "{dry_run:?}");
    assert!(dry_run.out.contains(" 0 would be repaired, 0 failed"), "{dry_run:?}");
    assert!(dry_run.out.contains("; 1 events were missed"), "{dry_run:?}");
    assert_eq!(vendor.reconcile(&[]).await.code, 0);
    assert_eq!(vendor.reconcile(&["--dry-run"]).await.code, 0);
}

#[tokio::test]
async fn reconcile_names_the_fields_of_a_subscription_that_differ() {
    let vendor = Vendor::new().await;
    let ada = vendor.customer("ada@example.com").await;
    let subscription = vendor.subscribe(&ada, "price_pro_monthly").await;
    assert_eq!(vendor.backfill(&["--create"]).await.code, 0);
    vendor.sandbox.cancel(&subscription, true).unwrap();
    let done = vendor.reconcile(&[]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("subscription: active (professional), scheduled end none -> 20"));
}

#[test]
fn reconcile_without_a_stripe_account_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let done = run(licentia(directory.path()).arg("reconcile"));
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("set LICENTIA_STRIPE__SECRET_KEY"), "{done:?}");
}
