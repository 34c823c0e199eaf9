//! Starting the binary without a configuration and with mistakes in it, and stopping it. The file
//! systems of containers are in `mounted`.

use futures_util::future::join_all;
use licentia::clock::{Clock, SystemClock};
use licentia_sandbox::sign;
use tokio::sync::watch;

use crate::harness::database::{Kind, execute, kind, number, texts};
use crate::harness::process::{Server, licentia, run, serve};
use crate::harness::shop::event;
use crate::harness::{Client, TestDatabase, until};

/// The secret of a webhook endpoint.
const SECRET: &str = "whsec_test";

/// Sends events one by one until the server is gone, and counts the responses. Returns the
/// confirmed events.
async fn send_without_end(
    client: Client,
    sender: usize,
    answers: watch::Sender<usize>,
) -> Vec<String> {
    let mut confirmed = Vec::new();
    loop {
        let id = format!("evt_{sender}_{}", confirmed.len());
        let body = event(&id, false, "cus_stranger");
        let signature = sign(&[SECRET], SystemClock.now().epoch_seconds(), body.as_bytes());
        match client.try_deliver(&body, Some(&signature)).await {
            Ok(answer) => assert_eq!(answer.status, 200, "{answer:?}"),
            Err(gone) => {
                assert!(gone.is_request(), "an answer was cut: {gone:?}");
                return confirmed;
            }
        }
        confirmed.push(id);
        answers.send_modify(|answers| *answers += 1);
    }
}

#[tokio::test]
async fn the_server_starts_in_an_empty_folder() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let server = Server::start(directory.path(), &database, &[]);
    let greeting = &server.greeting;
    assert!(greeting.contains(&format!("Swagger UI  {}/docs", server.client.base)), "{greeting}");
    let request = serde_json::json!({ "email": "ada@example.com", "password": "SecurePass123" });
    let answer = server.client.post("/api/customers/signup", &request).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let claims = licentia_verify::inspect(answer.text("/license/token")).unwrap().claims;
    assert_eq!(claims["aud"], "acme-app");
    assert_eq!(claims["iss"], "http://127.0.0.1:0");
    assert_eq!(server.stop(), Some(0));
    assert!(directory.path().join("keys").is_dir());

    // Confirmed events are still there after a start on the same files.
    let server = Server::start(directory.path(), &database, &[]);
    let login = server.client.post("/api/customers/login", &request).await;
    assert_eq!(login.status, 200, "{}", login.text);
}

#[tokio::test]
async fn a_server_stopped_under_load_loses_nothing_confirmed_stripe_4() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let settings = [
        ("LICENTIA_STRIPE__SECRET_KEY", "sk_test_1"),
        ("LICENTIA_STRIPE__API_URL", "http://127.0.0.1:1"),
        ("LICENTIA_STRIPE__WEBHOOK_SECRET", SECRET),
    ];
    let server = Server::start(directory.path(), &database, &settings);
    let (answers, mut answered) = watch::channel(0);
    let senders = (0..16).map(|sender| {
        tokio::spawn(send_without_end(server.client.clone(), sender, answers.clone()))
    });
    let senders: Vec<_> = senders.collect();
    answered.wait_for(|answers| *answers >= 400).await.unwrap();
    let code = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    assert_eq!(code, Some(0));

    let store = database.open().await;
    let stored = texts(&store, "SELECT event_id FROM inbox").await;
    for confirmed in join_all(senders).await {
        let lost: Vec<_> =
            confirmed.unwrap().into_iter().filter(|id| !stored.contains(id)).collect();
        assert!(lost.is_empty(), "confirmed and not there: {lost:?}");
    }
}

#[test]
fn every_mistake_is_reported_at_once_and_nothing_is_created() {
    let directory = tempfile::tempdir().unwrap();
    let refused = run(licentia(directory.path())
        .arg("serve")
        .env("LICENTIA_LISTEN", "everywhere")
        .env("LICENTIA_KEY_DIR", "keys")
        .env("LICENTIA_PUBLIC_URL", "ftp://acme.example"));
    assert_eq!(refused.code, 1);
    for expected in [
        "error: `listen` (LICENTIA_LISTEN): \"everywhere\": use an address and a port",
        "did you mean `keys_dir`?",
        "error: `public_url` (LICENTIA_PUBLIC_URL): \"ftp://acme.example\": use a URL",
    ] {
        assert!(refused.err.contains(expected), "{expected}\nis not in\n{}", refused.err);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn mistakes_in_plans_and_keys_are_reported_together() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("plans.toml"), "product = 7").unwrap();
    std::fs::create_dir(directory.path().join("keys")).unwrap();
    std::fs::write(directory.path().join("keys/mine.pem"), "no key").unwrap();
    let refused = run(licentia(directory.path()).arg("serve"));
    assert_eq!(refused.code, 1);
    for expected in [
        "plans.toml:1: `product`: 7 is not valid",
        "plans.toml: `trial.plan`: it is missing",
        "keys/mine.pem is not named after the time",
    ] {
        assert!(refused.err.contains(expected), "{expected}\nis not in\n{}", refused.err);
    }
    assert!(!directory.path().join("licentia.db").exists(), "a database was made");
}

#[tokio::test]
async fn an_address_in_use_is_reported_with_its_setting_and_nothing_is_created() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(&mut serve(directory.path(), &database, &[("LICENTIA_LISTEN", &address)]));
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("LICENTIA_LISTEN"), "{}", refused.err);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

const LEASED: &str = "SELECT COUNT(*) FROM outbox WHERE leased_until IS NOT NULL";

#[tokio::test]
async fn a_second_serve_ends_no_lease_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let mut first = Server::start(directory.path(), &database, &[]);
    let request = serde_json::json!({ "email": "ada@example.com", "password": "SecurePass123" });
    assert_eq!(first.client.post("/api/customers/signup", &request).await.status, 201);
    let store = database.open().await;
    let sent = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NOT NULL";
    until(async || number(&store, sent).await == 1).await;
    // A lease that is not released, as for a mail that is being sent.
    execute(&store, "UPDATE outbox SET leased_until = 1").await.unwrap();

    let port = first.client.base.trim_start_matches("http://").to_owned();
    let refused = run(&mut serve(directory.path(), &database, &[("LICENTIA_LISTEN", &port)]));
    assert_eq!((refused.code, number(&store, LEASED).await), (1, 1), "{}", refused.err);
    let second = Server::start(directory.path(), &database, &[]);
    assert_eq!(number(&store, LEASED).await, 1, "the same database, another port");

    // A server that starts while the second one lives ends no lease either, although the first has
    // died.
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let third = Server::start(directory.path(), &database, &[]);
    assert_eq!(number(&store, LEASED).await, 1, "a second is still there");
    assert_eq!((second.stop(), third.stop()), (Some(0), Some(0)));

    // A server that starts alone continues with the dead servers' work at once. On PostgreSQL the
    // leases must expire first.
    let _alone = Server::start(directory.path(), &database, &[]);
    let left = if kind() == Kind::Sqlite { 0 } else { 1 };
    assert_eq!(number(&store, LEASED).await, left);
}

#[tokio::test]
async fn variables_of_orchestrators_do_not_stop_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let set = [
        ("LICENTIA_SERVICE_HOST", "10.0.0.1"),
        ("LICENTIA_SERVICE_PORT", "3100"),
        ("LICENTIA_SERVICE_PORT_HTTP", "3100"),
        ("LICENTIA_PORT", "tcp://10.0.0.1:3100"),
        ("LICENTIA_PORT_3100_TCP", "tcp://10.0.0.1:3100"),
        ("LICENTIA_PORT_3100_TCP_ADDR", "10.0.0.1"),
        ("LICENTIA_PORT_3100_TCP_PORT", "3100"),
        ("LICENTIA_PORT_3100_TCP_PROTO", "tcp"),
        ("LICENTIA_KEYS_PASSPHRASE", ""),
    ];
    assert_eq!(Server::start(directory.path(), &database, &set).stop(), Some(0));
    let misspelled = run(&mut serve(directory.path(), &database, &[("LICENTIA_PORT", "3100")]));
    assert_eq!(misspelled.code, 1);
    assert!(misspelled.err.contains("`port` (LICENTIA_PORT)"), "{}", misspelled.err);
}

#[test]
fn a_database_that_cannot_be_opened_is_named_without_its_password() {
    let directory = tempfile::tempdir().unwrap();
    for url in [
        "sqlite:///nowhere/at/all/licentia.db",
        "postgres://licentia:hunter2@127.0.0.1:1/licentia",
        "postgres://licentia:hunter2@",
    ] {
        let refused = run(&mut serve(directory.path(), &TestDatabase { url: url.to_owned() }, &[]));
        assert_eq!(refused.code, 1, "{url}");
        assert!(refused.err.contains("database"), "{}", refused.err);
        assert!(!refused.err.contains("hunter2"), "{}", refused.err);
    }
}
