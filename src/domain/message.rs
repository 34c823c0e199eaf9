//! What mails say: pure, from a license and a name to subject, text and HTML. Sending them is done
//! by [`crate::mailer`].

use askama::Template;

use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

text_enum! {
    /// What a mail is about.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Kind {
        /// Somebody signed up: the trial license.
        Trial = "trial",
        /// An operator granted a license.
        Granted = "granted",
        /// Something was bought: the first license for it, or one for another plan.
        Upgrade = "upgrade",
        /// The subscription goes on: the license for the next period.
        Renewal = "renewal",
        /// A payment is due or under way, and the license works meanwhile.
        PaymentPending = "payment_pending",
        /// A payment could not be collected; the license works for now.
        PaymentProblem = "payment_problem",
        /// The subscription ends, or has ended; the license with its last day, if it has one.
        Cancellation = "cancellation",
    }
}

/// What a mail is made of.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What it is about.
    pub kind: Kind,
    /// The product's name.
    pub product: &'a str,
    /// Who it is for.
    pub name: Option<&'a str>,
    /// The plan's name, for people.
    pub plan: &'a str,
    /// The end of what was granted.
    pub expires: Option<Timestamp>,
    /// The license; none when there is none any more.
    pub token: Option<&'a str>,
}

/// A mail, before it has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// For readers of plain text.
    pub text: String,
    /// The same for the others.
    pub html: String,
    /// What is attached as `license.jwt`.
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
}

impl Letter {
    /// Writes the mail.
    ///
    /// # Errors
    /// When a template cannot be rendered, which must not happen.
    pub fn write(facts: &Facts<'_>) -> Result<Self, askama::Error> {
        let &Facts { kind, product, name, plan, expires, token } = facts;
        let (subject, opening) = opening(kind, product, plan, token.is_some());
        let expires = expires.map(|time| time.to_datetime().format("%-d %B %Y, %H:%M").to_string());
        let (subject, opening, expires) = (&subject, &opening, expires.as_deref());
        Ok(Self {
            text: Text { name, opening, plan, expires, token }.render()?,
            html: Html { subject, name, opening, plan, expires, token }.render()?,
            subject: subject.clone(),
            license: token.map(str::to_owned),
        })
    }
}

/// The subject, and the sentence under the greeting.
fn opening(kind: Kind, product: &str, plan: &str, works: bool) -> (String, String) {
    match (kind, works) {
        (Kind::Trial, _) => (
            format!("Your trial of {product}"),
            format!("Thank you for trying {product}. This is your trial license."),
        ),
        (Kind::Granted, _) => {
            (format!("Your license for {product}"), format!("Here is your license for {product}."))
        }
        (Kind::Upgrade, _) => (
            format!("Your new license for {product}"),
            format!(
                "Your plan for {product} is {plan} now. This is your license for it; it takes the \
                 place of the one before. An app that is online finds it by itself."
            ),
        ),
        (Kind::Renewal, _) => (
            format!("Your license for {product} goes on"),
            format!(
                "Your subscription to {product} goes on, and this is your license for it. An app \
                 that is online finds it by itself."
            ),
        ),
        (Kind::PaymentPending, _) => (
            format!("A payment for {product} is due"),
            format!(
                "A payment for {product} is due or under way. A card or a bank debit is charged by itself; \
                 an invoice that was sent to you is to be paid by its day. This license works until the \
                 day below; another comes with the payment."
            ),
        ),
        (Kind::PaymentProblem, true) => (
            format!("A payment for {product} did not go through"),
            format!(
                "A payment for {product} did not go through, and will be tried again. Please look \
                 at how you pay. Your license works until the day below."
            ),
        ),
        (Kind::PaymentProblem, false) => (
            format!("A payment for {product} did not go through"),
            format!("A payment for {product} did not go through. Please look at how you pay."),
        ),
        (Kind::Cancellation, true) => (
            format!("Your subscription to {product} ends"),
            format!(
                "Your subscription to {product} is cancelled. Your license works until the day \
                 below, and nothing will be charged any more."
            ),
        ),
        (Kind::Cancellation, false) => (
            format!("Your license for {product} has ended"),
            format!(
                "Your license for {product} has ended: the subscription is over, or its payment was \
                 given back or disputed. You are welcome back at any time."
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
    };

    #[test]
    fn a_letter_says_the_license_and_until_when() {
        let end = Timestamp::saturating(1_796_396_400);
        let letter = Letter::write(&Facts { expires: Some(end), name: None, ..FACTS }).unwrap();
        assert_eq!(letter.subject, "Your trial of acme-app");
        assert!(letter.text.starts_with("Hello,\n\nThank you for trying acme-app."));
        for text in [&letter.text, &letter.html] {
            assert!(text.contains("4 December 2026, 15:00"), "{text}");
            assert!(text.contains("a.b.c"), "{text}");
        }
        let forever = Letter::write(&Facts { kind: Kind::Granted, ..FACTS }).unwrap();
        assert!(forever.text.contains("Valid without end"), "{}", forever.text);
    }

    #[test]
    fn every_kind_says_what_happened_and_a_license_that_is_gone_is_not_sent() {
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
    fn what_a_customer_typed_is_escaped_security_21() {
        let letter = Letter::write(&FACTS).unwrap();
        assert!(letter.text.contains("Hello Ada <script>,"), "{}", letter.text);
        assert!(!letter.html.contains("<script>"), "{}", letter.html);
    }
}
