//! Reads the body of a request into memory: only so large, only so slow, and only so many large
//! ones at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use poem::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};

/// The largest body, in bytes: every request of ours is a few hundred.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The largest event of Stripe's, in bytes: those with many line items have a few hundred thousand.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Bodies over [`MAX_BODY_BYTES`] at once, 32 MiB together. A signature can be checked only when
/// the body is complete, so a header that looks like one buys memory. Most events are smaller and need
/// no turn; a larger one that gets none is answered 503, and Stripe delivers it again.
const MAX_LARGE_BODIES: usize = 32;

/// A client must send a minimum of its body in each of these windows.
const WINDOW: Duration = Duration::from_secs(10);

/// The fewest bytes of a body in one [`WINDOW`], about 400 bytes a second.
const MIN_BYTES_PER_WINDOW: usize = 4 * 1024;

/// The turns for large bodies.
pub struct LargeBodies(Arc<Semaphore>);

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LARGE_BODIES)))
    }
}

/// A body in memory.
pub struct Buffered {
    /// All of it.
    pub bytes: Bytes,
    /// The turn of a large one, to be kept for as long as the bytes are needed.
    pub turn: Option<OwnedSemaphorePermit>,
}

impl LargeBodies {
    /// Reads a body of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::PayloadTooLarge`], [`Error::SlowBody`]; [`Error::Busy`] when too many large bodies
    /// are held; [`Error::InvalidRequest`] when the body breaks off.
    pub async fn read(&self, body: Body, limit: usize) -> Result<Buffered> {
        let (mut bytes, mut turn) = (BytesMut::new(), None);
        if body.is_empty() {
            return Ok(Buffered { bytes: Bytes::new(), turn });
        }
        let mut chunks = std::pin::pin!(body.into_bytes_stream());
        let (mut window_ends, mut arrived) = (Instant::now() + WINDOW, 0);
        loop {
            let chunk = match timeout_at(window_ends, chunks.next()).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Buffered { bytes: bytes.freeze(), turn }),
                Err(_) if arrived >= MIN_BYTES_PER_WINDOW => {
                    (window_ends, arrived) = (Instant::now() + WINDOW, 0);
                    continue;
                }
                Err(_) => return Err(Error::SlowBody),
            };
            let chunk = chunk.map_err(|error| {
                Error::InvalidRequest(format!("the body did not arrive: {error}"))
            })?;
            let length = bytes.len() + chunk.len();
            if length > limit {
                return Err(Error::PayloadTooLarge { limit });
            }
            if length > MAX_BODY_BYTES && turn.is_none() {
                let free = Arc::clone(&self.0).try_acquire_owned();
                turn = Some(free.map_err(|_| Error::Busy)?);
            }
            arrived += chunk.len();
            bytes.extend_from_slice(&chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: usize) -> Body {
        Body::from_vec(vec![b'a'; bytes])
    }

    #[tokio::test]
    async fn so_many_large_bodies_are_held_at_once_and_small_ones_need_no_turn_security_37() {
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
