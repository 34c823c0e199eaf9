//! The tasks on the servers: starts them, waits until the servers are idle, and handles the
//! results. Which tasks start is decided in `history` and `mishaps`.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;

use licentia::domain::ids::CustomerId;
use licentia::domain::operator::webhook_delivery::LeasedDelivery;
use licentia::domain::outbox::LeasedMail;
use licentia::domain::sale::change::ChangeRequest;
use licentia::domain::sale::inbox::LeasedEvent;
use licentia::domain::sale::subscription::SubscriptionRow;
use licentia::error::{Error, Result};
use licentia::flows::mail;
use licentia::flows::sale::change::CancelAt;
use licentia::flows::sale::inbox::{self, Subject};
use licentia::flows::sale::preview::Previewed;
use licentia::flows::sale::reconcile;
use licentia_sandbox::Delivery;

use crate::accounts::Done;
use crate::history::History;
use crate::ledger::Action;
use crate::server::Death;

/// The result of a task.
pub enum Outcome {
    SignedUp(usize, Result<(CustomerId, String)>),
    Opened(usize, Result<String>),
    Received(usize, Delivery, bool, Result<()>),
    Events(Result<Vec<(Subject, Vec<LeasedEvent>)>>),
    Mails(Result<Vec<LeasedMail>>),
    Deliveries(Result<Vec<LeasedDelivery>>),
    Compared(Result<reconcile::Report>),
    Deleted(usize, Result<()>),
    Previewed(usize, ChangeRequest, Result<Previewed>),
    Ended(CancelAt, Result<SubscriptionRow>),
    Done(&'static str, Result<()>),
    /// The result of an attempt, by its number.
    Attempted(usize, Result<Done>),
    Panicked,
}

/// A running task.
pub struct Begun {
    server: usize,
    /// The delivery that it receives. It is recorded as failed if the server dies.
    delivery: Option<usize>,
    /// The attempt that it is.
    attempt: Option<usize>,
    /// The preview whose change it is.
    change: Option<usize>,
    /// Whether it hashes a password now, in a thread of its own.
    hashes: Arc<AtomicBool>,
    outcome: Arc<Mutex<Option<Outcome>>>,
}

impl History {
    /// Starts a task on a server.
    pub fn begin(&mut self, server: usize, work: impl Future<Output = Outcome> + Send + 'static) {
        self.begin_noted(server, None, false, work);
    }

    /// Starts a task that hashes a password.
    pub fn begin_hashing(
        &mut self,
        server: usize,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) {
        self.begin_noted(server, None, true, work);
    }

    pub fn begin_noted(
        &mut self,
        server: usize,
        delivery: Option<usize>,
        hashes: bool,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let hashes = Arc::new(AtomicBool::new(hashes));
        let (attempt, change, outcome) = (None, None, Arc::default());
        self.begin_any(Begun { server, delivery, attempt, change, hashes, outcome }, work);
    }

    /// Starts the change of a preview.
    pub fn begin_change(
        &mut self,
        server: usize,
        preview: usize,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let (delivery, attempt, change) = (None, None, Some(preview));
        let (hashes, outcome) = (Arc::default(), Arc::default());
        self.begin_any(Begun { server, delivery, attempt, change, hashes, outcome }, work);
    }

    /// Returns the previews whose changes are running.
    pub fn running_changes(&self) -> impl Iterator<Item = usize> {
        self.begun.iter().filter_map(|begun| begun.change)
    }

    /// Starts an attempt with an account. It says itself when it hashes a password.
    pub fn spawn_attempt(
        &mut self,
        server: usize,
        attempt: usize,
        hashes: Arc<AtomicBool>,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let (attempt, outcome) = (Some(attempt), Arc::default());
        let (delivery, change) = (None, None);
        self.begin_any(Begun { server, delivery, attempt, change, hashes, outcome }, work);
    }

    fn begin_any(&mut self, begun: Begun, work: impl Future<Output = Outcome> + Send + 'static) {
        let slot = Arc::clone(&begun.outcome);
        // Flows are large and moved several times before they run, so they are boxed here.
        let work = Box::pin(work);
        self.servers[begun.server].app.tasks.spawn(async move {
            let came = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(came) => came,
                Err(death) if death.is::<Death>() => return,
                Err(_) => Outcome::Panicked,
            };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(came);
        });
        self.begun.push(begun);
    }

    /// Returns a server that could work now.
    pub fn any_server(&self) -> Option<usize> {
        let able =
            |number: &usize| Some(*number) != self.frozen && !self.servers[*number].is_dead();
        let able: Vec<usize> = (0..self.servers.len()).filter(able).collect();
        self.world.dice.pick(&able).copied()
    }

    /// Waits until the servers are idle, and handles the results.
    pub async fn quiet(&mut self) {
        loop {
            self.nothing_runs().await;
            for note in self.world.notes() {
                self.tell(|| note);
            }
            self.compare_changes();
            if !self.hear() {
                return;
            }
        }
    }

    pub async fn nothing_runs(&mut self) {
        while self.ground.idle.reached().await {
            if !self.hashes() {
                return;
            }
            // Hashing runs in another thread.
            std::thread::yield_now();
        }
        self.violation("a transaction waits for something else than the database".into());
    }

    pub fn hashes(&self) -> bool {
        self.begun.iter().any(|begun| {
            let ended = || begun.outcome.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            begun.hashes.load(Ordering::SeqCst) && !self.servers[begun.server].is_dead() && !ended()
        })
    }

    /// Handles results. Returns whether that started new tasks.
    pub fn hear(&mut self) -> bool {
        let (mut came, mut lost, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        let mut dead = Vec::new();
        for begun in std::mem::take(&mut self.begun) {
            let outcome = begun.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
            match outcome {
                Some(outcome) => came.push((begun.server, outcome)),
                None if self.servers[begun.server].is_dead() => {
                    lost.extend(begun.delivery);
                    dead.extend(begun.attempt);
                }
                None => waiting.push(begun),
            }
        }
        self.begun = waiting;
        for delivery in lost {
            self.world.stripe.note_delivery(delivery, Err("the connection was closed".into()));
        }
        dead.into_iter().for_each(|attempt| self.lost_attempt(attempt));
        let mut more = false;
        for (server, outcome) in came {
            more |= self.hear_one(server, outcome);
        }
        more
    }

    pub fn hear_one(&mut self, server: usize, outcome: Outcome) -> bool {
        match outcome {
            Outcome::SignedUp(person, Ok((id, token))) => {
                self.tell(|| format!("  {person} is {id}"));
                self.people[person].signed_up(id, token);
            }
            Outcome::Opened(person, Ok(url)) => {
                self.tell(|| format!("  {person} got {url}"));
                self.people[person].got(&url);
            }
            Outcome::Deleted(person, Ok(())) => self.people[person].deleted = true,
            Outcome::Received(number, delivery, noted, received) => {
                let status = match &received {
                    Ok(()) => 200,
                    Err(Error::Busy) => 503,
                    Err(_) => 400,
                };
                if received.is_ok() {
                    self.acknowledged.insert(delivery.event.clone());
                }
                if noted {
                    self.world.stripe.note_delivery(number, Ok(status));
                }
                self.must_be_usual("webhook", received);
            }
            Outcome::Events(Ok(taken)) => return self.work_on(server, taken),
            Outcome::Mails(Ok(taken)) => return self.send(server, taken),
            Outcome::Deliveries(Ok(taken)) => return self.deliver_taken(server, taken),
            Outcome::Compared(Ok(report)) => {
                self.tell(|| format!("  compared: {report:?}"));
                self.report = Some(report);
            }
            Outcome::Previewed(who, wanted, Ok(seen)) => {
                return self.saw(server, who, wanted, seen);
            }
            Outcome::Ended(at, ended) => {
                self.ended(at, ended.map(|row| row.stripe_subscription_id.to_string()));
            }
            Outcome::Panicked => self.violation("G: a panic, told on standard error".to_owned()),
            Outcome::Attempted(number, result) => self.record_result(number, result),
            Outcome::Done(what, done) => self.must_be_usual(what, done),
            Outcome::SignedUp(_, Err(error)) => self.must_be_usual("signup", Err(error)),
            Outcome::Opened(_, Err(error)) => self.must_be_usual("checkout", Err(error)),
            Outcome::Previewed(_, _, Err(error)) => self.must_be_usual("preview", Err(error)),
            Outcome::Deleted(_, Err(error)) => self.must_be_usual("delete", Err(error)),
            Outcome::Events(Err(error)) => self.must_be_usual("take events", Err(error)),
            Outcome::Mails(Err(error)) => self.must_be_usual("take mails", Err(error)),
            Outcome::Deliveries(Err(error)) => self.must_be_usual("take webhooks", Err(error)),
            Outcome::Compared(Err(error)) => self.must_be_usual("compare", Err(error)),
        }
        false
    }

    /// Checks that a failure is an expected one, with its reason (G).
    pub fn must_be_usual(&mut self, what: &str, done: Result<()>) {
        let Err(error) = done else { return };
        self.tell(|| format!("  {what}: {error}"));
        let usual = matches!(
            error,
            Error::Busy
                | Error::Stripe(_)
                | Error::AlreadySubscribed
                | Error::PaymentUnderWay
                | Error::NotFound(_)
                | Error::Unauthenticated
                | Error::EmailTaken
                | Error::LicenseExpired
                | Error::Revoked
                | Error::InvalidLicense(_)
        );
        let is_not_sold = matches!(
            error,
            Error::InvalidQuantity(_)
                | Error::UpdatesQuantity { .. }
                | Error::UnknownAddon(_)
                | Error::CurrencyNotSold { .. }
                | Error::CurrencyPinned { .. }
                | Error::OwnsMore(_)
                | Error::UpdatesEnded { .. }
                | Error::NoPerpetualLicense { .. }
                | Error::LeftBySubscription { .. }
                | Error::AddonBesideGrant { .. }
        );
        // The portal needs a reset after an undone change of the address.
        let is_undone = what == "portal"
            && matches!(error, Error::ResetRequired)
            && self.ledger.attempts.iter().any(|one| one.action == Action::Undo);
        let is_of_a_change = matches!(
            error,
            Error::NoSubscription
                | Error::ChangeNotPossible(_)
                | Error::PreviewOutdated
                | Error::PaymentFailed { .. }
                | Error::PaymentActionRequired { .. }
        );
        let is_of_a_code =
            matches!(error, Error::InvalidPromotionCode(_) | Error::TooManyRequests { .. });
        let changes = ["preview", "change", "cancel", "resume"].contains(&what);
        let is_expected = usual
            || is_undone
            || (self.sells && is_not_sold)
            || (changes && is_of_a_change)
            || (self.changes && is_of_a_code);
        if !is_expected {
            self.violation(format!("G: {what} failed with {error:?}"));
        }
    }

    pub fn work_on(&mut self, server: usize, taken: Vec<(Subject, Vec<LeasedEvent>)>) -> bool {
        let any = !taken.is_empty();
        for (whose, events) in taken {
            let (app, gate) = (self.servers[server].app.clone(), self.world.gate.clone());
            self.tell(|| format!("  work on {} events of {whose}", events.len()));
            self.begin(server, async move {
                gate.pass(server).await;
                Outcome::Done("work", inbox::work(&app, &whose, &events).await)
            });
        }
        any
    }

    pub fn send(&mut self, server: usize, taken: Vec<LeasedMail>) -> bool {
        let any = !taken.is_empty();
        for due in taken {
            let (app, gate) = (self.servers[server].app.clone(), self.world.gate.clone());
            self.tell(|| format!("  send {} ({})", due.mail_id, due.kind));
            self.ledger.leased.insert(due.mail_id.to_string(), due.clone());
            let world = self.world.clone();
            self.begin(server, async move {
                gate.pass(server).await;
                world.writes(&due.mail_id);
                Outcome::Done("mail", mail::send(&app, &due).await)
            });
        }
        any
    }
}
