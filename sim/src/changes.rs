//! The customer's own steps with a subscription through the API: previews and changes, the end and
//! the resumption. Each change that Stripe makes is compared with the preview that the customer saw
//! (N).

use licentia::domain::sale::change::ChangeRequest;
use licentia::domain::sale::plan::Interval;
use licentia::domain::sale::preview::PreviewTerms;
use licentia::error::Result;
use licentia::flows::account::session::SignedIn;
use licentia::flows::sale::change::{self, CancelAt};
use licentia::flows::sale::preview::{self, Previewed};
use licentia_sandbox::Card;
use serde_json::Value;

use crate::history::History;
use crate::people::id_of;
use crate::selling::MOST_UNITS;
use crate::work::Outcome;
use crate::world::Made;

/// How often, in a thousand, a customer changes the subscription through the API instead of another
/// step: with a subscription, and without one.
const BY_API: (usize, usize) = (750, 60);

/// The lines of a preview that are not lines of the invoice.
const OF_BALANCE: [&str; 2] = ["Credited to your balance", "Your balance"];

/// A preview that a customer saw.
pub struct Shown {
    who: usize,
    wanted: ChangeRequest,
    preview_id: String,
    due_now: i64,
    /// The lines without what the balance pays or gets.
    total: i64,
    /// The time from which the rest of the period is billed.
    billed_from: Option<i64>,
    /// Whether Stripe has made the change.
    is_made: bool,
}

/// The number of changes that were compared with their previews.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compared {
    /// All.
    pub all: u64,
    /// Those that made an invoice.
    pub billed: u64,
}

/// A step of a customer by the API.
#[derive(Clone, Copy)]
enum Step {
    Preview,
    Change,
    Cancel(CancelAt),
    Resume,
}

impl History {
    /// Returns how often, in a thousand, a person's next step is one of [`Self::change_by_api`].
    pub fn share_by_api(&self, who: usize) -> usize {
        if self.live_subscriptions(who).is_empty() { BY_API.1 } else { BY_API.0 }
    }

    /// Returns the subscriptions of a person that have not ended.
    fn live_subscriptions(&self, who: usize) -> Vec<String> {
        let Some(stripe_id) = self.stripe_customer(who) else { return Vec::new() };
        let live = self.list("/v1/subscriptions", &format!("customer={stripe_id}"));
        live.iter().map(id_of).collect()
    }

    /// Lets a customer preview, change, end or resume a subscription.
    pub fn change_by_api(&mut self, server: usize, who: usize, caller: SignedIn) {
        let dice = self.world.dice.clone();
        let has_seen = self.shown.iter().any(|shown| shown.who == who);
        let steps = [
            (16, Step::Preview),
            (if has_seen { 6 } else { 0 }, Step::Change),
            (3, Step::Cancel(CancelAt::PeriodEnd)),
            (1, Step::Cancel(CancelAt::Now)),
            (4, Step::Resume),
        ];
        let app = self.servers[server].app.clone();
        let id = caller.customer.customer_id.clone();
        match dice.weighted(&steps).unwrap_or(Step::Preview) {
            Step::Preview => {
                let wanted = self.draw_wish();
                self.tell(|| format!("{who} previews {wanted:?} at {server}"));
                self.begin(server, async move {
                    let shown = preview::preview(&app, &caller.customer, &wanted).await;
                    Outcome::Previewed(who, wanted, shown)
                });
            }
            Step::Change => {
                let own = self.shown.iter().enumerate().filter(|(_, shown)| shown.who == who);
                let own: Vec<usize> = own.map(|(number, _)| number).collect();
                let old = dice.pick(&own).copied();
                let newest = own.last().copied();
                let number = if dice.happens(300) { old } else { newest };
                if let Some(number) = number {
                    self.change_as_shown(server, number);
                }
            }
            Step::Cancel(at) => {
                self.tell(|| format!("{who} ends the subscription {at:?} at {server}"));
                self.begin(server, async move {
                    Outcome::Ended(at, change::cancel(&app, &id, at).await)
                });
            }
            Step::Resume => {
                self.tell(|| format!("{who} resumes the subscription at {server}"));
                self.begin(server, async move {
                    Outcome::Done("resume", change::resume(&app, &id).await.map(drop))
                });
            }
        }
    }

    /// Returns what a customer wants instead of the present.
    fn draw_wish(&self) -> ChangeRequest {
        let dice = &self.world.dice;
        let mut wanted = ChangeRequest::default();
        let kind = dice.below(10);
        if kind < 5 {
            wanted.quantity = u32::try_from(1 + dice.below(MOST_UNITS)).ok();
            wanted.accept_smaller = wanted.quantity == Some(1);
        }
        if matches!(kind, 4..=6) {
            let addons = if dice.happens(600) { vec!["pdf".to_owned()] } else { Vec::new() };
            wanted.addons = Some(addons);
        }
        if matches!(kind, 6..=7) {
            wanted.plan = dice.pick(&["team", "team", "starter"]).map(|plan| (*plan).to_owned());
        }
        if kind > 7 {
            wanted.interval = dice.pick(&[Interval::Month, Interval::Year]).copied();
        }
        wanted
    }

    /// Sends the change of a preview, perhaps not for the first time.
    fn change_as_shown(&mut self, server: usize, number: usize) {
        let Shown { who, wanted, preview_id, .. } = &self.shown[number];
        let (who, wanted, preview_id) = (*who, wanted.clone(), preview_id.clone());
        let person = &self.people[who];
        let Some(id) = person.customer_id.clone().filter(|_| !person.deleted) else { return };
        self.tell(|| format!("{who} changes as preview {number} showed, at {server}"));
        // The service must ask again what this change costs.
        for subscription in self.live_subscriptions(who) {
            self.world.forget_quote(&subscription);
        }
        let app = self.servers[server].app.clone();
        self.begin_change(server, number, async move {
            let changed = change::change(&app, &id, wanted, &preview_id).await;
            Outcome::Done("change", changed.map(drop))
        });
    }

    /// Notes a preview. The customer often changes at once. Returns whether that began.
    pub fn saw(
        &mut self,
        server: usize,
        who: usize,
        wanted: ChangeRequest,
        seen: Previewed,
    ) -> bool {
        let Previewed { preview, currency, preview_id } = seen;
        let sum = |is_of: &dyn Fn(&str) -> bool| -> i64 {
            let lines = preview.lines.iter().filter(|line| is_of(&line.text));
            lines.map(|line| line.amount).sum()
        };
        let (due_now, all) = (preview.due_now, sum(&|_| true));
        let number = self.shown.len();
        self.tell(|| format!("  preview {number}: {due_now} {currency} now"));
        if due_now != all {
            self.violation(format!("N: the lines of a preview of {due_now} add up to {all}"));
        }
        let terms = PreviewTerms::split(&preview_id).and_then(|(text, _)| PreviewTerms::read(text));
        self.shown.push(Shown {
            who,
            wanted,
            preview_id,
            due_now,
            total: sum(&|text| !OF_BALANCE.contains(&text)),
            billed_from: terms.map(|terms| terms.at),
            is_made: false,
        });
        let is_at_once = self.world.dice.happens(600);
        if is_at_once && !self.servers[server].is_dead() {
            self.change_as_shown(server, number);
        }
        is_at_once
    }

    /// Compares the changes that Stripe has made since the last call with their previews.
    pub fn compare_changes(&mut self) {
        for made in self.world.take_made() {
            let invoice = made.invoice.as_ref();
            self.tell(|| format!("    {} is changed: {made:?}", made.subscription));
            if made.is_waiting {
                self.waiting.extend(invoice.map(|invoice| invoice.id.clone()));
            }
            let Some(who) = self.owner(&made.subscription) else {
                self.violation(format!("N: nobody owns what was changed: {made:?}"));
                continue;
            };
            self.compare_change(who, &made);
        }
    }

    fn compare_change(&mut self, who: usize, made: &Made) {
        let (due, total) = made.invoice.as_ref().map_or((0, 0), |bill| (bill.due, bill.total));
        let asked: Vec<usize> =
            self.running_changes().filter(|number| self.shown[*number].who == who).collect();
        // A change that costs nothing can be made again by its preview, once the subscription is
        // again as it was then. Nothing tells apart two such changes that run at once.
        let is_its = |shown: &Shown| {
            made.billed_from.is_none_or(|from| shown.billed_from == Some(from) && !shown.is_made)
        };
        let candidates: Vec<usize> =
            asked.iter().copied().filter(|number| is_its(&self.shown[*number])).collect();
        let matches = |shown: &Shown| shown.due_now == due && shown.total == total;
        let found = candidates.iter().find(|number| matches(&self.shown[**number]));
        match (found.or(candidates.first()).copied(), found) {
            (None, _) => {
                let what = format!("N: {who}: no preview showed this change: {made:?}, {asked:?}");
                self.violation(what);
            }
            (Some(number), _) if made.is_raced || self.trial_just_ended(&made.subscription) => {
                self.shown[number].is_made = true;
            }
            (Some(number), found) => {
                self.shown[number].is_made = true;
                self.ending.compared.all += 1;
                self.ending.compared.billed += u64::from(made.invoice.is_some());
                if found.is_none() {
                    let Shown { due_now, total: shown, .. } = self.shown[number];
                    let what = format!(
                        "N: {who}: preview {number} showed {due_now} now, {shown} in all, and \
                         {due} are billed, {total} in all: {made:?}"
                    );
                    self.violation(what);
                }
            }
        }
    }

    /// Whether the vendor ended the trial of a subscription within the hour, perhaps between the
    /// service's last look at it and a change.
    fn trial_just_ended(&self, subscription: &str) -> bool {
        let end = self.world.stripe.look(subscription, |found| found["trial_end"].as_i64());
        let since = self.world.now() - 3600;
        end.is_some_and(|end| since <= end && end <= self.world.now())
    }

    /// Returns whose a subscription is.
    fn owner(&self, subscription: &str) -> Option<usize> {
        let stripe = &self.world.stripe;
        let customer = stripe.look(subscription, |found| found["customer"].clone());
        let customer = customer.as_str()?;
        let id = stripe.look(customer, |found| found["metadata"]["customer_id"].clone());
        let is_its = |id: &str| {
            let mut all = self.people.iter();
            all.position(|one| one.customer_id.as_ref().is_some_and(|own| own.as_str() == id))
        };
        is_its(id.as_str()?)
    }

    /// Checks that a subscription has ended when its customer was told so.
    pub fn ended(&mut self, at: CancelAt, ended: Result<String>) {
        if let (CancelAt::Now, Ok(id)) = (at, &ended) {
            let (status, customer) = self.world.stripe.look(id, |found| {
                (found["status"].clone(), found["customer"].as_str().unwrap_or_default().to_owned())
            });
            // With several subscriptions, the response is about the one that is current now.
            let of = format!("customer={customer}&status=all");
            let is_only = self.list("/v1/subscriptions", &of).len() == 1;
            if is_only && status != "canceled" && status != "incomplete_expired" {
                self.violation(format!("A: {id} was told to have ended, and is {status}"));
            }
        }
        self.must_be_usual("cancel", ended.map(drop));
    }

    /// The customer pays the invoice of a change on its page, or confirms it. Returns whether one
    /// was waiting.
    pub fn pay_waiting(&mut self, who: usize, stripe_id: &str) -> bool {
        let (stripe, dice) = (self.world.stripe.clone(), self.world.dice.clone());
        let mut open = self.list("/v1/invoices", &format!("customer={stripe_id}&status=open"));
        open.retain(|invoice| self.waiting.contains(&id_of(invoice)));
        let Some(invoice) = dice.pick(&open).map(id_of) else { return false };
        let intent = stripe.payment_intent(&invoice).unwrap_or_default();
        let needs_action = stripe.look(&intent, |found| found["status"] == "requires_action");
        let done = if needs_action && dice.happens(700) {
            let good = dice.happens(700);
            format!("confirms {intent} {good}: {:?}", stripe.authenticate(&intent, good))
        } else {
            let cards = [Card::Paid, Card::Paid, Card::DeclinedLater, Card::DelayedPaid];
            let card = *dice.pick(&cards).unwrap_or(&Card::Paid);
            format!("pays {invoice} by {card:?}: {:?}", stripe.pay_invoice_with(&invoice, card))
        };
        self.tell(|| format!("{who} {done}"));
        true
    }
}

/// Returns whether the invoice is of a change that waited for its payment and never got it. Nothing
/// was changed then, and nothing is owed.
pub fn is_without_effect(history: &History, invoice: &Value) -> bool {
    history.waiting.contains(&id_of(invoice)) && invoice["status"] != "paid"
}
