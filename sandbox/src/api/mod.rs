//! Stripe's API without HTTP: handles a call, given as method, path and parameters. This file
//! checks the API key, applies faults and keeps idempotency keys. Each resource has a file of its
//! own; HTTP is in `server`.

mod catalog;
mod checkout;
mod collected;
mod credit_notes;
mod customers;
mod discounts;
mod events;
mod expand;
mod invoices;
mod item_edits;
mod list;
mod offers;
mod params;
mod payments;
mod portal;
mod previews;
mod resource;
mod routes;
mod schedules;
mod subscriptions;
pub mod tax;
mod terms;
mod webhooks;

use serde_json::Value;

use crate::api_error::{ApiError, ApiResult};
use crate::faults::ApiFault;
use crate::world::{Cause, World};
use params::Params;

pub use webhooks::add as add_webhook_endpoint;

/// A call of the API.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GET`, `POST` or `DELETE`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The form, or the query of a `GET`.
    pub form: Vec<u8>,
    /// The API key, if the call has one.
    pub key: Option<String>,
    /// The idempotency key, if the call has one.
    pub idempotency_key: Option<String>,
}

/// A response to a call.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// The id of the request that first got this response.
    pub request_id: String,
    /// Whether the response was stored under an idempotency key.
    pub replayed: bool,
}

/// How a call ends.
#[derive(Clone, Debug)]
pub enum CallOutcome {
    /// With a response.
    Responded(Reply),
    /// With a response at one byte a second.
    RespondedSlowly(Reply),
    /// The connection closes without a response.
    Lost,
    /// Without a response. The idempotency key, if any, is released when the caller disconnects.
    Silent(Option<String>),
}

/// Handles a call, subject to the faults that are switched on.
pub fn handle(world: &mut World, secret_key: &str, call: &Call) -> CallOutcome {
    world.calls += 1;
    let request_id = world.id("req_");
    let fault = world.faults.strike_api(&format!("{} {}", call.method, call.path));
    let reply = |result: Result<(u16, Value, bool), ApiError>| {
        let (status, body, replayed) =
            result.unwrap_or_else(|error| (error.status, error.body(), false));
        Reply { status, body, request_id: request_id.clone(), replayed }
    };
    if call.key.as_deref() != Some(secret_key) {
        return CallOutcome::Responded(reply(Err(ApiError::unauthorized())));
    }
    match fault {
        Some(ApiFault::RateLimited) => {
            return CallOutcome::Responded(reply(Err(ApiError::rate_limited())));
        }
        Some(ApiFault::Refused) => return CallOutcome::Responded(reply(Err(ApiError::refused()))),
        Some(ApiFault::Forbidden) => {
            return CallOutcome::Responded(reply(Err(ApiError::forbidden())));
        }
        Some(ApiFault::ErrorBefore) => {
            return CallOutcome::Responded(reply(Err(ApiError::internal())));
        }
        _ => {}
    }
    let key = call.idempotency_key.as_deref().filter(|_| call.method == "POST");
    match begin(world, call, key) {
        Err(error) => return CallOutcome::Responded(reply(Err(error))),
        Ok(Some((status, body))) => return CallOutcome::Responded(reply(Ok((status, body, true)))),
        Ok(None) => {}
    }
    if fault == Some(ApiFault::Silence) {
        return CallOutcome::Silent(key.map(str::to_owned));
    }
    world.cause =
        Cause { request_id: Some(request_id.clone()), idempotency_key: key.map(str::to_owned) };
    let mut result = dispatch(world, call);
    world.cause = Cause::default();
    match fault {
        Some(ApiFault::ErrorAfter) if result.is_ok() => result = Err(ApiError::internal()),
        Some(ApiFault::ErrorPage) if result.is_ok() => result = Err(ApiError::page()),
        _ => {}
    }
    store(world, key, &result);
    let reply = reply(result.map(|body| (200, body, false)));
    match fault {
        Some(ApiFault::AnswerLost) => CallOutcome::Lost,
        Some(ApiFault::SlowBytes) => CallOutcome::RespondedSlowly(reply),
        _ => CallOutcome::Responded(reply),
    }
}

type StoredResponse = Option<(u16, Value)>;

fn begin(world: &mut World, call: &Call, key: Option<&str>) -> Result<StoredResponse, ApiError> {
    let Some(key) = key else { return Ok(None) };
    let parameters = Params::parse(&call.form)?;
    let fingerprint = format!("{} {} {parameters:?}", call.method, call.path);
    world.idempotency.begin(key, &fingerprint, world.now)
}

fn store(world: &mut World, key: Option<&str>, result: &ApiResult) {
    let Some(key) = key else { return };
    match result {
        Ok(body) => world.idempotency.store(key, 200, body.clone()),
        Err(error) if error.is_stored() => world.idempotency.store(key, error.status, error.body()),
        Err(_) => world.idempotency.release(key),
    }
}

fn dispatch(world: &mut World, call: &Call) -> ApiResult {
    let mut params = Params::parse(&call.form)?;
    let expansions = params.texts("expand")?;
    let (method, path) = (call.method.as_str(), call.path.as_str());
    let handled = routes::handle(world, method, path, &mut params);
    let mut body = handled.unwrap_or_else(|| Err(ApiError::no_such_url(method, path)))?;
    for path in &expansions {
        expand::expand(world, &mut body, path)?;
    }
    Ok(body)
}
