//! Which plans and periods of a subscription were paid for, read from the lines of its invoices,
//! the oldest first. What the customer is entitled to because of that is decided in [`super`].

use crate::domain::sale::invoice::{BillingReason, Invoice, InvoiceStatus, Line};
use crate::domain::sale::plan::{Catalog, Plan};
use crate::domain::sale::policy::Policy;
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::Timestamp;

/// Returns the invoices that decide what a subscription grants: all of its own, except those that
/// the vendor created by hand for something else.
pub(super) fn of_its_course<'i>(
    subscription: &Subscription,
    invoices: &'i [Invoice],
    catalog: &Catalog,
) -> Vec<&'i Invoice> {
    let mut own: Vec<_> = invoices.iter().filter(|i| i.is_of(&subscription.id)).collect();
    let is_beside = |invoice: &&Invoice| {
        invoice.reason == BillingReason::Manual
            && !invoice.lines.iter().any(|line| covers(line, catalog).is_some())
    };
    // If no invoice tells what it is for, each may be for the plan.
    if !own.iter().all(is_beside) {
        own.retain(|invoice| !is_beside(invoice));
    }
    own
}

/// The invoices of a subscription that count.
pub(super) struct Counted<'i> {
    /// The invoices, the oldest first.
    pub invoices: Vec<&'i Invoice>,
    /// The lines that the paid ones bought, without those that later ones credit.
    bought: Vec<&'i Line>,
}

/// Returns the invoices that count: all except those that were paid mostly by a credit for
/// something unpaid or refunded. After a plan change, Stripe credits the rest of the earlier period
/// whether it was paid or not, and reports an invoice as paid if nothing else is due
/// (<https://docs.stripe.com/billing/subscriptions/prorations>). Such an invoice counts as soon as
/// the credited one is paid. The customer's balance pays like money, except for what such credits
/// put on it.
pub(super) fn counting<'i>(own: &[&'i Invoice], catalog: &Catalog) -> Counted<'i> {
    let policy = &catalog.policy;
    let mut invoices = own.to_vec();
    invoices.sort_by_key(|invoice| invoice.created);
    let owed = invoices.iter().filter(|invoice| is_owed(invoice, policy));
    let mut owed: Vec<Owed<'_>> = owed.map(|invoice| (*invoice, invoice.asked())).collect();
    let mut bought = Vec::new();
    let mut unpaid_balance: i64 = 0;
    invoices.retain(|invoice| {
        if !invoice.is_paid(policy) {
            return true;
        }
        let credited = unpaid(invoice, &owed, &bought, catalog);
        // What else was on the balance is used first.
        let other_balance = invoice.balance_before.saturating_neg().saturating_sub(unpaid_balance);
        let from_unpaid =
            invoice.from_balance().saturating_sub(other_balance.max(0)).clamp(0, unpaid_balance);
        unpaid_balance -= from_unpaid;
        unpaid_balance = unpaid_balance.saturating_add(invoice.to_balance().min(credited));
        let unpaid = credited.saturating_add(from_unpaid);
        // Counts if at least half was paid.
        let counts = unpaid <= invoice.amount - from_unpaid;
        if counts {
            enter(&mut bought, invoice);
        } else {
            owed.push((invoice, unpaid));
        }
        counts
    });
    Counted { invoices, bought }
}

/// An invoice, and the part of it that is unpaid or was refunded.
type Owed<'i> = (&'i Invoice, i64);

/// Returns how much of an invoice was paid by credits for something unpaid. A credit counts only as
/// far as neither another invoice nor another credit of this one covers it.
fn unpaid(invoice: &Invoice, owed: &[Owed<'_>], bought: &[&Line], catalog: &Catalog) -> i64 {
    let mut owed = owed.to_vec();
    let mut unpaid = 0;
    for credit in credits(invoice).filter(|line| covers(line, catalog).is_some()) {
        let paid = bought.iter().filter(|line| is_same(line, credit)).map(|line| line.amount);
        let paid = paid.fold(0, i64::saturating_add);
        let mut rest = credit.amount.saturating_neg().saturating_sub(paid).max(0);
        for (owing, left) in &mut owed {
            if purchases(owing).any(|line| is_same(line, credit)) {
                let part = rest.min(*left);
                (rest, *left) = (rest - part, *left - part);
                unpaid += part;
            }
        }
    }
    unpaid
}

/// Whether a credit for what it bought is a credit for what nobody paid: its money is missing, or
/// went back. That a voided invoice is not collected any more does not pay for it.
fn is_owed(invoice: &Invoice, policy: &Policy) -> bool {
    invoice.status != InvoiceStatus::Draft && !invoice.is_paid(policy)
}

fn purchases(invoice: &Invoice) -> impl Iterator<Item = &Line> {
    invoice.lines.iter().filter(|line| line.amount >= 0)
}

fn credits(invoice: &Invoice) -> impl Iterator<Item = &Line> {
    invoice.lines.iter().filter(|line| line.amount < 0)
}

/// Whether one line credits what the other bought.
fn is_same(line: &Line, other: &Line) -> bool {
    line.price == other.price && line.period_end == other.period_end
}

/// Adds the lines that a paid invoice bought, and removes those that it credits.
fn enter<'i>(bought: &mut Vec<&'i Line>, invoice: &'i Invoice) {
    bought.retain(|line| !credits(invoice).any(|credit| is_same(credit, line)));
    bought.extend(purchases(invoice));
}

/// Returns the highest plan that was paid for, at most of the rank `wanted`, and the end of its
/// period. Each is `None` if the lines of the invoices do not tell it. Returns nothing at all if no
/// invoice was paid, or if the policy revokes the one for the plan and only others were paid.
pub(super) fn paid_through<'c>(
    own: &Counted<'_>,
    catalog: &'c Catalog,
    (wanted, now): (usize, Timestamp),
) -> Option<(Option<&'c Plan>, Option<Timestamp>)> {
    let policy = &catalog.policy;
    if !own.invoices.iter().any(|invoice| invoice.is_paid(policy)) {
        return None;
    }
    let of_plans = own.bought.iter().filter_map(|line| covers(line, catalog));
    // The highest plan whose period still runs. If none does, the latest end counts.
    let best = of_plans.max_by_key(|(end, plan)| {
        let rank = plan.map(|(rank, _)| rank);
        (rank.filter(|_| *end > now).map(|rank| rank.min(wanted)), *end, rank)
    });
    if let Some((end, plan)) = best {
        return Some((plan.map(|(_, plan)| plan), Some(end)));
    }
    let mut revoked = own.invoices.iter().filter(|invoice| invoice.is_revoked(policy));
    let plan_is_revoked =
        revoked.any(|invoice| invoice.lines.iter().any(|line| covers(line, catalog).is_some()));
    (!plan_is_revoked).then_some((None, None))
}

/// Returns the end of the period that a line covers, and the plan with its rank if the line tells
/// it; `None` if the line bills something else.
pub(super) fn covers<'c>(
    line: &Line,
    catalog: &'c Catalog,
) -> Option<(Timestamp, Option<(usize, &'c Plan)>)> {
    let plan = match &line.price {
        Some(price) => Some(catalog.by_price(price)?),
        None => None,
    };
    Some((line.period_end?, plan))
}

/// Whether the money for a period after `paid` went back, and the plan was not paid for since. Then
/// no payment is awaited.
pub(super) fn is_given_back(own: &[&Invoice], catalog: &Catalog, paid: Timestamp) -> bool {
    let ends = |invoice: &Invoice| {
        invoice.lines.iter().filter_map(|line| covers(line, catalog)).map(|(end, _)| end).max()
    };
    own.iter().filter(|invoice| invoice.is_revoked(&catalog.policy)).any(|invoice| {
        let since =
            |later: &&&Invoice| later.created > invoice.created && later.is_paid(&catalog.policy);
        ends(invoice) > Some(paid) && !own.iter().filter(since).any(|later| ends(later).is_some())
    })
}

/// Returns the highest plan that a canceled subscription's customer paid for after its end, with
/// its rank, and until when. Dunning cancels a subscription whose renewal is not paid in time, and
/// the invoice stays payable (<https://docs.stripe.com/billing/subscriptions/cancel>). What was
/// paid before the end grants nothing: the vendor or the customer ended it.
pub(super) fn paid_after_end<'c>(
    subscription: &Subscription,
    invoices: &[Invoice],
    catalog: &'c Catalog,
    now: Timestamp,
) -> Option<(usize, &'c Plan, Timestamp)> {
    let ended_at = subscription.ended_at?;
    let own = of_its_course(subscription, invoices, catalog);
    let since = own.into_iter().filter(|invoice| {
        // An invoice that the end itself created bills the time before it.
        invoice.created < ended_at
            && invoice.paid_at.is_some_and(|paid| paid > ended_at)
            && invoice.is_paid(&catalog.policy)
            && !invoice.is_forgiven()
    });
    let of_subscription = subscription.plan(catalog).map(|(plan, _)| plan);
    let periods = since.flat_map(purchases).filter_map(|line| {
        let (end, plan) = covers(line, catalog)?;
        let plan = plan.map(|(_, plan)| plan).or(of_subscription)?;
        (end > now).then(|| (catalog.rank(plan.id.as_str()), plan, end))
    });
    periods.max_by_key(|(rank, _, end)| (*rank, *end))
}
