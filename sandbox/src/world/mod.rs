//! Everything that the sandbox knows, in memory: the objects, what Stripe knows of them but does
//! not show, the events, and what is due later. Rules of billing are in `billing`.

mod events;
mod ids;
mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use crate::card::Card;
use crate::deliveries::{Deliveries, Order};
use crate::faults::FaultRules;
use crate::idempotency::IdempotencyKeys;
use crate::mail::Mail;
use crate::objects::{Kind, put, with};
use crate::options::Behavior;

use ids::Ids;
use table::Table;

/// What is due at a certain time. A timer says only where to look; what it finds may have changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A checkout session that nobody completed.
    SessionExpires(String),
    /// The end of a subscription's period or trial, or its cancellation.
    SubscriptionDue(String),
    /// A first payment that nobody completed.
    IncompleteExpires(String),
    /// The invoice of a renewal, which is a draft until then.
    InvoiceDue(String),
    /// A sent invoice that is due.
    InvoiceOverdue(String),
    /// An invoice whose payment failed.
    RetryPayment(String),
    /// A payment by a method that takes days.
    PaymentSettles(String),
}

/// What a checkout session will sell; Stripe does not show it with the session.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// Price ids and quantities.
    pub lines: Vec<(String, i64)>,
    /// The metadata of the subscription to be.
    pub metadata: Map<String, Value>,
    /// The days of its trial.
    pub trial_days: i64,
    /// What is redeemed with it: coupons and promotion codes.
    pub discounts: Vec<Redeemed>,
    /// The subscription that the last attempt to pay made.
    pub subscription: Option<String>,
}

/// A coupon that is redeemed.
#[derive(Clone, Debug)]
pub struct Redeemed {
    /// The coupon.
    pub coupon: String,
    /// The promotion code that stands for it, if the customer entered one.
    pub promotion_code: Option<String>,
}

/// What pays an invoice.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The payment intent, or the record of a payment outside of Stripe.
    pub intent: String,
    /// The object that ties it to the invoice.
    pub invoice_payment: String,
}

/// Which call makes the changes, for the events that they cause.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    /// The request's id; none when the clock or a page caused it.
    pub request_id: Option<String>,
    /// The request's idempotency key.
    pub idempotency_key: Option<String>,
}

/// The whole state.
pub struct World {
    /// The time, in epoch seconds.
    pub now: i64,
    /// How the choices that Stripe leaves to the account's settings are made.
    pub behavior: Behavior,
    /// Where the sandbox's pages are.
    pub url: String,
    /// What caused the changes under way.
    pub cause: Cause,
    /// What each checkout session sells.
    pub offers: HashMap<String, Offer>,
    /// How each payment method behaves.
    pub cards: HashMap<String, Card>,
    /// The secrets of each webhook endpoint, the newest first: two while one is rolled.
    pub webhook_secrets: HashMap<String, Vec<String>>,
    /// The events on their way.
    pub deliveries: Deliveries,
    /// The faults that are switched on.
    pub faults: FaultRules,
    /// The answers that are kept under idempotency keys.
    pub idempotency: IdempotencyKeys,
    /// The mails that arrived.
    pub mails: Vec<Mail>,
    /// How many calls the API took, refused ones too.
    pub calls: usize,
    /// The order in which the payments of an invoice are listed.
    pub payments_listed: Order,
    /// Whether an invoice is written off when every retry of its payment has failed.
    pub writes_off_after_retries: bool,
    /// Whether a first invoice is voided when the bank debit that was to pay it fails.
    pub voids_failed_first_debits: bool,
    /// For so many seconds, searches do not find what was made.
    pub search_lag: i64,
    /// The checkout session that each subscription began with.
    pub sessions: HashMap<String, String>,
    payments: HashMap<String, Vec<Payment>>,
    invoices: HashMap<String, String>,
    tables: BTreeMap<Kind, Table>,
    timers: BTreeSet<(i64, u64, Timer)>,
    scheduled: u64,
    ids: Ids,
}

impl World {
    /// An empty world.
    pub fn new(now: i64, seed: u64, behavior: Behavior, url: String) -> Self {
        Self {
            now,
            behavior,
            url,
            cause: Cause::default(),
            offers: HashMap::new(),
            cards: HashMap::new(),
            webhook_secrets: HashMap::new(),
            deliveries: Deliveries::default(),
            faults: FaultRules::default(),
            idempotency: IdempotencyKeys::default(),
            mails: Vec::new(),
            calls: 0,
            payments_listed: Order::Reversed,
            writes_off_after_retries: false,
            voids_failed_first_debits: false,
            search_lag: 0,
            sessions: HashMap::new(),
            payments: HashMap::new(),
            invoices: HashMap::new(),
            tables: Kind::ALL.into_iter().map(|kind| (kind, Table::default())).collect(),
            timers: BTreeSet::new(),
            scheduled: 0,
            ids: Ids::seeded(seed),
        }
    }

    /// A new id, or a secret.
    pub fn id(&mut self, prefix: &str) -> String {
        self.ids.next(prefix)
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            items.swap(place, self.ids.below(place + 1));
        }
    }

    /// Makes an object from the blank of its kind and `fields`; gives its id. No event is made.
    pub fn insert(&mut self, kind: Kind, fields: Value) -> String {
        let id = self.id(kind.prefix());
        self.insert_as(kind, &id, fields);
        id
    }

    /// The same, under an id that the caller chose.
    pub fn insert_as(&mut self, kind: Kind, id: &str, fields: Value) {
        let object = with(kind.blank(), json!({ "id": id, "created": self.now }));
        self.table(kind).insert(with(object, fields));
    }

    /// The object, or null.
    pub fn get(&self, kind: Kind, id: &str) -> &Value {
        static NOTHING: Value = Value::Null;
        self.tables.get(&kind).map_or(&NOTHING, |table| table.get(id))
    }

    /// Whether the object exists and was not deleted.
    pub fn exists(&self, kind: Kind, id: &str) -> bool {
        let object = self.get(kind, id);
        !object.is_null() && object["deleted"] != true
    }

    /// The object that has this id, of whatever kind, or nothing.
    pub fn find(&self, id: &str) -> Option<&Value> {
        self.tables.values().map(|table| table.get(id)).find(|object| !object.is_null())
    }

    /// The kind of the object that has this id.
    pub fn kind_of(&self, id: &str) -> Option<Kind> {
        self.tables.iter().find(|(_, table)| !table.get(id).is_null()).map(|(kind, _)| *kind)
    }

    /// Puts `fields` over an object's own. No event is made.
    pub fn set(&mut self, kind: Kind, id: &str, fields: Value) {
        self.table(kind).update(id, |object| put(object, fields));
    }

    /// Changes an object in a way that `set` cannot. No event is made.
    pub fn update(&mut self, kind: Kind, id: &str, change: impl FnOnce(&mut Value)) {
        self.table(kind).update(id, change);
    }

    /// All of a kind that exist, the newest first; of one customer only, if one is named.
    pub fn newest_first<'a>(
        &'a self,
        kind: Kind,
        customer: Option<&str>,
    ) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.older_than(kind, customer, None)
    }

    /// The same from after `cursor` on.
    pub fn older_than<'a>(
        &'a self,
        kind: Kind,
        customer: Option<&str>,
        cursor: Option<&str>,
    ) -> impl Iterator<Item = &'a Value> + use<'a> {
        let table = self.tables.get(&kind);
        table.map(|table| table.newest_first(customer, cursor)).into_iter().flatten()
    }

    /// Notes what pays an invoice.
    pub fn link_payment(&mut self, invoice: &str, payment: Payment) {
        self.invoices.insert(payment.intent.clone(), invoice.to_owned());
        self.payments.entry(invoice.to_owned()).or_default().push(payment);
    }

    /// What pays an invoice by default; nothing if nothing was due.
    pub fn payment_of(&self, invoice: &str) -> Option<&Payment> {
        self.payments_of(invoice).first()
    }

    /// Everything that pays an invoice, the default first.
    pub fn payments_of(&self, invoice: &str) -> &[Payment] {
        self.payments.get(invoice).map_or(&[], Vec::as_slice)
    }

    /// The invoice that a payment intent pays.
    pub fn invoice_of(&self, intent: &str) -> Option<String> {
        self.invoices.get(intent).cloned()
    }

    /// Has `timer` looked at when `at` comes.
    pub fn schedule(&mut self, at: i64, timer: Timer) {
        self.scheduled += 1;
        self.timers.insert((at, self.scheduled, timer));
    }

    /// When the next timer is due.
    pub fn next_timer(&self) -> Option<i64> {
        self.timers.first().map(|(at, ..)| *at)
    }

    /// The next timer that is due by `until`, with its time.
    pub fn take_timer(&mut self, until: i64) -> Option<(i64, Timer)> {
        if self.next_timer()? > until {
            return None;
        }
        self.timers.pop_first().map(|(at, _, timer)| (at, timer))
    }

    fn table(&mut self, kind: Kind) -> &mut Table {
        self.tables.entry(kind).or_default()
    }
}
