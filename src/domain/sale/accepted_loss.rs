//! The losses that a customer accepted (`accept_smaller`): a column that holds a JSON list. An
//! operator need not act on them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::column::text_columns;
use crate::domain::license::MissingParts;
use crate::domain::sale::plan::Catalog;

/// The most losses that are kept for a customer: one for each pair of plans, of which there are
/// few.
const MOST: usize = 20;

/// The units and add-ons of a purchase that a customer gave up for another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedLoss {
    /// The plan of the purchase.
    pub plan: String,
    /// The plan of the other one, which becomes the license.
    pub license: String,
    /// The number of units.
    pub units: u32,
    /// The add-ons.
    pub addons: BTreeSet<String>,
}

/// The losses that a customer accepted, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptedLosses(Vec<AcceptedLoss>);

impl AcceptedLosses {
    /// Adds a loss, in place of an earlier one between the same plans.
    pub fn add(&mut self, loss: AcceptedLoss) {
        let is_same =
            |other: &AcceptedLoss| (&other.plan, &other.license) == (&loss.plan, &loss.license);
        self.0.retain(|other| !is_same(other));
        self.0.push(loss);
        let more = self.0.len().saturating_sub(MOST);
        self.0.drain(..more);
    }

    /// Returns whether the customer accepted that a license for the plan `license` does not have
    /// these parts of a purchase of `plan`.
    #[must_use]
    pub fn cover(
        &self,
        (plan, license): (&str, &str),
        missing: &MissingParts,
        catalog: &Catalog,
    ) -> bool {
        self.0.iter().any(|loss| {
            catalog.is_same_plan(&loss.plan, plan)
                && catalog.is_same_plan(&loss.license, license)
                && missing.units <= loss.units
                && missing.addons.0.iter().all(|addon| loss.addons.contains(addon.as_str()))
        })
    }
}

/// Writes the stored form.
impl fmt::Display for AcceptedLosses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&self.0).map_err(|_| fmt::Error)?;
        formatter.write_str(&text)
    }
}

/// A text that is not the stored form of [`AcceptedLosses`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a list of accepted losses")]
pub struct InvalidAcceptedLosses;

impl FromStr for AcceptedLosses {
    type Err = InvalidAcceptedLosses;

    fn from_str(text: &str) -> Result<Self, InvalidAcceptedLosses> {
        serde_json::from_str(text).map(Self).map_err(|_| InvalidAcceptedLosses)
    }
}

text_columns!(AcceptedLosses);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sale::addon_ids::AddonIds;
    use crate::domain::sale::entitlement::tests::selling;

    fn loss(plan: &str, units: u32, addons: &[&str]) -> AcceptedLoss {
        let addons = addons.iter().map(|id| (*id).to_owned()).collect();
        AcceptedLoss { plan: plan.into(), license: "site".into(), units, addons }
    }

    #[test]
    fn exactly_what_was_accepted_is_covered() {
        let mut accepted = AcceptedLosses::default();
        accepted.add(loss("studio", 9, &[]));
        accepted.add(loss("team", 9, &[]));
        accepted.add(loss("team", 2, &["pdf"]));
        let accepted: AcceptedLosses = accepted.to_string().parse().unwrap();
        let catalog = selling();
        let covers = |plans: (&str, &str), units: u32, addons: &str| {
            let addons: AddonIds = addons.parse().unwrap();
            accepted.cover(plans, &MissingParts { units, addons }, &catalog)
        };
        let plans = ("team", "site");
        for (plans, units, addons, expected) in [
            (plans, 2, "[\"pdf\"]", true),
            (plans, 1, "[]", true),
            (plans, 3, "[]", false),
            (plans, 2, "[\"cad\"]", false),
            (("studio", "site"), 9, "[]", true),
            (("studio", "team"), 9, "[]", false),
            (("site", "site"), 1, "[]", false),
        ] {
            assert_eq!(covers(plans, units, addons), expected, "{plans:?} {units} {addons}");
        }
    }

    #[test]
    fn only_the_latest_losses_are_kept() {
        let mut accepted = AcceptedLosses::default();
        for number in 0..100 {
            accepted.add(loss(&format!("plan-{number}"), 1, &[]));
        }
        assert_eq!(accepted.0.len(), MOST);
        assert_eq!(accepted.0[MOST - 1].plan, "plan-99");
    }
}
