//! The table of the secrets that all servers on this database share.

use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

impl Tx {
    /// Returns the secret with this name. Stores `new` first if there is none; of several servers
    /// at once, one stores its own, and all get that one.
    pub async fn server_secret(&mut self, name: &str, new: &str) -> Result<String> {
        sql!(
            self,
            execute,
            "INSERT INTO server_secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
            name,
            new,
        )?;
        Ok(self.stored_secret(name).await?.unwrap_or_else(|| new.to_owned()))
    }

    /// Returns the secret with this name; `None` if no server has stored one yet.
    pub async fn stored_secret(&mut self, name: &str) -> Result<Option<String>> {
        let stored = sql!(
            self,
            fetch_optional: (String,),
            "SELECT value FROM server_secrets WHERE name = $1",
            name,
        )?;
        Ok(stored.map(|(value,)| value))
    }
}
