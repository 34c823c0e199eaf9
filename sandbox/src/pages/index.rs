//! The overview: clock, customers, open checkouts, deliveries, events, faults. Each customer has a
//! page of their own, in `customer`.

use std::time::Duration;

use askama::Template;

use super::page::{Form, Page, field, html};
use crate::clock::readable;
use crate::deliveries::{Delivery, DeliveryState};
use crate::faults::{ApiFault, DeliveryFault, MailFault, Times};
use crate::objects::{Kind, integer, text};
use crate::shared::Shared;
use crate::world::World;

/// The most rows of a table.
const MAX_ROWS: usize = 50;

const DAY: Duration = Duration::from_secs(86_400);

/// The longest single move of the clock: ten years.
const MAX_DAYS: u32 = 3_650;

#[derive(Clone, Copy)]
enum Fault {
    Api(ApiFault),
    Delivery(DeliveryFault),
    Mail(MailFault),
}

/// The faults that the page offers: the form's value, the label, the fault.
const FAULTS: [(&str, &str, Fault); 15] = [
    ("answer-lost", "API: response lost after the write", Fault::Api(ApiFault::AnswerLost)),
    ("rate-limited", "API: 429", Fault::Api(ApiFault::RateLimited)),
    ("refused", "API: 400", Fault::Api(ApiFault::Refused)),
    ("forbidden", "API: 403", Fault::Api(ApiFault::Forbidden)),
    ("error-before", "API: 500 before the write", Fault::Api(ApiFault::ErrorBefore)),
    ("error-after", "API: 500 after the write", Fault::Api(ApiFault::ErrorAfter)),
    ("error-page", "API: an error page after the write", Fault::Api(ApiFault::ErrorPage)),
    ("silence", "API: no response", Fault::Api(ApiFault::Silence)),
    ("slow-bytes", "API: one byte a second", Fault::Api(ApiFault::SlowBytes)),
    ("drop", "Webhooks: dropped", Fault::Delivery(DeliveryFault::Drop)),
    ("repeat", "Webhooks: sent three times", Fault::Delivery(DeliveryFault::Repeat(3))),
    ("mail-later", "Mail: refused temporarily", Fault::Mail(MailFault::RefuseForNow)),
    ("mail-never", "Mail: refused permanently", Fault::Mail(MailFault::RefuseForGood)),
    ("mail-hangs", "Mail: stored, then no response", Fault::Mail(MailFault::HangAfterData)),
    ("mail-drop", "Mail: connection closed", Fault::Mail(MailFault::Drop)),
];

#[derive(Template)]
#[template(path = "index.html")]
struct IndexPage<'a> {
    now: String,
    customers: Vec<CustomerRow<'a>>,
    sessions: Vec<&'a str>,
    deliveries: Vec<DeliveryRow<'a>>,
    events: Vec<EventRow<'a>>,
    faults: Vec<String>,
    known_faults: Vec<(&'static str, &'static str)>,
}

struct CustomerRow<'a> {
    id: &'a str,
    email: &'a str,
}

struct EventRow<'a> {
    id: &'a str,
    event_type: &'a str,
    date: String,
}

struct DeliveryRow<'a> {
    event: &'a str,
    endpoint: &'a str,
    state: String,
    attempts: usize,
    last: &'a str,
}

/// Returns the overview.
pub fn show(world: &World) -> Page {
    let newest = |kind| world.newest_first(kind, None);
    let customers = newest(Kind::Customer).take(MAX_ROWS);
    let sessions = newest(Kind::CheckoutSession).filter(|session| session["status"] == "open");
    let events = newest(Kind::Event).take(MAX_ROWS);
    html(&IndexPage {
        now: readable(world.now),
        customers: customers
            .map(|customer| CustomerRow {
                id: text(customer, "id"),
                email: text(customer, "email"),
            })
            .collect(),
        sessions: sessions.take(MAX_ROWS).map(|session| text(session, "id")).collect(),
        deliveries: world.deliveries.all().iter().rev().take(MAX_ROWS).map(delivery_row).collect(),
        events: events
            .map(|event| EventRow {
                id: text(event, "id"),
                event_type: text(event, "type"),
                date: readable(integer(event, "created")),
            })
            .collect(),
        faults: world.faults.describe(),
        known_faults: FAULTS.map(|(name, description, _)| (name, description)).to_vec(),
    })
}

fn delivery_row(delivery: &Delivery) -> DeliveryRow<'_> {
    DeliveryRow {
        event: &delivery.event,
        endpoint: &delivery.endpoint,
        state: match delivery.state {
            DeliveryState::Pending { due } => format!("due {}", readable(due)),
            DeliveryState::Sending => "sending".to_owned(),
            DeliveryState::Delivered => "delivered".to_owned(),
            DeliveryState::Failed => "failed".to_owned(),
        },
        attempts: delivery.attempts,
        last: &delivery.last,
    }
}

fn to_overview() -> Page {
    Page::Redirect("/".to_owned())
}

/// Advances the clock by the days of the form.
pub fn move_clock(shared: &Shared, form: &Form) -> Page {
    if let Ok(days) = field(form, "days").parse::<u32>() {
        shared.advance(DAY * days.min(MAX_DAYS));
    }
    to_overview()
}

/// Retries, holds or releases the deliveries.
pub fn deliveries(world: &mut World, form: &Form) -> Page {
    let mut waiting = world.deliveries.waiting();
    match field(form, "action") {
        "retry" => world.deliveries.retry_all(world.now),
        "hold" => world.deliveries.hold(),
        "release" => world.deliveries.release(&waiting, world.now),
        "release-reversed" => {
            waiting.reverse();
            world.deliveries.release(&waiting, world.now);
        }
        _ => return Page::NotFound,
    }
    to_overview()
}

/// Switches on a fault, or switches off all.
pub fn faults(world: &mut World, rest: &[&str], form: &Form) -> Page {
    if rest == ["clear"] {
        world.faults.clear();
        return to_overview();
    }
    let named = FAULTS.iter().find(|(name, ..)| *name == field(form, "fault"));
    let Some((_, _, fault)) = named else { return Page::NotFound };
    let times = if field(form, "times") == "always" { Times::Always } else { Times::Next(1) };
    match *fault {
        Fault::Api(fault) => world.faults.add_api(fault, "", times),
        Fault::Delivery(fault) => world.faults.add_delivery(fault, times),
        Fault::Mail(fault) => world.faults.add_mail(fault, times),
    }
    to_overview()
}
