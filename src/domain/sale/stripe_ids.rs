//! Stripe's ids. They are stored, sent back to Stripe and shown to operators, never to customers.
//! Our own ids are in [`crate::domain::ids`].

use std::fmt;
use std::str::FromStr;

/// The longest id of Stripe, in characters (<https://docs.stripe.com/upgrades>).
const MAX_CHARACTERS: usize = 255;

/// A text that is not an id of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of this kind begins with {prefix:?}, then letters, digits and underscores")]
pub struct InvalidStripeId {
    prefix: &'static str,
}

/// Declares ids by their names and prefixes, with `Display`, `FromStr` and their columns.
macro_rules! stripe_ids {
    ($($(#[$documentation:meta])* $name:ident = $prefix:literal,)+) => {$(
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidStripeId;

            fn from_str(text: &str) -> Result<Self, InvalidStripeId> {
                let invalid = InvalidStripeId { prefix: $prefix };
                let rest = text.strip_prefix($prefix).ok_or(invalid.clone())?;
                let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                let is_plain = !rest.is_empty() && rest.bytes().all(is_allowed);
                let is_valid = is_plain && text.len() <= MAX_CHARACTERS;
                if is_valid { Ok(Self(text.to_owned())) } else { Err(invalid) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        $crate::domain::column::text_columns!($name);
    )+};
}

stripe_ids! {
    /// A Stripe customer.
    StripeCustomerId = "cus_",
    /// A subscription.
    StripeSubscriptionId = "sub_",
    /// A Checkout session.
    CheckoutSessionId = "cs_",
    /// An invoice.
    InvoiceId = "in_",
    /// A payment.
    PaymentIntentId = "pi_",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_prefix_and_plain_characters() {
        assert_eq!("cus_Abc123".parse::<StripeCustomerId>().unwrap().as_str(), "cus_Abc123");
        assert!("cs_test_a1B2".parse::<CheckoutSessionId>().is_ok());
        let long = format!("cus_{}", "a".repeat(252));
        for wrong in ["cus_", "sub_1", "cus_a/../b", "cus_a b", "", long.as_str()] {
            assert!(wrong.parse::<StripeCustomerId>().is_err(), "{wrong:?} was accepted");
        }
    }
}
