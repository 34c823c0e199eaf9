//! Accepts connections and serves the routes on them. Enforces limits that poem does not have: the
//! number of connections, the time and size of a request head, and the lifetime of a connection.

mod closing;
pub(super) mod connection;
pub(super) mod pool;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::Request;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::closing::HeadLimits;
use self::connection::{Metered, TrackedBody};
use self::pool::{Pool, SWEEP_INTERVAL, Slot};
use crate::http::caller::{Origin, TrustedProxies};
use crate::http::edge::Edge;

/// The limits of a request head. It has room for two of the largest license tokens.
pub const HEAD: HeadLimits = HeadLimits { bytes: 32 * 1024, time: Duration::from_secs(10) };

/// The maximum number of unsent bytes of a response in the kernel's buffer. With a larger buffer,
/// the number of written bytes would not show how much the client has read.
#[cfg(target_os = "linux")]
const MAX_UNSENT_BYTES: u32 = 16 * 1024;

/// A connection is closed after this time, between two requests.
const CONNECTION_LIFE: Duration = Duration::from_secs(300);

/// How long running requests may take to finish when the server stops. Most supervisors kill the
/// process after ten seconds.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// The pause after a failed accept, for example because of too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The state that all connections share.
struct Server {
    edge: Edge,
    proxies: TrustedProxies,
    local: SocketAddr,
}

/// Serves until `shutdown`, then finishes running requests.
///
/// # Errors
/// When the listener has no address.
pub async fn serve(
    listener: TcpListener,
    edge: Edge,
    proxies: TrustedProxies,
    pool: Pool,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let local = listener.local_addr()?;
    let server = Arc::new(Server { edge, proxies, local });
    let pool = Arc::new(pool);
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
    // After a delay, sweeps must not follow each other without a pause: clients would have had no
    // time to read between them.
    sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            _ = sweeps.tick() => pool.sweep(),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let slot = pool.admit(server.proxies.client(peer.ip()));
                    let (server, stopped) = (Arc::clone(&server), stopped.clone());
                    connections.spawn(async move {
                        let connection = server.serve_connection(stream, peer, slot, stopped);
                        // A panic ends the connection, not the server.
                        let _ = AssertUnwindSafe(connection).catch_unwind().await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    tracing::info!(connections = connections.len(), "finishing running requests");
    stop.send_replace(());
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, finished).await.is_err() {
        tracing::warn!("some connections did not finish in time and were cut");
    }
    Ok(())
}

impl Server {
    /// Serves one connection to its end, or until the pool closes it.
    async fn serve_connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        slot: Slot,
        stopped: watch::Receiver<()>,
    ) {
        // Responses are small, and Nagle's algorithm would delay them.
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(MAX_UNSENT_BYTES);
        tokio::select! {
            () = slot.connection.closed() => {}
            () = self.serve_requests(stream, peer, &slot, stopped) => {}
        }
    }

    /// Serves the requests of a connection, then closes it.
    async fn serve_requests(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        slot: &Slot,
        mut stopped: watch::Receiver<()>,
    ) {
        let stream = Metered::new(stream, Arc::clone(&slot.connection));
        let service = service_fn(|request| self.respond(request, peer, slot));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD.time)
            .max_buf_size(HEAD.bytes)
            .serve_connection(TokioIo::new(stream), service);
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            _ = stopped.changed() => None,
            () = tokio::time::sleep(CONNECTION_LIFE) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                let last = tokio::time::timeout(DRAIN_TIMEOUT, &mut connection).await;
                let Ok(ended) = last else { return };
                ended
            }
        };
        let (stream, withheld) = connection.into_parts().io.into_inner().into_parts();
        let refusal = ended.err();
        let refusal =
            refusal.and_then(|error| closing::refusal(&error, &slot.connection, withheld, &HEAD));
        let response = refusal.map(|error| self.edge.refuse(error));
        if response.is_some() || slot.connection.has_unread_body() {
            slot.connection.begin_closing();
            closing::close(stream, response).await;
        }
    }

    /// Serves one request.
    async fn respond(
        &self,
        mut request: hyper::Request<Incoming>,
        peer: SocketAddr,
        slot: &Slot,
    ) -> Result<hyper::Response<TrackedBody<BoxBody<Bytes, std::io::Error>>>, Infallible> {
        let connection = &slot.connection;
        connection.begin_request();
        let origin = self.proxies.origin(peer.ip(), request.headers());
        if self.proxies.is_trusted(peer.ip()) {
            slot.assign(self.proxies.client(origin));
        }
        request.extensions_mut().insert(Origin(origin));
        let (local, peer) = (LocalAddr(self.local.into()), RemoteAddr(peer.into()));
        let request = Request::from((request, local, peer, Scheme::HTTP));
        let response = hyper::Response::from(self.edge.serve(request, connection).await);
        connection.begin_response();
        Ok(response.map(|body| TrackedBody::new(body, Arc::clone(connection))))
    }
}
