//! The reasons why something is not sold to a customer because of what the customer has, as text.

use std::fmt;

use crate::domain::count::counted;
use crate::domain::license::parts::parts_text;
use crate::domain::license::{Basis, Coverage, Entitlement, Shortfall};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::plan::Plan;
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
    /// Returns what a license of `plan` with these units would have less than `coverage` of `has`.
    pub(super) fn new(
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

impl OwnsMore {
    /// Returns the refusal because of a higher plan, whose updates end then.
    pub(super) fn higher(plan: &Plan, updates_until: Option<Timestamp>, now: Timestamp) -> Self {
        let updates = updates_until.map_or("never end".into(), |end| {
            let verb = if end > now { "end" } else { "ended" };
            format!("{verb} at {end}")
        });
        Self::Higher { plan: plan.id.to_string(), updates }
    }
}
