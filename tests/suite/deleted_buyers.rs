//! Stripe customers whose account here was deleted: what was bought before needs nothing, and what
//! is bought later needs an account like any purchase. The numbers are those of
//! docs/requirements.md.

use licentia::domain::operator::audit::Actor;
use licentia::flows::Mode;
use licentia::flows::sale::backfill::{self, Newcomers, Undecided};
use licentia::flows::sale::buyer_claim;
use licentia::flows::sale::claim::ClaimTarget;
use licentia_sandbox::Card;
use serde_json::json;

use crate::harness::database::number;
use crate::harness::shop::Shop;
use crate::payment_links::{WITH_CUSTOMER, open_to_all};
use crate::sell_once::customer_of;

const ADA: &str = "ada@example.com";

/// The values of `metadata.customer_id` at Stripe after the sale.
const METADATA: [Option<&str>; 3] = [None, Some("acme-17"), Some("")];

/// Buys `studio` for ever, and deletes the account a day later. The vendor may have written other
/// metadata. Returns the Stripe customer.
async fn deleted(shop: &Shop, metadata: Option<&str>) -> String {
    let ada = shop.buyer(ADA).await;
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "once" })).await;
    let customer = customer_of(shop, &ada).await;
    if let Some(metadata) = metadata {
        let path = format!("customers/{customer}");
        shop.at_stripe(&path, &[("metadata[customer_id]", metadata)]).await;
    }
    assert_eq!(ada.client.delete("/api/customers/me").await.status, 204);
    shop.settled().await;
    shop.sandbox.advance_days(1);
    shop.settled().await;
    customer
}

async fn claim(shop: &Shop, buyer: &str, to: ClaimTarget) -> Result<&'static str, Undecided> {
    let buyer = buyer.parse().unwrap();
    let claimed = buyer_claim::claim(&shop.app.app, &buyer, &to, Actor::Operator).await.unwrap();
    shop.settled().await;
    claimed.map(|done| done.action)
}

/// Returns what a backfill did, and whom it left.
async fn backfill(shop: &Shop, newcomers: Newcomers) -> (Vec<&'static str>, Vec<Undecided>) {
    let report = backfill::run(&shop.app.app, Mode::Apply, newcomers, |_| {}).await.unwrap();
    shop.settled().await;
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    (report.done.iter().map(|done| done.action).collect(), report.undecided)
}

#[tokio::test]
async fn stripe_28_a_deleted_buyer_who_buys_again_gets_an_account_with_all_that_was_bought() {
    for metadata in METADATA {
        let shop = open_to_all().await;
        let customer = deleted(&shop, metadata).await;
        shop.sandbox.subscribe(&customer, "price_team_month", Card::Paid).unwrap();
        shop.settled().await;
        assert_eq!(shop.listed().await, json!([]), "{metadata:?}");
        // The perpetual license is the higher plan, and covers new builds.
        assert_eq!(shop.plans_held(ADA).await, ["studio"], "{metadata:?}");
        let live = "SELECT COUNT(*) FROM subscriptions WHERE status = 'active'";
        assert_eq!(number(&shop.app.app.store, live).await, 1, "{metadata:?}");
        let named = shop.sandbox.object(&customer)["metadata"]["customer_id"].clone();
        let is_vendors = metadata == Some("acme-17");
        assert_eq!(named == "acme-17", is_vendors, "{metadata:?}: {named}");
        let (done, left) = backfill(&shop, Newcomers::Create).await;
        assert!(done.is_empty() && left.is_empty(), "{metadata:?}: {done:?} {left:?}");
        let report = shop.sync_all().await;
        assert!(report.unknown_buyers.is_empty() && report.drifted.is_empty(), "{report:?}");
    }
}

#[tokio::test]
async fn stripe_30_the_advice_about_a_deleted_buyer_who_buys_again_creates_an_account() {
    for metadata in METADATA {
        for is_claimed in [true, false] {
            let shop = Shop::selling().await;
            let customer = deleted(&shop, metadata).await;
            shop.sandbox.subscribe(&customer, "price_team_month", Card::Paid).unwrap();
            shop.settled().await;
            assert_eq!(shop.listed().await[0]["plan"], "team", "{metadata:?}");
            let (done, left) = backfill(&shop, Newcomers::ReportOnly).await;
            let [left] = &left[..] else { panic!("{metadata:?}: {done:?} {left:?}") };
            assert_eq!((left.reason, left.plan.as_deref()), ("no_account", Some("team")));
            assert!(left.message.contains(&format!("claim {customer} --create")), "{left:?}");
            let left = claim(&shop, &customer, ClaimTarget::Recognized).await.unwrap_err();
            assert_eq!((left.reason, left.plan.as_deref()), ("no_account", Some("team")));
            if is_claimed {
                assert_eq!(
                    claim(&shop, &customer, ClaimTarget::NewAccount).await.unwrap(),
                    "created"
                );
            } else {
                let (done, left) = backfill(&shop, Newcomers::Create).await;
                assert_eq!((done, left.len()), (vec!["created"], 0), "{metadata:?}");
            }
            assert_eq!(shop.plans_held(ADA).await, ["studio"], "{metadata:?}");
            assert_eq!(shop.listed().await, json!([]));
        }
    }
}

#[tokio::test]
async fn stripe_30_no_account_is_advised_for_a_deleted_buyer_who_bought_nothing_since() {
    for metadata in METADATA {
        let shop = Shop::selling().await;
        let customer = deleted(&shop, metadata).await;
        let must_be_deleted = |left: &Undecided| {
            assert_eq!((left.reason, left.plan.as_deref()), ("deleted", None), "{metadata:?}");
            let text = &left.message;
            assert!(text.starts_with("its account cust_") && !text.contains("--create"), "{text}");
            assert!(
                text.contains("It has no subscription") && !text.contains("metadata"),
                "{text}"
            );
        };
        for newcomers in [Newcomers::ReportOnly, Newcomers::Create] {
            let (done, left) = backfill(&shop, newcomers).await;
            let [left] = &left[..] else { panic!("{metadata:?}: {done:?} {left:?}") };
            must_be_deleted(left);
        }
        for to in [ClaimTarget::Recognized, ClaimTarget::NewAccount] {
            must_be_deleted(&claim(&shop, &customer, to).await.unwrap_err());
        }
        // An add-on alone gives a new account no license.
        let session = shop.session_at_stripe(&customer, "price_pdf_once").await;
        shop.sandbox.pay(&session, Card::Paid).unwrap();
        shop.settled_with_invoice().await;
        must_be_deleted(&claim(&shop, &customer, ClaimTarget::NewAccount).await.unwrap_err());
        assert_eq!(number(&shop.app.app.store, "SELECT COUNT(*) FROM customers").await, 0);
        // A perpetual license does.
        let session = shop.session_at_stripe(&customer, "price_site_once").await;
        shop.sandbox.pay(&session, Card::Paid).unwrap();
        shop.settled_with_invoice().await;
        assert_eq!(claim(&shop, &customer, ClaimTarget::NewAccount).await.unwrap(), "created");
        assert_eq!(shop.plans_held(ADA).await, ["site"], "{metadata:?}");
    }
}

#[tokio::test]
async fn stripe_28_a_deleted_buyer_who_returns_with_another_stripe_customer_gets_an_account() {
    let shop = open_to_all().await;
    let former = deleted(&shop, None).await;
    shop.bought_at("price_site_once", &WITH_CUSTOMER, ADA).await;
    assert_eq!(shop.plans_held(ADA).await, ["site"]);
    let (done, left) = backfill(&shop, Newcomers::Create).await;
    let [left] = &left[..] else { panic!("{done:?} {left:?}") };
    assert_eq!((left.buyer.to_string(), left.reason), (former, "deleted"));
    assert!(done.is_empty(), "{done:?}");
}

#[tokio::test]
async fn stripe_30_the_advice_about_a_session_of_a_stripe_customer_is_what_that_one_needs() {
    let shop = Shop::selling().await;
    let session = shop.bought_at("price_studio_once", &WITH_CUSTOMER, "eve@example.com").await;
    let customer = shop.stripe_customer_of(&session);
    let refused = async |session: &str, to| {
        let buyer = session.parse().unwrap();
        let claimed = buyer_claim::claim(&shop.app.app, &buyer, &to, Actor::Operator).await;
        claimed.unwrap_err().to_string()
    };
    let advice = format!("run `licentia stripe claim {customer} --create`");
    for to in [ClaimTarget::Recognized, ClaimTarget::NewAccount] {
        let refused = refused(&session, to).await;
        assert!(refused.contains(&advice), "{refused}");
    }
    assert_eq!(claim(&shop, &customer, ClaimTarget::NewAccount).await.unwrap(), "created");
    // The session of a deleted account creates none.
    let customer = deleted(&shop, None).await;
    let site = shop.session_at_stripe(&customer, "price_site_once").await;
    shop.sandbox.pay_as(&site, Card::Paid, ADA).unwrap();
    shop.settled_with_invoice().await;
    let advice = format!("run `licentia stripe claim {customer}`");
    let refused = refused(&site, ClaimTarget::NewAccount).await;
    assert!(refused.contains(&advice), "{refused}");
    assert_eq!(
        claim(&shop, &customer, ClaimTarget::Recognized).await.unwrap_err().reason,
        "no_account"
    );
}
