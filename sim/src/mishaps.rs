//! Everything besides the actions of people: deliveries and calls arrive or get lost, time passes,
//! and servers work, die, pause and restart.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use licentia::error::Result;
use licentia::fail_point::{FailPoints, Place};
use licentia::flows::Mode;
use licentia::flows::mail;
use licentia::flows::sale::inbox;
use licentia::flows::sale::reconcile;
use licentia::flows::sale::webhook;
use licentia_sandbox::{Card, Delivery};

use crate::history::History;
use crate::selling::LONG_DAYS;
use crate::server::Server;
use crate::timers::millis;
use crate::work::Outcome;

/// The most items that a worker takes at once.
const TAKEN: usize = 8;

/// The longest pause of a server in the middle of a task, in seconds.
const LONGEST_STANDSTILL: usize = 3000;

impl History {
    pub fn change_weather(&mut self) {
        let dice = self.world.dice.clone();
        let weather = Arc::clone(&self.world.weather);
        let pick = |from: &[usize]| *dice.pick(from).unwrap_or(&0);
        let new = [
            (&weather.stripe, pick(&[0, 0, 0, 50, 200, 900])),
            (&weather.mail, pick(&[0, 0, 300, 1000])),
            (&weather.death, pick(&[0, 5, 20])),
            (&weather.waits, pick(&[0, 200, 500])),
        ];
        for (what, often) in new {
            what.store(often, Ordering::SeqCst);
        }
        if self.has_accounts {
            weather.receiver.store(pick(&[0, 0, 300, 900]), Ordering::SeqCst);
        }
        let now: Vec<usize> = new.iter().map(|(_, often)| *often).collect();
        self.tell(|| format!("weather {now:?}"));
    }

    pub fn go_on(&mut self) {
        let waiting = self.world.gate.waiting(self.frozen);
        if let Some(number) = self.world.dice.pick(&waiting).copied() {
            self.tell(|| format!("call {number} goes on"));
            self.world.gate.open(number);
        }
    }

    pub fn take_from_stripe(&mut self) {
        while let Some((number, delivery)) = self.world.stripe.take_delivery() {
            self.air.push((number, delivery));
        }
    }

    /// Lets a delivery arrive: one of those on their way, possibly lost or repeated.
    pub fn deliver(&mut self) {
        let place = self.world.dice.below(self.air.len().max(1));
        if place >= self.air.len() {
            return;
        }
        match self.world.dice.below(20) {
            0 if self.lossy => {
                let (number, delivery) = self.air.swap_remove(place);
                self.tell(|| format!("{} is lost", delivery.event));
                self.world.stripe.drop_delivery(number);
            }
            1 | 2 => {
                let (number, delivery) = self.air[place].clone();
                self.arrive(number, delivery, false);
            }
            _ => {
                let (number, delivery) = self.air.swap_remove(place);
                self.arrive(number, delivery, true);
            }
        }
    }

    /// `noted` says whether Stripe waits for the response.
    pub fn arrive(&mut self, number: usize, delivery: Delivery, noted: bool) {
        let stripe = &self.world.stripe;
        let sent = stripe.webhook(&delivery.event, &delivery.endpoint, self.world.now());
        let (Some(webhook), Some(server)) = (sent, self.any_server()) else {
            if noted {
                self.world.stripe.note_delivery(number, Err("nobody answers".into()));
            }
            return;
        };
        let kind = stripe.look(&delivery.event, |event| event["type"].clone());
        self.tell(|| format!("{} {kind} arrives at {server}", delivery.event));
        let app = self.servers[server].app.clone();
        let pending = noted.then_some(number);
        self.begin_noted(server, pending, false, async move {
            let received = webhook::receive(&app, &webhook.signature, &webhook.body).await;
            Outcome::Received(number, delivery, noted, received)
        });
    }

    pub fn work_on_events(&mut self) {
        let Some(server) = self.any_server() else { return };
        self.tell(|| format!("{server} takes events"));
        let app = self.servers[server].app.clone();
        self.begin(server, async move { Outcome::Events(inbox::take_due(&app, TAKEN).await) });
    }

    pub fn send_mails(&mut self) {
        let Some(server) = self.any_server() else { return };
        self.tell(|| format!("{server} takes mails"));
        let app = self.servers[server].app.clone();
        self.begin(server, async move { Outcome::Mails(mail::take_due(&app, TAKEN).await) });
    }

    pub fn compare(&mut self) {
        let Some(server) = self.any_server() else { return };
        self.tell(|| format!("{server} compares everybody"));
        let app = self.servers[server].app.clone();
        self.begin(server, async move {
            Outcome::Compared(reconcile::run(&app, Mode::Apply, 1, |_| {}).await)
        });
    }

    /// Lets time pass: a moment, seconds, hours or weeks.
    pub async fn let_time_pass(&mut self) {
        let dice = self.world.dice.clone();
        if dice.happens(300) {
            self.tell(|| "a moment passes".to_owned());
            self.pass(Duration::from_millis(50)).await;
            return;
        }
        if self.is_long && self.frozen.is_none() && self.begun.is_empty() && dice.happens(100) {
            self.tell(|| format!("{LONG_DAYS} days pass"));
            self.pass(Duration::from_secs(86_400 * LONG_DAYS as u64)).await;
            return;
        }
        let seconds = match dice.below(10) {
            0..=3 => 1 + dice.below(3),
            4 | 5 => 10 + dice.below(60),
            6 => 600 + dice.below(7000),
            7 | 8 => 86_400 + dice.below(3 * 86_400),
            _ => 86_400 * (5 + dice.below(28)),
        };
        if self.frozen.is_some() || (!self.begun.is_empty() && dice.happens(200)) {
            // While calls are running, pauses and clock changes stay below the day for which Stripe
            // keeps an idempotency key.
            let seconds = seconds.min(LONGEST_STANDSTILL);
            self.tell(|| format!("clocks move by {seconds} seconds"));
            self.world.stripe.advance(Duration::from_secs(seconds as u64));
            return;
        }
        self.tell(|| format!("{seconds} seconds pass"));
        self.pass(Duration::from_secs(seconds as u64)).await;
    }

    /// Lets time pass until a subscription's period has ended, or a few days longer. The renewal is
    /// often declined, so the checks see grace periods.
    pub async fn pass_a_renewal(&mut self) {
        let all = self.list("/v1/subscriptions", "");
        let Some(found) = self.world.dice.pick(&all) else { return };
        let Some(end) = found["items"]["data"][0]["current_period_end"].as_i64() else { return };
        if self.world.dice.happens(500)
            && let Some(customer) = found["customer"].as_str()
        {
            let declined = self.world.stripe.replace_card(customer, Card::DeclinedLater);
            self.tell(|| format!("{customer} pays by a card that will be declined: {declined:?}"));
        }
        let later = self.world.dice.below(9 * 86_400) as i64;
        // No server pauses for that long in the middle of a call.
        self.frozen = None;
        let wait = (end + later - self.world.now()).max(0);
        self.tell(|| format!("{wait} seconds pass, to a renewal"));
        self.pass(Duration::from_secs(wait.unsigned_abs())).await;
    }

    /// Lets time pass. Each waiting task wakes at its own time.
    pub async fn pass(&mut self, time: Duration) {
        let until = self.world.timers.now() + millis(time);
        while let Some(due) = self.world.timers.next(self.frozen).filter(|due| due.0 <= until) {
            self.advance(due.0);
            self.world.timers.wake(due);
            self.nothing_runs().await;
        }
        self.advance(until);
    }

    pub fn advance(&mut self, until: u64) {
        let before = self.world.timers.now();
        self.world.timers.advance(until);
        // Clocks have a resolution of seconds.
        let seconds = self.world.timers.now() / 1000 - before / 1000;
        if seconds > 0 {
            self.world.stripe.advance(Duration::from_secs(seconds));
        }
    }

    pub async fn restart(&mut self) -> Result<()> {
        for number in 0..self.servers.len() {
            if !self.servers[number].is_dead() {
                continue;
            }
            self.tell(|| format!("{number} starts again"));
            if self.world.dice.happens(500) || self.servers.len() == 1 {
                let points = FailPoints::default();
                let at = points.at(Place::LeasesEnded);
                self.ground.store.end_leases_of_stopped_servers(at).await?;
            }
            let ahead = self.ahead[number];
            self.servers[number] = Server::start(&self.ground, &self.world, number, ahead)?;
        }
        Ok(())
    }

    pub fn kill(&mut self) {
        let Some(server) = self.any_server() else { return };
        self.tell(|| format!("{server} is killed"));
        self.servers[server].kill();
    }

    pub fn freeze(&mut self) {
        self.frozen = match self.frozen {
            Some(_) => None,
            None if self.servers.len() > 1 => self.any_server(),
            None => None,
        };
        let frozen = self.frozen;
        self.tell(|| format!("frozen is {frozen:?}"));
    }
}
