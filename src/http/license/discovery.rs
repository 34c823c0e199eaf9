//! Discovery: the addresses of this server, for an app that knows only the issuer in its license.

use poem::web::Data;
use poem_openapi::payload::{Json, Response};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::app::App;
use crate::domain::license::status_list;
use crate::http::Tag;
use crate::http::openapi::EXAMPLE_ORIGIN;
use crate::http::problem::{Failure, NothingMore};

pub struct DiscoveryApi;

/// How long clients may cache the addresses: an hour.
const CACHE_CONTROL: &str = "public, max-age=3600";

/// The addresses of this server.
#[derive(Object)]
#[oai(rename = "Discovery", example)]
struct DiscoveryView {
    /// The issuer of licenses: their claim `iss`.
    issuer: String,
    /// The id of the product: the claim `aud` of licenses.
    product: String,
    /// The name of the product, to show to people.
    name: String,
    /// The public keys for verifying licenses.
    jwks_uri: String,
    /// The key bundle. `null` while there is no key bundle.
    #[oai(nullable)]
    keys_uri: Option<String>,
    /// The addresses of the lists of revoked licenses. A license names its list.
    status_uri: String,
    /// The plans and their prices.
    plans_uri: String,
    /// Returns the newest license for an older one.
    refresh_uri: String,
    /// Verifies a license online.
    verify_uri: String,
    /// The pages of the customer's account.
    account_url: String,
    /// The description of this API.
    docs_url: String,
}

impl DiscoveryView {
    fn new(issuer: &str, product: &str, name: &str, at: impl Fn(&str) -> String) -> Self {
        Self {
            issuer: issuer.to_owned(),
            product: product.to_owned(),
            name: name.to_owned(),
            jwks_uri: at("/.well-known/jwks.json"),
            keys_uri: Some(at("/.well-known/license-keys")),
            status_uri: at(status_list::PATH),
            plans_uri: at("/api/plans"),
            refresh_uri: at("/api/licenses/refresh"),
            verify_uri: at("/api/licenses/verify"),
            account_url: at("/account"),
            docs_url: at("/docs"),
        }
    }
}

impl Example for DiscoveryView {
    fn example() -> Self {
        Self::new(EXAMPLE_ORIGIN, "acme-app", "Acme", |path| format!("{EXAMPLE_ORIGIN}{path}"))
    }
}

#[OpenApi(prefix_path = "/.well-known", tag = "Tag::Keys")]
impl DiscoveryApi {
    /// Discover this server
    ///
    /// Returns the addresses of this server, for an app that knows only the issuer in its license.
    #[oai(path = "/licentia", method = "get", operation_id = "getDiscovery")]
    async fn discover(
        &self,
        Data(app): Data<&App>,
    ) -> Result<Response<Json<DiscoveryView>>, Failure<NothingMore>> {
        let catalog = &app.plans;
        let at = |path: &str| format!("{}{path}", app.public_url);
        let mut view = DiscoveryView::new(&app.issuer, catalog.product.as_str(), &catalog.name, at);
        view.keys_uri = view.keys_uri.filter(|_| app.keys.current().bundle.is_some());
        Ok(Response::new(Json(view)).header("Cache-Control", CACHE_CONTROL))
    }
}
