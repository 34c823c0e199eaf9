//! The state behind its lock. All access goes through here: due timers run before each change, and
//! tasks that wait for a change are woken. The rules are in `billing`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::api::{self, Call, CallOutcome};
use crate::billing::time::catch_up;
use crate::clock::Clock;
use crate::options::Options;
use crate::world::World;

/// The parts that the servers, the sender and the double share.
pub struct Shared {
    /// The options that it was started with.
    pub options: Options,
    /// The clock.
    pub clock: Clock,
    world: Mutex<World>,
    changes: watch::Sender<u64>,
}

impl Shared {
    /// Returns a new state. `url` is the URL of its pages.
    pub fn new(options: Options, url: String) -> Self {
        let clock = Clock::new(options.start);
        let mut world = World::new(clock.now(), options.seed, options.behavior, url);
        world.account = options.account.clone();
        if let Some(url) = &options.documents_url {
            world.documents_url.clone_from(url);
        }
        Self { options, clock, world: Mutex::new(world), changes: watch::Sender::new(0) }
    }

    /// Reads the state, without running due timers.
    pub fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// Runs the due timers, then changes the state.
    pub fn write<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.lock();
        catch_up(&mut world, self.clock.now());
        let result = change(&mut world);
        drop(world);
        self.changes.send_modify(|number| *number += 1);
        result
    }

    /// Advances the clock and runs the timers on the way.
    pub fn advance(&self, duration: Duration) {
        let mut world = self.lock();
        self.clock.advance(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX));
        catch_up(&mut world, self.clock.now());
        drop(world);
        self.changes.send_modify(|number| *number += 1);
    }

    /// Returns a receiver that is notified of each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until the state satisfies `wanted`.
    pub async fn until(&self, wanted: impl Fn(&World) -> bool) {
        let mut changes = self.changes();
        while !self.read(&wanted) {
            // Waiting cannot fail, because `self` owns the sender.
            let _ = changes.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A panic in a test's closure does not make the state unusable.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The idempotency key of a call without a response. It is released when the caller disconnects.
pub struct HeldKey {
    shared: Arc<Shared>,
    key: String,
}

impl HeldKey {
    /// Handles a call. If it never gets a response, returns its idempotency key too.
    pub fn handle(shared: &Arc<Shared>, call: &Call) -> (CallOutcome, Option<Self>) {
        let secret_key = shared.options.secret_key.as_str();
        let outcome = shared.write(|world| api::handle(world, secret_key, call));
        let held = match &outcome {
            CallOutcome::Silent(Some(key)) => {
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
