//! Connects the account at Stripe: compares the plans with its prices, and makes the webhook endpoint.

use futures_util::future::try_join_all;

use crate::domain::ids::AttemptId;
use crate::domain::plan::{Catalog, Plan, Price};
use crate::error::Result;
use crate::fail_point::{FailPoints, Place};
use crate::random::Random;
use crate::stripe::{Endpoint, Stripe, StripePrice};

/// What became of the webhook endpoint.
#[derive(Debug)]
pub enum Made {
    /// It is new; its secret is shown this once.
    New(Endpoint),
    /// It was there; its events are right now.
    Updated(Endpoint),
}

/// Makes the webhook endpoint at this address, or brings the events of the one that is there up to
/// date.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub async fn endpoint(stripe: &Stripe, random: &Random, url: &str) -> Result<Made> {
    let points = FailPoints::default();
    let at = points.at(Place::EndpointWritten);
    match stripe.find_endpoint(url).await? {
        Some(endpoint) => {
            stripe.update_endpoint(&endpoint.id, url, at).await?;
            Ok(Made::Updated(endpoint))
        }
        None => {
            let attempt = AttemptId::from_random(random.bits());
            Ok(Made::New(stripe.create_endpoint(&attempt, url, at).await?))
        }
    }
}

/// What the key may not do, in words; nothing if it may do everything that a sale reads.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub async fn missing_rights(stripe: &Stripe) -> Result<Vec<String>> {
    let unreadable = stripe.unreadable().await?.into_iter();
    Ok(unreadable.map(|what| format!("the key may not read {what}; give it that right")).collect())
}

/// Everything in which the prices of the plans differ from those at Stripe, in words; nothing if they
/// are the same.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub async fn wrong_prices(stripe: &Stripe, catalog: &Catalog) -> Result<Vec<String>> {
    let sold = catalog.plans.iter().flat_map(|plan| plan.prices.iter().map(move |p| (plan, p)));
    let asked = sold.map(async |(plan, price)| {
        let found = stripe.price(&price.id).await?;
        Ok::<_, crate::error::Error>(difference(plan, price, found))
    });
    Ok(try_join_all(asked).await?.into_iter().flatten().collect())
}

fn difference(plan: &Plan, price: &Price, found: Option<StripePrice>) -> Option<String> {
    let wanted = StripePrice {
        active: true,
        amount: Some(price.amount.into()),
        currency: price.currency.clone(),
        interval: Some(price.interval.as_str().to_owned()),
    };
    let problem = match found {
        None => "Stripe has no such price in this account and mode".to_owned(),
        Some(found) if found == wanted => return None,
        Some(found) if !found.active => "it is archived at Stripe".to_owned(),
        Some(found) => format!("at Stripe it is {}, here {}", shown(&found), shown(&wanted)),
    };
    Some(format!("plan {:?}, price {}: {problem}", plan.id.as_str(), price.id))
}

fn shown(price: &StripePrice) -> String {
    let amount = price.amount.map_or("of no fixed amount".to_owned(), |amount| amount.to_string());
    let interval = price.interval.as_deref().map_or("not once a month or year", |every| every);
    format!("{amount} {} ({interval})", price.currency)
}
