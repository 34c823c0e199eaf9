//! Looks promotion codes up at Stripe. [`crate::domain::sale::promotion`] decides whether a
//! customer can use one.

use std::collections::BTreeSet;

use crate::app::App;
use crate::domain::sale::promotion::{CodeRefused, Sale, choose, not_for_others};
use crate::error::{Error, Result};
use crate::stripe::StripeFailure;

/// Returns Stripe's id of the promotion code with this text that the customer can use. The caller
/// counts wrong ones ([`crate::flows::account::attempts`]).
///
/// # Errors
/// [`Error::InvalidPromotionCode`], or [`Error::Stripe`].
pub(in crate::flows) async fn usable(app: &App, text: &str, sale: &Sale<'_>) -> Result<String> {
    let stripe = app.stripe()?;
    let codes = not_for_others(stripe.promotion_codes(text).await?, sale);
    let mut products = BTreeSet::new();
    if codes.iter().any(|code| code.products.is_some()) {
        for price in &sale.prices {
            products.extend(stripe.product_of(price).await?);
        }
    }
    Ok(choose(&codes, sale, &products, app.now())?.id.clone())
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
