//! The audit log: every change with its values before and after, every use of an admin key, read
//! over HTTP and on the command line.

use licentia::domain::operator::admin_key::Scope;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::process::{licentia, run};
use crate::harness::shop::Shop;
use crate::harness::{BEHIND_A_PROXY, Client, TestApp};

async fn newest(admin: &Client, filter: &str) -> Value {
    let answer = admin.get(&format!("/api/admin/audit?limit=1&{filter}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body["entries"][0].clone()
}

#[tokio::test]
async fn every_change_is_audited_with_before_and_after_and_its_request() {
    let shop = Shop::open().await;
    let admin = shop.app.admin(Scope::Admin).await;
    let ada = shop.buyer("ada@example.com").await;
    let theirs = shop.old_customer("billing@engines.example", &[]).await;
    let customer = format!("/api/admin/customers/{}", ada.customer_id);
    let license = shop.license(&ada).await["license_id"].as_str().unwrap().to_owned();
    let license = format!("/api/admin/licenses/{license}");
    let new = json!({ "email": "bob@example.com", "metadata": { "a": "b" } });
    let email = json!({ "email": "king@example.com", "email_verified": true });
    let grant = json!({ "plan": "professional", "days": 30, "note": "a gift" });
    let link = json!({ "stripe_customer_id": theirs });
    let unlink = json!({ "stripe_customer_id": null });
    for (method, path, body, action, before, after) in [
        (
            Method::POST,
            "/api/admin/customers".to_owned(),
            Some(&new),
            "customer.created",
            Value::Null,
            json!({ "email": "bob@example.com", "metadata": { "a": "b" } }),
        ),
        (
            Method::PATCH,
            customer.clone(),
            Some(&email),
            "customer.changed",
            json!({ "email": "ada@example.com", "email_verified": false }),
            json!({ "email": "king@example.com", "email_verified": true }),
        ),
        (
            Method::POST,
            format!("{customer}/licenses"),
            Some(&grant),
            "license.granted",
            json!({ "plan": "trial", "source": "trial" }),
            json!({ "plan": "professional", "source": "operator", "note": "a gift" }),
        ),
        (
            Method::POST,
            format!("{customer}/licenses/extend"),
            Some(&json!({ "days": 1 })),
            "license.extended",
            json!({ "expires_at": "2026-12-20T15:00:00Z" }),
            json!({ "expires_at": "2026-12-21T15:00:00Z" }),
        ),
        (
            Method::POST,
            format!("{license}/resend"),
            None,
            "license.resent",
            Value::Null,
            Value::Null,
        ),
        (
            Method::POST,
            format!("{license}/revoke"),
            None,
            "license.revoked",
            json!({ "revoked_at": null }),
            json!({ "revoked_at": "2026-11-20T15:00:00Z" }),
        ),
        (
            Method::POST,
            format!("{customer}/sync"),
            None,
            "customer.synced",
            Value::Null,
            Value::Null,
        ),
        (
            Method::POST,
            format!("{customer}/stripe-link"),
            Some(&link),
            "stripe.linked",
            Value::Null,
            Value::Null,
        ),
        (
            Method::POST,
            format!("{customer}/stripe-link"),
            Some(&unlink),
            "stripe.unlinked",
            json!({ "stripe_customer_id": theirs }),
            json!({}),
        ),
        (
            Method::POST,
            format!("{customer}/password-reset"),
            None,
            "password.reset_requested",
            Value::Null,
            Value::Null,
        ),
        (
            Method::POST,
            format!("{customer}/logout"),
            None,
            "session.ended_all",
            Value::Null,
            Value::Null,
        ),
        (Method::DELETE, customer.clone(), None, "customer.deleted", Value::Null, Value::Null),
    ] {
        let answer = admin.send(method, &path, body).await;
        assert!(answer.status < 300, "{path}: {}", answer.text);
        let entry = newest(&admin, &format!("action={action}")).await;
        assert!(entry["actor"].as_str().unwrap().starts_with("admin:akey_"), "{action}: {entry}");
        assert_eq!(entry["request_id"], answer.header("x-request-id"), "{action}");
        assert!(entry["customer_id"].as_str().unwrap().starts_with("cust_"), "{action}");
        for (told, values) in [(&entry["before"], before), (&entry["after"], after)] {
            for (name, value) in values.as_object().into_iter().flatten() {
                assert_eq!(told[name], *value, "{action}: {entry}");
            }
        }
    }
    // Addresses and names go with their customer; the rest stays.
    let about = format!("customer_id={}&action=customer.changed", ada.customer_id);
    let entry = newest(&admin, &about).await;
    assert_eq!(entry["before"], json!({ "email_verified": false }), "{entry}");
    assert!(!admin.get("/api/admin/audit?limit=1000").await.text.contains("king@example.com"));
}

#[tokio::test]
async fn reads_with_an_admin_key_are_audited_too_refused_or_not() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let id = ada.text("/customer/customer_id");
    let admin = app.admin(Scope::Read).await;
    admin.get(&format!("/api/admin/customers/{id}/why")).await;
    let refused = admin.send(Method::POST, &format!("/api/admin/customers/{id}/sync"), None).await;
    assert_eq!(refused.problem(), (403, "insufficient_scope"));
    let answer =
        admin.get(&format!("/api/admin/audit?customer_id={id}&action=admin_key.used")).await;
    let told: Vec<_> = answer.body["entries"].as_array().unwrap().clone();
    let told: Vec<_> = told.iter().map(|entry| entry["detail"].clone()).collect();
    let expected = [
        json!({ "operation": "listAudit" }),
        json!({ "operation": "syncCustomer", "refused": true }),
        json!({ "operation": "explainLicense" }),
    ];
    // Of the same second, so in any order.
    assert_eq!(told.len(), 3, "{}", answer.text);
    assert!(expected.iter().all(|one| told.contains(one)), "{}", answer.text);
}

#[tokio::test]
async fn the_log_is_filtered_and_read_page_by_page() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    for name in ["ada", "bob", "eve"] {
        app.sign_up(&format!("{name}@example.com")).await;
    }
    let admin = app.admin(Scope::Read).await;
    let filter = "action=customer.signed_up&actor=customer";
    let all = admin.get(&format!("/api/admin/audit?{filter}")).await.body;
    let all = all["entries"].as_array().unwrap().clone();
    assert_eq!(all.len(), 3, "{all:?}");
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/api/admin/audit?{filter}&limit=1{after}")).await;
        pages.extend(page.body["entries"].as_array().unwrap().clone());
        assert_eq!(
            page.body["next_after"].as_str().unwrap_or_default(),
            page.header("x-next-after")
        );
        let Some(next) = page.body["next_after"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(pages, all);
    let none = admin.get("/api/admin/audit?actor=operator&action=license.granted").await;
    assert_eq!(none.body["entries"], json!([]));
    for wrong in
        ["limit=0", "limit=1001", "after=x", "customer_id=x", "action=a%00b", "actor=a%20b"]
    {
        let answer = admin.get(&format!("/api/admin/audit?{wrong}")).await;
        assert_eq!(answer.problem(), (400, "invalid_request"), "{wrong}");
    }
}

#[tokio::test]
async fn the_log_is_exported_as_csv_without_formulas_and_as_json_lines() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let me = app.client.with_token(ada.text("/access_token"));
    me.patch("/api/customers/me", &json!({ "name": "=HYPERLINK(\"x\"), \"Ada\"" })).await;
    let admin = app.admin(Scope::Read).await;
    let path = "/api/admin/audit?action=customer.changed";
    let csv = admin.get_as("text/csv", path).await;
    assert!(csv.header("content-type").starts_with("text/csv"), "{:?}", csv.headers);
    let mut reader = csv::Reader::from_reader(csv.text.as_bytes());
    assert_eq!(
        reader.headers().unwrap().iter().take(4).collect::<Vec<_>>(),
        ["audit_id", "at", "actor", "action"]
    );
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!((rows.len(), &rows[0][3]), (1, "customer.changed"));
    let after: Value = serde_json::from_str(&rows[0][7]).unwrap();
    assert_eq!(after["name"], "=HYPERLINK(\"x\"), \"Ada\"");
    for cell in rows.iter().flat_map(|row| row.iter()) {
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
    }
    let lines = admin.get_as("application/jsonl", &format!("{path}&limit=1000")).await;
    assert!(lines.header("content-type").starts_with("application/jsonl"), "{:?}", lines.headers);
    let lines: Vec<Value> =
        lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let listed = admin.get_as("application/json", path).await.body["entries"].clone();
    assert_eq!(lines[0]["audit_id"], listed[0]["audit_id"]);
    assert_eq!(lines[0]["after"], listed[0]["after"]);

    let command = |arguments: &[&str]| {
        let mut command = licentia(app.directory.path());
        let url = app.config.database_url.expose_secret();
        run(command.arg("audit").args(arguments).env("LICENTIA_DATABASE_URL", url))
    };
    let changed = ["--action", "customer.changed"];
    assert_eq!(command(&[&changed[..], &["--format", "csv"]].concat()).out, csv.text);
    let printed = command(&[&changed[..], &["--json"]].concat());
    let printed: Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!(printed["entries"][0]["audit_id"], lines[0]["audit_id"]);
    assert!(command(&changed).out.contains("The customer's record changed: name."));
    assert_eq!(command(&["--customer", "x"]).code, 2);
}
