//! The `[policy]` of the plans file: whether a customer keeps what a payment bought when the money
//! is returned. [`crate::domain::sale::invoice`] applies it to each invoice.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The consequence for what a payment bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consequence {
    /// It works until the end of what was paid for: of the period, or for ever if it is perpetual.
    Keep,
    /// It is revoked immediately.
    Revoke,
}

impl FromStr for Consequence {
    type Err = InvalidConsequence;

    fn from_str(text: &str) -> Result<Self, InvalidConsequence> {
        match text {
            "keep" => Ok(Self::Keep),
            "revoke" => Ok(Self::Revoke),
            _ => Err(InvalidConsequence),
        }
    }
}

/// A text that is not a [`Consequence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use \"keep\" or \"revoke\"")]
pub struct InvalidConsequence;

/// The consequences when the money of a payment is returned, and when the vendor forgives a
/// renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// After a full refund.
    pub refund: Consequence,
    /// After a partial refund.
    pub partial_refund: Consequence,
    /// While a dispute about it is open. If the vendor wins the dispute, it is restored.
    pub dispute: Consequence,
    /// After a lost dispute.
    pub dispute_lost: Consequence,
    /// After the vendor has forgiven a renewal: voided its invoice, written it off by hand, or
    /// credited all of it before it was paid.
    pub forgiven: Consequence,
}

impl Policy {
    /// Revokes nothing. It is used to determine what was ever paid.
    pub const KEEP_ALL: Self = Self {
        refund: Consequence::Keep,
        partial_refund: Consequence::Keep,
        dispute: Consequence::Keep,
        dispute_lost: Consequence::Keep,
        forgiven: Consequence::Keep,
    };
}

impl Default for Policy {
    /// Revokes after a full refund or a lost dispute. Keeps after a partial refund, during a
    /// dispute, and after the vendor has forgiven a renewal.
    fn default() -> Self {
        Self {
            refund: Consequence::Revoke,
            partial_refund: Consequence::Keep,
            dispute: Consequence::Keep,
            dispute_lost: Consequence::Revoke,
            forgiven: Consequence::Keep,
        }
    }
}

/// A setting of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicySetting {
    /// [`Policy::refund`].
    Refund,
    /// [`Policy::partial_refund`].
    PartialRefund,
    /// [`Policy::dispute`].
    Dispute,
    /// [`Policy::dispute_lost`].
    DisputeLost,
    /// [`Policy::forgiven`].
    Forgiven,
}

impl PolicySetting {
    /// All settings.
    pub const ALL: [Self; 5] =
        [Self::Refund, Self::PartialRefund, Self::Dispute, Self::DisputeLost, Self::Forgiven];

    /// Returns its consequence by a policy.
    #[must_use]
    pub fn of(self, policy: &Policy) -> Consequence {
        match self {
            Self::Refund => policy.refund,
            Self::PartialRefund => policy.partial_refund,
            Self::Dispute => policy.dispute,
            Self::DisputeLost => policy.dispute_lost,
            Self::Forgiven => policy.forgiven,
        }
    }

    /// Returns its name in the plans file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refund => "policy.refund",
            Self::PartialRefund => "policy.partial_refund",
            Self::Dispute => "policy.dispute",
            Self::DisputeLost => "policy.dispute_lost",
            Self::Forgiven => "policy.forgiven",
        }
    }
}
