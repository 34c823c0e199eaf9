//! Prices in several currencies, and the currency that a customer's subscriptions have
//! (<https://docs.stripe.com/payments/checkout/localize-prices/manual-currency-prices>).

use serde_json::{Map, Value, json};

use super::subscription;
use crate::objects::{Kind, integer, text};
use crate::world::{OfferLine, World};

/// Returns the price of one unit in a currency, in its smallest unit; zero if it is not sold in it.
pub fn unit_amount(world: &World, price: &Value, currency: &str) -> i64 {
    if price["currency"] == currency {
        return integer(price, "unit_amount");
    }
    let others = world.currency_options.get(text(price, "id"));
    others.and_then(|others| others.get(currency)).copied().unwrap_or_default()
}

/// Whether a price is sold in a currency.
pub fn is_sold_in(world: &World, price: &str, currency: &str) -> bool {
    let others = world.currency_options.get(price);
    world.get(Kind::Price, price)["currency"] == currency
        || others.is_some_and(|others| others.contains_key(currency))
}

/// Returns the `currency_options` of a price. Its own currency is one of them.
pub fn options(world: &World, price: &Value) -> Value {
    let others = world.currency_options.get(text(price, "id"));
    let others =
        others.into_iter().flatten().map(|(currency, amount)| (currency.as_str(), *amount));
    let own = (text(price, "currency"), integer(price, "unit_amount"));
    let option = |(currency, amount): (&str, i64)| {
        let option = json!({
            "custom_unit_amount": null,
            "tax_behavior": price["tax_behavior"],
            "unit_amount": amount,
            "unit_amount_decimal": amount.to_string(),
        });
        (currency.to_owned(), option)
    };
    others.chain([own]).map(option).collect::<Map<_, _>>().into()
}

/// Returns the currency of a sale for which the vendor chose none: the one that the customer's
/// subscriptions have, if all lines are sold in it. Otherwise it is the price's own.
pub fn customers_currency(world: &World, customer: &str, lines: &[OfferLine]) -> Option<String> {
    let currency = world.get(Kind::Customer, customer)["currency"].as_str()?;
    let fits = lines.iter().all(|line| is_sold_in(world, &line.price, currency));
    fits.then(|| currency.to_owned())
}

/// Returns the currency in which a customer must pay new subscriptions: that of the running ones,
/// and of open sessions for one
/// (<https://support.stripe.com/questions/set-or-change-currency-for-an-invoice-or-customer-in-stripe-billing>).
/// One-time payments may have any currency.
pub fn pinned_currency(world: &World, customer: &str) -> Option<String> {
    let mut subscriptions = world.newest_first(Kind::Subscription, Some(customer));
    let mut sessions = world.newest_first(Kind::CheckoutSession, Some(customer));
    let running = subscriptions.find(|object| subscription::can_change(object));
    let open = || {
        sessions.find(|session| session["status"] == "open" && session["mode"] == "subscription")
    };
    let pins = running.or_else(open)?;
    pins["currency"].as_str().map(str::to_owned)
}
