//! The Stripe customer that a checkout links, and the changes that are sent to it.

use std::time::Duration;

use licentia::domain::operator::audit::Actor;
use licentia::flows::sale::buyer_claim::claim;
use licentia::flows::sale::claim::ClaimTarget;
use licentia_sandbox::{ApiFault, Times};
use serde_json::{Value, json};

use crate::harness::database::{execute, number, texts};
use crate::harness::shop::{Buyer, Shop};

/// Returns the Stripe customer that a buyer is linked to.
async fn linked(shop: &Shop, buyer: &Buyer) -> Option<String> {
    let id = &buyer.customer_id;
    let link = format!(
        "SELECT stripe_customer_id FROM customers
         WHERE customer_id = '{id}' AND stripe_customer_id IS NOT NULL"
    );
    texts(&shop.app.app.store, &link).await.pop()
}

async fn must_have_a_subscription_already(shop: &Shop, buyer: &Buyer, stripe_id: &str) {
    let answer = shop.ask(buyer, "professional").await;
    assert_eq!((answer.status, answer.text("/code")), (409, "already_subscribed"), "{answer:?}");
    assert_eq!(linked(shop, buyer).await.as_deref(), Some(stripe_id));
    shop.settled().await;
    shop.must_be_paid(buyer).await;
}

#[tokio::test]
async fn stripe_21_a_subscription_from_before_a_restored_backup_is_found_by_checkout() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    let stripe_id = linked(&shop, &ada).await.unwrap();
    for back in [
        "DELETE FROM licenses WHERE source = 'subscription'",
        "UPDATE licenses SET superseded_at = NULL, superseded_by = NULL",
        "DELETE FROM orders",
        "DELETE FROM subscriptions",
        "DELETE FROM stripe_attempts",
        "UPDATE customers SET stripe_customer_id = NULL, stripe_sync_status = NULL,
             stripe_synced_at = NULL",
    ] {
        execute(&shop.app.app.store, back).await.unwrap();
    }
    must_have_a_subscription_already(&shop, &ada, &stripe_id).await;
    assert_eq!(shop.stripe_customers(), 1);
}

#[tokio::test]
async fn stripe_21_an_attempt_that_is_older_than_its_result_sells_no_second_subscription() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    // The backup was made between the attempt and its result.
    shop.sandbox.faults().api_call(ApiFault::Silence, "POST /v1/customers", Times::Always);
    assert_eq!(shop.ask(&ada, "professional").await.status, 503);
    shop.sandbox.faults().clear();
    let attempts = "SELECT attempt_id || '|' || parameters FROM stripe_attempts";
    let attempt = texts(&shop.app.app.store, attempts).await.remove(0);
    let (id, parameters) = attempt.split_once('|').unwrap();
    shop.buy(&ada, "professional").await;
    let stripe_id = linked(&shop, &ada).await.unwrap();
    let customer_id = &ada.customer_id;
    for back in [
        "DELETE FROM licenses WHERE source = 'subscription'",
        "UPDATE licenses SET superseded_at = NULL, superseded_by = NULL",
        "DELETE FROM orders",
        "DELETE FROM subscriptions",
        "DELETE FROM stripe_attempts",
        "UPDATE customers SET stripe_customer_id = NULL, stripe_sync_status = NULL,
             stripe_synced_at = NULL",
        &format!(
            "INSERT INTO stripe_attempts (customer_id, purpose, attempt_id, parameters, created_at)
             VALUES ('{customer_id}', 'customer', '{id}', '{parameters}', 1)"
        ),
    ] {
        execute(&shop.app.app.store, back).await.unwrap();
    }
    must_have_a_subscription_already(&shop, &ada, &stripe_id).await;
}

#[tokio::test]
async fn stripe_21_a_stripe_customer_with_another_address_is_found_by_its_metadata() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let tag = [("customer_id", ada.customer_id.as_str())];
    let stripe_id = shop.old_buyer("billing@example.com", &tag).await;
    must_have_a_subscription_already(&shop, &ada, &stripe_id).await;
    // The address at Stripe stays, because nothing changed here.
    assert_eq!(shop.sandbox.object(&stripe_id)["email"], "billing@example.com");
    assert_eq!(shop.stripe_customers(), 1);
}

#[tokio::test]
async fn stripe_21_a_search_that_lags_or_is_refused_does_not_hide_the_same_address() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.sandbox.delay_search(Duration::from_secs(3600));
    let tag = [("customer_id", ada.customer_id.as_str())];
    let stripe_id = shop.old_buyer("ada@example.com", &tag).await;
    let search = "GET /v1/customers/search";
    shop.sandbox.faults().api_call(ApiFault::Refused, search, Times::Next(1));
    must_have_a_subscription_already(&shop, &ada, &stripe_id).await;
}

#[tokio::test]
async fn stripe_21_what_a_linked_stripe_customer_bought_is_licensed_though_the_checkout_fails() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let tag = [("customer_id", ada.customer_id.as_str())];
    shop.old_buyer("ada@example.com", &tag).await;
    shop.settled().await;
    // The checkout links it, and Stripe fails the calls that would tell what it bought.
    let subscriptions = "GET /v1/subscriptions";
    shop.sandbox.faults().api_call(ApiFault::ErrorBefore, subscriptions, Times::Always);
    assert!(shop.ask(&ada, "professional").await.status >= 500);
    assert!(linked(&shop, &ada).await.is_some());
    shop.sandbox.faults().clear();
    shop.settled().await;
    shop.must_be_paid(&ada).await;
}

#[tokio::test]
async fn stripe_21_a_checkout_that_cannot_search_stripe_sells_nothing() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    for look in ["GET /v1/customers/search", "GET /v1/customers"] {
        shop.sandbox.faults().api_call(ApiFault::ErrorBefore, look, Times::Always);
        assert!(shop.ask(&ada, "professional").await.status >= 500, "{look}");
        shop.sandbox.faults().clear();
    }
    assert_eq!(shop.stripe_customers(), 0);
    shop.buy(&ada, "professional").await;
    shop.must_be_paid(&ada).await;
    // For a linked customer, Stripe is not searched.
    shop.sandbox
        .cancel_now(&shop.subscription(&ada).await["stripe_subscription_id"].to_string())
        .ok();
    let search = "GET /v1/customers/search";
    shop.sandbox.faults().api_call(ApiFault::ErrorBefore, search, Times::Always);
    assert_eq!(shop.ask(&ada, "professional").await.text("/code"), "already_subscribed");
}

#[tokio::test]
async fn stripe_21_a_stripe_customer_without_a_subscription_is_linked_and_can_buy() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let stripe_id =
        shop.old_customer("ada@example.com", &[("customer_id", &ada.customer_id)]).await;
    let session = shop.buy(&ada, "professional").await;
    assert_eq!(shop.stripe_customer_of(&session), stripe_id);
    assert_eq!(shop.stripe_customers(), 1);
    shop.must_be_paid(&ada).await;
    let detail = "SELECT detail FROM audit_log WHERE action = 'stripe.linked' AND actor = 'system'";
    let detail: Value = serde_json::from_str(&texts(&shop.app.app.store, detail).await[0]).unwrap();
    assert_eq!(detail, json!({ "by": "metadata", "stripe_customer_id": stripe_id }));
}

#[tokio::test]
async fn stripe_21_of_several_stripe_customers_the_one_with_a_live_subscription_is_linked() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let tag = [("customer_id", ada.customer_id.as_str())];
    shop.old_customer("ada@example.com", &tag).await;
    let paying = shop.old_buyer("billing@example.com", &tag).await;
    shop.old_customer("ada@example.com", &tag).await;
    must_have_a_subscription_already(&shop, &ada, &paying).await;
    // Without one, the result is always the same.
    let bob = shop.buyer("bob@example.com").await;
    let tag = [("customer_id", bob.customer_id.as_str())];
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(shop.old_customer("bob@example.com", &tag).await);
    }
    all.sort();
    shop.checkout(&bob, "professional").await;
    assert_eq!(linked(&shop, &bob).await.as_ref(), all.first());
    assert_eq!(shop.stripe_customers(), 6);
}

#[tokio::test]
async fn stripe_21_of_too_many_stripe_customers_none_is_linked_until_an_operator_decides() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let tag = [("customer_id", ada.customer_id.as_str())];
    for _ in 0..10 {
        shop.old_customer("ada@example.com", &tag).await;
    }
    let paying = shop.old_buyer("billing@example.com", &tag).await;
    let answer = shop.ask(&ada, "professional").await;
    assert_eq!((answer.status, answer.text("/code")), (502, "billing_refused"), "{answer:?}");
    assert_eq!(linked(&shop, &ada).await, None);
    assert_eq!(shop.stripe_customers(), 11, "no other one is created");
    // The log names the way out.
    let to = ClaimTarget::Customer(ada.customer_id.parse().unwrap());
    let stripe_id = paying.parse().unwrap();
    let claimed = claim(&shop.app.app, &stripe_id, &to, Actor::Operator).await.unwrap();
    assert_eq!(claimed.unwrap().action, "claimed");
    must_have_a_subscription_already(&shop, &ada, &paying).await;
}

#[tokio::test]
async fn stripe_21_a_stripe_customer_linked_to_another_account_is_not_linked() {
    let shop = Shop::open().await;
    let eve = shop.buyer("eve@example.com").await;
    let session = shop.buy(&eve, "professional").await;
    let stripe_id = shop.stripe_customer_of(&session);
    let ada = shop.buyer("ada@example.com").await;
    let named = [("metadata[customer_id]", ada.customer_id.as_str()), ("email", "ada@example.com")];
    shop.at_stripe(&format!("customers/{stripe_id}"), &named).await;
    // After a failed call and its retries, it is not taken for their result.
    shop.sandbox.faults().api_call(ApiFault::ErrorBefore, "POST /v1/customers", Times::Next(3));
    shop.buy(&ada, "professional").await;
    assert_ne!(linked(&shop, &ada).await, Some(stripe_id));
    shop.must_be_paid(&ada).await;
    shop.must_be_paid(&eve).await;
}

#[tokio::test]
async fn stripe_29_only_what_changed_here_is_sent_to_stripe() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let stripe_id = shop.stripe_customer_of(&session);
    let change = async |fields: Value| {
        if let Some(email) = fields["email"].as_str() {
            shop.change_email(&ada, email).await;
        } else {
            assert_eq!(ada.client.patch("/api/customers/me", &fields).await.status, 200);
        }
        shop.settled().await;
        let due = "SELECT COUNT(*) FROM customers WHERE stripe_sync_status <> 'synced'";
        assert_eq!(number(&shop.app.app.store, due).await, 0);
        let customer = shop.sandbox.object(&stripe_id);
        (customer["name"].clone(), customer["email"].clone())
    };
    // The vendor sends the invoices to another address.
    let billing = [("email", "billing@example.com")];
    shop.at_stripe(&format!("customers/{stripe_id}"), &billing).await;
    let both = change(json!({ "name": "Ada Lovelace" })).await;
    assert_eq!(both, (json!("Ada Lovelace"), json!("billing@example.com")));
    // The reverse.
    shop.at_stripe(&format!("customers/{stripe_id}"), &[("name", "Engines Ltd")]).await;
    let both = change(json!({ "email": "lovelace@example.com" })).await;
    assert_eq!(both, (json!("Engines Ltd"), json!("lovelace@example.com")));
    // The company's name is a field of its own. Stripe still shows the person's name.
    let both = change(json!({ "company_name": "Analytical Engines Ltd" })).await;
    assert_eq!(both, (json!("Engines Ltd"), json!("lovelace@example.com")));
    let company = shop.sandbox.object(&stripe_id)["business_name"].clone();
    assert_eq!(company, "Analytical Engines Ltd");
    change(json!({ "name": "Ada" })).await;
    let both = change(json!({ "email": "ada.king@example.com" })).await;
    assert_eq!(both, (json!("Ada"), json!("ada.king@example.com")));
    let both = change(json!({ "name": null })).await;
    assert_eq!(both, (json!("Analytical Engines Ltd"), json!("ada.king@example.com")));
}

#[tokio::test]
async fn stripe_29_a_change_that_stripe_has_not_accepted_is_sent_with_the_next_one() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let stripe_id = shop.stripe_customer_of(&session);
    shop.sandbox.faults().api_call(ApiFault::ErrorBefore, "POST /v1/customers/", Times::Always);
    let change = json!({ "name": "Ada" });
    assert_eq!(ada.client.patch("/api/customers/me", &change).await.status, 200);
    shop.change_email(&ada, "lovelace@example.com").await;
    let due = "SELECT stripe_sync_status FROM customers";
    assert_eq!(texts(&shop.app.app.store, due).await, ["due"]);
    shop.sandbox.faults().clear();
    shop.sandbox.advance(Duration::from_secs(120));
    shop.settled().await;
    assert_eq!(texts(&shop.app.app.store, due).await, ["synced"]);
    let customer = shop.sandbox.object(&stripe_id);
    assert_eq!(
        (&customer["name"], &customer["email"]),
        (&json!("Ada"), &json!("lovelace@example.com"))
    );
}
