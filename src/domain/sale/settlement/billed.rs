//! The content of an order: read from the lines of its invoice or its Checkout session.

use super::unknown::unknown_price;
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::entitlement::is_bought_once;
use crate::domain::sale::invoice::{Invoice, InvoiceStatus, Line};
use crate::domain::sale::plan::{Addon, Catalog, Interval, Plan, Price, Sold};
use crate::domain::sale::stripe_state::{PaidSession, StripeState};
use crate::domain::sale::subscription::Status;

/// The content of an order.
pub(super) struct OrderContents<'c> {
    /// The plan's id.
    pub plan: &'c str,
    /// How often the price is charged; `None` for a former price.
    pub interval: Option<Interval>,
    /// The units of the plan; `None` if it bills none: an add-on that was bought alone gives no
    /// license.
    pub quantity: Option<u32>,
    /// The add-ons.
    pub addons: AddonIds,
    /// Whether it bills a single payment.
    pub is_once: bool,
    /// Whether it needs an order, also without a checkout here.
    pub needs_order: bool,
    /// Whether a line is at a price that the catalog does not have, which may have been removed.
    pub is_partial: bool,
}

/// The most expensive line of a plan.
struct PlanLine<'c> {
    amount: i64,
    units: u32,
    plan: &'c Plan,
    price: Option<&'c Price>,
}

impl<'c> OrderContents<'c> {
    /// Returns what an invoice was for: the plan of its most expensive line, or else of its
    /// subscription, or else `owned`, the plan that the customer may use. `None` if it is for
    /// nothing of the catalog.
    pub fn of_invoice(
        invoice: &Invoice,
        state: &StripeState,
        catalog: &'c Catalog,
        owned: Option<&'c Plan>,
    ) -> Option<Self> {
        let subscription = state.subscriptions.iter().find(|s| invoice.is_of(&s.id));
        let of_subscription =
            || subscription.and_then(|one| one.plan(catalog)).map(|(plan, _)| plan);
        let contents = Self::of_lines(&invoice.lines, catalog, of_subscription, owned)?;
        let has_begun = subscription.is_none_or(|subscription| {
            !matches!(subscription.status, Status::Incomplete | Status::IncompleteExpired)
        });
        let is_due = invoice.amount_billed() > 0 || contents.is_once;
        let needs_order = is_due && (has_begun || invoice.status == InvoiceStatus::Paid);
        Some(Self { needs_order, ..contents })
    }

    /// Returns what a paid session was for; `None` if it is for nothing of the catalog.
    pub fn of_session(
        session: &PaidSession,
        catalog: &'c Catalog,
        owned: Option<&'c Plan>,
    ) -> Option<Self> {
        Self::of_lines(&session.lines, catalog, || None, owned).filter(|contents| contents.is_once)
    }

    fn of_lines(
        lines: &[Line],
        catalog: &'c Catalog,
        of_subscription: impl Fn() -> Option<&'c Plan>,
        owned: Option<&'c Plan>,
    ) -> Option<Self> {
        let (mut largest, mut addons): (Option<PlanLine<'c>>, Vec<(&Addon, _)>) =
            (None, Vec::new());
        for line in lines {
            match line.price.as_deref().and_then(|price| catalog.sold(price)) {
                Some(Sold::Plan { plan, price, .. })
                    if largest.as_ref().is_none_or(|one| line.amount >= one.amount) =>
                {
                    let (amount, units) = (line.amount, line.units());
                    largest = Some(PlanLine { amount, units, plan, price });
                }
                Some(Sold::Addon { addon, price }) if line.amount >= 0 => {
                    addons.push((addon, price));
                }
                _ => {}
            }
        }
        let is_once = lines.iter().any(|line| is_bought_once(line, catalog));
        // An add-on that was bought alone belongs to the plan that the customer has.
        let beside = || {
            owned.filter(|_| is_once).or_else(|| {
                let of_addon = addons.first().filter(|_| is_once)?.0.plans.as_ref()?.first()?;
                catalog.plan(of_addon.as_str())
            })
        };
        let plan = largest.as_ref().map(|line| line.plan);
        let plan = plan.or_else(of_subscription).or_else(beside)?;
        let price = largest.as_ref().map_or_else(|| addons.first()?.1, |line| line.price);
        Some(Self {
            plan: plan.id.as_str(),
            interval: price.map(|price| price.interval),
            quantity: largest.map(|line| line.units),
            addons: addons.iter().map(|(addon, _)| &addon.id).collect(),
            is_once,
            needs_order: true,
            is_partial: lines.iter().any(|line| unknown_price(line, catalog).is_some()),
        })
    }
}
