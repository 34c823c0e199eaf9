//! What licenses say about the server. A server records it at its start. A command uses what is
//! recorded in place of its own settings, so that its licenses verify wherever the server's do.

use licentia_verify::Algorithm;

use crate::app::App;
use crate::config::{Config, Origin};
use crate::domain::sale::plan::Catalog;
use crate::domain::server_identity::ServerIdentity;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::store::{IfMissing, Store};

/// The database of a command, with the settings that count for it.
pub struct CommandDatabase {
    /// The database.
    pub store: Store,
    /// The settings of the command, with those of the server in place of its own.
    pub config: Config,
    /// The settings of the command that differ from the server's and do not count, in sentences.
    pub warnings: Vec<String>,
    recorded: Option<ServerIdentity>,
}

impl CommandDatabase {
    /// Opens it. Nothing is created.
    ///
    /// # Errors
    /// [`Error::Setup`] when there is no database, or its schema is older.
    pub async fn open(config: &Config) -> Result<Self> {
        let store = Store::open(&config.database_url, IfMissing::Refuse).await?;
        store.must_be_current().await?;
        let recorded = store.read().await?.server_identity().await?;
        let mut own = Self { store, config: config.clone(), warnings: Vec::new(), recorded };
        if let Some(recorded) = &own.recorded {
            let public_url: Option<Origin> = recorded.public_url.parse().ok();
            let public_url = public_url.unwrap_or_else(|| config.public_url.clone());
            let is_default = config.public_url == Origin::of(config.listen);
            if !is_default && config.public_url != public_url {
                let warning = differs("`public_url`", &config.public_url.to_string(), recorded);
                own.warnings.push(warning);
            }
            own.config.public_url = public_url;
            own.config.license_algorithm =
                Algorithm::from_name(&recorded.algorithm).unwrap_or(config.license_algorithm);
        }
        Ok(own)
    }

    /// Returns the claim `iss` for a plans file.
    pub fn issuer(&mut self, plans: &Catalog) -> String {
        let own = issuer(&self.config, plans);
        let Some(recorded) = &self.recorded else { return own };
        if plans.issuer.is_some() && own != recorded.issuer {
            self.warnings.push(differs("`issuer` of the plans file", &own, recorded));
        }
        recorded.issuer.clone()
    }

    /// Checks that the plans file is for the server's product: licenses of another one are no use.
    ///
    /// # Errors
    /// [`Error::Setup`] with both products.
    pub fn must_be_of_product(&self, plans: &Catalog) -> Result<()> {
        let own = plans.product.as_str();
        match &self.recorded {
            Some(ServerIdentity { product, .. }) if product != own => Err(Error::setup(format!(
                "the plans file of this command is for the product {own:?}, and that of the \
                     server for {product:?}: set `plans_file` (LICENTIA_PLANS_FILE) to the \
                     server's file; if the product has a new id, restart the server first"
            ))),
            _ => Ok(()),
        }
    }
}

/// Returns the claim `iss` of a server with these settings.
fn issuer(config: &Config, plans: &Catalog) -> String {
    plans.issuer.clone().unwrap_or_else(|| config.public_url.to_string())
}

/// Returns the warning about a setting that does not count.
fn differs(setting: &str, own: &str, recorded: &ServerIdentity) -> String {
    let ServerIdentity { public_url, issuer, .. } = recorded;
    format!(
        "{setting} is {own} here and does not count: the server has the address {public_url} and \
         the issuer {issuer}. If {own} is right, restart the server with it"
    )
}

impl ServerIdentity {
    /// Returns what licenses say about a server with these settings.
    #[must_use]
    pub fn of(config: &Config, plans: &Catalog) -> Self {
        Self {
            public_url: config.public_url.to_string(),
            issuer: issuer(config, plans),
            product: plans.product.to_string(),
            algorithm: config.license_algorithm.as_str().to_owned(),
        }
    }
}

impl App {
    /// Records what licenses say about this server, if something else is recorded.
    ///
    /// # Errors
    /// A failure of the database.
    pub(super) async fn record_identity(&self, own: &ServerIdentity) -> Result<()> {
        let former = self.store.read().await?.server_identity().await?;
        if former.as_ref() == Some(own) {
            return Ok(());
        }
        let mut tx = self.store.write().await?;
        tx.put_server_identity(own, self.now()).await?;
        tx.commit(self.fail_points.at(Place::IdentityRecorded)).await?;
        if let Some(former) = former {
            tracing::warn!(
                former = former.public_url,
                now = own.public_url,
                issuer = own.issuer,
                "the server's address, issuer, product or algorithm is another one than at the \
                 last start; licenses say so from now on (docs/revocation.md)"
            );
        }
        Ok(())
    }
}
