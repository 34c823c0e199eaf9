//! The harness: a sandbox for each test, a client for its API, and a receiver of webhooks.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use licentia_sandbox::{
    Card, Interval, NewPrice, Options, Paid, SECRET_KEY, Sandbox, Sending, StartTime,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The time at which every test begins: 2026-11-20T15:00:00Z.
pub const START: i64 = 1_795_186_800;

/// A sandbox with three prices, a stopped clock, and webhooks that are sent on request.
pub struct Stripe {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
}

/// A response of the API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub replayed: bool,
    pub request_id: String,
}

impl Stripe {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let options = Options { start: StartTime::At(START), sending: Sending::Manual, ..options };
        let sandbox = Sandbox::start(options).await.unwrap();
        for (id, amount, interval) in [
            ("price_pro_monthly", 4900, Interval::Month),
            ("price_team_monthly", 9900, Interval::Month),
            ("price_pro_yearly", 49_000, Interval::Year),
        ] {
            sandbox.add_price(&NewPrice { id, product: id, amount, currency: "usd", interval });
        }
        let redirect = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().redirect(redirect).build().unwrap();
        Self { sandbox, http }
    }

    pub async fn get(&self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.sandbox.url()));
        Self::answer(request.bearer_auth(SECRET_KEY)).await.unwrap()
    }

    pub async fn post(&self, path: &str, form: &str) -> Answer {
        Self::answer(self.request(path, form)).await.unwrap()
    }

    pub async fn post_with_key(&self, key: &str, path: &str, form: &str) -> Answer {
        Self::answer(self.request(path, form).header("Idempotency-Key", key)).await.unwrap()
    }

    pub async fn delete(&self, path: &str) -> Answer {
        let request = self.http.delete(format!("{}{path}", self.sandbox.url()));
        Self::answer(request.bearer_auth(SECRET_KEY)).await.unwrap()
    }

    pub fn request(&self, path: &str, form: &str) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.sandbox.url()));
        let form_type = "application/x-www-form-urlencoded";
        request.bearer_auth(SECRET_KEY).header("Content-Type", form_type).body(form.to_owned())
    }

    pub async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let header = |name: &str| {
            let value = response.headers().get(name);
            value.map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        let (replayed, request_id) =
            (header("idempotent-replayed") == "true", header("request-id"));
        let status = response.status().as_u16();
        Ok(Answer { status, body: response.json().await?, replayed, request_id })
    }

    pub async fn customer(&self) -> String {
        self.post("/v1/customers", "email=ada@example.com&metadata[customer_id]=cust_1").await.id()
    }

    pub async fn session(&self, customer: &str, more: &str) -> String {
        let form = format!(
            "mode=subscription&customer={customer}&line_items[0][price]=price_pro_monthly\
             &line_items[0][quantity]=1&success_url=http://localhost/ok?s={{CHECKOUT_SESSION_ID}}\
             &cancel_url=http://localhost/no&subscription_data[metadata][customer_id]=cust_1{more}"
        );
        self.post("/v1/checkout/sessions", &form).await.id()
    }

    /// Returns the ids of a customer and of an active subscription.
    pub async fn subscriber(&self) -> (String, String) {
        let customer = self.customer().await;
        let session = self.session(&customer, "").await;
        assert_eq!(self.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
        let subscription =
            self.sandbox.object(&session)["subscription"].as_str().unwrap().to_owned();
        (customer, subscription)
    }

    /// Returns the id of a subscription's item.
    pub fn item(&self, subscription: &str, place: usize) -> String {
        let items = self.sandbox.object(subscription)["items"]["data"].take();
        items[place]["id"].as_str().unwrap_or_default().to_owned()
    }

    pub fn status(&self, id: &str) -> String {
        self.sandbox.object(id)["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns the latest invoice of a subscription, and the payment intent that pays it.
    pub async fn payment(&self, subscription: &str) -> (String, String) {
        let path = format!("/v1/subscriptions/{subscription}?expand[]=latest_invoice.payments");
        let invoice = self.get(&path).await.body["latest_invoice"].take();
        let intent = &invoice["payments"]["data"][0]["payment"]["payment_intent"];
        (invoice["id"].as_str().unwrap().to_owned(), intent.as_str().unwrap_or_default().to_owned())
    }
}

impl Answer {
    pub fn id(&self) -> String {
        assert_eq!(self.status, 200, "{:#}", self.body);
        self.body["id"].as_str().unwrap().to_owned()
    }

    pub fn error(&self, key: &str) -> &str {
        self.body["error"][key].as_str().unwrap_or_default()
    }

    pub fn ids(&self) -> Vec<&str> {
        let data = self.body["data"].as_array().expect("a list");
        data.iter().map(|object| object["id"].as_str().unwrap()).collect()
    }
}

/// A webhook as received.
#[derive(Clone, Debug)]
pub struct Received {
    pub signature: String,
    pub body: Bytes,
}

impl Received {
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Receives webhooks and returns the status that the test chose.
pub struct Receiver {
    pub url: String,
    state: Arc<Mutex<(u16, Vec<Received>)>>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new((200, Vec::new())));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| receive(Arc::clone(&shared), request));
                let stream = TokioIo::new(stream);
                tokio::spawn(http1::Builder::new().serve_connection(stream, service));
            }
        });
        Self { url, state, task }
    }

    pub fn answer_with(&self, status: u16) {
        self.state.lock().unwrap().0 = status;
    }

    pub fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().1.clone()
    }

    pub fn types(&self) -> Vec<String> {
        let received = self.received();
        received
            .iter()
            .map(|webhook| webhook.event()["type"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    state: Arc<Mutex<(u16, Vec<Received>)>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let signature = request.headers()["stripe-signature"].to_str().unwrap().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut state = state.lock().unwrap();
    state.1.push(Received { signature, body });
    let mut response = Response::new(Full::default());
    *response.status_mut() = state.0.try_into().unwrap();
    Ok(response)
}
