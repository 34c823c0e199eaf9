//! The passing of time: runs due timers, each at its own time, in order. The actions are in the
//! other files.

use super::{
    collection, ending, one_time, pending_update, promotion, renewal, resumption, session, trial,
};
use crate::card::Card;
use crate::objects::{Kind, text};
use crate::world::{Timer, World};

/// Advances the time to `until`.
pub fn catch_up(world: &mut World, until: i64) {
    let cause = std::mem::take(&mut world.cause);
    while let Some((at, timer)) = world.take_timer(until) {
        world.now = world.now.max(at);
        fire(world, &timer);
    }
    world.now = world.now.max(until);
    world.cause = cause;
}

fn fire(world: &mut World, timer: &Timer) {
    match timer {
        Timer::SessionExpires(session) => session::expire_if_due(world, session),
        Timer::SubscriptionDue(sub) => renewal::handle_timer(world, sub),
        Timer::TrialEndsSoon(sub) => trial::announce_end(world, sub),
        Timer::ResumptionExpires(sub) => resumption::expire(world, sub),
        Timer::IncompleteExpires(sub) => ending::expire_incomplete(world, sub),
        Timer::InvoiceDue(invoice) => renewal::collect_draft(world, invoice),
        Timer::InvoiceOverdue(invoice) => collection::mark_overdue(world, invoice),
        Timer::RetryPayment(invoice) => collection::retry(world, invoice),
        Timer::PaymentSettles(intent) => settle(world, intent),
        Timer::CouponEnds(id) => promotion::end(world, Kind::Coupon, id),
        Timer::PromotionCodeEnds(id) => promotion::end(world, Kind::PromotionCode, id),
        Timer::PendingUpdateExpires(sub) => pending_update::expire_if_due(world, sub),
        Timer::InvoiceAfterPayment(session) => one_time::create_invoice(world, session),
    }
}

/// Decides a bank debit, unless it has been decided already.
fn settle(world: &mut World, intent: &str) {
    let payment = world.get(Kind::PaymentIntent, intent);
    if payment["status"] != "processing" {
        return;
    }
    let pays = world.cards.get(text(payment, "payment_method")) == Some(&Card::DelayedPaid);
    collection::settle(world, intent, pays);
}
