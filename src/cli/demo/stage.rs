//! What a demo runs: Licentia itself, the double of Stripe and the mail inbox, in one process, living
//! by one clock, on state that is thrown away. What is done with it is up to the callers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use licentia_sandbox::{NewPrice, Options, Sandbox, StartError};
use licentia_verify::Algorithm;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::Client;
use crate::app::App;
use crate::cli::serve;
use crate::clock::Clock;
use crate::config::{Config, CreateCustomer, EmailConfig, Origin, StripeConfig, StripeMode};
use crate::domain::contact::Sender;
use crate::domain::plan::{Catalog, Interval};
use crate::domain::time::Timestamp;
use crate::domain::webhook::EVENT_TYPES;
use crate::error::{Error, Result};
use crate::plans;
use crate::random::Random;

/// Everything that a demo runs.
pub struct Stage {
    /// Where Licentia is, without a slash at the end.
    pub url: String,
    /// Licentia itself, to look up what it sells; everything else is asked over HTTP.
    pub app: App,
    /// Stripe's double, and the mail inbox.
    pub sandbox: Sandbox,
    /// Asks both over HTTP.
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
    /// Starts everything: Licentia on `listen`, the sandbox on the next port; port 0 takes free ones.
    ///
    /// # Errors
    /// [`Error::Setup`] when a port is in use, or there is no room for the state.
    pub async fn set_up(listen: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen).await;
        let listener = listener.map_err(|error| cannot_listen(listen, &error))?;
        let address = listener.local_addr().unwrap_or(listen);
        let sandbox = start_sandbox(listen).await?;
        // The built-in plans, whatever is configured: these prices exist in the sandbox.
        stock(&sandbox, &plans::load(None)?);
        let url = format!("http://{address}");
        let webhooks = format!("{url}/api/webhooks/stripe");
        let (_, webhook_secret) = sandbox.add_webhook_endpoint(&webhooks, &EVENT_TYPES);

        let directory = tempfile::Builder::new().prefix("licentia-demo-").tempdir();
        let directory = directory.map_err(|error| {
            Error::setup(format!(
                "there is no room for the demo's state in {}: {error}; set TMPDIR to a directory \
                 that can be written to",
                std::env::temp_dir().display()
            ))
        })?;
        let config = config(address, &sandbox, webhook_secret, directory.path())?;
        let clock = Arc::new(SandboxClock(sandbox.clock()));
        let app = App::start(&config, clock, Random::from_system()?).await?;
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn({
            let app = app.clone();
            async move {
                let stopped = async { drop(stopped.await) };
                serve::operate(listener, &app, &config, stopped).await
            }
        });
        Ok(Self { url, app, sandbox, client: Client::default(), stop, served, directory })
    }

    /// The time, as everybody on the stage has it.
    pub fn now(&self) -> Timestamp {
        self.app.now()
    }

    /// Stops everything and removes its state.
    ///
    /// # Errors
    /// When the server had failed, or the state cannot be removed.
    pub async fn end(self) -> Result<()> {
        // The receiver is gone only when the server is.
        let _ = self.stop.send(());
        let served = self.served.await;
        self.sandbox.stop().await;
        let path = self.directory.path().to_owned();
        let removed = self.directory.close();
        served.map_err(|error| Error::Internal(format!("the server ended: {error}")))??;
        removed.map_err(|error| {
            Error::setup(format!("{} is left and can be removed: {error}", path.display()))
        })
    }
}

fn cannot_listen(address: SocketAddr, why: &std::io::Error) -> Error {
    Error::setup(format!(
        "cannot listen on {address}: {why}; set `listen` (LICENTIA_LISTEN) to a loopback address \
         whose port and the one after it are free, like 127.0.0.1:4100"
    ))
}

/// On the port after Licentia's, so that both are easy to remember.
async fn start_sandbox(listen: SocketAddr) -> Result<Sandbox> {
    let port = if listen.port() == 0 { 0 } else { listen.port().checked_add(1).unwrap_or(0) };
    let address = |port| SocketAddr::new(listen.ip(), port);
    // The inbox stays where it is by default, on IPv4: lettre takes no IPv6 address in a URL.
    let options = Options { listen: address(port), ..Options::default() };
    let started = Sandbox::start(options).await;
    started.map_err(|error| match error {
        StartError::Listen { address, source } => cannot_listen(address, &source),
        // The caller refused such an address already.
        error @ StartError::NotLoopback(_) => Error::setup(error.to_string()),
    })
}

/// Has Stripe's double sell what the plans say.
fn stock(sandbox: &Sandbox, catalog: &Catalog) {
    for plan in &catalog.plans {
        for price in &plan.prices {
            let interval = match price.interval {
                Interval::Month => licentia_sandbox::Interval::Month,
                Interval::Year => licentia_sandbox::Interval::Year,
            };
            sandbox.add_price(&NewPrice {
                id: &price.id,
                product: &plan.name,
                amount: price.amount.into(),
                currency: &price.currency,
                interval,
            });
        }
    }
}

/// Nothing of what is configured: a demo must not touch it.
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
    let database = directory.join("licentia.db");
    Ok(Config {
        listen: address,
        public_url: Origin::of(address),
        database_url: format!("sqlite://{}", database.display()).into(),
        keys_dir: directory.join("keys"),
        signing_key: None,
        keys_passphrase: None,
        license_algorithm: Algorithm::default(),
        plans_file: None,
        trusted_proxies: Vec::new(),
        log: String::new(),
        email: EmailConfig {
            smtp_url: Some(smtp_url),
            from: Sender::of(None),
            folder: directory.join("mail"),
        },
        stripe: Some(StripeConfig {
            secret_key: sandbox.secret_key().into(),
            mode: StripeMode::Test,
            webhook_secrets: vec![webhook_secret.into()],
            api_url: Some(api_url),
            create_customer: CreateCustomer::default(),
        }),
        // Swagger UI may have been opened by the machine's name.
        return_origins: vec![
            origin(sandbox.url())?,
            origin(&format!("http://localhost:{}", address.port()))?,
        ],
    })
}
