//! The steps of histories that sell once, by the unit, with an add-on and in several currencies:
//! what customers buy, how they and the vendor change subscriptions, and what goes back.

use std::net::Ipv4Addr;

use licentia::domain::sale::plan::{Currency, Interval};
use licentia::domain::sale::promotion::EnteredCode;
use licentia::domain::sale::selection::PurchaseRequest;
use licentia::flows::account::session::SignedIn;
use licentia::flows::sale::checkout::{self, CheckoutRequest};
use licentia_sandbox::{Card, NewPrice, PriceOptions, Proration};
use serde_json::Value;

use crate::history::History;
use crate::money::{FREE_ONCE, HALF};
use crate::people::id_of;
use crate::perpetual::STUDIO;
use crate::world::World;

/// The plans of these histories.
pub const PLANS: &str = include_str!("selling.toml");

/// Their prices: the id, the amounts in usd and eur, and the interval. An amount of 0 is none.
const SOLD: [(&str, i64, i64, licentia_sandbox::Interval); 11] = {
    use licentia_sandbox::Interval::{Month, Once, Year};
    [
        ("price_starter_month", 1900, 0, Month),
        ("price_starter_year", 19000, 0, Year),
        ("price_team_month", 1000, 900, Month),
        ("price_team_year", 10000, 9000, Year),
        ("price_solo_once", 12000, 11000, Once),
        ("price_solo_updates", 4000, 3700, Once),
        ("price_studio_once", 30000, 28000, Once),
        ("price_studio_updates", 9000, 8500, Once),
        ("price_pdf_month", 300, 280, Month),
        ("price_pdf_year", 3000, 2800, Year),
        ("price_pdf_once", 5000, 4700, Once),
    ]
};

/// The prices that a subscription can change to.
const RECURRING: [&str; 4] =
    ["price_team_month", "price_team_year", "price_starter_month", "price_starter_year"];

/// The promotion codes, each with its coupon.
const CODES: [(&str, &str); 2] = [("FREE", FREE_ONCE), ("HALF", HALF)];

/// The coupons that only histories with changes have: by a percentage and by an amount, for one
/// invoice and for more.
const COUPONS: [(&str, &str); 4] = [
    ("ten_off", "amount_off=1000&currency=usd&duration=once"),
    ("fifth", "percent_off=20&duration=forever"),
    ("quarter", "percent_off=25&duration=repeating&duration_in_months=3"),
    ("free_ever", "percent_off=100&duration=forever"),
];

/// All promotion codes of those histories, each with its coupon and its restrictions.
const MORE_CODES: [(&str, &str); 8] = [
    CODES[0],
    CODES[1],
    ("TEN", "ten_off"),
    ("FIFTH", "fifth"),
    ("QUARTER", "quarter"),
    ("EVERFREE", "free_ever"),
    ("ONLYONE", "half&max_redemptions=1"),
    ("NEWCOMER", "fifth&restrictions[first_time_transaction]=true"),
];

/// The most units that customers ask for: one more than are sold.
pub const MOST_UNITS: usize = 21;

/// A time after which a subscription has been paid for more than a year, in days.
pub const LONG_DAYS: usize = 400;

/// Makes the prices at Stripe.
pub fn add_prices(stripe: &licentia_sandbox::Double) {
    for (id, amount, eur, interval) in SOLD {
        let product = id.split('_').nth(1).unwrap_or_default();
        let new = NewPrice { id, product, amount, currency: "usd", interval };
        let currencies = [("eur", eur)];
        let currencies = if eur > 0 { &currencies[..] } else { &[] };
        stripe.add_price_with(&new, &PriceOptions { currencies, ..PriceOptions::default() });
    }
}

/// Makes the promotion codes. Their coupons are there already.
pub fn add_codes(world: &World) {
    for (code, coupon) in CODES {
        // The coupon exists.
        let _ = world.stripe.add_promotion_code(coupon, code);
    }
}

impl History {
    /// Opens a checkout for something, in some quantity, with or without the add-on.
    pub fn check_out_selling(&mut self, server: usize, who: usize, caller: SignedIn) {
        let dice = &self.world.dice;
        let recurring = if self.changes { 3 } else { 1 };
        let offers = [
            (2 * recurring, ("starter", Interval::Month)),
            (recurring, ("starter", Interval::Year)),
            (5 * recurring, ("team", Interval::Month)),
            (3 * recurring, ("team", Interval::Year)),
            (5, ("studio", Interval::Once)),
            (3, ("studio", Interval::Updates)),
        ];
        // Of a lower and a higher perpetual plan.
        let perpetual = [
            (6, ("starter", Interval::Once)),
            (5, ("starter", Interval::Updates)),
            (6, ("studio", Interval::Once)),
            (3, ("studio", Interval::Updates)),
            (3, ("starter", Interval::Month)),
            (6, ("team", Interval::Month)),
            (3, ("team", Interval::Year)),
        ];
        let offers = if self.has_two_perpetual { &perpetual[..] } else { &offers[..] };
        let (plan, interval) = dice.weighted(offers).unwrap_or(("team", Interval::Month));
        let has_units = plan == "team" && dice.happens(800);
        let quantity = has_units.then(|| u32::try_from(1 + dice.below(MOST_UNITS)).unwrap_or(1));
        let has_addon = dice.happens(if plan == "starter" { 50 } else { 400 });
        let currency = dice.pick(&["", "", "usd", "eur"]).and_then(|text| text.parse().ok());
        let addons = if has_addon { vec!["pdf".to_owned()] } else { Vec::new() };
        let shown = currency.as_ref().map_or("", Currency::as_str);
        let asked = format!("{plan} by {interval:?}, {quantity:?}, {addons:?} {shown}");
        self.tell(|| format!("{who} checks out {asked} at {server}"));
        let back = format!("{}/docs", self.ground.config.public_url);
        let interval = Some(interval);
        let promotion_code = self.draw_code(who);
        let purchase = PurchaseRequest {
            plan: plan.to_owned(),
            interval,
            currency,
            quantity,
            addons,
            accept_smaller: quantity == Some(1),
        };
        let request = CheckoutRequest {
            purchase,
            promotion_code,
            success_url: back.clone(),
            cancel_url: back,
        };
        let app = self.servers[server].app.clone();
        self.begin(server, async move {
            let opened = checkout::open(&app, &caller.customer.customer_id, request).await;
            crate::work::Outcome::Opened(who, opened)
        });
    }

    /// Lets a person, a bank or the vendor act on Stripe's pages.
    pub fn buy_selling(&mut self, who: usize) {
        if self.world.dice.happens(500)
            && let Some(session) = self.open_session(who)
        {
            self.fill_in(who, &session);
            self.pay_session(who, &session);
            return;
        }
        let links = if self.guests { 250 } else { 60 };
        if self.changes && self.world.dice.happens(links) {
            return self.buy_by_link(who);
        }
        if self.guests && self.world.dice.happens(30) && self.pay_back_a_guest() {
            return;
        }
        let Some(stripe_id) = self.stripe_customer(who) else { return };
        if self.changes && self.world.dice.happens(300) && self.pay_waiting(who, &stripe_id) {
            return;
        }
        if self.changes && self.world.dice.happens(150) && self.change_trial(who, &stripe_id) {
            return;
        }
        let live = self.list("/v1/subscriptions", &format!("customer={stripe_id}"));
        match self.world.dice.pick(&live).filter(|_| self.world.dice.happens(700)) {
            Some(found) => self.change_selling(who, &stripe_id, found),
            None if self.world.dice.happens(200) => self.dispute_a_part(who, &stripe_id),
            None => self.reverse(who, &stripe_id),
        }
    }

    /// The buyer chooses the units and enters a code on the page, or not.
    fn fill_in(&mut self, who: usize, session: &str) {
        let (stripe, dice) = (self.world.stripe.clone(), self.world.dice.clone());
        if dice.happens(250) {
            let units = 1 + dice.below(MOST_UNITS) as i64;
            let chosen = ["price_team_month", "price_team_year", STUDIO]
                .map(|price| stripe.choose_quantity(session, price, units).is_ok());
            self.tell(|| format!("{who} chooses {units} units: {chosen:?}"));
        }
        if dice.happens(250) {
            self.enter_code(who, session);
        }
    }

    /// The buyer enters a code on the page.
    pub fn enter_code(&mut self, who: usize, session: &str) {
        let dice = &self.world.dice;
        let code = if self.changes {
            dice.pick(&MORE_CODES).map(|(code, _)| *code)
        } else {
            dice.pick(&CODES).map(|(code, _)| *code)
        };
        let code = code.unwrap_or_default();
        let entered = self.world.stripe.enter_promotion_code(session, code);
        self.tell(|| format!("{who} enters {code}: {entered:?}"));
    }

    /// Makes the promotion codes that only histories with changes have.
    pub fn add_more_codes(&self) {
        for (id, coupon) in COUPONS {
            self.call("POST", "/v1/coupons", &format!("id={id}&{coupon}"));
        }
        for (code, promotion) in &MORE_CODES[CODES.len()..] {
            let form = format!("code={code}&promotion[coupon]={promotion}");
            self.call("POST", "/v1/promotion_codes", &form);
        }
    }

    /// Returns the code that a customer gives in the call, if any. Some are wrong. Each person has
    /// another network.
    fn draw_code(&self, who: usize) -> Option<EnteredCode> {
        let dice = &self.world.dice;
        if !self.changes || !dice.happens(250) {
            return None;
        }
        let (code, _) = dice.pick(&MORE_CODES)?;
        let text = match dice.below(8) {
            0 => "WRONG".to_owned(),
            1 => code.to_lowercase(),
            _ => (*code).to_owned(),
        };
        let network = u8::try_from(who).unwrap_or(u8::MAX);
        Some(EnteredCode { text, client: Ipv4Addr::new(10, 0, network, 1).into() })
    }

    /// A subscription is changed in the portal or in the dashboard.
    fn change_selling(&mut self, who: usize, stripe_id: &str, found: &Value) {
        let (stripe, dice) = (self.world.stripe.clone(), self.world.dice.clone());
        let id = id_of(found);
        let item_of = |name: &str| {
            let items = found["items"]["data"].as_array().into_iter().flatten();
            let mut of = items.filter(|item| {
                item["price"]["id"].as_str().is_some_and(|price| price.contains(name))
            });
            of.next().map(id_of)
        };
        let prorations = [Proration::Now, Proration::Now, Proration::NextInvoice, Proration::None];
        let proration = *dice.pick(&prorations).unwrap_or(&Proration::Now);
        let done = match dice.below(18) {
            0..=5 if self.has_time_left(&id) => {
                let Some(item) = item_of("_team_") else { return };
                let units = 1 + dice.below(MOST_UNITS - 1) as i64;
                let set = stripe.set_quantity(&id, &item, units, proration);
                format!("has {units} units, billed {proration:?}: {set:?}")
            }
            6..=8 if self.has_time_left(&id) => match item_of("_pdf_") {
                Some(item) => {
                    let removed = stripe.remove_item(&id, &item, proration);
                    format!("is without the add-on, billed {proration:?}: {removed:?}")
                }
                None => {
                    let is_yearly = item_of("_year").is_some();
                    let price = if is_yearly { "price_pdf_year" } else { "price_pdf_month" };
                    let added = stripe.add_item(&id, price, 1, proration);
                    format!("has {price}, billed {proration:?}: {added:?}")
                }
            },
            9 | 10 if self.has_time_left(&id) => {
                let price = *dice.pick(&RECURRING).unwrap_or(&RECURRING[0]);
                format!("changes to {price}: {:?}", stripe.change_plan(&id, price))
            }
            11 | 12 => {
                let cancel = dice.happens(700);
                format!("cancels {cancel}: {:?}", stripe.cancel(&id, cancel))
            }
            13 => format!("cancels now: {:?}", stripe.cancel_now(&id)),
            14 => {
                let cards = [
                    Card::Paid,
                    Card::Paid,
                    Card::DeclinedLater,
                    Card::DelayedPaid,
                    Card::DelayedFailed,
                    Card::Authenticate,
                ];
                // Only a change through the API is paid while the customer is there to confirm it.
                let cards = if self.changes { &cards[..] } else { &cards[..5] };
                let card = *dice.pick(cards).unwrap_or(&Card::Paid);
                format!("pays by {card:?} from now on: {:?}", stripe.replace_card(stripe_id, card))
            }
            15 => {
                let (_, coupon) = *dice.pick(&CODES).unwrap_or(&CODES[0]);
                format!("gets {coupon}: {:?}", stripe.discount(&id, coupon))
            }
            _ => return self.reverse(who, stripe_id),
        };
        self.tell(|| format!("{who} {id} {done}"));
    }

    /// A bank disputes a part of a payment.
    fn dispute_a_part(&mut self, who: usize, stripe_id: &str) {
        let (stripe, dice) = (self.world.stripe.clone(), self.world.dice.clone());
        let disputes = self.list("/v1/disputes", "");
        let mut intents = self.list("/v1/payment_intents", &format!("customer={stripe_id}"));
        intents.retain(|intent| {
            let id = &intent["id"];
            intent["status"] == "succeeded" && !disputes.iter().any(|d| d["payment_intent"] == *id)
        });
        let Some(intent) = dice.pick(&intents) else { return };
        let percent = *dice.pick(&[30, 60, 97]).unwrap_or(&60);
        let part = (intent["amount"].as_i64().unwrap_or(0) * percent / 100).max(1);
        let opened = stripe.open_dispute_about(&id_of(intent), part);
        self.tell(|| format!("{who} disputes {percent} % of {}: {opened:?}", intent["id"]));
    }
}
