//! Invoices: created, finalized, paid, credited, voided, written off. Payments are tried in
//! `collection`.

use serde_json::{Value, json};

use super::{balance, customer, discount, invoice_item, invoice_payment, payment, price, tax};
use crate::objects::{Kind, integer, line_item, list, put, text, with};
use crate::world::{Timer, World};

const DAY_SECONDS: i64 = 86_400;

/// The time that a renewal's invoice is a draft, in seconds.
pub const DRAFT_SECONDS: i64 = 3_600;

/// The state of a new invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialState {
    /// It is finalized at once.
    Finalized,
    /// It is a draft for an hour.
    Draft,
    /// It stays a draft until it is finalized by a call.
    KeptAsDraft,
}

/// A line of a new invoice.
pub struct Line {
    /// The subscription item that it bills.
    pub item: Value,
    /// In the currency's smallest unit. A credit is negative.
    pub amount: i64,
    /// Whether it corrects an earlier bill.
    pub proration: bool,
    /// The start and the end of the billed time.
    pub period: (i64, i64),
}

/// Creates an invoice for a subscription, with its pending items before the `lines`. Unless it
/// stays a draft, it is finalized: paid if nothing is due, otherwise with a payment intent. Returns
/// its id.
pub fn open(
    world: &mut World,
    sub: &str,
    reason: &str,
    lines: &[Line],
    initial: InitialState,
) -> String {
    let id = world.id(Kind::Invoice.prefix());
    let fields = draft_fields(world, &id, sub, reason, lines);
    world.insert_as(Kind::Invoice, &id, fields);
    let finalizes_at = (initial == InitialState::Draft).then_some(world.now + DRAFT_SECONDS);
    let fields = json!({
        "auto_advance": initial != InitialState::KeptAsDraft,
        "automatically_finalizes_at": finalizes_at,
    });
    world.set(Kind::Invoice, &id, fields);
    world.set(Kind::Subscription, sub, json!({ "latest_invoice": id }));
    world.announce(Kind::Invoice, &id, "invoice.created");
    if initial == InitialState::Finalized && !world.is_preview {
        finalize(world, &id);
    }
    id
}

fn draft_fields(world: &mut World, id: &str, sub: &str, reason: &str, lines: &[Line]) -> Value {
    let period = lines.first().map_or((world.now, world.now), |line| line.period);
    let items = invoice_item::take_pending(world, id, sub);
    let Discounted { subtotal, discounts, shares } = discounted(world, sub, &items, lines);
    let total = subtotal - discounts.iter().map(|(_, amount)| amount).sum::<i64>();
    let own: Vec<Value> = lines.iter().map(|line| line_of(world, id, sub, line)).collect();
    let mut lines: Vec<Value> = items.into_iter().chain(own).collect();
    for (line, shares) in lines.iter_mut().zip(shares) {
        line["discount_amounts"] = shares.into();
    }
    let count = lines.len();
    let url = format!("{}/{id}/lines", Kind::Invoice.path());
    let subscription = world.get(Kind::Subscription, sub);
    let customer = world.get(Kind::Customer, text(subscription, "customer"));
    let parent = json!({
        "type": "subscription_details",
        "quote_details": null,
        "subscription_details": { "metadata": subscription["metadata"], "subscription": sub },
    });
    let balance = integer(customer, "balance");
    let due = (total + balance).max(0);
    let each =
        |(discount, amount): &(String, i64)| json!({ "amount": amount, "discount": discount });
    let about_customer = customer::invoice_fields(world, customer);
    let is_taxed = subscription["automatic_tax"]["enabled"] == true;
    let fields = json!({
        "amount_due": due,
        "amount_remaining": due,
        "billing_reason": reason,
        "collection_method": subscription["collection_method"],
        "currency": subscription["currency"],
        "customer": subscription["customer"],
        "lines": with(list(lines, false, &url), json!({ "total_count": count })),
        "parent": parent,
        "period_end": period.1,
        "period_start": period.0,
        "discounts": discounts.iter().map(|(discount, _)| discount).collect::<Vec<_>>(),
        "starting_balance": balance,
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": total,
        "total_discount_amounts": discounts.iter().map(each).collect::<Vec<_>>(),
        "total_excluding_tax": total,
        "webhooks_delivered_at": world.now,
    });
    let mut fields = with(fields, about_customer);
    if is_taxed {
        tax::apply(world, &mut fields);
    }
    fields
}

/// The amounts of an invoice.
struct Discounted {
    /// Before discounts.
    subtotal: i64,
    /// The amount of each discount.
    discounts: Vec<(String, i64)>,
    /// The `discount_amounts` of each line.
    shares: Vec<Vec<Value>>,
}

/// Returns the amounts of an invoice with these items and lines, and removes the discounts that it
/// uses up. An invoice that is free anyway does not use up a coupon.
fn discounted(world: &mut World, sub: &str, items: &[Value], lines: &[Line]) -> Discounted {
    let of_item = |item: &Value| {
        let product = text(&item["pricing"]["price_details"], "product").to_owned();
        (product, integer(item, "amount"), item["discountable"] == true)
    };
    let of_line =
        |line: &Line| (text(&line.item["price"], "product").to_owned(), line.amount, true);
    let all: Vec<(String, i64, bool)> =
        items.iter().map(of_item).chain(lines.iter().map(of_line)).collect();
    let subtotal = all.iter().map(|(_, amount, _)| amount).sum::<i64>();
    if !world.behavior.carries_credits {
        let subtotal = subtotal.max(0);
        let amounts: Vec<(&str, i64)> =
            all.iter().map(|(product, amount, _)| (product.as_str(), *amount)).collect();
        let discounts = discount::amounts(world, sub, subtotal, &amounts);
        if subtotal > 0 {
            let all: Vec<String> = discounts.iter().map(|(id, _)| id.clone()).collect();
            discount::remove_used(world, sub, &all);
        }
        return Discounted { subtotal, discounts, shares: Vec::new() };
    }
    let discountable: Vec<(&str, i64)> = all
        .iter()
        .map(|(product, amount, is)| (product.as_str(), if *is { *amount } else { 0 }))
        .collect();
    let off = discount::of_lines(world, sub, &discountable);
    let share = |place: usize| {
        let off = off.iter().filter(|(_, shares)| shares[place] > 0);
        off.map(|(id, shares)| json!({ "amount": shares[place], "discount": id })).collect()
    };
    let shares = (0..all.len()).map(share).collect();
    let discounts: Vec<(String, i64)> =
        off.into_iter().map(|(id, shares)| (id, shares.iter().sum())).collect();
    let used = discounts.iter().filter(|(_, amount)| *amount > 0);
    let used: Vec<String> = used.map(|(id, _)| id.clone()).collect();
    if discountable.iter().any(|(_, amount)| *amount > 0) {
        discount::remove_used(world, sub, &used);
    }
    Discounted { subtotal, discounts, shares }
}

fn line_of(world: &mut World, invoice: &str, sub: &str, line: &Line) -> Value {
    let price = &line.item["price"];
    let currency = text(world.get(Kind::Subscription, sub), "currency").to_owned();
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
        "unit_amount_decimal": price::unit_amount(world, price, &currency).to_string(),
    });
    let fields = json!({
        "id": world.id("il_"),
        "amount": line.amount,
        "currency": currency,
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

/// Applies the customer's balance to an invoice that is being finalized. Returns the amount due.
fn apply_balance(world: &mut World, id: &str) -> i64 {
    let invoice = world.get(Kind::Invoice, id);
    let (customer, total) = (text(invoice, "customer").to_owned(), integer(invoice, "total"));
    let starting = integer(world.get(Kind::Customer, &customer), "balance");
    let due = (total + starting).max(0);
    let ending = (total + starting).min(0);
    if ending != starting {
        let links = json!({ "invoice": id });
        balance::change(world, &customer, ending - starting, "applied_to_invoice", links);
    }
    let fields = json!({
        "amount_due": due,
        "amount_remaining": due,
        "ending_balance": ending,
        "starting_balance": starting,
    });
    world.set(Kind::Invoice, id, fields);
    due
}

/// Returns the due date of a sent invoice, from the subscription's `days_until_due`, and sets a
/// timer for it. Returns none for other invoices.
fn due_date(world: &mut World, id: &str) -> Option<i64> {
    let subscription = world.get(Kind::Subscription, &subscription_of(world, id)?);
    let sent = world.get(Kind::Invoice, id)["collection_method"] == "send_invoice";
    let due = sent.then(|| world.now + integer(subscription, "days_until_due") * DAY_SECONDS)?;
    world.schedule(due, Timer::InvoiceOverdue(id.to_owned()));
    Some(due)
}

/// Finalizes a draft. It is paid if nothing is due; otherwise it gets a payment intent.
pub fn finalize(world: &mut World, id: &str) {
    let due = apply_balance(world, id);
    let due_date = due_date(world, id);
    issue(world, id, due_date);
    if due > 0 {
        open_payment(world, id);
    }
    world.announce(Kind::Invoice, id, "invoice.finalized");
    if due == 0 {
        mark_paid(world, id, true);
    } else if due_date.is_some() {
        world.announce(Kind::Invoice, id, "invoice.sent");
    }
}

/// Finalizes a draft about a payment that has succeeded already, which pays it. The customer's
/// balance is left alone.
pub fn finalize_paid(world: &mut World, id: &str, intent: &str) {
    issue(world, id, None);
    world.set(Kind::Invoice, id, json!({ "ending_balance": 0 }));
    let total = integer(world.get(Kind::Invoice, id), "total");
    let named = json!({ "type": "payment_intent", "payment_intent": intent });
    invoice_payment::attach(world, id, (named, intent), total, true);
    world.announce(Kind::Invoice, id, "invoice.finalized");
    record_payment(world, id, intent);
}

/// Opens a draft: it gets a number and a page.
fn issue(world: &mut World, id: &str, due_date: Option<i64>) {
    let customer = text(world.get(Kind::Invoice, id), "customer").to_owned();
    let number = next_number(world, &customer);
    let page = format!("{}/invoice/{id}", world.documents_url);
    let now = world.now;
    world.update(Kind::Invoice, id, |invoice| {
        put(&mut invoice["status_transitions"], json!({ "finalized_at": now }));
        let fields = json!({
            "automatically_finalizes_at": null,
            "due_date": due_date,
            "effective_at": now,
            "hosted_invoice_url": page,
            "invoice_pdf": page,
            "number": number,
            "status": "open",
        });
        put(invoice, fields);
    });
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
    let due = integer(&invoice, "amount_due");
    let (customer, currency) = (text(&invoice, "customer"), text(&invoice, "currency"));
    let more = json!({ "description": "Subscription" });
    let intent = payment::create(world, Some(customer), (due, currency), more);
    let named = json!({ "type": "payment_intent", "payment_intent": intent });
    invoice_payment::attach(world, id, (named, &intent), due, true);
}

/// Returns the default payment intent of an invoice; none if nothing was due.
pub fn payment_intent(world: &World, invoice: &str) -> Option<String> {
    world.payment_of(invoice).map(|payment| payment.intent.clone())
}

/// Returns the subscription that an invoice bills; none if it bills a one-time payment.
pub fn subscription_of(world: &World, invoice: &str) -> Option<String> {
    let parent = &world.get(Kind::Invoice, invoice)["parent"];
    parent["subscription_details"]["subscription"].as_str().map(str::to_owned)
}

/// Applies a successful payment to an invoice. An excess is credited to the customer's balance.
pub fn record_payment(world: &mut World, id: &str, intent: &str) {
    let invoice = world.get(Kind::Invoice, id).clone();
    let needed = if is_unpaid(&invoice) { integer(&invoice, "amount_remaining") } else { 0 };
    let (taken, over) = invoice_payment::receive(world, id, intent, needed);
    let remaining = needed - taken;
    let fields = json!({
        "amount_overpaid": integer(&invoice, "amount_overpaid") + over,
        "amount_paid": integer(&invoice, "amount_paid") + taken,
        "amount_remaining": remaining,
    });
    world.set(Kind::Invoice, id, fields);
    if over > 0 {
        let links = json!({ "invoice": id });
        balance::change(world, text(&invoice, "customer"), -over, "invoice_overpaid", links);
    }
    if !is_unpaid(&invoice) {
        return;
    }
    if remaining > 0 {
        invoice_payment::resize(world, id, remaining);
        world.announce(Kind::Invoice, id, "invoice.updated");
        return;
    }
    // A payment outside of Stripe pays the invoice, but `invoice.payment_succeeded` is not sent.
    let by_stripe = world.exists(Kind::PaymentIntent, intent);
    mark_paid(world, id, by_stripe);
}

/// Lowers the amount due of an invoice, because of a credit note. It is paid when nothing is left.
pub fn lower_amount_due(world: &mut World, id: &str, by: i64) {
    let invoice = world.get(Kind::Invoice, id);
    let remaining = integer(invoice, "amount_remaining") - by;
    let credited = integer(invoice, "pre_payment_credit_notes_amount") + by;
    let fields = json!({
        "amount_due": integer(invoice, "amount_due") - by,
        "amount_remaining": remaining,
        "pre_payment_credit_notes_amount": credited,
    });
    world.change(Kind::Invoice, id, fields, "invoice.updated");
    if remaining == 0 {
        mark_paid(world, id, false);
    } else {
        invoice_payment::resize(world, id, remaining);
    }
}

/// Whether it can still be paid (<https://docs.stripe.com/invoicing/overview#invoice-statuses>).
pub fn is_unpaid(invoice: &Value) -> bool {
    matches!(text(invoice, "status"), "open" | "uncollectible")
}

/// Marks an invoice as paid.
fn mark_paid(world: &mut World, id: &str, by_payment: bool) {
    close(
        world,
        id,
        "paid_at",
        json!({ "amount_remaining": 0, "attempted": true, "status": "paid" }),
    );
    invoice_payment::cancel(world, id, "automatic");
    world.announce(Kind::Invoice, id, "invoice.paid");
    if by_payment {
        world.announce(Kind::Invoice, id, "invoice.payment_succeeded");
    }
}

/// Stops the collection of an invoice. `at` names the field that gets the time.
fn close(world: &mut World, id: &str, at: &str, fields: Value) {
    let now = world.now;
    world.update(Kind::Invoice, id, |invoice| {
        invoice["status_transitions"][at] = now.into();
        // The details exist only while the invoice is uncollectible.
        invoice.as_object_mut().and_then(|invoice| invoice.remove("status_details"));
        put(invoice, json!({ "auto_advance": false, "next_payment_attempt": null }));
        put(invoice, fields);
    });
}

/// Voids an invoice, and returns the balance that it used to the customer
/// (<https://docs.stripe.com/changelog/2019-12-03/customer-balances-returned-voided-invoices>).
pub fn void(world: &mut World, id: &str) {
    close(world, id, "voided_at", json!({ "status": "void" }));
    invoice_payment::cancel(world, id, "void_invoice");
    let invoice = world.get(Kind::Invoice, id).clone();
    let applied = invoice["ending_balance"]
        .as_i64()
        .map_or(0, |ending| ending - integer(&invoice, "starting_balance"));
    if applied != 0 {
        let links = json!({ "invoice": id });
        let customer = text(&invoice, "customer");
        balance::change(world, customer, -applied, "unapplied_from_invoice", links);
    }
    world.announce(Kind::Invoice, id, "invoice.voided");
}

/// Marks an invoice as uncollectible. It can still be paid. `reason` is one of Stripe's reasons
/// (<https://docs.stripe.com/changelog/endive/2026-09-30/invoice-uncollectible-status-detail>).
pub fn mark_uncollectible(world: &mut World, id: &str, reason: &str) {
    let details = json!({ "uncollectible": { "reason": reason } });
    let fields = json!({ "status": "uncollectible", "status_details": details });
    close(world, id, "marked_uncollectible_at", fields);
    world.announce(Kind::Invoice, id, "invoice.marked_uncollectible");
}
