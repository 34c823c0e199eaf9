//! The pages that links in mails open. They have no inline scripts or styles. The token is in the
//! URL's fragment, which browsers do not send; the page posts it when the reader presses a button,
//! so a mail scanner that opens the link does not use it.

use poem::{IntoEndpoint, Route};

use crate::http::static_file::file;

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
        .at("/verify", file("text/html; charset=utf-8", VERIFY, CONTENT_SECURITY_POLICY))
        .at("/reset", file("text/html; charset=utf-8", RESET, CONTENT_SECURITY_POLICY))
        .at("/undo", file("text/html; charset=utf-8", UNDO, CONTENT_SECURITY_POLICY))
        .at("/links.js", file("text/javascript; charset=utf-8", SCRIPT, CONTENT_SECURITY_POLICY))
        .at("/style.css", file("text/css; charset=utf-8", STYLE, CONTENT_SECURITY_POLICY))
}
