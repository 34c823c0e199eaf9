//! Reads request bodies into memory. Limits their size, the minimum rate, and the number of large
//! bodies at once.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use poem::Body;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};

/// The largest body, in bytes. Requests to our API have a few hundred.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The largest event from Stripe, in bytes. Those with many line items have a few hundred thousand.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The largest request to verify a license, in bytes: a `license.json` of 328 KiB as a JSON string,
/// in which a quote or a line break takes two.
pub const MAX_LICENSE_BODY_BYTES: usize = 512 * 1024;

/// The maximum number of bodies over [`MAX_BODY_BYTES`] at the same time, 32 MiB in total. The
/// signature covers the whole body, so a request with a fake signature header occupies memory until
/// it is checked. Most events are smaller. Beyond the limit, the slowest one that is still arriving
/// gets a 503, and Stripe delivers it again.
const MAX_LARGE_BODIES: usize = 32;

/// The window in which a client must send a minimum of its body.
const WINDOW: Duration = Duration::from_secs(10);

/// The minimum number of bytes in one [`WINDOW`], about 400 bytes a second.
const MIN_BYTES_PER_WINDOW: usize = 4 * 1024;

/// The bytes credited to every large body. Without them, a new one would be the slowest.
const CREDIT_BYTES: f64 = 4096.0;

/// Limits the number of large bodies in memory.
#[derive(Default)]
pub struct LargeBodies(Arc<Mutex<Slots>>);

/// The slots of large bodies, by a number that counts up.
#[derive(Default)]
struct Slots {
    next: u64,
    /// `None` once the whole body has arrived.
    taken: BTreeMap<u64, Option<Arriving>>,
}

/// A large body that is arriving.
struct Arriving {
    since: Instant,
    bytes: usize,
    /// Dropped when another body takes the slot.
    _revoke: oneshot::Sender<()>,
}

impl Arriving {
    /// Returns the rate of the sender in bytes per second.
    fn rate(&self, now: Instant) -> f64 {
        let elapsed = now.duration_since(self.since).as_secs_f64();
        (self.bytes as f64 + CREDIT_BYTES) / (elapsed + 1.0)
    }
}

impl Slots {
    /// Takes a slot. If all are taken, the body with the slowest sender loses its slot: otherwise
    /// a few slow senders could keep every large event out. `None` if all bodies have arrived.
    fn take(&mut self, now: Instant) -> Option<(u64, oneshot::Receiver<()>)> {
        if self.taken.len() >= MAX_LARGE_BODIES {
            let arriving = self.taken.iter().filter_map(|(id, body)| Some((*id, body.as_ref()?)));
            let (slowest, _) =
                arriving.min_by(|(_, a), (_, b)| a.rate(now).total_cmp(&b.rate(now)))?;
            self.taken.remove(&slowest);
        }
        let (revoke, lost) = oneshot::channel();
        let id = self.next;
        self.next += 1;
        self.taken.insert(id, Some(Arriving { since: now, bytes: 0, _revoke: revoke }));
        Some((id, lost))
    }
}

/// The slot of a large body. It is free again when this is dropped.
pub struct BodySlot {
    id: u64,
    slots: Arc<Mutex<Slots>>,
    /// Resolves when another body takes the slot.
    lost: oneshot::Receiver<()>,
}

impl BodySlot {
    /// Counts bytes that have arrived.
    fn count(&self, bytes: usize) {
        if let Some(Some(arriving)) = lock(&self.slots).taken.get_mut(&self.id) {
            arriving.bytes += bytes;
        }
    }

    /// Keeps the slot until this is dropped: the whole body has arrived. Returns whether another
    /// body has not taken it yet.
    fn mark_arrived(&self) -> bool {
        lock(&self.slots).taken.get_mut(&self.id).map(|body| *body = None).is_some()
    }
}

impl Drop for BodySlot {
    fn drop(&mut self) {
        lock(&self.slots).taken.remove(&self.id);
    }
}

fn lock(slots: &Mutex<Slots>) -> MutexGuard<'_, Slots> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns when another body takes the slot; never without a slot.
async fn lost(slot: &mut Option<BodySlot>) {
    match slot {
        Some(slot) => drop((&mut slot.lost).await),
        None => pending().await,
    }
}

/// A body in memory.
pub struct Buffered {
    /// The whole body.
    pub bytes: Bytes,
    /// The slot of a large body. Keep it as long as the bytes are needed.
    pub slot: Option<BodySlot>,
}

impl LargeBodies {
    /// Reads a body of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::PayloadTooLarge`], [`Error::SlowBody`]; [`Error::Busy`] if all slots are taken by
    /// bodies that have arrived, or if a further body took the slot of this one;
    /// [`Error::InvalidRequest`] if the body ends early.
    pub async fn read(&self, body: Body, limit: usize) -> Result<Buffered> {
        let (mut bytes, mut slot) = (BytesMut::new(), None);
        if body.is_empty() {
            return Ok(Buffered { bytes: Bytes::new(), slot });
        }
        let mut chunks = std::pin::pin!(body.into_bytes_stream());
        let (mut window_ends, mut arrived) = (Instant::now() + WINDOW, 0);
        loop {
            let next = tokio::select! {
                next = timeout_at(window_ends, chunks.next()) => next,
                () = lost(&mut slot) => return Err(Error::Busy),
            };
            let chunk = match next {
                Ok(Some(chunk)) => chunk,
                Ok(None) if slot.as_ref().is_some_and(|slot| !slot.mark_arrived()) => {
                    return Err(Error::Busy);
                }
                Ok(None) => return Ok(Buffered { bytes: bytes.freeze(), slot }),
                Err(_) if arrived >= MIN_BYTES_PER_WINDOW => {
                    (window_ends, arrived) = (Instant::now() + WINDOW, 0);
                    continue;
                }
                Err(_) => return Err(Error::SlowBody),
            };
            let chunk = chunk.map_err(|error| {
                Error::InvalidRequest(format!("the body is incomplete: {error}"))
            })?;
            let length = bytes.len() + chunk.len();
            if length > limit {
                return Err(Error::PayloadTooLarge { limit });
            }
            match &slot {
                Some(slot) => slot.count(chunk.len()),
                None if length > MAX_BODY_BYTES => slot = Some(self.take()?),
                None => {}
            }
            arrived += chunk.len();
            bytes.extend_from_slice(&chunk);
        }
    }

    fn take(&self) -> Result<BodySlot> {
        let (id, lost) = lock(&self.0).take(Instant::now()).ok_or(Error::Busy)?;
        Ok(BodySlot { id, slots: Arc::clone(&self.0), lost })
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures_util::FutureExt;
    use futures_util::stream::{self, FuturesUnordered};

    use super::*;

    fn body(bytes: usize) -> Body {
        Body::from_vec(vec![b'a'; bytes])
    }

    /// Returns a body of this many bytes, of which the rest never arrives.
    fn stalled(bytes: usize) -> Body {
        let chunk = std::io::Result::Ok(Bytes::from(vec![b'a'; bytes]));
        Body::from_bytes_stream(stream::once(ready(chunk)).chain(stream::pending()))
    }

    #[tokio::test]
    async fn slow_senders_of_large_bodies_do_not_keep_another_one_out_security_29_36() {
        let bodies = LargeBodies::default();
        let read = |body| bodies.read(body, MAX_EVENT_BYTES);
        let mut slow: FuturesUnordered<_> =
            (0..MAX_LARGE_BODIES).map(|_| read(stalled(MAX_BODY_BYTES + 1))).collect();
        assert!(slow.next().now_or_never().is_none(), "all wait for the rest");
        let mut held = Vec::new();
        for left in (0..MAX_LARGE_BODIES).rev() {
            // Each takes the slot of one that has stalled, and keeps it.
            held.push(read(body(MAX_EVENT_BYTES)).await.unwrap());
            assert!(matches!(slow.next().await, Some(Err(Error::Busy))));
            assert_eq!(slow.len(), left);
        }
        assert!(matches!(read(body(MAX_EVENT_BYTES)).await, Err(Error::Busy)), "all are in use");
    }

    #[test]
    fn the_slowest_sender_loses_its_slot_and_a_new_one_does_not_security_29() {
        let began = Instant::now();
        let rate = |bytes, seconds| {
            let (revoke, _) = oneshot::channel();
            let arriving = Arriving { since: began, bytes, _revoke: revoke };
            arriving.rate(began + Duration::from_secs(seconds))
        };
        let slowest_allowed = rate(4000, 10);
        assert!(slowest_allowed < rate(0, 0), "a new one");
        assert!(slowest_allowed < rate(500_000, 10), "a fast one");
        assert!(rate(0, 10) < slowest_allowed, "one that has stalled");
    }

    #[tokio::test]
    async fn large_bodies_are_limited_in_number_and_small_ones_are_not_security_37() {
        let bodies = LargeBodies::default();
        let mut held = Vec::new();
        for _ in 0..MAX_LARGE_BODIES {
            held.push(bodies.read(body(MAX_EVENT_BYTES), MAX_EVENT_BYTES).await.unwrap());
        }
        let large = bodies.read(body(MAX_BODY_BYTES + 1), MAX_EVENT_BYTES).await;
        assert!(matches!(large, Err(Error::Busy)));
        let small = bodies.read(body(MAX_BODY_BYTES), MAX_EVENT_BYTES).await.unwrap();
        assert_eq!(small.bytes.len(), MAX_BODY_BYTES);
        held.pop();
        assert!(bodies.read(body(MAX_BODY_BYTES + 1), MAX_EVENT_BYTES).await.is_ok());
        let too_large = bodies.read(body(MAX_BODY_BYTES + 1), MAX_BODY_BYTES).await;
        assert!(matches!(too_large, Err(Error::PayloadTooLarge { limit: MAX_BODY_BYTES })));
    }
}
