//! The details that a buyer enters on the page of a checkout session, apart from the payment.
//! Stripe shows most of them only when the session is complete.

/// The details that a buyer enters on the page of a checkout session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuyerDetails {
    /// The country of the billing address: two upper-case letters.
    pub country: Option<String>,
    /// The buyer's own name.
    pub individual_name: Option<String>,
    /// The company's name.
    pub business_name: Option<String>,
    /// The tax id, such as `DE123456789`. Its first letters decide its type.
    pub tax_id: Option<String>,
}

impl BuyerDetails {
    /// Returns the problem of a detail that has no valid form; none if all have one.
    pub fn problem(&self) -> Option<String> {
        let is_country =
            |text: &String| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if self.country.as_ref().is_some_and(|country| !is_country(country)) {
            return Some("the country must be two upper-case letters".to_owned());
        }
        let is_tax_id = |text: &String| {
            (8..=20).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let wrong = self.tax_id.as_ref().filter(|tax_id| !is_tax_id(tax_id))?;
        Some(format!("'{wrong}' is no tax id"))
    }

    /// Returns these details, with those of `newer` in place of their own.
    pub fn merged(self, newer: Self) -> Self {
        Self {
            country: newer.country.or(self.country),
            individual_name: newer.individual_name.or(self.individual_name),
            business_name: newer.business_name.or(self.business_name),
            tax_id: newer.tax_id.or(self.tax_id),
        }
    }
}

/// The fields of an existing customer that a checkout session may change
/// (<https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-customer_update>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CustomerUpdate {
    /// The billing address.
    pub address: bool,
    /// The names.
    pub name: bool,
}

impl CustomerUpdate {
    /// Every field: for a customer that the session creates.
    pub const ALL: Self = Self { address: true, name: true };
}
