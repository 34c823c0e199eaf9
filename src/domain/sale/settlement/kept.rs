//! Decides which purchases a sync must always fetch: a perpetual license depends on them, however
//! many newer invoices there are. The rest of the old invoices is in [`super::closed_invoices`].

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::domain::column::text_columns;
use crate::domain::sale::entitlement::{SinglePaymentId, fallback_subscriptions, single_payments};
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::policy::Policy;
use crate::domain::sale::stripe_ids::{
    CheckoutSessionId, InvalidStripeId, InvoiceId, StripeSubscriptionId,
};
use crate::domain::sale::stripe_state::StripeState;

/// The id of a purchase that is always fetched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptId {
    /// The invoice of a single payment.
    Invoice(InvoiceId),
    /// The Checkout session of a single payment without an invoice.
    Session(CheckoutSessionId),
    /// An ended subscription that left a perpetual license.
    Subscription(StripeSubscriptionId),
}

impl fmt::Display for KeptId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invoice(id) => id.fmt(formatter),
            Self::Session(id) => id.fmt(formatter),
            Self::Subscription(id) => id.fmt(formatter),
        }
    }
}

impl FromStr for KeptId {
    type Err = InvalidStripeId;

    fn from_str(text: &str) -> Result<Self, InvalidStripeId> {
        let invoice = text.parse().map(Self::Invoice);
        let session = || text.parse().map(Self::Session);
        invoice.or_else(|_| session()).or_else(|_| text.parse().map(Self::Subscription))
    }
}

text_columns!(KeptId);

/// Returns the purchases to keep. A refund may be undone by a dispute that is won, and the policy
/// may change, so those that do not count at present are kept too.
pub(super) fn kept(state: &StripeState, catalog: &Catalog) -> BTreeSet<KeptId> {
    let once = single_payments(state, catalog, &Policy::KEEP_ALL).into_iter();
    let once = once.map(|purchase| match purchase.id {
        SinglePaymentId::Invoice(id) => KeptId::Invoice(id.clone()),
        SinglePaymentId::Session(id) => KeptId::Session(id.clone()),
    });
    let ended = fallback_subscriptions(state, catalog).into_iter();
    once.chain(ended.map(KeptId::Subscription)).collect()
}
