//! Payment links: the vendor sells without a line of code, to known customers and to buyers who
//! have no account. With `allow_unknown_buyers` they get one.

use std::collections::{BTreeMap, BTreeSet};

use licentia::domain::contact::Email;
use licentia::error::Result;
use licentia::flows::sale::buyers;
use licentia_sandbox::Card;
use serde_json::Value;

use crate::history::History;
use crate::ledger::Actor;
use crate::people::{Person, id_of};
use crate::truth::Truth;
use crate::units::Paid;

/// The most buyers without an account in a history.
const BUYERS: usize = 3;

/// The prices that the links sell, and whether each is paid once.
const OFFERS: [(&str, bool); 4] = [
    ("price_team_month", false),
    ("price_starter_year", false),
    ("price_studio_once", true),
    ("price_team_year", false),
];

/// The same for histories with guests, who only buy once.
const OFFERS_TO_GUESTS: [(&str, bool); 4] =
    [OFFERS[0], OFFERS[2], OFFERS[2], ("price_studio_updates", true)];

impl History {
    /// Somebody buys by a payment link: a customer with an account, or somebody without one.
    pub fn buy_by_link(&mut self, who: usize) {
        let dice = self.world.dice.clone();
        let email = if dice.happens(300) {
            self.people[who].email.clone()
        } else {
            let email = format!("buyer{}@example.com", dice.below(BUYERS));
            if !self.buyers.contains(&email) {
                self.buyers.push(email.clone());
            }
            email
        };
        let offers = if self.guests { &OFFERS_TO_GUESTS[..] } else { &OFFERS };
        let (price, is_once) = *dice.pick(offers).unwrap_or(&OFFERS[0]);
        let units = if price.contains("_team_") { 1 + dice.below(5) } else { 1 };
        let mut form = format!("line_items[0][price]={price}&line_items[0][quantity]={units}");
        let is_guest = is_once && self.guests && dice.happens(600);
        if is_once && !is_guest {
            // The default is a guest without a Stripe customer.
            form += "&customer_creation=always";
            form += if dice.happens(700) { "&invoice_creation[enabled]=true" } else { "" };
        }
        form += "&allow_promotion_codes=true";
        let link = self.call("POST", "/v1/payment_links", &form);
        let opened = self.world.stripe.open_payment_link(&id_of(&link), None);
        let Ok(session) = opened else {
            self.violation(format!("a link cannot be opened: {link} {opened:?}"));
            return;
        };
        if dice.happens(200) {
            self.enter_code(who, &session);
        }
        let cards = [(8, Card::Paid), (1, Card::Declined), (1, Card::DelayedPaid)];
        let card = dice.weighted(&cards).unwrap_or(Card::Paid);
        let paid = self.world.stripe.pay_as(&session, card, &email);
        self.tell(|| format!("{email} buys {units} {price} by a link: {card:?} {paid:?}"));
    }

    /// Adds the buyers who got an account to the people, and checks that none who pays was missed.
    pub async fn meet_buyers(&mut self) -> Result<()> {
        let mut linked = BTreeSet::new();
        for email in std::mem::take(&mut self.buyers) {
            let Ok(address) = email.parse::<Email>() else { continue };
            let found = self.ground.store.read().await?.customer_by_email(&address).await?;
            let Some(customer) = found else { continue };
            let mut person = Person::new(Actor::Human(self.people.len()), email);
            person.customer_id = Some(customer.customer_id);
            // Several Stripe customers can have the address. One is linked.
            (person.by_hand, person.bought_first) = (true, true);
            linked.extend(customer.stripe_customer_id.map(|id| id.to_string()));
            self.people.push(person);
        }
        let app = &self.servers[0].app;
        let recorded = buyers::list(app).await?;
        let allowed = self.ground.plans.checkout.allow_unknown_buyers;
        let all = self.list("/v1/customers", "");
        let mut of_address: BTreeMap<&str, usize> = BTreeMap::new();
        for one in &all {
            *of_address.entry(one["email"].as_str().unwrap_or_default()).or_default() += 1;
        }
        for one in &all {
            let (id, email) = (id_of(one), one["email"].as_str().unwrap_or_default());
            let is_known = self.people.iter().any(|person| person.mailboxes.contains(email));
            let is_linked = one["metadata"]["customer_id"].is_string() || linked.contains(&id);
            if is_linked || !self.pays(&id) || !self.is_listed(&id) {
                continue;
            }
            // A second one of somebody with an account: a subscription of it is listed.
            let subscriptions = self.list("/v1/subscriptions", &format!("customer={id}"));
            if subscriptions.is_empty() && self.is_given_away(&id) {
                continue;
            }
            let is_recorded = recorded.iter().any(|buyer| buyer.buyer_id.to_string() == id);
            // An operator decides if the address has an account already, or several Stripe
            // customers.
            let is_clear = allowed && !is_known && of_address[email] == 1;
            if is_clear || !is_recorded {
                let what = format!("A: {id} ({email}) pays, recorded: {is_recorded}, no account");
                self.violation(what);
            }
        }
        Ok(())
    }

    /// Whether a reconciliation finds a Stripe customer: by a live subscription or a session.
    fn is_listed(&self, stripe_id: &str) -> bool {
        let of = format!("customer={stripe_id}");
        let sessions = self.list("/v1/checkout/sessions", &format!("{of}&status=complete"));
        !self.list("/v1/subscriptions", &of).is_empty()
            || sessions.iter().any(|session| self.is_findable(session))
    }

    /// Whether a Stripe customer certainly pays for a plan now.
    fn pays(&self, stripe_id: &str) -> bool {
        let truth = Truth::of(self, stripe_id);
        let now = self.world.now();
        let paid = Paid::of(self, &truth, stripe_id).certain(&truth, now).unwrap_or_default();
        let is_ended = |found: &Value| found["status"] == "canceled";
        let has_ended = truth.subscriptions.iter().any(is_ended);
        // What remains of a subscription that has ended is claimed by the operator.
        paid.last().is_some_and(|share| share.basis != "fallback") && !has_ended
    }
}
