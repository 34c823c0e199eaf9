//! The state of the sandbox, in memory: the objects, what Stripe keeps without showing it, the
//! events, and the timers. The rules of billing are in `billing`.

mod buyer;
mod events;
mod ids;
mod offer;
mod pending;
mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::card::Card;
use crate::deliveries::{Deliveries, Order};
use crate::faults::FaultRules;
use crate::idempotency::IdempotencyKeys;
use crate::mail::Mail;
use crate::objects::{Kind, put, with};
use crate::options::{AccountSettings, Behavior};

pub use buyer::{BuyerDetails, CustomerUpdate};
use ids::Ids;
pub use offer::{
    Adjustable, InvoiceTerms, MissingMethod, Offer, OfferLine, PaymentTerms, Redeemed, SaleSettings,
};
pub use pending::PendingUpdate;
use table::Table;

/// A check that is due at a certain time. The object may have changed since, so the check reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// An open checkout session expires.
    SessionExpires(String),
    /// A subscription's period or trial ends, or its cancellation takes effect.
    SubscriptionDue(String),
    /// A trial ends within three days.
    TrialEndsSoon(String),
    /// The invoice that resumes a paused subscription is given up.
    ResumptionExpires(String),
    /// An incomplete first payment expires.
    IncompleteExpires(String),
    /// The draft invoice of a renewal is finalized.
    InvoiceDue(String),
    /// A sent invoice reaches its due date.
    InvoiceOverdue(String),
    /// A failed payment of an invoice is retried.
    RetryPayment(String),
    /// A payment by a slow method, such as a bank debit, is decided.
    PaymentSettles(String),
    /// The invoice of a checkout session's one-time payment is created.
    InvoiceAfterPayment(String),
    /// A coupon can be redeemed no longer.
    CouponEnds(String),
    /// A promotion code can be redeemed no longer.
    PromotionCodeEnds(String),
    /// A subscription's pending update expires.
    PendingUpdateExpires(String),
}

/// A call that resumes a paused subscription, once its invoice is paid.
#[derive(Clone, Debug)]
pub struct Resumption {
    /// The invoice.
    pub invoice: String,
    /// Whether a failed payment resumes it too. It is past due then.
    pub by_any_attempt: bool,
}

/// The kinds of object that previews do not depend on.
const WITHOUT_PREVIEWS: [Kind; 9] = [
    Kind::Charge,
    Kind::Dispute,
    Kind::Event,
    Kind::InvoicePayment,
    Kind::PaymentIntent,
    Kind::PortalSession,
    Kind::Refund,
    Kind::ThinEvent,
    Kind::WebhookEndpoint,
];

/// A payment of an invoice.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The id of the payment intent, or of the record of a payment outside of Stripe.
    pub intent: String,
    /// The id of the invoice payment that links it to the invoice.
    pub invoice_payment: String,
}

/// The call that causes changes, for the events about them.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    /// The request's id; none if the clock or a page caused the change.
    pub request_id: Option<String>,
    /// The request's idempotency key.
    pub idempotency_key: Option<String>,
}

/// The state of the sandbox.
pub struct World {
    /// The time, in epoch seconds.
    pub now: i64,
    /// The account's rules of billing.
    pub behavior: Behavior,
    /// The settings of the account.
    pub account: AccountSettings,
    /// The URL of the sandbox's pages.
    pub url: String,
    /// The URL of the pages of invoices and receipts.
    pub documents_url: String,
    /// The cause of the current changes.
    pub cause: Cause,
    /// The products to which each coupon is limited.
    pub coupon_products: HashMap<String, Vec<String>>,
    /// The amounts of each price in other currencies than its own.
    pub currency_options: HashMap<String, BTreeMap<String, i64>>,
    /// The details that the buyer of each checkout session entered.
    pub buyers: HashMap<String, BuyerDetails>,
    /// The contents of each checkout session, payment link and quote.
    pub offers: HashMap<String, Offer>,
    /// The behavior of each payment method.
    pub cards: HashMap<String, Card>,
    /// The secrets of each webhook endpoint, the newest first. There are two while one is rolled.
    pub webhook_secrets: HashMap<String, Vec<String>>,
    /// The deliveries of events.
    pub deliveries: Deliveries,
    /// The faults that are switched on.
    pub faults: FaultRules,
    /// The responses stored under idempotency keys.
    pub idempotency: IdempotencyKeys,
    /// The mails received.
    pub mails: Vec<Mail>,
    /// The number of calls of the API, refused ones included.
    pub calls: usize,
    /// The order in which the payments of an invoice are listed.
    pub payment_order: Order,
    /// Whether an invoice is written off when the last retry of its payment fails.
    pub writes_off_after_retries: bool,
    /// Whether the first invoice is voided when its bank debit fails.
    pub voids_failed_first_debits: bool,
    /// Searches do not find objects that are younger than this, in seconds.
    pub search_lag_seconds: i64,
    /// The usage of each metered subscription item that is not billed yet.
    pub usage: HashMap<String, i64>,
    /// The checkout session of each subscription that began with one.
    pub session_by_subscription: HashMap<String, String>,
    /// The end of each subscription's trial that was announced last.
    pub announced_trials: HashMap<String, i64>,
    /// The resumption of each paused subscription whose invoice is not paid yet.
    pub resumptions: HashMap<String, Resumption>,
    /// The checkout session of each one-time payment that began with one.
    pub session_by_payment: HashMap<String, String>,
    /// The update of each subscription that waits for the payment of its invoice.
    pub pending_updates: HashMap<String, PendingUpdate>,
    /// Whether this is the copy of a preview: its invoices stay drafts.
    pub is_preview: bool,
    payments: HashMap<String, Vec<Payment>>,
    invoice_by_payment: HashMap<String, String>,
    tables: BTreeMap<Kind, Table>,
    timers: BTreeSet<(i64, u64, Timer)>,
    scheduled: u64,
    ids: Ids,
}

impl World {
    /// Returns an empty state.
    pub fn new(now: i64, seed: u64, behavior: Behavior, url: String) -> Self {
        Self {
            now,
            behavior,
            account: AccountSettings::default(),
            documents_url: url.clone(),
            url,
            cause: Cause::default(),
            coupon_products: HashMap::new(),
            currency_options: HashMap::new(),
            buyers: HashMap::new(),
            offers: HashMap::new(),
            cards: HashMap::new(),
            webhook_secrets: HashMap::new(),
            deliveries: Deliveries::default(),
            faults: FaultRules::default(),
            idempotency: IdempotencyKeys::default(),
            mails: Vec::new(),
            calls: 0,
            payment_order: Order::Reversed,
            writes_off_after_retries: false,
            voids_failed_first_debits: false,
            search_lag_seconds: 0,
            usage: HashMap::new(),
            session_by_subscription: HashMap::new(),
            announced_trials: HashMap::new(),
            resumptions: HashMap::new(),
            session_by_payment: HashMap::new(),
            pending_updates: HashMap::new(),
            is_preview: false,
            payments: HashMap::new(),
            invoice_by_payment: HashMap::new(),
            tables: Kind::ALL.into_iter().map(|kind| (kind, Table::default())).collect(),
            timers: BTreeSet::new(),
            scheduled: 0,
            ids: Ids::seeded(seed),
        }
    }

    /// Returns a copy for a preview about a customer, or about nobody. It has what the customer's
    /// invoices depend on: no events, payments and timers, and nothing of other customers. Its ids
    /// are others than the next ones here.
    pub fn copy_for_preview(&self, customer: Option<&str>) -> Self {
        let needed = |(kind, _): &(&Kind, _)| !WITHOUT_PREVIEWS.contains(kind);
        let copy = |(kind, table): (&Kind, &Table)| {
            let owner = if *kind == Kind::Customer { "id" } else { "customer" };
            (*kind, table.part(|row| row[owner].is_null() || row[owner].as_str() == customer))
        };
        Self {
            account: self.account.clone(),
            coupon_products: self.coupon_products.clone(),
            usage: self.usage.clone(),
            announced_trials: self.announced_trials.clone(),
            resumptions: self.resumptions.clone(),
            currency_options: self.currency_options.clone(),
            cards: self.cards.clone(),
            pending_updates: self.pending_updates.clone(),
            is_preview: true,
            tables: self.tables.iter().filter(needed).map(copy).collect(),
            ..Self::new(self.now, u64::MAX, self.behavior, self.url.clone())
        }
    }

    /// Returns a new id or secret.
    pub fn id(&mut self, prefix: &str) -> String {
        self.ids.next(prefix)
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            items.swap(place, self.ids.below(place + 1));
        }
    }

    /// Creates an object from the blank of its kind and `fields`, without an event. Returns its id.
    pub fn insert(&mut self, kind: Kind, fields: Value) -> String {
        let id = self.id(kind.prefix());
        self.insert_as(kind, &id, fields);
        id
    }

    /// Creates an object under an id that the caller chose, without an event.
    pub fn insert_as(&mut self, kind: Kind, id: &str, fields: Value) {
        let object = with(kind.blank(), json!({ "id": id, "created": self.now }));
        self.table(kind).insert(with(object, fields));
    }

    /// Returns the object, or null.
    pub fn get(&self, kind: Kind, id: &str) -> &Value {
        static NOTHING: Value = Value::Null;
        self.tables.get(&kind).map_or(&NOTHING, |table| table.get(id))
    }

    /// Whether the object exists and was not deleted.
    pub fn exists(&self, kind: Kind, id: &str) -> bool {
        let object = self.get(kind, id);
        !object.is_null() && object["deleted"] != true
    }

    /// Returns the object with this id, of any kind.
    pub fn find(&self, id: &str) -> Option<&Value> {
        self.tables.values().map(|table| table.get(id)).find(|object| !object.is_null())
    }

    /// Returns the kind of the object with this id.
    pub fn kind_of(&self, id: &str) -> Option<Kind> {
        self.tables.iter().find(|(_, table)| !table.get(id).is_null()).map(|(kind, _)| *kind)
    }

    /// Replaces fields of an object, without an event.
    pub fn set(&mut self, kind: Kind, id: &str, fields: Value) {
        self.table(kind).update(id, |object| put(object, fields));
    }

    /// Changes an object in a way that `set` cannot, without an event.
    pub fn update(&mut self, kind: Kind, id: &str, change: impl FnOnce(&mut Value)) {
        self.table(kind).update(id, change);
    }

    /// Returns the existing objects of a kind, the newest first. `customer` selects those of one
    /// customer.
    pub fn newest_first<'a>(
        &'a self,
        kind: Kind,
        customer: Option<&str>,
    ) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.older_than(kind, customer, None)
    }

    /// Returns the same, beginning after the object `cursor`.
    pub fn older_than<'a>(
        &'a self,
        kind: Kind,
        customer: Option<&str>,
        cursor: Option<&str>,
    ) -> impl Iterator<Item = &'a Value> + use<'a> {
        let table = self.tables.get(&kind);
        table.map(|table| table.newest_first(customer, cursor)).into_iter().flatten()
    }

    /// Links a payment to an invoice.
    pub fn link_payment(&mut self, invoice: &str, payment: Payment) {
        self.invoice_by_payment.insert(payment.intent.clone(), invoice.to_owned());
        self.payments.entry(invoice.to_owned()).or_default().push(payment);
    }

    /// Returns the default payment of an invoice; none if nothing was due.
    pub fn payment_of(&self, invoice: &str) -> Option<&Payment> {
        self.payments_of(invoice).first()
    }

    /// Returns all payments of an invoice, the default one first.
    pub fn payments_of(&self, invoice: &str) -> &[Payment] {
        self.payments.get(invoice).map_or(&[], Vec::as_slice)
    }

    /// Returns the invoice that a payment intent pays.
    pub fn invoice_of(&self, intent: &str) -> Option<String> {
        self.invoice_by_payment.get(intent).cloned()
    }

    /// Sets a timer.
    pub fn schedule(&mut self, at: i64, timer: Timer) {
        self.scheduled += 1;
        self.timers.insert((at, self.scheduled, timer));
    }

    /// Returns the time of the next timer.
    pub fn next_timer(&self) -> Option<i64> {
        self.timers.first().map(|(at, ..)| *at)
    }

    /// Removes and returns the next timer that is due by `until`, with its time.
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
