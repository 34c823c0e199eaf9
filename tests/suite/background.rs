//! Work besides the requests: the log, the worker, and the checkpoints of an idle database. The
//! daily reconciliation is in `daily`.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use licentia::fail_point::FailPoints;
use licentia::store::{IfMissing, Store};
use licentia_sandbox::sign;
use serde_json::json;

use crate::harness::database::{Kind, kind, number};
use crate::harness::process::{Server, serve};
use crate::harness::shop::{Peer, Shop, event};
use crate::harness::{Client, PASSWORD, TestDatabase, until};

/// The counter of lost log lines.
const LOST: &str = "licentia_log_lines_lost_total";

/// Signs a customer up, and waits until the worker has sent the mail.
async fn must_work(client: &Client, directory: &Path, customers: usize) {
    let request = json!({ "email": format!("{customers}@example.com"), "password": PASSWORD });
    let answer = client.post("/api/customers/signup", &request).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let mails = || std::fs::read_dir(directory.join("mail")).map_or(0, Iterator::count);
    until(async || mails() == customers).await;
    assert_eq!(client.get("/health/ready").await.status, 200);
}

#[tokio::test]
async fn an_unread_standard_error_loses_only_log_lines() {
    // The log's reader is gone, or it does not read and the pipe fills up.
    for is_gone in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let mut command = serve(directory.path(), &database, &[]);
        let mut server = Server::run(command.stderr(Stdio::piped()), directory.path());
        let reader = server.child.stderr.take().filter(|_| !is_gone);
        must_work(&server.client, directory.path(), 1).await;
        // More lines than a pipe holds (64 KiB), and more than wait to be written.
        let asks = (0..16).map(|_| async {
            for _ in 0..120 {
                server.client.get("/health/live").await;
            }
        });
        join_all(asks).await;
        until(async || server.client.metric(LOST).await.unwrap() > 0).await;
        must_work(&server.client, directory.path(), 2).await;
        assert_eq!(server.stop(), Some(0));
        drop(reader);
    }
}

#[tokio::test]
async fn full_disks_for_the_output_lose_only_the_greeting_and_log_lines() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    // The greeting is lost, so the port must be known: one that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = serve(directory.path(), &database, &[("LICENTIA_LISTEN", &free.to_string())]);
    let child = command.stdout(full()).stderr(full()).spawn().unwrap();
    let client = Client::new(format!("http://{free}"));
    let server = Server { child, client, greeting: String::new() };
    until(async || reqwest::get(format!("{}/health/ready", server.client.base)).await.is_ok())
        .await;
    must_work(&server.client, directory.path(), 1).await;
    assert_ne!(server.client.metric(LOST).await.unwrap(), 0);
    assert_eq!(server.stop(), Some(0));

    // Lost output does not change the exit code.
    let mut refused = serve(directory.path(), &database, &[("LICENTIA_LISTEN", "everywhere")]);
    assert_eq!(refused.stderr(full()).status().unwrap().code(), Some(1));
}

#[tokio::test]
async fn a_hangup_does_not_end_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let server = Server::start(directory.path(), &database, &[]);
    server.signal("HUP");
    must_work(&server.client, directory.path(), 1).await;
    assert_eq!(server.stop(), Some(0));
}

/// Starts a server as the only one with a worker. The worker panics at this place while the switch
/// is on.
async fn panicking_server(shop: &mut Shop, place: &'static str, on: &Arc<AtomicBool>) -> Peer {
    shop.end_worker().await;
    let on = on.clone();
    shop.server_with(FailPoints::calling(move |here| {
        assert!(here.as_str() != place || !on.load(Ordering::SeqCst), "a test's panic at {place}");
    }))
    .await
}

/// Waits until readiness has this status. Returns the response's code.
async fn until_ready_is(shop: &Shop, peer: &Peer, status: u16) -> String {
    let ready = async || peer.client.get("/health/ready").await;
    shop.until("readiness changes", async || ready().await.status == status).await;
    ready().await.body["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn background_work_that_ends_is_restarted_and_shown_by_readiness() {
    for (place, task) in [("mail.taken", "outbox"), ("inbox.taken", "inbox")] {
        let mut shop = Shop::open().await;
        shop.buyer("ada@example.com").await;
        shop.settled().await;
        let on = Arc::new(AtomicBool::new(false));
        let peer = panicking_server(&mut shop, place, &on).await;
        until_ready_is(&shop, &peer, 200).await;

        on.store(true, Ordering::SeqCst);
        shop.buyer("eve@example.com").await;
        let body = event("evt_1", false, "cus_stranger");
        let signature = sign(&[&shop.secret], shop.sandbox.clock().now(), body.as_bytes());
        assert_eq!(peer.client.deliver(&body, Some(&signature)).await.status, 200);
        assert_eq!(until_ready_is(&shop, &peer, 503).await, "background_task_down");
        let restarts = format!("licentia_background_restarts_total{{task=\"{task}\"}}");
        assert_ne!(peer.client.metric(&restarts).await.unwrap(), 0);

        on.store(false, Ordering::SeqCst);
        until_ready_is(&shop, &peer, 200).await;
        // Its leases from before the panic last for up to a minute.
        shop.sandbox.advance(Duration::from_secs(120));
        shop.settled().await;
    }
}

#[tokio::test]
async fn a_copy_of_an_idle_database_s_file_alone_is_complete() {
    if kind() == Kind::Postgres {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let server = Server::start(directory.path(), &database, &[]);
    must_work(&server.client, directory.path(), 1).await;
    // While it runs, and nothing is written.
    until(async || customers_in_a_copy(directory.path()).await == Some(1)).await;

    // While a reader uses an older state, it cannot be checkpointed. Writing works all the same.
    let reader = database.open().await;
    let mut reading = reader.read().await.unwrap();
    reading.count_customers().await.unwrap();
    must_work(&server.client, directory.path(), 2).await;
    drop(reading);
    until(async || customers_in_a_copy(directory.path()).await == Some(2)).await;
    must_work(&server.client, directory.path(), 3).await;

    // And after it has stopped, although another process has the file open.
    assert_eq!(server.stop(), Some(0));
    assert_eq!(customers_in_a_copy(directory.path()).await, Some(3));
    reader.close().await;
}

#[tokio::test]
async fn a_checkpoint_that_a_slow_writer_prevents_is_no_failure() {
    if kind() == Kind::Postgres {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = TestDatabase::empty(directory.path()).await.open().await;
    let writing = store.write().await.unwrap();
    assert!(!store.checkpoint().await.unwrap());
    drop(writing);
    assert!(store.checkpoint().await.unwrap());
}

/// Returns how many customers a copy of the file alone has; `None` if it cannot be read.
async fn customers_in_a_copy(directory: &Path) -> Option<i64> {
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    std::fs::copy(directory.join("licentia.db"), &copy).unwrap();
    assert!(File::open(&copy).is_ok());
    let url = format!("sqlite://{}", copy.display());
    let store = Store::open(&url.into(), IfMissing::Refuse).await.ok()?;
    let complete = store.must_be_current().await.is_ok();
    let customers =
        if complete { Some(number(&store, "SELECT COUNT(*) FROM customers").await) } else { None };
    store.close().await;
    customers
}
