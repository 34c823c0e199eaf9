//! Trials at Stripe: one for each customer and each card. A trial with a card that has had one
//! grants nothing and is ended at once, so that the first period is charged. The mail before the
//! first charge is added here too.
//!
//! Everything follows from Stripe's state and from the table of cards, so a lost or repeated event
//! changes nothing.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::message::Kind;
use crate::domain::outbox::To;
use crate::domain::sale::stripe_ids::{StripeCustomerId, StripeSubscriptionId};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::{Status, Subscription};
use crate::domain::secret::{KeyedHash, Purpose};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::secret::keyed;
use crate::flows::{Mode, mail};
use crate::store::Tx;
use crate::stripe::{Needs, StripeFailure};

/// How long before the end of a trial the first charge is announced: Stripe's event comes three
/// days before
/// (<https://docs.stripe.com/api/events/types#event_types-customer.subscription.trial_will_end>).
/// The clocks may differ by an hour.
const ANNOUNCED_BEFORE: TimeDelta = TimeDelta::hours(3 * 24 + 1);

/// A card that is used for a trial for the first time.
#[derive(Debug)]
pub(in crate::flows) struct NewTrialCard {
    hash: KeyedHash,
    subscription: StripeSubscriptionId,
    kept_until: Timestamp,
}

/// Fetches a customer's purchases. Ends trials with a card that has had one, unless this is a dry
/// run. Returns also the cards that are new.
pub(in crate::flows) async fn purchases(
    app: &App,
    stripe_id: &StripeCustomerId,
    needs: &Needs<'_>,
    mode: Mode,
) -> Result<(StripeState, Vec<NewTrialCard>)> {
    let mut state = app.stripe()?.purchases(stripe_id, needs).await?;
    let mut cards = mark(app, &mut state).await?;
    if mode == Mode::Apply && end_refused(app, &state).await? {
        state = app.stripe()?.purchases(stripe_id, needs).await?;
        cards = mark(app, &mut state).await?;
    }
    Ok((state, cards))
}

/// Marks the subscriptions whose card has had a trial in another one. Returns the cards that are
/// new.
async fn mark(app: &App, state: &mut StripeState) -> Result<Vec<NewTrialCard>> {
    let kept_for = TimeDelta::days(app.plans.trial_remember_days.into());
    let mut new: Vec<NewTrialCard> = Vec::new();
    // The oldest trial of a card is the one that counts.
    let mut with_trial: Vec<&mut Subscription> =
        state.subscriptions.iter_mut().filter(|one| one.trial_end.is_some()).collect();
    with_trial.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    for subscription in with_trial {
        let (Some(card), Some(end)) = (&subscription.card, subscription.trial_end) else {
            continue;
        };
        let hash = keyed(app, Purpose::TrialCard, card).await?;
        let stored = app.store.read().await?.trial_card(&hash, app.now()).await?;
        let found = new.iter().find(|one| one.hash == hash).map(|one| one.subscription.clone());
        match stored.or(found) {
            Some(of) => subscription.is_trial_refused = of != subscription.id,
            None if end + kept_for > app.now() => new.push(NewTrialCard {
                hash,
                subscription: subscription.id.clone(),
                kept_until: end + kept_for,
            }),
            None => {}
        }
    }
    Ok(new)
}

/// Ends the refused trials at Stripe, so that they are charged. Returns whether there were any.
/// Repeating the call changes nothing.
async fn end_refused(app: &App, state: &StripeState) -> Result<bool> {
    let refused = |one: &&Subscription| one.is_trial_refused && one.status == Status::Trialing;
    let mut is_any = false;
    for subscription in state.subscriptions.iter().filter(refused) {
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

/// Remembers what a settled state says about trials, and announces the first charge.
///
/// # Errors
/// [`Error::Busy`] when another customer began a trial with the same card in the meantime: the
/// repeated sync refuses this one.
pub(super) async fn settle(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    (state, cards): (&StripeState, &[NewTrialCard]),
    now: Timestamp,
) -> Result<()> {
    for NewTrialCard { hash, subscription, kept_until } in cards {
        if !tx.remember_trial_card(hash, subscription, *kept_until, now).await? {
            return Err(Error::Busy);
        }
    }
    if state.subscriptions.iter().any(|one| one.trial_end.is_some()) {
        tx.had_stripe_trial(id, now).await?;
    }
    let begins: BTreeSet<_> = state
        .subscriptions
        .iter()
        .filter_map(|one| {
            let end = one.trial_end.filter(|end| *end > now && *end <= now + ANNOUNCED_BEFORE)?;
            let is_charged = one.status == Status::Trialing
                && one.plan(&app.plans).is_some()
                && one.ends_at(&app.plans).is_none();
            is_charged.then_some((&one.id, end))
        })
        .collect();
    for (subscription, end) in begins {
        let Some(license) = tx.current_license(id).await? else { continue };
        // Another end, after an extension, is announced again.
        let key = format!("{}:{subscription}:{}", Kind::PaymentBegins, end.epoch_seconds());
        let to = To::License(id, &license.license_id);
        mail::enqueue_as(app, tx, Kind::PaymentBegins, to, (None, Some(key)), now).await?;
    }
    Ok(())
}
