//! The options of Stripe's Checkout page (`[checkout]` of the plans file).

use serde::{Deserialize, Serialize};

use crate::domain::text_enum::text_enum;

text_enum! {
    /// When the Checkout page asks for a billing address.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum BillingAddress {
        /// When the payment or its tax needs one.
        Auto = "auto",
        /// Always.
        Required = "required",
    }
}

/// The `[checkout]` of the plans file. Everything is off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckoutOptions {
    /// Whether buyers can enter a promotion code.
    pub promotion_codes: bool,
    /// Whether Stripe Tax determines the tax.
    pub automatic_tax: bool,
    /// Whether companies can enter their tax id, which Stripe prints on the invoice.
    pub tax_ids: bool,
    /// Whether buyers must accept the terms of service that the Stripe account names.
    pub terms_of_service: bool,
    /// When the page asks for a billing address; `None` leaves it to Stripe.
    pub billing_address: Option<BillingAddress>,
    /// Whether an unknown buyer gets an account: a Stripe customer that pays for a plan and is not
    /// linked to a customer. It does not concern the page, so it is not stored with a session.
    #[serde(skip)]
    pub allow_unknown_buyers: bool,
}

impl CheckoutOptions {
    /// Returns the options that concern Stripe's page.
    #[must_use]
    pub fn of_page(self) -> Self {
        Self { allow_unknown_buyers: false, ..self }
    }
}
