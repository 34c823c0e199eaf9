//! The database of the commands about keys.

use crate::app::command::CommandDatabase;
use crate::app::keys::{KeyStore, StoredKeys, root_key};
use crate::cli::{wait, warn};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::FailPoints;
use crate::keys::{KeyRing, bundle};
use crate::plans;
use crate::random::Random;
use crate::store::Store;

/// The database with the records of the keys.
pub struct KeyDatabase {
    pub store: Store,
    issuer: String,
    fail_points: FailPoints,
}

impl KeyDatabase {
    /// Opens it for a command that only reads.
    ///
    /// # Errors
    /// [`Error::Setup`] when there is no database, or its schema is older.
    pub async fn open(config: &Config) -> Result<Self> {
        Ok(Self::open_and_compare(config).await?.0)
    }

    /// Reads what the database has about the keys; `None` if there is no database yet.
    ///
    /// # Errors
    /// A failure of the database.
    pub fn read_if_there(config: &Config) -> Result<Option<StoredKeys>> {
        let stored = wait(async {
            let database = Self::open(config).await?;
            let stored = database.stored().await;
            database.store.close().await;
            stored
        });
        match stored {
            Ok(stored) => Ok(Some(stored)),
            Err(Error::Setup(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens it for a command that changes something. To be called before any change.
    ///
    /// # Errors
    /// As [`Self::open`], and when the plans file is for another product than the server's.
    pub async fn open_to_change(config: &Config) -> Result<Self> {
        let (own, fits) = Self::open_and_compare(config).await?;
        fits.map(|()| own)
    }

    /// Opens it as [`Self::open_to_change`] does; `None` if it cannot be opened yet.
    ///
    /// # Errors
    /// [`Error::Setup`] when the plans file is for another product than the server's.
    pub async fn open_to_change_if_there(config: &Config) -> Result<Option<Self>> {
        match Self::open_and_compare(config).await {
            Ok((own, fits)) => fits.map(|()| Some(own)),
            Err(Error::Setup(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens it. Returns also whether the plans file is for the server's product.
    async fn open_and_compare(config: &Config) -> Result<(Self, Result<()>)> {
        let plans = plans::load(config.plans_file.as_deref())?;
        let mut database = CommandDatabase::open(config).await?;
        let issuer = database.issuer(&plans);
        warn(&database.warnings);
        let fits = database.must_be_of_product(&plans);
        let fail_points = FailPoints::from_environment();
        Ok((Self { store: database.store, issuer, fail_points }, fits))
    }

    pub fn keys(&self) -> KeyStore<'_> {
        KeyStore { store: &self.store, issuer: &self.issuer, fail_points: &self.fail_points }
    }

    pub async fn stored(&self) -> Result<StoredKeys> {
        StoredKeys::read(&mut self.store.read().await?).await
    }

    /// Records the keys on this machine, as a running server does. Returns them.
    ///
    /// # Errors
    /// As [`KeyRing::load`], or a failure of the database.
    pub async fn register(&self, config: &Config) -> Result<Option<KeyRing>> {
        let ring = KeyRing::load(config)?;
        if let Some(ring) = &ring {
            warn(ring.warnings());
            warn(&self.keys().register(ring, None, SystemClock.now()).await?);
        }
        Ok(ring)
    }

    /// Checks that a key of the servers is on this machine. Otherwise this is the wrong directory,
    /// or all keys are lost. `way_out` continues the advice for lost keys.
    ///
    /// # Errors
    /// [`Error::Setup`] with the missing keys and what to do.
    pub async fn must_share_a_key(&self, config: &Config, way_out: &str) -> Result<()> {
        let (ring, records) = (KeyRing::load(config)?, self.stored().await?.records);
        let has = |kid: &str| ring.as_ref().is_some_and(|ring| ring.key(kid).is_some());
        let is_revoked =
            |kid: &str| ring.as_ref().is_some_and(|ring| ring.revoked_file(kid).is_some());
        let needed = records.iter().filter(|record| record.is_usable() && !is_revoked(&record.kid));
        let needed: Vec<_> = needed.map(|record| record.kid.as_str()).collect();
        if needed.is_empty() || needed.iter().any(|kid| has(kid)) {
            return Ok(());
        }
        Err(Error::setup(format!(
            "no signing key of the servers is in {} or set here: {}\n  \
             run the command with the servers' settings: `keys_dir` (LICENTIA_KEYS_DIR), \
             `signing_key`; or restore the files of the keys from a backup\n  \
             if they are permanently lost, run `licentia keys revoke KID` for each, which makes \
             another key and reissues their licenses{way_out}",
            config.keys_dir.display(),
            needed.join(", ")
        )))
    }

    /// Signs a new bundle if that is due and the root key is here. Returns what the operator has to
    /// do or know, in a sentence.
    pub async fn publish(&self, config: &Config) -> Result<String> {
        let ring = KeyRing::load(config)?;
        let root = match &ring {
            Some(ring) => root_key(config, ring, &self.store, &Random::from_system()?).await?,
            None => None,
        };
        if let Some(root) = root {
            self.keys().publish(&root, Timestamp::saturating(0), SystemClock.now()).await?;
        }
        let (stored, now) = (self.stored().await?, SystemClock.now());
        warn(bundle::end_warning(stored.bundle.as_ref(), now).as_slice());
        Ok(match (&stored.bundle, stored.next_content(now)) {
            (Some(bundle), None) => format!("The key bundle {} is up to date.", bundle.seq),
            (Some(_), Some(_)) => "The root key is not on this server: sign the new key bundle \
                                   with it (licentia keys bundle --help)."
                .to_owned(),
            (None, _) => "There is no key bundle (licentia keys root --help).".to_owned(),
        })
    }
}
