//! The view of support on a customer, by an admin key, and the nine requests that customers have,
//! each answered in at most two calls.

use licentia::domain::operator::admin_key::Scope;
use licentia_sandbox::{Card, DeliveryFault, Times};
use reqwest::{Method, Url};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::database::execute;
use crate::harness::process::{licentia, run};
use crate::harness::shop::Shop;
use crate::harness::{Answer, BEHIND_A_PROXY, Client, PASSWORD, TestApp};

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

/// Returns a value with the type of each text, number and boolean in its place.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), shape(value))).collect()
        }
        Value::Array(entries) => entries.iter().map(shape).collect(),
        Value::Null => Value::Null,
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
    }
}

#[tokio::test]
async fn the_command_line_prints_the_fields_of_the_api() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    shop.must_be_paid(&ada).await;
    let change = json!({ "name": "Ada", "company_name": "Engines", "language": "de" });
    assert_eq!(ada.client.patch("/api/customers/me", &change).await.status, 200);
    shop.settled().await;
    let admin = shop.app.admin(Scope::Admin).await;
    let id = ada.customer_id.as_str();
    let printed = |arguments: &[&str]| {
        let url = shop.app.config.database_url.expose_secret();
        let done = run(licentia(shop.app.directory.path())
            .args(arguments)
            .arg("--json")
            .env("LICENTIA_DATABASE_URL", url));
        serde_json::from_str::<Value>(&done.out).expect(&done.err)
    };
    for (command, path) in [
        ("show", ""),
        ("why", "/why"),
        ("licenses", "/licenses?limit=50"),
        ("orders", "/orders?limit=50"),
        ("mails", "/mails?limit=50"),
        ("events", "/events?limit=50"),
    ] {
        let mut own = printed(&["customer", command, id]);
        let theirs = admin.get(&format!("/api/admin/customers/{id}{path}")).await;
        assert_eq!(theirs.status, 200, "{}", theirs.text);
        // In the API, the path has the customer of a license.
        for place in ["/license", "/licenses/0", "/licenses/1"] {
            if let Some(license) = own.pointer_mut(place) {
                assert_eq!(license.as_object_mut().unwrap().remove("customer_id").unwrap(), id);
            }
        }
        assert_eq!(shape(&own), shape(&theirs.body), "{command}");
    }
    let found = admin.get("/api/admin/customers?query=ada%40exam").await;
    assert_eq!(shape(&printed(&["customer", "find", "ada@exam"])), shape(&found.body));
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
    let subscription = &record["subscription"];
    assert_eq!((&subscription["status"], &subscription["quantity"]), (&json!("active"), &json!(1)));
    assert_eq!((&subscription["interval"], &subscription["addons"]), (&json!("month"), &json!([])));
    assert!(subscription["stripe_subscription_id"].as_str().unwrap().starts_with("sub_"));
    assert_eq!(record["license"]["plan"], "professional");
    assert_eq!(record["license"]["status"], "active");

    let licenses = admin.get(&format!("{path}/licenses")).await;
    let sources: Vec<_> = licenses.body["licenses"].as_array().unwrap().clone();
    let sources: Vec<_> = sources.iter().map(|license| license["source"].clone()).collect();
    assert_eq!(sources, ["subscription", "trial"]);
    assert!(!licenses.text.contains(&ada.trial), "the token lets its holder in");
    let order = &admin.get(&format!("{path}/orders")).await.body["orders"][0];
    assert!(order["stripe_invoice_id"].as_str().unwrap().starts_with("in_"));
    assert_eq!((&order["interval"], &order["quantity"]), (&json!("month"), &json!(1)), "{order}");
    assert_eq!((&order["tax"], &order["refunded_amount"]), (&json!(0), &json!(0)), "{order}");
    assert!(order.get("invoice_url").is_some(), "{order}");
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

/// Finds customers. One call.
async fn find(admin: &Client, query: &str) -> Vec<Value> {
    let base = "http://x/api/admin/customers";
    let url = Url::parse_with_params(base, [("query", query)]).unwrap();
    let answer = admin.get(&format!("{}?{}", url.path(), url.query().unwrap())).await;
    answer.body["customers"].as_array().unwrap().clone()
}

/// Calls an operation about the customer that a query finds. Two calls.
async fn about(admin: &Client, query: &str, path: &str, body: Option<&Value>) -> Answer {
    let found = find(admin, query).await;
    let [found] = found.as_slice() else { panic!("{query} finds {found:?}") };
    let path = path.replace("CUSTOMER", found["customer_id"].as_str().unwrap());
    let path = path.replace("LICENSE", found["license_id"].as_str().unwrap_or("none"));
    admin.send(Method::POST, &path, body).await
}

const OF: &str = "/api/admin/customers/CUSTOMER";

#[tokio::test]
async fn request_1_i_paid_and_my_app_says_trial_even_if_every_webhook_was_lost() {
    let shop = Shop::open().await;
    shop.sandbox.faults().delivery(DeliveryFault::Drop, Times::Always);
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.sandbox.settled().await;
    let admin = shop.app.admin(Scope::Support).await;
    let synced = about(&admin, "ada@example.com", &format!("{OF}/sync"), None).await;
    assert_eq!(admin.calls(), 2);
    let changes = synced.body["changes"].to_string();
    assert!(changes.contains("license: professional until"), "{changes}");
    shop.must_be_paid(&ada).await;
    let why = admin.get(&format!("/api/admin/customers/{}/why", ada.customer_id)).await;
    let reasons = why.body["reasons"].as_array().unwrap();
    let about: Vec<_> = reasons.iter().map(|reason| reason["about"].as_str().unwrap()).collect();
    assert_eq!(
        about,
        ["license", "action", "subscription", "payment", "event", "policy"],
        "{}",
        why.text
    );
    assert!(why.text.contains("The payment of 4900 usd"), "{}", why.text);
    assert!(why.text.contains("a sync found the payment"), "{}", why.text);
    assert!(reasons.iter().all(|reason| reason["at"].is_string()), "{}", why.text);
}

#[tokio::test]
async fn request_2_i_changed_my_address_and_cannot_log_in() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Support).await;
    let found = find(&admin, "ada@example.com").await;
    let path = format!("/api/admin/customers/{}", found[0]["customer_id"].as_str().unwrap());
    let change = json!({ "email": "king@example.com", "email_verified": true });
    assert_eq!(admin.patch(&path, &change).await.status, 200);
    assert_eq!(admin.calls(), 2);
    let login = json!({ "email": "king@example.com", "password": PASSWORD });
    let logged_in = app.client.post("/api/customers/login", &login).await;
    assert_eq!(logged_in.body["customer"]["customer_id"], ada.body["customer"]["customer_id"]);
}

#[tokio::test]
async fn request_3_i_forgot_my_password() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    app.take_mails("ada@example.com").await;
    let admin = app.admin(Scope::Support).await;
    let asked = about(&admin, "ada@exam", &format!("{OF}/password-reset"), None).await;
    assert_eq!((asked.status, admin.calls()), (202, 2), "{}", asked.text);
    let token = app.take_mail("ada@example.com").await.token("reset");
    let reset = json!({ "token": token, "password": "another good Password 7" });
    assert_eq!(app.client.post("/api/customers/password/reset", &reset).await.status, 200);
}

#[tokio::test]
async fn request_4_please_give_me_two_more_weeks() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buyer("bob@example.com").await;
    shop.buy(&ada, "professional").await;
    for (email, until) in [("ada", "2027-01-03"), ("bob", "2026-12-18")] {
        let admin = shop.app.admin(Scope::Support).await;
        let body = json!({ "days": 14, "note": "asked for two more weeks" });
        let path = format!("{OF}/licenses/extend");
        let answer = about(&admin, &format!("{email}@example.com"), &path, Some(&body)).await;
        assert_eq!(answer.text("/expires_at"), format!("{until}T15:00:00+00:00"), "{email}");
        assert_eq!(admin.calls(), 2);
    }
}

#[tokio::test]
async fn request_5_refund_me_and_request_6_i_bought_twice() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let stripe_id = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&stripe_id, Card::Paid).unwrap();
    let form = [("customer", stripe_id.as_str()), ("items[0][price]", "price_starter_monthly")];
    shop.at_stripe("subscriptions", &form).await;
    shop.settled().await;
    let admin = shop.app.admin(Scope::Read).await;
    let found = find(&admin, "ada@example.com").await;
    let id = found[0]["customer_id"].as_str().unwrap();
    let orders = admin.get(&format!("/api/admin/customers/{id}/orders")).await;
    assert_eq!(admin.calls(), 2);
    let orders = orders.body["orders"].as_array().unwrap();
    let mut amounts: Vec<_> =
        orders.iter().map(|order| order["amount"].as_i64().unwrap()).collect();
    amounts.sort_unstable();
    assert_eq!(amounts, [1900, 4900], "{orders:?}");
    for order in orders {
        assert_eq!(order["status"], "succeeded");
        let payment = order["stripe_payment_intent_id"].as_str().unwrap();
        let url = format!("https://dashboard.stripe.com/test/payments/{payment}");
        assert_eq!(order["stripe_url"], url);
    }
}

#[tokio::test]
async fn request_7_which_of_these_licenses_is_right() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let granted = app.grant(ada.text("/customer/customer_id"), "professional").await;
    let trial = ada.text("/license/license_id");
    for query in [ada.text("/license/token"), trial, granted.token.expose()] {
        let admin = app.admin(Scope::Read).await;
        let found = find(&admin, query).await;
        assert_eq!(found[0]["license_id"], granted.license_id.as_str(), "the current one");
        let id = found[0]["customer_id"].as_str().unwrap();
        let listed = admin.get(&format!("/api/admin/customers/{id}/licenses")).await;
        assert_eq!(admin.calls(), 2);
        let status = |id: &str| {
            let mut licenses = listed.body["licenses"].as_array().unwrap().iter();
            licenses.find(|one| one["license_id"] == id).unwrap()["status"].clone()
        };
        assert_eq!(status(trial), "superseded");
        assert_eq!(status(granted.license_id.as_str()), "active");
    }
}

#[tokio::test]
async fn request_8_i_lost_my_license() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    app.take_mails("ada@example.com").await;
    let admin = app.admin(Scope::Support).await;
    let path = "/api/admin/licenses/LICENSE/resend";
    let sent = about(&admin, "ada@example.com", path, None).await;
    assert_eq!((sent.status, admin.calls()), (200, 2), "{}", sent.text);
    let mail = app.take_mail("ada@example.com").await;
    assert!(mail.text.contains(ada.text("/license/token")), "{}", mail.text);
}

#[tokio::test]
async fn request_9_is_my_companys_account_this_one() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let me = app.client.with_token(ada.text("/access_token"));
    let names = json!({ "name": "Ada King", "company_name": "Analytical Engines, Inc." });
    me.patch("/api/customers/me", &names).await;
    let admin = app.admin(Scope::Read).await;
    let found = find(&admin, "analytical engines").await;
    let id = found[0]["customer_id"].as_str().unwrap();
    let record = admin.get(&format!("/api/admin/customers/{id}")).await;
    assert_eq!(admin.calls(), 2);
    assert_eq!(record.text("/customer/company_name"), "Analytical Engines, Inc.");
    assert_eq!(record.text("/license/plan"), "trial");
}
