//! The calls about promotion codes and discounts. [`crate::domain::sale::promotion`] decides who
//! can use a code, and [`crate::domain::sale::discount`] whether it can be added.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::wire::{Link, List};
use super::{Answer, Stripe, field};
use crate::domain::sale::discount::{Coupon, Discount, Duration, Holder};
use crate::domain::sale::invoice::InvoiceStatus;
use crate::domain::sale::promotion::PromotionCode;
use crate::domain::sale::stripe_ids::{InvoiceId, StripeSubscriptionId};
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
    name: Option<String>,
    duration: Option<String>,
    duration_in_months: Option<u32>,
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

/// A subscription with its discounts and its customer.
#[derive(Deserialize)]
struct WireDiscounted {
    discounts: Option<Vec<WireDiscount>>,
    items: Option<List<WireDiscountedItem>>,
    customer: Option<WireDiscountedCustomer>,
}

#[derive(Deserialize)]
struct WireDiscountedItem {
    discounts: Option<Vec<WireDiscount>>,
}

#[derive(Deserialize)]
struct WireDiscountedCustomer {
    discount: Option<WireDiscount>,
}

#[derive(Deserialize)]
struct WireDiscountedInvoice {
    id: String,
    status: Option<String>,
    discounts: Option<Vec<WireDiscount>>,
}

/// A discount, present or deleted: both name their promotion code.
#[derive(Deserialize)]
struct WireDiscount {
    id: String,
    end: Option<i64>,
    promotion_code: Option<Link>,
    source: Option<WireSource>,
}

#[derive(Deserialize)]
struct WireSource {
    coupon: Option<Link>,
}

impl WireDiscount {
    fn into_domain(self, holder: Holder) -> Discount {
        let coupon = self.source.and_then(|source| source.coupon);
        Discount {
            id: self.id,
            holder,
            coupon: coupon.map(|link| link.id().to_owned()),
            ends: self.end.map(Timestamp::saturating),
        }
    }
}

impl WireDiscounted {
    fn into_domain(self) -> Vec<Discount> {
        let items = self.items.into_iter().flat_map(|items| items.data);
        let of_items = items.flat_map(|item| item.discounts.into_iter().flatten());
        let of_customer = self.customer.and_then(|customer| customer.discount);
        let own = self.discounts.into_iter().flatten();
        own.map(|one| (one, Holder::Subscription))
            .chain(of_items.map(|one| (one, Holder::Item)))
            .chain(of_customer.map(|one| (one, Holder::Customer)))
            .map(|(discount, holder)| discount.into_domain(holder))
            .collect()
    }
}

impl WireCoupon {
    fn duration(&self) -> Duration {
        match (self.duration.as_deref(), self.duration_in_months) {
            (Some("once"), _) => Duration::Once,
            (Some("repeating"), Some(months)) => Duration::Months(months),
            _ => Duration::Forever,
        }
    }
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
            duration: coupon.map_or(Duration::Forever, WireCoupon::duration),
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

    /// Returns the discounts of a subscription, of its items, and of its Stripe customer.
    pub async fn discounts(&self, id: &StripeSubscriptionId) -> Answer<Vec<Discount>> {
        let expanded = ["discounts", "items.data.discounts", "customer"];
        let query = expanded.map(|path| field("expand[]", path)).to_vec();
        let found: WireDiscounted = self.get(&format!("/subscriptions/{id}"), query).await?;
        Ok(found.into_domain())
    }

    /// Returns a coupon; `None` if it was deleted.
    pub async fn coupon(&self, id: &str) -> Answer<Option<Coupon>> {
        let found: Option<WireCoupon> = self.known(&format!("/coupons/{id}"), Vec::new()).await?;
        Ok(found.map(|coupon| Coupon { duration: coupon.duration(), name: coupon.name }))
    }

    /// Returns the ids of the promotion codes that invoices of a subscription had, including those
    /// whose discount has ended: a discount for one invoice is no longer on the subscription. The
    /// invoice `waiting`, of a change that waits for its payment, does not count, and neither does
    /// a void one.
    pub async fn used_codes(
        &self,
        id: &StripeSubscriptionId,
        waiting: Option<&InvoiceId>,
    ) -> Answer<BTreeSet<String>> {
        let query = vec![field("subscription", id.as_str()), field("expand[]", "data.discounts")];
        let (invoices, _) = self
            .newest("/invoices", query, |one: &WireDiscountedInvoice| one.id.as_str(), |_| false)
            .await?;
        let counts = |invoice: &WireDiscountedInvoice| {
            let status = InvoiceStatus::from_name(invoice.status.as_deref().unwrap_or_default());
            status != InvoiceStatus::Void && waiting.is_none_or(|id| id.as_str() != invoice.id)
        };
        let counted = invoices.into_iter().filter(counts);
        let discounts = counted.flat_map(|invoice| invoice.discounts.into_iter().flatten());
        let codes = discounts.filter_map(|discount| discount.promotion_code);
        Ok(codes.map(|link| link.id().to_owned()).collect())
    }

    /// Returns the id of the product that a price is for; `None` if there is no such price.
    pub async fn product_of(&self, price: &str) -> Answer<Option<String>> {
        let found: Option<WireProductOfPrice> =
            self.known(&format!("/prices/{price}"), Vec::new()).await?;
        Ok(found.and_then(|price| price.product).map(|link| link.id().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_discounts_of_a_subscription_its_items_and_its_customer_are_read() {
        let discount = |id: &str, end: Option<i64>| json!({ "id": id, "end": end, "source": { "coupon": "half", "type": "coupon" } });
        let sent = json!({
            "discounts": [discount("di_1", Some(7))],
            "items": { "data": [{ "discounts": [discount("di_2", None)] }, { "discounts": [] }] },
            "customer": { "id": "cus_1", "discount": discount("di_3", None) },
        });
        let read: WireDiscounted = serde_json::from_value(sent).unwrap();
        let expected = [
            ("di_1", Holder::Subscription, Some(Timestamp::saturating(7))),
            ("di_2", Holder::Item, None),
            ("di_3", Holder::Customer, None),
        ];
        let expected = expected.map(|(id, holder, ends)| {
            let coupon = Some("half".to_owned());
            Discount { id: id.to_owned(), holder, coupon, ends }
        });
        assert_eq!(read.into_domain(), expected);
        let none = json!({ "discounts": [], "customer": { "id": "cus_1", "discount": null } });
        let none: WireDiscounted = serde_json::from_value(none).unwrap();
        assert_eq!(none.into_domain(), []);
    }
}
