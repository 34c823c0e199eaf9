//! Checkout sessions: opened, completed, settled later, expired. The attempt to pay one is in
//! `checkout`.

use serde_json::{Map, Value, json};

use super::tax::{self, Tax};
use super::{buyer, discount, invoice, payment, price, promotion};
use crate::objects::{Kind, integer, text};
use crate::world::{Offer, OfferLine, PaymentTerms, Redeemed, Timer, World};

/// The totals of an offer.
pub struct Totals {
    /// The currency, or null.
    pub currency: Value,
    /// Before discounts. Zero for an offer with a trial.
    pub subtotal: i64,
    /// After discounts, with taxes.
    pub total: i64,
    /// Of each line, before discounts.
    pub lines: Vec<i64>,
    /// The amount that each discount takes off each line.
    pub off: Vec<Vec<i64>>,
    /// The tax of each line, zero until the country is known.
    pub taxes: Vec<Tax>,
}

impl Totals {
    /// The taxes that are added to the lines.
    pub fn added_tax(&self) -> i64 {
        self.taxes.iter().map(|tax| tax.added()).sum()
    }
}

/// Returns the totals of an offer today.
pub fn totals(world: &World, offer: &Offer) -> Totals {
    let own = |line: &OfferLine| world.get(Kind::Price, &line.price)["currency"].clone();
    let chosen = offer.currency.clone().map(Value::from);
    let currency = chosen.or(offer.lines.first().map(own)).unwrap_or_default();
    let amount = |line: &OfferLine| {
        let price = world.get(Kind::Price, &line.price);
        price::unit_amount(world, price, currency.as_str().unwrap_or_default()) * line.quantity
    };
    let lines: Vec<i64> = offer.lines.iter().map(amount).collect();
    // A trial has nothing to discount.
    let due = |line: &i64| if offer.trial_days > 0 { 0 } else { *line };
    let product = |line: &OfferLine| text(world.get(Kind::Price, &line.price), "product");
    let today: Vec<(&str, i64)> =
        offer.lines.iter().map(product).zip(lines.iter().map(due)).collect();
    let subtotal = today.iter().map(|line| line.1).sum();
    let off = discount::off_lines(world, &offer.discounts, &today);
    let total = off.iter().flatten().fold(subtotal, |total, off| total - off);
    let is_taxed = offer.settings.automatic_tax && offer.country.is_some();
    let tax = |(place, line): (usize, &OfferLine)| {
        let discounted = today[place].1 - off.iter().map(|off| off[place]).sum::<i64>();
        let taxed = if is_taxed { discounted } else { 0 };
        Tax::of(world.get(Kind::Price, &line.price), taxed)
    };
    let taxes: Vec<Tax> = offer.lines.iter().enumerate().map(tax).collect();
    let total = total + taxes.iter().map(|tax| tax.added()).sum::<i64>();
    Totals { currency, subtotal, total, lines, off, taxes }
}

/// Opens a session for an offer. Returns its id.
pub fn open(
    world: &mut World,
    mut fields: Map<String, Value>,
    mut offer: Offer,
    expires_at: i64,
) -> String {
    let id = world.id(Kind::CheckoutSession.prefix());
    let own_email = json!({ "email": fields.get("customer_email") });
    let customer = fields.get("customer").and_then(Value::as_str);
    let customer = customer.map_or(&own_email, |id| world.get(Kind::Customer, id));
    offer.country = tax::country_of(customer).map(str::to_owned);
    let details = customer["email"].is_string().then(|| buyer::details(world, &id, customer));
    let own = json!({
        "customer_details": details,
        "expires_at": expires_at,
        "url": format!("{}/checkout/{id}", world.url),
    });
    fields.extend(own.as_object().cloned().unwrap_or_default());
    if let Some(terms) = &offer.payment {
        let own = payment_fields(terms, &fields);
        fields.extend(own.as_object().cloned().unwrap_or_default());
    }
    world.insert_as(Kind::CheckoutSession, &id, fields.into());
    world.offers.insert(id.clone(), offer);
    update_totals(world, &id);
    world.schedule(expires_at, Timer::SessionExpires(id.clone()));
    id
}

/// Returns the fields that only sessions with a one-time payment have. Such a session creates a
/// customer only if that is required, and does not collect a card for an order without cost
/// (<https://docs.stripe.com/changelog/2023-08-16/no-cost-orders-checkout-session>).
fn payment_fields(terms: &PaymentTerms, fields: &Map<String, Value>) -> Value {
    let creation = match (fields.get("customer"), fields.get("customer_creation")) {
        (Some(_), _) => Value::Null,
        (None, Some(creation)) => creation.clone(),
        (None, None) => "if_required".into(),
    };
    json!({
        "customer_creation": creation,
        "invoice_creation": invoice_creation(terms),
        "mode": "payment",
        "payment_method_collection": "if_required",
    })
}

/// Returns the `invoice_creation` of a session or a payment link.
pub fn invoice_creation(terms: &PaymentTerms) -> Value {
    let invoice = terms.invoice.clone().unwrap_or_default();
    json!({
        "enabled": terms.invoice.is_some(),
        "invoice_data": {
            "account_tax_ids": null,
            "custom_fields": null,
            "description": invoice.description,
            "footer": invoice.footer,
            "issuer": null,
            "metadata": invoice.metadata,
            "rendering_options": null,
        },
    })
}

/// Whether the page of a session collects a card. It does not for a sale that costs nothing today,
/// if the session says so
/// (<https://docs.stripe.com/payments/checkout/free-trials#collect-payment>).
pub fn needs_card(session: &Value) -> bool {
    session["payment_method_collection"] != "if_required" || session["amount_total"] != 0
}

/// Redeems a coupon for a session. It replaces any other discount.
pub fn redeem(world: &mut World, session: &str, redeemed: Redeemed) {
    if let Some(offer) = world.offers.get_mut(session) {
        offer.discounts = vec![redeemed];
    }
    update_totals(world, session);
}

/// Sets the quantity of a line of a session; zero removes the line.
pub fn set_quantity(world: &mut World, session: &str, price: &str, quantity: i64) {
    let Some(offer) = world.offers.get_mut(session) else { return };
    for line in offer.lines.iter_mut().filter(|line| line.price == price) {
        line.quantity = quantity;
    }
    offer.lines.retain(|line| line.price != price || line.quantity > 0);
    restart(world, session);
}

/// Updates the totals of a session whose contents changed. A subscription that waits for its first
/// payment is left, because the next attempt begins another one.
pub fn restart(world: &mut World, session: &str) {
    let waiting = world.offers.get_mut(session).and_then(|offer| offer.subscription.take());
    if let Some(sub) = waiting {
        world.session_by_subscription.remove(&sub);
    }
    update_totals(world, session);
}

/// Updates the totals of a session.
fn update_totals(world: &mut World, session: &str) {
    let offer = world.offers.get(session).cloned().unwrap_or_default();
    let totals = totals(world, &offer);
    let each = |redeemed: &Redeemed| {
        let code = &redeemed.promotion_code;
        // A promotion code is shown instead of its coupon.
        let coupon = code.is_none().then_some(&redeemed.coupon);
        json!({ "coupon": coupon, "promotion_code": code })
    };
    let discounts: Vec<Value> = offer.discounts.iter().map(each).collect();
    let off: i64 = totals.off.iter().flatten().sum();
    let tax: i64 = totals.taxes.iter().map(|tax| tax.amount).sum();
    let mut fields = json!({
        "amount_subtotal": totals.subtotal,
        "amount_total": totals.total,
        "currency": totals.currency,
        "discounts": if discounts.is_empty() { Value::Null } else { discounts.into() },
        "total_details": { "amount_discount": off, "amount_shipping": 0, "amount_tax": tax },
    });
    if offer.settings.automatic_tax {
        fields["automatic_tax"] = tax::session_state(offer.country.is_some());
    }
    world.set(Kind::CheckoutSession, session, fields);
}

/// Applies the payment of a subscription's first invoice to its session. `paid` is false when a
/// bank debit failed.
pub fn settle_payment(world: &mut World, invoice: &str, paid: bool) {
    let Some(sub) = invoice::subscription_of(world, invoice) else { return };
    let Some(session) = world.session_by_subscription.get(&sub).cloned() else { return };
    let object = world.get(Kind::CheckoutSession, &session);
    match (text(object, "status"), text(object, "payment_status")) {
        ("open", _) if paid => complete(world, &session, &sub, "paid"),
        ("complete", "unpaid") if object["invoice"] == invoice => {
            // The session is settled. Later attempts concern only the invoice.
            world.session_by_subscription.remove(&sub);
            settle(world, &session, paid);
        }
        _ => {}
    }
}

/// Applies the bank's decision about a debit to the complete session that it pays.
pub fn settle(world: &mut World, session: &str, paid: bool) {
    let (status, event) = if paid {
        ("paid", "checkout.session.async_payment_succeeded")
    } else {
        ("unpaid", "checkout.session.async_payment_failed")
    };
    world.set(Kind::CheckoutSession, session, json!({ "payment_status": status }));
    world.announce(Kind::CheckoutSession, session, event);
}

/// Completes a session whose subscription has begun.
pub fn complete(world: &mut World, session: &str, sub: &str, payment_status: &str) {
    let subscription = world.get(Kind::Subscription, sub);
    let customer = world.get(Kind::Customer, text(subscription, "customer"));
    let fields = json!({
        "customer": subscription["customer"],
        "consent": consent(world.get(Kind::CheckoutSession, session)),
        "customer_details": buyer::details(world, session, customer),
        "invoice": subscription["latest_invoice"],
        "payment_status": payment_status,
        "status": "complete",
        "subscription": sub,
        "url": null,
    });
    world.set(Kind::CheckoutSession, session, fields);
    world.announce(Kind::CheckoutSession, session, "checkout.session.completed");
}

/// Returns the `consent` of a complete session. The page requires it.
fn consent(session: &Value) -> Value {
    let is_required = session["consent_collection"]["terms_of_service"] == "required";
    match is_required {
        true => json!({ "promotions": null, "terms_of_service": "accepted" }),
        false => Value::Null,
    }
}

/// Completes a session with a one-time payment. A guest's has no customer.
pub fn complete_payment(world: &mut World, session: &str, payment_status: &str) {
    let fields = json!({
        "consent": consent(world.get(Kind::CheckoutSession, session)),
        "payment_status": payment_status,
        "status": "complete",
        "url": null,
    });
    world.set(Kind::CheckoutSession, session, fields);
    let offer = world.offers.get(session).cloned().unwrap_or_default();
    offer.discounts.iter().for_each(|redeemed| promotion::count(world, redeemed));
    world.announce(Kind::CheckoutSession, session, "checkout.session.completed");
}

/// Expires an open session, and cancels its one-time payment
/// (<https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-payment_intent>).
pub fn expire(world: &mut World, session: &str) {
    let intent = world.get(Kind::CheckoutSession, session)["payment_intent"].clone();
    if let Some(intent) = intent.as_str() {
        payment::cancel(world, intent, "expired");
    }
    let fields = json!({ "expires_at": world.now, "status": "expired", "url": null });
    world.set(Kind::CheckoutSession, session, fields);
    world.announce(Kind::CheckoutSession, session, "checkout.session.expired");
}

/// Expires a session if it is open and its time has come.
pub fn expire_if_due(world: &mut World, session: &str) {
    let object = world.get(Kind::CheckoutSession, session);
    if object["status"] == "open" && integer(object, "expires_at") <= world.now {
        expire(world, session);
    }
}
