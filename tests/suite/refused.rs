//! Requests that are refused before their body is read, and the responses that their senders can
//! read.

use std::io::{Read, Write};

use licentia::http::openapi;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::harness::process::Server;
use crate::harness::raw::{connect, connect_from, exchange, problem};
use crate::harness::{START, TestApp, TestDatabase, until};

const MIB: usize = 1024 * 1024;

/// Returns the head of a request with a body of this length, and with these headers.
fn head(method: &str, path: &str, length: usize, headers: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{headers}\r\n"
    )
}

fn event(headers: &str) -> String {
    head("POST", "/api/webhooks/stripe", MIB, headers)
}

#[tokio::test]
async fn an_event_that_is_not_from_stripe_is_refused_before_its_body_security_37() {
    let stripe = [
        ("LICENTIA_STRIPE__SECRET_KEY", "sk_test_1"),
        ("LICENTIA_STRIPE__WEBHOOK_SECRET", "whsec_1"),
    ];
    let app = TestApp::start_with(&stripe).await;
    let signature = "0".repeat(64);
    let late = START - 301;
    for headers in [
        String::new(),
        "stripe-signature: nonsense\r\n".into(),
        format!("stripe-signature: t={START}\r\n"),
        format!("stripe-signature: t={START},v1=00\r\n"),
        format!("stripe-signature: t={late},v1={signature}\r\n"),
        format!("stripe-signature: v1={signature}\r\nexpect: 100-continue\r\n"),
    ] {
        // Not one byte of the body is sent.
        let answer = exchange(connect(&app.client).await, event(&headers)).await;
        assert_eq!(problem(&answer), (400, "bad_webhook".to_owned()), "{headers}");
    }
    // Without a secret, no signature can be valid, so the body is not read.
    let app = TestApp::start().await;
    let headers = format!("stripe-signature: t={START},v1={signature}\r\n");
    let answer = exchange(connect(&app.client).await, event(&headers)).await;
    assert_eq!(problem(&answer), (400, "bad_webhook".to_owned()));
}

#[tokio::test]
async fn a_call_without_credentials_is_refused_before_its_body_security_37() {
    let app = TestApp::start().await;
    let document = openapi::document();
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"] == json!([]) {
                continue;
            }
            let path = path.replace(['{', '}'], "");
            for headers in ["", "authorization: Basic YTpi\r\n", "authorization: Bearer\r\n"] {
                let head = head(&method.to_uppercase(), &path, 60_000, headers);
                let answer = exchange(connect(&app.client).await, head).await;
                let found = problem(&answer);
                assert_eq!(found, (401, "unauthenticated".to_owned()), "{method} {path}");
                tried += 1;
            }
        }
    }
    assert!(tried > 30, "{tried}");
}

/// Returns the peak memory of a process, in bytes.
fn peak_memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn unsigned_events_cost_kilobytes_and_are_logged_security_37() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let server = Server::start(directory.path(), &database, &[]);
    let before = peak_memory(server.child.id());
    let mut senders = Vec::new();
    for n in 0..600_u16 {
        let mut stream = connect_from(&server.client, 1 + (n / 200) as u8).await;
        // All bytes but the last, so that no body is complete.
        let sent = async {
            stream.write_all(event("").as_bytes()).await?;
            stream.write_all(&vec![b'a'; MIB - 1]).await
        };
        // A client that keeps sending for more than a second is disconnected.
        let _ = sent.await;
        senders.push(stream);
    }
    let more = peak_memory(server.child.id()).saturating_sub(before);
    assert!(more < 60 * MIB, "600 bodies of 1 MiB cost {more} bytes");
    let malformed = exchange(connect(&server.client).await, "nonsense\r\n\r\n").await;
    assert_eq!(problem(&malformed), (400, "invalid_request".to_owned()));
    // A thread of its own writes the log, perhaps after the response.
    let log = || std::fs::read_to_string(directory.path().join("server.log")).unwrap();
    until(async || log().contains("(unreadable)")).await;
    let log = log();
    let line = log.lines().find(|line| line.contains("(unreadable)"));
    assert!(line.is_some_and(|line| line.contains("400")), "{log}");
}

/// Sends everything before it reads the response, as Python's http.client does.
async fn write_then_read(app: &TestApp, request: Vec<u8>) -> String {
    let address = app.client.base.strip_prefix("http://").unwrap().to_owned();
    let client = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(&request).expect("the server closed while the client was sending");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the response was lost");
        answer
    });
    client.await.unwrap()
}

#[tokio::test]
async fn a_client_that_sends_everything_before_reading_can_read_the_refusal_security_38() {
    let app = TestApp::start().await;
    let too_large = (413, "payload_too_large".to_owned());
    for path in ["/api/customers/login", "/api/webhooks/stripe", "/api/nothing"] {
        let mut request = head("POST", path, 8 * MIB, "").into_bytes();
        request.resize(request.len() + 8 * MIB, b'a');
        assert_eq!(problem(&write_then_read(&app, request).await), too_large, "{path}");
    }
    let mut chunked = b"POST /api/customers/login HTTP/1.1\r\nhost: x\r\n\
                        transfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for _ in 0..128 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.resize(chunked.len() + 0x10000, b'a');
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(problem(&write_then_read(&app, chunked).await), too_large);

    let mut unsigned = event("").into_bytes();
    unsigned.resize(unsigned.len() + MIB, b'a');
    let refused = (400, "bad_webhook".to_owned());
    assert_eq!(problem(&write_then_read(&app, unsigned).await), refused);
    let mut large_head = b"GET /health/live HTTP/1.1\r\nhost: x\r\nx: ".to_vec();
    large_head.resize(8 * MIB, b'a');
    let refused = (431, "head_too_large".to_owned());
    assert_eq!(problem(&write_then_read(&app, large_head).await), refused);
}

#[tokio::test]
async fn a_malformed_head_gets_a_problem_and_is_counted_security_38() {
    let app = TestApp::start().await;
    let malformed: [&[u8]; 11] = [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        b"GET  HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        // A client that speaks TLS.
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n",
    ];
    for request in malformed {
        let shown = String::from_utf8_lossy(request);
        let answer = exchange(connect(&app.client).await, request).await;
        assert_eq!(problem(&answer), (400, "invalid_request".to_owned()), "{shown}");
    }
    for (path, header) in [(9, 200_000), (200_000, 9)] {
        let (path, header) = ("p".repeat(path), "h".repeat(header));
        let request = format!("GET /{path} HTTP/1.1\r\nhost: x\r\nx: {header}\r\n\r\n");
        let answer = exchange(connect(&app.client).await, request).await;
        assert_eq!(problem(&answer), (431, "head_too_large".to_owned()));
    }
    let figures = app.client.get("/metrics").await.text;
    for status in [400, 431] {
        let counted = format!(
            "licentia_http_requests_total{{operation=\"none\",method=\"other\",status=\"{status}\"}}"
        );
        assert!(figures.contains(&counted), "{figures}");
    }
}

#[tokio::test]
async fn a_malformed_head_after_a_good_request_gets_one_problem_security_38() {
    let app = TestApp::start().await;
    let both = "GET /health/live HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost x\r\n\r\n";
    let answer = exchange(connect(&app.client).await, both).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{answer}");
    let (_, refused) = answer.split_once("HTTP/1.1 400 ").unwrap();
    let refused = problem(&format!("HTTP/1.1 400 {refused}"));
    assert_eq!(refused, (400, "invalid_request".to_owned()), "{answer}");
}

#[tokio::test]
async fn a_stalled_head_gets_a_problem_security_38() {
    let app = TestApp::start().await;
    let answer = exchange(connect(&app.client).await, "GET / HTTP/1.1\r\nhost:").await;
    assert_eq!(problem(&answer), (408, "request_timeout".to_owned()));
    // A client that has sent nothing gets no response.
    let answer = exchange(connect(&app.client).await, "").await;
    assert_eq!(answer, "");
}

#[tokio::test]
async fn forwarded_clients_are_distinguished_however_their_address_is_written_security_43() {
    let app = TestApp::start_with(&[("LICENTIA_TRUSTED_PROXIES", "127.0.0.1, ::1")]).await;
    let body = json!({ "email": "ada@example.com", "password": "wrong password" }).to_string();
    let log_in = async |hop: &str| {
        let headers = format!("x-forwarded-for: {hop}\r\nconnection: close\r\n");
        let head = head("POST", "/api/customers/login", body.len(), &headers);
        let answer = exchange(connect(&app.client).await, format!("{head}{body}")).await;
        problem(&answer)
    };
    let wrong = (401, "invalid_credentials".to_owned());
    for port in 1..=10 {
        assert_eq!(log_in(&format!("192.0.2.1:{port}")).await, wrong);
    }
    // The ten attempts of this client are used up, however its address is written.
    for same in ["192.0.2.1", "\"192.0.2.1:9\"", "203.0.113.1, 192.0.2.1, unknown, 127.0.0.1:80"] {
        assert_eq!(log_in(same).await, (429, "too_many_requests".to_owned()), "{same}");
    }
    for other in ["192.0.2.2:4711", "[2001:db8::1]:443", "unknown", "192.0.2.1, 192.0.2.3:1"] {
        assert_eq!(log_in(other).await, wrong, "{other}");
    }
}
