//! Compares a subscription, or a change of one, with the perpetual licenses that were bought.

use super::owns_more::{OwnsMore, Smaller};
use crate::domain::license::{Basis, Coverage, Entitlement, Source, Term};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::entitlement::{Assessment, BoughtOnce, PaidEntitlement, all_bought_once};
use crate::domain::sale::plan::{Addon, Catalog, Plan};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::time::Timestamp;

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
    pub(super) fn refuse_addons<'b>(
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
        let Some(owned) = self.license() else { return Ok(()) };
        let has = owned.entitlement();
        let all = has.coverage(catalog);
        refuse_smaller((&has, &all), &all, wanted, catalog)
    }

    /// Returns the perpetual license that is valid without a subscription: that of the highest
    /// plan.
    fn license(&self) -> Option<&PaidEntitlement<'a>> {
        self.plans.iter().max_by_key(|paid| paid.rank)
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
        if let Some(owned) = self.license() {
            let has = owned.entitlement();
            let (all, now) = (has.coverage(catalog), license_beside(before, &has, catalog));
            let addons = all.addons.0.intersection(&now.addons.0).cloned().collect();
            let units = all.units.map(|units| units.min(now.units.unwrap_or(units)));
            let kept = Coverage { units, addons: AddonIds(addons), ..all.clone() };
            refuse_smaller((&has, &all), &kept, after, catalog)?;
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
    pub(super) fn higher(
        &self,
        plan: &Plan,
        is_recurring: bool,
        catalog: &Catalog,
    ) -> Option<OwnsMore> {
        let rank = catalog.rank(plan.id.as_str());
        let outranks = |paid: &&PaidEntitlement<'_>| {
            paid.rank > rank && (!is_recurring || paid.covers_new_builds(self.now))
        };
        let higher = self.plans.iter().filter(outranks).max_by_key(|paid| paid.rank)?;
        Some(OwnsMore::higher(higher.plan, higher.updates_until, self.now))
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

/// Refuses a subscription whose license would have less than a perpetual license of the same plan
/// or a lower one, of which `kept` counts.
fn refuse_smaller(
    (owned, all): (&Entitlement<'_>, &Coverage),
    kept: &Coverage,
    wanted: &Subscribed<'_>,
    catalog: &Catalog,
) -> Result<(), OwnsMore> {
    let license = license_beside(wanted, owned, catalog);
    let lacks = license.shortfall(kept);
    if lacks.plan || !(lacks.units || lacks.addons) {
        return Ok(());
    }
    let mut smaller = Smaller::new((owned, all), (wanted.plan, wanted.units), &license);
    smaller.needed_units = kept.units;
    Err(OwnsMore::Smaller(smaller))
}
