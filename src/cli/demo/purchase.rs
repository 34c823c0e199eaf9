//! The walk's middle: the payment, and the paid license by mail, over the API and by refresh.

use hyper::StatusCode;
use licentia_verify::KeySet;

use super::client::Body;
use super::customer::{Customer, refresh, text, verify_online};
use super::proof::{Step, Unproven, done, equal, until};
use super::stage::Stage;
use super::walk::{
    PLAN, end_of, mail, money, refused, same_license, until_day, verifies, webhooks_answered,
};

/// The number of Stripe's test card.
const CARD: &str = "4242 4242 4242 4242";

/// Pays on the hosted page, and waits until every webhook is delivered.
pub async fn pay(stage: &Stage, buyer: &Customer<'_>, checkout: &str) -> Step<()> {
    let before = stage.sandbox.deliveries().len();
    let response = stage.client.post(checkout, None, Body::Form(&[("card", CARD)])).await?;
    response.has_status(StatusCode::SEE_OTHER)?;
    equal("where the checkout leads", Some(buyer.return_url()), response.location)?;
    let count = webhooks_answered(stage).await? - before;
    let paid = stage.sandbox.events("invoice.paid").len();
    equal("whether a webhook reports a paid invoice", true, count > 0 && paid > 0)?;
    done((), format!("paid with {CARD}: {count} webhooks delivered, each answered with 200"))
}

/// The subscription is active, and the order is paid at the plan's price.
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
    let amount = money(price.amount.into());
    done((), format!("the subscription is active, the order of {amount} succeeded"))
}

/// The mail has the license that the API returns. Returns its license token.
pub async fn mailed(stage: &Stage, buyer: &Customer<'_>) -> Step<String> {
    let mail = mail(stage, 2, buyer).await?;
    let paid = same_license(&mail, &buyer.license().await?)?;
    let summary = "with license.jwt attached, the same as licenses/current";
    done(paid, format!("mail arrived ({:?}) {summary}", mail.subject()))
}

/// The paid license verifies offline. So does the superseded trial license, until its end.
pub async fn paid_verifies(stage: &Stage, keys: &KeySet, trial: &str, paid: &str) -> Step<()> {
    let license = verifies(stage, keys, paid, PLAN)?;
    equal("whether it is a trial", false, license.is_trial())?;
    let old = verifies(stage, keys, trial, "trial")?;
    let online = verify_online(stage, trial).await?;
    let found = (online["valid"].as_bool(), online["superseded"].as_bool());
    equal("the trial license online, valid and superseded,", (Some(true), Some(true)), found)?;
    refused(keys, trial, end_of(&old)?, "license_expired")?;
    let (until, trial_until) = (until_day(&license), until_day(&old));
    let summary = format!("the paid license verifies offline (plan {PLAN}, until {until})");
    let trial = format!("the trial license is superseded, and verifies until {trial_until}");
    done((), format!("{summary}; {trial}"))
}

/// An app with the trial license gets the paid license by a refresh, which signs it again.
pub async fn refreshed(stage: &Stage, keys: &KeySet, trial: &str, paid: &str) -> Step<()> {
    let response = refresh(stage, trial).await?.json(StatusCode::OK)?;
    let refreshed = verifies(stage, keys, text(&response, "token")?, PLAN)?;
    let paid = verifies(stage, keys, paid, PLAN)?;
    equal("the refreshed license", &paid.claims().jti, &refreshed.claims().jti)?;
    done((), "the app refreshed its old license without a password and got the new one")
}
