//! The walk's last steps: what a month brings, a cancellation, and a refund.

use std::time::Duration;

use hyper::StatusCode;
use licentia_verify::KeySet;
use serde_json::Value;

use super::client::Body;
use super::customer::{Customer, refresh, text, time, verdict};
use super::proof::{Proven, Step, Unproven, done, equal, hold, until};
use super::purchase::pay;
use super::stage::Stage;
use super::walk::{
    PLAN, attached, day, end_of, mail, refused, same_license, until_day, verifies,
    webhooks_answered,
};
use crate::domain::time::Timestamp;

/// Who gets the money back.
const BOB: &str = "bob@example.com";

/// What the page calls a month; no month is longer.
const MONTH: &str = "31";

/// How close to the end of the period the license is tried, on both sides, in seconds: the clock runs
/// on meanwhile.
const CLOSE: i64 = 60;

/// A month passes: the subscription renews, is paid again, and the license goes on.
pub async fn renewed(stage: &Stage, ada: &mut Customer<'_>, keys: &KeySet, paid: &str) -> Step<()> {
    let before = end_of(&verifies(stage, keys, paid, PLAN)?)?;
    let clock = format!("{}/clock", stage.sandbox.url());
    let moved = stage.client.post(&clock, None, Body::Form(&[("days", MONTH)])).await?;
    moved.must_be(StatusCode::SEE_OTHER)?;
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

/// Cancelled in the portal: the license works until the end of the period, and no longer.
pub async fn cancelled(stage: &Stage, ada: &mut Customer<'_>, keys: &KeySet) -> Step<()> {
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

    // To the last minute the app gets a license that works, though the token may have to be renewed.
    move_clock(stage, end.plus(-CLOSE));
    let last = refresh(stage, &token).await?.json(StatusCode::OK)?;
    let last = text(&last, "token")?;
    verifies(stage, keys, last, PLAN)?;
    move_clock(stage, end.plus(CLOSE));
    webhooks_answered(stage).await?;
    ada.log_in().await?;
    until(async || {
        equal("the subscription", "canceled", text(&ada.subscription().await?, "status")?)
    })
    .await?;
    refused(keys, last, stage.now(), "license_expired")?;
    ended(stage, last, "license_ended").await?;
    let end = day(end);
    done(
        (),
        format!(
            "cancelled in the portal: cancel_at {end}, worked until then and no longer \
             (license_expired offline, license_ended on refresh)"
        ),
    )
}

/// Somebody else buys and gets all of it back: the order says so, and the license is taken back.
pub async fn refunded(stage: &Stage, keys: &KeySet) -> Step<()> {
    let (bob, _) = Customer::sign_up(stage, BOB).await?;
    mail(stage, 5, &bob).await?;
    let checkout = bob.checkout(PLAN).await?;
    pay(stage, &bob, &checkout).await?;
    let bought = mail(stage, 6, &bob).await?;
    let token = same_license(&bought, &bob.license().await?)?;
    verifies(stage, keys, &token, PLAN)?;
    orders_are(&bob, &["succeeded"]).await?;

    let session = checkout.rsplit('/').next().unwrap_or_default();
    let payment = stage.sandbox.payment_intent(session);
    let payment =
        payment.ok_or_else(|| Unproven::new("a payment", format!("none of {session}")))?;
    let given_back = stage.sandbox.refund(&payment, None);
    given_back.map_err(|error| Unproven::new("a refund", error.to_string()))?;
    webhooks_answered(stage).await?;
    until(async || orders_are(&bob, &["refunded"]).await).await?;
    let said = verdict(stage, &token).await?;
    equal(
        "the verdict online",
        (Some(false), "revoked"),
        (said["valid"].as_bool(), text(&said, "reason")?),
    )?;
    ended(stage, &token, "license_revoked").await?;
    // Nobody can take back what is offline: it works until the app asks again, or the token runs out.
    verifies(stage, keys, &token, PLAN)?;
    let goodbye = mail(stage, 7, &bob).await?;
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

/// The orders stand so, the newest first.
async fn orders_are(customer: &Customer<'_>, expected: &[&str]) -> Proven<()> {
    let orders = customer.orders().await?;
    let found = orders.iter().map(|order| text(order, "status")).collect::<Proven<Vec<_>>>()?;
    equal("the orders", expected, found.as_slice())
}

/// Refreshing gives no license any more, for this reason.
async fn ended(stage: &Stage, token: &str, code: &str) -> Proven<()> {
    let problem: Value = refresh(stage, token).await?.json(StatusCode::FORBIDDEN)?;
    equal("why there is no license", code, text(&problem, "code")?)
}

/// Presses the button of the portal's page.
async fn cancel(stage: &Stage, portal: &str) -> Proven<()> {
    const FIELD: &str = "name=\"subscription\" value=\"";
    let page = stage.client.get(portal, None).await?;
    page.must_be(StatusCode::OK)?;
    let named = page.text.split(FIELD).nth(1).and_then(|rest| rest.split('"').next());
    let named =
        named.ok_or_else(|| Unproven::new("a subscription in the portal", page.text.clone()))?;
    let form = [("subscription", named)];
    let answer = stage.client.post(&format!("{portal}/cancel"), None, Body::Form(&form)).await?;
    answer.must_be(StatusCode::SEE_OTHER)
}

/// Moves everybody's clock ahead to this time.
fn move_clock(stage: &Stage, to: Timestamp) {
    let seconds = to.epoch_seconds() - stage.now().epoch_seconds();
    stage.sandbox.advance(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
}
