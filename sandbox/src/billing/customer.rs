//! Customers: creation and payment methods. Their deletion is in `ending`.

use serde_json::{Value, json};

use super::tax;
use crate::card::Card;
use crate::objects::{Kind, address, put, text, with};
use crate::world::World;

/// Stores a payment method of a customer. Returns its id.
pub fn attach_card(world: &mut World, customer: &str, card: Card) -> String {
    let email = world.get(Kind::Customer, customer)["email"].clone();
    let method = use_card(world, card, &email);
    world.set(Kind::PaymentMethod, &method, json!({ "customer": customer }));
    world.announce(Kind::PaymentMethod, &method, "payment_method.attached");
    method
}

/// Creates a payment method for a single payment, without a customer. Returns its id.
pub fn use_card(world: &mut World, card: Card, email: &Value) -> String {
    let method = world.insert(Kind::PaymentMethod, card.payment_method());
    world.update(Kind::PaymentMethod, &method, |method| {
        put(&mut method["billing_details"], json!({ "email": email }));
    });
    world.cards.insert(method.clone(), card);
    method
}

/// Makes a payment method the default of a customer's invoices.
pub fn set_default_method(world: &mut World, customer: &str, method: &str) {
    let mut settings = world.get(Kind::Customer, customer)["invoice_settings"].clone();
    put(&mut settings, json!({ "default_payment_method": method }));
    let fields = json!({ "invoice_settings": settings });
    world.change(Kind::Customer, customer, fields, "customer.updated");
}

/// Returns the payment method of an invoice: its subscription's, otherwise its customer's.
pub fn paying_method(world: &World, invoice: &str) -> Option<String> {
    let invoice = world.get(Kind::Invoice, invoice);
    let subscription = text(&invoice["parent"]["subscription_details"], "subscription");
    let subscription = world.get(Kind::Subscription, subscription);
    method_of(world, subscription, text(invoice, "customer"))
}

/// Returns the payment method of a subscription, otherwise that of its customer.
pub fn method_of(world: &World, subscription: &Value, customer: &str) -> Option<String> {
    let customer = world.get(Kind::Customer, customer);
    let own = subscription["default_payment_method"].as_str();
    own.or(customer["invoice_settings"]["default_payment_method"].as_str()).map(str::to_owned)
}

/// Returns an address in a country.
pub fn address_in(country: &str) -> Value {
    with(address(), json!({ "country": country }))
}

/// The countries whose tax ids begin with their own code and are of the type `eu_vat`. Greece uses
/// `EL` (<https://docs.stripe.com/billing/customer/tax-ids>).
const EU: [&str; 27] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "EL", "ES", "FI", "FR", "HR", "HU", "IE", "IT",
    "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// Whether an EU VAT id begins with these letters.
pub fn is_eu_prefix(prefix: &str) -> bool {
    EU.contains(&prefix)
}

/// Returns the type of a tax id that a buyer enters.
pub fn tax_id_type(value: &str) -> &'static str {
    match value.get(..2) {
        Some(prefix) if is_eu_prefix(prefix) => "eu_vat",
        Some("GB") => "gb_vat",
        _ => "us_ein",
    }
}

/// Adds a tax id to a customer, unless it has the same one. Returns its id.
pub fn add_tax_id(world: &mut World, customer: &str, kind: &str, value: &str) -> String {
    let mut ids = world.newest_first(Kind::TaxId, Some(customer));
    let same = ids.find(|id| id["type"] == kind && id["value"] == value);
    if let Some(same) = same {
        return text(same, "id").to_owned();
    }
    drop(ids);
    let country = match (kind, value.get(..2)) {
        ("eu_vat", Some("EL")) => "GR".to_owned(),
        ("eu_vat", Some(prefix)) => prefix.to_owned(),
        _ => kind.get(..2).unwrap_or_default().to_uppercase(),
    };
    let fields = json!({
        "country": country,
        "customer": customer,
        "owner": { "customer": customer, "customer_account": null, "type": "customer" },
        "type": kind,
        "value": value,
    });
    world.create(Kind::TaxId, fields, "customer.tax_id.created")
}

/// Returns the types and values of a customer's tax ids, the oldest first.
pub fn tax_ids(world: &World, customer: &str) -> Vec<Value> {
    let ids = world.newest_first(Kind::TaxId, Some(customer));
    let mut ids: Vec<Value> =
        ids.map(|id| json!({ "type": id["type"], "value": id["value"] })).collect();
    ids.reverse();
    ids
}

/// Returns the fields of a new invoice about its customer.
pub fn invoice_fields(world: &World, customer: &Value) -> Value {
    json!({
        "customer_address": tax::country_of(customer).map(|_| &customer["address"]),
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_tax_ids": tax_ids(world, text(customer, "id")),
    })
}

/// Creates a customer. Returns its id.
pub fn create(world: &mut World, fields: Value) -> String {
    let invoice_prefix = world.id("")[..8].to_uppercase();
    let id = world.insert(Kind::Customer, json!({ "invoice_prefix": invoice_prefix }));
    world.set(Kind::Customer, &id, fields);
    world.announce(Kind::Customer, &id, "customer.created");
    id
}
