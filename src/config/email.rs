//! The settings under `email`: the SMTP server or folder that mails go to, and their sender.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::Origin;
use crate::domain::contact::Sender;
use crate::domain::message::Language;
use crate::settings::Section;

/// Every form of `email.smtp_url`.
const FORMS: &str = "use smtps://USER:PASSWORD@HOST, \
     smtp://USER:PASSWORD@HOST:587?tls=required, or smtp://HOST:25";

/// The problem of a password that would be sent in clear text (SECURITY 41).
const PLAIN_PASSWORD: &str = "this would send the password without TLS; use \
     smtps://USER:PASSWORD@HOST, or smtp://USER:PASSWORD@HOST:587?tls=required if the server \
     offers STARTTLS";

/// The settings under `email`.
#[derive(Clone, Debug)]
pub struct EmailConfig {
    /// The SMTP server. Default none: mails are written to `folder`. A secret: it may contain a
    /// password.
    pub smtp_url: Option<SmtpServer>,
    /// The sender of every mail. Default `licenses@` the host of `public_url`.
    pub from: Sender,
    /// The folder for mails while there is no SMTP server. Default `mail`.
    pub folder: PathBuf,
    /// The folder of templates that replace the built-in ones. Default none.
    pub templates: Option<PathBuf>,
    /// The language of mails to customers whose language is unknown: `en` (default) or `de`.
    pub language: Language,
}

impl EmailConfig {
    pub(super) fn read(mut section: Section, public_url: &Origin) -> Self {
        let smtp_url = section.secret("smtp_url");
        let smtp_url = smtp_url.and_then(|url| {
            let server = url.expose_secret().parse::<SmtpServer>();
            server.map_err(|problem| section.problem("smtp_url", problem)).ok()
        });
        let from = section.parsed("from");
        let folder = section.text("folder").map_or_else(|| "mail".into(), PathBuf::from);
        let templates = section.text("templates").map(PathBuf::from);
        let language = section.parsed("language").unwrap_or_default();
        section.finish();
        let from = from.unwrap_or_else(|| Sender::of(public_url.host()));
        Self { smtp_url, from, folder, templates, language }
    }
}

/// An SMTP server, as `email.smtp_url` names it.
#[derive(Clone, Debug)]
pub struct SmtpServer {
    /// A host name or an IP address.
    pub host: String,
    /// Default 465 for `smtps://`, 587 with STARTTLS, 25 otherwise.
    pub port: u16,
    /// When TLS begins.
    pub encryption: Encryption,
    /// User and password. They are sent only over TLS or to this machine.
    pub credentials: Option<(String, SecretString)>,
    /// The name for `EHLO`, from the URL's path. Default: this machine's host name.
    pub hello_name: Option<String>,
}

/// When TLS begins on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// `smtp://`: never.
    None,
    /// `smtp://…?tls=opportunistic`: after STARTTLS, if the server offers it.
    Opportunistic,
    /// `smtp://…?tls=required`: after STARTTLS, which the server must offer.
    StartTls,
    /// `smtps://`: immediately.
    Implicit,
}

impl FromStr for SmtpServer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| FORMS)?;
        let tls = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value);
        let (encryption, port) = match (url.scheme(), tls.as_deref()) {
            ("smtp", None) => (Encryption::None, 25),
            ("smtp", Some("opportunistic")) => (Encryption::Opportunistic, 587),
            ("smtp", Some("required")) => (Encryption::StartTls, 587),
            ("smtps", _) => (Encryption::Implicit, 465),
            _ => return Err(FORMS),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(FORMS),
        };
        let decoded = |text| percent_decode_str(text).decode_utf8().map_err(|_| FORMS);
        let credentials = match url.password() {
            Some(password) => {
                let user = decoded(url.username())?.into_owned();
                Some((user, SecretString::from(decoded(password)?.into_owned())))
            }
            None => None,
        };
        let always_encrypted = matches!(encryption, Encryption::StartTls | Encryption::Implicit);
        if credentials.is_some() && !always_encrypted && !is_loopback(&host) {
            return Err(PLAIN_PASSWORD);
        }
        let hello_name = Some(url.path().trim_matches('/')).filter(|name| !name.is_empty());
        Ok(Self {
            host,
            port: url.port().unwrap_or(port),
            encryption,
            credentials,
            hello_name: hello_name.map(str::to_owned),
        })
    }
}

/// Returns whether a host is this machine.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_names_host_port_encryption_and_credentials() {
        let parsed = |url: &str| {
            let server: SmtpServer = url.parse().unwrap();
            let credentials = server
                .credentials
                .map(|(user, password)| format!("{user}:{}", password.expose_secret()));
            (server.host, server.port, server.encryption, credentials)
        };
        let on = |host: &str, port, encryption| (host.to_owned(), port, encryption, None);
        assert_eq!(parsed("smtp://mail.example"), on("mail.example", 25, Encryption::None));
        assert_eq!(parsed("smtp://[::1]:2525"), on("::1", 2525, Encryption::None));
        let (_, port, encryption, credentials) =
            parsed("smtps://ada%40acme.example:a%2Fb@mail.example");
        assert_eq!((port, encryption), (465, Encryption::Implicit));
        assert_eq!(credentials.as_deref(), Some("ada@acme.example:a/b"));
        let (_, port, encryption, _) = parsed("smtp://u:p@mail.example?tls=required");
        assert_eq!((port, encryption), (587, Encryption::StartTls));
        let named: SmtpServer = "smtp://mail.example/licenses.acme.example".parse().unwrap();
        assert_eq!(named.hello_name.as_deref(), Some("licenses.acme.example"));
        for wrong in ["mail.example", "http://mail.example", "smtp://", "smtp://a?tls=yes"] {
            assert_eq!(wrong.parse::<SmtpServer>().err(), Some(FORMS), "{wrong}");
        }
    }

    #[test]
    fn security_41_a_password_goes_over_tls_or_stays_on_this_machine() {
        for leaks in [
            "smtp://user:canary@mail.example",
            "smtp://user:canary@mail.example:587?tls=opportunistic",
            "smtp://user:canary@10.0.0.7",
            "smtp://user:canary@localhost.mail.example",
        ] {
            assert_eq!(leaks.parse::<SmtpServer>().err(), Some(PLAIN_PASSWORD), "{leaks}");
        }
        for safe in [
            "smtps://user:canary@mail.example",
            "smtp://user:canary@mail.example?tls=required",
            "smtp://user:canary@localhost:1025",
            "smtp://user:canary@127.0.0.1",
            "smtp://user:canary@[::1]",
            "smtp://mail.example",
        ] {
            let server: SmtpServer = safe.parse().unwrap();
            assert!(!format!("{server:?}").contains("canary"), "a secret is in Debug: {safe}");
        }
    }
}
