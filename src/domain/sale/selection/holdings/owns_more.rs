//! The reasons why something is not sold to a customer because of what the customer has, as text.

use std::fmt;

use crate::domain::count::counted;
use crate::domain::license::parts::{addons_text, parts_text};
use crate::domain::license::{Basis, Coverage, Entitlement, MissingParts};
use crate::domain::sale::accepted_loss::AcceptedLoss;
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::plan::{Catalog, Plan};
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
    /// The license would shrink. The customer can accept that.
    #[error("{0}")]
    Smaller(Box<Smaller>),
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
    /// The units and add-ons that the license would have less.
    pub missing: MissingParts,
    /// The fewest units of a change with which nothing is lost; `None` for a plan without units.
    pub needed_units: Option<u32>,
    /// The purchase that is possible without a loss; `None` if there is none, or if none was looked
    /// for.
    pub choice: Option<Choice>,
}

/// Something that is sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The plan.
    pub plan: String,
    /// The units; `None` if the plan is not sold by the unit.
    pub units: Option<u32>,
    /// The add-ons, beside those of the request.
    pub addons: AddonIds,
}

impl Smaller {
    /// Returns what a license with the coverage `after`, of a purchase of `plan` with these units,
    /// would have less than the customer has.
    pub(super) fn new(
        (has, coverage): (&Entitlement<'_>, &Coverage),
        (plan, units): (&Plan, u32),
        after: &Coverage,
    ) -> Box<Self> {
        Box::new(Self {
            basis: has.basis,
            plan: has.plan.id.to_string(),
            units: coverage.units,
            addons: coverage.addons.clone(),
            wanted: plan.id.to_string(),
            wanted_units: units,
            missing: after.missing(coverage),
            needed_units: coverage.units,
            choice: None,
        })
    }

    /// Returns what is given up if the customer accepts it. After the end of a subscription,
    /// nothing of it is missed.
    #[must_use]
    pub fn accepted_loss(&self) -> Option<AcceptedLoss> {
        let MissingParts { units, addons } = &self.missing;
        (self.basis != Basis::Subscription).then(|| AcceptedLoss {
            plan: self.plan.clone(),
            license: self.wanted.clone(),
            units: *units,
            addons: addons.texts().into_iter().collect(),
        })
    }

    /// Adds the first change that is possible: as [`Self::with_choice`], without more add-ons.
    #[must_use]
    pub fn with_choice_of_change(
        self: Box<Self>,
        catalog: &Catalog,
        is_possible: impl Fn(&Plan, u32) -> bool,
    ) -> Box<Self> {
        let (wanted, needed) = (self.wanted_units, self.needed_units);
        let units_of = |plan: &Plan| match plan.is_per_unit() {
            true => [Some(wanted), needed].into_iter().flatten().collect(),
            false => vec![1],
        };
        self.with_choice(&AddonIds::default(), catalog, units_of, is_possible)
    }

    /// Adds the first choice that is sold, with these add-ons beside those of the request: of the
    /// wanted plan, or else of the lowest other one that does not rank below that of the loss.
    /// `units_of` returns the numbers of units to try, the lowest first.
    #[must_use]
    pub fn with_choice(
        mut self: Box<Self>,
        addons: &AddonIds,
        catalog: &Catalog,
        units_of: impl Fn(&Plan) -> Vec<u32>,
        is_sold: impl Fn(&Plan, u32) -> bool,
    ) -> Box<Self> {
        let wanted = catalog.plan(&self.wanted);
        let is_other = |plan: &&Plan| wanted.is_none_or(|wanted| wanted.id != plan.id);
        let others = catalog.plans.iter().skip(catalog.rank(&self.plan)).filter(is_other);
        let of_plan = |plan: &Plan| {
            let units = units_of(plan).into_iter().find(|units| is_sold(plan, *units))?;
            let units = Some(units).filter(|_| plan.is_per_unit());
            Some(Choice { plan: plan.id.to_string(), units, addons: addons.clone() })
        };
        self.choice = wanted.into_iter().chain(others).find_map(of_plan);
        self
    }
}

impl Choice {
    /// Returns the choice as text, for a customer who wants these units of this plan.
    fn text(&self, (plan, units): (&str, u32)) -> String {
        if self.plan != plan {
            let parts = parts_text(self.units, &self.addons.texts(), None);
            return format!("choose `{}`{parts}", self.plan);
        }
        let more = self.units.filter(|more| *more > units);
        let more = more.map(|more| format!("at least {}", counted(more, "unit")));
        let addons = Some(self.addons.texts()).filter(|addons| !addons.is_empty());
        let addons = addons.map(|addons| format!("{} too", addons_text(&addons)));
        let needed: Vec<_> = more.into_iter().chain(addons).collect();
        format!("choose {}", needed.join(" and "))
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
        let choice = self.choice.as_ref();
        let choice = choice.map(|choice| choice.text((&self.wanted, self.wanted_units)));
        let accepted = "accept that by `\"accept_smaller\": true`";
        let ways = choice.as_deref().into_iter().chain(end).chain([accepted]);
        write!(
            formatter,
            "the customer {verb} `{}`{}, and a license is for one purchase: with `{}` for {}, the \
             license would shrink; {}",
            self.plan,
            parts_text(self.units, &self.addons.texts(), None),
            self.wanted,
            counted(self.wanted_units, "unit"),
            ways.collect::<Vec<_>>().join(", or "),
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
