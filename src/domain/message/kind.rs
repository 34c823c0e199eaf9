//! The kinds of mail, and the built-in templates of each.

use super::language::Language;
use crate::domain::account::mail_link::LinkKind::{
    self, FirstPassword, Portal, Reset, Undo, Verify,
};
use crate::domain::license::IssuedLicense;
use crate::domain::text_enum::text_enum;
use Case::{
    Forever, NoLicense, NoPaymentMethod, Offline, Once, Paid, Paused, StillInTrial,
    StillSubscribed, TrialEnded, Unpaid, Unverified, Usual,
};
use LicenseUse::{Attached, IfItWorks, Named, NotUsed};

/// The use of a license in a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LicenseUse {
    /// Attaches it. The mail is pointless without a license that works; if it ends before a mail
    /// server accepts the mail, the text says so instead.
    Attached,
    /// Attaches it if it works.
    IfItWorks,
    /// Names its plan and its end, and attaches nothing.
    Named,
    /// It is about no license.
    NotUsed,
}

text_enum! {
    /// A case of a mail: the facts that vary. A kind has only the cases that happen.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Case {
        /// The address is verified.
        Usual = "usual",
        /// The address is not verified: the mail contains no name.
        Unverified = "unverified",
        /// The license does not expire.
        Forever = "forever",
        /// The file works offline for a shorter time than the license.
        Offline = "offline",
        /// It reports a payment.
        Paid = "paid",
        /// It reports a single payment for a perpetual license.
        Once = "once",
        /// A subscription continues, and is charged, beside the perpetual license.
        StillSubscribed = "still_subscribed",
        /// The trial of a subscription continues beside the perpetual license.
        StillInTrial = "still_in_trial",
        /// It has an unpaid invoice.
        Unpaid = "unpaid",
        /// There is no license that works.
        NoLicense = "no_license",
        /// There is no payment method.
        NoPaymentMethod = "no_payment_method",
        /// The subscription is paused, and a perpetual license remains.
        Paused = "paused",
        /// The subscription is paused, because its trial ended without a payment method.
        TrialEnded = "trial_ended",
    }
}

/// Declares the kinds of mail: what each does with a license, the links that are made for it, its
/// cases (the usual one first), and its templates, which have the kind's name.
macro_rules! kinds {
    ($(
        $(#[$about:meta])*
        $kind:ident = $name:literal: $license:expr, [$($link:expr),*], [$($case:expr),+];
    )+) => {
        text_enum! {
            /// The event that a mail reports.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum Kind { $($(#[$about])* $kind = $name,)+ }
        }

        impl Kind {
            /// Returns what the mail does with a license.
            #[must_use]
            pub fn license(self) -> LicenseUse {
                match self { $(Self::$kind => $license,)+ }
            }

            /// Returns the links that are made for the mail. A link that verifies is left out if
            /// the address is verified, and one to the portal if there is no Stripe customer.
            #[must_use]
            pub fn links(self) -> &'static [LinkKind] {
                match self { $(Self::$kind => &[$($link),*],)+ }
            }

            /// Returns the cases of the mail, the usual one first.
            #[must_use]
            pub fn cases(self) -> &'static [Case] {
                match self { $(Self::$kind => &[$($case),+],)+ }
            }
        }

        /// Returns the built-in templates of a language: names and texts.
        pub(super) fn built_in(language: Language) -> &'static [(&'static str, &'static str)] {
            match language {
                Language::English => {
                    built_in!("en": $($name)+ "license" "payment" "portal" "footer")
                }
                Language::German => {
                    built_in!("de": $($name)+ "license" "payment" "portal" "footer")
                }
            }
        }
    };
}

/// Reads templates from the folder of a language.
macro_rules! built_in {
    ($language:literal: $($name:literal)+) => {
        &[$(
            built_in!(@file $language, $name, ".txt"),
            built_in!(@file $language, $name, ".html"),
        )+]
    };
    (@file $language:literal, $name:literal, $ending:literal) => {
        (
            concat!($language, "/", $name, $ending),
            include_str!(concat!("../../../templates/", $language, "/", $name, $ending)),
        )
    };
}

/// The name and text of the frame of every HTML mail.
pub(super) const LAYOUT: (&str, &str) =
    ("layout.html", include_str!("../../../templates/layout.html"));

kinds! {
    /// A customer signed up: the trial license.
    Trial = "trial": Attached, [Verify], [Unverified, Usual, Offline];
    /// A grant, or a first license, which replaces none: the customer bought before having an
    /// account here. Also the earlier perpetual license after a grant or a trial.
    Granted = "granted": Attached, [Portal], [Usual, Unverified, Forever, Offline, Paid];
    /// The first purchase of an account without a password, which a payment link created: the
    /// license, and the link that sets a password.
    Bought = "bought": Attached, [Portal, FirstPassword],
        [Paid, Once, StillSubscribed, StillInTrial, Usual, Unverified, Offline];
    /// A customer bought a plan or changed to a higher one: the license for it.
    Upgrade = "upgrade": Attached, [Portal],
        [Paid, Once, StillSubscribed, StillInTrial, Usual, Unverified, Offline];
    /// The license is now for a lower plan than before: the subscription changed to it, or the
    /// payment for the higher one was returned.
    LowerPlan = "lower_plan": Attached, [Portal], [Paid, Usual, Unverified, Offline];
    /// The number of units or the add-ons changed: the license for them.
    QuantityChanged = "quantity_changed": Attached, [Portal], [Paid, Usual, Unverified, Offline];
    /// Updates of a perpetual license were paid for: the license for them.
    UpdatesExtended = "updates_extended": Attached, [], [Paid, Unverified, StillSubscribed];
    /// The perpetual license that remains of a subscription: it was paid long enough, and has ended
    /// or is not paid any more.
    Fallback = "fallback": Attached, [Portal], [Usual, Unverified, StillSubscribed];
    /// An earlier perpetual license is valid again: the subscription has ended, or what is paid for
    /// it grants less.
    PerpetualAgain = "perpetual_again": Attached, [Portal], [Usual, Unverified, StillSubscribed];
    /// The subscription was renewed: the license for the next period.
    Renewal = "renewal": Attached, [Portal], [Paid, Usual, Unverified, Offline];
    /// The key of the previous license was revoked: the license that replaces it.
    Reissue = "reissue": Attached, [], [Usual, Unverified, Forever, Offline];
    /// Support sent the license again.
    Resent = "resent": Attached, [], [Usual, Unverified, Forever, Offline];
    /// Support extended the license.
    Extended = "extended": Attached, [], [Usual, Unverified, Offline];
    /// A payment is due or being processed; the license works until then.
    PaymentPending = "payment_pending": Attached, [Portal], [Unpaid, Usual, Unverified, Offline];
    /// A payment failed; the license works until the end of the grace period. Also a subscription
    /// that was paused, for example because its trial ended without a payment method.
    PaymentProblem = "payment_problem": IfItWorks, [Portal],
        [Unpaid, Usual, Unverified, Offline, NoLicense, Paused, TrialEnded];
    /// The subscription is canceled or has ended: the license until its last day, if there is one.
    Cancellation = "cancellation": IfItWorks, [Portal], [Usual, Unverified, Offline, Paid];
    /// An order was paid, and no other mail reports it.
    Receipt = "receipt": Named, [Portal], [Paid, Unverified];
    /// The trial at Stripe ends soon, and the first payment begins, if there is a payment method.
    PaymentBegins = "payment_begins": Named, [Portal], [Usual, Unverified, NoPaymentMethod];
    /// A trial with a card that has had one was ended, and the first period charged.
    TrialCardUsed = "trial_card_used": NotUsed, [Portal], [Usual, Unverified];
    /// The trial ends soon.
    TrialEnding = "trial_ending": Named, [], [Usual, Unverified];
    /// The trial has ended.
    TrialEnded = "trial_ended": Named, [], [Usual, Unverified];
    /// A license has ended that was not a trial.
    LicenseEnded = "license_ended": Named, [], [Usual, Unverified];
    /// A customer signed up with an address that has had a trial: there is no license.
    SignedUp = "signed_up": NotUsed, [Verify], [Unverified, Usual];
    /// The link that confirms a sign-up.
    ConfirmSignup = "confirm_signup": NotUsed, [Verify], [Unverified];
    /// Somebody signed up with an address that has an account, with the link that sets a password.
    AccountExists = "account_exists": NotUsed, [Reset], [Usual, Unverified];
    /// The current license, which somebody asked for.
    Recovered = "recovered": IfItWorks, [], [Usual, Unverified, Forever, Offline, NoLicense];
    /// The link that verifies a new address.
    VerifyAddress = "verify_address": NotUsed, [Verify], [Unverified];
    /// A change of the address was requested; to the present address.
    AddressChangeRequested = "address_change_requested": NotUsed, [], [Usual, Unverified];
    /// The address was changed; to the former address, with the link that undoes it.
    AddressChanged = "address_changed": NotUsed, [Undo], [Unverified];
    /// A change of the address was undone, with the link that sets a password.
    AddressUndone = "address_undone": NotUsed, [Reset], [Usual, Unverified];
    /// The link that verifies the address.
    Verify = "verify": NotUsed, [Verify], [Unverified];
    /// Somebody bought with the address of an account that has not verified it, with the link that
    /// proves whose it is and sets the password.
    PurchaseWaiting = "purchase_waiting": NotUsed, [Reset], [Unverified];
    /// The link that sets a password.
    Reset = "reset": NotUsed, [Reset], [Usual, Unverified];
    /// The password was changed.
    PasswordChanged = "password_changed": NotUsed, [], [Usual, Unverified];
    /// Support changed the address: a notice to the old and to the new one.
    AddressSet = "address_set": NotUsed, [], [Usual, Unverified];
    /// The account was deleted.
    AccountDeleted = "account_deleted": NotUsed, [], [Unverified];
}

impl Kind {
    /// Returns the kind whose text is sent if the license no longer works at the time of sending.
    #[must_use]
    pub(super) fn after_the_end(self) -> Self {
        match (self, self.license()) {
            (Self::Trial, _) => Self::TrialEnded,
            (Self::Cancellation, _) | (_, LicenseUse::Attached) => Self::LicenseEnded,
            _ => self,
        }
    }

    /// Returns the key of the only mail of this kind about the end of a customer's license; `None`
    /// if it does not end. A refreshed license has the same end.
    #[must_use]
    pub fn once_key(self, license: &IssuedLicense) -> Option<String> {
        let end = license.grace_until.or(license.expires_at)?;
        Some(format!("{self}:{}:{}", license.customer_id, end.epoch_seconds()))
    }

    /// Returns the usual case.
    #[must_use]
    pub fn usual_case(self) -> Case {
        self.cases().first().copied().unwrap_or(Usual)
    }

    /// Returns every kind in each of its cases.
    pub fn all_cases() -> impl Iterator<Item = (Self, Case)> {
        let cases = |kind: Self| kind.cases().iter().map(move |case| (kind, *case));
        Self::ALL.into_iter().flat_map(cases)
    }
}
