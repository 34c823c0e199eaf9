//! The vendor's apps: they buy with their license instead of a login, return by a link of their
//! own, call the API from web views and web pages (CORS), and discover the server's addresses.

use licentia::domain::license::RevocationReason;
use licentia::http::openapi;
use licentia_sandbox::{Card, Options, Paid};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::database::execute;
use crate::harness::shop::{Shop, session_of};
use crate::harness::{PASSWORD, TestApp};

const ORIGINS: (&str, &str) =
    ("LICENTIA_RETURN_ORIGINS", "https://acme.example,tauri://localhost,acme://paid");

const CHECKOUT: &str = "/api/subscriptions/checkout";
const PORTAL: &str = "/api/subscriptions/portal";

fn purchase(back: &str) -> Value {
    json!({ "plan": "professional", "success_url": back, "cancel_url": back })
}

#[tokio::test]
async fn an_app_buys_with_its_license_and_returns_by_a_link_of_its_own() {
    let shop = Shop::open_with(Options::default(), &[ORIGINS]).await;
    let ada = shop.buyer("ada@example.com").await;
    let app = shop.app.client.with_token(&ada.trial);
    let nothing = app.post(PORTAL, &json!({})).await;
    assert_eq!(nothing.problem(), (404, "not_found"), "there is no subscription yet");

    let opened = app.post(CHECKOUT, &purchase("acme://paid/thanks")).await;
    let session = session_of(opened.text("/checkout_url"));
    assert_eq!(shop.sandbox.object(&session)["success_url"], "acme://paid/thanks");
    // The same customer with a login session gets the same page.
    let again = ada.client.post(CHECKOUT, &purchase("acme://paid/thanks")).await;
    assert_eq!(again.text("/checkout_url"), opened.text("/checkout_url"));
    assert_eq!(shop.sandbox.pay(&session, Card::Paid).unwrap(), Paid::Completed);
    shop.settled().await;

    // The trial license, which the app still has, fetches the new license and opens the portal.
    let license = app.send(Method::POST, "/api/licenses/refresh", None).await;
    assert_eq!(license.text("/plan"), "professional");
    for token in [&ada.trial, license.text("/token")] {
        let app = shop.app.client.with_token(token);
        let portal = app.post(PORTAL, &json!({ "return_url": "tauri://localhost/account" })).await;
        assert!(portal.text("/portal_url").starts_with(shop.sandbox.url()), "{portal:?}");
    }
    for url in ["acme://other", "acme://paid.evil.example", "tauri://evil", "javascript://paid"] {
        let refused = app.post(PORTAL, &json!({ "return_url": url })).await;
        assert_eq!(refused.problem(), (422, "invalid_return_url"), "{url}");
    }
}

#[tokio::test]
async fn an_expired_trial_still_opens_the_checkout() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.pass_days(&mut ada, 30).await;
    let app = shop.app.client.with_token(&ada.trial);
    let opened = app.post(CHECKOUT, &purchase(&shop.app.client.base)).await;
    assert_eq!(opened.status, 200, "{opened:?}");
}

#[tokio::test]
async fn a_license_that_is_no_credential_opens_nothing_security_39() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "starter").await;
    let stranger = TestApp::start().await.sign_up("ada@example.com").await;
    let back = purchase(&shop.app.client.base);
    let try_all = async |token: &str| {
        let app = shop.app.client.with_token(token);
        let portal = app.post(PORTAL, &json!({})).await;
        let checkout = app.post(CHECKOUT, &back).await;
        assert_eq!(portal.problem(), checkout.problem());
        let (status, code) = portal.problem();
        (status, code.to_owned())
    };
    let refused = |status, code: &str| (status, code.to_owned());
    let (signed, signature) = ada.trial.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    for token in [stranger.text("/license/token"), &forged, "a.b.c"] {
        assert_eq!(try_all(token).await, refused(401, "invalid_license"), "{token}");
    }
    for token in ["nonsense", "sess_unknown", "a.b"] {
        assert_eq!(try_all(token).await, refused(401, "unauthenticated"), "{token}");
    }
    for (reason, code) in
        [(RevocationReason::Operator, "revoked"), (RevocationReason::Key, "key_revoked")]
    {
        let sql = format!("UPDATE licenses SET revoked_at = 1, revocation_reason = '{reason}'");
        execute(&shop.app.app.store, &sql).await.unwrap();
        assert_eq!(try_all(&ada.trial).await, refused(403, code));
    }
    // Everything else still needs the login session.
    let app = shop.app.client.with_token(&ada.trial);
    assert_eq!(app.get("/api/subscriptions/current").await.problem(), (401, "unauthenticated"));
    assert_eq!(app.get("/api/customers/me").await.problem(), (401, "unauthenticated"));
    assert_eq!(app.get("/api/orders").await.problem(), (401, "unauthenticated"));
}

/// Sends a request as a browser does for a page of `origin`.
async fn from_page(
    app: &TestApp,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Response {
    let mut request = reqwest::Client::new().request(method, format!("{}{path}", app.client.base));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn preflight(app: &TestApp, method: &str, path: &str, origin: &str) -> Response {
    let asked = [("origin", origin), ("access-control-request-method", method)];
    from_page(app, Method::OPTIONS, path, &asked).await
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let mut values = response.headers().get_all(name).iter();
    let first = values.next().map(|value| value.to_str().unwrap());
    assert_eq!(values.next(), None, "{name} is repeated");
    first
}

const ALLOWED: &str = "access-control-allow-origin";

#[tokio::test]
async fn pages_of_listed_origins_may_call_what_customers_and_apps_call() {
    let app = TestApp::start_with(&[ORIGINS]).await;
    let document = openapi::document();
    let mut counts = [0; 3];
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let (name, method) = (&operation["operationId"], method.to_uppercase());
            let tag = operation["tags"][0].as_str().unwrap();
            for origin in ["https://acme.example", "tauri://localhost", "https://evil.example"] {
                let response = preflight(&app, &method, path, origin).await;
                let expected = match tag {
                    "Administration" | "Operations" | "Webhooks" => None,
                    "Plans" | "Keys" => Some("*"),
                    _ => Some(origin).filter(|origin| !origin.contains("evil")),
                };
                assert_eq!(header(&response, ALLOWED), expected, "{name} for {origin}");
                counts[expected.map_or(0, |allowed| if allowed == "*" { 1 } else { 2 })] += 1;
                if expected.is_none() {
                    assert_eq!(response.status(), 405, "{name} for {origin}");
                    continue;
                }
                assert_eq!(response.status(), 204, "{name}");
                let methods = header(&response, "access-control-allow-methods").unwrap();
                assert!(methods.split(", ").any(|each| each == method), "{name}: {methods}");
                let headers = header(&response, "access-control-allow-headers").unwrap();
                assert_eq!(headers, "authorization, content-type, idempotency-key", "{name}");
                assert_eq!(header(&response, "access-control-max-age"), Some("600"));
                assert_eq!(header(&response, "access-control-allow-credentials"), None);
            }
        }
    }
    assert!(counts.iter().all(|count| *count >= 9), "{counts:?}");
}

#[tokio::test]
async fn a_page_reads_errors_too_and_only_if_its_origin_is_listed_exactly() {
    let app = TestApp::start_with(&[ORIGINS]).await;
    let me = "/api/customers/me";
    let listed = from_page(&app, Method::GET, me, &[("origin", "https://acme.example")]).await;
    assert_eq!(listed.status(), 401);
    assert_eq!(header(&listed, ALLOWED), Some("https://acme.example"));
    assert_eq!(header(&listed, "vary"), Some("origin"));
    let readable = header(&listed, "access-control-expose-headers");
    assert_eq!(readable, Some("idempotent-replayed, retry-after, x-request-id"));
    assert_eq!(header(&listed, "access-control-allow-credentials"), None);
    for origin in [
        "https://acme.example.evil.example",
        "https://evil.example",
        "http://acme.example",
        "https://acme.example:8443",
        "https://ACME.example/",
        "https://acme.example, https://evil.example",
        "tauri://localhost.evil",
        "acme://other",
        "null",
        "*",
        "",
    ] {
        let response = from_page(&app, Method::GET, me, &[("origin", origin)]).await;
        assert_eq!(header(&response, ALLOWED), None, "{origin}");
        assert_eq!(header(&response, "vary"), Some("origin"), "{origin}");
    }
    let without = from_page(&app, Method::GET, me, &[]).await;
    assert_eq!((header(&without, ALLOWED), header(&without, "vary")), (None, Some("origin")));
    // The body is too large, and the page still learns that.
    let url = format!("{}/api/customers/signup", app.client.base);
    let large = reqwest::Client::new().post(url).header("origin", "tauri://localhost");
    let large = large.body("a".repeat(100_000)).send().await.unwrap();
    assert_eq!(
        (large.status().as_u16(), header(&large, ALLOWED)),
        (413, Some("tauri://localhost"))
    );
    for (method, path) in [("TRACE", me), ("POST", "/api/nothing"), ("PUT", "/api/plans")] {
        let response = preflight(&app, method, path, "https://acme.example").await;
        assert_eq!(header(&response, ALLOWED), None, "{method} {path}");
        assert!(response.status().is_client_error(), "{method} {path}");
    }
}

#[tokio::test]
async fn a_web_page_signs_up_and_fetches_the_license() {
    let app = TestApp::start_with(&[ORIGINS]).await;
    let origin = ("origin", "https://acme.example");
    let url = |path: &str| format!("{}{path}", app.client.base);
    let sign_up = json!({ "email": "ada@example.com", "password": PASSWORD });
    let post = reqwest::Client::new().post(url("/api/customers/signup"));
    let response = post.header(origin.0, origin.1).json(&sign_up).send().await.unwrap();
    assert_eq!(header(&response, ALLOWED), Some(origin.1));
    let signed_up: Value = response.json().await.unwrap();
    let bearer = format!("Bearer {}", signed_up["access_token"].as_str().unwrap());
    let headers = [origin, ("authorization", bearer.as_str())];
    let response = from_page(&app, Method::GET, "/api/licenses/current", &headers).await;
    assert_eq!((response.status().as_u16(), header(&response, ALLOWED)), (200, Some(origin.1)));
    let license: Value = response.json().await.unwrap();
    assert_eq!(license["token"], signed_up["license"]["token"]);
}

#[tokio::test]
async fn an_app_that_knows_the_issuer_discovers_the_other_addresses() {
    let app =
        TestApp::start_with(&[("LICENTIA_PUBLIC_URL", "https://licenses.acme.example")]).await;
    let found = app.client.get("/.well-known/licentia").await;
    assert_eq!(found.header("cache-control"), "public, max-age=3600");
    assert_eq!(found.header(ALLOWED), "*");
    let at = |path: &str| format!("https://licenses.acme.example{path}");
    let expected = json!({
        "issuer": at(""),
        "product": "acme-app",
        "name": "acme-app",
        "jwks_uri": at("/.well-known/jwks.json"),
        "keys_uri": at("/.well-known/license-keys"),
        "status_uri": at("/.well-known/license-status"),
        "plans_uri": at("/api/plans"),
        "refresh_uri": at("/api/licenses/refresh"),
        "verify_uri": at("/api/licenses/verify"),
        "account_url": at("/account"),
        "docs_url": at("/docs"),
    });
    assert_eq!(found.body, expected);
    let license = app.sign_up("ada@example.com").await;
    let claims = licentia_verify::inspect(license.text("/license/token")).unwrap().claims;
    assert_eq!(claims["iss"], found.body["issuer"]);
    for (field, method) in
        [("jwks_uri", Method::GET), ("plans_uri", Method::GET), ("docs_url", Method::GET)]
    {
        let path = found.text(&format!("/{field}")).strip_prefix(&at("")).unwrap();
        assert_eq!(app.client.send(method, path, None).await.status, 200, "{field}");
    }
    for field in ["refresh_uri", "verify_uri"] {
        let path = found.text(&format!("/{field}")).strip_prefix(&at("")).unwrap();
        let answer = app.client.send(Method::POST, path, None).await;
        assert!([400, 401, 415].contains(&answer.status), "{field}: {answer:?}");
    }
}
