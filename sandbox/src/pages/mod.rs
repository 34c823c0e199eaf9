//! The pages: checkout, 3-D Secure, the billing portal, the mail inbox, and an overview with the
//! clock and the faults. They are plain forms without scripts. Their actions are in
//! `billing::actions` and its siblings.

mod checkout;
mod customer;
mod index;
mod invoice;
mod mail;
mod page;
mod portal;
mod rows;

use std::sync::Arc;

use askama::Template;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use url::form_urlencoded;

use crate::shared::Shared;
use crate::world::World;
use page::{Form, Page, field, html, respond};

/// A request for a page.
pub struct PageRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// The path.
    pub path: String,
    /// The form of a `POST`.
    pub form: Vec<u8>,
    /// The origin of the form, as the browser reports it.
    pub origin: Option<String>,
}

/// Returns the response to a request for a page.
pub fn handle(shared: &Arc<Shared>, request: PageRequest) -> Response<Full<Bytes>> {
    let path: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    let page = if request.method == "POST" {
        let form: Form = form_urlencoded::parse(&request.form).into_owned().collect();
        // A form on another site must not act here.
        let ours = shared.read(|world| request.origin.is_none_or(|origin| origin == world.url));
        if ours { post(shared, &path, &form) } else { Page::ForeignOrigin }
    } else {
        shared.write(|world| get(world, &path))
    };
    respond(page)
}

fn get(world: &mut World, path: &[&str]) -> Page {
    match path {
        [] => index::show(world),
        ["style.css"] => Page::Style,
        ["checkout", id] => checkout::show(world, id, None),
        ["authenticate", id] => checkout::show_authentication(world, id),
        ["portal", id] => portal::show(world, id, None),
        ["customer", id] => customer::show(world, id, None),
        ["invoice", id] => invoice::show(world, id, None),
        ["buy", link] => checkout::open_link(world, link),
        ["object" | "receipt", id] => show_object(world, id),
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
        ["checkout", id, "code"] => shared.write(|world| checkout::enter_code(world, id, form)),
        ["checkout", id, "details"] => {
            shared.write(|world| checkout::enter_details(world, id, form))
        }
        ["checkout", id, "quantity"] => {
            shared.write(|world| checkout::choose_quantity(world, id, form))
        }
        ["invoice", id] => shared.write(|world| invoice::pay(world, id, form)),
        ["checkout", id, card] => shared.write(|world| checkout::submit(world, id, card, form)),
        ["authenticate", id] => shared.write(|world| checkout::authenticate(world, id, form)),
        ["portal", id, action] => shared.write(|world| portal::act(world, id, action, form)),
        ["customer", id, action] => shared.write(|world| customer::act(world, id, action, form)),
        _ => Page::NotFound,
    }
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
