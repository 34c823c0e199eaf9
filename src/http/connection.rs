//! One connection: what it waits for, how many bytes have moved, and the stream that counts them.

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

/// The fewest bytes of a response that a client must read within one window of the pool's sweep,
/// about 400 bytes a second.
const MIN_BYTES_PER_WINDOW: u64 = 4 * 1024;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The next request. Nothing is owed to anybody.
    Idle,
    /// The rest of a request, which the client sends. A new connection begins here.
    Receiving,
    /// The server, which has the whole request.
    Working,
    /// The client, which reads the response.
    Sending,
}

/// Whether a response is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Response {
    None,
    Owed,
    /// Handed over in full; its end may still be in a buffer.
    Given,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Activity {
    /// What it waits for.
    pub phase: Phase,
    /// Since when.
    pub since: Instant,
    /// The bytes that have moved in this phase.
    pub bytes: u64,
    /// `bytes` at the last sweep, if that was in this phase.
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

    fn received(&mut self, bytes: u64, now: Instant) {
        if self.phase == Phase::Idle {
            self.enter(Phase::Receiving, now);
        }
        if self.phase == Phase::Receiving {
            self.bytes += bytes;
        }
    }

    fn request_begins(&mut self, now: Instant) {
        self.response = Response::Owed;
        if self.phase != Phase::Receiving {
            // A pipelined request: its bytes came with the one before.
            self.enter(Phase::Receiving, now);
        }
    }

    fn sent(&mut self, bytes: u64) {
        if self.phase == Phase::Sending {
            self.bytes += bytes;
        }
    }

    fn flushed(&mut self, now: Instant) {
        if self.response == Response::Given {
            self.response = Response::None;
            self.enter(Phase::Idle, now);
        }
    }

    /// Returns whether the client read too little of a response since the last call. The caller
    /// calls this once in each window. A window in which the phase began is not judged.
    fn reads_too_slowly(&mut self) -> bool {
        let before = self.swept.replace(self.bytes);
        let moved = before.map(|before| self.bytes.saturating_sub(before));
        self.phase == Phase::Sending && moved.is_some_and(|moved| moved < MIN_BYTES_PER_WINDOW)
    }
}

/// A connection, as the pool and its own task see it.
#[derive(Debug)]
pub struct Connection {
    activity: Mutex<Activity>,
    /// Whether a request was refused before its body was read.
    has_unread_body: AtomicBool,
    close: Notify,
}

impl Default for Connection {
    /// A connection that has just been accepted.
    fn default() -> Self {
        let activity = Mutex::new(Activity::new(Instant::now()));
        Self { activity, has_unread_body: AtomicBool::new(false), close: Notify::new() }
    }
}

impl Connection {
    fn lock(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the connection is doing now.
    pub fn activity(&self) -> Activity {
        *self.lock()
    }

    /// Tells the connection's task to drop it.
    pub fn close(&self) {
        self.close.notify_one();
    }

    /// Returns when [`Connection::close`] was called.
    pub async fn closed(&self) {
        self.close.notified().await;
    }

    /// The head of a request was read.
    pub fn request_begins(&self) {
        self.lock().request_begins(Instant::now());
    }

    /// The request is complete, and the server works on it.
    pub fn works(&self) {
        self.lock().enter(Phase::Working, Instant::now());
    }

    /// The response is ready to be read by the client.
    pub fn responds(&self) {
        self.lock().enter(Phase::Sending, Instant::now());
    }

    /// The request is refused, and the rest of its body is not read: this is the last response.
    pub fn leaves_body_unread(&self) {
        self.has_unread_body.store(true, Ordering::Relaxed);
    }

    /// Returns whether the client may still be sending a body that nobody reads.
    pub fn has_unread_body(&self) -> bool {
        self.has_unread_body.load(Ordering::Relaxed)
    }

    /// The connection is only waiting to be closed, and is the first to go.
    pub fn ends(&self) {
        self.lock().enter(Phase::Idle, Instant::now());
    }

    /// Returns whether a request was begun and not sent in full.
    pub fn has_partial_head(&self) -> bool {
        let activity = self.lock();
        let owed = activity.response != Response::None;
        activity.phase == Phase::Receiving && activity.bytes > 0 && !owed
    }

    /// See [`Activity::reads_too_slowly`].
    pub fn reads_too_slowly(&self) -> bool {
        self.lock().reads_too_slowly()
    }
}

/// A stream that reports its progress to a [`Connection`].
///
/// It withholds what hyper writes while no response is under way: that is hyper's own empty
/// response to a head that it cannot parse, and ours with a code takes its place.
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

    /// Returns the stream, and whether a response of hyper's own was withheld.
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
            self.connection.lock().received(bytes as u64, Instant::now());
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
            self.connection.lock().flushed(Instant::now());
        }
        flushed
    }

    /// Does nothing: the connection's task closes the stream, after it has let the client read.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The body of a response, which tells its connection when hyper has taken all of it.
pub struct Given<B> {
    body: B,
    connection: Arc<Connection>,
}

impl<B> Given<B> {
    /// Wraps a body.
    pub fn new(body: B, connection: Arc<Connection>) -> Self {
        Self { body, connection }
    }
}

impl<B> Drop for Given<B> {
    fn drop(&mut self) {
        self.connection.lock().response = Response::Given;
    }
}

impl<B: Body + Unpin> Body for Given<B> {
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
    fn a_connection_is_idle_only_when_the_whole_response_was_written() {
        let now = Instant::now();
        let mut activity = Activity::new(now);
        activity.received(300, now);
        activity.request_begins(now);
        assert_eq!((activity.phase, activity.bytes), (Phase::Receiving, 300));
        activity.enter(Phase::Working, now);
        activity.flushed(now);
        assert_eq!(activity.phase, Phase::Working, "a flushed 100-continue ends no request");
        activity.enter(Phase::Sending, now);
        activity.sent(1000);
        activity.flushed(now);
        assert_eq!((activity.phase, activity.bytes), (Phase::Sending, 1000));
        activity.response = Response::Given;
        activity.flushed(now);
        assert_eq!(activity.phase, Phase::Idle);
        activity.received(10, now);
        assert_eq!((activity.phase, activity.bytes), (Phase::Receiving, 10));
    }

    #[test]
    fn only_a_response_that_hardly_moves_in_a_whole_window_is_too_slow_security_36() {
        let now = Instant::now();
        let mut activity = Activity::new(now);
        for _ in 0..3 {
            assert!(!activity.reads_too_slowly(), "slow senders have limits of their own");
        }
        activity.enter(Phase::Sending, now);
        assert!(!activity.reads_too_slowly(), "the window in which it began is not judged");
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
