//! Everything a flow needs, in one place, and how it starts.

use std::sync::Arc;

use bytes::Bytes;
use licentia_verify::KeySet;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::{Config, Origin};
use crate::domain::plan::Catalog;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::{FailPoints, Place};
use crate::intake::Intake;
use crate::keys::KeyRing;
use crate::looks::Looks;
use crate::mailer::Mailer;
use crate::passwords::Passwords;
use crate::plans;
use crate::random::Random;
use crate::store::{IfMissing, Store};
use crate::stripe::Stripe;
use crate::tasks::Tasks;

/// The running service. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The signing keys.
    pub keys: KeyRing,
    /// What the server itself verifies licenses with: the keys that it publishes. Whoever they
    /// were issued by, under whatever URL, these keys are ours.
    pub trusted: KeySet,
    /// The key set as JSON, as it is published.
    pub jwks: Bytes,
    /// What is sold.
    pub plans: Catalog,
    /// The `iss` of every license.
    pub issuer: String,
    /// Where mails go.
    pub mailer: Mailer,
    /// Told when something was written into the outbox.
    pub mail_due: Notify,
    /// The account at Stripe; none sells nothing.
    pub stripe: Option<Stripe>,
    /// Where checkout and portal may return to; the first is the server's own.
    pub return_origins: Vec<Origin>,
    /// Takes webhooks in.
    pub intake: Intake,
    /// When customers last made us look at Stripe.
    pub looks: Looks,
    /// Told when something was written into the inbox.
    pub events_due: Notify,
    /// Password hashing.
    pub passwords: Passwords,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Random,
    /// Work that goes on when whoever asked for it hangs up.
    pub tasks: Tasks,
    /// Where it may die, in a test.
    pub fail_points: FailPoints,
}

/// What is around an [`App`] and shared with others, or stood in for by a double.
pub struct Surroundings {
    /// The database.
    pub store: Store,
    /// The account at Stripe, if there is one.
    pub stripe: Option<Stripe>,
    /// Where mails go.
    pub mailer: Mailer,
    /// Password hashing.
    pub passwords: Passwords,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Random,
    /// Work that goes on when whoever asked for it hangs up.
    pub tasks: Tasks,
    /// Where it may die, in a test.
    pub fail_points: FailPoints,
}

impl Surroundings {
    /// The real ones, as configured.
    ///
    /// # Errors
    /// [`Error::Setup`] when what is configured cannot be.
    pub fn real(
        config: &Config,
        store: Store,
        clock: Arc<dyn Clock>,
        random: Random,
    ) -> Result<Self> {
        let stripe = config.stripe.as_ref().map(|stripe| Stripe::new(stripe, clock.clone()));
        Ok(Self {
            store,
            stripe: stripe.transpose()?,
            mailer: Mailer::new(config)?,
            passwords: Passwords::default(),
            clock,
            random,
            tasks: Tasks::default(),
            fail_points: FailPoints::from_environment(),
        })
    }
}

impl App {
    /// For the server: opens the database, brings its schema up, loads the plans and the keys, and
    /// makes the first key when there is none and never was.
    ///
    /// # Errors
    /// [`Error::Setup`] with what must be mended before the server can run.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>, random: Random) -> Result<Self> {
        Files::read(config)?.start(config, clock, random).await
    }

    /// For an operator's command: uses what is there, and makes nothing.
    ///
    /// # Errors
    /// [`Error::Setup`] when the database, its newest schema, or a key is missing.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>, random: Random) -> Result<Self> {
        let Files { plans, keys } = Files::read(config)?;
        let store = Store::open(&config.database_url, IfMissing::Refuse).await?;
        store.must_be_current().await?;
        let keys = keys.ok_or_else(|| {
            let directory = config.keys_dir.display();
            Error::setup(format!(
                "there is no signing key in {directory}; `licentia keys generate` or \
                 `licentia serve` makes it"
            ))
        })?;
        Self::new(config, plans, keys, Surroundings::real(config, store, clock, random)?)
    }

    /// Of these parts.
    ///
    /// # Errors
    /// [`Error::Internal`] when our own key set does not parse, which must not happen.
    pub fn new(
        config: &Config,
        plans: Catalog,
        keys: KeyRing,
        around: Surroundings,
    ) -> Result<Self> {
        let issuer = plans.issuer.clone().unwrap_or_else(|| config.public_url.to_string());
        let jwks = serde_json::to_vec(&keys.jwks());
        let jwks = jwks.map_err(|error| Error::Internal(error.to_string()))?;
        let trusted = keys.key_set(plans.product.as_str())?;
        let own = [config.public_url.clone()];
        Ok(Self(Arc::new(Parts {
            store: around.store,
            keys,
            trusted,
            jwks: jwks.into(),
            plans,
            issuer,
            mailer: around.mailer,
            mail_due: Notify::new(),
            stripe: around.stripe,
            return_origins: own.into_iter().chain(config.return_origins.clone()).collect(),
            intake: Intake::default(),
            looks: Looks::default(),
            events_due: Notify::new(),
            passwords: around.passwords,
            clock: around.clock,
            random: around.random,
            tasks: around.tasks,
            fail_points: around.fail_points,
        })))
    }

    /// The account at Stripe.
    ///
    /// # Errors
    /// [`Error::BillingNotConfigured`].
    pub fn stripe(&self) -> Result<&Stripe> {
        self.0.stripe.as_ref().ok_or(Error::BillingNotConfigured)
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The files that a server is started from.
pub struct Files {
    plans: Catalog,
    /// None when there is no key yet.
    keys: Option<KeyRing>,
}

impl Files {
    /// Reads the plans and the keys. Nothing is written.
    ///
    /// # Errors
    /// [`Error::Setup`] with every problem of both at once.
    pub fn read(config: &Config) -> Result<Self> {
        match (plans::load(config.plans_file.as_deref()), KeyRing::load(config)) {
            (Ok(plans), Ok(keys)) => Ok(Self { plans, keys }),
            (Err(Error::Setup(mut problems)), Err(Error::Setup(more))) => {
                problems.extend(more);
                Err(Error::Setup(problems))
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// The rest of [`App::start`].
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start(
        self,
        config: &Config,
        clock: Arc<dyn Clock>,
        random: Random,
    ) -> Result<App> {
        let store = Store::open(&config.database_url, IfMissing::Create).await?;
        store.migrate_up().await?;
        let points = FailPoints::from_environment();
        store.end_leases_of_the_dead(points.at(Place::LeasesEnded)).await?;
        let keys = usable_keys(config, self.keys, &store, clock.now(), &random).await?;
        App::new(config, self.plans, keys, Surroundings::real(config, store, clock, random)?)
    }
}

/// A key that is missing while licenses are in the field is never replaced silently: that would
/// leave them all unverifiable.
async fn usable_keys(
    config: &Config,
    keys: Option<KeyRing>,
    store: &Store,
    now: Timestamp,
    random: &Random,
) -> Result<KeyRing> {
    let mut tx = store.read().await?;
    let in_the_field = tx.keys_in_the_field(now).await?;
    let directory = &config.keys_dir;
    if let Some(ring) = keys {
        ring.must_hold(&in_the_field, directory)?;
        return ring.with_the_right_clock(config, now);
    }
    if tx.has_licenses().await? {
        return Err(Error::setup(format!(
            "there is no signing key in {0}, but licenses were issued: restore the key files to \
             {0} from a backup. If they are lost for good, `licentia keys generate` makes a new \
             one, and the next start says which to revoke",
            directory.display()
        )));
    }
    KeyRing::generate_first(config, now, random)?;
    let ring = KeyRing::load(config)?;
    ring.ok_or_else(|| Error::Internal("the key just made is not there".into()))
}
