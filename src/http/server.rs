//! Accepts connections and feeds them to the routes, with the limits that the framework lacks:
//! how many, how long their headers may take, how large those may be, how long one may live.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::http::throttle::network;

/// Connections at once; the next ones wait in the system's queue. Each may hold a body of 64 KiB,
/// and a file descriptor: the usual limit of those is 1,024.
const MAX_CONNECTIONS: usize = 800;

/// Connections at once from one address: a quarter of all, so that a slow sender leaves room for
/// others. A proxy in front is one address too, and keeps fewer open.
const MAX_CONNECTIONS_OF_ONE: usize = MAX_CONNECTIONS / 4;

/// The longest time that the headers of a request may take.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes: a license in `Authorization` fits twice.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// A connection is closed after this time, between two requests: no reader is slow for ever.
const CONNECTION_LIFE: Duration = Duration::from_secs(300);

/// How long requests that are under way have to finish when the server stops: less than the ten seconds
/// after which most supervisors kill.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// After a failure to accept (too many open files), for the system to recover.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then finishes what is under way.
///
/// # Errors
/// When the listener has no address.
pub async fn serve<E: Endpoint<Output = Response> + 'static>(
    listener: TcpListener,
    routes: E,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let local = listener.local_addr()?;
    let routes = Arc::new(routes);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut by_address: HashMap<IpAddr, usize> = HashMap::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => if let Ok(address) = ended {
                forget(&mut by_address, address);
            },
            (place, accepted) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let open = by_address.entry(network(peer.ip())).or_default();
                    if *open >= MAX_CONNECTIONS_OF_ONE {
                        // Dropped, and so closed: there is nobody to answer yet.
                        continue;
                    }
                    *open += 1;
                    let (routes, stopped) = (Arc::clone(&routes), stopped.clone());
                    connections.spawn(async move {
                        let connection = serve_connection(stream, local, peer, routes, stopped);
                        // A panic ends the connection, not the count.
                        let _ = AssertUnwindSafe(connection).catch_unwind().await;
                        drop(place);
                        network(peer.ip())
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

/// Counts one connection of an address less.
fn forget(by_address: &mut HashMap<IpAddr, usize>, address: IpAddr) {
    if let Some(open) = by_address.get_mut(&address) {
        *open -= 1;
        if *open == 0 {
            by_address.remove(&address);
        }
    }
}

async fn serve_connection<E: Endpoint<Output = Response> + 'static>(
    stream: TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
    routes: Arc<E>,
    mut stopped: watch::Receiver<()>,
) {
    // Answers are small; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let routes = Arc::clone(&routes);
        async move {
            let (local, peer) = (LocalAddr(local.into()), RemoteAddr(peer.into()));
            let request = Request::from((request, local, peer, Scheme::HTTP));
            Ok::<_, Infallible>(hyper::Response::from(routes.get_response(request).await))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        _ = stopped.changed() => {}
        () = tokio::time::sleep(CONNECTION_LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, connection).await;
}
