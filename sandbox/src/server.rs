//! HTTP on a loopback address: the API under `/v1/` and `/v2/`, the pages elsewhere. It speaks to
//! hyper itself, since some faults are below what a framework lets one say: no answer at all, a
//! connection that closes, a body at one byte a second.

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

use crate::api::{Call, Outcome, Reply};
use crate::connections::serve_each;
use crate::options::API_VERSION;
use crate::pages::{self, PageRequest};
use crate::shared::{HeldKey, Shared};

/// The largest form, in bytes; Stripe's own limit is of this order.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What the slow fault waits for each byte.
const SLOW_BYTE: Duration = Duration::from_secs(1);

type Answer = Response<Either<Full<Bytes>, SlowBody>>;

/// The connection is to close without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost, because a fault is switched on")]
struct Lost;

/// Serves until it is aborted; the connections end with it.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    serve_each(listener, |stream| serve_connection(stream, Arc::clone(&shared))).await;
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    // Answers are small; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(Arc::clone(&shared), request));
    // What fails here is the caller's connection, or a fault that closes it.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Lost> {
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
        return answer_call(&shared, &call).await;
    }
    let origin = text(&head.headers, "origin");
    Ok(pages::answer(&shared, PageRequest { method, path, form: body, origin }).map(Either::Left))
}

async fn answer_call(shared: &Arc<Shared>, call: &Call) -> Result<Answer, Lost> {
    let (outcome, _held) = HeldKey::answer(shared, call);
    match outcome {
        Outcome::Answered(reply) => Ok(json(reply, call).map(|body| Either::Left(Full::new(body)))),
        Outcome::AnsweredSlowly(reply) => {
            Ok(json(reply, call).map(|body| Either::Right(SlowBody::new(body))))
        }
        Outcome::Lost => Err(Lost),
        // The key is dropped, with this future, when the caller goes.
        Outcome::Silent(_) => std::future::pending().await,
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

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut response = Response::new(Either::Left(Full::from(text)));
    *response.status_mut() = status;
    response
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The key comes as a bearer token, or as the name of basic authentication.
fn api_key(headers: &HeaderMap) -> Option<String> {
    let authorization = text(headers, "authorization")?;
    let (scheme, credentials) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.trim().to_owned());
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    decoded.split(':').next().map(str::to_owned)
}

/// A body that comes at one byte a second.
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
