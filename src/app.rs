//! The app: everything that a flow needs, and how it starts. It decides nothing about customers.

pub mod command;
mod identity;
pub mod keys;
mod published_keys;
mod revoked_files;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, OnceCell};

use crate::app::command::CommandDatabase;
use crate::clock::Clock;
use crate::config::{Config, Origin, ReturnOrigin};
use crate::domain::account::signup::Verification;
use crate::domain::message::{Language, Templates};
use crate::domain::sale::plan::Catalog;
use crate::domain::secret::HashKey;
use crate::domain::server_identity::ServerIdentity;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::{FailPoints, Place};
use crate::intake::Intake;
use crate::keys::{KeyRing, Keys};
use crate::mailer::Mailer;
use crate::metrics::Metrics;
use crate::outgoing::Outgoing;
use crate::passwords::Passwords;
use crate::plans;
use crate::random::Random;
use crate::status_lists::StatusLists;
use crate::store::{IfMissing, Store};
use crate::stripe::Stripe;
use crate::sync_limit::SyncLimit;
use crate::tasks::Tasks;
use crate::templates;

/// The running service. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The signing keys, which change while the server runs.
    pub keys: Keys,
    /// Notified when the keys must be read again at once.
    pub keys_due: Notify,
    /// The plans.
    pub plans: Catalog,
    /// The URL at which clients reach the server. Links in mails begin with it.
    pub public_url: Origin,
    /// The `iss` of every license.
    pub issuer: String,
    /// The templates of mails.
    pub templates: Templates,
    /// The language of mails to customers whose language is unknown.
    pub language: Language,
    /// The mailer.
    pub mailer: Mailer,
    /// Notified when a mail was added to the outbox.
    pub mail_due: Notify,
    /// Delivers outgoing webhooks.
    pub outgoing: Outgoing,
    /// Notified when a delivery was replayed.
    pub deliveries_due: Notify,
    /// The Stripe account. Without one, selling is off.
    pub stripe: Option<Stripe>,
    /// The origins that checkout and portal may return to and that may call the API, with the
    /// server's own.
    pub return_origins: Vec<ReturnOrigin>,
    /// The webhook deliveries that wait to be stored.
    pub intake: Intake,
    /// Limits the syncs that license requests cause.
    pub sync_limit: SyncLimit,
    /// The signed status lists.
    pub status_lists: StatusLists,
    /// Notified when an event was added to the inbox.
    pub events_due: Notify,
    /// Whether a sign-up waits until its address is verified.
    pub signup_verification: Verification,
    /// Password hashing.
    pub passwords: Passwords,
    /// The key of keyed hashes, once it was read from the database.
    pub hash_key: OnceCell<HashKey>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random generator.
    pub random: Random,
    /// The metrics.
    pub metrics: Metrics,
    /// Work that continues after its caller has disconnected.
    pub tasks: Tasks,
    /// The fail points of tests.
    pub fail_points: FailPoints,
}

/// The parts of an [`App`] that are shared with others, or replaced by doubles in tests.
pub struct Surroundings {
    /// The database.
    pub store: Store,
    /// The Stripe account, if there is one.
    pub stripe: Option<Stripe>,
    /// The mailer.
    pub mailer: Mailer,
    /// Delivers outgoing webhooks.
    pub outgoing: Outgoing,
    /// Password hashing.
    pub passwords: Passwords,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random generator.
    pub random: Random,
    /// The metrics.
    pub metrics: Metrics,
    /// Work that continues after its caller has disconnected.
    pub tasks: Tasks,
    /// The fail points of tests.
    pub fail_points: FailPoints,
}

impl Surroundings {
    /// Returns the real surroundings for a configuration.
    ///
    /// # Errors
    /// [`Error::Setup`] when the Stripe key or the mail server's name cannot be used.
    pub fn real(
        config: &Config,
        store: Store,
        clock: Arc<dyn Clock>,
        random: Random,
    ) -> Result<Self> {
        let stripe = config.stripe.as_ref().map(|stripe| Stripe::new(stripe, clock.clone()));
        let metrics = Metrics::default();
        Ok(Self {
            store,
            stripe: stripe.transpose()?,
            mailer: Mailer::new(config)?,
            outgoing: Outgoing::new(config),
            passwords: Passwords::default(),
            clock,
            random,
            tasks: Tasks::new(metrics.background_restarts.clone()),
            metrics,
            fail_points: FailPoints::from_environment(),
        })
    }
}

impl App {
    /// Starts the app of a server: opens and migrates the database, loads the plans and the keys,
    /// and generates the first key if no license was ever issued.
    ///
    /// # Errors
    /// [`Error::Setup`] with everything that must be corrected first.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>, random: Random) -> Result<Self> {
        let app = Files::read(config)?.prepare(config, clock, random).await?;
        app.publish().await?;
        Ok(app)
    }

    /// Records and publishes the keys of a server and its identity, as the last step of its start:
    /// a key that is recorded counts as published, and commands use the identity. A start that a
    /// check stops changes neither.
    ///
    /// # Errors
    /// [`Error::Setup`] when no key may sign, or the root key is damaged or another one.
    pub async fn publish(&self) -> Result<()> {
        self.begin_with_keys().await?;
        self.record_identity(&ServerIdentity::of(&self.keys.config, &self.plans)).await
    }

    /// Opens the app for an operator's command. It creates nothing. Also returns the warnings for
    /// the operator.
    ///
    /// # Errors
    /// [`Error::Setup`] when the database, its newest schema, or a key is missing, or the plans
    /// file is for another product than the server's.
    pub async fn open(
        config: &Config,
        clock: Arc<dyn Clock>,
        random: Random,
    ) -> Result<(Self, Vec<String>)> {
        let mut database = CommandDatabase::open(config).await?;
        let Files { mut plans, keys, templates } = Files::read(&database.config)?;
        database.must_be_of_product(&plans)?;
        plans.issuer = Some(database.issuer(&plans));
        let CommandDatabase { store, config, warnings, .. } = &database;
        let keys = keys.ok_or_else(|| {
            let directory = config.keys_dir.display();
            Error::setup(format!(
                "there is no signing key in {directory}; `licentia keys generate` or \
                 `licentia serve` creates one"
            ))
        })?;
        let around = Surroundings::real(config, store.clone(), clock, random)?;
        let app = Self::new(config, plans, keys, templates, around)?;
        app.read_keys().await?;
        Ok((app, warnings.clone()))
    }

    /// Returns an app of these parts.
    ///
    /// # Errors
    /// [`Error::Internal`] when our own key set does not parse, which must not happen.
    pub fn new(
        config: &Config,
        plans: Catalog,
        keys: KeyRing,
        templates: Templates,
        around: Surroundings,
    ) -> Result<Self> {
        let issuer = ServerIdentity::of(config, &plans).issuer;
        let keys = Keys::new(config, keys, plans.product.as_str())?;
        let own_origin = [config.public_url.clone().into()];
        Ok(Self(Arc::new(Parts {
            store: around.store,
            keys,
            keys_due: Notify::new(),
            plans,
            public_url: config.public_url.clone(),
            issuer,
            templates,
            language: config.email.language,
            mailer: around.mailer,
            mail_due: Notify::new(),
            outgoing: around.outgoing,
            deliveries_due: Notify::new(),
            stripe: around.stripe,
            return_origins: own_origin.into_iter().chain(config.return_origins.clone()).collect(),
            intake: Intake::default(),
            sync_limit: SyncLimit::default(),
            status_lists: StatusLists::default(),
            events_due: Notify::new(),
            signup_verification: config.signup_verification,
            passwords: around.passwords,
            hash_key: OnceCell::new(),
            clock: around.clock,
            random: around.random,
            metrics: around.metrics,
            tasks: around.tasks,
            fail_points: around.fail_points,
        })))
    }

    /// Returns the Stripe account.
    ///
    /// # Errors
    /// [`Error::BillingNotConfigured`] when there is none.
    pub fn stripe(&self) -> Result<&Stripe> {
        self.0.stripe.as_ref().ok_or(Error::BillingNotConfigured)
    }

    /// Returns the time now.
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

/// The files that an app is started from.
pub struct Files {
    plans: Catalog,
    /// `None` when there is no key yet.
    keys: Option<KeyRing>,
    templates: Templates,
}

impl Files {
    /// Reads the plans, the keys and the templates of mails. Nothing is written.
    ///
    /// # Errors
    /// [`Error::Setup`] with the problems of all.
    pub fn read(config: &Config) -> Result<Self> {
        let plans = plans::load(config.plans_file.as_deref());
        let (keys, templates) = (KeyRing::load(config), templates::load(&config.email));
        let mut problems = Vec::new();
        let (plans, keys, templates) = (
            collected(plans, &mut problems)?,
            collected(keys, &mut problems)?,
            collected(templates, &mut problems)?,
        );
        match (plans, keys, templates) {
            (Some(plans), Some(keys), Some(templates)) => Ok(Self { plans, keys, templates }),
            _ => Err(Error::Setup(problems)),
        }
    }

    /// Returns the app of a server that is not published yet: opens and migrates the database, and
    /// reads or generates the keys. Call [`App::publish`] after all other checks.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn prepare(
        self,
        config: &Config,
        clock: Arc<dyn Clock>,
        random: Random,
    ) -> Result<App> {
        let store = Store::open(&config.database_url, IfMissing::Create).await?;
        store.migrate_up().await?;
        let points = FailPoints::from_environment();
        store.end_leases_of_stopped_servers(points.at(Place::LeasesEnded)).await?;
        let keys = usable_keys(config, self.keys, &store, clock.now(), &random).await?;
        let around = Surroundings::real(config, store, clock, random)?;
        App::new(config, self.plans, keys, self.templates, around)
    }
}

/// Returns the result. Moves problems of the setup to `problems`, and returns other errors.
fn collected<T>(result: Result<T>, problems: &mut Vec<String>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Setup(more)) => {
            problems.extend(more);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns the keys, or generates the first one.
///
/// # Errors
/// [`Error::Setup`] when a key of unexpired licenses is missing. A new key never replaces it
/// silently, because those licenses could no longer be verified.
async fn usable_keys(
    config: &Config,
    keys: Option<KeyRing>,
    store: &Store,
    now: Timestamp,
    random: &Random,
) -> Result<KeyRing> {
    let mut tx = store.read().await?;
    let mut in_the_field = tx.keys_in_the_field(now).await?;
    // A retired key no longer signs, and its public part is in the database.
    let records = tx.key_records().await?;
    in_the_field.retain(|kid| records.iter().all(|key| key.kid != *kid || key.ends_at.is_none()));
    let directory = &config.keys_dir;
    if let Some(ring) = keys {
        ring.must_hold(&in_the_field, &records, directory)?;
        return ring.with_the_right_clock(config, now);
    }
    if tx.has_licenses().await? {
        let usable = records.iter().filter(|key| key.is_usable()).map(|key| key.kid.clone());
        in_the_field.extend(usable);
        return Err(no_key(config, in_the_field));
    }
    KeyRing::generate_first(config, now, random)?;
    let ring = KeyRing::load(config)?;
    ring.ok_or_else(|| Error::Internal("the generated key is missing".into()))
}

/// Returns the error that the server has none of its keys, although licenses were issued. `kids`
/// are the ids of the keys that are needed.
fn no_key(config: &Config, mut kids: Vec<String>) -> Error {
    kids.sort();
    kids.dedup();
    let directory = config.keys_dir.display();
    let revoked = KeyRing::revoked_in(config).unwrap_or_default();
    let except = |file: &PathBuf| {
        format!("\n  do not restore the key of {}: it was revoked", file.display())
    };
    let except: String = revoked.iter().map(except).collect();
    let way_out = match kids.as_slice() {
        [] => "run `licentia keys generate`".to_owned(),
        kids => format!(
            "run `licentia keys revoke KID` for each, which makes another key and reissues their \
             licenses: {}",
            kids.join(", ")
        ),
    };
    Error::setup(format!(
        "there is no signing key in {directory}, but licenses were issued: restore the key files \
         to {directory} from a backup, or correct `keys_dir`{except}\n  \
         if they are permanently lost, {way_out}"
    ))
}
