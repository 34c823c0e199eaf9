//! Looks promotion codes up at Stripe. [`crate::domain::sale::code`] decides whether a customer can
//! use one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::sale::code::{self, CodeRefused, Sale};
use crate::error::{Error, Result};
use crate::flows::account::attempts;
use crate::stripe::StripeFailure;

/// A promotion code that a customer entered.
#[derive(Clone, Copy, Debug)]
pub(in crate::flows) struct EnteredCode<'a> {
    /// The text.
    pub text: &'a str,
    /// The customer.
    pub customer_id: &'a CustomerId,
    /// The address of the client.
    pub client: IpAddr,
}

/// Returns Stripe's id of the promotion code with this text that the customer can use. Wrong codes
/// are counted, so that codes cannot be searched.
///
/// # Errors
/// [`Error::InvalidPromotionCode`], [`Error::TooManyRequests`] after too many wrong codes,
/// [`Error::Stripe`], or a failure of the database.
pub(in crate::flows) async fn usable(
    app: &App,
    entered: EnteredCode<'_>,
    sale: &Sale<'_>,
) -> Result<String> {
    let counted = attempts::promotion_code(app, entered.customer_id, entered.client).await?;
    let found = look_up(app, entered.text, sale).await;
    if !matches!(found, Err(Error::InvalidPromotionCode(_))) {
        attempts::give_back(app, counted).await;
    }
    found
}

async fn look_up(app: &App, text: &str, sale: &Sale<'_>) -> Result<String> {
    let stripe = app.stripe()?;
    let codes = code::not_for_others(stripe.promotion_codes(text).await?, sale);
    let mut products = BTreeSet::new();
    if codes.iter().any(|code| code.products.is_some()) {
        for price in &sale.prices {
            products.extend(stripe.product_of(price).await?);
        }
    }
    Ok(code::choose(&codes, sale, &products, app.now())?.id.clone())
}

/// Returns the error for a call with a promotion code that Stripe refused. The code may have been
/// used up since it was looked up, or have a condition that only Stripe knows.
pub(in crate::flows) fn refused(failure: StripeFailure) -> Error {
    match failure {
        StripeFailure::Refused { status: 400, problem } if problem.contains("discounts") => {
            CodeRefused::NotAccepted.into()
        }
        failure => failure.into(),
    }
}
