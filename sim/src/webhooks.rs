//! Outgoing webhooks and reminders: the steps, and the checks (K, L). The vendor's receiver gets
//! every event. It fails, is slow, and loses responses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use licentia::domain::ids::CustomerId;
use licentia::domain::license::Source;
use licentia::domain::operator::audit::{Actor, AuditAction};
use licentia::domain::operator::webhook::EventFilter;
use licentia::domain::operator::webhook_delivery::LeasedDelivery;
use licentia::domain::operator::webhook_event::Event;
use licentia::domain::time::Timestamp;
use licentia::error::Result;
use licentia::flows::mail::reminders;
use licentia::flows::operator::outgoing;
use licentia::flows::operator::webhooks::{self, NewWebhook};
use licentia::store::Store;
use serde_json::Value;

use crate::checks::WRONG_CLOCK;
use crate::database;
use crate::history::History;
use crate::work::Outcome;

/// The most deliveries that a worker takes at once.
const TAKEN: usize = 8;

const DAY: i64 = 86_400;

/// How long before its end a trial counts as ending soon, and how long after its end it is
/// reported, with room for wrong clocks.
const SOON: i64 = 3 * DAY - 2 * WRONG_CLOCK;
const REPORTED_FOR: i64 = 2 * DAY - 2 * WRONG_CLOCK;

/// The payloads of each customer, in order.
type Payloads = BTreeMap<String, Vec<String>>;

impl History {
    /// Registers the vendor's receiver, before the first fault.
    pub async fn add_webhook(&mut self) -> Result<()> {
        let death = self.world.weather.death.swap(0, Ordering::SeqCst);
        let url = "https://receiver.example/events".to_owned();
        let new = NewWebhook { url, events: EventFilter::All, is_enabled: true };
        let made = webhooks::create(&self.servers[0].app, new, Actor::Operator).await;
        self.world.weather.death.store(death, Ordering::SeqCst);
        made.map(drop)
    }

    pub fn deliver_webhooks(&mut self) {
        let Some(server) = self.any_server() else { return };
        self.tell(|| format!("{server} takes webhooks"));
        let app = self.servers[server].app.clone();
        self.begin(
            server,
            async move { Outcome::Deliveries(outgoing::take_due(&app, TAKEN).await) },
        );
    }

    /// Delivers what was leased. Returns whether there was anything.
    pub fn deliver_taken(&mut self, server: usize, taken: Vec<LeasedDelivery>) -> bool {
        let any = !taken.is_empty();
        for due in taken {
            let (app, gate) = (self.servers[server].app.clone(), self.world.gate.clone());
            self.tell(|| format!("  deliver {} ({})", due.delivery_id, due.message_id));
            self.begin(server, async move {
                gate.pass(server).await;
                Outcome::Done("webhook", outgoing::deliver(&app, &due).await)
            });
        }
        any
    }

    /// Remembers what was given up, before it is deleted.
    pub async fn note_given_up(&mut self) -> Result<()> {
        let payloads = database::given_up_payloads(&self.ground.store).await?;
        self.ledger.given_up.extend(payloads);
        Ok(())
    }

    /// Lets time pass until soon before or soon after the end of a trial.
    pub async fn pass_a_trial(&mut self) -> Result<()> {
        let who = self.world.dice.below(self.people.len().max(1));
        let person = self.people.get(who);
        let Some(id) = person.and_then(|one| one.customer_id.clone()) else { return Ok(()) };
        let license = self.ground.store.read().await?.current_license(&id).await?;
        let license = license.filter(|one| one.source == Source::Trial);
        let Some(end) = license.and_then(|one| one.term().ends()) else { return Ok(()) };
        let later = self.world.dice.below(4 * 86_400) as i64 - 2 * DAY;
        let wait = (end.epoch_seconds() + later - self.world.now()).max(0);
        // No server pauses for that long in the middle of a call.
        self.frozen = None;
        self.tell(|| format!("{wait} seconds pass, to the end of a trial"));
        self.pass(Duration::from_secs(wait.unsigned_abs())).await;
        self.quiet().await;
        Ok(())
    }

    /// Adds the reminders that are due, as a server does every hour.
    pub fn remind(&mut self) {
        let Some(server) = self.any_server() else { return };
        self.tell(|| format!("{server} adds reminders"));
        let app = self.servers[server].app.clone();
        self.begin(server, async move {
            Outcome::Done("remind", reminders::queue(&app).await.map(drop))
        });
    }
}

/// Checks webhooks and reminders.
pub async fn all(history: &mut History) -> Result<()> {
    if history.has_accounts {
        events(history).await?;
        reminded(history).await?;
    }
    Ok(())
}

/// Checks that the receiver got each event, under one id, and those of a customer in their order.
async fn events(history: &mut History) -> Result<()> {
    history.note_given_up().await?;
    let mut expected = expected(history).await?;
    let mut received = received(history);
    let is_ordered = matches!(history.ground.store, Store::Sqlite { .. });
    let customers: BTreeSet<String> = expected.keys().chain(received.keys()).cloned().collect();
    for customer in customers {
        let mut expected = expected.remove(&customer).unwrap_or_default();
        let mut received = received.remove(&customer).unwrap_or_default();
        for events in [&mut expected, &mut received] {
            // A delivery that was given up may have arrived or not.
            events.retain(|payload| !history.ledger.given_up.contains(payload));
            if !is_ordered {
                events.sort();
            }
        }
        if expected != received {
            let differs = expected.iter().zip(&received).find(|(a, b)| a != b);
            let (wanted, got) = (expected.len(), received.len());
            let what = format!("{customer} has {wanted} events, {got} arrived; {differs:?}");
            history.violation(format!("K: {what}"));
        }
    }
    Ok(())
}

/// Returns the events that follow from the audit log.
async fn expected(history: &History) -> Result<Payloads> {
    let mut expected = Payloads::new();
    for entry in database::audit(&history.ground.store).await? {
        let customer = entry.customer_id.and_then(|id| id.parse::<CustomerId>().ok());
        let (Some(id), Ok(action)) = (customer, entry.action.parse::<AuditAction>()) else {
            continue;
        };
        let detail: Value = serde_json::from_str(&entry.detail).unwrap_or_default();
        if let Some(event) = Event::of(action, &id, &detail) {
            let payload = event.payload(Timestamp::saturating(entry.at));
            expected.entry(id.to_string()).or_default().push(payload);
        }
    }
    Ok(expected)
}

/// Returns the events that the receiver got, each once, and checks that repeats are the same.
fn received(history: &mut History) -> Payloads {
    let got = history.world.received.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut known = BTreeMap::new();
    let mut received = Payloads::new();
    for (id, payload) in got {
        match known.insert(id.clone(), payload.clone()) {
            None => {
                let value: Value = serde_json::from_str(&payload).unwrap_or_default();
                let customer = value["data"]["customer_id"].as_str().unwrap_or_default();
                received.entry(customer.to_owned()).or_default().push(payload);
            }
            Some(before) if before == payload => {}
            Some(before) => history.violation(format!("K: {id} was {before}, and is {payload}")),
        }
    }
    received
}

/// Checks that each reminder is sent once, and none is missing.
async fn reminded(history: &mut History) -> Result<()> {
    let mut mailed = BTreeSet::new();
    for reminder in database::reminders(&history.ground.store).await? {
        if !mailed.insert(reminder.clone()) {
            history.violation(format!("L: mailed twice: {reminder:?}"));
        }
    }
    let now = history.world.now();
    for who in 0..history.people.len() {
        let Some(id) = history.people[who].customer_id.clone() else { continue };
        let license = history.ground.store.read().await?.current_license(&id).await?;
        let license = license.filter(|one| one.source == Source::Trial && one.revoked_at.is_none());
        let Some(end) = license.and_then(|one| one.term().ends()) else { continue };
        let end = end.epoch_seconds();
        let kind = match now - end {
            since if (-SOON..-WRONG_CLOCK).contains(&since) => "trial_ending",
            since if (WRONG_CLOCK..REPORTED_FOR).contains(&since) => "trial_ended",
            _ => continue,
        };
        if !mailed.contains(&(kind.to_owned(), id.to_string(), end)) {
            history.violation(format!("L: {who}'s trial until {end} has no {kind} at {now}"));
        }
    }
    Ok(())
}
