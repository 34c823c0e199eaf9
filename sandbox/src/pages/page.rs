//! The responses with pages: HTML or a file, and the headers. The contents are in the other files.

use std::collections::HashMap;

use askama::Template;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

/// Allows only the sandbox's style sheet. There is no `form-action`, because browsers apply it to
/// the redirect after a form, and checkout redirects to the vendor's site.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; \
     img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'";

/// A mail's HTML runs no scripts, loads nothing, and cannot reach the sandbox's pages.
const MAIL_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";

/// The response to a request for a page.
pub enum Page {
    Html(String),
    /// A mail's own HTML.
    MailHtml(String),
    File {
        content_type: String,
        name: String,
        bytes: Vec<u8>,
    },
    Style,
    Redirect(String),
    NotFound,
    ForeignOrigin,
}

/// The fields of a form.
pub type Form = HashMap<String, String>;

/// Returns a field of a form; empty if it is missing.
pub fn field<'a>(form: &'a Form, name: &str) -> &'a str {
    form.get(name).map_or("", String::as_str)
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    title: &'a str,
    text: &'a str,
}

/// Returns a page with one message.
pub fn message(title: &str, text: &str) -> Page {
    html(&MessagePage { title, text })
}

/// Returns the page of a template.
pub fn html(template: &impl Template) -> Page {
    // Rendering fails only if writing to memory does.
    Page::Html(template.render().unwrap_or_default())
}

/// Returns the HTTP response of a page.
pub fn respond(page: Page) -> Response<Full<Bytes>> {
    let (status, page) = match page {
        Page::NotFound => {
            let text = "This page does not exist. The overview links to all pages.";
            (StatusCode::NOT_FOUND, message("Not found", text))
        }
        Page::ForeignOrigin => {
            let text = "This form is on another site. The sandbox accepts only its own forms.";
            (StatusCode::FORBIDDEN, message("Refused", text))
        }
        Page::Redirect(_) => (StatusCode::SEE_OTHER, page),
        page => (StatusCode::OK, page),
    };
    let html = "text/html; charset=utf-8".to_owned();
    let (content_type, policy, body, extra) = match page {
        Page::Html(body) => (html, CONTENT_SECURITY_POLICY, body.into_bytes(), None),
        Page::MailHtml(body) => (html, MAIL_SECURITY_POLICY, body.into_bytes(), None),
        Page::File { content_type, name, bytes } => {
            let name = name.replace(['"', '\\'], "_");
            let disposition = format!("attachment; filename=\"{name}\"");
            (
                content_type,
                MAIL_SECURITY_POLICY,
                bytes,
                Some((header::CONTENT_DISPOSITION, disposition)),
            )
        }
        Page::Redirect(to) => {
            (html, CONTENT_SECURITY_POLICY, Vec::new(), Some((header::LOCATION, to)))
        }
        Page::Style => {
            let style = include_bytes!("../../templates/style.css").to_vec();
            ("text/css; charset=utf-8".to_owned(), CONTENT_SECURITY_POLICY, style, None)
        }
        Page::NotFound | Page::ForeignOrigin => (html, CONTENT_SECURITY_POLICY, Vec::new(), None),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let own = [Some((header::CONTENT_TYPE, content_type)), extra];
    for (name, value) in own.into_iter().flatten() {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}
