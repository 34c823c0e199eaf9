//! Remembers which addresses have had a trial, here or at Stripe, also after their account was
//! deleted (security_46). Only keyed hashes are stored. They are written when an address becomes
//! free; while an account has the address, nobody else can sign up with it.

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::contact::Email;
use crate::domain::ids::CustomerId;
use crate::domain::secret::{KeyedHash, Purpose};
use crate::domain::time::{SKEW, Timestamp};
use crate::error::Result;
use crate::flows::secret;
use crate::store::Tx;

/// The hashes of an address that may have had a trial.
pub(in crate::flows) struct TrialAddress {
    /// Stored if it had one here.
    hash: KeyedHash,
    /// Stored if it had one at Stripe.
    stripe_hash: KeyedHash,
    /// How long it is remembered.
    kept_for: TimeDelta,
}

impl TrialAddress {
    /// Returns the address, or `None` if the vendor remembers no trials.
    pub(in crate::flows) async fn of(app: &App, email: &Email) -> Result<Option<Self>> {
        let kept_for = TimeDelta::days(app.plans.trial_remember_days.into());
        if kept_for.is_zero() {
            return Ok(None);
        }
        let hash = secret::keyed(app, Purpose::TrialAddress, email.as_str()).await?;
        let stripe_hash = secret::keyed(app, Purpose::StripeTrialAddress, email.as_str()).await?;
        Ok(Some(Self { hash, stripe_hash, kept_for }))
    }

    /// Returns whether the address has had a trial here.
    pub(super) async fn has_had_trial(&self, tx: &mut Tx, now: Timestamp) -> Result<bool> {
        self.is_remembered(tx, &self.hash, now).await
    }

    /// Returns whether the address has had a trial at Stripe.
    pub(super) async fn has_had_stripe_trial(&self, tx: &mut Tx, now: Timestamp) -> Result<bool> {
        self.is_remembered(tx, &self.stripe_hash, now).await
    }

    async fn is_remembered(&self, tx: &mut Tx, hash: &KeyedHash, now: Timestamp) -> Result<bool> {
        let kept_until = tx.trial_kept_until(hash).await?;
        // A later time was stored by a clock that was ahead.
        let latest = now + self.kept_for + SKEW;
        Ok(kept_until.is_some_and(|until| now < until && until <= latest))
    }

    /// Remembers which trials a customer has had, in the transaction that makes the address free.
    pub(super) async fn remember(
        &self,
        tx: &mut Tx,
        id: &CustomerId,
        now: Timestamp,
    ) -> Result<()> {
        if tx.has_had_trial(id).await? {
            tx.remember_trial(&self.hash, now + self.kept_for, now).await?;
        }
        if tx.has_had_stripe_trial(id).await? {
            tx.remember_trial(&self.stripe_hash, now + self.kept_for, now).await?;
        }
        Ok(())
    }
}

/// Remembers a customer's present address, in the transaction that makes it free. The caller calls
/// [`secret::prepare`] before the transaction.
pub(in crate::flows) async fn remember(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    email: &Email,
    now: Timestamp,
) -> Result<()> {
    match TrialAddress::of(app, email).await? {
        Some(address) => address.remember(tx, id, now).await,
        None => Ok(()),
    }
}
