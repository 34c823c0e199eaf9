//! Logging in and out, and the access by a session token. Admin keys are in `admin`.

use licentia::domain::account::password::Password;
use licentia::domain::operator::audit::Actor;
use licentia::error::Error;
use licentia::flows::account::customer::{self, AccountChange, Change};
use licentia::flows::account::{password, session};
use licentia::flows::operator::support;
use serde_json::json;

use crate::harness::{PASSWORD, TestApp, database};

#[tokio::test]
async fn the_right_password_opens_a_session() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let request = json!({ "email": " ADA@example.com", "password": PASSWORD });
    let answer = app.client.post("/api/customers/login", &request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["customer"], signed_up.body["customer"]);
    assert_eq!(answer.text("/expires_at"), "2026-12-20T15:00:00+00:00");
    assert_ne!(answer.text("/access_token"), signed_up.text("/access_token"));
    let me = app.client.with_token(answer.text("/access_token"));
    assert_eq!(me.get("/api/customers/me").await.status, 200);
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_get_the_same_response_security_12() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let mut answers = Vec::new();
    for (email, password) in [
        ("ada@example.com", "another password"),
        ("eve@example.com", PASSWORD),
        ("not an address", PASSWORD),
    ] {
        let request = json!({ "email": email, "password": password });
        let mut answer = app.client.post("/api/customers/login", &request).await;
        assert_eq!(answer.problem(), (401, "invalid_credentials"));
        answer.body["request_id"].take();
        answers.push(answer.body);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(app.count("sessions").await, 1);
}

#[tokio::test]
async fn guessing_gets_a_429_with_a_retry_time_security_13() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let guess = json!({ "email": "ada@example.com", "password": "another password" });
    let mut statuses = Vec::new();
    for _ in 0..15 {
        let answer = app.client.post("/api/customers/login", &guess).await;
        if answer.status == 429 {
            assert_eq!(answer.problem(), (429, "too_many_requests"));
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=11).contains(&wait), "{wait}");
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert_eq!(statuses[0], 401);
}

#[tokio::test]
async fn without_a_valid_token_no_data_is_returned() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let license = signed_up.text("/license/token");
    let half = &signed_up.text("/access_token")[..20];
    for token in ["lses_wrong", "", "not a token", license, half, "lses_"] {
        let answer = app.client.with_token(token).get("/api/customers/me").await;
        assert_eq!(answer.problem(), (401, "unauthenticated"), "{token}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    assert_eq!(app.client.get("/api/customers/me").await.problem(), (401, "unauthenticated"));
}

#[tokio::test]
async fn logging_out_ends_this_session_only() {
    let app = TestApp::start().await;
    let one = app.signed_in("ada@example.com").await;
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    let answer = app.client.post("/api/customers/login", &login).await;
    let two = app.client.with_token(answer.text("/access_token"));

    assert_eq!(one.post("/api/customers/logout", &json!({})).await.status, 204);
    assert_eq!(one.get("/api/customers/me").await.status, 401);
    assert_eq!(two.get("/api/customers/me").await.status, 200);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_security_18() {
    let app = TestApp::start().await;
    let one = app.signed_in("ada@example.com").await;
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    app.client.post("/api/customers/login", &login).await;

    let list = one.get("/api/customers/me/sessions").await;
    let sessions = list.body["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let other = sessions.iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/api/customers/me/sessions/{}", other["session_id"].as_str().unwrap());
    assert_eq!(one.delete(&path).await.status, 204);
    assert_eq!(one.delete(&path).await.problem(), (404, "not_found"));
    assert_eq!(one.delete("/api/customers/me/sessions/1").await.problem(), (404, "not_found"));
    assert_eq!(app.count("sessions").await, 1);
}

#[tokio::test]
async fn a_session_expires_after_thirty_days() {
    let app = TestApp::start().await;
    let me = app.signed_in("ada@example.com").await;
    app.clock.advance_days(29);
    assert_eq!(me.get("/api/customers/me").await.status, 200);
    app.clock.advance_days(1);
    assert_eq!(me.get("/api/customers/me").await.problem(), (401, "unauthenticated"));
}

#[tokio::test]
async fn the_fifty_first_session_ends_the_oldest() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    // Fifty-four more open login sessions, from the seconds 1 to 54.
    let rows = (1..=54).map(|n| {
        format!("('sess_{n:032x}', (SELECT user_id FROM users), 'hash {n}', {n}, 9999999999)")
    });
    let filler = format!(
        "INSERT INTO sessions (session_id, user_id, token_hash, created_at, expires_at) VALUES {}",
        rows.collect::<Vec<_>>().join(", ")
    );
    database::execute(&app.app.store, &filler).await.unwrap();

    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(app.client.post("/api/customers/login", &login).await.status, 200);
    assert_eq!(app.count("sessions").await, 50);
    // The two real ones are the newest. Of the others, those of the seconds 7 to 54 remain.
    let oldest = "DELETE FROM sessions WHERE created_at < 8";
    assert_eq!(database::execute(&app.app.store, oldest).await.unwrap(), 1);
    let first = app.client.with_token(signed_up.text("/access_token"));
    assert_eq!(first.get("/api/customers/me").await.status, 200, "a newer one was ended");
}

#[tokio::test]
async fn expired_sessions_of_all_customers_are_deleted() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    app.clock.advance_days(30);
    app.sign_up("bob@example.com").await;
    assert_eq!(app.count("sessions").await, 1);
}

#[tokio::test]
async fn a_weakly_hashed_password_is_rehashed_at_login_security_10() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    // SecurePass123 with m=8192, t=1, p=1 and the salt "saltsaltsaltsalt".
    let weak = weak_hash();
    let statement = format!("UPDATE users SET password_hash = '{weak}'");
    database::execute(&app.app.store, &statement).await.unwrap();
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(app.client.post("/api/customers/login", &login).await.status, 200);

    let email = "ada@example.com".parse().unwrap();
    let (_, hash) = app.app.store.read().await.unwrap().login_of(&email).await.unwrap().unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert_eq!(app.client.post("/api/customers/login", &login).await.status, 200);
}

fn weak_hash() -> String {
    use argon2::password_hash::PasswordHasher;
    use argon2::password_hash::phc::PasswordHash;
    let params = argon2::Params::new(8192, 1, 1, None).unwrap();
    let weak = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash: PasswordHash =
        weak.hash_password_with_salt(PASSWORD.as_bytes(), b"saltsaltsaltsalt").unwrap();
    hash.to_string()
}

#[tokio::test]
async fn sessions_from_a_wrong_clock_do_not_end_the_new_one() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    let rows = (1..=50).map(|n| {
        format!(
            "('sess_{n:032x}', (SELECT user_id FROM users), 'hash {n}', 9999999998, 9999999999)"
        )
    });
    let filler = format!(
        "INSERT INTO sessions (session_id, user_id, token_hash, created_at, expires_at) VALUES {}",
        rows.collect::<Vec<_>>().join(", ")
    );
    database::execute(&app.app.store, &filler).await.unwrap();
    let answer = app.client.post("/api/customers/login", &login).await;
    let me = app.client.with_token(answer.text("/access_token"));
    assert_eq!(me.get("/api/customers/me").await.status, 200);
}

/// A thief's request may be authenticated just before the owner's reset ends the session.
#[tokio::test]
async fn a_session_that_ends_during_a_request_changes_and_deletes_nothing() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let thief = session::authenticate(&app.app, signed_up.text("/access_token")).await.unwrap();
    let id = signed_up.text("/customer/customer_id").parse().unwrap();
    support::end_sessions(&app.app, Actor::Operator, &id).await.unwrap();

    let rename = AccountChange {
        email: None,
        name: Change::Set("Eve".parse().unwrap()),
        company_name: Change::Keep,
        language: Change::Keep,
    };
    let renamed = customer::update(&app.app, &thief, rename).await;
    assert!(matches!(renamed, Err(Error::Unauthenticated)), "{renamed:?}");
    let deleted = customer::delete(&app.app, &thief).await;
    assert!(matches!(deleted, Err(Error::Unauthenticated)), "{deleted:?}");
    let (current, new) =
        (Password::new(PASSWORD.into()), Password::new("four purple trains".into()));
    let changed = password::change(&app.app, &thief, current, new).await;
    assert!(matches!(changed, Err(Error::Unauthenticated)), "{changed:?}");
    let kept = customer::get(&app.app, &id).await.unwrap();
    assert_eq!((kept.email.as_str(), kept.name), ("ada@example.com", None));
}
