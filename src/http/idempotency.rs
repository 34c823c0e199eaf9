//! The header `Idempotency-Key`: a handler that takes [`Once`] begins a request with a key, and
//! [`answer`] keeps its response.

use std::str::FromStr;

use bytes::Bytes;
use poem::http::{HeaderName, StatusCode, header};
use poem::{FromRequest, Request, RequestBody, Response};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::types::ToJSON;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::Value;

use crate::app::App;
use crate::domain::idempotency::{
    IdempotencyKey, InvalidKey, MAX_KEY, SESSION_TOKEN, StoredResponse, is_kept,
};
use crate::domain::ids::CustomerId;
use crate::error::{Error, Result};
use crate::flows::account::session::NewSession;
use crate::flows::idempotency::{self, Begun, KeyedCall};
use crate::http::caller::Client;
use crate::http::problem;
use crate::request_id;

/// The header of a request with a key.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The name of the header in the API description.
pub const KEY_NAME: &str = "Idempotency-Key";

/// The header of a response that was kept: `true`.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The operation and the body of a request with a key. The server adds it to the request.
#[derive(Clone)]
pub struct Keyed {
    /// The operation's id.
    pub operation: String,
    /// The body.
    pub body: Bytes,
}

/// The key of a request, if it has one. The handler calls [`Once::begin`].
pub struct Once(Option<KeyedCall>);

impl Once {
    /// Returns whether the request has a key.
    pub fn is_keyed(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a request with a key. The handler calls this after it has checked limits, credential
    /// and permission, so that they count for repeated requests too, and before it changes
    /// anything. `owner` is the customer whose data the response has, if that is known.
    ///
    /// # Errors
    /// Those of [`idempotency::begin`], and the kept response to a repeated request, which ends the
    /// handler.
    pub async fn begin(self, app: &App, owner: Option<&CustomerId>) -> poem::Result<Created> {
        let Some(call) = self.0 else { return Ok(Created(None)) };
        match idempotency::begin(app, call, owner.cloned()).await? {
            Begun::New => Ok(Created(None)),
            Begun::Resume(id) => Ok(Created(Some(id))),
            Begun::Replay(response, session) => {
                Err(poem::Error::from_response(replayed(&response, session)))
            }
        }
    }
}

/// What an earlier attempt of a request created before it ended without a response.
pub struct Created(Option<String>);

impl Created {
    /// Returns the id of what was created. The handler answers with it instead of creating another
    /// one.
    pub fn id<Id: FromStr>(&self) -> Option<Id> {
        self.0.as_ref()?.parse().ok()
    }
}

impl<'a> ApiExtractor<'a> for Once {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];

    type ParamType = String;
    type ParamRawType = String;

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(MetaSchema {
            min_length: Some(1),
            max_length: Some(MAX_KEY),
            pattern: Some("^[ -~]+$".to_owned()),
            ..MetaSchema::new("string")
        })))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<String>,
    ) -> poem::Result<Self> {
        let mut values = request.headers().get_all(KEY).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        if values.next().is_some() {
            return Err(Error::InvalidRequest(format!("send `{KEY_NAME}` once")).into());
        }
        let key: std::result::Result<IdempotencyKey, _> =
            value.to_str().map_err(|_| InvalidKey).and_then(str::parse);
        let key = key.map_err(|error| Error::InvalidRequest(format!("`{KEY_NAME}`: {error}")))?;
        let client = <Client as FromRequest>::from_request(request, body).await?;
        let missing = || Error::Internal("a request with a key lacks its parts".into());
        let keyed = request.data::<Keyed>().ok_or_else(missing)?;
        let credential = request.headers().get(header::AUTHORIZATION);
        Ok(Self(Some(KeyedCall {
            key,
            operation: keyed.operation.clone(),
            credential: credential.map_or(Vec::new(), |value| value.as_bytes().to_vec()),
            path: request.uri().path().to_owned(),
            body: keyed.body.clone(),
            client: client.name,
        })))
    }
}

/// Returns a kept response, with the token of the new login session if it had one.
fn replayed(kept: &StoredResponse, session: Option<NewSession>) -> Response {
    let mut body = kept.body.as_str().to_owned();
    if let (Some(opened), Ok(mut value)) = (session, serde_json::from_str::<Value>(&body)) {
        value[SESSION_TOKEN] = opened.token.expose().into();
        if let Some(expires_at) = value.get_mut("expires_at") {
            let time = opened.session.expires_at.to_datetime();
            *expires_at = time.to_json().unwrap_or_default();
        }
        body = value.to_string();
    }
    let status = StatusCode::from_u16(kept.status).unwrap_or_default();
    let mut response = Response::builder().status(status).header(REPLAYED, "true");
    if !body.is_empty() {
        let is_problem = status.is_client_error();
        response = response.content_type(if is_problem {
            problem::MEDIA_TYPE
        } else {
            "application/json; charset=utf-8"
        });
    }
    response.body(body)
}

/// Carries out a request with a key, and keeps its response.
///
/// # Errors
/// Those of the work.
pub async fn answer(work: impl Future<Output = Result<Response>>) -> Result<Response> {
    idempotency::with_slot(async {
        match work.await {
            Ok(mut response) => {
                let bytes = response.take_body().into_bytes().await;
                let bytes = bytes.map_err(|error| Error::Internal(error.to_string()))?;
                keep(response.status().as_u16(), || String::from_utf8_lossy(&bytes).into()).await;
                response.set_body(bytes);
                Ok(response)
            }
            Err(error) => {
                let request_id = request_id::current().unwrap_or_default();
                keep(error.code().status(), || problem::body(&error, &request_id)).await;
                Err(error)
            }
        }
    })
    .await
}

async fn keep(status: u16, body: impl FnOnce() -> String) {
    let body = is_kept(status).then(body);
    idempotency::end(body.as_deref().map(|body| (status, body))).await;
}
