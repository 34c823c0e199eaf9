//! Stripe's invoices, and what became of their money, read in another way than the service does:
//! payment by payment, refund by refund, and by the amounts alone.

use licentia::domain::sale::policy::Consequence;
use serde_json::Value;

use crate::history::History;
use crate::people::id_of;

/// Banks claim back this share of a payment at the least, in percent, when they mean all of it:
/// exchange rates differ.
const ALL_BUT_EXCHANGE: i64 = 98;

/// An invoice, and what became of its money.
#[derive(Debug)]
pub struct Invoice {
    pub id: String,
    pub subscription: String,
    /// Whether it is the first one of its subscription.
    pub is_first: bool,
    pub status: String,
    /// What it asks for, less what was credited before anybody paid.
    pub amount: i64,
    /// The same, but all of it if the vendor forgave it: so much was never paid.
    pub asked: i64,
    pub created: i64,
    /// When the money was charged that paid it.
    pub charged_at: Option<i64>,
    /// When it was paid by anything but the vendor's grace.
    pub paid_at: Option<i64>,
    /// When it was paid or forgiven, whichever came first.
    pub counts_since: Option<i64>,
    /// When it is to be paid, if it was sent.
    pub due: Option<i64>,
    /// Whether the vendor forgave it.
    pub is_forgiven: bool,
    /// Whether its subscription went on without being collected at some time.
    pub was_paused: bool,
    pub lines: Vec<Line>,
    /// Whether a bank debit for it is on its way.
    pub is_processing: bool,
    /// Whether what it bought is taken back, by the vendor's policy.
    pub given_back: bool,
    /// Whether some of its money was ever returned or disputed, whatever came of that.
    pub was_in_doubt: bool,
    pub refunded: bool,
    pub disputed: bool,
}

#[derive(Debug)]
pub struct Line {
    pub price: String,
    pub amount: i64,
    /// The units; below zero if they are credited.
    pub units: i64,
    /// The invoice whose lines it credits, if it names one.
    pub credited: String,
    pub start: i64,
    pub end: i64,
}

impl Invoice {
    pub fn is_paid(&self) -> bool {
        self.status == "paid"
    }

    /// Whether what it bought is the customer's.
    pub fn is_good(&self) -> bool {
        (self.is_paid() || self.is_forgiven) && !self.given_back
    }

    /// Whether a credit for what it bought is a credit for nothing: it was asked for, and never
    /// paid, or the money is gone.
    pub fn is_owed(&self) -> bool {
        !self.is_draft() && !self.is_good()
    }

    /// Whether nobody was asked for its money yet.
    pub fn is_draft(&self) -> bool {
        self.status == "draft"
    }

    /// Whether nobody waits for its money although none came.
    pub fn is_given_up(&self) -> bool {
        self.given_back || matches!(self.status.as_str(), "void" | "uncollectible")
    }
}

impl Line {
    pub fn is_credit(&self) -> bool {
        self.units < 0
    }
}

/// How much went back.
#[derive(Default)]
struct Back {
    returned: i64,
    /// Credited to the balance or out of band.
    credited: i64,
    lost: i64,
    held: i64,
    /// What all its payments by Stripe took.
    received: i64,
    was_in_doubt: bool,
    charged_at: Option<i64>,
    is_processing: bool,
}

/// Reads an invoice. `disputes` are all there are.
pub fn read(history: &History, found: &Value, disputes: &[Value]) -> Invoice {
    let id = id_of(found);
    let back = back(history, &id, disputes);
    let credited = number(&found["pre_payment_credit_notes_amount"]);
    let amount = (number(&found["total"]) - credited).max(0);
    let is_paid = found["status"] == "paid";
    // What it asks for, and what was paid too much. A debt from before, which is collected with it,
    // is no part of it.
    let all = match amount {
        0 => back.received,
        _ => amount + number(&found["amount_overpaid"]),
    };
    // A credit on the customer's balance pays first. It is no money that a payment can give back.
    let by_credit = (-number(&found["starting_balance"])).clamp(0, number(&found["total"]).max(0));
    let is_all = |money: i64, percent: i64| {
        let (all_money, with_credits) = (all - by_credit, money + back.credited);
        money * 100 >= all_money * percent || with_credits * 100 >= all * percent
    };
    let refunded = is_paid
        && (back.returned > 0 && is_all(back.returned, 100)
            || back.credited > 0 && back.returned + back.credited >= all);
    let lost = is_paid
        && !refunded
        && back.lost > 0
        && is_all(back.returned + back.lost, ALL_BUT_EXCHANGE);
    let held = is_paid
        && !refunded
        && !lost
        && back.held > 0
        && is_all(back.returned + back.lost + back.held, ALL_BUT_EXCHANGE);
    let is_forgiven = is_forgiven(found, amount, credited);
    let in_part = is_paid && !refunded && !lost && !held;
    let in_part = in_part && back.returned + back.credited + back.lost > 0;
    let policy = history.ground.plans.policy;
    let takes_back = [
        (refunded, policy.refund),
        (in_part, policy.partial_refund),
        (lost, policy.dispute_lost),
        (held, policy.dispute),
        (is_forgiven, policy.forgiven),
    ];
    let given_back =
        takes_back.into_iter().any(|(is, consequence)| is && consequence == Consequence::Revoke);
    let subscription = found["parent"]["subscription_details"]["subscription"].as_str();
    let subscription = subscription.unwrap_or_default().to_owned();
    let times = &found["status_transitions"];
    let paid_at = times["paid_at"].as_i64();
    // Stripe tells why an invoice was written off only until it is paid.
    let was_forgiven = is_forgiven
        || found["billing_reason"] == "subscription_cycle"
            && (history.written_off.contains(&id) || history.paused.contains(&subscription));
    let forgiven_at = was_forgiven.then(|| forgiven_at(times)).flatten();
    Invoice {
        was_paused: history.paused.contains(&subscription),
        paid_at: paid_at.filter(|_| !is_forgiven),
        counts_since: [paid_at, forgiven_at].into_iter().flatten().min(),
        due: found["due_date"].as_i64(),
        is_forgiven,
        subscription,
        is_first: found["billing_reason"] == "subscription_create",
        status: found["status"].as_str().unwrap_or_default().to_owned(),
        amount,
        asked: if is_forgiven { number(&found["total"]).max(0) } else { amount },
        created: number(&found["created"]),
        charged_at: back.charged_at,
        lines: lines(found),
        is_processing: back.is_processing,
        given_back,
        was_in_doubt: back.was_in_doubt,
        refunded,
        disputed: lost || held,
        id,
    }
}

fn lines(invoice: &Value) -> Vec<Line> {
    let lines = invoice["lines"]["data"].as_array().into_iter().flatten().map(|line| Line {
        price: line["pricing"]["price_details"]["price"].as_str().unwrap_or_default().to_owned(),
        amount: number(&line["amount"]),
        units: units(line),
        credited: credited(line)["invoice"].as_str().unwrap_or_default().to_owned(),
        start: number(&line["period"]["start"]),
        end: number(&line["period"]["end"]),
    });
    lines.collect()
}

/// A credit may be for nothing: after a discount of all, it only names what it credits.
fn units(line: &Value) -> i64 {
    let is_credit = number(&line["amount"]) < 0 || !credited(line).is_null();
    let units = line["quantity"].as_i64().unwrap_or(1);
    if is_credit { -units } else { units }
}

/// Returns what a line credits by name, or null.
fn credited(line: &Value) -> &Value {
    &line["parent"]["subscription_item_details"]["proration_details"]["credited_items"]
}

/// A renewal that the vendor voided or wrote off, by hand or by a pause, and anything of which all
/// was credited before it was paid.
fn is_forgiven(invoice: &Value, amount: i64, credited: i64) -> bool {
    let is_renewal = invoice["billing_reason"] == "subscription_cycle";
    let reason = invoice["status_details"]["uncollectible"]["reason"].as_str().unwrap_or_default();
    match invoice["status"].as_str().unwrap_or_default() {
        "void" => is_renewal,
        "uncollectible" => {
            is_renewal && (reason == "user_forgiven" || reason == "subscription_paused")
        }
        "paid" => amount == 0 && credited > 0,
        _ => false,
    }
}

fn forgiven_at(times: &Value) -> Option<i64> {
    let times = [&times["voided_at"], &times["marked_uncollectible_at"]];
    times.into_iter().filter_map(Value::as_i64).min()
}

/// What went back of every payment of an invoice, and by its credit notes.
fn back(history: &History, invoice: &str, disputes: &[Value]) -> Back {
    let stripe = &history.world.stripe;
    let mut back = Back::default();
    for payment in history.list("/v1/invoice_payments", &format!("invoice={invoice}")) {
        let Some(intent) = payment["payment"]["payment_intent"].as_str() else { continue };
        let (status, amount) = stripe.look(intent, |intent| {
            (intent["status"].as_str().unwrap_or_default().to_owned(), number(&intent["amount"]))
        });
        back.is_processing |= status == "processing";
        if status != "succeeded" {
            continue;
        }
        back.received += amount;
        let charge = stripe.look(intent, |intent| intent["latest_charge"].clone());
        let charge = charge.as_str().unwrap_or_default();
        back.charged_at = stripe.look(charge, |charge| charge["created"].as_i64());
        for refund in history.list("/v1/refunds", &format!("payment_intent={intent}")) {
            back.was_in_doubt = true;
            let failed = refund["status"] == "failed" || refund["status"] == "canceled";
            back.returned += if failed { 0 } else { number(&refund["amount"]) };
        }
        for dispute in disputes.iter().filter(|d| d["payment_intent"] == intent) {
            let amount = number(&dispute["amount"]);
            back.was_in_doubt = true;
            match dispute["status"].as_str().unwrap_or_default() {
                "lost" => back.lost += amount,
                "needs_response" | "under_review" => back.held += amount,
                _ => {}
            }
        }
    }
    for note in history.list("/v1/credit_notes", &format!("invoice={invoice}")) {
        back.was_in_doubt = true;
        if note["status"] == "issued" {
            let transaction = note["customer_balance_transaction"].as_str().unwrap_or_default();
            let to_balance = stripe.look(transaction, |moved| -number(&moved["amount"]));
            back.credited += to_balance + number(&note["out_of_band_amount"]);
        }
    }
    back
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}
