//! Decides whether a request buys add-ons alone, for a perpetual license that the customer has.

use super::{Holdings, OwnsMore};
use crate::domain::license::{Entitlement, IssuedLicense, Source};
use crate::domain::sale::plan::{Interval, Plan};
use crate::domain::sale::selection::{NotSold, PurchaseRequest};
use crate::domain::time::Timestamp;

impl Holdings<'_, '_> {
    /// Returns whether a request buys add-ons alone: the plan is requested `once`, the customer
    /// has a perpetual license for it, and asks for no units of it, or it cannot be bought again.
    /// `license` is the present one.
    ///
    /// # Errors
    /// [`NotSold::Owned`], or [`NotSold::BesideGrant`] when a grant stays the license, so that the
    /// add-ons would have no effect.
    pub(super) fn is_for_addons_alone(
        &self,
        request: &PurchaseRequest,
        plan: &Plan,
        license: Option<&IssuedLicense>,
    ) -> Result<bool, NotSold> {
        let interval = request.interval.or_else(|| plan.price(None).map(|price| price.interval));
        if interval != Some(Interval::Once) || request.addons.is_empty() {
            return Ok(false);
        }
        let held = self.assessment.license_for_addons_alone(plan);
        let is_sold_again =
            |held: &Entitlement<'_>| plan.is_per_unit() || held.updates_until.is_some();
        if request.quantity.is_some() && held.as_ref().is_none_or(is_sold_again) {
            return Ok(false);
        }
        if let Some(granted) = license.filter(|license| is_perpetual_grant(license, self.now)) {
            let has_effect = held.as_ref().map_or_else(
                || !self.catalog.is_same_plan(&granted.plan, plan.id.as_str()),
                |held| self.is_worth_more_with(held, &request.addons, granted),
            );
            if !has_effect {
                let is_sold = plan.prices_for_sale(Interval::Once).next().is_some();
                return Err(NotSold::BesideGrant { granted: granted.plan.clone(), is_sold });
            }
        }
        let mut own = held.iter().flat_map(|held| &held.addons).map(|addon| addon.id.as_str());
        match own.find(|addon| request.addons.iter().any(|wanted| wanted == addon)) {
            Some(addon) => Err(OwnsMore::Addon(addon.to_owned()).into()),
            None => Ok(held.is_some()),
        }
    }

    /// Returns whether a perpetual license with more add-ons becomes the license instead of a
    /// grant.
    fn is_worth_more_with(
        &self,
        held: &Entitlement<'_>,
        addons: &[String],
        granted: &IssuedLicense,
    ) -> bool {
        let more = addons.iter().filter_map(|id| self.catalog.addon(id));
        let addons = held.addons.iter().copied().chain(more).collect();
        let license = Entitlement { addons, ..held.clone() }.coverage(self.catalog);
        license.exceeds(&granted.coverage(self.catalog), self.now)
    }
}

/// Returns whether an operator granted a license without an end, which works.
fn is_perpetual_grant(license: &IssuedLicense, now: Timestamp) -> bool {
    license.source == Source::Operator && license.term().ends().is_none() && license.works(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::license::grant::tests::license;
    use crate::domain::sale::entitlement::tests::{DAY, NOW, at, catalog_of};
    use crate::domain::sale::plan::Catalog;
    use crate::domain::sale::selection::holdings::tests::{PLANS, bought, subscribed};
    use crate::domain::sale::stripe_state::StripeState;

    /// Returns a catalog with a plan that can be bought once and never again.
    fn catalog() -> Catalog {
        let solo = r#"
            [[plan]]
            id = "solo"
            name = "Solo"
            prices = [{ id = "solo_o", interval = "once", amount = 50, currency = "usd" }]
        "#;
        catalog_of(&format!("{PLANS}{solo}"))
    }

    /// Returns a license that an operator granted without an end.
    fn granted(plan: &str) -> IssuedLicense {
        license(Source::Operator, plan, None)
    }

    fn request(plan: &str, interval: Interval, quantity: Option<u32>) -> PurchaseRequest {
        PurchaseRequest {
            plan: plan.to_owned(),
            interval: Some(interval),
            currency: None,
            quantity,
            addons: vec!["cad".to_owned()],
            accept_smaller: false,
        }
    }

    /// Returns whether the request is sold, and without the plan.
    fn sold(
        state: &StripeState,
        request: &PurchaseRequest,
        license: Option<&IssuedLicense>,
    ) -> Result<bool, NotSold> {
        let catalog = catalog();
        let holdings = Holdings::of(state, &catalog, at(NOW));
        holdings.select(request, license).map(|selection| selection.price.is_none())
    }

    #[test]
    fn add_ons_are_sold_alone_to_an_owner_of_the_plan_who_wants_no_more_units() {
        let (catalog, none) = (catalog(), StripeState::default());
        let owner = |plan: &str, addons: &[&str]| {
            bought(&none, &catalog, (plan, if plan == "solo" { 1 } else { 5 }, addons), NOW - DAY)
        };
        let once = |plan, units| request(plan, Interval::Once, units);
        for (name, state, request, is_alone) in [
            ("a stranger", none.clone(), once("both", None), false),
            ("an owner", owner("both", &[]), once("both", None), true),
            ("more units", owner("both", &[]), once("both", Some(5)), false),
            ("another plan", owner("both", &[]), once("max", Some(5)), false),
            (
                "a subscription",
                owner("both", &[]),
                request("both", Interval::Month, Some(5)),
                false,
            ),
            ("a subscriber", subscribed(&["both_m"], 5), once("both", Some(5)), false),
            ("never sold again", owner("solo", &[]), once("solo", Some(1)), true),
        ] {
            assert_eq!(sold(&state, &request, None), Ok(is_alone), "{name}");
        }
        let has_it = owner("both", &["cad"]);
        let refused = NotSold::Owned(OwnsMore::Addon("cad".to_owned()));
        assert_eq!(sold(&has_it, &once("both", None), None), Err(refused));
    }

    #[test]
    fn add_ons_that_have_no_effect_beside_a_perpetual_grant_are_not_sold_alone() {
        let (catalog, none) = (catalog(), StripeState::default());
        let owner = bought(&none, &catalog, ("both", 5, &[]), NOW - DAY);
        let refused = |granted: &str, is_sold| {
            Err(NotSold::BesideGrant { granted: granted.to_owned(), is_sold })
        };
        for (state, wanted, plan, expected) in [
            (&none, "both", "both", refused("both", true)),
            (&none, "free", "free", refused("free", false)),
            // The plan is sold too, and is another one than was granted.
            (&none, "both", "max", Ok(false)),
            (&owner, "both", "max", refused("max", true)),
            (&owner, "both", "free", Ok(true)),
            // The units and the add-on are more than was granted.
            (&owner, "both", "both", Ok(true)),
        ] {
            let request = request(wanted, Interval::Once, None);
            let result = sold(state, &request, Some(&granted(plan)));
            assert_eq!(result, expected, "{wanted} beside {plan}");
        }
        let request = request("both", Interval::Once, None);
        let granted = granted("max");
        for license in [
            IssuedLicense { source: Source::Paid, ..granted.clone() },
            IssuedLicense { expires_at: Some(at(NOW + DAY)), ..granted.clone() },
            IssuedLicense { revoked_at: Some(at(NOW)), ..granted },
        ] {
            assert_eq!(sold(&owner, &request, Some(&license)), Ok(true), "{license:?}");
        }
    }
}
