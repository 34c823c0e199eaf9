//! Sends mails to an SMTP server, or to a folder when none is configured. Only this module names
//! lettre. [`crate::domain::message`] writes the mails; [`crate::flows::mail`] decides when to send
//! them.

mod smtp;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use secrecy::SecretString;
use tokio::fs::{DirBuilder, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::config::Config;
use crate::domain::contact::{DisplayName, Email, Sender};
use crate::domain::ids::MailId;
use crate::domain::license::LICENSE_FILE;
use crate::domain::message::Letter;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::fail_point::FailPoint;
use smtp::Smtp;

/// The longest time for one mail, from connecting to the server's last reply. The lease on a mail
/// lasts longer (`domain/retry.rs`).
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends mails from one sender through one transport.
pub struct Mailer {
    sender: Sender,
    transport: Transport,
    /// Whether a wrong setting was logged since the last mail that was accepted.
    is_setting_reported: AtomicBool,
}

enum Transport {
    Smtp(Box<Smtp>),
    /// A folder with one `.eml` file for each mail.
    Folder(PathBuf),
    Double(Double),
}

/// Receives each mail in the form in which it would be sent, instead of an SMTP server.
pub type Double = Box<dyn Fn(Vec<u8>) -> BoxFuture<'static, Sent> + Send + Sync>;

/// The result of sending a mail: `Ok` if it was accepted.
pub type Sent = std::result::Result<(), NotSent>;

/// The reason why a mail was not sent, as a code like `RCPT 550 5.1.1`. Only the code is logged and
/// stored, because servers quote addresses and names in their responses (SECURITY 40).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}")]
pub struct NotSent {
    code: String,
    cause: Cause,
    response: Option<SecretString>,
}

/// The cause of a failure to send a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A temporary failure: a retry may succeed.
    Temporary,
    /// The server refuses this mail permanently (5xx): a retry cannot succeed.
    Refused,
    /// The server refuses all mails until this setting is corrected.
    Setting(&'static str),
}

impl NotSent {
    /// Returns a failure that a retry may resolve.
    #[must_use]
    pub fn temporary(code: impl Into<String>) -> Self {
        Self { code: code.into(), cause: Cause::Temporary, response: None }
    }

    /// Returns a permanent refusal of this mail.
    #[must_use]
    pub fn refused(code: impl Into<String>) -> Self {
        Self { code: code.into(), cause: Cause::Refused, response: None }
    }

    /// Returns the cause.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Returns the text of the server's response. It is for the terminal of an operator who sends a
    /// test mail, and must not be logged.
    #[must_use]
    pub fn response(&self) -> Option<&SecretString> {
        self.response.as_ref()
    }
}

/// The recipient of a mail.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The email address.
    pub email: Email,
    /// The name next to the address; `None` unless the address is verified (SECURITY 34).
    pub name: Option<DisplayName>,
}

impl Mailer {
    /// Returns the mailer of a configuration. It does not connect yet.
    ///
    /// # Errors
    /// [`crate::error::Error::Setup`] when TLS cannot be used with the SMTP server's name.
    pub fn new(config: &Config) -> Result<Self> {
        let transport = match &config.email.smtp_url {
            None => Transport::Folder(config.email.folder.clone()),
            Some(server) => Transport::Smtp(Box::new(Smtp::new(server)?)),
        };
        Ok(Self::with(config, transport))
    }

    /// Returns a mailer that passes every mail to a double.
    #[must_use]
    pub fn double(config: &Config, double: Double) -> Self {
        Self::with(config, Transport::Double(double))
    }

    fn with(config: &Config, transport: Transport) -> Self {
        let sender = config.email.from.clone();
        Self { sender, transport, is_setting_reported: AtomicBool::new(false) }
    }

    /// Sends one mail, then reaches the fail point `at`. `Ok` means that it was accepted.
    ///
    /// # Errors
    /// [`NotSent`]. A wrong setting is logged as an error, but only once until a mail is accepted.
    pub async fn send(
        &self,
        id: &MailId,
        to: &Recipient,
        letter: &Letter,
        now: Timestamp,
        at: FailPoint<'_>,
    ) -> Sent {
        let message = self.message(id, to, letter, now)?;
        let sent = self.transmit(id, &message).await;
        match &sent {
            Ok(()) => {
                self.is_setting_reported.store(false, Ordering::Relaxed);
                at.reach();
            }
            Err(NotSent { cause: Cause::Setting(setting), code, .. }) => {
                if !self.is_setting_reported.swap(true, Ordering::Relaxed) {
                    tracing::error!(setting, code, "no mail can be sent; correct this setting");
                }
            }
            Err(_) => {}
        }
        sent
    }

    async fn transmit(&self, id: &MailId, message: &Message) -> Sent {
        let content = message.formatted();
        match &self.transport {
            Transport::Smtp(smtp) => {
                let content = String::from_utf8(content)
                    .map_err(|_| NotSent::temporary("the mail is not UTF-8"))?;
                let sent = smtp.send(message.envelope(), &content);
                tokio::time::timeout(SEND_TIMEOUT, sent).await.unwrap_or_else(|_| {
                    let seconds = SEND_TIMEOUT.as_secs();
                    Err(NotSent::temporary(format!("no response within {seconds} seconds")))
                })
            }
            Transport::Double(double) => double(content).await,
            Transport::Folder(folder) => {
                let path = folder.join(format!("{id}.eml"));
                // Readable by the owner only: anybody with a license token can use it.
                let written = async {
                    DirBuilder::new().recursive(true).mode(0o700).create(folder).await?;
                    let mut options = OpenOptions::new();
                    options.write(true).create(true).truncate(true).mode(0o600);
                    let mut file = options.open(&path).await?;
                    file.write_all(&content).await?;
                    file.sync_all().await
                };
                let failed = |error| NotSent::temporary(format!("{}: {error}", path.display()));
                written.await.map_err(failed)
            }
        }
    }

    fn message(
        &self,
        id: &MailId,
        to: &Recipient,
        letter: &Letter,
        now: Timestamp,
    ) -> std::result::Result<Message, NotSent> {
        let domain = self.sender.domain();
        // The address was checked when the setting was parsed.
        let from = Address::new_dangerous(self.sender.local_part(), domain);
        let from_name = self.sender.name().map(|name| name.as_str().to_owned());
        // The messages of lettre's errors may quote the value.
        let invalid =
            |part: &'static str| NotSent::temporary(format!("the mail has no valid {part}"));
        let address: Address = to.email.as_str().parse().map_err(|_| invalid("recipient"))?;
        let name = to.name.as_ref().map(|name| name.as_str().to_owned());
        let bodies = MultiPart::alternative()
            .singlepart(SinglePart::plain(letter.text.clone()))
            .singlepart(SinglePart::html(letter.html.clone()));
        let mut parts = MultiPart::mixed().multipart(bodies);
        let files = [
            (&letter.license, "license.jwt", "application/jwt"),
            (&letter.license_file, LICENSE_FILE, "application/json"),
        ];
        for (content, name, kind) in files {
            let Some(content) = content else { continue };
            let kind = ContentType::parse(kind).map_err(|_| invalid("attachment"))?;
            let attachment = Attachment::new(name.to_owned());
            parts = parts.singlepart(attachment.body(content.clone(), kind));
        }
        let (from, to) = (Mailbox::new(from_name, from), Mailbox::new(name, address));
        let mut message = Message::builder()
            .from(from.clone())
            .to(to.clone())
            .subject(&letter.subject)
            .date(now.to_system_time())
            .message_id(Some(format!("<{id}@{domain}>")))
            .header(ListId(format!("<licenses.{domain}>")))
            .header(AutoSubmitted)
            .multipart(parts)
            .map_err(|_| invalid("headers"))?;
        for (field, mailbox) in [("From", from), ("To", to)] {
            let Some(quoted) = quoted(&mailbox) else { continue };
            let (field, raw) = (HeaderName::new_from_ascii_str(field), mailbox.to_string());
            let value = HeaderValue::dangerous_new_pre_encoded(field, raw, quoted);
            message.headers_mut().insert_raw(value);
        }
        Ok(message)
    }
}

/// Returns a mailbox with its name in quotes, if that contains a dot and lettre would write it
/// without: `.NET`, `booking.com`. RFC 5322 allows a dot only in quotes (section 3.2.3), and Python
/// fails to read it elsewhere.
fn quoted(mailbox: &Mailbox) -> Option<String> {
    let name = mailbox.name.as_ref().filter(|name| name.contains('.'))?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.bytes().all(is_plain).then(|| format!("\"{name}\" <{}>", mailbox.email))
}

/// Lets recipients filter these mails (RFC 2919).
#[derive(Clone)]
struct ListId(String);

impl Header for ListId {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Id")
    }

    fn parse(text: &str) -> std::result::Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

/// Prevents automatic replies, such as holiday notices (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> std::result::Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mail(name: Option<DisplayName>, letter: &Letter) -> String {
        let sender = "Acme Licenses <licenses@acme.example>".parse().unwrap();
        let transport = Transport::Folder(PathBuf::new());
        let mailer = Mailer { sender, transport, is_setting_reported: AtomicBool::new(false) };
        let to = Recipient { email: "ada@example.com".parse().unwrap(), name };
        let id = MailId::from_random(7);
        let message = mailer.message(&id, &to, letter, Timestamp::saturating(0)).unwrap();
        String::from_utf8(message.formatted()).unwrap()
    }

    #[test]
    fn a_name_with_a_dot_is_quoted() {
        let letter = Letter {
            subject: "Your license".to_owned(),
            text: String::new(),
            html: String::new(),
            license: None,
            license_file: None,
        };
        for name in [".NET", "booking.com", "a.b-c_1"] {
            let mail = mail(name.parse().ok(), &letter);
            let to = format!("To: \"{name}\" <ada@example.com>\r\n");
            assert_eq!(mail.matches(&to).count(), 1, "{mail}");
            assert_eq!(mail.matches("\r\nTo: ").count(), 1, "{mail}");
        }
        let mail = mail("Acme".parse().ok(), &letter);
        assert!(mail.contains("To: Acme <ada@example.com>\r\n"), "{mail}");
    }

    proptest! {
        /// With any customer name and any text, a mail is ASCII. Its lines end with CRLF and fit
        /// the limit of RFC 5321, and its header has exactly our fields.
        #[test]
        fn security_30_no_text_adds_a_header_or_breaks_a_line(
            name in "\\PC{1,200}",
            text in any::<String>(),
        ) {
            let name = name.parse::<DisplayName>().ok();
            let letter = Letter {
                subject: format!("Your license {}", name.as_ref().map_or("", DisplayName::as_str)),
                text: text.clone(),
                html: text,
                license: Some("a.b.c".to_owned()),
                license_file: Some("{\"license\":\"a.b.c\"}\n".to_owned()),
            };
            let mail = mail(name, &letter);
            prop_assert!(mail.is_ascii());
            for line in mail.split("\r\n") {
                prop_assert!(!line.contains(['\r', '\n']) && line.len() <= 998, "{line:?}");
            }
            let (head, _) = mail.split_once("\r\n\r\n").unwrap();
            let fields: Vec<_> = head
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .map(|line| line.split(':').next().unwrap().to_ascii_lowercase())
                .collect();
            let expected = ["from", "to", "subject", "date", "message-id", "list-id",
                "auto-submitted", "mime-version", "content-type"];
            prop_assert_eq!(fields, expected);
        }
    }
}
