//! The texts of mails: a vendor's own templates, languages, links, receipts and reminders.

use std::fs;
use std::path::Path;

use licentia::domain::ids::CustomerId;
use licentia::domain::license::Extras;
use licentia::domain::operator::audit::Actor;
use licentia::flows::license;
use licentia::flows::mail::reminders;
use licentia::flows::operator::licenses::{self, Grant};
use reqwest::redirect::Policy;
use serde_json::json;

use crate::harness::database::{execute, number};
use crate::harness::process::{Done, licentia, run};
use crate::harness::shop::{Shop, session_of};
use crate::harness::{BEHIND_A_PROXY, PASSWORD, TestApp};

/// Writes a template into a vendor's folder.
fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[tokio::test]
async fn a_vendors_own_template_replaces_ours_in_one_language() {
    let own = tempfile::tempdir().unwrap();
    let text = "Welcome to {{ product }}\n\nHi! Confirm: {{ links.verify }}\n";
    write(own.path(), "en/trial.txt", text);
    write(own.path(), "README.md", "Our mails.");
    let settings = [("LICENTIA_EMAIL__TEMPLATES", own.path().to_str().unwrap())];
    let app = TestApp::start_with(&settings).await;
    app.sign_up("ada@example.com").await;
    let mail = app.take_mail("ada@example.com").await;
    assert_eq!(mail.subject, "Welcome to acme-app");
    assert!(mail.text.contains("Hi! Confirm: http"), "{}", mail.text);
    assert!(mail.text.contains("Thank you for trying acme-app."), "the HTML is ours");
    sign_up_in(&app, "bob@example.com", "de").await;
    let mail = app.take_mail("bob@example.com").await;
    assert_eq!(mail.subject, "Ihre Testversion von acme-app");
}

#[test]
fn a_broken_template_prevents_the_start_and_is_named_with_its_line_and_the_mistake() {
    let own = tempfile::tempdir().unwrap();
    let start = || -> Done {
        let directory = tempfile::tempdir().unwrap();
        let mut serve = licentia(directory.path());
        serve.arg("serve").env("LICENTIA_EMAIL__TEMPLATES", own.path());
        let done = run(&mut serve);
        assert_eq!(done.code, 1, "{}", done.out);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "something was written");
        done
    };
    let folder = own.path().display();
    write(own.path(), "en/trial.txt", "Welcome\n\nHello {{ nmae }}\n{{ links.verify }}\n");
    write(own.path(), "de/renewal.html", "{% extends \"layout.html\" %}\n{% block body %}\n");
    let refused = start().err;
    let parsed = format!("`email.templates`: {folder}/de/renewal.html, line 2: syntax error: ");
    assert!(refused.contains(&parsed), "{refused}");

    fs::remove_dir_all(own.path().join("de")).unwrap();
    let refused = start().err;
    let rendered = format!("`email.templates`: {folder}/en/trial.txt, line 3: undefined value");
    assert!(refused.contains(&rendered), "{refused}");

    write(own.path(), "en/trial.txt", "Welcome\n\nAsk us for a link.\n");
    write(own.path(), "en/trail.txt", "Welcome\n");
    write(own.path(), "fr/trial.txt", "Bienvenue\n");
    let refused = start().err;
    for expected in [
        format!("{folder}/en/trail.txt: there is no such template; did you mean en/trial.txt?"),
        format!("{folder}/fr: there is no such language; use en or de"),
    ] {
        assert!(refused.contains(&expected), "{expected}\nis not in\n{refused}");
    }
    fs::remove_file(own.path().join("en/trail.txt")).unwrap();
    fs::remove_dir_all(own.path().join("fr")).unwrap();
    let refused = start().err;
    assert!(refused.contains("the mail needs the link {{ links.verify }}"), "{refused}");
    fs::remove_dir_all(own.path()).unwrap();
    let refused = start().err;
    assert!(refused.contains("cannot be read: No such file"), "{refused}");
}

#[test]
fn mails_are_previewed_with_made_up_facts_and_only_cases_that_happen() {
    let directory = tempfile::tempdir().unwrap();
    let email = |arguments: &[&str]| run(licentia(directory.path()).arg("email").args(arguments));
    let preview = email(&["preview", "trial"]);
    assert!(preview.out.starts_with("Subject: Your trial of acme-app\n\nHello,"), "{preview:?}");
    let german = email(&["preview", "payment_problem", "--case", "no_license", "--language", "de"]);
    assert!(german.out.starts_with("Subject: Ihre Zahlung für acme-app ist"), "{german:?}");
    assert!(email(&["preview", "granted", "--html"]).out.starts_with("<!doctype html>"));
    let all = email(&["preview"]);
    assert!(all.out.contains("===== license_ended, case usual\n\nSubject: Your"), "{all:?}");
    for wrong in [
        &["preview", "trial", "--case", "forever"][..],
        &["preview", "verify", "--case", "usual"],
        &["preview", "trial", "--case", "never"],
        &["preview", "birthday"],
        &["preview", "trial", "--language", "fr"],
        &["preview", "--case", "usual"],
        &["preview", "trial", "--all", "previews"],
    ] {
        assert_eq!(email(wrong).code, 2, "{wrong:?}");
    }
    let refused = email(&["preview", "verify", "--case", "usual"]);
    assert_eq!(refused.err, "error: verify has no case usual; its cases: unverified\n");

    let all = email(&["preview", "--all", "previews"]);
    assert!(all.out.ends_with(" mails were written.\n"), "{all:?}");
    let read = |name: &str| fs::read_to_string(directory.path().join("previews").join(name));
    assert!(read("de/renewal.offline.txt").unwrap().contains("Ohne Internetverbindung"));
    assert!(read("en/trial.unverified.html").unwrap().contains("/account/verify#token="));

    // The built-in templates, unchanged, are a vendor's own.
    let written = email(&["templates", "own"]);
    assert!(written.out.ends_with(" templates were written.\n"), "{written:?}");
    assert_eq!(email(&["templates", "own"]).out, "0 templates were written.\n");
    let own = directory.path().join("own");
    let mut preview = licentia(directory.path());
    preview.args(["email", "preview", "--all", "again"]).env("LICENTIA_EMAIL__TEMPLATES", &own);
    assert_eq!(run(&mut preview).out, all.out);
    let read_again = |name: &str| fs::read_to_string(directory.path().join("again").join(name));
    let name = "de/trial_ended.usual.txt";
    assert_eq!(read_again(name).unwrap(), read(name).unwrap());
}

/// Signs a customer up with a browser that prefers this language. Returns the session token.
async fn sign_up_in(app: &TestApp, email: &str, language: &str) -> String {
    let request = reqwest::Client::new()
        .post(format!("{}/api/customers/signup", app.client.base))
        .header("accept-language", language)
        .json(&json!({ "email": email, "password": PASSWORD }));
    let answer: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn mails_are_in_the_language_of_the_customer() {
    let app = TestApp::start().await;
    for (email, header, language, subject) in [
        ("ada@example.com", "de-AT,de;q=0.9,en;q=0.5", json!("de"), "Ihre Testversion von"),
        ("bob@example.com", "en-US,en;q=0.9", json!("en"), "Your trial of"),
        ("eve@example.com", "fr-FR,fr;q=0.9", json!(null), "Your trial of"),
    ] {
        let token = sign_up_in(&app, email, header).await;
        let me = app.client.with_token(&token);
        assert_eq!(me.get("/api/customers/me").await.body["language"], language, "{header}");
        let mail = app.take_mail(email).await;
        assert!(mail.subject.starts_with(subject), "{header}: {}", mail.subject);
        // It can be changed, and a change of something else keeps it.
        let german = me.patch("/api/customers/me", &json!({ "language": "de" })).await;
        assert_eq!(german.body["language"], "de");
        let named = me.patch("/api/customers/me", &json!({ "name": "Ada" })).await;
        assert_eq!(named.body["language"], "de");
        let wrong = me.patch("/api/customers/me", &json!({ "language": "fr" })).await;
        assert_eq!(wrong.problem(), (400, "invalid_request"));
        if email == "eve@example.com" {
            let cleared = me.patch("/api/customers/me", &json!({ "language": null })).await;
            assert_eq!(cleared.body["language"], json!(null));
        }
        // The last mail to a deleted account too.
        assert_eq!(me.delete("/api/customers/me").await.status, 204);
        let mail = app.take_mail(email).await;
        let is_german = mail.subject.starts_with("Ihr Konto bei");
        assert_eq!(is_german, email != "eve@example.com", "{}", mail.subject);
    }
    let app = TestApp::start_with(&[("LICENTIA_EMAIL__LANGUAGE", "de")]).await;
    app.sign_up("ada@example.com").await;
    assert!(app.take_mail("ada@example.com").await.subject.starts_with("Ihre Testversion"));
}

/// Returns the text of a mail as its reader sees it.
fn text_of(mail: &licentia_sandbox::Mail) -> &str {
    mail.text.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn the_mail_says_until_when_the_file_works_offline_if_that_is_earlier() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let back = format!("{}/docs", shop.app.client.base);
    let yearly = json!({ "plan": "professional", "interval": "year", "success_url": back,
        "cancel_url": back });
    let opened = ada.client.post("/api/subscriptions/checkout", &yearly).await;
    let session = session_of(opened.text("/checkout_url"));
    shop.sandbox.pay(&session, licentia_sandbox::Card::Paid).unwrap();
    shop.settled().await;
    let [mail] = shop.mails_about_sales("ada@example.com").try_into().unwrap();
    let text = text_of(&mail);
    assert!(text.contains("Valid until: 20 November 2027, 15:00 UTC"), "{text}");
    assert!(text.contains("this file works until 20 December 2026, 15:00 UTC"), "{text}");
    assert!(text.contains("received your payment of 490.00 USD"), "{text}");

    // Of a month, the file lasts the whole.
    let bob = shop.buyer("bob@example.com").await;
    shop.buy(&bob, "starter").await;
    shop.settled().await;
    let [mail] = shop.mails_about_sales("bob@example.com").try_into().unwrap();
    let text = text_of(&mail);
    assert!(text.contains("Your app works with it offline, too."), "{text}");
}

#[tokio::test]
async fn the_page_of_the_invoice_is_in_the_mail_and_in_the_order() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    shop.settled().await;
    // The double's pages are not https, so this one is not stored.
    assert_eq!(shop.orders(&ada).await[0]["invoice_url"], json!(null));
    let url = "https://invoice.stripe.com/i/acct_1/test_1?s=ap";
    let page = format!("UPDATE orders SET invoice_url = '{url}'");
    assert_eq!(execute(&shop.app.app.store, &page).await.unwrap(), 1);
    assert_eq!(shop.orders(&ada).await[0]["invoice_url"], url);
    let again = "UPDATE outbox SET sent_at = NULL WHERE kind = 'upgrade'";
    assert_eq!(execute(&shop.app.app.store, again).await.unwrap(), 1);
    let sent = || shop.mails_about_sales("ada@example.com");
    shop.until("the mail is sent again", async || sent().len() == 2).await;
    let text = sent().last().map(|mail| text_of(mail).to_owned()).unwrap();
    assert!(text.contains(&format!("Invoice and receipt: {url}")), "{text}");
    assert!(text.contains("49.00 USD"), "{text}");
}

/// Opens a link as a browser does, but follows no redirect. Returns the status and the target.
async fn open(url: &str) -> (u16, String) {
    let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let answer = client.get(url).send().await.unwrap();
    let target = answer.headers().get("location");
    let target = target.map(|url| url.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.status().as_u16(), target)
}

#[tokio::test]
async fn a_mail_opens_the_portal_for_two_weeks_at_the_customers_own_address() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    shop.settled().await;
    let [mail] = shop.mails_about_sales("ada@example.com").try_into().unwrap();
    let link = text_of(&mail).split_whitespace().find(|word| word.contains("/account/portal?"));
    let link = link.unwrap().to_owned();
    let closed = (303, "/account/portal/closed".to_owned());
    for _ in 0..2 {
        let (status, portal) = open(&link).await;
        assert_eq!(status, 303);
        assert!(portal.starts_with(shop.sandbox.url()), "{portal}");
    }
    let wrong = format!("{}/account/portal", shop.app.client.base);
    for query in ["", "?token=", "?token=llnk_AAAA", "?tokn=x", "?token=%ff%00"] {
        assert_eq!(open(&format!("{wrong}{query}")).await, closed, "{query}");
    }
    let page = shop.app.client.get("/account/portal/closed").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    // The link verifies nothing, and a link of another kind opens no portal.
    let token = link.split_once("token=").unwrap().1;
    let verify = json!({ "token": token });
    let verified = shop.app.client.post("/api/customers/verify", &verify).await;
    assert_eq!(verified.problem(), (422, "invalid_link"));
    let kinds = "UPDATE mail_links SET kind = 'verify' WHERE kind = 'portal'";
    assert_eq!(execute(&shop.app.app.store, kinds).await.unwrap(), 1);
    assert_eq!(open(&link).await, closed);
    execute(&shop.app.app.store, "UPDATE mail_links SET kind = 'portal'").await.unwrap();
    assert_eq!(open(&link).await.0, 303);

    // A former address gives no access.
    let address = "UPDATE customers SET email = 'new@example.com'";
    execute(&shop.app.app.store, address).await.unwrap();
    assert_eq!(open(&link).await, closed);
    let address = "UPDATE customers SET email = 'ada@example.com'";
    execute(&shop.app.app.store, address).await.unwrap();
    shop.pass_days(&mut ada, 14).await;
    assert_eq!(open(&link).await, closed);
}

/// Adds the reminders that are due, as several servers do at once. Returns their number.
async fn remind(app: &TestApp) -> u64 {
    let servers = (0..3).map(|_| reminders::queue(&app.app));
    let queued = futures_util::future::join_all(servers).await;
    queued.into_iter().map(|queued| queued.unwrap_or_default()).sum()
}

#[tokio::test]
async fn a_trial_that_ends_soon_and_one_that_has_ended_are_announced_once() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    assert_eq!(app.take_mails("ada@example.com").await.len(), 1);
    for (days, subject) in [
        (10, None),
        (1, Some("Your trial of acme-app ends soon")),
        (1, None),
        (1, None),
        (1, Some("Your trial of acme-app has ended")),
        (1, None),
        (30, None),
    ] {
        app.clock.advance_days(days);
        assert_eq!(remind(&app).await, u64::from(subject.is_some()), "{subject:?}");
        assert_eq!(remind(&app).await, 0, "{subject:?}");
        let mails = app.take_mails("ada@example.com").await;
        let subjects: Vec<_> = mails.iter().map(|mail| mail.subject.as_str()).collect();
        assert_eq!(subjects, subject.into_iter().collect::<Vec<_>>());
        if days == 1 && subject.is_some_and(|subject| subject.ends_with("soon")) {
            assert!(mails[0].text.contains("ends on 4 December 2026, 15:00 UTC"));
        }
    }
}

/// Grants a license for some days, as an operator does.
async fn grant(app: &TestApp, email: &str, days: i64) -> CustomerId {
    let customer = license::customer_of(&app.app, &email.parse().unwrap()).await.unwrap();
    let expires = Some(app.app.now() + chrono::TimeDelta::days(days));
    let plan = app.app.plans.plan("professional").unwrap();
    let granted = Grant { plan, expires, extras: Extras::default(), replace: true };
    licenses::grant(&app.app, Actor::Operator, &customer, &granted).await.unwrap();
    customer
}

#[tokio::test]
async fn a_license_that_has_ended_is_announced_once_and_one_that_was_replaced_is_not() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    for email in ["ada@example.com", "bob@example.com", "old@example.com"] {
        app.sign_up(email).await;
    }
    grant(&app, "ada@example.com", 5).await;
    grant(&app, "old@example.com", 1).await;
    app.clock.advance_days(5);
    for email in ["ada@example.com", "bob@example.com", "old@example.com"] {
        app.take_mails(email).await;
    }
    // The mail about the end of a subscription would come within an hour.
    assert_eq!(remind(&app).await, 0);
    app.clock.advance_seconds(3600);
    // Ends of the day before yesterday and earlier are not announced any more.
    assert_eq!(remind(&app).await, 1);
    let mail = app.take_mail("ada@example.com").await;
    assert_eq!(mail.subject, "Your license for acme-app has ended");

    // A reminder that is no longer true when it is sent, is not sent.
    app.clock.advance_days(7);
    assert_eq!(remind(&app).await, 1);
    grant(&app, "bob@example.com", 30).await;
    let mails = app.take_mails("bob@example.com").await;
    let subjects: Vec<_> = mails.iter().map(|mail| mail.subject.as_str()).collect();
    assert_eq!(subjects, ["Your license for acme-app"]);
    let waiting = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL";
    assert_eq!(number(&app.app.store, waiting).await, 0);
}

#[tokio::test]
async fn the_end_of_a_license_is_announced_once_whoever_notices_it_first() {
    let shop = Shop::open().await;
    for (email, is_reminder_first) in [("ada@example.com", true), ("bob@example.com", false)] {
        let buyer = shop.buyer(email).await;
        let session = shop.buy(&buyer, "professional").await;
        shop.settled().await;
        let end = shop.app.app.now().epoch_seconds() - 2 * 3600;
        let end = format!(
            "UPDATE licenses SET expires_at = {end}, grace_until = NULL
             WHERE customer_id = '{}' AND source = 'subscription'",
            buyer.customer_id
        );
        assert_eq!(execute(&shop.app.app.store, &end).await.unwrap(), 1);
        let remind = async || reminders::queue(&shop.app.app).await.unwrap();
        if is_reminder_first {
            assert_eq!(remind().await, 1);
        }
        shop.sandbox.cancel_now(&shop.subscription_of(&session)).unwrap();
        shop.settled().await;
        assert_eq!(remind().await, 0);
        shop.settled().await;
        let mails = shop.mails_about_sales(email);
        let subjects: Vec<_> = mails.iter().map(|mail| mail.subject()).collect();
        let [_, ended] = subjects[..] else { panic!("{subjects:?}") };
        assert_eq!(ended, "Your license for acme-app has ended");
    }
}
