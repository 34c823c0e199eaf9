//! The oracle for units and perpetual licenses. It reads Stripe's objects in another way than the
//! service does: by running sums over the lines of invoices (`bills.rs`), by replaying single
//! payments with a calendar of its own (`perpetual.rs`), and by the stretches of time that are
//! paid.

use serde_json::Value;

use crate::bills::{Bill, Sold, bill, is_other_price, most_of, session_alone, units_of};
use crate::calendar::months_later;
use crate::guests::Fate;
use crate::history::History;
use crate::people::id_of;
use crate::perpetual::replay;
use crate::trials;
use crate::truth::{self, Truth};

/// The months of updates that a purchase, or its updates, includes; and the months that leave a
/// perpetual license. As in `selling.toml`.
pub const MONTHS: i64 = 12;

/// The most single payments whose effect is bounded: each of them doubles the work.
const MOST_PAYMENTS: usize = 12;

const STARTER: &str = "_starter_";
pub const TEAM: &str = "_team_";
pub const PDF: &str = "_pdf_";
const PDF_ONCE: &str = "price_pdf_once";

/// The license that a customer is expected to have. The derived order decides which of several is
/// due: the order of the fields is that of their weight, so it must not be changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// Whether it covers a build that is made now.
    pub covers_now: bool,
    /// 1 for Starter, 2 for Team, 3 for Studio: as in the plans file.
    pub rank: usize,
    pub units: i64,
    /// The end of the updates; `i64::MAX` without one.
    pub updates_until: i64,
    pub has_pdf: bool,
    pub basis: &'static str,
}

/// Everything that somebody paid.
pub struct Paid {
    pub bills: Vec<Bill>,
    /// The times in which a trial, or its grace, may be licensed without a payment.
    trials: Vec<(i64, i64)>,
    /// Whether something was asked for and not paid, or given back: then what is licensed is less
    /// certain.
    pub owes: bool,
}

impl Paid {
    pub fn of(history: &History, truth: &Truth, stripe_id: &str) -> Self {
        // In the order of their creation.
        let mut bills: Vec<Bill> = truth.invoices.iter().rev().enumerate().map(bill).collect();
        for (place, invoice) in truth.invoices.iter().rev().enumerate() {
            let owed = |before: &Bill| {
                before.subscription == invoice.subscription
                    && (!before.is_final_ever() || before.counts_since > Some(invoice.created))
            };
            let follows_owed = bills[..place].iter().any(owed);
            bills[place].follows_owed = follows_owed;
            bills[place].may_not_count = follows_owed && is_other_price(invoice);
        }
        let mut owes = truth.owes_anything();
        let of = format!("customer={stripe_id}&status=complete");
        let sessions = history.list("/v1/checkout/sessions", &of);
        // The invoice of a session that was claimed is one of another Stripe customer.
        let own = sessions.into_iter().filter(|session| session["invoice"].is_null());
        for session in own.chain(history.claimed_by(stripe_id)) {
            let is_paid =
                matches!(session["payment_status"].as_str(), Some("no_payment_required" | "paid"));
            if session["mode"] == "payment" && is_paid {
                // An order without cost has no invoice. Another one may have it after a second:
                // until then it is not certain.
                let may_get_one = session["invoice"].is_null()
                    && session["invoice_creation"]["enabled"] == true
                    && session["payment_status"] == "paid";
                let fate = history.fate(&session);
                owes |= may_get_one || fate == Fate::Doubtful;
                bills.push(session_alone(history, &session, fate));
            }
        }
        bills.sort_by_key(|bill| bill.at);
        let trials = truth.trials.iter().map(|one| (one.start, one.latest_end + trials::GRACE));
        Self { bills, trials: trials.collect(), owes }
    }

    /// The units of the prices with this name that are paid for at a time.
    pub fn units(&self, name: &str, time: i64) -> i64 {
        units_of(self.good(), |bill| bill.is_good, name, time)
    }

    fn good(&self) -> impl Iterator<Item = &Bill> {
        self.bills.iter().filter(|bill| bill.is_good)
    }

    /// Everything that is certainly paid now; none if that is not certain, because something is
    /// owed, or is being paid.
    pub fn certain(&self, truth: &Truth, now: i64) -> Option<Vec<Share>> {
        let live: Vec<&Value> =
            truth.subscriptions.iter().filter(|found| truth::is_live(found)).collect();
        let is_late = |found: &Value| {
            truth.late(found, false).any(|line| now < line.end)
                || found["status"] == "incomplete"
                || found["status"] == "unpaid"
        };
        if self.owes || live.len() > 1 || truth.subscriptions.iter().any(is_late) {
            return None;
        }
        // Of two perpetual plans, the higher one. What a subscription leaves comes second if it is
        // for older builds than what was bought.
        let bought = self.perpetual(now);
        let mut remains = self.fallbacks(now)?;
        remains.retain(|left| bought.iter().all(|own| own.updates_until <= left.updates_until));
        let mut shares: Vec<Share> =
            bought.into_iter().max_by_key(|own| own.rank).into_iter().chain(remains).collect();
        for found in live {
            shares.push(match truth.trial(found).filter(|_| found["status"] == "trialing") {
                Some(trial) if trial.is_doubtful => return None,
                Some(_) => self.of_trial(found),
                None => self.of_subscription(found, now)?,
            });
        }
        shares.sort();
        Some(shares)
    }

    /// Returns the license for a subscription's paid lines; `None` if its present period is not
    /// paid yet.
    fn of_subscription(&self, found: &Value, now: i64) -> Option<Share> {
        let id = id_of(found);
        let own = |name: &str| -> i64 {
            let bills = self.good().filter(|bill| bill.subscription == id);
            units_of(bills, |bill| bill.is_good, name, now)
        };
        let (starter, team) = (own(STARTER), own(TEAM));
        let wants_team = truth::items(found).any(|price| price.contains(TEAM));
        let rank = match (team > 0, starter > 0) {
            (true, _) if wants_team => 2,
            (false, false) => return None,
            _ => 1,
        };
        if found["status"] != "active" {
            return None;
        }
        Some(Share {
            covers_now: true,
            rank,
            units: if rank == 2 { team } else { 1 },
            updates_until: i64::MAX,
            has_pdf: rank == 2 && (own(PDF) > 0 || self.has_pdf_once()),
            basis: "subscription",
        })
    }

    /// Returns the license for a first trial: for everything that the subscription will bill.
    fn of_trial(&self, found: &Value) -> Share {
        let items = || found["items"]["data"].as_array().into_iter().flatten();
        let of = |name: &'static str| {
            let is_of = move |item: &&Value| {
                item["price"]["id"].as_str().is_some_and(|price| price.contains(name))
            };
            items().filter(is_of).map(|item| item["quantity"].as_i64().unwrap_or(1)).sum::<i64>()
        };
        let is_team = of(TEAM) > 0;
        Share {
            covers_now: true,
            rank: if is_team { 2 } else { 1 },
            units: if is_team { of(TEAM) } else { 1 },
            updates_until: i64::MAX,
            has_pdf: is_team && (of(PDF) > 0 || self.has_pdf_once()),
            basis: "subscription",
        }
    }

    /// Whether something may be licensed for a trial at some moment between two times.
    pub fn may_be_of_a_trial(&self, (from, to): (i64, i64)) -> bool {
        self.trials.iter().any(|(start, end)| *start <= to && from <= *end)
    }

    fn has_pdf_once(&self) -> bool {
        self.good().flat_map(|bill| &bill.lines).any(|line| line.price == PDF_ONCE)
    }

    /// Returns the licenses for the single payments of each plan, replayed in the order of the
    /// charges.
    fn perpetual(&self, now: i64) -> Vec<Share> {
        let owned = replay(self.good());
        let share = |rank, (units, updates_until), has_pdf| {
            let covers_now = updates_until > now;
            Share { covers_now, rank, units, updates_until, has_pdf, basis: "once" }
        };
        let solo = owned.solo.map(|until| share(1, (1, until), false));
        let studio = owned.studio.map(|studio| share(3, studio, self.has_pdf_once()));
        solo.into_iter().chain(studio).collect()
    }

    /// Returns the license that remains of each series of paid periods without a gap; `None` if a
    /// clock that was ahead decides. What was forgiven was not paid; the license is not certain
    /// then (`owes`).
    fn fallbacks(&self, now: i64) -> Option<Vec<Share>> {
        let lines = || self.good().flat_map(|bill| &bill.lines);
        let mut times: Vec<i64> = lines().flat_map(|line| [line.start, line.end]).collect();
        times.sort_unstable();
        times.dedup();
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for pair in times.windows(2) {
            let (start, end) = (pair[0], pair[1]);
            if self.units(STARTER, start) + self.units(TEAM, start) <= 0 {
                continue;
            }
            match runs.last_mut().filter(|run| run.1 == start) {
                Some(run) => run.1 = end,
                None => runs.push((start, end)),
            }
        }
        let since = |(start, end): &(i64, i64)| months_later(*end, -MONTHS).max(*start);
        if lines().any(|line| line.is_ahead && runs.iter().any(|run| since(run) == line.start)) {
            return None;
        }
        let kept = runs.into_iter().filter_map(|(start, end)| {
            let is_long = months_later(start, MONTHS) <= end;
            let since = since(&(start, end));
            let within = times.iter().copied().filter(|time| since < *time && *time < end);
            let moments: Vec<i64> = std::iter::once(since).chain(within).collect();
            let least = |name: &str| moments.iter().map(|time| self.units(name, *time)).min();
            let units = least(TEAM).filter(|units| *units > 0 && is_long)?;
            let has_pdf = least(PDF) > Some(0) || self.has_pdf_once();
            let covers_now = since > now;
            Some(Share {
                covers_now,
                rank: 2,
                units,
                updates_until: since,
                has_pdf,
                basis: "fallback",
            })
        });
        Some(kept.collect())
    }

    /// The most units that could be licensed by what Stripe said between two times, whichever
    /// payments had been given back by then. After the end of all paid periods, those of the last
    /// one.
    pub fn most_units(&self, name: &str, (from, to): (i64, i64)) -> i64 {
        let mut bills: Vec<&Bill> = self.counted(to).collect();
        bills.sort_by_key(|bill| bill.counts_since);
        let before = bills.partition_point(|bill| bill.counts_since < Some(from));
        let most = |count: usize| most_of(&bills[..count], Bill::is_final_ever, name, (from, to));
        (before..=bills.len()).map(most).max().unwrap_or(0)
    }

    /// The most units that the license may state now, by what was not given back.
    pub fn most_units_now(&self, name: &str, now: i64) -> i64 {
        let bills: Vec<&Bill> = self.good().collect();
        most_of(&bills, Bill::is_final, name, (now, now))
    }

    /// The most units that were paid for at any time before `issued`.
    pub fn most_units_ever(&self, name: &str, issued: i64) -> i64 {
        self.most_units(name, (i64::MIN, issued))
    }

    /// The most units, and the latest end of updates, that single payments before `issued` could
    /// give, for the lower plan or for the higher one. Each of them may have been given back for a
    /// while. A purchase that was may have shortened the updates, because fewer units share theirs.
    pub fn most_perpetual(&self, issued: i64, is_lower: bool) -> Option<(i64, i64)> {
        let is_single = |bill: &&Bill| {
            let is_single = |line: &Sold| line.is_of("_studio_") || line.is_of("_solo_");
            bill.lines.iter().any(is_single)
        };
        let bills: Vec<&Bill> = self.counted(issued).filter(is_single).collect();
        if bills.len() > MOST_PAYMENTS {
            return Some((i64::MAX, i64::MAX));
        }
        let subsets = (0..1_usize << bills.len()).filter_map(|chosen| {
            let is_in = |place: &usize| chosen >> place & 1 == 1;
            let owned = replay((0..bills.len()).filter(is_in).map(|place| bills[place]));
            if is_lower { owned.solo.map(|until| (1, until)) } else { owned.studio }
        });
        subsets.reduce(|most, one| (most.0.max(one.0), most.1.max(one.1)))
    }

    /// The latest end of updates that paid subscriptions before `issued` could leave.
    pub fn latest_fallback(&self, issued: i64) -> Option<i64> {
        let paid = self.counted(issued).filter(|bill| !bill.is_forgiven);
        let lines = paid.flat_map(|bill| &bill.lines);
        let ends = lines.filter(|line| line.is_of(TEAM) && line.units > 0).map(|line| line.end);
        ends.max().map(|end| months_later(end, -MONTHS))
    }

    /// Whether the add-on was ever paid once before `issued`.
    pub fn had_pdf_once(&self, issued: i64) -> bool {
        let mut lines = self.counted(issued).flat_map(|bill| &bill.lines);
        lines.any(|line| line.price == PDF_ONCE)
    }

    /// The bills that counted before a time.
    fn counted(&self, before: i64) -> impl Iterator<Item = &Bill> {
        let is_counted = move |bill: &&Bill| bill.counts_since.is_some_and(|since| since <= before);
        self.bills.iter().filter(is_counted)
    }
}
