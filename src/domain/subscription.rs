//! What a customer's subscriptions at Stripe come to: which one governs, and what license is due.
//! Pure: Stripe's state goes in as [`Seen`], a [`Judgement`] comes out. Fetching and writing are done
//! by [`crate::flows::sync`].
//!
//! The state is read as a whole and judged anew each time; no event adds to what an earlier one
//! said, so lost, repeated and reordered events come to the same end.

mod paid;
mod row;

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::domain::column::text_columns;
use crate::domain::invoice::{Invoice, InvoiceStatus, Line, Payment};
use crate::domain::license::{Entitlement, Phase, Source, Term};
use crate::domain::plan::{Catalog, Plan};
use crate::domain::stripe_ids::StripeSubscriptionId;
use crate::domain::time::{DAY, Timestamp};

use paid::{Counted, counting, covers, is_given_back, of_its_course, paid_through};
pub use row::{PaidWithoutLicense, SubscriptionRow};

/// How long a license goes on at the least, in seconds, while a bank debit for a renewal is on its way
/// and Stripe calls the subscription active (<https://docs.stripe.com/payments/sepa-debit>).
const PROCESSING: i64 = 14 * DAY;

/// The same while a renewal is only about to be collected: its invoice is a draft for an hour, or for as
/// long as Stripe has trouble (<https://docs.stripe.com/billing/invoices/subscription>).
const DRAFT: i64 = 3 * DAY;

/// The most grace after a trial of Stripe's, while nothing was ever paid, in seconds.
const AFTER_TRIAL: i64 = DAY;

/// Where a subscription stands (<https://docs.stripe.com/api/subscriptions/object>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// In a trial of Stripe's.
    Trialing,
    /// In good standing.
    Active,
    /// A renewal could not be collected yet.
    PastDue,
    /// The first payment was not made yet.
    Incomplete,
    /// The first payment was never made.
    IncompleteExpired,
    /// A renewal could not be collected, and is not tried any more.
    Unpaid,
    /// It is over.
    Canceled,
    /// Its trial ended without a way to pay.
    Paused,
    /// One that this version does not know.
    Unknown(String),
}

impl Status {
    /// From Stripe's name for it.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "trialing" => Self::Trialing,
            "active" => Self::Active,
            "past_due" => Self::PastDue,
            "incomplete" => Self::Incomplete,
            "incomplete_expired" => Self::IncompleteExpired,
            "unpaid" => Self::Unpaid,
            "canceled" => Self::Canceled,
            "paused" => Self::Paused,
            other => Self::Unknown(other.to_owned()),
        }
    }

    /// Stripe's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Unpaid => "unpaid",
            Self::Canceled => "canceled",
            Self::Paused => "paused",
            Self::Unknown(name) => name,
        }
    }

    /// Whether it may still charge the customer, so that a second one must not be sold.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Incomplete | Self::IncompleteExpired | Self::Canceled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Status {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from_name(text))
    }
}

text_columns!(Status);

/// One thing that a subscription bills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The price's id, by which a plan is found.
    pub price: String,
    /// When the current period began.
    pub period_start: Option<Timestamp>,
    /// When it ends (on the item since API version 2025-03-31).
    pub period_end: Option<Timestamp>,
}

/// A subscription as Stripe has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: StripeSubscriptionId,
    /// Where it stands.
    pub status: Status,
    /// What it bills.
    pub items: Vec<Item>,
    /// When it is to end, if that is set.
    pub cancel_at: Option<Timestamp>,
    /// Whether it is to end with its period.
    pub cancel_at_period_end: bool,
    /// When Stripe's trial ends.
    pub trial_end: Option<Timestamp>,
    /// Whether the vendor does not collect for now; the status stays what it is.
    pub collection_paused: bool,
    /// Whether it has billed anything yet.
    pub has_invoice: bool,
    /// Whether the checkout that made it is complete and not paid, as long as no invoice of it is known.
    pub awaits_payment: bool,
    /// Whether our checkout made it, by its metadata; it is believed only where a price says nothing.
    pub ours: bool,
    /// The card, or the like, that pays it.
    pub default_payment_method: Option<String>,
    /// When it began.
    pub created: Timestamp,
}

impl Subscription {
    /// The highest plan among its items, and the item that it comes from. With several items the
    /// answer does not depend on their order.
    #[must_use]
    pub fn plan<'c>(&self, catalog: &'c Catalog) -> Option<(&'c Plan, &Item)> {
        let known =
            self.items.iter().filter_map(|item| Some((catalog.by_price(&item.price)?, item)));
        known
            .max_by_key(|((rank, _), item)| (*rank, item.period_end, &item.price))
            .map(|((_, plan), item)| (plan, item))
    }

    /// The end of the current period: of the item that decides the plan, or the latest.
    #[must_use]
    pub fn period_end(&self, catalog: &Catalog) -> Option<Timestamp> {
        let deciding = self.plan(catalog).and_then(|(_, item)| item.period_end);
        deciding.or_else(|| self.items.iter().filter_map(|item| item.period_end).max())
    }

    /// When it is to end, by whichever field says so (a cancellation in the portal sets only
    /// `cancel_at` since 2025-09-30).
    #[must_use]
    pub fn ends_at(&self, catalog: &Catalog) -> Option<Timestamp> {
        let with_period = self.period_end(catalog).filter(|_| self.cancel_at_period_end);
        [self.cancel_at, with_period].into_iter().flatten().min()
    }
}

/// All that Stripe says about one customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether the customer was deleted there.
    pub deleted: bool,
    /// Every subscription, ended ones too.
    pub subscriptions: Vec<Subscription>,
    /// Every invoice, in the order in which they were made: of two that were made in the same second,
    /// nothing else tells which came first.
    pub invoices: Vec<Invoice>,
}

/// What an operator should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// More than one subscription grants something: somebody pays twice.
    SeveralLive,
    /// No plan has any of these prices.
    UnknownPrice(String),
    /// A live subscription that bills nothing.
    NoItems(StripeSubscriptionId),
    /// A state that this version does not know.
    UnknownStatus(String),
}

impl fmt::Display for Alert {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeveralLive => formatter.write_str(
                "several subscriptions are live, and each is charged; end all but one at Stripe",
            ),
            Self::UnknownPrice(price) => write!(
                formatter,
                "no plan has {price}, which they have a live subscription to; if it sells one, put \
                 it under the plan's `prices` or `former_prices`, else under `other_prices`"
            ),
            Self::NoItems(id) => write!(
                formatter,
                "the subscription {id} has no items; give it a plan's price at Stripe, or end it; what \
                 they have stays as it is"
            ),
            Self::UnknownStatus(status) => write!(
                formatter,
                "a subscription is in the state {status:?}, which this version does not know; what \
                 they have stays as it is"
            ),
        }
    }
}

/// What the state at Stripe comes to.
#[derive(Clone, Debug)]
pub struct Judgement<'a> {
    /// The subscription to show and to speak of; none if there never was one.
    pub governing: Option<&'a Subscription>,
    /// The license that is due; `None` is no paid one: a trial, or what an operator granted, stays.
    pub due: Option<Entitlement<'a>>,
    /// Whether something is there that this version or the plans file does not know: then nothing
    /// that the customer has is taken away.
    pub unclear: bool,
    /// What an operator should look at.
    pub alerts: Vec<Alert>,
}

/// What one subscription grants.
enum Standing<'c> {
    Grants(usize, &'c Plan, Term),
    Nothing,
    Unclear,
}

/// Judges everything that Stripe says about a customer, at `now`. `held` is the subscription that governed
/// the last time.
#[must_use]
pub fn judge<'a>(
    seen: &'a Seen,
    held: Option<&StripeSubscriptionId>,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Judgement<'a> {
    // What is sold beside the plans is left alone: nothing of it governs, or holds anything up.
    let concerns = |subscription: &&Subscription| {
        subscription.ours || held == Some(&subscription.id) || subscription.plan(catalog).is_some()
    };
    let mut alerts = Vec::new();
    let mut unclear = None;
    let mut granting: Vec<(usize, &Plan, Term, &Subscription)> = Vec::new();
    for subscription in &seen.subscriptions {
        match standing(subscription, &seen.invoices, catalog, now, &mut alerts) {
            Standing::Grants(rank, plan, term) => granting.push((rank, plan, term, subscription)),
            Standing::Unclear => unclear = Some(subscription).filter(concerns).or(unclear),
            Standing::Nothing => {}
        }
    }
    if granting.len() > 1 {
        alerts.push(Alert::SeveralLive);
    }
    let best = granting.into_iter().max_by_key(|(rank, _, term, subscription)| {
        (*rank, term.ends().unwrap_or(Timestamp::MAX), subscription.created, &subscription.id)
    });
    let best = best.filter(|_| !seen.deleted);
    // What governed and is unclear now governs on, or the next look would not know it any more.
    let governing = unclear.filter(|subscription| held == Some(&subscription.id));
    let governing = governing.or(best.map(|(.., subscription)| subscription)).or(unclear);
    let due =
        best.map(|(_, plan, term, _)| Entitlement { plan, source: Source::Subscription, term });
    Judgement {
        governing: governing.or_else(|| newest(seen.subscriptions.iter().filter(concerns))),
        due,
        unclear: unclear.is_some() && !seen.deleted,
        alerts,
    }
}

/// The subscription to speak of when none grants anything: a live one, else the newest.
fn newest<'a>(all: impl Iterator<Item = &'a Subscription>) -> Option<&'a Subscription> {
    all.max_by_key(|subscription| {
        (subscription.status.is_live(), subscription.created, &subscription.id)
    })
}

fn standing<'c>(
    subscription: &Subscription,
    invoices: &[Invoice],
    catalog: &'c Catalog,
    now: Timestamp,
    alerts: &mut Vec<Alert>,
) -> Standing<'c> {
    match &subscription.status {
        Status::Trialing | Status::Active | Status::PastDue => {}
        Status::Unknown(status) => {
            alerts.push(Alert::UnknownStatus(status.clone()));
            return Standing::Unclear;
        }
        _ => return Standing::Nothing,
    }
    let Some((plan, item)) = subscription.plan(catalog) else {
        let items = &subscription.items;
        if !items.is_empty() && items.iter().all(|item| catalog.is_beside(&item.price)) {
            return Standing::Nothing;
        }
        let prices = items.iter().map(|item| item.price.as_str()).collect::<Vec<_>>();
        alerts.push(match prices.is_empty() {
            true => Alert::NoItems(subscription.id.clone()),
            false => Alert::UnknownPrice(prices.join(", ")),
        });
        return Standing::Unclear;
    };
    let own = of_its_course(subscription, invoices, catalog);
    if own.is_empty() && subscription.has_invoice {
        // They were listed at another moment than the subscription.
        return Standing::Unclear;
    }
    match granted(subscription, (plan, item), &counting(&own, catalog), catalog, now) {
        Some((plan, term)) if term.phase(now) != Phase::Over => {
            Standing::Grants(catalog.rank(plan.id.as_str()), plan, term)
        }
        _ => Standing::Nothing,
    }
}

/// What a subscription in good standing, or past due, grants, and how long; `None` when nothing of it
/// was ever paid, or what was paid was given back.
fn granted<'c>(
    subscription: &Subscription,
    (plan, item): (&'c Plan, &Item),
    own: &Counted<'_>,
    catalog: &'c Catalog,
    now: Timestamp,
) -> Option<(&'c Plan, Term)> {
    let invoices = &own.invoices;
    let period_end = item.period_end?;
    let policy = &catalog.policy;
    let newest = invoices.iter().filter(|invoice| invoice.amount > 0).max_by_key(|i| i.created);
    let open = newest.filter(|invoice| !invoice.is_paid(policy)).copied();
    let revoked = open.is_some_and(|invoice| invoice.is_revoked(policy));
    let rank = |plan: &Plan| catalog.rank(plan.id.as_str());
    let no_more_than =
        |most: Option<&'c Plan>| most.filter(|most| rank(most) < rank(plan)).unwrap_or(plan);
    let (plan, paid) = match subscription.status {
        Status::Trialing => (plan, subscription.trial_end.unwrap_or(period_end)),
        // A subscription that bills nothing yet has no invoice.
        Status::Active if invoices.is_empty() && !subscription.awaits_payment => (plan, period_end),
        // The vendor chose not to collect for a while: it goes on, but nobody changes to a higher plan
        // without paying for it.
        Status::Active if subscription.collection_paused && !revoked => {
            let (of_plan, _) = paid_through(own, catalog, (rank(plan), now))?;
            (no_more_than(of_plan), period_end)
        }
        _ => {
            let (of_plan, until) = paid_through(own, catalog, (rank(plan), now))?;
            let of_period = if open.is_some() { item.period_start } else { Some(period_end) };
            // What was changed to is granted once it is paid; but while a renewal is collected that bills
            // the change for the period before, the plan follows the price, as it did then.
            let had = |line: &Line| {
                let of = covers(line, catalog).and_then(|(_, of)| of);
                line.period_end <= item.period_start && of.is_some_and(|(of, _)| of >= rank(plan))
            };
            let unpaid = open.is_some_and(|invoice| !invoice.lines.iter().any(had))
                || subscription.status == Status::PastDue;
            let plan = no_more_than(of_plan.filter(|_| unpaid));
            (plan, until.or(of_period)?.min(period_end))
        }
    };
    let bought = invoices.iter().any(|invoice| invoice.amount > 0 && invoice.is_paid(policy));
    let trialing = subscription.status == Status::Trialing;
    let tried_only = trialing || (subscription.trial_end.is_some() && !bought);
    let revoked = revoked || is_given_back(invoices, catalog, paid);
    let grace = if revoked { 0 } else { grace(subscription, plan, open, paid, period_end) };
    let grace = if tried_only { grace.min(AFTER_TRIAL) } else { grace };
    let scheduled = subscription.ends_at(catalog);
    let expires = scheduled.map_or(paid, |end| end.min(paid));
    // Grace bridges a payment; after a cancellation there is none to come.
    let latest = scheduled.unwrap_or(Timestamp::MAX);
    let grace_until = Some(paid.plus(grace).min(latest)).filter(|until| *until > expires);
    Some((plan, Term { expires: Some(expires), grace_until }))
}

/// How long the plan works beyond what was `paid`, in seconds. `open` is the newest invoice if it is not
/// paid.
fn grace(
    subscription: &Subscription,
    plan: &Plan,
    open: Option<&Invoice>,
    paid: Timestamp,
    period_end: Timestamp,
) -> i64 {
    let usual = i64::from(plan.grace_days) * DAY;
    if subscription.status != Status::Active {
        return usual;
    }
    let processing = open.is_some_and(|invoice| invoice.payment == Payment::Processing);
    // An invoice that is sent has weeks; Stripe calls the subscription past due once they are over.
    let due = open.filter(|invoice| invoice.status == InvoiceStatus::Open);
    let due = due.and_then(|invoice| invoice.due).unwrap_or(paid);
    let needed = match (processing, paid < period_end) {
        (true, _) => PROCESSING,
        (false, true) => DRAFT,
        (false, false) => 0,
    };
    usual.max(needed).max(due.epoch_seconds() - paid.epoch_seconds())
}

#[cfg(test)]
mod tests;
