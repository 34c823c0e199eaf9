//! Customers, found by any key, by an admin key or on the command line.

use licentia::domain::operator::admin_key::Scope;
use reqwest::Url;
use serde_json::{Value, json};

use crate::harness::database::{
    CUSTOMERS, FIRST_INSERTED, execute, insert_customers, number, texts,
};
use crate::harness::shop::Shop;
use crate::harness::{BEHIND_A_PROXY, Client, TestApp};

/// The terms of the words `engines` and `gmbh`: their text in hexadecimal.
const ENGINES: &str = "656e67696e6573";
const GMBH: &str = "676d6268";

/// The number of customers of each common word: more than one page examines.
const OF_EACH_WORD: i64 = 12_000;

async fn find(admin: &Client, query: &str) -> Vec<String> {
    let base = "http://x/api/admin/customers";
    let url = Url::parse_with_params(base, [("query", query)]).unwrap();
    let answer = admin.get(&format!("{}?{}", url.path(), url.query().unwrap())).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let found = answer.body["customers"].as_array().unwrap();
    found.iter().map(|customer| customer["email"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_key_finds_the_customer() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buyer("bob@example.com").await;
    shop.buy(&ada, "professional").await;
    shop.must_be_paid(&ada).await;
    let change = json!({ "name": "Ada Müller-King", "company_name": "Analytical Engines, Inc." });
    assert_eq!(ada.client.patch("/api/customers/me", &change).await.status, 200);
    let admin = shop.app.admin(Scope::Read).await;
    let store = &shop.app.app.store;
    let ids = format!(
        "SELECT order_id FROM orders WHERE customer_id = '{0}'
         UNION SELECT stripe_invoice_id FROM orders WHERE customer_id = '{0}'
         UNION SELECT stripe_payment_intent_id FROM orders WHERE customer_id = '{0}'
         UNION SELECT stripe_checkout_session_id FROM orders WHERE customer_id = '{0}'
         UNION SELECT stripe_subscription_id FROM subscriptions WHERE customer_id = '{0}'
         UNION SELECT stripe_customer_id FROM customers WHERE customer_id = '{0}'
         UNION SELECT license_id FROM licenses WHERE customer_id = '{0}'",
        ada.customer_id
    );
    let mut queries = texts(store, &ids).await;
    assert!(queries.len() >= 8, "{queries:?}");
    queries.extend([ada.customer_id.clone(), ada.trial.clone()]);
    for words in [
        "ada@example.com",
        "ADA@ex",
        "ada k",
        "müller",
        "king",
        "MÜLLER-K",
        "engines inc",
        "(Analytical)",
    ] {
        queries.push(words.to_owned());
    }
    for query in queries {
        assert_eq!(find(&admin, &query).await, ["ada@example.com"], "{query}");
    }
    assert_eq!(find(&admin, "").await, ["ada@example.com", "bob@example.com"]);
    let mut forged = ada.trial.clone();
    forged.truncate(forged.len() - 4);
    for nothing in ["ada@example.org", "ada bob", "cus_none", "xda", "%", "x\0", &forged] {
        assert!(find(&admin, nothing).await.is_empty(), "{nothing:?}");
    }
}

#[tokio::test]
async fn customers_are_found_page_by_page_and_each_once() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    for place in 0..5 {
        let signed_up = app.sign_up(&format!("ada{place}@example.com")).await;
        let me = app.client.with_token(signed_up.text("/access_token"));
        // Two terms that begin with the query.
        me.patch("/api/customers/me", &json!({ "name": "Ada Adams" })).await;
    }
    let admin = app.admin(Scope::Read).await;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/api/admin/customers?query=ada&limit=2{after}")).await;
        let customers = page.body["customers"].as_array().unwrap().clone();
        found.extend(customers.into_iter().map(|each| each["email"].clone()));
        let Some(next) = page.body["next_after"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found.len(), 5, "{found:?}");
    found.sort_by_key(Value::to_string);
    found.dedup();
    assert_eq!(found.len(), 5);
    let other_list = licentia::domain::page::Cursor {
        at: licentia::domain::time::Timestamp::saturating(1),
        id: "mail_1".to_owned(),
    };
    for wrong in [&other_list.to_string(), "x"] {
        let answer = admin.get(&format!("/api/admin/customers?after={wrong}")).await;
        assert_eq!(answer.problem(), (400, "invalid_request"));
    }
}

#[tokio::test]
async fn customers_who_are_older_than_the_search_are_found_after_the_start() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let store = &app.app.store;
    let older = "DELETE FROM customer_terms; UPDATE customers SET terms_at = NULL";
    execute(store, older).await.unwrap();
    let admin = app.admin(Scope::Read).await;
    assert!(find(&admin, "ada").await.is_empty());
    licentia::flows::operator::customers::fill_search(&app.app).await.unwrap();
    assert_eq!(find(&admin, "ada").await, ["ada@example.com"]);
    assert_eq!(number(store, "SELECT COUNT(*) FROM customers WHERE terms_at IS NULL").await, 0);
}

#[tokio::test]
async fn a_common_word_does_not_hide_a_rare_one() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    for (place, name) in ["Ada Abel", "Eve Abel", "Ada Zuse"].into_iter().enumerate() {
        let signed_up = app.sign_up(&format!("mail{place}@example.com")).await;
        let me = app.client.with_token(signed_up.text("/access_token"));
        let change = json!({ "name": name, "company_name": "Engines GmbH" });
        assert_eq!(me.patch("/api/customers/me", &change).await.status, 200);
    }
    // No inserted customer has both words.
    let store = &app.app.store;
    insert_customers(store, 2 * OF_EACH_WORD, &CUSTOMERS).await;
    let second_half = FIRST_INSERTED + OF_EACH_WORD;
    let term = format!("CASE WHEN i < {second_half} THEN '{ENGINES}' ELSE '{GMBH}' END, id");
    let terms = [("customer_terms (term, customer_id)", term.as_str())];
    insert_customers(store, 2 * OF_EACH_WORD, &terms).await;
    let admin = app.admin(Scope::Read).await;
    assert_eq!(find(&admin, "engines gmbh zuse").await, ["mail2@example.com"]);
    assert_eq!(find(&admin, "gmbh ada abel").await, ["mail0@example.com"]);
    assert_eq!(find(&admin, "gmbh ada xyz").await, [""; 0]);
    // Each word is common: the first page has examined enough before it finds anybody.
    let path = "/api/admin/customers?query=gmbh+engines";
    let first = admin.get(path).await.body;
    assert_eq!(first["customers"], json!([]));
    let second = format!("{path}&after={}", first["next_after"].as_str().unwrap());
    let second = admin.get(&second).await.body;
    let found = second["customers"].as_array().unwrap().len();
    assert_eq!((found, &second["next_after"]), (3, &Value::Null));
    // The place in the list of a word that the query does not have.
    let other = format!("{path}&after={}", first["next_after"].as_str().unwrap());
    let other = admin.get(&other.replace("engines", "zuse")).await;
    assert_eq!(other.problem(), (400, "invalid_request"));
}
