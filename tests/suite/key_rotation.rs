//! Rotation of the signing keys under running servers: no app ever refuses a license, whether it
//! pins the root key or caches the key set. The root key and the bundle are in `key_bundle.rs`, key
//! files in `keys.rs`.

use std::fs;
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
use licentia::flows::license::{follow_keys, refresh};
use licentia::flows::operator::licenses::{self, Grant};
use licentia::keys::{KeyRing, bundle};
use licentia::random::Random;
use licentia_verify::{KeySet, Request};
use serde_json::Value;

use crate::harness::database::execute;
use crate::harness::process::{Server, licentia, run, serve};
use crate::harness::{TestDatabase, until};
use crate::key_bundle::{json, keys};
use crate::keys::{Place, issue_a_license};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// A clock that a test sets.
#[derive(Clone)]
pub struct Hands {
    time: Arc<AtomicI64>,
    ahead: i64,
}

impl Hands {
    pub fn now_at(time: Timestamp) -> Self {
        Self { time: Arc::new(AtomicI64::new(time.epoch_seconds())), ahead: 0 }
    }

    /// The clock of another server, which is wrong by this many seconds.
    pub fn wrong_by(&self, ahead: i64) -> Self {
        Self { ahead, ..self.clone() }
    }

    pub fn advance(&self, seconds: i64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::saturating(self.time.load(Ordering::SeqCst) + self.ahead)
    }
}

/// Returns the root key as a JWK, as an app pins it.
pub async fn root_of(app: &App) -> String {
    let stored = StoredKeys::read(&mut app.store.read().await.unwrap()).await.unwrap();
    serde_json::to_string(&stored.root.unwrap().jwk()).unwrap()
}

pub fn claims_of(app: &App) -> BundleClaims {
    bundle::read(&app.keys.bundle().unwrap()).unwrap()
}

/// Returns the customer who signed up in [`issue_a_license`].
pub async fn customer(app: &App) -> CustomerId {
    let email = "ada@example.com".parse().unwrap();
    let customer = app.store.read().await.unwrap().customer_by_email(&email).await.unwrap();
    customer.unwrap().customer_id
}

pub async fn issue(app: &App, customer_id: &CustomerId) -> IssuedLicense {
    let plan = app.plans.plan("professional").unwrap();
    let grant = Grant { plan, expires: None, extras: Extras::default(), replace: true };
    licenses::grant(app, Actor::Operator, customer_id, &grant).await.unwrap()
}

/// Returns the code of the verdict about a license at a time; none if it is active.
pub fn verdict(keys: &KeySet, token: &str, bundle: Option<&str>, at: Timestamp) -> Option<String> {
    let request = Request { keys: bundle, ..Request::new(token, at.to_system_time()) };
    keys.verdict(&request).0.code.map(|code| code.as_str().to_owned())
}

/// Two apps that fetch the keys as seldom as the caches allow.
pub struct Apps {
    root: KeySet,
    bundle: String,
    jwks: String,
    fetched: Timestamp,
}

impl Apps {
    pub async fn new(server: &App, now: Timestamp) -> Self {
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
    pub fn verdicts(&self, token: &str, now: Timestamp) -> [Option<String>; 2] {
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
        self.servers.each_ref().map(|server| server.keys.signing(server.now()).unwrap().kid.clone())
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
    assert_eq!(restarted.keys.signing(restarted.now()).unwrap().kid, second);
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
async fn a_server_whose_keys_have_all_ended_signs_nothing() {
    let pair = Pair::start().await;
    let server = &pair.servers[0];
    let license = issue(server, &pair.customer_id).await;
    // Another server has the newer key.
    let keys = server.keys.current();
    let mut records = keys.records.clone();
    for record in &mut records {
        record.ends_at = Some(pair.clock.now());
    }
    server.keys.replace(keys.ring.clone(), records, keys.bundle.clone()).unwrap();
    pair.clock.advance(3_600);
    assert!(server.keys.signing(pair.clock.now()).is_err());
    let refreshed = refresh(server, &license.token).await.unwrap();
    assert_eq!(refreshed.token.expose(), license.token.expose(), "apps accept the one they have");
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
    let signs = |app: &App| app.keys.signing(app.now()).unwrap().kid.clone();
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

#[tokio::test]
async fn the_only_key_cannot_be_retired_and_the_list_says_what_signs_when() {
    let place = Place::new(&[]).await;
    let app = place.start().await.unwrap();
    let kid = app.keys.signing(app.now()).unwrap().kid.clone();
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
