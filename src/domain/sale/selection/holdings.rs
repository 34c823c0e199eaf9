//! Compares a purchase or a change with what the customer has. A license is for one purchase, so a
//! purchase can leave a smaller license, or add nothing.
//!
//! A single payment is compared by its effect: [`assess`] decides what the license would be after
//! it. A subscription is compared with the perpetual licenses that were bought.

use std::collections::BTreeSet;
use std::fmt;

use crate::domain::count::counted;
use crate::domain::license::parts::parts_text;
use crate::domain::license::{Basis, Coverage, Entitlement, Shortfall, Source, Term};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::entitlement::{
    Assessment, BoughtOnce, PaidEntitlement, all_bought_once, assess,
};
use crate::domain::sale::invoice::{Line, Payment};
use crate::domain::sale::plan::{Addon, Catalog, Interval, Plan, Price, Quantity};
use crate::domain::sale::selection::{NotSold, Selection};
use crate::domain::sale::stripe_ids::CheckoutSessionId;
use crate::domain::sale::stripe_state::{PaidSession, SessionTotal, StripeState};
use crate::domain::time::Timestamp;

/// The reason why a customer with these purchases cannot buy something, or change to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnsMore {
    /// The customer owns this add-on.
    #[error("`addons`: the customer owns `{0}` for ever already; leave it out")]
    Addon(String),
    /// The customer owns all of it; this is the plan.
    #[error("the customer owns all of this already: the plan `{0}` with all updates")]
    All(String),
    /// The customer owns a higher plan.
    #[error(
        "the customer owns the higher plan `{plan}`, whose updates {updates}, so this one would \
         have no effect; choose `{plan}`, its updates, or a higher plan"
    )]
    Higher {
        /// The higher plan.
        plan: String,
        /// When its updates end: `never end`, or `end at` or `ended at` a time.
        updates: String,
    },
    /// The license would shrink.
    #[error("{0}")]
    Smaller(Smaller),
}

/// A license that would have fewer units than the customer has, or not the add-ons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smaller {
    /// How the customer bought what would be lost.
    pub basis: Basis,
    /// Its plan.
    pub plan: String,
    /// Its units; `None` if the plan is not sold by the unit.
    pub units: Option<u32>,
    /// Its add-ons.
    pub addons: AddonIds,
    /// The plan of the purchase.
    pub wanted: String,
    /// Its units.
    pub wanted_units: u32,
    /// What the license would have less of.
    pub lacks: Shortfall,
}

impl Smaller {
    fn new(
        (has, coverage): (&Entitlement<'_>, &Coverage),
        (plan, units): (&Plan, u32),
        lacks: Shortfall,
    ) -> Self {
        Self {
            basis: has.basis,
            plan: has.plan.id.to_string(),
            units: coverage.units,
            addons: coverage.addons.clone(),
            wanted: plan.id.to_string(),
            wanted_units: units,
            lacks,
        }
    }
}

impl fmt::Display for Smaller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, addons, end) = match self.basis {
            Basis::Once => ("owns", "a plan that these add-ons are sold with", ""),
            Basis::Fallback => ("keeps", "these add-ons too", ""),
            Basis::Subscription => (
                "subscribes to",
                "these add-ons too",
                ", or let the subscription end before the purchase",
            ),
        };
        let units = self.units.filter(|_| self.lacks.units);
        let units = units.map(|units| format!("at least {}", counted(units, "unit")));
        let addons = self.lacks.addons.then(|| addons.to_owned());
        let needed: Vec<_> = units.into_iter().chain(addons).collect();
        write!(
            formatter,
            "the customer {verb} `{}`{}, and a license is for one purchase: with `{}` for {}, the \
             license would shrink; choose {}{end}",
            self.plan,
            parts_text(self.units, &self.addons.texts(), None),
            self.wanted,
            counted(self.wanted_units, "unit"),
            needed.join(" and "),
        )
    }
}

/// A subscription to a plan.
#[derive(Clone, Debug)]
pub struct Subscribed<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The units.
    pub units: u32,
    /// The add-ons that it bills.
    pub addons: Vec<&'a Addon>,
}

/// What a customer has bought by single payments, at a time.
#[derive(Clone, Debug)]
pub struct Owned<'a> {
    /// The perpetual licenses, one for each plan.
    pub plans: Vec<PaidEntitlement<'a>>,
    /// The add-ons, also without a plan that they are sold with.
    pub addons: Vec<&'a Addon>,
    /// The time.
    pub now: Timestamp,
}

impl Default for Owned<'_> {
    fn default() -> Self {
        Self { plans: Vec::new(), addons: Vec::new(), now: Timestamp::saturating(0) }
    }
}

impl<'a> Owned<'a> {
    /// Returns what a customer with this state at Stripe, and this assessment of it at `now`, has
    /// bought.
    #[must_use]
    pub fn of(
        state: &StripeState,
        assessment: &Assessment<'a>,
        catalog: &'a Catalog,
        now: Timestamp,
    ) -> Self {
        let plans = assessment.entitlements.iter().filter(|paid| paid.basis == Basis::Once);
        let addons = all_bought_once(state, catalog).filter_map(BoughtOnce::addon);
        Self { plans: plans.cloned().collect(), addons: addons.collect(), now }
    }

    /// Refuses an add-on that the customer owns.
    fn refuse_addons<'b>(
        &self,
        mut addons: impl Iterator<Item = &'b &'b Addon>,
    ) -> Result<(), OwnsMore> {
        match addons.find(|addon| self.addons.contains(addon)) {
            Some(addon) => Err(OwnsMore::Addon(addon.id.to_string())),
            None => Ok(()),
        }
    }

    /// Refuses a subscription that would add nothing to the perpetual licenses, or whose license
    /// would have less than one of them. A perpetual license of a higher plan whose updates have
    /// ended does not count.
    ///
    /// # Errors
    /// The reason.
    pub fn refuse_subscription(
        &self,
        wanted: &Subscribed<'_>,
        catalog: &Catalog,
    ) -> Result<(), OwnsMore> {
        self.refuse_addons(wanted.addons.iter())?;
        if self.has_all_of(wanted, catalog) {
            return Err(OwnsMore::All(wanted.plan.id.to_string()));
        }
        if let Some(higher) = self.higher(wanted.plan, true, catalog) {
            return Err(higher);
        }
        let smaller = self.plans.iter().filter_map(|owned| {
            let has = owned.entitlement();
            Some((owned.quantity, smaller(&has, &has.coverage(catalog), wanted, catalog)?))
        });
        match smaller.max_by_key(|(units, _)| *units) {
            Some((_, smaller)) => Err(OwnsMore::Smaller(smaller)),
            None => Ok(()),
        }
    }

    /// Refuses a change of a subscription for the same reasons, as far as the change is the cause:
    /// a subscription that has less already may become larger.
    ///
    /// # Errors
    /// The reason.
    pub fn refuse_change(
        &self,
        (before, after): (&Subscribed<'_>, &Subscribed<'_>),
        catalog: &Catalog,
    ) -> Result<(), OwnsMore> {
        let is_added = |addon: &&&Addon| !before.addons.contains(addon);
        self.refuse_addons(after.addons.iter().filter(is_added))?;
        if self.has_all_of(after, catalog) && !self.has_all_of(before, catalog) {
            return Err(OwnsMore::All(after.plan.id.to_string()));
        }
        if after.plan.id != before.plan.id
            && let Some(higher) = self.higher(after.plan, true, catalog)
        {
            return Err(higher);
        }
        for owned in &self.plans {
            let has = owned.entitlement();
            let (all, now) = (has.coverage(catalog), license_beside(before, &has, catalog));
            let addons = all.addons.0.intersection(&now.addons.0).cloned().collect();
            let units = all.units.map(|units| units.min(now.units.unwrap_or(units)));
            let kept = Coverage { units, addons: AddonIds(addons), ..all };
            if let Some(smaller) = smaller(&has, &kept, after, catalog) {
                return Err(OwnsMore::Smaller(smaller));
            }
        }
        Ok(())
    }

    /// Returns whether a perpetual license has everything that a subscription would grant.
    fn has_all_of(&self, wanted: &Subscribed<'_>, catalog: &Catalog) -> bool {
        let bought = wanted.entitlement(wanted.addons.clone()).coverage(catalog);
        let mut owned = self.plans.iter().map(|owned| owned.entitlement().coverage(catalog));
        owned.any(|owned| owned.shortfall(&bought).is_none())
    }

    /// Returns the refusal of a plan because the customer owns a higher one. The perpetual license
    /// for the highest plan is valid. A subscription for a lower plan (`is_recurring`) is valid
    /// instead while it covers builds that the perpetual license does not.
    fn higher(&self, plan: &Plan, is_recurring: bool, catalog: &Catalog) -> Option<OwnsMore> {
        let rank = catalog.rank(plan.id.as_str());
        let outranks = |paid: &&PaidEntitlement<'_>| {
            paid.rank > rank && (!is_recurring || paid.covers_new_builds(self.now))
        };
        let higher = self.plans.iter().filter(outranks).max_by_key(|paid| paid.rank)?;
        Some(OwnsMore::higher(higher.plan, higher.updates_until, self.now))
    }
}

impl OwnsMore {
    fn higher(plan: &Plan, updates_until: Option<Timestamp>, now: Timestamp) -> Self {
        let updates = updates_until.map_or("never end".into(), |end| {
            let verb = if end > now { "end" } else { "ended" };
            format!("{verb} at {end}")
        });
        Self::Higher { plan: plan.id.to_string(), updates }
    }
}

impl<'a> Subscribed<'a> {
    /// Returns a subscription with the add-ons of these pairs.
    #[must_use]
    pub fn new<T>(plan: &'a Plan, units: u32, addons: &[(&'a Addon, T)]) -> Self {
        let addons = addons.iter().map(|(addon, _)| *addon).collect();
        Self { plan, units, addons }
    }

    /// Returns what it grants with these add-ons.
    fn entitlement(&self, addons: Vec<&'a Addon>) -> Entitlement<'a> {
        let alone = Entitlement::new(self.plan, Source::Paid, Term::default());
        Entitlement { quantity: self.units, addons, ..alone }
    }
}

/// Returns what the license for a subscription beside a perpetual license has. Add-ons that were
/// bought once belong to every plan that they are sold with.
fn license_beside(wanted: &Subscribed<'_>, owned: &Entitlement<'_>, catalog: &Catalog) -> Coverage {
    let addons = owned.addons.iter().filter(|addon| addon.is_for(wanted.plan));
    let addons = addons.chain(&wanted.addons).copied().collect();
    wanted.entitlement(addons).coverage(catalog)
}

/// Returns what the license for a subscription would have less than a perpetual license of the same
/// plan or a lower one, of which `kept` counts.
fn smaller(
    owned: &Entitlement<'_>,
    kept: &Coverage,
    wanted: &Subscribed<'_>,
    catalog: &Catalog,
) -> Option<Smaller> {
    let lacks = license_beside(wanted, owned, catalog).shortfall(kept);
    let is_smaller = !lacks.plan && (lacks.units || lacks.addons);
    is_smaller.then(|| Smaller::new((owned, kept), (wanted.plan, wanted.units), lacks))
}

/// What a customer has, to which a purchase is added.
pub struct Holdings<'a> {
    state: &'a StripeState,
    catalog: &'a Catalog,
    now: Timestamp,
    /// The assessment of `state` at `now`.
    pub assessment: Assessment<'a>,
    owned: Owned<'a>,
}

impl<'a> Holdings<'a> {
    /// Returns those of a customer with this state at Stripe.
    #[must_use]
    pub fn of(state: &'a StripeState, catalog: &'a Catalog, now: Timestamp) -> Self {
        let assessment = assess(state, None, catalog, now);
        let owned = Owned::of(state, &assessment, catalog, now);
        Self { state, catalog, now, assessment, owned }
    }

    /// Returns the units whose updates are sold: all that the customer has bought of the plan,
    /// which may be more than are sold at once. One seat must not renew a hundred.
    ///
    /// # Errors
    /// [`NotSold::NoLicense`], also for what a subscription left, or [`NotSold::UpdatesQuantity`]
    /// if other units are wanted.
    pub fn units_of_updates(&self, plan: &Plan, wanted: Option<u32>) -> Result<u32, NotSold> {
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
    pub fn refuse(&self, selection: &Selection<'_>) -> Result<(), NotSold> {
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
    /// choose them on Stripe's page.
    #[must_use]
    pub fn choosable(&self, selection: &Selection<'_>) -> Quantity {
        let Selection { plan, quantity, .. } = *selection;
        let is_sold =
            |units: &u32| self.refuse(&Selection { quantity: *units, ..selection.clone() }).is_ok();
        let Quantity { min, max } = plan.quantity;
        let owned = self.owned.plans.iter().find(|paid| paid.plan.id == plan.id);
        let owned = owned.map_or(0, |owned| owned.quantity);
        // The result changes only where the units, with those that the customer owns, reach those
        // of another purchase.
        let held = self.assessment.entitlements.iter().map(|paid| paid.quantity);
        let held = held.flat_map(|units| [units, units.saturating_sub(owned)]);
        let around =
            held.flat_map(|units| [units.saturating_sub(1), units, units.saturating_add(1)]);
        let turning_points: BTreeSet<u32> =
            around.chain([min, max]).filter(|n| (min..=max).contains(n)).collect();
        let below = turning_points.range(..quantity).rev();
        let least = below.take_while(|units| is_sold(units)).last();
        let most = turning_points.range(quantity..).take_while(|units| is_sold(units)).last();
        Quantity {
            min: least.map_or(quantity, |units| *units),
            max: most.map_or(quantity, |units| *units),
        }
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
            let has = before.coverage(self.catalog);
            let lacks = after.coverage(self.catalog).shortfall(&has);
            if lacks.plan {
                let end = before.updates_until;
                return Err(OwnsMore::higher(before.plan, end, self.now).into());
            }
            if lacks.units || lacks.addons {
                let wanted = (selection.plan, selection.quantity);
                let smaller = Smaller::new((&before, &has), wanted, lacks);
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
