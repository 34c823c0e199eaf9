//! The pool of open connections. It limits their number in total and per client. A new connection
//! is never refused; another one is closed to make room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Connection, Phase};
use crate::metrics::ClosedFor;
use crate::metrics::series::{Counter, Label, Series};

/// The maximum number of connections. Each uses a file descriptor, of which a process usually has
/// 1,024, and may use a body of 64 KiB.
const MAX_CONNECTIONS: usize = 800;

/// The maximum number of connections of one client: a quarter of all. The limit does not apply to a
/// trusted proxy, but to the addresses that it forwards.
const MAX_CONNECTIONS_OF_ONE: usize = MAX_CONNECTIONS / 4;

/// The bytes credited to every connection. Without them, a new connection would be the slowest
/// before it can send anything. After a minute of silence, they amount to 67 bytes a second.
const CREDIT_BYTES: f64 = 4096.0;

/// How often slow readers are closed. A client must read a minimum between two sweeps.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// The properties that determine which connection is closed to make room.
#[derive(Clone, Copy, Debug)]
struct Standing {
    phase: Phase,
    /// The time in this phase.
    elapsed: Duration,
    /// The bytes transferred in this phase.
    bytes: u64,
    /// The number of open connections of the same client, including this one.
    held: usize,
}

impl Standing {
    /// Returns the client's transfer rate in bytes per second, divided by the number of its
    /// connections. The time in which the server works does not count.
    fn rate(&self) -> f64 {
        let elapsed = if self.phase == Phase::Working { 0.0 } else { self.elapsed.as_secs_f64() };
        (self.bytes as f64 + CREDIT_BYTES) / (elapsed + 1.0) / self.held.max(1) as f64
    }
}

/// Returns the connection to close first: an idle one, or else the slowest. Among equals, it is the
/// one with the longest time in its phase.
fn first_to_close<I>(standings: impl Iterator<Item = (I, Standing)>) -> Option<I> {
    let busy = |standing: &Standing| standing.phase != Phase::Idle;
    let rate = |standing: &Standing| if busy(standing) { standing.rate() } else { 0.0 };
    let first = standings.min_by(|(_, a), (_, b)| {
        let order = busy(a).cmp(&busy(b)).then(rate(a).total_cmp(&rate(b)));
        order.then(b.elapsed.cmp(&a.elapsed))
    });
    first.map(|(id, _)| id)
}

/// An open connection and its client.
struct Entry {
    /// The network of the client. `None` for a trusted proxy that has not forwarded a client yet.
    client: Option<IpAddr>,
    connection: Arc<Connection>,
}

#[derive(Default)]
struct Slots {
    next_id: u64,
    open: HashMap<u64, Entry>,
    held: HashMap<IpAddr, usize>,
    /// The connections that were closed to limit their number.
    closed: Series<ClosedFor, Counter>,
}

impl Slots {
    fn insert(&mut self, client: Option<IpAddr>, connection: Arc<Connection>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.open.insert(id, Entry { client: None, connection });
        self.assign(id, client);
        if self.open.len() > MAX_CONNECTIONS {
            self.make_room(id, ClosedFor::Full, |_| true);
        }
        id
    }

    /// Counts a connection for a client. Closes another one of that client if it has too many.
    fn assign(&mut self, id: u64, client: Option<IpAddr>) {
        let Some(entry) = self.open.get_mut(&id) else { return };
        if entry.client == client {
            return;
        }
        let before = std::mem::replace(&mut entry.client, client);
        self.release(before);
        let Some(client) = client else { return };
        let held = self.held.entry(client).or_default();
        *held += 1;
        if *held > MAX_CONNECTIONS_OF_ONE {
            self.make_room(id, ClosedFor::Client, |entry| entry.client == Some(client));
        }
    }

    fn release(&mut self, client: Option<IpAddr>) {
        let Some(client) = client else { return };
        if let Some(held) = self.held.get_mut(&client) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&client);
            }
        }
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Connection>> {
        let entry = self.open.remove(&id)?;
        self.release(entry.client);
        Some(entry.connection)
    }

    /// Closes one of the connections that `among` selects, except the newest.
    fn make_room(&mut self, newest: u64, reason: ClosedFor, among: impl Fn(&Entry) -> bool) {
        let now = Instant::now();
        let candidates = self.open.iter().filter(|(id, entry)| **id != newest && among(entry));
        let standings = candidates.map(|(id, entry)| {
            let activity = entry.connection.activity();
            let elapsed = now.saturating_duration_since(activity.since);
            let held = entry.client.and_then(|client| self.held.get(&client)).copied().unwrap_or(1);
            let (phase, bytes) = (activity.phase, activity.bytes);
            (*id, Standing { phase, elapsed, bytes, held })
        });
        if let Some(id) = first_to_close(standings) {
            self.close(id, reason);
        }
    }

    fn close(&mut self, id: u64, reason: ClosedFor) {
        let Some(connection) = self.remove(id) else { return };
        connection.close();
        self.closed.of(reason).inc();
        tracing::debug!(reason = reason.text(), "closed a connection");
    }
}

/// The open connections.
#[derive(Default)]
pub struct Pool(Mutex<Slots>);

impl Pool {
    /// Returns an empty pool that counts the connections that it closes.
    pub fn new(closed: Series<ClosedFor, Counter>) -> Self {
        Self(Mutex::new(Slots { closed, ..Slots::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a new connection, and closes another one if there are too many. `client` is the network
    /// of the peer, or `None` for a trusted proxy.
    pub fn admit(self: &Arc<Self>, client: Option<IpAddr>) -> Slot {
        let connection = Arc::new(Connection::default());
        let id = self.lock().insert(client, Arc::clone(&connection));
        Slot { pool: Arc::clone(self), id, connection }
    }

    /// Closes the connections whose clients read too slowly. Call it once per [`SWEEP_INTERVAL`].
    pub fn sweep(&self) {
        let mut slots = self.lock();
        let open = slots.open.iter();
        let slow = open.filter(|(_, entry)| entry.connection.reads_too_slowly());
        let slow: Vec<_> = slow.map(|(id, _)| *id).collect();
        for id in slow {
            slots.close(id, ClosedFor::SlowReader);
        }
    }
}

/// The slot of one connection. Dropping it frees the slot.
pub struct Slot {
    pool: Arc<Pool>,
    id: u64,
    /// The connection.
    pub connection: Arc<Connection>,
}

impl Slot {
    /// Counts the connection for a client behind a trusted proxy. Called for each request.
    pub fn assign(&self, client: Option<IpAddr>) {
        self.pool.lock().assign(self.id, client);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(phase: Phase, seconds: u64, bytes: u64, held: usize) -> Standing {
        Standing { phase, elapsed: Duration::from_secs(seconds), bytes, held }
    }

    /// Returns the index of the connection that is closed first.
    fn first(standings: &[Standing]) -> Option<usize> {
        first_to_close(standings.iter().copied().enumerate())
    }

    #[test]
    fn an_idle_connection_is_closed_before_a_busy_one_security_36() {
        let slow = standing(Phase::Receiving, 9, 9, 200);
        let idle = standing(Phase::Idle, 1, 0, 1);
        let longer = standing(Phase::Idle, 5, 0, 1);
        assert_eq!(first(&[slow, idle, longer]), Some(2));
        assert_eq!(first(&[slow, slow]), Some(0));
        assert_eq!(first(&[]), None);
    }

    #[test]
    fn the_slowest_connection_is_closed_first_security_36() {
        let table = [
            // A byte a second, against a new connection.
            (standing(Phase::Receiving, 20, 20, 1), standing(Phase::Receiving, 0, 0, 1)),
            // A slow sender, against a slow but steady reader.
            (standing(Phase::Receiving, 9, 9, 1), standing(Phase::Sending, 60, 100_000, 1)),
            // Two hundred new connections of one client, against a slow one of another.
            (standing(Phase::Receiving, 0, 0, 200), standing(Phase::Receiving, 5, 100, 1)),
            // A stalled reader, against a request that waits for the server.
            (standing(Phase::Sending, 10, 0, 1), standing(Phase::Working, 29, 300, 1)),
            // Two hundred that wait for the server, against one that is sending.
            (standing(Phase::Working, 5, 300, 200), standing(Phase::Receiving, 1, 0, 1)),
        ];
        for (slower, other) in table {
            assert_eq!(first(&[slower, other]), Some(0), "{slower:?} {other:?}");
            assert_eq!(first(&[other, slower]), Some(1), "{slower:?} {other:?}");
        }
    }

    fn client(number: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, number]))
    }

    fn held(pool: &Pool, client: Option<IpAddr>) -> usize {
        pool.lock().held.get(&client.unwrap()).copied().unwrap_or(0)
    }

    #[test]
    fn connections_are_limited_per_client_and_in_total_and_a_new_one_is_admitted_security_36() {
        let pool = Arc::new(Pool::default());
        let mut slots = Vec::new();
        for number in 0..5 {
            slots.extend((0..300).map(|_| pool.admit(client(number))));
            let newest = slots.last().unwrap();
            assert!(pool.lock().open.contains_key(&newest.id));
            assert!(pool.lock().open.len() <= MAX_CONNECTIONS);
            assert!((100..=MAX_CONNECTIONS_OF_ONE).contains(&held(&pool, client(number))));
        }
        assert_eq!(pool.lock().open.len(), MAX_CONNECTIONS);
        drop(slots);
        assert!(pool.lock().open.is_empty() && pool.lock().held.is_empty());
    }

    #[test]
    fn behind_a_trusted_proxy_the_clients_are_counted_and_not_the_proxy_security_36() {
        let pool = Arc::new(Pool::default());
        let slots: Vec<_> = (0..MAX_CONNECTIONS).map(|_| pool.admit(None)).collect();
        assert_eq!(pool.lock().open.len(), MAX_CONNECTIONS);
        slots.iter().for_each(|slot| slot.assign(client(1)));
        assert_eq!(held(&pool, client(1)), MAX_CONNECTIONS_OF_ONE);
        assert_eq!(pool.lock().open.len(), MAX_CONNECTIONS_OF_ONE);
        // The next request on a connection may come from another client.
        slots.iter().for_each(|slot| slot.assign(client(2)));
        assert_eq!(held(&pool, client(1)), 0);
        assert_eq!(held(&pool, client(2)), MAX_CONNECTIONS_OF_ONE);
    }
}
