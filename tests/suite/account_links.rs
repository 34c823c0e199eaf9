//! Links in mails: each works once, briefly, for its own purpose and its own address.

use licentia::domain::account::mail_link::LinkKind;
use serde_json::json;

use crate::harness::database::{execute, number, texts};
use crate::harness::{Answer, BEHIND_A_PROXY, Client, PASSWORD, TestApp};

async fn verify(client: &Client, token: &str) -> Answer {
    client.post("/api/customers/verify", &json!({ "token": token })).await
}

#[tokio::test]
async fn the_link_in_the_trial_mail_verifies_the_address() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    assert_eq!(signed_up.body["customer"]["email_verified"], false);
    let me = app.client.with_token(signed_up.text("/access_token"));
    let mail = app.take_mail("ada@example.com").await;
    assert!(mail.subject.starts_with("Your trial of"), "{}", mail.subject);

    app.clock.advance_seconds(60);
    let verified = verify(&app.client, &mail.token("verify")).await;
    assert_eq!(verified.status, 200, "{}", verified.text);
    assert_eq!(verified.body["customer"]["email_verified"], true);
    assert_eq!(verified.body["customer"], me.get("/api/customers/me").await.body);
    let audited = "SELECT request_id FROM audit_log WHERE action = 'customer.verified'";
    assert_eq!(texts(&app.app.store, audited).await, [verified.header("x-request-id")]);
}

/// A browser requests the path without the fragment, which has the token.
#[tokio::test]
async fn security_20_the_link_opens_a_page_without_inline_scripts() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let mail = app.take_mail("ada@example.com").await;
    let base = mail.link("verify").split("/account/").next().unwrap();
    assert!(mail.link("verify").starts_with(&format!("{base}/account/verify#")));
    for kind in LinkKind::ALL {
        let page = app.client.get(&format!("/account/{}", kind.page())).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
        let policy = page.header("content-security-policy");
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert!(!page.text.contains("<style") && !page.text.contains(" style="), "{}", page.text);
        for file in page.text.split('"').filter(|text| text.starts_with("/account/")) {
            assert_eq!(app.client.get(file).await.status, 200, "{file}");
        }
    }
    // Opening the page verifies nothing.
    let me = app.client.with_token(signed_up.text("/access_token"));
    assert_eq!(me.get("/api/customers/me").await.body["email_verified"], false);
}

#[tokio::test]
async fn security_16_links_are_built_from_the_public_url_and_nothing_stores_their_token() {
    let url = "https://licenses.acme.example";
    let app = TestApp::start_with(&[("LICENTIA_PUBLIC_URL", url)]).await;
    app.sign_up("ada@example.com").await;
    let mail = app.take_mail("ada@example.com").await;
    let link = mail.link("verify");
    assert!(link.starts_with(&format!("{url}/account/verify#token=llnk_")), "{link}");
    // Both parts have the same link.
    assert_eq!(mail.text.matches(&format!("\"{link}\"")).count(), 1, "{}", mail.text);
    let rows = "SELECT token_hash || kind || email FROM mail_links
        UNION ALL SELECT mail_id || kind || COALESCE(recipient, '') FROM outbox
        UNION ALL SELECT detail || COALESCE(personal, '') FROM audit_log";
    let secret = &mail.token("verify")["llnk_".len()..];
    for row in texts(&app.app.store, rows).await {
        assert!(!row.contains(secret), "{row}");
    }
}

#[tokio::test]
async fn security_16_of_50_uses_of_one_link_at_once_one_wins() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let token = app.take_mail("ada@example.com").await.token("verify");
    let uses = (0..50).map(|_| verify(&app.client, &token));
    let answers = futures_util::future::join_all(uses).await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1);
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(lost.problem(), (410, "link_used"));
    }
    let verified = "SELECT COUNT(*) FROM audit_log WHERE action = 'customer.verified'";
    assert_eq!(number(&app.app.store, verified).await, 1);
}

#[tokio::test]
async fn security_16_a_wrong_used_expired_or_misused_link_is_refused() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let unknown = format!("llnk_{}", "A".repeat(43));
    for wrong in ["", "llnk_", "lses_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", &unknown] {
        let answer = verify(&app.client, wrong).await;
        assert_eq!(answer.problem(), (422, "invalid_link"), "{wrong}");
    }

    app.sign_up("used@example.com").await;
    let token = app.take_mail("used@example.com").await.token("verify");
    assert_eq!(verify(&app.client, &token).await.status, 200);
    assert_eq!(verify(&app.client, &token).await.problem(), (410, "link_used"));

    app.sign_up("late@example.com").await;
    let token = app.take_mail("late@example.com").await.token("verify");
    app.clock.advance_seconds(48 * 3600);
    assert_eq!(verify(&app.client, &token).await.problem(), (410, "link_expired"));

    app.sign_up("other@example.com").await;
    let token = app.take_mail("other@example.com").await.token("verify");
    let other = "UPDATE mail_links SET kind = 'reset' WHERE email = 'other@example.com'";
    assert_eq!(execute(&app.app.store, other).await.unwrap(), 1);
    assert_eq!(verify(&app.client, &token).await.problem(), (422, "invalid_link"));

    let moved = app.signed_in("moved@example.com").await;
    let token = app.take_mail("moved@example.com").await.token("verify");
    app.change_email(&moved, "new@example.com").await;
    assert_eq!(verify(&app.client, &token).await.problem(), (422, "invalid_link"));

    let gone = app.signed_in("gone@example.com").await;
    let token = app.take_mail("gone@example.com").await.token("verify");
    assert_eq!(gone.delete("/api/customers/me").await.status, 204);
    assert_eq!(verify(&app.client, &token).await.problem(), (422, "invalid_link"));
}

#[tokio::test]
async fn the_verification_link_is_mailed_again_until_the_address_is_verified() {
    let app = TestApp::start().await;
    let me = app.signed_in("ada@example.com").await;
    let first = app.take_mail("ada@example.com").await.token("verify");
    let again = async || me.post("/api/customers/me/verification", &json!({})).await.status;
    assert_eq!(again().await, 202);
    let mail = app.take_mail("ada@example.com").await;
    assert_eq!(mail.subject, "Please confirm your email address for acme-app");
    assert_ne!(mail.token("verify"), first);

    // A mail that waits while the address is verified is not sent any more.
    assert_eq!(again().await, 202);
    assert_eq!(verify(&app.client, &first).await.status, 200);
    assert_eq!(verify(&app.client, &mail.token("verify")).await.status, 200);
    assert_eq!(again().await, 202);
    assert_eq!(app.take_mails("ada@example.com").await.len(), 0);
    let waiting = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL";
    assert_eq!(number(&app.app.store, waiting).await, 0);

    let stranger = app.client.post("/api/customers/me/verification", &json!({})).await;
    assert_eq!(stranger.problem(), (401, "unauthenticated"));
}

#[tokio::test]
async fn security_13_a_mailbox_gets_a_limited_number_of_links() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let me = app.signed_in("ada@example.com").await;
    let mut answers = Vec::new();
    for number in 0..6 {
        let me = me.at_address(&format!("192.0.2.{number}"));
        answers.push(me.post("/api/customers/me/verification", &json!({})).await);
    }
    let sent = answers.iter().filter(|answer| answer.status == 202).count();
    assert!((3..=5).contains(&sent), "{sent}");
    assert_eq!(answers[5].problem(), (429, "too_many_requests"));
    // The limit is the mailbox's, so another customer at the same address is served.
    let other = app.signed_in("bob@example.com").await.at_address("192.0.2.1");
    assert_eq!(other.post("/api/customers/me/verification", &json!({})).await.status, 202);
}

#[tokio::test]
async fn a_link_of_an_expired_mail_is_swept_later() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    app.sign_up("ada@example.com").await;
    app.take_mail("ada@example.com").await;
    app.clock.advance_days(33);
    app.sign_up("bob@example.com").await;
    app.take_mail("bob@example.com").await;
    let kept = texts(&app.app.store, "SELECT email FROM mail_links").await;
    assert_eq!(kept, ["bob@example.com"]);
}

#[tokio::test]
async fn a_deletion_is_mailed_and_the_address_is_kept_nowhere() {
    let app = TestApp::start().await;
    let request = json!({ "email": "ada@example.com", "password": PASSWORD, "name": "Canary" });
    let signed_up = app.client.post("/api/customers/signup", &request).await;
    let me = app.client.with_token(signed_up.text("/access_token"));
    let token = app.take_mail("ada@example.com").await.token("verify");
    assert_eq!(verify(&app.client, &token).await.status, 200);
    assert_eq!(me.delete("/api/customers/me").await.status, 204);
    let mail = app.take_mail("ada@example.com").await;
    assert_eq!(mail.subject, "Your account with acme-app was deleted");
    assert!(!mail.text.contains("Canary"), "{}", mail.text);
    for table in ["outbox", "mail_links", "customers"] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }
    let personal = "SELECT COUNT(*) FROM audit_log WHERE personal IS NOT NULL";
    assert_eq!(number(&app.app.store, personal).await, 0);
}
