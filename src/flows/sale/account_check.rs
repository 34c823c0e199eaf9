//! Checks that the Stripe account can do what `[checkout]` asks for. `licentia stripe setup` always
//! checks; the server checks at its start, once for each account and set of options, because the
//! check creates a Checkout session.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::try_join_all;
use secrecy::ExposeSecret;

use crate::app::App;
use crate::clock::within;
use crate::domain::sale::plan::{Catalog, CheckoutOptions, Plan, Price};
use crate::domain::secret::Purpose;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::{FailPoints, Place};
use crate::flows::secret::keyed;
use crate::stripe::{Answer, Probe, Stripe, StripeFailure};

/// How long a start waits for Stripe: a server must also start while Stripe is down.
const START_TIMEOUT: Duration = Duration::from_secs(3);

/// How much longer it waits for each [`PRICES_AT_ONCE`] prices.
const TIMEOUT_OF_ROUND: Duration = Duration::from_secs(1);

/// The prices that are fetched at once. Stripe refuses more than 25 calls a second in a sandbox
/// (<https://docs.stripe.com/rate-limits>).
const PRICES_AT_ONCE: usize = 10;

/// How long the session of a check could be paid if it were not closed at once. Stripe's least is
/// 30 minutes; the clocks may differ.
const PROBE_LIFETIME: TimeDelta = TimeDelta::hours(1);

/// Returns a problem for each option that the account cannot do.
///
/// # Errors
/// When Stripe cannot be asked, or the key lacks a permission for it.
pub async fn problems(stripe: &Stripe, catalog: &Catalog, now: Timestamp) -> Answer<Vec<String>> {
    let mut options = catalog.checkout.of_page();
    let mut problems = Vec::new();
    if options.automatic_tax {
        let tax = stripe.tax_settings().await?;
        if !tax.is_active {
            problems.push(format!(
                "`checkout.automatic_tax`: Stripe Tax is not ready; {} is missing. Add it at \
                 https://dashboard.stripe.com/settings/tax, or turn the option off",
                if tax.missing.is_empty() { "a setting".into() } else { tax.missing.join(", ") }
            ));
            options.automatic_tax = false;
        }
    }
    if options.automatic_tax
        && let Some(problem) = untaxed_prices(stripe, catalog).await?
    {
        problems.push(problem);
        options.automatic_tax = false;
    }
    let Some((plan, price)) = first_price(catalog) else { return Ok(problems) };
    // Stripe names one problem at a time. Each round turns its option off.
    while options != CheckoutOptions::default() {
        let probe = Probe {
            price: price.id.clone(),
            quantity: plan.quantity.min,
            is_once: !price.interval.is_recurring(),
            options,
            expires_at: now + PROBE_LIFETIME,
        };
        let points = FailPoints::default();
        match stripe.probe(&probe, points.at(Place::AccountProbed)).await {
            Ok(()) => break,
            Err(StripeFailure::Refused { status: 400, problem }) => {
                problems.push(refusal(&mut options, &problem, price));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(problems)
}

/// Returns the problem if `automatic_tax` is on and Stripe Tax would refuse to sell some of the
/// prices: those that do not say whether their amounts contain taxes, unless the account has a
/// default. The session of a check has one price only.
///
/// # Errors
/// As [`problems`].
pub async fn untaxed_prices(stripe: &Stripe, catalog: &Catalog) -> Answer<Option<String>> {
    if !catalog.checkout.automatic_tax {
        return Ok(None);
    }
    let sold: Vec<&Price> = sold_prices(catalog).collect();
    let mut untaxed = Vec::new();
    for round in sold.chunks(PRICES_AT_ONCE) {
        let fetched = round.iter().map(async |price| {
            let found = stripe.price(&price.id).await?;
            // The check of the prices names one that Stripe does not have.
            let is_untaxed = found.is_some_and(|found| !found.has_tax_behavior);
            Ok::<_, StripeFailure>(is_untaxed.then_some(price.id.as_str()))
        });
        untaxed.extend(try_join_all(fetched).await?.into_iter().flatten());
    }
    if untaxed.is_empty() || stripe.has_default_tax_behavior().await? {
        return Ok(None);
    }
    Ok(Some(format!(
        "`checkout.automatic_tax`: Stripe refuses it for prices without a `tax_behavior`: {}. Set \
         it, or the account's default at https://dashboard.stripe.com/settings/tax",
        untaxed.join(", ")
    )))
}

/// Returns every price that is sold, of plans and add-ons.
fn sold_prices(catalog: &Catalog) -> impl Iterator<Item = &Price> {
    let of_plans = catalog.plans.iter().flat_map(|plan| &plan.prices);
    let of_addons = catalog.addons.iter().flat_map(|addon| &addon.prices);
    of_plans.chain(of_addons).filter(|price| price.is_for_sale)
}

/// Returns what Stripe's refusal means, and turns off the option that it names, or else all.
fn refusal(options: &mut CheckoutOptions, problem: &str, price: &Price) -> String {
    if problem.contains("consent_collection") {
        options.terms_of_service = false;
        return "`checkout.terms_of_service`: the Stripe account has no URL of terms of service. \
                Set it at https://dashboard.stripe.com/settings/public, or turn the option off"
            .into();
    }
    if options.automatic_tax && (problem.contains("tax") || problem.contains("line_items")) {
        options.automatic_tax = false;
        return format!(
            "`checkout.automatic_tax`: Stripe refuses it for the price {}: {problem}. Set the \
             price's `tax_behavior`, or the account's default at \
             https://dashboard.stripe.com/settings/tax",
            price.id
        );
    }
    *options = CheckoutOptions::default();
    format!(
        "`checkout`: Stripe refuses a Checkout session for the price {} with these options: \
         {problem}",
        price.id
    )
}

/// Returns the problem if Stripe refuses a call of the check.
pub fn unchecked(failure: &StripeFailure) -> String {
    format!("the options of `[checkout]` cannot be checked: {failure}")
}

/// Returns the first price that is sold: a recurring one, or else one that is paid once.
fn first_price(catalog: &Catalog) -> Option<(&Plan, &Price)> {
    let prices = || {
        let plans = catalog.plans.iter();
        plans.flat_map(|plan| plan.prices.iter().map(move |price| (plan, price)))
    };
    let sold = || prices().filter(|(_, price)| price.is_for_sale);
    sold().find(|(_, price)| price.interval.is_recurring()).or_else(|| sold().next())
}

/// Checks the account at a start, unless it was found to be fine before.
///
/// # Errors
/// [`Error::Setup`] with every option that the account cannot do, or if the key lacks a permission
/// for the check; or a failure of the database. When Stripe cannot be asked, the log has a warning.
pub async fn at_start(app: &App) -> Result<()> {
    let Some(stripe) = &app.stripe else { return Ok(()) };
    let options = app.plans.checkout.of_page();
    let Some((_, price)) = first_price(&app.plans) else { return Ok(()) };
    if options == CheckoutOptions::default() {
        return Ok(());
    }
    let key = stripe.config().secret_key.expose_secret();
    let mut prices = vec![price.id.as_str()];
    if options.automatic_tax {
        prices.extend(sold_prices(&app.plans).map(|price| price.id.as_str()));
    }
    let checked = format!("{key}\n{}\n{options:?}", prices.join("\n"));
    let hash = keyed(app, Purpose::AccountCheck, &checked).await?;
    if app.store.read().await?.was_account_checked(&hash).await? {
        return Ok(());
    }
    let rounds = u32::try_from(prices.len().div_ceil(PRICES_AT_ONCE)).unwrap_or(u32::MAX);
    let limit = START_TIMEOUT.saturating_add(TIMEOUT_OF_ROUND.saturating_mul(rounds));
    let asked = within(&*app.clock, limit, problems(stripe, &app.plans, app.now())).await;
    match asked {
        Some(Ok(problems)) if problems.is_empty() => {
            let mut tx = app.store.write().await?;
            tx.account_checked(&hash, app.now()).await?;
            tx.commit(app.fail_points.at(Place::AccountChecked)).await
        }
        Some(Ok(problems)) => Err(Error::Setup(problems)),
        Some(Err(error @ StripeFailure::Refused { status: 401 | 403, .. })) => {
            Err(Error::setup(unchecked(&error)))
        }
        Some(Err(error)) => {
            tracing::warn!(%error, "the Stripe account was not checked for the [checkout] options");
            Ok(())
        }
        None => {
            tracing::warn!(
                "the Stripe account was not checked for the [checkout] options: Stripe does not \
                 answer"
            );
            Ok(())
        }
    }
}
