//! Sign-ups that wait for the confirmation of their address (`signup.verification = "required"`).

use serde_json::{Value, json};

use crate::harness::database::{number, texts};
use crate::harness::{Answer, BEHIND_A_PROXY, Client, PASSWORD, TestApp};

const REQUIRED: (&str, &str) = ("LICENTIA_SIGNUP__VERIFICATION", "required");
const ADA: &str = "ada@example.com";
const CONFIRM: &str = "Please confirm your account with acme-app";

async fn sign_up(client: &Client, email: &str, password: &str) -> Answer {
    let request = json!({
        "email": email, "password": password, "name": "Canary-Name", "company_name": "Canary-Inc",
    });
    client.post("/api/customers/signup", &request).await
}

async fn verify(client: &Client, token: &str) -> Answer {
    client.post("/api/customers/verify", &json!({ "token": token })).await
}

async fn log_in(client: &Client, email: &str, password: &str) -> Answer {
    let login = json!({ "email": email, "password": password });
    client.post("/api/customers/login", &login).await
}

impl TestApp {
    /// Signs up and confirms the address. Returns a client that is signed in.
    async fn confirmed(&self, email: &str) -> Client {
        assert_eq!(sign_up(&self.client, email, PASSWORD).await.status, 202);
        let token = self.take_mail(email).await.token("verify");
        let verified = verify(&self.client, &token).await;
        assert_eq!(verified.status, 200, "{}", verified.text);
        let login = log_in(&self.client, email, PASSWORD).await;
        self.client.with_token(login.text("/access_token"))
    }
}

#[tokio::test]
async fn the_trial_begins_with_the_confirmation() {
    let app = TestApp::start_with(&[REQUIRED]).await;
    let pending = sign_up(&app.client, " Ada@example.com", PASSWORD).await;
    assert_eq!(pending.status, 202);
    assert_eq!(pending.body, json!({ "email": ADA, "verification": "sent" }));
    for table in ["users", "customers", "licenses", "sessions", "audit_log"] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }
    let early = log_in(&app.client, ADA, PASSWORD).await;
    assert_eq!(early.problem(), (401, "invalid_credentials"));
    let mail = app.take_mail(ADA).await;
    assert_eq!(mail.subject, CONFIRM);
    assert!(!mail.text.contains("Canary"), "{}", mail.text);

    app.clock.advance_days(1);
    let verified = verify(&app.client, &mail.token("verify")).await;
    assert_eq!(verified.status, 200, "{}", verified.text);
    let customer = &verified.body["customer"];
    assert_eq!((&customer["email"], &customer["email_verified"]), (&json!(ADA), &json!(true)));
    assert_eq!(customer["name"], "Canary-Name");
    let trial = app.take_mail(ADA).await;
    assert_eq!(trial.subject, "Your trial of acme-app");
    let login = log_in(&app.client, ADA, PASSWORD).await;
    let me = app.client.with_token(login.text("/access_token"));
    let license = me.get("/api/licenses/current").await;
    assert_eq!(license.text("/expires_at"), "2026-12-05T15:00:00+00:00", "a whole trial");
    let audited = "SELECT request_id FROM audit_log WHERE action = 'customer.signed_up'";
    assert_eq!(texts(&app.app.store, audited).await, [verified.header("x-request-id")]);
    assert_eq!(verify(&app.client, &mail.token("verify")).await.problem(), (410, "link_used"));
}

/// New, taken, reserved for its former owner, and requested before: status, body, the names of the
/// headers, and the writes.
#[tokio::test]
async fn security_15_required_sign_up_says_the_same_for_a_new_a_taken_and_a_squatted_address() {
    let app = TestApp::start_with(&[REQUIRED, BEHIND_A_PROXY]).await;
    let me = app.confirmed("taken@example.com").await;
    let moved = app.confirmed("former@example.com").await;
    app.change_email(&moved, "moved@example.com").await;
    sign_up(&app.client, "squatted@example.com", PASSWORD).await;
    for email in ["taken@example.com", "former@example.com", "squatted@example.com"] {
        app.take_mails(email).await;
    }
    let written = "SELECT (SELECT COUNT(*) FROM pending_signups) * 100
        + (SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL)";
    let mut seen = Vec::new();
    for who in ["new", "taken", "former", "squatted"] {
        let email = format!("{who}@example.com");
        let client = app.client.at_address("192.0.2.1");
        let before = number(&app.app.store, written).await;
        let answer = sign_up(&client, &email, PASSWORD).await;
        assert_eq!(answer.body["email"], email);
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        let writes = number(&app.app.store, written).await - before;
        seen.push((answer.status, answer.text.replace(&email, ""), names, writes));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    assert_eq!((seen[0].0, seen[0].3), (202, 101));
    // A change to a taken address says nothing either.
    let change = json!({ "email": "moved@example.com", "current_password": PASSWORD });
    let change = me.patch("/api/customers/me", &change).await;
    assert_eq!((change.status, change.text("/pending_email")), (200, "moved@example.com"));
    assert_eq!(app.take_mails("moved@example.com").await.len(), 0);
    // The owner of a reserved mailbox gets the link that undoes the change.
    let mail = app.take_mail("former@example.com").await;
    assert_eq!(mail.subject, "Your email address for acme-app was changed");
    let token = json!({ "token": mail.token("undo") });
    let undone = app.client.post("/api/customers/email/undo", &token).await;
    assert_eq!(undone.body["customer"]["email"], "former@example.com", "{}", undone.text);
}

#[tokio::test]
async fn the_owner_of_a_taken_address_gets_a_mail_that_says_so() {
    let app = TestApp::start_with(&[REQUIRED]).await;
    app.confirmed(ADA).await;
    app.take_mails(ADA).await;
    sign_up(&app.client, ADA, "another password").await;
    let mail = app.take_mail(ADA).await;
    assert_eq!(mail.subject, "You already have an account with acme-app");
    let reset = json!({ "token": mail.token("reset"), "password": "four purple trains at noon" });
    let reset = app.client.post("/api/customers/password/reset", &reset).await;
    assert_eq!(reset.status, 200, "{}", reset.text);
    let stranger = log_in(&app.client, ADA, "another password").await;
    assert_eq!(stranger.problem(), (401, "invalid_credentials"));
    let kept = "SELECT COUNT(*) FROM outbox WHERE recipient IS NOT NULL";
    assert_eq!(number(&app.app.store, kept).await, 0);
}

/// A squatter signs up first. The owner's link activates the owner's password.
#[tokio::test]
async fn of_two_sign_ups_for_one_address_the_confirmed_one_counts() {
    let app = TestApp::start_with(&[REQUIRED]).await;
    sign_up(&app.client, ADA, "the squatter's own").await;
    let squatters = app.take_mail(ADA).await.token("verify");
    sign_up(&app.client, ADA, PASSWORD).await;
    let owners = app.take_mail(ADA).await.token("verify");
    assert_eq!(verify(&app.client, &owners).await.status, 200);
    assert_eq!(verify(&app.client, &squatters).await.problem(), (422, "invalid_link"));
    let refused = log_in(&app.client, ADA, "the squatter's own").await;
    assert_eq!(refused.problem(), (401, "invalid_credentials"));
    assert_eq!(log_in(&app.client, ADA, PASSWORD).await.status, 200);
    assert_eq!((app.count("users").await, app.count("licenses").await), (1, 1));
    // The typed texts are not kept.
    let kept = "SELECT email || password_hash || COALESCE(name, '') FROM pending_signups";
    assert_eq!(texts(&app.app.store, kept).await, [""]);
}

#[tokio::test]
async fn security_16_of_50_confirmations_at_once_one_wins() {
    let app = TestApp::start_with(&[REQUIRED]).await;
    sign_up(&app.client, ADA, PASSWORD).await;
    sign_up(&app.client, ADA, "another password").await;
    let tokens: Vec<_> =
        app.take_mails(ADA).await.iter().map(|mail| mail.token("verify")).collect();
    let uses = (0..50).map(|number| verify(&app.client, &tokens[number % 2]));
    let answers = futures_util::future::join_all(uses).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        let problem = lost.problem();
        let expected = [(410, "link_used"), (422, "invalid_link")];
        assert!(expected.contains(&problem), "{}", lost.text);
    }
    for table in ["users", "licenses"] {
        assert_eq!(app.count(table).await, 1, "{table}");
    }
    assert_eq!(app.take_mails(ADA).await.len(), 1);
}

#[tokio::test]
async fn security_16_an_expired_or_misused_confirmation_creates_no_account() {
    let app = TestApp::start_with(&[REQUIRED, BEHIND_A_PROXY]).await;
    sign_up(&app.client, ADA, PASSWORD).await;
    let token = app.take_mail(ADA).await.token("verify");
    let reset = json!({ "token": token, "password": "four purple trains at noon" });
    let misused = app.client.post("/api/customers/password/reset", &reset).await;
    assert_eq!(misused.problem(), (422, "invalid_link"));
    let misused = app.client.post("/api/customers/email/undo", &json!({ "token": token })).await;
    assert_eq!(misused.problem(), (422, "invalid_link"));
    app.clock.advance_seconds(48 * 3600);
    assert_eq!(verify(&app.client, &token).await.problem(), (410, "link_expired"));
    assert_eq!(app.count("users").await, 0);
    // Sign-ups that nobody confirmed are deleted.
    app.clock.advance_days(5);
    sign_up(&app.client, "bob@example.com", PASSWORD).await;
    let kept = texts(&app.app.store, "SELECT email FROM pending_signups").await;
    assert_eq!(kept, ["bob@example.com"]);
    assert_eq!(verify(&app.client, &token).await.problem(), (422, "invalid_link"));
}

#[tokio::test]
async fn security_46_a_confirmed_address_that_has_had_a_trial_gets_an_account_without_one() {
    let app = TestApp::start_with(&[REQUIRED]).await;
    let me = app.confirmed(ADA).await;
    assert_eq!(me.delete("/api/customers/me").await.status, 204);
    app.take_mails(ADA).await;
    let me = app.confirmed(ADA).await;
    assert_eq!(me.get("/api/licenses/current").await.problem(), (404, "not_found"));
    let mail = app.take_mail(ADA).await;
    assert_eq!(mail.subject, "Your account with acme-app");
    assert!(!mail.text.contains("/account/verify"), "{}", mail.text);
}

/// Beyond the budget of a mailbox and of a client, the response is a 429, whoever owns the address.
#[tokio::test]
async fn security_13_sign_ups_for_one_mailbox_are_limited() {
    let app = TestApp::start_with(&[REQUIRED, BEHIND_A_PROXY]).await;
    app.confirmed("taken@example.com").await;
    let mut answers = Vec::new();
    for who in ["taken", "new"] {
        let sign_ups = (0..6).map(async |number| {
            let client = app.client.at_address(&format!("192.0.2.{number}"));
            sign_up(&client, &format!("{who}@example.com"), PASSWORD).await.status
        });
        answers.push(futures_util::future::join_all(sign_ups).await);
    }
    for statuses in &answers {
        let sent = statuses.iter().filter(|status| **status == 202).count();
        assert!((2..=5).contains(&sent), "{statuses:?}");
        assert!(statuses.contains(&429), "{statuses:?}");
    }
    let weak = sign_up(&app.client.at_address("192.0.2.99"), "taken@example.com", "short").await;
    assert_eq!(weak.body["license"], Value::Null);
}
