//! Another `[policy]` in the plans file: it is reported at the start, and the licenses that `plans
//! diff` names are those that the next reconciliation changes.

use licentia::app::App;
use licentia::domain::sale::plan_diff::LicenseChange;
use licentia::flows::Mode;
use licentia::flows::sale::plans::{changed_licenses, report_removals};
use licentia::flows::sale::reconcile::{AT_ONCE, run as reconcile};
use licentia_sandbox::Card;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::process::{Done, licentia, run};
use crate::harness::shop::{Buyer, Shop, plans_with, shop_with_policy};

/// The settings that stay the same: each test changes one of them.
const OTHERS: [(&str, &str); 5] = [
    ("refund", "keep"),
    ("partial_refund", "keep"),
    ("dispute", "keep"),
    ("dispute_lost", "revoke"),
    ("forgiven", "keep"),
];

/// Returns the policy with this value of a setting.
fn policy(setting: &str, value: &str) -> String {
    let lines = OTHERS.map(|(name, other)| {
        let value = if name == setting { value } else { other };
        format!("{name} = \"{value}\"\n")
    });
    lines.concat()
}

/// Returns a shop that keeps everything after `setting`, with a buyer whose payment is like that.
async fn shop_with_returned(setting: &str) -> (Shop, Buyer) {
    let shop = shop_with_policy(&policy(setting, "keep")).await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    let sandbox = &shop.sandbox;
    match setting {
        "refund" => sandbox.refund(&intent, None).map(drop).unwrap(),
        "partial_refund" => sandbox.refund(&intent, Some(100)).map(drop).unwrap(),
        "dispute" => sandbox.open_dispute(&intent).map(drop).unwrap(),
        "dispute_lost" => {
            let dispute = sandbox.open_dispute(&intent).unwrap();
            sandbox.close_dispute(&dispute, false).unwrap();
        }
        _ => {
            let customer = shop.stripe_customer_of(&session);
            sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
            shop.pass_days(&mut ada, 31).await;
            let subscription = sandbox.object(&shop.subscription_of(&session));
            sandbox.void_invoice(subscription["latest_invoice"].as_str().unwrap()).unwrap();
        }
    }
    shop.sync_all().await;
    (shop, ada)
}

/// Returns the texts of what one app's plans change for each license when the other's follow.
async fn differences(from: &App, to: &App) -> Vec<String> {
    let mut found = Vec::new();
    let report = |change: LicenseChange| {
        found.extend(change.differences.iter().map(ToString::to_string));
        Ok(())
    };
    let plans = (&from.plans, &to.plans);
    changed_licenses(&from.store, plans, from.now(), report).await.unwrap();
    found
}

/// Returns whether the customer's license works after a reconciliation by these plans.
async fn works_after(app: &App, buyer: &Buyer) -> bool {
    reconcile(app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    let id = buyer.customer_id.parse().unwrap();
    let license = app.store.read().await.unwrap().current_license(&id).await.unwrap();
    license.is_some_and(|license| license.works(app.now()))
}

#[tokio::test]
async fn diff_names_the_license_that_each_policy_revokes_or_gives_back() {
    for (setting, orders, state) in [
        ("refund", 1, "was refunded"),
        ("partial_refund", 1, "was returned in part"),
        ("dispute", 1, "is disputed"),
        ("dispute_lost", 1, "is disputed"),
        ("forgiven", 2, "was not paid"),
    ] {
        let (shop, ada) = shop_with_returned(setting).await;
        let (_directory, file) = plans_with(&policy(setting, "revoke"));
        let (keep, revoke) = (&shop.app.app, &shop.another_app(file).await);
        let ids = shop.orders(&ada).await;
        assert_eq!(ids.len(), orders, "{setting}: {ids:?}");
        let text = |change: &str| {
            let order = ids[0]["order_id"].as_str().unwrap();
            format!("policy.{setting}: {change}, and {order} {state}")
        };
        assert!(works_after(keep, &ada).await, "{setting}");
        assert_eq!(differences(keep, revoke).await, [text("keep → revoke")]);
        assert!(!works_after(revoke, &ada).await, "{setting}");
        assert_eq!(differences(revoke, keep).await, [text("revoke → keep")]);
        assert!(works_after(keep, &ada).await, "{setting}");
        assert_eq!(differences(keep, keep).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_policy_changes_no_license_without_such_a_payment() {
    let shop = shop_with_policy(&policy("", "")).await;
    let (ada, eve) = (shop.buyer("ada@example.com").await, shop.buyer("eve@example.com").await);
    shop.buy(&ada, "professional").await;
    shop.ask(&eve, "professional").await;
    for (setting, _) in OTHERS.iter().filter(|(_, value)| *value == "keep") {
        let (_directory, file) = plans_with(&policy(setting, "revoke"));
        let stricter = shop.another_app(file).await;
        assert_eq!(differences(&shop.app.app, &stricter).await, [""; 0], "{setting}");
        assert_eq!(differences(&stricter, &shop.app.app).await, [""; 0], "{setting}");
    }
}

#[tokio::test]
async fn a_stricter_policy_is_reported_at_the_start_and_a_milder_one_is_not() {
    let shop = shop_with_policy(&policy("refund", "keep")).await;
    let (_directory, file) = plans_with(&policy("refund", "revoke"));
    let stricter = shop.another_app(file).await;
    report_removals(&shop.app.app).await.unwrap();
    let texts = async |app: &App| {
        let removals = report_removals(app).await.unwrap();
        removals.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let expected = "`policy.refund` is \"revoke\" instead of \"keep\": what payments that were \
                    refunded in full bought is revoked";
    assert_eq!(texts(&stricter).await, [expected]);
    assert_eq!(texts(&shop.app.app).await, [""; 0]);
}

/// Runs `licentia plans diff` on the database of a shop. The license must be perpetual, because the
/// command has the clock of the machine.
async fn diff(shop: &Shop, plans: [&str; 2], more: &[&str]) -> Done {
    let mut command = licentia(shop.app.directory.path());
    let url = shop.app.config.database_url.expose_secret();
    command.args(["plans", "diff"]).args(plans).args(more).env("LICENTIA_DATABASE_URL", url);
    tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
}

#[tokio::test]
async fn the_command_counts_a_license_that_a_policy_gives_back() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.purchase(&ada, json!({ "plan": "studio", "interval": "once" })).await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, more: &str| {
        let path = directory.path().join(name);
        let plans = include_str!("harness/selling.toml");
        std::fs::write(&path, format!("{plans}\n[policy]\n{more}\n")).unwrap();
        path.display().to_string()
    };
    let keep = file("keep.toml", "refund = \"keep\"");
    let revoke = file("revoke.toml", "refund = \"revoke\"");
    let done = diff(&shop, [&revoke, &keep], &[]).await;
    assert_eq!((done.code, &*done.out), (0, "0 of 1 licenses would change.\n"), "{done:?}");

    shop.sandbox.refund(&shop.sandbox.payment_intent(&session).unwrap(), None).unwrap();
    shop.settled().await;
    let license = shop.license(&ada).await;
    assert_eq!(license["status"], "revoked");
    let orders = shop.orders(&ada).await;
    let line = |change: &str| {
        format!(
            "{} {} studio: policy.refund: {change}, and {} was refunded\n",
            ada.customer_id,
            license["license_id"].as_str().unwrap(),
            orders[0]["order_id"].as_str().unwrap()
        )
    };
    let done = diff(&shop, [&revoke, &keep], &[]).await;
    let expected = format!("{}1 of 1 licenses would change.\n", line("revoke → keep"));
    assert_eq!((done.code, done.out), (1, expected));
    let done = diff(&shop, [&keep, &revoke], &["--json"]).await;
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, &told["licenses"], &told["changes"]), (0, &json!(0), &json!([])));
    assert_eq!(told["removals"].as_array().unwrap().len(), 1, "{told}");
}
