//! The HTTP API, its OpenAPI description, and the server. Only this module names poem. A handler
//! parses the request, calls one flow, and builds the response.

mod admin;
mod body;
mod caller;
mod closing;
mod connection;
mod customers;
mod docs;
mod edge;
mod health;
mod input;
mod keys;
mod licenses;
mod mail_budget;
mod metrics;
pub mod openapi;
mod orders;
mod plans;
mod pool;
mod problem;
mod server;
mod sessions;
mod subscriptions;
mod throttle;
mod webhooks;

use std::future::Future;
use std::sync::Arc;

use poem::{Endpoint, EndpointExt, Response, Route};
use poem_openapi::{OpenApiService, Tags};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::app::App;
use crate::config::Config;
use crate::tasks::Background;

use caller::TrustedProxies;
use edge::Edge;
pub use webhooks::PATH as WEBHOOK_PATH;

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
    /// The public keys for verifying licenses.
    Keys,
    /// For operators. Needs an admin key (`licentia admin-key create`).
    Administration,
    /// Health checks and metrics for monitoring.
    Operations,
}

/// All operations.
type Api = (
    customers::CustomersApi,
    sessions::SessionsApi,
    plans::PlansApi,
    licenses::LicensesApi,
    subscriptions::SubscriptionsApi,
    orders::OrdersApi,
    webhooks::WebhooksApi,
    keys::KeysApi,
    admin::AdminApi,
    health::HealthApi,
    metrics::MetricsApi,
);

fn service() -> OpenApiService<Api, ()> {
    let api = (
        customers::CustomersApi,
        sessions::SessionsApi,
        plans::PlansApi,
        licenses::LicensesApi,
        subscriptions::SubscriptionsApi,
        orders::OrdersApi,
        webhooks::WebhooksApi,
        keys::KeysApi,
        admin::AdminApi,
        health::HealthApi,
        metrics::MetricsApi,
    );
    OpenApiService::new(api, "Licentia", env!("CARGO_PKG_VERSION"))
}

/// Returns all routes: the API, its description, and Swagger UI.
fn routes(app: &App, config: &Config) -> Edge<impl Endpoint<Output = Response> + 'static> {
    let description = openapi::document();
    let paths = openapi::Paths::of(&description);
    let inner = Route::new()
        .nest("/docs", docs::pages())
        .at("/openapi.json", openapi::endpoint(&description))
        .nest("/", service())
        .data(app.clone())
        .data(Arc::new(throttle::Throttle::default()))
        .map_to_response();
    Edge::new(inner, app.clone(), paths, config.public_url.is_https())
}

/// Installs the metrics recorder. Call it first: counts made before it are lost.
pub fn take_figures() {
    let _ = metrics::recorder();
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
    let (_end, ended) = watch::channel(());
    let tasks = app.tasks.clone();
    let upkeep = tokio::spawn(async move {
        tasks.keep(Background::Metrics, ended, metrics::upkeep).await;
    });
    let proxies = TrustedProxies(config.trusted_proxies.clone().into());
    let served = server::serve(listener, routes(app, config), proxies, shutdown).await;
    upkeep.abort();
    served
}
