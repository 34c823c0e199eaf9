//! Accepts the connections of the HTTP server and of the SMTP server. Their protocols are in
//! `server` and `smtp`.

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Runs `serve` for each connection until this future is dropped, which closes the connections.
pub async fn serve_each<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream));
                }
            }
        }
    }
}
