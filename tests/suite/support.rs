//! What support sees of a customer, by an admin key.

use licentia::domain::operator::admin_key::Scope;
use serde_json::{Value, json};

use crate::harness::database::execute;
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
