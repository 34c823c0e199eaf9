//! One trial per address, also after its account was deleted.

use serde_json::{Value, json};

use crate::harness::database::{number, texts};
use crate::harness::{Answer, BEHIND_A_PROXY, Client, PASSWORD, TestApp};

const ADA: &str = "ada@example.com";

async fn sign_up(client: &Client, email: &str) -> Answer {
    let request = json!({ "email": email, "password": PASSWORD });
    client.post("/api/customers/signup", &request).await
}

async fn leave(app: &TestApp, answer: &Answer) {
    let me = app.client.with_token(answer.text("/access_token"));
    assert_eq!(me.delete("/api/customers/me").await.status, 204);
}

fn is_refused(answer: &Answer) -> bool {
    assert_eq!(answer.status, 201, "{}", answer.text);
    let refused = answer.body["trial_refused"] == "trial_used";
    assert_eq!(answer.body["license"].is_null(), refused, "{}", answer.text);
    refused
}

#[tokio::test]
async fn security_46_a_deleted_account_does_not_start_another_trial() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let first = app.sign_up(ADA).await;
    assert_eq!(first.body["trial_refused"], Value::Null);
    app.take_mails(ADA).await;
    leave(&app, &first).await;
    app.take_mails(ADA).await;

    let again = sign_up(&app.client, " ADA@example.com").await;
    assert!(is_refused(&again));
    let me = app.client.with_token(again.text("/access_token"));
    assert_eq!(me.get("/api/licenses/current").await.problem(), (404, "not_found"));
    let mail = app.take_mail(ADA).await;
    assert_eq!(mail.subject, "Your account with acme-app");
    assert!(mail.token("verify").starts_with("llnk_") && !mail.text.contains("license.jwt"));
    // A customer without a trial leaves the memory as it is.
    leave(&app, &again).await;
    assert!(is_refused(&sign_up(&app.client, ADA).await));
    assert!(!is_refused(&sign_up(&app.client.at_address("192.0.2.1"), "bob@example.com").await));
}

#[tokio::test]
async fn security_46_only_a_keyed_hash_is_kept_and_not_forever() {
    let app = TestApp::start().await;
    let first = app.sign_up(ADA).await;
    leave(&app, &first).await;
    app.take_mails(ADA).await;
    let kept = texts(&app.app.store, "SELECT address_hash FROM trial_addresses").await;
    assert_eq!((kept.len(), kept[0].len()), (1, 43));
    let everything = "SELECT detail || COALESCE(personal, '') FROM audit_log
        UNION ALL SELECT COALESCE(recipient, '') FROM outbox
        UNION ALL SELECT email FROM former_addresses UNION ALL SELECT email FROM customers";
    assert!(!texts(&app.app.store, everything).await.concat().contains("ada"));

    // The key is the database's own: another one has other hashes.
    let other = TestApp::start().await;
    let first = other.sign_up(ADA).await;
    leave(&other, &first).await;
    let others = texts(&other.app.store, "SELECT address_hash FROM trial_addresses").await;
    assert_ne!(kept, others);

    app.clock.advance_days(729);
    let again = app.sign_up(ADA).await;
    assert!(is_refused(&again));
    leave(&app, &again).await;
    app.clock.advance_days(1);
    let again = app.sign_up(ADA).await;
    assert!(!is_refused(&again));
    leave(&app, &again).await;
    assert_eq!(app.count("trial_addresses").await, 1, "the old row is replaced");
}

/// An address that is given up by a change has had its trial too, whether it comes back or not.
#[tokio::test]
async fn security_46_a_changed_address_does_not_start_another_trial() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let me = app.signed_in(ADA).await;
    app.change_email(&me, "eve@example.com").await;
    let mut mails = app.take_mails(ADA).await;
    mails.retain(|mail| mail.subject.ends_with("was changed"));
    app.clock.advance_days(6);
    let undo = json!({ "token": mails[0].token("undo") });
    assert_eq!(app.client.post("/api/customers/email/undo", &undo).await.status, 200);
    assert!(is_refused(&sign_up(&app.client, "eve@example.com").await));

    let bob = app.signed_in("bob@example.com").await;
    app.change_email(&bob, "bert@example.com").await;
    app.clock.advance_days(8);
    assert!(is_refused(&sign_up(&app.client.at_address("192.0.2.1"), "bob@example.com").await));
}

#[tokio::test]
async fn a_vendor_may_remember_no_trials() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plans.toml");
    let plans =
        include_str!("../../plans.toml").replace("# remember_days = 730 ", "remember_days = 0 #");
    assert!(plans.contains("\nremember_days = 0"));
    std::fs::write(&file, plans).unwrap();
    let app = TestApp::start_with(&[("LICENTIA_PLANS_FILE", file.to_str().unwrap())]).await;
    let first = app.sign_up(ADA).await;
    leave(&app, &first).await;
    assert!(!is_refused(&app.sign_up(ADA).await));
    assert_eq!(app.count("trial_addresses").await, 0);
    let kept = "SELECT COUNT(*) FROM audit_log WHERE action = 'customer.signed_up'";
    assert_eq!(number(&app.app.store, kept).await, 2);
}
