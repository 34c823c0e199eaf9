//! Random changes of one subscription, billed as Stripe bills them: the units and the add-ons are
//! compared with running sums over the invoices.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MONTHLY: &str = "price_team_month";
const YEARLY: &str = "price_team_year";
const PDF: &str = "price_pdf_month";
const YEAR_END: i64 = PERIOD_START + 365 * DAY;

/// One change: the price, the units, whether the add-on is there, whether it is billed at once, and
/// what becomes of the payment.
type Step = (bool, u32, bool, bool, u8);

/// The outcome of a payment that succeeds.
const PAID: u8 = 9;

/// The double of Stripe's billing.
#[derive(Default)]
struct Billing {
    invoices: Vec<Invoice>,
    /// Lines that are billed with the next invoice.
    pending: Vec<Line>,
    /// The customer's credit balance.
    balance: i64,
    lines: usize,
}

impl Billing {
    /// Returns the lines of an item that are not credited yet. The month and the year of the plan
    /// are one item.
    fn debits(&self, is_pdf: bool) -> Vec<Line> {
        let lines = || self.invoices.iter().flat_map(|one| &one.lines).chain(&self.pending);
        let is_open = |line: &&Line| {
            line.credits.is_empty()
                && (line.price.as_deref() == Some(PDF)) == is_pdf
                && !lines().any(|credit| credit.credits.contains(&line.id))
        };
        lines().filter(is_open).cloned().collect()
    }

    fn add(&mut self, line: Line) {
        self.lines += 1;
        self.pending.push(Line { id: format!("il_{}", self.lines), ..line });
    }

    /// Credits what an item was billed for, and bills it anew.
    fn change(&mut self, price: &str, units: u32) {
        let (end, each) = match price {
            MONTHLY => (PERIOD_END, 1000),
            YEARLY => (YEAR_END, 10_000),
            _ => (PERIOD_END, 300),
        };
        for debit in self.debits(price == PDF) {
            let credits = vec![debit.id.clone()];
            self.add(Line { amount: -debit.amount, credits, ..debit });
        }
        if units > 0 {
            let amount = each * i64::from(units);
            self.add(Line { quantity: Some(units), ..line(price, end, amount) });
        }
    }

    /// Makes an invoice of everything that is pending.
    fn bill(&mut self, of: &Subscription, outcome: u8) {
        let lines = std::mem::take(&mut self.pending);
        let total: i64 = lines.iter().map(|line| line.amount).sum();
        let amount = total.max(0);
        let before = self.balance;
        self.balance = if total < 0 { before - total } else { (before - total).max(0) };
        let is_free = amount <= before;
        let (status, payment) = match outcome {
            _ if is_free => (InvoiceStatus::Paid, Payment::Unremarkable),
            0 => (InvoiceStatus::Open, Payment::Failed),
            1 => (InvoiceStatus::Paid, Payment::Refunded),
            _ => (InvoiceStatus::Paid, Payment::Unremarkable),
        };
        if !is_free && status == InvoiceStatus::Open {
            self.balance = 0;
        }
        let number = self.invoices.len();
        self.invoices.push(Invoice {
            reason: BillingReason::Other,
            created: at(PERIOD_START + i64::try_from(number).unwrap()),
            amount,
            balance_before: -before,
            balance_after: -self.balance,
            payment,
            lines,
            ..invoice(&format!("in_{number}"), of, status, PERIOD_END)
        });
    }
}

/// Returns the state after these changes.
fn after(steps: &[Step]) -> StripeState {
    let mut of = subscription("sub_1", "active", &[MONTHLY, PDF]);
    let mut billing = Billing::default();
    let mut has_pdf = false;
    for (place, (is_yearly, units, wants_pdf, at_once, outcome)) in steps.iter().enumerate() {
        let (price, end) = if *is_yearly { (YEARLY, YEAR_END) } else { (MONTHLY, PERIOD_END) };
        billing.change(price, *units);
        of.items[0].price = price.to_owned();
        of.items[0].quantity = Some(*units);
        of.items[0].period_end = Some(at(end));
        if *wants_pdf != has_pdf {
            billing.change(PDF, u32::from(*wants_pdf));
            has_pdf = *wants_pdf;
        }
        if *at_once || place + 1 == steps.len() {
            billing.bill(&of, *outcome);
        }
    }
    of.items.truncate(1 + usize::from(has_pdf));
    state(of, billing.invoices)
}

fn is_good(invoice: &Invoice) -> bool {
    invoice.is_paid(&Policy::default())
}

/// Returns whether a line credits another line of its invoice.
fn is_own_credit(line: &Line, invoice: &Invoice) -> bool {
    invoice.lines.iter().any(|other| line.credits.contains(&other.id))
}

/// Returns whether an invoice sells a plan at another price than it credits.
fn changes_price(invoice: &Invoice) -> bool {
    let of_plan = invoice.lines.iter().filter(|line| line.price.as_deref() != Some(PDF));
    let (charges, credits): (Vec<&Line>, Vec<&Line>) =
        of_plan.partition(|line| line.credits.is_empty());
    let credits: Vec<_> = credits.iter().filter(|line| !is_own_credit(line, invoice)).collect();
    let is_credited = |charge: &Line| credits.iter().any(|line| line.price == charge.price);
    !credits.is_empty() && !charges.iter().all(|charge| is_credited(charge))
}

/// Returns the most units of the prices with this name: bill by bill, what each sells less what it
/// credits of earlier ones. A change to another price may not count if something is owed.
fn most_units(state: &StripeState, name: &str) -> i64 {
    let mut held: BTreeMap<&str, i64> = BTreeMap::new();
    let mut is_owed = false;
    for invoice in &state.invoices {
        if !is_good(invoice) {
            is_owed = true;
            continue;
        }
        let mut own: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for line in &invoice.lines {
            let price = line.price.as_deref().unwrap();
            let units = i64::from(line.units());
            let (sold, credited) = own.entry(price).or_default();
            match (line.credits.is_empty(), is_own_credit(line, invoice)) {
                (true, _) => *sold += units,
                (false, true) => *sold -= units,
                (false, false) => *credited += units,
            }
        }
        let may_not_count = is_owed && changes_price(invoice);
        for (price, (sold, credited)) in own {
            let before = held.entry(price).or_default();
            let more = sold - credited;
            let is_removal = more < 0 && !(may_not_count && price != PDF);
            *before = match is_removal {
                true => (*before + more).max(sold.min(*before)),
                false => *before + more.max(0),
            };
        }
    }
    held.iter().filter(|(price, _)| price.contains(name)).map(|(_, units)| units).sum()
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let units = prop::sample::select(vec![1_u32, 2, 3, 5, 8, 13]);
    let step = (prop::bool::weighted(0.2), units, any::<bool>(), any::<bool>(), 0..6_u8);
    prop::collection::vec(step, 1..7)
}

proptest! {
    #[test]
    fn units_and_add_ons_are_never_more_than_were_paid_stripe_34(steps in any_steps()) {
        let state = after(&steps);
        let catalog = selling();
        let entitlement = assess(&state, None, &catalog, at(NOW)).entitlement;
        let units = entitlement.as_ref().map_or(0, |has| has.quantity);
        let most = most_units(&state, "_team_");
        prop_assert!(i64::from(units) <= most, "{units} of {most}: {:#?}", state.invoices);
        let has_pdf = entitlement.is_some_and(|has| !has.addons.is_empty());
        prop_assert!(!has_pdf || most_units(&state, PDF) > 0, "{:#?}", state.invoices);
    }

    #[test]
    fn once_everything_is_paid_the_last_change_counts_stripe_34(steps in any_steps()) {
        let mut steps = steps;
        steps.iter_mut().for_each(|step| step.4 = PAID);
        let state = after(&steps);
        let catalog = selling();
        let entitlement = assess(&state, None, &catalog, at(NOW)).entitlement.unwrap();
        let (_, units, has_pdf, ..) = steps.last().copied().unwrap();
        prop_assert_eq!(
            (entitlement.quantity, !entitlement.addons.is_empty()), (units, has_pdf),
            "{:#?}", state.invoices
        );
    }
}
