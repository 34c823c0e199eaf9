//! Rules for every request: limits, methods, headers, and a server that stops gracefully. Limits on
//! connections are in `slots`, refused requests in `refused`.

use std::time::Duration;

use licentia::store::Store;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::database::HeldLock;
use crate::harness::raw::{connect, exchange};
use crate::harness::{PASSWORD, TestApp};

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_security_28() {
    let app = TestApp::start().await;
    assert_eq!(app.client.get("/api/nothing").await.problem(), (404, "not_found"));
    for path in ["/", "/api/plans/", "/metrics/", "/.well-known/jwks.json/", "/health/live//"] {
        assert_eq!(app.client.get(path).await.problem(), (404, "not_found"), "{path}");
    }
    let put = app.client.send(Method::PUT, "/api/customers/signup", None).await;
    assert_eq!(put.problem(), (405, "method_not_allowed"));
    assert_eq!(put.header("allow"), "POST");
    let post = app.client.post("/api/plans", &json!({})).await;
    assert_eq!((post.problem(), post.header("allow")), ((405, "method_not_allowed"), "GET, HEAD"));
    let docs = app.client.post("/docs", &json!({})).await;
    assert_eq!((docs.problem(), docs.header("allow")), ((405, "method_not_allowed"), "GET, HEAD"));
    let one = "/api/customers/me/sessions/sess_0";
    let get = app.client.get(one).await;
    assert_eq!((get.problem(), get.header("allow")), ((405, "method_not_allowed"), "DELETE"));
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let app = TestApp::start().await;
    for path in ["/api/plans", "/.well-known/jwks.json", "/openapi.json", "/docs", "/health/live"] {
        let head = app.client.send(Method::HEAD, path, None).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
    }
}

#[tokio::test]
async fn a_body_over_64_kib_is_413_with_a_length_or_in_chunks_security_29() {
    let app = TestApp::start().await;
    let path = "/api/customers/login";
    let fits = format!("{{\"email\":\"{}\"", "a".repeat(64 * 1024 - 11));
    let fits = app.client.post_raw(path, "application/json", fits).await;
    assert_eq!(fits.problem(), (400, "invalid_request"));
    let over = app.client.post_raw(path, "application/json", "a".repeat(64 * 1024 + 1)).await;
    assert_eq!(over.problem(), (413, "payload_too_large"));

    let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
    let head = "POST /api/customers/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let stream = connect(&app.client).await;
    let answer = exchange(stream, format!("{head}{}0\r\n\r\n", chunk.repeat(17))).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("payload_too_large"), "{answer}");
}

#[tokio::test]
async fn a_stalled_sender_is_disconnected_while_others_are_served_security_29() {
    let app = TestApp::start().await;
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(&app.client).await;
        stream.write_all(b"GET /health/live HTTP/1.1\r\nhost:").await.unwrap();
        stalled.push(stream);
    }
    assert_eq!(app.client.get("/health/live").await.status, 200);
    // The server closes the connection by itself. The bound is far above the ten seconds that it
    // allows.
    let closed = async {
        let mut rest = Vec::new();
        let _ = stalled[0].read_to_end(&mut rest).await;
    };
    tokio::time::timeout(Duration::from_secs(60), closed).await.expect("it was not cut");
}

#[tokio::test]
async fn only_cacheable_responses_allow_caching_security_20() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let me = app.client.with_token(signed_up.text("/access_token"));
    assert_eq!(me.get("/api/licenses/current").await.header("cache-control"), "no-store");
    let jwks = app.client.get("/.well-known/jwks.json").await;
    assert_eq!(jwks.header("cache-control"), "public, max-age=60");
    let page = app.client.get("/docs").await;
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("strict-transport-security"), "");

    let tls = [("LICENTIA_PUBLIC_URL", "https://licenses.acme.example")];
    let app = TestApp::start_with(&tls).await;
    let answer = app.client.get("/api/plans").await;
    assert!(answer.header("strict-transport-security").starts_with("max-age="));
}

#[tokio::test]
async fn stopping_completes_running_requests() {
    let app = TestApp::start().await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    let head = format!(
        "POST /api/customers/signup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = connect(&app.client).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body, so the request is running.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    let address = app.client.base.strip_prefix("http://").unwrap().to_owned();
    let finished = async {
        // The server stops listening, but responds to the running request.
        while TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let ((), answer) = tokio::join!(app.stop(), finished);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[tokio::test]
async fn a_long_lock_returns_503_with_a_retry_time_and_then_requests_succeed() {
    let app = TestApp::start().await;
    let lock = HeldLock::take(&app.config.database_url, "users").await;
    let request = json!({ "email": "ada@example.com", "password": PASSWORD });
    let answer = app.client.post("/api/customers/signup", &request).await;
    assert_eq!(answer.problem(), (503, "busy"));
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(app.client.get("/.well-known/jwks.json").await.status, 200);
    lock.release().await;
    app.sign_up("ada@example.com").await;
}

#[tokio::test]
async fn without_the_database_readiness_fails_and_keys_are_served() {
    let app = TestApp::start().await;
    assert_eq!(app.client.get("/health/ready").await.status, 200);
    app.app.store.close().await;
    assert_eq!(app.client.get("/health/ready").await.problem(), (503, "unavailable"));
    assert_eq!(app.client.get("/health/live").await.status, 200);
    assert_eq!(app.client.get("/.well-known/jwks.json").await.status, 200);
    let request = json!({ "email": "ada@example.com", "password": PASSWORD });
    let answer = app.client.post("/api/customers/signup", &request).await;
    assert_eq!(answer.problem(), (503, "unavailable"));
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test]
async fn after_a_full_disk_writing_resumes_by_itself() {
    let app = TestApp::start().await;
    let Store::Sqlite { writer, .. } = &app.app.store else {
        return; // PostgreSQL manages its own disk.
    };
    // The writing connection may not grow the file any more: the same error as a full disk.
    sqlx::query("PRAGMA max_page_count = 1").fetch_all(writer).await.unwrap();
    let mut statuses = Vec::new();
    for n in 0..50 {
        let request = json!({ "email": format!("ada{n}@example.com"), "password": PASSWORD });
        let answer = app.client.post("/api/customers/signup", &request).await;
        statuses.push(answer.status);
        if answer.status == 503 {
            assert_eq!(answer.problem(), (503, "database_full"));
            break;
        }
        // One address may cause one mail a minute.
        app.clock.advance_seconds(60);
    }
    assert_eq!(statuses.last(), Some(&503), "the disk was never full: {statuses:?}");
    app.sign_up("after@example.com").await;
    assert_eq!(app.client.get("/health/ready").await.status, 200);
}

#[tokio::test]
async fn a_deleted_database_file_is_not_ready() {
    let app = TestApp::start().await;
    let Store::Sqlite { .. } = &app.app.store else { return };
    std::fs::remove_file(app.directory.path().join("licentia.db")).unwrap();
    assert_eq!(app.client.get("/health/ready").await.problem(), (503, "unavailable"));
}

#[tokio::test]
async fn metrics_are_counted_by_operation_never_by_path() {
    let app = TestApp::start().await;
    app.client.get("/api/plans").await;
    app.client.get("/api/customers/me/sessions/secret-in-a-path").await;
    let figures = app.client.get("/metrics").await.text;
    let counted =
        "licentia_http_requests_total{operation=\"listPlans\",method=\"GET\",status=\"200\"}";
    assert!(figures.contains(counted), "{figures}");
    assert!(!figures.contains("secret-in-a-path"), "{figures}");
}

#[tokio::test]
async fn the_metrics_are_in_the_text_format_of_prometheus() {
    let app = TestApp::start().await;
    app.client.get("/api/plans").await;
    let answer = app.client.get("/metrics").await;
    // <https://prometheus.io/docs/instrumenting/exposition_formats/>
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text.ends_with('\n'), "{}", answer.text);
    let mut typed = None;
    for line in answer.text.lines() {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name)) => {
                assert!(name.starts_with("licentia_") && line.ends_with('.'), "{line}");
            }
            (Some("#"), Some("TYPE"), Some(name)) => typed = Some(name),
            // A sample. The samples of a metric follow its type.
            (Some(series), Some(value), None) => {
                let name = series.split('{').next().unwrap();
                let suffix = name.strip_prefix(typed.unwrap()).expect(line);
                assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
                assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
            }
            _ => panic!("not in the format: {line}"),
        }
    }
}
