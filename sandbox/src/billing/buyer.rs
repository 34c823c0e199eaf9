//! The details that a buyer enters on the page of a checkout session: country, names, tax id. They
//! are saved on the customer (<https://docs.stripe.com/payments/checkout/customization>). The
//! payment is in `checkout`.

use serde_json::{Map, Value, json};

use super::{customer, session, tax};
use crate::objects::{Kind, text};
use crate::world::{BuyerDetails, CustomerUpdate, World};

/// The country of every card here. Stripe uses the card's country if the buyer enters none
/// (<https://docs.stripe.com/tax/customer-locations>).
const CARD_COUNTRY: &str = "US";

/// Enters details on the page of an open session. Its taxes follow the country.
pub fn enter(world: &mut World, session: &str, details: BuyerDetails) {
    let before = world.buyers.remove(session).unwrap_or_default();
    let merged = before.clone().merged(details);
    let is_new = merged != before;
    let country = merged.country.clone();
    world.buyers.insert(session.to_owned(), merged);
    let keeps_address = !may_update(world, session).address;
    let Some(offer) = world.offers.get_mut(session) else { return };
    if !keeps_address || offer.country.is_none() {
        offer.country = country.or(offer.country.take());
    }
    if is_new {
        session::restart(world, session);
    }
}

/// Returns the fields of its customer that a session may change: all, if it has none yet.
fn may_update(world: &World, session: &str) -> CustomerUpdate {
    let has_customer = world.get(Kind::CheckoutSession, session)["customer"].is_string();
    let offer = world.offers.get(session);
    offer.filter(|_| has_customer).map_or(CustomerUpdate::ALL, |offer| offer.updates)
}

/// Sets the country if the session needs one and the buyer entered none.
pub fn complete(world: &mut World, session: &str) {
    let needs_country = world.get(Kind::CheckoutSession, session)["billing_address_collection"]
        == "required"
        || world.offers.get(session).is_some_and(|offer| offer.settings.automatic_tax);
    let has_country = world.offers.get(session).is_some_and(|offer| offer.country.is_some());
    if needs_country && !has_country {
        let country = Some(CARD_COUNTRY.to_owned());
        enter(world, session, BuyerDetails { country, ..BuyerDetails::default() });
    }
}

/// Saves the details on the session's customer, as far as the session may change it.
pub fn save(world: &mut World, session: &str, id: &str) {
    let fields = customer_fields(world, session);
    let object = world.get(Kind::Customer, id);
    if fields.iter().any(|(name, value)| object[name.as_str()] != *value) {
        world.change(Kind::Customer, id, fields.into(), "customer.updated");
    }
    let tax_id = world.buyers.get(session).and_then(|details| details.tax_id.clone());
    if let Some(value) = tax_id
        && may_update(world, session).name
    {
        customer::add_tax_id(world, id, customer::tax_id_type(&value), &value);
    }
}

/// Returns the fields of the customer that the details set. A company's name is also the name.
pub fn customer_fields(world: &World, session: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    let Some(details) = world.buyers.get(session) else { return fields };
    let may = may_update(world, session);
    if let Some(country) = details.country.as_ref().filter(|_| may.address) {
        fields.insert("address".to_owned(), customer::address_in(country));
    }
    let names =
        [("individual_name", &details.individual_name), ("business_name", &details.business_name)];
    for (field, name) in names {
        if let Some(name) = name.as_deref().filter(|_| may.name) {
            fields.insert(field.to_owned(), name.into());
            fields.insert("name".to_owned(), name.into());
        }
    }
    fields
}

/// Returns the `customer_details` of a session. `customer` has what the buyer did not enter.
pub fn details(world: &World, session: &str, customer: &Value) -> Value {
    let entered = world.buyers.get(session).cloned().unwrap_or_default();
    let address = match &entered.country {
        Some(country) => customer::address_in(country),
        None if tax::country_of(customer).is_some() => customer["address"].clone(),
        None => Value::Null,
    };
    let own = |field: &str| customer[field].as_str().map(str::to_owned);
    let business_name = entered.business_name.or(own("business_name"));
    let individual_name = entered.individual_name.or(own("individual_name"));
    let tax_ids = match &entered.tax_id {
        Some(value) => vec![json!({ "type": customer::tax_id_type(value), "value": value })],
        None => customer::tax_ids(world, text(customer, "id")),
    };
    json!({
        "address": address,
        "business_name": business_name,
        "email": customer["email"],
        "individual_name": individual_name,
        "name": business_name.or(individual_name).or(own("name")),
        "phone": null,
        "tax_exempt": "none",
        "tax_ids": tax_ids,
    })
}
