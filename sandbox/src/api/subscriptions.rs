//! `/v1/subscriptions` and `/v1/subscription_items`: reads the parameters and checks them. The
//! rules of billing are in `billing`.

use serde_json::{Map, Value, json};

use super::collected::{automatic_tax, require_location};
use super::item_edits::{self, item_change};
use super::list::{list, page_of};
use super::params::Params;
use super::resource::{Route, require, require_param, take_fields, take_metadata};
use super::terms::{
    Mode, currency, discounts, missing_method, quantity, require_recurring, require_redeemable,
    trial_days,
};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::collection::{self, Attempt};
use crate::billing::item_change::ItemChange;
use crate::billing::payment::Presence;
use crate::billing::promotion::Sale;
use crate::billing::resumption::NextPeriod;
use crate::billing::subscription::{self, NewSubscription};
use crate::billing::{
    ending, item_change, pending_update, renewal, resumption, schedule, tax, trial,
};
use crate::objects::{Kind, text};
use crate::options::CancelField;
use crate::world::{Offer, OfferLine, SaleSettings, World};

/// Handles the calls that only this resource has.
pub fn route(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create(world, params),
        ("GET", []) => list_all(world, params),
        ("POST", [id]) => update(world, id, params),
        ("POST", [id, "resume"]) => resume(world, id, params),
        ("DELETE", [id]) => cancel(world, id, params),
        _ => return None,
    })
}

/// Handles the calls that only `/v1/subscription_items` has.
pub fn items(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("GET", []) => list_items(world, params),
        ("GET", [id]) => retrieve_item(world, id, params),
        _ => return None,
    })
}

fn create(world: &mut World, params: &mut Params) -> ApiResult {
    let customer = params.required("customer")?;
    require_param(world, Kind::Customer, &customer, "customer")?;
    let mut lines = Vec::new();
    for mut item in params.groups("items") {
        let price = item.required("price")?;
        require_recurring(world, &price, &item.full_name("price"))?;
        let quantity = quantity(world, &price, &mut item)?;
        lines.push(OfferLine { quantity, ..OfferLine::of(&price) });
        item.finish()?;
    }
    if lines.is_empty() {
        return Err(ApiError::missing("items"));
    }
    let metadata = params.metadata("metadata")?.unwrap_or_default();
    let trial_days = trial_days(params)?;
    let trial_end = match trial_end(world, params)? {
        Some(TrialEnd::At(at)) => Some(at),
        Some(TrialEnd::Now) => None,
        None => trial_days.map(|days| world.now + days * 86_400),
    };
    let missing_method = missing_method(params)?.unwrap_or_default();
    let thresholds = thresholds(params)?;
    let method = params.text("default_payment_method")?;
    let sent = params.text("collection_method")?.as_deref() == Some("send_invoice");
    let days_until_due = params.integer("days_until_due")?;
    if sent && days_until_due.is_none() {
        return Err(ApiError::missing("days_until_due"));
    }
    let automatic_tax = automatic_tax(world, &lines, params)?;
    if automatic_tax {
        require_location(world, &customer)?;
    }
    let discounts = discounts(world, params)?;
    let currency = currency(world, Mode::Subscription, Some(&customer), &lines, params)?;
    let billing_mode = billing_mode(params)?;
    params.ignore(&["payment_behavior", "payment_settings", "off_session"]);
    params.finish()?;
    let offer = Offer { lines, currency, ..Offer::default() };
    let sale = Sale::of(world, &offer, Some(&customer), &Value::Null);
    require_redeemable(world, &discounts, &sale)?;
    let Offer { lines, currency, .. } = offer;
    let new = NewSubscription {
        customer,
        lines,
        currency,
        metadata,
        trial_end,
        method,
        discounts,
        days_until_due: days_until_due.filter(|_| sent),
        settings: SaleSettings { missing_method, automatic_tax },
    };
    let id = subscription::create(world, new);
    if let Some(mode) = billing_mode {
        world.set(Kind::Subscription, &id, json!({ "billing_mode": mode }));
    }
    if let Some(thresholds) = thresholds {
        world.set(Kind::Subscription, &id, json!({ "billing_thresholds": thresholds }));
    }
    let invoice = text(world.get(Kind::Subscription, &id), "latest_invoice").to_owned();
    if world.get(Kind::Invoice, &invoice)["status"] == "open" && !sent {
        collection::pay(world, &invoice, Presence::OnSession, Attempt::Scheduled);
    }
    Ok(world.get(Kind::Subscription, &id).clone())
}

/// Takes the billing mode. Flexible is the default
/// (<https://docs.stripe.com/billing/subscriptions/billing-mode>).
fn billing_mode(params: &mut Params) -> Result<Option<Value>, ApiError> {
    let mut mode = params.group("billing_mode");
    let at = mode.full_name("type");
    let name = mode.text("type")?;
    mode.ignore(&["flexible"]);
    mode.finish()?;
    match name.as_deref() {
        None | Some("flexible") => Ok(None),
        Some("classic") => Ok(Some(json!({ "type": "classic", "flexible": null }))),
        Some(_) => Err(ApiError::invalid("Invalid billing mode", &at)),
    }
}

/// A requested change of a subscription's cancellation.
pub enum Cancellation {
    /// At the end of the period, or no longer.
    WithPeriod(bool),
    /// At a time; none undoes it.
    At(Option<i64>),
}

fn update(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::Subscription, id)?;
    let waits = item_edits::waits(world, id, params)?;
    let mut fields = Map::new();
    take_fields(
        params,
        Kind::Subscription,
        &["default_payment_method", "description"],
        &mut fields,
    )?;
    take_metadata(params, world.get(Kind::Subscription, id), &mut fields)?;
    take_pause(params, &mut fields)?;
    take_collection(world, id, params, &mut fields)?;
    if let Some(behavior) = missing_method(params)? {
        fields.insert("trial_settings".to_owned(), trial::settings(behavior));
    }
    let trial_end = trial_end(world, params)?;
    take_tax(world, id, params, &mut fields)?;
    if let Some(thresholds) = thresholds(params)? {
        fields.insert("billing_thresholds".to_owned(), thresholds);
    }
    let change = ItemChange { waits, ..item_change(world, id, params)? };
    let discounts = item_edits::discounts(world, id, &change.edits, params)?;
    let cancellation = cancellation(params)?;
    let always = |field: &String| ["metadata", "default_payment_method"].contains(&field.as_str());
    let alters_it = !change.edits.is_empty()
        || cancellation.is_some()
        || trial_end.is_some()
        || !fields.keys().all(always);
    params.ignore(&["cancellation_details", "trial_from_plan"]);
    params.finish()?;
    if subscription::has_ended(world.get(Kind::Subscription, id)) {
        let message =
            "A canceled subscription can only update its cancellation_details and metadata.";
        return Err(ApiError::invalid(message, ""));
    }
    if alters_it && !subscription::can_change(world.get(Kind::Subscription, id)) {
        let message =
            "An incomplete subscription can only update its metadata and default payment method.";
        return Err(ApiError::invalid(message, ""));
    }
    if let (Some(schedule), Some(_)) = (schedule::attached(world, id), &cancellation) {
        let message = format!(
            "The subscription is managed by the subscription schedule `{schedule}`, and updating \
             any cancelation behavior directly is not allowed. Please update the schedule instead."
        );
        return Err(ApiError::invalid(message, ""));
    }
    if !fields.is_empty() {
        world.change(Kind::Subscription, id, fields.into(), "customer.subscription.updated");
        renewal::resume_later(world, id);
    }
    let before = world.get(Kind::Subscription, id)["discounts"].clone();
    if let Some(discounts) = discounts {
        item_edits::set_discounts(world, id, &discounts);
    }
    item_change::change(world, id, &change);
    if change.waits.is_some() && !change.edits.is_empty() {
        pending_update::hold_discounts(world, id, &before);
    }
    change_trial(world, id, trial_end)?;
    apply_cancellation(world, id, cancellation);
    Ok(world.get(Kind::Subscription, id).clone())
}

/// Applies a change of a subscription's cancellation.
pub fn apply_cancellation(world: &mut World, id: &str, cancellation: Option<Cancellation>) {
    match cancellation {
        Some(Cancellation::WithPeriod(cancel)) => {
            ending::cancel_with_period(world, id, cancel, CancelField::PeriodEnd);
        }
        Some(Cancellation::At(at)) => ending::cancel_at(world, id, at, false),
        None => {}
    }
}

/// Takes `automatic_tax`, if it is there.
fn take_tax(
    world: &World,
    id: &str,
    params: &mut Params,
    fields: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    if !params.has("automatic_tax") {
        return Ok(());
    }
    let items = subscription::items(world, id).iter();
    let lines: Vec<OfferLine> =
        items.map(|item| OfferLine::of(text(&item["price"], "id"))).collect();
    let is_enabled = automatic_tax(world, &lines, params)?;
    if is_enabled {
        require_location(world, text(world.get(Kind::Subscription, id), "customer"))?;
    }
    fields.insert("automatic_tax".to_owned(), tax::subscription_state(is_enabled));
    Ok(())
}

/// Takes `billing_thresholds`. An empty value unsets them, which is null.
fn thresholds(params: &mut Params) -> Result<Option<Value>, ApiError> {
    if !params.has("billing_thresholds") {
        return Ok(None);
    }
    let mut group = params.group("billing_thresholds");
    if group.text("")?.is_some() {
        return Ok(Some(Value::Null));
    }
    let amount = group.integer("amount_gte")?;
    let at = group.full_name("amount_gte");
    group.ignore(&["reset_billing_cycle_anchor"]);
    group.finish()?;
    let amount = amount.ok_or_else(|| ApiError::missing(&at))?;
    Ok(Some(json!({ "amount_gte": amount, "reset_billing_cycle_anchor": false })))
}

/// A requested end of a trial.
enum TrialEnd {
    Now,
    At(i64),
}

/// Takes the end of the trial: a time or `now`.
fn trial_end(world: &World, params: &mut Params) -> Result<Option<TrialEnd>, ApiError> {
    let Some(value) = params.text("trial_end")? else { return Ok(None) };
    if value == "now" {
        return Ok(Some(TrialEnd::Now));
    }
    match value.parse() {
        Ok(at) if at > world.now => Ok(Some(TrialEnd::At(at))),
        Ok(_) => {
            let message = "Invalid timestamp: must be an integer Unix timestamp in the future.";
            Err(ApiError::invalid(message, "trial_end"))
        }
        Err(_) => Err(ApiError::invalid("Invalid timestamp", "trial_end")),
    }
}

/// Ends a trial, or moves its end. Without a trial there is nothing to end.
fn change_trial(world: &mut World, id: &str, end: Option<TrialEnd>) -> Result<(), ApiError> {
    let is_trialing = world.get(Kind::Subscription, id)["status"] == "trialing";
    match end {
        Some(TrialEnd::Now) if is_trialing => trial::end_now(world, id),
        Some(TrialEnd::At(at)) if is_trialing => trial::extend(world, id, at),
        Some(TrialEnd::At(_)) => {
            let message = "The sandbox starts no trial on a subscription that has none.";
            return Err(ApiError::invalid(message, "trial_end"));
        }
        Some(TrialEnd::Now) | None => {}
    }
    Ok(())
}

/// Resumes a paused subscription (<https://docs.stripe.com/api/subscriptions/resume>).
fn resume(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    let anchor = params.text("billing_cycle_anchor")?.unwrap_or_else(|| "now".to_owned());
    let behavior = params.text("payment_behavior")?;
    let proration = item_edits::proration(params)?;
    params.ignore(&["proration_date"]);
    params.finish()?;
    require(world, Kind::Subscription, id)?;
    let status = text(world.get(Kind::Subscription, id), "status");
    if status != "paused" {
        let message = format!("Only a paused subscription can be resumed. This one is {status}.");
        return Err(ApiError::invalid(message, ""));
    }
    let pays_now = match behavior.as_deref() {
        Some("resume_on_payment_success") => true,
        None | Some("resume_on_payment_attempt") => false,
        Some(_) => return Err(ApiError::invalid("Invalid payment_behavior", "payment_behavior")),
    };
    let period = match anchor.as_str() {
        "now" => NextPeriod::StartsNow,
        "unchanged" => NextPeriod::Continues(proration),
        _ => return Err(ApiError::invalid("Invalid anchor", "billing_cycle_anchor")),
    };
    resumption::begin(world, id, &period, pays_now);
    Ok(world.get(Kind::Subscription, id).clone())
}

/// Takes the collection method: charge a payment method, or send invoices.
fn take_collection(
    world: &World,
    id: &str,
    params: &mut Params,
    fields: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    if let Some(days) = params.integer("days_until_due")? {
        fields.insert("days_until_due".to_owned(), days.into());
    }
    let Some(method) = params.text("collection_method")? else { return Ok(()) };
    let days = world.get(Kind::Subscription, id)["days_until_due"].is_i64();
    if method == "send_invoice" && !days && !fields.contains_key("days_until_due") {
        return Err(ApiError::missing("days_until_due"));
    }
    if method != "send_invoice" {
        fields.insert("days_until_due".to_owned(), Value::Null);
    }
    fields.insert("collection_method".to_owned(), method.into());
    Ok(())
}

/// Takes `pause_collection`. An empty value resumes the collection.
fn take_pause(params: &mut Params, fields: &mut Map<String, Value>) -> Result<(), ApiError> {
    if !params.has("pause_collection") {
        return Ok(());
    }
    let mut pause = params.group("pause_collection");
    let value = if pause.text("")?.is_some() {
        Value::Null
    } else {
        let behavior = pause.required("behavior")?;
        if !["keep_as_draft", "mark_uncollectible", "void"].contains(&behavior.as_str()) {
            return Err(ApiError::invalid("Invalid behavior", &pause.full_name("behavior")));
        }
        json!({ "behavior": behavior, "resumes_at": pause.integer("resumes_at")? })
    };
    pause.finish()?;
    fields.insert("pause_collection".to_owned(), value);
    Ok(())
}

/// Takes `cancel_at_period_end` or `cancel_at`. An empty `cancel_at` undoes a cancellation.
pub fn cancellation(params: &mut Params) -> Result<Option<Cancellation>, ApiError> {
    let with_period = params.boolean("cancel_at_period_end")?;
    let unset = params.has("cancel_at");
    let at = params.integer("cancel_at")?;
    if with_period.is_some() && at.is_some() {
        let message =
            "You may only specify one of these parameters: cancel_at, cancel_at_period_end.";
        return Err(ApiError::invalid(message, "cancel_at"));
    }
    let with_period = with_period.map(Cancellation::WithPeriod);
    Ok(with_period.or(unset.then_some(Cancellation::At(at))))
}

fn cancel(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    params.ignore(&["cancellation_details", "invoice_now", "prorate"]);
    params.finish()?;
    require(world, Kind::Subscription, id)?;
    if subscription::has_ended(world.get(Kind::Subscription, id)) {
        return Err(ApiError::no_such("subscription", id, "id"));
    }
    ending::end(world, id, "cancellation_requested");
    Ok(world.get(Kind::Subscription, id).clone())
}

/// Without a `status`, Stripe leaves out canceled subscriptions (docs: list subscriptions).
fn list_all(world: &World, params: &mut Params) -> ApiResult {
    let status = params.text("status")?;
    let price = params.text("price")?;
    params.ignore(&["collection_method", "current_period_end", "current_period_start"]);
    list(world, Kind::Subscription, params, |subscription| {
        let own = text(subscription, "status");
        let items = || subscription["items"]["data"].as_array().into_iter().flatten();
        let fits = match status.as_deref() {
            None => own != "canceled",
            Some("all") => true,
            Some("ended") => subscription::has_ended(subscription),
            Some(status) => own == status,
        };
        fits && price
            .as_deref()
            .is_none_or(|price| items().any(|item| item["price"]["id"] == price))
    })
}

fn list_items(world: &World, params: &mut Params) -> ApiResult {
    let sub = params.required("subscription")?;
    require_param(world, Kind::Subscription, &sub, "subscription")?;
    let items = subscription::items(world, &sub).to_vec();
    page_of(items, &format!("/v1/subscription_items?subscription={sub}"), params)
}

fn retrieve_item(world: &World, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    let subscriptions = world.newest_first(Kind::Subscription, None);
    let mut items = subscriptions
        .flat_map(|subscription| subscription["items"]["data"].as_array().into_iter().flatten());
    let item: Option<&Value> = items.find(|item| item["id"] == id);
    item.cloned().ok_or_else(|| ApiError::no_such("subscription_item", id, "id"))
}
