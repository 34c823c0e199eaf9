//! A clock that was ahead by an hour or a year and was corrected: the service recovers by itself.

use std::time::Duration;

use licentia::app::App;
use licentia::domain::outbox::LeasedMail;
use licentia::domain::time::SKEW;
use licentia::fail_point::{FailPoints, Place};
use licentia::flows::Mode;
use licentia::flows::sale::inbox;
use licentia::flows::sale::reconcile::{AT_ONCE, run as reconcile};
use licentia::random::Random;
use licentia_sandbox::{ApiFault, Card, Times};
use reqwest::Method;
use serde_json::Value;

use crate::harness::database::{execute, number};
use crate::harness::shop::Shop;
use crate::harness::{Answer, START, TestApp};
use crate::status_lists::{FIRST, claims, offline as offline_with_list};

/// The seconds that the clock was ahead.
const AHEAD: [i64; 2] = [3600, 365 * 86_400];

/// Returns the verdict of the crate for apps about a token, at the service's time.
fn offline(app: &TestApp, token: &str) -> Result<(), &'static str> {
    let now = app.app.now().to_system_time();
    let verified = licentia_verify::verify(token, &app.app.keys.current().trusted, now);
    verified.map(drop).map_err(|rejection| rejection.code().as_str())
}

async fn refresh(app: &TestApp, token: &str) -> Answer {
    app.client.with_token(token).send(Method::POST, "/api/licenses/refresh", None).await
}

#[tokio::test]
async fn a_license_from_a_fast_clock_is_refreshed_to_one_with_the_right_time() {
    let app = TestApp::start().await;
    for (place, seconds) in AHEAD.into_iter().enumerate() {
        app.clock.advance_seconds(seconds);
        let signed_up = app.sign_up(&format!("ada{place}@example.com")).await;
        app.clock.advance_seconds(-seconds);
        let early = signed_up.text("/license/token");
        assert_eq!(offline(&app, early), Err("not_yet_valid"), "{seconds} s ahead");

        let good = refresh(&app, early).await;
        assert_eq!(good.status, 200, "{seconds} s ahead: {good:?}");
        assert_eq!(offline(&app, good.text("/token")), Ok(()), "{seconds} s ahead");
        assert_eq!(good.text("/issued_at"), "2026-11-20T15:00:00+00:00");
        // A trial lasts as long as any other, from now on.
        assert_eq!(good.text("/expires_at"), "2026-12-04T15:00:00+00:00");
        // One license is issued, whichever of the two refreshes again.
        for token in [early, good.text("/token")] {
            assert_eq!(refresh(&app, token).await.text("/token"), good.text("/token"));
        }
    }
    assert_eq!(app.count("licenses").await, 4);
}

#[tokio::test]
async fn the_current_license_is_reissued_if_a_fast_clock_issued_it() {
    let app = TestApp::start().await;
    for (place, seconds) in AHEAD.into_iter().enumerate() {
        let signed_up = app.sign_up(&format!("ada{place}@example.com")).await;
        let customer = signed_up.text("/customer/customer_id");
        let first = app.grant(customer, "professional").await;
        app.clock.advance_seconds(seconds);
        // Each grant is issued at once, at the time of the clock that is ahead.
        let early = app.grant(customer, "professional").await;
        app.clock.advance_seconds(-seconds);
        assert_eq!(offline(&app, early.token.expose()), Err("not_yet_valid"));

        let me = app.client.with_token(signed_up.text("/access_token"));
        let good = me.get("/api/licenses/current").await;
        assert_eq!(offline(&app, good.text("/token")), Ok(()), "{seconds} s ahead");
        assert_eq!((good.text("/plan"), &good.body["expires_at"]), ("professional", &Value::Null));
        for token in [first.token.expose(), early.token.expose()] {
            assert_eq!(refresh(&app, token).await.text("/token"), good.text("/token"));
        }
        let numbers = "SELECT COUNT(*) FROM licenses WHERE superseded_at IS NULL AND seq = 4";
        assert_eq!(number(&app.app.store, numbers).await, i64::try_from(place + 1).unwrap());
    }
}

#[tokio::test]
async fn a_bundle_and_a_list_of_a_fast_clock_are_signed_again_when_it_is_corrected() {
    let app = TestApp::start().await;
    let license = app.sign_up("ada@example.com").await;
    let dates = async || {
        app.app.reload_keys().await.unwrap();
        let bundle = app.client.get("/.well-known/license-keys").await.text;
        let list = app.client.get(FIRST).await.text;
        [bundle, list].map(|document| claims(&document)["iat"].as_i64().unwrap())
    };
    for seconds in AHEAD {
        app.clock.advance_seconds(seconds);
        // Each start signs both.
        let random = Random::from_system().unwrap();
        App::start(&app.config, app.clock.clone(), random).await.unwrap();
        let ahead = app.app.now().epoch_seconds();
        assert!(dates().await.iter().all(|date| (ahead - 300..=ahead).contains(date)));
        app.clock.advance_seconds(-seconds);
        let now = app.app.now().epoch_seconds();
        assert!(dates().await.iter().all(|date| (now - 300..=now).contains(date)), "{seconds}");
        let now = Duration::from_secs(now.unsigned_abs());
        let code = offline_with_list(&app.client, license.text("/license/token"), now).await;
        assert_eq!(code, None, "{seconds}");
    }
}

#[tokio::test]
async fn servers_whose_clocks_differ_by_the_allowed_skew_reissue_nothing() {
    let app = TestApp::start().await;
    app.clock.advance_seconds(SKEW.num_seconds());
    let signed_up = app.sign_up("ada@example.com").await;
    app.clock.advance_seconds(-SKEW.num_seconds());
    let token = signed_up.text("/license/token");
    // A token is signed 60 s back and accepted 60 s earlier, so a device may be as far behind.
    assert_eq!(offline(&app, token), Ok(()));
    assert_eq!(refresh(&app, token).await.text("/token"), token);
    let claims = licentia_verify::inspect(token).unwrap().claims;
    assert_eq!((&claims["iat"], &claims["nbf"]), (&(START + 60).into(), &(START + 60).into()));
    assert_eq!(app.count("licenses").await, 1);
}

#[tokio::test]
async fn a_mail_written_or_leased_by_a_fast_clock_is_sent_when_it_is_corrected() {
    let app = TestApp::start().await;
    for (place, seconds) in AHEAD.into_iter().enumerate() {
        app.clock.advance_seconds(seconds);
        app.sign_up(&format!("ada{place}@example.com")).await;
        app.clock.advance_seconds(-seconds);
        assert_eq!(app.send_due().await, 1, "written {seconds} s ahead");

        app.sign_up(&format!("bob{place}@example.com")).await;
        app.clock.advance_seconds(seconds);
        let mut tx = app.app.store.write().await.unwrap();
        assert_eq!(tx.lease::<LeasedMail>(app.app.now(), 10).await.unwrap().len(), 1);
        tx.commit(FailPoints::default().at(Place::MailTaken)).await.unwrap();
        app.clock.advance_seconds(-seconds);
        assert_eq!(app.send_due().await, 1, "held {seconds} s ahead");
    }
}

#[tokio::test]
async fn an_item_in_backoff_is_not_mistaken_for_one_from_a_fast_clock() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    // A fresh item waits for at most a minute, an old one for at most an hour.
    let wait = |due: i64, age: i64| {
        let now = app.app.now().epoch_seconds();
        format!("UPDATE outbox SET due_at = {}, created_at = {}", now + due, now - age)
    };
    for (due, age, sent) in [(60, 0, 0), (3600, 7200, 0), (3600, 600, 1)] {
        execute(&app.app.store, &wait(due, age)).await.unwrap();
        assert_eq!(app.send_due().await, sent, "due in {due} s, {age} s old");
    }
}

#[tokio::test]
async fn an_event_written_or_leased_by_a_fast_clock_is_processed_when_it_is_corrected() {
    let mut shop = Shop::open().await;
    shop.end_worker().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.sandbox.settled().await;
    let app = &shop.app.app;
    for seconds in AHEAD {
        for column in ["leased_until", "received_at"] {
            let now = app.now().epoch_seconds();
            let late = now + seconds;
            let ahead = if column == "leased_until" {
                format!("UPDATE inbox SET leased_until = {late}")
            } else {
                format!(
                    "UPDATE inbox SET received_at = {late}, tried_since = {late}, due_at = {late},
                         leased_until = NULL"
                )
            };
            let all = execute(&app.store, &ahead).await.unwrap();
            let taken = inbox::take_due(app, 100).await.unwrap();
            let taken: usize = taken.iter().map(|(_, events)| events.len()).sum();
            assert_eq!(taken as u64, all, "{ahead}");
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_from_a_fast_clock_is_not_reused_after_stripe_deleted_it() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    // The Stripe customer is created, and the response is lost.
    let faults = shop.sandbox.faults();
    faults.api_call(ApiFault::AnswerLost, "POST /v1/customers", Times::Next(1));
    faults.api_call(ApiFault::RateLimited, "POST /v1/customers", Times::Always);
    assert_eq!(shop.ask(&ada, "professional").await.status, 503);
    assert_eq!(shop.stripe_customers(), 1);
    faults.clear();
    let ahead = "UPDATE stripe_attempts SET created_at = created_at + 31536000";
    assert_eq!(execute(&shop.app.app.store, ahead).await.unwrap(), 1);
    shop.sandbox.advance(Duration::from_secs(25 * 3600));
    shop.log_in(&mut ada).await;
    shop.checkout(&ada, "professional").await;
    assert_eq!(shop.stripe_customers(), 1);
    let attempts = "SELECT COUNT(*) FROM stripe_attempts WHERE purpose = 'customer'";
    assert_eq!(number(&shop.app.app.store, attempts).await, 0);
}

#[tokio::test]
async fn an_order_from_a_fast_clock_is_older_than_later_purchases() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "starter").await;
    let ahead = "UPDATE orders SET created_at = created_at + 3600";
    assert_eq!(execute(&shop.app.app.store, ahead).await.unwrap(), 1);
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.sandbox.advance(Duration::from_secs(60));
    shop.sandbox.change_plan(&shop.subscription_of(&session), "price_pro_monthly").unwrap();
    shop.settled().await;
    let plans: Vec<_> = shop.orders(&ada).await.iter().map(|o| o["plan"].clone()).collect();
    assert_eq!(plans, ["professional", "starter"]);
    // A reconciliation finds them unchanged, and reports a period with different dates.
    let look = || reconcile(&shop.app.app, Mode::DryRun, AT_ONCE, |_| {});
    let report = look().await.unwrap();
    assert!(report.checked == 1 && report.drifted.is_empty(), "{report:?}");
    execute(&shop.app.app.store, ahead).await.unwrap();
    let report = look().await.unwrap();
    let told = &report.drifted[0].changes;
    let is_told = |one: &String| one.contains(": created at ");
    assert!(told.len() == 2 && told.iter().all(is_told), "{told:?}");
}
