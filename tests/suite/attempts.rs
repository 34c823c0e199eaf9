//! Attempts that guess a password or cause a mail are counted by all servers on one database
//! together, and survive a restart. An owner is never locked out for good.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::database::{number, texts};
use crate::harness::mailbox::Mail;
use crate::harness::{Answer, BEHIND_A_PROXY, Client, PASSWORD, TestApp};

const ADA: &str = "ada@example.com";

async fn log_in(client: &Client, email: &str, password: &str) -> Answer {
    client.post("/api/customers/login", &json!({ "email": email, "password": password })).await
}

async fn forgot(client: &Client, email: &str) -> Answer {
    client.post("/api/customers/password/forgot", &json!({ "email": email })).await
}

/// Guesses until it is refused, at most this often. Returns how many guesses were allowed.
async fn guess(clients: &[Client], email: &str, at_most: usize) -> usize {
    let mut allowed = 0;
    for attempt in 0..at_most {
        let client = &clients[attempt % clients.len()];
        match log_in(client, email, "another password").await.status {
            401 => allowed += 1,
            429 => break,
            status => panic!("{status}"),
        }
    }
    allowed
}

#[tokio::test]
async fn security_13_two_servers_count_guesses_together() {
    let app = TestApp::start().await;
    app.sign_up(ADA).await;
    let servers = [app.client.clone(), app.second_server().await];
    assert_eq!(guess(&servers, ADA, 30).await, 10);
    for server in &servers {
        let refused = log_in(server, " ADA@example.com", PASSWORD).await;
        assert_eq!(refused.problem(), (429, "too_many_requests"));
        assert_eq!(refused.header("retry-after"), "10");
        assert_eq!(guess(&servers, "bob@example.com", 1).await, 1, "another account");
    }
    for spelling in ["ada@ｅxample.com", "ada@example。com", "ADA@EXAMPLE.COM"] {
        let refused = log_in(&servers[0], spelling, "another password").await;
        assert_eq!(refused.status, 429, "{spelling} has a budget of its own");
    }
    app.clock.advance_seconds(10);
    assert_eq!(log_in(&servers[1], ADA, PASSWORD).await.status, 200);
    assert_eq!(log_in(&servers[0], ADA, PASSWORD).await.status, 429);
}

#[tokio::test]
async fn security_13_guesses_at_once_are_all_counted() {
    let app = TestApp::start().await;
    let servers = [app.client.clone(), app.second_server().await];
    let guesses = (0..40).map(|number| log_in(&servers[number % 2], ADA, "another password"));
    let statuses = join_all(guesses).await;
    let allowed = statuses.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(allowed, 10);
    assert!(statuses.iter().all(|answer| [401, 429].contains(&answer.status)), "{statuses:?}");
}

/// Guessing from many addresses is stopped at every server. The owner gets in from a network that
/// was used before, also at a server that has just started.
#[tokio::test]
async fn security_42_many_guessers_do_not_lock_the_owner_out() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let home = app.client.at_address("192.0.2.1");
    let sign_up = json!({ "email": ADA, "password": PASSWORD });
    assert_eq!(home.post("/api/customers/signup", &sign_up).await.status, 201);
    let mut allowed = 0;
    for number in 0..30 {
        let bot = app.client.at_address(&format!("203.0.113.{number}"));
        allowed += guess(&[bot], ADA, 5).await;
    }
    assert_eq!(allowed, 100);
    let restarted = app.second_server().await;
    let elsewhere = restarted.at_address("198.51.100.1");
    assert_eq!(log_in(&elsewhere, ADA, PASSWORD).await.status, 429);
    assert_eq!(log_in(&restarted.at_address("192.0.2.1"), ADA, PASSWORD).await.status, 200);
    // One more attempt a minute is allowed to everyone, and then the owner is known there too.
    app.clock.advance_seconds(60);
    assert_eq!(log_in(&elsewhere, ADA, PASSWORD).await.status, 200);
    assert_eq!(log_in(&elsewhere, ADA, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn security_42_a_reset_link_ends_a_lockout_on_every_server() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    app.sign_up(ADA).await;
    app.take_mails(ADA).await;
    let owner = app.client.at_address("198.51.100.7");
    for number in 0..25 {
        let bot = app.client.at_address(&format!("203.0.113.{number}"));
        guess(&[bot], ADA, 5).await;
    }
    assert_eq!(log_in(&owner, ADA, PASSWORD).await.status, 429);
    assert_eq!(forgot(&owner, ADA).await.status, 202, "the lockout does not concern it");
    let token = app.take_mail(ADA).await.token("reset");
    let reset = json!({ "token": token, "password": "four purple trains at noon" });
    assert_eq!(owner.post("/api/customers/password/reset", &reset).await.status, 200);
    for server in [app.client.clone(), app.second_server().await] {
        for address in ["198.51.100.7", "203.0.113.1", "192.0.2.77"] {
            let client = server.at_address(address);
            assert_eq!(log_in(&client, ADA, "four purple trains at noon").await.status, 200);
        }
    }
}

/// A network that a thief has logged in from counts no longer as the owner's after a reset, and the
/// network of the reset does.
#[tokio::test]
async fn security_42_a_reset_forgets_the_networks_that_were_known() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    app.sign_up(ADA).await;
    app.take_mails(ADA).await;
    let thief = app.client.at_address("198.51.100.66");
    assert_eq!(log_in(&thief, ADA, PASSWORD).await.status, 200);
    let owner = app.client.at_address("198.51.100.7");
    assert_eq!(forgot(&owner, ADA).await.status, 202);
    let token = app.take_mail(ADA).await.token("reset");
    let new = "four purple trains at noon";
    let reset = json!({ "token": token, "password": new });
    assert_eq!(owner.post("/api/customers/password/reset", &reset).await.status, 200);
    for number in 0..25 {
        let bot = app.client.at_address(&format!("203.0.113.{number}"));
        guess(&[bot], ADA, 5).await;
    }
    assert_eq!(log_in(&thief, ADA, PASSWORD).await.status, 429);
    assert_eq!(log_in(&owner, ADA, new).await.status, 200);
}

#[tokio::test]
async fn security_34_servers_count_the_mails_to_a_mailbox_together() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    app.sign_up(ADA).await;
    app.take_mails(ADA).await;
    let servers = [app.client.clone(), app.second_server().await];
    let ask_all = async || {
        for number in 0..12 {
            let client = servers[number % 2].at_address(&format!("203.0.113.{number}"));
            assert_eq!(forgot(&client, ADA).await.status, 202, "the response reveals nothing");
        }
        app.take_mails(ADA).await.len()
    };
    // With the mail of the sign-up, these are five in an hour.
    assert_eq!(ask_all().await, 4);
    app.clock.advance_seconds(3599);
    assert_eq!(ask_all().await, 0);
    app.clock.advance_seconds(1);
    assert_eq!(ask_all().await, 4);
}

/// Whatever mails a stranger causes, the owner of the mailbox gets the link that sets a password.
#[tokio::test]
async fn security_42_other_mails_do_not_use_up_the_budget_of_a_reset() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    app.sign_up(ADA).await;
    let eve = app.signed_in("eve@example.com").await;
    app.take_mails(ADA).await;
    for number in 0..9 {
        let client = eve.at_address(&format!("203.0.113.{number}"));
        let change = json!({ "email": ADA, "current_password": PASSWORD });
        let taken = client.patch("/api/customers/me", &change).await;
        assert_eq!(taken.problem(), (409, "email_taken"), "a refused change is not counted");
    }
    for number in 0..9 {
        let client = app.client.at_address(&format!("203.0.113.{number}"));
        let lost = json!({ "email": ADA });
        assert_eq!(client.post("/api/licenses/recover", &lost).await.status, 202);
    }
    assert_eq!(app.take_mails(ADA).await.len(), 3);
    let owner = app.client.at_address("192.0.2.1");
    assert_eq!(forgot(&owner, ADA).await.status, 202);
    assert!(app.take_mail(ADA).await.token("reset").starts_with("llnk_"));
}

/// A stranger who signs up with an address and deletes the account, again and again.
#[tokio::test]
async fn security_34_repeated_sign_ups_do_not_flood_a_mailbox() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let sign_up = json!({ "email": ADA, "password": PASSWORD });
    let has_link = |mail: &&Mail| mail.text.contains("token=");
    let flood = async || {
        let (mut statuses, mut links) = (Vec::new(), 0);
        for number in 0..7 {
            let client = app.client.at_address(&format!("203.0.{number}.1"));
            let answer = client.post("/api/customers/signup", &sign_up).await;
            statuses.push(answer.status);
            links += app.take_mails(ADA).await.iter().filter(has_link).count();
            if answer.status == 201 {
                let me = app.client.with_token(answer.text("/access_token"));
                assert_eq!(me.delete("/api/customers/me").await.status, 204);
            }
        }
        (statuses, links)
    };
    assert_eq!(flood().await, (vec![201, 201, 201, 201, 429, 429, 429], 4));
    // What was refused wrote nothing, and the address is free.
    assert_eq!((app.count("users").await, app.count("customers").await), (0, 0));
    app.clock.advance_seconds(3599);
    assert_eq!(flood().await, (vec![429; 7], 0));
    app.clock.advance_seconds(1);
    app.sign_up(ADA).await;
    // A taken address is taken, also when the budget is used up.
    for number in 0..7 {
        let client = app.client.at_address(&format!("203.1.{number}.1"));
        let taken = client.post("/api/customers/signup", &sign_up).await;
        assert_eq!(taken.problem(), (409, "email_taken"));
        forgot(&client, ADA).await;
        client.post("/api/licenses/recover", &json!({ "email": ADA })).await;
    }
    // A reset has a budget of its own.
    assert_eq!(app.take_mails(ADA).await.len(), 5);
}

#[tokio::test]
async fn a_change_to_the_present_address_counts_no_mail() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let me = app.signed_in(ADA).await;
    app.take_mails(ADA).await;
    for _ in 0..5 {
        let same = json!({ "email": ADA, "current_password": PASSWORD });
        assert_eq!(me.patch("/api/customers/me", &same).await.status, 200);
    }
    for number in 0..5 {
        let client = app.client.at_address(&format!("203.0.113.{number}"));
        client.post("/api/licenses/recover", &json!({ "email": ADA })).await;
    }
    assert_eq!(app.take_mails(ADA).await.len(), 3);
}

#[tokio::test]
async fn security_34_servers_count_the_mails_that_a_network_causes_together() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let servers = [app.client.clone(), app.second_server().await];
    let mails = "SELECT COUNT(*) FROM outbox";
    for number in 0..70 {
        let client = servers[number % 2].at_address(&format!("203.0.113.{}", number / 8));
        assert_eq!(forgot(&client, &format!("{number}@example.com")).await.status, 202);
    }
    assert_eq!(number(&app.app.store, mails).await, 60);
    let sign_up = json!({ "email": ADA, "password": PASSWORD });
    let same = app.client.at_address("203.0.113.200");
    let refused = same.post("/api/customers/signup", &sign_up).await;
    assert_eq!(refused.problem(), (429, "too_many_requests"));
    assert_eq!(refused.header("retry-after"), "3600");
    let other = app.client.at_address("198.51.100.1");
    assert_eq!(other.post("/api/customers/signup", &sign_up).await.status, 201);
}

#[tokio::test]
async fn the_throttle_stores_no_address_and_forgets() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let home = app.client.at_address("192.0.2.1");
    let sign_up = json!({ "email": ADA, "password": PASSWORD });
    home.post("/api/customers/signup", &sign_up).await;
    guess(&[app.client.at_address("203.0.113.9")], ADA, 5).await;
    forgot(&home, ADA).await;
    for table in ["throttle_buckets", "known_networks"] {
        let column = if table == "known_networks" { "network" } else { "bucket" };
        let sql = format!("SELECT {column} FROM {table}");
        let stored = texts(&app.app.store, &sql).await;
        assert!(!stored.is_empty(), "{table}");
        for text in stored {
            assert_eq!(text.len(), 43, "{text} is not a hash");
        }
    }
    app.clock.advance_days(1);
    for number in 0..3 {
        guess(&[app.client.at_address("203.0.113.9")], &format!("{number}@example.com"), 1).await;
    }
    assert_eq!(app.count("throttle_buckets").await, 6, "only those of the last attempts");
    let session = log_in(&home, ADA, PASSWORD).await;
    let me = app.client.with_token(session.text("/access_token"));
    assert_eq!(me.delete("/api/customers/me").await.status, 204);
    assert_eq!(app.count("known_networks").await, 0);
}
