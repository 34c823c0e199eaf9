//! What a sandbox is started with.

use std::net::{Ipv4Addr, SocketAddr};

/// The API version whose shapes and rules the sandbox follows.
pub const API_VERSION: &str = "2026-09-30.endive";

/// The secret key that is accepted if no other is chosen.
pub const SECRET_KEY: &str = "sk_test_sandbox";

/// What a sandbox is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the API and the pages listen; must be a loopback address. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the mail inbox listens; must be a loopback address. Port 0 takes a free one.
    pub listen_smtp: SocketAddr,
    /// The API key that callers must show.
    pub secret_key: String,
    /// Decides every id: the same seed and the same calls give the same ids.
    pub seed: u64,
    /// The time that it starts with.
    pub start: StartTime,
    /// Who sends the webhooks.
    pub sending: Sending,
    /// The time that signatures carry.
    pub signature_time: SignatureTime,
    /// The choices that Stripe leaves to the account's settings.
    pub behavior: Behavior,
}

impl Default for Options {
    fn default() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listen,
            listen_smtp: listen,
            secret_key: SECRET_KEY.to_owned(),
            seed: 0,
            start: StartTime::Machine,
            sending: Sending::Automatic,
            signature_time: SignatureTime::Sandbox,
            behavior: Behavior::default(),
        }
    }
}

/// The time that a sandbox starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTime {
    /// The machine's; it runs on, and can be moved ahead of it.
    Machine,
    /// These epoch seconds; it stands until it is moved.
    At(i64),
}

/// Who sends the webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// The sandbox, as soon as they are due.
    Automatic,
    /// The test, by calling [`crate::Sandbox::deliver_pending`] or [`crate::Sandbox::settled`].
    Manual,
}

/// The time that webhook signatures carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureTime {
    /// The sandbox's clock: for a receiver that shares it.
    Sandbox,
    /// The machine's clock: for a receiver that is a process of its own.
    Machine,
}

/// The choices that Stripe leaves to the account's settings.
#[derive(Clone, Copy, Debug)]
pub struct Behavior {
    /// What becomes of a subscription when every retry of a payment has failed.
    pub after_retries: AfterRetries,
    /// How the portal says that a subscription ends with its period.
    pub portal_cancels_by: CancelField,
    /// Whether a renewal's invoice stays a draft for an hour, as it does at Stripe. Without it, a
    /// renewal is collected at once.
    pub drafts_renewals: bool,
}

impl Default for Behavior {
    fn default() -> Self {
        Self {
            after_retries: AfterRetries::Cancel,
            portal_cancels_by: CancelField::CancelAt,
            drafts_renewals: false,
        }
    }
}

/// What becomes of a subscription when every retry of a payment has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRetries {
    /// It is canceled.
    Cancel,
    /// It is `unpaid`.
    Unpaid,
    /// It stays `past_due`.
    PastDue,
}

/// The field that carries a cancellation at the period's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelField {
    /// `cancel_at`, with `cancel_at_period_end` false: what flexible billing does.
    CancelAt,
    /// `cancel_at_period_end`, with `cancel_at` beside it.
    PeriodEnd,
}

/// What becomes of invoices while the collection of payments is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// They stay drafts.
    KeepAsDraft,
    /// They are written off.
    MarkUncollectible,
    /// They are voided.
    Void,
}

impl Pause {
    /// Stripe's word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KeepAsDraft => "keep_as_draft",
            Self::MarkUncollectible => "mark_uncollectible",
            Self::Void => "void",
        }
    }
}

/// How long a coupon applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CouponDuration {
    /// To one invoice.
    Once,
    /// For so many months.
    Months(i64),
    /// To every invoice.
    Forever,
}

impl CouponDuration {
    /// Stripe's word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Months(_) => "repeating",
            Self::Forever => "forever",
        }
    }

    /// How many months, where that matters.
    pub(crate) const fn months(self) -> Option<i64> {
        match self {
            Self::Months(months) => Some(months),
            Self::Once | Self::Forever => None,
        }
    }
}
