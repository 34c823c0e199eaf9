//! `licentia stripe setup`: the webhook endpoint, its secret, and problems with the prices.

use licentia_sandbox::{ApiFault, Interval, NewPrice, Options, Sandbox, Times};
use serde_json::{Value, json};

use crate::harness::process::{Done, licentia, run};

/// The event types about sales. This is a second list, so that none is dropped by accident.
const EVENTS: [&str; 33] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "customer.subscription.trial_will_end",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.finalized",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "credit_note.created",
    "credit_note.voided",
    "payment_intent.processing",
    "payment_intent.succeeded",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "customer.updated",
    "customer.deleted",
];

async fn account() -> Sandbox {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    for (id, amount, interval) in [
        ("price_starter_monthly", 1900, Interval::Month),
        ("price_starter_yearly", 19000, Interval::Year),
        ("price_pro_monthly", 4900, Interval::Month),
        ("price_pro_yearly", 49000, Interval::Year),
    ] {
        sandbox.add_price(&NewPrice { id, product: "Acme", amount, currency: "usd", interval });
    }
    sandbox
}

async fn setup(sandbox: &Sandbox, more: &[&str]) -> Done {
    setup_of("", sandbox, more).await
}

/// Runs the setup with a plans file; empty for the built-in plans. It is in a thread of its own,
/// because the double responds in this one.
async fn setup_of(plans: &str, sandbox: &Sandbox, more: &[&str]) -> Done {
    let directory = tempfile::tempdir().unwrap();
    let mut command = licentia(directory.path());
    command
        .args(["stripe", "setup"])
        .args(more)
        .env("LICENTIA_STRIPE__SECRET_KEY", sandbox.secret_key())
        .env("LICENTIA_STRIPE__API_URL", sandbox.url());
    if !plans.is_empty() {
        std::fs::write(directory.path().join("plans.toml"), plans).unwrap();
        command.env("LICENTIA_PLANS_FILE", "plans.toml");
    }
    tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
}

#[tokio::test]
async fn the_endpoint_is_created_once_with_exactly_the_needed_events() {
    let sandbox = account().await;
    let done = setup(&sandbox, &["--url", "http://licenses.acme.example", "--json"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    let told: Value = serde_json::from_str(&done.out).unwrap();
    let id = told["endpoint"].as_str().unwrap();
    let endpoint = sandbox.object(id);
    assert_eq!(endpoint["url"], "http://licenses.acme.example/api/webhooks/stripe");
    assert_eq!(endpoint["enabled_events"], json!(EVENTS.as_slice()));
    assert_eq!(endpoint["api_version"], "2026-09-30.endive");
    assert!(told["secret"].as_str().unwrap().starts_with("whsec_"), "{told}");

    let done = setup(&sandbox, &["--url", "http://licenses.acme.example/", "--json"]).await;
    let again: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&again["endpoint"], &again["created"]), (&told["endpoint"], &json!(false)));
    let done = setup(&sandbox, &["--url", "http://other.acme.example"]).await;
    assert!(done.out.contains("LICENTIA_STRIPE__WEBHOOK_SECRET=whsec_"), "{done:?}");
    assert!(done.out.contains("the prices match those at Stripe"), "{done:?}");
}

#[tokio::test]
async fn prices_that_differ_are_reported() {
    let sandbox = account().await;
    let wrong = json!({ "unit_amount": 5900 });
    sandbox.edit("price_pro_monthly", wrong, "price.updated").unwrap();
    sandbox.edit("price_pro_yearly", json!({ "active": false }), "price.updated").unwrap();
    let done = setup(&sandbox, &[]).await;
    assert_eq!(done.code, 1, "{done:?}");
    for expected in [
        "price price_pro_monthly: at Stripe it is 5900 usd (month), here 4900 usd (month)",
        "price price_pro_yearly: it is archived at Stripe",
    ] {
        assert!(done.err.contains(expected), "{expected}\nis not in\n{}", done.err);
    }
}

#[tokio::test]
async fn what_a_key_cannot_compare_is_noted_and_changes_no_exit_code() {
    let sandbox = account().await;
    sandbox.faults().api_call(ApiFault::Forbidden, "GET /v1/products", Times::Always);
    let url = ["--url", "http://licenses.acme.example"];
    let done = setup(&sandbox, &url).await;
    let note = "whether the products of the prices are archived was not checked";
    assert_eq!((done.code, done.out.matches(&format!("note: {note}")).count()), (0, 1), "{done:?}");
    let done = setup(&sandbox, &[&url[..], &["--json"]].concat()).await;
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, &told["problems"]), (0, &json!([])));
    assert!(told["notes"][0].as_str().unwrap().starts_with(note), "{told}");
}

#[tokio::test]
async fn a_permission_that_the_key_lacks_is_reported() {
    const PLAN: &str = r#"
        product = "acme-app"
        [trial]
        plan = "trial"
        days = 14
        [[plan]]
        id = "trial"
        name = "Trial"
        [[plan]]
        id = "professional"
        name = "Professional"
        prices = [
            { id = "price_pro_monthly", interval = "month", amount = 4900, currency = "usd" },
        ]
    "#;
    const TRIAL: &str = "trial_days = 14\n";
    let (codes, url) = ("[checkout]\npromotion_codes = true\n", "http://licenses.acme.example");
    for (resource, of_plan, checkout, is_needed) in [
        ("credit_notes", "", "", true),
        ("promotion_codes", "", codes, true),
        ("coupons", "", codes, true),
        ("products", "", codes, true),
        ("payment_methods", TRIAL, "", true),
        // Only a call may have a code.
        ("promotion_codes", "", "", false),
        ("coupons", "", "", false),
        ("products", "", "", false),
    ] {
        let sandbox = account().await;
        let call = format!("GET /v1/{resource}");
        sandbox.faults().api_call(ApiFault::Forbidden, &call, Times::Always);
        let plans = format!("{PLAN}{of_plan}\n{checkout}");
        let done = setup_of(&plans, &sandbox, &["--url", url, "--json"]).await;
        let told: Value = serde_json::from_str(&done.out).unwrap();
        let needed = format!("the key cannot read {resource}; add this permission");
        let noted =
            format!("`promotion_code` in a call does not work: the key cannot read {resource}");
        let (listed, text) = if is_needed { ("problems", needed) } else { ("notes", noted) };
        let texts = told[listed].as_array().unwrap();
        assert!(texts.contains(&json!(text)), "{resource} {checkout:?}: {told}");
        assert_eq!(done.code, i32::from(is_needed), "{resource} {checkout:?}: {told}");
    }
    // A key that lacks what nobody uses is fine.
    let sandbox = account().await;
    let call = "GET /v1/payment_methods";
    sandbox.faults().api_call(ApiFault::Forbidden, call, Times::Always);
    let done = setup(&sandbox, &["--url", url, "--json"]).await;
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&told["problems"], &told["notes"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn a_missing_key_or_public_url_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let done = run(licentia(directory.path()).args(["stripe", "setup"]));
    assert_eq!(done.code, 1);
    assert!(done.err.contains("set LICENTIA_STRIPE__SECRET_KEY"), "{done:?}");
    let mut command = licentia(directory.path());
    let done =
        run(command.args(["stripe", "setup"]).env("LICENTIA_STRIPE__SECRET_KEY", "sk_test_1"));
    assert!(done.err.contains("Stripe cannot reach http://127.0.0.1:3100"), "{done:?}");
}
