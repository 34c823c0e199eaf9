//! Hands mails to an SMTP server, or to a folder when none is set. The only file that names lettre.
//! What the mails say is written by [`crate::domain::message`]; when they are sent, by
//! [`crate::flows::mail`].

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::PoolConfig;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;
use tokio::fs::{DirBuilder, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::config::Config;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::MailId;
use crate::domain::message::Letter;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::FailPoint;

/// The longest that handing one mail over may take, connecting included. lettre's own limit ends
/// with the connection: a server that falls silent later would hold the mail for ever.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Who mails come from, like `Acme Licenses <licenses@acme.example>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender(Mailbox);

impl Sender {
    /// `licenses@` a host; without a host, this machine.
    #[must_use]
    pub fn of(host: Option<String>) -> Self {
        let host = host.unwrap_or_else(|| "localhost".into());
        // The host comes out of a URL, so it is one.
        let address = Address::new_dangerous("licenses", host);
        Self(Mailbox::new(Some("Licentia".to_owned()), address))
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Sender {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let sender = text.parse().map(Self);
        sender.map_err(|_| "use an address, like \"Acme Licenses <licenses@acme.example>\"")
    }
}

/// Where mails go.
pub struct Mailer {
    sender: Sender,
    transport: Transport,
}

enum Transport {
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    /// One `.eml` file per mail.
    Folder(PathBuf),
    Double(Double),
}

/// Stands in for an SMTP server: gets a mail as it would be sent, and accepts it, or says why not.
pub type Double = Box<dyn Fn(Vec<u8>) -> BoxFuture<'static, Sent> + Send + Sync>;

/// What came of handing a mail over.
pub type Sent = std::result::Result<(), String>;

/// Who a mail goes to.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The address.
    pub email: Email,
    /// The name beside it.
    pub name: Option<DisplayName>,
}

impl Mailer {
    /// As the configuration says.
    ///
    /// # Errors
    /// [`Error::Setup`] when the SMTP URL is none.
    pub fn new(config: &Config) -> Result<Self> {
        let transport = match &config.email.smtp_url {
            None => Transport::Folder(config.email.folder.clone()),
            Some(url) => {
                let smtp = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret());
                // The error is not shown: it may repeat the password.
                let smtp = smtp.map_err(|_| {
                    Error::setup(
                        "`email.smtp_url`: use smtps://USER:PASSWORD@HOST, \
                         smtp://USER:PASSWORD@HOST:587?tls=required, or smtp://HOST:25",
                    )
                })?;
                // A connection for each mail: one that was left in the middle of a dialogue must not
                // be used again, or the answers to the last mail count for the next.
                let smtp = smtp.pool_config(PoolConfig::new().max_size(0));
                Transport::Smtp(Box::new(smtp.timeout(Some(SEND_TIMEOUT)).build()))
            }
        };
        Ok(Self { sender: config.email.from.clone(), transport })
    }

    /// Hands everything to a double.
    #[must_use]
    pub fn double(config: &Config, double: Double) -> Self {
        Self { sender: config.email.from.clone(), transport: Transport::Double(double) }
    }

    /// Hands one mail over, then passes the place `at`. When it returns, the mail was accepted.
    ///
    /// # Errors
    /// Why it was not accepted.
    pub async fn send(
        &self,
        id: &MailId,
        to: &Recipient,
        letter: &Letter,
        now: Timestamp,
        at: FailPoint<'_>,
    ) -> Sent {
        let message = self.message(id, to, letter, now)?;
        self.hand_over(id, message).await?;
        at.reach();
        Ok(())
    }

    async fn hand_over(&self, id: &MailId, message: Message) -> Sent {
        match &self.transport {
            Transport::Smtp(smtp) => {
                let sent = tokio::time::timeout(SEND_TIMEOUT, smtp.send(message)).await;
                let silence = |_| format!("no answer within {} seconds", SEND_TIMEOUT.as_secs());
                sent.map_err(silence)?.map(drop).map_err(told)
            }
            Transport::Double(double) => double(message.formatted()).await,
            Transport::Folder(folder) => {
                let path = folder.join(format!("{id}.eml"));
                // For the owner's eyes only: whoever has a license can use it.
                let written = async {
                    DirBuilder::new().recursive(true).mode(0o700).create(folder).await?;
                    let mut options = OpenOptions::new();
                    options.write(true).create(true).truncate(true).mode(0o600);
                    let mut file = options.open(&path).await?;
                    file.write_all(&message.formatted()).await?;
                    file.sync_all().await
                };
                written.await.map_err(|error| format!("{}: {error}", path.display()))
            }
        }
    }

    fn message(
        &self,
        id: &MailId,
        to: &Recipient,
        letter: &Letter,
        now: Timestamp,
    ) -> std::result::Result<Message, String> {
        let Mailbox { email: sender, .. } = &self.sender.0;
        let domain = sender.domain();
        let address: Address = to.email.as_str().parse().map_err(|_| "not an address")?;
        let name = to.name.as_ref().map(|name| name.as_str().to_owned());
        let both = MultiPart::alternative()
            .singlepart(SinglePart::plain(letter.text.clone()))
            .singlepart(SinglePart::html(letter.html.clone()));
        let mut parts = MultiPart::mixed().multipart(both);
        if let Some(license) = &letter.license {
            let kind = ContentType::parse("application/jwt").map_err(|error| error.to_string())?;
            let attached = Attachment::new("license.jwt".to_owned());
            parts = parts.singlepart(attached.body(license.clone(), kind));
        }
        Message::builder()
            .from(self.sender.0.clone())
            .to(Mailbox::new(name, address))
            .subject(&letter.subject)
            .date(now.to_system_time())
            .message_id(Some(format!("<{id}@{domain}>")))
            .header(ListId(format!("<licenses.{domain}>")))
            .header(AutoSubmitted)
            .multipart(parts)
            .map_err(|error| error.to_string())
    }
}

/// Why the server did not accept it, on one line.
fn told(error: lettre::transport::smtp::Error) -> String {
    use std::error::Error;
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}").replace(['\r', '\n'], " ")
}

/// RFC 2919: lets people sort and filter these mails.
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

/// RFC 3834: keeps holiday notices from being answered to us.
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
