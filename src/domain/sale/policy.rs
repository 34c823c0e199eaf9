//! The `[policy]` of the plans file: whether a customer keeps what a payment bought when the money
//! is returned. [`crate::domain::sale::invoice`] applies it to each invoice.

use std::str::FromStr;

/// The outcome for what a payment bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bought {
    /// It works until the end of what was paid for: of the period, or for ever if it is perpetual.
    Keep,
    /// It is revoked immediately.
    Revoke,
}

impl FromStr for Bought {
    type Err = InvalidBought;

    fn from_str(text: &str) -> Result<Self, InvalidBought> {
        match text {
            "keep" => Ok(Self::Keep),
            "revoke" => Ok(Self::Revoke),
            _ => Err(InvalidBought),
        }
    }
}

/// A text that is not a [`Bought`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use \"keep\" or \"revoke\"")]
pub struct InvalidBought;

/// The outcome for what a payment bought when its money is returned, and for a renewal that the
/// vendor forgives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// After a full refund.
    pub refund: Bought,
    /// After a partial refund.
    pub partial_refund: Bought,
    /// While a dispute about it is open. If the vendor wins the dispute, it is restored.
    pub dispute: Bought,
    /// After a lost dispute.
    pub dispute_lost: Bought,
    /// After the vendor has forgiven a renewal: voided its invoice, written it off by hand, or
    /// credited all of it before it was paid.
    pub forgiven: Bought,
}

impl Policy {
    /// Revokes nothing. It is used to determine what was ever paid.
    pub const KEEP_ALL: Self = Self {
        refund: Bought::Keep,
        partial_refund: Bought::Keep,
        dispute: Bought::Keep,
        dispute_lost: Bought::Keep,
        forgiven: Bought::Keep,
    };
}

impl Default for Policy {
    /// Revokes after a full refund or a lost dispute. Keeps after a partial refund, during a
    /// dispute, and after the vendor has forgiven a renewal.
    fn default() -> Self {
        Self {
            refund: Bought::Revoke,
            partial_refund: Bought::Keep,
            dispute: Bought::Keep,
            dispute_lost: Bought::Revoke,
            forgiven: Bought::Keep,
        }
    }
}
