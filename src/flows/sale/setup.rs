//! Connects the Stripe account: checks the key and the prices, and creates the webhook endpoint. It
//! links no customers: the backfill does.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;

use crate::domain::ids::AttemptId;
use crate::domain::sale::plan::{Catalog, Price};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::fail_point::{FailPoints, Place};
use crate::flows::sale::account_check;
use crate::random::Random;
use crate::stripe::{Endpoint, RESOURCES, Stripe, StripeFailure, StripePrice};

/// The webhook endpoint after the setup.
#[derive(Debug)]
pub enum EndpointOutcome {
    /// The endpoint was created. It has its secret.
    New(Endpoint),
    /// The endpoint existed and was updated. Stripe does not send its secret again.
    Updated(Endpoint),
}

/// Creates the webhook endpoint with this URL, or updates the events of an existing one.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub async fn endpoint(stripe: &Stripe, random: &Random, url: &str) -> Result<EndpointOutcome> {
    let points = FailPoints::default();
    let at = points.at(Place::EndpointWritten);
    match stripe.find_endpoint(url).await? {
        Some(endpoint) => {
            stripe.update_endpoint(&endpoint.id, url, at).await?;
            Ok(EndpointOutcome::Updated(endpoint))
        }
        None => {
            let attempt = AttemptId::from_random(random.bits());
            Ok(EndpointOutcome::New(stripe.create_endpoint(&attempt, url, at).await?))
        }
    }
}

/// The resources that are read when a buyer uses a promotion code.
const OF_CODES: [&str; 3] = ["promotion_codes", "coupons", "products"];

/// Returns a problem for each permission that the key lacks.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub async fn missing_rights(stripe: &Stripe, catalog: &Catalog) -> Result<Vec<String>> {
    let codes = OF_CODES.iter().filter(|_| catalog.checkout.promotion_codes);
    let methods = catalog.has_stripe_trials().then_some(&"payment_methods");
    let needed: Vec<_> = RESOURCES.iter().chain(codes).chain(methods).copied().collect();
    let unreadable = stripe.unreadable(&needed).await?.into_iter();
    let problem = |resource| format!("the key cannot read {resource}; add this permission");
    Ok(unreadable.map(problem).collect())
}

/// Returns a note if the key lacks a permission for promotion codes, and the plans file does not
/// offer them on the page: a caller may send one without that option.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub async fn codes_in_calls(stripe: &Stripe, catalog: &Catalog) -> Result<Option<String>> {
    if catalog.checkout.promotion_codes {
        return Ok(None);
    }
    let unreadable = stripe.unreadable(&OF_CODES).await?;
    let note = |names: String| {
        format!("`promotion_code` in a call does not work: the key cannot read {names}")
    };
    Ok((!unreadable.is_empty()).then(|| note(unreadable.join(", "))))
}

/// Returns a problem for each option of `[checkout]` that the account cannot do.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub async fn unsupported_options(
    stripe: &Stripe,
    catalog: &Catalog,
    now: Timestamp,
) -> Result<Vec<String>> {
    match account_check::problems(stripe, catalog, now).await {
        Err(error @ StripeFailure::Refused { .. }) => Ok(vec![account_check::unchecked(&error)]),
        checked => Ok(checked?),
    }
}

/// The result of a comparison of the plans file with Stripe.
#[derive(Debug, Default)]
pub struct Comparison {
    /// A problem for each difference.
    pub differences: Vec<String>,
    /// What could not be compared.
    pub notes: Vec<String>,
}

/// Compares the prices of the plans and add-ons with those at Stripe, and finds the other prices of
/// the plans file that Stripe does not have.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub async fn compare_prices(stripe: &Stripe, catalog: &Catalog) -> Result<Comparison> {
    let plans = catalog.plans.iter().map(|plan| ("plan", &plan.id, &plan.prices));
    let addons = catalog.addons.iter().map(|addon| ("add-on", &addon.id, &addon.prices));
    let prices = plans.chain(addons).flat_map(|(kind, id, prices)| {
        prices.iter().map(move |price| (format!("{kind} {:?}", id.as_str()), price))
    });
    let fetched = prices.map(async |(of, price)| {
        Ok::<_, crate::error::Error>((of, price, stripe.price(&price.id).await?))
    });
    let fetched = try_join_all(fetched).await?;
    let unknown = unknown_prices(stripe, catalog).await?;
    let sold = fetched.iter().filter(|(_, price, _)| price.is_for_sale);
    let archived = archived_products(stripe, sold.filter_map(|(.., found)| found.as_ref())).await?;
    let problems = fetched.iter().flat_map(|(of, price, found)| {
        let product = found.as_ref().and_then(|found| found.product.as_deref());
        let is_archived = |id: &&str| archived.iter().flatten().any(|archived| archived == id);
        let product = product.filter(|_| price.is_for_sale).filter(is_archived);
        let product = product.map(|id| format!("its product {id} is archived at Stripe"));
        let problems = differences(price, found.as_ref()).into_iter().chain(product);
        problems.map(move |problem| format!("{of}, price {}: {problem}", price.id))
    });
    let differences = problems.chain(unknown).collect();
    let note = "whether the products of the prices are archived was not checked: the key needs \
                *read* for products";
    let notes = archived.is_none().then(|| note.to_owned()).into_iter().collect();
    Ok(Comparison { differences, notes })
}

/// Returns the archived products of these prices; `None` if the key cannot read products.
async fn archived_products(
    stripe: &Stripe,
    prices: impl Iterator<Item = &StripePrice>,
) -> Result<Option<Vec<String>>> {
    let products: BTreeSet<&str> = prices.filter_map(|price| price.product.as_deref()).collect();
    let found = products.into_iter().map(async |id| {
        let is_archived = stripe.is_product_archived(id).await?;
        let archived = |is_archived: bool| is_archived.then(|| id.to_owned());
        Ok::<_, crate::error::Error>(is_archived.map(archived))
    });
    let found: Option<Vec<_>> = try_join_all(found).await?.into_iter().collect();
    Ok(found.map(|found| found.into_iter().flatten().collect()))
}

/// Returns a problem for each price in `former_prices` or `other_prices` that Stripe does not have.
async fn unknown_prices(stripe: &Stripe, catalog: &Catalog) -> Result<Vec<String>> {
    let plans = catalog.plans.iter().map(|plan| ("plan", &plan.id, &plan.former_prices));
    let addons = catalog.addons.iter().map(|addon| ("add-on", &addon.id, &addon.former_prices));
    let former = plans.chain(addons).flat_map(|(kind, id, prices)| {
        prices.iter().map(move |price| (format!("{kind} {:?}, former price", id.as_str()), price))
    });
    let others = catalog.other_prices.iter().map(|price| ("other price".to_owned(), price));
    let fetched = former.chain(others).map(async |(of, price)| {
        let is_known = stripe.price(price).await?.is_some();
        Ok::<_, crate::error::Error>((!is_known).then(|| format!("{of} {price}: {NO_SUCH_PRICE}")))
    });
    Ok(try_join_all(fetched).await?.into_iter().flatten().collect())
}

const NO_SUCH_PRICE: &str = "Stripe has no such price in this account and mode";

/// Returns a note for each payment link that sells something of the plans file and whose buyers get
/// no account or no invoice. If a restricted key cannot read payment links, the only note says
/// that.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub async fn payment_link_notes(stripe: &Stripe, catalog: &Catalog) -> Result<Vec<String>> {
    let links = match stripe.payment_links().await {
        Err(StripeFailure::Refused { status: 403, .. }) => {
            return Ok(vec![
                "the payment links were not checked: the key needs *read* for payment links"
                    .to_owned(),
            ]);
        }
        links => links?,
    };
    let is_once = |price: &String| {
        let price = catalog.sold(price).and_then(|sold| sold.price());
        price.is_some_and(|price| !price.interval.is_recurring())
    };
    let mut notes = Vec::new();
    for link in links {
        let Some(price) = link.prices.iter().find(|price| catalog.sold(price).is_some()) else {
            continue;
        };
        if !catalog.checkout.allow_unknown_buyers {
            notes.push(format!(
                "payment link {}, price {price}: buyers without an account wait for your \
                 `licentia stripe claim`; to create accounts at once, set `allow_unknown_buyers = \
                 true` in `[checkout]`",
                link.id
            ));
        }
        if !link.has_invoice && link.prices.iter().any(is_once) {
            let guests =
                if link.is_for_guests { ", and Stripe has no customer for them" } else { "" };
            notes.push(format!(
                "payment link {}, price {price}: its buyers get no invoice{guests}; set \
                 `invoice_creation` of the link to change that",
                link.id
            ));
        }
    }
    Ok(notes)
}

/// Returns how Stripe's price differs. Of one that is not sold any more, only what still matters
/// for those who pay it.
fn differences(price: &Price, at_stripe: Option<&StripePrice>) -> Vec<String> {
    let Some(found) = at_stripe else {
        return vec![NO_SUCH_PRICE.to_owned()];
    };
    let recurring = price.interval.is_recurring().then_some(price.interval.as_str());
    let interval = recurring.unwrap_or("once");
    if !price.is_for_sale {
        let is_same = found.interval == interval;
        let problem = || format!("at Stripe it is charged {}, here {interval}", found.interval);
        return if is_same { Vec::new() } else { vec![problem()] };
    }
    if !found.active {
        return vec!["it is archived at Stripe".to_owned()];
    }
    let (amount, currency) = (i64::from(price.amount), price.currency.as_str());
    if (found.amount, &*found.currency, &*found.interval) != (Some(amount), currency, interval) {
        let here = description(Some(amount), currency, interval);
        let there = description(found.amount, &found.currency, &found.interval);
        return vec![format!("at Stripe it is {there}, here {here}")];
    }
    let others = price.others.iter().filter_map(|(currency, amount)| {
        match found.amounts.get(currency.as_str()) {
            Some(Some(there)) if *there == i64::from(*amount) => None,
            Some(Some(there)) => {
                Some(format!("at Stripe it is {there} {currency}, here {amount} {currency}"))
            }
            Some(None) | None => Some(format!("at Stripe it has no fixed amount in {currency}")),
        }
    });
    others.collect()
}

fn description(amount: Option<i64>, currency: &str, interval: &str) -> String {
    let amount = amount.map_or("no fixed amount in".to_owned(), |amount| amount.to_string());
    format!("{amount} {currency} ({interval})")
}
