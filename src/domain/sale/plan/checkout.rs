//! What the vendor asks of Stripe's Checkout page.

use crate::domain::text_enum::text_enum;

text_enum! {
    /// When the Checkout page asks for a billing address.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum BillingAddress {
        /// When the payment or its tax needs one.
        Auto = "auto",
        /// Always.
        Required = "required",
    }
}

/// The `[checkout]` of the plans file. Everything is off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// linked to a customer.
    pub allow_unknown_buyers: bool,
}
