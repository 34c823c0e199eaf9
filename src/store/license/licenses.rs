//! The table of licenses: every license ever issued. A customer's current license is the one that
//! was not superseded.

use crate::domain::column::{Both, Parameter};
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::license::status_list::StatusIndex;
use crate::domain::license::{HeldLicense, IssuedLicense, RevocationReason};
use crate::domain::message::Kind;
use crate::domain::page::PageRequest;
use crate::domain::sale::subscription::StoredBilling;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::statement::{Insert, Statement, sql};
use crate::store::{Store, Tx};

/// Selects the license with the id `$1`.
const BY_ID: &str = "SELECT {columns} FROM licenses WHERE license_id = $1";

/// Selects the current license of the customer `$1`.
const CURRENT: &str =
    "SELECT {columns} FROM licenses WHERE customer_id = $1 AND superseded_at IS NULL";

impl Store {
    /// Returns the customer's current license.
    pub async fn current_license(&self, id: &CustomerId) -> Result<Option<IssuedLicense>> {
        sql!(self, fetch_optional: IssuedLicense, CURRENT, id)
    }

    /// Returns the license with this id, of any customer.
    pub async fn license(&self, id: &LicenseId) -> Result<Option<IssuedLicense>> {
        sql!(self, fetch_optional: IssuedLicense, BY_ID, id)
    }

    /// Returns the license with this id, and its customer's current license.
    pub async fn held_license(
        &self,
        id: &LicenseId,
    ) -> Result<Option<(HeldLicense, IssuedLicense)>> {
        let row = sql!(
            self,
            fetch_optional: Both<HeldLicense, IssuedLicense>,
            "SELECT {columns} FROM (
                 SELECT held.customer_id AS holder, token AS held_token,
                     revoked_at AS held_revoked_at, revocation_reason AS held_revocation_reason,
                     stripe_customer_id AS holder_stripe_id
                 FROM licenses AS held JOIN customers ON customers.customer_id = held.customer_id
                 WHERE license_id = $1
             ) AS held
             JOIN licenses ON customer_id = holder AND superseded_at IS NULL",
            id,
        )?;
        Ok(row.map(|Both(held, current)| (held, current)))
    }
}

impl Tx {
    /// Returns the sequence number of the customer's next license.
    pub async fn next_license_seq(&mut self, customer_id: &CustomerId) -> Result<i64> {
        let (seq,) = sql!(
            self,
            fetch_one: (i64,),
            "SELECT COALESCE(MAX(seq), 0) + 1 FROM licenses WHERE customer_id = $1",
            customer_id,
        )?;
        Ok(seq)
    }

    /// Inserts a license with its index in a status list. It supersedes the customer's current one.
    pub async fn insert_license(
        &mut self,
        license: &IssuedLicense,
        index: &StatusIndex,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE licenses SET superseded_by = $2, superseded_at = $3
             WHERE customer_id = $1 AND superseded_at IS NULL",
            &license.customer_id,
            &license.license_id,
            license.issued_at,
        )?;
        let insert = Insert::new("licenses", license)
            .with("status_list", index.list_id)
            .with("status_idx", index.idx);
        self.insert(insert).await?;
        Ok(())
    }

    /// Returns the customer's current license.
    pub async fn current_license(&mut self, id: &CustomerId) -> Result<Option<IssuedLicense>> {
        sql!(self, fetch_optional: IssuedLicense, CURRENT, id)
    }

    /// Returns the current licenses of these customers, in any order.
    pub async fn current_licenses(&mut self, ids: &[&CustomerId]) -> Result<Vec<IssuedLicense>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let places: Vec<_> = (1..=ids.len()).map(|place| format!("${place}")).collect();
        let text = format!(
            "SELECT {{columns}} FROM licenses
             WHERE superseded_at IS NULL AND customer_id IN ({})",
            places.join(", ")
        );
        let values = ids.iter().map(|id| id.to_value()).collect();
        self.fetch_all(Statement::composed(text, values)).await
    }

    /// Returns the license with this id, of any customer.
    pub async fn license(&mut self, id: &LicenseId) -> Result<Option<IssuedLicense>> {
        sql!(self, fetch_optional: IssuedLicense, BY_ID, id)
    }

    /// Returns the current licenses that were not revoked, end after `after` and at `until` or
    /// before, and have no mail with the key that `reminder`, their customer and their end make.
    /// Returns those of trials, or all others. Earliest end first, at most `most`.
    pub async fn licenses_to_remind(
        &mut self,
        reminder: Kind,
        is_trial: bool,
        (after, until): (Timestamp, Timestamp),
        most: i64,
    ) -> Result<Vec<IssuedLicense>> {
        sql!(
            self,
            fetch_all: IssuedLicense,
            "SELECT {columns} FROM licenses
             WHERE superseded_at IS NULL AND revoked_at IS NULL
                 AND COALESCE(grace_until, expires_at) > $1
                 AND COALESCE(grace_until, expires_at) <= $2
                 AND (CASE WHEN source = 'trial' THEN 1 ELSE 0 END) = $3
                 AND NOT EXISTS (
                     SELECT 1 FROM outbox WHERE once_key = $4 || ':' || licenses.customer_id || ':'
                         || COALESCE(licenses.grace_until, licenses.expires_at))
             ORDER BY COALESCE(grace_until, expires_at), license_id LIMIT $5",
            after,
            until,
            i64::from(is_trial),
            reminder,
            most,
        )
    }

    /// Returns the customer's licenses with a sequence number below `before`, newest first, at most
    /// `most`.
    pub async fn licenses_of(
        &mut self,
        id: &CustomerId,
        before: i64,
        most: i64,
    ) -> Result<Vec<IssuedLicense>> {
        sql!(
            self,
            fetch_all: IssuedLicense,
            "SELECT {columns} FROM licenses WHERE customer_id = $1 AND seq < $2
             ORDER BY seq DESC LIMIT $3",
            id,
            before,
            most,
        )
    }

    /// Returns a page of the customer's licenses, newest first.
    pub async fn license_page(
        &mut self,
        id: &CustomerId,
        request: &PageRequest,
    ) -> Result<Vec<IssuedLicense>> {
        let after = request.after.as_ref().map(|cursor| cursor.id.as_str());
        sql!(
            self,
            fetch_all: IssuedLicense,
            "SELECT {columns} FROM licenses WHERE customer_id = $1
               AND ($2 = '' OR seq < (SELECT seq FROM licenses WHERE license_id = $2))
             ORDER BY seq DESC LIMIT $3",
            id,
            after.unwrap_or_default(),
            request.rows(),
        )
    }

    /// Returns the ids of the keys that signed license tokens which are neither expired nor
    /// revoked.
    pub async fn keys_in_the_field(&mut self, now: Timestamp) -> Result<Vec<String>> {
        let keys = sql!(
            self,
            fetch_all: (String,),
            "SELECT DISTINCT key_id FROM licenses WHERE token_expires_at > $1 AND revoked_at IS NULL",
            now,
        )?;
        Ok(keys.into_iter().map(|(key,)| key).collect())
    }

    /// Returns the customers whose current license was signed by this key and works at `now`,
    /// ordered by id, starting after `after`, at most `most`.
    pub async fn customers_of_key(
        &mut self,
        kid: &str,
        now: Timestamp,
        after: Option<&CustomerId>,
        most: i64,
    ) -> Result<Vec<CustomerId>> {
        let rows = sql!(
            self,
            fetch_all: (CustomerId,),
            "SELECT customer_id FROM licenses
             WHERE key_id = $1 AND superseded_at IS NULL
               AND (revoked_at IS NULL OR revocation_reason = 'key')
               AND (expires_at IS NULL OR expires_at > $2 OR grace_until > $2)
               AND customer_id > $3
             ORDER BY customer_id LIMIT $4",
            kid,
            now,
            after.map_or("", CustomerId::as_str),
            most,
        )?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Returns the customer's last grant, unless it was revoked.
    pub async fn last_grant(&mut self, id: &CustomerId) -> Result<Option<IssuedLicense>> {
        let last = sql!(
            self,
            fetch_optional: IssuedLicense,
            "SELECT {columns} FROM licenses WHERE customer_id = $1 AND source = 'operator'
             ORDER BY seq DESC LIMIT 1",
            id,
        )?;
        Ok(last.filter(|license| license.revoked_at.is_none()))
    }

    /// Returns whether a license was ever issued to the customer for a payment.
    pub async fn has_paid_license(&mut self, id: &CustomerId) -> Result<bool> {
        let first = sql!(
            self,
            fetch_optional: (i64,),
            "SELECT seq FROM licenses WHERE customer_id = $1 AND source = 'subscription' LIMIT 1",
            id,
        )?;
        Ok(first.is_some())
    }

    /// Returns the customer's working licenses from subscriptions, current or superseded.
    pub async fn paid_licenses(
        &mut self,
        id: &CustomerId,
        now: Timestamp,
    ) -> Result<Vec<IssuedLicense>> {
        sql!(
            self,
            fetch_all: IssuedLicense,
            "SELECT {columns} FROM licenses WHERE customer_id = $1 AND source = 'subscription'
               AND revoked_at IS NULL
               AND (expires_at IS NULL OR expires_at > $2 OR grace_until > $2)
             ORDER BY seq",
            id,
            now,
        )
    }

    /// Returns the customer's licenses that newer ones have replaced and that are not revoked, the
    /// newest first, at most `most`.
    pub async fn replaced_licenses(
        &mut self,
        id: &CustomerId,
        most: i64,
    ) -> Result<Vec<LicenseId>> {
        let rows = sql!(
            self,
            fetch_all: (LicenseId,),
            "SELECT license_id FROM licenses WHERE customer_id = $1
               AND superseded_at IS NOT NULL AND revoked_at IS NULL
             ORDER BY seq DESC LIMIT $2",
            id,
            most,
        )?;
        Ok(rows.into_iter().map(|(license_id,)| license_id).collect())
    }

    /// Revokes a license, which sets its bit in its status list. Nothing else revokes one, and
    /// nothing undoes it. The reason `payment` may later be replaced by another reason; any other
    /// reason is final. Returns whether the license was changed.
    ///
    /// The row of the list stays locked until the commit: lock all customers before.
    pub async fn revoke_license(
        &mut self,
        id: &LicenseId,
        reason: Option<RevocationReason>,
        now: Timestamp,
    ) -> Result<bool> {
        let updated = sql!(
            self,
            fetch_optional: (Option<i64>,),
            "UPDATE licenses SET revoked_at = COALESCE(revoked_at, $2), revocation_reason = $3
             WHERE license_id = $1 AND (revoked_at IS NULL OR revocation_reason = 'payment')
             RETURNING status_list",
            id,
            now,
            reason,
        )?;
        let Some((status_list,)) = updated else { return Ok(false) };
        if let Some(list_id) = status_list {
            self.status_list_changed(list_id, now).await?;
        }
        Ok(true)
    }

    /// Returns the licenses that were signed by this key and not revoked, or for the reason
    /// `payment`, ordered by customer and sequence number, starting after these, at most `most`.
    pub async fn licenses_of_key(
        &mut self,
        kid: &str,
        after: Option<&(CustomerId, i64)>,
        most: i64,
    ) -> Result<Vec<IssuedLicense>> {
        sql!(
            self,
            fetch_all: IssuedLicense,
            "SELECT {columns} FROM licenses
             WHERE key_id = $1 AND (revoked_at IS NULL OR revocation_reason = 'payment')
               AND (customer_id, seq) > ($2, $3)
             ORDER BY customer_id, seq LIMIT $4",
            kid,
            after.map_or("", |(id, _)| id.as_str()),
            after.map_or(0, |(_, seq)| *seq),
            most,
        )
    }

    /// Returns the current licenses that work at `now`, and the others of customers with a payment
    /// that counts or not by the vendor's policy, each with what its customer's subscription bills,
    /// ordered by customer, starting after `after`, at most `most`.
    pub async fn licenses_to_compare(
        &mut self,
        now: Timestamp,
        after: Option<&CustomerId>,
        most: i64,
    ) -> Result<Vec<(IssuedLicense, StoredBilling)>> {
        let rows = sql!(
            self,
            fetch_all: Both<StoredBilling, IssuedLicense>,
            "SELECT {columns} FROM licenses
             LEFT JOIN (SELECT customer_id AS payer, items AS billed_items,
                               status AS billed_status FROM subscriptions) AS billed
                 ON payer = customer_id
             WHERE superseded_at IS NULL AND customer_id > $2
               AND (revoked_at IS NULL
                    AND (expires_at IS NULL OR expires_at > $1 OR grace_until > $1)
                    OR EXISTS (SELECT 1 FROM orders
                               WHERE orders.customer_id = licenses.customer_id
                                 AND (returned > 0
                                      OR status IN ('refunded', 'disputed', 'failed'))))
             ORDER BY customer_id LIMIT $3",
            now,
            after.map_or("", CustomerId::as_str),
            most,
        )?;
        Ok(rows.into_iter().map(|Both(billed, license)| (license, billed)).collect())
    }

    /// Returns whether any license was ever issued.
    pub async fn has_licenses(&mut self) -> Result<bool> {
        let first = sql!(self, fetch_optional: (i64,), "SELECT seq FROM licenses LIMIT 1")?;
        Ok(first.is_some())
    }
}
