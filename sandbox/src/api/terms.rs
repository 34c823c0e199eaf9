//! The parameters of a sale that checkout sessions, payment links, quotes and subscriptions share:
//! line items, trial and discounts.

use super::params::Params;
use super::resource::require_param;
use crate::api_error::ApiError;
use crate::objects::{Kind, text};
use crate::world::{Offer, Redeemed, World};

/// Takes the line items, trial and discounts of a checkout session, payment link or quote.
pub fn terms(world: &World, params: &mut Params) -> Result<Offer, ApiError> {
    let mut lines = Vec::new();
    for mut line in params.groups("line_items") {
        let price = line.required("price")?;
        let quantity = line.integer("quantity")?.unwrap_or(1);
        let at = line.full_name("price");
        line.ignore(&["adjustable_quantity"]);
        line.finish()?;
        require_param(world, Kind::Price, &price, &at)?;
        if world.get(Kind::Price, &price)["recurring"].is_null() {
            let message = "You must provide at least one recurring price in `subscription` mode.";
            return Err(ApiError::invalid(message, &at));
        }
        lines.push((price, quantity));
    }
    if lines.is_empty() {
        return Err(ApiError::missing("line_items"));
    }
    let discounts = discounts(world, params)?;
    let mut data = params.group("subscription_data");
    let metadata = data.metadata("metadata")?.unwrap_or_default();
    let trial_days = data.integer("trial_period_days")?.unwrap_or(0);
    data.ignore(&["description", "proration_behavior", "billing_mode", "trial_settings"]);
    data.finish()?;
    Ok(Offer { lines, metadata, trial_days, discounts, subscription: None })
}

/// Takes `discounts`: coupons and promotion codes.
pub fn discounts(world: &World, params: &mut Params) -> Result<Vec<Redeemed>, ApiError> {
    let mut discounts = Vec::new();
    for mut discount in params.groups("discounts") {
        let (coupon, code) = (discount.text("coupon")?, discount.text("promotion_code")?);
        let at = discount.full_name("coupon");
        discount.finish()?;
        let coupon = match (coupon, &code) {
            (Some(coupon), _) => coupon,
            (None, Some(code)) => {
                require_param(world, Kind::PromotionCode, code, "promotion_code")?;
                let code = world.get(Kind::PromotionCode, code);
                text(&code["promotion"], "coupon").to_owned()
            }
            (None, None) => return Err(ApiError::missing(&at)),
        };
        require_param(world, Kind::Coupon, &coupon, &at)?;
        discounts.push(Redeemed { coupon, promotion_code: code });
    }
    Ok(discounts)
}
