//! Voids the invoice of a change, or of a resumption, that waits for its payment. Stripe keeps it
//! payable after the end of its subscription.

use crate::app::App;
use crate::domain::sale::change::waiting_invoice;
use crate::domain::sale::invoice::Invoice;
use crate::domain::sale::stripe_ids::InvoiceId;
use crate::domain::sale::subscription::Subscription;
use crate::error::Result;
use crate::fail_point::Place;

/// Voids the invoice of a subscription that waits for its payment, if there is one among
/// `invoices`, which ends the change. Returns an invoice that can no longer be voided: it was paid
/// or voided in the meantime.
///
/// # Errors
/// [`crate::error::Error::Stripe`]: then it may still be paid.
pub(super) async fn void<'i>(
    app: &App,
    of: &Subscription,
    invoices: &'i [Invoice],
) -> Result<Option<&'i InvoiceId>> {
    let Some(invoice) = waiting_invoice(of, invoices) else { return Ok(None) };
    let at = app.fail_points.at(Place::ChangeCleared);
    match app.stripe()?.void_invoice(invoice.as_str(), at).await {
        Ok(()) => Ok(None),
        Err(failure) if failure.comes_too_late() => Ok(Some(invoice)),
        Err(failure) => Err(failure.into()),
    }
}
