//! Remembers which addresses have had a trial, here or at Stripe, also after their account was
//! deleted (security_46). Only keyed hashes are stored. They are written when an address becomes
//! free; while an account has the address, nobody else can get an account with it. Every account is
//! inserted here.

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::account::customer::{Customer, FormerTrials, NewAccount};
use crate::domain::contact::Email;
use crate::domain::ids::CustomerId;
use crate::domain::secret::Purpose;
use crate::domain::time::{SKEW, Timestamp};
use crate::error::Result;
use crate::flows::secret;
use crate::store::Tx;

/// Inserts an account, in the transaction of the caller. A trial that its address has had at Stripe
/// counts as the customer's. Returns the customer and the trials that the address has had.
///
/// # Errors
/// [`crate::error::Error::EmailTaken`], or a failure of the database.
pub(in crate::flows) async fn insert_account(
    app: &App,
    tx: &mut Tx,
    new: NewAccount,
    now: Timestamp,
) -> Result<(Customer, FormerTrials)> {
    let email = new.email.clone();
    let inserted = tx.insert_account(new, now).await?;
    // Read after the insert, which waits for the deletion of another account with the address.
    let trials = FormerTrials {
        here: is_remembered(app, tx, (Purpose::TrialAddress, &email), now).await?,
        at_stripe: is_remembered(app, tx, (Purpose::StripeTrialAddress, &email), now).await?,
    };
    let customer = tx.record_former_trials(inserted, trials, now).await?;
    Ok((customer, trials))
}

/// Remembers which trials a customer has had, in the transaction that makes the address free. The
/// caller calls [`secret::prepare`] before the transaction.
pub(in crate::flows) async fn remember(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    email: &Email,
    now: Timestamp,
) -> Result<()> {
    let kept_for = kept_for(app);
    if kept_for.is_zero() {
        return Ok(());
    }
    let had = [
        (Purpose::TrialAddress, tx.has_had_trial(id).await?),
        (Purpose::StripeTrialAddress, tx.has_had_stripe_trial(id).await?),
    ];
    for (purpose, _) in had.into_iter().filter(|(_, had)| *had) {
        let hash = secret::keyed(app, purpose, email.as_str()).await?;
        tx.remember_trial(&hash, now + kept_for, now).await?;
    }
    Ok(())
}

/// Returns how long an address is remembered; zero if the vendor remembers no trials.
fn kept_for(app: &App) -> TimeDelta {
    TimeDelta::days(app.plans.trial_remember_days.into())
}

/// Returns whether an address has had a trial of this kind, and belongs to nobody since.
async fn is_remembered(
    app: &App,
    tx: &mut Tx,
    (purpose, email): (Purpose, &Email),
    now: Timestamp,
) -> Result<bool> {
    let kept_for = kept_for(app);
    if kept_for.is_zero() {
        return Ok(false);
    }
    let Some(hash) = secret::keyed_if_any(app, tx, purpose, email.as_str()).await? else {
        return Ok(false);
    };
    let kept_until = tx.trial_kept_until(&hash).await?;
    // A later time was stored by a clock that was ahead.
    let latest = now + kept_for + SKEW;
    Ok(kept_until.is_some_and(|until| now < until && until <= latest))
}
