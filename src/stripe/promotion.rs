//! The calls about promotion codes. [`crate::domain::sale::promotion`] decides who can use one.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::wire::Link;
use super::{Answer, Stripe, field};
use crate::domain::sale::promotion::PromotionCode;
use crate::domain::time::Timestamp;

#[derive(Deserialize)]
struct WireCode {
    id: String,
    active: Option<bool>,
    expires_at: Option<i64>,
    max_redemptions: Option<i64>,
    times_redeemed: Option<i64>,
    customer: Option<Link>,
    restrictions: Option<WireRestrictions>,
    promotion: Option<WirePromotion>,
}

#[derive(Deserialize)]
struct WireRestrictions {
    first_time_transaction: Option<bool>,
    minimum_amount: Option<i64>,
    minimum_amount_currency: Option<String>,
}

#[derive(Deserialize)]
struct WirePromotion {
    coupon: Option<WireCoupon>,
}

#[derive(Deserialize)]
struct WireCoupon {
    valid: Option<bool>,
    redeem_by: Option<i64>,
    max_redemptions: Option<i64>,
    times_redeemed: Option<i64>,
    applies_to: Option<WireProducts>,
}

#[derive(Deserialize)]
struct WireProducts {
    #[serde(default)]
    products: Vec<String>,
}

#[derive(Deserialize)]
struct WireProductOfPrice {
    product: Option<Link>,
}

impl WireCode {
    fn into_domain(self) -> PromotionCode {
        let coupon = self.promotion.and_then(|promotion| promotion.coupon);
        let coupon = coupon.as_ref();
        let is_valid = coupon.and_then(|coupon| coupon.valid).unwrap_or(true);
        let ends = [self.expires_at, coupon.and_then(|coupon| coupon.redeem_by)];
        let is_over =
            |most: Option<i64>, times: Option<i64>| most.is_some_and(|most| times >= Some(most));
        let restrictions = self.restrictions.as_ref();
        let minimum = restrictions.and_then(|restrictions| {
            Some((restrictions.minimum_amount?, restrictions.minimum_amount_currency.clone()?))
        });
        let products = coupon.and_then(|coupon| coupon.applies_to.as_ref());
        let products: BTreeSet<_> =
            products.into_iter().flat_map(|of| of.products.iter().cloned()).collect();
        PromotionCode {
            is_active: self.active.unwrap_or(true) && is_valid,
            ends: ends.into_iter().flatten().min().map(Timestamp::saturating),
            is_used_up: is_over(self.max_redemptions, self.times_redeemed)
                || coupon.is_some_and(|one| is_over(one.max_redemptions, one.times_redeemed)),
            customer: self.customer.map(|link| link.id().to_owned()),
            is_for_first_purchase: restrictions
                .and_then(|restrictions| restrictions.first_time_transaction)
                .unwrap_or(false),
            minimum,
            products: (!products.is_empty()).then_some(products),
            id: self.id,
        }
    }
}

impl Stripe {
    /// Returns the promotion codes with this text, in upper or lower case: past ones too, and those
    /// of single customers.
    pub async fn promotion_codes(&self, text: &str) -> Answer<Vec<PromotionCode>> {
        let query = vec![
            field("code", text),
            field("expand[]", "data.promotion.coupon"),
            field("expand[]", "data.promotion.coupon.applies_to"),
        ];
        let codes = self.all("/promotion_codes", query, |code: &WireCode| &code.id).await?;
        Ok(codes.into_iter().map(WireCode::into_domain).collect())
    }

    /// Returns the id of the product that a price is for; `None` if there is no such price.
    pub async fn product_of(&self, price: &str) -> Answer<Option<String>> {
        let found: Option<WireProductOfPrice> =
            self.known(&format!("/prices/{price}"), Vec::new()).await?;
        Ok(found.and_then(|price| price.product).map(|link| link.id().to_owned()))
    }
}
