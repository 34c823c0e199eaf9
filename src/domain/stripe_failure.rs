//! Why a call to Stripe failed: what may have been done, and whether a repetition helps.

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StripeFailure {
    /// No answer, or one that says to come back later. It may have taken effect.
    #[error("Stripe cannot be reached: {0}")]
    Unreachable(String),
    /// A 5xx, which Stripe may keep under the call's idempotency key and repeat for ever.
    #[error("Stripe failed: {0}")]
    Broken(String),
    /// A 4xx: the call is wrong, or the account is set up otherwise.
    #[error("Stripe refused ({status}): {problem}{}", advice(*status))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Stripe's names for the problem and the parameter. Not its message, which repeats what was
        /// sent: an address, say.
        problem: String,
    },
    /// A list that is longer than is read.
    #[error("Stripe's list {path} has more than {most} pages")]
    TooLong {
        /// Which.
        path: String,
        /// How many pages were read.
        most: usize,
    },
    /// An answer of another shape than Stripe's.
    #[error("Stripe's answer cannot be read: {0}")]
    Unreadable(String),
}

/// The way out, where the status tells it.
fn advice(status: u16) -> &'static str {
    match status {
        401 => "; check that `stripe.secret_key` is a key of this account that was not rolled",
        403 => "; the key lacks a right that this needs",
        _ => "",
    }
}
