//! The faults that can be switched on.

use licentia_sandbox::{ApiFault, DeliveryFault, DeliveryState, Order, Times};

use crate::harness::{Receiver, Stripe};

const CREATE: &str = "email=a@example.com";

#[tokio::test]
async fn a_response_lost_after_the_write_is_returned_again_for_its_key() {
    let stripe = Stripe::start().await;
    stripe.sandbox.faults().api_call(ApiFault::AnswerLost, "POST /v1/customers", Times::Next(1));
    let request = stripe.request("/v1/customers", CREATE).header("Idempotency-Key", "key");
    assert!(request.send().await.is_err());
    let again = stripe.post_with_key("key", "/v1/customers", CREATE).await;
    assert!(again.replayed);
    assert_eq!(stripe.get("/v1/customers").await.ids(), [again.id()]);
}

#[tokio::test]
async fn a_failure_before_the_write_changes_nothing() {
    let stripe = Stripe::start().await;
    for (fault, status) in [
        (ApiFault::RateLimited, 429),
        (ApiFault::Refused, 400),
        (ApiFault::Forbidden, 403),
        (ApiFault::ErrorBefore, 500),
    ] {
        stripe.sandbox.faults().api(fault, Times::Always);
        let failed = stripe.post_with_key("key", "/v1/customers", CREATE).await;
        assert_eq!(failed.status, status);
        stripe.sandbox.faults().clear();
        assert_eq!(stripe.get("/v1/customers").await.ids(), [""; 0]);
    }
    let created = stripe.post_with_key("key", "/v1/customers", CREATE).await;
    assert_eq!((created.status, created.replayed), (200, false));
}

#[tokio::test]
async fn a_silent_call_holds_its_key_until_the_caller_disconnects() {
    let stripe = Stripe::start().await;
    stripe.sandbox.faults().api(ApiFault::Silence, Times::Next(1));
    let request = stripe.request("/v1/customers", CREATE).header("Idempotency-Key", "key");
    let silent = tokio::spawn(request.send());
    // This call must wait until the silent one has arrived. Otherwise the fault would apply to this
    // one.
    while !stripe.sandbox.faults().active().is_empty() {
        tokio::task::yield_now().await;
    }
    let in_use = stripe.post_with_key("key", "/v1/customers", CREATE).await;
    assert_eq!((in_use.status, in_use.error("code")), (409, "idempotency_key_in_use"));
    silent.abort();
    while stripe.post_with_key("key", "/v1/customers", CREATE).await.status == 409 {}
    assert_eq!(stripe.get("/v1/customers?email=a@example.com").await.ids().len(), 1);
}

#[tokio::test]
async fn a_slow_response_arrives_one_byte_at_a_time() {
    let stripe = Stripe::start().await;
    stripe.sandbox.faults().api(ApiFault::SlowBytes, Times::Next(1));
    let mut response = stripe.request("/v1/customers", CREATE).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.content_length().unwrap() > 100);
    assert_eq!(response.chunk().await.unwrap().unwrap(), "{");
}

#[tokio::test]
async fn deliveries_are_dropped_and_repeated() {
    let stripe = Stripe::start().await;
    let receiver = Receiver::start().await;
    stripe.sandbox.add_webhook_endpoint(&receiver.url, &["customer.created"]);
    stripe.sandbox.faults().delivery(DeliveryFault::Drop, Times::Next(1));
    stripe.sandbox.faults().delivery(DeliveryFault::Repeat(50), Times::Next(1));
    stripe.customer().await;
    stripe.sandbox.settled().await;
    assert_eq!(receiver.received().len(), 0);
    assert_eq!(stripe.sandbox.deliveries()[0].state, DeliveryState::Failed);
    stripe.customer().await;
    stripe.sandbox.settled().await;
    let received = receiver.received();
    assert_eq!(received.len(), 50);
    assert!(received.iter().all(|webhook| webhook.body == received[0].body));
}

#[tokio::test]
async fn deliveries_are_held_and_released_in_another_order() {
    let stripe = Stripe::start().await;
    let receiver = Receiver::start().await;
    stripe.sandbox.add_webhook_endpoint(&receiver.url, &["*"]);
    stripe.sandbox.faults().hold_deliveries();
    let before = stripe.sandbox.events("").len();
    stripe.subscriber().await;
    stripe.sandbox.settled().await;
    assert_eq!(receiver.received().len(), 0);
    stripe.sandbox.faults().release_deliveries(Order::Reversed);
    stripe.sandbox.settled().await;
    let mut received: Vec<String> = receiver
        .received()
        .iter()
        .map(|webhook| webhook.event()["id"].as_str().unwrap().to_owned())
        .collect();
    received.reverse();
    assert_eq!(received, stripe.sandbox.events("")[before..]);
}

#[tokio::test]
async fn deliveries_are_delayed() {
    let stripe = Stripe::start().await;
    let receiver = Receiver::start().await;
    stripe.sandbox.add_webhook_endpoint(&receiver.url, &["customer.created"]);
    stripe.sandbox.faults().delay_deliveries(std::time::Duration::from_secs(60));
    stripe.customer().await;
    assert_eq!(stripe.sandbox.deliver_pending().await, 0);
    stripe.sandbox.advance(std::time::Duration::from_secs(60));
    assert_eq!(stripe.sandbox.deliver_pending().await, 1);
}
