//! Decides how a subscription changes: which of its items at Stripe are edited (`items.rs`), and
//! whether that is billed now (`paid.rs`). [`crate::flows::sale::change`] makes the change.

mod items;
mod paid;
mod refused;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::column::row;
use crate::domain::ids::AttemptId;
use crate::domain::private::Private;
use crate::domain::sale::accepted_loss::AcceptedLoss;
use crate::domain::sale::entitlement::{PaidEntitlement, assess};
use crate::domain::sale::invoice::{BillingReason, Invoice, InvoiceStatus};
use crate::domain::sale::plan::{Catalog, Currency, Interval, Plan};
use crate::domain::sale::promotion::{EnteredCode, PromotionCode};
use crate::domain::sale::selection::holdings::{Owned, OwnsMore, Subscribed};
use crate::domain::sale::stripe_ids::{InvoiceId, StripeSubscriptionId};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::{Status, Subscription};
use crate::domain::time::Timestamp;
use items::{ItemsAfter, ItemsBefore, edits};
use paid::{is_paid, takes_away};

pub use refused::ChangeRefused;

/// A requested change. `None` keeps the present value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeRequest {
    /// The plan's id.
    pub plan: Option<String>,
    /// How often the price is charged.
    pub interval: Option<Interval>,
    /// The number of units.
    pub quantity: Option<u32>,
    /// The ids of all add-ons.
    pub addons: Option<Vec<String>>,
    /// A promotion code to add.
    pub promotion_code: Option<EnteredCode>,
    /// Whether the customer accepts a license that has less than what the customer owns.
    pub accept_smaller: bool,
}

impl ChangeRequest {
    /// Returns it as JSON: the same for the same request.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut addons = self.addons.clone();
        addons.iter_mut().for_each(|ids| ids.sort());
        let mut request = json!({
            "plan": self.plan,
            "interval": self.interval.map(Interval::as_str),
            "quantity": self.quantity,
            "addons": addons,
            "promotion_code": self.promotion_code.as_ref().map(|code| &code.text),
        });
        if self.accept_smaller {
            request["accept_smaller"] = true.into();
        }
        request
    }
}

/// An edit of one item of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemEdit {
    /// Gives an item another price or quantity.
    Set {
        /// The item.
        item: String,
        /// Its price.
        price: String,
        /// Its quantity.
        quantity: u32,
    },
    /// Adds an item.
    Add {
        /// Its price.
        price: String,
        /// Its quantity.
        quantity: u32,
    },
    /// Removes an item.
    Remove {
        /// The item.
        item: String,
    },
}

/// When a change is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billing {
    /// At once, for the rest of the period.
    Now,
    /// With the next period: nothing more than what is paid for is needed until then. Also in a
    /// trial.
    Later,
}

/// The change of a subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionChange<'a> {
    /// The subscription.
    pub subscription: &'a Subscription,
    /// The edits of its items: none if they already are as requested.
    pub edits: Vec<ItemEdit>,
    /// When they are billed.
    pub billing: Billing,
    /// The prices after the change: that of the plan, then those of the add-ons.
    pub prices: Vec<String>,
    /// The currency, which stays.
    pub currency: Currency,
    /// The amount of a whole period after the change, without discounts and exclusive tax, in the
    /// currency's smallest unit. `None` if the catalog lacks the amount of a price.
    pub amount: Option<i64>,
    /// The promotion code to add. It is looked up after the decision, because whether a code can be
    /// used depends on the prices.
    pub promotion_code: Option<PromotionCode>,
    /// The parts of what the customer owns that the license will not have, if they accepted that.
    pub accepted_loss: Option<AcceptedLoss>,
}

impl SubscriptionChange<'_> {
    /// Returns whether the subscription is already as requested.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.promotion_code.is_none()
    }

    /// Returns the price of the plan after the change.
    #[must_use]
    pub fn plan_price(&self) -> Option<&str> {
        self.prices.first().map(String::as_str)
    }
}

row! {
    /// The last change of a customer's subscription that was made or is about to be made.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredChange {
        /// The idempotency key.
        pub attempt_id: AttemptId,
        /// The hash of the preview that it follows.
        pub preview_hash: String,
        /// The parameters, as JSON.
        pub parameters: Private,
        /// The time at which it was stored, before the call.
        pub created_at: Timestamp,
        /// The time at which its outcome was known; `None` before.
        pub done_at: Option<Timestamp>,
    }
}

/// What the payments for a subscription grant. An add-on that was removed from a monthly
/// subscription is paid for until the end of the month, also when the subscription is yearly now.
#[derive(Clone, Debug, Default)]
pub struct Paid<'a> {
    /// Now.
    pub now: Option<PaidEntitlement<'a>>,
    /// In the last second of the present period.
    pub at_end: Option<PaidEntitlement<'a>>,
    /// The purchases by single payments.
    pub owned: Owned<'a>,
}

/// Returns the customer's current subscription, and what is paid for. `current` is the one that was
/// current at the last sync.
///
/// # Errors
/// [`ChangeRefused::NoSubscription`] when there is none, or it has ended.
pub fn current<'a>(
    state: &'a StripeState,
    current: Option<&StripeSubscriptionId>,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Result<(&'a Subscription, Paid<'a>), ChangeRefused> {
    let assessment = assess(state, current, catalog, now);
    let subscription = assessment.subscription.filter(|one| !one.status.has_ended());
    let subscription = subscription.ok_or(ChangeRefused::NoSubscription)?;
    let its = |all: Vec<PaidEntitlement<'a>>| {
        all.into_iter().find(|paid| paid.of.is_some_and(|of| of.id == subscription.id))
    };
    let end = subscription.period_end(catalog).map(|end| now.max(end - TimeDelta::seconds(1)));
    let at_end = end.and_then(|end| its(assess(state, current, catalog, end).entitlements));
    let owned = Owned::of(state, &assessment, catalog, now);
    Ok((subscription, Paid { now: its(assessment.entitlements), at_end, owned }))
}

/// Returns how a subscription changes as requested.
///
/// # Errors
/// The reason why it cannot.
pub fn decide<'a>(
    subscription: &'a Subscription,
    paid: &Paid<'_>,
    request: &ChangeRequest,
    catalog: &Catalog,
) -> Result<SubscriptionChange<'a>, ChangeRefused> {
    match decide_without_choice(subscription, paid, request, catalog) {
        Err(ChangeRefused::Owned(OwnsMore::Smaller(smaller))) => {
            let is_possible = |plan: &Plan, units: u32| {
                let (plan, quantity) = (Some(plan.id.to_string()), Some(units));
                let request = ChangeRequest { plan, quantity, ..request.clone() };
                decide_without_choice(subscription, paid, &request, catalog).is_ok()
            };
            Err(OwnsMore::Smaller(smaller.with_choice_of_change(catalog, is_possible)).into())
        }
        decision => decision,
    }
}

/// Decides as [`decide`] does. A refusal because of a smaller license names no choice.
fn decide_without_choice<'a>(
    subscription: &'a Subscription,
    paid: &Paid<'_>,
    request: &ChangeRequest,
    catalog: &Catalog,
) -> Result<SubscriptionChange<'a>, ChangeRefused> {
    match subscription.status {
        Status::Active | Status::Trialing => {}
        Status::PastDue | Status::Unpaid => return Err(ChangeRefused::Unpaid),
        Status::Paused => return Err(ChangeRefused::Paused),
        Status::Incomplete => return Err(ChangeRefused::Incomplete),
        _ => return Err(ChangeRefused::NoSubscription),
    }
    let before = ItemsBefore::of(subscription, catalog)?;
    let after = ItemsAfter::of(&before, subscription, request, catalog)?;
    let billed = Subscribed::new(before.plan, before.quantity(), &before.addons);
    let wanted = Subscribed::new(after.plan, after.quantity, &after.addons);
    let accepted_loss = match paid.owned.refuse_change((&billed, &wanted), catalog) {
        Err(OwnsMore::Smaller(smaller)) if request.accept_smaller => smaller.accepted_loss(),
        refused => refused.map(|()| None)?,
    };
    let edits = edits(&before, &after);
    let is_trialing = subscription.status == Status::Trialing;
    if is_trialing && after.is_higher_without_trial(&before, catalog) {
        return Err(ChangeRefused::Trial);
    }
    let is_billed_now = !edits.is_empty() && !is_trialing && !is_paid(&before, &after, paid);
    // With another plan or interval, the rest of the period is credited in any case.
    if is_billed_now && paid.now.as_ref().is_some_and(|paid| takes_away(&before, &after, paid)) {
        return Err(ChangeRefused::MoreAndLess);
    }
    // Another interval begins a new period.
    let is_cut_short =
        |end| before.interval != after.interval || Some(end) < subscription.period_end(catalog);
    if is_billed_now && subscription.ends_at(catalog).is_some_and(is_cut_short) {
        return Err(ChangeRefused::Ending);
    }
    let billing = if is_billed_now { Billing::Now } else { Billing::Later };
    let (amount, prices) = (after.amount(catalog), after.prices());
    let currency = after.currency;
    Ok(SubscriptionChange {
        subscription,
        edits,
        billing,
        prices,
        currency,
        amount,
        promotion_code: None,
        accepted_loss,
    })
}

/// Returns the invoice of a former change, or of the resumption of a paused subscription, that
/// waits for its payment; `None` if none waits. The subscription may have a newer invoice, for
/// example of a renewal. In `invoices`, the oldest is first.
#[must_use]
pub fn waiting_invoice<'a>(
    subscription: &Subscription,
    invoices: &'a [Invoice],
) -> Option<&'a InvoiceId> {
    if !subscription.may_wait() {
        return None;
    }
    let is_its = |invoice: &&Invoice| {
        invoice.subscription.as_ref() == Some(&subscription.id)
            && invoice.status == InvoiceStatus::Open
            && invoice.reason == BillingReason::Change
    };
    invoices.iter().rev().find(is_its).map(|invoice| &invoice.id)
}

/// Returns whether a subscription is as these edits make it.
#[must_use]
pub fn is_applied(edits: &[ItemEdit], subscription: &Subscription) -> bool {
    let items = || subscription.items.iter();
    edits.iter().all(|edit| match edit {
        ItemEdit::Set { item, price, quantity } => items()
            .any(|one| one.id == *item && one.price == *price && one.quantity == Some(*quantity)),
        ItemEdit::Add { price, .. } => items().any(|one| one.price == *price),
        ItemEdit::Remove { item } => !items().any(|one| one.id == *item),
    })
}

#[cfg(test)]
mod tests;
