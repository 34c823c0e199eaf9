//! Unusable events: thin ones, and types that are not about sales.

use licentia::domain::operator::admin_key::Scope;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::database::{number, texts};
use crate::harness::process::{licentia, run};
use crate::harness::shop::Shop;

/// Returns the event of this type among the unusable ones.
async fn ignored(shop: &Shop, kind: &str) -> Value {
    let admin = shop.app.admin(Scope::Support).await;
    let listed = admin.get("/api/admin/events").await.body;
    assert_eq!(listed["events"], json!([]));
    let ignored = listed["ignored"].as_array().unwrap();
    let mut found = ignored.iter().filter(|event| event["kind"] == kind);
    let event = found.next().unwrap_or_else(|| panic!("no {kind} in {ignored:?}")).clone();
    assert!(found.next().is_none(), "one of each type");
    let path = format!("/api/admin/events/{}", event["event_id"].as_str().unwrap());
    assert_eq!(admin.get(&path).await.body, event);
    event
}

#[tokio::test]
async fn stripe_32_a_thin_event_is_shown_as_such_and_never_retried() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let stripe_id = shop.stripe_customer_of(&session);
    let kind = "v1.customer.updated";
    let before = shop.app.count("inbox").await;
    let first = shop.sandbox.send_thin_event(&shop.endpoint, kind, &stripe_id).unwrap();
    shop.settled().await;
    for _ in 0..2 {
        shop.sandbox.send_thin_event(&shop.endpoint, kind, &stripe_id).unwrap();
        shop.settled().await;
    }
    assert_eq!(shop.sandbox.undelivered(), (0, 0), "each was answered by 200");
    assert_eq!(shop.app.count("inbox").await, before, "nothing is to be worked on");
    let event = ignored(&shop, kind).await;
    assert_eq!((&event["event_id"], &event["state"]), (&json!(first), &json!("ignored")));
    assert!(event["happened_at"].as_str().unwrap().starts_with("2026-11-20T"), "{event}");
    let next = event["next"].as_str().unwrap();
    assert!(next.contains("a thin event"), "{next}");
    assert!(next.contains("`licentia stripe setup`"), "{next}");
    assert!(next.contains("payload style \"snapshot\""), "{next}");
    shop.must_be_paid(&ada).await;

    let list = |arguments: &[&str]| {
        let mut command = licentia(shop.app.directory.path());
        let url = shop.app.config.database_url.expose_secret();
        command.args(["events", "list"]).args(arguments).env("LICENTIA_DATABASE_URL", url);
        let done = run(&mut command);
        assert_eq!(done.code, 0, "{done:?}");
        done.out
    };
    let told = list(&[]);
    assert!(told.contains(&format!("note: {first}  {kind}  ignored: a thin event")), "{told}");
    let told: Value = serde_json::from_str(&list(&["--json"])).unwrap();
    let told = told["ignored"].as_array().unwrap();
    assert!(told.iter().any(|event| event["event_id"] == first.as_str()), "{told:?}");
}

#[tokio::test]
async fn stripe_32_an_unknown_type_is_shown_as_such() {
    let shop = Shop::open().await;
    let ada = shop.sandbox.add_customer("ada@example.com", &[]);
    shop.sandbox.announce(&ada, "customer.renamed").unwrap();
    shop.sandbox.announce(&ada, "customer.renamed").unwrap();
    shop.settled().await;
    let event = ignored(&shop, "customer.renamed").await;
    assert_eq!(event["state"], "ignored");
    let next = event["next"].as_str().unwrap();
    assert!(next.contains("events of this type are not used"), "{next}");
    assert!(next.contains("`licentia stripe setup`"), "{next}");
    let kept = "SELECT COUNT(*) FROM inbox WHERE body <> ''";
    assert_eq!(number(&shop.app.app.store, kept).await, 0, "what it says is not kept");
    // There is nothing to retry.
    let admin = shop.app.admin(Scope::Support).await;
    let path = format!("/api/admin/events/{}/replay", event["event_id"].as_str().unwrap());
    assert_eq!(admin.send(reqwest::Method::POST, &path, None).await.status, 404);
    // An event that does not arrive any more is deleted when another one arrives.
    shop.sandbox.advance_days(36);
    shop.sandbox.announce(&ada, "customer.moved").unwrap();
    shop.settled().await;
    let kinds = "SELECT kind FROM ignored_events";
    assert_eq!(texts(&shop.app.app.store, kinds).await, ["customer.moved"]);
}

#[tokio::test]
async fn stripe_32_an_unusable_event_is_accepted_only_if_it_is_signed() {
    let shop = Shop::open().await;
    let body = json!({ "id": "evt_1", "object": "v2.core.event", "type": "v1.customer.updated",
        "created": "2026-11-20T15:00:00Z", "livemode": false });
    let answer = shop.app.client.deliver(&body.to_string(), Some("t=1,v1=00")).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(shop.app.count("inbox").await + shop.app.count("ignored_events").await, 0);
}
