//! The content of a license: its plan, features and limits, and what it promises about its end. A
//! changed plans file changes it.

use std::collections::{BTreeMap, BTreeSet};

use licentia_verify::{Claims, OnEnd};

use super::IssuedLicense;
use crate::domain::sale::plan::Catalog;

/// The content of a license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The plan's id.
    pub plan: String,
    /// The features.
    pub features: BTreeSet<String>,
    /// The limits.
    pub limits: BTreeMap<String, u64>,
    /// What remains at the end, with the features in alphabetical order.
    pub on_end: OnEnd,
    /// How many days before the next change for the worse the app should warn.
    pub warn_days: u64,
}

/// Returns a promise with its features in alphabetical order, so that equal ones compare equal.
fn sorted(on_end: OnEnd) -> OnEnd {
    match on_end {
        OnEnd::Limited { mut features, limits } => {
            features.sort_unstable();
            OnEnd::Limited { features, limits }
        }
        OnEnd::Stop | OnEnd::Warn => on_end,
    }
}

impl From<Claims> for Content {
    fn from(claims: Claims) -> Self {
        Self {
            plan: claims.plan,
            features: claims.features.into_iter().collect(),
            limits: claims.limits,
            on_end: sorted(claims.on_end.unwrap_or_default()),
            warn_days: claims.warn_days.unwrap_or_default(),
        }
    }
}

impl IssuedLicense {
    /// Returns what the license would grant if it were issued with these plans. `None` if they do
    /// not contain its plan.
    #[must_use]
    pub fn content(&self, catalog: &Catalog) -> Option<Content> {
        let entitlement = self.entitlement(catalog)?;
        Some(Content {
            plan: entitlement.plan.id.to_string(),
            features: entitlement.features().into_iter().collect(),
            limits: entitlement.limits(),
            on_end: sorted(entitlement.plan.on_end.clone()),
            warn_days: entitlement.plan.warn_days.into(),
        })
    }

    /// Returns whether these plans grant something else than the license token says. `false` if
    /// they do not contain the plan of the license.
    #[must_use]
    pub fn is_outdated(&self, catalog: &Catalog) -> bool {
        let Some(content) = self.content(catalog) else { return false };
        self.claims().is_some_and(|claims| Content::from(claims) != content)
    }
}
