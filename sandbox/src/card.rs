//! The payment methods of the sandbox: Stripe's test cards, and a bank debit that takes days. How a
//! payment proceeds is in `billing::payment`.

use std::fmt;

use serde_json::{Value, json};

use crate::objects::{Kind, put};

/// A payment method, named by its behavior.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    /// 4242 4242 4242 4242: every payment succeeds.
    Paid,
    /// 5555 5555 5555 4444: another card whose payments all succeed.
    PaidMastercard,
    /// 3782 822463 10005: another card whose payments all succeed.
    PaidAmex,
    /// 4000 0000 0000 0002: every payment is declined.
    Declined,
    /// 4000 0025 0000 3155: the first payment needs 3-D Secure, later ones succeed.
    Authenticate,
    /// 4000 0000 0000 0341: can be stored, but every payment is declined.
    DeclinedLater,
    /// A bank debit that succeeds days later.
    DelayedPaid,
    /// A bank debit that fails days later.
    DelayedFailed,
}

impl Card {
    /// All payment methods, in the order of the pages.
    pub const ALL: [Self; 8] = [
        Self::Paid,
        Self::PaidMastercard,
        Self::PaidAmex,
        Self::Declined,
        Self::Authenticate,
        Self::DeclinedLater,
        Self::DelayedPaid,
        Self::DelayedFailed,
    ];

    /// The value in forms and on the pages: a card number without spaces, or a word.
    pub const fn number(self) -> &'static str {
        match self {
            Self::Paid => "4242424242424242",
            Self::PaidMastercard => "5555555555554444",
            Self::PaidAmex => "378282246310005",
            Self::Declined => "4000000000000002",
            Self::Authenticate => "4000002500003155",
            Self::DeclinedLater => "4000000000000341",
            Self::DelayedPaid => "bank-debit",
            Self::DelayedFailed => "bank-debit-fails",
        }
    }

    /// Its behavior, in a few words.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Paid => "pays",
            Self::PaidMastercard => "another card that pays",
            Self::PaidAmex => "a third card that pays",
            Self::Declined => "is declined",
            Self::Authenticate => "requires 3-D Secure",
            Self::DeclinedLater => "can be stored, then is declined",
            Self::DelayedPaid => "a bank debit that succeeds after three days",
            Self::DelayedFailed => "a bank debit that fails after three days",
        }
    }

    /// Returns the card with this number. Spaces do not count.
    pub fn from_number(number: &str) -> Option<Self> {
        let number: String = number.chars().filter(|character| *character != ' ').collect();
        Self::ALL.into_iter().find(|card| card.number() == number)
    }

    /// Whether its payments take days.
    pub const fn is_delayed(self) -> bool {
        matches!(self, Self::DelayedPaid | Self::DelayedFailed)
    }

    /// Returns the fields that differ from a blank payment method.
    pub fn payment_method(self) -> Value {
        if self.is_delayed() {
            return self.bank_account();
        }
        let mut card = Kind::PaymentMethod.blank()["card"].take();
        let own = json!({
            "brand": self.brand(),
            "display_brand": self.brand(),
            "fingerprint": self.fingerprint(),
            "last4": self.last4(),
            "networks": { "available": [self.brand()], "preferred": null },
        });
        put(&mut card, own);
        json!({ "type": self.method_type(), "card": card })
    }

    /// Returns the `payment_method_details` of a charge.
    pub fn charge_details(self) -> Value {
        if self.is_delayed() {
            return self.bank_account();
        }
        let unavailable = json!({ "status": "unavailable" });
        json!({
            "type": self.method_type(),
            "card": {
                "amount_authorized": null,
                "authorization_code": null,
                "brand": self.brand(),
                "checks": {
                    "address_line1_check": null,
                    "address_postal_code_check": null,
                    "cvc_check": "pass",
                },
                "country": "US",
                "exp_month": 12,
                "exp_year": 2034,
                "extended_authorization": { "status": "disabled" },
                "fingerprint": self.fingerprint(),
                "funding": "credit",
                "incremental_authorization": unavailable,
                "installments": null,
                "last4": self.last4(),
                "mandate": null,
                "multicapture": unavailable,
                "network": self.brand(),
                "network_token": { "used": false },
                "network_transaction_id": null,
                "overcapture": { "maximum_amount_capturable": 0, "status": "unavailable" },
                "regulated_status": null,
                "three_d_secure": null,
                "transaction_link_id": null,
                "wallet": null,
            },
        })
    }

    /// Returns the fields of a payment by bank debit.
    fn bank_account(self) -> Value {
        let bank = json!({
            "bank_name": "SANDBOX BANK",
            "fingerprint": self.fingerprint(),
            "last4": self.last4(),
        });
        json!({ "type": self.method_type(), "card": null, "us_bank_account": bank })
    }

    /// The last four digits of its number.
    pub fn last4(self) -> &'static str {
        if self.is_delayed() { "6789" } else { &self.number()[self.number().len() - 4..] }
    }

    /// Stripe's name of the card's network.
    const fn brand(self) -> &'static str {
        match self {
            Self::PaidMastercard => "mastercard",
            Self::PaidAmex => "amex",
            _ => "visa",
        }
    }

    /// Identifies the number: equal for every payment method with it
    /// (<https://docs.stripe.com/api/payment_methods/object#payment_method_object-card-fingerprint>).
    fn fingerprint(self) -> String {
        // Stripe's is 16 characters long and does not show the number.
        let number = self.number().bytes().map(u64::from);
        format!(
            "{:016x}",
            number.fold(0xcbf2_9ce4_8422_2325, |hash, digit| {
                (hash ^ digit).wrapping_mul(0x0000_0100_0000_01b3)
            })
        )
    }

    /// Stripe's `type` of the payment method.
    pub const fn method_type(self) -> &'static str {
        if self.is_delayed() { "us_bank_account" } else { "card" }
    }
}

impl fmt::Display for Card {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.number(), self.description())
    }
}
