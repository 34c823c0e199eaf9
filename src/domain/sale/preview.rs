//! The cost of a change of a subscription, before it is made: the lines that add up to the amount
//! due, and the id by which the change repeats its preview. [`crate::flows::sale::preview`] asks
//! Stripe.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::ids::CustomerId;
use crate::domain::sale::change::{ChangeRequest, SubscriptionChange};
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::subscription::Subscription;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

/// How long a preview can be followed by its change.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(30);

/// The beginning of the id of a preview.
const PREFIX: &str = "prev_";

/// The longest id of a preview, in bytes. Ours have about 400.
pub const MAX_ID_BYTES: usize = 1000;

text_enum! {
    /// The part of an invoice that a line of a preview shows.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LineKind {
        /// A line of the invoice.
        Item = "item",
        /// The discounts.
        Discount = "discount",
        /// The tax that is added.
        Tax = "tax",
        /// The lines that Stripe leaves out.
        Other = "other",
        /// The part that the customer's balance pays, or that is credited to it.
        Balance = "balance",
    }
}

/// One line of a preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewLine {
    /// Its kind.
    pub kind: LineKind,
    /// The description: Stripe's of an item, or ours.
    pub text: String,
    /// In the currency's smallest unit; negative for a credit.
    pub amount: i64,
}

/// An invoice that Stripe would create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpcomingInvoice {
    /// The lines: those that Stripe shows.
    pub lines: Vec<UpcomingLine>,
    /// The sum of the discounts.
    pub discount: i64,
    /// The tax that is added to the amounts of the lines.
    pub added_tax: i64,
    /// The total: the lines without the discount, with the tax. Negative for a credit.
    pub total: i64,
    /// The customer's balance before. Negative is a credit.
    pub balance: i64,
    /// The amount due.
    pub due: i64,
}

/// One line of such an invoice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpcomingLine {
    /// Stripe's description.
    pub text: String,
    /// In the currency's smallest unit, without exclusive tax.
    pub amount: i64,
    /// The price that it bills.
    pub price: Option<String>,
    /// The start of the period that it covers.
    pub period_start: Option<Timestamp>,
    /// The end of the period that it covers.
    pub period_end: Option<Timestamp>,
}

impl UpcomingInvoice {
    /// Returns whether it bills a time before the end of the current period. If a change bills
    /// nothing, Stripe previews the next renewal instead. What else the subscription bills says
    /// nothing about the change.
    #[must_use]
    pub fn bills_before(&self, period_end: Timestamp, catalog: &Catalog) -> bool {
        let mut sold = self.lines.iter().filter(|line| {
            line.price.as_deref().is_some_and(|price| catalog.sold(price).is_some())
        });
        sold.any(|line| line.period_start.is_none_or(|start| start < period_end))
    }

    /// Returns the customer's balance after it.
    #[must_use]
    pub fn balance_after(&self) -> i64 {
        self.balance.saturating_add(self.total).saturating_sub(self.due)
    }

    /// Returns the lines for the customer. They add up to the amount due.
    #[must_use]
    pub fn breakdown(&self) -> Vec<PreviewLine> {
        let line = |kind, text: &str, amount| PreviewLine { kind, text: text.to_owned(), amount };
        let items = self.lines.iter();
        let mut lines: Vec<_> =
            items.map(|one| line(LineKind::Item, &one.text, one.amount)).collect();
        let sum = |lines: &[PreviewLine]| {
            lines.iter().map(|line| line.amount).fold(0, i64::saturating_add)
        };
        lines.push(line(LineKind::Discount, "Discount", self.discount.saturating_neg()));
        lines.push(line(LineKind::Tax, "Tax", self.added_tax));
        // Stripe lists at most ten lines in an invoice.
        let others = self.total.saturating_sub(sum(&lines));
        lines.push(line(LineKind::Other, "Other items", others));
        let from_balance = self.due.saturating_sub(self.total);
        let text = if self.total < 0 { "Credited to your balance" } else { "Your balance" };
        lines.push(line(LineKind::Balance, text, from_balance));
        lines.retain(|line| line.kind == LineKind::Item || line.amount != 0);
        lines
    }
}

/// The cost of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The amount due at once, in the currency's smallest unit.
    pub due_now: i64,
    /// The lines, which add up to it.
    pub lines: Vec<PreviewLine>,
    /// The amount of the next invoice; `None` if none follows, or if the amount is unknown.
    pub next_amount: Option<i64>,
    /// The time of the next invoice; `None` if none follows.
    pub next_date: Option<Timestamp>,
}

/// The next invoice after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextInvoice {
    /// None follows: the subscription ends before.
    None,
    /// At this time. Its amount depends on a discount that no preview can show.
    Unknown(Timestamp),
    /// At this time. After a change that is billed now, it is for a whole period.
    Known(Timestamp, UpcomingInvoice),
}

impl Preview {
    /// Returns the preview of a change. `now` is the invoice that it creates at once, if it is
    /// billed now.
    #[must_use]
    pub fn new(now: Option<&UpcomingInvoice>, next: &NextInvoice) -> Self {
        let amount = |next: &UpcomingInvoice| match now {
            Some(now) => next.total.saturating_add(now.balance_after()).max(0),
            None => next.due,
        };
        let (next_amount, next_date) = match next {
            NextInvoice::None => (None, None),
            NextInvoice::Unknown(at) => (None, Some(*at)),
            NextInvoice::Known(at, next) => (Some(amount(next)), Some(*at)),
        };
        Self {
            due_now: now.map_or(0, |invoice| invoice.due),
            lines: now.map(UpcomingInvoice::breakdown).unwrap_or_default(),
            next_amount,
            next_date,
        }
    }
}

/// Returns the time of the next invoice after a change, if one follows: the end of the period that
/// the change bills now, or else of the present one.
#[must_use]
pub fn next_date(
    change: &SubscriptionChange<'_>,
    now: Option<&UpcomingInvoice>,
    catalog: &Catalog,
) -> Option<Timestamp> {
    if change.subscription.ends_at(catalog).is_some() {
        return None;
    }
    let billed = now.into_iter().flat_map(|invoice| &invoice.lines);
    let of_plan = billed.filter(|line| {
        line.amount >= 0 && line.price.is_some() && line.price.as_deref() == change.plan_price()
    });
    let end = of_plan.filter_map(|line| line.period_end).max();
    end.or_else(|| change.subscription.period_end(catalog))
}

/// The terms of a preview, which its change must match. The customer can read them, so they contain
/// no name and no Stripe id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewTerms {
    /// The customer and the request, hashed.
    pub request: String,
    /// The subscription, hashed.
    pub state: String,
    /// The time from which the rest of the period is billed, in epoch seconds.
    pub at: i64,
    /// The amount due at once, in the currency's smallest unit.
    pub due_now: i64,
    /// The total of the invoice, negative for a credit; `None` if the change bills nothing.
    pub total: Option<i64>,
    /// The end of the preview, in epoch seconds.
    pub expires: i64,
}

impl PreviewTerms {
    /// Returns the text that is signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Returns the id of a preview: the signed text and the signature.
    #[must_use]
    pub fn id(text: &str, signature: &str) -> String {
        format!("{PREFIX}{text}.{signature}")
    }

    /// Returns the signed text and the signature of an id; `None` if it has another form.
    #[must_use]
    pub fn split(id: &str) -> Option<(&str, &str)> {
        id.strip_prefix(PREFIX).filter(|_| id.len() <= MAX_ID_BYTES)?.split_once('.')
    }

    /// Returns the terms of a signed text; `None` if another version wrote it.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

/// Returns the hash of a text.
#[must_use]
pub fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

/// Returns the hash of a request of a customer.
#[must_use]
pub fn request_hash(customer_id: &CustomerId, request: &ChangeRequest) -> String {
    hash(&format!("{customer_id} {}", request.to_json()))
}

/// Returns the hash of everything about a subscription that decides what a change costs. A former
/// change that waits for its payment is no part of it: the new one discards it, perhaps in a first
/// attempt whose response was lost.
#[must_use]
pub fn fingerprint(subscription: &Subscription) -> String {
    let Subscription {
        id,
        status,
        items,
        currency,
        cancel_at,
        cancel_at_period_end,
        trial_end,
        latest_invoice,
        discounts,
        schedule,
        has_sent_invoices,
        ..
    } = subscription;
    let mut items: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
    items.sort();
    hash(&format!(
        "{id} {status} {items:?} {currency:?} {cancel_at:?} {cancel_at_period_end} {trial_end:?} \
         {latest_invoice:?} {discounts:?} {schedule:?} {has_sent_invoices}"
    ))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::sale::entitlement::tests::{NOW, at, selling, subscription};
    use crate::domain::sale::promotion::EnteredCode;

    fn invoice(lines: &[i64], discount: i64, added_tax: i64, balance: i64) -> UpcomingInvoice {
        let line = |amount: &i64| UpcomingLine { amount: *amount, ..UpcomingLine::default() };
        let total = lines.iter().sum::<i64>() - discount + added_tax;
        let due = if total < 0 { 0 } else { (total + balance).max(0) };
        let lines = lines.iter().map(line).collect();
        UpcomingInvoice { lines, discount, added_tax, total, balance, due }
    }

    #[test]
    fn the_next_renewal_is_not_billed_by_a_change() {
        let (catalog, end) = (selling(), at(NOW + 1));
        let bills = |price: &str, start: i64| {
            let line = UpcomingLine {
                price: Some(price.to_owned()),
                period_start: Some(at(start)),
                ..UpcomingLine::default()
            };
            let upcoming = UpcomingInvoice { lines: vec![line], ..UpcomingInvoice::default() };
            upcoming.bills_before(end, &catalog)
        };
        assert!(bills("price_team_month", NOW));
        assert!(!bills("price_team_month", NOW + 1), "the next period");
        assert!(!bills("price_metered", NOW - 1), "the usage of this period");
    }

    proptest! {
        #[test]
        fn the_lines_add_up_to_the_amount_due(
            lines in prop::collection::vec(-100_000i64..100_000, 0..12),
            (discount, tax) in (0i64..1000, -1000i64..1000),
            balance in -100_000i64..100_000,
            shown in 0usize..12,
        ) {
            let mut invoice = invoice(&lines, discount, tax, balance);
            invoice.lines.truncate(shown);
            let sum: i64 = invoice.breakdown().iter().map(|line| line.amount).sum();
            prop_assert_eq!(sum, invoice.due);
        }
    }

    #[test]
    fn what_is_not_a_line_of_the_invoice_is_named() {
        let texts = |invoice: &UpcomingInvoice| {
            let lines = invoice.breakdown().into_iter();
            let ours = lines.filter(|line| line.kind != LineKind::Item);
            ours.map(|line| (line.text, line.amount)).collect::<Vec<_>>()
        };
        let charge = invoice(&[1000], 100, 180, -80);
        let named = |pairs: &[(&str, i64)]| {
            pairs.iter().map(|(text, amount)| ((*text).to_owned(), *amount)).collect::<Vec<_>>()
        };
        let expected = named(&[("Discount", -100), ("Tax", 180), ("Your balance", -80)]);
        assert_eq!(texts(&charge), expected);
        assert_eq!((charge.due, charge.balance_after()), (1000, 0));
        let credit = invoice(&[-500, 300], 0, 0, -50);
        assert_eq!(texts(&credit), named(&[("Credited to your balance", 200)]));
        assert_eq!((credit.due, credit.balance_after()), (0, -250));
    }

    #[test]
    fn a_preview_is_for_one_code_and_the_discounts_of_then() {
        let (customer, client) = (CustomerId::from_random(7), Ipv4Addr::LOCALHOST.into());
        let with = |code: Option<&str>| {
            let text = |text: &str| EnteredCode { text: text.to_owned(), client };
            let promotion_code = code.map(text);
            request_hash(&customer, &ChangeRequest { promotion_code, ..ChangeRequest::default() })
        };
        assert_ne!(with(None), with(Some("HALF")));
        assert_ne!(with(Some("HALF")), with(Some("TENTH")));
        let before = subscription("sub_1", "active", &["team_m"]);
        let after = Subscription { discounts: vec!["di_1".into()], ..before.clone() };
        assert_ne!(fingerprint(&before), fingerprint(&after));
    }

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let terms = PreviewTerms {
            request: hash("a"),
            state: hash("b"),
            at: 7,
            due_now: 1500,
            total: Some(1500),
            expires: 1807,
        };
        let id = PreviewTerms::id(&terms.to_text(), "signature");
        let (text, signature) = PreviewTerms::split(&id).unwrap();
        assert_eq!((PreviewTerms::read(text), signature), (Some(terms), "signature"));
        for wrong in ["", "prev_", "prev_a", "a.b", &format!("prev_{}.b", "a".repeat(1000))] {
            assert_eq!(PreviewTerms::split(wrong), None, "{wrong}");
        }
        assert_eq!(PreviewTerms::read("e30"), None);
    }
}
