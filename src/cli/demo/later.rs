//! The walk's steps after the first payment of a subscription: a renewal, a cancellation and a
//! refund. The first payment is in `purchase.rs`.

use chrono::TimeDelta;
use hyper::StatusCode;
use licentia_verify::KeySet;
use serde_json::{Value, json};

use super::client::Body;
use super::customer::{Customer, refresh, text, time, verify_online};
use super::proof::{Proven, Step, Unproven, done, equal, hold, until};
use super::purchase::pay;
use super::stage::Stage;
use super::walk::{
    PLAN, attached, day, end_of, mail, refused, same_license, until_day, verifies,
    webhooks_answered,
};
use crate::domain::time::Timestamp;
use crate::flows::operator::drift;

/// The customer who is refunded.
const BOB: &str = "bob@example.com";

/// A month as days in the form of the clock page; no month is longer.
const MONTH: &str = "31";

/// The license is tried this many seconds before and after the end of the period: the clock runs
/// during the checks.
const MARGIN: TimeDelta = TimeDelta::minutes(1);

/// A month passes: the subscription and the license are renewed.
pub async fn renewed(stage: &Stage, ada: &mut Customer<'_>, keys: &KeySet, paid: &str) -> Step<()> {
    let before = end_of(&verifies(stage, keys, paid, PLAN)?)?;
    let clock = format!("{}/clock", stage.sandbox.url());
    idle(stage).await?;
    let moved = stage.client.post(&clock, None, Body::Form(&[("days", MONTH)])).await?;
    moved.has_status(StatusCode::SEE_OTHER)?;
    hold(stage.now() >= before, format!("a time after {before}"), stage.now())?;
    ada.log_in().await?;
    webhooks_answered(stage).await?;
    until(async || orders_are(ada, &["succeeded", "succeeded"]).await).await?;
    let mail = mail(stage, 3, ada).await?;
    let token = same_license(&mail, &ada.license().await?)?;
    let license = verifies(stage, keys, &token, PLAN)?;
    let end = end_of(&license)?;
    hold(end > before, format!("a license until after {before}"), end)?;
    let (until, subject) = (until_day(&license), mail.subject());
    done(
        (),
        format!(
            "a month later: renewed, a second order, license until {until}, mail ({subject:?})"
        ),
    )
}

/// After a cancellation in the portal, the license works until the end of the period.
pub async fn canceled(stage: &Stage, ada: &mut Customer<'_>, keys: &KeySet) -> Step<()> {
    let portal = ada.portal().await?;
    cancel(stage, &portal).await?;
    webhooks_answered(stage).await?;
    let subscription = until(async || {
        let subscription = ada.subscription().await?;
        time(&subscription, "cancel_at").map(|_| subscription)
    })
    .await?;
    let end = time(&subscription, "cancel_at")?;
    equal("the end", time(&subscription, "current_period_end")?, end)?;
    equal("the subscription", "active", text(&subscription, "status")?)?;
    let mail = mail(stage, 4, ada).await?;
    let token = same_license(&mail, &ada.license().await?)?;
    equal("the license's end", end, end_of(&verifies(stage, keys, &token, PLAN)?)?)?;

    // Until the last minute the app can refresh its license token.
    move_clock(stage, end - MARGIN).await?;
    let last = refresh(stage, &token).await?.json(StatusCode::OK)?;
    let last = text(&last, "token")?;
    verifies(stage, keys, last, PLAN)?;
    move_clock(stage, end + MARGIN).await?;
    webhooks_answered(stage).await?;
    ada.log_in().await?;
    until(async || {
        equal("the subscription", "canceled", text(&ada.subscription().await?, "status")?)
    })
    .await?;
    refused(keys, last, stage.now(), "license_expired")?;
    ended(stage, last, "license_expired").await?;
    let end = day(end);
    done(
        (),
        format!(
            "canceled in the portal: cancel_at {end}, the license worked until then \
             (license_expired offline and on refresh)"
        ),
    )
}

/// Another customer buys and is refunded in full: the order is refunded and the license revoked.
pub async fn refunded(stage: &Stage, keys: &KeySet) -> Step<()> {
    let (bob, _) = Customer::sign_up(stage, BOB).await?;
    mail(stage, 1, &bob).await?;
    let checkout = bob.checkout(json!({ "plan": PLAN })).await?;
    pay(stage, &bob, &checkout).await?;
    let bought = mail(stage, 2, &bob).await?;
    let token = same_license(&bought, &bob.license().await?)?;
    verifies(stage, keys, &token, PLAN)?;
    orders_are(&bob, &["succeeded"]).await?;

    let session = checkout.rsplit('/').next().unwrap_or_default();
    let payment = stage.sandbox.payment_intent(session);
    let payment =
        payment.ok_or_else(|| Unproven::new("a payment", format!("none of {session}")))?;
    let refund = stage.sandbox.refund(&payment, None);
    refund.map_err(|error| Unproven::new("a refund", error.to_string()))?;
    webhooks_answered(stage).await?;
    until(async || orders_are(&bob, &["refunded"]).await).await?;
    let online = verify_online(stage, &token).await?;
    equal(
        "the license online",
        (Some(false), "revoked"),
        (online["valid"].as_bool(), text(&online, "reason")?),
    )?;
    ended(stage, &token, "revoked").await?;
    // Offline, a revoked license works until the app refreshes it or the license token expires.
    verifies(stage, keys, &token, PLAN)?;
    let goodbye = mail(stage, 3, &bob).await?;
    equal("the license in the last mail", None, attached(&goodbye))?;
    let subject = goodbye.subject();
    done(
        (),
        format!(
            "{BOB} bought and was refunded in full: the order is `refunded`, the license revoked \
             online, mail ({subject:?})"
        ),
    )
}

/// Fails unless the orders have these statuses, newest first.
async fn orders_are(customer: &Customer<'_>, expected: &[&str]) -> Proven<()> {
    let orders = customer.orders().await?;
    let found = orders.iter().map(|order| text(order, "status")).collect::<Proven<Vec<_>>>()?;
    equal("the orders", expected, found.as_slice())
}

/// Fails unless a refresh is refused with this code.
async fn ended(stage: &Stage, token: &str, code: &str) -> Proven<()> {
    let problem: Value = refresh(stage, token).await?.json(StatusCode::FORBIDDEN)?;
    equal("why there is no license", code, text(&problem, "code")?)
}

/// Cancels the subscription on the portal's page.
async fn cancel(stage: &Stage, portal: &str) -> Proven<()> {
    const FIELD: &str = "name=\"subscription\" value=\"";
    let page = stage.client.get(portal, None).await?;
    page.has_status(StatusCode::OK)?;
    let id = page.text.split(FIELD).nth(1).and_then(|rest| rest.split('"').next());
    let id = id.ok_or_else(|| Unproven::new("a subscription in the portal", page.text.clone()))?;
    let form = [("subscription", id)];
    let response = stage.client.post(&format!("{portal}/cancel"), None, Body::Form(&form)).await?;
    response.has_status(StatusCode::SEE_OTHER)
}

/// Moves the clock of the sandbox and of Licentia ahead to this time.
pub async fn move_clock(stage: &Stage, to: Timestamp) -> Proven<()> {
    idle(stage).await?;
    stage.sandbox.advance((to - stage.now()).to_std().unwrap_or_default());
    Ok(())
}

/// Waits until Licentia has no work left. A jump of the clock ends every lease: a sync in progress
/// would fail and be retried, with a warning in the log.
async fn idle(stage: &Stage) -> Proven<()> {
    webhooks_answered(stage).await?;
    until(async || {
        let found = drift::report(&stage.app).await;
        let found = found.map_err(|error| Unproven::new("an answer", error.to_string()))?;
        equal("the work left", (0, 0), (found.events.waiting, found.mails.waiting))
    })
    .await
}
