//! Payment links and quotes. They lead to a normal checkout session or subscription
//! (<https://docs.stripe.com/payment-links>, <https://docs.stripe.com/quotes>), whose rules are in
//! `session` and `subscription`.

use serde_json::{Value, json};

use super::subscription::{self, NewSubscription};
use super::{collection, session, tax};
use crate::objects::{Kind, put, text, with};
use crate::world::{Offer, PaymentTerms, World};

/// The lifetime of a payment link's session, in seconds.
const SESSION_EXPIRES_AFTER_SECONDS: i64 = 86_400;

/// The lifetime of a quote, in seconds.
const QUOTE_EXPIRES_AFTER_SECONDS: i64 = 30 * 86_400;

/// The fields about what the page collects, which a payment link and its sessions share.
const COLLECTED: [&str; 5] = [
    "billing_address_collection",
    "consent_collection",
    "name_collection",
    "payment_method_collection",
    "tax_id_collection",
];

/// Creates a payment link. Returns its id.
pub fn add_link(world: &mut World, terms: Offer, fields: Value) -> String {
    let id = world.id(Kind::PaymentLink.prefix());
    let own = json!({
        "currency": session::totals(world, &terms).currency,
        "url": format!("{}/buy/{id}", world.url),
    });
    world.insert_as(Kind::PaymentLink, &id, with(own, fields));
    let payment = terms.payment.as_ref().map(payment_fields).unwrap_or_default();
    let metadata = Value::from(terms.metadata.clone());
    let is_taxed = terms.settings.automatic_tax;
    world.update(Kind::PaymentLink, &id, |link| {
        link["automatic_tax"]["enabled"] = is_taxed.into();
        link["subscription_data"]["metadata"] = metadata;
        put(link, payment);
    });
    world.offers.insert(id.clone(), terms);
    world.announce(Kind::PaymentLink, &id, "payment_link.created");
    id
}

/// Returns the fields that only links for a one-time payment have.
fn payment_fields(terms: &PaymentTerms) -> Value {
    let data = json!({
        "capture_method": null,
        "description": terms.description,
        "metadata": terms.metadata,
        "setup_future_usage": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "transfer_group": null,
    });
    let is_given = terms.description.is_some() || !terms.metadata.is_empty();
    json!({
        "invoice_creation": session::invoice_creation(terms),
        "payment_intent_data": is_given.then_some(data),
    })
}

/// Opens a payment link. Returns the checkout session, which has the link's metadata.
pub fn open_link(world: &mut World, link: &str, client_reference_id: Option<&str>) -> String {
    let object = world.get(Kind::PaymentLink, link);
    let terms = world.offers.get(link).cloned().unwrap_or_default();
    let creation = terms.payment.as_ref().map(|_| object["customer_creation"].clone());
    let fields = json!({
        "allow_promotion_codes": object["allow_promotion_codes"],
        "cancel_url": object["url"],
        "client_reference_id": client_reference_id,
        "customer_creation": creation,
        "metadata": object["metadata"],
        "payment_link": link,
        // The page of a complete session says so.
        "success_url": format!("{}/checkout/{{CHECKOUT_SESSION_ID}}", world.url),
    });
    let mut fields = fields.as_object().cloned().unwrap_or_default();
    for name in COLLECTED {
        fields.insert(name.to_owned(), object[name].clone());
    }
    let expires_at = world.now + SESSION_EXPIRES_AFTER_SECONDS;
    session::open(world, fields, terms, expires_at)
}

/// Creates a quote. Returns its id.
pub fn add_quote(
    world: &mut World,
    customer: &str,
    mut terms: Offer,
    days_until_due: Option<i64>,
    fields: Value,
) -> String {
    terms.country = tax::country_of(world.get(Kind::Customer, customer)).map(str::to_owned);
    let totals = session::totals(world, &terms);
    let sent = days_until_due.is_some();
    let own = json!({
        "amount_subtotal": totals.subtotal,
        "amount_total": totals.total,
        "collection_method": if sent { "send_invoice" } else { "charge_automatically" },
        "currency": totals.currency,
        "customer": customer,
        "expires_at": world.now + QUOTE_EXPIRES_AFTER_SECONDS,
    });
    let id = world.insert(Kind::Quote, with(own, fields));
    let metadata = Value::from(terms.metadata.clone());
    let recurring = terms.lines.first().map_or(Value::Null, |line| {
        let recurring = &world.get(Kind::Price, &line.price)["recurring"];
        json!({
            "amount_subtotal": totals.subtotal,
            "amount_total": totals.total,
            "interval": recurring["interval"],
            "interval_count": recurring["interval_count"],
            "total_details": world.get(Kind::Quote, &id)["total_details"],
        })
    });
    let is_taxed = terms.settings.automatic_tax;
    world.update(Kind::Quote, &id, |quote| {
        quote["automatic_tax"]["enabled"] = is_taxed.into();
        quote["computed"]["recurring"] = recurring;
        quote["invoice_settings"]["days_until_due"] = days_until_due.into();
        quote["subscription_data"]["metadata"] = metadata;
    });
    world.offers.insert(id.clone(), terms);
    world.announce(Kind::Quote, &id, "quote.created");
    id
}

/// Finalizes a quote, so that it can be accepted.
pub fn finalize_quote(world: &mut World, id: &str) {
    let number = format!("QT-{}-0001-1", &id[id.len() - 8..].to_uppercase());
    advance_quote(world, id, "open", "finalized_at", json!({ "number": number }));
    world.announce(Kind::Quote, id, "quote.finalized");
}

/// Accepts a quote. Returns the subscription that it creates.
pub fn accept_quote(world: &mut World, id: &str) -> String {
    let quote = world.get(Kind::Quote, id).clone();
    let terms = world.offers.get(id).cloned().unwrap_or_default();
    let new = NewSubscription {
        customer: text(&quote, "customer").to_owned(),
        lines: terms.lines,
        currency: terms.currency,
        metadata: terms.metadata,
        trial_end: (terms.trial_days > 0).then(|| world.now + terms.trial_days * 86_400),
        method: None,
        discounts: terms.discounts,
        days_until_due: quote["invoice_settings"]["days_until_due"].as_i64(),
        settings: terms.settings,
    };
    let sub = subscription::create(world, new);
    let invoice = world.get(Kind::Subscription, &sub)["latest_invoice"].clone();
    let made = json!({ "invoice": invoice, "subscription": sub });
    advance_quote(world, id, "accepted", "accepted_at", made);
    world.announce(Kind::Quote, id, "quote.accepted");
    collection::advance(world, invoice.as_str().unwrap_or_default());
    sub
}

fn advance_quote(world: &mut World, id: &str, status: &str, at: &str, fields: Value) {
    let now = world.now;
    world.update(Kind::Quote, id, |quote| {
        quote["status_transitions"][at] = now.into();
        put(quote, json!({ "status": status }));
        put(quote, fields);
    });
}
