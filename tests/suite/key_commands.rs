//! Commands about the signing keys, with running servers beside them.

use std::fs;

use licentia::clock::{Clock, SystemClock};
use licentia::flows::license::keys::follow_keys;
use licentia::keys::{KeyRing, bundle};
use licentia::random::Random;
use licentia_verify::KeySet;
use serde_json::Value;

use crate::harness::process::{Done, Server, licentia, run, serve};
use crate::harness::rotation::{claims_of, customer, issue, root_of, verdict};
use crate::harness::{TestDatabase, until};
use crate::key_bundle::{json, keys};
use crate::keys::{Installation, issue_a_license};

#[tokio::test]
async fn the_only_key_cannot_be_retired_and_the_list_says_what_signs_when() {
    let installation = Installation::new(&[]).await;
    let app = installation.start().await.unwrap();
    let kid = app.keys.signing(app.now()).unwrap().kid.clone();
    let refused = keys(&installation, &["retire", &kid]);
    assert!(refused.code == 1 && refused.err.contains("no other key may sign yet"), "{refused:?}");
    assert_eq!(keys(&installation, &["generate"]).code, 0);
    assert_eq!(keys(&installation, &["retire", &kid]).code, 1, "the new key was not announced");
    let now = keys(&installation, &["generate", "--now"]);
    assert_eq!(now.code, 0, "{}", now.err);
    let retired = keys(&installation, &["retire", &kid]);
    assert_eq!(retired.code, 0, "{}", retired.err);
    let list = json(&keys(&installation, &["list", "--json"]));
    let states = |list: &Value| -> Vec<String> {
        let keys = list["keys"].as_array().unwrap().iter();
        keys.map(|key| key["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&list), ["retired", "next", "signing"]);
    assert!(list["keys"][0]["ends_at"].is_string());
    let third = list["keys"][2]["kid"].as_str().unwrap();
    let revoked = keys(&installation, &["revoke", third]);
    assert_eq!(revoked.code, 0, "{}", revoked.err);
    let list = json(&keys(&installation, &["list", "--json"]));
    // No key is made while there is one, although it was not announced for a day.
    assert_eq!(states(&list), ["retired", "signing", "revoked"]);
    // What the command line issues verifies on the running server at once it follows.
    follow_keys(&app).await.unwrap();
    assert_eq!(app.keys.signing(app.now()).unwrap().kid, list["keys"][1]["kid"].as_str().unwrap());
    assert_eq!(claims_of(&app).content.revoked, [third]);
}

#[tokio::test]
async fn a_kill_during_a_rotation_leaves_keys_that_work() {
    for place in ["keys.recorded", "keys.bundle_stored"] {
        for command in [&["serve"][..], &["keys", "generate"], &["keys", "generate", "--now"]] {
            let directory = tempfile::tempdir().unwrap();
            let database = TestDatabase::empty(directory.path()).await;
            let is_first = command == ["serve"];
            if !is_first {
                Server::start(directory.path(), &database, &[]).stop();
            }
            let mut killed = serve(directory.path(), &database, &[("FAIL_POINT", place)]);
            if !is_first {
                killed = licentia(directory.path());
                killed.args(command).env("LICENTIA_DATABASE_URL", &database.url);
                killed.env("FAIL_POINT", place);
            }
            assert_eq!(run(&mut killed).code, -1, "{place} {command:?}: it did not die");
            let server = Server::start(directory.path(), &database, &[]);
            let request = serde_json::json!({
                "email": "ada@example.com", "password": "SecurePass123",
            });
            let signed_up = server.client.post("/api/customers/signup", &request).await;
            let token = signed_up.text("/license/token");
            let bundle = server.client.get("/.well-known/license-keys").await.text;
            let claims = bundle::read(&bundle).unwrap();
            assert_eq!(claims.content.keys.len(), if is_first { 1 } else { 2 });
            let shown = run(licentia(directory.path())
                .args(["keys", "root", "export"])
                .env("LICENTIA_DATABASE_URL", &database.url));
            let root = KeySet::from_root(&shown.out, "acme-app").unwrap();
            assert_eq!(verdict(&root, token, Some(&bundle), SystemClock.now()), None);
        }
    }
}

#[tokio::test]
async fn a_running_server_notices_a_new_key_file_by_itself_within_a_minute() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let server = Server::start(directory.path(), &database, &[]);
    let published = async || {
        let jwks = server.client.get("/.well-known/jwks.json").await.body;
        jwks["keys"].as_array().unwrap().len()
    };
    assert_eq!(published().await, 1);
    // A key of elsewhere, so that no command tells the server's database.
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(run(licentia(elsewhere.path()).args(["keys", "generate"])).code, 0);
    for entry in fs::read_dir(elsewhere.path().join("keys")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "pem") {
            let name = directory.path().join("keys").join(file.file_name().unwrap());
            fs::rename(file, name).unwrap();
        }
    }
    until(async || published().await == 2).await; // gives up after a minute
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_running_server_follows_new_retired_and_revoked_keys_on_sighup() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let server = Server::start(directory.path(), &database, &[]);
    let log = || fs::read_to_string(directory.path().join("server.log")).unwrap();
    // The log has a thread of its own.
    until(async || log().contains("the root key is on this server")).await;
    let command = |arguments: &[&str]| {
        let mut command = licentia(directory.path());
        let done = run(command.args(arguments).env("LICENTIA_DATABASE_URL", &database.url));
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.err);
        done
    };
    let published = async || {
        let jwks = server.client.get("/.well-known/jwks.json").await.body;
        jwks["keys"].as_array().unwrap().len()
    };
    assert_eq!(published().await, 1);
    command(&["keys", "generate", "--now"]);
    server.signal("HUP");
    until(async || published().await == 2).await;
    until(async || log().contains("SIGHUP")).await;
    let list = json(&command(&["keys", "list", "--json"]));
    let kid = |index: usize| list["keys"][index]["kid"].as_str().unwrap().to_owned();
    let request = serde_json::json!({ "email": "ada@example.com", "password": "SecurePass123" });
    let signed_up = server.client.post("/api/customers/signup", &request).await;
    let inspected = licentia_verify::inspect(signed_up.text("/license/token")).unwrap();
    assert_eq!(inspected.header["kid"], kid(1).as_str());

    // A license from the command line verifies on the running server at once.
    let issued = command(&[
        "license",
        "issue",
        "--email",
        "ada@example.com",
        "--plan",
        "professional",
        "--forever",
        "--json",
    ]);
    let issued: Value = serde_json::from_str(&issued.out).unwrap();
    let verify = serde_json::json!({ "token": issued["token"] });
    let verdict = server.client.post("/api/licenses/verify", &verify).await;
    assert_eq!(verdict.body["valid"], true, "{verdict:?}");

    command(&["keys", "retire", &kid(0)]);
    command(&["keys", "revoke", &kid(1)]);
    server.signal("HUP");
    until(async || {
        let verdict = server.client.post("/api/licenses/verify", &verify).await;
        let bundle = server.client.get("/.well-known/license-keys").await.text;
        let claims = bundle::read(&bundle).unwrap();
        verdict.body["valid"] == false && claims.content.revoked == [kid(1)]
    })
    .await;
    // A damaged file does not stop a running server.
    let damaged = directory.path().join("keys/20200101T000000Z.pem");
    fs::write(&damaged, "half a k").unwrap();
    server.signal("HUP");
    until(async || log().contains("the keys could not all be read")).await;
    assert_eq!(server.client.get("/.well-known/license-keys").await.status, 200);
    assert_eq!(server.stop(), Some(0));
}

/// Runs `licentia keys …` on the database of an installation, with another directory of keys.
fn keys_elsewhere(place: &Installation, directory: &str, arguments: &[&str]) -> Done {
    let url = secrecy::ExposeSecret::expose_secret(&place.config.database_url).to_owned();
    run(licentia(place.directory.path())
        .arg("keys")
        .args(arguments)
        .env("LICENTIA_DATABASE_URL", url)
        .env("LICENTIA_KEYS_DIR", directory))
}

#[tokio::test]
async fn a_command_with_an_empty_or_wrong_directory_changes_nothing_and_says_what_to_do() {
    let place = Installation::new(&[]).await;
    let app = place.start().await.unwrap();
    let kid = app.keys.signing(app.now()).unwrap().kid;
    // Keys of something else.
    let mut config = place.config.clone();
    config.keys_dir = place.directory.path().join("other");
    KeyRing::generate(&config, app.now(), &Random::from_system().unwrap()).unwrap();
    let files = || {
        let read = fs::read_dir(place.directory.path().join("other")).unwrap();
        read.count()
    };
    let before = files();
    for directory in ["empty", "other"] {
        for arguments in [&["reload"][..], &["generate"], &["generate", "--now"]] {
            let refused = keys_elsewhere(&place, directory, arguments);
            assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{arguments:?}");
            let named = [kid.as_str(), directory, "LICENTIA_KEYS_DIR", "keys revoke KID"];
            for part in named {
                assert!(refused.err.contains(part), "{part}\nis not in\n{}", refused.err);
            }
            let has_another = refused.err.contains("--former-keys-are-lost");
            assert_eq!(has_another, arguments[0] == "generate", "{}", refused.err);
        }
        let records = app.store.read().await.unwrap().key_records().await.unwrap();
        assert_eq!(records.len(), 1, "{directory}");
    }
    assert!(!place.directory.path().join("empty").exists(), "a folder was made");
    assert_eq!(files(), before);
    // In the right one, both work.
    for arguments in [&["reload"][..], &["generate"]] {
        let done = keys(&place, arguments);
        assert!(done.code == 0 && done.out.contains("is up to date"), "{done:?}");
    }
}

#[tokio::test]
async fn keys_that_are_only_lost_are_replaced_and_retired_and_their_licenses_stay_valid() {
    let place = Installation::new(&[]).await;
    let app = place.start().await.unwrap();
    issue_a_license(&app).await;
    let license = issue(&app, &customer(&app).await).await;
    let root = KeySet::from_root(&root_of(&app).await, "acme-app").unwrap();
    app.store.close().await;
    fs::remove_file(place.key_file()).unwrap();
    assert_eq!(keys(&place, &["generate", "--now"]).code, 1);
    let made = keys(&place, &["generate", "--now", "--former-keys-are-lost"]);
    assert!(made.code == 0 && made.out.contains("is up to date"), "{made:?}");
    let refused = place.start().await.err().expect("it started").to_string();
    assert!(refused.contains("are missing") && refused.contains(&license.key_id), "{refused}");
    let retired = keys(&place, &["retire", &license.key_id]);
    assert_eq!(retired.code, 0, "{retired:?}");
    let app = place.start().await.unwrap();
    let bundle = app.keys.bundle();
    assert_eq!(verdict(&root, license.token.expose(), bundle.as_deref(), app.now()), None);
    let next = issue(&app, &customer(&app).await).await;
    assert_ne!(next.key_id, license.key_id);
    assert_eq!(verdict(&root, next.token.expose(), bundle.as_deref(), app.now()), None);
}
