//! The walk's first steps: sign-up, trial license and checkout. The payment is in `purchase.rs`.

use hyper::StatusCode;
use licentia_verify::KeySet;
use serde_json::json;

use super::ADA;
use super::customer::{Customer, text};
use super::proof::{Step, Unproven, done, equal};
use super::stage::Stage;
use super::walk::{PLAN, end_of, mail, refused, same_license, until_day, verifies};

/// Signs up: the response and a mail have the trial license, and Stripe is not called.
pub async fn sign_up(stage: &Stage) -> Step<(Customer<'_>, String)> {
    let (ada, license) = Customer::sign_up(stage, ADA).await?;
    equal(
        "the license",
        ("trial", Some(true)),
        (text(&license, "plan")?, license["trial"].as_bool()),
    )?;
    // The mail is sent in the background: once it arrives, the worker has run as well.
    let trial = same_license(&mail(stage, 1, &ada).await?, &license)?;
    equal("the calls to Stripe", stage.calls_of_setup, stage.sandbox.api_calls())?;
    done((ada, trial), format!("signed up {ADA}: trial license, Stripe was not called"))
}

/// The trial license verifies offline with the published keys until its end.
pub async fn trial_verifies(stage: &Stage, trial: &str) -> Step<KeySet> {
    let response = stage.client.get(&format!("{}/.well-known/jwks.json", stage.url), None).await?;
    response.has_status(StatusCode::OK)?;
    let keys = KeySet::from_jwks(&response.text, stage.app.plans.product.as_str());
    let keys = keys.map_err(|error| Unproven::new("a key set", error.to_string()))?;
    let keys = keys.issued_by(&stage.url);
    let license = verifies(stage, &keys, trial, "trial")?;
    equal("whether it is a trial", true, license.is_trial())?;
    refused(&keys, trial, end_of(&license)?, "license_expired")?;
    let until = until_day(&license);
    let said = "the trial license verifies offline with the published keys";
    done(keys, format!("{said} (plan trial, until {until})"))
}

/// Opens a checkout twice: the second call returns the same one.
pub async fn open_checkout(stage: &Stage, ada: &Customer<'_>) -> Step<String> {
    let first = ada.checkout(json!({ "plan": PLAN })).await?;
    let second = ada.checkout(json!({ "plan": PLAN })).await?;
    equal("the second checkout", &first, &second)?;
    equal("Stripe's customers", 1, stage.sandbox.events("customer.created").len())?;
    let orders = ada.orders().await?;
    let pending =
        orders.iter().map(|order| text(order, "status")).collect::<Result<Vec<_>, _>>()?;
    equal("the orders", vec!["pending"], pending)?;
    done(first, format!("opened a checkout for `{PLAN}`; a second call returned the same one"))
}
