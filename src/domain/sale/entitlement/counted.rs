//! Determines which invoices of a subscription count, and which lines they paid for: one pass over
//! the invoices, the oldest first. [`super::paid`] reads plans, units and periods from the result.
//!
//! A paid invoice adds the units that it charges and removes those that it credits. Stripe credits
//! the rest of a period whether it was paid or not. So an invoice that such a credit paid for most
//! of its charges does not count until what it credits is paid.

use std::collections::BTreeSet;

use super::paid::{is_for_addon, plan_period};
use crate::domain::sale::invoice::{BillingReason, Invoice, InvoiceStatus, Line};
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::policy::Policy;
use crate::domain::sale::stripe_ids::InvoiceId;
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::Timestamp;

/// The invoices of a subscription, without those that [`counted_invoices`] drops.
pub(super) struct CountedInvoices<'i> {
    /// The invoices, the oldest first.
    pub invoices: Vec<&'i Invoice>,
    /// The lines of the paid ones, less the units that later invoices credit.
    pub paid_lines: Vec<PaidLine<'i>>,
    /// Whether one of those that were dropped bills a plan: then not all plans are paid that Stripe
    /// takes for paid.
    pub has_dropped_plan: bool,
    /// The credited units, for the time until the credit.
    former: Vec<Span<'i>>,
}

/// A line that was paid.
#[derive(Clone, Copy, Debug)]
pub(super) struct PaidLine<'i> {
    /// The line.
    pub line: &'i Line,
    /// The id of its invoice.
    pub invoice: &'i InvoiceId,
    /// The units that no later line credits.
    pub units: u32,
}

impl PaidLine<'_> {
    /// Returns the amount for the units that no later line credits, in the currency's smallest
    /// unit.
    pub fn amount(&self) -> i64 {
        let (units, all) = (i128::from(self.units), i128::from(self.line.units().max(1)));
        // Rounded up: a cent must not make a credit one for something unpaid.
        let amount = (i128::from(self.line.amount) * units + all - 1) / all;
        i64::try_from(amount).unwrap_or(i64::MAX)
    }
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
        let whole = self.paid_lines.iter().filter_map(|PaidLine { line, units, .. }| {
            Some(Span { line, start: line.period_start?, end: line.period_end?, units: *units })
        });
        whole.chain(self.former.iter().copied())
    }

    /// Returns the invoices with these ids, and what they sold and no other invoice credits.
    pub fn only(mut self, kept: &BTreeSet<&InvoiceId>) -> Self {
        self.invoices.retain(|invoice| kept.contains(&invoice.id));
        self.paid_lines.retain(|paid| kept.contains(paid.invoice));
        self.former.clear();
        self
    }
}

/// Returns the invoices, without the paid ones that were paid mostly by a credit for something
/// unpaid or refunded. After a plan change, Stripe credits the rest of the earlier period
/// whether it was paid or not, and reports an invoice as paid if nothing else is due
/// (<https://docs.stripe.com/billing/subscriptions/prorations>). Such an invoice counts as soon as
/// the credited one is paid; until then it only removes the add-ons that it credits. The customer's
/// balance pays like money, except for what such credits put on it.
pub(super) fn counted_invoices<'i>(
    subscription: &Subscription,
    invoices: &'i [Invoice],
    catalog: &Catalog,
    policy: &Policy,
) -> CountedInvoices<'i> {
    let mut invoices = plan_invoices(subscription, invoices, catalog);
    invoices.sort_by_key(|invoice| invoice.created);
    // A credit for what is unpaid, voided or refunded is worth nothing. A draft is not paid yet,
    // but while collection is paused nobody waits for its payment.
    let is_due = |invoice: &Invoice| {
        invoice.status != InvoiceStatus::Draft || !subscription.collection_paused
    };
    let owed = invoices.iter().filter(|invoice| !invoice.is_paid(policy) && is_due(invoice));
    let mut owed: Vec<Owed<'_>> = owed.map(|invoice| (*invoice, invoice.amount_billed())).collect();
    let (mut paid_lines, mut former, mut has_dropped_plan) = (Vec::new(), Vec::new(), false);
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
            former.extend(remove_addons(&mut paid_lines, invoice, catalog));
            owed.push((invoice, unpaid));
            has_dropped_plan |= charges(invoice).any(|line| plan_period(line, catalog).is_some());
        }
        counts
    });
    CountedInvoices { invoices, paid_lines, has_dropped_plan, former }
}

/// Returns the invoices that decide what a subscription grants: all of its own, except those that
/// the vendor created by hand for something else.
fn plan_invoices<'i>(
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

/// Returns the credits of an invoice for something unpaid. Credits for one price and period count
/// as far as no paid line covers them, up to the unpaid amount of the invoices that they credit.
/// Credits for lines of the invoice itself are part of its charges: of several changes that are
/// billed together, only the last one is charged.
fn unpaid_credits(
    invoice: &Invoice,
    owed: &[Owed<'_>],
    paid_lines: &[PaidLine<'_>],
    catalog: &Catalog,
) -> UnpaidCredits {
    let mut owed = owed.to_vec();
    let mut covering: Vec<_> = paid_lines.iter().map(|paid| (paid.line, paid.amount())).collect();
    let (mut unpaid, mut backed): (i64, i64) = (0, 0);
    let is_own = |credit: &&Line| credits_line_of(credit, invoice);
    for credit in credits(invoice).filter(|credit| !is_own(credit)) {
        let mut rest = credit.amount.saturating_neg();
        for (line, remaining) in &mut covering {
            if has_same_period_and_price(line, credit) {
                let part = rest.min(*remaining);
                (rest, *remaining) = (rest - part, *remaining - part);
                backed = backed.saturating_add(part);
            }
        }
        if plan_period(credit, catalog).is_none() && !is_for_addon(credit, catalog) {
            continue;
        }
        for (owed_invoice, remaining) in &mut owed {
            if charges(owed_invoice).any(|line| has_same_period_and_price(line, credit)) {
                let part = rest.min(*remaining);
                (rest, *remaining) = (rest - part, *remaining - part);
                unpaid += part;
            }
        }
    }
    let own = credits(invoice).filter(is_own);
    let charged = charges(invoice).chain(own);
    let charged = charged.map(|line| line.amount).fold(0, i64::saturating_add);
    UnpaidCredits { all: unpaid, spent: unpaid.min(charged.saturating_sub(backed).max(0)) }
}

/// Returns whether a credit names a line of this invoice.
fn credits_line_of(credit: &Line, invoice: &Invoice) -> bool {
    invoice.lines.iter().any(|line| credit.credits.contains(&line.id))
}

/// Returns the lines that charge an amount, which may be zero.
pub(super) fn charges(invoice: &Invoice) -> impl Iterator<Item = &Line> {
    invoice.lines.iter().filter(|line| !is_credit(line))
}

/// Returns the lines that credit something.
pub(super) fn credits(invoice: &Invoice) -> impl Iterator<Item = &Line> {
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
    let lines =
        charges(invoice).map(|line| PaidLine { line, invoice: &invoice.id, units: line.units() });
    paid_lines.extend(lines.filter(|paid| paid.units > 0));
    for credit in credits(invoice) {
        let credited = credited_units(credit, catalog);
        let is_credited = |place: usize, paid: &PaidLine<'_>| match credit.credits.as_slice() {
            [] => place < earlier && has_same_period_and_price(paid.line, credit),
            named => named.contains(&paid.line.id),
        };
        // The newest first: an earlier line of the same price may be one that was paid twice.
        let lines = paid_lines.iter_mut().enumerate().rev();
        let lines = lines.filter(|(place, paid)| is_credited(*place, paid)).map(|(_, paid)| paid);
        let units = remove(lines, (credit, credited.unwrap_or(u32::MAX)), &mut former);
        let rest = credited.map_or(0, |_| units);
        match unpaid.iter_mut().find(|(line, _)| has_same_period_and_price(line, credit)) {
            Some((_, units)) => *units = units.saturating_add(rest),
            None => unpaid.push((credit, rest)),
        }
    }
    let (before, own) = paid_lines.split_at_mut(earlier);
    for (credit, units) in unpaid {
        let units = remove(lines_of(credit, before).rev(), (credit, units), &mut former);
        let units = units.saturating_sub(surplus_units(invoice, credit));
        remove(lines_of(credit, own), (credit, units), &mut former);
    }
    paid_lines.retain(|paid| paid.units > 0);
    former
}

/// Removes up to so many units of these lines. Adds the time until the credit of each removed unit
/// to `former`. Returns the units that the lines do not have.
fn remove<'l, 'i: 'l>(
    lines: impl Iterator<Item = &'l mut PaidLine<'i>>,
    (credit, mut units): (&Line, u32),
    former: &mut Vec<Span<'i>>,
) -> u32 {
    for paid in lines {
        let removed = paid.units.min(units);
        (paid.units, units) = (paid.units - removed, units - removed);
        let end = credit.period_start.min(paid.line.period_end);
        let until = end.zip(paid.line.period_start);
        let until = until.filter(|(end, start)| removed > 0 && start < end);
        let span = |(end, start)| Span { line: paid.line, start, end, units: removed };
        former.extend(until.map(span));
    }
    units
}

/// Removes the add-ons of which an invoice credits more than it charges, and nothing else. Returns
/// the time until the credit of each.
fn remove_addons<'i>(
    paid_lines: &mut Vec<PaidLine<'i>>,
    invoice: &Invoice,
    catalog: &Catalog,
) -> Vec<Span<'i>> {
    let (mut former, mut removed) = (Vec::new(), Vec::<&Line>::new());
    for credit in credits(invoice).filter(|credit| is_for_addon(credit, catalog)) {
        if !removed.iter().any(|line| has_same_period_and_price(line, credit)) {
            let units = surplus_units(invoice, credit);
            remove(lines_of(credit, paid_lines).rev(), (credit, units), &mut former);
            removed.push(credit);
        }
    }
    paid_lines.retain(|paid| paid.units > 0);
    former
}

/// Returns the lines of the price and the period that a credit is for.
fn lines_of<'l, 'i>(
    credit: &Line,
    lines: &'l mut [PaidLine<'i>],
) -> impl DoubleEndedIterator<Item = &'l mut PaidLine<'i>> {
    lines.iter_mut().filter(|paid| has_same_period_and_price(paid.line, credit))
}

/// Returns how many more units of a credit's price and period an invoice credits than it bills.
fn surplus_units(invoice: &Invoice, credit: &Line) -> u32 {
    let of_credit = invoice.lines.iter().filter(|line| has_same_period_and_price(line, credit));
    let (credits, charges): (Vec<_>, Vec<_>) = of_credit.partition(|line| is_credit(line));
    let sum = |lines: Vec<&Line>| lines.into_iter().map(Line::units).fold(0, u32::saturating_add);
    sum(credits).saturating_sub(sum(charges))
}

/// Returns how many units a credit removes. `None` for all of the line that it credits: its plan is
/// not sold by the unit.
fn credited_units(credit: &Line, catalog: &Catalog) -> Option<u32> {
    let plan = credit.price.as_deref().and_then(|price| catalog.by_price(price));
    let is_per_unit = plan.is_some_and(|(_, plan)| plan.is_per_unit());
    credit.quantity.filter(|_| is_per_unit || is_for_addon(credit, catalog))
}
