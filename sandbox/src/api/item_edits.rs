//! The parameters of a change of a subscription's items, which updates and previews share. How they
//! are applied is in `billing::item_change`.

use serde_json::Value;

use super::params::Params;
use super::resource::require_param;
use super::terms::{discount_of, quantity_of, require_recurring, require_redeemable};
use crate::api_error::ApiError;
use crate::billing::actions::MAX_QUANTITY;
use crate::billing::item_change::{self, ItemChange, ItemEdit};
use crate::billing::payment::Presence;
use crate::billing::promotion::Sale;
use crate::billing::{discount, metered, price, subscription};
use crate::objects::{Kind, integer, text};
use crate::options::Proration;
use crate::world::{OfferLine, Redeemed, World};

/// The parameters that an update may have if it waits for its payment
/// (<https://docs.stripe.com/billing/subscriptions/pending-updates-reference>).
const MAY_WAIT: [&str; 10] = [
    "billing_cycle_anchor",
    "cancel_at_period_end",
    "discounts",
    "items",
    "metadata",
    "off_session",
    "payment_behavior",
    "proration_behavior",
    "proration_date",
    "trial_end",
];

/// Takes the changes of a subscription's items, and how they are billed.
pub fn item_change(world: &World, sub: &str, params: &mut Params) -> Result<ItemChange, ApiError> {
    let mut edits = Vec::new();
    for mut edit in params.groups("items") {
        edits.push(item_edit(world, sub, &mut edit)?);
        edit.finish()?;
    }
    if let Some(problem) = item_change::problem(world, sub, &edits) {
        return Err(ApiError::invalid(problem, "items"));
    }
    Ok(ItemChange {
        edits,
        proration: proration(params)?,
        at: at(world, sub, params)?,
        waits: None,
    })
}

fn item_edit(world: &World, sub: &str, edit: &mut Params) -> Result<ItemEdit, ApiError> {
    let (at, price_at) = (edit.full_name("id"), edit.full_name("price"));
    let id = edit.text("id")?.filter(|id| !id.is_empty());
    let price = edit.text("price")?;
    let quantity = quantity(edit)?;
    let deleted = edit.boolean("deleted")?.unwrap_or(false);
    edit.ignore(&["clear_usage", "metadata", "tax_rates"]);
    if let Some(price) = &price {
        require_recurring(world, price, &price_at)?;
        let currency = text(world.get(Kind::Subscription, sub), "currency");
        if !price::is_sold_in(world, price, currency) {
            let message = format!("The price specified is not sold in `{currency}`.");
            return Err(ApiError::invalid(message, &price_at));
        }
    }
    let quantity_at = edit.full_name("quantity");
    let Some(id) = id else {
        let price = price.ok_or_else(|| ApiError::missing(&price_at))?;
        let quantity = quantity_of(world, &price, quantity, &quantity_at)?;
        return Ok(ItemEdit::Add { price, quantity });
    };
    let items = subscription::items(world, sub);
    let Some(item) = items.iter().find(|item| item["id"] == id.as_str()) else {
        return Err(ApiError::no_such("subscription_item", &id, &at));
    };
    if deleted {
        return Ok(ItemEdit::Remove { item: id });
    }
    let price = price.unwrap_or_else(|| text(&item["price"], "id").to_owned());
    let is_metered = metered::is_metered(world.get(Kind::Price, &price));
    let kept = item["quantity"].as_i64().filter(|_| !is_metered);
    let quantity = quantity_of(world, &price, quantity.or(kept), &quantity_at)?;
    Ok(ItemEdit::Set { item: id, price, quantity })
}

/// Takes a quantity, which may be zero.
pub fn quantity(params: &mut Params) -> Result<Option<i64>, ApiError> {
    let quantity = params.integer("quantity")?;
    if quantity.is_some_and(|quantity| !(0..=MAX_QUANTITY).contains(&quantity)) {
        let message = format!("The quantity must be from 0 to {MAX_QUANTITY}.");
        return Err(ApiError::invalid(message, &params.full_name("quantity")));
    }
    Ok(quantity)
}

/// Takes how a change within a period is billed.
pub fn proration(params: &mut Params) -> Result<Proration, ApiError> {
    match params.text("proration_behavior")?.as_deref() {
        None | Some("create_prorations") => Ok(Proration::NextInvoice),
        Some("none") => Ok(Proration::None),
        Some("always_invoice") => Ok(Proration::Now),
        Some(_) => {
            let at = params.full_name("proration_behavior");
            Err(ApiError::invalid("Invalid proration_behavior", &at))
        }
    }
}

/// Takes the time from which a change is billed. It must lie in the current period.
fn at(world: &World, sub: &str, params: &mut Params) -> Result<Option<i64>, ApiError> {
    let Some(at) = params.integer("proration_date")? else { return Ok(None) };
    let items = subscription::items(world, sub);
    let begins = items.iter().map(|item| integer(item, "current_period_start")).max();
    let ends = subscription::period_end(world, sub);
    if (begins.unwrap_or_default()..=ends).contains(&at) {
        return Ok(Some(at));
    }
    let message = "Invalid proration date: it must be within the current period.";
    Err(ApiError::invalid(message, &params.full_name("proration_date")))
}

/// Takes whether a change waits for its payment. Then it can have only some of the parameters, and
/// its invoice must be charged.
pub fn waits(world: &World, sub: &str, params: &mut Params) -> Result<Option<Presence>, ApiError> {
    let off_session = params.boolean("off_session")?.unwrap_or(false);
    match params.text("payment_behavior")?.as_deref() {
        Some("pending_if_incomplete") => {}
        None | Some("allow_incomplete" | "default_incomplete") => return Ok(None),
        Some(other) => {
            let message = format!("The sandbox does not support `{other}` here.");
            return Err(ApiError::invalid(message, "payment_behavior"));
        }
    }
    let wrong = params.names().into_iter().find(|name| !MAY_WAIT.contains(&name.as_str()));
    if let Some(name) = wrong {
        let message = format!(
            "You cannot pass `{name}` when `payment_behavior` is `pending_if_incomplete`. Update \
             it separately."
        );
        return Err(ApiError::invalid(message, &name));
    }
    if world.get(Kind::Subscription, sub)["collection_method"] == "send_invoice" {
        let message = "`payment_behavior=pending_if_incomplete` can only be used when \
                       `collection_method` is `charge_automatically`.";
        return Err(ApiError::invalid(message, "payment_behavior"));
    }
    Ok(Some(if off_session { Presence::OffSession } else { Presence::OnSession }))
}

/// The discounts that a subscription is to have.
pub struct Discounts {
    /// Those that it keeps.
    kept: Vec<String>,
    /// Those that are redeemed.
    new: Vec<Redeemed>,
}

/// Takes `discounts` of a subscription that changes by `edits`. It replaces all discounts, so a
/// discount that stays is named (<https://docs.stripe.com/billing/subscriptions/coupons>).
pub fn discounts(
    world: &World,
    sub: &str,
    edits: &[ItemEdit],
    params: &mut Params,
) -> Result<Option<Discounts>, ApiError> {
    if !params.has("discounts") {
        return Ok(None);
    }
    let mut kept = Vec::new();
    let mut group = params.group("discounts");
    group.text("")?; // An empty value removes all discounts.
    let mut new = Vec::new();
    for place in group.names() {
        let mut one = group.group(&place);
        match one.text("discount")? {
            Some(id) => {
                let at = one.full_name("discount");
                require_param(world, Kind::Discount, &id, &at)?;
                if world.get(Kind::Discount, &id)["subscription"] != sub {
                    return Err(ApiError::no_such("discount", &id, &at));
                }
                kept.push(id);
            }
            None => new.push(discount_of(world, &mut one)?),
        }
        one.finish()?;
    }
    let subscription = world.get(Kind::Subscription, sub);
    let edited = edits.iter().filter_map(|edit| match edit {
        ItemEdit::Set { price, quantity, .. } | ItemEdit::Add { price, quantity } => {
            Some(OfferLine { quantity: *quantity, ..OfferLine::of(price) })
        }
        ItemEdit::Remove { .. } => None,
    });
    let stays = |item: &&Value| {
        !edits.iter().any(|edit| match edit {
            ItemEdit::Set { item: id, .. } | ItemEdit::Remove { item: id } => item["id"] == *id,
            ItemEdit::Add { .. } => false,
        })
    };
    let line = |item: &Value| OfferLine {
        quantity: integer(item, "quantity"),
        ..OfferLine::of(text(&item["price"], "id"))
    };
    let kept_items = subscription::items(world, sub).iter().filter(stays);
    let lines: Vec<OfferLine> = kept_items.map(line).chain(edited).collect();
    let sale = Sale {
        customer: subscription["customer"].as_str(),
        is_guest: false,
        currency: text(subscription, "currency"),
        lines: &lines,
    };
    require_redeemable(world, &new, &sale)?;
    Ok(Some(Discounts { kept, new }))
}

/// Gives a subscription the discounts that it is to have.
pub fn set_discounts(world: &mut World, sub: &str, discounts: &Discounts) {
    discount::keep(world, sub, &discounts.kept);
    for redeemed in &discounts.new {
        discount::redeem(world, sub, redeemed);
    }
}
