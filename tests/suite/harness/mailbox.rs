//! The mails of a service that writes them into a folder, as the readers of the mailboxes get them.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{Client, PASSWORD, TestApp};

/// A mail, decoded.
#[derive(Debug)]
pub struct Mail {
    pub to: String,
    pub subject: String,
    /// The headers and all parts.
    pub text: String,
}

impl Mail {
    /// Returns the URL of the link of this kind (`verify`, `reset`).
    #[track_caller]
    pub fn link(&self, kind: &str) -> &str {
        let path = format!("/account/{kind}#token=");
        let links = self.text.split_whitespace().filter(|word| word.contains(&path));
        let mut links = links.filter(|word| word.starts_with("http"));
        links.next().unwrap_or_else(|| panic!("no link to {kind} in {}", self.text))
    }

    /// Returns the token of the link of this kind.
    #[track_caller]
    pub fn token(&self, kind: &str) -> String {
        self.link(kind).split_once("#token=").unwrap().1.to_owned()
    }
}

impl TestApp {
    /// Sends the due mails, and takes all mails to this address out of the folder.
    pub async fn take_mails(&self, email: &str) -> Vec<Mail> {
        while self.send_due().await > 0 {}
        take_from(&self.directory.path().join("mail"), email)
    }

    /// Requests another address for a customer, and confirms it by the mailed link.
    pub async fn change_email(&self, me: &Client, email: &str) {
        let change = json!({ "email": email, "current_password": PASSWORD });
        let requested = me.patch("/api/customers/me", &change).await;
        assert_eq!(requested.status, 200, "{}", requested.text);
        let token = self.take_mail(email).await.token("verify");
        let verified = self.client.post("/api/customers/verify", &json!({ "token": token })).await;
        assert_eq!(verified.body["customer"]["email"], email, "{}", verified.text);
    }

    /// Sends the due mails, and takes the only mail to this address out of the folder.
    pub async fn take_mail(&self, email: &str) -> Mail {
        let mails: [Mail; 1] = self.take_mails(email).await.try_into().unwrap();
        let [mail] = mails;
        mail
    }
}

/// Takes all mails to an address out of a folder.
pub fn take_from(folder: &Path, email: &str) -> Vec<Mail> {
    let mut mails = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let source = fs::read_to_string(&path).unwrap();
        let mail = read(&source);
        // The last part of a mail that is still being written has no end.
        if mail.to.contains(email) && source.trim_end().ends_with("--") {
            fs::remove_file(path).unwrap();
            mails.push(mail);
        }
    }
    mails
}

fn read(source: &str) -> Mail {
    let text = decoded(source);
    let header = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    Mail { to: header("To:"), subject: header("Subject:"), text: text.clone() }
}

/// Decodes the quoted-printable parts of a mail.
fn decoded(source: &str) -> String {
    let joined = source.replace("=\r\n", "");
    let mut parts = joined.split('=');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => {
                bytes.push(b'=');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
