//! Accepts connections and feeds them to the routes, with the limits that the framework lacks:
//! how many, how long their heads may take, how large those may be, how long one may live.

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
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::caller::{Origin, TrustedProxies};
use super::closing::{self, HeadLimits};
use super::connection::{Given, Metered};
use super::edge::Edge;
use super::pool::{Place, Pool, SWEEP_INTERVAL};

/// The limits of the head of a request. A license in `Authorization` fits twice.
const HEAD: HeadLimits = HeadLimits { bytes: 32 * 1024, time: Duration::from_secs(10) };

/// The most bytes of a response that the system holds unsent, so that what was written tells how
/// much the client has read.
#[cfg(target_os = "linux")]
const MAX_UNSENT_BYTES: u32 = 16 * 1024;

/// A connection is closed after this time, between two requests: no reader is slow for ever.
const CONNECTION_LIFE: Duration = Duration::from_secs(300);

/// How long requests that are under way have to finish when the server stops: less than the ten
/// seconds after which most supervisors kill.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// After a failure to accept (too many open files), for the system to recover.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection is served with.
struct Server<E> {
    edge: Edge<E>,
    proxies: TrustedProxies,
    local: SocketAddr,
}

/// Serves until `shutdown`, then finishes what is under way.
///
/// # Errors
/// When the listener has no address.
pub async fn serve<E: Endpoint<Output = Response> + 'static>(
    listener: TcpListener,
    edge: Edge<E>,
    proxies: TrustedProxies,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let local = listener.local_addr()?;
    let server = Arc::new(Server { edge, proxies, local });
    let pool = Arc::new(Pool::default());
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
    // Two sweeps in a row would find that nothing was read between them.
    sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            _ = sweeps.tick() => pool.sweep(),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let place = pool.admit(server.proxies.client(peer.ip()));
                    let (server, stopped) = (Arc::clone(&server), stopped.clone());
                    connections.spawn(async move {
                        let connection = server.serve_connection(stream, peer, place, stopped);
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
    tracing::info!(connections = connections.len(), "finishing what is under way");
    stop.send_replace(());
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, finished).await.is_err() {
        tracing::warn!("some connections did not finish in time and were cut");
    }
    Ok(())
}

impl<E: Endpoint<Output = Response> + 'static> Server<E> {
    /// Serves one connection to its end, or until the pool closes it.
    async fn serve_connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        stopped: watch::Receiver<()>,
    ) {
        // Responses are small; waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(MAX_UNSENT_BYTES);
        tokio::select! {
            () = place.connection.closed() => {}
            () = self.talk(stream, peer, &place, stopped) => {}
        }
    }

    /// Answers the requests of a connection, then closes it.
    async fn talk(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: &Place,
        mut stopped: watch::Receiver<()>,
    ) {
        let stream = Metered::new(stream, Arc::clone(&place.connection));
        let service = service_fn(|request| self.respond(request, peer, place));
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
            refusal.and_then(|error| closing::refusal(&error, &place.connection, withheld, &HEAD));
        let response = match refusal {
            Some(error) => Some(self.edge.refuse(error).await),
            None => None,
        };
        if response.is_some() || place.connection.has_unread_body() {
            place.connection.ends();
            closing::close(stream, response).await;
        }
    }

    /// Answers one request.
    async fn respond(
        &self,
        mut request: hyper::Request<Incoming>,
        peer: SocketAddr,
        place: &Place,
    ) -> Result<hyper::Response<Given<BoxBody<Bytes, std::io::Error>>>, Infallible> {
        let connection = &place.connection;
        connection.request_begins();
        let origin = self.proxies.origin(peer.ip(), request.headers());
        if self.proxies.is_trusted(peer.ip()) {
            place.assign(self.proxies.client(origin));
        }
        request.extensions_mut().insert(Origin(origin));
        request.extensions_mut().insert(Arc::clone(connection));
        let (local, peer) = (LocalAddr(self.local.into()), RemoteAddr(peer.into()));
        let request = Request::from((request, local, peer, Scheme::HTTP));
        let response = hyper::Response::from(self.edge.get_response(request).await);
        connection.responds();
        Ok(response.map(|body| Given::new(body, Arc::clone(connection))))
    }
}
