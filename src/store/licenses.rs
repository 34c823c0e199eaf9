//! Licenses: every one ever issued, and which of a customer's is current.

use super::{Both, Store, Tx, row, sql};
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::license::{RevocationReason, Source, Term};
use crate::domain::stripe_ids::StripeCustomerId;
use crate::domain::time::{SKEW, Timestamp};
use crate::error::Result;

/// The columns of [`IssuedLicense`], by name: a server that runs on while a newer one adds a column must not
/// meet it.
macro_rules! license_columns {
    () => {
        "license_id, customer_id, seq, source, plan, key_id, token, \
         issued_at, token_expires_at, expires_at, grace_until, superseded_at, revoked_at, \
         revocation_reason"
    };
}

/// The license with the id `$1`.
const BY_ID: &str = concat!("SELECT ", license_columns!(), " FROM licenses WHERE license_id = $1");

/// The current license of the customer `$1`.
const CURRENT: &str = concat!(
    "SELECT ",
    license_columns!(),
    " FROM licenses WHERE customer_id = $1 AND superseded_at IS NULL"
);

row! {
    /// A license that was issued.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct IssuedLicense {
        /// The claim `jti`.
        pub license_id: LicenseId,
        /// Whose it is.
        pub customer_id: CustomerId,
        /// Its place in the row of this customer's licenses, from 1.
        pub seq: i64,
        /// Why it was issued.
        pub source: Source,
        /// The plan's id.
        pub plan: String,
        /// The key that signed it.
        pub key_id: String,
        /// The signed token.
        pub token: String,
        /// When it was issued.
        pub issued_at: Timestamp,
        /// When the token runs out.
        pub token_expires_at: Timestamp,
        /// The end of what was bought, or of the trial.
        pub expires_at: Option<Timestamp>,
        /// Until when it still works after that.
        pub grace_until: Option<Timestamp>,
        /// When a newer one took its place.
        pub superseded_at: Option<Timestamp>,
        /// When it was revoked.
        pub revoked_at: Option<Timestamp>,
        /// Why it was revoked.
        pub revocation_reason: Option<RevocationReason>,
    }
}

row! {
    /// A license that an app sends to fetch its successor.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct HeldLicense {
        /// The token on record for its id.
        pub held_token: String,
        /// When it was revoked.
        pub held_revoked_at: Option<Timestamp>,
        /// Why it was revoked.
        pub held_revocation_reason: Option<RevocationReason>,
        /// Its customer's Stripe customer.
        pub holder_stripe_id: Option<StripeCustomerId>,
    }
}

impl HeldLicense {
    /// Whether it still fetches its successor. A license that was revoked because nothing is paid
    /// for does, so that an app recovers without a password once something is. A leaked one, or
    /// one of a revoked key, does not.
    #[must_use]
    pub fn is_credential(&self) -> bool {
        self.held_revoked_at.is_none()
            || self.held_revocation_reason == Some(RevocationReason::Payment)
    }
}

impl IssuedLicense {
    /// How long what it stands for works.
    #[must_use]
    pub fn term(&self) -> Term {
        Term { expires: self.expires_at, grace_until: self.grace_until }
    }

    /// Whether a clock that was ahead issued it: its time lies further in the future than the
    /// clocks of two servers may be apart.
    #[must_use]
    pub fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.issued_at > now.plus(SKEW)
    }

    /// Whether half of the token's life, or more, is over.
    #[must_use]
    pub fn is_half_used(&self, now: Timestamp) -> bool {
        let life = self.token_expires_at.epoch_seconds() - self.issued_at.epoch_seconds();
        now >= self.issued_at.plus(life / 2)
    }
}

impl Store {
    /// Returns the customer's current license.
    pub async fn current_license(&self, id: &CustomerId) -> Result<Option<IssuedLicense>> {
        sql!(self, alone, fetch_optional: IssuedLicense, CURRENT, id)
    }

    /// Returns the license with this id, whoever's it is.
    pub async fn license(&self, id: &LicenseId) -> Result<Option<IssuedLicense>> {
        sql!(self, alone, fetch_optional: IssuedLicense, BY_ID, id)
    }

    /// Returns the license with this id, and its customer's current license.
    pub async fn held_license(
        &self,
        id: &LicenseId,
    ) -> Result<Option<(HeldLicense, IssuedLicense)>> {
        let found = sql!(
            self,
            alone,
            fetch_optional: Both<HeldLicense, IssuedLicense>,
            concat!(
                "SELECT held_token, held_revoked_at, held_revocation_reason,
                     (SELECT stripe_customer_id FROM customers WHERE customer_id = holder)
                         AS holder_stripe_id, ",
                license_columns!(),
                " FROM (
                     SELECT customer_id AS holder, token AS held_token,
                         revoked_at AS held_revoked_at,
                         revocation_reason AS held_revocation_reason
                     FROM licenses WHERE license_id = $1
                 ) AS held
                 JOIN licenses ON customer_id = holder AND superseded_at IS NULL"
            ),
            id,
        )?;
        Ok(found.map(|Both(held, current)| (held, current)))
    }
}

impl Tx {
    /// The number that a customer's next license gets.
    pub async fn next_license_seq(&mut self, customer_id: &CustomerId) -> Result<i64> {
        let (seq,) = sql!(
            self,
            fetch_one: (i64,),
            "SELECT COALESCE(MAX(seq), 0) + 1 FROM licenses WHERE customer_id = $1",
            customer_id,
        )?;
        Ok(seq)
    }

    /// Writes a license that takes the place of the customer's current one.
    pub async fn insert_license(&mut self, license: &IssuedLicense) -> Result<()> {
        sql!(
            &mut *self,
            execute,
            "UPDATE licenses SET superseded_by = $2, superseded_at = $3
             WHERE customer_id = $1 AND superseded_at IS NULL",
            &license.customer_id,
            &license.license_id,
            license.issued_at,
        )?;
        sql!(
            self,
            execute,
            "INSERT INTO licenses
                 (license_id, customer_id, seq, source, plan, key_id, token,
                  issued_at, token_expires_at, expires_at, grace_until)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            &license.license_id,
            &license.customer_id,
            license.seq,
            license.source,
            &license.plan,
            &license.key_id,
            &license.token,
            license.issued_at,
            license.token_expires_at,
            license.expires_at,
            license.grace_until,
        )?;
        Ok(())
    }

    /// The customer's current license.
    pub async fn current_license(&mut self, id: &CustomerId) -> Result<Option<IssuedLicense>> {
        sql!(self, fetch_optional: IssuedLicense, CURRENT, id)
    }

    /// The license with this id, whoever's it is.
    pub async fn license(&mut self, id: &LicenseId) -> Result<Option<IssuedLicense>> {
        sql!(self, fetch_optional: IssuedLicense, BY_ID, id)
    }

    /// The customer's licenses, the newest first, `most` of them at the most, from below the
    /// number `before`.
    pub async fn licenses_of(
        &mut self,
        id: &CustomerId,
        before: i64,
        most: i64,
    ) -> Result<Vec<IssuedLicense>> {
        sql!(
            self,
            fetch_all: IssuedLicense,
            concat!(
                "SELECT ",
                license_columns!(),
                " FROM licenses WHERE customer_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"
            ),
            id,
            before,
            most,
        )
    }

    /// The keys that signed licenses whose tokens have not run out and were not taken back.
    pub async fn keys_in_the_field(&mut self, now: Timestamp) -> Result<Vec<String>> {
        let keys = sql!(
            self,
            fetch_all: (String,),
            "SELECT DISTINCT key_id FROM licenses WHERE token_expires_at > $1 AND revoked_at IS NULL",
            now,
        )?;
        Ok(keys.into_iter().map(|(key,)| key).collect())
    }

    /// The customers whose current license a key signed and still works at `now`, in the order of
    /// their ids, from after `after`, `most` at the most.
    pub async fn customers_of_key(
        &mut self,
        kid: &str,
        now: Timestamp,
        after: Option<&CustomerId>,
        most: i64,
    ) -> Result<Vec<CustomerId>> {
        let found = sql!(
            self,
            fetch_all: (CustomerId,),
            "SELECT customer_id FROM licenses
             WHERE key_id = $1 AND superseded_at IS NULL AND revoked_at IS NULL
               AND (expires_at IS NULL OR expires_at > $2 OR grace_until > $2)
               AND customer_id > $3
             ORDER BY customer_id LIMIT $4",
            kid,
            now,
            after.map_or("", CustomerId::as_str),
            most,
        )?;
        Ok(found.into_iter().map(|(id,)| id).collect())
    }

    /// What an operator granted a customer last, if it was not taken back.
    pub async fn last_grant(&mut self, id: &CustomerId) -> Result<Option<IssuedLicense>> {
        let last = sql!(
            self,
            fetch_optional: IssuedLicense,
            concat!(
                "SELECT ",
                license_columns!(),
                " FROM licenses WHERE customer_id = $1 AND source = 'operator'
                 ORDER BY seq DESC LIMIT 1"
            ),
            id,
        )?;
        Ok(last.filter(|license| license.revoked_at.is_none()))
    }

    /// Every license that a customer was given for a subscription, current or not, that still works.
    pub async fn paid_licenses(
        &mut self,
        id: &CustomerId,
        now: Timestamp,
    ) -> Result<Vec<IssuedLicense>> {
        sql!(
            self,
            fetch_all: IssuedLicense,
            concat!(
                "SELECT ",
                license_columns!(),
                " FROM licenses WHERE customer_id = $1 AND source = 'subscription'
                     AND revoked_at IS NULL
                     AND (expires_at IS NULL OR expires_at > $2 OR grace_until > $2)
                 ORDER BY seq"
            ),
            id,
            now,
        )
    }

    /// Revokes a license. One that was revoked because nothing is paid for may be revoked for
    /// another reason afterwards; every other reason stays.
    pub async fn revoke_license(
        &mut self,
        id: &LicenseId,
        reason: RevocationReason,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE licenses SET revoked_at = COALESCE(revoked_at, $2), revocation_reason = $3
             WHERE license_id = $1 AND (revoked_at IS NULL OR revocation_reason = 'payment')",
            id,
            now,
            reason,
        )?;
        Ok(())
    }

    /// Revokes licenses that a key signed, at most `most`, also those that were revoked because
    /// nothing is paid for. Returns how many there were.
    pub async fn revoke_licenses_of_key(
        &mut self,
        kid: &str,
        now: Timestamp,
        most: i64,
    ) -> Result<u64> {
        sql!(
            self,
            execute,
            "UPDATE licenses SET revoked_at = COALESCE(revoked_at, $2), revocation_reason = $3
             WHERE license_id IN (
                 SELECT license_id FROM licenses
                 WHERE key_id = $1 AND (revoked_at IS NULL OR revocation_reason = 'payment')
                 LIMIT $4)",
            kid,
            now,
            RevocationReason::Key,
            most,
        )
    }

    /// Whether any license was ever issued.
    pub async fn has_licenses(&mut self) -> Result<bool> {
        let any = sql!(self, fetch_optional: (i64,), "SELECT seq FROM licenses LIMIT 1")?;
        Ok(any.is_some())
    }
}
