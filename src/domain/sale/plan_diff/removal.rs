//! What a plans file no longer grants, and its text.

use std::fmt;

use licentia_verify::OnEnd;

use crate::domain::count::counted;
use crate::domain::sale::plan::promise_text;
use crate::domain::sale::policy::PolicySetting;

use super::OneTimeGood;

/// Something that a plan or add-on granted and no longer grants. `id` is that of the plan or
/// add-on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The plan or add-on itself.
    Gone {
        /// Its former id.
        id: String,
    },
    /// A feature.
    Feature {
        /// The plan or add-on.
        id: String,
        /// The feature.
        feature: String,
    },
    /// A limit that is lower or missing.
    Limit {
        /// The plan or add-on.
        id: String,
        /// The limit's name.
        limit: String,
        /// Its former value.
        before: u64,
        /// Its present value.
        after: Option<u64>,
    },
    /// A limit that is no longer multiplied by the quantity.
    PerUnit {
        /// The plan.
        id: String,
        /// The limit's name.
        limit: String,
    },
    /// A perpetual license after a number of paid months: they are more, or it is gone.
    Fallback {
        /// The plan.
        id: String,
        /// The former number of months.
        before: u32,
        /// The present number of months.
        after: Option<u32>,
    },
    /// A one-time price that pays for fewer months of builds.
    Updates {
        /// The plan.
        id: String,
        /// The price.
        price: String,
        /// The former number of months; `None` covered all builds.
        before: Option<u32>,
        /// The present number of months.
        after: u32,
    },
    /// A price that was charged once sells something else now.
    PriceSellsOther {
        /// The plan or the add-on.
        id: String,
        /// The price.
        price: String,
        /// What it sold.
        before: OneTimeGood,
        /// What it sells now; `None` if it is charged again and again.
        after: Option<OneTimeGood>,
    },
    /// Plans that ranked below it rank above it.
    Rank {
        /// The plan.
        id: String,
        /// The plans that rank above it now, by their present ids.
        above: Vec<String>,
    },
    /// The promise about the end of a license is weaker.
    OnEnd {
        /// The plan.
        id: String,
        /// The former promise.
        before: OnEnd,
        /// The present promise.
        after: OnEnd,
    },
    /// Apps warn later.
    WarnDays {
        /// The plan.
        id: String,
        /// The former number of days.
        before: u32,
        /// The present number of days.
        after: u32,
    },
    /// License tokens live shorter.
    TokenDays {
        /// The plan.
        id: String,
        /// The former number of days.
        before: u32,
        /// The present number of days.
        after: u32,
    },
    /// Licenses work shorter after an unpaid renewal.
    GraceDays {
        /// The plan.
        id: String,
        /// The former number of days.
        before: u32,
        /// The present number of days.
        after: u32,
    },
    /// A plan that the add-on is no longer sold with.
    WithPlan {
        /// The add-on.
        id: String,
        /// The plan.
        plan: String,
    },
    /// A price at Stripe that no longer pays for it.
    Price {
        /// The plan or add-on.
        id: String,
        /// The price.
        price: String,
        /// The plan or add-on that it pays for now, if any.
        of: Option<String>,
    },
    /// A setting of the policy that kept what a payment bought and revokes it now.
    Policy(PolicySetting),
}

impl fmt::Display for Removal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone { id } => write!(
                formatter,
                "`{id}` is no longer in the plans file: its licenses stay as they are and are not \
                 refreshed; if it was renamed, list `{id}` in `former_ids`"
            ),
            Self::Feature { id, feature } => {
                write!(formatter, "`{id}` no longer grants `{feature}`")
            }
            Self::Limit { id, limit, before, after: Some(after) } => {
                write!(formatter, "`{id}` grants {after} `{limit}` instead of {before}")
            }
            Self::Limit { id, limit, before, after: None } => {
                write!(formatter, "`{id}` no longer has the limit `{limit}` ({before})")
            }
            Self::PerUnit { id, limit } => {
                write!(formatter, "`{id}` no longer multiplies `{limit}` by the quantity")
            }
            Self::Fallback { id, before, after } => {
                formatter.write_str(&fallback(id, *before, *after))
            }
            Self::Updates { id, price, before, after } => write!(
                formatter,
                "{price} pays for {} of builds of `{id}` and not for {}: perpetual licenses that \
                 were bought at it cover fewer builds; sell fewer months by another price",
                counted(*after, "month"),
                before.map_or("all".to_owned(), |before| before.to_string())
            ),
            Self::PriceSellsOther { id, price, before, after } => {
                sells_other(formatter, id, price, (*before, *after))
            }
            Self::Rank { id, above } => write!(
                formatter,
                "`{id}` ranks below {} now: customers who have paid for both lose `{id}`",
                above.iter().map(|plan| format!("`{plan}`")).collect::<Vec<_>>().join(" and ")
            ),
            Self::OnEnd { id, before, after } => write!(
                formatter,
                "`{id}` promises less about the end, `on_end`: {} instead of {}; a license in the \
                 field keeps its promise until it is refreshed",
                promise_text(after),
                promise_text(before)
            ),
            Self::WarnDays { id, before, after } => write!(
                formatter,
                "apps with a license of `{id}` warn {} before a change for the worse instead of \
                 {before}",
                counted(*after, "day")
            ),
            Self::TokenDays { id, before, after } => write!(
                formatter,
                "license tokens of `{id}` work for {} without a refresh instead of {before}",
                counted(*after, "day")
            ),
            Self::GraceDays { id, before, after } => write!(
                formatter,
                "licenses of `{id}` work for {} after an unpaid renewal instead of {before}",
                counted(*after, "day")
            ),
            Self::WithPlan { id, plan } => write!(
                formatter,
                "`{id}` is no longer sold with `{plan}`: customers who pay for both lose it"
            ),
            Self::Price { id, price, of: Some(of) } => {
                write!(formatter, "{price} pays for `{of}` instead of `{id}`")
            }
            Self::Price { id, price, of: None } => write!(
                formatter,
                "{price} no longer pays for `{id}`; if anybody pays it or has bought something \
                 for it, put it back under `prices` with `sold = false`"
            ),
            Self::Policy(setting) => formatter.write_str(&stricter(*setting)),
        }
    }
}

/// Returns that a subscription leaves a perpetual license later, or none.
fn fallback(id: &str, before: u32, after: Option<u32>) -> String {
    match after {
        Some(after) => format!(
            "`{id}` leaves a perpetual license after {} instead of {before}: perpetual licenses \
             that it has left are revoked or cover fewer builds",
            counted(after, "paid month")
        ),
        None => format!(
            "`{id}` no longer leaves a perpetual license after {}: perpetual licenses that it has \
             left are revoked",
            counted(before, "paid month")
        ),
    }
}

/// Writes that a price sells something else now.
fn sells_other(
    formatter: &mut fmt::Formatter<'_>,
    id: &str,
    price: &str,
    change: (OneTimeGood, Option<OneTimeGood>),
) -> fmt::Result {
    match change {
        (OneTimeGood::Updates, Some(OneTimeGood::License)) => write!(
            formatter,
            "{price} sold updates of `{id}` and counts as a purchase of the plan now, with units \
             of its own; keep it under `prices` with `sold = false`, because `former_prices` does \
             not say what it sold"
        ),
        (OneTimeGood::Updates, _) => write!(
            formatter,
            "{price} sold updates of `{id}` and is charged for each period now: its buyers lose \
             the updates"
        ),
        (OneTimeGood::License, Some(_)) => write!(
            formatter,
            "{price} sold perpetual licenses of `{id}` and counts as updates now: its buyers lose \
             the license"
        ),
        (OneTimeGood::License, None) => write!(
            formatter,
            "{price} was charged once for `{id}` and is charged for each period now: its buyers \
             lose `{id}`"
        ),
    }
}

/// Returns what a setting of the policy takes away.
fn stricter(setting: PolicySetting) -> String {
    let payments = match setting {
        PolicySetting::Refund => "payments that were refunded in full",
        PolicySetting::PartialRefund => "payments that were returned in part",
        PolicySetting::Dispute => "payments with an open dispute",
        PolicySetting::DisputeLost => "payments with a lost dispute",
        PolicySetting::Forgiven => "forgiven renewals",
    };
    let name = setting.name();
    format!("`{name}` is \"revoke\" instead of \"keep\": what {payments} bought is revoked")
}
