//! The table with what licenses say about the server: one row, of the server that started last.

use super::Tx;
use super::statement::sql;
use crate::domain::server_identity::ServerIdentity;
use crate::domain::time::Timestamp;
use crate::error::Result;

impl Tx {
    /// Returns what the servers have recorded; `None` before the first start.
    pub async fn server_identity(&mut self) -> Result<Option<ServerIdentity>> {
        sql!(
            self,
            fetch_optional: ServerIdentity,
            "SELECT {columns} FROM server_identity WHERE id = 1",
        )
    }

    /// Records it, in place of the former one.
    pub async fn put_server_identity(
        &mut self,
        identity: &ServerIdentity,
        now: Timestamp,
    ) -> Result<()> {
        let ServerIdentity { public_url, issuer, product, algorithm } = identity;
        sql!(
            self,
            execute,
            "INSERT INTO server_identity (id, public_url, issuer, product, algorithm, recorded_at)
             VALUES (1, $1, $2, $3, $4, $5)
             ON CONFLICT (id) DO UPDATE SET public_url = $1, issuer = $2, product = $3,
                 algorithm = $4, recorded_at = $5",
            public_url,
            issuer,
            product,
            algorithm,
            now,
        )
        .map(drop)
    }
}
