//! The root key and the key bundle: never replaced, kept off the server by exchanging files, and
//! published. Rotation under running servers is in `key_rotation.rs`.

use std::fs;
use std::path::Path;

use licentia::app::App;
use licentia::clock::{Clock, SystemClock};
use licentia::domain::license::key_bundle::BundleClaims;
use licentia::domain::license::signing_key::CACHE_SECONDS;
use licentia::flows::license::keys::{follow_keys, import_bundle};
use licentia::keys::{KeyRing, ROOT_FILE, RootKey};
use licentia::random::Random;
use licentia_verify::KeySet;
use serde_json::Value;

use crate::harness::TestApp;
use crate::harness::database::execute;
use crate::harness::process::{Done, Server, licentia, run};
use crate::harness::rotation::{
    Apps, DAY, HOUR, Hands, claims_of, customer, issue, root_of, verdict,
};
use crate::keys::{Installation, issue_a_license};

#[tokio::test]
async fn a_restored_database_gets_a_newer_bundle_than_apps_have_seen() {
    let installation = Installation::new(&[]).await;
    let clock = Hands::now_at(SystemClock.now());
    let app = installation.start_at(clock.clone()).await.unwrap();
    let backup = claims_of(&app);
    clock.advance(7 * DAY);
    let random = Random::from_system().unwrap();
    KeyRing::add(&installation.config, clock.now(), false, &random).unwrap();
    follow_keys(&app).await.unwrap();
    let seen = claims_of(&app);
    assert!(seen.seq > backup.seq);
    // The backup of last week is restored.
    execute(
        &app.store,
        "DELETE FROM key_bundles WHERE stored_at > 0 AND seq = (
         SELECT MAX(seq) FROM key_bundles)",
    )
    .await
    .unwrap();
    clock.advance(HOUR);
    let restored = installation.start_at(clock.clone()).await.unwrap();
    assert!(claims_of(&restored).seq > seen.seq);
    assert_eq!(claims_of(&restored).content, seen.content);
}

#[tokio::test]
async fn a_lost_or_damaged_root_key_is_never_replaced_security_7() {
    let installation = Installation::new(&[]).await;
    let app = installation.start().await.unwrap();
    let (root, file) = (root_of(&app).await, installation.keys().join(ROOT_FILE));
    let whole = fs::read(&file).unwrap();

    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let refused = installation.start().await.err().unwrap().to_string();
    assert!(refused.contains("root.key is damaged") && refused.contains("backup"), "{refused}");
    // A running server continues.
    assert!(follow_keys(&app).await.is_err());
    assert!(app.keys.bundle().is_some());

    fs::remove_file(&file).unwrap();
    let app = installation.start().await.unwrap();
    assert!(!file.exists(), "a root key was made silently");
    assert_eq!(root_of(&app).await, root);
    assert!(app.keys.bundle().is_some(), "the stored bundle is published");

    let random = Random::from_system().unwrap();
    RootKey::create(&installation.config, None, &random).unwrap();
    let refused = installation.start().await.err().unwrap().to_string();
    assert!(refused.contains("is not the root key") && refused.contains("backup"), "{refused}");
}

/// Runs `licentia keys …` on the database of a installation.
pub fn keys(installation: &Installation, arguments: &[&str]) -> Done {
    let url = secrecy::ExposeSecret::expose_secret(&installation.config.database_url).to_owned();
    run(licentia(installation.directory.path())
        .arg("keys")
        .args(arguments)
        .env("LICENTIA_DATABASE_URL", url))
}

pub fn json(done: &Done) -> Value {
    assert_eq!(done.code, 0, "{}", done.err);
    serde_json::from_str(&done.out).unwrap()
}

#[tokio::test]
async fn the_root_key_is_kept_off_the_server_by_exchanging_files_license_2() {
    let installation = Installation::new(&[]).await;
    let clock = Hands::now_at(SystemClock.now());
    let app = installation.start_at(clock.clone()).await.unwrap();
    issue_a_license(&app).await;
    let first = app.keys.signing(app.now()).unwrap().kid.clone();
    let safe = tempfile::tempdir().unwrap();
    let (root, server) = (safe.path().join("root.key"), installation.directory.path());
    fs::rename(installation.keys().join(ROOT_FILE), &root).unwrap();

    let made = keys(&installation, &["generate"]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.out.contains("sign the new key bundle"), "{}", made.out);
    follow_keys(&app).await.unwrap();
    assert_eq!(claims_of(&app).content.keys.len(), 1);
    clock.advance(3 * DAY);
    assert_eq!(app.keys.signing(app.now()).unwrap().kid, first, "the bundle lacks the new key");
    let shown = keys(&installation, &["root", "show"]);
    assert!(shown.out.contains("Its private part is not on this server."), "{}", shown.out);

    let unsigned = json(&keys(&installation, &["bundle", "show", "--unsigned"]));
    fs::write(safe.path().join("unsigned.json"), unsigned.to_string()).unwrap();
    let sign = |unsigned: &str, root: &str| {
        let arguments = ["keys", "bundle", "sign", "--root", root, "--in", unsigned];
        run(licentia(safe.path()).args(arguments).args(["--out", "keys.jwt"]))
    };
    let signed = sign("unsigned.json", "root.key");
    assert_eq!(signed.code, 0, "{}", signed.err);
    fs::copy(safe.path().join("keys.jwt"), server.join("keys.jwt")).unwrap();
    let imported = keys(&installation, &["bundle", "import", "keys.jwt"]);
    assert_eq!(imported.code, 0, "{}", imported.err);
    let again = keys(&installation, &["bundle", "import", "keys.jwt"]);
    assert!(again.code == 1 && again.err.contains("its seq is"), "{}", again.err);

    clock.advance(1);
    follow_keys(&app).await.unwrap();
    let later = Hands::now_at(SystemClock.now());
    later.advance(2 * DAY);
    let app = installation.start_at(later.clone()).await.unwrap();
    assert_ne!(app.keys.signing(app.now()).unwrap().kid, first);
    let license = issue(&app, &customer(&app).await).await;
    let apps = Apps::new(&app, later.now()).await;
    assert_eq!(apps.verdicts(license.token.expose(), later.now()), [None, None]);
    refused_bundles(&installation, safe.path(), &sign);
}

/// Bundles that would make apps refuse licenses, or that another root signed, are refused.
fn refused_bundles(installation: &Installation, safe: &Path, sign: &dyn Fn(&str, &str) -> Done) {
    let thief = run(licentia(safe).args(["keys", "root", "init", "--out", "thief.key"]));
    assert_eq!(thief.code, 0, "{}", thief.err);
    let published = json(&keys(installation, &["bundle", "show"]));
    let next = published["seq"].as_i64().unwrap() + 1_000;
    let now = SystemClock.now().epoch_seconds();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = published.clone();
        claims["seq"] = next.into();
        change(&mut claims);
        claims
    };
    let second = published["keys"][1]["kid"].clone();
    for (name, claims, root, reason) in [
        ("another root", with(&|_| {}), "thief.key", "did not sign it"),
        ("without keys", with(&|it| it["keys"] = serde_json::json!([])), "root.key", "it lacks"),
        (
            "without the key that signs",
            with(&|it| drop(it["keys"].as_array_mut().unwrap().remove(1))),
            "root.key",
            "it lacks the key",
        ),
        (
            "it revokes the key that signs",
            with(&|it| it["revoked"] = serde_json::json!([second])),
            "root.key",
            "it revokes",
        ),
        (
            "a key that ends",
            with(&|it| it["keys"][0]["exp"] = 1_900_000_000.into()),
            "root.key",
            "another time for",
        ),
        (
            "a key that begins later",
            with(&|it| it["keys"][0]["nbf"] = 1_900_000_000.into()),
            "root.key",
            "another time for",
        ),
        ("an older one", with(&|it| it["seq"] = 1.into()), "root.key", "its seq is 1"),
        (
            "one after which there is no later one",
            with(&|it| it["seq"] = 9_007_199_254_740_991_i64.into()),
            "root.key",
            "every later bundle needs a greater one",
        ),
        (
            "dated by a clock that is ahead",
            with(&|it| it["iat"] = (now + 10 * 365 * DAY).into()),
            "root.key",
            "later than now",
        ),
        ("dated an hour ahead", with(&|it| it["iat"] = (now + HOUR).into()), "root.key", "set iat"),
        ("one that has ended", with(&|it| it["exp"] = (now - 1).into()), "root.key", "it ended at"),
        (
            "one that ends in seconds",
            with(&|it| it["exp"] = (now + 8).into()),
            "root.key",
            "apps need at least 7 days",
        ),
        (
            "one that ends in days",
            with(&|it| it["exp"] = (now + 6 * DAY).into()),
            "root.key",
            "set exp to null, or later than",
        ),
    ] {
        fs::write(safe.join("bad.json"), claims.to_string()).unwrap();
        let signed = sign("bad.json", root);
        assert_eq!(signed.code, 0, "{name}: {}", signed.err);
        fs::copy(safe.join("keys.jwt"), installation.directory.path().join("bad.jwt")).unwrap();
        let refused = keys(installation, &["bundle", "import", "bad.jwt"]);
        assert_eq!(refused.code, 1, "{name}: {}", refused.out);
        assert!(refused.err.contains(reason), "{name}: {reason}\nis not in\n{}", refused.err);
    }
    fs::write(safe.join("bad.json"), "{}").unwrap();
    assert!(sign("bad.json", "root.key").err.contains("has no claims of a key bundle"));
    fs::write(installation.directory.path().join("bad.jwt"), "no bundle").unwrap();
    let refused = keys(installation, &["bundle", "import", "bad.jwt"]);
    assert!(refused.err.contains("it is not a key bundle"), "{}", refused.err);
}

/// Returns an app with a bundle that ends at `exp`, which was imported thirty days ago.
async fn with_an_end(installation: &Installation, exp: i64) -> App {
    let clock = Hands::now_at(SystemClock.now());
    clock.advance(-30 * DAY);
    let app = installation.start_at(clock.clone()).await.unwrap();
    let root = RootKey::load(&installation.config).unwrap().unwrap();
    let content = claims_of(&app).content;
    let claims = content.claims("https://acme.example", claims_of(&app).seq, clock.now());
    let claims = BundleClaims { exp: Some(exp), ..claims };
    let token = root.sign(&claims).unwrap();
    import_bundle(&app.key_store(), &token, None, clock.now()).await.unwrap();
    follow_keys(&app).await.unwrap();
    assert_eq!(claims_of(&app), claims);
    clock.advance(15 * DAY);
    follow_keys(&app).await.unwrap();
    assert_eq!(claims_of(&app), claims, "it was signed again long before its end");
    clock.advance(15 * DAY);
    app
}

#[tokio::test]
async fn a_bundle_that_ends_soon_or_has_ended_is_signed_again_if_the_root_is_here_license_2() {
    let now = SystemClock.now().epoch_seconds();
    for exp in [now + 6 * DAY, now - DAY] {
        for way in ["a running server", "a start", "keys reload", "keys generate"] {
            let installation = Installation::new(&[]).await;
            let app = with_an_end(&installation, exp).await;
            match way {
                "a running server" => follow_keys(&app).await.unwrap(),
                "a start" => drop(installation.start().await.unwrap()),
                _ => {
                    let done = keys(&installation, &[&way["keys ".len()..]]);
                    assert!(done.code == 0 && done.out.contains("is up to date"), "{done:?}");
                    assert_eq!(done.err, "", "{way}");
                }
            }
            let bundle = json(&keys(&installation, &["bundle", "show"]));
            assert_eq!(bundle["exp"], Value::Null, "{way}, {}", exp - now);
        }
    }
}

#[tokio::test]
async fn the_operator_is_warned_of_the_end_of_a_bundle_if_the_root_is_elsewhere() {
    let now = SystemClock.now().epoch_seconds();
    for (exp, warning) in [(now + 6 * DAY, " ends at "), (now - DAY, " ended at ")] {
        let installation = Installation::new(&[]).await;
        let app = with_an_end(&installation, exp).await;
        fs::rename(installation.keys().join(ROOT_FILE), installation.directory.path().join("root"))
            .unwrap();
        follow_keys(&app).await.unwrap();
        assert_eq!(claims_of(&app).exp, Some(exp));
        app.store.close().await;
        for command in [&["list"][..], &["list", "--json"], &["reload"]] {
            let done = keys(&installation, command);
            assert_eq!(done.code, 0, "{done:?}");
            let is_said =
                done.err.contains("warning: the key bundle") && done.err.contains(warning);
            assert!(is_said && done.err.contains("Sign a new one"), "{command:?} {done:?}");
            assert!(!done.out.contains("up to date"), "{done:?}");
        }
        let log = fs::File::create(installation.directory.path().join("server.log")).unwrap();
        let url = secrecy::ExposeSecret::expose_secret(&installation.config.database_url);
        let mut serve = licentia(installation.directory.path());
        serve.arg("serve").env("LICENTIA_LISTEN", "127.0.0.1:0").env("LICENTIA_DATABASE_URL", url);
        let server = Server::run(serve.stderr(log), installation.directory.path());
        assert_eq!(server.client.get("/.well-known/license-keys").await.status, 200);
        assert_eq!(server.stop(), Some(0));
        let log = fs::read_to_string(installation.directory.path().join("server.log")).unwrap();
        assert!(log.contains("WARN") && log.contains(warning), "{log}");
    }
}

#[tokio::test]
async fn a_server_that_never_had_the_root_key_takes_in_a_first_bundle() {
    let other = Installation::new(&[]).await;
    other.start().await.unwrap();
    let pem = fs::read_to_string(other.key_file()).unwrap();
    let installation = Installation::new(&[("LICENTIA_SIGNING_KEY", &pem)]).await;
    let app = installation.start().await.unwrap();
    let safe = tempfile::tempdir().unwrap();
    let at_home = |arguments: &[&str]| run(licentia(safe.path()).args(arguments));
    assert_eq!(at_home(&["keys", "root", "init", "--out", "root.key"]).code, 0);
    let root = at_home(&["keys", "root", "export", "--in", "root.key"]);
    fs::write(installation.directory.path().join("root.json"), &root.out).unwrap();
    let unsigned = json(&keys(&installation, &["bundle", "show", "--unsigned"]));
    fs::write(safe.path().join("unsigned.json"), unsigned.to_string()).unwrap();
    let arguments = ["keys", "bundle", "sign", "--root-key", "root.key", "--in", "unsigned.json"];
    let private = fs::read_to_string(safe.path().join("root.key")).unwrap();
    let over = run(licentia(safe.path()).args(arguments).args(["--out", "root.key"]));
    assert!(over.code == 1 && over.err.contains("exists and is no key bundle"), "{}", over.err);
    assert_eq!(fs::read_to_string(safe.path().join("root.key")).unwrap(), private);
    for _ in 0..2 {
        let signed = run(licentia(safe.path()).args(arguments).args(["--out", "keys.jwt"]));
        assert_eq!(signed.code, 0, "{}", signed.err);
    }
    fs::copy(safe.path().join("keys.jwt"), installation.directory.path().join("keys.jwt")).unwrap();
    let unknown = keys(&installation, &["bundle", "import", "keys.jwt"]);
    assert!(unknown.err.contains("no root key is known yet"), "{}", unknown.err);
    let imported =
        keys(&installation, &["bundle", "import", "keys.jwt", "--public-root", "root.json"]);
    assert_eq!(imported.code, 0, "{}", imported.err);
    follow_keys(&app).await.unwrap();
    issue_a_license(&app).await;
    let license = issue(&app, &customer(&app).await).await;
    let apps = Apps::new(&app, app.now()).await;
    assert_eq!(apps.verdicts(license.token.expose(), app.now()), [None, None]);
    assert!(!installation.keys().exists(), "a folder was made");
}

#[tokio::test]
async fn the_bundle_and_the_key_set_are_cached_and_found_license_2() {
    let app = TestApp::start().await;
    let found = app.client.get("/.well-known/licentia").await;
    assert!(found.text("/keys_uri").ends_with("/.well-known/license-keys"));
    for (path, kind) in [
        ("/.well-known/license-keys", "application/jwt"),
        ("/.well-known/jwks.json", "application/json; charset=utf-8"),
    ] {
        let first = app.client.get(path).await;
        assert_eq!((first.status, first.header("content-type")), (200, kind));
        let cached = format!("public, max-age={CACHE_SECONDS}");
        assert_eq!(first.header("cache-control"), cached);
        let tag = first.header("etag").to_owned();
        for (known, status) in [
            (tag.clone(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"old\", {tag}"), 304),
            ("*".to_owned(), 304),
            ("\"old\"".to_owned(), 200),
        ] {
            let url = format!("{}{path}", app.client.base);
            let request = reqwest::Client::new().get(url).header("if-none-match", &known);
            let response = request.send().await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{path} {known}");
            assert_eq!(response.headers()["etag"], tag.as_str());
            let is_empty = response.bytes().await.unwrap().is_empty();
            assert_eq!(is_empty, status == 304);
        }
    }
    let license = app.sign_up("ada@example.com").await;
    let bearer = app.client.with_token(license.text("/license/token"));
    let refreshed = bearer.post("/api/licenses/refresh", &serde_json::json!({})).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let published = app.client.get("/.well-known/license-keys").await.text;
    assert_eq!(refreshed.text("/keys"), published);
    let root = KeySet::from_root(&root_of(&app.app).await, "acme-app").unwrap();
    let (token, now) = (refreshed.text("/token"), app.app.now());
    assert_eq!(verdict(&root, token, Some(&published), now), None);
}

#[tokio::test]
async fn a_server_without_a_root_key_has_no_bundle() {
    let other = Installation::new(&[]).await;
    other.start().await.unwrap();
    let pem = fs::read_to_string(other.key_file()).unwrap();
    let app = TestApp::start_with(&[("LICENTIA_SIGNING_KEY", &pem)]).await;
    assert_eq!(app.client.get("/.well-known/license-keys").await.status, 404);
    let found = app.client.get("/.well-known/licentia").await;
    assert_eq!(found.body["keys_uri"], Value::Null);
}
