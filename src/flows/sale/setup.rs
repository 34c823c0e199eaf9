//! Connects the Stripe account: checks the key and the prices, and creates the webhook endpoint. It
//! links no customers: the backfill does.

use futures_util::future::try_join_all;

use crate::domain::ids::AttemptId;
use crate::domain::sale::plan::{Catalog, Plan, Price};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::fail_point::{FailPoints, Place};
use crate::random::Random;
use crate::flows::sale::account_check;
use crate::stripe::{Endpoint, Stripe, StripeFailure, StripePrice};

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

/// Returns a problem for each permission that the key lacks.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub async fn missing_rights(stripe: &Stripe, catalog: &Catalog) -> Result<Vec<String>> {
    let codes = catalog.checkout.promotion_codes.then_some("promotion_codes");
    let trials = catalog.plans.iter().any(|plan| plan.trial_days.is_some());
    let more: Vec<_> = codes.into_iter().chain(trials.then_some("payment_methods")).collect();
    let unreadable = stripe.unreadable(&more).await?.into_iter();
    let problem = |resource| format!("the key cannot read {resource}; add this permission");
    Ok(unreadable.map(problem).collect())
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
        Err(error @ StripeFailure::Refused { .. }) => {
            Ok(vec![format!("the options of `[checkout]` cannot be checked: {error}")])
        }
        checked => Ok(checked?),
    }
}

/// Returns a problem for each price of a plan that differs from Stripe.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub async fn wrong_prices(stripe: &Stripe, catalog: &Catalog) -> Result<Vec<String>> {
    let prices = catalog.plans.iter().flat_map(|plan| plan.prices.iter().map(move |p| (plan, p)));
    let sold = prices.filter(|(_, price)| price.is_sold);
    let differences = sold.map(async |(plan, price)| {
        let at_stripe = stripe.price(&price.id).await?;
        Ok::<_, crate::error::Error>(difference(plan, price, at_stripe))
    });
    Ok(try_join_all(differences).await?.into_iter().flatten().collect())
}

fn difference(plan: &Plan, price: &Price, at_stripe: Option<StripePrice>) -> Option<String> {
    let expected = StripePrice {
        active: true,
        amount: Some(price.amount.into()),
        currency: price.currency.to_string(),
        interval: price.interval.is_recurring().then(|| price.interval.to_string()),
    };
    let problem = match at_stripe {
        None => "Stripe has no such price in this account and mode".to_owned(),
        Some(found) if found == expected => return None,
        Some(found) if !found.active => "it is archived at Stripe".to_owned(),
        Some(found) => {
            format!("at Stripe it is {}, here {}", description(&found), description(&expected))
        }
    };
    Some(format!("plan {:?}, price {}: {problem}", plan.id.as_str(), price.id))
}

fn description(price: &StripePrice) -> String {
    let amount = price.amount.map_or("no fixed amount in".to_owned(), |amount| amount.to_string());
    let interval = price.interval.as_deref().unwrap_or("not charged once a month or year");
    format!("{amount} {} ({interval})", price.currency)
}
