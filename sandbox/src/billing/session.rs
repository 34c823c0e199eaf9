//! Checkout sessions themselves: completed, settled later, expired. What an attempt to pay one does is
//! in `checkout`.

use serde_json::{Value, json};

use super::invoice;
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// The first invoice of a subscription was paid, or a bank debit for it failed.
pub fn payment_settled(world: &mut World, invoice: &str, paid: bool) {
    let sub = invoice::subscription_of(world, invoice);
    let Some(session) = world.sessions.get(&sub).cloned() else { return };
    let object = world.get(Kind::CheckoutSession, &session);
    match (text(object, "status"), text(object, "payment_status")) {
        ("open", _) if paid => complete(world, &session, &sub, "paid"),
        ("complete", "unpaid") if object["invoice"] == invoice => {
            let (status, event) = if paid {
                ("paid", "checkout.session.async_payment_succeeded")
            } else {
                ("unpaid", "checkout.session.async_payment_failed")
            };
            // It is settled; later attempts are the invoice's own business.
            world.sessions.remove(&sub);
            world.set(Kind::CheckoutSession, &session, json!({ "payment_status": status }));
            world.announce(Kind::CheckoutSession, &session, event);
        }
        _ => {}
    }
}

/// The subscription of a session has begun.
pub fn complete(world: &mut World, session: &str, sub: &str, payment_status: &str) {
    let subscription = world.get(Kind::Subscription, sub);
    let customer = world.get(Kind::Customer, text(subscription, "customer"));
    let fields = json!({
        "customer": subscription["customer"],
        "customer_details": customer_details(customer),
        "invoice": subscription["latest_invoice"],
        "payment_status": payment_status,
        "status": "complete",
        "subscription": sub,
        "url": null,
    });
    world.set(Kind::CheckoutSession, session, fields);
    world.announce(Kind::CheckoutSession, session, "checkout.session.completed");
}

/// What a session says of its customer.
pub fn customer_details(customer: &Value) -> Value {
    json!({
        "address": null,
        "business_name": null,
        "email": customer["email"],
        "individual_name": null,
        "name": customer["name"],
        "phone": null,
        "tax_exempt": "none",
        "tax_ids": [],
    })
}

/// Closes a session that nobody completed.
pub fn expire(world: &mut World, session: &str) {
    let fields = json!({ "expires_at": world.now, "status": "expired", "url": null });
    world.set(Kind::CheckoutSession, session, fields);
    world.announce(Kind::CheckoutSession, session, "checkout.session.expired");
}

/// Closes a session whose time has come.
pub fn expire_if_due(world: &mut World, session: &str) {
    let object = world.get(Kind::CheckoutSession, session);
    if object["status"] == "open" && integer(object, "expires_at") <= world.now {
        expire(world, session);
    }
}
