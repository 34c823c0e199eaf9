//! The parameters of a checkout session about what its page collects from the buyer: address,
//! names, tax id, consent. Entering them is in `billing::buyer`.

use serde_json::{Map, Value, json};

use super::params::Params;
use crate::api_error::ApiError;
use crate::billing::tax;
use crate::objects::Kind;
use crate::options::TaxStatus;
use crate::world::{CustomerUpdate, OfferLine, World};

/// The customer's country is needed for taxes.
const LOCATION_INVALID: &str = "customer_tax_location_invalid";

/// Takes `automatic_tax`. Stripe Tax must be ready, and each price must have a tax behavior
/// (<https://docs.stripe.com/tax/checkout>).
pub fn automatic_tax(
    world: &World,
    lines: &[OfferLine],
    params: &mut Params,
) -> Result<bool, ApiError> {
    let mut group = params.group("automatic_tax");
    let is_enabled = group.boolean("enabled")?.unwrap_or(false);
    group.ignore(&["liability"]);
    group.finish()?;
    if !is_enabled {
        return Ok(false);
    }
    if world.account.tax != TaxStatus::Active {
        let message = "You must have a valid head office address to enable automatic tax \
                       calculation in test mode. Visit \
                       https://dashboard.stripe.com/test/settings/tax to update it.";
        return Err(ApiError::invalid(message, "automatic_tax[enabled]"));
    }
    let is_undecided =
        |line: &OfferLine| world.get(Kind::Price, &line.price)["tax_behavior"] == "unspecified";
    if let Some(place) = lines.iter().position(is_undecided) {
        let message = format!(
            "The price `{}` has no `tax_behavior`, and the account has no default. Automatic tax \
             requires one of `inclusive` or `exclusive`.",
            lines[place].price
        );
        return Err(ApiError::invalid(message, &format!("line_items[{place}][price]")));
    }
    Ok(true)
}

/// Checks that the location of a customer is known, for taxes outside of Checkout.
pub fn require_location(world: &World, customer: &str) -> Result<(), ApiError> {
    if tax::country_of(world.get(Kind::Customer, customer)).is_some() {
        return Ok(());
    }
    let message = "The customer's location isn't recognized. Set a valid customer address in order \
                   to automatically calculate tax.";
    Err(ApiError::coded(LOCATION_INVALID, message, ""))
}

/// Takes `customer_update`, which only sessions of an existing customer have.
pub fn customer_update(
    params: &mut Params,
    customer: Option<&str>,
) -> Result<CustomerUpdate, ApiError> {
    if params.has("customer_update") && customer.is_none() {
        let message = "`customer_update` can only be used with `customer`.";
        return Err(ApiError::invalid(message, "customer_update"));
    }
    let mut group = params.group("customer_update");
    let mut is_auto = |name: &str| -> Result<bool, ApiError> {
        match group.text(name)?.as_deref() {
            Some("auto") => Ok(true),
            None | Some("never") => Ok(false),
            Some(_) => {
                let message = "Must be one of auto or never";
                Err(ApiError::invalid(message, &group.full_name(name)))
            }
        }
    };
    let updates = CustomerUpdate { address: is_auto("address")?, name: is_auto("name")? };
    group.ignore(&["shipping"]);
    group.finish()?;
    Ok(updates)
}

/// Takes everything else that the page collects, into the fields of the session.
pub fn collected(
    world: &World,
    params: &mut Params,
    fields: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    let name = "billing_address_collection";
    if let Some(collection) = params.text(name)? {
        if !["auto", "required"].contains(&collection.as_str()) {
            return Err(ApiError::invalid("Must be one of auto or required", name));
        }
        fields.insert(name.to_owned(), collection.into());
    }
    let mut tax_ids = params.group("tax_id_collection");
    if let Some(enabled) = tax_ids.boolean("enabled")? {
        let required = tax_ids.text("required")?.unwrap_or_else(|| "never".to_owned());
        let value = json!({ "enabled": enabled, "required": required });
        fields.insert("tax_id_collection".to_owned(), value);
    }
    tax_ids.finish()?;
    let mut adaptive = params.group("adaptive_pricing");
    if let Some(enabled) = adaptive.boolean("enabled")? {
        fields.insert("adaptive_pricing".to_owned(), json!({ "enabled": enabled }));
    }
    adaptive.finish()?;
    names(params, fields)?;
    consent(world, params, fields)
}

/// Takes `name_collection`
/// (<https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-name_collection>).
fn names(params: &mut Params, fields: &mut Map<String, Value>) -> Result<(), ApiError> {
    if !params.has("name_collection") {
        return Ok(());
    }
    let mut group = params.group("name_collection");
    let mut collection = Map::new();
    for name in ["business", "individual"] {
        let mut one = group.group(name);
        if let Some(enabled) = one.boolean("enabled")? {
            let optional = one.boolean("optional")?.unwrap_or(false);
            let value = json!({ "enabled": enabled, "optional": optional });
            collection.insert(name.to_owned(), value);
        }
        one.finish()?;
    }
    group.finish()?;
    fields.insert("name_collection".to_owned(), collection.into());
    Ok(())
}

/// Takes `consent_collection`. Terms of service need a URL in the account's settings
/// (<https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-consent_collection-terms_of_service>).
fn consent(
    world: &World,
    params: &mut Params,
    fields: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    if !params.has("consent_collection") {
        return Ok(());
    }
    let mut group = params.group("consent_collection");
    let terms = group.text("terms_of_service")?;
    let at = group.full_name("terms_of_service");
    group.ignore(&["promotions", "payment_method_reuse_agreement"]);
    group.finish()?;
    let is_required = terms.as_deref() == Some("required");
    if is_required && world.account.terms_url.is_none() {
        let message = "You cannot collect consent to your terms of service unless a URL is set in \
                       the Stripe Dashboard. Update your public business information in the \
                       Dashboard: https://dashboard.stripe.com/settings/public";
        return Err(ApiError::invalid(message, &at));
    }
    let value = json!({
        "payment_method_reuse_agreement": null,
        "promotions": null,
        "terms_of_service": terms,
    });
    fields.insert("consent_collection".to_owned(), value);
    Ok(())
}

/// Checks that a session of an existing customer may save what it collects
/// (<https://docs.stripe.com/tax/checkout/tax-ids>).
pub fn require_updates(
    world: &World,
    customer: Option<&str>,
    updates: CustomerUpdate,
    fields: &Map<String, Value>,
    automatic_tax: bool,
) -> Result<(), ApiError> {
    let Some(customer) = customer else { return Ok(()) };
    let has_country = tax::country_of(world.get(Kind::Customer, customer)).is_some();
    if automatic_tax && !has_country && !updates.address {
        let message = "Automatic tax calculation in Checkout requires a valid address on the \
                       Customer. Add a valid address to the Customer or set \
                       `customer_update[address]` to 'auto' to save the address entered in \
                       Checkout to the Customer.";
        return Err(ApiError::coded(LOCATION_INVALID, message, ""));
    }
    let has_tax_ids = fields.get("tax_id_collection").is_some_and(|value| value["enabled"] == true);
    if has_tax_ids && !updates.name {
        let message = "Tax ID collection requires updating business name on the customer. To \
                       enable tax ID collection for an existing customer, please set \
                       `customer_update[name]` to `auto`.";
        return Err(ApiError::invalid(message, ""));
    }
    Ok(())
}
