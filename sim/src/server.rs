//! A server: the real flows, keys and store, surrounded by doubles. It dies as a process does:
//! tasks stop where they are, and committed data stays.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use licentia::app::{App, Surroundings};
use licentia::clock::Clock;
use licentia::config::Config;
use licentia::domain::message::Templates;
use licentia::domain::sale::plan::Catalog;
use licentia::domain::time::Timestamp;
use licentia::error::Result;
use licentia::fail_point::FailPoints;
use licentia::keys::KeyRing;
use licentia::mailer::Mailer;
use licentia::metrics::Metrics;
use licentia::outgoing::Outgoing;
use licentia::passwords::Passwords;
use licentia::random::Random;
use licentia::store::Store;
use licentia::stripe::Stripe;
use licentia::tasks::Tasks;

use crate::idle::Idle;
use crate::timers::Timers;
use crate::world::World;

/// The parts that all servers of a history share.
#[derive(Clone)]
pub struct Ground {
    pub config: Config,
    pub plans: Catalog,
    /// The plans of the histories that sell more than subscriptions of one unit.
    pub selling_plans: Catalog,
    pub keys: KeyRing,
    /// Parsed once, because that takes longer than everything else that a server does to start.
    pub templates: Templates,
    pub store: Store,
    pub idle: Idle,
}

/// The clock of one server, which may be wrong by some seconds.
struct OwnClock {
    server: usize,
    timers: Timers,
    right: licentia_sandbox::Clock,
    ahead: i64,
}

impl Clock for OwnClock {
    fn now(&self) -> Timestamp {
        Timestamp::saturating(self.right.now() + self.ahead)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.timers.sleep(self.server, time)
    }
}

/// A running server, or one that has died.
pub struct Server {
    pub app: App,
    dead: Arc<AtomicBool>,
}

/// The panic payload that ends a task when its server dies.
pub struct Death;

impl Server {
    pub fn start(ground: &Ground, world: &World, number: usize, ahead: i64) -> Result<Self> {
        let tasks = Tasks::default();
        let dead = Arc::new(AtomicBool::new(false));
        let (timers, right) = (world.timers.clone(), world.stripe.clock());
        let clock: Arc<dyn Clock> = Arc::new(OwnClock { server: number, timers, right, ahead });
        let line = |config| Stripe::double(config, world.line(number), Arc::clone(&clock));
        let around = Surroundings {
            store: ground.store.clone(),
            stripe: ground.config.stripe.as_ref().map(line),
            mailer: Mailer::double(&ground.config, world.post(number)),
            outgoing: Outgoing::double(&ground.config, world.receiver(number)),
            passwords: Passwords::without_work(),
            clock,
            random: Random::seeded(world.dice.seed()),
            metrics: Metrics::default(),
            fail_points: mortal(world, &tasks, &dead),
            tasks,
        };
        let (plans, keys) = (ground.plans.clone(), ground.keys.clone());
        let app = App::new(&ground.config, plans, keys, ground.templates.clone(), around)?;
        Ok(Self { app, dead })
    }

    /// Whether it died.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Kills the server, wherever its tasks are.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.app.tasks.abort();
    }
}

/// Returns a fail-point hook that kills the server at random.
fn mortal(world: &World, tasks: &Tasks, dead: &Arc<AtomicBool>) -> FailPoints {
    let (world, tasks, dead) = (world.clone(), tasks.clone(), Arc::clone(dead));
    FailPoints::calling(move |place| {
        if !place.is_of_a_sale() && !world.has_accounts() {
            // A death at this place would change the histories of the seeds that failed.
            return;
        }
        let place = place.as_str();
        world.note(format!("    {place}"));
        if !world.dice.happens(world.weather.death.load(Ordering::SeqCst)) {
            return;
        }
        let mut deaths = world.deaths.lock().unwrap_or_else(PoisonError::into_inner);
        *deaths.entry(place).or_default() += 1;
        drop(deaths);
        world.note("      and dies there");
        dead.store(true, Ordering::SeqCst);
        tasks.abort();
        // This is not a panic: no hook runs, and the task ends here.
        std::panic::resume_unwind(Box::new(Death));
    })
}
