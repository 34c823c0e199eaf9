//! Reads request bodies into memory. Limits their size, the minimum rate, and the number of large
//! bodies at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use poem::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};

/// The largest body, in bytes. Requests to our API have a few hundred.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The largest event from Stripe, in bytes. Those with many line items have a few hundred thousand.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The maximum number of bodies over [`MAX_BODY_BYTES`] at the same time, 32 MiB in total. The
/// signature covers the whole body, so a request with a fake signature header occupies memory until
/// it is checked. Most events are smaller. Beyond the limit, a large event gets a 503, and Stripe
/// delivers it again.
const MAX_LARGE_BODIES: usize = 32;

/// The window in which a client must send a minimum of its body.
const WINDOW: Duration = Duration::from_secs(10);

/// The minimum number of bytes in one [`WINDOW`], about 400 bytes a second.
const MIN_BYTES_PER_WINDOW: usize = 4 * 1024;

/// Limits the number of large bodies in memory.
pub struct LargeBodies(Arc<Semaphore>);

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LARGE_BODIES)))
    }
}

/// A body in memory.
pub struct Buffered {
    /// The whole body.
    pub bytes: Bytes,
    /// The permit of a large body. Keep it as long as the bytes are needed.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl LargeBodies {
    /// Reads a body of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::PayloadTooLarge`], [`Error::SlowBody`]; [`Error::Busy`] if too many large bodies
    /// are in memory; [`Error::InvalidRequest`] if the body ends early.
    pub async fn read(&self, body: Body, limit: usize) -> Result<Buffered> {
        let (mut bytes, mut permit) = (BytesMut::new(), None);
        if body.is_empty() {
            return Ok(Buffered { bytes: Bytes::new(), permit });
        }
        let mut chunks = std::pin::pin!(body.into_bytes_stream());
        let (mut window_ends, mut arrived) = (Instant::now() + WINDOW, 0);
        loop {
            let chunk = match timeout_at(window_ends, chunks.next()).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Buffered { bytes: bytes.freeze(), permit }),
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
            if length > MAX_BODY_BYTES && permit.is_none() {
                let free = Arc::clone(&self.0).try_acquire_owned();
                permit = Some(free.map_err(|_| Error::Busy)?);
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
