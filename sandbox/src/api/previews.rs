//! `/v1/invoices/create_preview`: what a change, a new subscription or a purchase would cost. The
//! same code that makes the invoices runs on a copy of the world (`billing::preview`).

use serde_json::{Map, Value, json};

use super::collected::automatic_tax;
use super::customers::address;
use super::item_edits::{self, item_change, quantity};
use super::params::Params;
use super::resource::require_param;
use super::subscriptions::{Cancellation, apply_cancellation, cancellation};
use super::terms::{Mode, currency, discounts, quantity_of, require_recurring, require_redeemable};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::invoice_item::{self, NewItem};
use crate::billing::promotion::Sale;
use crate::billing::subscription::{self, NewSubscription};
use crate::billing::{item_change, preview, price, tax};
use crate::objects::{Kind, text};
use crate::world::{InvoiceTerms, Offer, OfferLine, PaymentTerms, SaleSettings, World};

/// The values that a preview can include
/// (<https://docs.stripe.com/api/invoices/create_preview#create_create_preview-preview_mode>).
#[derive(Clone, Copy, PartialEq, Eq)]
enum PreviewMode {
    /// Those of the next invoice.
    Next,
    /// Those of every period.
    Recurring,
}

/// Handles a call. The world stays as it is.
pub fn create(world: &World, params: &mut Params) -> ApiResult {
    let (sub, named) = (params.text("subscription")?, params.text("customer")?);
    if let Some(sub) = &sub {
        require_param(world, Kind::Subscription, sub, "subscription")?;
    }
    let own = sub.as_ref().map(|sub| text(world.get(Kind::Subscription, sub), "customer"));
    let mut copy = world.copy_for_preview(own.or(named.as_deref()));
    let world = &mut copy;
    let mode = match params.text("preview_mode")?.as_deref() {
        None | Some("next") => PreviewMode::Next,
        Some("recurring") => PreviewMode::Recurring,
        Some(_) => return Err(ApiError::invalid("Invalid preview_mode", "preview_mode")),
    };
    params.ignore(&["issuer", "on_behalf_of"]);
    if let Some(sub) = sub {
        let invoice = of_subscription(world, &sub, named, mode, params)?;
        return Ok(preview::show(world, &invoice, (true, true)));
    }
    let is_known = named.is_some();
    let customer = customer(world, named, params)?;
    let mut details = params.group("subscription_details");
    let lines = lines(world, "items", &mut details)?;
    let invoice = if lines.is_empty() {
        details.finish()?;
        of_items(world, &customer, params)?
    } else {
        of_new_subscription(world, &customer, lines, details, params)?
    };
    Ok(preview::show(world, &invoice, (is_known, false)))
}

/// Returns the customer of a preview. Its details may be given for the preview only.
fn customer(
    world: &mut World,
    named: Option<String>,
    params: &mut Params,
) -> Result<String, ApiError> {
    let has_details = params.has("customer_details");
    let mut details = params.group("customer_details");
    let address = address(&mut details)?;
    details.ignore(&["shipping", "tax", "tax_exempt", "tax_ids"]);
    details.finish()?;
    let customer = match named {
        Some(id) => {
            require_param(world, Kind::Customer, &id, "customer")?;
            id
        }
        None if has_details => world.insert(Kind::Customer, json!({})),
        None => return Err(ApiError::missing("customer")),
    };
    if let Some(address) = address {
        world.set(Kind::Customer, &customer, json!({ "address": address }));
    }
    Ok(customer)
}

/// Returns the invoice of a change of a subscription: the one that the change makes, or else the
/// next one.
fn of_subscription(
    world: &mut World,
    sub: &str,
    named: Option<String>,
    mode: PreviewMode,
    params: &mut Params,
) -> Result<String, ApiError> {
    if !subscription::can_change(world.get(Kind::Subscription, sub)) {
        return Err(ApiError::nothing_upcoming(sub));
    }
    let customer = text(world.get(Kind::Subscription, sub), "customer").to_owned();
    if named.is_some_and(|named| named != customer) {
        let message = format!("The subscription {sub} belongs to another customer.");
        return Err(ApiError::invalid(message, "customer"));
    }
    params.ignore(&["customer_details", "currency"]);
    let mut details = params.group("subscription_details");
    let change = item_change(world, sub, &mut details)?;
    let cancellation: Option<Cancellation> = cancellation(&mut details)?;
    details.finish()?;
    let discounts = item_edits::discounts(world, sub, &change.edits, params)?;
    let items = lines(world, "invoice_items", params)?;
    if params.has("automatic_tax") {
        let is_enabled = automatic_tax(world, &[], params)?;
        let state = tax::subscription_state(is_enabled);
        world.set(Kind::Subscription, sub, json!({ "automatic_tax": state }));
    }
    params.finish()?;
    let before = preview::latest(world, sub);
    if let Some(discounts) = discounts {
        item_edits::set_discounts(world, sub, &discounts);
    }
    add_items(world, &customer, sub.into(), &items)?;
    item_change::change(world, sub, &change);
    apply_cancellation(world, sub, cancellation);
    let made = preview::latest(world, sub).filter(|made| before.as_ref() != Some(made));
    match (mode, made) {
        (PreviewMode::Recurring, _) => Ok(preview::recurring(world, sub)),
        (PreviewMode::Next, Some(made)) => Ok(made),
        (PreviewMode::Next, None) => {
            preview::next(world, sub).ok_or_else(|| ApiError::nothing_upcoming(sub))
        }
    }
}

/// Returns the first invoice of a new subscription.
fn of_new_subscription(
    world: &mut World,
    customer: &str,
    lines: Vec<OfferLine>,
    mut details: Params,
    params: &mut Params,
) -> Result<String, ApiError> {
    for (place, line) in lines.iter().enumerate() {
        let at = format!("subscription_details[items][{place}][price]");
        require_recurring(world, &line.price, &at)?;
    }
    let trial_end = details.integer("trial_end")?;
    details.ignore(&["billing_mode", "proration_behavior", "proration_date", "start_date"]);
    details.finish()?;
    let discounts = discounts(world, params)?;
    let items = self::lines(world, "invoice_items", params)?;
    let automatic_tax = automatic_tax(world, &lines, params)?;
    let currency = currency(world, Mode::Subscription, Some(customer), &lines, params)?;
    params.finish()?;
    let offer = Offer { lines, currency, ..Offer::default() };
    require_redeemable(world, &discounts, &Sale::of(world, &offer, Some(customer), &Value::Null))?;
    let own = offer.lines.first().map(|line| text(world.get(Kind::Price, &line.price), "currency"));
    let chosen = offer.currency.as_deref().or(own).unwrap_or_default().to_owned();
    world.set(Kind::Customer, customer, json!({ "currency": chosen }));
    add_items(world, customer, Value::Null, &items)?;
    let new = NewSubscription {
        customer: customer.to_owned(),
        lines: offer.lines,
        currency: offer.currency,
        metadata: Map::new(),
        trial_end,
        method: None,
        discounts,
        days_until_due: None,
        settings: SaleSettings { automatic_tax, ..SaleSettings::default() },
    };
    let sub = subscription::create(world, new);
    preview::latest(world, &sub).ok_or_else(|| ApiError::nothing_upcoming(customer))
}

/// Returns the invoice of a purchase without a subscription.
fn of_items(world: &mut World, customer: &str, params: &mut Params) -> Result<String, ApiError> {
    let lines = lines(world, "invoice_items", params)?;
    if lines.is_empty() {
        return Err(ApiError::nothing_upcoming(customer));
    }
    check_once(world, &lines)?;
    let discounts = discounts(world, params)?;
    let automatic_tax = automatic_tax(world, &lines, params)?;
    let currency = currency(world, Mode::Payment, Some(customer), &lines, params)?;
    params.finish()?;
    let terms = PaymentTerms { invoice: Some(InvoiceTerms::default()), ..PaymentTerms::default() };
    let offer = Offer {
        lines,
        currency,
        payment: Some(terms),
        settings: SaleSettings { automatic_tax, ..SaleSettings::default() },
        ..Offer::default()
    };
    require_redeemable(world, &discounts, &Sale::of(world, &offer, Some(customer), &Value::Null))?;
    let invoice = preview::of_purchase(world, customer, Offer { discounts, ..offer });
    Ok(invoice)
}

/// Takes a list of prices with quantities.
fn lines(world: &World, name: &str, params: &mut Params) -> Result<Vec<OfferLine>, ApiError> {
    let mut lines = Vec::new();
    for mut line in params.groups(name) {
        let price = line.required("price")?;
        require_param(world, Kind::Price, &price, &line.full_name("price"))?;
        let at = line.full_name("quantity");
        let quantity = quantity_of(world, &price, quantity(&mut line)?, &at)?;
        line.ignore(&["description", "metadata"]);
        line.finish()?;
        lines.push(OfferLine { quantity, ..OfferLine::of(&price) });
    }
    Ok(lines)
}

/// Checks that none of the prices recurs.
fn check_once(world: &World, lines: &[OfferLine]) -> Result<(), ApiError> {
    let recurs = |line: &OfferLine| world.get(Kind::Price, &line.price)["recurring"].is_object();
    let Some(place) = lines.iter().position(recurs) else { return Ok(()) };
    let message = "The price specified is set to `type=recurring` but this field only accepts \
                   prices with `type=one_time`.";
    Err(ApiError::invalid(message, &format!("invoice_items[{place}][price]")))
}

/// Adds invoice items for the preview.
fn add_items(
    world: &mut World,
    customer: &str,
    subscription: Value,
    lines: &[OfferLine],
) -> Result<(), ApiError> {
    check_once(world, lines)?;
    let of = world.get(Kind::Subscription, subscription.as_str().unwrap_or_default());
    let own = of["currency"].as_str().or(world.get(Kind::Customer, customer)["currency"].as_str());
    let currency = own.unwrap_or_default().to_owned();
    for line in lines {
        let price = world.get(Kind::Price, &line.price).clone();
        let product = world.get(Kind::Product, text(&price, "product"));
        let new = NewItem {
            customer,
            subscription: subscription.clone(),
            subscription_item: Value::Null,
            amount: price::unit_amount(world, &price, &currency) * line.quantity,
            price: &price,
            currency: &currency,
            quantity: line.quantity,
            period: (world.now, world.now),
            description: text(product, "name").to_owned(),
            proration: None,
        };
        invoice_item::create(world, new);
    }
    Ok(())
}
