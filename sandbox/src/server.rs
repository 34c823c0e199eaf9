//! HTTP on a loopback address: the API under `/v1/` and `/v2/`, the pages elsewhere. It uses hyper
//! directly, because some faults are impossible in a web framework: no response, a closed
//! connection, one byte a second. The handlers are in `api` and `pages`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Interval;

use crate::api::{Call, CallOutcome, Reply};
use crate::connections::serve_each;
use crate::options::API_VERSION;
use crate::pages::{self, PageRequest};
use crate::shared::{HeldKey, Shared};

/// The largest form, in bytes; Stripe's own limit is of this order.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The delay of each byte of a slow response.
const SLOW_BYTE: Duration = Duration::from_secs(1);

type HttpResponse = Response<Either<Full<Bytes>, SlowBody>>;

/// Closes the connection without a response.
#[derive(Debug, thiserror::Error)]
#[error("the response is lost because a fault is switched on")]
struct Lost;

/// Serves until this future is dropped, which closes the connections.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    serve_each(listener, |stream| serve_connection(stream, Arc::clone(&shared))).await;
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    // Responses are small, so waiting for a full packet only delays them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(Arc::clone(&shared), request));
    // An error concerns only the caller's connection, or comes from a fault that closes it.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Result<HttpResponse, Lost> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large."));
    };
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().as_bytes().to_vec();
    let body = body.to_bytes().to_vec();
    let method = head.method.as_str().to_owned();
    if ["/v1/", "/v2/"].iter().any(|api| path.starts_with(api)) {
        let form =
            if method == "POST" || (method == "DELETE" && !body.is_empty()) { body } else { query };
        let call = Call {
            method,
            path,
            form,
            key: api_key(&head.headers),
            idempotency_key: text(&head.headers, "idempotency-key"),
        };
        return respond_to_call(&shared, &call).await;
    }
    let origin = text(&head.headers, "origin");
    Ok(pages::handle(&shared, PageRequest { method, path, form: body, origin }).map(Either::Left))
}

async fn respond_to_call(shared: &Arc<Shared>, call: &Call) -> Result<HttpResponse, Lost> {
    let (outcome, _held) = HeldKey::handle(shared, call);
    match outcome {
        CallOutcome::Responded(reply) => {
            Ok(json(reply, call).map(|body| Either::Left(Full::new(body))))
        }
        CallOutcome::RespondedSlowly(reply) => {
            Ok(json(reply, call).map(|body| Either::Right(SlowBody::new(body))))
        }
        CallOutcome::Lost => Err(Lost),
        // The key is released when the caller disconnects, which drops this future.
        CallOutcome::Silent(_) => std::future::pending().await,
    }
}

fn json(reply: Reply, call: &Call) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{:#}", reply.body)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("stripe-version", HeaderValue::from_static(API_VERSION));
    let own = [
        ("request-id", Some(reply.request_id)),
        ("idempotency-key", call.idempotency_key.clone()),
        ("idempotent-replayed", reply.replayed.then(|| "true".to_owned())),
    ];
    for (name, value) in own {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> HttpResponse {
    let mut response = Response::new(Either::Left(Full::from(text)));
    *response.status_mut() = status;
    response
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Returns the key from a bearer token, or from the user name of basic authentication.
fn api_key(headers: &HeaderMap) -> Option<String> {
    let authorization = text(headers, "authorization")?;
    let (scheme, credentials) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.trim().to_owned());
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    decoded.split(':').next().map(str::to_owned)
}

/// A body that is sent at one byte a second.
struct SlowBody {
    rest: Bytes,
    ticks: Interval,
}

impl SlowBody {
    fn new(rest: Bytes) -> Self {
        Self { rest, ticks: tokio::time::interval(SLOW_BYTE) }
    }
}

impl Body for SlowBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        self.ticks.poll_tick(context).map(|_| Some(Ok(Frame::data(self.rest.split_to(1)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
