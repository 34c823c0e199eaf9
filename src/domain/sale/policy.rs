//! What the vendor leaves to a customer whose money goes back: the `[policy]` of the plans file.
//! How it bears on a license is decided by [`crate::domain::sale::entitlement`].

use std::str::FromStr;

/// What becomes of what a payment bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bought {
    /// It stays until the end of the time that was paid for.
    Keep,
    /// It is taken back at once.
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

/// A text that is no [`Bought`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use \"keep\" or \"revoke\"")]
pub struct InvalidBought;

/// What becomes of what a payment bought when its money goes back, and of a renewal that the vendor
/// forgives. Money that goes back in part changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// When all of it was refunded.
    pub refund: Bought,
    /// While the customer's bank disputes it. A dispute that is won restores it.
    pub dispute: Bought,
    /// When the bank has taken it for good.
    pub dispute_lost: Bought,
    /// When the vendor forgives a renewal: voids its invoice, writes it off by hand, or credits all
    /// of it before it is paid.
    pub forgiven: Bought,
}

impl Policy {
    /// Nothing is taken back, so that what was once paid can be told.
    pub const KEEP_ALL: Self = Self {
        refund: Bought::Keep,
        dispute: Bought::Keep,
        dispute_lost: Bought::Keep,
        forgiven: Bought::Keep,
    };
}

impl Default for Policy {
    /// Revokes what was finally returned. Keeps what is only disputed, and what the vendor forgave.
    fn default() -> Self {
        Self {
            refund: Bought::Revoke,
            dispute: Bought::Keep,
            dispute_lost: Bought::Revoke,
            forgiven: Bought::Keep,
        }
    }
}
