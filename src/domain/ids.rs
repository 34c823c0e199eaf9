//! The ids that this service gives out: a prefix that tells the kind, and 128 random bits.
//!
//! They are random, not counted: they tell nothing about how many there are, and writes spread
//! over a distributed database.

use std::fmt;
use std::str::FromStr;

/// A text that is no id of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of this kind is {prefix:?} and {HEX_DIGITS} hexadecimal digits")]
pub struct InvalidId {
    prefix: &'static str,
}

/// 128 bits: nobody guesses one, and no two are ever the same.
const HEX_DIGITS: usize = 32;

/// Declares ids by their names and prefixes, with `Display`, `FromStr` and their columns.
macro_rules! ids {
    ($($(#[$documentation:meta])* $name:ident = $prefix:literal,)+) => {$(
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The id made of these random bits.
            #[must_use]
            pub fn from_random(bits: u128) -> Self {
                Self(format!(concat!($prefix, "{:032x}"), bits))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse(text, $prefix).map(Self)
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

fn parse(text: &str, prefix: &'static str) -> Result<String, InvalidId> {
    let digits = text.strip_prefix(prefix).ok_or(InvalidId { prefix })?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() == HEX_DIGITS && digits.bytes().all(is_digit) {
        Ok(text.to_owned())
    } else {
        Err(InvalidId { prefix })
    }
}

ids! {
    /// A customer: the id that every table, every API and every license uses, and that never
    /// changes. Stripe's ids are links beside it.
    CustomerId = "cust_",
    /// A login identity. It stays inside; the world sees the [`CustomerId`].
    UserId = "user_",
    /// A license: the claim `jti`.
    LicenseId = "lic_",
    /// A session, for listing and ending it; the token that opens it is another secret.
    SessionId = "sess_",
    /// A mail: also its Message-ID, by which a repeat is recognised.
    MailId = "mail_",
    /// An order.
    OrderId = "ord_",
    /// A call to Stripe that must not happen twice: its idempotency key.
    AttemptId = "att_",
    /// Work for the inbox that came from here, not from Stripe.
    TaskId = "task_",
    /// An admin key, for listing and revoking it; the key itself is another secret.
    AdminKeyId = "akey_",
    /// An entry of the audit log.
    AuditId = "audit_",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_prefix_and_32_hexadecimal_digits() {
        let id = CustomerId::from_random(0xabc);
        assert_eq!(id.as_str(), "cust_00000000000000000000000000000abc");
        assert_eq!(id.as_str().parse(), Ok(id));
    }

    #[test]
    fn another_kind_length_or_spelling_is_refused() {
        let hex = "0123456789abcdef0123456789abcdef";
        for wrong in [
            format!("lic_{hex}"),
            format!("cust_{}", hex.to_uppercase()),
            format!("cust_{hex}0"),
            format!("cust_{hex}\n"),
            "cust_".to_owned(),
            String::new(),
        ] {
            assert!(wrong.parse::<CustomerId>().is_err(), "{wrong:?} was accepted");
        }
    }
}
