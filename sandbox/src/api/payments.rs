//! `/v1/payment_intents`, `/v1/refunds` and `/v1/disputes`. Payment methods, charges and payment
//! records are only read, by `routes`.

use serde_json::{Map, Value, json};

use super::params::Params;
use super::resource::{Route, require_param, take_metadata};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::dispute;
use crate::billing::payment::{self, PaymentOutcome, Presence};
use crate::billing::reversal::{self, NewRefund};
use crate::objects::{Kind, text};
use crate::world::World;

/// Handles the calls that only `/v1/payment_intents` has.
pub fn intents(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create_intent(world, params),
        _ => return None,
    })
}

/// Handles the calls that only `/v1/refunds` has.
pub fn refunds(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create_refund(world, params),
        _ => return None,
    })
}

/// Handles the calls that only `/v1/disputes` has.
pub fn disputes(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", [id, "close"]) => close_dispute(world, id, params),
        _ => return None,
    })
}

/// Creates a payment without an invoice. It can be attached to one later.
fn create_intent(world: &mut World, params: &mut Params) -> ApiResult {
    let amount = params.integer("amount")?.ok_or_else(|| ApiError::missing("amount"))?;
    let currency = params.required("currency")?;
    let customer = params.required("customer")?;
    let method = params.text("payment_method")?;
    let confirm = params.boolean("confirm")?.unwrap_or(false);
    let off_session = params.boolean("off_session")?.unwrap_or(false);
    let description = params.text("description")?.unwrap_or_default();
    params.ignore(&["automatic_payment_methods", "payment_method_types", "setup_future_usage"]);
    params.finish()?;
    require_param(world, Kind::Customer, &customer, "customer")?;
    let more = json!({ "description": description });
    let intent = payment::create(world, Some(&customer), (amount, &currency), more);
    if let Some(method) = method.filter(|_| confirm) {
        require_param(world, Kind::PaymentMethod, &method, "payment_method")?;
        let presence = if off_session { Presence::OffSession } else { Presence::OnSession };
        if payment::attempt(world, &intent, &method, presence) == PaymentOutcome::Failed {
            return Err(ApiError::declined());
        }
    }
    Ok(world.get(Kind::PaymentIntent, &intent).clone())
}

/// The vendor accepts a dispute, which is lost then.
fn close_dispute(world: &mut World, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    require_param(world, Kind::Dispute, id, "id")?;
    let status = text(world.get(Kind::Dispute, id), "status");
    if !matches!(status, "needs_response" | "warning_needs_response") {
        return Err(ApiError::invalid(format!("This dispute is {status}."), ""));
    }
    dispute::close(world, id, false);
    Ok(world.get(Kind::Dispute, id).clone())
}

fn create_refund(world: &mut World, params: &mut Params) -> ApiResult {
    let intent = params.text("payment_intent")?;
    let charge = params.text("charge")?;
    let amount = params.integer("amount")?;
    let reason = params.text("reason")?;
    let mut fields = Map::new();
    take_metadata(params, &Value::Null, &mut fields)?;
    params.finish()?;
    let charge = charge_to_refund(world, intent, charge)?;
    let object = world.get(Kind::Charge, &charge);
    let remaining = reversal::refundable(object);
    if remaining == 0 {
        let message = format!("Charge {charge} has already been refunded.");
        return Err(ApiError::coded("charge_already_refunded", message, ""));
    }
    let amount = amount.unwrap_or(remaining);
    if !(1..=remaining).contains(&amount) {
        let message = format!(
            "Refund amount ({amount}) must be from 1 to the unrefunded amount ({remaining})."
        );
        return Err(ApiError::invalid(message, "amount"));
    }
    let metadata = fields.remove("metadata").unwrap_or_else(|| json!({}));
    let new = NewRefund { reason: json!(reason), metadata, ..NewRefund::of(amount) };
    let id = reversal::refund(world, &charge, new);
    Ok(world.get(Kind::Refund, &id).clone())
}

fn charge_to_refund(
    world: &World,
    intent: Option<String>,
    charge: Option<String>,
) -> Result<String, ApiError> {
    let charge = match (intent, charge) {
        (_, Some(charge)) => charge,
        (Some(intent), None) => {
            require_param(world, Kind::PaymentIntent, &intent, "payment_intent")?;
            let payment = world.get(Kind::PaymentIntent, &intent);
            text(payment, "latest_charge").to_owned()
        }
        (None, None) => return Err(ApiError::missing("payment_intent")),
    };
    if world.get(Kind::Charge, &charge)["paid"] == true {
        return Ok(charge);
    }
    let message = "This PaymentIntent does not have a successful charge to refund.";
    Err(ApiError::invalid(message, "payment_intent"))
}
