//! What of a subscription was paid for, read from the lines of its invoices, in the order in which they were
//! made. What follows from that is in [`super`].

use crate::domain::invoice::{BillingReason, Invoice, InvoiceStatus, Line};
use crate::domain::plan::{Catalog, Plan};
use crate::domain::policy::Policy;
use crate::domain::subscription::Subscription;
use crate::domain::time::Timestamp;

/// The invoices that say something of what a subscription grants: all of its own, less what the vendor
/// billed by hand for something else.
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
    // Where none tells what it is for, each may be for the plan.
    if !own.iter().all(is_beside) {
        own.retain(|invoice| !is_beside(invoice));
    }
    own
}

/// What counts of a subscription's invoices.
pub(super) struct Counted<'i> {
    /// The oldest first.
    pub invoices: Vec<&'i Invoice>,
    /// What those that are paid bought, less what others of them credit.
    bought: Vec<&'i Line>,
}

/// The invoices that count: all but those that were settled by a credit for what is owed, or
/// whose money went back, rather than by money. After a change Stripe credits the rest of the period before,
/// whatever became of its payment, and calls an invoice paid that asks for nothing more
/// (<https://docs.stripe.com/billing/subscriptions/prorations>). Such a one counts once what it credits is paid.
pub(super) fn counting<'i>(own: &[&'i Invoice], catalog: &Catalog) -> Counted<'i> {
    let policy = &catalog.policy;
    let mut invoices = own.to_vec();
    invoices.sort_by_key(|invoice| invoice.created);
    let owed = invoices.iter().filter(|invoice| is_owed(invoice, policy));
    let mut owed: Vec<Owed<'_>> = owed.map(|invoice| (*invoice, invoice.amount)).collect();
    let mut bought = Vec::new();
    invoices.retain(|invoice| {
        if !invoice.is_paid(policy) {
            return true;
        }
        let unpaid = unpaid(invoice, &owed, &bought, catalog);
        // Who paid most of it has it.
        let counts = unpaid <= invoice.amount;
        if counts {
            enter(&mut bought, invoice);
        } else {
            owed.push((invoice, unpaid));
        }
        counts
    });
    Counted { invoices, bought }
}

/// An invoice, and how much of it is owed or was given back.
type Owed<'i> = (&'i Invoice, i64);

/// How much of an invoice was settled by credits for what is owed: of each as much as was not paid for, by another
/// invoice or by this one's other credits.
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

/// Whether a credit for what it bought is a credit for what nobody paid: its money is missing, or went
/// back. That a voided invoice is not collected any more does not pay for it.
fn is_owed(invoice: &Invoice, policy: &Policy) -> bool {
    invoice.status != InvoiceStatus::Draft && !invoice.is_paid(policy)
}

fn purchases(invoice: &Invoice) -> impl Iterator<Item = &Line> {
    invoice.lines.iter().filter(|line| line.amount >= 0)
}

fn credits(invoice: &Invoice) -> impl Iterator<Item = &Line> {
    invoice.lines.iter().filter(|line| line.amount < 0)
}

/// Whether two lines are about the same: one credits what the other bought.
fn is_same(line: &Line, other: &Line) -> bool {
    line.price == other.price && line.period_end == other.period_end
}

/// Adds what a paid invoice bought, and takes out what it credits.
fn enter<'i>(bought: &mut Vec<&'i Line>, invoice: &'i Invoice) {
    bought.retain(|line| !credits(invoice).any(|credit| is_same(credit, line)));
    bought.extend(purchases(invoice));
}

/// The plan that was paid for, up to the rank that is `wanted`, and the end of that, each if the lines of the
/// invoices tell it; `None` if no invoice was paid, or only ones for something else than the plan, whose own was taken
/// back by the policy.
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
    // Of what still runs, the highest that is of use; what is over tells until when something was paid.
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

/// Until when a line of an invoice covers a plan, and which, with its rank, if the line tells that;
/// `None` if it bills something else.
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

/// Whether the money for what comes after `paid` went back, and the plan was not paid for anew since: nothing
/// is waited for then.
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

/// Returns the highest plan that a canceled subscription's customer paid for after its end, with its rank,
/// and until when. Dunning cancels a subscription whose renewal is not paid in time, and the invoice
/// stays payable (<https://docs.stripe.com/billing/subscriptions/cancel>). What was paid before the end
/// grants nothing: the vendor or the customer ended it. What the vendor forgives after the end is not paid.
pub(super) fn paid_after_end<'c>(
    subscription: &Subscription,
    invoices: &[Invoice],
    catalog: &'c Catalog,
    now: Timestamp,
) -> Option<(usize, &'c Plan, Timestamp)> {
    let ended_at = subscription.ended_at?;
    let own = of_its_course(subscription, invoices, catalog);
    let since = own.into_iter().filter(|invoice| {
        let is_paid = invoice.is_paid(&catalog.policy) && !invoice.is_forgiven();
        is_paid && invoice.paid_at.is_some_and(|paid| paid > ended_at)
    });
    let of_subscription = subscription.plan(catalog).map(|(plan, _)| plan);
    let periods = since.flat_map(purchases).filter_map(|line| {
        let (end, plan) = covers(line, catalog)?;
        let plan = plan.map(|(_, plan)| plan).or(of_subscription)?;
        (end > now).then(|| (catalog.rank(plan.id.as_str()), plan, end))
    });
    periods.max_by_key(|(rank, _, end)| (*rank, *end))
}
