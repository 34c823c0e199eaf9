//! The reasons why a subscription is not changed.

use std::fmt;

use crate::domain::sale::selection::NotSold;
use crate::domain::sale::selection::holdings::OwnsMore;

/// The reason why a subscription cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeRefused {
    /// There is no subscription.
    NoSubscription,
    /// The requested plan, interval, quantity or add-on is not sold.
    NotSold(NotSold),
    /// The first payment is missing.
    Incomplete,
    /// An invoice is unpaid.
    Unpaid,
    /// The subscription is paused.
    Paused,
    /// No plan has the price of the subscription.
    UnknownPrice,
    /// The requested plan is not sold by subscription at this interval.
    NotRecurring,
    /// An add-on is requested, and the price of the subscription is no longer sold.
    FormerPrice,
    /// The subscription is scheduled to end before everything would be used that is billed now.
    Ending,
    /// It is in a trial, and the requested plan, which is higher, has none.
    Trial,
    /// The customer has more already, or all of it, by single payments.
    Owned(OwnsMore),
    /// A schedule of the vendor manages the subscription.
    Scheduled,
    /// The change adds something, which is billed now, and takes away something that is paid until
    /// the end of the period.
    MoreAndLess,
}

impl fmt::Display for ChangeRefused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Owned(reason) => return reason.fmt(formatter),
            Self::NoSubscription => "there is no subscription",
            Self::NotSold(_) => "it is not sold",
            Self::Incomplete => {
                "the first payment of the subscription is missing; complete the checkout first"
            }
            Self::Unpaid => {
                "the last invoice of the subscription is unpaid; update the payment method by POST \
                 /api/subscriptions/portal, and try again once it is paid"
            }
            Self::Paused => {
                "the subscription is paused; resume it first, by POST /api/subscriptions/resume, \
                 or end it, by POST /api/subscriptions/cancel"
            }
            Self::UnknownPrice => {
                "the plan of the subscription is no longer sold; ask the vendor to change it"
            }
            Self::NotRecurring => {
                "a subscription has the interval `month` or `year`; buy the others by POST \
                 /api/subscriptions/checkout"
            }
            Self::FormerPrice => {
                "the price of the subscription is no longer sold, so no add-on can join it; send \
                 `interval`, and `plan` if needed, to change to a present price"
            }
            Self::Ending => {
                "the subscription is scheduled to end before everything could be used that the \
                 change bills now; resume it first, by POST /api/subscriptions/resume"
            }
            Self::Trial => {
                "the plan has no trial, so the trial of a lower plan cannot change to it; change \
                 when the trial has ended, or end it now, by POST /api/subscriptions/cancel with \
                 `at` `now`, and buy the plan"
            }
            Self::Scheduled => {
                "the vendor has scheduled changes of the subscription; ask them to change it"
            }
            Self::MoreAndLess => {
                "it adds one thing and takes another away; make two changes: first what is added, \
                 which is billed now, and then what is taken away, which counts from the next \
                 period on"
            }
        })
    }
}

impl From<OwnsMore> for ChangeRefused {
    fn from(reason: OwnsMore) -> Self {
        Self::Owned(reason)
    }
}

impl From<NotSold> for ChangeRefused {
    fn from(reason: NotSold) -> Self {
        Self::NotSold(reason)
    }
}
