//! A receiver of outgoing webhooks: an HTTP server that records each request and answers as the
//! test says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request that a receiver got.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// The status of the response, and more header lines, each with its line break. A status of 0
/// closes the connection without a response.
type Answer = (u16, &'static str);

type Decide = Box<dyn Fn(&Received) -> Answer + Send>;

/// A receiver.
pub struct Receiver {
    pub url: String,
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    decide: Arc<Mutex<Decide>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts a receiver that accepts everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let accepts: Decide = Box::new(|_| (204, ""));
        let decide = Arc::new(Mutex::new(accepts));
        let serving = tokio::spawn({
            let (received, decide) = (received.clone(), decide.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, received.clone(), decide.clone()));
                }
            }
        });
        Self { url: format!("http://{address}/hooks"), address, received, decide, serving }
    }

    /// Responds with this status and these header lines from now on.
    pub fn answer(&self, status: u16, headers: &'static str) {
        self.decide(move |_| (status, headers));
    }

    /// Responds as this function says from now on.
    pub fn decide(&self, decide: impl Fn(&Received) -> Answer + Send + 'static) {
        *self.decide.lock().unwrap() = Box::new(decide);
    }

    /// Returns the requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Returns the requests since the last call.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.lock().unwrap())
    }

    /// Returns the only request since the last call.
    #[track_caller]
    pub fn take_one(&self) -> Received {
        let [one] = self.take().try_into().unwrap();
        one
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Returns the id of the message.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn payload(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns the kind of the event.
    pub fn kind(&self) -> String {
        self.payload()["type"].as_str().unwrap().to_owned()
    }

    /// Returns whether one of the signatures is by this secret, as the standard defines it.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = format!("{}.{}.{}", self.id(), self.header("webhook-timestamp"), self.body);
        let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(signed);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

async fn serve(
    mut stream: TcpStream,
    received: Arc<Mutex<Vec<Received>>>,
    decide: Arc<Mutex<Decide>>,
) {
    let mut bytes = Vec::new();
    let request = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        if let Some(request) = parse(&bytes) {
            break request;
        }
    };
    let (status, headers) = decide.lock().unwrap()(&request);
    received.lock().unwrap().push(request);
    if status > 0 {
        let answer = format!(
            "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n{headers}\r\n"
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

/// Returns the request, if it has arrived completely.
fn parse(bytes: &[u8]) -> Option<Received> {
    let text = str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    (body.len() == length).then(|| Received { path, headers, body: body.to_owned() })
}
