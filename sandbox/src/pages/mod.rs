//! The pages that people see: checkout, 3-D Secure, the billing portal, the mail inbox, and an
//! overview with the clock and the faults. Plain forms, no scripts.

mod checkout;
mod customer;
mod index;
mod mail;
mod portal;
mod rows;

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use url::form_urlencoded;

use crate::shared::Shared;
use crate::world::World;

/// Nothing but our own style sheet. There is no `form-action`, since browsers apply it to where a
/// form's answer redirects to, and checkout returns to the vendor's site.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; \
     frame-ancestors 'none'";

/// A mail's HTML runs nothing, loads nothing, and cannot reach the sandbox's pages.
const MAIL_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";

/// A request for a page.
pub struct PageRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// The path.
    pub path: String,
    /// The form of a `POST`.
    pub form: Vec<u8>,
    /// Where the form was, as the browser says.
    pub origin: Option<String>,
}

/// The answer to a request for a page.
enum Page {
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
    Foreign,
}

/// The fields of a form.
type Form = HashMap<String, String>;

/// Answers a request for a page.
pub fn answer(shared: &Arc<Shared>, request: PageRequest) -> Response<Full<Bytes>> {
    let path: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    let page = if request.method == "POST" {
        let form: Form = form_urlencoded::parse(&request.form).into_owned().collect();
        // A form on somebody else's site must not act here.
        let ours = shared.read(|world| request.origin.is_none_or(|origin| origin == world.url));
        if ours { post(shared, &path, &form) } else { Page::Foreign }
    } else {
        shared.write(|world| get(world, &path))
    };
    respond(page)
}

fn get(world: &World, path: &[&str]) -> Page {
    match path {
        [] => index::show(world),
        ["style.css"] => Page::Style,
        ["checkout", id] => checkout::show(world, id, None),
        ["authenticate", id] => checkout::show_authentication(world, id),
        ["portal", id] => portal::show(world, id, None),
        ["customer", id] => customer::show(world, id, None),
        ["object" | "invoice" | "receipt", id] => show_object(world, id),
        ["mail", rest @ ..] => mail::show(world, rest),
        _ => Page::NotFound,
    }
}

fn post(shared: &Shared, path: &[&str], form: &Form) -> Page {
    match path {
        ["clock"] => index::move_clock(shared, form),
        ["deliveries"] => shared.write(|world| index::deliveries(world, form)),
        ["faults", rest @ ..] => shared.write(|world| index::faults(world, rest, form)),
        ["checkout", id] => {
            shared.write(|world| checkout::submit(world, id, field(form, "card"), form))
        }
        ["checkout", id, card] => shared.write(|world| checkout::submit(world, id, card, form)),
        ["authenticate", id] => shared.write(|world| checkout::authenticate(world, id, form)),
        ["portal", id, action] => shared.write(|world| portal::act(world, id, action, form)),
        ["customer", id, action] => shared.write(|world| customer::act(world, id, action, form)),
        _ => Page::NotFound,
    }
}

fn field<'a>(form: &'a Form, name: &str) -> &'a str {
    form.get(name).map_or("", String::as_str)
}

#[derive(Template)]
#[template(path = "object.html")]
struct ObjectPage<'a> {
    id: &'a str,
    json: String,
}

fn show_object(world: &World, id: &str) -> Page {
    match world.find(id) {
        Some(object) => html(&ObjectPage { id, json: format!("{object:#}") }),
        None => Page::NotFound,
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    title: &'a str,
    text: &'a str,
}

fn message(title: &str, text: &str) -> Page {
    html(&MessagePage { title, text })
}

fn html(template: &impl Template) -> Page {
    // A template fails only when writing to memory does.
    Page::Html(template.render().unwrap_or_default())
}

fn respond(page: Page) -> Response<Full<Bytes>> {
    let (status, page) = match page {
        Page::NotFound => {
            let text = "There is nothing here. The overview links to everything that is.";
            (StatusCode::NOT_FOUND, message("Not found", text))
        }
        Page::Foreign => {
            let text = "This form came from another site; the sandbox takes only its own.";
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
        Page::NotFound | Page::Foreign => (html, CONTENT_SECURITY_POLICY, Vec::new(), None),
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
