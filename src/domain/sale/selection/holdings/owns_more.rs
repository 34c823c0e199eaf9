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

/// A license that would have less than the customer has: fewer units, not the add-ons, or a lower
/// plan.
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
    /// The fewest units that are sold; `None` if no number of them is.
    pub least: Option<u32>,
    /// Whether the add-ons are sold with the purchase.
    pub are_addons_sold: bool,
    /// Whether the customer can accept the smaller license.
    pub is_acceptable: bool,
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
            least: coverage.units,
            are_addons_sold: true,
            is_acceptable: false,
        }
    }

    /// Returns what the customer can buy in place of it, without a loss; `None` if nothing is sold
    /// so.
    fn choice(&self) -> Option<String> {
        if self.lacks.plan {
            return Some(format!("choose `{}` or a higher plan", self.plan));
        }
        let mut needed = Vec::new();
        if self.lacks.units {
            needed.push(format!("at least {}", counted(self.least?, "unit")));
        }
        if self.lacks.addons {
            needed.push(match self.basis {
                Basis::Once => "a plan that these add-ons are sold with".to_owned(),
                Basis::Fallback | Basis::Subscription if !self.are_addons_sold => return None,
                Basis::Fallback | Basis::Subscription => "these add-ons too".to_owned(),
            });
        }
        Some(format!("choose {}", needed.join(" and ")))
    }
}

impl fmt::Display for Smaller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, end) = match self.basis {
            Basis::Once => ("owns", None),
            Basis::Fallback => ("keeps", None),
            Basis::Subscription => {
                ("subscribes to", Some("let the subscription end before the purchase"))
            }
        };
        let accepted = self.is_acceptable.then_some("accept that by `\"accept_smaller\": true`");
        let ways = [self.choice().as_deref(), end, accepted].map(|way| way.map(str::to_owned));
        let ways: Vec<_> = ways.into_iter().flatten().collect();
        write!(
            formatter,
            "the customer {verb} `{}`{}, and a license is for one purchase: with `{}` for {}, the \
             license would shrink; {}",
            self.plan,
            parts_text(self.units, &self.addons.texts(), None),
            self.wanted,
            counted(self.wanted_units, "unit"),
            ways.join(", or "),
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
