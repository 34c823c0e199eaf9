//! A customer's invoice balance. A negative balance lowers the next invoice, a positive one raises
//! it (<https://docs.stripe.com/billing/customer/balance>). It is applied in `invoice`.

use serde_json::{Value, json};

use crate::objects::{Kind, integer, with};
use crate::world::World;

/// Changes a customer's balance. `kind` is Stripe's type of the transaction, `links` the objects
/// that cause it. Returns the transaction's id.
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
