//! Two servers on one database and one directory, whose keys are replaced without a restart, and
//! apps that fetch the keys seldom.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::TimeDelta;
use licentia::app::App;
use licentia::app::keys::StoredKeys;
use licentia::clock::{Clock, SystemClock};
use licentia::domain::ids::CustomerId;
use licentia::domain::license::key_bundle::BundleClaims;
use licentia::domain::license::{Extras, IssuedLicense};
use licentia::domain::operator::audit::Actor;
use licentia::domain::time::Timestamp;
use licentia::flows::license::keys::follow_keys;
use licentia::flows::operator::licenses::{self, Grant};
use licentia::keys::{KeyRing, bundle};
use licentia::random::Random;
use licentia_verify::{Claims, KeySet, Request};

use crate::keys::{Installation, issue_a_license};

pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 3600;
pub const DAY: i64 = 86_400;

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

/// How often an app fetches the keys, in seconds. A cache on the way may keep them so long.
const FETCHED_EVERY: i64 = HOUR;

/// Two apps that fetch the keys every hour.
pub struct Apps {
    pub root: KeySet,
    pub bundle: String,
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

    /// Fetches the keys.
    pub fn fetch(&mut self, server: &App, now: Timestamp) {
        self.bundle = server.keys.bundle().unwrap();
        self.jwks = String::from_utf8(server.keys.current().jwks.to_vec()).unwrap();
        self.fetched = now;
    }

    /// Fetches the keys if that is due.
    fn tick(&mut self, server: &App, now: Timestamp) {
        if now >= self.fetched + TimeDelta::seconds(FETCHED_EVERY) {
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
pub struct Pair {
    pub place: Installation,
    pub clock: Hands,
    pub servers: [App; 2],
    pub customer_id: CustomerId,
    pub apps: Apps,
    pub issued: Vec<IssuedLicense>,
}

impl Pair {
    pub async fn start() -> Self {
        let place = Installation::new(&[]).await;
        let clock = Hands::now_at(SystemClock.now());
        let first = place.start_at(clock.clone()).await.unwrap();
        let second = place.start_at(clock.wrong_by(90)).await.unwrap();
        issue_a_license(&first).await;
        let customer_id = customer(&first).await;
        let apps = Apps::new(&first, clock.now()).await;
        Self { place, clock, servers: [first, second], customer_id, apps, issued: Vec::new() }
    }

    /// Starts with a key that somebody stole, and another one that signs since. Returns the ids of
    /// both, and the stolen ring.
    pub async fn with_stolen_key() -> (Self, [String; 2], KeyRing) {
        let mut pair = Self::start().await;
        let first = pair.signing()[0].clone();
        let stolen = KeyRing::load(&pair.place.config).unwrap().unwrap();
        let second = pair.generate();
        pair.reload().await;
        pair.clock.advance(2 * DAY);
        pair.issued.push(issue(&pair.servers[0], &pair.customer_id).await);
        (pair, [first, second], stolen)
    }

    /// As `licentia keys generate` on a machine whose command cannot reach the database.
    pub fn generate(&self) -> String {
        self.generate_at(self.clock.now())
    }

    /// As [`Self::generate`] on a machine whose clock says this time.
    pub fn generate_at(&self, now: Timestamp) -> String {
        let random = Random::from_system().unwrap();
        let (file, _) = KeyRing::add(&self.place.config, now, false, &random).unwrap();
        let ring = KeyRing::load(&self.place.config).unwrap().unwrap();
        ring.of_file(&file).unwrap().kid.clone()
    }

    /// Lets time pass. Each server reads the keys every half hour, later than a real one, and
    /// issues a license right before that. Every license must verify in every app.
    pub async fn live(&mut self, seconds: i64) {
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

    /// Lets time pass on the first server, which reads the keys every ten minutes and issues a
    /// license right before that. Every license must verify in every app.
    pub async fn live_on_the_first(&mut self, seconds: i64) {
        for _ in 0..seconds / (10 * MINUTE) {
            self.clock.advance(10 * MINUTE);
            self.apps.tick(&self.servers[0], self.clock.now());
            let issued = issue(&self.servers[0], &self.customer_id).await;
            self.must_verify(&issued);
            self.issued.push(issued);
            follow_keys(&self.servers[0]).await.unwrap();
        }
        self.issued.iter().for_each(|license| self.must_verify(license));
    }

    pub fn must_verify(&self, license: &IssuedLicense) {
        let verdicts = self.apps.verdicts(license.token.expose(), self.clock.now());
        assert_eq!(verdicts, [None, None], "license {} of {}", license.seq, license.key_id);
    }

    pub async fn reload(&self) {
        for server in &self.servers {
            follow_keys(server).await.unwrap();
        }
    }

    pub fn signing(&self) -> [String; 2] {
        self.servers.each_ref().map(|server| server.keys.signing(server.now()).unwrap().kid.clone())
    }

    /// Returns a forged license: the last one that was issued, which this key signs now.
    pub fn forged(&self, kid: &str, ring: &KeyRing) -> String {
        self.forged_at(kid, ring, self.clock.now())
    }

    /// Returns a forged license like [`Self::forged`], which is dated at this time.
    pub fn forged_at(&self, kid: &str, ring: &KeyRing, at: Timestamp) -> String {
        let newest = self.issued.last().unwrap().token.expose();
        let iat = at.epoch_seconds() - MINUTE;
        let claims = Claims { iat, nbf: iat, ..claims(newest) };
        ring.key(kid).unwrap().sign(&claims).unwrap().expose().to_owned()
    }
}

/// Returns the claims of a license.
pub fn claims(token: &str) -> Claims {
    serde_json::from_value(licentia_verify::inspect(token).unwrap().claims.into()).unwrap()
}
