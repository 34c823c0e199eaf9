//! The walk's steps about other ways of selling: a perpetual license and its updates, a promotion
//! code, and more seats after a preview. The steps about one subscription are in `later.rs`.

use chrono::TimeDelta;
use licentia_verify::{KeySet, License, verify_build};
use serde_json::{Value, json};

use super::customer::{Customer, text};
use super::later::move_clock;
use super::proof::{Proven, Step, Unproven, done, equal, hold, until};
use super::purchase::pay;
use super::stage::{CODE, Stage};
use super::walk::{day, mail, money, same_license, verifies};
use crate::domain::time::Timestamp;

/// The customer with a perpetual license.
const CAROL: &str = "carol@example.com";

/// The customer with seats.
const DAN: &str = "dan@example.com";

/// The plan that is sold once.
const STUDIO: &str = "studio";

/// The plan that is sold by the seat.
const TEAM: &str = "team";

/// The time after the end of the updates at which a build appears.
const LATER: TimeDelta = TimeDelta::days(30);

/// A perpetual license: it has no end, and covers the builds of a year. Returns the license token.
pub async fn bought_once<'a>(stage: &'a Stage, keys: &KeySet) -> Step<(Customer<'a>, String)> {
    let (carol, _) = Customer::sign_up(stage, CAROL).await?;
    mail(stage, 1, &carol).await?;
    let checkout = carol.checkout(json!({ "plan": STUDIO })).await?;
    pay(stage, &carol, &checkout).await?;
    let token = same_license(&mail(stage, 2, &carol).await?, &carol.license().await?)?;
    let license = verifies(stage, keys, &token, STUDIO)?;
    equal("the license's end", None, license.claims().license_expires)?;
    let covered = day(updates_until(&license)?);
    let summary = format!(
        "{CAROL} bought `{STUDIO}` once: the license has no end, and covers the builds until \
         {covered}"
    );
    done((carol, token), summary)
}

/// After the end of the updates, the license stays valid for older builds. Updates that are bought
/// then cover the newest build.
pub async fn updated(
    stage: &Stage,
    keys: &KeySet,
    (carol, token): (&mut Customer<'_>, &str),
) -> Step<()> {
    let until = updates_until(&verifies(stage, keys, token, STUDIO)?)?;
    move_clock(stage, until + LATER).await?;
    carol.log_in().await?;
    // The license token that she has is a year old: too old to be refreshed without a password.
    let license = carol.license().await?;
    let token = text(&license, "token")?;
    let new_build = stage.now();
    equal("a build of the last day", "valid", verdict(stage, keys, token, until))?;
    equal("a newer build", "update_not_covered", verdict(stage, keys, token, new_build))?;

    let checkout = carol.checkout(json!({ "plan": STUDIO, "interval": "updates" })).await?;
    pay(stage, carol, &checkout).await?;
    let token = same_license(&mail(stage, 3, carol).await?, &carol.license().await?)?;
    equal("the newer build", "valid", verdict(stage, keys, &token, new_build))?;
    let extended = day(updates_until(&verifies(stage, keys, &token, STUDIO)?)?);
    let (until, new_build) = (day(until), day(new_build));
    done(
        (),
        format!(
            "after {until} the license works for older builds, and a build of {new_build} is \
             `update_not_covered`; updates bought: all builds until {extended}"
        ),
    )
}

/// A promotion code lowers the price of three seats.
pub async fn bought_with_code<'a>(stage: &'a Stage, keys: &KeySet) -> Step<Customer<'a>> {
    let (dan, _) = Customer::sign_up(stage, DAN).await?;
    mail(stage, 1, &dan).await?;
    let purchase = json!({ "plan": TEAM, "quantity": 3, "promotion_code": CODE });
    let checkout = dan.checkout(purchase).await?;
    pay(stage, &dan, &checkout).await?;
    let token = same_license(&mail(stage, 2, &dan).await?, &dan.license().await?)?;
    equal("the seats", Some(3), verifies(stage, keys, &token, TEAM)?.limit("seats"))?;
    let order = newest_order(&dan).await?;
    let (amount, discount) = (cents(&order, "amount")?, cents(&order, "discount")?);
    hold(discount > 0, "an order with a discount", order.to_string())?;
    let (paid, full) = (money(amount), money(amount + discount));
    done(
        dan,
        format!("{DAN} bought 3 seats of `{TEAM}` with the code {CODE}: {paid} instead of {full}"),
    )
}

/// Two more seats cost what the preview says.
pub async fn more_seats(stage: &Stage, keys: &KeySet, dan: &Customer<'_>) -> Step<()> {
    let preview = dan.preview(json!({ "quantity": 5 })).await?;
    let due = cents(&preview, "due_now")?;
    let id = text(&preview, "preview_id")?;
    dan.change(json!({ "quantity": 5, "preview_id": id })).await?;
    let token = same_license(&mail(stage, 3, dan).await?, &dan.license().await?)?;
    equal("the seats", Some(5), verifies(stage, keys, &token, TEAM)?.limit("seats"))?;
    until(async || {
        let orders = dan.orders().await?;
        let amounts = orders.iter().map(|order| cents(order, "amount"));
        let amounts = amounts.collect::<Proven<Vec<_>>>()?;
        hold(amounts.contains(&due), format!("an order of {due}"), format!("{amounts:?}"))
    })
    .await?;
    let due = money(due);
    done((), format!("5 seats instead of 3: {due} as previewed, and a license for 5 seats"))
}

fn verdict(stage: &Stage, keys: &KeySet, token: &str, build: Timestamp) -> &'static str {
    let (now, build) = (stage.now().to_system_time(), build.to_system_time());
    verify_build(token, keys, now, build)
        .map_or_else(|rejection| rejection.code().as_str(), |_| "valid")
}

fn updates_until(license: &License) -> Proven<Timestamp> {
    let until = license.claims().updates_until.map(Timestamp::saturating);
    until.ok_or_else(|| Unproven::new("a license with an end of its updates", "one without"))
}

async fn newest_order(customer: &Customer<'_>) -> Proven<Value> {
    let order = customer.orders().await?.into_iter().next();
    order.ok_or_else(|| Unproven::new("an order", "none"))
}

fn cents(value: &Value, name: &str) -> Proven<i64> {
    let amount = value[name].as_i64();
    amount.ok_or_else(|| Unproven::new(format!("an amount `{name}`"), value.to_string()))
}
