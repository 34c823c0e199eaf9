//! Whether a coupon or a promotion code can be redeemed for a sale
//! (<https://docs.stripe.com/payments/checkout/discounts>). How it lowers the amounts is in
//! `discount`.

use serde_json::{Value, json};

use super::price;
use crate::objects::{Kind, integer, text};
use crate::world::{Offer, OfferLine, Redeemed, World};

/// A sale that a code may make cheaper.
pub struct Sale<'a> {
    /// The customer, if there is one yet.
    pub customer: Option<&'a str>,
    /// Whether no customer will be created.
    pub is_guest: bool,
    /// The currency.
    pub currency: &'a str,
    /// The lines.
    pub lines: &'a [OfferLine],
}

impl<'a> Sale<'a> {
    /// Returns the sale of an offer. `creation` is the session's `customer_creation`.
    pub fn of(
        world: &'a World,
        offer: &'a Offer,
        customer: Option<&'a str>,
        creation: &Value,
    ) -> Self {
        let first = offer.lines.first().map_or("", |line| &line.price);
        let own = text(world.get(Kind::Price, first), "currency");
        let payment = offer.payment.as_ref();
        Self {
            customer,
            is_guest: customer.is_none()
                && payment.is_some_and(|terms| !terms.requires_customer(creation)),
            currency: offer.currency.as_deref().unwrap_or(own),
            lines: &offer.lines,
        }
    }
}

/// Returns why a coupon or a promotion code cannot be redeemed; none if it can.
pub fn problem(world: &World, redeemed: &Redeemed, sale: &Sale<'_>) -> Option<String> {
    let coupon = world.get(Kind::Coupon, &redeemed.coupon);
    if coupon["valid"] != true {
        return Some(format!("Coupon expired: {}", redeemed.coupon));
    }
    if coupon["amount_off"].is_i64() && coupon["currency"] != sale.currency {
        return Some(format!("This coupon does not support {}.", sale.currency));
    }
    let applies = |line: &OfferLine| {
        let product = text(world.get(Kind::Price, &line.price), "product");
        applies_to(world, &redeemed.coupon, product)
    };
    if !sale.lines.iter().any(applies) {
        return Some("This coupon does not apply to any of the products.".to_owned());
    }
    let code = redeemed.promotion_code.as_ref()?;
    code_problem(world, code, sale)
}

fn code_problem(world: &World, code: &str, sale: &Sale<'_>) -> Option<String> {
    let code = world.get(Kind::PromotionCode, code);
    if code["active"] != true {
        return Some("This promotion code is not active.".to_owned());
    }
    if code["customer"].as_str().is_some_and(|owner| sale.customer != Some(owner)) {
        return Some("This promotion code is for another customer.".to_owned());
    }
    let restrictions = &code["restrictions"];
    let is_known = sale.customer.is_some_and(|customer| has_bought(world, customer));
    if restrictions["first_time_transaction"] == true && (is_known || sale.is_guest) {
        return Some(
            "This promotion code cannot be redeemed because the associated customer has prior \
             transactions."
                .to_owned(),
        );
    }
    let minimum = restrictions["minimum_amount"].as_i64()?;
    let amount = |line: &OfferLine| {
        let price = world.get(Kind::Price, &line.price);
        price::unit_amount(world, price, sale.currency) * line.quantity
    };
    let amount: i64 = sale.lines.iter().map(amount).sum();
    let fits = amount >= minimum && restrictions["minimum_amount_currency"] == sale.currency;
    (!fits).then(|| format!("This promotion code requires a purchase of at least {minimum}."))
}

/// Whether a customer has a successful payment or an invoice that is neither a draft nor void. An
/// unpaid invoice counts too (<https://github.com/stripe/stripe-node/issues/2349>).
fn has_bought(world: &World, customer: &str) -> bool {
    let mut payments = world.newest_first(Kind::PaymentIntent, Some(customer));
    let mut invoices = world.newest_first(Kind::Invoice, Some(customer));
    payments.any(|payment| payment["status"] == "succeeded")
        || invoices.any(|invoice| !matches!(text(invoice, "status"), "draft" | "void"))
}

/// Whether a coupon lowers the price of a product.
pub fn applies_to(world: &World, coupon: &str, product: &str) -> bool {
    let products = world.coupon_products.get(coupon);
    products.is_none_or(|products| products.iter().any(|one| one == product))
}

/// Counts a redemption of a coupon, and of its promotion code. The last one ends it.
pub fn count(world: &mut World, redeemed: &Redeemed) {
    count_for(world, Kind::Coupon, &redeemed.coupon);
    if let Some(code) = &redeemed.promotion_code {
        count_for(world, Kind::PromotionCode, code);
    }
}

fn count_for(world: &mut World, kind: Kind, id: &str) {
    let times = integer(world.get(kind, id), "times_redeemed") + 1;
    world.set(kind, id, json!({ "times_redeemed": times }));
    if world.get(kind, id)["max_redemptions"].as_i64().is_some_and(|most| times >= most) {
        end(world, kind, id);
    }
}

/// Ends a coupon, together with its promotion codes, or a promotion code. A code is only active
/// while its coupon is valid
/// (<https://docs.stripe.com/api/promotion_codes/object#promotion_code_object-active>).
pub fn end(world: &mut World, kind: Kind, id: &str) {
    if kind == Kind::PromotionCode {
        world.set(kind, id, json!({ "active": false }));
        return;
    }
    world.set(kind, id, json!({ "valid": false }));
    let codes = world.newest_first(Kind::PromotionCode, None);
    let codes = codes.filter(|code| code["promotion"]["coupon"] == id);
    let codes: Vec<String> = codes.map(|code| text(code, "id").to_owned()).collect();
    for code in codes {
        end(world, Kind::PromotionCode, &code);
    }
}
