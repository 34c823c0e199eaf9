//! Resumptions of paused subscriptions (<https://docs.stripe.com/api/subscriptions/resume>). A
//! subscription is paused by the end of a trial, in `trial`.

use serde_json::{Value, json};

use super::collection::{self, Attempt};
use super::invoice::{self, InitialState};
use super::payment::Presence;
use super::{period, proration, subscription};
use crate::objects::{Kind, integer, put};
use crate::options::Proration;
use crate::world::{Resumption, Timer, World};

/// The time until an unpaid invoice of a resumption is voided, in seconds. Stripe names no number;
/// this is that of an incomplete first payment.
const EXPIRES_AFTER_SECONDS: i64 = subscription::INCOMPLETE_EXPIRES_AFTER_SECONDS;

/// The period with which a subscription resumes.
pub enum NextPeriod {
    /// A new one starts now, and is billed.
    StartsNow,
    /// The one around the present time, counted as if there had been no pause. The rest of it is
    /// billed so.
    Continues(Proration),
}

/// Resumes a paused subscription. If that is billed, it stays paused until the invoice is paid.
/// With `pays_now`, that is tried at once. Otherwise the first attempt to pay resumes it: if it
/// fails, the subscription is past due
/// (<https://docs.stripe.com/changelog/dahlia/2026-05-27/pause-subscriptions>).
pub fn begin(world: &mut World, sub: &str, next: &NextPeriod, pays_now: bool) {
    let fields = periods(world, sub, next);
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    let end = subscription::period_end(world, sub);
    world.schedule(end, Timer::SubscriptionDue(sub.to_owned()));
    let cancel_at = world.get(Kind::Subscription, sub)["cancel_at"].as_i64();
    if cancel_at.is_some_and(|at| at <= world.now) {
        // While it was paused, it was to end with a period that was over.
        let fields = json!({ "cancel_at": end });
        world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    }
    let lines = match next {
        NextPeriod::StartsNow => subscription::lines(world, sub, false),
        NextPeriod::Continues(proration) => {
            bill_rest(world, sub, *proration);
            Vec::new()
        }
    };
    if matches!(next, NextPeriod::Continues(Proration::None | Proration::NextInvoice)) {
        subscription::set_status(world, sub, "active");
        announce(world, sub);
        return;
    }
    discard(world, sub);
    let id = invoice::open(world, sub, "subscription_update", &lines, InitialState::Finalized);
    let resumption = Resumption { invoice: id.clone(), by_any_attempt: !pays_now };
    world.resumptions.insert(sub.to_owned(), resumption);
    world.schedule(world.now + EXPIRES_AFTER_SECONDS, Timer::ResumptionExpires(sub.to_owned()));
    subscription::update_from_invoices(world, sub); // Maybe nothing is due.
    if pays_now {
        collection::pay(world, &id, Presence::OffSession, Attempt::Scheduled);
    }
}

/// Returns the fields of a subscription whose items have their next periods.
fn periods(world: &World, sub: &str, next: &NextPeriod) -> Value {
    let subscription = world.get(Kind::Subscription, sub);
    let (now, own) = (world.now, integer(subscription, "billing_cycle_anchor"));
    let anchor = if matches!(next, NextPeriod::StartsNow) { now } else { own };
    let mut items = subscription["items"].clone();
    for item in items["data"].as_array_mut().into_iter().flatten() {
        let (start, end) = period::around(anchor, &item["price"]["recurring"], now);
        put(item, json!({ "current_period_start": start, "current_period_end": end }));
    }
    json!({ "billing_cycle_anchor": anchor, "items": items })
}

/// Creates the pending items that bill the rest of each item's period.
fn bill_rest(world: &mut World, sub: &str, proration: Proration) {
    let items = subscription::items(world, sub).to_vec();
    for item in items.iter().filter(|_| proration != Proration::None) {
        proration::debit(world, item, &items, world.now);
    }
}

/// Whether `newest`, the newest invoice of a subscription, is the one that resumes it.
pub fn is_settled(world: &World, sub: &str, newest: Option<&Value>) -> bool {
    let resumption = world.resumptions.get(sub);
    resumption.is_some_and(|one| newest.is_some_and(|invoice| invoice["id"] == *one.invoice))
}

/// Announces that a subscription has been resumed, if it was being resumed.
pub fn finish(world: &mut World, sub: &str) {
    if world.resumptions.remove(sub).is_some() {
        announce(world, sub);
    }
}

fn announce(world: &mut World, sub: &str) {
    world.announce(Kind::Subscription, sub, "customer.subscription.resumed");
}

/// Handles a failed payment of the invoice of a resumption. Returns whether it was one. It is not
/// retried.
pub fn fail(world: &mut World, sub: &str, invoice: &str) -> bool {
    let Some(resumption) = world.resumptions.get(sub) else { return false };
    if resumption.invoice != invoice {
        return false;
    }
    if resumption.by_any_attempt {
        subscription::set_status(world, sub, "past_due");
        finish(world, sub);
    }
    true
}

/// Gives up a resumption whose invoice was not paid in time. The subscription stays paused.
pub fn expire(world: &mut World, sub: &str) {
    let Some(resumption) = world.resumptions.get(sub) else { return };
    let created = integer(world.get(Kind::Invoice, &resumption.invoice), "created");
    if created + EXPIRES_AFTER_SECONDS <= world.now {
        discard(world, sub);
    }
}

/// Voids the invoice of a resumption that is waiting for its payment, if there is one.
fn discard(world: &mut World, sub: &str) {
    let Some(Resumption { invoice: id, .. }) = world.resumptions.remove(sub) else { return };
    if invoice::is_unpaid(world.get(Kind::Invoice, &id)) {
        invoice::void(world, &id);
    }
}
