//! The `[checkout]` section of the plans file: codes, tax, tax ids, addresses and terms, and
//! whether the Stripe account can do them. The numbers are those of docs/requirements.md.

use licentia::error::Error;
use licentia::flows::sale::account_check;
use licentia_sandbox::{
    AccountSettings, ApiFault, BuyerDetails, Card, CouponDuration, Interval, NewPrice, Options,
    Paid, Sandbox, TaxStatus, Times,
};
use serde_json::{Value, json};

use crate::harness::TestDatabase;
use crate::harness::database::{number, texts};
use crate::harness::process::{run, serve};
use crate::harness::shop::{Buyer, Shop};
use crate::sell_once::customer_of;

/// Every option.
const ALL: &str = r#"
[checkout]
promotion_codes = true
automatic_tax = true
tax_ids = true
terms_of_service = true
billing_address = "required"
"#;

fn team() -> Value {
    json!({ "plan": "team", "interval": "month" })
}

/// Returns what this session's page collects.
fn collected(session: &Value) -> Vec<String> {
    let is_on = |name: &str, value: &Value| {
        (!matches!(value, Value::Null | Value::Bool(false))).then(|| format!("{name}={value}"))
    };
    let values = [
        ("codes", &session["allow_promotion_codes"]),
        ("tax", &session["automatic_tax"]["enabled"]),
        ("ids", &session["tax_id_collection"]["enabled"]),
        ("terms", &session["consent_collection"]["terms_of_service"]),
        ("address", &session["billing_address_collection"]),
    ];
    values.iter().filter_map(|(name, value)| is_on(name, value)).collect()
}

#[tokio::test]
async fn each_option_is_one_line_and_off_by_default() {
    for (option, expected) in [
        ("", ""),
        ("promotion_codes = true", "codes=true"),
        ("automatic_tax = true", "tax=true"),
        ("tax_ids = true", "ids=true"),
        ("terms_of_service = true", "terms=\"required\""),
        ("billing_address = \"required\"", "address=\"required\""),
        ("billing_address = \"auto\"", "address=\"auto\""),
    ] {
        let shop = Shop::selling_with(&format!("[checkout]\n{option}")).await;
        let ada = shop.buyer("ada@example.com").await;
        for wanted in [team(), json!({ "plan": "studio", "interval": "once" })] {
            let session = shop.open_checkout(&ada, wanted).await;
            let session = shop.sandbox.object(&session);
            assert_eq!(collected(&session).join(" "), expected, "{option}");
            assert_eq!(session["adaptive_pricing"]["enabled"], false, "the currency is fixed");
        }
    }
}

#[tokio::test]
async fn an_attempt_that_an_older_version_stored_is_resumed() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let first = shop.open_checkout(&ada, team()).await;
    let store = &shop.app.app.store;
    let stored = &texts(store, "SELECT parameters FROM stripe_attempts").await[0];
    let mut older: Value = serde_json::from_str(stored).unwrap();
    let fields = older.as_object_mut().unwrap();
    for new in ["options", "promotion_code", "trial_days"] {
        assert!(fields.remove(new).is_some(), "{stored}");
    }
    let update = format!("UPDATE stripe_attempts SET parameters = '{older}'");
    crate::harness::database::execute(store, &update).await.unwrap();
    let second = shop.open_checkout(&ada, team()).await;
    assert_eq!(first, second, "what it lacks has the default");
}

/// Creates a promotion code at Stripe. Returns its id.
async fn add_code(shop: &Shop, code: &str, more: &[(&str, &str)]) -> String {
    let fixed = [("promotion[type]", "coupon"), ("promotion[coupon]", "half"), ("code", code)];
    let made = shop.at_stripe("promotion_codes", &[&fixed, more].concat()).await;
    made["id"].as_str().unwrap().to_owned()
}

/// Requests a checkout with a code. Returns the error's code and the reason.
async fn refused(shop: &Shop, buyer: &Buyer, wanted: Value, code: &str) -> String {
    let mut wanted = wanted;
    wanted["promotion_code"] = code.into();
    let answer = shop.order(buyer, wanted).await;
    assert_eq!(answer.problem(), (422, "invalid_promotion_code"), "{code}: {answer:?}");
    let reason = answer.text("/detail").strip_prefix("`promotion_code`: ").unwrap();
    reason.split(':').next().unwrap().to_owned()
}

#[tokio::test]
async fn codes_expired_unknown_used_up_and_for_others_are_refused() {
    let shop = Shop::selling().await;
    let (ada, bob) = (shop.buyer("ada@example.com").await, shop.buyer("bob@example.com").await);
    shop.sandbox.add_coupon("half", 50, CouponDuration::Once);
    let bobs = shop.open_checkout(&bob, team()).await;
    let bobs = shop.stripe_customer_of(&bobs);
    let soon = (shop.sandbox.clock().now() + 60).to_string();
    add_code(&shop, "SOON", &[("expires_at", &soon)]).await;
    add_code(&shop, "ONCE", &[("max_redemptions", "1")]).await;
    add_code(&shop, "BOB", &[("customer", &bobs)]).await;
    add_code(&shop, "WELCOME", &[("restrictions[first_time_transaction]", "true")]).await;
    let least = ["restrictions[minimum_amount]", "restrictions[minimum_amount_currency]"];
    add_code(&shop, "BIG", &[(least[0], "5000"), (least[1], "usd")]).await;
    let gone = add_code(&shop, "GONE", &[]).await;
    shop.at_stripe(&format!("promotion_codes/{gone}"), &[("active", "false")]).await;
    shop.add_studio_coupon().await;
    let of_studio = [("promotion[type]", "coupon"), ("promotion[coupon]", "studio_only")];
    let of_studio = [&of_studio[..], &[("code", "STUDIO")]].concat();
    shop.at_stripe("promotion_codes", &of_studio).await;

    // Bob uses what can be used once. Then he is not new.
    let mut wanted = team();
    wanted["promotion_code"] = "once".into();
    let session = shop.purchase(&bob, wanted).await;
    assert_eq!(shop.sandbox.object(&session)["amount_total"], 500);
    shop.sandbox.advance(std::time::Duration::from_secs(60));
    for (code, reason) in [
        ("NONE", "unknown"),
        ("SOON", "expired"),
        ("GONE", "expired"),
        ("ONCE", "used_up"),
        ("BOB", "unknown"),
        ("BIG", "too_small"),
        ("STUDIO", "other_product"),
    ] {
        assert_eq!(refused(&shop, &ada, team(), code).await, reason, "{code}");
    }
    let once = json!({ "plan": "studio", "interval": "once" });
    assert_eq!(refused(&shop, &bob, once, "WELCOME").await, "unknown");
    // The number of units counts for the least amount, and each customer can use what is theirs.
    let enough = json!({ "plan": "team", "quantity": 5, "promotion_code": "BIG" });
    assert_eq!(shop.order(&ada, enough).await.status, 200);
    let welcome = json!({ "plan": "team", "promotion_code": "WELCOME" });
    assert_eq!(shop.order(&ada, welcome).await.status, 200);
    let studio = json!({ "plan": "studio", "interval": "month", "promotion_code": "STUDIO" });
    assert_eq!(shop.order(&ada, studio).await.status, 200);
    let answer = shop.order(&ada, json!({ "plan": "team", "promotion_code": "" })).await;
    assert_eq!(answer.problem(), (400, "invalid_request"));
}

#[tokio::test]
async fn a_code_on_the_page_and_one_in_the_call_stripe_36() {
    let shop = Shop::selling_with("[checkout]\npromotion_codes = true").await;
    shop.sandbox.add_coupon("half", 50, CouponDuration::Once);
    shop.sandbox.add_coupon("all", 100, CouponDuration::Once);
    let code = add_code(&shop, "HALF", &[]).await;
    shop.sandbox.add_promotion_code("all", "FREE").unwrap();

    let ada = shop.buyer("ada@example.com").await;
    let session = shop.open_checkout(&ada, team()).await;
    shop.sandbox.enter_promotion_code(&session, "HALF").unwrap();
    assert_eq!(shop.sandbox.pay(&session, Card::Paid).unwrap(), Paid::Completed);
    shop.settled().await;

    let bob = shop.buyer("bob@example.com").await;
    let mut wanted = team();
    wanted["promotion_code"] = "half".into();
    let session = shop.open_checkout(&bob, wanted.clone()).await;
    let opened = shop.sandbox.object(&session);
    assert_eq!(opened["allow_promotion_codes"], Value::Null, "Stripe takes one or the other");
    assert_eq!(opened["discounts"][0]["promotion_code"], json!(code));
    assert_eq!(shop.open_checkout(&bob, wanted).await, session, "the same request, the same page");
    assert_eq!(shop.sandbox.pay(&session, Card::Paid).unwrap(), Paid::Completed);
    shop.settled().await;
    for buyer in [&ada, &bob] {
        assert_eq!(shop.license(buyer).await["plan"], "team");
        let orders = shop.orders(buyer).await;
        assert_eq!(
            (&orders[0]["amount"], &orders[0]["status"]),
            (&json!(500), &json!("succeeded"))
        );
    }

    // Nothing is due, and the plan is paid.
    let eve = shop.buyer("eve@example.com").await;
    let mut wanted = team();
    wanted["promotion_code"] = "FREE".into();
    shop.purchase(&eve, wanted).await;
    assert_eq!(shop.license(&eve).await["plan"], "team");
}

#[tokio::test]
async fn a_code_that_stripe_refuses_is_not_a_failure_of_stripe() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    // Only Stripe knows in which currencies this coupon is valid.
    let coupon = [("id", "half"), ("amount_off", "100"), ("currency", "eur")];
    shop.at_stripe("coupons", &coupon).await;
    add_code(&shop, "EURO", &[]).await;
    assert_eq!(refused(&shop, &ada, team(), "EURO").await, "not_accepted");
    let euro = json!({ "plan": "team", "currency": "eur", "promotion_code": "EURO" });
    assert_eq!(shop.order(&ada, euro).await.status, 200);
}

#[tokio::test]
async fn orders_carry_tax_discount_refund_and_links() {
    let documents_url = Some("https://pay.example".to_owned());
    let shop = Shop::selling_in(Options { documents_url, ..Options::default() }, ALL).await;
    let ada = shop.buyer("ada@example.com").await;
    shop.sandbox.add_coupon("half", 50, CouponDuration::Once);
    add_code(&shop, "HALF", &[]).await;
    let session = shop.open_checkout(&ada, team()).await;
    shop.sandbox.enter_promotion_code(&session, "HALF").unwrap();
    let country = Some("DE".to_owned());
    let details = BuyerDetails { country, ..BuyerDetails::default() };
    shop.sandbox.enter_details(&session, details).unwrap();
    assert_eq!(shop.sandbox.pay(&session, Card::Paid).unwrap(), Paid::Completed);
    shop.settled().await;
    let order = shop.orders(&ada).await.remove(0);
    assert_eq!((&order["amount"], &order["tax"]), (&json!(600), &json!(100)), "{order}");
    assert_eq!(order["discount"], 500);
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&payment, Some(200)).unwrap();
    shop.settled().await;
    let order = shop.orders(&ada).await.remove(0);
    assert_eq!((&order["refunded_amount"], &order["status"]), (&json!(200), &json!("succeeded")));
    must_link(&shop, &order, Some(&shop.sandbox.object(&session)["invoice"]), &payment);
}

/// Asserts that an order links to the pages of its invoice and of the receipt of its payment.
fn must_link(shop: &Shop, order: &Value, invoice: Option<&Value>, payment: &str) {
    let page = invoice.map(|id| format!("https://pay.example/invoice/{}", id.as_str().unwrap()));
    assert_eq!(order["invoice_url"], json!(page), "{order}");
    let charge = shop.sandbox.object(payment)["latest_charge"].clone();
    let receipt = format!("https://pay.example/receipt/{}", charge.as_str().unwrap());
    assert_eq!(order["receipt_url"], receipt, "{order}");
}

#[tokio::test]
async fn renewals_and_single_payments_link_to_their_invoice_and_receipt() {
    let documents_url = Some("https://pay.example".to_owned());
    let shop = Shop::selling_in(Options { documents_url, ..Options::default() }, "").await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.purchase(&ada, team()).await;
    let subscription = shop.subscription_of(&session);
    shop.pass_days(&mut ada, 31).await;
    let renewal = &shop.sandbox.object(&subscription)["latest_invoice"];
    let payment = shop.sandbox.payment_intent(renewal.as_str().unwrap()).unwrap();
    let orders = shop.orders(&ada).await;
    assert_eq!(orders.len(), 2);
    must_link(&shop, &orders[0], Some(renewal), &payment);

    let bob = shop.buyer("bob@example.com").await;
    let session = shop.purchase(&bob, json!({ "plan": "studio", "interval": "once" })).await;
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    let invoice = &shop.sandbox.object(&session)["invoice"];
    must_link(&shop, &shop.orders(&bob).await[0], Some(invoice), &payment);

    // A session of the vendor's own has no invoice.
    let eve = shop.buyer("eve@example.com").await;
    shop.open_checkout(&eve, team()).await;
    let customer = customer_of(&shop, &eve).await;
    let session = shop.session_at_stripe(&customer, "price_studio_once").await;
    assert_eq!(shop.sandbox.pay(&session, Card::Paid).unwrap(), Paid::Completed);
    shop.settled_with_invoice().await;
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    let orders = shop.orders(&eve).await;
    let once = orders.iter().find(|order| order["plan"] == "studio").unwrap();
    must_link(&shop, once, None, &payment);
}

#[tokio::test]
async fn an_order_by_bank_debit_includes_the_tax_before_the_money_arrives() {
    for (card, after) in [(Card::DelayedPaid, "succeeded"), (Card::DelayedFailed, "failed")] {
        let shop = Shop::selling_with(ALL).await;
        let ada = shop.buyer("ada@example.com").await;
        let wanted = json!({ "plan": "studio", "interval": "once" });
        let session = shop.open_checkout(&ada, wanted).await;
        let country = Some("DE".to_owned());
        let details = BuyerDetails { country, ..BuyerDetails::default() };
        shop.sandbox.enter_details(&session, details).unwrap();
        shop.sandbox.pay(&session, card).unwrap();
        shop.settled().await;
        let order = async || {
            let order = shop.orders(&ada).await.remove(0);
            (order["status"].clone(), order["amount"].clone(), order["tax"].clone())
        };
        assert_eq!(order().await, (json!("pending"), json!(36_000), json!(6_000)), "{card:?}");
        shop.sandbox.advance_days(7);
        shop.settled_with_invoice().await;
        assert_eq!(order().await, (json!(after), json!(36_000), json!(6_000)), "{card:?}");
    }
}

#[tokio::test]
async fn the_company_and_its_vat_id_are_on_the_invoice() {
    let shop = Shop::selling_with(ALL).await;
    let ada = shop.buyer("ada@example.com").await;
    let named = json!({ "company_name": "Analytical Engines Ltd" });
    assert_eq!(ada.client.patch("/api/customers/me", &named).await.status, 200);
    let session = shop.open_checkout(&ada, team()).await;
    let customer = shop.stripe_customer_of(&session);
    assert_eq!(shop.sandbox.object(&customer)["business_name"], "Analytical Engines Ltd");
    let details = BuyerDetails {
        country: Some("DE".to_owned()),
        tax_id: Some("DE123456789".to_owned()),
        ..BuyerDetails::default()
    };
    shop.sandbox.enter_details(&session, details).unwrap();
    assert_eq!(shop.sandbox.pay(&session, Card::Paid).unwrap(), Paid::Completed);
    shop.settled().await;
    let invoice = shop.sandbox.object(&session)["invoice"].as_str().unwrap().to_owned();
    let invoice = shop.sandbox.object(&invoice);
    assert_eq!(invoice["customer_name"], "Analytical Engines Ltd", "{invoice}");
    assert_eq!(invoice["customer_tax_ids"][0]["value"], "DE123456789");
    assert_eq!(invoice["customer_address"]["country"], "DE");
}

#[tokio::test]
async fn a_changed_name_writes_no_company_back_stripe_29() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let named = json!({ "name": "Ada", "company_name": "Old Ltd" });
    assert_eq!(ada.client.patch("/api/customers/me", &named).await.status, 200);
    let session = shop.open_checkout(&ada, team()).await;
    let customer = shop.stripe_customer_of(&session);
    let path = format!("customers/{customer}");
    shop.at_stripe(&path, &[("business_name", "New at Stripe Ltd")]).await;
    let change = json!({ "name": "Ada King" });
    assert_eq!(ada.client.patch("/api/customers/me", &change).await.status, 200);
    shop.settled().await;
    let at_stripe = shop.sandbox.object(&customer);
    assert_eq!(
        (&at_stripe["name"], &at_stripe["business_name"]),
        (&json!("Ada King"), &json!("New at Stripe Ltd"))
    );
    // A changed company is sent, and the name that Stripe has stays.
    shop.at_stripe(&path, &[("name", "Countess")]).await;
    let change = json!({ "company_name": "Newer Ltd" });
    assert_eq!(ada.client.patch("/api/customers/me", &change).await.status, 200);
    shop.settled().await;
    let at_stripe = shop.sandbox.object(&customer);
    assert_eq!(
        (&at_stripe["name"], &at_stripe["business_name"]),
        (&json!("Countess"), &json!("Newer Ltd"))
    );
    let status = texts(&shop.app.app.store, "SELECT stripe_sync_status FROM customers").await;
    assert_eq!(status, ["synced"]);
}

/// Starts the server of a shop, as far as the check of the account.
async fn start(shop: &Shop) -> Result<(), Vec<String>> {
    match account_check::at_start(&shop.app.app).await {
        Ok(()) => Ok(()),
        Err(Error::Setup(problems)) => Err(problems),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn an_account_that_cannot_tax_or_has_no_terms_is_refused_at_the_start() {
    let account = AccountSettings { tax: TaxStatus::Pending, terms_url: None };
    let shop = Shop::selling_in(Options { account, ..Options::default() }, ALL).await;
    let problems = start(&shop).await.unwrap_err();
    let [tax, terms] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(tax.contains("automatic_tax") && tax.contains("head_office"), "{tax}");
    assert!(terms.contains("terms_of_service") && terms.contains("/settings/public"), "{terms}");

    // Once the account is ready, each start is silent, and only the first one asks Stripe.
    shop.sandbox.set_account(AccountSettings::default());
    assert_eq!(start(&shop).await, Ok(()));
    assert_eq!(number(&shop.app.app.store, "SELECT COUNT(*) FROM account_checks").await, 1);
    let expired = shop.sandbox.events("checkout.session.expired");
    let before = shop.sandbox.api_calls();
    assert_eq!(start(&shop).await, Ok(()));
    assert_eq!(shop.sandbox.api_calls(), before);
    assert!(!expired.is_empty(), "the session of the check cannot be paid");
}

#[tokio::test]
async fn a_later_price_that_stripe_cannot_tax_is_refused_at_the_start() {
    let shop = Shop::selling_with(ALL).await;
    assert_eq!(start(&shop).await, Ok(()));
    let (id, interval) = ("price_farm", Interval::Once);
    let new = NewPrice { id, product: "Farm", amount: 100, currency: "usd", interval };
    shop.sandbox.add_price(&new);
    let farm = r#"
        [[plan]]
        id = "farm"
        name = "Farm"
        prices = [{ id = "price_farm", interval = "once", amount = 100, currency = "usd" }]
    "#;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("more.toml");
    let plans = format!("{}\n{ALL}\n{farm}", include_str!("harness/selling.toml"));
    std::fs::write(&file, plans).unwrap();
    let app = shop.another_app(file.display().to_string()).await;
    let Err(Error::Setup(problems)) = account_check::at_start(&app).await else { panic!() };
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(problem.contains("prices without a `tax_behavior`: price_farm. Set"), "{problem}");
}

#[tokio::test]
async fn a_key_that_may_not_check_the_options_is_refused_at_the_start() {
    let shop = Shop::selling_with(ALL).await;
    for call in ["GET /v1/tax/settings", "POST /v1/checkout/sessions"] {
        shop.sandbox.faults().api_call(ApiFault::Forbidden, call, Times::Always);
        let problems = start(&shop).await.unwrap_err();
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        let is_clear = problem.starts_with("the options of `[checkout]` cannot be checked: ");
        assert!(is_clear && problem.contains("403"), "{call}: {problem}");
        shop.sandbox.faults().clear();
    }
    assert_eq!(start(&shop).await, Ok(()));
}

#[tokio::test]
async fn stripe_down_at_the_start_delays_nothing_stripe_20() {
    let shop = Shop::selling_with(ALL).await;
    for fault in [ApiFault::ErrorBefore, ApiFault::Silence] {
        shop.sandbox.faults().api(fault, Times::Always);
        assert_eq!(start(&shop).await, Ok(()));
        shop.sandbox.faults().clear();
    }
    let checked = "SELECT COUNT(*) FROM account_checks";
    assert_eq!(number(&shop.app.app.store, checked).await, 0, "the next start asks again");
}

#[tokio::test]
async fn without_options_a_start_asks_nothing_of_stripe() {
    let shop = Shop::selling().await;
    let before = shop.sandbox.api_calls();
    assert_eq!(start(&shop).await, Ok(()));
    assert_eq!(shop.sandbox.api_calls(), before);
}

#[tokio::test]
async fn the_server_and_the_setup_name_what_the_account_cannot_do() {
    let account = AccountSettings { tax: TaxStatus::Pending, terms_url: None };
    let sandbox = Sandbox::start(Options { account, ..Options::default() }).await.unwrap();
    let (id, amount, interval) = ("price_starter_month", 1900, Interval::Month);
    sandbox.add_price(&NewPrice { id, product: "Acme", amount, currency: "usd", interval });
    let directory = tempfile::tempdir().unwrap();
    let plans = format!("{}\n{ALL}", include_str!("harness/selling.toml"));
    std::fs::write(directory.path().join("plans.toml"), plans).unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let settings = [
        ("LICENTIA_PLANS_FILE", "plans.toml"),
        ("LICENTIA_STRIPE__SECRET_KEY", sandbox.secret_key()),
        ("LICENTIA_STRIPE__API_URL", sandbox.url()),
    ];
    let mut serving = serve(directory.path(), &database, &settings);
    let served = tokio::task::spawn_blocking(move || run(&mut serving)).await.unwrap();
    let mut setting_up = crate::harness::process::licentia(directory.path());
    setting_up.args(["stripe", "setup", "--url", "http://127.0.0.1:1"]).envs(settings);
    let set_up = tokio::task::spawn_blocking(move || run(&mut setting_up)).await.unwrap();
    for done in [served, set_up] {
        assert_eq!(done.code, 1, "{done:?}");
        for option in ["`checkout.automatic_tax`", "`checkout.terms_of_service`"] {
            assert!(done.err.contains(option), "{done:?}");
        }
    }
}
