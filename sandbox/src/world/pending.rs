//! Updates of subscriptions that wait for a payment. Stripe shows a part of each in
//! `pending_update`.

use serde_json::Value;

/// An update of a subscription that is applied when its invoice is paid.
#[derive(Clone, Debug)]
pub struct PendingUpdate {
    /// The invoice that bills it.
    pub invoice: String,
    /// The fields of the subscription after it.
    pub fields: Value,
    /// When it expires.
    pub expires_at: i64,
}
