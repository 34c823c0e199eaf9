//! A running sandbox: the double with an HTTP server and a mail inbox. The actions of a test are in
//! `double`.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::double::Double;
use crate::options::{Options, Sending};
use crate::{sender, server, smtp};

/// Why a sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Other machines can reach the address.
    #[error("the sandbox listens on loopback only, and {0} is not; use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// Listening on the address failed.
    #[error("the sandbox cannot listen on {address}: {source}; is the port in use?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// A running sandbox. It stops when it is dropped.
pub struct Sandbox {
    double: Double,
    url: String,
    smtp: SocketAddr,
    tasks: JoinSet<()>,
}

impl Sandbox {
    /// Starts listening.
    ///
    /// # Errors
    /// When an address is not loopback, or cannot be listened on.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let (listener, address) = listen(options.listen).await?;
        let (smtp_listener, smtp) = listen(options.listen_smtp).await?;
        let url = format!("http://{address}");
        let automatic = options.sending == Sending::Automatic;
        let double = Double::new(options, url.clone());
        let shared = double.shared();
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(listener, Arc::clone(shared)));
        tasks.spawn(smtp::serve(smtp_listener, Arc::clone(shared)));
        if automatic {
            tasks.spawn(sender::run(Arc::clone(shared)));
        }
        Ok(Self { double, url, smtp, tasks })
    }

    /// Stops listening and closes every connection. Returns when that is done.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    /// The URL of the API and the pages: `http://127.0.0.1:…`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of the mail inbox: `smtp://127.0.0.1:…`.
    #[must_use]
    pub fn smtp_url(&self) -> String {
        format!("smtp://{}", self.smtp)
    }
}

impl Deref for Sandbox {
    type Target = Double;

    fn deref(&self) -> &Double {
        &self.double
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    if !address.ip().is_loopback() {
        return Err(StartError::NotLoopback(address));
    }
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
