//! Webhooks arrive in any order, late, and many in the same second. The result never depends on the
//! order.

use std::hash::{DefaultHasher, Hash, Hasher};

use std::slice;
use std::time::Duration;

use licentia_sandbox::{ApiFault, Card, Options, Sending, Times};

use crate::harness::BEHIND_A_PROXY;
use crate::harness::database::{number, texts};
use crate::harness::shop::{Buyer, Shop};

/// Returns a customer's state in the database, without ids: subscription, current license, orders.
/// It is read there, because a request to the API may cause a sync with Stripe.
async fn state(shop: &Shop, buyer: &Buyer) -> Vec<String> {
    let id = &buyer.customer_id;
    let store = &shop.app.app.store;
    let end = |column: &str| format!("COALESCE({column}, 0)");
    let subscription = format!(
        "SELECT status || ' ' || plan || ' ' || {} || ' ' || {} FROM subscriptions
         WHERE customer_id = '{id}'",
        end("current_period_end"),
        end("cancel_at")
    );
    let license = format!(
        "SELECT source || ' ' || plan || ' ' || {} || ' ' || {} || ' '
             || CASE WHEN revoked_at IS NULL THEN '' ELSE 'revoked' END FROM licenses
         WHERE customer_id = '{id}' AND superseded_at IS NULL",
        end("expires_at"),
        end("grace_until")
    );
    let orders = format!(
        "SELECT plan || ' ' || amount || ' ' || status FROM orders WHERE customer_id = '{id}'
         ORDER BY created_at, amount, status"
    );
    let mut state = texts(store, &subscription).await;
    state.extend(texts(store, &license).await);
    state.extend(texts(store, &orders).await);
    state
}

/// Returns a shop where nothing is delivered by itself.
async fn quiet_shop() -> Shop {
    let options = Options { sending: Sending::Manual, ..Options::default() };
    Shop::open_with(options, &[BEHIND_A_PROXY]).await
}

/// Returns the events after the first `count`.
fn events_after(shop: &Shop, count: usize) -> Vec<String> {
    shop.sandbox.events("").split_off(count)
}

/// Delivers events one by one, and processes each before the next.
async fn deliver(shop: &Shop, events: &[String]) {
    for event in events {
        shop.redeliver(event).await;
        shop.until("it is worked on", async || shop.open_work().await == 0).await;
    }
}

/// Returns an order that the seed decides.
fn shuffled(events: &[String], seed: usize) -> Vec<String> {
    let mut events = events.to_vec();
    events.sort_by_key(|event| {
        let mut hasher = DefaultHasher::new();
        (seed, event).hash(&mut hasher);
        hasher.finish()
    });
    events
}

/// Returns all permutations.
fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let with_first = |place: usize| {
        let mut rest = items.to_vec();
        let first = rest.remove(place);
        permutations(&rest).into_iter().map(move |mut order| {
            order.insert(0, first.clone());
            order
        })
    };
    (0..items.len()).flat_map(with_first).collect()
}

/// Lets a buyer pay for the lower plan, change to the higher one, cancel and undo that, all in one
/// second. Returns the subscription.
async fn hasty_life(shop: &Shop, buyer: &Buyer) -> String {
    let session = shop.checkout(buyer, "starter").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    let subscription = shop.subscription_of(&session);
    shop.sandbox.change_plan(&subscription, "price_pro_monthly").unwrap();
    shop.sandbox.cancel(&subscription, true).unwrap();
    shop.sandbox.cancel(&subscription, false).unwrap();
    subscription
}

#[tokio::test]
async fn the_events_of_a_subscription_in_any_order_have_the_same_result_stripe_9() {
    let shop = quiet_shop().await;
    let kinds = [
        "customer.subscription.created",
        "customer.subscription.updated",
        "invoice.paid",
        "customer.subscription.deleted",
    ];
    let mut ends = Vec::new();
    for (n, order) in permutations(&kinds).into_iter().enumerate() {
        let buyer = shop.buyer(&format!("ada{n}@example.com")).await;
        let before = shop.sandbox.events("").len();
        let subscription = hasty_life(&shop, &buyer).await;
        shop.sandbox.cancel_now(&subscription).unwrap();
        let events = events_after(&shop, before);
        // All events of each type; some types occur several times.
        for kind in order {
            let of_kind: Vec<_> = events
                .iter()
                .filter(|event| shop.sandbox.object(event)["type"] == kind)
                .cloned()
                .collect();
            assert!(!of_kind.is_empty(), "{kind}");
            deliver(&shop, &of_kind).await;
        }
        ends.push(state(&shop, &buyer).await);
    }
    assert_eq!(ends.len(), 24);
    assert!(ends[0][0].starts_with("canceled professional"), "{:?}", ends[0]);
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:#?}");
}

#[tokio::test]
async fn the_events_of_one_second_in_any_order_have_the_same_result_stripe_9() {
    let shop = quiet_shop().await;
    let mut ends = Vec::new();
    for seed in 0..12 {
        let buyer = shop.buyer(&format!("ada{seed}@example.com")).await;
        let before = shop.sandbox.events("").len();
        hasty_life(&shop, &buyer).await;
        let events = events_after(&shop, before);
        let seconds: Vec<_> =
            events.iter().map(|event| shop.sandbox.object(event)["created"].clone()).collect();
        assert!(seconds.iter().all(|second| *second == seconds[0]));
        let order = match seed {
            0 => events,
            1 => events.into_iter().rev().collect(),
            _ => shuffled(&events, seed),
        };
        deliver(&shop, &order).await;
        ends.push(state(&shop, &buyer).await);
    }
    assert!(ends[0][0].starts_with("active professional"), "{:?}", ends[0]);
    assert!(ends[0][1].starts_with("subscription professional"), "{:?}", ends[0]);
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:#?}");
}

#[tokio::test]
async fn late_events_undo_nothing_stripe_9() {
    // A subscription's life over months. After each step some of the events are delivered, the
    // others much later.
    let mut ends = Vec::new();
    for seed in 0..6 {
        let shop = quiet_shop().await;
        let ada = shop.buyer("ada@example.com").await;
        let session = shop.checkout(&ada, "starter").await;
        let (mut subscription, mut customer) = (String::new(), String::new());
        let mut told = 0;
        let mut late: Vec<String> = Vec::new();
        for step in 0..8 {
            match step {
                0 => {
                    shop.sandbox.pay(&session, Card::Paid).unwrap();
                    subscription = shop.subscription_of(&session);
                    customer = shop.stripe_customer_of(&session);
                }
                1 => shop.sandbox.change_plan(&subscription, "price_pro_monthly").unwrap(),
                2 => shop.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap(),
                3 => shop.sandbox.advance_days(31),
                4 => shop.sandbox.replace_card(&customer, Card::Paid).unwrap(),
                5 => shop.sandbox.advance_days(3),
                6 => shop.sandbox.schedule_change(&subscription, "price_starter_monthly").unwrap(),
                _ => shop.sandbox.advance_days(31),
            }
            late.extend(events_after(&shop, told));
            told = shop.sandbox.events("").len();
            let order = if seed == 0 { late.clone() } else { shuffled(&late, seed + step) };
            // With seed 0 all of them in order. Otherwise about half of the waiting ones, at
            // random.
            let now = if seed == 0 { order.len() } else { order.len() / 2 };
            deliver(&shop, &order[..now]).await;
            late = order[now..].to_vec();
        }
        deliver(&shop, &late).await;
        ends.push(state(&shop, &ada).await);
    }
    assert!(ends[0][0].starts_with("active starter"), "{:?}", ends[0]);
    assert_eq!(ends[0].len(), 2 + 4, "a first payment, a change, two renewals: {:?}", ends[0]);
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:#?}");
}

/// Returns the stored parts of an event: its Stripe customer, and whether it has a body.
async fn kept(shop: &Shop, event: &str) -> String {
    let kept = format!(
        "SELECT COALESCE(stripe_customer_id, 'nobody')
             || CASE WHEN body = '' THEN '' ELSE ' kept' END
         FROM inbox WHERE event_id = '{event}'"
    );
    texts(&shop.app.app.store, &kept).await.remove(0)
}

#[tokio::test]
async fn a_dispute_that_arrives_before_its_sale_is_not_treated_as_foreign() {
    let shop = quiet_shop().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.open_dispute(&intent).unwrap();
    // The event names the payment, but not the customer. It waits while Stripe does not respond.
    let [event] = shop.sandbox.events("charge.dispute.created").try_into().unwrap();
    let asked = format!("GET /v1/payment_intents/{intent}");
    shop.sandbox.faults().api_call(ApiFault::ErrorBefore, &asked, Times::Always);
    shop.redeliver(&event).await;
    let failed =
        "SELECT COUNT(*) FROM inbox WHERE attempts > 0 AND last_error LIKE 'Stripe failed%'";
    let store = &shop.app.app.store;
    shop.until("it failed", async || number(store, failed).await == 1).await;
    assert_eq!(kept(&shop, &event).await, "nobody kept");

    shop.sandbox.faults().clear();
    shop.sandbox.advance(Duration::from_secs(60));
    shop.until("it is worked on", async || shop.open_work().await == 0).await;
    assert_eq!(shop.orders(&ada).await[0]["status"], "disputed");
    assert_eq!(kept(&shop, &event).await, format!("{} kept", shop.stripe_customer_of(&session)));
}

#[tokio::test]
async fn stripe_is_asked_about_a_payment_only_if_it_can_belong_to_a_customer() {
    let shop = quiet_shop().await;
    shop.old_buyer("eve@example.com", &[]).await;
    let [paid] = shop.sandbox.events("payment_intent.succeeded").try_into().unwrap();
    let intent = shop.sandbox.object(&paid)["data"]["object"]["id"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        shop.sandbox.refund(&intent, Some(100)).unwrap();
    }
    let [first, second] = shop.sandbox.events("refund.created").try_into().unwrap();
    let ada = shop.buyer("ada@example.com").await;
    // No account here is linked to Stripe.
    let calls = shop.sandbox.api_calls();
    deliver(&shop, slice::from_ref(&first)).await;
    assert_eq!((shop.sandbox.api_calls(), &*kept(&shop, &first).await), (calls, "nobody"));

    shop.checkout(&ada, "professional").await;
    let calls = shop.sandbox.api_calls();
    deliver(&shop, slice::from_ref(&second)).await;
    assert_eq!((shop.sandbox.api_calls(), &*kept(&shop, &second).await), (calls + 1, "nobody"));
}
