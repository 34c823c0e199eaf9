//! The walk's middle: paid, and the license that comes of it, by mail, over the API, and by itself
//! into an app.

use hyper::StatusCode;
use licentia_verify::KeySet;

use super::client::Body;
use super::customer::{Customer, refresh, text, verdict};
use super::proof::{Step, Unproven, done, equal, until};
use super::stage::Stage;
use super::walk::{
    PLAN, end_of, mail, refused, same_license, until_day, verifies, webhooks_answered,
};

/// The card that pays.
const CARD: &str = "4242 4242 4242 4242";

/// Pays on the hosted page, and has Stripe's webhooks answered.
pub async fn pay(stage: &Stage, buyer: &Customer<'_>, checkout: &str) -> Step<()> {
    let before = stage.sandbox.deliveries().len();
    let answer = stage.client.post(checkout, None, Body::Form(&[("card", CARD)])).await?;
    answer.must_be(StatusCode::SEE_OTHER)?;
    equal("where the checkout leads", Some(buyer.back()), answer.location)?;
    let count = webhooks_answered(stage).await? - before;
    let paid = stage.sandbox.events("invoice.paid").len();
    equal("whether webhooks tell of a paid invoice", true, count > 0 && paid > 0)?;
    done((), format!("paid with {CARD}: {count} webhooks delivered, each answered 200"))
}

/// The subscription is active, and the order is paid at the price of the plan.
pub async fn subscribed(stage: &Stage, buyer: &Customer<'_>) -> Step<()> {
    let price = stage.app.plans.plan(PLAN).and_then(|plan| plan.price(None));
    let price = price.ok_or_else(|| Unproven::new(format!("a price of {PLAN}"), "none"))?;
    until(async || {
        equal("the subscription", "active", text(&buyer.subscription().await?, "status")?)
    })
    .await?;
    let orders = buyer.orders().await?;
    equal("the number of orders", 1, orders.len())?;
    for order in &orders {
        let expected = ("succeeded", PLAN, Some(i64::from(price.amount)), price.currency.as_str());
        let (status, plan) = (text(order, "status")?, text(order, "plan")?);
        let found = (status, plan, order["amount"].as_i64(), text(order, "currency")?);
        equal("the order", expected, found)?;
    }
    let (whole, cents, currency) = (price.amount / 100, price.amount % 100, &price.currency);
    let said = "the subscription is active, the order of";
    done((), format!("{said} {whole}.{cents:02} {currency} succeeded"))
}

/// The mail has the license that the API answers. Gives its token.
pub async fn mailed(stage: &Stage, buyer: &Customer<'_>) -> Step<String> {
    let mail = mail(stage, 2, buyer).await?;
    let paid = same_license(&mail, &buyer.license().await?)?;
    let said = "with license.jwt attached, the same as licenses/current";
    done(paid, format!("mail arrived ({:?}) {said}", mail.subject()))
}

/// The paid license verifies offline. So does the trial license until its end, which is superseded.
pub async fn paid_verifies(stage: &Stage, keys: &KeySet, trial: &str, paid: &str) -> Step<()> {
    let license = verifies(stage, keys, paid, PLAN)?;
    equal("whether it is a trial", false, license.is_trial())?;
    let old = verifies(stage, keys, trial, "trial")?;
    let said = verdict(stage, trial).await?;
    let found = (said["valid"].as_bool(), said["superseded"].as_bool());
    equal("the trial license online, valid and superseded,", (Some(true), Some(true)), found)?;
    refused(keys, trial, end_of(&old)?, "license_expired")?;
    let (until, trial_until) = (until_day(&license), until_day(&old));
    let said = format!("the paid license verifies offline (plan {PLAN}, until {until})");
    done((), format!("{said}; the trial license is superseded, and verifies until {trial_until}"))
}

/// An app that holds the trial license gets the paid one.
pub async fn refreshed(stage: &Stage, trial: &str, paid: &str) -> Step<()> {
    let license = refresh(stage, trial).await?.json(StatusCode::OK)?;
    equal("the refreshed license", paid, text(&license, "token")?)?;
    done((), "the app refreshed its old license without a password and got the new one")
}
