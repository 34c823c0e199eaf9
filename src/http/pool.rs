//! The open connections: how many in all and of one client, and which one is closed to make room.
//! The newest connection is never refused.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Connection, Phase};

/// Connections at once. Each may hold a body of 64 KiB and a file descriptor, of which a process
/// usually gets 1,024.
const MAX_CONNECTIONS: usize = 800;

/// Connections at once of one client: a quarter of all. A trusted proxy is not a client; the
/// addresses that it forwards are.
const MAX_CONNECTIONS_OF_ONE: usize = MAX_CONNECTIONS / 4;

/// The bytes that every connection is credited with, so that a new one is not the slowest before
/// it could send anything. After a minute of silence, a connection is worth 67 bytes a second.
const CREDIT_BYTES: f64 = 4096.0;

/// How often slow readers are looked for. A client must read a minimum in each of these windows.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// What decides whether a connection is closed to make room.
#[derive(Clone, Copy, Debug)]
struct Standing {
    phase: Phase,
    /// The time in this phase.
    elapsed: Duration,
    /// The bytes that moved in this phase.
    bytes: u64,
    /// The connections that the same client has open, this one included.
    held: usize,
}

impl Standing {
    /// Returns the bytes per second that the client moves, for each connection that it holds. The
    /// time in which the server works does not count against the client.
    fn worth(&self) -> f64 {
        let elapsed = if self.phase == Phase::Working { 0.0 } else { self.elapsed.as_secs_f64() };
        (self.bytes as f64 + CREDIT_BYTES) / (elapsed + 1.0) / self.held.max(1) as f64
    }
}

/// Returns which of these connections is closed first: one that is idle, or else the slowest. Of
/// equals, the one that has waited longest.
fn first_to_close<I>(standings: impl Iterator<Item = (I, Standing)>) -> Option<I> {
    let busy = |standing: &Standing| standing.phase != Phase::Idle;
    let worth = |standing: &Standing| if busy(standing) { standing.worth() } else { 0.0 };
    let first = standings.min_by(|(_, a), (_, b)| {
        let order = busy(a).cmp(&busy(b)).then(worth(a).total_cmp(&worth(b)));
        order.then(b.elapsed.cmp(&a.elapsed))
    });
    first.map(|(id, _)| id)
}

/// Why a connection was closed, for the figures.
#[derive(Clone, Copy, Debug)]
enum Reason {
    /// All slots were taken.
    Full,
    /// Its client has too many.
    Client,
    /// Its client reads too slowly.
    SlowReader,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Client => "client",
            Self::SlowReader => "slow_reader",
        }
    }
}

/// One open connection.
struct Slot {
    /// Who uses it. None while it is a trusted proxy's and nobody in particular uses it.
    client: Option<IpAddr>,
    connection: Arc<Connection>,
}

#[derive(Default)]
struct Slots {
    next_id: u64,
    open: HashMap<u64, Slot>,
    held: HashMap<IpAddr, usize>,
}

impl Slots {
    fn insert(&mut self, client: Option<IpAddr>, connection: Arc<Connection>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.open.insert(id, Slot { client: None, connection });
        self.assign(id, client);
        if self.open.len() > MAX_CONNECTIONS {
            self.make_room(id, Reason::Full, |_| true);
        }
        id
    }

    /// Makes a connection a client's. Closes another one of that client if these are too many.
    fn assign(&mut self, id: u64, client: Option<IpAddr>) {
        let Some(slot) = self.open.get_mut(&id) else { return };
        if slot.client == client {
            return;
        }
        let before = std::mem::replace(&mut slot.client, client);
        self.release(before);
        let Some(client) = client else { return };
        let held = self.held.entry(client).or_default();
        *held += 1;
        if *held > MAX_CONNECTIONS_OF_ONE {
            self.make_room(id, Reason::Client, |slot| slot.client == Some(client));
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
        let slot = self.open.remove(&id)?;
        self.release(slot.client);
        Some(slot.connection)
    }

    /// Closes one of the connections that `among` selects, but not the newest.
    fn make_room(&mut self, newest: u64, reason: Reason, among: impl Fn(&Slot) -> bool) {
        let now = Instant::now();
        let candidates = self.open.iter().filter(|(id, slot)| **id != newest && among(slot));
        let standings = candidates.map(|(id, slot)| {
            let activity = slot.connection.activity();
            let elapsed = now.saturating_duration_since(activity.since);
            let held = slot.client.and_then(|client| self.held.get(&client)).copied().unwrap_or(1);
            let (phase, bytes) = (activity.phase, activity.bytes);
            (*id, Standing { phase, elapsed, bytes, held })
        });
        if let Some(id) = first_to_close(standings) {
            self.close(id, reason);
        }
    }

    fn close(&mut self, id: u64, reason: Reason) {
        let Some(connection) = self.remove(id) else { return };
        connection.close();
        let reason = reason.as_str();
        metrics::counter!("licentia_http_connections_closed_total", "reason" => reason)
            .increment(1);
        tracing::debug!(reason, "closed a connection");
    }
}

/// The open connections.
#[derive(Default)]
pub struct Pool(Mutex<Slots>);

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new connection in, and closes another one if there are too many. `client` is the
    /// network of the other end, or none if that is a trusted proxy.
    pub fn admit(self: &Arc<Self>, client: Option<IpAddr>) -> Place {
        let connection = Arc::new(Connection::default());
        let id = self.lock().insert(client, Arc::clone(&connection));
        Place { pool: Arc::clone(self), id, connection }
    }

    /// Closes the connections whose clients read too slowly. Must be called once in every
    /// [`SWEEP_INTERVAL`].
    pub fn sweep(&self) {
        let mut slots = self.lock();
        let open = slots.open.iter();
        let slow = open.filter(|(_, slot)| slot.connection.reads_too_slowly());
        let slow: Vec<_> = slow.map(|(id, _)| *id).collect();
        for id in slow {
            slots.close(id, Reason::SlowReader);
        }
    }
}

/// The slot of one connection; free when dropped.
pub struct Place {
    pool: Arc<Pool>,
    id: u64,
    /// The connection.
    pub connection: Arc<Connection>,
}

impl Place {
    /// Makes the connection that of a client behind a trusted proxy, for the request that begins.
    pub fn assign(&self, client: Option<IpAddr>) {
        self.pool.lock().assign(self.id, client);
    }
}

impl Drop for Place {
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

    /// Which of these is closed first, by its place in the list.
    fn first(standings: &[Standing]) -> Option<usize> {
        first_to_close(standings.iter().copied().enumerate())
    }

    #[test]
    fn an_idle_connection_is_closed_before_any_that_is_used_security_36() {
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
            // A byte a second, against somebody who has just come.
            (standing(Phase::Receiving, 20, 20, 1), standing(Phase::Receiving, 0, 0, 1)),
            // A slow sender, against a slow but steady reader.
            (standing(Phase::Receiving, 9, 9, 1), standing(Phase::Sending, 60, 100_000, 1)),
            // Two hundred that have just come from one client, against one that takes its time.
            (standing(Phase::Receiving, 0, 0, 200), standing(Phase::Receiving, 5, 100, 1)),
            // A reader that stalls, against a request that waits for the server.
            (standing(Phase::Sending, 10, 0, 1), standing(Phase::Working, 29, 300, 1)),
            // Two hundred that wait for the server, against one that sends.
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
    fn one_client_and_all_together_have_limits_and_the_newest_is_let_in_security_36() {
        let pool = Arc::new(Pool::default());
        let mut places = Vec::new();
        for number in 0..5 {
            places.extend((0..300).map(|_| pool.admit(client(number))));
            let newest = places.last().unwrap();
            assert!(pool.lock().open.contains_key(&newest.id));
            assert!(pool.lock().open.len() <= MAX_CONNECTIONS);
            assert!((100..=MAX_CONNECTIONS_OF_ONE).contains(&held(&pool, client(number))));
        }
        assert_eq!(pool.lock().open.len(), MAX_CONNECTIONS);
        drop(places);
        assert!(pool.lock().open.is_empty() && pool.lock().held.is_empty());
    }

    #[test]
    fn behind_a_trusted_proxy_the_clients_are_counted_and_not_the_proxy_security_36() {
        let pool = Arc::new(Pool::default());
        let places: Vec<_> = (0..MAX_CONNECTIONS).map(|_| pool.admit(None)).collect();
        assert_eq!(pool.lock().open.len(), MAX_CONNECTIONS);
        places.iter().for_each(|place| place.assign(client(1)));
        assert_eq!(held(&pool, client(1)), MAX_CONNECTIONS_OF_ONE);
        assert_eq!(pool.lock().open.len(), MAX_CONNECTIONS_OF_ONE);
        // The next request on a connection may be another client's.
        places.iter().for_each(|place| place.assign(client(2)));
        assert_eq!(held(&pool, client(1)), 0);
        assert_eq!(held(&pool, client(2)), MAX_CONNECTIONS_OF_ONE);
    }
}
