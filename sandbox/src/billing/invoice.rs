//! Invoices: opened, finalized (in one go, but for renewals where Stripe's hour is kept), paid, voided.

use serde_json::{Value, json};

use crate::objects::{Kind, integer, line_item, list, put, text, with};
use crate::world::{Payment, World};

/// One line of an invoice to be.
pub struct Line {
    /// The subscription's item that it bills.
    pub item: Value,
    /// What is billed, in the currency's smallest unit; negative for what is given back.
    pub amount: i64,
    /// Whether it corrects what was billed before.
    pub proration: bool,
    /// The time that it covers.
    pub period: (i64, i64),
}

/// Makes an invoice for a subscription. Unless it stays a draft, it is finalized, and paid if
/// nothing is due; otherwise a payment intent waits for the payment. Gives the invoice's id.
pub fn open(world: &mut World, sub: &str, reason: &str, lines: &[Line], draft: bool) -> String {
    let id = world.id(Kind::Invoice.prefix());
    let fields = draft_fields(world, &id, sub, reason, lines);
    world.insert_as(Kind::Invoice, &id, fields);
    world.set(Kind::Subscription, sub, json!({ "latest_invoice": id }));
    world.announce(Kind::Invoice, &id, "invoice.created");
    if !draft {
        finalize(world, &id);
    }
    id
}

fn draft_fields(world: &mut World, id: &str, sub: &str, reason: &str, lines: &[Line]) -> Value {
    let total: i64 = lines.iter().map(|line| line.amount).sum::<i64>().max(0);
    let period = lines.first().map_or((world.now, world.now), |line| line.period);
    let lines: Vec<Value> = lines.iter().map(|line| line_of(world, id, sub, line)).collect();
    let url = format!("{}/{id}/lines", Kind::Invoice.path());
    let subscription = world.get(Kind::Subscription, sub);
    let customer = world.get(Kind::Customer, text(subscription, "customer"));
    let parent = json!({
        "type": "subscription_details",
        "quote_details": null,
        "subscription_details": { "metadata": subscription["metadata"], "subscription": sub },
    });
    json!({
        "amount_due": total,
        "amount_remaining": total,
        "billing_reason": reason,
        "currency": subscription["currency"],
        "customer": subscription["customer"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "lines": with(list(lines, false, &url), json!({ "total_count": 1 })),
        "parent": parent,
        "period_end": period.1,
        "period_start": period.0,
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "total": total,
        "total_excluding_tax": total,
        "webhooks_delivered_at": world.now,
    })
}

fn line_of(world: &mut World, invoice: &str, sub: &str, line: &Line) -> Value {
    let price = &line.item["price"];
    let quantity = integer(&line.item, "quantity");
    let noun = if line.proration { "Change of" } else { "Subscription to" };
    let product = world.get(Kind::Product, text(price, "product"));
    let description = format!("{quantity} × {noun} {}", text(product, "name"));
    let parent = json!({
        "type": "subscription_item_details",
        "invoice_item_details": null,
        "subscription_item_details": {
            "invoice_item": null,
            "proration": line.proration,
            "proration_details": { "credited_items": null },
            "subscription": sub,
            "subscription_item": line.item["id"],
        },
    });
    let pricing = json!({
        "type": "price_details",
        "price_details": { "price": price["id"], "product": price["product"] },
        "unit_amount_decimal": price["unit_amount_decimal"],
    });
    let fields = json!({
        "id": world.id("il_"),
        "amount": line.amount,
        "currency": price["currency"],
        "description": description,
        "invoice": invoice,
        "parent": parent,
        "period": { "start": line.period.0, "end": line.period.1 },
        "pricing": pricing,
        "quantity": quantity,
        "subscription": sub,
        "subtotal": line.amount,
    });
    with(line_item(), fields)
}

/// Finalizes a draft; it is paid if nothing is due, or else a payment intent waits for the payment.
pub fn finalize(world: &mut World, id: &str) {
    let customer = text(world.get(Kind::Invoice, id), "customer").to_owned();
    let number = next_number(world, &customer);
    let page = format!("{}/invoice/{id}", world.url);
    let now = world.now;
    world.update(Kind::Invoice, id, |invoice| {
        put(&mut invoice["status_transitions"], json!({ "finalized_at": now }));
        let fields = json!({
            "effective_at": now,
            "hosted_invoice_url": page,
            "invoice_pdf": page,
            "number": number,
            "status": "open",
        });
        put(invoice, fields);
    });
    if integer(world.get(Kind::Invoice, id), "amount_due") > 0 {
        open_payment(world, id);
    }
    world.announce(Kind::Invoice, id, "invoice.finalized");
    if integer(world.get(Kind::Invoice, id), "amount_due") == 0 {
        mark_paid(world, id);
    }
}

fn next_number(world: &mut World, customer: &str) -> String {
    let object = world.get(Kind::Customer, customer);
    let sequence = integer(object, "next_invoice_sequence");
    let number = format!("{}-{sequence:04}", text(object, "invoice_prefix"));
    world.set(Kind::Customer, customer, json!({ "next_invoice_sequence": sequence + 1 }));
    number
}

fn open_payment(world: &mut World, id: &str) {
    let invoice = world.get(Kind::Invoice, id).clone();
    let intent = world.id(Kind::PaymentIntent.prefix());
    let secret = world.id(&format!("{intent}_secret_"));
    let fields = json!({
        "amount": invoice["amount_due"],
        "client_secret": secret,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": "Subscription",
    });
    world.insert_as(Kind::PaymentIntent, &intent, fields);
    world.announce(Kind::PaymentIntent, &intent, "payment_intent.created");
    let fields = json!({
        "amount_requested": invoice["amount_due"],
        "currency": invoice["currency"],
        "invoice": id,
        "payment": { "type": "payment_intent", "payment_intent": intent },
    });
    let invoice_payment = world.insert(Kind::InvoicePayment, fields);
    world.link_payment(id, Payment { intent, invoice_payment });
}

/// The payment intent that pays an invoice; none if nothing was due.
pub fn payment_intent(world: &World, invoice: &str) -> Option<String> {
    world.payment_of(invoice).map(|payment| payment.intent.clone())
}

/// The subscription that an invoice bills.
pub fn subscription_of(world: &World, invoice: &str) -> String {
    let parent = &world.get(Kind::Invoice, invoice)["parent"];
    text(&parent["subscription_details"], "subscription").to_owned()
}

/// The invoice is paid, by its payment intent or because nothing was due.
pub fn mark_paid(world: &mut World, id: &str) {
    let now = world.now;
    world.update(Kind::Invoice, id, |invoice| {
        put(&mut invoice["status_transitions"], json!({ "paid_at": now }));
        let fields = json!({
            "amount_paid": invoice["amount_due"],
            "amount_remaining": 0,
            "attempted": true,
            "auto_advance": false,
            "next_payment_attempt": null,
            "status": "paid",
        });
        put(invoice, fields);
    });
    if let Some(Payment { invoice_payment: payment, .. }) = world.payment_of(id).cloned() {
        world.update(Kind::InvoicePayment, &payment, |payment| {
            put(&mut payment["status_transitions"], json!({ "paid_at": now }));
            put(payment, json!({ "amount_paid": payment["amount_requested"], "status": "paid" }));
        });
        world.announce(Kind::InvoicePayment, &payment, "invoice_payment.paid");
    }
    world.announce(Kind::Invoice, id, "invoice.paid");
    world.announce(Kind::Invoice, id, "invoice.payment_succeeded");
}

/// The invoice will not be paid any more.
pub fn void(world: &mut World, id: &str) {
    let now = world.now;
    world.update(Kind::Invoice, id, |invoice| {
        put(&mut invoice["status_transitions"], json!({ "voided_at": now }));
        put(
            invoice,
            json!({ "auto_advance": false, "next_payment_attempt": null, "status": "void" }),
        );
    });
    if let Some(intent) = payment_intent(world, id) {
        let fields = json!({ "canceled_at": now, "cancellation_reason": "void_invoice", "status": "canceled" });
        world.change(Kind::PaymentIntent, &intent, fields, "payment_intent.canceled");
    }
    world.announce(Kind::Invoice, id, "invoice.voided");
}
