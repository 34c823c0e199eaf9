//! The purchases of a Stripe customer who is not linked, without those that a customer here has.
//! A payment link can create a new Stripe customer for each purchase (customer_creation=always, an
//! invoice, a subscription), and a customer here is linked to one. So a single payment of another
//! one is claimed by its Checkout session, like that of a guest (`guests.rs`).

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::sale::entitlement::is_bought_once;
use crate::domain::sale::stripe_ids::{CheckoutSessionId, StripeCustomerId};
use crate::domain::sale::stripe_state::{CheckoutSession, CheckoutStatus, StripeState};
use crate::error::{Error, Result};

/// Returns what a Stripe customer bought, without the single payments that were claimed by their
/// Checkout sessions.
///
/// # Errors
/// [`crate::error::Error::Stripe`] or a failure of the database.
pub(super) async fn purchases(app: &App, id: &StripeCustomerId) -> Result<StripeState> {
    let mut bought = app.stripe()?.bought(id, app.plans.sells_once()).await?;
    leave_out_claimed(app, &mut bought, None).await?;
    Ok(bought)
}

/// Removes from what a Stripe customer bought the single payments that another customer than `id`
/// claimed by their Checkout sessions: a payment grants one customer something. Without an `id`,
/// removes all that were claimed. Returns the first removed session of a customer, with its owner.
///
/// # Errors
/// A failure of the database.
pub(super) async fn leave_out_claimed(
    app: &App,
    bought: &mut StripeState,
    id: Option<&CustomerId>,
) -> Result<Option<(CheckoutSessionId, CustomerId)>> {
    let mut first = None;
    if bought.checkout_sessions.is_empty() {
        return Ok(first);
    }
    let mut tx = app.store.read().await?;
    for session in std::mem::take(&mut bought.checkout_sessions) {
        let claimed = tx.guest_purchase(&session.id).await?;
        let owner = claimed.as_ref().and_then(|purchase| purchase.customer_id.as_ref());
        let is_left_out = match id {
            Some(id) => owner.is_some_and(|owner| owner != id),
            None => claimed.is_some(),
        };
        if !is_left_out {
            bought.checkout_sessions.push(session);
            continue;
        }
        bought.paid_sessions.retain(|paid| paid.id != session.id);
        bought.invoices.retain(|invoice| Some(&invoice.id) != session.invoice.as_ref());
        first = first.or_else(|| Some((session.id, owner?.clone())));
    }
    Ok(first)
}

/// Refuses to link a Stripe customer to another customer than the one who claimed a session of it;
/// `id` is `None` for a new account.
///
/// # Errors
/// [`Error::StripeLinkRefused`], with the way out. As [`purchases`].
pub(super) async fn refuse_of_another(
    app: &App,
    stripe_id: &StripeCustomerId,
    id: Option<&CustomerId>,
) -> Result<()> {
    let mut bought = app.stripe()?.bought(stripe_id, app.plans.sells_once()).await?;
    match leave_out_claimed(app, &mut bought, id).await? {
        None => Ok(()),
        Some((session, owner)) => Err(Error::StripeLinkRefused(format!(
            "{stripe_id} paid for {session}, which belongs to {owner}, so it is linked to no other \
             customer; claim its other single payments by their sessions"
        ))),
    }
}

/// Returns the commands that give the single payments of a Stripe customer to a customer here; none
/// if there are no such payments.
///
/// # Errors
/// As [`purchases`].
pub(super) async fn commands(
    app: &App,
    id: &StripeCustomerId,
    owner: &CustomerId,
) -> Result<Option<String>> {
    let bought = purchases(app, id).await?;
    let is_single = |session: &&CheckoutSession| {
        let of_session = bought.paid_sessions.iter().filter(|paid| paid.id == session.id);
        let of_session = of_session.flat_map(|paid| &paid.lines);
        let invoice = |id| bought.invoices.iter().find(|invoice| Some(&invoice.id) == id);
        let of_invoice = invoice(session.invoice.as_ref()).into_iter();
        let mut lines = of_session.chain(of_invoice.flat_map(|invoice| &invoice.lines));
        session.status == CheckoutStatus::Complete
            && !session.is_unpaid
            && lines.any(|line| is_bought_once(line, &app.plans))
    };
    let sessions = bought.checkout_sessions.iter().filter(is_single);
    let command = |id: &CheckoutSessionId| format!("`licentia stripe claim {id} --to {owner}`");
    let commands: Vec<_> = sessions.map(|session| command(&session.id)).collect();
    Ok((!commands.is_empty()).then(|| commands.join(" and ")))
}
