//! Trials at Stripe: by a checkout with a card, and by the vendor without one. The vendor extends
//! and ends them. The oracle knows that a first trial is licensed until its end, and that nobody
//! has two by one card.

use std::collections::BTreeSet;

use licentia::domain::sale::plan::Catalog;
use licentia_sandbox::Card;
use serde_json::Value;

use crate::dice::Dice;
use crate::history::History;
use crate::people::id_of;

const DAY: i64 = 86_400;

/// The longest grace after a trial of which nothing was paid.
pub const GRACE: i64 = DAY;

/// The cards that pay, one for each person.
const OWN_CARDS: [Card; 4] = [Card::Paid, Card::PaidMastercard, Card::PaidAmex, Card::Authenticate];

/// A trial of a subscription.
pub struct Trial {
    pub subscription: String,
    /// When it began.
    pub start: i64,
    /// The latest end that it ever had.
    pub latest_end: i64,
    /// Whether a card of its customer may have had another trial. Then it may be refused.
    pub is_doubtful: bool,
}

/// Gives the plan that is sold by the unit a trial at Stripe, or none.
pub fn draw(dice: &Dice, catalog: &mut Catalog) {
    let days = dice.pick(&[None, None, None, Some(3), Some(14), Some(30)]).copied().flatten();
    for plan in catalog.plans.iter_mut().filter(|plan| plan.id.as_str() == "team") {
        plan.trial_days = days;
    }
}

impl History {
    /// Returns the card by which a person pays a checkout: usually the own one.
    pub fn draw_card(&self, who: usize, drawn: Card) -> Card {
        let is_own = self.changes && drawn == Card::Paid && self.world.dice.happens(800);
        if is_own { OWN_CARDS[who % OWN_CARDS.len()] } else { drawn }
    }

    /// The vendor begins, extends or ends a trial. Returns whether there was anything to do.
    pub fn change_trial(&mut self, who: usize, stripe_id: &str) -> bool {
        let dice = self.world.dice.clone();
        let live = self.list("/v1/subscriptions", &format!("customer={stripe_id}"));
        if live.is_empty() {
            if dice.happens(700) {
                return false;
            }
            self.people[who].sold_by_hand = true;
            let begun = self.begin_trial(stripe_id);
            self.tell(|| format!("{who} is given a trial without a card: {begun}"));
            return true;
        }
        let is_trialing = |found: &&Value| found["status"] == "trialing";
        let trialing: Vec<&Value> = live.iter().filter(is_trialing).collect();
        let Some(found) = dice.pick(&trialing) else { return false };
        let (id, end) = (id_of(found), found["trial_end"].as_i64().unwrap_or_default());
        let latest = self.trial_ends.entry(id.clone()).or_insert(end);
        *latest = end.max(*latest);
        let new = if dice.happens(600) {
            let later = end + DAY * (1 + dice.below(20)) as i64;
            *latest = later.max(*latest);
            later.to_string()
        } else {
            "now".to_owned()
        };
        let form = format!("trial_end={new}");
        let changed = self.call("POST", &format!("/v1/subscriptions/{id}"), &form);
        self.tell(|| format!("{who} {id} has {form}: {}", changed["error"]));
        true
    }

    /// Sells a trial without asking for a card. Without one, its end pauses the subscription.
    fn begin_trial(&self, stripe_id: &str) -> Value {
        let dice = &self.world.dice;
        let price = *dice.pick(&["price_team_month", "price_team_year"]).unwrap_or(&"");
        let (units, days) = (1 + dice.below(5), 1 + dice.below(20));
        let missing = "trial_settings[end_behavior][missing_payment_method]=pause";
        let form = format!(
            "customer={stripe_id}&items[0][price]={price}&items[0][quantity]={units}\
             &trial_period_days={days}&{missing}"
        );
        let begun = self.call("POST", "/v1/subscriptions", &form);
        if begun["id"].is_string() { begun["id"].clone() } else { begun["error"].clone() }
    }

    /// Returns the trials of these subscriptions.
    pub fn trials_of(&self, subscriptions: &[Value]) -> Vec<Trial> {
        let with_trial: Vec<&Value> =
            subscriptions.iter().filter(|found| found["trial_end"].is_i64()).collect();
        if with_trial.is_empty() {
            return Vec::new();
        }
        let all = self.list("/v1/subscriptions", "status=all");
        let others: Vec<(String, BTreeSet<String>)> = all
            .iter()
            .filter(|found| found["trial_end"].is_i64())
            .map(|found| (id_of(found), self.cards_of(found)))
            .collect();
        let trial = |found: &&Value| {
            let (id, end) = (id_of(found), found["trial_end"].as_i64().unwrap_or_default());
            let latest = self.trial_ends.get(&id).copied().unwrap_or(end);
            let own = self.cards_of(found);
            let shares = |(other, cards): &(String, BTreeSet<String>)| {
                *other != id && !own.is_disjoint(cards)
            };
            Trial {
                start: found["trial_start"].as_i64().unwrap_or_default(),
                latest_end: latest.max(end),
                is_doubtful: others.iter().any(shares),
                subscription: id,
            }
        };
        with_trial.iter().map(trial).collect()
    }

    /// Returns the fingerprints of all cards that a subscription's customer ever had.
    fn cards_of(&self, subscription: &Value) -> BTreeSet<String> {
        let customer = subscription["customer"].as_str().unwrap_or_default();
        let cards = self.list("/v1/payment_methods", &format!("customer={customer}"));
        let prints = cards.iter().filter_map(|card| {
            let of = if card["card"].is_object() { "card" } else { "us_bank_account" };
            card[of]["fingerprint"].as_str()
        });
        prints.map(str::to_owned).collect()
    }

    /// Checks that nobody got two trials by a checkout, and that no two run by one card. Left out
    /// are trials that the vendor gave without a card, which may have got one since, and customers
    /// with several cards: which one counts is not certain.
    pub fn no_second_trial(&mut self) {
        let all = self.list("/v1/subscriptions", "");
        let trialing = all.iter().filter(|found| {
            found["status"] == "trialing"
                && found["default_payment_method"].is_string()
                && found["metadata"]["customer_id"].is_string()
        });
        let running: Vec<(String, BTreeSet<String>)> =
            trialing.map(|found| (id_of(found), self.cards_of(found))).collect();
        let single = running.iter().filter(|(_, cards)| cards.len() == 1);
        let single: Vec<_> = single.collect();
        for (place, (id, cards)) in single.iter().enumerate() {
            if let Some((other, _)) = single[..place].iter().find(|(_, own)| own == cards) {
                self.violation(format!("H: {id} and {other} are trials by one card"));
            }
        }
        // A subscription by a checkout has the customer's id.
        let all = self.list("/v1/subscriptions", "status=all");
        let mut by_checkout = BTreeSet::new();
        for found in all.iter().filter(|found| found["trial_end"].is_i64()) {
            let whose = found["metadata"]["customer_id"].as_str();
            if whose.is_some_and(|whose| !by_checkout.insert(whose)) {
                self.violation(format!("H: {} is a second trial by a checkout", found["id"]));
            }
        }
    }
}
