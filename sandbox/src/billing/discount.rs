//! Discounts: redeems a coupon or a promotion code for a subscription, and computes how it lowers
//! the invoices (<https://docs.stripe.com/billing/subscriptions/coupons>). Creating coupons is in
//! `api`.

use serde_json::{Value, json};

use super::{period, promotion};
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
    promotion::count(world, redeemed);
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

/// Returns the ids of a subscription's discounts.
fn discount_ids(world: &World, sub: &str) -> Vec<String> {
    let discounts = world.get(Kind::Subscription, sub)["discounts"].as_array();
    let ids = discounts.into_iter().flatten().filter_map(Value::as_str);
    ids.map(str::to_owned).collect()
}

/// Returns the coupon of a discount; none if the discount has ended.
fn coupon_of<'a>(world: &'a World, discount: &str) -> Option<&'a str> {
    let discount = world.get(Kind::Discount, discount);
    let ended = discount["end"].as_i64().is_some_and(|end| end <= world.now);
    (!ended).then(|| text(&discount["source"], "coupon"))
}

/// Returns the amount that each discount of a subscription takes off each line of an invoice. The
/// lines are given by their products and amounts.
pub fn of_lines(world: &World, sub: &str, lines: &[(&str, i64)]) -> Vec<(String, Vec<i64>)> {
    let ids = discount_ids(world, sub);
    let valid: Vec<(&String, &str)> =
        ids.iter().filter_map(|id| Some((id, coupon_of(world, id)?))).collect();
    let off = off_coupons(world, valid.iter().map(|(_, coupon)| *coupon), lines);
    valid.iter().map(|(id, _)| (*id).clone()).zip(off).collect()
}

/// Returns the amount that a subscription's discounts take off each line of a whole period. It is
/// inside of prorations. Discounts on a single invoice do not lower prorations
/// (<https://docs.stripe.com/api/subscriptions/create#create_subscription-billing_mode-flexible-proration_discounts>).
pub fn in_prorations(world: &World, sub: &str, lines: &[(&str, i64)]) -> Vec<i64> {
    let ids = discount_ids(world, sub);
    let lasts = |coupon: &&str| world.get(Kind::Coupon, coupon)["duration"] != "once";
    let coupons = ids.iter().filter_map(|id| coupon_of(world, id)).filter(lasts);
    let off = off_coupons(world, coupons, lines);
    (0..lines.len()).map(|place| off.iter().map(|off| off[place]).sum()).collect()
}

/// Returns the amount that each discount of a subscription takes off `amount`, the sum of `lines`:
/// their products and amounts.
pub fn amounts(world: &World, sub: &str, amount: i64, lines: &[(&str, i64)]) -> Vec<(String, i64)> {
    let mut remaining = amount;
    let mut amounts = Vec::new();
    for id in discount_ids(world, sub) {
        let discount = world.get(Kind::Discount, &id);
        if discount["end"].as_i64().is_some_and(|end| end <= world.now) {
            continue;
        }
        let coupon = text(&discount["source"], "coupon");
        let applies = |line: &&(&str, i64)| promotion::applies_to(world, coupon, line.0);
        let discounted = if lines.iter().all(|line| applies(&line)) {
            remaining
        } else {
            lines.iter().filter(applies).map(|line| line.1).sum::<i64>().clamp(0, remaining)
        };
        let off = amount_off(world.get(Kind::Coupon, coupon), discounted);
        remaining -= off;
        amounts.push((id, off));
    }
    amounts
}

/// Returns the amount that each coupon takes off each line. The lines are given by their products
/// and amounts.
pub fn off_lines(world: &World, discounts: &[Redeemed], lines: &[(&str, i64)]) -> Vec<Vec<i64>> {
    off_coupons(world, discounts.iter().map(|redeemed| redeemed.coupon.as_str()), lines)
}

/// A percentage is taken off each line and rounded there, an amount is shared by the lines.
fn off_coupons<'a>(
    world: &World,
    coupons: impl Iterator<Item = &'a str>,
    lines: &[(&str, i64)],
) -> Vec<Vec<i64>> {
    let mut remaining: Vec<i64> = lines.iter().map(|line| line.1).collect();
    let off = |id: &str| {
        let applies = |(line, amount): (&(&str, i64), &i64)| {
            if promotion::applies_to(world, id, line.0) { *amount } else { 0 }
        };
        let discounted: Vec<i64> = lines.iter().zip(&remaining).map(applies).collect();
        let coupon = world.get(Kind::Coupon, id);
        let shares = if coupon["amount_off"].is_i64() {
            shares(amount_off(coupon, discounted.iter().sum()), &discounted)
        } else {
            discounted.iter().map(|amount| amount_off(coupon, *amount)).collect()
        };
        for (remaining, share) in remaining.iter_mut().zip(&shares) {
            *remaining -= share;
        }
        shares
    };
    coupons.map(off).collect()
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

/// Removes the discounts of a subscription that are not among the `kept`.
pub fn keep(world: &mut World, sub: &str, kept: &[String]) {
    let ids = discount_ids(world, sub);
    let (kept, over): (Vec<String>, Vec<String>) =
        ids.into_iter().partition(|id| kept.contains(id));
    world.set(Kind::Subscription, sub, json!({ "discounts": kept }));
    for id in over {
        world.announce(Kind::Discount, &id, "customer.discount.deleted");
    }
}

/// Removes the discounts that no later invoice gets: of those `used`, the ones for one invoice, and
/// those that ended.
pub fn remove_used(world: &mut World, sub: &str, used: &[String]) {
    let (over, kept): (Vec<String>, Vec<String>) =
        discount_ids(world, sub).into_iter().partition(|id| {
            let discount = world.get(Kind::Discount, id);
            let coupon = world.get(Kind::Coupon, text(&discount["source"], "coupon"));
            let ended = discount["end"].as_i64().is_some_and(|end| end <= world.now);
            (coupon["duration"] == "once" && used.contains(id)) || ended
        });
    if over.is_empty() {
        return;
    }
    world.set(Kind::Subscription, sub, json!({ "discounts": kept }));
    for id in over {
        world.announce(Kind::Discount, &id, "customer.discount.deleted");
    }
}
