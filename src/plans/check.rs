//! Checks that need the whole plans file. Each problem is reported at the place of its cause.

use std::collections::BTreeSet;

use licentia_verify::MAX_TOKEN_BYTES;

use super::plan::Read;
use super::{LIMITS, MAX_ISSUER_BYTES};
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::license::{Entitlement, Holder, Source, Term, claims};
use crate::domain::sale::plan::{Addon, Catalog, Plan};
use crate::domain::time::Timestamp;
use crate::settings::Section;

/// The size of a license token without its claims, in bytes: header, signature, two dots.
const TOKEN_FRAME_BYTES: usize = 256;

/// Adds a problem for each id of a plan, an add-on or a price that is used twice, and for each plan
/// with two prices for the same interval and currency.
pub(super) fn ids_and_prices(
    root: &Section,
    plans: &[Read<Plan>],
    addons: &[Read<Addon>],
    other_prices: &[String],
) {
    let mut seen = BTreeSet::new();
    let ids = plans.iter().map(|read| (&read.section, &read.value.id));
    for (section, id) in ids.chain(addons.iter().map(|read| (&read.section, &read.value.id))) {
        if !seen.insert(id.as_str()) {
            let id = id.as_str();
            section.problem("id", format_args!("two plans or add-ons have the id {id:?}"));
        }
    }
    let mut seen = BTreeSet::new();
    let ids = plans.iter().flat_map(|read| read.value.price_ids());
    for id in ids.chain(addons.iter().flat_map(|read| read.value.price_ids())) {
        if !seen.insert(id) {
            root.problem("plan", format_args!("two prices have the id {id:?}"));
        }
    }
    for read in plans {
        let mut seen = BTreeSet::new();
        let prices = read.value.prices.iter().zip(&read.prices);
        for (price, section) in prices.filter(|(price, _)| price.is_sold) {
            for (currency, _) in price.amounts() {
                if !seen.insert((price.interval, currency)) {
                    let (plan, interval) = (read.value.id.as_str(), price.interval);
                    let two = format_args!("the plan {plan:?} has two prices of");
                    section.problem("interval", format_args!("{two} {interval} in {currency}"));
                }
            }
        }
    }
    for price in other_prices.iter().filter(|price| seen.contains(price.as_str())) {
        let problem = format_args!("{price} is the price of a plan; remove it from one of them");
        root.problem("other_prices", problem);
    }
}

/// Adds a problem for each plan whose license would be too large for verifiers.
pub(super) fn token_size(root: &Section, catalog: &Catalog) {
    let (customer_id, license_id) = (CustomerId::from_random(0), LicenseId::from_random(0));
    let issuer = "x".repeat(MAX_ISSUER_BYTES);
    let end = Some(Timestamp::MAX);
    for plan in &catalog.plans {
        let term = Term { expires: end, grace_until: end };
        let entitlement = Entitlement::new(plan, Source::Operator, term);
        let holder =
            Holder { customer_id: &customer_id, license_id: &license_id, seq: *LIMITS.end() };
        let claims = claims(&entitlement, &holder, catalog, &issuer, Timestamp::MAX);
        let json = serde_json::to_string(&claims).unwrap_or_default();
        let bytes = json.len().div_ceil(3) * 4 + TOKEN_FRAME_BYTES;
        if bytes > MAX_TOKEN_BYTES {
            let plan = plan.id.as_str();
            root.problem(
                "plan",
                format_args!(
                    "a license of the plan {plan:?} has {bytes} bytes, but verifiers read at most \
                     {MAX_TOKEN_BYTES}: use fewer or shorter names of features and limits"
                ),
            );
        }
    }
}
