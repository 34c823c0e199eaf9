//! The payments of somebody, and the units that they sold: running sums over the lines of invoices.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::checks::WRONG_CLOCK;
use crate::guests::Fate;
use crate::history::History;
use crate::invoices::{Invoice, Line};
use crate::people::id_of;

/// One payment: an invoice, or a Checkout session that has none.
pub struct Bill {
    /// When the money was charged.
    pub at: i64,
    /// When it counts from, if it ever did.
    pub counts_since: Option<i64>,
    /// Whether it counts now.
    pub is_good: bool,
    /// Its place in the order of creation.
    pub place: usize,
    /// Whether the vendor forgave it.
    pub is_forgiven: bool,
    /// Whether it may have been given back for a while.
    was_in_doubt: bool,
    /// Whether something before it was owed: what it credits may pay for most of it, so that it
    /// does not count.
    pub follows_owed: bool,
    /// Whether it also changes to another price or interval.
    pub may_not_count: bool,
    pub lines: Vec<Sold>,
    pub subscription: String,
}

/// A line: units that were sold, or credited (below zero), for a time.
pub struct Sold {
    pub price: String,
    pub units: i64,
    pub start: i64,
    pub end: i64,
    /// Whether it starts some seconds later at Stripe, by a clock that was ahead.
    pub is_ahead: bool,
}

/// The most units of these bills at any moment between two times. Each subscription for which
/// perhaps none is paid then counts with its last period: it may be in its grace period while
/// another one runs.
pub fn most_of(
    bills: &[&Bill],
    is_final: fn(&Bill) -> bool,
    name: &str,
    between: (i64, i64),
) -> i64 {
    let mut own: BTreeMap<&str, Vec<&Bill>> = BTreeMap::new();
    for bill in bills {
        own.entry(&bill.subscription).or_default().push(bill);
    }
    own.values().map(|bills| most_of_one(bills, is_final, name, between)).sum()
}

fn most_of_one(
    bills: &[&Bill],
    is_final: fn(&Bill) -> bool,
    name: &str,
    (from, to): (i64, i64),
) -> i64 {
    let most_at = |time: i64| units_of(bills.iter().copied(), is_final, name, time);
    let certain = || bills.iter().copied().filter(|bill| !bill.follows_owed);
    let least_at = |time: i64| units_of(certain(), |_| true, name, time);
    let lines = || bills.iter().flat_map(|bill| &bill.lines).filter(|line| line.is_of(name));
    let moments = lines().flat_map(|line| [line.start, line.end]).chain([from, to]);
    let within: Vec<i64> = moments.filter(|time| from <= *time && *time <= to).collect();
    let of_last_period = |time: i64| {
        let last = lines().map(|line| line.end).filter(|end| *end <= time).max();
        last.map_or(0, |end| most_at(end - 1))
    };
    let ended =
        within.iter().filter(|time| least_at(**time) <= 0).map(|time| of_last_period(*time));
    within.iter().map(|time| most_at(*time)).chain(ended).max().unwrap_or(0)
}

/// Returns the units that these bills sold for a time, less those that they credited, bill by bill
/// in the order of their creation. A bill that sells fewer units than it credits sells them all, if
/// there were as many to credit. One that is not final, because it was or may have been given back,
/// counts for the units that it added.
pub fn units_of<'b>(
    bills: impl Iterator<Item = &'b Bill>,
    is_final: fn(&Bill) -> bool,
    name: &str,
    time: i64,
) -> i64 {
    let mut bills: Vec<&Bill> = bills.collect();
    bills.sort_by_key(|bill| bill.place);
    let mut held: BTreeMap<(&str, &str, i64), i64> = BTreeMap::new();
    for bill in bills {
        // What it sells, and what it credits of earlier bills: a credit is for what the bill itself
        // has sold before it, if there is any.
        let mut own: BTreeMap<(&str, i64), (i64, i64)> = BTreeMap::new();
        let lines = bill.lines.iter().filter(|line| line.is_of(name));
        for line in lines.filter(|line| line.start <= time && time < line.end) {
            let (sold, credited) = own.entry((&line.price, line.end)).or_default();
            let from_own = (-line.units).clamp(0, *sold);
            *sold += line.units.max(-from_own);
            *credited += (-line.units - from_own).max(0);
        }
        for ((price, end), (sold, credited)) in own {
            let held = held.entry((&bill.subscription, price, end)).or_default();
            let more = sold - credited;
            let left = (*held + more).max(sold.min(*held));
            *held = if is_final(bill) { left } else { *held + more.max(0) };
        }
    }
    held.into_values().sum()
}

impl Bill {
    /// Whether what it credits is certainly gone now.
    pub fn is_final(&self) -> bool {
        self.is_good && !self.may_not_count
    }

    /// Whether it was gone at any time since.
    pub fn is_final_ever(&self) -> bool {
        self.is_final() && !self.was_in_doubt
    }
}

#[cfg(test)]
impl Bill {
    /// Returns a payment of these units of prices that counts.
    pub fn of(at: i64, lines: &[(&str, i64)]) -> Self {
        let lines = lines.iter().map(|(price, units)| Sold {
            price: (*price).to_owned(),
            units: *units,
            start: at,
            end: at,
            is_ahead: false,
        });
        Self {
            at,
            counts_since: Some(at),
            is_good: true,
            place: 0,
            is_forgiven: false,
            was_in_doubt: false,
            follows_owed: false,
            may_not_count: false,
            lines: lines.collect(),
            subscription: String::new(),
        }
    }
}

impl Sold {
    pub fn is_of(&self, name: &str) -> bool {
        self.price.contains(name)
    }
}

pub fn bill((place, invoice): (usize, &Invoice)) -> Bill {
    // A change is billed from the time of the server's clock, which may be ahead.
    let is_ahead = |line: &Line| (1..=WRONG_CLOCK).contains(&(line.start - invoice.created));
    let lines = invoice.lines.iter().map(|line| Sold {
        price: line.price.clone(),
        units: line.units,
        start: if is_ahead(line) { invoice.created } else { line.start },
        end: line.end,
        is_ahead: is_ahead(line),
    });
    Bill {
        at: invoice.charged_at.unwrap_or(invoice.created),
        // Stripe creates the invoice of a single payment a second after the charge.
        counts_since: invoice.counts_since.map(|since| {
            invoice.charged_at.filter(|charged| *charged == since - 1).unwrap_or(since)
        }),
        is_good: invoice.is_good(),
        place,
        is_forgiven: invoice.is_forgiven,
        was_in_doubt: invoice.was_in_doubt,
        follows_owed: false,
        may_not_count: false,
        subscription: invoice.subscription.clone(),
        lines: lines.collect(),
    }
}

/// Whether an invoice sells something at another price, or for another period, than it credits.
pub fn is_other_price(invoice: &Invoice) -> bool {
    let (credits, sales): (Vec<&Line>, Vec<&Line>) =
        invoice.lines.iter().partition(|line| line.is_credit());
    let credits: Vec<_> = credits.iter().filter(|line| line.credited != invoice.id).collect();
    let is_of = |sale: &Line| {
        credits.iter().any(|credit| credit.price == sale.price && credit.end == sale.end)
    };
    !credits.is_empty() && !sales.iter().all(|sale| is_of(sale))
}

/// A session that has no invoice.
pub fn session_alone(history: &History, session: &Value, fate: Fate) -> Bill {
    let id = id_of(session);
    let stripe = &history.world.stripe;
    let intent = session["payment_intent"].as_str().unwrap_or_default();
    let charge = stripe.look(intent, |intent| intent["latest_charge"].clone());
    let charged = stripe.look(charge.as_str().unwrap_or_default(), |one| one["created"].as_i64());
    // An order that a code made free may have a charge that was declined before.
    let charged = charged.filter(|_| session["payment_status"] == "paid");
    let at = charged.or(session["created"].as_i64()).unwrap_or_default();
    let lines = history.list(&format!("/v1/checkout/sessions/{id}/line_items"), "");
    let lines = lines.iter().map(|line| Sold {
        price: line["price"]["id"].as_str().unwrap_or_default().to_owned(),
        units: line["quantity"].as_i64().unwrap_or(1),
        start: at,
        end: at,
        is_ahead: false,
    });
    let (counts_since, subscription) = (Some(at), String::new());
    Bill {
        at,
        counts_since,
        is_good: fate != Fate::Gone,
        place: usize::MAX,
        is_forgiven: false,
        was_in_doubt: false,
        follows_owed: false,
        may_not_count: false,
        subscription,
        lines: lines.collect(),
    }
}
