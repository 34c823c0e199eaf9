//! Looks promotion codes up at Stripe. [`crate::domain::sale::promotion`] decides whether a
//! customer can use one.

use std::collections::BTreeSet;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::sale::discount::{Discount, longest, refused_beside};
use crate::domain::sale::promotion::{
    CodeRefused, CodeUse, EnteredCode, PromotionCode, choose, not_for_others,
};
use crate::error::{Error, Result};
use crate::flows::account::attempts;
use crate::stripe::StripeFailure;

/// Returns the promotion code that the customer can use. Wrong ones are counted, so that codes
/// cannot be searched.
///
/// # Errors
/// [`Error::InvalidPromotionCode`], [`Error::TooManyRequests`], [`Error::Stripe`], or a failure of
/// the database.
pub(in crate::flows) async fn usable(
    app: &App,
    customer_id: &CustomerId,
    code: &EnteredCode,
    code_use: &CodeUse<'_>,
) -> Result<PromotionCode> {
    let counted = attempts::promotion_code(app, customer_id, code.client).await?;
    let found = find(app, &code.text, code_use).await;
    if !matches!(&found, Err(Error::InvalidPromotionCode(reason)) if reason.may_be_guess()) {
        attempts::give_back(app, counted).await;
    }
    found
}

async fn find(app: &App, text: &str, code_use: &CodeUse<'_>) -> Result<PromotionCode> {
    let stripe = app.stripe()?;
    let codes = not_for_others(stripe.promotion_codes(text).await?, code_use);
    let mut products = BTreeSet::new();
    if codes.iter().any(|code| code.products.is_some()) {
        for price in &code_use.prices {
            products.extend(stripe.product_of(price).await?);
        }
    }
    Ok(choose(&codes, code_use, &products, app.now())?.clone())
}

/// Refuses a code while the subscription has one of these discounts. No code is looked up before,
/// so the refusal reveals none.
///
/// # Errors
/// [`Error::InvalidPromotionCode`].
pub(in crate::flows) async fn refuse_beside(app: &App, held: &[Discount]) -> Result<()> {
    let Some(discount) = longest(held, app.now()) else { return Ok(()) };
    let coupon = match &discount.coupon {
        // It only makes the message better.
        Some(id) => app.stripe()?.coupon(id).await.ok().flatten(),
        None => None,
    };
    Err(refused_beside(discount, coupon).into())
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
