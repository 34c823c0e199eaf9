//! Rotation of the signing keys under running servers, and the key bundle: no app ever refuses a
//! license, whether it pins the root key or caches the key set. Key files are in `keys.rs`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::TimeDelta;
use licentia::app::App;
use licentia::app::keys::StoredKeys;
use licentia::clock::{Clock, SystemClock};
use licentia::domain::ids::CustomerId;
use licentia::domain::license::key_bundle::BundleClaims;
use licentia::domain::license::signing_key::CACHE_SECONDS;
use licentia::domain::license::{Extras, IssuedLicense};
use licentia::domain::operator::audit::Actor;
use licentia::domain::time::Timestamp;
use licentia::flows::keys::{mark_revoked, retire};
use licentia::flows::license::follow_keys;
use licentia::flows::operator::licenses::{self, Grant};
use licentia::keys::{KeyRing, ROOT_FILE, RootKey, bundle};
use licentia::random::Random;
use licentia_verify::{KeySet, Request};
use serde_json::Value;

use crate::harness::database::execute;
use crate::harness::process::{Done, Server, licentia, run, serve};
use crate::harness::{TestApp, TestDatabase, until};
use crate::keys::{Place, issue_a_license};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// A clock that a test sets.
#[derive(Clone)]
struct Hands {
    time: Arc<AtomicI64>,
    ahead: i64,
}

impl Hands {
    fn now_at(time: Timestamp) -> Self {
        Self { time: Arc::new(AtomicI64::new(time.epoch_seconds())), ahead: 0 }
    }

    /// The clock of another server, which is wrong by this many seconds.
    fn wrong_by(&self, ahead: i64) -> Self {
        Self { ahead, ..self.clone() }
    }

    fn advance(&self, seconds: i64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::saturating(self.time.load(Ordering::SeqCst) + self.ahead)
    }
}

/// Returns the root key as a JWK, as an app pins it.
async fn root_of(app: &App) -> String {
    let stored = StoredKeys::read(&mut app.store.read().await.unwrap()).await.unwrap();
    serde_json::to_string(&stored.root.unwrap().jwk()).unwrap()
}

fn claims_of(app: &App) -> BundleClaims {
    bundle::read(&app.keys.bundle().unwrap()).unwrap()
}

/// Returns the customer who signed up in [`issue_a_license`].
async fn customer(app: &App) -> CustomerId {
    let email = "ada@example.com".parse().unwrap();
    let customer = app.store.read().await.unwrap().customer_by_email(&email).await.unwrap();
    customer.unwrap().customer_id
}

async fn issue(app: &App, customer_id: &CustomerId) -> IssuedLicense {
    let plan = app.plans.plan("professional").unwrap();
    let grant = Grant { plan, expires: None, extras: Extras::default(), replace: true };
    licenses::grant(app, Actor::Operator, customer_id, &grant).await.unwrap()
}

/// Returns the code of the verdict about a license at a time; none if it is active.
fn verdict(keys: &KeySet, token: &str, bundle: Option<&str>, at: Timestamp) -> Option<String> {
    let request = Request { keys: bundle, ..Request::new(token, at.to_system_time()) };
    keys.verdict(&request).0.code.map(|code| code.as_str().to_owned())
}

/// Two apps that fetch the keys as seldom as the caches allow.
struct Apps {
    root: KeySet,
    bundle: String,
    jwks: String,
    fetched: Timestamp,
}

impl Apps {
    async fn new(server: &App, now: Timestamp) -> Self {
        let root = KeySet::from_root(&root_of(server).await, "acme-app").unwrap();
        let mut apps = Self { root, bundle: String::new(), jwks: String::new(), fetched: now };
        apps.fetch(server, now);
        apps
    }

    fn fetch(&mut self, server: &App, now: Timestamp) {
        self.bundle = server.keys.bundle().unwrap();
        self.jwks = String::from_utf8(server.keys.current().jwks.to_vec()).unwrap();
        self.fetched = now;
    }

    /// Fetches the keys if the caches have run out.
    fn tick(&mut self, server: &App, now: Timestamp) {
        if now >= self.fetched + TimeDelta::seconds(CACHE_SECONDS) {
            self.fetch(server, now);
        }
    }

    /// Returns the codes of the app with the root and of the one with the key set.
    fn verdicts(&self, token: &str, now: Timestamp) -> [Option<String>; 2] {
        let jwks = KeySet::from_jwks(&self.jwks, "acme-app").unwrap();
        [verdict(&self.root, token, Some(&self.bundle), now), verdict(&jwks, token, None, now)]
    }
}

/// Two servers on one database and one directory, whose keys are replaced without a restart.
struct Pair {
    place: Place,
    clock: Hands,
    servers: [App; 2],
    customer_id: CustomerId,
    apps: Apps,
    issued: Vec<IssuedLicense>,
}

impl Pair {
    async fn start() -> Self {
        let place = Place::new(&[]).await;
        let clock = Hands::now_at(SystemClock.now());
        let first = place.start_at(clock.clone()).await.unwrap();
        let second = place.start_at(clock.wrong_by(90)).await.unwrap();
        issue_a_license(&first).await;
        let customer_id = customer(&first).await;
        let apps = Apps::new(&first, clock.now()).await;
        Self { place, clock, servers: [first, second], customer_id, apps, issued: Vec::new() }
    }

    /// As `licentia keys generate` on a machine whose command cannot reach the database.
    fn generate(&self) -> String {
        let random = Random::from_system().unwrap();
        let (file, _) = KeyRing::add(&self.place.config, self.clock.now(), false, &random).unwrap();
        let ring = KeyRing::load(&self.place.config).unwrap().unwrap();
        ring.of_file(&file).unwrap().kid.clone()
    }

    /// Lets time pass. Each server reads the keys every half hour, later than a real one, and
    /// issues a license right before that. Every license must verify in every app.
    async fn live(&mut self, seconds: i64) {
        for step in 0..seconds / (10 * MINUTE) {
            self.clock.advance(10 * MINUTE);
            let now = self.clock.now();
            let server = usize::try_from(step % 2).unwrap();
            self.apps.tick(&self.servers[server], now);
            let issued = issue(&self.servers[server], &self.customer_id).await;
            self.issued.push(issued);
            self.must_verify(self.issued.last().unwrap());
            if step % 3 == 0 {
                self.reload().await;
            }
        }
        self.issued.iter().for_each(|license| self.must_verify(license));
    }

    fn must_verify(&self, license: &IssuedLicense) {
        let verdicts = self.apps.verdicts(license.token.expose(), self.clock.now());
        assert_eq!(verdicts, [None, None], "license {} of {}", license.seq, license.key_id);
    }

    async fn reload(&self) {
        for server in &self.servers {
            follow_keys(server).await.unwrap();
        }
    }

    fn signing(&self) -> [String; 2] {
        self.servers.each_ref().map(|server| server.keys.signing(server.now()).kid.clone())
    }

    /// Returns a forged license: one of the first server that this key signs now.
    fn forged(&self, kid: &str, ring: &KeyRing) -> String {
        let newest = self.issued.last().unwrap().token.expose();
        let claims = licentia_verify::inspect(newest).unwrap().claims;
        let mut claims: licentia_verify::Claims = serde_json::from_value(claims.into()).unwrap();
        claims.iat = self.clock.now().epoch_seconds() - MINUTE;
        claims.nbf = claims.iat;
        ring.key(kid).unwrap().sign(&claims).unwrap().expose().to_owned()
    }
}

#[tokio::test]
async fn no_license_fails_in_a_rotation_under_two_servers_license_2_security_9() {
    let mut pair = Pair::start().await;
    let first = pair.signing()[0].clone();
    let old_ring = KeyRing::load(&pair.place.config).unwrap().unwrap();
    pair.live(HOUR).await;

    let second = pair.generate();
    pair.live(12 * HOUR).await;
    assert_eq!(pair.signing(), [first.clone(), first.clone()], "it was not announced for a day");
    pair.live(16 * HOUR).await;
    assert_eq!(pair.signing(), [second.clone(), second.clone()]);

    // The former key ends: a thief's copy signs nothing that the app with the root accepts.
    let own = pair.servers[0].key_store();
    retire(&own, &first, pair.clock.now()).await.unwrap();
    pair.live(2 * HOUR).await;
    let forged = pair.forged(&first, &old_ring);
    let [by_root, _] = pair.apps.verdicts(&forged, pair.clock.now());
    assert_eq!(by_root.as_deref(), Some("key_not_valid"));

    // Its file may go.
    fs::remove_file(old_ring.key(&first).unwrap().file.as_ref().unwrap()).unwrap();
    pair.live(HOUR).await;
    assert_eq!(pair.signing(), [second.clone(), second.clone()]);
    let later = pair.clock.clone();
    let restarted = pair.place.start_at(later).await.unwrap();
    assert_eq!(restarted.keys.signing(restarted.now()).kid, second);
    assert_eq!(restarted.keys.jwks().keys.len(), 2);
}

#[tokio::test]
async fn every_server_publishes_the_same_bundle_and_the_second_adds_none() {
    let pair = Pair::start().await;
    let [first, second] = &pair.servers;
    assert_eq!(first.keys.bundle(), second.keys.bundle());
    pair.generate();
    let (one, two) = tokio::join!(follow_keys(first), follow_keys(second));
    one.and(two).unwrap();
    pair.reload().await;
    assert_eq!(first.keys.bundle(), second.keys.bundle());
    assert_eq!(claims_of(first).content.keys.len(), 2);
    let before = claims_of(first);
    pair.reload().await;
    assert_eq!(claims_of(first), before);
}

#[tokio::test]
async fn a_key_that_was_retired_or_revoked_elsewhere_signs_nothing_more() {
    for is_revoked in [false, true] {
        let mut pair = Pair::start().await;
        let first = pair.signing()[0].clone();
        let second = pair.generate();
        pair.reload().await;
        pair.clock.advance(2 * DAY);
        // The preferred key of a server that has not noticed: both still know the first one only.
        let third = pair.generate();
        pair.reload().await;
        assert_eq!(pair.signing()[0], second);
        let own = pair.servers[0].key_store();
        if is_revoked {
            assert!(mark_revoked(&own, &second, pair.clock.now()).await.unwrap());
        } else {
            retire(&own, &second, pair.clock.now()).await.unwrap();
        }
        let plan = pair.servers[1].plans.plan("professional").unwrap();
        let grant = Grant { plan, expires: None, extras: Extras::default(), replace: true };
        let refused =
            licenses::grant(&pair.servers[1], Actor::Operator, &pair.customer_id, &grant).await;
        assert_eq!(refused.unwrap_err().code().status(), 503);
        pair.reload().await;
        assert_eq!(pair.signing(), [first.clone(), first.clone()], "{third} was not announced");
        let license = issue(&pair.servers[1], &pair.customer_id).await;
        pair.apps.fetch(&pair.servers[0], pair.clock.now());
        let token = license.token.expose();
        assert_eq!(pair.apps.verdicts(token, pair.clock.now()), [None, None]);
    }
}

#[tokio::test]
async fn a_revoked_key_is_revoked_in_apps_and_a_late_license_of_it_too_license_2() {
    let mut pair = Pair::start().await;
    let first = pair.signing()[0].clone();
    let stolen = KeyRing::load(&pair.place.config).unwrap().unwrap();
    let second = pair.generate();
    pair.reload().await;
    pair.clock.advance(2 * DAY);
    pair.issued.push(issue(&pair.servers[0], &pair.customer_id).await);
    assert!(mark_revoked(&pair.servers[0].key_store(), &first, pair.clock.now()).await.unwrap());
    let forged = pair.forged(&first, &stolen);
    // A license that a server signed with the key meanwhile.
    let kid_of_late = "UPDATE licenses SET key_id = (SELECT MIN(kid) FROM signing_keys
         WHERE revoked_at IS NOT NULL) WHERE superseded_at IS NULL";
    execute(&pair.servers[0].store, kid_of_late).await.unwrap();
    pair.reload().await;
    pair.apps.fetch(&pair.servers[1], pair.clock.now());
    let [by_root, by_jwks] = pair.apps.verdicts(&forged, pair.clock.now());
    assert_eq!(by_root.as_deref(), Some("key_revoked"));
    assert_eq!(by_jwks.as_deref(), Some("unknown_key"));
    let current = pair.servers[0].store.current_license(&pair.customer_id).await.unwrap().unwrap();
    assert_eq!((current.key_id, current.revoked_at), (second, None), "it was not reissued");
}

#[tokio::test]
async fn an_app_from_years_ago_accepts_the_third_successor_and_no_stolen_key_license_2() {
    let mut pair = Pair::start().await;
    let root = pair.apps.root.clone();
    let stolen = KeyRing::load(&pair.place.config).unwrap().unwrap();
    let first = pair.signing()[0].clone();
    for _ in 0..3 {
        pair.generate();
        pair.reload().await;
        pair.clock.advance(400 * DAY);
        let former = pair.signing();
        pair.reload().await;
        assert_ne!(former[0], first);
        let records = pair.servers[0].keys.current().records.clone();
        for record in records.iter().filter(|record| record.is_usable()) {
            if record.kid != former[0] {
                let own = pair.servers[0].key_store();
                retire(&own, &record.kid, pair.clock.now()).await.unwrap();
            }
        }
        pair.reload().await;
    }
    let license = issue(&pair.servers[0], &pair.customer_id).await;
    assert_eq!(claims_of(&pair.servers[0]).content.keys.len(), 4);
    pair.issued.push(license);
    let now = pair.clock.now();
    let file = serde_json::json!({
        "license": pair.issued[0].token.expose(), "keys": pair.servers[1].keys.bundle().unwrap(),
    });
    assert_eq!(verdict(&root, &file.to_string(), None, now), None);
    let forged = pair.forged(&first, &stolen);
    let file = serde_json::json!({
        "license": forged, "keys": pair.servers[1].keys.bundle().unwrap(),
    });
    let code = verdict(&root, &file.to_string(), None, now);
    assert_eq!(code.as_deref(), Some("key_not_valid"));
    // The license was not signed by the root, and the root signs none.
    let unknown = verdict(&root, pair.issued[0].token.expose(), None, now);
    assert_eq!(unknown.as_deref(), Some("unknown_key"));
}

#[tokio::test]
async fn a_key_of_a_fast_clock_signs_licenses_that_apps_with_the_root_accept() {
    for ahead in [2 * HOUR, 400 * DAY] {
        let place = Place::new(&[]).await;
        let clock = Hands::now_at(SystemClock.now());
        place.start_at(clock.wrong_by(ahead)).await.unwrap();
        let app = place.start_at(clock.clone()).await.unwrap();
        issue_a_license(&app).await;
        let license = issue(&app, &customer(&app).await).await;
        let apps = Apps::new(&app, clock.now()).await;
        assert_eq!(apps.verdicts(license.token.expose(), clock.now()), [None, None]);
    }
}

#[tokio::test]
async fn a_restored_database_gets_a_newer_bundle_than_apps_have_seen() {
    let place = Place::new(&[]).await;
    let clock = Hands::now_at(SystemClock.now());
    let app = place.start_at(clock.clone()).await.unwrap();
    let backup = claims_of(&app);
    clock.advance(7 * DAY);
    let random = Random::from_system().unwrap();
    KeyRing::add(&place.config, clock.now(), false, &random).unwrap();
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
    let restored = place.start_at(clock.clone()).await.unwrap();
    assert!(claims_of(&restored).seq > seen.seq);
    assert_eq!(claims_of(&restored).content, seen.content);
}

#[tokio::test]
async fn a_lost_or_damaged_root_key_is_never_replaced_security_7() {
    let place = Place::new(&[]).await;
    let app = place.start().await.unwrap();
    let (root, file) = (root_of(&app).await, place.keys().join(ROOT_FILE));
    let whole = fs::read(&file).unwrap();

    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let refused = place.start().await.err().unwrap().to_string();
    assert!(refused.contains("root.key is damaged") && refused.contains("backup"), "{refused}");
    // A running server continues.
    assert!(follow_keys(&app).await.is_err());
    assert!(app.keys.bundle().is_some());

    fs::remove_file(&file).unwrap();
    let app = place.start().await.unwrap();
    assert!(!file.exists(), "a root key was made silently");
    assert_eq!(root_of(&app).await, root);
    assert!(app.keys.bundle().is_some(), "the stored bundle is published");

    let random = Random::from_system().unwrap();
    RootKey::create(&place.config, None, &random).unwrap();
    let refused = place.start().await.err().unwrap().to_string();
    assert!(refused.contains("is not the root key") && refused.contains("backup"), "{refused}");
}

#[tokio::test]
async fn a_key_from_the_environment_rotates_with_its_former_keys_security_8() {
    let pem = async || {
        let other = Place::new(&[]).await;
        other.start().await.unwrap();
        fs::read_to_string(other.key_file()).unwrap()
    };
    let (first, second) = (pem().await, pem().await);
    let place = Place::new(&[("LICENTIA_SIGNING_KEY", &first)]).await;
    let clock = Hands::now_at(SystemClock.now());
    let app = place.start_at(clock.clone()).await.unwrap();
    issue_a_license(&app).await;
    let signs = |app: &App| app.keys.signing(app.now()).kid.clone();
    let old = signs(&app);
    assert!(!place.keys().exists(), "a folder was made");
    assert!(app.keys.bundle().is_none());

    // Without the former key, its licenses could not be renewed until the new one is announced.
    let mut config = place.config.clone();
    config.signing_key = Some(second.clone().into());
    let place = Place { config, ..place };
    let refused = place.start_at(clock.clone()).await.err().unwrap().to_string();
    assert!(refused.contains(&old) && refused.contains("former_signing_keys"), "{refused}");

    for text in [first.clone(), first.replace('\n', "\\n"), format!("\u{feff}{first}")] {
        let mut config = place.config.clone();
        config.former_signing_keys = Some(text.into());
        let ring = KeyRing::load(&config).unwrap().unwrap();
        assert_eq!(ring.jwks().keys.len(), 2);
    }
    let mut config = place.config.clone();
    config.former_signing_keys = Some(first.into());
    let place = Place { config, ..place };
    let other = app;
    let app = place.start_at(clock.clone()).await.unwrap();
    assert_eq!(signs(&app), old, "the new key was not announced");
    follow_keys(&other).await.unwrap();
    assert_eq!(other.keys.jwks().keys.len(), 2, "a server without the new key publishes it");
    clock.advance(2 * DAY);
    assert_ne!(signs(&app), old);
    retire(&app.key_store(), &old, clock.now()).await.unwrap();
    let mut config = place.config.clone();
    config.former_signing_keys = None;
    let place = Place { config, ..place };
    let app = place.start_at(clock).await.unwrap();
    assert_eq!(app.keys.jwks().keys.len(), 2, "the retired key stays published");
}

/// Runs `licentia keys …` on the database of a place.
fn keys(place: &Place, arguments: &[&str]) -> Done {
    let url = secrecy::ExposeSecret::expose_secret(&place.config.database_url).to_owned();
    run(licentia(place.directory.path())
        .arg("keys")
        .args(arguments)
        .env("LICENTIA_DATABASE_URL", url))
}

fn json(done: &Done) -> Value {
    assert_eq!(done.code, 0, "{}", done.err);
    serde_json::from_str(&done.out).unwrap()
}

#[tokio::test]
async fn the_root_key_is_kept_off_the_server_by_exchanging_files_license_2() {
    let place = Place::new(&[]).await;
    let clock = Hands::now_at(SystemClock.now());
    let app = place.start_at(clock.clone()).await.unwrap();
    issue_a_license(&app).await;
    let first = app.keys.signing(app.now()).kid.clone();
    let safe = tempfile::tempdir().unwrap();
    let (root, server) = (safe.path().join("root.key"), place.directory.path());
    fs::rename(place.keys().join(ROOT_FILE), &root).unwrap();

    let made = keys(&place, &["generate"]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.out.contains("sign the new key bundle"), "{}", made.out);
    follow_keys(&app).await.unwrap();
    assert_eq!(claims_of(&app).content.keys.len(), 1);
    clock.advance(3 * DAY);
    assert_eq!(app.keys.signing(app.now()).kid, first, "the bundle lacks the new key");
    let shown = keys(&place, &["root", "show"]);
    assert!(shown.out.contains("Its private part is not on this server."), "{}", shown.out);

    let unsigned = json(&keys(&place, &["bundle", "show", "--unsigned"]));
    fs::write(safe.path().join("unsigned.json"), unsigned.to_string()).unwrap();
    let sign = |unsigned: &str, root: &str| {
        let arguments = ["keys", "bundle", "sign", "--root", root, "--in", unsigned];
        run(licentia(safe.path()).args(arguments).args(["--out", "keys.jwt"]))
    };
    let signed = sign("unsigned.json", "root.key");
    assert_eq!(signed.code, 0, "{}", signed.err);
    fs::copy(safe.path().join("keys.jwt"), server.join("keys.jwt")).unwrap();
    let imported = keys(&place, &["bundle", "import", "keys.jwt"]);
    assert_eq!(imported.code, 0, "{}", imported.err);
    let again = keys(&place, &["bundle", "import", "keys.jwt"]);
    assert!(again.code == 1 && again.err.contains("its seq is"), "{}", again.err);

    clock.advance(1);
    follow_keys(&app).await.unwrap();
    let later = Hands::now_at(SystemClock.now());
    later.advance(2 * DAY);
    let app = place.start_at(later.clone()).await.unwrap();
    assert_ne!(app.keys.signing(app.now()).kid, first);
    let license = issue(&app, &customer(&app).await).await;
    let apps = Apps::new(&app, later.now()).await;
    assert_eq!(apps.verdicts(license.token.expose(), later.now()), [None, None]);
    refused_bundles(&place, safe.path(), &sign);
}

/// Bundles that would make apps refuse licenses, or that another root signed, are refused.
fn refused_bundles(place: &Place, safe: &Path, sign: &dyn Fn(&str, &str) -> Done) {
    let thief = run(licentia(safe).args(["keys", "root", "init", "--out", "thief.key"]));
    assert_eq!(thief.code, 0, "{}", thief.err);
    let published = json(&keys(place, &["bundle", "show"]));
    let next = published["seq"].as_i64().unwrap() + 1_000_000;
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
    ] {
        fs::write(safe.join("bad.json"), claims.to_string()).unwrap();
        let signed = sign("bad.json", root);
        assert_eq!(signed.code, 0, "{name}: {}", signed.err);
        fs::copy(safe.join("keys.jwt"), place.directory.path().join("bad.jwt")).unwrap();
        let refused = keys(place, &["bundle", "import", "bad.jwt"]);
        assert_eq!(refused.code, 1, "{name}: {}", refused.out);
        assert!(refused.err.contains(reason), "{name}: {reason}\nis not in\n{}", refused.err);
    }
    fs::write(safe.join("bad.json"), "{}").unwrap();
    assert!(sign("bad.json", "root.key").err.contains("has no claims of a key bundle"));
    fs::write(place.directory.path().join("bad.jwt"), "no bundle").unwrap();
    let refused = keys(place, &["bundle", "import", "bad.jwt"]);
    assert!(refused.err.contains("it is not a key bundle"), "{}", refused.err);
}

#[tokio::test]
async fn a_server_that_never_had_the_root_key_takes_in_a_first_bundle() {
    let other = Place::new(&[]).await;
    other.start().await.unwrap();
    let pem = fs::read_to_string(other.key_file()).unwrap();
    let place = Place::new(&[("LICENTIA_SIGNING_KEY", &pem)]).await;
    let app = place.start().await.unwrap();
    let safe = tempfile::tempdir().unwrap();
    let at_home = |arguments: &[&str]| run(licentia(safe.path()).args(arguments));
    assert_eq!(at_home(&["keys", "root", "init", "--out", "root.key"]).code, 0);
    let root = at_home(&["keys", "root", "export", "--in", "root.key"]);
    fs::write(place.directory.path().join("root.json"), &root.out).unwrap();
    let unsigned = json(&keys(&place, &["bundle", "show", "--unsigned"]));
    fs::write(safe.path().join("unsigned.json"), unsigned.to_string()).unwrap();
    let arguments = ["keys", "bundle", "sign", "--root", "root.key", "--in", "unsigned.json"];
    let signed = run(licentia(safe.path()).args(arguments).args(["--out", "keys.jwt"]));
    assert_eq!(signed.code, 0, "{}", signed.err);
    fs::copy(safe.path().join("keys.jwt"), place.directory.path().join("keys.jwt")).unwrap();
    let unknown = keys(&place, &["bundle", "import", "keys.jwt"]);
    assert!(unknown.err.contains("no root key is known yet"), "{}", unknown.err);
    let imported = keys(&place, &["bundle", "import", "keys.jwt", "--root", "root.json"]);
    assert_eq!(imported.code, 0, "{}", imported.err);
    follow_keys(&app).await.unwrap();
    issue_a_license(&app).await;
    let license = issue(&app, &customer(&app).await).await;
    let apps = Apps::new(&app, app.now()).await;
    assert_eq!(apps.verdicts(license.token.expose(), app.now()), [None, None]);
    assert!(!place.keys().exists(), "a folder was made");
}

#[tokio::test]
async fn the_only_key_cannot_be_retired_and_the_list_says_what_signs_when() {
    let place = Place::new(&[]).await;
    let app = place.start().await.unwrap();
    let kid = app.keys.signing(app.now()).kid.clone();
    let refused = keys(&place, &["retire", &kid]);
    assert!(refused.code == 1 && refused.err.contains("no other key may sign yet"), "{refused:?}");
    assert_eq!(keys(&place, &["generate"]).code, 0);
    assert_eq!(keys(&place, &["retire", &kid]).code, 1, "the new key was not announced");
    let now = keys(&place, &["generate", "--now"]);
    assert_eq!(now.code, 0, "{}", now.err);
    let retired = keys(&place, &["retire", &kid]);
    assert_eq!(retired.code, 0, "{}", retired.err);
    let list = json(&keys(&place, &["list", "--json"]));
    let states = |list: &Value| -> Vec<String> {
        let keys = list["keys"].as_array().unwrap().iter();
        keys.map(|key| key["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&list), ["retired", "next", "signing"]);
    assert!(list["keys"][0]["ends_at"].is_string());
    let third = list["keys"][2]["kid"].as_str().unwrap();
    let revoked = keys(&place, &["revoke", third]);
    assert_eq!(revoked.code, 0, "{}", revoked.err);
    let list = json(&keys(&place, &["list", "--json"]));
    assert_eq!(states(&list), ["retired", "next", "revoked", "signing"]);
    // What the command line issues verifies on the running server at once it follows.
    follow_keys(&app).await.unwrap();
    assert_eq!(app.keys.signing(app.now()).kid, list["keys"][3]["kid"].as_str().unwrap());
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
    let other = Place::new(&[]).await;
    other.start().await.unwrap();
    let pem = fs::read_to_string(other.key_file()).unwrap();
    let app = TestApp::start_with(&[("LICENTIA_SIGNING_KEY", &pem)]).await;
    assert_eq!(app.client.get("/.well-known/license-keys").await.status, 404);
    let found = app.client.get("/.well-known/licentia").await;
    assert_eq!(found.body["keys_uri"], Value::Null);
}

#[tokio::test]
async fn a_running_server_follows_new_retired_and_revoked_keys_on_sighup() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let server = Server::start(directory.path(), &database, &[]);
    let log = || fs::read_to_string(directory.path().join("server.log")).unwrap();
    assert!(log().contains("the root key is on this server"), "{}", log());
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
    assert!(log().contains("SIGHUP"), "{}", log());
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
