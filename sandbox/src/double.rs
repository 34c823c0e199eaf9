//! Stripe's double itself, without a network: what callers, people and banks can do with it. A
//! simulation uses it as it is; [`crate::Sandbox`] puts a server before it. What vendors and banks
//! do with invoices, money, sales and events is in the files of those names.

mod events;
mod invoices;
mod money;
mod sales;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{self, Call, Outcome};
use crate::billing::actions;
use crate::billing::checkout::Paid;
use crate::billing::checks::ActionError;
use crate::card::Card;
use crate::clock::Clock;
use crate::deliveries::Delivery;
use crate::mail::Mail;
use crate::objects::Kind;
use crate::options::{Options, Sending};
use crate::sender::{self, Webhook};
use crate::shared::{HeldKey, Shared};
use crate::switches::Faults;

/// The email of whoever pays a session that names nobody.
const ANYBODY: &str = "somebody@example.com";

const DAY: Duration = Duration::from_secs(86_400);

/// How often a price is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Every month.
    Month,
    /// Every year.
    Year,
}

/// A price that a test wants to exist under an id of its own choosing.
#[derive(Clone, Debug)]
pub struct NewPrice<'a> {
    /// The price's id.
    pub id: &'a str,
    /// The name of its product, which is made with it.
    pub product: &'a str,
    /// In the currency's smallest unit.
    pub amount: i64,
    /// Three letters, in lower case.
    pub currency: &'a str,
    /// How often it is billed.
    pub interval: Interval,
}

/// Stripe's double. Nothing is sent by itself: a delivery is taken, and what came of it noted.
pub struct Double {
    shared: Arc<Shared>,
}

impl Double {
    /// A new one, whose pages would be at `url`.
    #[must_use]
    pub fn new(options: Options, url: String) -> Self {
        Self { shared: Arc::new(Shared::new(options, url)) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Answers a call with a status and a body; with nothing where a fault loses the answer, and
    /// never where it keeps silent.
    pub fn call(&self, call: &Call) -> impl Future<Output = Option<(u16, Value)>> + Send + use<> {
        let (outcome, held) = HeldKey::answer(&self.shared, call);
        async move {
            let _held = held;
            match outcome {
                Outcome::Answered(reply) => Some((reply.status, reply.body)),
                Outcome::Lost => None,
                // At one byte a second, nobody waits for the end.
                Outcome::AnsweredSlowly(_) | Outcome::Silent(_) => std::future::pending().await,
            }
        }
    }

    /// Takes the next delivery that is due, to be sent; its number names it in
    /// [`Double::note_delivery`].
    #[must_use]
    pub fn take_delivery(&self) -> Option<(usize, Delivery)> {
        self.shared.write(|world| world.deliveries.take_due(world.now))
    }

    /// Notes what the endpoint answered: a status, or why there was none. It is tried again where
    /// that is no 2xx.
    pub fn note_delivery(&self, delivery: usize, outcome: Result<u16, String>) {
        self.shared.write(|world| sender::note(world, delivery, outcome));
    }

    /// Gives a delivery up that was taken.
    pub fn drop_delivery(&self, delivery: usize) {
        self.shared.write(|world| world.deliveries.give_up(delivery, "dropped"));
    }

    /// The API key that it accepts.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.shared.options.secret_key
    }

    /// Its clock, to live by.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock.clone()
    }

    /// The faults that can be switched on.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(Arc::clone(&self.shared))
    }

    /// Moves the clock; what falls due on the way happens in order, each at its time.
    pub fn advance(&self, duration: Duration) {
        self.shared.advance(duration);
    }

    /// Moves the clock by days.
    pub fn advance_days(&self, days: u32) {
        self.advance(DAY * days);
    }

    /// Makes a product with a price under an id of the caller's choosing, as plans name it.
    pub fn add_price(&self, new: &NewPrice<'_>) {
        let interval = match new.interval {
            Interval::Month => "month",
            Interval::Year => "year",
        };
        self.shared.write(|world| {
            let product = json!({ "name": new.product, "updated": world.now });
            let product = world.create(Kind::Product, product, "product.created");
            let mut recurring = Kind::Price.blank()["recurring"].take();
            recurring["interval"] = interval.into();
            let fields = json!({
                "currency": new.currency,
                "product": product,
                "recurring": recurring,
                "unit_amount": new.amount,
                "unit_amount_decimal": new.amount.to_string(),
            });
            world.insert_as(Kind::Price, new.id, fields);
            world.announce(Kind::Price, new.id, "price.created");
        });
    }

    /// Makes a webhook endpoint for these events (`["*"]` for all); gives its id and its secret.
    pub fn add_webhook_endpoint(&self, url: &str, events: &[&str]) -> (String, String) {
        let fields = json!({ "url": url, "enabled_events": events });
        self.shared.write(|world| api::add_webhook_endpoint(world, fields))
    }

    /// Gives an endpoint a new secret. Webhooks carry signatures by both, until the old one is
    /// ended; none if there is no such endpoint.
    #[must_use]
    pub fn roll_webhook_secret(&self, endpoint: &str) -> Option<String> {
        self.shared.write(|world| {
            let new = world.id("whsec_");
            world.webhook_secrets.get_mut(endpoint)?.insert(0, new.clone());
            Some(new)
        })
    }

    /// Ends every secret of an endpoint but the newest.
    pub fn end_old_webhook_secrets(&self, endpoint: &str) {
        self.shared.write(|world| {
            if let Some(secrets) = world.webhook_secrets.get_mut(endpoint) {
                secrets.truncate(1);
            }
        });
    }

    /// Pays an open checkout session, as the page does.
    ///
    /// # Errors
    /// When there is no such session, or it is not open.
    pub fn pay(&self, session: &str, card: Card) -> Result<Paid, ActionError> {
        self.shared.write(|world| actions::pay(world, session, card, ANYBODY))
    }

    /// Completes or fails the 3-D Secure of a payment intent, as the page does.
    ///
    /// # Errors
    /// When it does not wait for that.
    pub fn authenticate(&self, payment_intent: &str, succeeds: bool) -> Result<(), ActionError> {
        self.shared.write(|world| actions::authenticate(world, payment_intent, succeeds))
    }

    /// Has the bank decide now on a debit that is under way.
    ///
    /// # Errors
    /// When none is.
    pub fn settle(&self, payment_intent: &str, succeeds: bool) -> Result<(), ActionError> {
        self.shared.write(|world| actions::settle(world, payment_intent, succeeds))
    }

    /// Replaces the card that pays a customer's invoices, as the portal does.
    ///
    /// # Errors
    /// When there is no such customer.
    pub fn replace_card(&self, customer: &str, card: Card) -> Result<(), ActionError> {
        self.shared.write(|world| actions::replace_card(world, customer, card))
    }

    /// Has a subscription end with its period, as the portal does; `false` takes that back.
    ///
    /// # Errors
    /// When it has ended already, or before its first payment.
    pub fn cancel(&self, subscription: &str, cancel: bool) -> Result<(), ActionError> {
        self.shared.write(|world| actions::cancel(world, subscription, cancel))
    }

    /// Ends a subscription now.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn cancel_now(&self, subscription: &str) -> Result<(), ActionError> {
        self.shared.write(|world| actions::cancel_now(world, subscription))
    }

    /// Puts a subscription on another price, as the portal does; the difference is billed.
    ///
    /// # Errors
    /// When it has ended already, before its first payment, or when there is no such price.
    pub fn change_plan(&self, subscription: &str, price: &str) -> Result<(), ActionError> {
        self.shared.write(|world| actions::change_plan(world, subscription, price))
    }

    /// Has a subscription change to another price when its period ends, as the portal does for a
    /// downgrade: a subscription schedule.
    ///
    /// # Errors
    /// When it has ended already or is about to, before its first payment, or when there is no such
    /// price.
    pub fn schedule_change(&self, subscription: &str, price: &str) -> Result<(), ActionError> {
        self.shared.write(|world| actions::schedule_change(world, subscription, price))
    }

    /// Takes a scheduled change back.
    ///
    /// # Errors
    /// When the subscription has ended already, or before its first payment.
    pub fn unschedule(&self, subscription: &str) -> Result<(), ActionError> {
        self.shared.write(|world| actions::unschedule(world, subscription))
    }

    /// Puts `fields` over an object's own and makes an event of it: for what nobody can bring
    /// about here, such as a paused subscription or a status that does not exist yet. It is left
    /// to the caller to write what makes sense.
    ///
    /// # Errors
    /// When nothing has this id.
    pub fn edit(&self, id: &str, fields: Value, event: &str) -> Result<(), ActionError> {
        self.shared.write(|world| match world.kind_of(id) {
            Some(kind) => {
                world.change(kind, id, fields, event);
                Ok(())
            }
            None => Err(ActionError::NoSuch { what: "object", id: id.to_owned() }),
        })
    }

    /// The payment intent behind a checkout session, a subscription's latest invoice, or an
    /// invoice; none if nothing was due.
    #[must_use]
    pub fn payment_intent(&self, id: &str) -> Option<String> {
        self.shared.read(|world| {
            let object = world.find(id)?;
            let offered = world.offers.get(id).and_then(|offer| offer.subscription.as_deref());
            let subscription = offered.map_or(object, |sub| world.get(Kind::Subscription, sub));
            let invoice = subscription["latest_invoice"].as_str().unwrap_or(id);
            world.payment_of(invoice).map(|payment| payment.intent.clone())
        })
    }

    /// An object as the API would answer it; null if nothing has this id.
    #[must_use]
    pub fn object(&self, id: &str) -> Value {
        self.look(id, Value::clone)
    }

    /// Looks at an object without copying it; at null if nothing has this id.
    pub fn look<T>(&self, id: &str, look: impl FnOnce(&Value) -> T) -> T {
        self.shared.read(|world| look(world.find(id).unwrap_or(&Value::Null)))
    }

    /// The ids of all events of a type, the oldest first; an empty type means all.
    #[must_use]
    pub fn events(&self, event_type: &str) -> Vec<String> {
        self.shared.read(|world| {
            let events = world.newest_first(Kind::Event, None);
            let fitting =
                events.filter(|event| event_type.is_empty() || event["type"] == event_type);
            let mut ids: Vec<String> =
                fitting.filter_map(|event| event["id"].as_str().map(str::to_owned)).collect();
            ids.reverse();
            ids
        })
    }

    /// Has searches find what was made only so much later, as Stripe's do
    /// (<https://docs.stripe.com/search#data-freshness>); lists know it at once.
    pub fn delay_search(&self, lag: Duration) {
        let seconds = i64::try_from(lag.as_secs()).unwrap_or(i64::MAX);
        self.shared.write(|world| world.search_lag = seconds);
    }

    /// How many calls the API took so far, refused ones too: zero proves that nobody asked Stripe.
    #[must_use]
    pub fn api_calls(&self) -> usize {
        self.shared.read(|world| world.calls)
    }

    /// An event as it would be sent to an endpoint now, signed for `time`.
    #[must_use]
    pub fn webhook(&self, event: &str, endpoint: &str, time: i64) -> Option<Webhook> {
        self.shared.read(|world| sender::webhook(world, event, endpoint, time))
    }

    /// Every delivery so far, the oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.read(|world| world.deliveries.all().to_vec())
    }

    /// How many deliveries wait for their time, and how many were given up.
    #[must_use]
    pub fn undelivered(&self) -> (usize, usize) {
        self.shared.read(|world| world.deliveries.undelivered())
    }

    /// Sends everything that is due; gives how many deliveries were tried.
    pub async fn deliver_pending(&self) -> usize {
        sender::deliver_due(&self.shared).await
    }

    /// Makes everything due now that waits for its next attempt, or was given up.
    pub fn retry_deliveries(&self) {
        self.shared.write(|world| world.deliveries.retry_all(world.now));
    }

    /// Waits until nothing is due and nothing under way, sending it where sending is manual.
    pub async fn settled(&self) {
        if self.shared.options.sending == Sending::Manual {
            self.deliver_pending().await;
        }
        self.shared.until(|world| world.deliveries.settled(world.now)).await;
    }

    /// The mails that arrived, the oldest first.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.read(|world| world.mails.clone())
    }

    /// Waits until so many mails have arrived, and gives them all.
    pub async fn mails_arrived(&self, count: usize) -> Vec<Mail> {
        self.shared.until(|world| world.mails.len() >= count).await;
        self.mails()
    }
}
