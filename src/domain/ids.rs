//! The ids of our own objects: a prefix for the kind, and 128 random bits. Stripe's ids are in
//! [`crate::domain::sale::stripe_ids`].
//!
//! Random ids do not reveal how many objects exist, and spread writes over a distributed database.

use std::fmt;
use std::str::FromStr;

/// A text that is not an id of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of this kind is {prefix:?} and {HEX_DIGITS} hexadecimal digits")]
pub struct InvalidId {
    prefix: &'static str,
}

/// The digits of 128 bits: ids cannot be guessed and never collide.
const HEX_DIGITS: usize = 32;

/// Declares ids by their names and prefixes, with `Display`, `FromStr` and their columns.
macro_rules! ids {
    ($($(#[$documentation:meta])* $name:ident = $prefix:literal,)+) => {$(
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns the id with these random bits.
            #[must_use]
            pub fn from_random(bits: u128) -> Self {
                Self(format!(concat!($prefix, "{:032x}"), bits))
            }

            /// Returns the id as text.
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
    /// A customer. Tables, API and licenses use this id, and it never changes.
    CustomerId = "cust_",
    /// A login identity. It is internal; clients see the [`CustomerId`].
    UserId = "user_",
    /// A license: the claim `jti`.
    LicenseId = "lic_",
    /// A login session, for listing and ending it. It is not the session token.
    SessionId = "sess_",
    /// A mail. It is also the Message-ID, which identifies a mail that is sent twice.
    MailId = "mail_",
    /// An order.
    OrderId = "ord_",
    /// A call to Stripe that must not take effect twice. It is the idempotency key.
    AttemptId = "att_",
    /// A task in the inbox.
    TaskId = "task_",
    /// An admin key, for listing and revoking it. It is not the key itself.
    AdminKeyId = "akey_",
    /// An entry of the audit log.
    AuditId = "audit_",
    /// An outgoing webhook.
    WebhookId = "whk_",
    /// A message of outgoing webhooks: the same in every attempt.
    MessageId = "msg_",
    /// The delivery of a message to one webhook.
    DeliveryId = "dlv_",
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
    fn an_id_of_another_kind_length_or_spelling_is_refused() {
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
