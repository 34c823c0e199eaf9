//! `licentia reconcile`, as an operator runs it.

use licentia_sandbox::{Card, Interval, NewPrice, Options, Sandbox};
use serde_json::{Value, json};

use crate::harness::database::count;
use crate::harness::process::{Done, Server, licentia, run};
use crate::harness::shop::session_of;
use crate::harness::{PASSWORD, TestDatabase};

#[tokio::test]
async fn it_tells_what_differs_repairs_it_and_then_finds_nothing() {
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
        // No endpoint is registered: nobody ever reports anything.
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
        // In a thread of its own: the double answers from this one.
        tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
    };
    let looked = reconcile(&["--dry-run", "--json"]).await;
    assert_eq!(looked.code, 1, "{looked:?}");
    let report: Value = serde_json::from_str(&looked.out).unwrap();
    let changes = report["drifted"][0]["changes"].to_string();
    assert_eq!(report["drifted"][0]["customer_id"], answer.text("/customer/customer_id"));
    assert!(changes.contains("subscription: none -> active (professional)"), "{changes}");
    assert!(changes.contains("license: professional until"), "{changes}");

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

    // What cannot be compared is left, and said.
    sandbox.stop().await;
    let failed = reconcile(&[]).await;
    assert_eq!(failed.code, 1);
    assert!(failed.err.contains("Stripe cannot be reached"), "{failed:?}");
}

#[test]
fn without_an_account_it_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}/licentia.db", directory.path().display());
    let mut command = licentia(directory.path());
    let done = run(command.arg("reconcile").env("LICENTIA_DATABASE_URL", database));
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("there is no database"), "{done:?}");
}
