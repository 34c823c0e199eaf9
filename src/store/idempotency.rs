//! The table of requests with an idempotency key.

use crate::domain::account::customer::Customer;
use crate::domain::idempotency::{KeyedRequest, NewRequest, RequestHash, StoredResponse};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::statement::sql;
use crate::store::{SWEPT_AT_ONCE, Tx};

impl Tx {
    /// Returns the request with this request_hash.
    pub async fn keyed_request(
        &mut self,
        request_hash: &RequestHash,
    ) -> Result<Option<KeyedRequest>> {
        sql!(
            self,
            fetch_optional: KeyedRequest,
            "SELECT {columns} FROM idempotency_keys WHERE request_hash = $1",
            request_hash,
        )
    }

    /// Inserts a request, unless there is one with the same hash. Returns the stored one,
    /// and locks it until the end of the transaction.
    pub async fn insert_or_lock_keyed_request(
        &mut self,
        new: &NewRequest<'_>,
    ) -> Result<KeyedRequest> {
        sql!(
            self,
            fetch_one: KeyedRequest,
            "INSERT INTO idempotency_keys
                 (request_hash, fingerprint, lease_token, leased_until, kept_until, customer_id)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (request_hash) DO UPDATE SET request_hash = excluded.request_hash
                 RETURNING {columns}",
            new.request_hash,
            new.fingerprint,
            new.lease_token,
            new.leased_until,
            new.kept_until,
            new.customer_id,
        )
    }

    /// Puts a request in the place of a locked one. What that one created stays known if
    /// `created_id` is given.
    pub async fn replace_keyed_request(
        &mut self,
        new: &NewRequest<'_>,
        created_id: Option<&str>,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE idempotency_keys SET fingerprint = $2, lease_token = $3, leased_until = $4,
                 kept_until = $5, created_id = $6, customer_id = $7, status = NULL, body = NULL
                 WHERE request_hash = $1",
            new.request_hash,
            new.fingerprint,
            new.lease_token,
            new.leased_until,
            new.kept_until,
            created_id,
            new.customer_id,
        )?;
        Ok(())
    }

    /// Records what a running request creates. Returns false if another one runs in its place, or
    /// it has created something else.
    pub async fn set_created(
        &mut self,
        request_hash: &RequestHash,
        lease_token: &str,
        created_id: &str,
    ) -> Result<bool> {
        let updated = sql!(
            self,
            execute,
            "UPDATE idempotency_keys SET created_id = $3
                 WHERE request_hash = $1 AND lease_token = $2
                   AND (created_id IS NULL OR created_id = $3)",
            request_hash,
            lease_token,
            created_id,
        )?;
        Ok(updated > 0)
    }

    /// Stores the response of a running request. `customer_id` is the customer whose data it has,
    /// if that was not known before. The data of a customer who was deleted in the meantime is not
    /// stored.
    pub async fn set_response(
        &mut self,
        request_hash: &RequestHash,
        lease_token: &str,
        response: &StoredResponse,
        customer_id: Option<&str>,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE idempotency_keys
                 SET status = $3, body = $4, customer_id = COALESCE(customer_id, $5),
                     leased_until = NULL
                 WHERE request_hash = $1 AND lease_token = $2
                   AND (COALESCE(customer_id, $5) IS NULL OR EXISTS (
                       SELECT 1 FROM customers
                       WHERE customers.customer_id = COALESCE(idempotency_keys.customer_id, $5)))",
            request_hash,
            lease_token,
            i64::from(response.status),
            &response.body,
            customer_id,
        )?;
        Ok(())
    }

    /// Ends a running request without a response. It is forgotten unless it created something.
    pub async fn end_keyed_request(
        &mut self,
        request_hash: &RequestHash,
        lease_token: &str,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM idempotency_keys
                 WHERE request_hash = $1 AND lease_token = $2 AND created_id IS NULL",
            request_hash,
            lease_token,
        )?;
        sql!(
            self,
            execute,
            "UPDATE idempotency_keys SET leased_until = NULL
                 WHERE request_hash = $1 AND lease_token = $2",
            request_hash,
            lease_token,
        )?;
        Ok(())
    }

    /// Deletes the requests that created this.
    pub async fn forget_requests_that_created(&mut self, created_id: &str) -> Result<()> {
        sql!(self, execute, "DELETE FROM idempotency_keys WHERE created_id = $1", created_id)?;
        Ok(())
    }

    /// Deletes the requests whose responses have data of a customer, or that created the customer.
    pub async fn forget_requests_of(&mut self, customer: &Customer) -> Result<()> {
        let id = &customer.customer_id;
        sql!(self, execute, "DELETE FROM idempotency_keys WHERE customer_id = $1", id)?;
        self.forget_requests_that_created(id.as_str()).await?;
        self.forget_requests_that_created(customer.user_id.as_str()).await
    }

    /// Deletes a few requests that are to be forgotten.
    pub async fn sweep_keyed_requests(&mut self, now: Timestamp) -> Result<()> {
        let table = ("idempotency_keys", "request_hash", "kept_until");
        self.sweep_table(table, now, SWEPT_AT_ONCE).await
    }
}
