//! Sends due events to the webhook endpoints, signed, and records the results. The queue is in
//! `deliveries`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::clock::machine_now;
use crate::deliveries::Delivery;
use crate::faults::DeliveryFault;
use crate::objects::{Kind, text};
use crate::options::SignatureTime;
use crate::shared::Shared;
use crate::signature::sign;
use crate::world::World;

/// The most deliveries at once; enough to keep a receiver busy.
const MAX_CONCURRENT: usize = 64;

/// An endpoint must response within this time, in real time.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest sleep. Advancing the clock wakes the sender earlier.
const LONGEST_SLEEP: Duration = Duration::from_secs(3_600);

/// A signed webhook, ready to be sent.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The endpoint's URL.
    pub url: String,
    /// The `Stripe-Signature` header.
    pub signature: String,
    /// The event, as sent.
    pub body: Bytes,
}

/// Sends every due delivery. Returns how many were attempted.
pub async fn deliver_due(shared: &Arc<Shared>) -> usize {
    let mut under_way = JoinSet::new();
    let mut tried = 0;
    loop {
        tried += start_due(shared, &mut under_way);
        if under_way.join_next().await.is_none() {
            return tried;
        }
    }
}

/// Sends due deliveries and runs due timers until the sandbox stops.
pub async fn run(shared: Arc<Shared>) {
    let mut under_way = JoinSet::new();
    let mut changes = shared.changes();
    loop {
        start_due(&shared, &mut under_way);
        let sleep = until_next(&shared);
        tokio::select! {
            Some(_) = under_way.join_next() => {}
            _ = changes.changed() => {}
            () = tokio::time::sleep(sleep) => shared.write(|_| ()),
        }
    }
}

/// Returns how long to sleep. With a stopped clock nothing becomes due until it is advanced, which
/// wakes the sender.
fn until_next(shared: &Shared) -> Duration {
    if !shared.clock.runs() {
        return LONGEST_SLEEP;
    }
    let next = shared
        .read(|world| world.next_timer().into_iter().chain(world.deliveries.next_due()).min());
    let wait = next.map_or(i64::MAX, |next| (next - shared.clock.now()).max(1));
    Duration::from_secs(u64::try_from(wait).unwrap_or(u64::MAX)).min(LONGEST_SLEEP)
}

fn start_due(shared: &Arc<Shared>, under_way: &mut JoinSet<()>) -> usize {
    let mut started = 0;
    while under_way.len() < MAX_CONCURRENT {
        let now = shared.clock.now();
        if shared.read(|world| world.deliveries.next_due().is_none_or(|due| due > now)) {
            break;
        }
        let Some((place, delivery)) = shared.write(|world| world.deliveries.take_due(now)) else {
            break;
        };
        under_way.spawn(deliver(Arc::clone(shared), place, delivery));
        started += 1;
    }
    started
}

async fn deliver(shared: Arc<Shared>, place: usize, delivery: Delivery) {
    let signature_time = match shared.options.signature_time {
        SignatureTime::Sandbox => shared.clock.now(),
        SignatureTime::Machine => machine_now(),
    };
    let (fault, webhook) = shared.write(|world| {
        let fault = world.faults.strike_delivery();
        (fault, webhook(world, &delivery.event, &delivery.endpoint, signature_time))
    });
    let Some(webhook) = webhook.filter(|_| fault != Some(DeliveryFault::Drop)) else {
        let why = if fault.is_some() { "dropped by a fault" } else { "the endpoint was deleted" };
        shared.write(|world| world.deliveries.give_up(place, why));
        return;
    };
    let copies = if let Some(DeliveryFault::Repeat(times)) = fault { times } else { 1 };
    let mut posts = JoinSet::new();
    for _ in 0..copies {
        posts.spawn(post(webhook.clone()));
    }
    let outcomes = posts.join_all().await;
    let failed = outcomes.iter().find(|outcome| !matches!(outcome, Ok(200..=299)));
    let outcome = failed.or(outcomes.first()).cloned().unwrap_or(Ok(200));
    shared.write(|world| record_result(world, place, outcome));
}

/// Records the result of an attempt.
pub fn record_result(world: &mut World, place: usize, outcome: Result<u16, String>) {
    let event = world.deliveries.record_result(place, outcome, world.now);
    world.update_pending(&event);
}

/// Returns an event as it is sent to an endpoint at `time`; none if either does not exist.
pub fn webhook(world: &World, event: &str, endpoint: &str, time: i64) -> Option<Webhook> {
    let kinds = [Kind::Event, Kind::ThinEvent];
    let event = kinds.iter().map(|kind| world.get(*kind, event)).find(|event| !event.is_null())?;
    let target = world.get(Kind::WebhookEndpoint, endpoint);
    let secrets = world.webhook_secrets.get(endpoint).filter(|_| target["deleted"] != true)?;
    let mut event = Cow::Borrowed(event);
    // Thin events have no version.
    if target["api_version"].is_string() && event["object"] == "event" {
        event.to_mut()["api_version"] = target["api_version"].clone();
    }
    let body = Bytes::from(pretty(&event));
    let signature = sign(secrets, time, &body);
    Some(Webhook { url: text(target, "url").to_owned(), signature, body })
}

/// Returns the indented JSON, because Stripe sends its events indented.
fn pretty(event: &Value) -> Vec<u8> {
    // Writing a value into memory cannot fail.
    serde_json::to_vec_pretty(event).unwrap_or_default()
}

async fn post(webhook: Webhook) -> Result<u16, String> {
    let response = tokio::time::timeout(RESPONSE_TIMEOUT, exchange(webhook)).await;
    response.unwrap_or_else(|_| Err("no response in time".to_owned()))
}

async fn exchange(webhook: Webhook) -> Result<u16, String> {
    let failed = |error: &dyn std::error::Error| error.to_string();
    let uri: Uri =
        webhook.url.parse().map_err(|error| failed(&error as &hyper::http::uri::InvalidUri))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80)))
        .await
        .map_err(|error| failed(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let connection = tokio::spawn(connection);
    let authority = uri.authority().map_or_else(String::new, ToString::to_string);
    let request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, authority)
        .header(header::USER_AGENT, "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
        .header("Stripe-Signature", webhook.signature)
        .body(Full::new(webhook.body))
        .map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error));
    connection.abort();
    response.map(|response| response.status().as_u16())
}
