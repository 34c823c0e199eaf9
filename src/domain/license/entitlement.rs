//! Entitlements, and the claims of a license for one. Issued licenses are in [`super`].

use std::collections::BTreeMap;

use chrono::TimeDelta;
use licentia_verify::{CLAIMS_VERSION, Claims, OnEnd, StatusClaim, StatusReference};
use serde_json::Value;

use super::grant::MAX_LIMIT;
use super::parts::{issue_detail, license_parts};
use super::{BACKDATED, Basis, Extras, Source, Term};
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::plan::{Addon, Catalog, Plan, Slug};
use crate::domain::time::Timestamp;

/// The right of a customer to use a plan, and until when.
#[derive(Clone, Debug, PartialEq)]
pub struct Entitlement<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The reason.
    pub source: Source,
    /// How it was bought, if it was bought.
    pub basis: Basis,
    /// The time.
    pub term: Term,
    /// The units: the plan's limits per unit are multiplied by them.
    pub quantity: u32,
    /// The add-ons, in the order of the catalog.
    pub addons: Vec<&'a Addon>,
    /// The time after which builds are not covered; `None` covers all builds.
    pub updates_until: Option<Timestamp>,
    /// The additions of an operator.
    pub extras: Extras,
}

impl<'a> Entitlement<'a> {
    /// Returns an entitlement to one unit of a plan, to which nothing was added.
    #[must_use]
    pub fn new(plan: &'a Plan, source: Source, term: Term) -> Self {
        Self {
            plan,
            source,
            basis: Basis::default(),
            term,
            quantity: 1,
            addons: Vec::new(),
            updates_until: None,
            extras: Extras::default(),
        }
    }

    /// Returns how it was bought; `None` for a trial and a grant.
    #[must_use]
    pub fn bought_by(&self) -> Option<Basis> {
        (self.source == Source::Paid).then_some(self.basis)
    }

    /// Returns the details of an audit entry about a license for it that is about to be issued.
    #[must_use]
    pub fn audit_detail(&self, license_id: &LicenseId) -> Value {
        let bought = (self.plan.id.as_str(), self.source, self.bought_by());
        issue_detail(license_id, bought, (self.quantity, &self.addon_ids(), self.updates_until))
    }

    /// Returns its units, add-ons and end of updates as text that follows the name of the plan.
    #[must_use]
    pub fn parts_text(&self) -> String {
        license_parts(self.quantity, &self.addon_ids(), self.updates_until)
    }

    /// Returns the ids of the add-ons.
    #[must_use]
    pub fn addon_ids(&self) -> AddonIds {
        self.addons.iter().map(|addon| &addon.id).collect()
    }

    /// Returns the features: those of the plan, then those that the add-ons and the operator add,
    /// each once.
    #[must_use]
    pub fn features(&self) -> Vec<String> {
        let added = self.addons.iter().flat_map(|addon| &addon.features);
        let mut features: Vec<&Slug> = Vec::new();
        for feature in self.plan.features.iter().chain(added).chain(&self.extras.features) {
            if !features.contains(&feature) {
                features.push(feature);
            }
        }
        features.into_iter().map(ToString::to_string).collect()
    }

    /// Returns the limits: those of the plan, multiplied by the units where the plan says so, and
    /// those of the add-ons added up. A limit of the operator replaces the one of that name.
    #[must_use]
    pub fn limits(&self) -> BTreeMap<String, u64> {
        let mut limits: BTreeMap<&Slug, u64> = BTreeMap::new();
        for (name, limit) in &self.plan.limits {
            let units = if self.plan.per_unit.contains(name) { self.quantity.into() } else { 1 };
            limits.insert(name, limit.saturating_mul(units));
        }
        for (name, limit) in self.addons.iter().flat_map(|addon| &addon.limits) {
            let sum = limits.entry(name).or_default();
            *sum = sum.saturating_add(*limit);
        }
        limits.extend(self.extras.limits.iter().map(|(name, limit)| (name, *limit)));
        let limits = limits.into_iter();
        limits.map(|(name, limit)| (name.to_string(), limit.min(MAX_LIMIT))).collect()
    }

    /// Returns the entitlement of a license that was issued by a clock that was ahead, corrected: a
    /// trial ends no later than one that begins at `now`. Other terms come from a payment or an
    /// operator and are unchanged.
    #[must_use]
    pub fn with_the_right_clock(self, catalog: &'a Catalog, now: Timestamp) -> Self {
        if self.source != Source::Trial {
            return self;
        }
        let full = Self::trial(catalog, now).term.expires;
        let expires = [self.term.expires, full].into_iter().flatten().min();
        Self { term: Term { expires, ..self.term }, ..self }
    }

    /// Returns the trial of a customer who signs up at `now`.
    #[must_use]
    pub fn trial(catalog: &'a Catalog, now: Timestamp) -> Self {
        let expires = Some(now + catalog.trial_lasts());
        let term = Term { expires, grace_until: None };
        Self::new(catalog.trial(), Source::Trial, term)
    }
}

/// The customer of a license, and the license's id, sequence number and index in a status list.
#[derive(Clone, Debug)]
pub struct Holder<'a> {
    /// The customer.
    pub customer_id: &'a CustomerId,
    /// The id of the new license.
    pub license_id: &'a LicenseId,
    /// The sequence number: one more than that of the customer's last license.
    pub seq: u64,
    /// The license's index in a status list.
    pub status: &'a StatusReference,
}

/// Returns when a license token that is issued at `now` expires: at the end of the term, or after
/// the longest lifetime of a token of the plan.
#[must_use]
pub fn token_expires(
    term: Term,
    plan: Option<&Plan>,
    catalog: &Catalog,
    now: Timestamp,
) -> Timestamp {
    let longest = now + TimeDelta::days(catalog.token_days_of(plan).into());
    term.ends().map_or(longest, |ends| ends.min(longest))
}

/// Returns the claims of a license that is issued at `now`. `iat` and `nbf` are [`BACKDATED`]. A
/// claim that would have its default is left out, so that the token is short.
#[must_use]
pub fn claims(
    entitlement: &Entitlement<'_>,
    holder: &Holder<'_>,
    catalog: &Catalog,
    issuer: &str,
    now: Timestamp,
) -> Claims {
    let plan = entitlement.plan;
    let token_expires = token_expires(entitlement.term, Some(plan), catalog, now);
    let signed_at = (now - BACKDATED).epoch_seconds();
    Claims {
        iss: issuer.to_owned(),
        sub: holder.customer_id.to_string(),
        aud: catalog.product.to_string(),
        iat: signed_at,
        nbf: signed_at,
        exp: token_expires.epoch_seconds(),
        jti: holder.license_id.to_string(),
        plan: plan.id.to_string(),
        trial: entitlement.source == Source::Trial,
        features: entitlement.features(),
        limits: entitlement.limits(),
        license_expires: entitlement.term.expires.map(Timestamp::epoch_seconds),
        grace_until: entitlement.term.grace_until.map(Timestamp::epoch_seconds),
        updates_until: entitlement.updates_until.map(Timestamp::epoch_seconds),
        on_end: Some(plan.on_end.clone()).filter(|on_end| *on_end != OnEnd::Stop),
        warn_days: Some(plan.warn_days.into()).filter(|days| *days > 0),
        status: Some(StatusClaim { status_list: holder.status.clone() }),
        cnf: None,
        seq: holder.seq,
        ver: CLAIMS_VERSION,
    }
}

/// Returns the claims of a license that is issued at `now` and grants what these claims do. Its
/// token lasts until `expires`, and not longer than the former one lasted.
#[must_use]
pub fn granted_again(
    granted: Claims,
    holder: &Holder<'_>,
    expires: Timestamp,
    issuer: &str,
    now: Timestamp,
) -> Claims {
    let lasted = now + TimeDelta::seconds(granted.exp.saturating_sub(granted.iat));
    let signed_at = (now - BACKDATED).epoch_seconds();
    Claims {
        iss: issuer.to_owned(),
        iat: signed_at,
        nbf: signed_at,
        exp: expires.min(lasted).epoch_seconds(),
        jti: holder.license_id.to_string(),
        status: Some(StatusClaim { status_list: holder.status.clone() }),
        seq: holder.seq,
        ..granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sale::entitlement::tests::catalog;

    #[test]
    fn limits_per_unit_are_multiplied_and_add_ons_add_theirs() {
        let mut catalog = catalog();
        let slug = |text: &str| text.parse::<Slug>().unwrap();
        let plan = catalog.plans.iter_mut().find(|plan| plan.id.as_str() == "professional");
        let plan = plan.unwrap();
        plan.features = vec![slug("export"), slug("sync")];
        plan.limits = BTreeMap::from([(slug("seats"), 2), (slug("projects"), 10)]);
        plan.per_unit = [slug("seats")].into();
        let addon = |id: &str, features: &[&str], limits: &[(&str, u64)]| Addon {
            id: slug(id),
            name: id.to_owned(),
            features: features.iter().map(|text| slug(text)).collect(),
            limits: limits.iter().map(|(name, limit)| (slug(name), *limit)).collect(),
            plans: None,
            prices: Vec::new(),
            former_prices: Vec::new(),
        };
        let pdf = addon("pdf", &["pdf", "sync"], &[("pages", 100), ("projects", 5)]);
        let cad = addon("cad", &["cad"], &[("seats", 3)]);
        let plan = catalog.plan("professional").unwrap();
        let term = Term::default();
        let mut has = Entitlement::new(plan, Source::Paid, term);
        has.quantity = 7;
        has.addons = vec![&pdf, &cad];
        has.extras.features.insert(slug("pdf"));
        has.extras.limits.insert(slug("pages"), 1);
        assert_eq!(has.features(), ["export", "sync", "pdf", "cad"]);
        let limits: Vec<_> = has.limits().into_iter().collect();
        let expected = [("pages", 1), ("projects", 15), ("seats", 17)];
        assert_eq!(limits, expected.map(|(name, limit)| (name.to_owned(), limit)));
        has.quantity = u32::MAX;
        let huge = Plan { limits: [(slug("seats"), u64::MAX)].into(), ..plan.clone() };
        let has = Entitlement { plan: &huge, ..has };
        assert_eq!(has.limits()["seats"], MAX_LIMIT, "every JSON parser reads it exactly");
    }
}
