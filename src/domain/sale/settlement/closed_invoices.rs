//! Decides which invoices are closed: nothing about them changes that a settlement reads, unless an
//! event says so. The next sync need not fetch them. A customer may have thousands of invoices;
//! [`crate::stripe`] stops fetching at the newest closed one.

use crate::domain::sale::entitlement::is_recent;
use crate::domain::sale::invoice::{Invoice, InvoiceStatus};
use crate::domain::sale::stripe_ids::InvoiceId;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::time::Timestamp;

/// The number of newest invoices that every sync fetches: half a page. The same page then has the
/// newest closed one, unless more than fifty invoices were added since the last sync.
pub(super) const ALWAYS_FETCHED: usize = 50;

/// Returns the newest invoice that is closed together with every older one. The newest
/// `always_fetched` invoices never count as closed.
pub(super) fn closed_through(
    state: &StripeState,
    always_fetched: usize,
    now: Timestamp,
) -> Option<&InvoiceId> {
    let older = state.invoices.len().saturating_sub(always_fetched);
    let closed = state.invoices.iter().take(older).take_while(|i| is_closed(i, state, now));
    closed.last().map(|invoice| &invoice.id)
}

/// Returns whether later settlements can do without the invoice, or get it in any case: those of a
/// running subscription are listed separately. Refunds, disputes and credit notes have events of
/// their own ([`crate::domain::sale::inbox::LeasedEvent::may_concern_closed_invoice`]).
fn is_closed(invoice: &Invoice, state: &StripeState, now: Timestamp) -> bool {
    let is_over = matches!(invoice.status, InvoiceStatus::Paid | InvoiceStatus::Void);
    let is_of_running = state.running_subscriptions().any(|id| invoice.is_of(id));
    let covers_now = invoice.lines.iter().any(|line| line.period_end > Some(now));
    is_over
        && !is_recent_without_effect(invoice, state, now)
        && (is_of_running || invoice.subscription.is_none() || !covers_now)
}

/// Returns whether an invoice may be one of those that are reported while they are recent: a single
/// payment, or one for a subscription that had ended.
fn is_recent_without_effect(invoice: &Invoice, state: &StripeState, now: Timestamp) -> bool {
    let ended_before = |paid_at| match &invoice.subscription {
        None => true,
        Some(id) => {
            let own = state.subscriptions.iter().find(|one| one.id == *id);
            own.and_then(|own| own.ended_at).is_some_and(|ended_at| ended_at < paid_at)
        }
    };
    invoice.paid_at.is_some_and(|paid_at| is_recent(paid_at, now) && ended_before(paid_at))
}
