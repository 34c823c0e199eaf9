//! The world behind its lock: every part of the sandbox reads and changes it through here, so that
//! time is caught up with first and whoever waits for a change is woken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::api::{self, Call, Outcome};
use crate::billing::time::catch_up;
use crate::clock::Clock;
use crate::options::Options;
use crate::world::World;

/// What all parts of the sandbox share.
pub struct Shared {
    /// What it was started with.
    pub options: Options,
    /// Its time.
    pub clock: Clock,
    world: Mutex<World>,
    changes: watch::Sender<u64>,
}

impl Shared {
    /// A new world, whose pages are at `url`.
    pub fn new(options: Options, url: String) -> Self {
        let clock = Clock::new(options.start);
        let world = World::new(clock.now(), options.seed, options.behavior, url);
        Self { options, clock, world: Mutex::new(world), changes: watch::Sender::new(0) }
    }

    /// Looks at the world as it was left.
    pub fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the world, which first catches up with the clock.
    pub fn write<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.lock();
        catch_up(&mut world, self.clock.now());
        let result = change(&mut world);
        drop(world);
        self.changes.send_modify(|number| *number += 1);
        result
    }

    /// Moves the clock; what falls due on the way happens.
    pub fn advance(&self, duration: Duration) {
        let mut world = self.lock();
        self.clock.advance(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX));
        catch_up(&mut world, self.clock.now());
        drop(world);
        self.changes.send_modify(|number| *number += 1);
    }

    /// Counts the changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until the world is as wanted.
    pub async fn until(&self, wanted: impl Fn(&World) -> bool) {
        let mut changes = self.changes();
        while !self.read(&wanted) {
            // The sender lives in `self`, so that waiting cannot fail.
            let _ = changes.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A panic in a test's closure says nothing about the world.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The idempotency key of a call that is never answered: in use until the caller goes.
pub struct HeldKey {
    shared: Arc<Shared>,
    key: String,
}

impl HeldKey {
    /// Answers a call; with the key, if that is never.
    pub fn answer(shared: &Arc<Shared>, call: &Call) -> (Outcome, Option<Self>) {
        let secret_key = shared.options.secret_key.as_str();
        let outcome = shared.write(|world| api::answer(world, secret_key, call));
        let held = match &outcome {
            Outcome::Silent(Some(key)) => {
                Some(Self { shared: Arc::clone(shared), key: key.clone() })
            }
            _ => None,
        };
        (outcome, held)
    }
}

impl Drop for HeldKey {
    fn drop(&mut self) {
        self.shared.write(|world| world.idempotency.release(&self.key));
    }
}
