//! The only place that names poem: the API of the product, its description, and the server.
//! Handlers parse, call one flow, and shape the answer; they decide nothing.

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

/// The chapters of the API description.
#[derive(Tags)]
enum Tag {
    /// Sign up, log in, and look after the own record. Start here: `signUp` answers a license and
    /// the session token for *Authorize*.
    Customers,
    /// What is sold.
    Plans,
    /// The signed licenses that apps verify offline.
    Licenses,
    /// Buy a plan, change it, and see what was paid. Cards are entered at the payment provider only.
    Subscriptions,
    /// For the payment provider.
    Webhooks,
    /// The public keys that licenses are verified with.
    Keys,
    /// For the people who run this service, with an admin key that `licentia admin-key create` makes.
    Administration,
    /// Whether the service works, for machines that watch it.
    Operations,
}

/// Every operation.
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

/// Everything that the server answers.
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

/// Begins to take figures, for whatever counts before the API is served.
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
