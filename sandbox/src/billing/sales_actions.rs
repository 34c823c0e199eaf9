//! The vendor's actions without Checkout: customers, subscriptions, sent invoices, quotes, payment
//! links, coupons. Each checks that it is possible now. The rules are in `subscription`, `offer`
//! and `discount`.

use serde_json::{Map, Value, json};

use super::checks::{ActionError, require_changeable, require_exists, require_status};
use super::customer::attach_card;
use super::promotion::{self, Sale};
use super::subscription::{self, NewSubscription};
use super::{buyer, collection, discount, metered, offer, session};
use crate::card::Card;
use crate::objects::{Kind, text};
use crate::options::CouponDuration;
use crate::world::{BuyerDetails, Offer, OfferLine, PaymentTerms, Redeemed, SaleSettings, World};

/// The collection method of a subscription that the vendor creates.
pub enum CollectionMethod {
    /// Charges this card at once.
    Card(Card),
    /// Sends invoices that are due after so many days.
    Invoice(i64),
}

/// Creates a subscription. Returns its id.
pub fn subscribe(
    world: &mut World,
    customer: &str,
    price: &str,
    by: &CollectionMethod,
) -> Result<String, ActionError> {
    require_exists(world, Kind::Customer, "customer", customer)?;
    require_exists(world, Kind::Price, "price", price)?;
    let (method, days_until_due) = match by {
        CollectionMethod::Card(card) => (Some(attach_card(world, customer, *card)), None),
        CollectionMethod::Invoice(days) => (None, Some(*days)),
    };
    let new = NewSubscription {
        customer: customer.to_owned(),
        lines: vec![OfferLine::of(price)],
        currency: None,
        metadata: Map::new(),
        trial_end: None,
        method,
        discounts: Vec::new(),
        days_until_due,
        settings: SaleSettings::default(),
    };
    Ok(begin(world, new))
}

/// Creates a subscription and charges its first invoice, unless it is sent. Returns the
/// subscription's id.
pub fn begin(world: &mut World, new: NewSubscription) -> String {
    let sub = subscription::create(world, new);
    let invoice = text(world.get(Kind::Subscription, &sub), "latest_invoice").to_owned();
    collection::advance(world, &invoice);
    sub
}

/// Creates a quote that the customer accepts. Returns the subscription.
pub fn sell_by_quote(
    world: &mut World,
    customer: &str,
    price: &str,
    days_until_due: Option<i64>,
) -> Result<String, ActionError> {
    require_exists(world, Kind::Customer, "customer", customer)?;
    require_exists(world, Kind::Price, "price", price)?;
    let quote = offer::add_quote(world, customer, Offer::of(price), days_until_due, json!({}));
    offer::finalize_quote(world, &quote);
    Ok(offer::accept_quote(world, &quote))
}

/// Creates a payment link for a price. One that does not recur is paid once, without an invoice.
/// Returns the link's id.
pub fn add_payment_link(world: &mut World, price: &str) -> Result<String, ActionError> {
    require_exists(world, Kind::Price, "price", price)?;
    let is_once = world.get(Kind::Price, price)["recurring"].is_null();
    let payment = is_once.then(PaymentTerms::default);
    let terms = Offer { payment, ..Offer::of(price) };
    Ok(offer::add_link(world, terms, json!({})))
}

/// Opens a payment link. Returns the checkout session, which has no customer yet.
pub fn open_payment_link(
    world: &mut World,
    link: &str,
    client_reference_id: Option<&str>,
) -> Result<String, ActionError> {
    require_exists(world, Kind::PaymentLink, "payment link", link)?;
    if world.get(Kind::PaymentLink, link)["active"] != true {
        return Err(ActionError::state(link, "deactivated", "active"));
    }
    Ok(offer::open_link(world, link, client_reference_id))
}

/// Creates a coupon for a percentage.
pub fn add_coupon(world: &mut World, id: &str, percent_off: i64, duration: CouponDuration) {
    let fields = json!({
        "duration": duration.name(),
        "duration_in_months": duration.months(),
        "name": format!("{percent_off} % off"),
        // A decimal, as Stripe writes it.
        "percent_off": f64::from(i32::try_from(percent_off).unwrap_or(100)),
    });
    world.insert_as(Kind::Coupon, id, fields);
    world.announce(Kind::Coupon, id, "coupon.created");
}

/// Creates a promotion code. Returns its id.
pub fn add_promotion_code(
    world: &mut World,
    coupon: &str,
    code: &str,
) -> Result<String, ActionError> {
    require_exists(world, Kind::Coupon, "coupon", coupon)?;
    let fields = json!({ "code": code, "promotion": { "coupon": coupon, "type": "coupon" } });
    Ok(world.create(Kind::PromotionCode, fields, "promotion_code.created"))
}

/// Enters a promotion code on the page of an open checkout session.
pub fn enter_promotion_code(
    world: &mut World,
    session: &str,
    code: &str,
) -> Result<(), ActionError> {
    require_status(world, Kind::CheckoutSession, "checkout session", session, "open")?;
    if world.get(Kind::CheckoutSession, session)["allow_promotion_codes"] != true {
        return Err(ActionError::not_possible(session, "it takes no promotion codes"));
    }
    let mut codes = world.newest_first(Kind::PromotionCode, None);
    let is_meant = |entered: &&Value| {
        text(entered, "code").eq_ignore_ascii_case(code) && entered["active"] == true
    };
    let Some(promotion_code) = codes.find(is_meant) else {
        return Err(ActionError::NoSuch { what: "promotion code", id: code.to_owned() });
    };
    let redeemed = Redeemed {
        coupon: text(&promotion_code["promotion"], "coupon").to_owned(),
        promotion_code: Some(text(promotion_code, "id").to_owned()),
    };
    drop(codes);
    let object = world.get(Kind::CheckoutSession, session);
    let offer = world.offers.get(session).cloned().unwrap_or_default();
    let customer = object["customer"].as_str();
    let sale = Sale::of(world, &offer, customer, &object["customer_creation"]);
    if let Some(problem) = promotion::problem(world, &redeemed, &sale) {
        return Err(ActionError::not_possible(session, problem));
    }
    session::redeem(world, session, redeemed);
    Ok(())
}

/// Enters the buyer's details on the page of an open checkout session.
pub fn enter_details(
    world: &mut World,
    session: &str,
    details: BuyerDetails,
) -> Result<(), ActionError> {
    require_status(world, Kind::CheckoutSession, "checkout session", session, "open")?;
    let object = world.get(Kind::CheckoutSession, session);
    let takes_tax_ids = object["tax_id_collection"]["enabled"] == true;
    let names = &object["name_collection"];
    let problem = if let Some(problem) = details.problem() {
        Some(problem)
    } else if details.tax_id.is_some() && !takes_tax_ids {
        Some("it takes no tax ids".to_owned())
    } else if details.business_name.is_some()
        && !takes_tax_ids
        && names["business"]["enabled"] != true
    {
        Some("it takes no company".to_owned())
    } else if details.individual_name.is_some() && names["individual"]["enabled"] != true {
        Some("it takes no name".to_owned())
    } else {
        None
    };
    if let Some(problem) = problem {
        return Err(ActionError::not_possible(session, problem));
    }
    buyer::enter(world, session, details);
    Ok(())
}

/// Chooses the quantity of a line on the page of an open checkout session.
pub fn choose_quantity(
    world: &mut World,
    session: &str,
    price: &str,
    quantity: i64,
) -> Result<(), ActionError> {
    require_status(world, Kind::CheckoutSession, "checkout session", session, "open")?;
    let lines = world.offers.get(session).map(|offer| offer.lines.as_slice()).unwrap_or_default();
    let Some(line) = lines.iter().find(|line| line.price == price) else {
        return Err(ActionError::NoSuch { what: "line", id: price.to_owned() });
    };
    let Some(limits) = line.adjustable else {
        return Err(ActionError::not_possible(session, "its quantity is fixed"));
    };
    // The only line cannot be removed.
    let minimum = if lines.len() == 1 { limits.minimum.max(1) } else { limits.minimum };
    if !(minimum..=limits.maximum).contains(&quantity) {
        let problem = format!("the quantity must be from {minimum} to {}", limits.maximum);
        return Err(ActionError::not_possible(session, problem));
    }
    session::set_quantity(world, session, price, quantity);
    Ok(())
}

/// Adds usage of a metered price to the current period of a subscription.
pub fn add_usage(world: &mut World, sub: &str, price: &str, units: i64) -> Result<(), ActionError> {
    require_changeable(world, sub)?;
    let fits = |item: &&Value| item["price"]["id"] == price && metered::is_metered(&item["price"]);
    let Some(item) = subscription::items(world, sub).iter().find(fits) else {
        return Err(ActionError::NoSuch { what: "metered item", id: price.to_owned() });
    };
    let item = text(item, "id").to_owned();
    metered::add_usage(world, sub, &item, units);
    Ok(())
}

/// Gives a subscription a discount from its next invoice on. Returns the discount's id.
pub fn give_discount(world: &mut World, sub: &str, coupon: &str) -> Result<String, ActionError> {
    require_changeable(world, sub)?;
    require_exists(world, Kind::Coupon, "coupon", coupon)?;
    let redeemed = Redeemed { coupon: coupon.to_owned(), promotion_code: None };
    Ok(discount::redeem(world, sub, &redeemed))
}
