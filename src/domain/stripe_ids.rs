//! Stripe's ids: links beside our own. They are written down, sent back to Stripe and shown to
//! administrators, never to customers.

use std::fmt;
use std::str::FromStr;

/// The longest id that Stripe gives out, in characters (<https://docs.stripe.com/upgrades>).
const MAX_CHARACTERS: usize = 255;

/// A text that is no id of the expected kind.
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
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidStripeId;

            fn from_str(text: &str) -> Result<Self, InvalidStripeId> {
                let wrong = InvalidStripeId { prefix: $prefix };
                let rest = text.strip_prefix($prefix).ok_or(wrong.clone())?;
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                let plain = !rest.is_empty() && rest.bytes().all(fits);
                if plain && text.len() <= MAX_CHARACTERS { Ok(Self(text.to_owned())) } else { Err(wrong) }
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
    /// A customer at Stripe.
    StripeCustomerId = "cus_",
    /// A subscription.
    StripeSubscriptionId = "sub_",
    /// A checkout session.
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
