//! The content of a license: its plan, features and limits. A changed plans file changes it.

use std::collections::{BTreeMap, BTreeSet};

use licentia_verify::Claims;

use super::IssuedLicense;
use crate::domain::sale::plan::Catalog;

/// The plan, features and limits of a license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The plan's id.
    pub plan: String,
    /// The features.
    pub features: BTreeSet<String>,
    /// The limits.
    pub limits: BTreeMap<String, u64>,
}

impl From<Claims> for Content {
    fn from(claims: Claims) -> Self {
        let features = claims.features.into_iter().collect();
        Self { plan: claims.plan, features, limits: claims.limits.into_iter().collect() }
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
