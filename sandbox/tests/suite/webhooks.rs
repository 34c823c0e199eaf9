//! Events and their delivery: signed, retried, listed.

use std::time::Duration;

use licentia_sandbox::{DeliveryState, Options, Sending, sign};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::harness::{Received, Receiver, START, Stripe};

/// HMAC-SHA256 by its definition (RFC 2104), as an independent check of the sandbox's.
fn hmac(key: &[u8], message: &[u8]) -> String {
    let pad = |with: u8| {
        let mut block = [with; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    hex::encode(Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize())
}

#[tokio::test]
async fn every_delivery_carries_an_independently_verifiable_signature() {
    let stripe = Stripe::start().await;
    let receiver = Receiver::start().await;
    let (_, secret) = stripe.sandbox.add_webhook_endpoint(&receiver.url, &["*"]);
    stripe.subscriber().await;
    stripe.sandbox.settled().await;
    let received = receiver.received();
    assert!(received.len() > 10);
    for webhook in received {
        let (time, signature) = webhook.signature.split_once(",v1=").unwrap();
        assert_eq!(time, format!("t={START}"));
        let signed = [format!("{START}.").as_bytes(), &webhook.body].concat();
        assert_eq!(signature, hmac(secret.as_bytes(), &signed));
    }
}

#[tokio::test]
async fn both_secrets_sign_while_one_is_rolled() {
    let stripe = Stripe::start().await;
    let (endpoint, old) = stripe.sandbox.add_webhook_endpoint("http://127.0.0.1:1/", &["*"]);
    let new = stripe.sandbox.roll_webhook_secret(&endpoint).unwrap();
    let event = stripe.sandbox.events("price.created").pop().unwrap();
    let sent = stripe.sandbox.webhook(&event, &endpoint, START).unwrap();
    let signed = [format!("{START}.").as_bytes(), &sent.body].concat();
    let by = |secret: &str| format!("v1={}", hmac(secret.as_bytes(), &signed));
    assert_eq!(sent.signature, format!("t={START},{},{}", by(&new), by(&old)));
    assert_eq!(sent.signature, sign(&[&new, &old], START, &sent.body));
    stripe.sandbox.end_old_webhook_secrets(&endpoint);
    let sent = stripe.sandbox.webhook(&event, &endpoint, START).unwrap();
    assert_eq!(sent.signature, format!("t={START},{}", by(&new)));
}

#[tokio::test]
async fn an_endpoint_gets_the_events_that_it_subscribes_to() {
    let stripe = Stripe::start().await;
    let receiver = Receiver::start().await;
    let form = format!(
        "url={}&enabled_events[]=invoice.paid&enabled_events[]=checkout.session.completed\
         &api_version=2026-09-30.endive",
        receiver.url
    );
    let endpoint = stripe.post("/v1/webhook_endpoints", &form).await;
    assert!(endpoint.body["secret"].as_str().unwrap().starts_with("whsec_"));
    let path = format!("/v1/webhook_endpoints/{}", endpoint.id());
    assert_eq!(stripe.get(&path).await.body["secret"], Value::Null);
    let (_, subscription) = stripe.subscriber().await;
    stripe.sandbox.settled().await;
    let mut types = receiver.types();
    types.sort();
    assert_eq!(types, ["checkout.session.completed", "invoice.paid"]);
    let event = receiver.received()[0].event();
    assert_eq!(event["api_version"], "2026-09-30.endive");
    assert_eq!(event["object"], "event");
    let object = &event["data"]["object"];
    assert!(object["id"].is_string() && object.to_string().contains(&subscription));
    stripe.delete(&path).await;
    stripe.sandbox.advance_days(31);
    stripe.sandbox.settled().await;
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn a_failed_delivery_is_retried_with_backoff_and_given_up_after_days() {
    let stripe = Stripe::start().await;
    let receiver = Receiver::start().await;
    stripe.sandbox.add_webhook_endpoint(&receiver.url, &["customer.created"]);
    receiver.answer_with(500);
    stripe.customer().await;
    assert_eq!(stripe.sandbox.deliver_pending().await, 1);
    assert_eq!(stripe.sandbox.deliver_pending().await, 0);
    let event = stripe.sandbox.events("customer.created").pop().unwrap();
    assert_eq!(stripe.sandbox.object(&event)["pending_webhooks"], 1);
    let undelivered = stripe.get("/v1/events?delivery_success=false").await;
    assert_eq!(undelivered.ids(), [event.as_str()]);
    let mut waits = Vec::new();
    while let DeliveryState::Pending { due } = stripe.sandbox.deliveries()[0].state {
        let wait = u64::try_from(due - stripe.sandbox.clock().now()).unwrap();
        waits.push(wait);
        stripe.sandbox.advance(Duration::from_secs(wait));
        stripe.sandbox.settled().await;
    }
    assert_eq!(waits[..3], [5, 300, 1800]);
    assert!(waits.is_sorted() && (2..4).contains(&(waits.iter().sum::<u64>() / 86_400)));
    assert_eq!(stripe.sandbox.deliveries()[0].state, DeliveryState::Failed);
    assert_eq!(receiver.received().len(), waits.len() + 1);
    receiver.answer_with(200);
    stripe.sandbox.retry_deliveries();
    stripe.sandbox.settled().await;
    assert_eq!(stripe.sandbox.object(&event)["pending_webhooks"], 0);
    assert_eq!(stripe.get("/v1/events?delivery_success=false").await.ids(), [""; 0]);
}

#[tokio::test]
async fn events_are_listed_by_type_and_time_for_thirty_days() {
    let stripe = Stripe::start().await;
    stripe.customer().await;
    stripe.sandbox.advance_days(2);
    stripe.customer().await;
    let of_type = |filter: &str| format!("/v1/events?type=customer.created{filter}");
    assert_eq!(stripe.get(&of_type("")).await.ids().len(), 2);
    let since = of_type(&format!("&created[gte]={}", START + 1));
    assert_eq!(stripe.get(&since).await.ids().len(), 1);
    let several = "/v1/events?types[]=customer.created&types[]=price.created";
    assert_eq!(stripe.get(several).await.ids().len(), 5);
    stripe.sandbox.advance_days(28);
    assert_eq!(stripe.get(&of_type("")).await.ids().len(), 1);
}

#[tokio::test]
async fn webhooks_are_sent_automatically_on_request() {
    let sandbox = licentia_sandbox::Sandbox::start(Options {
        sending: Sending::Automatic,
        ..Options::default()
    });
    let sandbox = sandbox.await.unwrap();
    let receiver = Receiver::start().await;
    sandbox.add_webhook_endpoint(&receiver.url, &["product.created"]);
    let new = licentia_sandbox::NewPrice {
        id: "price_1",
        product: "Pro",
        amount: 100,
        currency: "usd",
        interval: licentia_sandbox::Interval::Month,
    };
    sandbox.add_price(&new);
    sandbox.settled().await;
    assert_eq!(receiver.types(), ["product.created"]);
    sandbox.stop().await;
}

#[tokio::test]
async fn stripe_32_thin_events_and_unknown_types_are_delivered() {
    // https://docs.stripe.com/events/how-events-work#thin-events: the type, and the URL of the
    // object.
    let stripe = Stripe::start().await;
    let receiver = Receiver::start().await;
    let (endpoint, _) = stripe.sandbox.add_webhook_endpoint(&receiver.url, &["invented.later"]);
    let customer = stripe.customer().await;
    let created = "v1.customer.created";
    let thin = stripe.sandbox.send_thin_event(&endpoint, created, &customer).unwrap();
    let ping = "v2.core.event_destination.ping";
    stripe.sandbox.send_thin_event(&endpoint, ping, "ed_1").unwrap();
    stripe.sandbox.announce(&customer, "invented.later").unwrap();
    stripe.sandbox.settled().await;
    let mut received: Vec<_> = receiver.received().iter().map(Received::event).collect();
    received.sort_by_key(|event| event["type"].as_str().unwrap().to_owned());
    assert_eq!(received[0]["type"], "invented.later");
    assert_eq!(received[0]["data"]["object"]["id"], customer.as_str());
    let event = &received[1];
    assert_eq!((&event["object"], &event["type"]), (&"v2.core.event".into(), &created.into()));
    assert_eq!(event["id"], thin.as_str());
    assert!(event["data"].is_null() && event["api_version"].is_null());
    assert_eq!(event["created"], "2026-11-20T15:00:00.000Z");
    let related = &event["related_object"];
    assert_eq!((&related["id"], &related["type"]), (&customer.as_str().into(), &"customer".into()));
    assert_eq!(related["url"], format!("/v1/customers/{customer}"));
    assert_eq!(received[2]["related_object"]["type"], "v2.core.event_destination");
    assert_eq!(stripe.get(&format!("/v2/core/events/{thin}")).await.body["id"], thin.as_str());
    let listed = stripe.get("/v1/events?limit=100").await;
    assert!(!listed.ids().contains(&thin.as_str()), "thin events are no events of the first API");
    assert!(stripe.sandbox.send_thin_event("we_no", created, &customer).is_err());
}
