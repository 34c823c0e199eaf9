//! The tables of users and customers. A user logs in, and a customer is billed and licensed. Each
//! user has exactly one customer.

use crate::domain::account::customer::{Customer, FormerTrials, NewAccount, SyncStatus};
use crate::domain::account::metadata::Metadata;
use crate::domain::column::{Both, row};
use crate::domain::contact::Email;
use crate::domain::ids::{CustomerId, UserId};
use crate::domain::sale::matching::CustomerCandidate;
use crate::domain::sale::stripe_ids::{InvoiceId, StripeCustomerId};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

/// Id, email, Stripe customer, time of the last sync, time of the email's verification, number of
/// purchases that wait.
type OursRow =
    (CustomerId, Email, Option<StripeCustomerId>, Option<Timestamp>, Option<Timestamp>, i64);

fn ours(
    (customer_id, email, stripe_customer_id, synced_at, verified_at, waiting): OursRow,
) -> CustomerCandidate {
    CustomerCandidate {
        customer_id,
        email,
        is_email_verified: verified_at.is_some(),
        has_waiting_purchase: waiting > 0,
        stripe_customer_id,
        is_synced: synced_at.is_some(),
    }
}

row! {
    /// The password hash of a user, selected together with the user's customer.
    struct Login {
        password_hash: String,
    }
}

/// An account that was inserted. Only [`Tx::record_former_trials`] returns its customer, so that
/// nobody gets a second trial, however the account is created.
#[must_use]
pub struct InsertedAccount(Customer);

impl Tx {
    /// Inserts a new user and its customer.
    ///
    /// # Errors
    /// [`crate::error::Error::EmailTaken`], also for a reserved address.
    pub async fn insert_account(
        &mut self,
        new: NewAccount,
        now: Timestamp,
    ) -> Result<InsertedAccount> {
        sql!(
            self,
            execute,
            "INSERT INTO users (user_id, email, password_hash, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $4)",
            &new.user_id,
            &new.email,
            &new.password_hash,
            now,
        )?;
        self.must_not_be_reserved(&new.email, &new.customer_id, now).await?;
        let customer = sql!(
            self,
            fetch_one: Customer,
            "INSERT INTO customers (customer_id, user_id, email, email_verified_at, name,
                 company_name, language, created_at, updated_at, terms_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $8)
             RETURNING {columns}",
            &new.customer_id,
            &new.user_id,
            &new.email,
            new.email_verified_at,
            &new.name,
            &new.company_name,
            new.language,
            now,
        )?;
        self.insert_terms(std::slice::from_ref(&customer)).await?;
        Ok(InsertedAccount(customer))
    }

    /// Records which trials the address of a new account has had. Returns the customer.
    pub async fn record_former_trials(
        &mut self,
        InsertedAccount(customer): InsertedAccount,
        trials: FormerTrials,
        now: Timestamp,
    ) -> Result<Customer> {
        if trials.at_stripe {
            self.had_stripe_trial(&customer.customer_id, now).await?;
        }
        Ok(customer)
    }

    /// Returns the customer with this login, and the password hash. One statement, whether there is
    /// one or not: two would take longer for a known address (security_12).
    pub async fn login_of(&mut self, email: &Email) -> Result<Option<(Customer, String)>> {
        let row = sql!(
            self,
            fetch_optional: Both<Login, Customer>,
            "SELECT {columns} FROM (
                 SELECT user_id AS login_id, password_hash FROM users WHERE email = $1
             ) AS login JOIN customers ON user_id = login_id",
            email,
        )?;
        Ok(row.map(|Both(login, customer)| (customer, login.password_hash)))
    }

    /// Returns the customer with this email address.
    pub async fn customer_by_email(&mut self, email: &Email) -> Result<Option<Customer>> {
        sql!(self, fetch_optional: Customer, "SELECT {columns} FROM customers WHERE email = $1", email)
    }

    /// Returns the customer with this id.
    pub async fn customer(&mut self, id: &CustomerId) -> Result<Option<Customer>> {
        sql!(
            self,
            fetch_optional: Customer,
            "SELECT {columns} FROM customers WHERE customer_id = $1",
            id,
        )
    }

    /// Returns the time of the customer's last sync with Stripe, and the default payment method.
    pub async fn stripe_state(
        &mut self,
        id: &CustomerId,
    ) -> Result<(Option<Timestamp>, Option<String>)> {
        let state = sql!(
            self,
            fetch_optional: (Option<Timestamp>, Option<String>),
            "SELECT stripe_synced_at, default_payment_method FROM customers WHERE customer_id = $1",
            id,
        )?;
        Ok(state.unwrap_or_default())
    }

    /// Returns the customer with this id and locks it until the transaction ends: other changes to
    /// the customer wait. An update that changes nothing is the row lock that both databases have.
    pub async fn lock_customer(&mut self, id: &CustomerId) -> Result<Option<Customer>> {
        sql!(
            self,
            fetch_optional: Customer,
            "UPDATE customers SET customer_id = customer_id WHERE customer_id = $1 RETURNING {columns}",
            id,
        )
    }

    /// Returns the customer of a user, and locks it like [`Self::lock_customer`].
    pub async fn lock_customer_of(&mut self, user_id: &UserId) -> Result<Option<Customer>> {
        sql!(
            self,
            fetch_optional: Customer,
            "UPDATE customers SET customer_id = customer_id WHERE user_id = $1 RETURNING {columns}",
            user_id,
        )
    }

    /// Updates the addresses, the names, the language and `reset_required_at` of a customer. The
    /// login address changes too. Returns the customer.
    ///
    /// # Errors
    /// [`crate::error::Error::EmailTaken`], also for a reserved address.
    pub async fn update_customer(
        &mut self,
        customer: &Customer,
        now: Timestamp,
    ) -> Result<Customer> {
        let is_new = sql!(
            self,
            execute,
            "UPDATE users SET email = $2, updated_at = $3 WHERE user_id = $1 AND email <> $2",
            &customer.user_id,
            &customer.email,
            now,
        )?;
        if is_new > 0 {
            self.must_not_be_reserved(&customer.email, &customer.customer_id, now).await?;
        }
        let customer = sql!(
            self,
            fetch_one: Customer,
            "UPDATE customers SET email = $2, email_verified_at = $3, pending_email = $4, name = $5,
                 company_name = $6, language = $7, reset_required_at = $8, updated_at = $9,
                 terms_at = $9
             WHERE customer_id = $1 RETURNING {columns}",
            &customer.customer_id,
            &customer.email,
            customer.email_verified_at,
            &customer.pending_email,
            &customer.name,
            &customer.company_name,
            customer.language,
            customer.reset_required_at,
            now,
        )?;
        self.replace_terms(&customer).await?;
        Ok(customer)
    }

    /// Returns the texts that support keeps about a customer.
    pub async fn metadata(&mut self, id: &CustomerId) -> Result<Metadata> {
        let metadata = sql!(
            self,
            fetch_optional: (Metadata,),
            "SELECT metadata FROM customers WHERE customer_id = $1",
            id,
        )?;
        Ok(metadata.map(|(metadata,)| metadata).unwrap_or_default())
    }

    /// Replaces the texts that support keeps about a customer.
    pub async fn set_metadata(
        &mut self,
        id: &CustomerId,
        metadata: &Metadata,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE customers SET metadata = $2, updated_at = $3 WHERE customer_id = $1",
            id,
            metadata,
            now,
        )?;
        Ok(())
    }

    /// Returns the customer that is linked to this Stripe customer.
    pub async fn customer_by_stripe_id(
        &mut self,
        id: &StripeCustomerId,
    ) -> Result<Option<CustomerId>> {
        let customer = sql!(
            self,
            fetch_optional: (CustomerId,),
            "SELECT customer_id FROM customers WHERE stripe_customer_id = $1",
            id,
        )?;
        Ok(customer.map(|(id,)| id))
    }

    /// Returns the customers who may have bought something at Stripe, ordered by id, starting after
    /// `after`, at most `most`: those with a Stripe customer, and those with a claimed payment.
    pub async fn customers_at_stripe(
        &mut self,
        after: Option<&CustomerId>,
        most: i64,
    ) -> Result<Vec<CustomerId>> {
        let customers = sql!(
            self,
            fetch_all: (CustomerId,),
            "SELECT customer_id FROM customers
             WHERE customer_id > $1 AND (stripe_customer_id IS NOT NULL OR EXISTS
                 (SELECT 1 FROM guest_purchases
                  WHERE guest_purchases.customer_id = customers.customer_id))
             ORDER BY customer_id LIMIT $2",
            after.map_or("", CustomerId::as_str),
            most,
        )?;
        Ok(customers.into_iter().map(|(id,)| id).collect())
    }

    /// Returns the customers with the data that the backfill matches, ordered by id, starting after
    /// `after`, at most `most`.
    pub async fn customers_to_match(
        &mut self,
        after: Option<&CustomerId>,
        most: i64,
    ) -> Result<Vec<CustomerCandidate>> {
        let rows = sql!(
            self,
            fetch_all: OursRow,
            "SELECT customer_id, email, stripe_customer_id, stripe_synced_at, email_verified_at,
                 (SELECT COUNT(*) FROM waiting_purchases
                  WHERE waiting_purchases.customer_id = customers.customer_id)
             FROM customers WHERE customer_id > $1 ORDER BY customer_id LIMIT $2",
            after.map_or("", CustomerId::as_str),
            most,
        )?;
        Ok(rows.into_iter().map(ours).collect())
    }

    /// Returns the customers that a Stripe customer may match: the one linked to it, the one with
    /// this id, and the one with this email address.
    pub async fn customers_like(
        &mut self,
        stripe_id: &StripeCustomerId,
        named: Option<&CustomerId>,
        email: Option<&Email>,
    ) -> Result<Vec<CustomerCandidate>> {
        let rows = sql!(
            self,
            fetch_all: OursRow,
            "SELECT customer_id, email, stripe_customer_id, stripe_synced_at, email_verified_at,
                 (SELECT COUNT(*) FROM waiting_purchases
                  WHERE waiting_purchases.customer_id = customers.customer_id)
             FROM customers
             WHERE stripe_customer_id = $1 OR customer_id = $2 OR email = $3",
            stripe_id,
            named,
            email,
        )?;
        Ok(rows.into_iter().map(ours).collect())
    }

    /// Sets or removes the link to a Stripe customer, forgets what was kept of the former one, and
    /// deletes the new one from the unknown buyers.
    /// `synced_at` is `None` until the first sync.
    pub async fn link_stripe_customer(
        &mut self,
        id: &CustomerId,
        stripe_id: Option<&StripeCustomerId>,
        synced_at: Option<Timestamp>,
    ) -> Result<()> {
        let status = stripe_id.map(|_| SyncStatus::Synced);
        sql!(
            self,
            execute,
            "UPDATE customers SET stripe_customer_id = $2, stripe_sync_status = $3,
                 stripe_synced_at = $4, stripe_closed_invoice_id = NULL,
                 default_payment_method = NULL WHERE customer_id = $1",
            id,
            stripe_id,
            status,
            synced_at,
        )?;
        sql!(self, execute, "DELETE FROM kept_purchases WHERE customer_id = $1", id)?;
        if let Some(stripe_id) = stripe_id {
            self.forget_unknown_buyer(&stripe_id.clone().into()).await?;
        }
        Ok(())
    }

    /// Records which changed fields must be sent to Stripe.
    pub async fn stripe_sync_due(&mut self, id: &CustomerId, due: SyncStatus) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE customers SET stripe_sync_status = $2 WHERE customer_id = $1",
            id,
            due,
        )?;
        Ok(())
    }

    /// Records the result of a sync.
    pub async fn stripe_synced(
        &mut self,
        id: &CustomerId,
        default_payment_method: Option<&str>,
        closed_invoice: Option<&InvoiceId>,
        status: Option<SyncStatus>,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE customers SET stripe_synced_at = $5, default_payment_method = $2,
                 stripe_closed_invoice_id = $3, stripe_sync_status = $4 WHERE customer_id = $1",
            id,
            default_payment_method,
            closed_invoice,
            status,
            now,
        )?;
        Ok(())
    }

    /// Replaces the password hash.
    pub async fn set_password_hash(
        &mut self,
        user_id: &UserId,
        hash: &str,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE users SET password_hash = $2, updated_at = $3 WHERE user_id = $1",
            user_id,
            hash,
            now,
        )?;
        Ok(())
    }

    /// Deletes a user, the customer, and their login sessions and licenses. Status lists show the
    /// licenses as revoked from then on.
    pub async fn delete_user(&mut self, user_id: &UserId, now: Timestamp) -> Result<()> {
        self.keep_status_of_deleted(user_id, now).await?;
        sql!(self, execute, "DELETE FROM users WHERE user_id = $1", user_id)?;
        Ok(())
    }

    /// Returns the number of customers.
    pub async fn count_customers(&mut self) -> Result<i64> {
        let (count,) = sql!(self, fetch_one: (i64,), "SELECT COUNT(*) FROM customers")?;
        Ok(count)
    }
}
