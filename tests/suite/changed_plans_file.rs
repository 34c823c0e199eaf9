//! A changed plans file: what reaches the licenses, and what is reported before customers notice.

use std::path::Path;

use licentia::app::App;
use licentia::config::Config;
use licentia::domain::license::{IssuedLicense, LicenseToken};
use licentia::domain::sale::plan_diff::LicenseChange;
use licentia::flows::license::refresh;
use licentia::flows::sale::plans::{changed_licenses, report_removals};
use licentia::random::Random;
use licentia_sandbox::{Interval, NewPrice, Options, PriceOptions, Sandbox};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::database::{TestDatabase, texts};
use crate::harness::process::{Done, Server, licentia, run};
use crate::harness::shop::{Buyer, Shop};

const PLANS: &str = include_str!("../../plans.toml");

/// Writes a plans file with these changes of the built-in plans, and returns its path.
fn changed(directory: &Path, changes: &[(&str, &str)]) -> String {
    let change = |text: String, (from, to): &(&str, &str)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let file = directory.join("changed.toml");
    std::fs::write(&file, changes.iter().fold(PLANS.to_owned(), change)).unwrap();
    file.to_str().unwrap().to_owned()
}

async fn token(shop: &Shop, buyer: &Buyer) -> LicenseToken {
    LicenseToken::new(shop.license(buyer).await["token"].as_str().unwrap().to_owned())
}

/// Returns the claims of a license.
fn claims(license: &IssuedLicense) -> Value {
    licentia_verify::inspect(license.token.expose()).unwrap().claims.into()
}

#[tokio::test]
async fn a_new_feature_reaches_every_license_at_the_next_refresh() {
    let shop = Shop::open().await;
    let trial = shop.buyer("ada@example.com").await;
    let paid = shop.buyer("bob@example.com").await;
    shop.buy(&paid, "professional").await;
    let granted = shop.buyer("eve@example.com").await;
    shop.app.grant(&granted.customer_id, "professional").await;
    shop.settled().await;
    let mails = shop.app.count("outbox").await;

    let directory = tempfile::tempdir().unwrap();
    let changes = [
        ("features = [\"editor\"]", "features = [\"editor\", \"pdf\"]"),
        ("\"sso\"]", "\"sso\", \"pdf\"]"),
        ("seats = 5", "seats = 6"),
    ];
    let app = shop.another_app(changed(directory.path(), &changes)).await;
    for (buyer, seats) in [(&trial, 1), (&paid, 6), (&granted, 6)] {
        let token = token(&shop, buyer).await;
        let license = refresh(&app, &token).await.unwrap();
        let claims = claims(&license);
        assert!(claims["features"].as_array().unwrap().contains(&json!("pdf")), "{claims}");
        assert_eq!(claims["limits"]["seats"], seats);
        let again = refresh(&app, &license.token).await.unwrap();
        assert_eq!(again.license_id, license.license_id, "it is issued once");
        assert_eq!(refresh(&app, &token).await.unwrap(), license, "the former token works too");
    }
    assert_eq!(shop.app.count("outbox").await, mails, "no customer gets a mail");
}

#[tokio::test]
async fn a_renamed_plan_follows_at_the_next_refresh() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    let token = token(&shop, &ada).await;
    let directory = tempfile::tempdir().unwrap();
    let rename = ("id = \"professional\"", "id = \"pro\"\nformer_ids = [\"professional\"]");
    let app = shop.another_app(changed(directory.path(), &[rename])).await;
    let license = refresh(&app, &token).await.unwrap();
    assert_eq!(claims(&license)["plan"], "pro");
    assert_eq!(refresh(&app, &token).await.unwrap(), license);
    // Without `former_ids`, the plan is gone: the license keeps its last token.
    let app = shop.another_app(changed(directory.path(), &[("professional", "expert")])).await;
    assert_eq!(refresh(&app, &license.token).await.unwrap(), license);
}

#[tokio::test]
async fn a_removed_feature_is_reported_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let start = async |changes: &[(&str, &str)]| {
        let file = changed(directory.path(), changes);
        let server = Server::start(directory.path(), &database, &[("LICENTIA_PLANS_FILE", &file)]);
        assert_eq!(server.client.get("/health/live").await.status, 200);
        server.stop();
        std::fs::read_to_string(directory.path().join("server.log")).unwrap()
    };
    let what = "the plans file has changed";
    let less = [(", \"sso\"]", "]"), ("seats = 5", "seats = 4")];
    assert!(!start(&[]).await.contains(what), "the first start has nothing to compare");
    let log = start(&less).await;
    assert!(log.contains("the plans file has changed: `professional` no longer grants `sso`"));
    assert!(log.contains("`professional` grants 4 `seats` instead of 5"), "{log}");
    assert!(!start(&less).await.contains(what), "it is reported once");
    assert!(!start(&[]).await.contains(what), "a feature that comes back is no removal");
    let store = database.open().await;
    let details = "SELECT detail FROM audit_log WHERE action = 'plans.reduced'";
    let details = texts(&store, details).await;
    assert_eq!(details.len(), 1);
    assert!(details[0].contains("no longer grants `sso`"), "{details:?}");
}

#[tokio::test]
async fn everything_that_a_plans_file_takes_away_is_reported() {
    let app = TestApp::start().await;
    assert_eq!(report_removals(&app.app).await.unwrap(), []);
    let directory = tempfile::tempdir().unwrap();
    let changes = [
        ("id = \"starter\"", "id = \"basic\""),
        ("limits = { seats = 5, devices = 3 }", "limits = { devices = 3 }"),
        ("price_starter_yearly", "price_basic_yearly"),
        ("price_pro_yearly", "price_professional_yearly"),
    ];
    let file = changed(directory.path(), &changes);
    let removals = report_removals(&another(&app, file).await).await.unwrap();
    let texts: Vec<_> = removals.iter().map(ToString::to_string).collect();
    let expected = [
        "`starter` is no longer in the plans file: its licenses stay as they are and are not \
         refreshed; if it was renamed, list `starter` in `former_ids`",
        "price_starter_monthly pays for `basic` instead of `starter`",
        "price_starter_yearly no longer pays for `starter`; if anybody pays it or has bought \
         something for it, put it back under `prices` with `sold = false`",
        "`professional` no longer has the limit `seats` (5)",
        "price_pro_yearly no longer pays for `professional`; if anybody pays it or has bought \
         something for it, put it back under `prices` with `sold = false`",
    ];
    assert_eq!(texts, expected);
    // A renamed plan loses nothing.
    let file = changed(directory.path(), &[]);
    report_removals(&another(&app, file).await).await.unwrap();
    let rename = ("id = \"starter\"", "id = \"basic\"\nformer_ids = [\"starter\"]");
    let renamed = changed(directory.path(), &[rename]);
    assert_eq!(report_removals(&another(&app, renamed).await).await.unwrap(), []);
}

#[tokio::test]
async fn a_changed_promise_is_reported_at_the_start_and_by_diff() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await.text("/customer/customer_id").to_owned();
    let granted = app.grant(&id, "starter").await;
    let directory = tempfile::tempdir().unwrap();
    let plan = |name: &str, more: &str| {
        let changes = [("name = \"Starter\"", &*format!("name = \"Starter\"\n{more}"))];
        let file = changed(directory.path(), &changes);
        let to = directory.path().join(name);
        std::fs::rename(file, &to).unwrap();
        to.to_str().unwrap().to_owned()
    };
    let all = plan("all.toml", "on_end = { mode = \"warn\" }\nwarn_days = 14\ntoken_days = 60");
    let less = plan("less.toml", "on_end = { mode = \"stop\" }\nwarn_days = 7");
    let none = plan("none.toml", "");
    let texts = async |file: &str| {
        let removals = report_removals(&another(&app, file.to_owned()).await).await.unwrap();
        removals.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    report_removals(&app.app).await.unwrap();
    assert_eq!(texts(&all).await, [""; 0], "more is no removal");
    let expected = [
        "`starter` promises less about the end, `on_end`: stop instead of warn; a license in the \
         field keeps its promise until it is refreshed",
        "apps with a license of `starter` warn 7 days before a change for the worse instead of 14",
        "license tokens of `starter` work for 30 days without a refresh instead of 60",
    ];
    assert_eq!(texts(&less).await, expected);

    let done = plans(&app, &["diff", &all, &less]);
    let notes: String = expected.iter().map(|text| format!("note: {text}\n")).collect();
    let line = format!(
        "{id} {} starter: on_end: warn → stop, which promises less; warn_days: 14 → 7; \
         token_days: 60 → 30\n",
        granted.license_id
    );
    let all_out = format!("{line}{notes}1 of 1 licenses would change.\n");
    assert_eq!((done.code, done.out), (1, all_out));
    let done = plans(&app, &["diff", &none, &all]);
    let better = "starter: on_end: stop → warn; warn_days: 0 → 14; token_days: 30 → 60\n";
    assert!(done.out.contains(better) && !done.out.contains("note:"), "{done:?}");
}

/// Returns another server on the same database, with another plans file.
async fn another(app: &TestApp, file: String) -> App {
    let config = Config { plans_file: Some(file.into()), ..app.config.clone() };
    App::start(&config, app.clock.clone(), Random::from_system().unwrap()).await.unwrap()
}

/// Runs `licentia plans` on the database of an app.
fn plans(app: &TestApp, arguments: &[&str]) -> Done {
    let mut command = licentia(app.directory.path());
    let url = app.config.database_url.expose_secret();
    run(command.arg("plans").args(arguments).env("LICENTIA_DATABASE_URL", url))
}

#[tokio::test]
async fn diff_names_whose_license_changes_and_how() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for (email, plan) in [("ada@example.com", "professional"), ("bob@example.com", "starter")] {
        let id = app.sign_up(email).await.text("/customer/customer_id").to_owned();
        ids.push((app.grant(&id, plan).await.license_id, id));
    }
    let (ada, bob) = (&ids[0], &ids[1]);
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("old.toml");
    std::fs::write(&old, PLANS).unwrap();
    let old = old.to_str().unwrap();
    let same = changed(directory.path(), &[("grace_days = 7", "grace_days = 8")]);
    let done = plans(&app, &["diff", old, &same]);
    assert_eq!((done.code, &*done.out), (0, "0 of 2 licenses would change.\n"), "{done:?}");

    let changes = [("\"sso\"]", "\"saml\"]"), ("seats = 5", "seats = 3")];
    let less = changed(directory.path(), &changes);
    let done = plans(&app, &["diff", old, &less]);
    let line = format!("{} {} professional: loses sso; gains saml; seats: 5 → 3\n", ada.1, ada.0);
    let notes = "note: `professional` no longer grants `sso`\n\
                 note: `professional` grants 3 `seats` instead of 5\n";
    assert_eq!(done.out, format!("{line}{notes}1 of 2 licenses would change.\n"));
    assert_eq!(done.code, 1);

    let gone = changed(directory.path(), &[("id = \"starter\"", "id = \"basic\"")]);
    let done = plans(&app, &["diff", old, &gone, "--json"]);
    assert_eq!(done.code, 1, "{done:?}");
    let told: Value = serde_json::from_str(&done.out).unwrap();
    let change = json!({
        "customer_id": bob.1,
        "license_id": bob.0.as_str(),
        "plan": "starter",
        "changes": ["its plan is gone; it is not refreshed"],
    });
    assert_eq!((&told["licenses"], &told["changes"]), (&json!(2), &json!([change])));
    assert!(told["removals"][0].as_str().unwrap().starts_with("`starter` is no longer"), "{told}");
    let rename = ("id = \"starter\"", "id = \"basic\"\nformer_ids = [\"starter\"]");
    let renamed = changed(directory.path(), &[rename]);
    let done = plans(&app, &["diff", old, &renamed]);
    assert!(done.out.contains(" starter: its plan is now basic\n"), "{done:?}");
    assert!(!done.out.contains("note:"), "{done:?}");

    let wrong = changed(directory.path(), &[("seats = 5", "seats = -5")]);
    let done = plans(&app, &["diff", "missing.toml", &wrong]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("missing.toml cannot be read"), "{done:?}");
    let found = "changed.toml:61: `plan[2].limits`: `seats` is -5";
    assert!(done.err.contains(found), "{done:?}");
}

/// Returns what the plans file changes for each license of a shop.
async fn differences(shop: &Shop, changes: &[(&str, &str)]) -> Vec<(String, Vec<String>)> {
    let directory = tempfile::tempdir().unwrap();
    let new = licentia::plans::load(Some(changed(directory.path(), changes).as_ref())).unwrap();
    let (app, mut found) = (&shop.app.app, Vec::new());
    let report = |change: LicenseChange| {
        found.push((change.plan, change.differences.iter().map(ToString::to_string).collect()));
        Ok(())
    };
    changed_licenses(&app.store, (&app.plans, &new), app.now(), report).await.unwrap();
    found
}

#[tokio::test]
async fn diff_follows_the_price_that_a_customer_pays() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "starter").await;
    let moved =
        [("price_starter_monthly", "price_x"), ("price_pro_monthly", "price_starter_monthly")];
    let found = differences(&shop, &moved).await;
    let all = ["its plan is now professional", "gains sso", "devices: 2 → 3", "seats: 1 → 5"];
    assert_eq!(found, [("starter".to_owned(), all.map(str::to_owned).to_vec())]);
    let gone = [("price_starter_monthly", "price_x")];
    let texts = vec!["its price price_starter_monthly pays for nothing now".to_owned()];
    assert_eq!(differences(&shop, &gone).await, [("starter".to_owned(), texts)]);
    assert_eq!(differences(&shop, &[("price_pro_monthly", "price_x")]).await, []);
}

/// A plan in two currencies, one that is sold once, and an add-on.
const SOLD: &str = r#"
    [[plan]]
    id = "team"
    name = "Team"
    prices = [
        { id = "price_team", interval = "month", amount = 900, currency = "usd",
          currencies = { eur = 800, gbp = 700 } },
        { id = "price_team_old", interval = "month", amount = 1, currency = "usd", sold = false },
    ]
    [[plan]]
    id = "studio"
    name = "Studio"
    prices = [
        { id = "price_studio", interval = "once", amount = 9900, currency = "usd",
          updates_months = 12 },
        { id = "price_updates", interval = "updates", amount = 4900, currency = "usd",
          updates_months = 12 },
    ]
    [[addon]]
    id = "pdf"
    name = "PDF export"
    prices = [{ id = "price_pdf", interval = "month", amount = 500, currency = "usd" }]
"#;

#[tokio::test]
async fn check_finds_every_difference_at_stripe() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let (month, once) = (Interval::Month, Interval::Once);
    let add = |id, amount, interval, currencies| {
        let new = NewPrice { id, product: "Acme", amount, currency: "usd", interval };
        let options = PriceOptions { currencies, ..PriceOptions::default() };
        sandbox.add_price_with(&new, &options);
    };
    add("price_team", 900, month, &[("eur", 800), ("gbp", 700)]);
    add("price_team_old", 100, month, &[]);
    sandbox.edit("price_team_old", json!({ "active": false }), "price.updated").unwrap();
    add("price_studio", 9900, once, &[]);
    add("price_updates", 4900, once, &[]);
    add("price_pdf", 500, month, &[]);

    let directory = tempfile::tempdir().unwrap();
    let trial = "product = \"acme\"\n[trial]\nplan = \"trial\"\ndays = 14\n[[plan]]\n\
                 id = \"trial\"\nname = \"Trial\"\n";
    let check = async |plans: &str, more: &[&str]| {
        std::fs::write(directory.path().join("plans.toml"), format!("{trial}{plans}")).unwrap();
        let mut command = licentia(directory.path());
        command
            .args(["plans", "check"])
            .args(more)
            .env("LICENTIA_STRIPE__SECRET_KEY", sandbox.secret_key())
            .env("LICENTIA_STRIPE__API_URL", sandbox.url());
        tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
    };
    let done = check(SOLD, &[]).await;
    assert_eq!((done.code, &*done.out), (0, "The prices match those at Stripe.\n"), "{done:?}");

    // Payment links are no differences. They are named if their buyers get no account or invoice.
    let monthly = sandbox.add_payment_link("price_pdf").unwrap();
    let for_guests = sandbox.add_payment_link("price_studio").unwrap();
    let done = check(SOLD, &["--json"]).await;
    let notes = serde_json::from_str::<Value>(&done.out).unwrap()["notes"].to_string();
    assert_eq!((done.code, notes.matches("`licentia stripe claim`").count()), (0, 2), "{notes}");
    assert_eq!(notes.matches("get no invoice, and Stripe has no customer").count(), 1, "{notes}");
    let done = check(&format!("[checkout]\nallow_unknown_buyers = true\n{SOLD}"), &[]).await;
    let note = format!("note: payment link {for_guests}, price price_studio: its buyers get no");
    assert!(done.out.contains(&note) && !done.out.contains(&monthly), "{done:?}");
    let always = json!({ "customer_creation": "always" });
    sandbox.edit(&for_guests, always, "payment_link.updated").unwrap();
    let done = check(SOLD, &[]).await;
    assert!(done.out.contains("its buyers get no invoice; set"), "{done:?}");

    // Former and other prices sell nothing any more, but a typo would lose what was sold.
    let former = SOLD
        .replace("id = \"studio\"", "id = \"studio\"\nformer_prices = [\"price_2024\"]")
        .replace("id = \"pdf\"", "id = \"pdf\"\nformer_prices = [\"price_pdf_2024\"]");
    let done = check(&former, &["--json"]).await;
    let unknown = |of: &str| format!("{of}: Stripe has no such price in this account and mode");
    let expected = json!([
        unknown("plan \"studio\", former price price_2024"),
        unknown("add-on \"pdf\", former price price_pdf_2024"),
    ]);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, &told["differences"]), (1, &expected), "{done:?}");
    add("price_2024", 1, once, &[]);
    add("price_pdf_2024", 1, month, &[]);
    assert_eq!(check(&former, &[]).await.code, 0);

    let product = sandbox.object("price_pdf")["product"].as_str().unwrap().to_owned();
    sandbox.edit(&product, json!({ "active": false }), "product.updated").unwrap();
    let done = check(SOLD, &[]).await;
    let archived = format!("add-on \"pdf\", price price_pdf: its product {product} is archived");
    assert!(done.code == 1 && done.err.contains(&archived), "{done:?}");
    sandbox.edit(&product, json!({ "active": true }), "product.updated").unwrap();

    let wrong = SOLD
        .replace("eur = 800", "eur = 850")
        .replace("gbp = 700", "chf = 700")
        .replace("interval = \"month\", amount = 1,", "interval = \"year\", amount = 1,")
        .replace("interval = \"month\", amount = 500", "interval = \"once\", amount = 600")
        .replace("price_updates", "price_of_nobody");
    sandbox.edit("price_studio", json!({ "active": false }), "price.updated").unwrap();
    let done = check(&wrong, &["--json"]).await;
    assert_eq!(done.code, 1, "{done:?}");
    let told: Value = serde_json::from_str(&done.out).unwrap();
    let expected = json!([
        "plan \"team\", price price_team: at Stripe it has no fixed amount in chf",
        "plan \"team\", price price_team: at Stripe it is 800 eur, here 850 eur",
        "plan \"team\", price price_team_old: at Stripe it is charged month, here year",
        "plan \"studio\", price price_studio: it is archived at Stripe",
        "plan \"studio\", price price_of_nobody: Stripe has no such price in this account and mode",
        "add-on \"pdf\", price price_pdf: at Stripe it is 500 usd (month), here 600 usd (once)",
    ]);
    assert_eq!(told["differences"], expected);
    let metered = json!({ "recurring": { "interval": "month", "interval_count": 3,
        "usage_type": "metered" } });
    sandbox.edit("price_team", metered, "price.updated").unwrap();
    let done = check(SOLD, &[]).await;
    assert!(done.err.contains("at Stripe it is 900 usd (metered, 3 months), here 900 usd (month)"));

    let taxed = format!("[checkout]\nautomatic_tax = true\n{SOLD}");
    let done = check(&taxed, &["--json"]).await;
    let advice = "Stripe refuses it for prices without a `tax_behavior`: price_team, ";
    assert!(done.code == 1 && done.out.contains(advice), "{done:?}");

    let done = check("[[plan]]\nid = 5\n", &[]).await;
    assert_eq!(done.code, 2);
    assert!(done.err.contains("plans.toml:9: `plan[1].id`: 5 is not valid"), "{done:?}");
}
