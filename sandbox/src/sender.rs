//! Sends what is due to the webhook endpoints, signed, and notes what came of it.

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

/// Deliveries at once: enough to keep a receiver busy.
const MAX_AT_ONCE: usize = 64;

/// An endpoint must answer within this time, in real time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest sleep; a running clock may have been moved meanwhile, which also wakes.
const LONGEST_SLEEP: Duration = Duration::from_secs(3_600);

/// A signed webhook, ready to be sent.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where it goes.
    pub url: String,
    /// The `Stripe-Signature` header.
    pub signature: String,
    /// The event, as sent.
    pub body: Bytes,
}

/// Sends everything that is due; gives how many deliveries were tried.
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

/// Sends what is due, and lets time pass, for as long as the sandbox lives.
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

/// A clock that stands has nothing to sleep for: whoever moves it wakes the sender.
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
    while under_way.len() < MAX_AT_ONCE {
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
        let why = if fault.is_some() { "dropped by a fault" } else { "the endpoint is gone" };
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
    shared.write(|world| note(world, place, outcome));
}

/// Notes what came of an attempt.
pub fn note(world: &mut World, place: usize, outcome: Result<u16, String>) {
    let event = world.deliveries.note(place, outcome, world.now);
    world.note_pending(&event);
}

/// An event as it is sent to an endpoint at `time`; nothing if either does not exist.
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

/// Stripe sends its events indented.
fn pretty(event: &Value) -> Vec<u8> {
    // Writing a value into memory cannot fail.
    serde_json::to_vec_pretty(event).unwrap_or_default()
}

async fn post(webhook: Webhook) -> Result<u16, String> {
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, exchange(webhook)).await;
    answered.unwrap_or_else(|_| Err("no answer in time".to_owned()))
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
    let answer = sender.send_request(request).await.map_err(|error| failed(&error));
    connection.abort();
    answer.map(|answer| answer.status().as_u16())
}
