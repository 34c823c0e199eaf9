//! Compares a change with what is paid for: whether it must be billed now, and whether it takes
//! away something of that.

use super::Paid;
use super::items::{ItemsAfter, ItemsBefore};
use crate::domain::sale::entitlement::PaidEntitlement;
use crate::domain::sale::plan::Addon;

/// Returns whether everything that the change edits is paid for: what is taken away until now, and
/// what is added until the end of the period. An unpaid item that is lowered or removed must be
/// credited now.
pub(super) fn is_paid(before: &ItemsBefore<'_>, after: &ItemsAfter<'_>, paid: &Paid<'_>) -> bool {
    let Some((now, at_end)) = paid.now.as_ref().zip(paid.at_end.as_ref()) else { return false };
    let is_raised = after.quantity > before.quantity();
    let has_units = match is_raised {
        true => after.quantity <= at_end.quantity,
        false => before.quantity() <= now.quantity,
    };
    keeps_paid_plan(before, after, now)
        && keeps_paid_plan(before, after, at_end)
        && (!edits_units(before, after) || has_units)
        && removed(before, after).all(|addon| has(now, addon))
        && added(before, after).all(|addon| has(at_end, addon))
}

/// Returns whether the change takes away something that is paid for until the end of the period.
/// If that were billed now, the rest of its period would be credited.
pub(super) fn takes_away(
    before: &ItemsBefore<'_>,
    after: &ItemsAfter<'_>,
    paid: &PaidEntitlement<'_>,
) -> bool {
    keeps_paid_plan(before, after, paid)
        && ((edits_units(before, after) && after.quantity < paid.quantity)
            || removed(before, after).any(|addon| has(paid, addon)))
}

/// Returns whether the plan is the paid one, before and after the change, at the same price.
fn keeps_paid_plan(
    before: &ItemsBefore<'_>,
    after: &ItemsAfter<'_>,
    paid: &PaidEntitlement<'_>,
) -> bool {
    after.is_same_price && paid.plan.id == before.plan.id
}

/// Returns whether the change edits the number of units of a plan that is sold by the unit.
fn edits_units(before: &ItemsBefore<'_>, after: &ItemsAfter<'_>) -> bool {
    before.plan.is_per_unit() && before.quantity() != after.quantity
}

fn has(paid: &PaidEntitlement<'_>, addon: &Addon) -> bool {
    paid.addons.iter().any(|of_paid| of_paid.id == addon.id)
}

fn removed<'a>(
    before: &ItemsBefore<'a>,
    after: &ItemsAfter<'_>,
) -> impl Iterator<Item = &'a Addon> {
    let held = before.addons.iter().map(|(addon, _)| *addon);
    held.filter(|held| !after.addons.iter().any(|(kept, _)| kept.id == held.id))
}

fn added<'a>(before: &ItemsBefore<'_>, after: &ItemsAfter<'a>) -> impl Iterator<Item = &'a Addon> {
    let kept = after.addons.iter().map(|(addon, _)| *addon);
    kept.filter(|kept| !before.addons.iter().any(|(held, _)| held.id == kept.id))
}
