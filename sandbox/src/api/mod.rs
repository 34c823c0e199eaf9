//! Stripe's HTTP API, without HTTP: a call comes in as method, path and parameters, and an answer
//! goes out. Here are the key, the faults and the idempotency keys; a file per resource does the
//! work, on the world, under its lock.

mod catalog;
mod checkout;
mod credit_notes;
mod customers;
mod discounts;
mod events;
mod expand;
mod invoices;
mod list;
mod offers;
mod params;
mod payments;
mod portal;
mod resource;
mod routes;
mod schedules;
mod subscriptions;
mod terms;
mod webhooks;

use serde_json::Value;

use crate::api_error::{ApiError, ApiResult};
use crate::faults::ApiFault;
use crate::world::{Cause, World};
use params::Params;

pub use webhooks::add as add_webhook_endpoint;

/// A call as it came in.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GET`, `POST` or `DELETE`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The form, or the query of a `GET`.
    pub form: Vec<u8>,
    /// The API key, if one came.
    pub key: Option<String>,
    /// The idempotency key, if one came.
    pub idempotency_key: Option<String>,
}

/// An answer to a call.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// The id of the request that first gave this answer.
    pub request_id: String,
    /// Whether it was kept under an idempotency key.
    pub replayed: bool,
}

/// What becomes of a call.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is answered.
    Answered(Reply),
    /// It is answered, at one byte a second.
    AnsweredSlowly(Reply),
    /// The connection closes without an answer.
    Lost,
    /// It is never answered; the idempotency key, if any, is to be released when the caller goes.
    Silent(Option<String>),
}

/// Does what a call asks for.
pub fn answer(world: &mut World, secret_key: &str, call: &Call) -> Outcome {
    world.calls += 1;
    let request_id = world.id("req_");
    let fault = world.faults.strike_api(&format!("{} {}", call.method, call.path));
    let reply = |result: Result<(u16, Value, bool), ApiError>| {
        let (status, body, replayed) =
            result.unwrap_or_else(|error| (error.status, error.body(), false));
        Reply { status, body, request_id: request_id.clone(), replayed }
    };
    if call.key.as_deref() != Some(secret_key) {
        return Outcome::Answered(reply(Err(ApiError::unauthorized())));
    }
    match fault {
        Some(ApiFault::RateLimited) => {
            return Outcome::Answered(reply(Err(ApiError::rate_limited())));
        }
        Some(ApiFault::Refused) => return Outcome::Answered(reply(Err(ApiError::refused()))),
        Some(ApiFault::ErrorBefore) => return Outcome::Answered(reply(Err(ApiError::internal()))),
        _ => {}
    }
    let key = call.idempotency_key.as_deref().filter(|_| call.method == "POST");
    match begin(world, call, key) {
        Err(error) => return Outcome::Answered(reply(Err(error))),
        Ok(Some((status, body))) => return Outcome::Answered(reply(Ok((status, body, true)))),
        Ok(None) => {}
    }
    if fault == Some(ApiFault::Silence) {
        return Outcome::Silent(key.map(str::to_owned));
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
    keep(world, key, &result);
    let reply = reply(result.map(|body| (200, body, false)));
    match fault {
        Some(ApiFault::AnswerLost) => Outcome::Lost,
        Some(ApiFault::SlowBytes) => Outcome::AnsweredSlowly(reply),
        _ => Outcome::Answered(reply),
    }
}

type Kept = Option<(u16, Value)>;

fn begin(world: &mut World, call: &Call, key: Option<&str>) -> Result<Kept, ApiError> {
    let Some(key) = key else { return Ok(None) };
    let parameters = Params::parse(&call.form)?;
    let fingerprint = format!("{} {} {parameters:?}", call.method, call.path);
    world.idempotency.begin(key, &fingerprint, world.now)
}

fn keep(world: &mut World, key: Option<&str>, result: &ApiResult) {
    let Some(key) = key else { return };
    match result {
        Ok(body) => world.idempotency.keep(key, 200, body.clone()),
        Err(error) if error.is_kept() => world.idempotency.keep(key, error.status, error.body()),
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
