//! Determines which plans and periods of a subscription were paid for, from the lines of its
//! invoices, the oldest first. [`super`] decides what the customer may use because of it.

use std::collections::BTreeSet;

use crate::domain::sale::invoice::{BillingReason, Invoice, InvoiceStatus, Line};
use crate::domain::sale::plan::{Addon, Catalog, Plan, Sold};
use crate::domain::sale::policy::Policy;
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::{SKEW, Timestamp};

/// Returns the invoices that decide what a subscription grants: all of its own, except those that
/// the vendor created by hand for something else.
pub(super) fn plan_invoices<'i>(
    subscription: &Subscription,
    invoices: &'i [Invoice],
    catalog: &Catalog,
) -> Vec<&'i Invoice> {
    let mut own: Vec<_> = invoices.iter().filter(|i| i.is_of(&subscription.id)).collect();
    let is_unrelated = |invoice: &&Invoice| {
        invoice.reason == BillingReason::Manual
            && !invoice.lines.iter().any(|line| plan_period(line, catalog).is_some())
    };
    // If no invoice names a plan, each may be for the plan.
    if !own.iter().all(is_unrelated) {
        own.retain(|invoice| !is_unrelated(invoice));
    }
    own
}

/// Returns whether an invoice is only for something beside the plan: for add-ons that were added
/// later, or for metered usage. Whether it is paid does not decide about the plan.
pub(super) fn is_beside_the_plan(invoice: &Invoice, catalog: &Catalog) -> bool {
    !invoice.lines.is_empty() && invoice.lines.iter().all(|line| is_for_addon(line, catalog))
}

/// Returns whether a line is for an add-on.
fn is_for_addon(line: &Line, catalog: &Catalog) -> bool {
    let price = line.price.as_deref();
    price.is_some_and(|price| matches!(catalog.sold(price), Some(Sold::Addon { .. })))
}

/// The invoices of a subscription, without those that [`counted_invoices`] drops.
pub(super) struct CountedInvoices<'i> {
    /// The invoices, the oldest first.
    pub invoices: Vec<&'i Invoice>,
    /// The lines of the paid ones, less the units that later invoices credit.
    paid_lines: Vec<PaidLine<'i>>,
    /// The credited units, for the time until the credit.
    former: Vec<Span<'i>>,
}

/// A line that was paid.
#[derive(Clone, Copy, Debug)]
struct PaidLine<'i> {
    line: &'i Line,
    /// The units that no later line credits.
    units: u32,
}

/// A time that was paid for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'i> {
    /// The line that was paid.
    pub line: &'i Line,
    /// The beginning.
    pub start: Timestamp,
    /// The end.
    pub end: Timestamp,
    /// The units.
    pub units: u32,
}

impl<'i> CountedInvoices<'i> {
    /// Returns every time that was paid for. What a later invoice credits counts until the credit.
    pub fn spans(&self) -> impl Iterator<Item = Span<'i>> {
        let whole = self.paid_lines.iter().filter_map(|PaidLine { line, units }| {
            Some(Span { line, start: line.period_start?, end: line.period_end?, units: *units })
        });
        whole.chain(self.former.iter().copied())
    }

    /// Returns the paid invoices for which `is_kept` returns true, with what they alone bought and
    /// credited.
    fn only(self, is_kept: impl Fn(&Invoice) -> bool, catalog: &Catalog) -> Self {
        let invoices: Vec<_> = self.invoices.into_iter().filter(|one| is_kept(one)).collect();
        let (mut paid_lines, mut former) = (Vec::new(), Vec::new());
        for invoice in &invoices {
            former.extend(add_paid_lines(&mut paid_lines, invoice, catalog));
        }
        Self { invoices, paid_lines, former }
    }
}

/// Returns the invoices, without the paid ones that were paid mostly by a credit for something
/// unpaid or refunded. After a plan change, Stripe credits the rest of the earlier period
/// whether it was paid or not, and reports an invoice as paid if nothing else is due
/// (<https://docs.stripe.com/billing/subscriptions/prorations>). Such an invoice counts as soon as
/// the credited one is paid. The customer's balance pays like money, except for what such credits
/// put on it.
pub(super) fn counted_invoices<'i>(
    own: &[&'i Invoice],
    catalog: &Catalog,
    policy: &Policy,
) -> CountedInvoices<'i> {
    let mut invoices = own.to_vec();
    invoices.sort_by_key(|invoice| invoice.created);
    let owed = invoices.iter().filter(|invoice| is_owed(invoice, policy));
    let mut owed: Vec<Owed<'_>> = owed.map(|invoice| (*invoice, invoice.amount_billed())).collect();
    let (mut paid_lines, mut former) = (Vec::new(), Vec::new());
    let mut unpaid_balance: i64 = 0;
    invoices.retain(|invoice| {
        if !invoice.is_paid(policy) {
            return true;
        }
        let credited = unpaid_credits(invoice, &owed, &paid_lines, catalog);
        // What else was on the balance is used first.
        let other_balance = invoice.balance_before.saturating_neg().saturating_sub(unpaid_balance);
        let from_unpaid =
            invoice.from_balance().saturating_sub(other_balance.max(0)).clamp(0, unpaid_balance);
        unpaid_balance -= from_unpaid;
        let unspent = credited.all - credited.spent;
        unpaid_balance = unpaid_balance.saturating_add(invoice.to_balance().min(unspent));
        let unpaid = credited.spent.saturating_add(from_unpaid);
        // Counts if at least half was paid.
        let counts = unpaid <= invoice.amount_of_lines() - from_unpaid;
        if counts {
            former.extend(add_paid_lines(&mut paid_lines, invoice, catalog));
        } else {
            owed.push((invoice, unpaid));
        }
        counts
    });
    CountedInvoices { invoices, paid_lines, former }
}

/// An invoice, and the part of it that is unpaid or was refunded.
type Owed<'i> = (&'i Invoice, i64);

/// The credits of an invoice for something unpaid, in the currency's smallest unit.
struct UnpaidCredits {
    /// All of them.
    all: i64,
    /// The part that paid for lines of the invoice: what its lines charge beyond the paid credits.
    /// The rest goes to the customer's balance.
    spent: i64,
}

/// Returns the credits of an invoice for something unpaid. A credit counts as far as no paid line
/// covers it, up to the unpaid amount of the invoices that it credits.
fn unpaid_credits(
    invoice: &Invoice,
    owed: &[Owed<'_>],
    paid_lines: &[PaidLine<'_>],
    catalog: &Catalog,
) -> UnpaidCredits {
    let mut owed = owed.to_vec();
    let (mut unpaid, mut backed): (i64, i64) = (0, 0);
    for credit in credits(invoice) {
        let paid = paid_lines
            .iter()
            .filter(|paid| has_same_period_and_price(paid.line, credit))
            .map(|paid| paid.line.amount);
        let paid = paid.fold(0, i64::saturating_add);
        let amount = credit.amount.saturating_neg();
        backed = backed.saturating_add(amount.min(paid));
        if plan_period(credit, catalog).is_none() && !is_for_addon(credit, catalog) {
            continue;
        }
        let mut rest = amount.saturating_sub(paid).max(0);
        for (owed_invoice, remaining) in &mut owed {
            if charges(owed_invoice).any(|line| has_same_period_and_price(line, credit)) {
                let part = rest.min(*remaining);
                (rest, *remaining) = (rest - part, *remaining - part);
                unpaid += part;
            }
        }
    }
    let charged = charges(invoice).map(|line| line.amount).fold(0, i64::saturating_add);
    UnpaidCredits { all: unpaid, spent: unpaid.min(charged.saturating_sub(backed).max(0)) }
}

/// Returns whether the invoice is unpaid, voided or refunded, so that a credit for its lines is
/// worth nothing.
fn is_owed(invoice: &Invoice, policy: &Policy) -> bool {
    invoice.status != InvoiceStatus::Draft && !invoice.is_paid(policy)
}

/// Returns the lines that charge an amount, which may be zero.
fn charges(invoice: &Invoice) -> impl Iterator<Item = &Line> {
    invoice.lines.iter().filter(|line| !is_credit(line))
}

/// Returns the lines that credit something.
fn credits(invoice: &Invoice) -> impl Iterator<Item = &Line> {
    invoice.lines.iter().filter(|line| is_credit(line))
}

/// Returns whether a line credits something. The credit of a line that a discount made free has no
/// amount: it only names the line.
fn is_credit(line: &Line) -> bool {
    line.amount < 0 || !line.credits.is_empty()
}

/// Returns whether one line may credit the other.
fn has_same_period_and_price(line: &Line, other: &Line) -> bool {
    line.price == other.price && line.period_end == other.period_end
}

/// Adds the lines that a paid invoice bought, and removes what it credits. Returns the time until
/// the credit of each removed unit.
///
/// An invoice may also credit its own lines: several changes within a period, billed together. A
/// credit that names nothing is for earlier lines. If the credited units were not paid, they are
/// taken from other lines of the same price and period: first from earlier lines, the newest first,
/// then from this invoice's own, which such a credit paid. An invoice that credits more units than
/// it bills is paid by the others.
fn add_paid_lines<'i>(
    paid_lines: &mut Vec<PaidLine<'i>>,
    invoice: &'i Invoice,
    catalog: &Catalog,
) -> Vec<Span<'i>> {
    let (mut former, mut unpaid) = (Vec::new(), Vec::<(&Line, u32)>::new());
    let earlier = paid_lines.len();
    let lines = charges(invoice).map(|line| PaidLine { line, units: line.units() });
    paid_lines.extend(lines.filter(|paid| paid.units > 0));
    for credit in credits(invoice) {
        let credited = credited_units(credit, catalog);
        let mut units = credited.unwrap_or(u32::MAX);
        // The newest first: an earlier line of the same price may be one that was paid twice.
        for (place, paid) in paid_lines.iter_mut().enumerate().rev() {
            let is_credited = match credit.credits.as_slice() {
                [] => place < earlier && has_same_period_and_price(paid.line, credit),
                named => named.contains(&paid.line.id),
            };
            if !is_credited {
                continue;
            }
            let removed = paid.units.min(units);
            (paid.units, units) = (paid.units - removed, units - removed);
            let end = credit.period_start.min(paid.line.period_end);
            let until = end.zip(paid.line.period_start);
            let until = until.filter(|(end, start)| removed > 0 && start < end);
            former.extend(until.map(|(end, start)| Span {
                line: paid.line,
                start,
                end,
                units: removed,
            }));
        }
        let rest = credited.map_or(0, |_| units);
        match unpaid.iter_mut().find(|(line, _)| has_same_period_and_price(line, credit)) {
            Some((_, units)) => *units = units.saturating_add(rest),
            None => unpaid.push((credit, rest)),
        }
    }
    let (before, own) = paid_lines.split_at_mut(earlier);
    for (credit, units) in unpaid {
        let units = take_units(before.iter_mut().rev(), credit, units);
        take_units(own.iter_mut(), credit, units.saturating_sub(surplus_units(invoice, credit)));
    }
    paid_lines.retain(|paid| paid.units > 0);
    former
}

/// Returns how many more units of a credit's price and period an invoice credits than it bills.
fn surplus_units(invoice: &Invoice, credit: &Line) -> u32 {
    let of_credit = invoice.lines.iter().filter(|line| has_same_period_and_price(line, credit));
    let (credits, charges): (Vec<_>, Vec<_>) = of_credit.partition(|line| is_credit(line));
    let sum = |lines: Vec<&Line>| lines.into_iter().map(Line::units).fold(0, u32::saturating_add);
    sum(credits).saturating_sub(sum(charges))
}

/// Takes units from lines of the price and the period that a credit is for. Returns the units that
/// they do not have.
fn take_units<'l, 'i: 'l>(
    lines: impl Iterator<Item = &'l mut PaidLine<'i>>,
    credit: &Line,
    mut units: u32,
) -> u32 {
    for paid in lines.filter(|paid| has_same_period_and_price(paid.line, credit)) {
        let taken = paid.units.min(units);
        (paid.units, units) = (paid.units - taken, units - taken);
    }
    units
}

/// Returns how many units a credit removes; `None` for all of the line that it credits, unless its
/// plan is sold by the unit.
fn credited_units(credit: &Line, catalog: &Catalog) -> Option<u32> {
    let plan = credit.price.as_deref().and_then(|price| catalog.by_price(price));
    let is_per_unit = plan.is_some_and(|(_, plan)| plan.is_per_unit());
    credit.quantity.filter(|_| is_per_unit)
}

/// Returns the units of a plan that are paid for at `now`. If none of its periods has begun, those
/// of the earliest; if all have ended, those of the last one, but no more than the `at_stripe`
/// units that are billed next. Without a paid line of the plan, those at Stripe count, or else 1.
pub(super) fn paid_units(
    own: &CountedInvoices<'_>,
    (rank, at_stripe): (usize, Option<u32>),
    catalog: &Catalog,
    now: Timestamp,
) -> u32 {
    let of_plan = |line: &Line| match plan_period(line, catalog)? {
        (end, Some((paid, _))) if paid == rank => Some((line.period_start, end)),
        (end, None) => Some((line.period_start, end)),
        _ => None,
    };
    let lines: Vec<_> = own
        .paid_lines
        .iter()
        .filter_map(|paid| of_plan(paid.line).map(|(start, end)| (start, end, paid.units)))
        .collect();
    let sum = |is_counted: &dyn Fn(Option<Timestamp>, Timestamp) -> bool| {
        let counted = lines.iter().filter(|(start, end, _)| is_counted(*start, *end));
        counted.map(|(_, _, units)| *units).fold(0, u32::saturating_add)
    };
    let has_begun = |start: Option<Timestamp>| start.is_none_or(|start| start <= now + SKEW);
    // Within the skew, a renewal that was paid early has begun and the former period has not ended.
    let is_followed = |end: Timestamp| {
        let mut starts = lines.iter().filter_map(|(start, ..)| *start);
        starts.any(|start| start >= end && has_begun(Some(start)))
    };
    let running = |start, end| has_begun(start) && end > now && !is_followed(end);
    if lines.iter().any(|(start, end, _)| running(*start, *end)) {
        return sum(&running);
    }
    let at_stripe = at_stripe.unwrap_or(1);
    if let Some(first) =
        lines.iter().filter(|(_, end, _)| *end > now).map(|(start, ..)| *start).min()
    {
        return sum(&|start, end| start == first && end > now);
    }
    match lines.iter().map(|(_, end, _)| *end).max() {
        Some(last) => sum(&|_, end| end == last).min(at_stripe),
        None => at_stripe,
    }
}

/// Returns whether an add-on is paid for at `now`: by a line that has begun and not ended, or by
/// the last one while a renewal is not paid yet.
pub(super) fn is_addon_paid(own: &CountedInvoices<'_>, addon: &Addon, now: Timestamp) -> bool {
    let is_of_addon = |line: &Line| {
        let price = line.price.as_deref();
        price.is_some_and(|price| addon.price_ids().any(|id| id == price))
    };
    let last = own.paid_lines.iter().filter_map(|paid| paid.line.period_end).max();
    own.paid_lines.iter().filter(|paid| is_of_addon(paid.line)).any(|paid| {
        let has_begun = paid.line.period_start.is_none_or(|start| start <= now + SKEW);
        let end = paid.line.period_end;
        has_begun && (end > Some(now) || end == last)
    })
}

/// Returns the highest plan that was paid for, and the end of its period. Plans above the rank
/// `wanted` count alike; of those, the later end wins. Each is `None` if the lines of the invoices
/// do not have it. Returns `None` if no invoice was paid, or if the policy revokes the one for the
/// plan and only others were paid.
pub(super) fn paid_through<'c>(
    own: &CountedInvoices<'_>,
    catalog: &'c Catalog,
    (wanted, now): (usize, Timestamp),
) -> Option<(Option<&'c Plan>, Option<Timestamp>)> {
    let policy = &catalog.policy;
    let is_for_plan = |invoice: &&&Invoice| !is_beside_the_plan(invoice, catalog);
    if !own.invoices.iter().filter(is_for_plan).any(|invoice| invoice.is_paid(policy)) {
        return None;
    }
    let of_plans = own.paid_lines.iter().filter_map(|paid| plan_period(paid.line, catalog));
    // The highest plan whose period has not ended. If all have ended, the latest end counts.
    let best = of_plans.max_by_key(|(end, plan)| {
        let rank = plan.map(|(rank, _)| rank);
        (rank.filter(|_| *end > now).map(|rank| rank.min(wanted)), *end, rank)
    });
    if let Some((end, plan)) = best {
        return Some((plan.map(|(_, plan)| plan), Some(end)));
    }
    let mut revoked = own.invoices.iter().filter(|invoice| invoice.is_revoked(policy));
    let is_plan_revoked = revoked
        .any(|invoice| invoice.lines.iter().any(|line| plan_period(line, catalog).is_some()));
    (!is_plan_revoked).then_some((None, None))
}

/// Returns the end of the period that a line covers, and the plan with its rank if the line names a
/// price; `None` if the line is not for a plan.
pub(super) fn plan_period<'c>(
    line: &Line,
    catalog: &'c Catalog,
) -> Option<(Timestamp, Option<(usize, &'c Plan)>)> {
    let plan = match &line.price {
        Some(price) => Some(catalog.by_price(price)?),
        None => None,
    };
    Some((line.period_end?, plan))
}

/// Returns whether the policy revokes an invoice for a period after `paid`, and no later invoice
/// for a plan was paid. Then no payment is expected.
pub(super) fn is_later_period_revoked(
    own: &[&Invoice],
    catalog: &Catalog,
    paid: Timestamp,
) -> bool {
    let ends = |invoice: &Invoice| {
        invoice.lines.iter().filter_map(|line| plan_period(line, catalog)).map(|(end, _)| end).max()
    };
    own.iter().filter(|invoice| invoice.is_revoked(&catalog.policy)).any(|invoice| {
        let is_paid_since =
            |later: &&&Invoice| later.created > invoice.created && later.is_paid(&catalog.policy);
        ends(invoice) > Some(paid)
            && !own.iter().filter(is_paid_since).any(|later| ends(later).is_some())
    })
}

/// Returns the invoices that were paid after a subscription was canceled; `None` if it was not.
/// Dunning cancels a subscription whose renewal is not paid in time, and the invoice stays payable
/// (<https://docs.stripe.com/billing/subscriptions/cancel>). Payments before the end grant nothing:
/// the vendor or the customer canceled the subscription. But all invoices decide which of the late
/// ones were paid by a credit for something unpaid. A change that credits what a late one sold is
/// paid by that one, although Stripe reported it as paid before.
pub(super) fn paid_after_end<'i>(
    subscription: &Subscription,
    invoices: &'i [Invoice],
    catalog: &Catalog,
) -> Option<CountedInvoices<'i>> {
    let ended_at = subscription.ended_at?;
    let own = plan_invoices(subscription, invoices, catalog);
    let counted = counted_invoices(&own, catalog, &catalog.policy);
    let is_late = |invoice: &Invoice| {
        // Stripe may create a final invoice when the subscription ends, for the time before it.
        invoice.created < ended_at
            && invoice.paid_at.is_some_and(|paid| paid > ended_at)
            && invoice.is_paid(&catalog.policy)
            && !invoice.is_forgiven()
    };
    let (mut late, mut sold) = (BTreeSet::new(), BTreeSet::new());
    // The oldest come first, so one pass also finds what credits the change of a change.
    for invoice in counted.invoices.iter().filter(|invoice| invoice.is_paid(&catalog.policy)) {
        let mut credited = credits(invoice).flat_map(|credit| &credit.credits);
        // A change in the second of the end has no charge, unlike a final invoice.
        let is_change = invoice.created < ended_at
            || (invoice.created == ended_at && invoice.charged_at.is_none());
        let is_paid_by_late = is_change && credited.any(|line| sold.contains(line.as_str()));
        if is_late(invoice) || is_paid_by_late {
            late.insert(invoice.id.clone());
            sold.extend(charges(invoice).map(|line| line.id.as_str()));
        }
    }
    Some(counted.only(|invoice| late.contains(&invoice.id), catalog))
}

/// Returns the highest plan of these invoices whose period has not ended, with its rank and the end
/// of the period.
pub(super) fn last_period<'c>(
    paid: &CountedInvoices<'_>,
    subscription: &Subscription,
    catalog: &'c Catalog,
    now: Timestamp,
) -> Option<(usize, &'c Plan, Timestamp)> {
    let of_subscription = subscription.plan(catalog).map(|(plan, _)| plan);
    let periods = paid.paid_lines.iter().filter_map(|paid| {
        let (end, plan) = plan_period(paid.line, catalog)?;
        let plan = plan.map(|(_, plan)| plan).or(of_subscription)?;
        (end > now).then(|| (catalog.rank(plan.id.as_str()), plan, end))
    });
    periods.max_by_key(|(rank, _, end)| (*rank, *end))
}

/// Returns the time of the last payment of these invoices.
pub(super) fn last_payment(paid: &CountedInvoices<'_>) -> Option<Timestamp> {
    paid.invoices.iter().filter_map(|invoice| invoice.paid_at).max()
}
