//! A customer's invoice balance: what the next invoice is lowered by if it is negative, and raised
//! by if it is positive (<https://docs.stripe.com/billing/customer/balance>).

use serde_json::{Value, json};

use crate::objects::{Kind, integer, with};
use crate::world::World;

/// Changes a customer's balance; `kind` is Stripe's word for why, `links` the objects that it comes
/// from. Returns the id of the transaction.
pub fn change(world: &mut World, customer: &str, amount: i64, kind: &str, links: Value) -> String {
    let object = world.get(Kind::Customer, customer);
    let balance = integer(object, "balance") + amount;
    let fields = json!({
        "amount": amount,
        "currency": object["currency"].as_str().unwrap_or("usd"),
        "customer": customer,
        "ending_balance": balance,
        "type": kind,
    });
    let event = "customer_balance_transaction.created";
    let id = world.create(Kind::CustomerBalanceTransaction, with(fields, links), event);
    world.change(Kind::Customer, customer, json!({ "balance": balance }), "customer.updated");
    id
}
