//! The pages that links in mails open. They have no inline scripts or styles. The token is in the
//! URL's fragment, which browsers do not send; the page posts it when the reader presses a button,
//! so a mail scanner that opens the link does not use it. A link to the payment provider's portal
//! has its token in the query, and is redirected.

use std::sync::Arc;

use poem::endpoint::make;
use poem::http::{StatusCode, header};
use poem::{Endpoint, FromRequest, IntoEndpoint, Request, Response, Route, get};
use url::form_urlencoded;

use crate::app::App;
use crate::error::Error;
use crate::flows::sale::subscription;
use crate::http::caller::Client;
use crate::http::static_file::file;
use crate::http::throttle::Throttle;

const ACCOUNT: &str = include_str!("pages/account.html");
const ACCOUNT_SCRIPT: &str = include_str!("pages/account.js");
const PORTAL_CLOSED: &str = include_str!("pages/portal_closed.html");

const VERIFY: &str = include_str!("pages/verify.html");
const RESET: &str = include_str!("pages/reset.html");
const UNDO: &str = include_str!("pages/undo.html");
const SCRIPT: &str = include_str!("pages/links.js");
const STYLE: &str = include_str!("pages/style.css");

/// Everything comes from this server.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; \
     form-action 'none'";

/// Returns the pages and their files, to be nested under `/account`. A page has the path of its
/// [`crate::domain::account::mail_link::LinkKind`].
pub fn pages() -> impl IntoEndpoint {
    Route::new()
        .at("/", file("text/html; charset=utf-8", ACCOUNT, CONTENT_SECURITY_POLICY))
        .at(
            "/account.js",
            file("text/javascript; charset=utf-8", ACCOUNT_SCRIPT, CONTENT_SECURITY_POLICY),
        )
        .at("/portal", portal())
        .at(
            "/portal/closed",
            file("text/html; charset=utf-8", PORTAL_CLOSED, CONTENT_SECURITY_POLICY),
        )
        .at("/verify", file("text/html; charset=utf-8", VERIFY, CONTENT_SECURITY_POLICY))
        .at("/reset", file("text/html; charset=utf-8", RESET, CONTENT_SECURITY_POLICY))
        .at("/undo", file("text/html; charset=utf-8", UNDO, CONTENT_SECURITY_POLICY))
        .at("/links.js", file("text/javascript; charset=utf-8", SCRIPT, CONTENT_SECURITY_POLICY))
        .at("/style.css", file("text/css; charset=utf-8", STYLE, CONTENT_SECURITY_POLICY))
}

/// Returns the endpoint of links to the portal. Each request makes a session at the payment
/// provider and redirects to it. A link that no longer works leads to a page that says so.
fn portal() -> impl Endpoint<Output = Response> {
    get(make(|request: Request| async move {
        match portal_url(&request).await {
            Ok(url) => Ok(redirect(&url)),
            Err(Error::InvalidLink | Error::LinkExpired | Error::NotFound(_)) => {
                Ok(redirect("/account/portal/closed"))
            }
            Err(error) => Err(poem::Error::from(error)),
        }
    }))
}

fn redirect(to: &str) -> Response {
    Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, to).finish()
}

async fn portal_url(request: &Request) -> crate::error::Result<String> {
    let missing = || Error::Internal("a handler has no app".into());
    let app = request.data::<App>().ok_or_else(missing)?;
    let throttle = request.data::<Arc<Throttle>>().ok_or_else(missing)?;
    let client = Client::from_request_without_body(request).await;
    throttle.client(client.map_err(|_| missing())?.address)?;
    let query = request.uri().query().unwrap_or_default();
    let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
    let token = token.map(|(_, token)| token).unwrap_or_default();
    let customer = subscription::customer_of_link(app, &token).await?;
    throttle.billing(&customer.customer_id)?;
    let own = format!("{}/account", app.public_url);
    subscription::portal_for_link(app, &customer, Some(own)).await
}
