//! The table of requests with an idempotency key.

use crate::domain::idempotency::{KeyedRequest, NewRequest, Scope, StoredResponse};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::statement::sql;
use crate::store::{SWEPT_AT_ONCE, Tx};

impl Tx {
    /// Returns the request with this scope.
    pub async fn request(&mut self, scope: &Scope) -> Result<Option<KeyedRequest>> {
        sql!(
            self,
            fetch_optional: KeyedRequest,
            "SELECT {columns} FROM idempotency_keys WHERE scope_hash = $1",
            scope,
        )
    }

    /// Inserts a request, unless there is one with the same scope. Returns the stored one, and
    /// locks it until the end of the transaction.
    pub async fn insert_or_lock_request(&mut self, new: &NewRequest<'_>) -> Result<KeyedRequest> {
        sql!(
            self,
            fetch_one: KeyedRequest,
            "INSERT INTO idempotency_keys
                 (scope_hash, fingerprint, holder, leased_until, kept_until)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (scope_hash) DO UPDATE SET scope_hash = excluded.scope_hash
                 RETURNING {columns}",
            new.scope,
            new.fingerprint,
            new.holder,
            new.leased_until,
            new.kept_until,
        )
    }

    /// Puts a request in the place of a locked one. What that one created stays known if `made_id`
    /// is given.
    pub async fn replace_request(
        &mut self,
        new: &NewRequest<'_>,
        made_id: Option<&str>,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE idempotency_keys SET fingerprint = $2, holder = $3, leased_until = $4,
                 kept_until = $5, made_id = $6, status = NULL, body = NULL, customer_id = NULL
                 WHERE scope_hash = $1",
            new.scope,
            new.fingerprint,
            new.holder,
            new.leased_until,
            new.kept_until,
            made_id,
        )?;
        Ok(())
    }

    /// Records what a running request creates. Returns false if another one runs in its place, or
    /// it has created something else.
    pub async fn set_request_made(
        &mut self,
        scope: &Scope,
        holder: &str,
        made_id: &str,
    ) -> Result<bool> {
        let updated = sql!(
            self,
            execute,
            "UPDATE idempotency_keys SET made_id = $3
                 WHERE scope_hash = $1 AND holder = $2 AND (made_id IS NULL OR made_id = $3)",
            scope,
            holder,
            made_id,
        )?;
        Ok(updated > 0)
    }

    /// Stores the response of a running request, with the customer whose data it has.
    pub async fn set_response(
        &mut self,
        scope: &Scope,
        holder: &str,
        response: &StoredResponse,
        customer_id: Option<&str>,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE idempotency_keys
                 SET status = $3, body = $4, customer_id = $5, leased_until = NULL
                 WHERE scope_hash = $1 AND holder = $2",
            scope,
            holder,
            i64::from(response.status),
            &response.body,
            customer_id,
        )?;
        Ok(())
    }

    /// Ends a running request without a response. It is forgotten unless it created something.
    pub async fn end_request(&mut self, scope: &Scope, holder: &str) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM idempotency_keys
                 WHERE scope_hash = $1 AND holder = $2 AND made_id IS NULL",
            scope,
            holder,
        )?;
        sql!(
            self,
            execute,
            "UPDATE idempotency_keys SET leased_until = NULL WHERE scope_hash = $1 AND holder = $2",
            scope,
            holder,
        )?;
        Ok(())
    }

    /// Deletes the requests that created this.
    pub async fn forget_requests_that_made(&mut self, made_id: &str) -> Result<()> {
        sql!(self, execute, "DELETE FROM idempotency_keys WHERE made_id = $1", made_id)?;
        Ok(())
    }

    /// Deletes a few requests that are to be forgotten.
    pub async fn sweep_requests(&mut self, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM idempotency_keys WHERE scope_hash IN (
                 SELECT scope_hash FROM idempotency_keys WHERE kept_until <= $1
                 ORDER BY kept_until LIMIT $2 {skip_locked})",
            now,
            SWEPT_AT_ONCE,
        )?;
        Ok(())
    }
}
