//! `licentia serve`: starts the server and the worker, and stops both on a signal. Requests are
//! handled in [`crate::http`], background work in [`crate::worker`].

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::log::Log;
use super::{wait, write_out};
use crate::app::{App, Files};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, LogFormat, StripeMode};
use crate::error::{Error, Result};
use crate::flows::sale::account_check;
use crate::flows::sale::plans::report_removals;
use crate::http;
use crate::keys::ROOT_FILE;
use crate::random::Random;
use crate::store::Store;
use crate::worker;

/// How long shutdown waits for a mail that is being sent or a call to Stripe.
const WORKER_TIMEOUT: Duration = Duration::from_secs(10);

/// Signals this close together count as one: timeout(1) signals the process and its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

pub const EXAMPLES: &str = "Examples:
  licentia serve
  LICENTIA_LISTEN=0.0.0.0:3100 LICENTIA_PUBLIC_URL=https://licenses.acme.example licentia serve
  LICENTIA_DATABASE_URL=postgres://licentia@db/licentia licentia serve

The server stops on Ctrl-C or SIGTERM, after finishing open requests. A second signal stops it at
once. On SIGHUP it reads the signing keys again.";

/// Runs the server until a signal. `file` is the configuration file of `--config`.
pub fn run(config: &Config, file: Option<&Path>) -> Result<ExitCode> {
    let _log = Log::start(&config.log, config.log_format)?;
    if let Some(warning) = Config::exposed(file) {
        tracing::warn!("{warning}");
    }
    wait(serve(config))?;
    Ok(ExitCode::SUCCESS)
}

/// Reports why the server cannot start or stopped, in the format of its log. Returns the exit code.
pub fn fail(error: &Error, format: LogFormat) -> ExitCode {
    if format == LogFormat::Text {
        return super::fail(error);
    }
    for problem in super::problems(error) {
        super::note(format_args!("{}\n", json_line("ERROR", &problem, json!({}))));
    }
    ExitCode::from(super::NO)
}

/// Returns a line that is not from the log, as the log writes lines.
fn json_line(level: &str, message: &str, mut fields: Value) -> Value {
    fields["timestamp"] = SystemClock.now().to_string().into();
    fields["level"] = level.into();
    fields["message"] = message.into();
    fields
}

async fn serve(config: &Config) -> Result<()> {
    // With a handler, the SIGHUP of a closed terminal does not end the process.
    let hangups = signal(SignalKind::hangup());
    let files = Files::read(config)?;
    // Bind before anything is written: a server on a busy port may be using the same database.
    let listener = listen(config.listen, "listen").await?;
    let metrics = match config.metrics_listen {
        Some(address) => Some(listen(address, "metrics_listen").await?),
        None => None,
    };
    let app = files.prepare(config, Arc::new(SystemClock), Random::from_system()?).await?;
    account_check::at_start(&app).await?;
    report_removals(&app).await?;
    app.publish().await?;
    let address = listener.local_addr().unwrap_or(config.listen);
    if !address.ip().is_loopback() && !config.public_url.is_https() {
        tracing::warn!(
            "other machines can reach this server without TLS: put a TLS proxy in front of it, and \
             set `public_url` to its https:// address"
        );
    }
    if config.stripe.as_ref().is_some_and(|stripe| stripe.webhook_secrets.is_empty()) {
        tracing::warn!(
            "selling is off: `stripe.webhook_secret` is not set, so payments could not be \
             received; `licentia stripe setup` creates the endpoint and shows its secret"
        );
    }
    let live = config.stripe.as_ref().filter(|stripe| stripe.mode == StripeMode::Live);
    if let Some(url) = live.and_then(|stripe| stripe.api_url.as_ref()) {
        tracing::warn!(
            "live calls to Stripe go to {url} (`stripe.api_url`): that host gets the secret key \
             and decides which payments count"
        );
    }
    let root = config.keys_dir.join(ROOT_FILE);
    if root.exists() {
        let root = root.display();
        tracing::warn!(
            "the root key is on this server ({root}): whoever copies it can sign for every app \
             that pins it, and only new apps help then; docs/keys.md says how to move it off"
        );
    }
    // The signal handlers are installed before the address is printed.
    let stop = stop_signal();
    let metrics_at = metrics.as_ref().and_then(|metrics| metrics.local_addr().ok());
    greet(&app, config, address, metrics_at);
    if let Ok(hangups) = hangups {
        tokio::spawn(reload_on_hangup(app.clone(), hangups));
    }
    operate(listener, metrics, &app, config, stop).await
}

/// Has the keys read again at each SIGHUP.
async fn reload_on_hangup(app: App, mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        tracing::info!("SIGHUP: reading the keys again");
        app.keys_due.notify_one();
    }
}

async fn listen(address: SocketAddr, setting: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let variable = format!("LICENTIA_{}", setting.to_uppercase());
        Error::setup(format!(
            "cannot listen on {address}: {error}; set `{setting}` ({variable}) to a free address"
        ))
    })
}

/// Runs the server and the worker until `stop`, then finishes open requests and background work.
/// `metrics` is the listener for the metrics, if they have their own.
pub(super) async fn operate(
    listener: TcpListener,
    metrics: Option<TcpListener>,
    app: &App,
    config: &Config,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let (end, ended) = watch::channel(());
    let worker = tokio::spawn(worker::run(app.clone(), ended));
    // Both stop together. Events that arrive meanwhile are processed after the next start.
    let stop = async {
        stop.await;
        end.send_replace(());
    };
    let mut over = end.subscribe();
    let main = async {
        let served = http::serve(listener, app, config, stop).await;
        end.send_replace(());
        served
    };
    let side = async {
        let Some(metrics) = metrics else { return Ok(()) };
        http::serve_metrics(metrics, app, config, async { drop(over.changed().await) }).await
    };
    let (served, measured) = tokio::join!(main, side);
    let served = served.and(measured);
    // Work that does not finish in time is repeated after the next start.
    let finished = async {
        let _ = worker.await;
        app.tasks.finished().await;
    };
    if tokio::time::timeout(WORKER_TIMEOUT, finished).await.is_err() {
        tracing::warn!(
            "a mail or a call to Stripe did not finish; it is repeated at the next start"
        );
    }
    app.store.close().await;
    served.map_err(|error| Error::Internal(format!("the server stopped: {error}")))
}

fn greet(app: &App, config: &Config, mut address: SocketAddr, metrics: Option<SocketAddr>) {
    if address.ip().is_unspecified() {
        // 0.0.0.0 is not an address to open: show one that a browser on this machine can use.
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
        Some(_) => "no webhook secret: selling is off".to_owned(),
        None => "not connected: selling is off".to_owned(),
    };
    let metrics = metrics.map(|address| format!("http://{address}/metrics"));
    let written = match config.log_format {
        LogFormat::Text => write_out(format_args!(
            "Licentia {version} listens on {url}\n\
             \x20 Swagger UI  {url}/docs\n\
             \x20 Product     {product} (plans: {plans})\n\
             \x20 Database    {database}\n\
             \x20 Stripe      {stripe}\n\
             \x20 Mail        {mail}\n{}\
             \x20 Keys        {keys}\n",
            metrics.map(|url| format!("  Metrics     {url}\n")).unwrap_or_default()
        )),
        LogFormat::Json => write_out(format_args!(
            "{}\n",
            json_line(
                "INFO",
                "listening",
                json!({
                    "version": version, "url": url, "product": product.as_str(), "plans": plans,
                    "database": database, "stripe": stripe, "mail": mail,
                    "keys": keys.to_string(), "metrics": metrics,
                })
            )
        )),
    };
    if let Err(error) = written {
        tracing::warn!(%error, url, "listening; standard output cannot be written");
    }
}

/// Returns a future that ends on Ctrl-C or SIGTERM. The handlers are installed by this call. If
/// they cannot be installed, the future never ends and a signal kills the process by default.
pub(super) fn stop_signal() -> impl Future<Output = ()> {
    let first = signalled();
    async {
        if !first.await {
            std::future::pending::<()>().await;
        }
        // A second signal stops the process without waiting for open work.
        tokio::spawn(async {
            tokio::time::sleep(SAME_SIGNAL).await;
            if signalled().await {
                std::process::exit(i32::from(super::NO));
            }
        });
    }
}

/// Returns a future that waits for a signal sent after this call. Its output is false if the
/// handlers cannot be installed.
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
