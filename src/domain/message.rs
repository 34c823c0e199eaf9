//! What mails say: pure, from a license and a name to subject, text and HTML. Sending them is done
//! by [`crate::mailer`].

use std::fmt;
use std::str::FromStr;

use askama::Template;

use crate::domain::time::Timestamp;

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody signed up: the trial license.
    Trial,
    /// An operator granted a license.
    Granted,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Trial, Self::Granted];

    /// The name in the database and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Granted => "granted",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

/// A text that names no [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use \"trial\" or \"granted\"")]
pub struct UnknownKind;

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
    /// The license.
    pub token: &'a str,
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
    pub license: String,
}

#[derive(Template)]
#[template(path = "license.txt")]
struct Text<'a> {
    name: Option<&'a str>,
    opening: &'a str,
    plan: &'a str,
    expires: Option<&'a str>,
    token: &'a str,
}

#[derive(Template)]
#[template(path = "license.html")]
struct Html<'a> {
    subject: &'a str,
    name: Option<&'a str>,
    opening: &'a str,
    plan: &'a str,
    expires: Option<&'a str>,
    token: &'a str,
}

impl Letter {
    /// Writes the mail.
    ///
    /// # Errors
    /// When a template cannot be rendered, which must not happen.
    pub fn write(facts: &Facts<'_>) -> Result<Self, askama::Error> {
        let &Facts { kind, product, name, plan, expires, token } = facts;
        let (subject, opening) = match kind {
            Kind::Trial => (
                format!("Your trial of {product}"),
                format!("thank you for trying {product}. This is your trial license."),
            ),
            Kind::Granted => (
                format!("Your license for {product}"),
                format!("here is your license for {product}."),
            ),
        };
        let expires = expires.map(|time| time.to_datetime().format("%-d %B %Y, %H:%M").to_string());
        let (subject, opening, expires) = (&subject, &opening, expires.as_deref());
        Ok(Self {
            text: Text { name, opening, plan, expires, token }.render()?,
            html: Html { subject, name, opening, plan, expires, token }.render()?,
            subject: subject.clone(),
            license: token.to_owned(),
        })
    }
}

/// How long to wait before a mail is tried again, in seconds: from a second, doubling to a minute
/// while it is younger than an hour, then to an hour.
#[must_use]
pub fn wait_before_retry(attempts: i64, age: i64) -> i64 {
    const FRESH: i64 = 3600;
    let longest = if age < FRESH { 60 } else { 3600 };
    1_i64
        .checked_shl(u32::try_from(attempts.clamp(1, 13) - 1).unwrap_or(0))
        .unwrap_or(1)
        .min(longest)
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
        token: "a.b.c",
    };

    #[test]
    fn a_letter_says_the_license_and_until_when() {
        let end = Timestamp::saturating(1_796_396_400);
        let letter = Letter::write(&Facts { expires: Some(end), name: None, ..FACTS }).unwrap();
        assert_eq!(letter.subject, "Your trial of acme-app");
        assert!(letter.text.starts_with("Hello,\n\nthank you for trying acme-app."));
        for text in [&letter.text, &letter.html] {
            assert!(text.contains("4 December 2026, 15:00"), "{text}");
            assert!(text.contains("a.b.c"), "{text}");
        }
        let forever = Letter::write(&Facts { kind: Kind::Granted, ..FACTS }).unwrap();
        assert!(forever.text.contains("Valid without end"), "{}", forever.text);
    }

    #[test]
    fn what_a_customer_typed_is_escaped_security_21() {
        let letter = Letter::write(&FACTS).unwrap();
        assert!(letter.text.contains("Hello Ada <script>,"), "{}", letter.text);
        assert!(!letter.html.contains("<script>"), "{}", letter.html);
    }

    #[test]
    fn waiting_begins_at_a_second_and_is_capped_at_a_minute_for_an_hour() {
        let waits = |age| [1, 2, 3, 6, 7, 8, 20].map(|attempts| wait_before_retry(attempts, age));
        assert_eq!(waits(0), [1, 2, 4, 32, 60, 60, 60]);
        assert_eq!(waits(3600), [1, 2, 4, 32, 64, 128, 3600]);
    }
}
