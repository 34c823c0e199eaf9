//! `licentia import customers`: imports a vendor's existing customers. Their Stripe customers are
//! in `backfill`.

use licentia::customer_file;
use licentia::flows::Mode;
use licentia::flows::account::import::{self, Report};
use licentia::flows::sale::backfill::{self, Newcomers};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::database::{HeldLock, texts};
use crate::harness::process::{Done, licentia, run};
use crate::harness::shop::Shop;
use crate::harness::{PASSWORD, TestApp};

/// Runs the command on a file with this text.
fn command(app: &TestApp, csv: &str, more: &[&str]) -> Done {
    let directory = app.directory.path();
    std::fs::write(directory.join("customers.csv"), csv).unwrap();
    run(licentia(directory)
        .args(["import", "customers", "customers.csv"])
        .args(more)
        .env("LICENTIA_DATABASE_URL", app.config.database_url.expose_secret()))
}

async fn import(shop: &Shop, csv: &str) -> licentia::error::Result<Report> {
    let file = customer_file::parse(csv).unwrap();
    import::customers(&shop.app.app, file, Mode::Apply, |_| {}).await
}

const FILE: &str = "email,name,company_name,email_verified\r\n\
                    ada@example.com,Ada,\"Analytical, \"\"Engines\"\"\",yes\r\n\
                    Bob@Example.com,,,no\r\n";

#[tokio::test]
async fn customers_are_imported_once_and_get_no_mail() {
    let app = TestApp::start().await;
    let looked = command(&app, FILE, &["--dry-run"]);
    assert_eq!((looked.code, &*looked.out), (0, "2 customers would be imported, 0 skipped.\n"));
    assert_eq!(app.count("customers").await, 0);

    let done = command(&app, FILE, &[]);
    assert_eq!((done.code, &*done.out), (0, "2 customers imported, 0 skipped.\n"), "{done:?}");
    let rows =
        "SELECT c.email || '|' || COALESCE(c.name, '-') || '|' || COALESCE(c.company_name, '-')
                    || '|' || CASE WHEN c.email_verified_at IS NULL THEN 'no' ELSE 'yes' END
                FROM customers c JOIN users u ON u.user_id = c.user_id ORDER BY c.email";
    let expected = ["ada@example.com|Ada|Analytical, \"Engines\"|yes", "bob@example.com|-|-|no"];
    assert_eq!(texts(&app.app.store, rows).await, expected);
    for table in ["licenses", "outbox", "sessions"] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }

    // Existing customers stay unchanged.
    let again =
        command(&app, &format!("{}eve@example.com,,,yes\r\n", FILE.replace("Ada", "Eva")), &[]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(
        again.out.contains("line 2: ada@example.com already has an account; skipped\n"),
        "{again:?}"
    );
    assert!(again.out.ends_with("1 customers imported, 2 skipped.\n"), "{again:?}");
    assert_eq!(texts(&app.app.store, rows).await[..2], expected);
    let json = command(&app, FILE, &["--json"]);
    let told: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&told["imported"], &told["skipped"][1]["line"]), (&json!(0), &json!(3)));
}

#[tokio::test]
async fn a_dry_run_only_reads() {
    let app = TestApp::start().await;
    let lock = HeldLock::take(&app.config.database_url, "users, customers, audit_log").await;
    let file = customer_file::parse(FILE).unwrap();
    let report = import::customers(&app.app, file, Mode::DryRun, |_| {}).await.unwrap();
    assert_eq!((report.imported, report.skipped.len()), (2, 0));
    lock.release().await;
    assert_eq!(app.count("customers").await, 0);
}

#[tokio::test]
async fn an_account_without_a_password_cannot_be_logged_in_to_security_12() {
    let app = TestApp::start().await;
    assert_eq!(command(&app, FILE, &[]).code, 0);
    let hashes = texts(&app.app.store, "SELECT password_hash FROM users").await;
    let login = async |email: &str, password: &str| {
        let request = json!({ "email": email, "password": password });
        let answer = app.client.post("/api/customers/login", &request).await;
        (answer.status, answer.body["code"].clone(), answer.body["detail"].clone())
    };
    let nobody = login("nobody@example.com", PASSWORD).await;
    assert_eq!(nobody.0, 401);
    for password in [PASSWORD, "nobody is here.", &hashes[0]] {
        assert_eq!(login("ada@example.com", password).await, nobody, "{password}");
    }
    let taken = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(app.client.post("/api/customers/signup", &taken).await.status, 409);
    // The operator can grant them a license.
    let issue = ["license", "issue", "--email", "ada@example.com", "--plan", "professional"];
    let issued = run(licentia(app.directory.path())
        .args(issue)
        .args(["--days", "365"])
        .env("LICENTIA_DATABASE_URL", app.config.database_url.expose_secret()));
    assert_eq!(issued.code, 0, "{issued:?}");
    assert_eq!((app.count("outbox").await, app.count("licenses").await), (1, 1));
}

#[tokio::test]
async fn a_file_with_problems_changes_nothing_and_every_problem_is_reported() {
    let app = TestApp::start().await;
    let csv = "email,name\nada@example.com,Ada\nbob,Bob\ncarl@example.com,\"Carl\n";
    let done = command(&app, csv, &[]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("error: line 3: `email`: this is not an email address"), "{done:?}");
    assert!(done.err.contains("error: line 4: `name`: it has a line break"), "{done:?}");
    assert!(done.err.contains("no customer was imported"), "{done:?}");
    let json = command(&app, csv, &["--json"]);
    let told: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, told["problems"].as_array().unwrap().len()), (1, 3), "{json:?}");
    assert_eq!(app.count("users").await, 0);

    let wrong = command(&app, "e-mail;name\n", &[]);
    assert!(wrong.err.contains("no column \"e-mail\"; did you mean \"email\"?"), "{wrong:?}");
    let directory = app.directory.path();
    std::fs::write(directory.join("latin.csv"), b"email,name\nada@example.com,J\xfcrgen\n")
        .unwrap();
    for (file, says) in [("latin.csv", "UTF-8"), ("missing.csv", "No such file")] {
        let done = run(licentia(directory)
            .args(["import", "customers", file])
            .env("LICENTIA_DATABASE_URL", app.config.database_url.expose_secret()));
        assert_eq!(done.code, 1);
        assert!(done.err.contains(file) && done.err.contains(says), "{done:?}");
    }
    let named = command(&app, "email,stripe_customer_id\nada@example.com,cus_1\n", &[]);
    assert!(named.err.contains("line 2: a `stripe_customer_id` is checked"), "{named:?}");
    assert_eq!(app.count("users").await, 0);
}

#[tokio::test]
async fn many_customers_are_imported_in_batches() {
    let app = TestApp::start().await;
    let rows = |numbers: std::ops::Range<u32>| {
        let rows = numbers.map(|number| format!("customer{number}@example.com\n"));
        format!("email\n{}", rows.collect::<String>())
    };
    assert_eq!(command(&app, &rows(0..450), &[]).out, "450 customers imported, 0 skipped.\n");
    // As after an import that was interrupted.
    let done = command(&app, &rows(400..1000), &["--json"]);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    let skipped = told["skipped"].as_array().unwrap().len();
    assert_eq!((&told["imported"], skipped), (&json!(550), 50));
    assert_eq!(app.count("customers").await, 1000);
    assert_eq!(app.count("audit_log").await, 1000);
}

#[tokio::test]
async fn an_imported_stripe_customer_is_linked_and_licensed() {
    let shop = Shop::open().await;
    let linked = shop.buyer("linked@example.com").await;
    shop.buy(&linked, "professional").await;
    let theirs = "SELECT stripe_customer_id FROM customers WHERE stripe_customer_id IS NOT NULL";
    let theirs = texts(&shop.app.app.store, theirs).await.remove(0);
    let ada = shop.old_buyer("billing@example.com", &[]).await;
    let id = format!("cust_{}", "0".repeat(32));
    let named = shop.old_customer("x@example.com", &[("customer_id", &id)]).await;
    let csv = format!(
        "email,stripe_customer_id\nada@example.com,{ada}\nbob@example.com,{theirs}\n\
         carl@example.com,cus_unknown\nx@example.com,{named}\nlinked@example.com,cus_other\n"
    );
    let problems = import(&shop, &csv).await.unwrap_err().to_string();
    for expected in [
        &*format!("line 3: {theirs} is already linked to {}", linked.customer_id),
        "line 4: Stripe has no customer cus_unknown",
        &format!("line 5: the metadata of {named} at Stripe names {id}"),
    ] {
        assert!(problems.contains(expected), "{expected}\nis not in\n{problems}");
    }
    assert_eq!(problems.lines().count(), 4, "who has an account is skipped: {problems}");
    assert_eq!(shop.app.count("customers").await, 1);

    let csv = format!("email,stripe_customer_id\nada@example.com,{ada}\n");
    let report = import(&shop, &csv).await.unwrap();
    assert_eq!((report.imported, report.linked), (1, 1));
    assert_eq!(shop.mails_about_sales("ada@example.com").len(), 0);
    let app = &shop.app.app;
    let report = backfill::run(app, Mode::Apply, Newcomers::ReportOnly, |_| {}).await.unwrap();
    assert_eq!((report.done.len(), report.done[0].action), (1, "finished"), "{report:?}");
    shop.settled().await;
    let mails = shop.mails_about_sales("ada@example.com");
    assert_eq!((mails.len(), mails[0].subject()), (1, "Your license for acme-app"));
    let metadata = &shop.sandbox.object(&ada)["metadata"];
    assert_eq!(metadata["customer_id"], report.done[0].customer_id.as_deref().unwrap());
}
