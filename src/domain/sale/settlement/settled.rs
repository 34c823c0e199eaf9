//! Decides which invoices the next sync need not fetch: those about which nothing can change that a
//! settlement reads, unless an event says so. A customer may have thousands of them.
//! [`crate::stripe`] stops fetching at the newest of them.

use crate::domain::sale::invoice::{Invoice, InvoiceStatus};
use crate::domain::sale::stripe_ids::InvoiceId;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::time::Timestamp;

/// The number of newest invoices that every sync fetches: half a page, so that the page also has
/// the newest settled invoice for as long as fewer than fifty new ones are added between two syncs.
pub(super) const KEPT: usize = 50;

/// Returns the newest invoice that is settled together with every older one. The newest `kept`
/// invoices never count as settled.
pub(super) fn settled_through(
    state: &StripeState,
    kept: usize,
    now: Timestamp,
) -> Option<&InvoiceId> {
    let older = state.invoices.len().saturating_sub(kept);
    let settled = state.invoices.iter().take(older).take_while(|i| is_settled(i, state, now));
    settled.last().map(|invoice| &invoice.id)
}

/// Returns whether a later settlement does not need the invoice. Refunds, disputes and credit notes
/// are announced by events of their own
/// ([`crate::domain::sale::inbox::LeasedEvent::may_concern_settled_invoice`]).
fn is_settled(invoice: &Invoice, state: &StripeState, now: Timestamp) -> bool {
    let is_final = matches!(invoice.status, InvoiceStatus::Paid | InvoiceStatus::Void);
    // The invoices of a subscription that has not ended are fetched in any case.
    let is_of_running = state.running_subscriptions().any(|id| invoice.is_of(id));
    let covers_now = invoice.lines.iter().any(|line| line.period_end > Some(now));
    is_final && (is_of_running || invoice.subscription.is_none() || !covers_now)
}
