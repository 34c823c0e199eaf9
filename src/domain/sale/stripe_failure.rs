//! The failures of calls to Stripe: whether the call may have taken effect, and whether a retry may
//! succeed. The retries are in [`crate::stripe`] and in the flows.

/// The failure of a call to Stripe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StripeFailure {
    /// There was no response, or one that asks for a retry. The call may have taken effect.
    #[error("Stripe cannot be reached: {0}")]
    Unreachable(String),
    /// A 5xx response. Stripe may store it and repeat it for the same idempotency key.
    #[error("Stripe failed: {0}")]
    Broken(String),
    /// A 4xx response: the call is wrong, or the account is configured differently.
    #[error("Stripe refused the call ({status}): {problem}{}", advice(*status))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Stripe's code and parameter. Not its message, which may repeat an email address.
        problem: String,
    },
    /// A list has more pages than the limit.
    #[error("Stripe's list {path} has more than {most} pages")]
    TooLong {
        /// The path of the list.
        path: String,
        /// The limit.
        most: usize,
    },
    /// A response with an unexpected shape.
    #[error("Stripe's response cannot be read: {0}")]
    Unreadable(String),
}

impl StripeFailure {
    /// Returns whether Stripe refused a call that ends an object because of the object: it was
    /// paid, closed or ended in the meantime, or does not exist. The refusal of a key, or of a
    /// missing permission, says nothing about the object.
    #[must_use]
    pub fn comes_too_late(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 404, .. })
    }
}

/// Returns the advice for a status, if there is any.
fn advice(status: u16) -> &'static str {
    match status {
        401 => "; check that `stripe.secret_key` is a valid key of this account",
        403 => "; the key lacks a permission for this call",
        _ => "",
    }
}
