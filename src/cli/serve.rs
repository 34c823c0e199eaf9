//! `licentia serve`.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::log::Log;
use super::{wait, write_out};
use crate::app::{App, Files};
use crate::clock::SystemClock;
use crate::config::{Config, StripeMode};
use crate::error::{Error, Result};
use crate::http;
use crate::random::Random;
use crate::store::Store;
use crate::worker;

/// How long a mail that is being sent, or a call to Stripe, holds up the end.
const WORKER_TIMEOUT: Duration = Duration::from_secs(10);

/// Signals this close together are one: timeout(1) sends it to the process and to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

pub const EXAMPLES: &str = "Examples:
  licentia serve
  LICENTIA_LISTEN=0.0.0.0:3100 LICENTIA_PUBLIC_URL=https://licenses.acme.example licentia serve
  LICENTIA_DATABASE_URL=postgres://licentia@db/licentia licentia serve

It stops on Ctrl-C or SIGTERM, after finishing what is under way. SIGHUP is ignored.";

pub fn run(config: &Config) -> Result<ExitCode> {
    let _log = Log::start(&config.log)?;
    wait(serve(config))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config) -> Result<()> {
    // A closed terminal, or a program that rotates logs, sends it. Once heard, it never ends the process.
    let _ = signal(SignalKind::hangup());
    let files = Files::read(config)?;
    // Before anything is written: on a busy port another server works, perhaps on the same database.
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        Error::setup(format!(
            "cannot listen on {}: {error}; set `listen` (LICENTIA_LISTEN) to a free address",
            config.listen
        ))
    })?;
    let app = files.start(config, Arc::new(SystemClock), Random::from_system()?).await?;
    let address = listener.local_addr().unwrap_or(config.listen);
    if !address.ip().is_loopback() && !config.public_url.is_https() {
        tracing::warn!(
            "listening for other machines without TLS: put a proxy with TLS in front, and set \
             `public_url` to its https:// address"
        );
    }
    if config.stripe.as_ref().is_some_and(|stripe| stripe.webhook_secrets.is_empty()) {
        tracing::warn!(
            "nothing is sold: `stripe.webhook_secret` is not set, and payments would never be heard \
             of; `licentia stripe setup` makes the endpoint and shows its secret"
        );
    }
    let elsewhere = config.stripe.as_ref().filter(|stripe| stripe.mode == StripeMode::Live);
    if let Some(url) = elsewhere.and_then(|stripe| stripe.api_url.as_ref()) {
        tracing::warn!(
            "live calls to Stripe go to {url} (`stripe.api_url`): who answers there gets the key, and \
             says who paid"
        );
    }
    // Heard before anybody is told that the server is there.
    let stop = stop_signal();
    greet(&app, config, address);
    operate(listener, &app, config, stop).await
}

/// Serves and works until `stop`, then finishes what is under way.
pub(super) async fn operate(
    listener: TcpListener,
    app: &App,
    config: &Config,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    http::take_figures();
    let (end, ended) = watch::channel(());
    let worker = tokio::spawn(worker::run(app.clone(), ended));
    // Both finish at the same time; what comes in meanwhile is worked on after the next start.
    let stop = async {
        stop.await;
        end.send_replace(());
    };
    let served = http::serve(listener, app, config, stop).await;
    end.send_replace(());
    // What is under way is finished; if that takes too long, the next start does it again.
    let finished = async {
        let _ = worker.await;
        app.tasks.finished().await;
    };
    if tokio::time::timeout(WORKER_TIMEOUT, finished).await.is_err() {
        tracing::warn!("a mail, or a call to Stripe, was still under way and will be made again");
    }
    app.store.close().await;
    served.map_err(|error| Error::Internal(format!("the server stopped: {error}")))
}

fn greet(app: &App, config: &Config, mut address: SocketAddr) {
    if address.ip().is_unspecified() {
        // All addresses: show one that a browser on this machine can open.
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let (version, url) = (env!("CARGO_PKG_VERSION"), format!("http://{address}"));
    let (product, keys) = (&app.plans.product, config.keys_dir.display());
    let mail = match &config.email.smtp_url {
        Some(_) => "SMTP".to_owned(),
        None => format!("the folder {}", config.email.folder.display()),
    };
    let plans = config.plans_file.as_ref();
    let plans = plans.map_or("built-in examples".into(), |path| path.display().to_string());
    let database = match &app.store {
        Store::Sqlite { .. } => "SQLite",
        Store::Postgres(_) => "PostgreSQL",
    };
    let stripe = match &config.stripe {
        Some(stripe) if !stripe.webhook_secrets.is_empty() => format!("{} mode", stripe.mode),
        Some(_) => "no webhook secret: nothing is sold".to_owned(),
        None => "not connected: nothing is sold".to_owned(),
    };
    let written = write_out(format_args!(
        "Licentia {version} listens on {url}\n\
         \x20 Swagger UI  {url}/docs\n\
         \x20 Product     {product} (plans: {plans})\n\
         \x20 Database    {database}\n\
         \x20 Stripe      {stripe}\n\
         \x20 Mail        {mail}\n\
         \x20 Keys        {keys}\n"
    ));
    if let Err(error) = written {
        tracing::warn!(%error, url, "listening; standard output cannot be written");
    }
}

/// Until Ctrl-C or SIGTERM, which are heard from this call on. Without the means to hear them, the
/// process is stopped by its default.
pub(super) fn stop_signal() -> impl Future<Output = ()> {
    let first = signalled();
    async {
        if !first.await {
            std::future::pending::<()>().await;
        }
        // Who asks a second time does not want to wait for what is under way.
        tokio::spawn(async {
            tokio::time::sleep(SAME_SIGNAL).await;
            if signalled().await {
                std::process::exit(i32::from(super::NO));
            }
        });
    }
}

/// Waits for a signal that comes after this call. Answers whether one came; if not, there is no
/// means to hear it.
fn signalled() -> impl Future<Output = bool> {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async {
        let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else { return false };
        tokio::select! {
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
        }
    }
}
