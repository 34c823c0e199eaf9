//! `licentia stripe backfill`, as an operator runs it: its output, its exit codes, and a death in
//! the middle. Its effects are tested in `backfill`.

use licentia::fail_point::Place;
use serde_json::Value;

use crate::harness::database::{execute, number, texts};
use crate::harness::process::{licentia, run};
use crate::harness::vendor::Vendor;

#[tokio::test]
async fn the_command_reports_its_changes_and_the_customers_left() {
    let vendor = Vendor::new().await;
    let ada = vendor.buyer("ada@example.com").await;
    let dry_run = vendor.backfill(&["--dry-run"]).await;
    assert_eq!(dry_run.code, 1, "{dry_run:?}");
    let line = format!("not linked: {ada} (ada@example.com), pays for professional: no account");
    assert!(dry_run.out.contains(&line), "{dry_run:?}");
    assert!(dry_run.out.contains("`licentia stripe backfill --create` "), "{dry_run:?}");
    assert!(dry_run.out.contains("1 Stripe customers: 0 already linked, 0 would be processed"));

    let dry_run = vendor.backfill(&["--create", "--dry-run", "--json"]).await;
    assert_eq!(dry_run.code, 1, "{dry_run:?}");
    let report: Value = serde_json::from_str(&dry_run.out).unwrap();
    assert_eq!(report["done"][0]["action"], "created");
    assert_eq!(report["done"][0]["customer_id"], Value::Null);

    let done = vendor.backfill(&["--create"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("account created; subscription: none -> active"), "{done:?}");
    assert!(done.out.contains(": none -> succeeded"), "the order is new: {done:?}");
    assert!(done.out.contains("license: professional until"), "{done:?}");
    let again = vendor.backfill(&["--create"]).await;
    assert_eq!(again.code, 0, "{again:?}");
    let nothing =
        "1 Stripe customers: 1 already linked, 0 processed, 0 failed, 0 need your action.\n";
    assert_eq!(again.out, nothing);
    assert!(done.out.ends_with("The server mails the licenses that were issued.\n"), "{done:?}");

    let sandbox = vendor.sandbox.url().to_owned();
    vendor.sandbox.stop().await;
    let mut command = licentia(vendor.directory.path());
    command
        .args(["stripe", "backfill"])
        .env("LICENTIA_DATABASE_URL", &vendor.database.url)
        .env("LICENTIA_STRIPE__SECRET_KEY", "sk_test_1")
        .env("LICENTIA_STRIPE__API_URL", &sandbox);
    let failed = run(&mut command);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.err.contains("Stripe cannot be reached"), "{failed:?}");
    let nothing = run(licentia(vendor.directory.path()).args(["stripe", "backfill"]));
    assert!(nothing.err.contains("set LICENTIA_STRIPE__SECRET_KEY"), "{nothing:?}");
}

#[tokio::test]
async fn a_customer_who_pays_twice_is_reported_when_linked() {
    let vendor = Vendor::new().await;
    let ada = vendor.buyer("ada@example.com").await;
    vendor.subscribe(&ada, "price_pro_monthly").await;
    let done = vendor.backfill(&["--create"]).await;
    let told = format!("note: {ada}: the customer has several live subscriptions");
    assert!(done.out.contains(&told), "{done:?}");
}

#[tokio::test]
async fn separate_payers_with_one_address_are_imported_with_separate_addresses() {
    let vendor = Vendor::new().await;
    let one = vendor.buyer("office@example.com").await;
    let other = vendor.buyer("office@example.com").await;
    let left = vendor.backfill(&["--create"]).await;
    assert_eq!(left.code, 1, "{left:?}");
    let advice = "For each one that pays, import an account for it with its `stripe_customer_id` \
                  and an email address of its own";
    assert_eq!(left.out.matches(advice).count(), 2, "{left:?}");
    vendor.import(&format!("email,stripe_customer_id\noffice@example.com,{one}\n")).await;
    let taken = vendor.backfill(&[]).await;
    assert_eq!(taken.code, 1, "{taken:?}");
    let advice = "import an account for it with its `stripe_customer_id` and an email address of its \
                  own";
    assert!(taken.out.contains(advice), "{taken:?}");
    vendor.import(&format!("email,stripe_customer_id\nbob@example.com,{other}\n")).await;
    let done = vendor.backfill(&[]).await;
    assert_eq!(done.code, 0, "{done:?}");
    for done in [taken, done] {
        assert_eq!(done.out.matches("license: professional until").count(), 1, "{done:?}");
    }
}

#[tokio::test]
async fn a_death_during_the_backfill_changes_nothing_in_the_end() {
    for place in [
        Place::BackfillCreated,
        Place::BackfillLinked,
        Place::BackfillTagged,
        Place::SyncFetched,
        Place::SettleWritten,
    ] {
        let point = place.as_str();
        let vendor = Vendor::new().await;
        let ada = vendor.buyer("ada@example.com").await;
        let create = ["stripe", "backfill", "--create"];
        let died = vendor.run_with(&create, &[("FAIL_POINT", point)]).await;
        assert_eq!(died.code, -1, "{point}: {died:?}");
        // A minute later.
        let store = vendor.database.open().await;
        execute(&store, "UPDATE customer_leases SET leased_until = NULL").await.unwrap();
        let done = vendor.run(&create).await;
        assert_eq!(done.code, 0, "{point}: {done:?}");
        for (rows, expected) in [
            ("customers WHERE stripe_synced_at IS NOT NULL", 1),
            ("customers", 1),
            ("licenses", 1),
            ("outbox", 1),
            ("orders", 1),
        ] {
            let count = number(&store, &format!("SELECT COUNT(*) FROM {rows}")).await;
            assert_eq!(count, expected, "{point}: {rows}");
        }
        let id = texts(&store, "SELECT customer_id FROM customers").await.remove(0);
        assert_eq!(vendor.sandbox.object(&ada)["metadata"]["customer_id"], id, "{point}");
        store.close().await;
    }
}
