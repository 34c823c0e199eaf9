//! The paid periods, read from Stripe's objects in another way than the service does: by the days
//! that paid lines cover. It decides what must be licensed, and above what nothing may be.

use std::collections::{BTreeSet, HashSet};

use licentia::domain::sale::plan::Catalog;
use serde_json::Value;

use crate::changes;
use crate::history::History;
use crate::invoices::{self, Invoice, Line};
use crate::people::id_of;
use crate::trials::{self, Trial};

const DAY: i64 = 86_400;

/// How long something works past what was paid while a bank debit is on its way, and while a
/// renewal is about to be collected.
const DEBIT: i64 = 14 * DAY;
const DRAFT: i64 = 3 * DAY;

/// What Stripe knows of somebody.
pub struct Truth {
    pub subscriptions: Vec<Value>,
    /// The newest first, as Stripe lists them.
    pub invoices: Vec<Invoice>,
    /// The invoices of changes that were never paid and had no effect.
    pub without_effect: Vec<Invoice>,
    /// The trials of the subscriptions.
    pub trials: Vec<Trial>,
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
        let (mut counted, mut without_effect) = (Vec::new(), Vec::new());
        for found in &invoices {
            let is_without = changes::is_without_effect(history, found);
            let group = if is_without { &mut without_effect } else { &mut counted };
            group.push(invoices::read(history, found, &disputes));
        }
        let mut trials = history.trials_of(&subscriptions);
        // A trial's invoice says what will be sold. Nothing was paid for it.
        let mut of_trials = HashSet::new();
        for invoice in counted.iter_mut().filter(|invoice| invoice.is_first) {
            let own = trials.iter_mut().find(|one| one.subscription == invoice.subscription);
            if let Some(trial) = own {
                let lines = std::mem::take(&mut invoice.lines);
                let first = lines.iter().map(|line| line.end).max();
                trial.latest_end = trial.latest_end.max(first.unwrap_or(0));
                of_trials.insert(invoice.id.clone());
            }
        }
        for invoice in &mut counted {
            invoice.lines.retain(|line| !of_trials.contains(&line.credited));
        }
        Self { subscriptions, invoices: counted, without_effect, trials }
    }

    /// What Stripe has, for the trace of a violation.
    pub fn facts(&self) -> impl Iterator<Item = String> {
        let of_subscription = |found: &Value| {
            let fields = ["id", "status", "created", "ended_at", "cancel_at", "pause_collection"];
            let fields = fields.map(|field| format!("{field} {}", found[field]));
            let prices: Vec<&str> = items(found).collect();
            format!("  {}, {prices:?} until {:?}", fields.join(", "), period_end(found))
        };
        let subscriptions = self.subscriptions.iter().map(of_subscription);
        subscriptions.chain(self.all_invoices().map(|invoice| format!("  {invoice:?}")))
    }

    /// The trial of a subscription, if it began with one.
    pub fn trial(&self, subscription: &Value) -> Option<&Trial> {
        let id = id_of(subscription);
        self.trials.iter().find(|trial| trial.subscription == id)
    }

    /// Every invoice.
    pub fn all_invoices(&self) -> impl Iterator<Item = &Invoice> {
        self.invoices.iter().chain(&self.without_effect)
    }

    /// The lines that were paid and not given back or credited since.
    fn lines(&self, subscription: &Value) -> Vec<&Line> {
        self.paid(subscription).0
    }

    /// Whether something was asked for and not paid, forgiven, or given back; or something was
    /// credited for which nobody was asked yet.
    pub fn owes_anything(&self) -> bool {
        let is_credited = |draft: &Invoice| {
            let mut lines = self.invoices.iter().flat_map(|invoice| &invoice.lines);
            draft.is_draft() && lines.any(|line| line.credited == draft.id)
        };
        self.invoices.iter().any(|one| one.is_owed() || one.is_forgiven || is_credited(one))
    }

    /// Whether more of some invoice was settled by a credit for what is owed, or was given back,
    /// than by money; or a free invoice waits for the payment of an earlier debt.
    pub fn owes(&self, subscription: &Value) -> bool {
        let id = id_of(subscription);
        let mut own = self.invoices.iter().filter(|invoice| invoice.subscription == id);
        own.any(|invoice| invoice.amount == 0 && invoice.is_owed()) || self.paid(subscription).1
    }

    /// Both.
    fn paid(&self, subscription: &Value) -> (Vec<&Line>, bool) {
        let id = id_of(subscription);
        let own = || self.invoices.iter().rev().filter(|invoice| invoice.subscription == id);
        let about = |line: &Line| (line.price.clone(), line.end);
        // What each was to buy, and how much of its money is missing.
        let bought = |invoice: &Invoice| -> HashSet<_> {
            invoice.lines.iter().filter(|line| line.amount >= 0).map(about).collect()
        };
        let mut owed: Vec<_> = own()
            .filter(|invoice| !invoice.is_good())
            .map(|invoice| (bought(invoice), invoice.asked))
            .collect();
        let (mut lines, mut owes) = (Vec::<&Line>::new(), false);
        for invoice in own().filter(|invoice| invoice.is_good()) {
            let (mut missing, mut backed) = (0, 0);
            let mut left: Vec<i64> = owed.iter().map(|(_, amount)| *amount).collect();
            // A change of a change within one bill costs nothing by itself.
            let is_of_earlier = |line: &&Line| line.is_credit() && line.credited != invoice.id;
            for credit in invoice.lines.iter().filter(is_of_earlier) {
                let same = lines.iter().filter(|line| about(line) == about(credit));
                let paid: i64 = same.map(|line| line.amount).sum();
                let mut credit_left = (-credit.amount - paid).max(0);
                backed += -credit.amount - credit_left;
                for ((bought, _), left) in owed.iter().zip(&mut left) {
                    if bought.contains(&about(credit)) {
                        let part = credit_left.min(*left);
                        (credit_left, *left) = (credit_left - part, *left - part);
                        missing += part;
                    }
                }
            }
            // What a paid credit covers needs no other one, which then goes to the balance.
            let charged = invoice.lines.iter().filter(|line| !is_of_earlier(line));
            let charged: i64 = charged.map(|line| line.amount).sum();
            missing = missing.min((charged - backed).max(0));
            if missing > invoice.amount {
                owed.push((bought(invoice), missing));
                owes = true;
            } else {
                let credited = |line: &Line| {
                    invoice.lines.iter().any(|by| by.is_credit() && about(by) == about(line))
                };
                lines.retain(|line| !credited(line));
                lines.extend(invoice.lines.iter().filter(|line| !line.is_credit()));
            }
        }
        (lines, owes)
    }

    /// What was certainly paid for `now`: the least that must be licensed.
    pub fn due(&self, catalog: &Catalog, now: i64) -> Option<Due> {
        let due = self.subscriptions.iter().filter_map(|subscription| {
            if subscription["status"] == "canceled" {
                let late = self.late(subscription, true).filter(|line| now < line.end);
                let late = late.filter(|line| !self.is_credited(line));
                let ranked = late.filter_map(|line| Some((rank(catalog, &line.price)?, line.end)));
                let (rank, until) = ranked.max()?;
                return Some(Due { rank, until, alone: self.is_alone(now) });
            }
            if subscription["status"] == "trialing" {
                let certain = self.trial(subscription).filter(|trial| !trial.is_doubtful);
                let until = certain.and(subscription["trial_end"].as_i64())?;
                let until = ends(subscription).map_or(until, |end| end.min(until));
                let rank = items(subscription).filter_map(|price| rank(catalog, price)).max()?;
                let due = Due { rank, until, alone: self.is_alone(now) };
                return (now < until).then_some(due);
            }
            if subscription["status"] != "active" {
                return None;
            }
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
            (now < until).then_some(Due { rank: rank_due, until, alone: self.is_alone(now) })
        });
        due.max_by_key(|due| (due.rank, due.until))
    }

    /// What goes on by grace at the least: the last that was paid, if it is over and nothing ended
    /// it.
    pub fn bridged(&self, catalog: &Catalog, now: i64) -> Option<Due> {
        let live = self.subscriptions.iter().filter(|s| is_live(s) && ends(s).is_none());
        let bridged = live.filter_map(|subscription| {
            let id = id_of(subscription);
            let mut own = self.invoices.iter().filter(|invoice| invoice.subscription == id);
            if own.any(|invoice| invoice.is_given_up() || invoice.was_paused) {
                return None;
            }
            let lines = self.lines(subscription);
            let ranked = |line: &&Line| Some((line.end, rank(catalog, &line.price)?));
            let (end, paid) = lines.iter().filter_map(ranked).max()?;
            let wanted = items(subscription).filter_map(|price| rank(catalog, price)).max()?;
            let rank = paid.min(wanted);
            let grace = i64::from(catalog.plans.get(rank)?.grace_days) * DAY;
            // A sent invoice has grace from its due date on, which may be earlier or later.
            let due = self.oldest_due(subscription).unwrap_or(end);
            let until = end.min(due) + grace;
            (end <= now && now < until).then_some(Due { rank, until, alone: self.is_alone(now) })
        });
        bridged.max_by_key(|due| (due.rank, due.until))
    }

    /// Whether something credits a line.
    fn is_credited(&self, line: &Line) -> bool {
        let good = self.invoices.iter().filter(|invoice| invoice.is_good());
        let mut credits = good.flat_map(|invoice| &invoice.lines).filter(|line| line.is_credit());
        credits.any(|credit| credit.price == line.price && credit.end == line.end)
    }

    /// Whether one subscription is live, or was paid for after its end, and no other.
    fn is_alone(&self, now: i64) -> bool {
        let counts = |subscription: &&Value| {
            is_live(subscription) || self.late(subscription, false).any(|line| now < line.end)
        };
        self.subscriptions.iter().filter(counts).count() == 1
    }

    /// The periods that were paid after the subscription had ended: dunning cancels, and the
    /// invoice stays payable. What the vendor forgives then is no payment. Whether an invoice of
    /// the same second was there before the end cannot be told: `certainly` leaves it out. What a
    /// credit for such an invoice paid is paid with it, which is possible and not certain.
    pub fn late(&self, subscription: &Value, certainly: bool) -> impl Iterator<Item = &Line> {
        let id = id_of(subscription);
        let ended = subscription["ended_at"].as_i64();
        let ended = ended.filter(|_| subscription["status"] == "canceled").unwrap_or(i64::MAX);
        let own = self.invoices.iter().filter(move |invoice| invoice.subscription == id);
        let own = own.filter(move |invoice| invoice.created < ended || !certainly);
        let good = || self.invoices.iter().filter(|invoice| invoice.is_good());
        let is_late = |invoice: &&Invoice| invoice.paid_at.is_some_and(|paid| paid > ended);
        let mut late: BTreeSet<&str> = good().filter(is_late).map(|one| one.id.as_str()).collect();
        // A credit for what a credit paid is a further step.
        let mut before = 0;
        while !certainly && late.len() > before {
            before = late.len();
            let credits_late = |invoice: &&Invoice| {
                let mut lines = invoice.lines.iter();
                lines.any(|line| late.contains(line.credited.as_str()))
            };
            let more: Vec<&str> = good().filter(credits_late).map(|one| one.id.as_str()).collect();
            late.extend(more);
        }
        let late = own.filter(move |invoice| late.contains(invoice.id.as_str()));
        late.flat_map(|invoice| &invoice.lines).filter(|line| line.amount >= 0)
    }

    /// When the oldest sent invoice is due that is unpaid and bills more than was paid.
    fn oldest_due(&self, subscription: &Value) -> Option<i64> {
        let id = id_of(subscription);
        let paid = self.lines(subscription).iter().map(|line| line.end).max();
        let own = self.invoices.iter().filter(|invoice| invoice.subscription == id);
        // A later payment counts, whatever is owed for the time before it.
        let unpaid = own.filter(|invoice| {
            let is_unpaid = matches!(invoice.status.as_str(), "open" | "uncollectible");
            is_unpaid
                && !invoice.is_good()
                && invoice.lines.iter().any(|line| Some(line.end) > paid)
        });
        unpaid.filter_map(|invoice| invoice.due).min()
    }

    /// Whether something of this rank was paid that reaches to `until`, or nearly: what a license
    /// may say at the most.
    pub fn allows(&self, catalog: &Catalog, at_rank: usize, until: i64) -> bool {
        let mut late =
            self.subscriptions.iter().flat_map(|subscription| self.late(subscription, false));
        if late.any(|line| until <= line.end && rank(catalog, &line.price) >= Some(at_rank)) {
            return true;
        }
        let live = self.subscriptions.iter().filter(|subscription| is_live(subscription));
        let mut live = live.filter(|subscription| {
            ends(subscription).is_none_or(|end| until <= end)
                && items(subscription).filter_map(|price| rank(catalog, price)).max() >= Some(0)
        });
        live.any(|subscription| {
            if let Some(trial) = self.trial(subscription)
                && until <= trial.latest_end
                && items(subscription).filter_map(|price| rank(catalog, price)).max()
                    >= Some(at_rank)
            {
                return true;
            }
            let paused = !subscription["pause_collection"].is_null();
            let lines = self.lines(subscription);
            let best = lines.iter().filter_map(|line| rank(catalog, &line.price)).max();
            let end = lines.iter().map(|line| line.end).max();
            best >= Some(at_rank) && (paused || end.is_some_and(|end| until <= end))
        })
    }

    /// Whether something of this rank, that reaches to `until`, was paid before `at`, or not
    /// collected because the vendor did not want to.
    pub fn ever_paid(&self, catalog: &Catalog, at_rank: usize, until: i64, at: i64) -> bool {
        // Plans and ends are changed during a trial without an invoice.
        let is_of_a_trial = |trial: &Trial| trial.start <= at && until <= trial.latest_end;
        if self.trials.iter().any(is_of_a_trial) {
            return true;
        }
        let counted = |invoice: &&Invoice| invoice.counts_since.is_some_and(|since| since <= at);
        let mut paid = self.invoices.iter().filter(counted);
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
            // Not the newest that was sent decides, nor what Stripe says of the subscription; but
            // what is not collected is not waited for.
            if let Some(due) = self.oldest_due(subscription).filter(|_| !paused) {
                let usual = catalog.plans.iter().map(|plan| i64::from(plan.grace_days)).max();
                let debit = if self.is_debited(subscription) { DEBIT } else { 0 };
                return Some((paid + debit).max(due + usual.unwrap_or(0) * DAY));
            }
            Some(paid + self.grace(subscription, catalog, paid <= now))
        });
        let after_trials = self.trials.iter().map(|trial| trial.latest_end + trials::GRACE);
        ends.chain(after_trials).max().unwrap_or(0)
    }

    /// Whether a bank debit for it is on its way.
    fn is_debited(&self, subscription: &Value) -> bool {
        let id = id_of(subscription);
        let mut own = self.all_invoices().filter(|invoice| invoice.subscription == id);
        own.any(|invoice| !invoice.is_paid() && invoice.is_processing)
    }

    fn grace(&self, subscription: &Value, catalog: &Catalog, behind: bool) -> i64 {
        let usual = catalog.plans.iter().map(|plan| i64::from(plan.grace_days)).max().unwrap_or(0);
        match subscription["status"] == "active" {
            true if self.is_debited(subscription) => DEBIT.max(usual * DAY),
            true if behind => DRAFT.max(usual * DAY),
            _ => usual * DAY,
        }
    }
}

pub fn is_live(subscription: &Value) -> bool {
    matches!(subscription["status"].as_str(), Some("active" | "past_due" | "trialing"))
}

pub fn items(subscription: &Value) -> impl Iterator<Item = &str> {
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

/// Writes what Stripe has into the trace.
pub fn show(history: &mut History, truths: &[Truth]) {
    for fact in truths.iter().flat_map(Truth::facts) {
        history.tell(|| fact);
    }
}
