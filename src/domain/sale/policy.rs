//! The `[policy]` of the plans file: whether a customer keeps what a payment bought when the money
//! is returned. [`crate::domain::sale::invoice`] applies it to each invoice.

use std::str::FromStr;

/// The outcome for what a payment bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It works until the end of what was paid for: of the period, or for ever if it is perpetual.
    Keep,
    /// It is revoked immediately.
    Revoke,
}

impl FromStr for Outcome {
    type Err = InvalidOutcome;

    fn from_str(text: &str) -> Result<Self, InvalidOutcome> {
        match text {
            "keep" => Ok(Self::Keep),
            "revoke" => Ok(Self::Revoke),
            _ => Err(InvalidOutcome),
        }
    }
}

/// A text that is not an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use \"keep\" or \"revoke\"")]
pub struct InvalidOutcome;

/// The outcome for what a payment bought when its money is returned, and for a renewal that the
/// vendor forgives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// After a full refund.
    pub refund: Outcome,
    /// After a partial refund.
    pub partial_refund: Outcome,
    /// While a dispute about it is open. If the vendor wins the dispute, it is restored.
    pub dispute: Outcome,
    /// After a lost dispute.
    pub dispute_lost: Outcome,
    /// After the vendor has forgiven a renewal: voided its invoice, written it off by hand, or
    /// credited all of it before it was paid.
    pub forgiven: Outcome,
}

impl Policy {
    /// Revokes nothing. It is used to determine what was ever paid.
    pub const KEEP_ALL: Self = Self {
        refund: Outcome::Keep,
        partial_refund: Outcome::Keep,
        dispute: Outcome::Keep,
        dispute_lost: Outcome::Keep,
        forgiven: Outcome::Keep,
    };
}

impl Default for Policy {
    /// Revokes after a full refund or a lost dispute. Keeps after a partial refund, during a
    /// dispute, and after the vendor has forgiven a renewal.
    fn default() -> Self {
        Self {
            refund: Outcome::Revoke,
            partial_refund: Outcome::Keep,
            dispute: Outcome::Keep,
            dispute_lost: Outcome::Revoke,
            forgiven: Outcome::Keep,
        }
    }
}
