//! The database of a command, and the settings that count for it. A command uses what the server
//! has recorded in place of its own settings, so that its licenses verify wherever the server's do.

use licentia_verify::Algorithm;

use crate::config::Config;
use crate::domain::sale::plan::Catalog;
use crate::domain::server_identity::ServerIdentity;
use crate::error::{Error, Result};
use crate::store::{IfMissing, Store};

/// The database of a command, with the settings that count for it.
pub struct CommandDatabase {
    /// The database.
    pub store: Store,
    /// The settings of the command, with those of the server in place of its own.
    pub config: Config,
    /// The warnings for the operator: a sentence for each setting of the command that differs from
    /// the server's and does not count.
    pub warnings: Vec<String>,
    recorded: Option<ServerIdentity>,
}

impl CommandDatabase {
    /// Opens the database of a command, and reads what the server has recorded. Nothing is created.
    ///
    /// # Errors
    /// [`Error::Setup`] when there is no database, or its schema is older.
    pub async fn open(config: &Config) -> Result<Self> {
        let store = Store::open(&config.database_url, IfMissing::Refuse).await?;
        store.must_be_current().await?;
        let recorded = store.read().await?.server_identity().await?;
        let mut command = Self { store, config: config.clone(), warnings: Vec::new(), recorded };
        if let Some(recorded) = &command.recorded {
            let public_url = recorded.public_url.parse().unwrap_or(config.public_url.clone());
            let algorithm = Algorithm::from_name(&recorded.algorithm);
            let algorithm = algorithm.unwrap_or(config.license_algorithm);
            if config.is_public_url_set && config.public_url != public_url {
                let [here, server] = [&config.public_url, &public_url].map(ToString::to_string);
                command.warnings.push(differs("`public_url`", &here, &server));
            }
            if config.is_license_algorithm_set && config.license_algorithm != algorithm {
                let [here, server] = [config.license_algorithm, algorithm].map(Algorithm::as_str);
                command.warnings.push(differs("`license_algorithm`", here, server));
            }
            command.config.public_url = public_url;
            command.config.license_algorithm = algorithm;
        }
        Ok(command)
    }

    /// Returns the claim `iss` that counts for a plans file: the server's. Warns if the file names
    /// another one.
    pub fn issuer(&mut self, plans: &Catalog) -> String {
        let issuer = ServerIdentity::of(&self.config, plans).issuer;
        let Some(recorded) = &self.recorded else { return issuer };
        if plans.issuer.is_some() && issuer != recorded.issuer {
            let setting = "`issuer` of the plans file";
            self.warnings.push(differs(setting, &issuer, &recorded.issuer));
        }
        recorded.issuer.clone()
    }

    /// Checks that the plans file is for the server's product: no app of that product would accept
    /// the licenses of another one.
    ///
    /// # Errors
    /// [`Error::Setup`] with both products.
    pub fn must_be_of_product(&self, plans: &Catalog) -> Result<()> {
        let product = plans.product.as_str();
        match &self.recorded {
            Some(recorded) if recorded.product != product => Err(Error::setup(format!(
                "the plans file of this command is for the product {product:?}, and that of the \
                 server for {:?}: set `plans_file` (LICENTIA_PLANS_FILE) to the server's file; if \
                 the product has a new id, restart the server first",
                recorded.product
            ))),
            _ => Ok(()),
        }
    }
}

/// Returns the warning about a setting that does not count.
fn differs(setting: &str, here: &str, server: &str) -> String {
    format!(
        "{setting} is {here} here and does not count: the server has {server}. If {here} is \
         right, restart the server with it"
    )
}
