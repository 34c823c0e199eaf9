//! `licentia demo --walk`: runs and prints the steps in order, and has the checks that they share.
//! The steps themselves are in `begin.rs`, `purchase.rs`, `later.rs` and `selling.rs`.

use std::io::IsTerminal;

use licentia_sandbox::{DeliveryState, Mail};
use licentia_verify::{KeySet, License, Rejection};
use serde_json::Value;
use tokio::time::Instant;

use super::customer::{Customer, text};
use super::proof::{Proven, Step, Unproven, equal, hold, in_time, until};
use super::stage::Stage;
use super::{begin, later, purchase, selling};
use crate::cli::print;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// The plan that is bought.
pub const PLAN: &str = "professional";

/// The file name of a license that is attached to a mail.
const ATTACHMENT: &str = "license.jwt";

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Runs every step from sign-up to refund.
///
/// # Errors
/// When a step fails.
pub async fn walk(stage: &Stage) -> Result<()> {
    let begun = Instant::now();
    let mut report = Report::default();
    let step = begin::sign_up(stage).await;
    let (mut ada, trial) = report.step("sign up", step)?;
    let step = begin::trial_verifies(stage, &trial).await;
    let keys = report.step("verify the trial license offline", step)?;
    let checkout = report.step("open a checkout", begin::open_checkout(stage, &ada).await)?;
    report.step("pay", purchase::pay(stage, &ada, &checkout).await)?;
    report.step("be subscribed", purchase::subscribed(stage, &ada).await)?;
    let paid = report.step("get the license by mail", purchase::mailed(stage, &ada).await)?;
    let step = purchase::paid_verifies(stage, &keys, &trial, &paid).await;
    report.step("verify the paid license offline", step)?;
    let step = purchase::refreshed(stage, &keys, &trial, &paid).await;
    report.step("refresh the app's license", step)?;
    report.step("renew", later::renewed(stage, &mut ada, &keys, &paid).await)?;
    report.step("cancel", later::canceled(stage, &mut ada, &keys).await)?;
    let step = selling::bought_once(stage, &keys).await;
    let (mut carol, studio) = report.step("buy a perpetual license", step)?;
    let step = selling::updated(stage, &keys, (&mut carol, &studio)).await;
    report.step("buy updates after their end", step)?;
    let step = selling::bought_with_code(stage, &keys).await;
    let dan = report.step("buy seats with a code", step)?;
    report.step("preview and buy more seats", selling::more_seats(stage, &keys, &dan).await)?;
    // Last: the subscription continues after the refund.
    report.step("refund", later::refunded(stage, &keys).await)?;
    let seconds = begun.elapsed().as_secs_f64();
    print(format_args!("All {} steps passed in {seconds:.1} seconds.\n", report.steps))?;
    Ok(())
}

/// Counts the steps and prints each one.
#[derive(Default)]
struct Report {
    steps: usize,
}

impl Report {
    /// Prints the result of a step. Returns its output for the next steps.
    fn step<T>(&mut self, name: &str, step: Step<T>) -> Result<T> {
        self.steps += 1;
        let number = self.steps;
        match step {
            Ok(done) => {
                print(format_args!("{number:>2} {} {}\n", mark("✓", GREEN), done.summary))?;
                Ok(done.output)
            }
            Err(unproven) => {
                print(format_args!("{number:>2} {} {name}: {unproven}\n", mark("✗", RED)))?;
                Err(Error::setup(format!(
                    "step {number} ({name}) failed: {unproven}; LICENTIA_LOG=debug shows more"
                )))
            }
        }
    }
}

/// Returns the mark in color on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
fn mark(mark: &str, color: &str) -> String {
    let is_allowed = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let is_colored = is_allowed && std::io::stdout().is_terminal();
    if is_colored { format!("{color}{mark}{PLAIN}") } else { mark.to_owned() }
}

/// Waits until every webhook is answered with 200. Returns the number of deliveries so far.
pub async fn webhooks_answered(stage: &Stage) -> Proven<usize> {
    in_time("every webhook to be answered", stage.sandbox.settled()).await?;
    let deliveries = stage.sandbox.deliveries();
    for delivery in &deliveries {
        let is_ok = delivery.state == DeliveryState::Delivered && delivery.last == "HTTP 200";
        let found = format!("{:?}, {}", delivery.state, delivery.last);
        hold(is_ok, format!("the webhook {} to be answered with 200", delivery.event), found)?;
    }
    Ok(deliveries.len())
}

/// Waits until exactly `count` mails to a customer have arrived. Returns the last one.
pub async fn mail(stage: &Stage, count: usize, to: &Customer<'_>) -> Proven<Mail> {
    until(async || {
        let mut mails = stage.sandbox.mails();
        mails.retain(|mail| mail.to == [to.email]);
        equal(&format!("the number of mails to {}", to.email), count, mails.len())?;
        mails.pop().ok_or_else(|| Unproven::new("a mail", "none"))
    })
    .await
}

/// Returns the license that is attached to a mail.
pub fn attached(mail: &Mail) -> Option<String> {
    let file = mail.attachments.iter().find(|attachment| attachment.name == ATTACHMENT)?;
    Some(String::from_utf8_lossy(&file.bytes).trim().to_owned())
}

/// Checks that the attached license is the one from the API. Returns its license token.
pub fn same_license(mail: &Mail, license: &Value) -> Proven<String> {
    let attached = attached(mail).ok_or_else(|| {
        let found = format!("none in {:?}", mail.subject());
        Unproven::new(format!("a {ATTACHMENT} attached"), found)
    })?;
    equal("the attached license", text(license, "token")?, attached.as_str())?;
    Ok(attached)
}

/// Verifies a license offline with the published keys, as an app does.
pub fn verify_offline(
    keys: &KeySet,
    token: &str,
    at: Timestamp,
) -> std::result::Result<License, Rejection> {
    licentia_verify::verify(token, keys, at.to_system_time())
}

/// Checks that the license is valid offline now, for this plan.
pub fn verifies(stage: &Stage, keys: &KeySet, token: &str, plan: &str) -> Proven<License> {
    let license = verify_offline(keys, token, stage.now()).map_err(|rejection| {
        let found = format!("{} ({rejection})", rejection.code());
        Unproven::new(format!("a {plan} license that verifies offline"), found)
    })?;
    equal("the license's plan", plan, license.plan())?;
    Ok(license)
}

/// Checks that the license is refused offline at this time, for this reason.
pub fn refused(keys: &KeySet, token: &str, at: Timestamp, reason: &str) -> Proven<()> {
    let verified = verify_offline(keys, token, at);
    let found = verified.map_or_else(|rejection| rejection.code().as_str(), |_| "valid");
    equal(&format!("the license at {at}"), reason, found)
}

/// Returns an amount in cents of US dollars, for display: the demo sells in no other currency.
pub fn money(cents: i64) -> String {
    format!("{}.{:02} usd", cents / 100, cents % 100)
}

/// Returns the day on which a license ends, for display.
pub fn until_day(license: &License) -> String {
    let end = license.claims().license_expires.map(Timestamp::saturating);
    end.map_or_else(|| "no end".to_owned(), day)
}

/// Returns the day of a time, for display.
pub fn day(time: Timestamp) -> String {
    time.to_datetime().format("%Y-%m-%d").to_string()
}

/// Returns the end of a license, which must have one.
pub fn end_of(license: &License) -> Proven<Timestamp> {
    let end = license.claims().license_expires.map(Timestamp::saturating);
    end.ok_or_else(|| Unproven::new("a license with an end", "one without"))
}
