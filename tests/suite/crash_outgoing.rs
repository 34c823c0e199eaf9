//! The process dies by SIGKILL at each fail point of an outgoing webhook, and restarts: nothing is
//! lost, and a repeated delivery has the same id.

use std::os::unix::process::ExitStatusExt;

use licentia::fail_point::Place;
use serde_json::{Value, json};

use crate::harness::database::{number, texts};
use crate::harness::process::{Server, licentia, run};
use crate::harness::receiver::Receiver;
use crate::harness::{PASSWORD, TestDatabase, until};
use crate::outgoing::ALLOW_PRIVATE;

/// The places between a change and the record of its delivery.
const PLACES: [&str; 3] = ["outgoing.taken", "outgoing.sent", "outgoing.recorded"];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_of_a_delivery_loses_nothing() {
    let deaths = PLACES.map(|point| async move {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let receiver = Receiver::start().await;
        let start = |point: Option<&str>| {
            let mut settings = vec![ALLOW_PRIVATE];
            settings.extend(point.map(|point| ("FAIL_POINT", point)));
            Server::start(directory.path(), &database, &settings)
        };
        let mut server = start(Some(point));
        let url = database.url.clone();
        let added = run(licentia(directory.path())
            .args(["webhook", "add", &receiver.url, "--json"])
            .env("LICENTIA_DATABASE_URL", url)
            .env(ALLOW_PRIVATE.0, ALLOW_PRIVATE.1));
        let added: Value = serde_json::from_str(&added.out).unwrap();
        let account = json!({ "email": "ada@example.com", "password": PASSWORD });
        let signed_up = server.client.post("/api/customers/signup", &account).await;
        assert_eq!(signed_up.status, 201, "{point}");
        let status = server.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{point}");
        let store = database.open().await;
        let open = "SELECT COUNT(*) FROM webhook_deliveries WHERE delivered_at IS NULL";
        assert!(number(&store, open).await > 0, "{point}");

        let _server = start(None);
        until(async || number(&store, open).await == 0).await;
        let received = receiver.take();
        let secret = added["secret"].as_str().unwrap();
        assert!(received.iter().all(|got| got.is_signed_by(secret)), "{point}");
        let mut ids: Vec<_> = received.iter().map(|got| got.id().to_owned()).collect();
        let attempts = ids.len();
        ids.dedup();
        // Only a delivery that was sent and not recorded is sent twice.
        let repeated = usize::from(point == "outgoing.sent");
        assert_eq!((ids.len(), attempts), (2, 2 + repeated), "{point}: {received:?}");
        store.close().await;
    });
    futures_util::future::join_all(deaths).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_a_webhook_was_created_leaves_it_and_its_audit_entry() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let Server { client, .. } = &Server::start(directory.path(), &database, &[]);
    assert_eq!(client.get("/health/ready").await.status, 200);
    let died = run(licentia(directory.path())
        .args(["webhook", "add", "https://acme.example/hooks"])
        .env("LICENTIA_DATABASE_URL", &database.url)
        .env("FAIL_POINT", "webhook_endpoint.written"));
    assert_eq!((died.code, died.out.as_str()), (-1, ""), "{died:?}");
    let store = database.open().await;
    let audited = "SELECT COUNT(*) FROM audit_log WHERE action = 'webhook.created'";
    assert_eq!(number(&store, audited).await, 1);
    // Nobody has its secret: it is rotated or removed.
    let id = texts(&store, "SELECT webhook_id FROM webhooks").await.remove(0);
    let rotate = |point: Option<&str>| {
        let mut command = licentia(directory.path());
        command.args(["webhook", "rotate", &id]).env("LICENTIA_DATABASE_URL", &database.url);
        run(command.envs(point.map(|point| ("FAIL_POINT", point))))
    };
    assert_eq!(rotate(Some("webhook_endpoint.written")).code, -1);
    assert!(rotate(None).out.starts_with("whsec_"));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_a_replay_was_stored_loses_no_delivery() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let receiver = Receiver::start().await;
    let server = Server::start(directory.path(), &database, &[ALLOW_PRIVATE]);
    let webhook = |arguments: &[&str], point: Option<&str>| {
        let mut command = licentia(directory.path());
        command.arg("webhook").args(arguments).env("LICENTIA_DATABASE_URL", &database.url);
        command.env(ALLOW_PRIVATE.0, ALLOW_PRIVATE.1);
        run(command.envs(point.map(|point| ("FAIL_POINT", point))))
    };
    let added = webhook(&["add", &receiver.url, "--events", "customer.created", "--json"], None);
    let added: Value = serde_json::from_str(&added.out).unwrap();
    let id = added["webhook_id"].as_str().unwrap();
    let account = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(server.client.post("/api/customers/signup", &account).await.status, 201);
    until(async || !receiver.received().is_empty()).await;
    let store = database.open().await;
    let delivery = texts(&store, "SELECT delivery_id FROM webhook_deliveries").await.remove(0);
    until(async || {
        number(&store, "SELECT COUNT(*) FROM webhook_deliveries WHERE delivered_at > 0").await == 1
    })
    .await;
    assert_eq!(webhook(&["replay", id, &delivery], Some("outgoing.replayed")).code, -1);
    until(async || receiver.received().len() == 2).await;
    let received = receiver.take();
    assert_eq!(received[0].id(), received[1].id());
    store.close().await;
}

#[test]
fn every_fail_point_of_a_delivery_is_tested() {
    let all = Place::ALL.map(Place::as_str);
    let own = all.iter().filter(|place| place.starts_with("outgoing.")).count();
    assert_eq!(own, PLACES.len() + 1, "a replay has one too");
}
