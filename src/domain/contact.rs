//! Email addresses, the names of people and companies, and the sender of mails. How mails are sent
//! is in [`crate::mailer`].

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use email_address::{EmailAddress, Options};
use serde::{Serialize, Serializer};

use crate::domain::column::text_columns;
use crate::domain::sale::stripe_ids::StripeCustomerId;

/// The longest email address, in bytes (RFC 5321, section 4.5.3.1, erratum 1690).
pub const MAX_EMAIL_BYTES: usize = 254;

/// The longest name, in characters: generous for people and companies, small in a mail header.
pub const MAX_NAME_CHARACTERS: usize = 200;

/// An email address in lower case, so that one mailbox has one account.
///
/// Plain mailboxes only: no display name, no quoted local part, no address literal, and a domain
/// of two labels or more. An internationalised domain is in its ASCII form (RFC 5890), which every
/// mail server accepts. The local part is ASCII: SMTPUTF8 (RFC 6531) is not used.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Returns the address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the address with an internationalised domain in Unicode, to be shown to people.
    #[must_use]
    pub fn to_unicode(&self) -> String {
        let Some((local_part, domain)) = self.0.rsplit_once('@') else { return self.0.clone() };
        match idna::domain_to_unicode(domain) {
            (domain, Ok(())) => format!("{local_part}@{domain}"),
            (_, Err(_)) => self.0.clone(),
        }
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let address = ascii(text.trim_matches(' '))?.to_ascii_lowercase();
        let options =
            Options::default().without_display_text().without_domain_literal().with_required_tld();
        let parsed =
            EmailAddress::parse_with_options(&address, options).map_err(|_| InvalidEmail::Form)?;
        // A domain whose last label is a number is an IP address.
        let last = address.rsplit('.').next().unwrap_or_default();
        let is_ip = last.bytes().all(|byte| byte.is_ascii_digit());
        let is_quoted = parsed.local_part().starts_with('"');
        if !is_ip && !is_quoted && address.len() <= MAX_EMAIL_BYTES {
            Ok(Self(address))
        } else {
            Err(InvalidEmail::Form)
        }
    }
}

/// Returns an address with its domain in ASCII. The local part must be ASCII already: it is checked
/// before lower-casing, which turns some other letters into ASCII.
fn ascii(address: &str) -> Result<Cow<'_, str>, InvalidEmail> {
    if address.is_ascii() {
        return Ok(address.into());
    }
    let (local_part, domain) = address.rsplit_once('@').ok_or(InvalidEmail::Form)?;
    if !local_part.is_ascii() {
        return Err(InvalidEmail::LocalPart);
    }
    let domain = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail::Form)?;
    Ok(format!("{local_part}@{domain}").into())
}

impl fmt::Display for Email {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Shows the domain only: a whole address in a log is personal data.
impl fmt::Debug for Email {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = self.0.rsplit_once('@').map_or("", |(_, domain)| domain);
        write!(formatter, "Email(…@{domain})")
    }
}

impl Serialize for Email {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

text_columns!(Email);

/// The reason why a text is not a plain email address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    /// It does not have the form of an address.
    #[error("this is not an email address; it looks like \"name@example.com\"")]
    Form,
    /// The part before the `@` has a character outside of ASCII.
    #[error("use only ASCII letters before the `@`; the domain may have others")]
    LocalPart,
}

/// The name of a person or a company: one line of visible text, trimmed.
#[derive(Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DisplayName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.chars().any(breaks_a_line_or_hides) {
            return Err(InvalidName::Invisible);
        }
        let name = text.trim();
        match name.chars().count() {
            0 => Err(InvalidName::Empty),
            1..=MAX_NAME_CHARACTERS => Ok(Self(name.to_owned())),
            _ => Err(InvalidName::TooLong),
        }
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Does not show the name: it is personal data.
impl fmt::Debug for DisplayName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DisplayName(…)")
    }
}

text_columns!(DisplayName);

/// The sender of mails, like `Acme Licenses <licenses@acme.example>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    name: Option<DisplayName>,
    local_part: String,
    domain: String,
}

impl Sender {
    /// Returns `licenses@` and the host, or `licenses@localhost` without one.
    #[must_use]
    pub fn of(host: Option<String>) -> Self {
        Self {
            name: "Licentia".parse().ok(),
            local_part: "licenses".to_owned(),
            domain: host.unwrap_or_else(|| "localhost".into()),
        }
    }

    /// Returns the name beside the address, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&DisplayName> {
        self.name.as_ref()
    }

    /// Returns the part of the address before the `@`.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// Returns the part of the address after the `@`: a host name or an IP address.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, local_part, domain } = self;
        match name {
            Some(name) => write!(formatter, "{name} <{local_part}@{domain}>"),
            None => write!(formatter, "{local_part}@{domain}"),
        }
    }
}

impl FromStr for Sender {
    type Err = InvalidSender;

    /// Accepts `name@host`, `Name <name@host>` and `"Name" <name@host>`. Unlike [`Email`], the
    /// host may be a single label or an address literal.
    fn from_str(text: &str) -> Result<Self, InvalidSender> {
        let text = text.trim();
        let (name, address) = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
            Some((name, address)) => (name.trim(), address),
            None => ("", text),
        };
        let quoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
        let name = quoted.unwrap_or(name);
        let name = match name.is_empty() {
            true => None,
            false => Some(name.parse().map_err(|_| InvalidSender)?),
        };
        let options = Options::default().without_display_text();
        let parsed =
            EmailAddress::parse_with_options(address, options).map_err(|_| InvalidSender)?;
        let (local_part, domain) = (parsed.local_part().to_owned(), parsed.domain().to_owned());
        Ok(Self { name, local_part, domain })
    }
}

/// A text that is not a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use an address, like \"Acme Licenses <licenses@acme.example>\"")]
pub struct InvalidSender;

/// Returns whether a character is a control character, which could end a mail header, or a mark
/// that reverses or hides text.
fn breaks_a_line_or_hides(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}')
        || matches!(character, '\u{61C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{FEFF}')
        || matches!(character, '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}')
        || matches!(character, '\u{E0000}'..='\u{E007F}')
}

/// An existing customer of the vendor who will get an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// The email address, which is also the login.
    pub email: Email,
    /// Whether the vendor has verified the address.
    pub email_verified: bool,
    /// The person's name.
    pub name: Option<DisplayName>,
    /// The company's name.
    pub company_name: Option<DisplayName>,
    /// The Stripe customer.
    pub stripe_customer_id: Option<StripeCustomerId>,
}

/// The reason why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// It has only spaces.
    #[error("it is empty; leave the field out instead")]
    Empty,
    /// It has more than [`MAX_NAME_CHARACTERS`].
    #[error("it is longer than {MAX_NAME_CHARACTERS} characters")]
    TooLong,
    /// It has a line break, another control character, or text-direction marks.
    #[error("it has a line break or another invisible control character")]
    Invisible,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_40_the_debug_output_of_an_address_or_a_name_does_not_show_it() {
        let email: Email = "Ada.Lovelace@Example.COM".parse().unwrap();
        assert_eq!(email.as_str(), "ada.lovelace@example.com");
        assert_eq!(format!("{email:?}"), "Email(…@example.com)");
        let name: DisplayName = "Ada Lovelace".parse().unwrap();
        assert_eq!(format!("{name:?}"), "DisplayName(…)");
    }

    #[test]
    fn a_sender_has_an_address_with_or_without_a_name() {
        for (text, name, shown) in [
            ("licenses@acme.example", None, "licenses@acme.example"),
            ("<licenses@acme.example>", None, "licenses@acme.example"),
            (" Acme <a@acme.example> ", Some("Acme"), "Acme <a@acme.example>"),
            ("\"Acme, Inc.\" <a@localhost>", Some("Acme, Inc."), "Acme, Inc. <a@localhost>"),
            ("Acmé<a@[127.0.0.1]>", Some("Acmé"), "Acmé <a@[127.0.0.1]>"),
        ] {
            let sender: Sender = text.parse().unwrap();
            assert_eq!(sender.name().map(DisplayName::as_str), name, "{text}");
            assert_eq!(sender.to_string(), shown);
        }
        for wrong in ["", "Acme", "Acme <a>", "Acme <a@b.example", "A\r\nB <a@b.example>", "a b@c"]
        {
            assert_eq!(wrong.parse::<Sender>(), Err(InvalidSender), "{wrong:?}");
        }
    }

    #[test]
    fn an_address_that_is_not_a_plain_mailbox_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        for wrong in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "ada@[127.0.0.1]",
            "a@b@c.example",
            "Ada <ada@example.com>",
            "\"ada\"@example.com",
            "ada@example.com\r\nBcc: eve@example.com",
            "ada lovelace@example.com",
            "ada@exa mple.com",
            "ada\0@example.com",
            "adä@example.com",
            "ada@1.2.3.4",
            "\u{212A}ate@example.com",
            "ada@example..com",
            ".ada@example.com",
            long.as_str(),
        ] {
            assert!(wrong.parse::<Email>().is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn an_internationalised_domain_is_stored_in_ascii_and_shown_in_unicode() {
        for (typed, stored, shown) in [
            ("Ada@B\u{fc}cher.example", "ada@xn--bcher-kva.example", "ada@b\u{fc}cher.example"),
            ("ada@bu\u{308}cher.example", "ada@xn--bcher-kva.example", "ada@b\u{fc}cher.example"),
            ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example", "ada@b\u{fc}cher.example"),
            (
                "ada@\u{4f8b}\u{3002}\u{516c}\u{53f8}",
                "ada@xn--fsq.xn--55qx5d",
                "ada@\u{4f8b}.\u{516c}\u{53f8}",
            ),
            ("ada@example.com", "ada@example.com", "ada@example.com"),
        ] {
            let email: Email = typed.parse().unwrap();
            assert_eq!((email.as_str(), email.to_unicode().as_str()), (stored, shown), "{typed}");
            assert_eq!(email.as_str().parse(), Ok(email.clone()));
        }
        assert_eq!("ad\u{e4}@example.com".parse::<Email>(), Err(InvalidEmail::LocalPart));
        let long = format!("ada@{}.example", "\u{fc}".repeat(64));
        for wrong in [
            "ada@\u{fc}",
            "ada@b\u{fc}.\u{661}",
            "ada@b\u{fc} c.example",
            "ada@\u{200b}.example",
            &long,
        ] {
            assert!(wrong.parse::<Email>().is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn a_name_is_one_visible_line_security_30() {
        assert_eq!("  Ada Lovelace ".parse::<DisplayName>().unwrap().as_str(), "Ada Lovelace");
        assert_eq!("小島 秀夫".parse::<DisplayName>().unwrap().as_str(), "小島 秀夫");
        for wrong in [
            "Ada\r\nBcc: eve@example.com",
            "Ada\0",
            "\u{202E}adA",
            "Ada\u{2028}",
            "\u{200B}",
            "\u{3164}",
        ] {
            assert_eq!(wrong.parse::<DisplayName>(), Err(InvalidName::Invisible), "{wrong:?}");
        }
        assert_eq!(" ".parse::<DisplayName>(), Err(InvalidName::Empty));
        assert_eq!("x".repeat(201).parse::<DisplayName>(), Err(InvalidName::TooLong));
    }
}
