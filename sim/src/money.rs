//! What people, vendors and banks do with money beside the usual course: late, partial and forgiven
//! payments, money that goes back in parts, and sales that did not begin here.

use licentia_sandbox::{Card, CouponDuration, CreditNote, Order, Pause};
use serde_json::Value;

use crate::history::History;
use crate::people::id_of;
use crate::world::PRICES;

/// The coupons that vendors give.
pub const FREE_ONCE: &str = "free_once";
pub const HALF: &str = "half";

/// The most that banks claim back of a payment, in percent, by all of their disputes together: a
/// little more than all of it, after an exchange.
const MOST_DISPUTED: i64 = 102;

/// The number of invoices that a customer gets at once: more than a page and what every sync
/// fetches, so that later syncs do not see the older ones.
const MANY: usize = 155;

/// What may happen.
#[derive(Clone, Copy)]
enum Unusual {
    UnpaidInvoice,
    PaidInvoice,
    Dispute,
    Refund,
    Subscription,
    Sale,
    PaymentLink,
    Balance,
    ManyInvoices,
}

impl History {
    /// Draws the choices that Stripe leaves to the account, and makes the coupons.
    pub fn draw_account(&self) {
        let (stripe, dice) = (&self.world.stripe, &self.world.dice);
        stripe.add_coupon(FREE_ONCE, 100, CouponDuration::Once);
        stripe.add_coupon(HALF, 50, CouponDuration::Once);
        stripe.write_off_after_retries(dice.happens(400));
        stripe.void_failed_first_debits(dice.happens(400));
        let orders = [Order::AsCreated, Order::Reversed, Order::Shuffled];
        stripe.list_payments(*dice.pick(&orders).unwrap_or(&Order::AsCreated));
    }

    /// Something unusual happens to somebody's money; whether it did.
    pub fn unusual(&mut self, who: usize) -> bool {
        let Some(stripe_id) = self.stripe_customer(who) else { return self.sell_to_nobody(who) };
        let of = format!("customer={stripe_id}");
        let invoices = self.list("/v1/invoices", &of);
        let in_one_of = |states: &[&str]| -> Vec<Value> {
            let is_in = |i: &&Value| states.iter().any(|state| i["status"] == *state);
            invoices.iter().filter(is_in).cloned().collect()
        };
        let unpaid = in_one_of(&["open", "uncollectible"]);
        let mut paid = in_one_of(&["paid"]);
        paid.retain(|invoice| number(invoice, "total") > 0);
        let disputes: Vec<Value> = self.list("/v1/disputes", "");
        let refunds = self.list("/v1/refunds", "");
        let all = self.list("/v1/subscriptions", &of);
        let kinds = [
            (if unpaid.is_empty() { 0 } else { 12 }, Unusual::UnpaidInvoice),
            (if paid.is_empty() { 0 } else { 6 }, Unusual::PaidInvoice),
            (if disputes.is_empty() { 0 } else { 3 }, Unusual::Dispute),
            (if refunds.is_empty() { 0 } else { 2 }, Unusual::Refund),
            (if all.is_empty() { 0 } else { 5 }, Unusual::Subscription),
            (if all.is_empty() { 5 } else { 0 }, Unusual::Sale),
            (1, Unusual::PaymentLink),
            (1, Unusual::Balance),
            (
                if self.many_invoices && invoices.len() < MANY { 2 } else { 0 },
                Unusual::ManyInvoices,
            ),
        ];
        let dice = self.world.dice.clone();
        let Some(kind) = dice.weighted(&kinds) else { return false };
        let done = match kind {
            Unusual::UnpaidInvoice => dice.pick(&unpaid).map(|invoice| self.settle_unpaid(invoice)),
            Unusual::PaidInvoice => dice.pick(&paid).map(|invoice| self.give_back(invoice)),
            Unusual::Dispute => dice.pick(&disputes).map(|dispute| self.move_dispute(dispute)),
            Unusual::Refund => dice.pick(&refunds).map(|refund| {
                let (id, good) = (id_of(refund), dice.happens(600));
                format!("{id} succeeds {good}: {:?}", self.world.stripe.settle_refund(&id, good))
            }),
            Unusual::Subscription => dice.pick(&all).map(|found| self.change_terms(&id_of(found))),
            Unusual::ManyInvoices => {
                let added = self.world.stripe.add_invoices(&stripe_id, MANY);
                Some(format!("gets {MANY} invoices for nothing: {added:?}"))
            }
            Unusual::Sale => {
                self.people[who].sold_by_hand = true;
                Some(self.sell_by_hand(&stripe_id))
            }
            Unusual::PaymentLink => Some(self.sell_by_link(who)),
            Unusual::Balance => {
                let amount = [-500, -4900, -20_000, 300];
                let amount = *dice.pick(&amount).unwrap_or(&0);
                let changed = self.world.stripe.adjust_balance(&stripe_id, amount);
                Some(format!("has {amount} put on the balance: {changed:?}"))
            }
        };
        let Some(done) = done else { return false };
        self.tell(|| format!("{who} {done}"));
        true
    }

    /// An unpaid invoice is paid, in part or otherwise, or forgiven, whatever became of its
    /// subscription.
    fn settle_unpaid(&mut self, invoice: &Value) -> String {
        let (stripe, dice) = (&self.world.stripe, &self.world.dice);
        let (id, left) = (id_of(invoice), number(invoice, "amount_remaining"));
        let cards = [Card::Paid, Card::Paid, Card::Paid, Card::DelayedPaid, Card::DelayedFailed];
        let card = *dice.pick(&cards).unwrap_or(&Card::Paid);
        let part = (left / 2).max(1);
        let credit = |amount| CreditNote { amount, ..CreditNote::default() };
        match dice.below(14) {
            0..=4 => format!("pays {id} by {card:?}: {:?}", stripe.pay_invoice_with(&id, card)),
            5 | 6 => {
                format!("pays {part} of {id}: {:?}", stripe.pay_part(&id, part, card))
            }
            7 => format!("pays {id} elsewhere: {:?}", stripe.pay_out_of_band(&id, None)),
            8 => {
                let paid = stripe.pay_out_of_band(&id, Some(part));
                format!("pays {part} of {id} elsewhere: {paid:?}")
            }
            9 | 10 => format!("is forgiven {id}: {:?}", stripe.void_invoice(&id)),
            11 => {
                self.written_off.insert(id.clone());
                format!("has {id} written off: {:?}", stripe.write_off_invoice(&id))
            }
            12 => format!("is credited all of {id}: {:?}", stripe.credit(&id, credit(left))),
            _ => format!("is credited {part} of {id}: {:?}", stripe.credit(&id, credit(part))),
        }
    }

    /// Something goes back of an invoice that was paid: by a credit note, a refund or a dispute.
    fn give_back(&self, invoice: &Value) -> String {
        let (stripe, dice) = (&self.world.stripe, &self.world.dice);
        let id = id_of(invoice);
        let credited = number(invoice, "pre_payment_credit_notes_amount")
            + number(invoice, "post_payment_credit_notes_amount");
        let left = number(invoice, "total") - credited;
        let amount = if dice.happens(500) { left } else { left / 2 };
        let (none, half) = (CreditNote { amount, ..CreditNote::default() }, amount / 2);
        let note = match dice.below(9) {
            0 => CreditNote { balance: amount, ..none },
            1 => CreditNote { out_of_band: amount, ..none },
            2 => CreditNote { refund: amount, ..none },
            3 => CreditNote { refund: half, balance: amount - half, ..none },
            _ => return self.take_back(&id),
        };
        format!("{id} is credited by {note:?}: {:?}", stripe.credit(&id, note))
    }

    /// A bank or the vendor gives back one of the payments of an invoice, or a part of it.
    fn take_back(&self, invoice: &str) -> String {
        let (stripe, dice) = (&self.world.stripe, &self.world.dice);
        let payments = self.list("/v1/invoice_payments", &format!("invoice={invoice}&status=paid"));
        let intents = payments.iter().filter_map(|p| p["payment"]["payment_intent"].as_str());
        let intents: Vec<&str> = intents.collect();
        let Some(intent) = dice.pick(&intents).copied() else {
            return format!("{invoice} has no payment to give back");
        };
        let amount = stripe.look(intent, |intent| number(intent, "amount"));
        let percent = i64::from(*dice.pick(&[30_u8, 50, 60, 97, 99, 100, 101]).unwrap_or(&50));
        let part = (amount * percent / 100).max(1);
        let disputes = self.list("/v1/disputes", "");
        let same = disputes.iter().filter(|dispute| dispute["payment_intent"] == intent);
        let claimed: i64 = same.map(|dispute| number(dispute, "amount")).sum();
        match dice.below(8) {
            0..=2 if (claimed + part) * 100 <= amount * MOST_DISPUTED => {
                let opened = stripe.open_dispute_about(intent, part);
                format!("disputes {percent} % of {intent}: {opened:?}")
            }
            3 if claimed == 0 => {
                let opened = stripe.open_inquiry(intent, Some(part.min(amount)));
                format!("has the bank ask about {intent}: {opened:?}")
            }
            4 | 5 => {
                let part = Some(part.min(amount)).filter(|_| percent < 100);
                format!("is refunded {part:?} of {intent}: {:?}", stripe.refund(intent, part))
            }
            _ => {
                let part = Some(part.min(amount)).filter(|_| percent < 100);
                let refunded = stripe.refund_slowly(intent, part);
                format!("is to be refunded {part:?} of {intent}: {refunded:?}")
            }
        }
    }

    /// A dispute is answered, escalated or decided.
    fn move_dispute(&self, dispute: &Value) -> String {
        let (stripe, dice) = (&self.world.stripe, &self.world.dice);
        let (id, status) = (id_of(dispute), dispute["status"].as_str().unwrap_or_default());
        let done = match status {
            "warning_needs_response" | "warning_under_review" => match dice.below(3) {
                0 => stripe.answer_dispute(&id),
                1 => stripe.escalate_inquiry(&id),
                _ => stripe.close_inquiry(&id),
            },
            "needs_response" if dice.happens(300) => stripe.answer_dispute(&id),
            _ => stripe.close_dispute(&id, dice.happens(400)),
        };
        format!("{id} goes on from {status}: {done:?}")
    }

    /// The vendor pauses, resumes or discounts a subscription.
    fn change_terms(&mut self, subscription: &str) -> String {
        let (stripe, dice) = (self.world.stripe.clone(), self.world.dice.clone());
        match dice.below(6) {
            0 | 1 => {
                let pauses = [Pause::Void, Pause::KeepAsDraft, Pause::MarkUncollectible];
                let pause = *dice.pick(&pauses).unwrap_or(&Pause::Void);
                let paused = stripe.pause(subscription, pause);
                if paused.is_ok() {
                    self.paused.insert(subscription.to_owned());
                }
                format!("{subscription} is paused by {pause:?}: {paused:?}")
            }
            2 | 3 => format!("{subscription} is resumed: {:?}", stripe.resume(subscription)),
            _ => {
                let coupon = if dice.happens(500) { FREE_ONCE } else { HALF };
                let discounted = stripe.discount(subscription, coupon);
                format!("{subscription} gets {coupon}: {discounted:?}")
            }
        }
    }

    /// The vendor sells a subscription in the dashboard to a customer who is known here.
    fn sell_by_hand(&self, stripe_id: &str) -> String {
        let (stripe, dice) = (&self.world.stripe, &self.world.dice);
        let (price, ..) = *dice.pick(&PRICES).unwrap_or(&PRICES[0]);
        let days = *dice.pick(&[1, 7, 14, 30]).unwrap_or(&14);
        match dice.below(5) {
            0 => format!("is sold {price}: {:?}", stripe.subscribe(stripe_id, price, Card::Paid)),
            1 => {
                let sold = stripe.sell_by_quote(stripe_id, price, Some(days));
                format!("accepts a quote for {price}: {sold:?}")
            }
            _ => {
                let sold = stripe.subscribe_by_invoice(stripe_id, price, days);
                format!("is sent invoices for {price}, {days} days: {sold:?}")
            }
        }
    }

    /// Somebody buys by a payment link, which says nothing of an account here.
    fn sell_by_link(&self, who: usize) -> String {
        let (stripe, dice) = (&self.world.stripe, &self.world.dice);
        let (price, ..) = *dice.pick(&PRICES).unwrap_or(&PRICES[0]);
        let email = if dice.happens(500) { &self.people[who].email } else { "else@example.com" };
        let paid = stripe
            .add_payment_link(price)
            .and_then(|link| stripe.open_payment_link(&link, None))
            .and_then(|session| stripe.pay_as(&session, Card::Paid, email));
        format!("{email} buys {price} by a link: {paid:?}")
    }

    /// Somebody whom Stripe does not know yet buys by a link, or the vendor makes a customer for
    /// them: who says whose it is, or only has the same address.
    fn sell_to_nobody(&mut self, who: usize) -> bool {
        let dice = self.world.dice.clone();
        let done = if dice.happens(300) {
            self.sell_by_link(who)
        } else {
            let person = &mut self.people[who];
            let id = person.customer_id.as_ref().map(ToString::to_string);
            let named = id.as_deref().filter(|_| dice.happens(500)).map(|id| ("customer_id", id));
            person.by_hand |= named.is_some();
            let made = self.world.stripe.add_customer(&person.email, named.as_slice());
            let sold = if dice.happens(600) { self.sell_by_hand(&made) } else { String::new() };
            format!("is {made} at Stripe, as {named:?} {sold}")
        };
        self.tell(|| format!("{who} {done}"));
        true
    }
}

fn number(object: &Value, field: &str) -> i64 {
    object[field].as_i64().unwrap_or_default()
}
