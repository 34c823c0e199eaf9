//! A change of the email address: confirmed by the new mailbox, reported to the old one, and undone
//! from there.

use serde_json::{Value, json};

use crate::harness::database::{number, texts};
use crate::harness::{Answer, BEHIND_A_PROXY, Client, PASSWORD, TestApp, until};

const ADA: &str = "ada@example.com";
const EVE: &str = "eve@example.com";
const NEW: &str = "four purple trains at noon";

async fn change(client: &Client, email: &str) -> Answer {
    let change = json!({ "email": email, "current_password": PASSWORD });
    client.patch("/api/customers/me", &change).await
}

async fn verify(client: &Client, token: &str) -> Answer {
    client.post("/api/customers/verify", &json!({ "token": token })).await
}

async fn undo(client: &Client, token: &str) -> Answer {
    client.post("/api/customers/email/undo", &json!({ "token": token })).await
}

async fn log_in(client: &Client, email: &str, password: &str) -> Answer {
    let login = json!({ "email": email, "password": password });
    client.post("/api/customers/login", &login).await
}

impl TestApp {
    /// Signs up a customer who changes the address. Returns their client, and the token of the link
    /// that was mailed to the old address.
    async fn moved(&self, from: &str, to: &str) -> (Client, String) {
        let me = self.signed_in(from).await;
        self.change_email(&me, to).await;
        (me, self.undo_token(from).await)
    }

    /// Returns the token of the only link to undo a change that was mailed to this address.
    async fn undo_token(&self, email: &str) -> String {
        let mut mails = self.take_mails(email).await;
        mails.retain(|mail| mail.subject == "Your email address for acme-app was changed");
        assert_eq!(mails.len(), 1, "{mails:?}");
        mails[0].token("undo")
    }
}

#[tokio::test]
async fn security_35_a_session_alone_changes_no_email_no_password_and_deletes_nothing() {
    let app = TestApp::start().await;
    let me = app.signed_in(ADA).await;
    app.clock.advance_seconds(15 * 60);
    let before = me.get("/api/customers/me").await.body;
    let alone = me.patch("/api/customers/me", &json!({ "email": EVE })).await;
    assert_eq!(alone.problem(), (403, "password_required"));
    let guess = json!({ "email": EVE, "current_password": "another password" });
    let wrong = me.patch("/api/customers/me", &guess).await;
    assert_eq!(wrong.problem(), (401, "invalid_credentials"));
    let password = json!({ "current_password": "another password", "password": NEW });
    let password =
        me.send(reqwest::Method::PUT, "/api/customers/me/password", Some(&password)).await;
    assert_eq!(password.problem(), (401, "invalid_credentials"));
    assert_eq!(me.delete("/api/customers/me").await.problem(), (403, "login_required"));
    assert_eq!(me.get("/api/customers/me").await.body, before);
    assert_eq!(app.take_mails(EVE).await.len(), 0);
    assert_eq!(app.take_mails(ADA).await.len(), 1, "only the trial");
    // Guesses count like those at the login.
    until(async || me.patch("/api/customers/me", &guess).await.status == 429).await;
}

#[tokio::test]
async fn security_35_the_new_address_is_confirmed_and_the_old_one_gets_notices() {
    let app = TestApp::start().await;
    let me = app.signed_in(ADA).await;
    app.take_mail(ADA).await;
    let requested = change(&me, " EVE@example.com").await;
    assert_eq!(requested.status, 200, "{}", requested.text);
    assert_eq!(requested.body["email"], ADA);
    assert_eq!(requested.body["pending_email"], EVE);
    let notice = app.take_mail(ADA).await;
    assert_eq!(notice.subject, "Your email address for acme-app will change");
    let mail = app.take_mail(EVE).await;
    assert_eq!(mail.subject, "Please confirm your new email address for acme-app");
    // Nothing has changed yet.
    assert_eq!(log_in(&app.client, EVE, PASSWORD).await.problem(), (401, "invalid_credentials"));
    assert_eq!(log_in(&app.client, ADA, PASSWORD).await.status, 200);

    let verified = verify(&app.client, &mail.token("verify")).await;
    assert_eq!(verified.status, 200, "{}", verified.text);
    let customer = &verified.body["customer"];
    assert_eq!((&customer["email"], &customer["email_verified"]), (&json!(EVE), &json!(true)));
    assert_eq!(customer["pending_email"], Value::Null);
    assert_eq!(log_in(&app.client, EVE, PASSWORD).await.status, 200);
    let notice = app.take_mail(ADA).await;
    assert_eq!(notice.subject, "Your email address for acme-app was changed");
    assert!(!notice.text.contains(EVE) && !mail.text.contains(ADA), "an address of another");
    let audited = "SELECT request_id FROM audit_log WHERE action = 'customer.address_changed'";
    assert_eq!(texts(&app.app.store, audited).await, [verified.header("x-request-id")]);
    let kept = "SELECT COUNT(*) FROM outbox WHERE recipient IS NOT NULL";
    assert_eq!(number(&app.app.store, kept).await, 0);
}

#[tokio::test]
async fn a_change_that_waits_is_canceled_or_replaced_and_its_link_sent_again() {
    let app = TestApp::start().await;
    let me = app.signed_in(ADA).await;
    assert_eq!(change(&me, EVE).await.body["pending_email"], EVE);
    let first = app.take_mail(EVE).await.token("verify");
    assert_eq!(me.post("/api/customers/me/verification", &json!({})).await.status, 202);
    let second = app.take_mail(EVE).await.token("verify");
    assert_eq!(change(&me, "bob@example.com").await.body["pending_email"], "bob@example.com");
    for token in [&first, &second] {
        assert_eq!(verify(&app.client, token).await.problem(), (422, "invalid_link"));
    }
    let token = app.take_mail("bob@example.com").await.token("verify");
    let alone = me.patch("/api/customers/me", &json!({ "email": ADA })).await;
    assert_eq!(alone.problem(), (403, "password_required"));
    assert_eq!(change(&me, ADA).await.body["pending_email"], Value::Null);
    assert_eq!(verify(&app.client, &token).await.problem(), (422, "invalid_link"));
    // A mail that waits while the change is canceled is not sent.
    change(&me, "carol@example.com").await;
    change(&me, ADA).await;
    assert_eq!(app.take_mails("carol@example.com").await.len(), 0);
}

/// The thief knows the password, has changed the address twice, and has set a new password.
#[tokio::test]
async fn a_thief_who_changed_the_address_loses_the_account_again() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let me = app.signed_in(ADA).await;
    let confirm = app.take_mail(ADA).await.token("verify");
    assert_eq!(verify(&app.client, &confirm).await.status, 200);
    let thief = log_in(&app.client, ADA, PASSWORD).await;
    let thief = app.client.with_token(thief.text("/access_token"));
    app.change_email(&thief, EVE).await;
    let token = app.undo_token(ADA).await;
    app.change_email(&thief, "mallory@example.com").await;
    let thiefs_own = app.undo_token(EVE).await;
    let forgot = json!({ "email": "mallory@example.com" });
    assert_eq!(app.client.post("/api/customers/password/forgot", &forgot).await.status, 202);
    let reset = app.take_mail("mallory@example.com").await.token("reset");
    let reset = json!({ "token": reset, "password": "mallory has it all now" });
    let thief = app.client.post("/api/customers/password/reset", &reset).await;
    assert_eq!(thief.status, 200, "{}", thief.text);
    let thief = app.client.with_token(thief.text("/access_token"));
    app.take_mail("mallory@example.com").await;
    // The thief cannot take the old address away either.
    let signup = json!({ "email": ADA, "password": PASSWORD });
    let taken = app.client.post("/api/customers/signup", &signup).await;
    assert_eq!(taken.problem(), (409, "email_taken"));
    let other = app.signed_in("trent@example.com").await;
    assert_eq!(change(&other, ADA).await.problem(), (409, "email_taken"));

    let undone = undo(&app.client, &token).await;
    assert_eq!(undone.status, 200, "{}", undone.text);
    let customer = &undone.body["customer"];
    assert_eq!((&customer["email"], &customer["email_verified"]), (&json!(ADA), &json!(true)));
    for session in [&me, &thief] {
        assert_eq!(session.get("/api/customers/me").await.status, 401);
    }
    assert_eq!(undo(&app.client, &thiefs_own).await.problem(), (422, "invalid_link"));
    let mail = app.take_mail(ADA).await;
    assert_eq!(mail.subject, "Your email address for acme-app is yours again");
    let reset = json!({ "token": mail.token("reset"), "password": NEW });
    let owner = app.client.post("/api/customers/password/reset", &reset).await;
    assert_eq!(owner.status, 200, "{}", owner.text);
    for (email, password) in [(ADA, PASSWORD), (EVE, PASSWORD), (ADA, "mallory has it all now")] {
        let refused = log_in(&app.client.at_address("192.0.2.9"), email, password).await;
        assert_eq!(refused.problem(), (401, "invalid_credentials"), "{email}");
    }
    assert_eq!(undo(&app.client, &token).await.problem(), (410, "link_used"));
}

/// Until the owner has used a mailed link, the password that the thief knows only logs in.
#[tokio::test]
async fn security_35_after_an_undo_a_thief_who_logs_in_can_do_nothing_for_good() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let (_, token) = app.moved(ADA, EVE).await;
    assert_eq!(undo(&app.client, &token).await.status, 200);
    let thief = log_in(&app.client, ADA, PASSWORD).await;
    assert_eq!(thief.status, 200, "{}", thief.text);
    let thief = app.client.with_token(thief.text("/access_token"));
    let refused = (403, "reset_required");
    assert_eq!(thief.delete("/api/customers/me").await.problem(), refused);
    assert_eq!(change(&thief, EVE).await.problem(), refused);
    let password = json!({ "current_password": PASSWORD, "password": NEW });
    let path = "/api/customers/me/password";
    let changed = thief.send(reqwest::Method::PUT, path, Some(&password)).await;
    assert_eq!(changed.problem(), refused);
    assert!(changed.text.contains("/api/customers/password/forgot"), "{}", changed.text);
    assert_eq!(thief.get("/api/customers/me/export").await.problem(), refused);
    let license = thief.get("/api/licenses/current").await;
    let with_license = app.client.with_token(license.text("/token"));
    for client in [&thief, &with_license] {
        let portal = client.post("/api/subscriptions/portal", &json!({})).await;
        assert_eq!(portal.problem(), refused);
    }
    // A change of the name keeps it so.
    let name = thief.patch("/api/customers/me", &json!({ "name": "Ada King" })).await;
    assert_eq!(name.status, 200, "{}", name.text);
    assert_eq!(thief.delete("/api/customers/me").await.problem(), refused);

    app.take_mails(ADA).await;
    let forgot = json!({ "email": ADA });
    assert_eq!(app.client.post("/api/customers/password/forgot", &forgot).await.status, 202);
    let reset = app.take_mail(ADA).await.token("reset");
    let reset = json!({ "token": reset, "password": NEW });
    let owner = app.client.post("/api/customers/password/reset", &reset).await;
    let owner = app.client.with_token(owner.text("/access_token"));
    assert_eq!(thief.delete("/api/customers/me").await.status, 401);
    let change = json!({ "email": "ada.king@example.com", "current_password": NEW });
    assert_eq!(owner.patch("/api/customers/me", &change).await.status, 200);
    assert_eq!(owner.delete("/api/customers/me").await.status, 204);
}

/// A second change does not end the link of the first one, and its own link undoes only itself.
#[tokio::test]
async fn each_change_has_a_link_of_its_own() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let (me, first) = app.moved(ADA, EVE).await;
    app.change_email(&me, "carol@example.com").await;
    let second = app.undo_token(EVE).await;
    assert_eq!(undo(&app.client, &second).await.body["customer"]["email"], EVE);
    assert_eq!(undo(&app.client, &first).await.body["customer"]["email"], ADA);
    assert_eq!(app.count("former_addresses").await, 0);

    // A customer who returns to the old address has nothing to undo there.
    let (me, first) = app.moved("bob@example.com", "bert@example.com").await;
    app.change_email(&me, "bob@example.com").await;
    assert_eq!(undo(&app.client, &first).await.problem(), (422, "invalid_link"));
}

#[tokio::test]
async fn security_16_of_50_uses_of_one_undo_link_at_once_one_wins() {
    let app = TestApp::start().await;
    let (_, token) = app.moved(ADA, EVE).await;
    let uses = (0..50).map(|_| undo(&app.client, &token));
    let answers = futures_util::future::join_all(uses).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(lost.problem(), (410, "link_used"));
    }
    let undone = "SELECT COUNT(*) FROM audit_log WHERE action = 'customer.address_undone'";
    assert_eq!(number(&app.app.store, undone).await, 1);
}

#[tokio::test]
async fn security_16_of_50_confirmations_of_one_change_at_once_one_wins() {
    let app = TestApp::start().await;
    let me = app.signed_in(ADA).await;
    change(&me, EVE).await;
    let token = app.take_mail(EVE).await.token("verify");
    let uses = (0..50).map(|_| verify(&app.client, &token));
    let answers = futures_util::future::join_all(uses).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(lost.problem(), (410, "link_used"));
    }
    assert_eq!(app.count("former_addresses").await, 1);
}

#[tokio::test]
async fn security_16_a_wrong_used_expired_or_misused_link_undoes_nothing() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let unknown = format!("llnk_{}", "A".repeat(43));
    for wrong in ["", "llnk_", "lses_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", &unknown] {
        let answer = undo(&app.client, wrong).await;
        assert_eq!(answer.problem(), (422, "invalid_link"), "{wrong}");
    }
    app.sign_up("other@example.com").await;
    let token = app.take_mail("other@example.com").await.token("verify");
    assert_eq!(undo(&app.client, &token).await.problem(), (422, "invalid_link"));

    let (me, token) = app.moved("late@example.com", "later@example.com").await;
    let reset = json!({ "token": token, "password": NEW });
    let misused = app.client.post("/api/customers/password/reset", &reset).await;
    assert_eq!(misused.problem(), (422, "invalid_link"));
    assert_eq!(verify(&app.client, &token).await.problem(), (422, "invalid_link"));
    app.clock.advance_days(7);
    assert_eq!(undo(&app.client, &token).await.problem(), (410, "link_expired"));
    assert_eq!(me.get("/api/customers/me").await.body["email"], "later@example.com");

    let (gone, token) = app.moved("gone@example.com", "goner@example.com").await;
    assert_eq!(gone.delete("/api/customers/me").await.status, 204);
    assert_eq!(undo(&app.client, &token).await.problem(), (422, "invalid_link"));
    // With the customer, the reservation ends.
    app.sign_up("gone@example.com").await;
}

/// Two customers want the same address. The link of the second one is still good for later.
#[tokio::test]
async fn an_address_that_somebody_else_took_in_the_meantime_is_not_confirmed() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let ada = app.signed_in(ADA).await;
    change(&ada, EVE).await;
    let token = app.take_mail(EVE).await.token("verify");
    let eve = app.signed_in(EVE).await;
    assert_eq!(verify(&app.client, &token).await.problem(), (409, "email_taken"));
    assert_eq!(ada.get("/api/customers/me").await.body["email"], ADA);
    assert_eq!(eve.get("/api/customers/me").await.body["email"], EVE);
    assert_eq!(eve.delete("/api/customers/me").await.status, 204);
    assert_eq!(verify(&app.client, &token).await.status, 200);
}

/// A squatter has signed up with an address and moved on. The mail with the link that undoes it is
/// lost, so the owner of the mailbox asks for a new password.
#[tokio::test]
async fn the_owner_of_a_reserved_address_gets_another_link_that_undoes_the_change() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let (squatter, _lost) = app.moved(ADA, EVE).await;
    app.clock.advance_days(6);
    let forgot = json!({ "email": ADA });
    assert_eq!(app.client.post("/api/customers/password/forgot", &forgot).await.status, 202);
    let token = app.undo_token(ADA).await;
    assert_eq!(undo(&app.client, &token).await.body["customer"]["email"], ADA);
    assert_eq!(squatter.get("/api/customers/me").await.status, 401);
    let mail = app.take_mail(ADA).await;
    let reset = json!({ "token": mail.token("reset"), "password": NEW });
    let owner = app.client.post("/api/customers/password/reset", &reset).await;
    assert_eq!(owner.status, 200, "{}", owner.text);

    // Nobody prolongs the reservation by requests.
    app.moved("bob@example.com", "bert@example.com").await;
    let forgot = json!({ "email": "bob@example.com" });
    app.clock.advance_days(6);
    assert_eq!(app.client.post("/api/customers/password/forgot", &forgot).await.status, 202);
    let token = app.undo_token("bob@example.com").await;
    app.clock.advance_days(1);
    assert_eq!(undo(&app.client, &token).await.problem(), (410, "link_expired"));
    assert_eq!(app.client.post("/api/customers/password/forgot", &forgot).await.status, 202);
    assert_eq!(app.take_mails("bob@example.com").await.len(), 0);
    app.sign_up("bob@example.com").await;
}

/// The old address is reserved from the moment of the change, before its mail is sent.
#[tokio::test]
async fn of_a_change_and_sign_ups_for_the_old_address_at_once_no_sign_up_wins() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let me = app.signed_in(ADA).await;
    change(&me, EVE).await;
    let token = app.take_mail(EVE).await.token("verify");
    let signups = (0..8).map(|number| {
        let client = app.client.at_address(&format!("192.0.2.{number}"));
        async move {
            let signup = json!({ "email": ADA, "password": PASSWORD });
            client.post("/api/customers/signup", &signup).await
        }
    });
    let signups = futures_util::future::join_all(signups);
    let (verified, signups) = tokio::join!(verify(&app.client, &token), signups);
    assert_eq!(verified.status, 200, "{}", verified.text);
    for answer in signups {
        assert_eq!(answer.problem(), (409, "email_taken"));
    }
    let token = app.undo_token(ADA).await;
    assert_eq!(undo(&app.client, &token).await.status, 200);
}

#[tokio::test]
async fn a_reset_cancels_a_change_that_waits() {
    let app = TestApp::start().await;
    let me = app.signed_in(ADA).await;
    change(&me, EVE).await;
    let token = app.take_mail(EVE).await.token("verify");
    app.take_mails(ADA).await;
    let forgot = json!({ "email": ADA });
    assert_eq!(app.client.post("/api/customers/password/forgot", &forgot).await.status, 202);
    let reset = app.take_mail(ADA).await.token("reset");
    let reset = json!({ "token": reset, "password": NEW });
    let done = app.client.post("/api/customers/password/reset", &reset).await;
    assert_eq!(done.body["customer"]["pending_email"], Value::Null, "{}", done.text);
    assert_eq!(verify(&app.client, &token).await.problem(), (422, "invalid_link"));
}

/// Each call for one's own account, with what belongs to another customer.
#[tokio::test]
async fn security_22_another_customer_cannot_change_confirm_or_undo_an_address() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let ada = app.signed_in(ADA).await;
    change(&ada, "ada.king@example.com").await;
    let eve = app.sign_up(EVE).await;
    let eve = app.client.with_token(eve.text("/access_token"));
    let own = json!({ "current_password": PASSWORD, "password": "eve's own new password" });
    let own = eve.send(reqwest::Method::PUT, "/api/customers/me/password", Some(&own)).await;
    assert_eq!(own.status, 204, "{}", own.text);
    // Ada's password is not Eve's.
    assert_eq!(change(&eve, "mallory@example.com").await.problem(), (401, "invalid_credentials"));
    let before = app.take_mails("ada.king@example.com").await.len();
    assert_eq!(eve.post("/api/customers/me/verification", &json!({})).await.status, 202);
    assert_eq!(app.take_mails("ada.king@example.com").await.len(), 0, "after {before}");
    // Eve requests the address that Ada waits for, and Ada's link does not confirm it for her.
    let change =
        json!({ "email": "ada.king@example.com", "current_password": "eve's own new password" });
    assert_eq!(eve.patch("/api/customers/me", &change).await.status, 200);
    let eves = app.take_mail("ada.king@example.com").await.token("verify");
    assert_eq!(ada.post("/api/customers/me/verification", &json!({})).await.status, 202);
    let adas = app.take_mail("ada.king@example.com").await.token("verify");
    assert_eq!(verify(&eve, &adas).await.status, 200);
    assert_eq!(ada.get("/api/customers/me").await.body["email"], "ada.king@example.com");
    assert_eq!(eve.get("/api/customers/me").await.body["email"], EVE);
    assert_eq!(verify(&eve, &eves).await.problem(), (409, "email_taken"));
}
