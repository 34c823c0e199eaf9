//! Discounts: redeems a coupon or a promotion code for a subscription, and computes how it lowers
//! the invoices (<https://docs.stripe.com/billing/subscriptions/coupons>). Creating coupons is in
//! `api`.

use serde_json::{Value, json};

use super::period;
use crate::objects::{Kind, integer, text, with};
use crate::world::{Redeemed, World};

/// Redeems a coupon for a subscription. Returns the discount's id.
pub fn redeem(world: &mut World, sub: &str, redeemed: &Redeemed) -> String {
    let coupon = world.get(Kind::Coupon, &redeemed.coupon).clone();
    let months = json!({ "interval": "month", "interval_count": coupon["duration_in_months"] });
    let end = (coupon["duration"] == "repeating")
        .then(|| period::end_after(world.now, &months, world.now));
    let fields = json!({
        "customer": world.get(Kind::Subscription, sub)["customer"],
        "end": end,
        "subscription": sub,
    });
    let id = create(world, redeemed, fields);
    count(world, redeemed);
    let mut discounts = discount_ids(world, sub);
    discounts.push(id.clone());
    world.set(Kind::Subscription, sub, json!({ "discounts": discounts }));
    world.announce(Kind::Discount, &id, "customer.discount.created");
    id
}

/// Applies a coupon to the invoice of a one-time payment. Returns the discount's id. The redemption
/// was counted when the session completed.
pub fn apply_once(
    world: &mut World,
    session: &Value,
    invoice: &str,
    redeemed: &Redeemed,
) -> String {
    let fields = json!({
        "checkout_session": session["id"],
        "customer": session["customer"],
        "invoice": invoice,
    });
    create(world, redeemed, fields)
}

fn create(world: &mut World, redeemed: &Redeemed, more: Value) -> String {
    let fields = json!({
        "promotion_code": redeemed.promotion_code,
        "source": { "coupon": redeemed.coupon, "type": "coupon" },
        "start": world.now,
    });
    let id = world.insert(Kind::Discount, with(fields, more));
    world.update(Kind::Discount, &id, |discount| {
        // Discounts have a start, but no `created`.
        discount.as_object_mut().and_then(|fields| fields.remove("created"));
    });
    id
}

/// Counts a redemption of a coupon, and of its promotion code.
pub fn count(world: &mut World, redeemed: &Redeemed) {
    count_redemption(world, Kind::Coupon, &redeemed.coupon);
    if let Some(code) = &redeemed.promotion_code {
        count_redemption(world, Kind::PromotionCode, code);
    }
}

fn count_redemption(world: &mut World, kind: Kind, id: &str) {
    let times = integer(world.get(kind, id), "times_redeemed") + 1;
    world.set(kind, id, json!({ "times_redeemed": times }));
}

/// Returns the ids of a subscription's discounts.
fn discount_ids(world: &World, sub: &str) -> Vec<String> {
    let discounts = world.get(Kind::Subscription, sub)["discounts"].as_array();
    let ids = discounts.into_iter().flatten().filter_map(Value::as_str);
    ids.map(str::to_owned).collect()
}

/// Returns the amount that each discount of a subscription takes off `amount`.
pub fn amounts(world: &World, sub: &str, amount: i64) -> Vec<(String, i64)> {
    let mut remaining = amount;
    let mut amounts = Vec::new();
    for id in discount_ids(world, sub) {
        let discount = world.get(Kind::Discount, &id);
        if discount["end"].as_i64().is_some_and(|end| end <= world.now) {
            continue;
        }
        let off =
            amount_off(world.get(Kind::Coupon, text(&discount["source"], "coupon")), remaining);
        remaining -= off;
        amounts.push((id, off));
    }
    amounts
}

/// Returns the amount that each coupon takes off `amount`.
pub fn amounts_of(world: &World, discounts: &[Redeemed], amount: i64) -> Vec<i64> {
    let mut remaining = amount;
    let off = |redeemed: &Redeemed| {
        let off = amount_off(world.get(Kind::Coupon, &redeemed.coupon), remaining);
        remaining -= off;
        off
    };
    discounts.iter().map(off).collect()
}

/// Splits a discount among lines with these amounts, in proportion. The shares add up to `off`.
pub fn shares(off: i64, lines: &[i64]) -> Vec<i64> {
    let (mut off, mut whole) = (off, lines.iter().sum::<i64>());
    let share = |line: &i64| {
        let share = if whole > 0 { off * line / whole } else { 0 };
        off -= share;
        whole -= line;
        share
    };
    lines.iter().map(share).collect()
}

/// Returns the amount that a coupon takes off `amount`, at most all of it.
pub fn amount_off(coupon: &Value, amount: i64) -> i64 {
    let percent = coupon["percent_off"].as_f64().unwrap_or_default();
    // Percentages have at most two decimals, so integers suffice.
    #[allow(clippy::cast_possible_truncation)]
    let hundredths = (percent * 100.0).round() as i64;
    let by_percent = (amount * hundredths + 5_000) / 10_000;
    (by_percent + integer(coupon, "amount_off")).clamp(0, amount.max(0))
}

/// Removes the discounts that no later invoice gets: those for one invoice, and those that ended.
pub fn remove_used(world: &mut World, sub: &str) {
    let (over, kept): (Vec<String>, Vec<String>) =
        discount_ids(world, sub).into_iter().partition(|id| {
            let discount = world.get(Kind::Discount, id);
            let coupon = world.get(Kind::Coupon, text(&discount["source"], "coupon"));
            let ended = discount["end"].as_i64().is_some_and(|end| end <= world.now);
            coupon["duration"] == "once" || ended
        });
    if over.is_empty() {
        return;
    }
    world.set(Kind::Subscription, sub, json!({ "discounts": kept }));
    for id in over {
        world.announce(Kind::Discount, &id, "customer.discount.deleted");
    }
}
