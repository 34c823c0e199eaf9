//! Single payments of a second Stripe customer of somebody with an account: payment links create
//! one for each purchase. The numbers are those of docs/requirements.md.

use licentia::domain::operator::audit::Actor;
use licentia::flows::sale::buyer_claim;
use licentia::flows::sale::claim::ClaimTarget;
use licentia_sandbox::Card;
use serde_json::json;

use crate::harness::database::{execute, texts};
use crate::harness::shop::{Buyer, Shop};
use crate::payment_links::{WITH_CUSTOMER, open_to_all};

const ADA: &str = "ada@example.com";

/// Returns what was done, or the reason and the message.
async fn claim(shop: &Shop, buyer: &str, to: ClaimTarget) -> Result<&'static str, String> {
    let buyer = buyer.parse().unwrap();
    let claimed = buyer_claim::claim(&shop.app.app, &buyer, &to, Actor::Operator).await;
    shop.settled().await;
    match claimed {
        Ok(Ok(done)) => Ok(done.action),
        Ok(Err(left)) => Err(format!("{}: {}", left.reason, left.message)),
        Err(error) => Err(error.to_string()),
    }
}

fn customer(buyer: &Buyer) -> ClaimTarget {
    ClaimTarget::Customer(buyer.customer_id.parse().unwrap())
}

/// Returns a customer who bought a perpetual license here, and the end of its updates.
async fn owner(shop: &Shop) -> (Buyer, i64) {
    let ada = shop.buyer(ADA).await;
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "once" })).await;
    let until = shop.claims(&ada).await.updates_until.unwrap();
    (ada, until)
}

#[tokio::test]
async fn stripe_30_a_single_payment_of_a_second_stripe_customer_is_claimed_by_its_session() {
    for settings in [&WITH_CUSTOMER[..1], &WITH_CUSTOMER[1..]] {
        let shop = Shop::selling().await;
        let (ada, before) = owner(&shop).await;
        let session = shop.bought_at("price_studio_updates", settings, ADA).await;
        let second = shop.stripe_customer_of(&session);
        assert_eq!(shop.listed().await[0]["stripe_customer_id"], second.as_str(), "{settings:?}");
        // Each refusal prints the command that works.
        let command = format!("`licentia stripe claim {session} --to {}`", ada.customer_id);
        for to in [ClaimTarget::Recognized, ClaimTarget::NewAccount, customer(&ada)] {
            let refused = claim(&shop, &second, to).await.unwrap_err();
            assert!(refused.contains(&command), "{refused}");
            assert!(!refused.contains("refund"), "nothing needs to be returned: {refused}");
        }
        assert_eq!(shop.claims(&ada).await.updates_until, Some(before));
        assert_eq!(claim(&shop, &session, customer(&ada)).await, Ok("claimed"));
        let extended = shop.claims(&ada).await.updates_until.unwrap();
        assert!(extended > before + 360 * 86_400, "{settings:?}");
        let orders = shop.orders(&ada).await;
        assert_eq!(orders.len(), 2, "{orders:?}");
        assert_eq!(shop.listed().await, json!([]));
        for _ in 0..2 {
            let report = shop.sync_all().await;
            assert_eq!((report.drifted.len(), report.need_action()), (0, 0), "{report:?}");
            assert_eq!(shop.listed().await, json!([]), "a reconciliation lists it no more");
        }
        assert_eq!(claim(&shop, &session, customer(&ada)).await, Ok("finished"));
        let owned = format!("nothing is left to link: {session} belongs to {}", ada.customer_id);
        for to in [ClaimTarget::Recognized, ClaimTarget::NewAccount, customer(&ada)] {
            let refused = claim(&shop, &second, to).await.unwrap_err();
            assert!(refused.contains(&owned), "{refused}");
        }
        // The events about the other Stripe customer reach the account.
        let payment = shop.sandbox.payment_intent(&session).unwrap();
        shop.sandbox.refund(&payment, None).unwrap();
        shop.settled().await;
        assert_eq!(shop.claims(&ada).await.updates_until, Some(before), "{settings:?}");
    }
}

#[tokio::test]
async fn stripe_28_a_session_goes_to_no_customer_who_can_have_its_stripe_customer() {
    let shop = Shop::selling().await;
    let (ada, _) = owner(&shop).await;
    let session = shop.bought_at("price_studio_once", &WITH_CUSTOMER, "eve@example.com").await;
    let theirs = shop.stripe_customer_of(&session);
    // Neither a new account nor one without a Stripe customer.
    let bob = shop.buyer("bob@example.com").await;
    let refused = claim(&shop, &session, customer(&bob)).await.unwrap_err();
    let way_out = format!("run `licentia stripe claim {theirs} --to {}`", bob.customer_id);
    assert!(refused.contains(&way_out), "{refused}");
    let refused = claim(&shop, &session, ClaimTarget::NewAccount).await.unwrap_err();
    assert!(refused.contains(&format!("run `licentia stripe claim {theirs} --create`")));
    assert_eq!(claim(&shop, &theirs, ClaimTarget::NewAccount).await, Ok("created"));
    // What a linked Stripe customer bought stays there.
    let refused = claim(&shop, &session, customer(&ada)).await.unwrap_err();
    assert!(refused.contains(&format!("a purchase of {theirs}, which is linked to")), "{refused}");
    assert_eq!(shop.plans_held("eve@example.com").await, ["studio"]);
}

#[tokio::test]
async fn stripe_16_a_deleted_stripe_customer_takes_its_own_sessions_and_leaves_the_claimed_ones() {
    let shop = Shop::selling().await;
    let ada = shop.buyer(ADA).await;
    shop.purchase(&ada, json!({ "plan": "starter" })).await;
    let query = "SELECT stripe_customer_id FROM customers WHERE stripe_customer_id IS NOT NULL";
    let linked = texts(&shop.app.app.store, query).await.remove(0);
    // Both without an invoice, so that only the sessions show them.
    let own = shop.session_at_stripe(&linked, "price_pdf_once").await;
    shop.sandbox.pay(&own, Card::Paid).unwrap();
    shop.settled_with_invoice().await;
    let other = shop.bought_at("price_studio_once", &WITH_CUSTOMER[..1], ADA).await;
    assert_eq!(claim(&shop, &other, customer(&ada)).await, Ok("claimed"));
    let claims = shop.claims(&ada).await;
    assert_eq!((claims.plan.as_str(), claims.limits.get("pages")), ("studio", Some(&500)));
    shop.delete_at_stripe(&format!("customers/{linked}")).await;
    shop.settled().await;
    let claims = shop.claims(&ada).await;
    assert_eq!((claims.plan.as_str(), claims.limits.get("pages")), ("studio", None));
}

#[tokio::test]
async fn stripe_30_a_payment_that_was_claimed_by_its_session_grants_no_second_customer() {
    let shop = Shop::selling().await;
    let (ada, _) = owner(&shop).await;
    let session = shop.bought_at("price_studio_once", &WITH_CUSTOMER, "eve@example.com").await;
    let theirs = shop.stripe_customer_of(&session);
    assert_eq!(claim(&shop, &session, customer(&ada)).await, Ok("claimed"));
    let bob = shop.buyer("bob@example.com").await;
    for to in [customer(&bob), ClaimTarget::NewAccount] {
        let refused = claim(&shop, &theirs, to).await.unwrap_err();
        assert!(!refused.is_empty());
    }
    let refused = claim(&shop, &theirs, customer(&bob)).await.unwrap_err();
    let owner = format!("{session}, which belongs to {}", ada.customer_id);
    assert!(refused.contains(&owner), "{refused}");
    // A link that was written all the same grants nothing.
    let link = format!(
        "UPDATE customers SET stripe_customer_id = '{theirs}', stripe_sync_status = 'synced',
             stripe_synced_at = 1 WHERE customer_id = '{}'",
        bob.customer_id
    );
    execute(&shop.app.app.store, &link).await.unwrap();
    shop.sync_all().await;
    assert_eq!(shop.plans_held("bob@example.com").await, ["trial"]);
}

#[tokio::test]
async fn stripe_30_each_refusal_to_replace_a_stripe_customer_names_the_sessions_to_claim() {
    let shop = Shop::selling().await;
    let mut ada = shop.buyer(ADA).await;
    let team = json!({ "plan": "team", "interval": "year" });
    let running = shop.purchase(&ada, team).await;
    let session = shop.bought_at("price_studio_once", &WITH_CUSTOMER, ADA).await;
    let second = shop.stripe_customer_of(&session);
    let command = format!("run `licentia stripe claim {session} --to {}`", ada.customer_id);
    let to = customer(&ada);
    let refused = async |why: &str| {
        let refused = claim(&shop, &second, to.clone()).await.unwrap_err();
        assert!(refused.contains(why) && refused.contains(&command), "{refused}");
    };
    refused("which has a live subscription; end that at Stripe first").await;
    // The subscription leaves a perpetual license.
    shop.sandbox.cancel(&shop.subscription_of(&running), true).unwrap();
    shop.settled().await;
    shop.pass_days(&mut ada, 367).await;
    refused("whose ended subscription left a perpetual license").await;
    assert_eq!(claim(&shop, &session, to.clone()).await, Ok("claimed"));
    assert_eq!(shop.claims(&ada).await.plan, "studio");
}

#[tokio::test]
async fn stripe_30_the_advice_about_a_purchase_without_a_plan_creates_no_account() {
    let shop = Shop::selling().await;
    let with_customer = shop.bought_at("price_pdf_once", &WITH_CUSTOMER, "eve@example.com").await;
    let theirs = shop.stripe_customer_of(&with_customer);
    let guest = shop.bought_at("price_studio_updates", &[], "bob@example.com").await;
    for (buyer, item) in [(theirs, "pdf"), (guest, "studio")] {
        for to in [ClaimTarget::Recognized, ClaimTarget::NewAccount] {
            let refused = claim(&shop, &buyer, to).await.unwrap_err();
            let expected = format!(
                "no_plan: no account has its email address, and what it paid for (`{item}`)"
            );
            assert!(refused.starts_with(&expected), "{refused}");
            assert!(!refused.contains("--create"), "{refused}");
        }
    }
}

#[tokio::test]
async fn stripe_30_a_stripe_customer_with_a_claimed_payment_is_linked_to_its_owner_only() {
    let shop = Shop::selling().await;
    let (ada, _) = owner(&shop).await;
    let bob = shop.buyer("bob@example.com").await;
    // Bob is linked to a Stripe customer who bought nothing.
    shop.open_checkout(&bob, json!({ "plan": "team" })).await;
    for (buyer, has_more) in [(&ada, true), (&bob, false)] {
        let address = if has_more { ADA } else { "bob@example.com" };
        let session = shop.bought_at("price_studio_once", &WITH_CUSTOMER, address).await;
        let theirs = shop.stripe_customer_of(&session);
        assert_eq!(claim(&shop, &session, customer(buyer)).await, Ok("claimed"));
        shop.sandbox.subscribe(&theirs, "price_team_month", Card::Paid).unwrap();
        shop.settled().await;
        let eve = shop.buyer(&format!("eve.{has_more}@example.com")).await;
        let refused = claim(&shop, &theirs, customer(&eve)).await.unwrap_err();
        let way_out = format!("Run `licentia stripe claim {theirs} --to {}`", buyer.customer_id);
        assert!(refused.contains(&way_out), "{refused}");
        let linked = claim(&shop, &theirs, customer(buyer)).await;
        if has_more {
            let refused = linked.unwrap_err();
            let way_out = format!("cancel the subscription of {theirs} at Stripe, and let the");
            assert!(refused.contains(&way_out), "{refused}");
        } else {
            assert_eq!(linked, Ok("claimed"));
        }
        assert_eq!(shop.claims(buyer).await.plan, "studio");
    }
    // The payment that was claimed by its session counts once.
    let report = shop.sync_all().await;
    assert_eq!(report.drifted.len(), 0, "{report:?}");
    let bought = shop.orders(&bob).await;
    let once = bought.iter().filter(|order| order["interval"] == "once").count();
    assert_eq!(once, 1, "{bought:?}");
}

#[tokio::test]
async fn stripe_28_a_second_customers_payment_is_added_to_the_account_with_the_verified_address() {
    let shop = open_to_all().await;
    let (ada, before) = owner(&shop).await;
    let updates = async || {
        let session = shop.bought_at("price_studio_updates", &WITH_CUSTOMER, ADA).await;
        (shop.stripe_customer_of(&session), session)
    };
    // Somebody else may have signed up with the address.
    let (unproven, session) = updates().await;
    assert_eq!(shop.claims(&ada).await.updates_until, Some(before));
    assert_eq!(shop.listed().await[0]["stripe_customer_id"], unproven.as_str());
    assert_eq!(claim(&shop, &session, customer(&ada)).await, Ok("claimed"));
    let claimed = shop.claims(&ada).await.updates_until.unwrap();
    execute(&shop.app.app.store, "UPDATE customers SET email_verified_at = 1").await.unwrap();
    let (second, session) = updates().await;
    let joined = shop.claims(&ada).await.updates_until.unwrap();
    assert!(joined > claimed + 360 * 86_400, "{claimed} {joined}");
    assert_eq!(shop.listed().await, json!([]));
    for _ in 0..2 {
        let report = shop.sync_all().await;
        assert_eq!((report.drifted.len(), report.need_action()), (0, 0), "{report:?}");
        assert_eq!(shop.listed().await, json!([]));
    }
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    assert_eq!(shop.claims(&ada).await.updates_until, Some(claimed));
    // A second subscription joins nothing.
    shop.sandbox.subscribe(&second, "price_team_month", Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(shop.claims(&ada).await.plan, "studio");
    assert_eq!(shop.listed().await[0]["stripe_customer_id"], second.as_str());
}

#[tokio::test]
async fn stripe_28_a_reconciliation_joins_a_payment_whose_events_were_lost() {
    let shop = open_to_all().await;
    let (ada, before) = owner(&shop).await;
    let session = shop.bought_at("price_studio_updates", &WITH_CUSTOMER, ADA).await;
    let second = shop.stripe_customer_of(&session);
    assert_eq!(shop.listed().await[0]["stripe_customer_id"], second.as_str());
    execute(&shop.app.app.store, "UPDATE customers SET email_verified_at = 1").await.unwrap();
    shop.sync_all().await;
    assert!(shop.claims(&ada).await.updates_until.unwrap() > before + 360 * 86_400);
    assert_eq!(shop.listed().await, json!([]));
}
