//! The state of one connection: its phase, and how many bytes were transferred.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// The minimum number of bytes of a response that a client must read between two sweeps of the
/// pool, about 400 bytes a second.
const MIN_BYTES_PER_WINDOW: u64 = 4 * 1024;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The next request. No request is in progress.
    Idle,
    /// The client, to send the rest of a request. The phase of a new connection.
    Receiving,
    /// The server, which has received the whole request.
    Working,
    /// The client, to read the response.
    Sending,
}

/// The state of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Response {
    None,
    Pending,
    /// Hyper has taken the whole response. Its end may still be in a buffer.
    Taken,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Activity {
    /// What it waits for.
    pub phase: Phase,
    /// When this phase began.
    pub since: Instant,
    /// The bytes transferred in this phase.
    pub bytes: u64,
    /// `bytes` at the last sweep, if it was in this phase.
    swept: Option<u64>,
    response: Response,
}

impl Activity {
    fn new(now: Instant) -> Self {
        let phase = Phase::Receiving;
        Self { phase, since: now, bytes: 0, swept: None, response: Response::None }
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        *self = Self { phase, response: self.response, ..Self::new(now) };
    }

    fn received(&mut self, bytes: u64, now: impl FnOnce() -> Instant) {
        if self.phase == Phase::Idle {
            self.enter(Phase::Receiving, now());
        }
        if self.phase == Phase::Receiving {
            self.bytes += bytes;
        }
    }

    fn begin_request(&mut self, now: impl FnOnce() -> Instant) {
        self.response = Response::Pending;
        if self.phase != Phase::Receiving {
            // A pipelined request: its bytes arrived with the previous one.
            self.enter(Phase::Receiving, now());
        }
    }

    fn sent(&mut self, bytes: u64) {
        if self.phase == Phase::Sending {
            self.bytes += bytes;
        }
    }

    fn flushed(&mut self, now: impl FnOnce() -> Instant) {
        if self.response == Response::Taken {
            self.response = Response::None;
            self.enter(Phase::Idle, now());
        }
    }

    /// Returns whether the client read too little of a response since the last call. Call it once
    /// per sweep. The sweep after the phase began is skipped.
    fn reads_too_slowly(&mut self) -> bool {
        let before = self.swept.replace(self.bytes);
        let moved = before.map(|before| self.bytes.saturating_sub(before));
        self.phase == Phase::Sending && moved.is_some_and(|moved| moved < MIN_BYTES_PER_WINDOW)
    }
}

/// A connection, shared by the pool and the task that serves it.
#[derive(Debug)]
pub struct Connection {
    activity: Mutex<Activity>,
    /// Whether a request was refused before its body was read.
    has_unread_body: AtomicBool,
    close: Notify,
}

impl Default for Connection {
    /// Returns the state of a connection that was just accepted.
    fn default() -> Self {
        let activity = Mutex::new(Activity::new(Instant::now()));
        Self { activity, has_unread_body: AtomicBool::new(false), close: Notify::new() }
    }
}

impl Connection {
    fn lock(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state of the connection now.
    pub fn activity(&self) -> Activity {
        *self.lock()
    }

    /// Makes the connection's task drop the connection.
    pub fn close(&self) {
        self.close.notify_one();
    }

    /// Waits until [`Connection::close`] is called.
    pub async fn closed(&self) {
        self.close.notified().await;
    }

    /// Records that the head of a request was read.
    pub fn begin_request(&self) {
        self.lock().begin_request(Instant::now);
    }

    /// Records that the request is complete and the server is processing it.
    pub fn begin_work(&self) {
        self.lock().enter(Phase::Working, Instant::now());
    }

    /// Records that the response is ready for the client.
    pub fn begin_response(&self) {
        self.lock().enter(Phase::Sending, Instant::now());
    }

    /// Records that the request was refused and the rest of its body is not read. The response is
    /// the last one on this connection.
    pub fn leave_body_unread(&self) {
        self.has_unread_body.store(true, Ordering::Relaxed);
    }

    /// Returns whether the client may still be sending a body that is not read.
    pub fn has_unread_body(&self) -> bool {
        self.has_unread_body.load(Ordering::Relaxed)
    }

    /// Records that the connection is closing, so that the pool closes it first.
    pub fn begin_closing(&self) {
        self.lock().enter(Phase::Idle, Instant::now());
    }

    /// Returns whether the client has sent only a part of a request head.
    pub fn has_partial_head(&self) -> bool {
        let activity = self.lock();
        let has_response = activity.response != Response::None;
        activity.phase == Phase::Receiving && activity.bytes > 0 && !has_response
    }

    /// See [`Activity::reads_too_slowly`].
    pub fn reads_too_slowly(&self) -> bool {
        self.lock().reads_too_slowly()
    }
}

/// A stream that reports its progress to a [`Connection`].
///
/// It withholds what hyper writes while no response of ours is pending. That is hyper's own empty
/// response to a head that it cannot parse; a problem response with a code is sent instead.
pub struct Metered {
    stream: TcpStream,
    connection: Arc<Connection>,
    withheld: bool,
}

impl Metered {
    /// Wraps a stream.
    pub fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, withheld: false }
    }

    /// Returns the stream, and whether hyper's own response was withheld.
    pub fn into_parts(self) -> (TcpStream, bool) {
        (self.stream, self.withheld)
    }

    fn withholds(&mut self) -> bool {
        let withholds = self.connection.lock().response == Response::None;
        self.withheld |= withholds;
        withholds
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.connection.lock().sent(*bytes as u64);
        }
        written
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            self.connection.lock().received(bytes as u64, Instant::now);
        }
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.withholds() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.withholds() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.connection.lock().flushed(Instant::now);
        }
        flushed
    }

    /// Does nothing. [`crate::http::server::closing::close`] shuts the stream down later.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The body of a response. It notifies its connection when hyper has taken all of it.
pub struct TrackedBody<B> {
    body: B,
    connection: Arc<Connection>,
}

impl<B> TrackedBody<B> {
    /// Wraps a body.
    pub fn new(body: B, connection: Arc<Connection>) -> Self {
        Self { body, connection }
    }
}

impl<B> Drop for TrackedBody<B> {
    fn drop(&mut self) {
        self.connection.lock().response = Response::Taken;
    }
}

impl<B: Body + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_only_after_the_whole_response_was_written() {
        let now = Instant::now();
        let mut activity = Activity::new(now);
        activity.received(300, || now);
        activity.begin_request(|| now);
        assert_eq!((activity.phase, activity.bytes), (Phase::Receiving, 300));
        activity.enter(Phase::Working, now);
        activity.flushed(|| now);
        assert_eq!(activity.phase, Phase::Working, "a flushed 100-continue ends nothing");
        activity.enter(Phase::Sending, now);
        activity.sent(1000);
        activity.flushed(|| now);
        assert_eq!((activity.phase, activity.bytes), (Phase::Sending, 1000));
        activity.response = Response::Taken;
        activity.flushed(|| now);
        assert_eq!(activity.phase, Phase::Idle);
        activity.received(10, || now);
        assert_eq!((activity.phase, activity.bytes), (Phase::Receiving, 10));
    }

    #[test]
    fn only_a_stalled_response_is_too_slow_security_36() {
        let now = Instant::now();
        let mut activity = Activity::new(now);
        for _ in 0..3 {
            assert!(!activity.reads_too_slowly(), "slow senders have their own limit");
        }
        activity.enter(Phase::Sending, now);
        assert!(!activity.reads_too_slowly(), "the sweep after the phase began is skipped");
        activity.sent(MIN_BYTES_PER_WINDOW);
        assert!(!activity.reads_too_slowly());
        activity.sent(MIN_BYTES_PER_WINDOW - 1);
        assert!(activity.reads_too_slowly());
        activity.enter(Phase::Idle, now);
        for _ in 0..3 {
            assert!(!activity.reads_too_slowly());
        }
    }
}
