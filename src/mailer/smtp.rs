//! The client of an SMTP server (RFC 5321), with one connection for each mail. A connection with an
//! unfinished dialogue must not be used again: a late reply would be taken for that to the next
//! mail.

use std::fmt;
use std::io;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Code;
use secrecy::{ExposeSecret, SecretString};

use super::{Cause, NotSent, Sent};
use crate::config::{Encryption, SmtpServer};
use crate::error::{Error, Result};

/// The time limit for the reply to QUIT. The mail is already accepted then, so a timeout is
/// harmless.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The replies about authentication, which the server may send at any step (RFC 4954, section 6).
const AUTHENTICATION_REPLIES: [&str; 4] = ["530", "534", "535", "538"];

/// An SMTP server.
pub(super) struct Smtp {
    host: String,
    port: u16,
    encryption: Encryption,
    /// `None` without encryption.
    tls: Option<TlsParameters>,
    hello_name: ClientId,
    credentials: Option<Credentials>,
}

impl Smtp {
    /// Returns the server of a configuration. It does not connect yet.
    ///
    /// # Errors
    /// [`Error::Setup`] when TLS cannot verify a host of this name.
    pub(super) fn new(server: &SmtpServer) -> Result<Self> {
        let tls = match server.encryption {
            Encryption::None => None,
            _ => Some(TlsParameters::new(server.host.clone()).map_err(|_| {
                Error::setup("`email.smtp_url`: TLS cannot verify this host; use its host name")
            })?),
        };
        let credentials = server.credentials.as_ref().map(|(user, password)| {
            Credentials::new(user.clone(), password.expose_secret().to_owned())
        });
        let hello_name = server.hello_name.clone().map(ClientId::Domain);
        Ok(Self {
            host: server.host.clone(),
            port: server.port,
            encryption: server.encryption,
            tls,
            hello_name: hello_name.unwrap_or_default(),
            credentials,
        })
    }

    /// Sends one mail. It has no time limit of its own.
    pub(super) async fn send(&self, envelope: &Envelope, message: &str) -> Sent {
        let mut connection = self.connect().await?;
        let sent = transfer(&mut connection, envelope, message).await;
        tokio::spawn(async move {
            let _ = tokio::time::timeout(QUIT_TIMEOUT, connection.abort()).await;
        });
        sent
    }

    /// Returns a connection that is encrypted and authenticated as configured.
    async fn connect(&self) -> std::result::Result<AsyncSmtpConnection, NotSent> {
        let tls = |is_used: bool| self.tls.clone().filter(|_| is_used);
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            (self.host.as_str(), self.port),
            None,
            &self.hello_name,
            tls(self.encryption == Encryption::Implicit),
            None,
        )
        .await
        .map_err(at(Step::Connect))?;
        let starttls = match self.encryption {
            Encryption::None | Encryption::Implicit => false,
            Encryption::Opportunistic => connection.can_starttls(),
            Encryption::StartTls => true,
        };
        if let Some(tls) = tls(starttls) {
            let upgraded = connection.starttls(tls, &self.hello_name).await;
            upgraded.map_err(at(Step::StartTls))?;
        }
        if let Some(credentials) = &self.credentials {
            let authenticated = connection.auth(DEFAULT_MECHANISMS, credentials).await;
            authenticated.map_err(at(Step::Auth))?;
        }
        Ok(connection)
    }
}

/// Sends a mail on a connection: MAIL, RCPT and DATA.
async fn transfer(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    message: &str,
) -> Sent {
    let parameters = if message.is_ascii() {
        Vec::new()
    } else {
        // Only the sender's own domain can be outside of ASCII; bodies are encoded.
        vec![MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)]
    };
    let mail = Mail::new(envelope.from().cloned(), parameters);
    connection.command(mail).await.map_err(at(Step::Mail))?;
    for to in envelope.to() {
        let recipient = Rcpt::new(to.clone(), Vec::new());
        connection.command(recipient).await.map_err(at(Step::Rcpt))?;
    }
    connection.command(Data).await.map_err(at(Step::Data))?;
    connection.command(Content(message)).await.map_err(at(Step::Data))?;
    Ok(())
}

/// The content of a message after DATA: a dot at the start of a line is doubled, and the last line
/// is one dot (RFC 5321, section 4.5.2).
///
/// It is sent as one command, and so in one write. lettre's own `message` writes the last line
/// separately. The kernel then delays that line until the server has acknowledged the rest, which
/// takes 40 ms (Nagle's algorithm and delayed acknowledgements, RFC 1122, section 4.2.3).
struct Content<'a>(&'a str);

impl fmt::Display for Content<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.split_inclusive('\n') {
            if line.starts_with('.') {
                formatter.write_str(".")?;
            }
            formatter.write_str(line)?;
        }
        let end = if self.0.ends_with("\r\n") { ".\r\n" } else { "\r\n.\r\n" };
        formatter.write_str(end)
    }
}

/// A step of the dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The connection, the greeting and EHLO.
    Connect,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    /// DATA and the message.
    Data,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connect => "connect",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
        })
    }
}

impl Step {
    /// Returns the cause of a permanent refusal (5xx) at this step: the mail, or one of our
    /// settings. A refusal by policy (`5.7.x`, RFC 3463 section 3.8), such as "relay access
    /// denied", is usually about the sender, so that the mail is retried.
    fn refusal(self, reply: &str, enhanced: &str) -> Cause {
        match self {
            _ if AUTHENTICATION_REPLIES.contains(&reply) => Cause::Setting("email.smtp_url"),
            _ if enhanced.trim().starts_with("5.7.") => Cause::Setting("email.smtp_url"),
            Self::Connect | Self::StartTls | Self::Auth => Cause::Setting("email.smtp_url"),
            Self::Mail => Cause::Setting("email.from"),
            Self::Rcpt | Self::Data => Cause::Refused,
        }
    }
}

fn at(step: Step) -> impl Fn(SmtpError) -> NotSent {
    move |error| not_sent(step, &error)
}

/// Returns the failure for an error. Its code contains no text of the server except digits.
fn not_sent(step: Step, error: &SmtpError) -> NotSent {
    let source = std::error::Error::source(error);
    let temporary = |problem: String| NotSent::temporary(format!("{step}: {problem}"));
    let misconfigured = |problem: &str| NotSent {
        code: format!("{step}: {problem}"),
        cause: Cause::Setting("email.smtp_url"),
        response: None,
    };
    if let Some(reply) = error.status() {
        return replied(step, reply, source.map(ToString::to_string).unwrap_or_default());
    }
    if error.is_client() {
        // STARTTLS, or an AUTH mechanism.
        return misconfigured("the server does not support this");
    }
    match source.and_then(|source| source.downcast_ref::<io::Error>()) {
        // An error of the TLS library. Its text quotes the server's certificate.
        Some(error) if error.kind() == io::ErrorKind::InvalidData => {
            misconfigured("the TLS handshake failed")
        }
        // An error of the operating system.
        Some(error) => temporary(error.to_string()),
        None => temporary("no valid SMTP response".to_owned()),
    }
}

/// Returns the failure for a reply, with its enhanced status code if it has one (RFC 3463). `words`
/// is the text of the reply.
fn replied(step: Step, reply: Code, words: String) -> NotSent {
    let first = words.split_whitespace().next().unwrap_or_default();
    let is_number =
        |part: &str| matches!(part.len(), 1..=3) && part.bytes().all(|b| b.is_ascii_digit());
    let is_enhanced = first.split('.').count() == 3 && first.split('.').all(is_number);
    let enhanced = if is_enhanced { format!(" {first}") } else { String::new() };
    let reply = reply.to_string();
    let is_permanent = reply.starts_with('5');
    NotSent {
        code: format!("{step} {reply}{enhanced}"),
        cause: if is_permanent { step.refusal(&reply, &enhanced) } else { Cause::Temporary },
        response: Some(SecretString::from(words)),
    }
}

#[cfg(test)]
mod tests {
    use lettre::transport::smtp::response::{Category, Detail, Severity};

    use super::*;

    #[test]
    fn dots_are_doubled_and_the_end_is_marked_once() {
        for (message, sent) in [
            ("", "\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n..b\r\nc.\r\n", "..\r\n...b\r\nc.\r\n.\r\n"),
        ] {
            assert_eq!(Content(message).to_string(), sent, "{message:?}");
        }
    }
    #[test]
    fn security_40_a_reply_becomes_a_code_without_the_servers_words() {
        let code = |words: &str| {
            let reply = Code::new(
                Severity::PermanentNegativeCompletion,
                Category::MailSystem,
                Detail::Zero,
            );
            let error = replied(Step::Rcpt, reply, words.to_owned());
            assert!(!format!("{error:?}").contains("ada"), "{error:?}");
            error.to_string()
        };
        assert_eq!(code("5.1.1 <ada@example.com>: no such user"), "RCPT 550 5.1.1");
        assert_eq!(code("<ada@example.com>: no such user"), "RCPT 550");
        for words in ["", "ada", "5.1.ada", "5.1.1.1 ada", "5.1.1234 ada", "5.1.1ada"] {
            assert_eq!(code(words), "RCPT 550", "{words:?}");
        }
    }

    #[test]
    fn security_41_a_permanent_refusal_is_about_the_mail_or_about_a_setting() {
        let cause = |step, category, detail| {
            let reply = Code::new(Severity::PermanentNegativeCompletion, category, detail);
            replied(step, reply, String::new()).cause
        };
        let (smtp_url, from) = (Cause::Setting("email.smtp_url"), Cause::Setting("email.from"));
        for step in [Step::Connect, Step::StartTls, Step::Auth] {
            assert_eq!(cause(step, Category::MailSystem, Detail::Four), smtp_url, "{step}");
        }
        assert_eq!(cause(Step::Mail, Category::MailSystem, Detail::Three), from);
        for step in [Step::Rcpt, Step::Data] {
            assert_eq!(cause(step, Category::MailSystem, Detail::Zero), Cause::Refused, "{step}");
            let denied = Code::new(
                Severity::PermanentNegativeCompletion,
                Category::MailSystem,
                Detail::Four,
            );
            let denied = replied(step, denied, "5.7.1 Relay access denied".into());
            assert_eq!(denied.cause, smtp_url, "{step}");
            // 530: authentication required.
            assert_eq!(cause(step, Category::Unspecified3, Detail::Zero), smtp_url, "{step}");
        }
        let later =
            Code::new(Severity::TransientNegativeCompletion, Category::MailSystem, Detail::One);
        assert_eq!(replied(Step::Rcpt, later, String::new()).cause, Cause::Temporary);
    }
}
