//! Status lists: which licenses are revoked, for apps that are offline. Histories of revocations
//! are in `status_histories.rs`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use licentia::clock::{Clock, SystemClock};
use licentia::domain::license::status_list::{SIZE, StatusIndex, draws};
use licentia::domain::operator::admin_key::Scope;
use licentia::domain::operator::audit::{Actor, OwnedActor};
use licentia::fail_point::Place;
use licentia::flows::operator::licenses;
use licentia::status_lists::CHECKED_EVERY;
use licentia_verify::{Code, Companion, KeySet, Request, inspect};
use miniz_oxide::inflate::decompress_to_vec_zlib;
use reqwest::Method;
use reqwest::header::{HeaderValue, IF_NONE_MATCH};
use serde_json::{Value, json};

use crate::harness::database::execute;
use crate::harness::process::{Server, licentia, run};
use crate::harness::{Client, PASSWORD, START, TestApp, TestDatabase, until};
use crate::status_histories::{all_tokens, must_agree};

/// The path of the first list.
pub const FIRST: &str = "/.well-known/license-status/1";

/// Returns the place that a license names: the list's path and the index.
pub fn place(token: &str) -> (String, u64) {
    let claims = inspect(token).unwrap().claims;
    let list = &claims["status"]["status_list"];
    let uri = list["uri"].as_str().unwrap();
    let path = uri.find("/.well-known").map(|start| uri[start..].to_owned());
    (path.unwrap(), list["idx"].as_u64().unwrap())
}

/// Returns the offline verdict of a license with the list that it names, as this server serves it.
pub async fn offline(client: &Client, token: &str, now: Duration) -> Option<Code> {
    let jwks = client.get("/.well-known/jwks.json").await.text;
    let keys = KeySet::from_jwks(&jwks, "acme-app").unwrap();
    let list = client.get(&place(token).0).await;
    assert_eq!(list.status, 200, "{list:?}");
    let now = std::time::UNIX_EPOCH + now;
    // A list that does not count would be too old.
    let age = Some(Duration::from_secs(3_700));
    let request =
        Request { status: Some(&list.text), max_status_age: age, ..Request::new(token, now) };
    keys.verdict(&request).0.code
}

/// Returns the bits of a list.
async fn bits(client: &Client, path: &str) -> Vec<u8> {
    bits_of(&client.get(path).await.text)
}

/// Returns the bits of a list with this text.
pub fn bits_of(list: &str) -> Vec<u8> {
    let lst = claims(list)["status_list"]["lst"].as_str().unwrap().to_owned();
    decompress_to_vec_zlib(&URL_SAFE_NO_PAD.decode(lst).unwrap()).unwrap()
}

/// Returns the claims of a signed document.
pub fn claims(list: &str) -> Value {
    let part = list.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The time at which every test begins.
pub const NOW: Duration = Duration::from_secs(START.unsigned_abs());

#[tokio::test]
async fn the_mailed_license_json_has_the_list_that_revokes_it_without_a_network() {
    let app = TestApp::start().await;
    let (former, jwks) = ("ada@example.com", app.client.get("/.well-known/jwks.json").await.text);
    let signed_up = app.sign_up(former).await;
    let attached = async || {
        let mail = app.take_mail(former).await;
        let file = mail.text.lines().find(|line| line.starts_with("{\"license\":"));
        file.unwrap_or_else(|| panic!("{}", mail.text)).to_owned()
    };
    let first = attached().await;
    let members: Value = serde_json::from_str(&first).unwrap();
    let license_id = claims(signed_up.text("/license/token"))["jti"].as_str().unwrap().to_owned();
    assert_eq!(members["license"], *signed_up.text("/license/token"));
    assert!(members["keys"].is_string() && members["status"].is_string(), "{members}");

    let keys = KeySet::from_jwks(&jwks, "acme-app").unwrap();
    let checked = |text: &str, list: Option<&str>| {
        let max_status_age = Some(Duration::from_secs(120));
        let now = app.clock.now().to_system_time();
        keys.check(&Request { max_status_age, status: list, ..Request::new(text, now) })
    };
    let alone = checked(&first, None);
    assert!(alone.license.is_ok() && alone.list == Companion::Counts, "{alone:?}");

    // The list in the file of the next license revokes the former one.
    let id = license_id.parse().unwrap();
    licenses::revoke(&app.app, Actor::Operator, &id).await.unwrap();
    let by = OwnedActor::Operator;
    licenses::resend(&app.app, &by, &id, true).await.unwrap();
    let second: Value = serde_json::from_str(&attached().await).unwrap();
    let code = |text: &str, list: &Value| {
        checked(text, list.as_str()).license.map_err(|rejection| rejection.code()).map(drop)
    };
    assert_eq!(code(&first, &second["status"]), Err(Code::Revoked));
    assert_eq!(code(&second.to_string(), &Value::Null), Ok(()));
}

#[tokio::test]
async fn a_revocation_sets_one_bit_at_once_and_on_other_servers_after_two_seconds_license_3() {
    let app = TestApp::start().await;
    let other = app.second_server().await;
    let license = app.sign_up("ada@example.com").await;
    let token = license.text("/license/token");
    let (path, idx) = place(token);
    assert_eq!(path, FIRST);
    assert!(idx < SIZE.into());
    for client in [&app.client, &other] {
        assert_eq!(offline(client, token, NOW).await, None);
        assert_eq!(bits(client, FIRST).await, vec![0; SIZE as usize / 8]);
    }

    let support = app.admin(Scope::Support).await;
    let revoke = format!("/api/admin/licenses/{}/revoke", license.text("/license/license_id"));
    let before = app.client.get(FIRST).await;
    assert_eq!(support.send(Method::POST, &revoke, None).await.status, 200);
    assert_eq!(offline(&app.client, token, NOW).await, Some(Code::Revoked));
    let mut expected = vec![0; SIZE as usize / 8];
    expected[usize::try_from(idx).unwrap() / 8] = 1 << (idx % 8);
    assert!(bits(&app.client, FIRST).await == expected);
    let after = claims(&app.client.get(FIRST).await.text);
    assert!(after["iat"].as_i64() > claims(&before.text)["iat"].as_i64());

    assert_eq!(other.get(FIRST).await.text, before.text);
    app.clock.advance_seconds(CHECKED_EVERY.num_seconds());
    let there = other.get(FIRST).await;
    assert_eq!(there.text, app.client.get(FIRST).await.text, "both sign the same text");
    assert_eq!(offline(&other, token, NOW).await, Some(Code::Revoked));
}

#[tokio::test]
async fn a_list_is_a_signed_document_that_caches_can_keep_license_3() {
    let app = TestApp::start().await;
    assert_eq!(app.client.get(FIRST).await.problem(), (404, "not_found"));
    app.sign_up("ada@example.com").await;
    let list = app.client.get(FIRST).await;
    assert_eq!(list.header("content-type"), "application/statuslist+jwt");
    assert_eq!(list.header("cache-control"), "public, max-age=60");
    assert!(list.text.len() < 1_000, "{}", list.text.len());
    let (sub, iat) = (format!("{}{FIRST}", app.app.public_url), START - 60);
    let lst = &claims(&list.text)["status_list"]["lst"];
    let expected = json!({
        "sub": sub, "iat": iat, "exp": iat + 604_800, "ttl": 43_200,
        "status_list": { "bits": 1, "lst": lst },
    });
    assert_eq!(claims(&list.text), expected);

    let etag = list.header("etag").to_owned();
    let ask = async |tag: &str| {
        let request = reqwest::Client::new().get(format!("{}{FIRST}", app.client.base));
        let request = request.header(IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap());
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["etag"], etag);
        assert_eq!(response.headers()["cache-control"], "public, max-age=60");
        (response.status().as_u16(), response.text().await.unwrap().len())
    };
    for tag in [&etag, &format!("W/{etag}"), &format!("\"other\", {etag}"), "*"] {
        assert_eq!(ask(tag).await, (304, 0), "{tag}");
    }
    assert_eq!(ask("\"other\"").await, (200, list.text.len()));

    for unknown in ["0", "2", "-1", "x", "1.0", "9223372036854775808", "%31%00"] {
        let path = format!("/.well-known/license-status/{unknown}");
        assert_eq!(app.client.get(&path).await.problem(), (404, "not_found"), "{unknown}");
    }
    let all = app.client.get("/.well-known/license-status").await;
    assert_eq!(all.body, json!({ "status_lists": [sub] }));
    let addresses = app.client.get("/.well-known/licentia").await;
    assert_eq!(
        addresses.body["status_uri"],
        format!("{}/.well-known/license-status", app.app.public_url)
    );
}

/// An app may refuse a list that is too old, so a list without a change is signed again.
#[tokio::test]
async fn a_list_is_signed_again_each_hour_and_goes_back_only_from_a_wrong_clock_license_3() {
    let app = TestApp::start().await;
    let license = app.sign_up("ada@example.com").await;
    let iat = async || claims(&app.client.get(FIRST).await.text)["iat"].as_i64().unwrap();
    assert_eq!(iat().await, START - 60);
    app.clock.advance_seconds(3_599);
    assert_eq!(iat().await, START - 60);
    app.clock.advance_seconds(2);
    assert_eq!(iat().await, START + 3_541);
    let set_iat = async |iat: i64| {
        let change = format!("UPDATE status_lists SET issued_at = {iat}, version = version + 1");
        execute(&app.app.store, &change).await.unwrap();
        app.clock.advance_seconds(2);
    };
    // Another server's clock is a minute ahead: apps that saw its list would refuse one that is
    // older, and miss what is revoked in it.
    let ahead = START + 3_661;
    set_iat(ahead).await;
    assert_eq!(iat().await, ahead);
    let before = app.client.get(FIRST).await.text;
    let support = app.admin(Scope::Support).await;
    let revoke = format!("/api/admin/licenses/{}/revoke", license.text("/license/license_id"));
    assert_eq!(support.send(Method::POST, &revoke, None).await.status, 200);
    assert_eq!(iat().await, ahead);
    assert_ne!(app.client.get(FIRST).await.text, before);
    let token = license.text("/license/token");
    assert_eq!(offline(&app.client, token, NOW).await, Some(Code::Revoked));
    // A clock was a year ahead: apps that saw its list refuse every license as signed before.
    set_iat(START + 365 * 86_400).await;
    assert_eq!(iat().await, START + 3_545);
    assert_eq!(offline(&app.client, token, NOW).await, Some(Code::Revoked));
}

/// The text is stored in memory, and a database that cannot be read or written keeps it.
#[tokio::test]
async fn a_list_is_served_while_the_database_fails_license_3() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let before = app.client.get(FIRST).await;
    app.clock.advance_seconds(7_200);
    app.app.store.close().await;
    assert_eq!(app.client.get(FIRST).await.text, before.text);
}

#[tokio::test]
async fn two_licenses_never_share_a_place_and_a_full_list_is_followed_by_another_license_3() {
    let app = TestApp::start().await;
    let now = app.app.now();
    let draws = draws(&app.app.random.bytes());
    let mut taken = Vec::new();
    for _ in 0..20 {
        let mut tx = app.app.store.write().await.unwrap();
        taken.push(tx.take_status_index("https://acme.example", &draws, now).await.unwrap());
        tx.commit(app.app.fail_points.at(Place::LicenseGranted)).await.unwrap();
    }
    let expected: Vec<_> = draws
        .iter()
        .map(|idx| StatusIndex { list_id: 1, idx: *idx })
        .chain(draws[..4].iter().map(|idx| StatusIndex { list_id: 2, idx: *idx }))
        .collect();
    assert_eq!(taken, expected);
    // A server with another address has lists of its own: their address is in the licenses.
    let mut tx = app.app.store.write().await.unwrap();
    let other = tx.take_status_index("https://new.example", &draws, now).await.unwrap();
    assert_eq!(other, StatusIndex { list_id: 3, idx: draws[0] });
    let former = tx.take_status_index("https://acme.example", &draws, now).await.unwrap();
    assert_eq!(former, StatusIndex { list_id: 2, idx: draws[4] });
}

#[tokio::test]
async fn a_deleted_license_stays_revoked_and_its_place_is_never_given_again_license_3() {
    let app = TestApp::start().await;
    let ada = app.signed_in("ada@example.com").await;
    let revoked = app.sign_up("eve@example.com").await;
    let support = app.admin(Scope::Admin).await;
    let revoke = format!("/api/admin/licenses/{}/revoke", revoked.text("/license/license_id"));
    assert_eq!(support.send(Method::POST, &revoke, None).await.status, 200);
    let tokens = all_tokens(&app.app).await;
    assert_eq!(must_agree(&app.app, &app.client, &tokens).await, 1);

    assert_eq!(ada.delete("/api/customers/me").await.status, 204);
    assert_eq!(must_agree(&app.app, &app.client, &tokens).await, 2);
    let eve = format!("/api/admin/customers/{}", revoked.text("/customer/customer_id"));
    assert_eq!(support.delete(&eve).await.status, 204);
    assert_eq!(app.count("licenses").await, 0);
    assert_eq!(must_agree(&app.app, &app.client, &tokens).await, 2);
    assert_eq!(app.count("status_places").await, 2);
}

/// A license from before the upgrade names no list. Its next issue does.
#[tokio::test]
async fn a_license_without_a_place_can_be_revoked_and_gets_one_when_it_is_issued_again_license_3() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let drop = "UPDATE licenses SET status_list = NULL, status_idx = NULL";
    execute(&app.app.store, drop).await.unwrap();
    let id = signed_up.text("/license/license_id").parse().unwrap();
    let before = app.client.get(FIRST).await.text;
    licenses::revoke(&app.app, Actor::Operator, &id).await.unwrap();
    assert_eq!(app.client.get(FIRST).await.text, before);
    let next = app.grant(signed_up.text("/customer/customer_id"), "starter").await;
    assert_eq!(place(next.token.expose()).0, FIRST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_license_on_a_machine_without_a_network_is_revoked_by_a_carried_list_license_3() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let public = ("LICENTIA_PUBLIC_URL", "https://acme.example");
    let command = |arguments: &[&str]| {
        let mut command = licentia(directory.path());
        command.args(arguments).env("LICENTIA_DATABASE_URL", &database.url);
        run(command.env(public.0, public.1))
    };
    let server = Server::start(directory.path(), &database, &[public]);
    let empty = command(&["status", "export"]);
    assert_eq!((empty.code, empty.out.contains("no status list yet")), (0, true), "{empty:?}");
    let account = json!({ "email": "ada@example.com", "password": PASSWORD });
    let signed_up = server.client.post("/api/customers/signup", &account).await;
    let token = signed_up.text("/license/token");
    let jwks = server.client.get("/.well-known/jwks.json").await.text;

    // The machine gets the license and the list in one file.
    let keys = KeySet::from_jwks(&jwks, "acme-app").unwrap();
    let carried = directory.path().join("usb/license-status-1.jwt");
    let verdict = || {
        let status = std::fs::read_to_string(&carried).unwrap();
        let file = json!({ "license": token, "status": status }).to_string();
        let now = SystemClock.now().to_system_time();
        keys.verdict(&Request::new(&file, now)).0.code
    };
    let export = || command(&["status", "export", "--out", "usb"]);
    let done = export();
    let said =
        "usb/license-status-1.jwt  https://acme.example/.well-known/license-status/1  signed";
    assert!(done.code == 0 && done.out.starts_with(said), "{done:?}");
    assert_eq!(verdict(), None);

    let revoked = command(&["license", "revoke", signed_up.text("/license/license_id")]);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    assert_eq!(verdict(), None, "nothing was carried yet");
    assert_eq!(export().code, 0);
    assert_eq!(verdict(), Some(Code::Revoked));
    // The running server shows the revocation of the other process.
    until(async || offline_now(&server.client, token).await == Some(Code::Revoked)).await;
    assert_eq!(server.client.get(FIRST).await.text, std::fs::read_to_string(&carried).unwrap());

    let json = command(&["status", "export", "--out", "usb", "--json"]);
    let lists: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(lists["lists"][0]["file"], "usb/license-status-1.jwt");
    assert_eq!(lists["lists"][0]["uri"], format!("https://acme.example{FIRST}"));
    let refused = command(&["status", "export", "--out", "/dev/null/usb"]);
    assert!(refused.code == 1 && refused.err.contains("was not written"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_carried_key_bundle_makes_a_list_count_that_a_new_key_signed_license_3() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let command = |arguments: &[&str]| {
        let mut command = licentia(directory.path());
        command.args(arguments).env("LICENTIA_DATABASE_URL", &database.url);
        let done = run(&mut command);
        let is_verdict = ["verify", "explain"].contains(&arguments[1]);
        assert!(done.code == 0 || is_verdict, "{done:?}");
        done
    };
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).unwrap();
    };
    let server = Server::start(directory.path(), &database, &[]);
    let account = json!({ "email": "ada@example.com", "password": PASSWORD });
    let signed_up = server.client.post("/api/customers/signup", &account).await;
    write("license.jwt", signed_up.text("/license/token"));
    write("former.jwt", &server.client.get("/.well-known/license-keys").await.text);
    write("root.json", &command(&["keys", "root", "export"]).out);
    command(&["keys", "generate", "--now"]);
    command(&["license", "revoke", signed_up.text("/license/license_id")]);
    let exported = command(&["status", "export", "--out", "usb", "--json"]);
    let exported: Value = serde_json::from_str(&exported.out).unwrap();
    assert_eq!(exported["keys"], "usb/license-keys.jwt");
    let said = command(&["status", "export", "--out", "usb"]);
    assert!(said.out.ends_with("usb/license-keys.jwt  the key bundle\n"), "{said:?}");
    assert_eq!(said.err, "");

    let with = |what: &str, keys: &str| {
        let status = "usb/license-status-1.jwt";
        let given = ["--root", "root.json", "--keys", keys, "--status", status];
        let app = ["--audience", "acme-app", "license.jwt"];
        command(&[&["license", what][..], &given, &app].concat())
    };
    let old = with("verify", "former.jwt");
    assert!(old.code == 0 && old.err.contains("signed with a key that is not in"), "{old:?}");
    let old = with("explain", "former.jwt");
    assert!(old.out.contains("signed with a key that is not in the key bundle"), "{old:?}");
    let new = with("verify", "usb/license-keys.jwt");
    assert!(new.code == 1 && new.out.contains("\"revoked\"") && new.err.is_empty(), "{new:?}");
}

/// Returns the offline verdict like [`offline`], by the system's clock.
pub async fn offline_now(client: &Client, token: &str) -> Option<Code> {
    let now = SystemClock.now().epoch_seconds().unsigned_abs();
    offline(client, token, Duration::from_secs(now)).await
}
