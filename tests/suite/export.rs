//! Customers get back a lost license, and everything that is stored about them.

use licentia_sandbox::Options;
use serde_json::json;

use crate::harness::database::{execute, number, texts};
use crate::harness::shop::Shop;
use crate::harness::{Answer, BEHIND_A_PROXY, Client, TestApp};

const ADA: &str = "ada@example.com";

async fn recover(client: &Client, email: &str) -> Answer {
    client.post("/api/licenses/recover", &json!({ "email": email })).await
}

#[tokio::test]
async fn security_12_a_lost_license_is_mailed_and_the_response_is_the_same_for_anyone() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up(ADA).await;
    app.take_mail(ADA).await;
    let mut answers = Vec::new();
    for email in [ADA, "eve@example.com", " ADA@example.com"] {
        let answer = recover(&app.client, email).await;
        assert_eq!((answer.status, answer.text.as_str()), (202, ""), "{email}");
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        answers.push(names);
    }
    assert!(answers.iter().all(|names| *names == answers[0]), "{answers:?}");
    let rows = "SELECT recipient || ' ' || COALESCE(customer_id, 'nobody') FROM outbox
        WHERE sent_at IS NULL ORDER BY recipient";
    let [ada, eve] = ["ada@example.com nobody", "eve@example.com nobody"];
    assert_eq!(texts(&app.app.store, rows).await, [ada, ada, eve]);
    assert_eq!(app.take_mails("eve@example.com").await.len(), 0);
    let mails = app.take_mails(ADA).await;
    assert_eq!(mails.len(), 2);
    let license = signed_up.text("/license/token");
    for mail in mails {
        assert_eq!(mail.subject, "Your license for acme-app");
        assert!(mail.text.contains(license), "{}", mail.text);
    }
    let kept = "SELECT COUNT(*) FROM outbox WHERE recipient IS NOT NULL";
    assert_eq!(number(&app.app.store, kept).await, 0);
    assert_eq!(recover(&app.client, "ada").await.problem(), (422, "invalid_email"));
}

/// The stored token may have expired long ago, although the license has not.
#[tokio::test]
async fn a_recovered_license_works_and_one_that_ended_is_not_sent() {
    let shop = Shop::open().await;
    let ada = shop.buyer(ADA).await;
    shop.buy(&ada, "professional").await;
    let store = &shop.app.app.store;
    let forever = "UPDATE licenses SET expires_at = NULL, grace_until = NULL
        WHERE superseded_at IS NULL";
    execute(store, forever).await.unwrap();
    shop.sandbox.advance(std::time::Duration::from_secs(40 * 86_400));
    let before = shop.sandbox.mails().len();
    assert_eq!(recover(&shop.app.client, ADA).await.status, 202);
    let is_sent = async || {
        let mails = shop.sandbox.mails();
        mails[before..].iter().any(|mail| mail.subject() == "Your license for acme-app")
    };
    shop.until("the license is mailed", is_sent).await;
    let mails = shop.sandbox.mails();
    let mail = mails[before..].iter().find(|mail| !mail.attachments.is_empty()).unwrap();
    let token = String::from_utf8(mail.attachments[0].bytes.clone()).unwrap();
    let verdict = shop.app.client.post("/api/licenses/verify", &json!({ "token": token })).await;
    assert_eq!(verdict.body["valid"], true, "{}", verdict.text);

    let app = TestApp::start().await;
    app.sign_up(ADA).await;
    app.take_mail(ADA).await;
    app.clock.advance_days(14);
    assert_eq!(recover(&app.client, ADA).await.status, 202);
    let mail = app.take_mail(ADA).await;
    assert!(mail.text.contains("no license that works now"), "{}", mail.text);
    assert!(!mail.text.contains("license.jwt"), "{}", mail.text);
}

#[tokio::test]
async fn security_13_beyond_the_budget_of_a_mailbox_no_license_is_mailed() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    app.sign_up(ADA).await;
    app.take_mail(ADA).await;
    for number in 0..8 {
        let client = app.client.at_address(&format!("192.0.2.{number}"));
        assert_eq!(recover(&client, ADA).await.status, 202);
    }
    let sent = app.take_mails(ADA).await.len();
    assert!((3..=5).contains(&sent), "{sent}");
}

#[tokio::test]
async fn an_export_has_everything_about_the_caller_and_nothing_about_anybody_else() {
    let shop = Shop::open_with(Options::default(), &[]).await;
    let ada = shop.buyer(ADA).await;
    let eve = shop.buyer("eve@example.com").await;
    shop.buy(&ada, "professional").await;
    shop.must_be_paid(&ada).await;
    let named = ada.client.patch("/api/customers/me", &json!({ "name": "Ada Lovelace" })).await;
    assert_eq!(named.status, 200);
    shop.change_email(&ada, "ada.king@example.com").await;
    shop.settled().await;
    let of_ada = format!("WHERE customer_id = '{}'", ada.customer_id);
    let noted = format!("UPDATE customers SET metadata = '{{\"crm\":\"4711\"}}' {of_ada}");
    execute(&shop.app.app.store, &noted).await.unwrap();

    let export = ada.client.get("/api/customers/me/export").await;
    assert_eq!(export.status, 200, "{}", export.text);
    let body = &export.body;
    assert_eq!(body["customer"], ada.client.get("/api/customers/me").await.body);
    assert_eq!(body["former_addresses"][0]["email"], ADA);
    assert_eq!(body["metadata"], json!({ "crm": "4711" }));
    assert_eq!(body["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(body["licenses"], ada.client.get("/api/licenses").await.body["licenses"]);
    assert_eq!(body["orders"], ada.client.get("/api/orders").await.body["orders"]);
    assert_eq!(body["subscription"]["plan"], "professional");
    let kinds: Vec<_> =
        body["mails"].as_array().unwrap().iter().map(|mail| &mail["kind"]).collect();
    for kind in ["trial", "upgrade", "verify_address", "address_changed"] {
        assert!(kinds.contains(&&json!(kind)), "{kind} is not in {kinds:?}");
    }
    let links = body["links"].as_array().unwrap();
    assert!(links.iter().any(|link| link["kind"] == "undo" && link["used_at"].is_null()));
    let actions = body["actions"].as_array().unwrap();
    let named = actions.iter().find(|action| action["action"] == "customer.changed").unwrap();
    assert_eq!(
        (&named["after"]["name"], &named["by"]),
        (&json!("Ada Lovelace"), &json!("customer"))
    );
    assert!(actions.iter().any(|action| action["action"] == "customer.exported"));
    assert_eq!((&body["devices"], &body["more"]), (&json!([]), &json!([])));

    // No hash, no token of a link or session, no id of Stripe's, nothing of another customer.
    for secret in ["argon2", "llnk_", "lses_", "cus_", "sub_", "cs_test", "pi_", "\"in_"] {
        assert!(!export.text.contains(secret), "{secret} is in {}", export.text);
    }
    assert!(!export.text.contains(&eve.customer_id) && !export.text.contains("eve@"));
    let eves = eve.client.get("/api/customers/me/export").await;
    assert!(!eves.text.contains("ada@") && !eves.text.contains("ada.king"), "{}", eves.text);
}

#[tokio::test]
async fn a_long_list_is_cut_and_the_export_says_so() {
    let app = TestApp::start().await;
    let me = app.signed_in(ADA).await;
    let store = &app.app.store;
    let many = "INSERT INTO outbox (mail_id, customer_id, kind, created_at, due_at, sent_at)
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1001)
        SELECT 'mail_' || substr('00000000000000000000000000000000' || i, -32), customer_id,
            'trial', 1, 1, 1 FROM n, customers";
    let many = match crate::harness::database::kind() {
        crate::harness::database::Kind::Sqlite => many.to_owned(),
        crate::harness::database::Kind::Postgres => many.replace(
            "substr('00000000000000000000000000000000' || i, -32)",
            "lpad(i::text, 32, '0')",
        ),
    };
    execute(store, &many).await.unwrap();
    let export = me.get("/api/customers/me/export").await;
    assert_eq!(export.body["mails"].as_array().unwrap().len(), 1000);
    assert_eq!(export.body["more"], json!(["mails"]));
}
