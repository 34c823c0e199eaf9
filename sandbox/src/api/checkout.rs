//! `/v1/checkout/sessions`, in subscription and payment mode. The payment itself is in
//! `billing::checkout` and `billing::one_time`.

use serde_json::{Map, Value, json};

use super::collected::{collected, customer_update, require_updates};
use super::list::{list, page_of};
use super::params::Params;
use super::resource::{Route, matches, require, require_param, take_fields, take_metadata};
use super::terms::{Mode, currency, require_redeemable, terms};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::promotion::Sale;
use crate::billing::session::{self, expire};
use crate::objects::{self, Kind, text};
use crate::world::{Adjustable, OfferLine, World};

/// A session is open for a day, unless its creator chooses a shorter time.
const EXPIRES_AFTER_SECONDS: i64 = 86_400;

/// The shortest time that a session may be open.
const EXPIRES_AT_LEAST_AFTER_SECONDS: i64 = 30 * 60;

/// A session includes so many of its line items. Its list `line_items` has the rest.
const ITEMS_SHOWN: usize = 10;

/// Parameters that become fields of the session.
const TEXTS: [&str; 6] = [
    "cancel_url",
    "client_reference_id",
    "customer",
    "customer_creation",
    "customer_email",
    "locale",
];

/// Parameters of Stripe's that the sandbox ignores.
const IGNORED: [&str; 10] = [
    "branding_settings",
    "custom_fields",
    "custom_text",
    "managed_payments",
    "origin_context",
    "payment_method_options",
    "payment_method_types",
    "phone_number_collection",
    "saved_payment_method_options",
    "ui_mode",
];

/// Handles the calls that only this resource has.
pub fn route(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create(world, params),
        ("GET", []) => list_all(world, params),
        ("POST", [id]) => update(world, id, params),
        ("POST", [id, "expire"]) => expire_now(world, id, params),
        ("GET", [id, "line_items"]) => line_items(world, id, params),
        _ => return None,
    })
}

fn create(world: &mut World, params: &mut Params) -> ApiResult {
    let mode = match params.required("mode")?.as_str() {
        "subscription" => Mode::Subscription,
        "payment" => Mode::Payment,
        _ => {
            let message = "The sandbox supports only the modes `subscription` and `payment`.";
            return Err(ApiError::invalid(message, "mode"));
        }
    };
    let mut offer = terms(world, Some(mode), params)?;
    let expires_at = params.integer("expires_at")?.unwrap_or(world.now + EXPIRES_AFTER_SECONDS);
    if !(EXPIRES_AT_LEAST_AFTER_SECONDS..=EXPIRES_AFTER_SECONDS).contains(&(expires_at - world.now))
    {
        let message = "The `expires_at` timestamp must be from 30 minutes to 24 hours from now.";
        return Err(ApiError::invalid(message, "expires_at"));
    }
    let mut fields = Map::new();
    fields.insert("success_url".to_owned(), params.required("success_url")?.into());
    take_fields(params, Kind::CheckoutSession, &TEXTS, &mut fields)?;
    take_metadata(params, &Value::Null, &mut fields)?;
    if let Some(allow) = params.boolean("allow_promotion_codes")? {
        if allow && !offer.discounts.is_empty() {
            let message =
                "You may only specify one of these parameters: allow_promotion_codes, discounts.";
            return Err(ApiError::invalid(message, "allow_promotion_codes"));
        }
        fields.insert("allow_promotion_codes".to_owned(), allow.into());
    }
    take_collection(mode, params, &mut fields)?;
    collected(world, params, &mut fields)?;
    params.ignore(&IGNORED);
    let customer = fields.get("customer").and_then(Value::as_str);
    offer.updates = customer_update(params, customer)?;
    let currency = currency(world, mode, customer, &offer.lines, params)?;
    params.finish()?;
    offer.currency = currency;
    check_buyer(world, &fields)?;
    require_updates(world, customer, offer.updates, &fields, offer.settings.automatic_tax)?;
    if offer.discounts.len() > 1 {
        return Err(ApiError::invalid("Only one discount can be passed.", "discounts"));
    }
    let creation = fields.get("customer_creation").unwrap_or(&Value::Null);
    require_redeemable(world, &offer.discounts, &Sale::of(world, &offer, customer, creation))?;
    let id = session::open(world, fields, offer, expires_at);
    Ok(world.get(Kind::CheckoutSession, &id).clone())
}

/// Takes whether the page collects a card for a sale that costs nothing today. Sessions with a
/// one-time payment decide that by themselves
/// (<https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-payment_method_collection>).
pub fn take_collection(
    mode: Mode,
    params: &mut Params,
    fields: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    let name = "payment_method_collection";
    let Some(collection) = params.text(name)? else { return Ok(()) };
    if mode == Mode::Payment {
        let message = "`payment_method_collection` can only be set in `subscription` mode.";
        return Err(ApiError::invalid(message, name));
    }
    if !["always", "if_required"].contains(&collection.as_str()) {
        let message = format!("Invalid {name}: must be one of always or if_required");
        return Err(ApiError::invalid(message, name));
    }
    fields.insert(name.to_owned(), collection.into());
    Ok(())
}

/// Checks that a named customer exists and that nothing contradicts it.
fn check_buyer(world: &World, fields: &Map<String, Value>) -> Result<(), ApiError> {
    let Some(customer) = fields.get("customer").and_then(Value::as_str) else { return Ok(()) };
    require_param(world, Kind::Customer, customer, "customer")?;
    for name in ["customer_email", "customer_creation"] {
        if fields.contains_key(name) {
            let message =
                format!("You may only specify one of these parameters: customer, {name}.");
            return Err(ApiError::invalid(message, name));
        }
    }
    Ok(())
}

fn update(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::CheckoutSession, id)?;
    let mut fields = Map::new();
    take_metadata(params, world.get(Kind::CheckoutSession, id), &mut fields)?;
    params.finish()?;
    world.set(Kind::CheckoutSession, id, fields.into());
    Ok(world.get(Kind::CheckoutSession, id).clone())
}

fn list_all(world: &World, params: &mut Params) -> ApiResult {
    let email = params.group("customer_details").text("email")?;
    let names = ["payment_intent", "payment_link", "status", "subscription"];
    let matching = matches(params, Kind::CheckoutSession, &names)?;
    list(world, Kind::CheckoutSession, params, |session| {
        let own = &session["customer_details"]["email"];
        matching(session) && email.as_deref().is_none_or(|wanted| own == wanted)
    })
}

fn expire_now(world: &mut World, id: &str, params: &Params) -> ApiResult {
    require(world, Kind::CheckoutSession, id)?;
    params.finish()?;
    let status = text(world.get(Kind::CheckoutSession, id), "status");
    if status != "open" {
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout \
             Session has a status of {status}."
        );
        return Err(ApiError::invalid(message, "id"));
    }
    expire(world, id);
    Ok(world.get(Kind::CheckoutSession, id).clone())
}

fn line_items(world: &World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::CheckoutSession, id)?;
    page_of(items(world, id), &format!("/v1/checkout/sessions/{id}/line_items"), params)
}

/// Returns the first line items of a session or a payment link, as the list object that it includes
/// on request.
pub fn line_items_of(world: &World, session: &str) -> Value {
    let mut items = items(world, session);
    let has_more = items.len() > ITEMS_SHOWN;
    items.truncate(ITEMS_SHOWN);
    objects::list(items, has_more, &format!("/v1/checkout/sessions/{session}/line_items"))
}

fn limits(limits: Adjustable) -> Value {
    json!({ "enabled": true, "maximum": limits.maximum, "minimum": limits.minimum })
}

fn items(world: &World, session: &str) -> Vec<Value> {
    let offer = world.offers.get(session).cloned().unwrap_or_default();
    let totals = session::totals(world, &offer);
    let item = |(place, line): (usize, &OfferLine)| {
        let price = world.get(Kind::Price, &line.price);
        let amount = totals.lines[place];
        let off: i64 = totals.off.iter().map(|off| off[place]).sum();
        let tax = totals.taxes[place];
        json!({
            "adjustable_quantity": line.adjustable.map(limits),
            "amount_discount": off,
            "amount_subtotal": amount,
            "amount_tax": tax.amount,
            "amount_total": amount - off + tax.added(),
            "currency": totals.currency,
            "description": world.get(Kind::Product, text(price, "product"))["name"],
            "id": format!("li_{}", text(price, "id").trim_start_matches("price_")),
            "metadata": {},
            "object": "item",
            "price": price,
            "quantity": (line.quantity > 0).then_some(line.quantity),
        })
    };
    offer.lines.iter().enumerate().map(item).collect()
}
