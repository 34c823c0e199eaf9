//! What support sees of a customer, by an admin key.

use licentia::domain::operator::admin_key::Scope;
use serde_json::{Value, json};

use crate::harness::database::execute;
use crate::harness::shop::Shop;
use crate::harness::{BEHIND_A_PROXY, TestApp};

#[tokio::test]
async fn the_mails_of_a_customer_are_listed_page_by_page() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let signed_up = app.sign_up("ada@example.com").await;
    app.sign_up("bob@example.com").await;
    let me = app.client.with_token(signed_up.text("/access_token"));
    for _ in 0..3 {
        // In one second, so that the id decides about the order.
        me.post("/api/customers/me/verification", &json!({})).await;
    }
    app.send_due().await;
    execute(&app.app.store, "UPDATE outbox SET created_at = created_at + 60 WHERE kind = 'trial'")
        .await
        .unwrap();
    let id = signed_up.text("/customer/customer_id");
    let admin = app.admin(Scope::Read).await;
    let path = format!("/api/admin/customers/{id}/mails");

    let all = admin.get(&path).await;
    assert_eq!((all.status, &all.body["next_after"]), (200, &Value::Null), "{}", all.text);
    let all = all.body["mails"].as_array().unwrap().clone();
    let kinds: Vec<_> = all.iter().map(|mail| mail["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["trial", "verify", "verify", "verify"]);
    assert_eq!(all[0]["license_id"], signed_up.body["license"]["license_id"]);
    assert!(all.iter().all(|mail| mail["sent_at"].is_string() && mail["attempts"] == 1));

    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("{path}?limit=2{after}")).await;
        pages.extend(page.body["mails"].as_array().unwrap().clone());
        let Some(next) = page.body["next_after"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(pages, all);

    for wrong in ["limit=0", "limit=101", "limit=x", "after=x", "after="] {
        let answer = admin.get(&format!("{path}?{wrong}")).await;
        assert_eq!(answer.problem(), (400, "invalid_request"), "{wrong}");
    }
    for unknown in ["cust_0123456789abcdef0123456789abcdef", "cust_1", "a%00b"] {
        let answer = admin.get(&format!("/api/admin/customers/{unknown}/mails")).await;
        assert_eq!(answer.problem(), (404, "not_found"), "{unknown}");
    }
}

#[tokio::test]
async fn a_customer_is_shown_with_licenses_orders_events_and_timeline() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    shop.must_be_paid(&ada).await;
    let admin = shop.app.admin(Scope::Read).await;
    let path = format!("/api/admin/customers/{}", ada.customer_id);

    let record = admin.get(&path).await.body;
    assert_eq!(record["customer"]["email"], "ada@example.com");
    assert_eq!(record["customer"]["email_verified"], false);
    assert!(record["stripe_customer_id"].as_str().unwrap().starts_with("cus_"), "{record}");
    assert!(record["stripe_synced_at"].is_string(), "{record}");
    assert_eq!(record["subscription"]["status"], "active");
    assert_eq!(record["license"]["plan"], "professional");
    assert_eq!(record["license"]["status"], "active");

    let licenses = admin.get(&format!("{path}/licenses")).await;
    let sources: Vec<_> = licenses.body["licenses"].as_array().unwrap().clone();
    let sources: Vec<_> = sources.iter().map(|license| license["source"].clone()).collect();
    assert_eq!(sources, ["subscription", "trial"]);
    assert!(!licenses.text.contains(&ada.trial), "the token lets its holder in");
    let orders = admin.get(&format!("{path}/orders")).await.body;
    assert!(orders["orders"][0]["stripe_invoice_id"].as_str().unwrap().starts_with("in_"));
    let events = admin.get(&format!("{path}/events")).await.body;
    assert!(events["events"].as_array().unwrap().iter().all(|event| event["state"] == "done"));

    let timeline = admin.get(&format!("{path}/timeline?limit=100")).await.body;
    let entries = timeline["entries"].as_array().unwrap();
    for (by, begins) in [
        ("customer", "The customer signed up"),
        ("system", "The license lic_"),
        ("system", "The subscription for `professional` is active"),
        ("system", "The mail `"),
        ("stripe", "Stripe's event `"),
    ] {
        let is_told = |entry: &&Value| {
            entry["by"] == by && entry["text"].as_str().unwrap().starts_with(begins)
        };
        assert!(entries.iter().any(|entry| is_told(&entry)), "{begins}: {timeline}");
    }
    // The reads above are told too.
    assert!(timeline.to_string().contains("An admin key called `getCustomer`."));
}

#[tokio::test]
async fn every_list_of_a_customer_is_read_page_by_page() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    shop.must_be_paid(&ada).await;
    let admin = shop.app.admin(Scope::Read).await;
    for (list, field, id) in [
        ("licenses", "licenses", "license_id"),
        ("orders", "orders", "order_id"),
        ("events", "events", "event_id"),
        ("mails", "mails", "mail_id"),
        ("timeline", "entries", "id"),
    ] {
        let path = format!("/api/admin/customers/{}/{list}", ada.customer_id);
        let ids = |page: &Value| -> Vec<String> {
            let entries = page[field].as_array().unwrap().iter();
            entries.map(|entry| entry[id].as_str().unwrap().to_owned()).collect()
        };
        let all = ids(&admin.get(&format!("{path}?limit=100")).await.body);
        let mut page = admin.get(&format!("{path}?limit=1")).await.body;
        let mut pages = ids(&page);
        while let Some(next) = page["next_after"].as_str() {
            page = admin.get(&format!("{path}?limit=1&after={next}")).await.body;
            pages.extend(ids(&page));
        }
        // Reading the timeline writes into it.
        pages.retain(|id| all.contains(id));
        assert_eq!(pages, all, "{list}");
    }
}
