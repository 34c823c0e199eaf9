//! The options of a sandbox. Actions at run time are in `double` and `switches`.

use std::net::{Ipv4Addr, SocketAddr};

/// The API version whose shapes and rules the sandbox follows.
pub const API_VERSION: &str = "2026-09-30.endive";

/// The default secret key.
pub const SECRET_KEY: &str = "sk_test_sandbox";

/// The options of a sandbox.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address of the API and the pages; must be loopback. Port 0 picks a free port.
    pub listen: SocketAddr,
    /// The address of the mail inbox; must be loopback. Port 0 picks a free port.
    pub listen_smtp: SocketAddr,
    /// The API key of the callers.
    pub secret_key: String,
    /// The seed of all ids: the same seed and the same calls give the same ids.
    pub seed: u64,
    /// The clock's start.
    pub start: StartTime,
    /// The sender of the webhooks.
    pub sending: Sending,
    /// The time in signatures.
    pub signature_time: SignatureTime,
    /// The account's rules of billing.
    pub behavior: Behavior,
    /// The settings of the account.
    pub account: AccountSettings,
    /// The URL of the pages of invoices and receipts, such as `https://pay.example`: at Stripe, it
    /// is https. `None` is the sandbox's own URL; only there, the page of an invoice exists.
    pub documents_url: Option<String>,
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
            account: AccountSettings::default(),
            documents_url: None,
        }
    }
}

/// The clock's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTime {
    /// The machine's time. The clock runs, and can be advanced.
    Machine,
    /// A time in epoch seconds. The clock is stopped until it is advanced.
    At(i64),
}

/// The sender of the webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// The sandbox, as soon as they are due.
    Automatic,
    /// The test, by calling [`crate::Double::deliver_pending`] or [`crate::Double::settled`].
    Manual,
}

/// The time in webhook signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureTime {
    /// The sandbox's time: for a receiver that shares its clock.
    Sandbox,
    /// The machine's time: for a receiver in another process.
    Machine,
}

/// The settings of the account in the dashboard. By default, everything is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// Whether Stripe Tax is ready.
    pub tax: TaxStatus,
    /// The URL of the terms of service. The API does not return it.
    pub terms_url: Option<String>,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self { tax: TaxStatus::Active, terms_url: Some("https://vendor.example/terms".to_owned()) }
    }
}

/// Whether Stripe Tax is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaxStatus {
    /// It is.
    Active,
    /// The address of the head office is missing.
    Pending,
}

/// The account's rules of billing.
#[derive(Clone, Copy, Debug)]
pub struct Behavior {
    /// The end of dunning: the subscription's state when the last retry of a payment failed.
    pub after_retries: AfterRetries,
    /// The field by which the portal cancels a subscription at the end of its period.
    pub portal_cancels_by: CancelField,
    /// Whether `customer.subscription.trial_will_end` is sent, as at Stripe. Histories that were
    /// drawn without it need it off.
    pub announces_trial_ends: bool,
    /// Whether a renewal's invoice stays a draft for an hour, as at Stripe. Otherwise it is charged
    /// at once.
    pub drafts_renewals: bool,
    /// Whether changes are billed as at Stripe: each earlier bill is credited, a negative total is
    /// put on the customer's balance, and discounts are inside of prorations. Otherwise the first
    /// item's difference is billed, and dropped if it is negative: histories that are saved by the
    /// seed of a simulation need that.
    pub carries_credits: bool,
}

impl Default for Behavior {
    fn default() -> Self {
        Self {
            after_retries: AfterRetries::Cancel,
            portal_cancels_by: CancelField::CancelAt,
            announces_trial_ends: true,
            drafts_renewals: false,
            carries_credits: true,
        }
    }
}

/// The state of a subscription when the last retry of a payment failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRetries {
    /// It is canceled.
    Cancel,
    /// It is `unpaid`.
    Unpaid,
    /// It stays `past_due`.
    PastDue,
}

/// The field that carries a cancellation at the end of the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelField {
    /// `cancel_at`, while `cancel_at_period_end` is false: flexible billing.
    CancelAt,
    /// `cancel_at_period_end`, together with `cancel_at`.
    PeriodEnd,
}

/// How a change within a period is billed
/// (<https://docs.stripe.com/billing/subscriptions/prorations>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proration {
    /// Not at all.
    None,
    /// By items of the next invoice.
    NextInvoice,
    /// By an invoice at once.
    Now,
}

/// The state of new invoices while the collection of payments is paused.
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
    /// Stripe's name of it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KeepAsDraft => "keep_as_draft",
            Self::MarkUncollectible => "mark_uncollectible",
            Self::Void => "void",
        }
    }
}

/// The duration of a coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CouponDuration {
    /// One invoice.
    Once,
    /// So many months.
    Months(i64),
    /// Every invoice.
    Forever,
}

impl CouponDuration {
    /// Stripe's name of it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Months(_) => "repeating",
            Self::Forever => "forever",
        }
    }

    /// The number of months, if it is limited to some.
    pub(crate) const fn months(self) -> Option<i64> {
        match self {
            Self::Months(months) => Some(months),
            Self::Once | Self::Forever => None,
        }
    }
}
