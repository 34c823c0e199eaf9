//! Every way to revoke a license is in its status list at once: after each history, the list, the
//! online verdict and the refresh agree.

use std::time::Duration;

use chrono::TimeDelta;
use licentia::app::App;
use licentia::domain::account::metadata::Metadata;
use licentia::domain::ids::{CustomerId, LicenseId};
use licentia::domain::license::{Extras, LicenseToken, RevocationReason};
use licentia::domain::operator::audit::{Actor, OwnedActor};
use licentia::error::Error;
use licentia::fail_point::Place;
use licentia::flows::license::{OnlineVerdict, refresh, verify};
use licentia::flows::operator::licenses::{self, Grant};
use licentia::flows::operator::support::{self, NewCustomer};
use licentia_sandbox::{Card, Paid};
use licentia_verify::{Code, Rejection, inspect};
use proptest::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::database::texts;
use crate::harness::patient::{ARMED, Patient, recovers};
use crate::harness::process::{Server, licentia, run};
use crate::harness::shop::{Shop, session_of};
use crate::harness::{Client, PASSWORD, TestApp, TestDatabase};
use crate::status_lists::{NOW, offline, offline_now};

/// Checks that the list, the online verdict and the refresh agree about each of these licenses.
/// Returns how many are revoked.
pub async fn must_agree(app: &App, client: &Client, tokens: &[String]) -> usize {
    let mut revoked = 0;
    for text in tokens {
        let token = LicenseToken::new(text.clone());
        let now = Duration::from_secs(app.now().epoch_seconds().unsigned_abs());
        let is_revoked = offline(client, text, now).await == Some(Code::Revoked);
        let online = verify(app, &token, None).await.unwrap();
        let is_refused = match online {
            OnlineVerdict::Valid { .. } => false,
            OnlineVerdict::Unknown => true,
            OnlineVerdict::Rejected(Rejection::Revoked | Rejection::KeyRevoked { .. }) => true,
            // Online, that it is over is all that is said of a deleted license.
            OnlineVerdict::Rejected(_) => app.store.license(&id(text)).await.unwrap().is_none(),
        };
        assert_eq!(is_revoked, is_refused, "{online:?}");
        match refresh(app, &token).await {
            Ok(fresh) => {
                let fresh = fresh.token.expose();
                assert_ne!(offline(client, fresh, now).await, Some(Code::Revoked));
            }
            // The license itself is revoked, or its successor is.
            Err(Error::Revoked) if !is_revoked => {
                let id = inspect(text).unwrap().claims["sub"].as_str().unwrap().parse().unwrap();
                let current = app.store.current_license(&id).await.unwrap().unwrap();
                let current = offline(client, current.token.expose(), now).await;
                assert_eq!(current, Some(Code::Revoked));
            }
            Err(_) => {}
        }
        revoked += usize::from(is_revoked);
    }
    revoked
}

/// Returns the tokens of all licenses in the database.
pub async fn all_tokens(app: &App) -> Vec<String> {
    texts(&app.store, "SELECT token FROM licenses ORDER BY license_id").await
}

fn id(token: &str) -> LicenseId {
    inspect(token).unwrap().claims["jti"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn refunds_and_lost_disputes_are_in_the_list_at_once_license_3() {
    let shop = Shop::open().await;
    let agree = async |expected: usize| {
        let tokens = all_tokens(&shop.app.app).await;
        let revoked = must_agree(&shop.app.app, &shop.app.client, &tokens).await;
        assert_eq!(revoked, expected);
    };
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    agree(0).await;
    shop.sandbox.refund(&payment, Some(100)).unwrap();
    shop.settled().await;
    agree(0).await;
    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    agree(1).await;
    // A new payment brings a new license. The old one stays revoked, and can be refreshed.
    shop.sandbox.cancel_now(&shop.subscription_of(&session)).unwrap();
    shop.settled().await;
    shop.buy(&ada, "starter").await;
    agree(1).await;

    let eve = shop.buyer("eve@example.com").await;
    let session = shop.buy(&eve, "professional").await;
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    let dispute = shop.sandbox.open_dispute(&payment).unwrap();
    shop.settled().await;
    agree(1).await;
    shop.sandbox.close_dispute(&dispute, false).unwrap();
    shop.settled().await;
    agree(2).await;
}

#[tokio::test]
async fn the_licenses_from_before_the_owner_proved_the_mailbox_are_in_the_list_at_once_license_3() {
    let app = TestApp::start().await;
    let trial = app.sign_up("ada@example.com").await.text("/license/token").to_owned();
    app.take_mails("ada@example.com").await;
    let forgot = json!({ "email": "ada@example.com" });
    assert_eq!(app.client.post("/api/customers/password/forgot", &forgot).await.status, 202);
    let token = app.take_mail("ada@example.com").await.token("reset");
    let reset = json!({ "token": token, "password": "another four purple trains" });
    assert_eq!(app.client.post("/api/customers/password/reset", &reset).await.status, 200);
    let tokens = all_tokens(&app.app).await;
    assert_eq!((tokens.len(), must_agree(&app.app, &app.client, &tokens).await), (2, 1));
    assert_eq!(offline(&app.client, &trial, NOW).await, Some(Code::Revoked));
}

/// What may happen to a customer's licenses. A number chooses one of those issued so far.
#[derive(Clone, Debug)]
enum Event {
    Grant,
    Extend,
    Refresh(usize),
    Resend { license: usize, reissue: bool },
    Revoke(usize),
    PaymentReturned(usize),
    Days(u8),
    Delete,
}

fn event() -> impl Strategy<Value = Event> {
    let license = 0..1_000_usize;
    prop_oneof![
        3 => Just(Event::Grant),
        2 => Just(Event::Extend),
        2 => license.clone().prop_map(Event::Refresh),
        2 => (license.clone(), any::<bool>())
            .prop_map(|(license, reissue)| Event::Resend { license, reissue }),
        4 => license.clone().prop_map(Event::Revoke),
        3 => license.prop_map(Event::PaymentReturned),
        1 => (1..20_u8).prop_map(Event::Days),
        1 => Just(Event::Delete),
    ]
}

/// Carries out an event. Refusals are expected: not every license can be extended or sent.
async fn happens(app: &TestApp, customer: &CustomerId, tokens: &[String], event: &Event) {
    let (shop, by) = (&app.app, Actor::Operator);
    let chosen = |number: &usize| {
        let token = &tokens[number % tokens.len()];
        (LicenseToken::new(token.clone()), id(token))
    };
    let plan = shop.plans.plan("starter").unwrap();
    let expires = Some(shop.now() + TimeDelta::days(30));
    let grant = Grant { plan, expires, extras: Extras::default(), replace: true };
    let ignored = |result: Option<Error>| {
        let is_ours = !matches!(result, Some(Error::Internal(_) | Error::Database(_)));
        assert!(is_ours, "{result:?}");
    };
    match event {
        Event::Grant => ignored(licenses::grant(shop, by, customer, &grant).await.err()),
        Event::Extend => {
            let days = TimeDelta::days(5);
            ignored(licenses::extend(shop, by, customer, days, None).await.err());
        }
        Event::Refresh(license) => ignored(refresh(shop, &chosen(license).0).await.err()),
        Event::Resend { license, reissue } => {
            let (by, id) = (OwnedActor::Operator, chosen(license).1);
            ignored(licenses::resend(shop, &by, &id, *reissue).await.err());
        }
        Event::Revoke(license) => {
            ignored(licenses::revoke(shop, by, &chosen(license).1).await.err());
        }
        Event::PaymentReturned(license) => {
            let reason = Some(RevocationReason::Payment);
            let mut tx = shop.store.write().await.unwrap();
            tx.revoke_license(&chosen(license).1, reason, shop.now()).await.unwrap();
            tx.commit(shop.fail_points.at(Place::SettleCommitted)).await.unwrap();
        }
        Event::Days(days) => app.clock.advance_days((*days).into()),
        Event::Delete => {
            ignored(support::delete(shop, OwnedActor::Operator, customer).await.err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn after_any_history_the_list_the_online_verdict_and_the_refresh_agree_license_3(
        history in proptest::collection::vec(event(), 1..16),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(agree_after(&history));
    }
}

async fn agree_after(history: &[Event]) {
    let app = TestApp::start().await;
    let new = NewCustomer {
        email: "ada@example.com".parse().unwrap(),
        email_verified: true,
        name: None,
        company_name: None,
        metadata: Metadata::default(),
    };
    let customer = support::create(&app.app, Actor::Operator, new).await.unwrap();
    let (mut tokens, mut revoked) = (Vec::new(), 0);
    for event in [Event::Grant].iter().chain(history) {
        happens(&app, &customer, &tokens, event).await;
        let issued = all_tokens(&app.app).await;
        tokens
            .extend(issued.into_iter().filter(|token| !tokens.contains(token)).collect::<Vec<_>>());
        let now = must_agree(&app.app, &app.client, &tokens).await;
        assert!(now >= revoked, "{event:?} cleared a bit");
        revoked = now;
    }
}

/// The price at Stripe: its id, its product and its amount.
const PRICES: [(&str, &str, i64); 1] = [("price_pro_monthly", "Professional", 4900)];

/// The license and its bit change in one transaction, and the next start shows what was committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_in_the_list_after_a_kill_before_and_after_its_commit_license_3() {
    for point in ["settle.written", "settle.committed"] {
        let armed = format!("{point}@{ARMED}");
        let mut shop = Patient::admit(point, Some(&armed), None, &PRICES).await;
        let account = json!({ "email": "ada@example.com", "password": PASSWORD });
        let (_, ada) = shop.call(Method::POST, "/api/customers/signup", "", account).await;
        let ada = ada["access_token"].as_str().unwrap();
        let back = "https://app.example/";
        let request = json!({ "plan": "professional", "success_url": back, "cancel_url": back });
        let path = "/api/subscriptions/checkout";
        let (_, checkout) = shop.call(Method::POST, path, ada, request).await;
        let session = session_of(checkout["checkout_url"].as_str().unwrap());
        assert_eq!(shop.sandbox.pay(&session, Card::Paid).unwrap(), Paid::Completed);
        let current = "/api/licenses/current";
        let paid = loop {
            let (_, license) = shop.call(Method::GET, current, ada, Value::Null).await;
            if license["plan"] == "professional" {
                break license["token"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        shop.sandbox.settled().await;
        assert_eq!(offline_now(&shop.server.client, &paid).await, None);

        std::fs::write(shop.directory.path().join(ARMED), "").unwrap();
        let payment = shop.sandbox.payment_intent(&session).unwrap();
        shop.sandbox.refund(&payment, None).unwrap();
        recovers(point, async {
            while shop.call(Method::GET, current, ada, Value::Null).await.1["status"] != "revoked" {
                tokio::time::sleep(Duration::from_millis(20)).await;
                shop.revive().await;
            }
        })
        .await;
        assert_eq!(shop.deaths, 1, "{point}");
        assert_eq!(offline_now(&shop.server.client, &paid).await, Some(Code::Revoked), "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_and_a_deleted_license_are_in_the_list_after_a_kill_directly_after_it_license_3()
{
    for (point, method, path) in [
        ("license.revoked", Method::POST, "/api/admin/licenses/LICENSE/revoke"),
        ("account.deleted", Method::DELETE, "/api/admin/customers/CUSTOMER"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let fail_point = ("FAIL_POINT", point);
        let mut server = Server::start(directory.path(), &database, &[fail_point]);
        let account = json!({ "email": "ada@example.com", "password": PASSWORD });
        let signed_up = server.client.post("/api/customers/signup", &account).await;
        let token = signed_up.text("/license/token");
        let mut create = licentia(directory.path());
        create.args(["admin-key", "create", "--name", "ops", "--scope", "admin"]);
        let key = run(create.env("LICENTIA_DATABASE_URL", &database.url));
        let path = path.replace("CUSTOMER", signed_up.text("/customer/customer_id"));
        let path = path.replace("LICENSE", signed_up.text("/license/license_id"));
        assert_eq!(offline_now(&server.client, token).await, None);
        let url = format!("{}{path}", server.client.base);
        let call = reqwest::Client::new().request(method, url).bearer_auth(key.out.trim());
        assert!(call.send().await.is_err(), "{point}: it answered");
        tokio::task::block_in_place(|| server.child.wait().unwrap());
        drop(server);

        database.end_requests().await;
        let server = Server::start(directory.path(), &database, &[]);
        let verdict = offline_now(&server.client, token).await;
        assert_eq!(verdict, Some(Code::Revoked), "{point}");
        assert_eq!(server.stop(), Some(0), "{point}");
    }
}
