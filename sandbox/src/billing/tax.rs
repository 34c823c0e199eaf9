//! Stripe Tax with a single rate for every country: 20 %, added to a price or contained in it
//! (<https://docs.stripe.com/tax/products-prices-tax-codes-tax-behavior>). The real one depends on
//! the country, the product and the buyer's tax id.

use serde_json::{Value, json};

use super::discount;
use crate::objects::{Kind, integer, put, text};
use crate::world::World;

/// The rate in percent.
const PERCENT: i64 = 20;

/// The id of the rate in taxes.
const RATE: &str = "txr_sandbox";

/// The tax of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tax {
    /// In the currency's smallest unit.
    pub amount: i64,
    /// Whether the line's amount contains it.
    pub is_inclusive: bool,
}

impl Tax {
    /// Returns the tax of an amount, after discounts.
    pub fn of(price: &Value, amount: i64) -> Self {
        let is_inclusive = price["tax_behavior"] == "inclusive";
        let whole = if is_inclusive { 100 + PERCENT } else { 100 };
        Self { amount: rounded(amount * PERCENT, whole), is_inclusive }
    }

    /// The part that is added to the line's amount.
    pub const fn added(self) -> i64 {
        if self.is_inclusive { 0 } else { self.amount }
    }

    /// The part that the line's amount contains.
    pub const fn contained(self) -> i64 {
        self.amount - self.added()
    }

    /// Returns Stripe's object for it. `taxed` is the amount with which it was computed.
    fn object(self, taxed: i64) -> Value {
        json!({
            "amount": self.amount,
            "tax_behavior": if self.is_inclusive { "inclusive" } else { "exclusive" },
            "tax_rate_details": { "tax_rate": RATE },
            "taxability_reason": "standard_rated",
            "taxable_amount": taxed - self.contained(),
            "type": "tax_rate_details",
        })
    }
}

/// Divides, and rounds halves away from zero.
fn rounded(dividend: i64, divisor: i64) -> i64 {
    (dividend.abs() + divisor / 2) / divisor * dividend.signum()
}

/// Returns the country of a customer's address, if it is known.
pub fn country_of(customer: &Value) -> Option<&str> {
    customer["address"]["country"].as_str().filter(|country| !country.is_empty())
}

/// Returns the `automatic_tax` of a checkout session whose country is known or not.
pub fn session_state(has_country: bool) -> Value {
    json!({
        "enabled": true,
        "liability": { "type": "self" },
        "provider": "stripe",
        "status": if has_country { "complete" } else { "requires_location_inputs" },
    })
}

/// Returns the `automatic_tax` of a subscription.
pub fn subscription_state(is_enabled: bool) -> Value {
    let liability = is_enabled.then(|| json!({ "type": "self" }));
    json!({ "disabled_reason": null, "enabled": is_enabled, "liability": liability })
}

/// Adds the taxes to the fields of a new invoice. Without a country it stays without taxes
/// (<https://docs.stripe.com/tax/customer-locations#invoice-finalization-errors>).
pub fn apply(world: &World, invoice: &mut Value) {
    let customer = world.get(Kind::Customer, text(invoice, "customer"));
    let mut state = json!({
        "disabled_reason": null,
        "enabled": true,
        "liability": { "type": "self" },
        "provider": "stripe",
        "status": "complete",
    });
    if country_of(customer).is_none() {
        let reason = "finalization_requires_location_inputs";
        put(&mut state, json!({ "disabled_reason": reason, "enabled": false, "status": null }));
        put(invoice, json!({ "automatic_tax": state }));
        return;
    }
    let discounted = discounted(invoice);
    let lines = invoice["lines"]["data"].as_array_mut().into_iter().flatten();
    let mut taxes = Vec::new();
    // The tax that the prices of the lines contain, before discounts.
    let mut contained = 0;
    for (line, amount) in lines.zip(discounted) {
        let price = world.get(Kind::Price, text(&line["pricing"]["price_details"], "price"));
        let tax = Tax::of(price, amount);
        contained += Tax::of(price, integer(line, "amount")).contained();
        put(line, json!({ "taxes": [tax.object(amount)] }));
        taxes.push((tax, amount));
    }
    let added: i64 = taxes.iter().map(|(tax, _)| tax.added()).sum();
    let whole: i64 = taxes.iter().map(|(tax, _)| tax.amount).sum();
    let total = integer(invoice, "total") + added;
    let due = (total + integer(invoice, "starting_balance")).max(0);
    let fields = json!({
        "amount_due": due,
        "amount_remaining": due,
        "automatic_tax": state,
        "subtotal_excluding_tax": integer(invoice, "subtotal") - contained,
        "total": total,
        "total_excluding_tax": total - whole,
        "total_taxes": totals(&taxes),
    });
    put(invoice, fields);
}

/// Returns the taxes of an invoice: one for those that are added, and one for those contained.
fn totals(taxes: &[(Tax, i64)]) -> Vec<Value> {
    let kinds = [false, true].into_iter();
    let total = |is_inclusive| {
        let of_kind = taxes.iter().filter(|(tax, _)| tax.is_inclusive == is_inclusive);
        of_kind.fold(None, |sum: Option<(Tax, i64)>, (tax, taxed)| {
            let (before, before_taxed) = sum.unwrap_or_default();
            let amount = before.amount + tax.amount;
            Some((Tax { amount, is_inclusive }, before_taxed + taxed))
        })
    };
    kinds.filter_map(total).map(|(tax, taxed)| tax.object(taxed)).collect()
}

/// Returns the amount of each line of an invoice, after discounts. Discounts without amounts per
/// line are shared by the lines.
fn discounted(invoice: &Value) -> Vec<i64> {
    let sum = |discounts: &Value| -> i64 {
        let discounts = discounts.as_array().into_iter().flatten();
        discounts.map(|discount| integer(discount, "amount")).sum()
    };
    let lines: Vec<&Value> = invoice["lines"]["data"].as_array().into_iter().flatten().collect();
    let amounts: Vec<i64> = lines.iter().map(|line| integer(line, "amount")).collect();
    let mut off: Vec<i64> = lines.iter().map(|line| sum(&line["discount_amounts"])).collect();
    if off.iter().all(|off| *off == 0) {
        off = discount::shares(sum(&invoice["total_discount_amounts"]), &amounts);
    }
    amounts.iter().zip(off).map(|(amount, off)| amount - off).collect()
}

/// Returns the part of an invoice's amount that is tax.
pub fn share(invoice: &Value, amount: i64) -> i64 {
    let total = integer(invoice, "total");
    let tax = total - integer(invoice, "total_excluding_tax");
    if total > 0 { rounded(amount * tax, total) } else { 0 }
}
