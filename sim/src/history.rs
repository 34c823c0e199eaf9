//! One history: a few hundred steps that the seed draws, then calm until everything has settled, and what
//! must hold then. Between two steps nothing runs but what waits.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use licentia::domain::ids::CustomerId;
use licentia::error::{Error, Result};
use licentia::flows::settle::Intent;
use licentia::flows::{inbox, mail, reconcile, webhook};
use licentia::store::{LeasedEvent, LeasedMail};
use licentia_sandbox::{AfterRetries, Behavior, CancelField, Delivery};

use crate::dice::Dice;
use crate::people::Person;
use crate::server::{Ground, Server};
use crate::timers::millis;
use crate::world::{START, World};
use crate::{checks, database};

/// How often in a row nothing may be seen to run, until nothing does: more than one thing wakes another.
const CALM: usize = 6;

/// How often that is looked at before it is said that a transaction waits for something else.
const PATIENCE: usize = 5_000_000;

/// The most that a worker takes at once.
const TAKEN: usize = 8;

/// How long it may take until everything is settled, in rounds of a minute: what failed for long is tried
/// again after an hour.
const ROUNDS: usize = 75;

/// How often everybody is compared with Stripe until nobody is left out, in rounds of a minute.
const TRIES: usize = 3;

/// The longest that a server stands still in the middle of something, in seconds.
const LONGEST_STANDSTILL: usize = 3000;

/// What came of something that was begun on a server.
pub enum Outcome {
    SignedUp(usize, Result<(CustomerId, String)>),
    Opened(usize, Result<String>),
    Received(usize, Delivery, bool, Result<()>),
    Events(Result<Vec<(CustomerId, Vec<LeasedEvent>)>>),
    Mails(Result<Vec<LeasedMail>>),
    Compared(Result<reconcile::Report>),
    Deleted(usize, Result<()>),
    Done(&'static str, Result<()>),
}

/// Something that was begun and has not come to its end.
pub struct Begun {
    server: usize,
    /// The delivery that it takes in, to be noted as failed if the server dies.
    delivery: Option<usize>,
    /// Whether it hashes a password, in a thread of its own.
    hashes: bool,
    outcome: Arc<Mutex<Option<Outcome>>>,
}

/// What a history came to.
#[derive(Default)]
pub struct Ending {
    pub steps: usize,
    pub violations: Vec<String>,
    /// The same for the same seed.
    pub digest: u64,
    /// What happened, in words, if it was asked for.
    pub trace: Vec<String>,
    pub deaths: BTreeMap<&'static str, usize>,
}

/// A history under way.
pub struct History {
    pub world: World,
    pub ground: Ground,
    pub servers: Vec<Server>,
    pub people: Vec<Person>,
    /// The server that stands still, if one does.
    pub frozen: Option<usize>,
    /// What was begun.
    begun: Vec<Begun>,
    /// Deliveries that were taken from Stripe and are on their way.
    air: Vec<(usize, Delivery)>,
    /// Events that were answered with 200.
    pub acknowledged: BTreeSet<String>,
    /// Subscriptions that were not collected for a while.
    pub paused: BTreeSet<String>,
    /// What the last comparison with Stripe found.
    report: Option<reconcile::Report>,
    ahead: Vec<i64>,
    pub ending: Ending,
    digest: DefaultHasher,
    told: bool,
}

/// What may happen next.
#[derive(Clone, Copy)]
enum Step {
    GoOn,
    Deliver,
    WorkOnEvents,
    SendMails,
    Act,
    Buy,
    Time,
    Restart,
    Kill,
    Freeze,
    Weather,
    Compare,
}

/// Runs the history of a seed.
pub async fn run(ground: &Ground, seed: u64, told: bool) -> Result<Ending> {
    let mut history = History::new(ground, seed, told)?;
    let steps = 150 + history.world.dice.below(200);
    for _ in 0..steps {
        history.step().await?;
    }
    history.settle().await?;
    // Nothing of it may reach into the next one.
    history.servers.iter().for_each(Server::kill);
    history.nothing_runs().await;
    let world = &history.world;
    history.ending.deaths =
        std::mem::take(&mut *world.deaths.lock().unwrap_or_else(PoisonError::into_inner));
    history.ending.digest = history.digest.finish();
    Ok(history.ending)
}

impl History {
    fn new(ground: &Ground, seed: u64, told: bool) -> Result<Self> {
        let dice = Dice::seeded(seed);
        let after_retries = [AfterRetries::Cancel, AfterRetries::Unpaid, AfterRetries::PastDue];
        let fields = [CancelField::CancelAt, CancelField::PeriodEnd];
        let behavior = Behavior {
            after_retries: *dice.pick(&after_retries).unwrap_or(&AfterRetries::Cancel),
            portal_cancels_by: *dice.pick(&fields).unwrap_or(&CancelField::CancelAt),
        };
        let (world, secret) = World::new(dice.clone(), behavior);
        let mut ground = ground.clone();
        if let Some(stripe) = &mut ground.config.stripe {
            stripe.webhook_secrets = vec![secret.into()];
        }
        let ahead: Vec<i64> = match dice.below(3) {
            0 => vec![0],
            1 => vec![0, 0],
            _ => vec![0, i64::try_from(dice.below(120)).unwrap_or(0) - 60],
        };
        let mut servers = Vec::new();
        for (number, ahead) in ahead.iter().enumerate() {
            servers.push(Server::start(&ground, &world, number, *ahead)?);
        }
        let mut history = Self {
            world,
            ground,
            servers,
            people: Vec::new(),
            frozen: None,
            begun: Vec::new(),
            air: Vec::new(),
            acknowledged: BTreeSet::new(),
            paused: BTreeSet::new(),
            report: None,
            ahead,
            ending: Ending::default(),
            digest: DefaultHasher::new(),
            told,
        };
        history.change_weather();
        Ok(history)
    }

    /// Writes down what happens.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        let what = what();
        what.hash(&mut self.digest);
        if self.told {
            let time = self.world.now() - START;
            let (days, time) = (time / 86_400, time % 86_400);
            let (hours, minutes, seconds) = (time / 3600, time / 60 % 60, time % 60);
            let line = format!("{days:>3}d {hours:02}:{minutes:02}:{seconds:02} {what}");
            self.ending.trace.push(line);
        }
    }

    /// Writes down what must not be.
    pub fn violation(&mut self, what: String) {
        self.tell(|| format!("VIOLATION {what}"));
        self.ending.violations.push(what);
    }

    fn change_weather(&mut self) {
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
        let now: Vec<usize> = new.iter().map(|(_, often)| *often).collect();
        self.tell(|| format!("weather {now:?}"));
    }

    async fn step(&mut self) -> Result<()> {
        self.ending.steps += 1;
        self.take_from_stripe();
        let waiting = self.world.gate.waiting(self.frozen).len();
        let dead = self.servers.iter().filter(|server| server.is_dead()).count();
        let steps = [
            (if waiting > 0 { 30 + 10 * waiting } else { 0 }, Step::GoOn),
            (if self.air.is_empty() { 0 } else { 20 + 2 * self.air.len() }, Step::Deliver),
            (14, Step::WorkOnEvents),
            (7, Step::SendMails),
            (12, Step::Act),
            (14, Step::Buy),
            (8, Step::Time),
            (12 * dead, Step::Restart),
            (1, Step::Kill),
            (1, Step::Freeze),
            (2, Step::Weather),
            (1, Step::Compare),
        ];
        match self.world.dice.weighted(&steps).unwrap_or(Step::Time) {
            Step::GoOn => self.go_on(),
            Step::Deliver => self.deliver(),
            Step::WorkOnEvents => self.work_on_events(),
            Step::SendMails => self.send_mails(),
            Step::Act => self.act().await?,
            Step::Buy => self.buy(),
            Step::Time => self.let_time_pass().await,
            Step::Restart => self.restart().await?,
            Step::Kill => self.kill(),
            Step::Freeze => self.freeze(),
            Step::Weather => self.change_weather(),
            Step::Compare => self.compare(),
        }
        self.quiet().await;
        Ok(())
    }

    /// Begins something on a server.
    pub fn begin(&mut self, server: usize, work: impl Future<Output = Outcome> + Send + 'static) {
        self.begin_noted(server, None, false, work);
    }

    /// Begins something that hashes a password.
    pub fn begin_hashing(
        &mut self,
        server: usize,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) {
        self.begin_noted(server, None, true, work);
    }

    fn begin_noted(
        &mut self,
        server: usize,
        delivery: Option<usize>,
        hashes: bool,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let outcome = Arc::default();
        let slot: Arc<Mutex<Option<Outcome>>> = Arc::clone(&outcome);
        self.servers[server].app.tasks.spawn(async move {
            let came = work.await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(came);
        });
        self.begun.push(Begun { server, delivery, hashes, outcome });
    }

    /// A server that could do something now.
    pub fn any_server(&self) -> Option<usize> {
        let able =
            |number: &usize| Some(*number) != self.frozen && !self.servers[*number].is_dead();
        let able: Vec<usize> = (0..self.servers.len()).filter(able).collect();
        self.world.dice.pick(&able).copied()
    }

    /// Waits until nothing runs, and looks what came of what did.
    pub async fn quiet(&mut self) {
        loop {
            self.nothing_runs().await;
            for note in self.world.notes() {
                self.tell(|| note);
            }
            if !self.hear() {
                return;
            }
        }
    }

    async fn nothing_runs(&mut self) {
        let (mut calm, mut looks) = (0, 0);
        while calm < CALM {
            tokio::task::yield_now().await;
            if database::is_busy(&self.ground.store) || self.hashes() {
                calm = 0;
                // Both are done in other threads.
                std::thread::yield_now();
            } else {
                calm += 1;
            }
            looks += 1;
            if looks == PATIENCE {
                self.violation("a transaction waits for something else than the database".into());
                return;
            }
        }
    }

    fn hashes(&self) -> bool {
        self.begun.iter().any(|begun| {
            let ended = || begun.outcome.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            begun.hashes && !self.servers[begun.server].is_dead() && !ended()
        })
    }

    /// Takes in what came of things; whether that began others.
    fn hear(&mut self) -> bool {
        let (mut came, mut lost, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for begun in std::mem::take(&mut self.begun) {
            let outcome = begun.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
            match outcome {
                Some(outcome) => came.push((begun.server, outcome)),
                None if self.servers[begun.server].is_dead() => lost.extend(begun.delivery),
                None => waiting.push(begun),
            }
        }
        self.begun = waiting;
        for delivery in lost {
            self.world.stripe.note_delivery(delivery, Err("the connection was closed".into()));
        }
        let mut more = false;
        for (server, outcome) in came {
            more |= self.hear_one(server, outcome);
        }
        more
    }

    fn hear_one(&mut self, server: usize, outcome: Outcome) -> bool {
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
            Outcome::Compared(Ok(report)) => {
                self.tell(|| format!("  compared: {report:?}"));
                self.report = Some(report);
            }
            Outcome::Done(what, done) => self.must_be_usual(what, done),
            Outcome::SignedUp(_, Err(error)) => self.must_be_usual("signup", Err(error)),
            Outcome::Opened(_, Err(error)) => self.must_be_usual("checkout", Err(error)),
            Outcome::Deleted(_, Err(error)) => self.must_be_usual("delete", Err(error)),
            Outcome::Events(Err(error)) => self.must_be_usual("take events", Err(error)),
            Outcome::Mails(Err(error)) => self.must_be_usual("take mails", Err(error)),
            Outcome::Compared(Err(error)) => self.must_be_usual("compare", Err(error)),
        }
        false
    }

    /// Whether something failed in a way that it may (G): with a word on what is wrong.
    fn must_be_usual(&mut self, what: &str, done: Result<()>) {
        let Err(error) = done else { return };
        self.tell(|| format!("  {what}: {error}"));
        let usual = matches!(
            error,
            Error::Busy
                | Error::Stripe(_)
                | Error::AlreadySubscribed
                | Error::NotFound(_)
                | Error::Unauthenticated
                | Error::EmailTaken
                | Error::LicenseEnded
                | Error::LicenseRevoked
                | Error::InvalidLicense(_)
        );
        if !usual {
            self.violation(format!("G: {what} failed with {error:?}"));
        }
    }

    fn work_on(&mut self, server: usize, taken: Vec<(CustomerId, Vec<LeasedEvent>)>) -> bool {
        let any = !taken.is_empty();
        for (id, events) in taken {
            let (app, gate) = (self.servers[server].app.clone(), self.world.gate.clone());
            self.tell(|| format!("  work on {} events of {id}", events.len()));
            self.begin(server, async move {
                gate.pass(server).await;
                Outcome::Done("work", inbox::work(&app, &id, &events).await)
            });
        }
        any
    }

    fn send(&mut self, server: usize, taken: Vec<LeasedMail>) -> bool {
        let any = !taken.is_empty();
        for due in taken {
            let (app, gate) = (self.servers[server].app.clone(), self.world.gate.clone());
            self.tell(|| format!("  send {} ({})", due.mail_id, due.kind));
            self.begin(server, async move {
                gate.pass(server).await;
                Outcome::Done("mail", mail::send(&app, &due).await)
            });
        }
        any
    }

    fn go_on(&mut self) {
        let waiting = self.world.gate.waiting(self.frozen);
        if let Some(number) = self.world.dice.pick(&waiting).copied() {
            self.tell(|| format!("call {number} goes on"));
            self.world.gate.open(number);
        }
    }

    fn take_from_stripe(&mut self) {
        while let Some((number, delivery)) = self.world.stripe.take_delivery() {
            self.air.push((number, delivery));
        }
    }

    /// A delivery arrives: any of those on their way, or it is lost, or it arrives and comes again.
    fn deliver(&mut self) {
        let place = self.world.dice.below(self.air.len().max(1));
        if place >= self.air.len() {
            return;
        }
        match self.world.dice.below(20) {
            0 => {
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

    /// `noted` is whether Stripe waits for the answer.
    fn arrive(&mut self, number: usize, delivery: Delivery, noted: bool) {
        let stripe = &self.world.stripe;
        let sent = stripe.webhook(&delivery.event, &delivery.endpoint, self.world.now());
        let (Some(webhook), Some(server)) = (sent, self.any_server()) else {
            if noted {
                self.world.stripe.note_delivery(number, Err("nobody answers".into()));
            }
            return;
        };
        let kind = self.world.stripe.object(&delivery.event)["type"].clone();
        self.tell(|| format!("{} {kind} arrives at {server}", delivery.event));
        let app = self.servers[server].app.clone();
        let pending = noted.then_some(number);
        self.begin_noted(server, pending, false, async move {
            let received = webhook::receive(&app, &webhook.signature, &webhook.body).await;
            Outcome::Received(number, delivery, noted, received)
        });
    }

    fn work_on_events(&mut self) {
        let Some(server) = self.any_server() else { return };
        self.tell(|| format!("{server} takes events"));
        let app = self.servers[server].app.clone();
        self.begin(server, async move { Outcome::Events(inbox::take_due(&app, TAKEN).await) });
    }

    fn send_mails(&mut self) {
        let Some(server) = self.any_server() else { return };
        self.tell(|| format!("{server} takes mails"));
        let app = self.servers[server].app.clone();
        self.begin(server, async move { Outcome::Mails(mail::take_due(&app, TAKEN).await) });
    }

    fn compare(&mut self) {
        let Some(server) = self.any_server() else { return };
        self.tell(|| format!("{server} compares everybody"));
        let app = self.servers[server].app.clone();
        self.begin(server, async move {
            Outcome::Compared(reconcile::everybody(&app, Intent::Repair, 1, |_| {}).await)
        });
    }

    /// A moment, seconds, hours or weeks.
    async fn let_time_pass(&mut self) {
        let dice = self.world.dice.clone();
        if dice.happens(300) {
            self.tell(|| "a moment passes".to_owned());
            self.pass(Duration::from_millis(50)).await;
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
            // Machines stand still, or clocks are set, while calls are under way: for less than the day
            // for which Stripe knows a key.
            let seconds = seconds.min(LONGEST_STANDSTILL);
            self.tell(|| format!("clocks move by {seconds} seconds"));
            self.world.stripe.advance(Duration::from_secs(seconds as u64));
            return;
        }
        self.tell(|| format!("{seconds} seconds pass"));
        self.pass(Duration::from_secs(seconds as u64)).await;
    }

    /// Lets time pass: whoever waits for it is woken, each at their time.
    async fn pass(&mut self, time: Duration) {
        let until = self.world.timers.now() + millis(time);
        while let Some(due) = self.world.timers.next(self.frozen).filter(|due| due.0 <= until) {
            self.advance(due.0);
            self.world.timers.wake(due);
            self.nothing_runs().await;
        }
        self.advance(until);
    }

    fn advance(&mut self, until: u64) {
        let before = self.world.timers.now();
        self.world.timers.advance(until);
        // Clocks tell seconds.
        let seconds = self.world.timers.now() / 1000 - before / 1000;
        if seconds > 0 {
            self.world.stripe.advance(Duration::from_secs(seconds));
        }
    }

    async fn restart(&mut self) -> Result<()> {
        for number in 0..self.servers.len() {
            if !self.servers[number].is_dead() {
                continue;
            }
            self.tell(|| format!("{number} starts again"));
            if self.world.dice.happens(500) || self.servers.len() == 1 {
                self.ground.store.end_leases_of_the_dead().await?;
            }
            let ahead = self.ahead[number];
            self.servers[number] = Server::start(&self.ground, &self.world, number, ahead)?;
        }
        Ok(())
    }

    fn kill(&mut self) {
        let Some(server) = self.any_server() else { return };
        self.tell(|| format!("{server} is killed"));
        self.servers[server].kill();
    }

    fn freeze(&mut self) {
        self.frozen = match self.frozen {
            Some(_) => None,
            None if self.servers.len() > 1 => self.any_server(),
            None => None,
        };
        let frozen = self.frozen;
        self.tell(|| format!("frozen is {frozen:?}"));
    }

    /// Calm: whatever is under way comes to its end, everything that is due is done.
    async fn settle(&mut self) -> Result<()> {
        self.world.weather.calm();
        self.frozen = None;
        self.tell(|| "calm".to_owned());
        let since = self.world.now();
        self.restart().await?;
        self.rest(2).await?;
        checks::fresh_work_is_done(self, since).await?;
        self.rest(ROUNDS).await?;
        let (_, lost) = self.world.stripe.undelivered();
        let dead = checks::given_up(self).await?;
        if lost + dead > 0 {
            self.tell(|| format!("{lost} lost, {dead} given up"));
            self.compare_now().await?;
            self.rest(ROUNDS).await?;
        }
        checks::everything(self).await
    }

    /// Lets rounds of a minute pass, until there is nothing to do.
    async fn rest(&mut self, rounds: usize) -> Result<()> {
        for _ in 0..rounds {
            self.drain().await?;
            if !checks::work_is_left(self).await? {
                break;
            }
            self.pass(Duration::from_secs(61)).await;
        }
        self.drain().await
    }

    /// The time by the clock that is most ahead.
    pub fn latest_clock(&self) -> i64 {
        self.world.now() + self.ahead.iter().max().copied().unwrap_or(0)
    }

    /// Compares everybody with Stripe while nothing goes wrong, and works on what that brought.
    pub async fn compare_now(&mut self) -> Result<reconcile::Report> {
        let missing = || Error::Internal("the comparison did not end".into());
        for _ in 0..TRIES {
            self.compare();
            self.drain().await?;
            if self.report.as_ref().is_some_and(|report| report.failed.is_empty()) {
                break;
            }
            // Somebody who died still held a lease.
            self.pass(Duration::from_secs(61)).await;
        }
        self.report.take().ok_or_else(missing)
    }

    /// Delivers and works, until nothing is due.
    pub async fn drain(&mut self) -> Result<()> {
        loop {
            self.take_from_stripe();
            self.quiet().await;
            let waiting = self.world.gate.waiting(None);
            if let Some(number) = waiting.first() {
                self.world.gate.open(*number);
            } else if let Some((number, delivery)) = self.air.pop() {
                self.arrive(number, delivery, true);
            } else if self.world.stripe.undelivered().0 > 0 {
                self.world.stripe.faults().release_deliveries(licentia_sandbox::Order::Shuffled);
            } else if !self.begun.is_empty() {
                // Somebody waits for a lease, or for an answer that never comes.
                let now = self.world.timers.now();
                let next = self.world.timers.next(None).map_or(now + 1000, |due| due.0.max(now));
                self.pass(Duration::from_millis(next - now)).await;
            } else if checks::work_is_due(self).await? {
                self.work_on_events();
                self.send_mails();
            } else {
                return Ok(());
            }
            self.quiet().await;
        }
    }
}
