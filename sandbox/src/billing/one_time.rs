//! One-time payments by Checkout, and the invoice that Stripe creates after such a payment
//! (<https://docs.stripe.com/payments/checkout/receipts#paid-invoices>). How a subscription begins
//! is in `checkout`.

use serde_json::{Value, json};

use super::checkout::{Paid, ensure_customer};
use super::payment::{self, PaymentOutcome, Presence};
use super::{buyer, customer, discount, invoice, price, session, tax};
use crate::card::Card;
use crate::objects::{Kind, line_item, list, text, with};
use crate::world::{InvoiceTerms, Offer, PaymentTerms, Timer, World};

/// The invoice is created after the payment, not with it. Until then the session is paid and names
/// no invoice.
const INVOICE_AFTER_SECONDS: i64 = 1;

/// Tries to pay an open session with a card. An order without cost needs none, so the card is not
/// used.
pub fn submit(
    world: &mut World,
    session: &str,
    terms: &PaymentTerms,
    card: Card,
    email: &str,
) -> Paid {
    buyer::complete(world, session);
    let object = world.get(Kind::CheckoutSession, session).clone();
    let is_free = object["amount_total"] == 0;
    let customer = buyer(world, session, terms, is_free, email);
    if is_free {
        drop_payment(world, session);
        session::complete_payment(world, session, "no_payment_required");
        return Paid::Completed;
    }
    let email = world.get(Kind::CheckoutSession, session)["customer_details"]["email"].clone();
    let method = customer::use_card(world, card, &email);
    let intent = open_payment(world, session, terms, customer.as_deref());
    let outcome = payment::attempt(world, &intent, &method, Presence::OnSession);
    apply_outcome(world, &intent, outcome);
    match outcome {
        PaymentOutcome::Succeeded | PaymentOutcome::Processing => Paid::Completed,
        PaymentOutcome::ActionRequired => Paid::AuthenticationRequired { payment_intent: intent },
        PaymentOutcome::Failed => Paid::Declined,
    }
}

/// Sets the buyer's details in a session. Returns the customer; none for a guest. An order without
/// cost requires a customer (<https://docs.stripe.com/payments/checkout/no-cost-orders>).
fn buyer(
    world: &mut World,
    session: &str,
    terms: &PaymentTerms,
    is_free: bool,
    email: &str,
) -> Option<String> {
    let object = world.get(Kind::CheckoutSession, session);
    let has_customer = object["customer"].is_string();
    let is_required = is_free || terms.requires_customer(&object["customer_creation"]);
    let email = object["customer_email"].as_str().unwrap_or(email).to_owned();
    let customer = (has_customer || is_required).then(|| ensure_customer(world, session, &email));
    let guest = json!({ "email": email });
    let details = customer.as_ref().map_or(&guest, |id| world.get(Kind::Customer, id));
    let fields = json!({ "customer_details": buyer::details(world, session, details) });
    world.set(Kind::CheckoutSession, session, fields);
    customer
}

/// Cancels the payment of a session that became free after an attempt to pay it.
fn drop_payment(world: &mut World, session: &str) {
    let intent = world.get(Kind::CheckoutSession, session)["payment_intent"].clone();
    let Some(intent) = intent.as_str() else { return };
    world.session_by_payment.remove(intent);
    world.set(Kind::CheckoutSession, session, json!({ "payment_intent": null }));
    payment::cancel(world, intent, "abandoned");
}

/// Returns the payment intent of a session, which the first attempt to pay creates
/// (<https://docs.stripe.com/changelog/2022-08-01/deferred-paymentintent-checkout-session>).
fn open_payment(
    world: &mut World,
    session: &str,
    terms: &PaymentTerms,
    customer: Option<&str>,
) -> String {
    let object = world.get(Kind::CheckoutSession, session).clone();
    let amount = object["amount_total"].as_i64().unwrap_or_default();
    if let Some(intent) = object["payment_intent"].as_str() {
        // The buyer may have entered a promotion code meanwhile.
        world.set(Kind::PaymentIntent, intent, json!({ "amount": amount }));
        return intent.to_owned();
    }
    let more = json!({
        "description": terms.description,
        "metadata": terms.metadata,
        "setup_future_usage": null,
    });
    let intent = payment::create(world, customer, (amount, text(&object, "currency")), more);
    world.session_by_payment.insert(intent.clone(), session.to_owned());
    world.set(Kind::CheckoutSession, session, json!({ "payment_intent": intent }));
    intent
}

/// Applies the result of a payment to the session that it pays, if it pays one.
pub fn apply_outcome(world: &mut World, intent: &str, outcome: PaymentOutcome) {
    let Some(session) = world.session_by_payment.get(intent).cloned() else { return };
    let is_open = world.get(Kind::CheckoutSession, &session)["status"] == "open";
    match outcome {
        PaymentOutcome::Succeeded if is_open => {
            session::complete_payment(world, &session, "paid");
            schedule_invoice(world, &session);
        }
        PaymentOutcome::Processing => session::complete_payment(world, &session, "unpaid"),
        PaymentOutcome::Succeeded => {
            session::settle(world, &session, true);
            schedule_invoice(world, &session);
        }
        PaymentOutcome::Failed if !is_open => session::settle(world, &session, false),
        PaymentOutcome::Failed | PaymentOutcome::ActionRequired => {}
    }
}

fn schedule_invoice(world: &mut World, session: &str) {
    let payment = world.offers.get(session).and_then(|offer| offer.payment.as_ref());
    if payment.is_some_and(|terms| terms.invoice.is_some()) {
        let at = world.now + INVOICE_AFTER_SECONDS;
        world.schedule(at, Timer::InvoiceAfterPayment(session.to_owned()));
    }
}

/// Creates the invoice of a paid session: unrelated to a subscription, and paid at once.
pub fn create_invoice(world: &mut World, session: &str) {
    let object = world.get(Kind::CheckoutSession, session).clone();
    let offer = world.offers.get(session).cloned().unwrap_or_default();
    let Some(terms) = offer.payment.as_ref().and_then(|terms| terms.invoice.clone()) else {
        return;
    };
    let id = world.id(Kind::Invoice.prefix());
    let fields = invoice_fields(world, &id, &object, &offer, terms);
    world.insert_as(Kind::Invoice, &id, fields);
    world.set(Kind::CheckoutSession, session, json!({ "invoice": id }));
    world.announce(Kind::Invoice, &id, "invoice.created");
    if !world.is_preview {
        invoice::finalize_paid(world, &id, text(&object, "payment_intent"));
    }
}

fn invoice_fields(
    world: &mut World,
    id: &str,
    session: &Value,
    offer: &Offer,
    terms: InvoiceTerms,
) -> Value {
    let totals = session::totals(world, offer);
    let mut discounts = Vec::new();
    for (redeemed, off) in offer.discounts.iter().zip(&totals.off) {
        discounts.push((discount::apply_once(world, session, id, redeemed), off.clone()));
    }
    let lines = lines(world, id, offer, &totals, &discounts);
    let count = lines.len();
    let url = format!("{}/{id}/lines", Kind::Invoice.path());
    let customer = world.get(Kind::Customer, text(session, "customer"));
    let each = |(discount, off): &(String, Vec<i64>)| {
        let off: i64 = off.iter().sum();
        json!({ "amount": off, "discount": discount })
    };
    let total = totals.total - totals.added_tax();
    let about_customer = customer::invoice_fields(world, customer);
    let fields = json!({
        "amount_due": total,
        "amount_remaining": total,
        "auto_advance": false,
        "billing_reason": "manual",
        "currency": totals.currency,
        "customer": session["customer"],
        "description": terms.description,
        "discounts": discounts.iter().map(|(discount, _)| discount).collect::<Vec<_>>(),
        "footer": terms.footer,
        "lines": with(list(lines, false, &url), json!({ "total_count": count })),
        "metadata": terms.metadata,
        "period_end": world.now,
        "period_start": world.now,
        "subtotal": totals.subtotal,
        "subtotal_excluding_tax": totals.subtotal,
        "total": total,
        "total_discount_amounts": discounts.iter().map(each).collect::<Vec<_>>(),
        "total_excluding_tax": total,
        "webhooks_delivered_at": world.now,
    });
    let mut fields = with(fields, about_customer);
    if offer.settings.automatic_tax {
        tax::apply(world, &mut fields);
    }
    fields
}

/// Returns the lines of the invoice. Each bills an invoice item, for a period without length
/// (<https://docs.stripe.com/api/invoice-line-item/object>).
fn lines(
    world: &mut World,
    invoice: &str,
    offer: &Offer,
    totals: &session::Totals,
    discounts: &[(String, Vec<i64>)],
) -> Vec<Value> {
    let mut lines = Vec::new();
    for (place, line) in offer.lines.iter().enumerate() {
        let price = world.get(Kind::Price, &line.price);
        let product = world.get(Kind::Product, text(price, "product"));
        let currency = totals.currency.as_str().unwrap_or_default();
        let unit = price::unit_amount(world, price, currency);
        let share = |(discount, off): &(String, Vec<i64>)| {
            let off = off[place];
            json!({ "amount": off, "discount": discount })
        };
        let fields = json!({
            "amount": totals.lines[place],
            "currency": totals.currency,
            "description": product["name"],
            "discount_amounts": discounts.iter().map(share).collect::<Vec<_>>(),
            "invoice": invoice,
            "period": { "start": world.now, "end": world.now },
            "pricing": {
                "type": "price_details",
                "price_details": { "price": price["id"], "product": price["product"] },
                "unit_amount_decimal": unit.to_string(),
            },
            "quantity": line.quantity,
            "subtotal": totals.lines[place],
        });
        let parent = json!({
            "type": "invoice_item_details",
            "invoice_item_details": {
                "invoice_item": world.id("ii_"),
                "proration": false,
                "proration_details": { "credited_items": null },
                "subscription": null,
            },
            "subscription_item_details": null,
        });
        let own = json!({ "id": world.id("il_"), "parent": parent });
        lines.push(with(with(line_item(), fields), own));
    }
    lines
}
