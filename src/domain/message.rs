//! The texts of mails, rendered from templates: subject, plain text and HTML. Sending is in
//! [`crate::mailer`]; which mail a sync sends is decided in [`crate::domain::sale::settlement`].

use askama::Template;

use crate::domain::account::mail_link::LinkKind;
use crate::domain::license::{IssuedLicense, Phase, Source};
use crate::domain::sale::plan::Catalog;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

text_enum! {
    /// The event that a mail reports.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Kind {
        /// A customer signed up: the trial license.
        Trial = "trial",
        /// A grant, or a first license, which replaces none: the customer bought before having an
        /// account here.
        LicenseReady = "granted",
        /// A customer bought a plan or changed to another one: the license for it.
        PlanChanged = "upgrade",
        /// The subscription was renewed: the license for the next period.
        Renewal = "renewal",
        /// The key of the previous license was revoked: the license that replaces it.
        Reissue = "reissue",
        /// A payment is due or being processed; the license works until then.
        PaymentPending = "payment_pending",
        /// A payment failed; the license works until the end of the grace period.
        PaymentProblem = "payment_problem",
        /// The subscription is canceled or has ended: the license until its last day, if there is
        /// one.
        Cancellation = "cancellation",
        /// A customer signed up with an address that has had a trial: there is no license.
        SignedUp = "signed_up",
        /// The link that confirms a sign-up.
        ConfirmSignup = "confirm_signup",
        /// Somebody signed up with an address that has an account, with the link that sets a
        /// password.
        AccountExists = "account_exists",
        /// The current license, which somebody asked for.
        Recovered = "recovered",
        /// The link that verifies the address.
        Verify = "verify",
        /// The link that verifies a new address.
        VerifyAddress = "verify_address",
        /// A change of the address was requested; to the present address.
        AddressChangeRequested = "address_change_requested",
        /// The address was changed; to the former address, with the link that undoes it.
        AddressChanged = "address_changed",
        /// A change of the address was undone, with the link that sets a password.
        AddressUndone = "address_undone",
        /// The link that sets a password.
        Reset = "reset",
        /// The password was changed.
        PasswordChanged = "password_changed",
        /// The account was deleted.
        AccountDeleted = "account_deleted",
    }
}

impl Kind {
    /// Returns whether the mail is pointless without a license that works. If the license ends
    /// before a mail server accepts the mail, the text says so instead.
    #[must_use]
    pub fn needs_license(self) -> bool {
        match self {
            Self::PaymentProblem
            | Self::Cancellation
            | Self::SignedUp
            | Self::ConfirmSignup
            | Self::AccountExists
            | Self::Recovered
            | Self::Verify
            | Self::VerifyAddress
            | Self::AddressChangeRequested
            | Self::AddressChanged
            | Self::AddressUndone
            | Self::Reset
            | Self::PasswordChanged
            | Self::AccountDeleted => false,
            Self::Trial
            | Self::LicenseReady
            | Self::PlanChanged
            | Self::Renewal
            | Self::Reissue
            | Self::PaymentPending => true,
        }
    }

    /// Returns whether the mail is about a license.
    #[must_use]
    pub fn has_license(self) -> bool {
        !matches!(
            self,
            Self::SignedUp
                | Self::ConfirmSignup
                | Self::AccountExists
                | Self::Verify
                | Self::VerifyAddress
                | Self::AddressChangeRequested
                | Self::AddressChanged
                | Self::AddressUndone
                | Self::Reset
                | Self::PasswordChanged
                | Self::AccountDeleted
        )
    }

    /// Returns the link in the mail. A link that verifies is left out if the address is verified.
    #[must_use]
    pub fn link(self) -> Option<LinkKind> {
        match self {
            Self::Trial
            | Self::SignedUp
            | Self::ConfirmSignup
            | Self::Verify
            | Self::VerifyAddress => Some(LinkKind::Verify),
            Self::Reset | Self::AccountExists | Self::AddressUndone => Some(LinkKind::Reset),
            Self::AddressChanged => Some(LinkKind::Undo),
            Self::LicenseReady
            | Self::PlanChanged
            | Self::Renewal
            | Self::Reissue
            | Self::PaymentPending
            | Self::PaymentProblem
            | Self::Cancellation
            | Self::Recovered
            | Self::AddressChangeRequested
            | Self::PasswordChanged
            | Self::AccountDeleted => None,
        }
    }
}

/// The facts that a mail is rendered from. There is no `Debug`: they contain the license.
#[derive(Clone)]
pub struct Facts<'a> {
    /// The event that the mail reports.
    pub kind: Kind,
    /// The product's name.
    pub product: &'a str,
    /// The customer's name, for the greeting; none unless the address is verified.
    pub name: Option<&'a str>,
    /// The plan's display name; empty in a mail about no license.
    pub plan: &'a str,
    /// The end of the license; none if it does not expire.
    pub expires: Option<Timestamp>,
    /// The license token; none once the license no longer works.
    pub token: Option<&'a str>,
    /// The link of [`Kind::link`].
    pub link: Option<Link<'a>>,
}

/// A link in a mail.
#[derive(Clone, Copy)]
pub struct Link<'a> {
    /// Its effect.
    pub kind: LinkKind,
    /// The URL. It contains a token.
    pub url: &'a str,
}

impl Link<'_> {
    /// Returns the sentence before the URL.
    fn text(self) -> &'static str {
        match self.kind {
            LinkKind::Verify => {
                "Please confirm that this is your email address. Open this link within 48 hours:"
            }
            LinkKind::Reset => "Open this link within one hour to choose a new password:",
            LinkKind::Undo => "If it was not you, open this link within 7 days to undo the change:",
        }
    }
}

impl<'a> Facts<'a> {
    /// Returns the facts of a mail about a license, or about none, that is sent at `now`. The
    /// caller adds the link.
    #[must_use]
    pub fn about(
        kind: Kind,
        license: Option<&'a IssuedLicense>,
        name: Option<&'a str>,
        catalog: &'a Catalog,
        now: Timestamp,
    ) -> Self {
        let product = catalog.name.as_str();
        let Some(license) = license else {
            return Self { kind, product, name, plan: "", expires: None, token: None, link: None };
        };
        let term = license.term();
        // After a failed first payment there is no license from a subscription.
        let is_paid = kind != Kind::PaymentProblem || license.source == Source::Subscription;
        Self {
            kind,
            product,
            name,
            plan: catalog.plan(&license.plan).map_or(&*license.plan, |plan| &plan.name),
            // After the paid period, the license works until the end of its grace period.
            expires: if term.phase(now) == Phase::Active { term.expires } else { term.ends() },
            token: Some(license.token.expose()).filter(|_| is_paid && license.works(now)),
            link: None,
        }
    }
}

/// A mail without its recipient. There is no `Debug`: it contains the license.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// The body as plain text.
    pub text: String,
    /// The body as HTML.
    pub html: String,
    /// The license token, attached as `license.jwt`.
    pub license: Option<String>,
}

#[derive(Template)]
#[template(path = "license.txt")]
struct Text<'a> {
    name: Option<&'a str>,
    opening: &'a str,
    plan: &'a str,
    expires: Option<&'a str>,
    token: Option<&'a str>,
    link: Option<Link<'a>>,
}

#[derive(Template)]
#[template(path = "license.html")]
struct Html<'a> {
    subject: &'a str,
    name: Option<&'a str>,
    opening: &'a str,
    plan: &'a str,
    expires: Option<&'a str>,
    token: Option<&'a str>,
    link: Option<Link<'a>>,
}

impl Letter {
    /// Returns the mail.
    ///
    /// # Errors
    /// When a template cannot be rendered, which must not happen.
    pub fn write(facts: &Facts<'_>) -> Result<Self, askama::Error> {
        let &Facts { kind, product, name, plan, expires, token, link } = facts;
        let (subject, opening) = opening(kind, product, plan, token.is_some());
        let expires = expires.map(|time| time.to_datetime().format("%-d %B %Y, %H:%M").to_string());
        let (subject, opening, expires) = (&subject, &opening, expires.as_deref());
        Ok(Self {
            text: Text { name, opening, plan, expires, token, link }.render()?,
            html: Html { subject, name, opening, plan, expires, token, link }.render()?,
            subject: subject.clone(),
            license: token.map(str::to_owned),
        })
    }
}

/// Returns the subject, and the paragraph after the greeting.
fn opening(kind: Kind, product: &str, plan: &str, works: bool) -> (String, String) {
    match (kind, works) {
        (kind, false) if kind.needs_license() => opening(Kind::Cancellation, product, plan, false),
        (Kind::Trial, _) => (
            format!("Your trial of {product}"),
            format!("Thank you for trying {product}. Here is your trial license."),
        ),
        (Kind::LicenseReady, _) => {
            (format!("Your license for {product}"), format!("Here is your license for {product}."))
        }
        (Kind::PlanChanged, _) => (
            format!("Your new license for {product}"),
            format!(
                "You are now on the {plan} plan of {product}. Here is your new license. It \
                 replaces your previous one. An app that is online picks it up automatically."
            ),
        ),
        (Kind::Renewal, _) => (
            format!("Your license for {product} has been renewed"),
            format!(
                "Your subscription to {product} has been renewed. Here is your new license. An app \
                 that is online picks it up automatically."
            ),
        ),
        (Kind::Reissue, _) => (
            format!("A replacement for your license for {product}"),
            format!(
                "We have replaced your license for {product}, because we no longer use the key \
                 that signed it. Your previous license no longer works. Please enter this one in \
                 {product}."
            ),
        ),
        (Kind::PaymentPending, _) => (
            format!("A payment for {product} is due"),
            format!(
                "A payment for {product} is due or being processed. If you pay by card or direct \
                 debit, there is nothing you need to do. If you received an invoice, please pay it \
                 by its due date. This license works until the date below. We will send you a new \
                 one as soon as we receive the payment."
            ),
        ),
        (Kind::PaymentProblem, true) => (
            format!("Your payment for {product} failed"),
            format!(
                "We could not collect your payment for {product}. Please update your payment \
                 method; we will then try again. Your license works until the date below."
            ),
        ),
        (Kind::PaymentProblem, false) => (
            format!("Your payment for {product} failed"),
            format!(
                "We could not collect your payment for {product}. Please update your payment \
                 method."
            ),
        ),
        (Kind::Verify, _) => (
            format!("Please confirm your email address for {product}"),
            format!(
                "Somebody, probably you, uses this email address for an account with {product}. If \
                 it was not you, please ignore this mail."
            ),
        ),
        (Kind::SignedUp, _) => (
            format!("Your account with {product}"),
            format!(
                "Thank you for signing up for {product}. This email address has had a trial before, \
                 so there is no other one. You can buy a license at any time."
            ),
        ),
        (Kind::ConfirmSignup, _) => (
            format!("Please confirm your account with {product}"),
            format!(
                "Somebody, probably you, signed up for {product} with this email address. The \
                 account begins when you confirm it. If it was not you, please ignore this mail."
            ),
        ),
        (Kind::AccountExists, _) => (
            format!("You already have an account with {product}"),
            format!(
                "Somebody, probably you, signed up for {product} with this email address, but it \
                 already has an account. Please log in. If it was not you, please ignore this mail; \
                 your account stays as it is."
            ),
        ),
        (Kind::Recovered, true) => (
            format!("Your license for {product}"),
            format!("Somebody, probably you, asked for your license for {product}. Here it is."),
        ),
        (Kind::Recovered, false) => (
            format!("Your license for {product}"),
            format!(
                "Somebody, probably you, asked for your license for {product}. You have an account, \
                 but no license that works now. You can buy one at any time."
            ),
        ),
        (Kind::VerifyAddress, _) => (
            format!("Please confirm your new email address for {product}"),
            format!(
                "Somebody, probably you, wants to use this email address for an account with \
                 {product}. The change takes effect when you confirm it. If it was not you, please \
                 ignore this mail."
            ),
        ),
        (Kind::AddressChangeRequested, _) => (
            format!("Your email address for {product} will change"),
            format!(
                "Somebody, probably you, requested another email address for your account with \
                 {product}. The change takes effect when the new address is confirmed. If it was \
                 not you, somebody else knows your password: please change it now."
            ),
        ),
        (Kind::AddressChanged, _) => (
            format!("Your email address for {product} was changed"),
            format!(
                "The email address of your account with {product} was changed. This address no \
                 longer belongs to it."
            ),
        ),
        (Kind::AddressUndone, _) => (
            format!("Your email address for {product} is yours again"),
            format!(
                "The change of your email address for {product} was undone, and every login session \
                 was ended. Whoever changed it knows your password. Please choose a new one now."
            ),
        ),
        (Kind::Reset, _) => (
            format!("Your password for {product}"),
            format!(
                "Somebody, probably you, asked for a new password for your account with {product}. \
                 If it was not you, please ignore this mail; your password stays as it is."
            ),
        ),
        (Kind::PasswordChanged, _) => (
            format!("Your password for {product} was changed"),
            format!(
                "The password of your account with {product} was changed, and every other login \
                 session was ended. If it was not you, ask for a new password at once: the link \
                 for it is sent to this address."
            ),
        ),
        (Kind::AccountDeleted, _) => (
            format!("Your account with {product} was deleted"),
            format!(
                "Your account with {product} was deleted, with all its licenses, and you will not \
                 be charged again. If it was not you, please contact us."
            ),
        ),
        (Kind::Cancellation, true) => (
            format!("Your subscription to {product} has been canceled"),
            format!(
                "Your subscription to {product} has been canceled, and you will not be charged \
                 again. Your license works until the date below."
            ),
        ),
        (Kind::Cancellation, false) => (
            format!("Your license for {product} has ended"),
            format!(
                "Your license for {product} has ended, because your subscription ended, or because \
                 its payment was refunded or disputed. You can subscribe again at any time."
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts<'_> = Facts {
        kind: Kind::Trial,
        product: "acme-app",
        name: Some("Ada <script>"),
        plan: "Trial",
        expires: None,
        token: Some("a.b.c"),
        link: None,
    };

    #[test]
    fn a_mail_contains_the_license_and_its_end() {
        let end = Timestamp::saturating(1_796_396_400);
        let letter = Letter::write(&Facts { expires: Some(end), name: None, ..FACTS }).unwrap();
        assert_eq!(letter.subject, "Your trial of acme-app");
        assert!(letter.text.starts_with("Hello,\n\nThank you for trying acme-app."));
        for text in [&letter.text, &letter.html] {
            assert!(text.contains("4 December 2026, 15:00"), "{text}");
            assert!(text.contains("a.b.c"), "{text}");
        }
        let forever = Letter::write(&Facts { kind: Kind::LicenseReady, ..FACTS }).unwrap();
        assert!(forever.text.contains("Does not expire"), "{}", forever.text);
    }

    #[test]
    fn every_kind_names_the_product_and_a_license_that_no_longer_works_is_not_sent() {
        for kind in Kind::ALL {
            let with = Letter::write(&Facts { kind, ..FACTS }).unwrap();
            assert!(with.subject.contains("acme-app"), "{kind}: {}", with.subject);
            assert_eq!(with.license.as_deref(), Some("a.b.c"));
            assert_eq!(kind.as_str().parse(), Ok(kind));
            let without = Letter::write(&Facts { kind, token: None, ..FACTS }).unwrap();
            assert_eq!(without.license, None);
            for text in [without.text, without.html] {
                assert!(!text.contains("Valid") && !text.contains("license.jwt"), "{text}");
            }
        }
        let ended = Letter::write(&Facts { kind: Kind::Cancellation, token: None, ..FACTS });
        assert_eq!(ended.unwrap().subject, "Your license for acme-app has ended");
    }

    #[test]
    fn a_mail_whose_license_ended_before_it_was_sent_says_that_it_ended() {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.needs_license()) {
            let late = Letter::write(&Facts { kind, token: None, ..FACTS }).unwrap();
            assert_eq!(late.subject, "Your license for acme-app has ended", "{kind}");
        }
    }

    #[test]
    fn security_21_every_text_is_escaped_in_html() {
        for kind in Kind::ALL {
            let typed = "<script>&\"'";
            let facts = Facts { kind, product: typed, name: Some(typed), plan: typed, ..FACTS };
            let letter = Letter::write(&Facts { token: Some(typed), ..facts }).unwrap();
            assert!(letter.text.contains(&format!("Hello {typed},")), "{}", letter.text);
            assert!(!letter.html.contains("<script>"), "{}", letter.html);
            assert!(!letter.html.contains("&\"'"), "{}", letter.html);
        }
    }
}
