//! The HTTP API, its OpenAPI description, and the server. Only this module names poem. A handler
//! parses the request, calls one flow, and builds the response.

mod account;
mod body;
mod caller;
mod cors;
mod docs;
mod edge;
mod idempotency;
mod input;
mod license;
pub mod openapi;
mod operator;
mod page;
mod problem;
mod sale;
mod server;
mod static_file;
mod throttle;

use std::future::Future;

use poem::{EndpointExt, IntoEndpoint, Route};
use poem_openapi::{OpenApi, OpenApiService, Tags};
use tokio::net::TcpListener;

use crate::app::App;
use crate::config::Config;

use caller::TrustedProxies;
use edge::Edge;
pub use sale::webhooks::PATH as WEBHOOK_PATH;
use server::pool::Pool;

/// The tags of the OpenAPI description.
#[derive(Tags)]
enum Tag {
    /// Sign up, log in, and manage the account. Start here: `signUp` returns a trial license and
    /// the session token for *Authorize*.
    Customers,
    /// The plans that are for sale.
    Plans,
    /// The signed licenses that apps verify offline.
    Licenses,
    /// Buy a plan, change it, and list payments. Card numbers are entered at the payment provider
    /// only.
    Subscriptions,
    /// Called by the payment provider.
    Webhooks,
    /// The addresses of this server, and the public keys for verifying licenses. For apps.
    Keys,
    /// For operators. Needs an admin key (`licentia admin-key create`).
    Administration,
    /// Health checks and metrics for monitoring.
    Operations,
}

/// Returns the handlers of all operations.
fn api() -> impl OpenApi + 'static {
    (account::apis(), sale::apis(), license::apis(), operator::apis())
}

/// Returns all operations.
fn service() -> OpenApiService<impl OpenApi + 'static, ()> {
    OpenApiService::new(api(), "Licentia", env!("CARGO_PKG_VERSION"))
}

/// Returns all routes: the API, its description, Swagger UI, and the pages of links in mails.
fn routes(app: &App, config: &Config) -> Edge {
    let mut description = openapi::document();
    if config.metrics_listen.is_some() {
        openapi::retain_paths(&mut description, |path| path != METRICS);
    }
    let paths = openapi::Paths::of(&description);
    let pages = Route::new()
        .nest("/docs", docs::pages())
        .nest("/account", account::pages::pages())
        .at("/openapi.json", openapi::endpoint(&description, &config.public_url))
        .boxed();
    let api = service().into_endpoint();
    Edge::new(api, pages, app.clone(), paths, config.public_url.is_https())
}

/// The path of the metrics.
const METRICS: &str = "/metrics";

/// Returns the route of the metrics, for a listener of their own.
fn metrics_route(app: &App, config: &Config) -> Edge {
    let mut description = openapi::document();
    openapi::retain_paths(&mut description, |path| path == METRICS);
    let paths = openapi::Paths::of(&description);
    let api = service().into_endpoint();
    Edge::new(api, Route::new().boxed(), app.clone(), paths, config.public_url.is_https())
}

/// Serves the API on a listener until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    app: &App,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let proxies = TrustedProxies(config.trusted_proxies.clone().into());
    let pool = Pool::new(app.metrics.http_connections_closed.clone());
    server::serve(listener, routes(app, config), proxies, pool, shutdown).await
}

/// Serves only the metrics on a listener until `shutdown`, with the limits of [`serve`].
///
/// # Errors
/// When the listener fails.
pub async fn serve_metrics(
    listener: TcpListener,
    app: &App,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let pool = Pool::new(app.metrics.http_connections_closed.clone());
    let proxies = TrustedProxies::default();
    server::serve(listener, metrics_route(app, config), proxies, pool, shutdown).await
}
