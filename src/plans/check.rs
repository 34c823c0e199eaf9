//! Checks that need the whole plans file. Each problem is reported at the place of its cause.

use std::collections::BTreeSet;

use licentia_verify::MAX_TOKEN_BYTES;

use super::plan::Read;
use super::{LIMITS, MAX_ISSUER_BYTES};
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::license::status_list::{SIZE, StatusIndex};
use crate::domain::license::{Entitlement, Holder, Source, Term, claims};
use crate::domain::sale::plan::{Addon, Catalog, Plan, Price, Slug};
use crate::domain::time::Timestamp;
use crate::settings::{Section, similar};

/// The size of a license token without its claims, in bytes: header, signature, two dots.
const TOKEN_FRAME_BYTES: usize = 256;

/// A plan or an add-on: the parts that both have.
struct Goods<'r> {
    section: &'r Section,
    id: &'r Slug,
    prices: Vec<(&'r Price, &'r Section)>,
    former_prices: &'r [String],
}

/// Adds a problem for each id of a plan, an add-on or a price that is used twice, and for each plan
/// or add-on that sells two prices of the same interval and currency.
pub(super) fn ids_and_prices(
    root: &Section,
    plans: &[Read<Plan>],
    addons: &[Read<Addon>],
    other_prices: &[String],
) {
    let plans = plans.iter().map(|read| {
        let Plan { id, prices, former_prices, .. } = &read.value;
        Goods { section: &read.section, id, prices: read.zip(prices), former_prices }
    });
    let addons = addons.iter().map(|read| {
        let Addon { id, prices, former_prices, .. } = &read.value;
        Goods { section: &read.section, id, prices: read.zip(prices), former_prices }
    });
    let (mut ids, mut prices) = (BTreeSet::new(), BTreeSet::new());
    for goods in plans.chain(addons) {
        if !ids.insert(goods.id) {
            let id = goods.id.as_str();
            goods.section.problem("id", format_args!("two plans or add-ons have the id {id:?}"));
        }
        for (price, section) in &goods.prices {
            if !prices.insert(&price.id) {
                let problem = format_args!("the price {:?} is listed twice", price.id);
                section.problem("id", problem);
            }
        }
        for (item, id) in goods.former_prices.iter().enumerate() {
            if !prices.insert(id) {
                let problem = format_args!("the price {id:?} is listed twice");
                goods.section.item_problem("former_prices", item, problem);
            }
        }
        one_price_per_currency(&goods);
    }
    for (item, id) in other_prices.iter().enumerate() {
        if !prices.insert(id) {
            let problem = format_args!(
                "the price {id:?} is listed twice; it cannot be of a plan or add-on and of \
                 something else"
            );
            root.item_problem("other_prices", item, problem);
        }
    }
}

fn one_price_per_currency(goods: &Goods<'_>) {
    let mut seen = BTreeSet::new();
    for (price, section) in goods.prices.iter().filter(|(price, _)| price.is_for_sale) {
        for (currency, _) in price.amounts() {
            if !seen.insert((price.interval, currency)) {
                let key = if *currency == price.currency { "currency" } else { "currencies" };
                let (id, interval) = (goods.id.as_str(), price.interval);
                let problem = format_args!(
                    "{id:?} has two prices for the interval {interval} in {currency}; a price that \
                     is not sold any more has `sold = false`"
                );
                section.problem(key, problem);
            }
        }
    }
}

/// Adds a problem for each plan that an add-on names and that is not in the file.
pub(super) fn plans_of_addons(addons: &[Read<Addon>], plans: &[Plan]) {
    for Read { section, value: addon, .. } in addons {
        for (item, id) in addon.plans.iter().flatten().enumerate() {
            if plans.iter().all(|plan| plan.id != *id) {
                let known = plans.iter().map(|plan| plan.id.as_str());
                let advice = similar(id.as_str(), known.clone()).map_or_else(
                    || format!("the plans are: {}", known.collect::<Vec<_>>().join(", ")),
                    |known| format!("did you mean {known:?}?"),
                );
                let problem = format_args!("there is no plan {:?}; {advice}", id.as_str());
                section.item_problem("plans", item, problem);
            }
        }
    }
}

/// Adds a problem for each plan whose license could be too large for verifiers: with the largest
/// quantity and every add-on. `sections` are those of the plans.
pub(super) fn token_size(sections: &[Section], catalog: &Catalog) {
    for (plan, section) in catalog.plans.iter().zip(sections) {
        let bytes = largest_token(plan, catalog);
        if bytes > MAX_TOKEN_BYTES {
            let id = plan.id.as_str();
            let problem = format_args!(
                "a license of the plan {id:?} with all of its add-ons has {bytes} bytes, but \
                 verifiers read at most {MAX_TOKEN_BYTES}: use fewer or shorter names of features \
                 and limits"
            );
            section.problem("features", problem);
        }
    }
}

/// Returns the size of the largest license token of a plan, in bytes.
fn largest_token(plan: &Plan, catalog: &Catalog) -> usize {
    let (customer_id, license_id) = (CustomerId::from_random(0), LicenseId::from_random(0));
    let issuer = "x".repeat(MAX_ISSUER_BYTES);
    let end = Some(Timestamp::MAX);
    let term = Term { expires: end, grace_until: end };
    let entitlement = Entitlement {
        quantity: plan.quantity.max,
        addons: catalog.addons.iter().filter(|addon| addon.is_for(plan)).collect(),
        updates_until: end,
        ..Entitlement::new(plan, Source::Operator, term)
    };
    let index = StatusIndex { list_id: i64::MAX, idx: SIZE };
    let (status, seq) = (index.reference(&issuer), *LIMITS.end());
    let holder =
        Holder { customer_id: &customer_id, license_id: &license_id, seq, status: &status };
    let claims = claims(&entitlement, &holder, catalog, &issuer, Timestamp::MAX);
    let json = serde_json::to_string(&claims).unwrap_or_default();
    json.len().div_ceil(3) * 4 + TOKEN_FRAME_BYTES
}
