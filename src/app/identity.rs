//! The server's identity in licenses. A server records it at its start.

use crate::app::App;
use crate::config::Config;
use crate::domain::sale::plan::Catalog;
use crate::domain::server_identity::ServerIdentity;
use crate::error::Result;
use crate::fail_point::Place;

impl ServerIdentity {
    /// Returns the identity of a server with these settings.
    #[must_use]
    pub fn of(config: &Config, plans: &Catalog) -> Self {
        let public_url = config.public_url.to_string();
        Self {
            issuer: plans.issuer.clone().unwrap_or_else(|| public_url.clone()),
            public_url,
            product: plans.product.to_string(),
            algorithm: config.license_algorithm.as_str().to_owned(),
        }
    }
}

impl App {
    /// Records the identity of this server, if another one is recorded.
    ///
    /// # Errors
    /// A failure of the database.
    pub(super) async fn record_identity(&self, identity: &ServerIdentity) -> Result<()> {
        let former = self.store.read().await?.server_identity().await?;
        if former.as_ref() == Some(identity) {
            return Ok(());
        }
        let mut tx = self.store.write().await?;
        tx.put_server_identity(identity, self.now()).await?;
        tx.commit(self.fail_points.at(Place::IdentityRecorded)).await?;
        if let Some(former) = former {
            tracing::warn!(
                former_public_url = former.public_url,
                former_issuer = former.issuer,
                former_product = former.product,
                former_algorithm = former.algorithm,
                public_url = identity.public_url,
                issuer = identity.issuer,
                product = identity.product,
                algorithm = identity.algorithm,
                "the server's address, issuer, product or algorithm is another one than at the \
                 last start; licenses say so from now on (docs/revocation.md)"
            );
        }
        Ok(())
    }
}
