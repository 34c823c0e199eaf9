//! The page of a checkout session, and the bank's page for 3-D Secure. The rules are in `billing`.

use askama::Template;
use serde_json::Value;

use super::page::{Form, Page, field, html, message};
use super::rows::{amount, product_name};
use crate::billing::checkout::Paid;
use crate::billing::{actions, price, sales_actions, session as sessions};
use crate::card::Card;
use crate::objects::{Kind, integer, text};
use crate::world::{Adjustable, BuyerDetails, World};

const DECLINED: &str = "The payment was declined. Try another card.";

#[derive(Template)]
#[template(path = "checkout.html")]
struct CheckoutPage<'a> {
    id: &'a str,
    lines: Vec<LineRow<'a>>,
    trial_days: i64,
    /// "Subscribe" or "Pay".
    verb: &'static str,
    needs_card: bool,
    due: String,
    known_email: Option<&'a str>,
    problem: Option<&'a str>,
    takes_codes: bool,
    asks: Asks<'a>,
    cards: &'static [Card],
    cancel_url: Option<&'a str>,
}

/// The questions of the page to the buyer, apart from the payment.
struct Asks<'a> {
    country: bool,
    known_country: &'a str,
    tax: Option<String>,
    individual: Option<&'static str>,
    business: Option<&'static str>,
    tax_id: bool,
    terms: Option<&'a str>,
}

impl<'a> Asks<'a> {
    fn of(world: &'a World, session: &'a Value, country: Option<&'a str>) -> Self {
        let tax = session["automatic_tax"]["enabled"] == true;
        let names = &session["name_collection"];
        // The attribute of the field.
        let name = |kind: &str| {
            let is_optional = names[kind]["optional"] == true;
            let attribute = if is_optional { "" } else { "required" };
            (names[kind]["enabled"] == true).then_some(attribute)
        };
        let tax_id = session["tax_id_collection"]["enabled"] == true;
        let is_asked = session["consent_collection"]["terms_of_service"] == "required";
        Self {
            country: tax || session["billing_address_collection"] == "required",
            known_country: country.unwrap_or_default(),
            tax: tax.then(|| match country {
                Some(_) => amount(integer(&session["total_details"], "amount_tax"), session),
                None => "enter the country".to_owned(),
            }),
            individual: name("individual"),
            business: name("business").or(tax_id.then_some("")),
            tax_id,
            terms: world.account.terms_url.as_deref().filter(|_| is_asked),
        }
    }
}

struct LineRow<'a> {
    name: String,
    price: &'a str,
    quantity: i64,
    adjustable: Option<Adjustable>,
    amount: String,
    interval: Option<&'a str>,
}

/// Returns the page of a session.
pub fn show(world: &World, id: &str, problem: Option<&str>) -> Page {
    let session = world.get(Kind::CheckoutSession, id);
    match text(session, "status") {
        "open" => {}
        "complete" => {
            return message("Done", "This checkout is complete. You can close this page.");
        }
        "expired" => return message("Expired", "This checkout has expired. Start a new one."),
        _ => return Page::NotFound,
    }
    let offer = world.offers.get(id).cloned().unwrap_or_default();
    let lines = offer.lines.iter().map(|line| {
        let price = world.get(Kind::Price, &line.price);
        LineRow {
            name: product_name(world, price),
            price: &line.price,
            quantity: line.quantity,
            adjustable: line.adjustable,
            amount: amount(price::unit_amount(world, price, text(session, "currency")), session),
            interval: price["recurring"]["interval"].as_str(),
        }
    });
    let customer = world.get(Kind::Customer, text(session, "customer"));
    html(&CheckoutPage {
        id,
        lines: lines.collect(),
        trial_days: offer.trial_days,
        verb: if offer.payment.is_some() { "Pay" } else { "Subscribe" },
        needs_card: sessions::needs_card(session),
        due: amount(integer(session, "amount_total"), session),
        known_email: customer["email"].as_str().or(session["customer_email"].as_str()),
        problem,
        takes_codes: session["allow_promotion_codes"] == true,
        asks: Asks::of(world, session, offer.country.as_deref()),
        cards: &Card::ALL,
        cancel_url: session["cancel_url"].as_str().filter(|url| !url.is_empty()),
    })
}

/// Pays the session with the card of the form.
pub fn submit(world: &mut World, id: &str, card: &str, form: &Form) -> Page {
    if !world.exists(Kind::CheckoutSession, id) {
        return Page::NotFound;
    }
    let Some(card) = Card::from_number(card) else {
        return show(world, id, Some("This is no test card. Use one of the cards below."));
    };
    if let Err(problem) = sales_actions::enter_details(world, id, details(form)) {
        return show(world, id, Some(&problem.to_string()));
    }
    let consent = &world.get(Kind::CheckoutSession, id)["consent_collection"];
    if consent["terms_of_service"] == "required" && field(form, "terms") != "on" {
        return show(world, id, Some("Accept the terms of service."));
    }
    match actions::pay(world, id, card, field(form, "email")) {
        Ok(Paid::Completed) => Page::Redirect(success_url(world, id)),
        Ok(Paid::Declined) => show(world, id, Some(DECLINED)),
        Ok(Paid::AuthenticationRequired { payment_intent }) => {
            Page::Redirect(format!("/authenticate/{payment_intent}"))
        }
        Err(_) => show(world, id, None), // The session is not open; the page says why.
    }
}

/// Enters the buyer's details, which may change the taxes.
pub fn enter_details(world: &mut World, id: &str, form: &Form) -> Page {
    match sales_actions::enter_details(world, id, details(form)) {
        Ok(()) => Page::Redirect(format!("/checkout/{id}")),
        Err(problem) => show(world, id, Some(&problem.to_string())),
    }
}

fn details(form: &Form) -> BuyerDetails {
    let entered = |name: &str| {
        let text = field(form, name).trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    BuyerDetails {
        country: entered("country").map(|country| country.to_uppercase()),
        individual_name: entered("individual_name"),
        business_name: entered("business_name"),
        tax_id: entered("tax_id").map(|id| id.replace(' ', "").to_uppercase()),
    }
}

/// Opens a session for a payment link and redirects to its page.
pub fn open_link(world: &mut World, link: &str) -> Page {
    match sales_actions::open_payment_link(world, link, None) {
        Ok(session) => Page::Redirect(format!("/checkout/{session}")),
        Err(_) => Page::NotFound,
    }
}

/// Applies the promotion code of the form.
pub fn enter_code(world: &mut World, id: &str, form: &Form) -> Page {
    match sales_actions::enter_promotion_code(world, id, field(form, "code")) {
        Ok(()) => Page::Redirect(format!("/checkout/{id}")),
        Err(problem) => show(world, id, Some(&problem.to_string())),
    }
}

/// Sets the quantity of the form's line.
pub fn choose_quantity(world: &mut World, id: &str, form: &Form) -> Page {
    let quantity = field(form, "quantity").parse().unwrap_or(0);
    match sales_actions::choose_quantity(world, id, field(form, "price"), quantity) {
        Ok(()) => Page::Redirect(format!("/checkout/{id}")),
        Err(problem) => show(world, id, Some(&problem.to_string())),
    }
}

fn success_url(world: &World, session: &str) -> String {
    let url = text(world.get(Kind::CheckoutSession, session), "success_url");
    url.replace("{CHECKOUT_SESSION_ID}", session)
}

#[derive(Template)]
#[template(path = "authenticate.html")]
struct AuthenticatePage {
    amount: String,
}

/// Returns the bank's page for 3-D Secure.
pub fn show_authentication(world: &World, intent: &str) -> Page {
    let payment = world.get(Kind::PaymentIntent, intent);
    match text(payment, "status") {
        "requires_action" => {
            html(&AuthenticatePage { amount: amount(integer(payment, "amount"), payment) })
        }
        "" => Page::NotFound,
        _ => message("Done", "The payment is decided. You can close this page."),
    }
}

/// Completes or fails 3-D Secure, and redirects.
pub fn authenticate(world: &mut World, intent: &str, form: &Form) -> Page {
    let succeeds = field(form, "answer") == "complete";
    if actions::authenticate(world, intent, succeeds).is_err() {
        return show_authentication(world, intent);
    }
    match session_of(world, intent) {
        Some(session) if succeeds => Page::Redirect(success_url(world, &session)),
        Some(session) => show(world, &session, Some(DECLINED)),
        None => Page::Redirect("/".to_owned()),
    }
}

/// Returns the session that a payment completes.
fn session_of(world: &World, intent: &str) -> Option<String> {
    if let Some(session) = world.session_by_payment.get(intent) {
        return Some(session.clone());
    }
    let invoice: &Value = world.get(Kind::Invoice, &world.invoice_of(intent)?);
    let sub = text(&invoice["parent"]["subscription_details"], "subscription");
    world.session_by_subscription.get(sub).cloned()
}
