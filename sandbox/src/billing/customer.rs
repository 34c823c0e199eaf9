//! Customers: creation and payment methods. Their deletion is in `ending`.

use serde_json::{Value, json};

use crate::card::Card;
use crate::objects::{Kind, put, text};
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

/// Creates a customer. Returns its id.
pub fn create(world: &mut World, fields: Value) -> String {
    let invoice_prefix = world.id("")[..8].to_uppercase();
    let id = world.insert(Kind::Customer, json!({ "invoice_prefix": invoice_prefix }));
    world.set(Kind::Customer, &id, fields);
    world.announce(Kind::Customer, &id, "customer.created");
    id
}
