//! Compares licenses: whether one has everything that another one has. A sync and a grant
//! decide with it whether a license is revoked, replaced or shortened.

use super::{Entitlement, Extras, IssuedLicense};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::plan::{Catalog, Plan};
use crate::domain::time::Timestamp;

/// The parts of a license that are compared with those of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The rank of the plan.
    pub rank: usize,
    /// The units; `None` if the plan is not sold by the unit, so that they do not count.
    pub units: Option<u32>,
    /// The add-ons.
    pub addons: AddonIds,
    /// The time after which builds are not covered; `None` covers all builds.
    pub updates_until: Option<Timestamp>,
    /// The end with the grace period; `None` is never.
    pub ends: Option<Timestamp>,
}

/// The parts of which a license has less than another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shortfall {
    /// Its plan ranks lower.
    pub plan: bool,
    /// It has fewer units.
    pub units: bool,
    /// It lacks an add-on.
    pub addons: bool,
    /// It covers fewer builds.
    pub updates: bool,
    /// It ends earlier.
    pub end: bool,
}

/// The units and add-ons that a license has less than another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingParts {
    /// The number of units.
    pub units: u32,
    /// The add-ons.
    pub addons: AddonIds,
}

impl MissingParts {
    /// Returns those of a license with these units and add-ons. `None` if a plan is not sold by the
    /// unit.
    #[must_use]
    pub fn of(license: (Option<u32>, &AddonIds), other: (Option<u32>, &AddonIds)) -> Self {
        let units = other.0.unwrap_or(1).saturating_sub(license.0.unwrap_or(u32::MAX));
        Self { units, addons: other.1.0.difference(&license.1.0).collect() }
    }
}

impl Shortfall {
    /// Returns whether it has everything.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl Coverage {
    /// Returns the parts of which this license has less than another one.
    #[must_use]
    pub fn shortfall(&self, other: &Self) -> Shortfall {
        let end = Timestamp::or_never;
        Shortfall {
            plan: self.rank < other.rank,
            units: self.units.is_some_and(|units| units < other.units.unwrap_or(1)),
            addons: !other.addons.0.is_subset(&self.addons.0),
            updates: end(self.updates_until) < end(other.updates_until),
            end: end(self.ends) < end(other.ends),
        }
    }

    /// Returns the units and add-ons that this license has less than another one.
    #[must_use]
    pub fn missing(&self, other: &Self) -> MissingParts {
        MissingParts::of((self.units, &self.addons), (other.units, &other.addons))
    }

    /// Returns whether this license is worth more than another one that works: what is paid for
    /// than a grant, so that the customer need not wait for the grant's end, or the other way
    /// round. The first difference decides: new builds, the plan, the units and add-ons, the builds
    /// until the end, the end.
    #[must_use]
    pub fn exceeds(&self, held: &Self, now: Timestamp) -> bool {
        let (covers, held_covers) = (self.covers_new_builds(now), held.covers_new_builds(now));
        if covers != held_covers {
            return covers;
        }
        if self.rank != held.rank {
            return self.rank > held.rank;
        }
        let (lacks, held_lacks) = (self.shortfall(held), held.shortfall(self));
        if held_lacks.units || held_lacks.addons {
            return true;
        }
        if lacks.units || lacks.addons {
            return false;
        }
        // No build after the end of a license matters.
        let builds =
            |of: &Self| Timestamp::or_never(of.updates_until).min(Timestamp::or_never(of.ends));
        if builds(self) != builds(held) {
            return builds(self) > builds(held);
        }
        held_lacks.end
    }

    /// Returns whether it covers a build that is made at `now`.
    #[must_use]
    pub fn covers_new_builds(&self, now: Timestamp) -> bool {
        covers_new_builds(self.updates_until, now)
    }
}

/// Returns whether a license with this end of its updates covers a build that is made at `now`.
#[must_use]
pub fn covers_new_builds(updates_until: Option<Timestamp>, now: Timestamp) -> bool {
    updates_until.is_none_or(|until| until > now)
}

impl Entitlement<'_> {
    /// Returns the parts that are compared.
    #[must_use]
    pub fn coverage(&self, catalog: &Catalog) -> Coverage {
        Coverage {
            rank: catalog.rank(self.plan.id.as_str()),
            units: units(self.plan, self.quantity, &self.extras),
            addons: self.addon_ids(),
            updates_until: self.updates_until,
            ends: self.term.ends(),
        }
    }
}

impl IssuedLicense {
    /// Returns the parts that are compared. A plan that is not in the catalog has the lowest rank.
    #[must_use]
    pub fn coverage(&self, catalog: &Catalog) -> Coverage {
        let plan = catalog.plan(&self.plan);
        Coverage {
            rank: catalog.rank(&self.plan),
            units: plan
                .map_or(Some(self.quantity), |plan| units(plan, self.quantity, &self.extras)),
            addons: self.addons.clone(),
            updates_until: self.updates_until,
            ends: self.term().ends(),
        }
    }
}

/// Returns the units that count; `None` for a plan that is not sold by the unit. A limit that an
/// operator set replaces the one for the units, so it counts as the units that it is enough for.
fn units(plan: &Plan, quantity: u32, extras: &Extras) -> Option<u32> {
    let of_limit = |name| {
        let of_one = plan.limits.get(name).copied().filter(|of_one| *of_one > 0);
        match (extras.limits.get(name), of_one) {
            (Some(limit), Some(of_one)) => u32::try_from(limit / of_one).unwrap_or(u32::MAX),
            _ => quantity,
        }
    };
    plan.per_unit.iter().map(of_limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::license::{Source, Term};
    use crate::domain::sale::entitlement::tests::{NOW, at, selling};

    const NONE: Shortfall =
        Shortfall { plan: false, units: false, addons: false, updates: false, end: false };

    /// Returns the coverage of five units of `team` with an add-on, until tomorrow and for builds
    /// until now, after a change.
    fn changed(change: impl FnOnce(&mut Coverage)) -> Coverage {
        let mut coverage = Coverage {
            rank: 2,
            units: Some(5),
            addons: "[\"pdf\"]".parse().unwrap(),
            updates_until: Some(at(NOW)),
            ends: Some(at(NOW + 86_400)),
        };
        change(&mut coverage);
        coverage
    }

    #[test]
    fn a_license_lacks_exactly_the_parts_of_which_it_has_less() {
        let usual = changed(|_| {});
        let plan = Shortfall { plan: true, ..NONE };
        let units = Shortfall { units: true, ..NONE };
        let addons = Shortfall { addons: true, ..NONE };
        let updates = Shortfall { updates: true, ..NONE };
        let end = Shortfall { end: true, ..NONE };
        let cases = [
            ("the same", changed(|_| {}), NONE, NONE),
            ("a lower plan", changed(|has| has.rank = 1), plan, NONE),
            ("a higher plan", changed(|has| has.rank = 3), NONE, plan),
            ("fewer units", changed(|has| has.units = Some(4)), units, NONE),
            ("more units", changed(|has| has.units = Some(6)), NONE, units),
            ("not sold by the unit", changed(|has| has.units = None), NONE, NONE),
            ("no add-on", changed(|has| has.addons = AddonIds::default()), addons, NONE),
            (
                "another add-on",
                changed(|has| has.addons = "[\"cad\"]".parse().unwrap()),
                addons,
                addons,
            ),
            ("fewer builds", changed(|has| has.updates_until = Some(at(NOW - 1))), updates, NONE),
            ("all builds", changed(|has| has.updates_until = None), NONE, updates),
            ("an earlier end", changed(|has| has.ends = Some(at(NOW))), end, NONE),
            ("no end", changed(|has| has.ends = None), NONE, end),
            (
                "a lower plan without end",
                changed(|has| (has.rank, has.ends) = (1, None)),
                plan,
                end,
            ),
        ];
        for (what, has, lacks, other_lacks) in cases {
            assert_eq!(has.shortfall(&usual), lacks, "{what}");
            assert_eq!(usual.shortfall(&has), other_lacks, "{what}, the other way round");
        }
    }

    #[test]
    fn a_build_of_the_last_second_is_not_new() {
        assert!(changed(|has| has.updates_until = None).covers_new_builds(at(NOW)));
        assert!(!changed(|_| {}).covers_new_builds(at(NOW)));
        assert!(changed(|_| {}).covers_new_builds(at(NOW - 1)));
    }

    #[test]
    fn a_limit_of_the_operator_counts_as_units() {
        let catalog = selling();
        let units = |plan: &str, quantity, limits: &[(&str, u64)]| {
            let plan = catalog.plan(plan).unwrap();
            let mut has = Entitlement::new(plan, Source::Operator, Term::default());
            has.quantity = quantity;
            has.extras.limits =
                limits.iter().map(|(name, limit)| (name.parse().unwrap(), *limit)).collect();
            has.coverage(&catalog).units
        };
        assert_eq!(units("team", 3, &[]), Some(3));
        assert_eq!(units("team", 1, &[("seats", 50), ("projects", 1)]), Some(50));
        assert_eq!(units("site", 1, &[("machines", 14)]), Some(2), "a unit has five machines");
        assert_eq!(units("site", 7, &[("machines", u64::MAX)]), Some(u32::MAX));
        assert_eq!(units("studio", 7, &[("projects", 1)]), None, "not sold by the unit");
    }
}
