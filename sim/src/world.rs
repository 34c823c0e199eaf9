//! The surroundings of the servers: Stripe, the mail server, the calls on their way, and the
//! faults.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use licentia::domain::ids::MailId;
use licentia::domain::sale::webhook::EVENT_TYPES;
use licentia::mailer::{self, NotSent};
use licentia::outgoing::{self, NoReply, Reply};
use licentia::stripe;
use licentia_sandbox::{
    ApiFault, Behavior, Call, Double, Interval, Mail, NewPrice, Options, SECRET_KEY, StartTime,
    Times,
};
use serde_json::Value;

use crate::dice::Dice;
use crate::gate::Gate;
use crate::ledger::Letter;
use crate::selling;
use crate::timers::Timers;

/// The start of every history: 2026-11-20T15:00:00Z.
pub const START: i64 = 1_795_186_800;

/// The prices of the built-in plans.
pub const PRICES: [(&str, i64, Interval); 4] = [
    ("price_starter_monthly", 1900, Interval::Month),
    ("price_starter_yearly", 19000, Interval::Year),
    ("price_pro_monthly", 4900, Interval::Month),
    ("price_pro_yearly", 49000, Interval::Year),
];

/// The event types that only histories of all kinds deliver ([`crate::ALL_KINDS_FROM`]).
const OF_ALL_KINDS: [&str; 6] = [
    "invoice.finalized",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "credit_note.created",
    "credit_note.voided",
    "payment_intent.processing",
];

/// The timeout of servers for Stripe and for the mail server.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// The probabilities of faults, in a thousand.
#[derive(Default)]
pub struct Weather {
    /// Of calls to Stripe.
    pub stripe: AtomicUsize,
    /// Of mails.
    pub mail: AtomicUsize,
    /// Of a server's death between two steps.
    pub death: AtomicUsize,
    /// Of calls that wait on their way.
    pub waits: AtomicUsize,
    /// Of deliveries to the vendor's receiver of webhooks.
    pub receiver: AtomicUsize,
}

impl Weather {
    /// Switches all faults off.
    pub fn calm(&self) {
        for each in [&self.stripe, &self.mail, &self.death, &self.waits, &self.receiver] {
            each.store(0, Ordering::SeqCst);
        }
    }
}

/// A mail as it reached its recipient.
#[derive(Clone)]
pub struct Arrived {
    pub at: i64,
    pub to: String,
    /// The attached license.
    pub license: Option<String>,
}

impl Arrived {
    /// Returns the address of the recipient, without the name.
    pub fn address(&self) -> &str {
        let (_, address) = self.to.rsplit_once('<').unwrap_or(("", &self.to));
        address.trim_end_matches('>')
    }
}

/// A change of a subscription's items by a call of a server, as Stripe has it after the call.
#[derive(Debug)]
pub struct Made {
    pub subscription: String,
    /// The time from which the rest of the period is billed, if it is.
    pub billed_from: Option<i64>,
    /// The invoice that the change made, if it made one.
    pub invoice: Option<Bill>,
    /// Whether the change waits for the payment of that invoice.
    pub is_waiting: bool,
    /// Whether something else changed what it costs between the service's last look at the cost and
    /// the change. No service can prevent that.
    pub is_raced: bool,
}

/// An invoice that a change made.
#[derive(Debug)]
pub struct Bill {
    pub id: String,
    pub due: i64,
    pub total: i64,
}

/// All surroundings. Clones share them.
#[derive(Clone)]
pub struct World {
    pub dice: Dice,
    pub gate: Gate,
    pub timers: Timers,
    pub stripe: Arc<Double>,
    pub weather: Arc<Weather>,
    /// The mails that the mail server accepted, by Message-ID.
    pub mails: Arc<Mutex<BTreeMap<String, Arrived>>>,
    /// The mails with everything that their readers see; kept only with steps with accounts.
    letters: Option<Arc<Mutex<Vec<Letter>>>>,
    /// The ids and payloads that the receiver of webhooks processed, in order, with repeats.
    pub received: Arc<Mutex<Vec<(String, String)>>>,
    /// When each mail was written last, in epoch seconds.
    pub written: Arc<Mutex<BTreeMap<String, i64>>>,
    /// The number of beginnings and ends so far.
    ticks: Arc<AtomicU64>,
    /// The ids of mails that the mail server refused permanently.
    pub refused_mails: Arc<Mutex<BTreeSet<String>>>,
    /// The fail points where servers died, and how often.
    pub deaths: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    /// The idempotency keys of the calls that Stripe refused.
    refused: Arc<Mutex<BTreeSet<String>>>,
    /// The changes of subscriptions since the last `take_made`.
    made: Arc<Mutex<Vec<Made>>>,
    /// Everything that decided what a change of a subscription costs when a server last asked.
    quotes: Arc<Mutex<BTreeMap<String, [Value; 2]>>>,
    /// The notes since the last `notes`.
    diary: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// Returns new surroundings, and the secret of their webhook endpoint.
    pub fn new(
        dice: Dice,
        behavior: Behavior,
        all_kinds: bool,
        has_accounts: bool,
        sells: bool,
    ) -> (Self, String) {
        let options = Options {
            seed: dice.seed(),
            start: StartTime::At(START),
            behavior,
            ..Options::default()
        };
        let stripe = Double::new(options, "https://stripe.example".to_owned());
        if sells {
            selling::add_prices(&stripe);
        }
        for (id, amount, interval) in PRICES.into_iter().filter(|_| !sells) {
            let product = id.split('_').nth(1).unwrap_or_default();
            stripe.add_price(&NewPrice { id, product, amount, currency: "usd", interval });
        }
        // More deliveries would change the later draws of a saved seed.
        let events: Vec<&str> = EVENT_TYPES
            .iter()
            .copied()
            .filter(|kind| all_kinds || !OF_ALL_KINDS.contains(kind))
            .collect();
        let (_, secret) = stripe.add_webhook_endpoint("https://licentia.example/", &events);
        let world = Self {
            dice,
            gate: Gate::default(),
            timers: Timers::default(),
            stripe: Arc::new(stripe),
            weather: Arc::default(),
            mails: Arc::default(),
            letters: has_accounts.then(Arc::default),
            received: Arc::default(),
            written: Arc::default(),
            ticks: Arc::default(),
            refused_mails: Arc::default(),
            deaths: Arc::default(),
            refused: Arc::default(),
            made: Arc::default(),
            quotes: Arc::default(),
            diary: Arc::default(),
        };
        (world, secret)
    }

    /// Returns the time, in epoch seconds.
    pub fn now(&self) -> i64 {
        self.stripe.clock().now()
    }

    /// Adds a note to the trace, from where a server works.
    pub fn note(&self, what: impl Into<String>) {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    /// Removes and returns the notes.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.diary.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the next number of the sequence of beginnings and ends.
    pub fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether there are steps with accounts.
    pub fn has_accounts(&self) -> bool {
        self.letters.is_some()
    }

    /// Records that a mail is written now.
    pub fn writes(&self, id: &MailId) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(id.to_string(), self.now());
    }

    /// Returns the mails that arrived, in order.
    pub fn letters(&self) -> Vec<Letter> {
        let letters = self.letters.as_ref();
        let letters = letters.map(|all| all.lock().unwrap_or_else(PoisonError::into_inner).clone());
        letters.unwrap_or_default()
    }

    pub async fn may_wait(&self, server: usize) {
        if self.dice.happens(self.weather.waits.load(Ordering::SeqCst)) {
            self.gate.pass(server).await;
        }
    }

    /// Returns a server's connection to Stripe.
    pub fn line(&self, server: usize) -> stripe::Double {
        let world = self.clone();
        Box::new(move |call| {
            let world = world.clone();
            async move {
                world.may_wait(server).await;
                world.note(format!("    {server} calls {} {}", call.method, call.path));
                world.may_fail(&call);
                let call = Call {
                    method: call.method.to_owned(),
                    path: call.path,
                    form: call.form.into_bytes(),
                    key: Some(SECRET_KEY.to_owned()),
                    idempotency_key: call.idempotency_key,
                };
                let late = world.timers.sleep(server, CALL_TIMEOUT);
                let called = world.call(&call);
                let answer = match select(pin!(called), late).await {
                    Either::Left((answer, _)) => answer,
                    Either::Right(((), _)) => None,
                };
                world.may_wait(server).await;
                answer
            }
            .boxed()
        })
    }

    /// Makes a call at once, and records what it changes. The response may come later.
    fn call(&self, call: &Call) -> impl Future<Output = Option<(u16, Value)>> + Send + use<> {
        let form = String::from_utf8_lossy(&call.form);
        let of_form = |name: &str| form.split('&').find_map(|field| field.strip_prefix(name));
        let id = call.path.strip_prefix("/v1/subscriptions/").filter(|_| call.method == "POST");
        // The end of a trial is none of the customer's changes.
        let is_change = of_form("proration_behavior=").is_some() && of_form("trial_end=").is_none();
        let id = id.filter(|_| is_change);
        let before = id.map(|id| self.price_factors(id));
        let called = self.stripe.call(call);
        if let (Some(id), Some(before)) = (id, before) {
            let billed_from = of_form("proration_date=").and_then(|text| text.parse().ok());
            self.record_change(id, billed_from, &before);
        } else if call.path == "/v1/invoices/create_preview"
            && let Some(id) = of_form("subscription=")
        {
            let factors = self.price_factors(id);
            self.quotes().insert(id.to_owned(), factors);
        }
        called
    }

    /// Returns everything that decides what a change of a subscription costs: it, and its customer
    /// with the balance.
    fn price_factors(&self, subscription: &str) -> [Value; 2] {
        let found = self.stripe.object(subscription);
        let customer = self.stripe.object(found["customer"].as_str().unwrap_or_default());
        [found, customer]
    }

    /// Records how a call changed a subscription, if it did.
    fn record_change(&self, id: &str, billed_from: Option<i64>, before: &[Value; 2]) {
        let after = self.stripe.object(id);
        let is_new = |field: &str| after[field] != before[0][field];
        if !["items", "pending_update", "latest_invoice"].into_iter().any(is_new) {
            return;
        }
        let bill = |invoice: &str| {
            let number = |found: &Value, field: &str| found[field].as_i64().unwrap_or_default();
            let (due, total) = self
                .stripe
                .look(invoice, |found| (number(found, "amount_due"), number(found, "total")));
            Bill { id: invoice.to_owned(), due, total }
        };
        let invoice = after["latest_invoice"].as_str().filter(|_| is_new("latest_invoice"));
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(Made {
            subscription: id.to_owned(),
            billed_from,
            invoice: invoice.map(bill),
            is_waiting: !after["pending_update"].is_null(),
            is_raced: self.quotes().get(id).is_some_and(|quoted| quoted != before),
        });
    }

    fn quotes(&self) -> MutexGuard<'_, BTreeMap<String, [Value; 2]>> {
        self.quotes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was asked about the cost of a change of a subscription.
    pub fn forget_quote(&self, subscription: &str) {
        self.quotes().remove(subscription);
    }

    /// Removes and returns the changes of subscriptions.
    pub fn take_made(&self) -> Vec<Made> {
        std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn may_fail(&self, call: &stripe::Call) {
        const FAULTS: [ApiFault; 8] = [
            ApiFault::AnswerLost,
            ApiFault::RateLimited,
            ApiFault::ErrorBefore,
            ApiFault::ErrorAfter,
            ApiFault::ErrorPage,
            ApiFault::Silence,
            ApiFault::SlowBytes,
            // Stripe may refuse a customer's name or address. It refuses none of our other calls.
            ApiFault::Refused,
        ];
        let refusable = (call.method, &*call.path) == ("POST", "/v1/customers");
        let possible = if refusable { &FAULTS[..] } else { &FAULTS[..7] };
        let fails = self.dice.happens(self.weather.stripe.load(Ordering::SeqCst));
        let mut fault = if fails { self.dice.pick(possible).copied() } else { None };
        if let Some(key) = call.idempotency_key.clone().filter(|_| refusable) {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            // It refuses the same call every time, whatever else is on its way.
            if refused.contains(&key) {
                fault = Some(ApiFault::Refused);
            } else if fault == Some(ApiFault::Refused) {
                refused.insert(key);
            }
        }
        if let Some(fault) = fault {
            self.note(format!("      {fault:?}"));
            self.stripe.faults().api(fault, Times::Next(1));
        }
    }

    /// Returns a server's connection to the mail server.
    pub fn post(&self, server: usize) -> mailer::Double {
        let world = self.clone();
        Box::new(move |mail| {
            let world = world.clone();
            async move {
                world.may_wait(server).await;
                let fails = world.dice.happens(world.weather.mail.load(Ordering::SeqCst));
                match if fails { world.dice.below(4) } else { usize::MAX } {
                    0 => return Err(NotSent::temporary("RCPT 451")),
                    1 => {
                        let mut refused =
                            world.refused_mails.lock().unwrap_or_else(PoisonError::into_inner);
                        refused.insert(message_id(&mail));
                        return Err(NotSent::refused("RCPT 550"));
                    }
                    2 => {
                        world.take(&mail);
                        return Err(NotSent::temporary("DATA: no valid SMTP response"));
                    }
                    3 => {
                        world.take(&mail);
                        world.timers.sleep(server, SEND_TIMEOUT).await;
                        return Err(NotSent::temporary("no response"));
                    }
                    _ => world.take(&mail),
                }
                world.may_wait(server).await;
                Ok(())
            }
            .boxed()
        })
    }

    /// Returns a server's connection to the receiver of webhooks.
    pub fn receiver(&self, server: usize) -> outgoing::Double {
        let world = self.clone();
        Box::new(move |id, payload| {
            let world = world.clone();
            async move {
                world.may_wait(server).await;
                let fails = world.dice.happens(world.weather.receiver.load(Ordering::SeqCst));
                let fault = if fails { world.dice.below(5) } else { usize::MAX };
                let reply = |status, wait: Option<&str>| {
                    Ok(Reply { status, retry_after: wait.map(str::to_owned) })
                };
                match fault {
                    0 => return Err(NoReply::NoConnection),
                    1 => return reply(503, None),
                    2 => return reply(429, Some("120")),
                    _ => world.process(id.to_string(), payload),
                }
                match fault {
                    3 => return Err(NoReply::Closed),
                    4 => {
                        world.timers.sleep(server, SEND_TIMEOUT).await;
                        return Err(NoReply::Timeout);
                    }
                    _ => world.may_wait(server).await,
                }
                reply(204, None)
            }
            .boxed()
        })
    }

    fn process(&self, id: String, payload: String) {
        self.note(format!("    the receiver gets {payload}"));
        self.received.lock().unwrap_or_else(PoisonError::into_inner).push((id, payload));
    }

    fn take(&self, mail: &[u8]) {
        let id = message_id(mail);
        let mail = Mail::received(0, self.now(), String::new(), Vec::new(), mail.to_vec());
        let license = mail.attachments.first();
        let license = license.map(|file| String::from_utf8_lossy(&file.bytes).trim().to_owned());
        let arrived = Arrived { at: self.now(), to: mail.header("To").to_owned(), license };
        if let Some(letters) = &self.letters {
            let letter = Letter::new(id.clone(), arrived.address().to_owned(), &mail, self.tick());
            letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
        }
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).insert(id, arrived);
    }
}

/// Returns the mail's own id, with which its Message-ID begins.
fn message_id(mail: &[u8]) -> String {
    let mail = Mail::received(0, 0, String::new(), Vec::new(), mail.to_vec());
    let id = mail.header("Message-ID").trim_start_matches('<').split('@').next();
    id.unwrap_or_default().to_owned()
}
