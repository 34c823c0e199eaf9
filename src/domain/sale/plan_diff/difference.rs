//! The differences between what a license grants by two plans files, and their texts.

use std::fmt;

use licentia_verify::OnEnd;

use super::OneTimeGood;
use crate::domain::ids::{CustomerId, LicenseId, OrderId};
use crate::domain::sale::plan::{promise_text, promises_less};
use crate::domain::sale::policy::{Consequence, PolicySetting};

/// A license that another plans file changes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseChange {
    /// The customer.
    pub customer_id: CustomerId,
    /// The license.
    pub license_id: LicenseId,
    /// Its plan by the old file.
    pub plan: String,
    /// The differences, at least one.
    pub differences: Vec<Difference>,
}

/// One difference between what a license grants by two plans files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The new file does not have its plan.
    PlanGone,
    /// A price that its customer pays, or may have paid, is of nothing in the new file, or of
    /// something else.
    PriceMoved {
        /// The price.
        price: String,
        /// The plan or the add-on that it pays for now, if any.
        of: Option<String>,
        /// Whether it is only one of the prices at which the license may have been bought.
        is_possible: bool,
    },
    /// A one-time price at which it, or one of its add-ons, may have been bought, sells something
    /// else now.
    PriceSellsOther {
        /// The price.
        price: String,
        /// What it sells now; `None` if it is charged again and again.
        after: Option<OneTimeGood>,
    },
    /// A plan that its customer has paid for too ranks above its plan now, or, for what a
    /// subscription left, below it.
    Rank {
        /// The other plan.
        plan: String,
        /// Whether it ranks above now.
        is_above: bool,
    },
    /// Its plan is another one now, or has another id.
    NewPlan(String),
    /// A feature is granted in addition.
    Gains(String),
    /// A feature is no longer granted.
    Loses(String),
    /// A limit has another value; `None` if there is none.
    Limit {
        /// Its name.
        name: String,
        /// The value by the old file.
        before: Option<u64>,
        /// The value by the new file.
        after: Option<u64>,
    },
    /// Something else remains at the end.
    OnEnd {
        /// The promise by the old file.
        before: OnEnd,
        /// The promise by the new file.
        after: OnEnd,
    },
    /// Apps warn at another number of days before a change for the worse.
    WarnDays {
        /// The number by the old file.
        before: u64,
        /// The number by the new file.
        after: u64,
    },
    /// Its license tokens have another longest lifetime, in days.
    TokenDays {
        /// The number by the old file.
        before: u32,
        /// The number by the new file.
        after: u32,
    },
    /// Its grace period has another number of days.
    GraceDays {
        /// The number by the old file.
        before: u32,
        /// The number by the new file.
        after: u32,
    },
    /// An add-on is lost: it is not for the plan any more.
    LosesAddon(String),
    /// A subscription left it after another number of months; `None` if it leaves nothing now.
    Fallback {
        /// The number by the old file.
        before: Option<u32>,
        /// The number by the new file.
        after: Option<u32>,
    },
    /// A one-time price of its plan pays for another number of months of builds; `None` for all.
    Updates {
        /// The price.
        price: String,
        /// The number by the old file.
        before: Option<u32>,
        /// The number by the new file.
        after: Option<u32>,
    },
    /// A payment of its customer, which was returned or forgiven, counts now, or no longer counts.
    Policy {
        /// The setting that says so.
        setting: PolicySetting,
        /// Its consequence by the new file.
        after: Consequence,
        /// The order of the payment.
        order: OrderId,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value =
            |limit: &Option<u64>| limit.map_or("none".to_owned(), |limit| limit.to_string());
        match self {
            Self::PlanGone => formatter.write_str("its plan is gone; it is not refreshed"),
            Self::PriceMoved { price, of, is_possible } => {
                let of = of.as_ref().map_or("nothing".to_owned(), |of| format!("`{of}`"));
                match is_possible {
                    false => write!(formatter, "its price {price} pays for {of} now"),
                    true => {
                        write!(formatter, "{price}, which may have paid for it, pays for {of} now")
                    }
                }
            }
            Self::PriceSellsOther { price, after } => {
                let sells = match after {
                    Some(OneTimeGood::License) => "sells perpetual licenses",
                    Some(OneTimeGood::Updates) => "sells updates",
                    None => "is charged for each period",
                };
                write!(formatter, "{price}, which may have paid for it, {sells} now")
            }
            Self::Rank { plan, is_above } => {
                let place = if *is_above { "above" } else { "below" };
                write!(
                    formatter,
                    "{plan}, which its customer has paid for too, ranks {place} it now"
                )
            }
            Self::NewPlan(id) => write!(formatter, "its plan is now {id}"),
            Self::Gains(feature) => write!(formatter, "gains {feature}"),
            Self::Loses(feature) => write!(formatter, "loses {feature}"),
            Self::Limit { name, before, after } => {
                write!(formatter, "{name}: {} → {}", value(before), value(after))
            }
            Self::OnEnd { before, after } => {
                let (old, new) = (promise_text(before), promise_text(after));
                let note = if promises_less(after, before) { ", which promises less" } else { "" };
                write!(formatter, "on_end: {old} → {new}{note}")
            }
            Self::WarnDays { before, after } => write!(formatter, "warn_days: {before} → {after}"),
            Self::TokenDays { before, after } => {
                write!(formatter, "token_days: {before} → {after}")
            }
            Self::GraceDays { before, after } => {
                write!(formatter, "grace_days: {before} → {after}")
            }
            Self::LosesAddon(addon) => write!(formatter, "loses the add-on {addon}"),
            Self::Fallback { before, after } => {
                let months = |months: &Option<u32>| value(&months.map(u64::from));
                write!(formatter, "fallback_months: {} → {}", months(before), months(after))
            }
            Self::Updates { price, before, after } => {
                let months =
                    |months: &Option<u32>| months.map_or("all".to_owned(), |n| n.to_string());
                write!(formatter, "updates_months of {price}: ")?;
                write!(formatter, "{} → {}", months(before), months(after))
            }
            Self::Policy { setting, after, order } => {
                let change = match after {
                    Consequence::Keep => "revoke → keep",
                    Consequence::Revoke => "keep → revoke",
                };
                let state = state_of_payment(*setting);
                write!(formatter, "{}: {change}, and {order} {state}", setting.name())
            }
        }
    }
}

/// Returns what an order says about its payment if a setting of the policy may be about it.
fn state_of_payment(setting: PolicySetting) -> &'static str {
    match setting {
        PolicySetting::Refund => "was refunded",
        PolicySetting::PartialRefund => "was returned in part",
        PolicySetting::Dispute | PolicySetting::DisputeLost => "is disputed",
        PolicySetting::Forgiven => "was not paid",
    }
}
