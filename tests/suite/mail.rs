//! Mail: its content, its single delivery, and retries while no server accepts it.

use std::fs;
use std::path::PathBuf;

use licentia::domain::message::{Kind, Language};
use licentia::domain::outbox::LeasedMail;
use licentia::fail_point::{FailPoints, Place};
use licentia_sandbox::{MailFault, Options, Sandbox, Times};
use serde_json::json;

use crate::harness::database::{execute, number, texts};
use crate::harness::process::{Server, licentia, run};
use crate::harness::{BEHIND_A_PROXY, PASSWORD, START, TestApp, TestDatabase};

fn mails(app: &TestApp) -> Vec<PathBuf> {
    let folder = fs::read_dir(app.directory.path().join("mail")).into_iter().flatten();
    folder.map(|entry| entry.unwrap().path()).collect()
}

/// Decodes the transfer encoding of a part of a mail.
fn decoded(part: &str) -> String {
    let joined = part.replace("=\r\n", "");
    joined.replace("=3D", "=")
}

#[tokio::test]
async fn signing_up_mails_the_trial_license_license_4() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    assert_eq!(app.send_due().await, 1);
    let [mail] = mails(&app).try_into().unwrap();
    let text = fs::read_to_string(&mail).unwrap();
    let id = mail.file_stem().unwrap().to_str().unwrap();
    for expected in [
        "To: ada@example.com",
        "From: ",
        "Subject: Your trial of acme-app",
        &format!("Message-ID: <{id}@localhost>"),
        "List-Id: <licenses.localhost>",
        "Auto-Submitted: auto-generated",
        "Content-Disposition: attachment; filename=\"license.jwt\"",
        "Content-Type: application/jwt",
        "Content-Disposition: attachment; filename=\"license.json\"",
        "Content-Type: application/json",
        "Content-Type: text/html",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
    let license = signed_up.text("/license/token");
    assert_eq!(decoded(&text).replace("\r\n", "").matches(license).count(), 4, "{text}");
    let bundle = app.app.keys.bundle().unwrap();
    let attached = decoded(&text).replace("\r\n", "");
    assert!(attached.contains(&format!("\"keys\":\"{bundle}\"")), "for apps that pin the root");
    // It is sent once.
    assert_eq!(app.send_due().await, 0);
}

#[tokio::test]
async fn nothing_is_mailed_when_the_sign_up_failed() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let again = serde_json::json!({ "email": "ada@example.com", "password": "SecurePass123" });
    assert_eq!(app.client.post("/api/customers/signup", &again).await.status, 409);
    assert_eq!(app.count("outbox").await, 1);
}

/// Every kind of mail, to every mailbox that a customer has, wants or had. Names that were typed
/// here reach the present mailbox only, and only once it is verified.
#[tokio::test]
async fn security_34_no_user_input_is_mailed_to_an_unverified_address() {
    let app = TestApp::start().await;
    let request = json!({
        "email": "ada@example.com", "password": PASSWORD,
        "name": "Canary-Buy-Pills", "company_name": "Canary-Visit-Evil",
    });
    let signed_up = app.client.post("/api/customers/signup", &request).await;
    let me = app.client.with_token(signed_up.text("/access_token"));
    me.patch("/api/customers/me", &json!({ "name": "Canary-Later" })).await;
    let store = &app.app.store;
    let others = "UPDATE customers SET pending_email = 'new@example.com';
        INSERT INTO former_addresses (customer_id, email, seq, reserved_until)
        SELECT customer_id, 'former@example.com', 1, 9999999999 FROM customers;
        DELETE FROM outbox WHERE kind <> 'trial';
        INSERT INTO pending_signups (mail_id, email, password_hash, name, company_name, created_at,
            kept_until)
        SELECT mail_id, 'new@example.com', '', 'Canary', 'Canary', 0, 9999999999 FROM outbox";
    execute(store, others).await.unwrap();
    let mut sent = Vec::new();
    for (language, kind) in Language::ALL.into_iter().flat_map(|l| Kind::ALL.map(|k| (l, k))) {
        let speak = format!("UPDATE customers SET language = '{language}'");
        execute(store, &speak).await.unwrap();
        // Only a license that has ended is reported as ended.
        let is_over = matches!(kind, Kind::TrialEnded | Kind::LicenseEnded);
        let end = START + if is_over { -1 } else { 1_000_000 };
        // The first payment is announced to those who have a license of a subscription.
        let source = if kind == Kind::PaymentBegins { "subscription" } else { "trial" };
        let license = format!("UPDATE licenses SET expires_at = {end}, source = '{source}'");
        execute(store, &license).await.unwrap();
        let hello = if language == Language::English { "Hello" } else { "Guten Tag" };
        for (verified, recipient, is_theirs) in [
            ("NULL", "NULL", false),
            ("NULL", "'new@example.com'", false),
            ("NULL", "'former@example.com'", false),
            ("1", "'new@example.com'", false),
            ("1", "'former@example.com'", false),
            ("1", "NULL", true),
        ] {
            let verify = format!("UPDATE customers SET email_verified_at = {verified}");
            execute(store, &verify).await.unwrap();
            let again = format!(
                "UPDATE outbox SET kind = '{kind}', recipient = {recipient}, sent_at = NULL"
            );
            execute(store, &again).await.unwrap();
            assert_eq!(app.send_due().await, 1);
            // A mail whose link would not work is not sent.
            for path in mails(&app) {
                let mail = decoded(&fs::read_to_string(&path).unwrap());
                let to = recipient.trim_matches('\'').replace("NULL", "ada@example.com");
                assert!(mail.contains("To: ") && mail.contains(&to), "{kind}: {mail}");
                let greeting = format!("{hello} Canary-Later,");
                assert_eq!(mail.contains(&greeting), is_theirs, "{language} {kind}: {mail}");
                assert_eq!(mail.contains("Canary"), is_theirs, "{language} {kind}: {mail}");
                fs::remove_file(path).unwrap();
                sent.push((kind, is_theirs));
            }
        }
    }
    for kind in Kind::ALL {
        assert!(sent.contains(&(kind, false)), "{kind} was not tried");
    }
}

/// Returns a service that sends mail to the sandbox's SMTP server.
async fn with_smtp() -> (TestApp, Sandbox) {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let url = sandbox.smtp_url();
    let app = TestApp::start_with(&[("LICENTIA_EMAIL__SMTP_URL", &url)]).await;
    (app, sandbox)
}

/// Returns the errors in the outbox.
async fn errors(app: &TestApp) -> Vec<String> {
    let all = "SELECT last_error FROM outbox WHERE last_error IS NOT NULL ORDER BY created_at";
    texts(&app.app.store, all).await
}

#[tokio::test]
async fn security_40_the_outbox_stores_codes_and_not_a_mail_servers_text() {
    let (app, sandbox) = with_smtp().await;
    app.sign_up("canary@example.com").await;
    for (fault, code) in [
        (MailFault::RefuseForNow, "RCPT 451 4.7.1"),
        (MailFault::Drop, "DATA: no valid SMTP response"),
        (MailFault::AcceptThenDrop, "DATA: no valid SMTP response"),
        (MailFault::RefuseForGood, "RCPT 550 5.1.1"),
    ] {
        sandbox.faults().mail(fault, Times::Next(1));
        assert_eq!(app.send_due().await, 1);
        assert_eq!(errors(&app).await, [code]);
        app.clock.advance_seconds(60);
    }
}

#[tokio::test]
async fn security_41_a_permanent_refusal_is_given_up_at_once_and_a_temporary_one_is_retried() {
    let (app, sandbox) = with_smtp().await;
    let given_up = "SELECT COUNT(*) FROM outbox WHERE given_up_at IS NOT NULL";
    app.sign_up("ada@example.com").await;
    sandbox.faults().mail(MailFault::RefuseForNow, Times::Next(1));
    assert_eq!(app.send_due().await, 1);
    app.clock.advance_seconds(60);
    assert_eq!(app.send_due().await, 1);
    assert_eq!((sandbox.mails().len(), number(&app.app.store, given_up).await), (1, 0));

    app.sign_up("bob@example.com").await;
    sandbox.faults().mail(MailFault::RefuseForGood, Times::Next(1));
    assert_eq!(app.send_due().await, 1);
    app.clock.advance_days(10);
    assert_eq!(app.send_due().await, 0);
    assert_eq!((sandbox.mails().len(), number(&app.app.store, given_up).await), (1, 1));
    assert_eq!(errors(&app).await, ["RCPT 550 5.1.1"]);

    // The operator sees it, corrects the setting, and sends it again.
    let url = secrecy::ExposeSecret::expose_secret(&app.config.database_url).to_owned();
    let email = |argument: &str| {
        let mut command = licentia(app.directory.path());
        run(command.args(["email", argument]).env("LICENTIA_DATABASE_URL", &url))
    };
    let listed = email("--list-failed");
    assert!(
        listed.out.starts_with("mail_") && listed.out.ends_with(": RCPT 550 5.1.1\n"),
        "{listed:?}"
    );
    assert!(!listed.out.contains("bob@"), "{listed:?}");
    assert_eq!(email("--retry-failed").out, "1 mails will be retried.\n");
    assert_eq!(email("--list-failed").out, "No mail was given up.\n");
    app.clock.advance_days(3650);
    assert_eq!(app.send_due().await, 1);
    assert_eq!((sandbox.mails().len(), number(&app.app.store, given_up).await), (2, 0));
    let audited = "SELECT COUNT(*) FROM audit_log WHERE action = 'mail.retried'";
    assert_eq!(number(&app.app.store, audited).await, 1);
}

/// Starts an SMTP server that refuses every connection and quotes an address. Returns its URL.
async fn unwelcoming() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let refusal = b"554 5.7.1 canary@example.com is not welcome\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, refusal).await;
        }
    });
    url
}

/// A server that refuses everything says nothing about a single mail. The mail waits until the
/// operator corrects the setting.
#[tokio::test]
async fn security_41_a_server_that_refuses_the_connection_causes_no_mail_to_be_given_up() {
    let url = unwelcoming().await;
    let app = TestApp::start_with(&[("LICENTIA_EMAIL__SMTP_URL", &url)]).await;
    app.sign_up("canary@example.com").await;
    assert_eq!(app.send_due().await, 1);
    assert_eq!(errors(&app).await, ["connect 554 5.7.1"]);
    app.clock.advance_seconds(60);
    assert_eq!(app.send_due().await, 1, "it is not retried");
}

#[tokio::test]
async fn security_41_the_log_names_the_wrong_setting_once() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let url = unwelcoming().await;
    let server = Server::start(directory.path(), &database, &[("LICENTIA_EMAIL__SMTP_URL", &url)]);
    for email in ["canary@example.com", "canary2@example.com"] {
        let request = json!({ "email": email, "password": PASSWORD });
        assert_eq!(server.client.post("/api/customers/signup", &request).await.status, 201);
    }
    let store = database.open().await;
    let untried = "SELECT COUNT(*) FROM outbox WHERE attempts < 2";
    while number(&store, untried).await > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(server.stop(), Some(0));
    let log = fs::read_to_string(directory.path().join("server.log")).unwrap();
    assert_eq!(log.matches("correct this setting").count(), 1, "{log}");
    assert!(log.contains("email.smtp_url") && log.contains("connect 554 5.7.1"), "{log}");
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn security_41_an_smtp_password_without_encryption_prevents_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let refused = run(licentia(directory.path())
        .arg("serve")
        .env("LICENTIA_EMAIL__SMTP_URL", "smtp://ada:hunter2@mail.example:587"));
    assert_eq!(refused.code, 1);
    for expected in [
        "`email.smtp_url` (LICENTIA_EMAIL__SMTP_URL): ",
        "without TLS",
        "smtps://",
        "?tls=required",
    ] {
        assert!(refused.err.contains(expected), "{expected}\nis not in\n{}", refused.err);
    }
    assert!(!refused.err.contains("hunter2"), "{}", refused.err);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_refused_mail_is_retried_with_the_same_message_id() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    // A file has the name of the folder.
    let folder = app.directory.path().join("mail");
    fs::write(&folder, "").unwrap();
    let mut tried = 0;
    for _ in 0..3600 {
        tried += app.send_due().await;
        app.clock.advance_seconds(1);
    }
    // After 1, 2, 4 … 60, 60 seconds with some jitter: in the long run at most one attempt a
    // minute, and at least one in two minutes.
    assert!((30..70).contains(&tried), "{tried} tries in an hour");

    fs::remove_file(&folder).unwrap();
    app.clock.advance_seconds(90);
    assert_eq!(app.send_due().await, 1);
    assert_eq!(mails(&app).len(), 1);
    app.clock.advance_days(10);
    assert_eq!(app.send_due().await, 0);
}

#[tokio::test]
async fn a_mail_is_given_up_and_kept_after_three_days() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    fs::write(app.directory.path().join("mail"), "").unwrap();
    app.clock.advance_days(3);
    // Twenty-one attempts, even if no worker ran before; then no more.
    for _ in 0..21 {
        assert_eq!(app.send_due().await, 1);
        app.clock.advance_days(1);
    }
    assert_eq!(app.send_due().await, 0);
    let kept = "DELETE FROM outbox WHERE given_up_at IS NOT NULL AND last_error IS NOT NULL";
    assert_eq!(execute(&app.app.store, kept).await.unwrap(), 1);
}

#[tokio::test]
async fn a_mail_of_a_newer_version_does_not_hold_up_the_others() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    execute(&app.app.store, "UPDATE outbox SET kind = 'birthday'").await.unwrap();
    app.sign_up("bob@example.com").await;
    assert_eq!(app.send_due().await, 2);
    assert_eq!(mails(&app).len(), 1);
    let told = "DELETE FROM outbox WHERE last_error LIKE '%birthday%' AND attempts = 1";
    assert_eq!(execute(&app.app.store, told).await.unwrap(), 1);
}

#[tokio::test]
async fn two_workers_send_each_mail_once() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    for n in 0..30 {
        app.sign_up(&format!("ada{n}@example.com")).await;
    }
    let workers = (0..4).map(|_| async {
        let mut sent = 0;
        loop {
            match app.send_due().await {
                0 => return sent,
                tried => sent += tried,
            }
        }
    });
    let sent: usize = futures_util::future::join_all(workers).await.iter().sum();
    assert_eq!((sent, mails(&app).len()), (30, 30));
}

#[tokio::test]
async fn a_worker_that_died_is_replaced_when_its_lease_ends_and_cannot_write_afterwards() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let now = app.app.now();
    let mut tx = app.app.store.write().await.unwrap();
    let dead = tx.lease::<LeasedMail>(now, 10).await.unwrap();
    tx.commit(FailPoints::default().at(Place::MailTaken)).await.unwrap();
    assert_eq!(app.send_due().await, 0, "it was sent under the lease of another");
    app.clock.advance_seconds(45);
    assert_eq!(app.send_due().await, 1);
    // It resumes and still believes in its lease.
    let mut tx = app.app.store.write().await.unwrap();
    assert!(!tx.mail_sent(&dead[0], app.app.now()).await.unwrap());
}

#[tokio::test]
async fn the_server_sends_mail_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let server = Server::start(directory.path(), &database, &[]);
    let request = serde_json::json!({ "email": "ada@example.com", "password": "SecurePass123" });
    assert_eq!(server.client.post("/api/customers/signup", &request).await.status, 201);
    let folder = directory.path().join("mail");
    while fs::read_dir(&folder).map_or(0, Iterator::count) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn mails_are_previewed_and_tested_on_the_command_line() {
    let app = TestApp::start().await;
    let url = secrecy::ExposeSecret::expose_secret(&app.config.database_url).to_owned();
    let email = |arguments: &[&str]| {
        run(licentia(app.directory.path())
            .arg("email")
            .args(arguments)
            .env("LICENTIA_DATABASE_URL", &url))
    };
    let preview = email(&["--preview", "trial"]);
    assert!(
        preview.out.starts_with("Subject: Your trial of acme-app\n\nHello,"),
        "{}",
        preview.err
    );
    assert!(email(&["--preview", "granted", "--html"]).out.starts_with("<!doctype html>"));
    let sent = email(&["--send-test", "ada@example.com"]);
    assert_eq!(sent.out, "The mail server accepted the mail to ada@example.com.\n");
    assert_eq!(mails(&app).len(), 1);
    for wrong in [&["--preview", "birthday"][..], &["--send-test", "ada"], &[], &["--html"]] {
        assert_eq!(email(wrong).code, 2, "{wrong:?}");
    }
}
