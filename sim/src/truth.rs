//! What was paid, read from Stripe's objects in another way than the service does: by the days that paid
//! lines cover. It decides what must be licensed, and above what nothing may be.

use std::collections::HashSet;

use licentia::domain::plan::Catalog;
use licentia::domain::policy::Bought;
use serde_json::Value;

use crate::history::History;
use crate::people::id_of;

const DAY: i64 = 86_400;

/// How long something works past what was paid while a bank debit is on its way, and while a renewal is about
/// to be collected.
const DEBIT: i64 = 14 * DAY;
const DRAFT: i64 = 3 * DAY;

/// What Stripe knows of somebody.
pub struct Truth {
    pub subscriptions: Vec<Value>,
    /// The newest first, as Stripe lists them.
    pub invoices: Vec<Invoice>,
}

/// An invoice, and what became of its money.
pub struct Invoice {
    pub id: String,
    pub subscription: String,
    pub status: String,
    pub amount: i64,
    paid_at: Option<i64>,
    /// Whether its subscription went on without being collected at some time.
    was_paused: bool,
    lines: Vec<Line>,
    /// Whether a bank debit for it is on its way.
    is_processing: bool,
    /// Whether what it bought is taken back, by the vendor's policy.
    pub given_back: bool,
    pub refunded: bool,
    pub disputed: bool,
}

struct Line {
    price: String,
    amount: i64,
    start: i64,
    end: i64,
}

impl Invoice {
    pub fn is_paid(&self) -> bool {
        self.status == "paid"
    }

    fn is_good(&self) -> bool {
        self.is_paid() && !self.given_back
    }
}

/// What must be licensed at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The rank of the plan.
    pub rank: usize,
    /// Until when, grace aside.
    pub until: i64,
    /// Whether nothing else could be what is licensed.
    pub alone: bool,
}

impl Truth {
    /// Of the counterpart with this id.
    pub fn of(history: &History, stripe_id: &str) -> Self {
        let of = format!("customer={stripe_id}");
        let subscriptions = history.list("/v1/subscriptions", &format!("{of}&status=all"));
        let invoices = history.list("/v1/invoices", &of);
        let disputes = history.list("/v1/disputes", "");
        let invoices = invoices.iter().map(|found| invoice(history, found, &disputes)).collect();
        Self { subscriptions, invoices }
    }

    /// The lines that were paid and not given back or credited since.
    fn lines(&self, subscription: &Value) -> Vec<&Line> {
        self.paid(subscription).0
    }

    /// Whether more of some invoice was settled by a credit for what is owed, or was given back, than by money.
    pub fn owes(&self, subscription: &Value) -> bool {
        self.paid(subscription).1
    }

    /// Both.
    fn paid(&self, subscription: &Value) -> (Vec<&Line>, bool) {
        let id = id_of(subscription);
        let own = || self.invoices.iter().rev().filter(|invoice| invoice.subscription == id);
        let about = |line: &Line| (line.price.clone(), line.end);
        let is_owed = |invoice: &&Invoice| {
            invoice.given_back || matches!(invoice.status.as_str(), "open" | "uncollectible")
        };
        // What each was to buy, and how much of its money is missing.
        let bought = |invoice: &Invoice| -> HashSet<_> {
            invoice.lines.iter().filter(|line| line.amount >= 0).map(about).collect()
        };
        let mut owed: Vec<_> =
            own().filter(is_owed).map(|invoice| (bought(invoice), invoice.amount)).collect();
        let (mut lines, mut owes) = (Vec::<&Line>::new(), false);
        for invoice in own().filter(|invoice| invoice.is_good()) {
            let mut missing = 0;
            let mut left: Vec<i64> = owed.iter().map(|(_, amount)| *amount).collect();
            for credit in invoice.lines.iter().filter(|line| line.amount < 0) {
                let same = lines.iter().filter(|line| about(line) == about(credit));
                let paid: i64 = same.map(|line| line.amount).sum();
                let mut credit_left = (-credit.amount - paid).max(0);
                for ((bought, _), left) in owed.iter().zip(&mut left) {
                    if bought.contains(&about(credit)) {
                        let part = credit_left.min(*left);
                        (credit_left, *left) = (credit_left - part, *left - part);
                        missing += part;
                    }
                }
            }
            if missing > invoice.amount {
                owed.push((bought(invoice), missing));
                owes = true;
            } else {
                let credited = |line: &Line| {
                    invoice.lines.iter().any(|by| by.amount < 0 && about(by) == about(line))
                };
                lines.retain(|line| !credited(line));
                lines.extend(invoice.lines.iter().filter(|line| line.amount >= 0));
            }
        }
        (lines, owes)
    }

    /// What was certainly paid for `now`: the least that must be licensed.
    pub fn due(&self, catalog: &Catalog, now: i64) -> Option<Due> {
        let live = self.subscriptions.iter().filter(|s| s["status"] == "active");
        let due = live.filter_map(|subscription| {
            let mut covering = self.lines(subscription);
            covering.retain(|line| line.start <= now && now < line.end);
            let paid = covering.iter().filter_map(|line| rank(catalog, &line.price)).max()?;
            let wanted = items(subscription).filter_map(|price| rank(catalog, price)).max()?;
            let rank_due = paid.min(wanted);
            covering.retain(|line| rank(catalog, &line.price) >= Some(rank_due));
            let until = covering.iter().map(|line| line.end).max()?;
            // Another interval begins a period of its own.
            let until = period_end(subscription).map_or(until, |end| end.min(until));
            let until = ends(subscription).map_or(until, |end| end.min(until));
            (now < until).then_some(Due { rank: rank_due, until, alone: self.is_alone() })
        });
        due.max_by_key(|due| (due.rank, due.until))
    }

    /// What goes on by grace at the least: the last that was paid, if it is over and nothing ended it.
    pub fn bridged(&self, catalog: &Catalog, now: i64) -> Option<Due> {
        let live = self.subscriptions.iter().filter(|s| is_live(s) && ends(s).is_none());
        let bridged = live.filter_map(|subscription| {
            let id = id_of(subscription);
            let mut own = self.invoices.iter().filter(|invoice| invoice.subscription == id);
            if own.any(|invoice| invoice.given_back || invoice.was_paused) {
                return None;
            }
            let lines = self.lines(subscription);
            let ranked = |line: &&Line| Some((line.end, rank(catalog, &line.price)?));
            let (end, paid) = lines.iter().filter_map(ranked).max()?;
            let wanted = items(subscription).filter_map(|price| rank(catalog, price)).max()?;
            let rank = paid.min(wanted);
            let until = end + i64::from(catalog.plans.get(rank)?.grace_days) * DAY;
            (end <= now && now < until).then_some(Due { rank, until, alone: self.is_alone() })
        });
        bridged.max_by_key(|due| (due.rank, due.until))
    }

    /// Whether one subscription is live, and no other.
    fn is_alone(&self) -> bool {
        self.subscriptions.iter().filter(|subscription| is_live(subscription)).count() == 1
    }

    /// Whether something of this rank was paid that reaches to `until`, or nearly: what a license may
    /// say at the most.
    pub fn allows(&self, catalog: &Catalog, at_rank: usize, until: i64) -> bool {
        let live = self.subscriptions.iter().filter(|subscription| is_live(subscription));
        let mut live = live.filter(|subscription| {
            ends(subscription).is_none_or(|end| until <= end)
                && items(subscription).filter_map(|price| rank(catalog, price)).max() >= Some(0)
        });
        live.any(|subscription| {
            let paused = !subscription["pause_collection"].is_null();
            let lines = self.lines(subscription);
            let best = lines.iter().filter_map(|line| rank(catalog, &line.price)).max();
            let end = lines.iter().map(|line| line.end).max();
            best >= Some(at_rank) && (paused || end.is_some_and(|end| until <= end))
        })
    }

    /// Whether something of this rank, that reaches to `until`, was paid before `at`, or not collected
    /// because the vendor did not want to.
    pub fn ever_paid(&self, catalog: &Catalog, at_rank: usize, until: i64, at: i64) -> bool {
        let mut paid = self.invoices.iter().filter(|i| i.paid_at.is_some_and(|paid| paid <= at));
        paid.any(|invoice| {
            invoice.lines.iter().any(|line| {
                let enough = until <= line.end || invoice.was_paused;
                line.amount >= 0 && rank(catalog, &line.price) >= Some(at_rank) && enough
            })
        })
    }

    /// The end of the longest grace that anything here could have.
    pub fn latest_grace(&self, catalog: &Catalog, now: i64) -> i64 {
        let ends = self.subscriptions.iter().filter(|s| is_live(s)).filter_map(|subscription| {
            let paused = !subscription["pause_collection"].is_null();
            let period = period_end(subscription);
            let paid = self.lines(subscription).iter().map(|line| line.end).max()?;
            let paid = if paused { period.map_or(paid, |period| period.max(paid)) } else { paid };
            Some(paid + self.grace(subscription, catalog, paid <= now))
        });
        ends.max().unwrap_or(0)
    }

    fn grace(&self, subscription: &Value, catalog: &Catalog, behind: bool) -> i64 {
        let usual = catalog.plans.iter().map(|plan| i64::from(plan.grace_days)).max().unwrap_or(0);
        let id = id_of(subscription);
        let mut own = self.invoices.iter().filter(|invoice| invoice.subscription == id);
        let debit = own.any(|invoice| invoice.status == "open" && invoice.is_processing);
        match subscription["status"] == "active" {
            true if debit => DEBIT.max(usual * DAY),
            true if behind => DRAFT.max(usual * DAY),
            _ => usual * DAY,
        }
    }
}

fn is_live(subscription: &Value) -> bool {
    matches!(subscription["status"].as_str(), Some("active" | "past_due" | "trialing"))
}

fn items(subscription: &Value) -> impl Iterator<Item = &str> {
    let items = subscription["items"]["data"].as_array().into_iter().flatten();
    items.filter_map(|item| item["price"]["id"].as_str())
}

fn period_end(subscription: &Value) -> Option<i64> {
    subscription["items"]["data"][0]["current_period_end"].as_i64()
}

/// When a subscription is to end, by either field.
fn ends(subscription: &Value) -> Option<i64> {
    let with_period =
        period_end(subscription).filter(|_| subscription["cancel_at_period_end"] == true);
    [subscription["cancel_at"].as_i64(), with_period].into_iter().flatten().min()
}

fn rank(catalog: &Catalog, price: &str) -> Option<usize> {
    catalog.by_price(price).map(|(rank, _)| rank)
}

fn invoice(history: &History, found: &Value, disputes: &[Value]) -> Invoice {
    let stripe = &history.world.stripe;
    let id = id_of(found);
    let intent = stripe.payment_intent(&id).unwrap_or_default();
    let charge = stripe.look(&intent, |intent| intent["latest_charge"].as_str().map(str::to_owned));
    let charge = charge.unwrap_or_default();
    let refunded = stripe.look(&charge, |charge| charge["refunded"] == true);
    let is_processing = stripe.look(&intent, |intent| intent["status"] == "processing");
    let of_it = |dispute: &&Value| dispute["payment_intent"] == intent.as_str();
    let disputed: Vec<&str> =
        disputes.iter().filter(of_it).filter_map(|dispute| dispute["status"].as_str()).collect();
    let policy = history.ground.plans.policy;
    let bought = if refunded {
        policy.refund
    } else if disputed.contains(&"lost") {
        policy.dispute_lost
    } else if disputed.iter().any(|status| *status != "won") {
        policy.dispute
    } else {
        Bought::Keep
    };
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let lines = found["lines"]["data"].as_array().into_iter().flatten().map(|line| Line {
        price: line["pricing"]["price_details"]["price"].as_str().unwrap_or_default().to_owned(),
        amount: number(&line["amount"]),
        start: number(&line["period"]["start"]),
        end: number(&line["period"]["end"]),
    });
    let subscription = found["parent"]["subscription_details"]["subscription"].as_str();
    let subscription = subscription.unwrap_or_default().to_owned();
    Invoice {
        was_paused: history.paused.contains(&subscription),
        paid_at: found["status_transitions"]["paid_at"].as_i64(),
        subscription,
        status: found["status"].as_str().unwrap_or_default().to_owned(),
        amount: number(&found["total"]),
        lines: lines.collect(),
        is_processing,
        given_back: bought == Bought::Revoke,
        refunded,
        disputed: disputed.iter().any(|status| *status != "won"),
        id,
    }
}
