//! The contents of checkout sessions, payment links and quotes. Stripe does not show them in the
//! object.

use serde_json::{Map, Value};

use super::buyer::CustomerUpdate;

/// The contents of a checkout session, a payment link or a quote.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// The lines.
    pub lines: Vec<OfferLine>,
    /// The currency that was chosen; none for that of the first price.
    pub currency: Option<String>,
    /// The metadata of the subscription that it creates.
    pub metadata: Map<String, Value>,
    /// The days of the trial.
    pub trial_days: i64,
    /// The settings that its subscription takes over.
    pub settings: SaleSettings,
    /// The buyer's country, once it is known.
    pub country: Option<String>,
    /// The fields of an existing customer that the page may change.
    pub updates: CustomerUpdate,
    /// The coupons and promotion codes to redeem.
    pub discounts: Vec<Redeemed>,
    /// The subscription that the last payment attempt created.
    pub subscription: Option<String>,
    /// The terms of a one-time payment; none for a subscription.
    pub payment: Option<PaymentTerms>,
}

impl Offer {
    /// Returns an offer of one unit of a price.
    pub fn of(price: &str) -> Self {
        Self { lines: vec![OfferLine::of(price)], ..Self::default() }
    }
}

/// The settings of a sale that its subscription takes over.
#[derive(Clone, Copy, Debug, Default)]
pub struct SaleSettings {
    /// The end of a trial without a payment method.
    pub missing_method: MissingMethod,
    /// Whether Stripe Tax computes taxes.
    pub automatic_tax: bool,
}

/// The outcome of a trial that ends without a payment method
/// (<https://docs.stripe.com/api/subscriptions/object#subscription_object-trial_settings-end_behavior-missing_payment_method>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingMethod {
    /// The first period is billed anyway.
    #[default]
    CreateInvoice,
    /// The subscription is canceled.
    Cancel,
    /// The subscription is paused.
    Pause,
}

impl MissingMethod {
    /// Stripe's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateInvoice => "create_invoice",
            Self::Cancel => "cancel",
            Self::Pause => "pause",
        }
    }

    /// Returns the behavior with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::CreateInvoice, Self::Cancel, Self::Pause].into_iter().find(|one| one.name() == name)
    }
}

/// A line of an offer.
#[derive(Clone, Debug)]
pub struct OfferLine {
    /// The price's id.
    pub price: String,
    /// The number of units.
    pub quantity: i64,
    /// The numbers that the buyer may choose on the page; none if it is fixed.
    pub adjustable: Option<Adjustable>,
}

/// The limits of a quantity that the buyer chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjustable {
    /// The least number of units. Zero removes the line.
    pub minimum: i64,
    /// The greatest number of units.
    pub maximum: i64,
}

impl OfferLine {
    /// Returns a line for one unit of a price.
    pub fn of(price: &str) -> Self {
        Self { price: price.to_owned(), quantity: 1, adjustable: None }
    }
}

/// The terms of a one-time payment.
#[derive(Clone, Debug, Default)]
pub struct PaymentTerms {
    /// The description of the payment, if it has one.
    pub description: Option<String>,
    /// The metadata of the payment.
    pub metadata: Map<String, Value>,
    /// The invoice to create after the payment; none without one.
    pub invoice: Option<InvoiceTerms>,
}

impl PaymentTerms {
    /// Whether a customer is created unless there is one. An invoice requires one
    /// (<https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-customer_creation>).
    pub fn requires_customer(&self, customer_creation: &Value) -> bool {
        customer_creation == "always" || self.invoice.is_some()
    }
}

/// The vendor's data on an invoice that is created after a payment.
#[derive(Clone, Debug, Default)]
pub struct InvoiceTerms {
    /// Its description, if it has one.
    pub description: Option<String>,
    /// Its footer, if it has one.
    pub footer: Option<String>,
    /// Its metadata.
    pub metadata: Map<String, Value>,
}

/// A coupon that is redeemed, possibly by a promotion code.
#[derive(Clone, Debug)]
pub struct Redeemed {
    /// The coupon.
    pub coupon: String,
    /// The promotion code, if the customer entered one.
    pub promotion_code: Option<String>,
}
