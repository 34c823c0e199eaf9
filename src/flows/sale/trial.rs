//! Trials at Stripe: finds the cards that have had one, and ends the trials that
//! [`crate::domain::sale::trial`] refuses, so that the first period is charged.
//!
//! Everything follows from Stripe's state and from the table of cards, so a lost or repeated event
//! changes nothing.

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::license::{Basis, Source};
use crate::domain::sale::stripe_ids::{StripeCustomerId, StripeSubscriptionId};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::Status;
use crate::domain::sale::trial::{Card, FirstTrial, judge};
use crate::domain::secret::Purpose;
use crate::error::Result;
use crate::fail_point::Place;
use crate::flows::Mode;
use crate::flows::secret::keyed;
use crate::stripe::{Needs, StripeFailure};

/// Fetches a customer's purchases. Ends refused trials, unless this is a dry run. Returns also the
/// first trials of cards, which are to be remembered.
///
/// The state to settle is the one after a trial was ended.
pub(in crate::flows) async fn purchases(
    app: &App,
    (id, stripe_id): (&CustomerId, &StripeCustomerId),
    needs: &Needs<'_>,
    mode: Mode,
) -> Result<(StripeState, Vec<FirstTrial>)> {
    let mut state = app.stripe()?.purchases(stripe_id, needs).await?;
    if !needs.has_trials {
        return Ok((state, Vec::new()));
    }
    let mut first = judged(app, id, &mut state).await?;
    if mode == Mode::Apply && end_refused(app, &state).await? {
        state = app.stripe()?.purchases(stripe_id, needs).await?;
        first = judged(app, id, &mut state).await?;
    }
    Ok((state, first))
}

/// Marks the refused trials. Returns the first trials of cards.
async fn judged(app: &App, id: &CustomerId, state: &mut StripeState) -> Result<Vec<FirstTrial>> {
    let now = app.now();
    let mut cards = Vec::new();
    for subscription in state.subscriptions.iter().filter(|found| found.trial_end.is_some()) {
        let Some(fingerprint) = &subscription.card else { continue };
        let hash = keyed(app, Purpose::TrialCard, fingerprint).await?;
        let had_trial_in = app.store.read().await?.trial_card(&hash, now).await?;
        cards.push(Card { subscription: subscription.id.clone(), hash, had_trial_in });
    }
    if cards.is_empty() {
        return Ok(Vec::new());
    }
    let accepted = accepted(app, id).await?;
    let kept_for = TimeDelta::days(app.plans.trial_remember_days.into());
    Ok(judge(state, &cards, accepted.as_ref(), kept_for, now))
}

/// Returns the subscription for which an earlier sync issued the license that works.
async fn accepted(app: &App, id: &CustomerId) -> Result<Option<StripeSubscriptionId>> {
    let mut tx = app.store.read().await?;
    let license = tx.current_license(id).await?.filter(|license| {
        let is_paid = license.source == Source::Paid && license.basis == Basis::Subscription;
        is_paid && license.works(app.now())
    });
    if license.is_none() {
        return Ok(None);
    }
    Ok(tx.subscription(id).await?.map(|row| row.stripe_subscription_id))
}

/// Ends the refused trials at Stripe, so that they are charged. Returns whether there were any.
/// Repeating the call changes nothing.
async fn end_refused(app: &App, state: &StripeState) -> Result<bool> {
    let mut is_any = false;
    for subscription in &state.subscriptions {
        if !subscription.is_trial_refused || subscription.status != Status::Trialing {
            continue;
        }
        let id = &subscription.id;
        match app.stripe()?.end_trial(id, app.fail_points.at(Place::TrialEnded)).await {
            Ok(()) => is_any = true,
            // It grants nothing in any case. An operator can end it at Stripe.
            Err(error @ StripeFailure::Refused { .. }) => {
                tracing::warn!(subscription = %id, %error, "a refused trial could not be ended");
                app.metrics.sync_alerts.inc();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(is_any)
}
