//! Stripe's double without a network: everything that callers, customers and banks can do. A
//! simulation uses it directly; [`crate::Sandbox`] adds the servers. The actions of vendors and
//! banks are in `double/`.

mod events;
mod invoices;
mod money;
mod sales;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{self, Call, CallOutcome};
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

/// The email of the customer who pays a session without one.
const DEFAULT_EMAIL: &str = "somebody@example.com";

const DAY: Duration = Duration::from_secs(86_400);

/// How often a price is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Every month.
    Month,
    /// Every year.
    Year,
    /// Once.
    Once,
}

impl Interval {
    /// Stripe's name of it; none if it does not recur.
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::Month => Some("month"),
            Self::Year => Some("year"),
            Self::Once => None,
        }
    }
}

/// A price with an id that the test chooses.
#[derive(Clone, Debug)]
pub struct NewPrice<'a> {
    /// The price's id.
    pub id: &'a str,
    /// The name of its product, which is created with it.
    pub product: &'a str,
    /// In the currency's smallest unit.
    pub amount: i64,
    /// Three letters, in lower case.
    pub currency: &'a str,
    /// How often it is billed.
    pub interval: Interval,
}

/// The parts of a price that most prices do not have.
#[derive(Clone, Copy, Debug, Default)]
pub struct PriceOptions<'a> {
    /// The amounts in other currencies than the price's own.
    pub currencies: &'a [(&'a str, i64)],
    /// Whether the amounts contain taxes.
    pub tax: TaxBehavior,
    /// Whether the usage is metered and billed in arrears.
    pub is_metered: bool,
}

/// Whether a price contains taxes
/// (<https://docs.stripe.com/tax/products-prices-tax-codes-tax-behavior>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaxBehavior {
    /// It is not decided. Stripe Tax refuses the price.
    #[default]
    Unspecified,
    /// Taxes are added to it.
    Exclusive,
    /// It contains them.
    Inclusive,
}

impl TaxBehavior {
    /// Stripe's name of it.
    const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Exclusive => "exclusive",
            Self::Inclusive => "inclusive",
        }
    }
}

/// Stripe's double. It sends nothing by itself: the caller takes deliveries and records the
/// results.
pub struct Double {
    shared: Arc<Shared>,
}

impl Double {
    /// Returns a new double. `url` is the URL of its pages.
    #[must_use]
    pub fn new(options: Options, url: String) -> Self {
        Self { shared: Arc::new(Shared::new(options, url)) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns a call's status and body. Returns none if a fault loses the response, and never
    /// completes if a fault suppresses it.
    pub fn call(&self, call: &Call) -> impl Future<Output = Option<(u16, Value)>> + Send + use<> {
        let (outcome, held) = HeldKey::handle(&self.shared, call);
        async move {
            let _held = held;
            match outcome {
                CallOutcome::Responded(reply) => Some((reply.status, reply.body)),
                CallOutcome::Lost => None,
                // At one byte a second, no caller waits for the end.
                CallOutcome::RespondedSlowly(_) | CallOutcome::Silent(_) => {
                    std::future::pending().await
                }
            }
        }
    }

    /// Takes the next due delivery, to be sent. Its number is the argument of
    /// [`Double::note_delivery`].
    #[must_use]
    pub fn take_delivery(&self) -> Option<(usize, Delivery)> {
        self.shared.write(|world| world.deliveries.take_due(world.now))
    }

    /// Records the response to a delivery: an HTTP status, or the problem. Unless it is 2xx, the
    /// delivery is retried.
    pub fn note_delivery(&self, delivery: usize, outcome: Result<u16, String>) {
        self.shared.write(|world| sender::record_result(world, delivery, outcome));
    }

    /// Gives up a delivery that was taken.
    pub fn drop_delivery(&self, delivery: usize) {
        self.shared.write(|world| world.deliveries.give_up(delivery, "dropped"));
    }

    /// The API key that it accepts.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.shared.options.secret_key
    }

    /// The double's clock, for the service under test.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock.clone()
    }

    /// The switches of the faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(Arc::clone(&self.shared))
    }

    /// Advances the clock. All timers on the way run in order, each at its own time.
    pub fn advance(&self, duration: Duration) {
        self.shared.advance(duration);
    }

    /// Advances the clock by days.
    pub fn advance_days(&self, days: u32) {
        self.advance(DAY * days);
    }

    /// Creates a product with a price. The caller chooses the price's id, because plans name it.
    pub fn add_price(&self, new: &NewPrice<'_>) {
        self.add_price_with(new, &PriceOptions::default());
    }

    /// Creates a product with a price that is sold in several currencies, or with a tax behavior.
    pub fn add_price_with(&self, new: &NewPrice<'_>, options: &PriceOptions<'_>) {
        let others = options.currencies.iter();
        let others: BTreeMap<String, i64> =
            others.map(|(currency, amount)| ((*currency).to_owned(), *amount)).collect();
        self.shared.write(|world| {
            let product = json!({ "name": new.product, "updated": world.now });
            let product = world.create(Kind::Product, product, "product.created");
            let recurring = new.interval.name().map(|interval| {
                let mut recurring = Kind::Price.blank()["recurring"].take();
                recurring["interval"] = interval.into();
                if options.is_metered {
                    recurring["meter"] = format!("mtr_{}", new.id).into();
                    recurring["usage_type"] = "metered".into();
                }
                recurring
            });
            let fields = json!({
                "currency": new.currency,
                "product": product,
                "recurring": recurring,
                "tax_behavior": options.tax.name(),
                "type": if recurring.is_some() { "recurring" } else { "one_time" },
                "unit_amount": new.amount,
                "unit_amount_decimal": new.amount.to_string(),
            });
            world.insert_as(Kind::Price, new.id, fields);
            if !others.is_empty() {
                world.currency_options.insert(new.id.to_owned(), others);
            }
            world.announce(Kind::Price, new.id, "price.created");
        });
    }

    /// Creates a webhook endpoint for these events (`["*"]` for all). Returns its id and its
    /// secret.
    pub fn add_webhook_endpoint(&self, url: &str, events: &[&str]) -> (String, String) {
        let fields = json!({ "url": url, "enabled_events": events });
        self.shared.write(|world| api::add_webhook_endpoint(world, fields))
    }

    /// Adds a new secret to an endpoint and returns it; none if there is no such endpoint. Webhooks
    /// have signatures with both secrets until the old one is removed.
    #[must_use]
    pub fn roll_webhook_secret(&self, endpoint: &str) -> Option<String> {
        self.shared.write(|world| {
            let new = world.id("whsec_");
            world.webhook_secrets.get_mut(endpoint)?.insert(0, new.clone());
            Some(new)
        })
    }

    /// Removes all secrets of an endpoint except the newest.
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
        self.shared.write(|world| actions::pay(world, session, card, DEFAULT_EMAIL))
    }

    /// Completes or fails the 3-D Secure of a payment intent, as the page does.
    ///
    /// # Errors
    /// When the payment intent does not wait for 3-D Secure.
    pub fn authenticate(&self, payment_intent: &str, succeeds: bool) -> Result<(), ActionError> {
        self.shared.write(|world| actions::authenticate(world, payment_intent, succeeds))
    }

    /// Has the bank decide a pending debit now.
    ///
    /// # Errors
    /// When no debit is pending.
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

    /// Cancels a subscription at the end of its period, as the portal does; `false` undoes that.
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

    /// Changes a subscription's price, as the portal does, and bills the difference.
    ///
    /// # Errors
    /// When it has ended already, before its first payment, or when there is no such price.
    pub fn change_plan(&self, subscription: &str, price: &str) -> Result<(), ActionError> {
        self.shared.write(|world| actions::change_plan(world, subscription, price))
    }

    /// Schedules a change of a subscription's price for the end of its period, as the portal does
    /// for a downgrade. This creates a subscription schedule.
    ///
    /// # Errors
    /// When it has ended already or is canceled, before its first payment, or when there is no such
    /// price.
    pub fn schedule_change(&self, subscription: &str, price: &str) -> Result<(), ActionError> {
        self.schedule_changes(subscription, &[price])
    }

    /// Schedules prices of a subscription, one for each of its next periods, as a vendor does in
    /// the dashboard.
    ///
    /// # Errors
    /// As [`Self::schedule_change`].
    pub fn schedule_changes(&self, subscription: &str, prices: &[&str]) -> Result<(), ActionError> {
        self.shared.write(|world| actions::schedule_changes(world, subscription, prices))
    }

    /// Removes a scheduled change.
    ///
    /// # Errors
    /// When the subscription has ended already, or before its first payment.
    pub fn unschedule(&self, subscription: &str) -> Result<(), ActionError> {
        self.shared.write(|world| actions::unschedule(world, subscription))
    }

    /// Replaces fields of an object and creates an event about it. This reaches states that no
    /// action leads to, such as a paused subscription or an unknown status. The fields are not
    /// checked.
    ///
    /// # Errors
    /// When no object has this id.
    pub fn edit(&self, id: &str, fields: Value, event: &str) -> Result<(), ActionError> {
        self.shared.write(|world| match world.kind_of(id) {
            Some(kind) => {
                world.change(kind, id, fields, event);
                Ok(())
            }
            None => Err(ActionError::NoSuch { what: "object", id: id.to_owned() }),
        })
    }

    /// Returns the payment intent of a checkout session, of a subscription's latest invoice, or of
    /// an invoice; none if nothing was due.
    #[must_use]
    pub fn payment_intent(&self, id: &str) -> Option<String> {
        self.shared.read(|world| {
            let object = world.find(id)?;
            if let Some(intent) = object["payment_intent"].as_str() {
                return Some(intent.to_owned());
            }
            let offered = world.offers.get(id).and_then(|offer| offer.subscription.as_deref());
            let subscription = offered.map_or(object, |sub| world.get(Kind::Subscription, sub));
            let invoice = subscription["latest_invoice"].as_str().unwrap_or(id);
            world.payment_of(invoice).map(|payment| payment.intent.clone())
        })
    }

    /// Returns an object as the API would; null if no object has this id.
    #[must_use]
    pub fn object(&self, id: &str) -> Value {
        self.look(id, Value::clone)
    }

    /// Reads an object without copying it; null if no object has this id.
    pub fn look<T>(&self, id: &str, look: impl FnOnce(&Value) -> T) -> T {
        self.shared.read(|world| look(world.find(id).unwrap_or(&Value::Null)))
    }

    /// Returns the ids of all events of a type, the oldest first. An empty type selects all.
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

    /// Lets searches find new objects only after `lag`, as Stripe's do
    /// (<https://docs.stripe.com/search#data-freshness>). Lists include them at once.
    pub fn delay_search(&self, lag: Duration) {
        let seconds = i64::try_from(lag.as_secs()).unwrap_or(i64::MAX);
        self.shared.write(|world| world.search_lag_seconds = seconds);
    }

    /// Returns the number of API calls so far, refused ones included. Zero proves that Stripe was
    /// not called.
    #[must_use]
    pub fn api_calls(&self) -> usize {
        self.shared.read(|world| world.calls)
    }

    /// Returns an event as it would be sent to an endpoint now, signed for `time`.
    #[must_use]
    pub fn webhook(&self, event: &str, endpoint: &str, time: i64) -> Option<Webhook> {
        self.shared.read(|world| sender::webhook(world, event, endpoint, time))
    }

    /// Returns every delivery so far, the oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.read(|world| world.deliveries.all().to_vec())
    }

    /// Returns how many deliveries are pending and how many failed.
    #[must_use]
    pub fn undelivered(&self) -> (usize, usize) {
        self.shared.read(|world| world.deliveries.undelivered())
    }

    /// Sends every due delivery. Returns how many were attempted.
    pub async fn deliver_pending(&self) -> usize {
        sender::deliver_due(&self.shared).await
    }

    /// Makes all pending and all failed deliveries due now.
    pub fn retry_deliveries(&self) {
        self.shared.write(|world| world.deliveries.retry_all(world.now));
    }

    /// Waits until nothing is due and nothing is being sent. With [`Sending::Manual`], it sends
    /// what is due.
    pub async fn settled(&self) {
        if self.shared.options.sending == Sending::Manual {
            self.deliver_pending().await;
        }
        self.shared.until(|world| world.deliveries.settled(world.now)).await;
    }

    /// Returns the mails received, the oldest first.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.read(|world| world.mails.clone())
    }

    /// Waits until at least `count` mails have arrived. Returns all of them.
    pub async fn mails_arrived(&self, count: usize) -> Vec<Mail> {
        self.shared.until(|world| world.mails.len() >= count).await;
        self.mails()
    }
}
