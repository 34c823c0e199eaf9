//! Observability: a log in JSON from the first line, errors counted by operation and code,
//! metrics on a listener of their own, and the state of the database by its name.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::database::{Kind, kind};
use crate::harness::postgres::Cluster;
use crate::harness::process::{Server, licentia, serve};
use crate::harness::{Client, PASSWORD, TestApp, TestDatabase, until};

/// Returns the lines of a text, each parsed as a JSON object with the fields of every log line.
fn objects(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(object["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        assert!(object["level"].is_string() && object["message"].is_string(), "{line}");
        object
    });
    lines.collect()
}

#[tokio::test]
async fn with_the_json_format_every_line_is_an_object_from_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let settings = [("LICENTIA_LOG_FORMAT", "json"), ("LICENTIA_LOG", "debug")];
    let log = std::fs::File::create(directory.path().join("server.log")).unwrap();
    let mut command = serve(directory.path(), &database, &settings);
    let mut child = command.stderr(log).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut out, &mut first).unwrap();
    let [greeting] = &objects(&first)[..] else { panic!("{first}") };
    assert_eq!(greeting["message"], "listening");
    let client = Client::new(greeting["url"].as_str().unwrap().to_owned());
    assert_eq!(client.get("/api/customers/me").await.status, 401);
    let id = child.id().to_string();
    assert!(
        std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success()
    );
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    assert_eq!(rest, "");
    let log = std::fs::read_to_string(directory.path().join("server.log")).unwrap();
    let lines = objects(&log);
    let responded = lines.iter().find(|line| line["message"] == "responded").unwrap();
    assert_eq!((&responded["status"], &responded["span"]["method"]), (&json!(401), &json!("GET")));
    assert_eq!(responded["span"]["request_id"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn with_the_json_format_a_failed_start_is_reported_in_objects() {
    let directory = tempfile::tempdir().unwrap();
    for (variable, value) in [
        ("LICENTIA_LISTN", "x"),
        ("LICENTIA_PLANS_FILE", "missing.toml"),
        ("LICENTIA_LOG_FORMAT", "json"),
    ] {
        let mut command = licentia(directory.path());
        command.arg("serve").env("LICENTIA_LOG_FORMAT", "json").env(variable, value);
        if variable == "LICENTIA_LOG_FORMAT" {
            command.env("LICENTIA_LISTEN", "192.0.2.1:1");
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let lines = objects(std::str::from_utf8(&output.stderr).unwrap());
        assert!(!lines.is_empty() && output.stdout.is_empty(), "{variable}");
        assert_eq!(lines.last().unwrap()["level"], "ERROR", "{variable}");
    }
}

#[tokio::test]
async fn errors_are_counted_by_operation_and_code() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let wrong = json!({ "email": "ada@example.com", "password": "another password" });
    app.client.post("/api/customers/login", &wrong).await;
    app.client.post("/api/customers/login", &wrong).await;
    let right = json!({ "email": "ada@example.com", "password": PASSWORD });
    app.client.post("/api/customers/login", &right).await;
    app.client.get("/api/admin/drift").await;
    app.client.get("/secret/path").await;
    let count = async |operation: &str, code: &str| {
        let labels = format!("{{operation=\"{operation}\",code=\"{code}\"}}");
        app.client.metric(&format!("licentia_http_errors_total{labels}")).await
    };
    assert_eq!(count("logIn", "invalid_credentials").await, Some(2));
    assert_eq!(count("getDrift", "unauthenticated").await, Some(1));
    assert_eq!(count("none", "not_found").await, Some(1));
    assert_eq!(count("signUp", "email_taken").await, None);
    assert!(!app.client.get("/metrics").await.text.contains("secret"));
}

#[tokio::test]
async fn the_metrics_can_have_a_listener_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let settings = [("LICENTIA_METRICS_LISTEN", "127.0.0.1:0")];
    let server = Server::start(directory.path(), &database, &settings);
    let shown = server.greeting.lines().find_map(|line| line.trim().strip_prefix("Metrics"));
    let address = shown.unwrap().trim().strip_suffix("/metrics").unwrap();
    let outside = reqwest::get(format!("{}/metrics", server.client.base)).await.unwrap();
    assert_eq!(outside.status(), 404);
    let document = server.client.get("/openapi.json").await;
    assert!(document.body["paths"].get("/metrics").is_none());
    let inside = Client::new(address.to_owned());
    let metrics = inside.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text.contains("licentia_http_requests_total"), "{}", metrics.text);
    for path in ["/api/plans", "/docs", "/openapi.json", "/health/ready", "/api/customers/me"] {
        let response = reqwest::get(format!("{address}{path}")).await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
    }
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn security_47_a_configuration_file_with_secrets_that_others_can_read_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let file = directory.path().join("licentia.toml");
    let secret = "[stripe]\nsecret_key = \"sk_test_canary\"\nwebhook_secret = \"whsec_canary\"\n";
    for (content, mode, is_reported) in [
        (secret, 0o644, true),
        (secret, 0o640, false),
        (secret, 0o600, false),
        ("log = \"info\"\n", 0o644, false),
    ] {
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let server = Server::start(directory.path(), &database, &[]);
        assert_eq!(server.stop(), Some(0));
        let log = std::fs::read_to_string(directory.path().join("server.log")).unwrap();
        let warning =
            "can read stripe.secret_key, stripe.webhook_secret in licentia.toml; run: chmod";
        assert_eq!(log.contains(warning), is_reported, "{mode:o} {content}: {log}");
        assert!(!log.contains("canary"), "{log}");
    }
}

#[tokio::test]
async fn a_postgresql_that_is_down_is_named_and_recovers() {
    if kind() == Kind::Sqlite {
        return; // There is no server that can be down.
    }
    let (cluster, url) = Cluster::with_database().await;
    let app = TestApp::start_with(&[("LICENTIA_DATABASE_URL", &url)]).await;
    cluster.stop_server();
    let sign_up = json!({ "email": "ada@example.com", "password": PASSWORD });
    for _ in 0..2 {
        let ready = app.client.get("/health/ready").await;
        assert_eq!(ready.problem(), (503, "database_unreachable"));
        let refused = app.client.post("/api/customers/signup", &sign_up).await;
        assert_eq!(refused.problem(), (503, "database_unreachable"));
        assert!(!refused.header("retry-after").is_empty());
    }
    cluster.start_server();
    until(async || app.client.get("/health/ready").await.status == 200).await;
    assert_eq!(app.client.post("/api/customers/signup", &sign_up).await.status, 201);
}
