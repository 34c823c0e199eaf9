//! The OpenAPI description. poem-openapi generates it from the handlers; this module adds the
//! errors that every operation of a kind can return, and an example of each error.

mod convert;
mod examples;
mod order;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::OnceLock;

use bytes::Bytes;
use poem::endpoint::{BoxEndpoint, make_sync};
use poem::http::Method;
use poem::{Endpoint, Response, get};
use poem_openapi::OpenApi;
use serde_json::{Map, Value, json};

use super::body::{MAX_BODY_BYTES, MAX_EVENT_BYTES, MAX_LICENSE_BODY_BYTES};
use super::cors::Access;
use super::idempotency;
use super::license::licenses;
use super::problem::{self, description};
use super::sale::webhooks;
use super::service;
use crate::config::Origin;
use crate::error::Code;
use crate::metrics::ResponseMetrics;
use order::Ordered;

/// The errors of any request.
const ALWAYS: [Code; 8] = [
    Code::RequestTimeout,
    Code::HeadTooLarge,
    Code::Internal,
    Code::DatabaseUnreachable,
    Code::DatabaseReadOnly,
    Code::DatabaseFull,
    Code::Unavailable,
    Code::Busy,
];
/// The errors of a request with a body or parameters.
const WITH_INPUT: [Code; 1] = [Code::InvalidRequest];
/// The errors of a request with a body.
const WITH_BODY: [Code; 2] = [Code::PayloadTooLarge, Code::UnsupportedMediaType];
/// The errors of a request that needs a credential.
const WITH_SESSION: [Code; 1] = [Code::Unauthenticated];

/// The errors of a request that may have an idempotency key.
const WITH_KEY: [Code; 2] = [Code::IdempotencyRunning, Code::IdempotencyMismatch];

/// The description of the header with the key.
const ABOUT_KEY: &str = "\
Makes the request safe to repeat. The first response is kept for a day, and a repeated request \
with the same key gets it, with the header `Idempotent-Replayed`. Use a new random value, such as \
a UUID, for each new request.";

/// The schema of Stripe's events. It allows unknown fields, because Stripe adds fields.
const FOREIGN: &str = "StripeEvent";

/// The origin in examples of URLs: that of a server with the default settings.
pub const EXAMPLE_ORIGIN: &str = "http://127.0.0.1:3100";

const INTRODUCTION: &str = "\
The licensing service of a software vendor. Customers sign up and get a signed license, which \
their apps verify offline.

**Try it here.** Open *Sign up*, press *Execute*, and copy `access_token` from the response. Press \
*Authorize* and paste it under *session*. *Get my current license* then returns your license, and \
*Verify a license online* checks its `token`. The *Administration* calls need an admin key, which \
the vendor creates.

**Errors** are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problems \
(`application/problem+json`). Their `code` is stable. `request_id`, also in the header \
`X-Request-Id`, identifies the request in the server's log. After a 429 or a 503, wait for the \
seconds in `Retry-After`.

**Repeated requests.** Send `Idempotency-Key` with each request that creates something, and repeat \
the request with the same key if its response is lost: it takes effect once.";

/// Returns the description, an OpenAPI 3.1 document.
#[must_use]
pub fn document() -> Value {
    let service = service().description(INTRODUCTION);
    let mut document: Value = serde_json::from_str(&service.spec()).unwrap_or_default();
    document["servers"] = json!([{ "url": "/", "description": "This server" }]);
    let license = env!("CARGO_PKG_LICENSE");
    document["info"]["license"] = json!({ "name": license, "identifier": license });
    convert::to_3_1(&mut document);
    order::sort_tags(&mut document);
    let mut bodies = Vec::new();
    for operation in operations(&mut document) {
        complete(operation);
        let body = operation.pointer("/requestBody/content").and_then(Value::as_object);
        let schemas =
            body.into_iter().flatten().filter_map(|(_, media)| media["schema"]["$ref"].as_str());
        bodies.extend(schemas.filter_map(|name| name.rsplit('/').next().map(str::to_owned)));
    }
    for name in bodies.iter().filter(|name| *name != FOREIGN) {
        close(&mut document["components"]["schemas"][name.as_str()]);
    }
    plain_media_types(&mut document);
    document["components"]["examples"] = examples::used_by(&document["paths"]);
    document
}

/// Removes the paths that are served elsewhere.
pub fn retain_paths(document: &mut Value, keep: impl Fn(&str) -> bool) {
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|path, _| keep(path));
    }
}

/// Returns the description as text, as it is committed to `openapi/openapi.json`.
#[must_use]
pub fn text() -> String {
    format!("{}\n", serde_json::to_string_pretty(&Ordered(&document())).unwrap_or_default())
}

/// Returns the endpoint that serves the description. Its examples return to this server, so they
/// work on every port.
pub fn endpoint(
    document: &Value,
    public_url: &Origin,
) -> impl Endpoint<Output = Response> + 'static + use<> {
    let text = serde_json::to_string(&Ordered(document)).unwrap_or_default();
    let text = Bytes::from(text.replace(EXAMPLE_ORIGIN, &public_url.to_string()));
    get(make_sync(move |_| {
        Response::builder()
            .content_type("application/json")
            .header("Cache-Control", "no-cache")
            .body(text.clone())
    }))
}

/// The handlers by path and method.
type Handlers = HashMap<String, HashMap<Method, BoxEndpoint<'static>>>;

/// The paths of the API.
pub struct Paths(Vec<Path>);

/// A path of the API.
pub struct Path {
    /// The template, for the log. The actual path could contain a secret.
    pub template: String,
    /// The template up to its first parameter; `None` without parameters.
    fixed: Option<String>,
    operations: Vec<Operation>,
}

/// What the server needs to know about an operation before it calls the handler.
pub struct Operation {
    /// The operation's id.
    pub id: String,
    /// The method, in upper case.
    method: String,
    /// Whether it needs `Authorization: Bearer …`. All our credentials are sent this way.
    pub needs_bearer: bool,
    /// Which pages may call it from a browser.
    pub access: Access,
    /// Whether it receives events from Stripe.
    pub is_webhook: bool,
    /// The largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// The handler of an operation without a credential and without parameters in the path or the
    /// query. It can be called directly; for others, the framework first finds the parameters.
    pub handler: Option<BoxEndpoint<'static>>,
    /// The metrics of its responses with status 200, once there is one.
    pub metrics: OnceLock<ResponseMetrics>,
}

impl Paths {
    /// Returns the paths of the description.
    #[must_use]
    pub fn of(document: &Value) -> Self {
        let mut handlers = Handlers::new();
        super::api().add_routes(&mut handlers);
        let paths = document["paths"].as_object().into_iter().flatten();
        Self(paths.map(|(template, item)| Path::of(template, item, &mut handlers)).collect())
    }

    /// Returns the description of a path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Path> {
        // Most paths have no parameters, and comparing strings is fast.
        let exact = self.0.iter().find(|known| known.template == path);
        exact.or_else(|| self.0.iter().find(|known| known.matches(path)))
    }
}

impl Path {
    fn of(template: &str, item: &Value, handlers: &mut Handlers) -> Self {
        let mut handlers = handlers.remove(template).unwrap_or_default();
        let operations = item.as_object().into_iter().flatten();
        let operations = operations.map(|(method, operation)| {
            let method = method.to_uppercase();
            let handler = Method::from_str(&method).ok().and_then(|name| handlers.remove(&name));
            let needs_bearer = needs_credential(operation);
            let mut parameters = operation["parameters"].as_array().into_iter().flatten();
            let is_plain = !needs_bearer && parameters.all(|parameter| parameter["in"] == "header");
            Operation {
                id: operation["operationId"].as_str().unwrap_or_default().to_owned(),
                method,
                needs_bearer,
                access: Access::to(operation),
                is_webhook: template == webhooks::PATH,
                max_body_bytes: match template {
                    webhooks::PATH => MAX_EVENT_BYTES,
                    licenses::VERIFY_PATH => MAX_LICENSE_BODY_BYTES,
                    _ => MAX_BODY_BYTES,
                },
                handler: handler.filter(|_| is_plain),
                metrics: OnceLock::new(),
            }
        });
        let fixed = template.split_once('{').map(|(fixed, _)| fixed.to_owned());
        Self { template: template.to_owned(), fixed, operations: operations.collect() }
    }

    /// Returns whether a path has this template, which has parameters. Comparing the fixed part
    /// first is fast, and fits hardly any other template.
    fn matches(&self, path: &str) -> bool {
        self.fixed.as_ref().is_some_and(|fixed| path.starts_with(fixed))
            && matches_template(&self.template, path)
    }

    /// Returns the methods of all operations.
    pub fn methods(&self) -> Vec<&str> {
        self.operations.iter().map(|operation| operation.method.as_str()).collect()
    }

    /// Returns the operation with this method.
    #[must_use]
    pub fn operation(&self, method: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.method == method)
    }
}

/// Returns the methods of a path, for the header `Allow`. Pages outside of the description support
/// only GET.
#[must_use]
pub fn allowed(path: Option<&Path>) -> Vec<String> {
    let mut allowed: Vec<_> = path.into_iter().flat_map(Path::methods).map(str::to_owned).collect();
    if allowed.is_empty() {
        allowed.push("GET".to_owned());
    }
    if allowed.iter().any(|method| method == "GET") {
        allowed.push("HEAD".to_owned());
    }
    allowed
}

/// Returns whether a path matches a template, such as `/sessions/{id}`.
#[must_use]
pub fn matches_template(template: &str, path: &str) -> bool {
    let (expected, actual) = (template.split('/'), path.split('/'));
    expected.clone().count() == actual.clone().count()
        && expected.zip(actual).all(|(part, actual)| part.starts_with('{') || part == actual)
}

/// Returns the description of every operation.
fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten().map(|(_, each)| each))
}

/// Returns whether an operation needs a session, a license or an admin key.
fn needs_credential(operation: &Value) -> bool {
    operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty())
}

/// Adds the errors that follow from the input of an operation, and the examples of all its errors.
/// States that an operation without `security` needs no credential.
fn complete(operation: &mut Value) {
    let mut codes: Vec<Code> = ALWAYS.to_vec();
    if operation.get("requestBody").is_some() {
        codes.extend(WITH_BODY);
    }
    if operation.get("requestBody").is_some() || operation.get("parameters").is_some() {
        codes.extend(WITH_INPUT);
    }
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    let key = parameters.into_iter().flatten().find(|each| each["name"] == idempotency::KEY_NAME);
    if let Some(key) = key {
        key["description"] = json!(ABOUT_KEY);
        codes.extend(WITH_KEY);
    }
    if needs_credential(operation) {
        codes.extend(WITH_SESSION);
    } else {
        operation["security"] = json!([]);
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, response) in responses.iter_mut() {
        if response["description"] == "" {
            response["description"] = json!(if status == "200" { "Success." } else { "Response." });
        }
    }
    codes.sort_unstable();
    for code in &codes {
        let status = code.status();
        let entry = responses.entry(status.to_string()).or_insert_with(problem_response);
        let more = description(status, &codes);
        let text = entry["description"].as_str().unwrap_or_default();
        if !text.contains(&more) {
            entry["description"] = json!(format!("{text} {more}").trim());
        }
    }
    for response in responses.values_mut() {
        let examples = examples::of(response["description"].as_str().unwrap_or_default());
        let content = response.get_mut("content").and_then(Value::as_object_mut);
        if let Some(media) = content.and_then(|content| content.get_mut(problem::MEDIA_TYPE)) {
            media["examples"] = examples;
        }
    }
    let mut sorted: Vec<_> = std::mem::take(responses).into_iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    *responses = Map::from_iter(sorted);
}

/// Adds to the schema of a request body what the generator cannot express: unknown fields are
/// refused, and some strings have a format.
fn close(schema: &mut Value) {
    schema["additionalProperties"] = json!(false);
    for (field, format) in [("email", "email"), ("password", "password")] {
        if let Some(property) = schema["properties"].get_mut(field) {
            property["format"] = json!(format);
        }
    }
}

fn problem_response() -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    json!({ "description": "", "content": { problem::MEDIA_TYPE: { "schema": schema } } })
}

/// Removes the parameter from `application/json; charset=utf-8`. JSON is always UTF-8 (RFC 8259,
/// section 11), and tools look for the plain name.
fn plain_media_types(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(content) = members.get_mut("content").and_then(Value::as_object_mut) {
                let plain = |name: &str| name.split(';').next().unwrap_or_default().to_owned();
                let taken = std::mem::take(content).into_iter();
                *content = taken.map(|(name, media)| (plain(&name), media)).collect();
            }
            members.values_mut().for_each(plain_media_types);
        }
        Value::Array(items) => items.iter_mut().for_each(plain_media_types),
        _ => {}
    }
}
