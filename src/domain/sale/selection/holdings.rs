//! Compares a purchase or a change with what the customer has. A license is for one purchase, so a
//! purchase can leave a smaller license, or add nothing.
//!
//! A single payment is compared by its effect: [`assess`] decides what the license would be after
//! it. A subscription is compared with the perpetual licenses that were bought (`owned.rs`).
//! `addons_alone.rs` decides whether add-ons are bought for a license that the customer has, and
//! `owns_more.rs` says why something is not sold.

mod addons_alone;
mod owned;
mod owns_more;

use std::collections::BTreeSet;

use crate::domain::license::{Basis, IssuedLicense};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::entitlement::{Assessment, PaidEntitlement, assess};
use crate::domain::sale::invoice::{Line, Payment};
use crate::domain::sale::plan::{Catalog, Interval, Plan, Price, Quantity, Slug};
use crate::domain::sale::selection::{NotSold, PurchaseRequest, Selection, select, select_addons};
use crate::domain::sale::stripe_ids::CheckoutSessionId;
use crate::domain::sale::stripe_state::{PaidSession, SessionTotal, StripeState};
use crate::domain::time::Timestamp;

pub use owned::{Owned, Subscribed};
pub use owns_more::{Choice, OwnsMore, Smaller};

/// What a customer has, to which a purchase is added.
pub struct Holdings<'s, 'c: 's> {
    state: &'s StripeState,
    catalog: &'c Catalog,
    now: Timestamp,
    /// The assessment of `state` at `now`.
    assessment: Assessment<'s>,
    owned: Owned<'s>,
}

impl<'s, 'c: 's> Holdings<'s, 'c> {
    /// Returns those of a customer with this state at Stripe.
    #[must_use]
    pub fn of(state: &'s StripeState, catalog: &'c Catalog, now: Timestamp) -> Self {
        let assessment = assess(state, None, catalog, now);
        let owned = Owned::of(state, &assessment, catalog, now);
        Self { state, catalog, now, assessment, owned }
    }

    /// Returns what is sold to the customer, whose present license is `license`.
    ///
    /// # Errors
    /// The first reason why it is not sold.
    pub fn select(
        &self,
        request: &PurchaseRequest,
        license: Option<&IssuedLicense>,
    ) -> Result<Selection<'c>, NotSold> {
        let mut selection = self.selection(request, license)?;
        let accepted = request.accept_smaller;
        self.refuse_unless(accepted, &selection).map_err(|refused| match refused {
            NotSold::Owned(OwnsMore::Smaller(smaller)) => {
                let request = (request, selection.interval);
                OwnsMore::Smaller(self.with_choice(smaller, request, license)).into()
            }
            refused => refused,
        })?;
        selection.choosable = self.choosable(accepted, &selection);
        // The customer may choose the fewest units on Stripe's page.
        let least = Selection { quantity: selection.choosable.min, ..selection.clone() };
        if let Err(NotSold::Owned(OwnsMore::Smaller(smaller))) = self.refuse(&least) {
            selection.accepted_loss = smaller.accepted_loss();
        }
        Ok(selection)
    }

    /// Returns what a request is for, which is not compared with the customer's license yet.
    ///
    /// # Errors
    /// The first reason why it is not sold.
    fn selection(
        &self,
        request: &PurchaseRequest,
        license: Option<&IssuedLicense>,
    ) -> Result<Selection<'c>, NotSold> {
        let plan = self.catalog.plan(&request.plan).ok_or(NotSold::Plan)?;
        let held = match request.interval {
            Some(Interval::Updates) => Some(self.units_of_updates(plan, request.quantity)?),
            _ => None,
        };
        let quantity = request.quantity.filter(|_| held.is_none());
        let request = PurchaseRequest { quantity, ..request.clone() };
        let currency = self.state.currency();
        let selection = if self.is_for_addons_alone(&request, plan, license)? {
            select_addons(self.catalog, &request, &currency)?
        } else {
            select(self.catalog, &request, &currency)?
        };
        Ok(Selection { quantity: held.unwrap_or(selection.quantity), ..selection })
    }

    /// Refuses a purchase as [`Self::refuse`] does, but not because of a smaller license that the
    /// customer has `accepted`.
    fn refuse_unless(&self, accepted: bool, selection: &Selection<'_>) -> Result<(), NotSold> {
        match self.refuse(selection) {
            Err(NotSold::Owned(OwnsMore::Smaller(_))) if accepted => Ok(()),
            refused => refused,
        }
    }

    /// Adds to a refusal what is sold in place of the request, with the add-ons that would be lost.
    /// Those that the customer owns come with each plan that they are sold with.
    fn with_choice(
        &self,
        smaller: Box<Smaller>,
        (request, interval): (&PurchaseRequest, Interval),
        license: Option<&IssuedLicense>,
    ) -> Box<Smaller> {
        let is_owned = |id: &&Slug| self.owned.addons.iter().any(|addon| addon.id == **id);
        let addons: AddonIds = smaller.missing.addons.0.iter().filter(|id| !is_owned(id)).collect();
        let wanted = smaller.wanted_units;
        let units_of = |plan: &Plan| {
            let least = wanted.clamp(plan.quantity.min, plan.quantity.max);
            let mut units = self.turning_points(plan).split_off(&least);
            units.insert(least);
            units.into_iter().collect()
        };
        let is_sold = |plan: &Plan, units: u32| {
            let request = PurchaseRequest {
                plan: plan.id.to_string(),
                // Updates are sold for all units of the license.
                quantity: Some(units).filter(|_| interval != Interval::Updates),
                addons: [request.addons.clone(), addons.texts()].concat(),
                ..request.clone()
            };
            self.selection(&request, license).is_ok_and(|selection| {
                selection.interval == interval && self.refuse(&selection).is_ok()
            })
        };
        smaller.with_choice(&addons, self.catalog, units_of, is_sold)
    }

    /// Returns the units whose updates are sold: all that the customer has bought of the plan,
    /// which may be more than are sold at once. One seat must not renew a hundred.
    ///
    /// # Errors
    /// [`NotSold::NoLicense`], also for what a subscription left, or [`NotSold::UpdatesQuantity`]
    /// if other units are wanted.
    fn units_of_updates(&self, plan: &Plan, wanted: Option<u32>) -> Result<u32, NotSold> {
        let held = self.owned.plans.iter().find(|paid| paid.plan.id == plan.id);
        let Some(PaidEntitlement { quantity: units, .. }) = held.cloned() else {
            let is_left = self.assessment.license_for_addons_alone(plan).is_some();
            return Err(NotSold::NoLicense { plan: plan.id.to_string(), is_left });
        };
        if wanted.is_some_and(|wanted| wanted != units) {
            return Err(NotSold::UpdatesQuantity(units));
        }
        Ok(units)
    }

    /// Refuses a purchase that would add nothing to what the customer has, or leave less of it.
    ///
    /// # Errors
    /// [`NotSold::Owned`] and [`NotSold::UpdatesEnded`].
    fn refuse(&self, selection: &Selection<'_>) -> Result<(), NotSold> {
        let Selection { plan, interval, quantity, .. } = *selection;
        if interval.is_recurring() {
            let wanted = Subscribed::new(plan, quantity, &selection.addons);
            return Ok(self.owned.refuse_subscription(&wanted, self.catalog)?);
        }
        self.owned.refuse_addons(selection.addons.iter().map(|(addon, _)| addon))?;
        let mut owned = self.owned.plans.iter().filter(|paid| paid.plan.id == plan.id);
        // Add-ons alone belong to what there is.
        let owned = owned.next().filter(|_| selection.price.is_some());
        // More units of the plan can be bought. Without units, a license for all builds cannot be
        // extended.
        let is_extended = interval == Interval::Once && plan.is_per_unit();
        if owned.is_some_and(|owned| owned.updates_until.is_none()) && !is_extended {
            return Err(OwnsMore::All(plan.id.to_string()).into());
        }
        if let Some(higher) = self.owned.higher(plan, false, self.catalog) {
            return Err(higher.into());
        }
        let has_ended = |owned: &&PaidEntitlement<'_>| {
            owned.quantity > quantity && !owned.covers_new_builds(self.now)
        };
        if interval == Interval::Once
            && let Some(PaidEntitlement { quantity: units, .. }) = owned.filter(has_ended)
        {
            return Err(NotSold::UpdatesEnded { plan: plan.id.to_string(), units: *units });
        }
        self.refuse_less(selection)
    }

    /// Returns the units around those of a selection that are sold too, so that the customer may
    /// choose them on Stripe's page. Updates are for all units of the license.
    fn choosable(&self, accepted: bool, selection: &Selection<'_>) -> Quantity {
        let Selection { plan, quantity, .. } = *selection;
        if selection.interval == Interval::Updates {
            return Quantity { min: quantity, max: quantity };
        }
        let is_sold = |units: &u32| {
            let other = Selection { quantity: *units, ..selection.clone() };
            self.refuse_unless(accepted, &other).is_ok()
        };
        let turning_points = self.turning_points(plan);
        let below = turning_points.range(..quantity).rev();
        let least = below.take_while(|units| is_sold(units)).last();
        let most = turning_points.range(quantity..).take_while(|units| is_sold(units)).last();
        Quantity {
            min: least.map_or(quantity, |units| *units),
            max: most.map_or(quantity, |units| *units),
        }
    }

    /// Returns the units of a plan at which it may begin or cease to be sold to the customer: where
    /// they, with those that the customer owns, reach those of another purchase.
    fn turning_points(&self, plan: &Plan) -> BTreeSet<u32> {
        let Quantity { min, max } = plan.quantity;
        let owned = self.owned.plans.iter().find(|paid| paid.plan.id == plan.id);
        let owned = owned.map_or(0, |owned| owned.quantity);
        let held = self.assessment.entitlements.iter().map(|paid| paid.quantity);
        let held = held.flat_map(|units| [units, units.saturating_sub(owned)]);
        let around =
            held.flat_map(|units| [units.saturating_sub(1), units, units.saturating_add(1)]);
        around.chain([min, max]).filter(|n| (min..=max).contains(n)).collect()
    }

    /// Refuses a single payment after which the license would have less than now, or less once the
    /// subscription has ended.
    fn refuse_less(&self, selection: &Selection<'_>) -> Result<(), NotSold> {
        let Some(state) = self.after_payment_of(selection) else { return Ok(()) };
        let (before, after) = (&self.assessment, assess(&state, None, self.catalog, self.now));
        let alone = before.license_without_subscription(self.now);
        let alone_after = after.license_without_subscription(self.now);
        let licenses =
            [(before.entitlement.clone(), after.entitlement.clone()), (alone, alone_after)];
        for (before, after) in licenses {
            let Some((before, after)) = before.zip(after) else { continue };
            let [has, after] = [&before, &after].map(|one| one.coverage(self.catalog));
            let lacks = after.shortfall(&has);
            if lacks.plan && before.basis == Basis::Once {
                let end = before.updates_until;
                return Err(OwnsMore::higher(before.plan, end, self.now).into());
            }
            if lacks.plan || lacks.units || lacks.addons {
                let wanted = (selection.plan, selection.quantity);
                let smaller = Smaller::new((&before, &has), wanted, &after);
                return Err(OwnsMore::Smaller(smaller).into());
            }
        }
        Ok(())
    }

    /// Returns the customer's state at Stripe after the payment of a purchase.
    fn after_payment_of(&self, selection: &Selection<'_>) -> Option<StripeState> {
        let line = |(price, units): (&Price, u32)| Line {
            price: Some(price.id.clone()),
            quantity: Some(units),
            ..Line::default()
        };
        let session = PaidSession {
            id: "cs_of_the_purchase".parse::<CheckoutSessionId>().ok()?,
            created: self.now,
            total: SessionTotal {
                amount: selection.amount(),
                currency: selection.currency.to_string(),
                ..SessionTotal::default()
            },
            lines: selection.lines().map(line).collect(),
            payment_intent: None,
            payment: Payment::Unremarkable,
            returned: 0,
            charged_at: Some(self.now),
            receipt_url: None,
        };
        let mut state = self.state.clone();
        state.paid_sessions.push(session);
        Some(state)
    }
}

#[cfg(test)]
mod tests;
