//! The limits on connections, and which one is closed when all are in use.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::TestApp;
use crate::harness::raw::{
    LIVE, allow_many_files, closed, connect_from, exchange, must_close, problem, read_all,
};

/// Returns a request whose body never ends. It sends enough for the first window of the minimum
/// rate.
fn slow_sender() -> String {
    let head = "POST /api/customers/login HTTP/1.1\r\nhost: x\r\n\
                content-type: application/json\r\ncontent-length: 60000\r\n\r\n";
    format!("{head}{}", "a".repeat(5000))
}

/// A request for a large response, which the client does not read.
const SLOW_READER: &str = "GET /docs/swagger-ui.js HTTP/1.1\r\nhost: x\r\n\r\n";

async fn hold(app: &TestApp, peer: u8, count: usize, request: &str) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = connect_from(&app.client, peer).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        held.push(stream);
    }
    held
}

/// The bound is far below the five minutes for which a connection may live.
async fn must_be_served(stream: TcpStream, request: &str) {
    let answer = tokio::time::timeout(Duration::from_secs(60), exchange(stream, request)).await;
    let answer = answer.expect("it was not served");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn with_four_peers_of_200_slow_senders_a_fifth_is_served_at_once_security_36() {
    allow_many_files();
    let app = TestApp::start().await;
    let mut slow = Vec::new();
    for peer in 1..=4 {
        slow.extend(hold(&app, peer, 200, &slow_sender()).await);
    }
    must_be_served(connect_from(&app.client, 5).await, LIVE).await;
    // A connection that arrives while the slow ones reconnect is not the one that is closed.
    let fifth = connect_from(&app.client, 5).await;
    for peer in 1..=4 {
        slow.extend(hold(&app, peer, 25, &slow_sender()).await);
    }
    must_be_served(fifth, LIVE).await;
    // It did not wait until one of them got the error that it is too slow.
    let (_, closed, said) = closed(slow);
    assert_eq!(said, "");
    assert!(closed >= 100, "{closed} were closed");
}

#[tokio::test]
async fn with_four_peers_of_200_slow_readers_a_fifth_is_served_security_36() {
    allow_many_files();
    let app = TestApp::start().await;
    let mut slow = Vec::new();
    for peer in 1..=4 {
        slow.extend(hold(&app, peer, 200, SLOW_READER).await);
    }
    must_be_served(connect_from(&app.client, 5).await, LIVE).await;
    drop(slow);
}

#[tokio::test]
async fn one_address_has_its_own_limit_and_its_newest_connection_is_served_security_36() {
    allow_many_files();
    let app = TestApp::start().await;
    let mut idle = connect_from(&app.client, 2).await;
    idle.write_all(LIVE.replace("close", "keep-alive").as_bytes()).await.unwrap();
    let slow = hold(&app, 1, 200, &slow_sender()).await;
    must_be_served(connect_from(&app.client, 1).await, LIVE).await;
    must_close(slow, 1).await;
    // No other client's connection was closed for it.
    let answer = exchange(idle, LIVE).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_budget_security_36() {
    allow_many_files();
    let app = TestApp::start_with(&[("LICENTIA_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let of = |client: &str, request: &str| {
        request.replace("host: x", &format!("host: x\r\nx-forwarded-for: {client}"))
    };
    let mut many = Vec::new();
    for client in 0..250 {
        let request = of(&format!("192.0.2.{client}:4711"), &slow_sender());
        many.extend(hold(&app, 1, 1, &request).await);
    }
    // The proxy is not limited like a single peer, but each client behind it is.
    let greedy = hold(&app, 1, 230, &of("203.0.113.9", &slow_sender())).await;
    let greedy = must_close(greedy, 30).await;
    assert_eq!(greedy.len(), 200);
    must_be_served(connect_from(&app.client, 1).await, &of("203.0.113.9", LIVE)).await;
    must_be_served(connect_from(&app.client, 1).await, &of("198.51.100.1", LIVE)).await;
    must_close(greedy, 1).await;
    let (many, ..) = closed(many);
    assert_eq!(many.len(), 250, "another client's were closed");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_response_is_disconnected_security_36() {
    let app = TestApp::start().await;
    let mut stream = connect_from(&app.client, 1).await;
    stream.write_all(SLOW_READER.as_bytes()).await.unwrap();
    // Nothing is read here, so a write shows whether the server still has the connection. The bound
    // is far below the five minutes for which it may live.
    let cut = async {
        while stream.write_all(b"GET").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), cut).await.expect("it was not cut");
}

#[tokio::test]
async fn a_stalled_body_gets_a_readable_refusal_security_36() {
    let app = TestApp::start().await;
    let mut stream = connect_from(&app.client, 1).await;
    let request = slow_sender();
    stream.write_all(&request.as_bytes()[..request.len() - 4900]).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert_eq!(problem(&answer), (408, "request_timeout".to_owned()));
    assert!(answer.contains("too slowly"), "{answer}");
}
