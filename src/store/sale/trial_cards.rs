//! The table of cards that have had a trial at Stripe. It has keyed hashes, never a fingerprint.

use crate::domain::ids::CustomerId;
use crate::domain::sale::stripe_ids::StripeSubscriptionId;
use crate::domain::sale::trial::FirstTrial;
use crate::domain::secret::KeyedHash;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::statement::sql;
use crate::store::{SWEPT_AT_ONCE, Tx};

impl Tx {
    /// Returns the subscription in which a card has had its trial, if it is remembered at `now`.
    pub async fn trial_card(
        &mut self,
        card: &KeyedHash,
        now: Timestamp,
    ) -> Result<Option<StripeSubscriptionId>> {
        let row = sql!(
            self,
            fetch_optional: (StripeSubscriptionId,),
            "SELECT stripe_subscription_id FROM trial_cards
             WHERE card_hash = $1 AND kept_until > $2",
            card,
            now,
        )?;
        Ok(row.map(|(subscription,)| subscription))
    }

    /// Remembers that a card has had a trial in a subscription, and deletes a few rows whose time
    /// is over. Returns false, and changes nothing, if it has had one in another.
    pub async fn remember_trial_card(
        &mut self,
        first: &FirstTrial,
        now: Timestamp,
    ) -> Result<bool> {
        let table = ("trial_cards", "card_hash", "kept_until");
        self.sweep_table(table, now, SWEPT_AT_ONCE).await?;
        let written = sql!(
            self,
            execute,
            "INSERT INTO trial_cards (card_hash, stripe_subscription_id, kept_until)
             VALUES ($1, $2, $3)
             ON CONFLICT (card_hash) DO UPDATE SET
                 stripe_subscription_id = excluded.stripe_subscription_id,
                 kept_until = excluded.kept_until
             WHERE trial_cards.kept_until <= $4
                 OR trial_cards.stripe_subscription_id = excluded.stripe_subscription_id",
            first.hash,
            first.subscription,
            first.remembered_until,
            now,
        )?;
        Ok(written > 0)
    }

    /// Records that a customer has had a trial at Stripe.
    pub async fn had_stripe_trial(&mut self, id: &CustomerId, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE customers SET stripe_trial_at = $2
             WHERE customer_id = $1 AND stripe_trial_at IS NULL",
            id,
            now,
        )
        .map(drop)
    }

    /// Returns whether a customer has had a trial at Stripe, also with an earlier Stripe customer.
    pub async fn has_had_stripe_trial(&mut self, id: &CustomerId) -> Result<bool> {
        let row = sql!(
            self,
            fetch_optional: (Option<Timestamp>,),
            "SELECT stripe_trial_at FROM customers WHERE customer_id = $1",
            id,
        )?;
        Ok(row.is_some_and(|(at,)| at.is_some()))
    }
}
