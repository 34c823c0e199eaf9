//! The servers of the demo: Licentia, the Stripe double and the mail inbox, in one process, with
//! one clock and temporary state. Nothing is bought here: the callers do that.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hyper::StatusCode;
use licentia_sandbox::{NewPrice, Options, PriceOptions, Sandbox, StartError};
use licentia_verify::Algorithm;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::{Body, Client};
use super::proof::Proven;
use crate::app::App;
use crate::cli::serve;
use crate::clock::Clock;
use crate::config::{
    Config, CreateCustomer, EmailConfig, LogFormat, Origin, StripeConfig, StripeMode,
};
use crate::domain::account::signup::Verification;
use crate::domain::contact::Sender;
use crate::domain::message::Language;
use crate::domain::operator::webhook_target::Targets;
use crate::domain::sale::plan::{Catalog, Interval};
use crate::domain::sale::webhook::EVENT_TYPES;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::plans;
use crate::random::Random;

/// The plans of the demo. Their prices are in the sandbox.
const PLANS: &str = include_str!("plans.toml");

/// A promotion code of the sandbox.
pub const CODE: &str = "LAUNCH20";

/// The discount of that code, in percent.
const CODE_PERCENT: &str = "20";

/// The running servers of a demo.
pub struct Stage {
    /// Licentia's URL, without a slash at the end.
    pub url: String,
    /// Licentia itself, for its plans and whether it has work left; everything else goes over HTTP.
    pub app: App,
    /// The Stripe double and the mail inbox.
    pub sandbox: Sandbox,
    /// The number of calls to the Stripe double that set the demo up.
    pub calls_of_setup: usize,
    /// The HTTP client for both.
    pub client: Client,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<()>>,
    directory: TempDir,
}

/// Moving the sandbox's clock moves Licentia too.
struct SandboxClock(licentia_sandbox::Clock);

impl Clock for SandboxClock {
    fn now(&self) -> Timestamp {
        Timestamp::saturating(self.0.now())
    }
}

impl Stage {
    /// Starts Licentia on `listen` and the sandbox on the next port. Port 0 selects free ports.
    ///
    /// # Errors
    /// [`Error::Setup`] when a port is in use, or the temporary directory cannot be created.
    pub async fn set_up(listen: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen).await;
        let listener = listener.map_err(|error| cannot_listen(listen, &error))?;
        let address = listener.local_addr().unwrap_or(listen);
        let sandbox = start_sandbox(listen).await?;
        stock(&sandbox, &plans::parse("the demo's plans", PLANS)?);
        let url = format!("http://{address}");
        let webhooks = format!("{url}/api/webhooks/stripe");
        let (_, webhook_secret) = sandbox.add_webhook_endpoint(&webhooks, EVENT_TYPES);

        let directory = tempfile::Builder::new().prefix("licentia-demo-").tempdir();
        let directory = directory.map_err(|error| {
            Error::setup(format!(
                "cannot create a temporary directory in {}: {error}; set TMPDIR to a writable \
                 directory",
                std::env::temp_dir().display()
            ))
        })?;
        let config = config(address, &sandbox, webhook_secret, directory.path())?;
        let client = Client::default();
        let coded = add_code(&sandbox, &client).await;
        coded.map_err(|unproven| Error::Internal(format!("{CODE} is not there: {unproven}")))?;
        let calls_of_setup = sandbox.api_calls();
        let clock = Arc::new(SandboxClock(sandbox.clock()));
        let app = App::start(&config, clock, Random::from_system()?).await?;
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn({
            let app = app.clone();
            async move {
                let stopped = async { drop(stopped.await) };
                serve::operate(listener, None, &app, &config, stopped).await
            }
        });
        Ok(Self { url, app, sandbox, calls_of_setup, client, stop, served, directory })
    }

    /// Returns the time of the sandbox's clock.
    pub fn now(&self) -> Timestamp {
        self.app.now()
    }

    /// Stops everything and removes its state.
    ///
    /// # Errors
    /// When the server failed, or the state cannot be removed.
    pub async fn end(self) -> Result<()> {
        // Sending fails only if the server has already stopped.
        let _ = self.stop.send(());
        let served = self.served.await;
        self.sandbox.stop().await;
        let path = self.directory.path().to_owned();
        let removed = self.directory.close();
        served.map_err(|error| Error::Internal(format!("the server ended: {error}")))??;
        removed.map_err(|error| {
            Error::setup(format!("cannot remove {}: {error}; remove it yourself", path.display()))
        })
    }
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Error {
    Error::setup(format!(
        "cannot listen on {address}: {error}; set `listen` (LICENTIA_LISTEN) to a loopback address \
         whose port and the one after it are free, like 127.0.0.1:4100"
    ))
}

/// Starts the sandbox on the port after Licentia's, which is easy to remember.
async fn start_sandbox(listen: SocketAddr) -> Result<Sandbox> {
    let port = if listen.port() == 0 { 0 } else { listen.port().checked_add(1).unwrap_or(0) };
    let address = |port| SocketAddr::new(listen.ip(), port);
    // The inbox keeps its default IPv4 address: lettre accepts no IPv6 address in a URL.
    let options = Options { listen: address(port), ..Options::default() };
    let started = Sandbox::start(options).await;
    started.map_err(|error| match error {
        StartError::Listen { address, source } => cannot_listen(address, &source),
        // Unreachable: the caller refused such an address.
        error @ StartError::NotLoopback(_) => Error::setup(error.to_string()),
    })
}

/// Creates the prices of the plans and add-ons in the Stripe double.
fn stock(sandbox: &Sandbox, catalog: &Catalog) {
    let plans = catalog.plans.iter().map(|plan| (&plan.name, &plan.prices));
    let addons = catalog.addons.iter().map(|addon| (&addon.name, &addon.prices));
    for (product, prices) in plans.chain(addons) {
        for price in prices {
            let interval = match price.interval {
                Interval::Month => licentia_sandbox::Interval::Month,
                Interval::Year => licentia_sandbox::Interval::Year,
                Interval::Once | Interval::Updates => licentia_sandbox::Interval::Once,
            };
            let new = NewPrice {
                id: &price.id,
                product,
                amount: price.amount.into(),
                currency: price.currency.as_str(),
                interval,
            };
            let others = price.others.iter();
            let others: Vec<_> =
                others.map(|(currency, amount)| (currency.as_str(), (*amount).into())).collect();
            let options = PriceOptions { currencies: &others, ..PriceOptions::default() };
            sandbox.add_price_with(&new, &options);
        }
    }
}

/// Creates the promotion code in the Stripe double.
async fn add_code(sandbox: &Sandbox, client: &Client) -> Proven<()> {
    let coupon = [("id", "launch"), ("percent_off", CODE_PERCENT), ("duration", "once")];
    let code = [("promotion[type]", "coupon"), ("promotion[coupon]", "launch"), ("code", CODE)];
    for (path, form) in [("coupons", coupon), ("promotion_codes", code)] {
        let url = format!("{}/v1/{path}", sandbox.url());
        let made = client.post(&url, Some(sandbox.secret_key()), Body::Form(&form)).await?;
        made.has_status(StatusCode::OK)?;
    }
    Ok(())
}

/// Returns the demo's own configuration. It uses nothing of the operator's.
fn config(
    address: SocketAddr,
    sandbox: &Sandbox,
    webhook_secret: String,
    directory: &Path,
) -> Result<Config> {
    let origin = |url: &str| {
        url.parse().map_err(|error| Error::Internal(format!("{url} is no origin: {error}")))
    };
    let api_url = url::Url::parse(sandbox.url())
        .map_err(|error| Error::Internal(format!("{} is no URL: {error}", sandbox.url())))?;
    let smtp_url =
        sandbox.smtp_url().parse().map_err(|error| Error::setup(format!("`smtp_url`: {error}")))?;
    let (database, plans) = (directory.join("licentia.db"), directory.join("plans.toml"));
    std::fs::write(&plans, PLANS)
        .map_err(|error| Error::setup(format!("{} cannot be written: {error}", plans.display())))?;
    Ok(Config {
        listen: address,
        public_url: Origin::of(address),
        is_public_url_set: false,
        database_url: format!("sqlite://{}", database.display()).into(),
        keys_dir: directory.join("keys"),
        signing_key: None,
        former_signing_keys: None,
        keys_passphrase: None,
        license_algorithm: Algorithm::default(),
        is_license_algorithm_set: false,
        plans_file: Some(plans),
        signup_verification: Verification::default(),
        trusted_proxies: Vec::new(),
        log: String::new(),
        log_format: LogFormat::Text,
        metrics_listen: None,
        email: EmailConfig {
            smtp_url: Some(smtp_url),
            from: Sender::of(None),
            folder: directory.join("mail"),
            templates: None,
            language: Language::default(),
        },
        stripe: Some(StripeConfig {
            secret_key: sandbox.secret_key().into(),
            mode: StripeMode::Test,
            webhook_secrets: vec![webhook_secret.into()],
            api_url: Some(api_url),
            create_customer: CreateCustomer::default(),
        }),
        // A browser may open Swagger UI as localhost too.
        return_origins: vec![
            origin(sandbox.url())?,
            origin(&format!("http://localhost:{}", address.port()))?,
        ],
        // All programs of the demo are on this machine, and so is a receiver.
        webhook_targets: Targets::Any,
    })
}
