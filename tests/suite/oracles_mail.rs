//! Third-party tools that read our mails: Python reads every mail, a browser shows it, and aiosmtpd
//! receives it. They need what `oracles` needs.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use licentia::domain::ids::MailId;
use licentia::domain::message::{Kind, Language};
use licentia::domain::time::Timestamp;
use licentia::fail_point::{self, FailPoints};
use licentia::mailer::{Mailer, Recipient};
use licentia::{plans, templates};

use crate::harness::process::{Server, licentia};
use crate::harness::{START, TestDatabase, config};
use crate::oracles::{WHY, must_succeed, oracles};

/// Names that a reader of mail headers can misunderstand: as a host, a list, or an address.
const DIFFICULT_NAMES: [&str; 4] = [".NET", "Acme, Inc.", "booking.com", "Größe \"A\" <b@c.d>"];

/// Python's `email` with the policy for new programs is stricter than most mail programs.
#[tokio::test]
#[ignore = "needs Python: run ./scripts/test"]
async fn the_python_email_package_reads_every_mail() {
    for name in DIFFICULT_NAMES {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let sender = format!("{name} <licenses@acme.example>");
        let settings = [("LICENTIA_EMAIL__FROM", sender.as_str())];
        let config = config(directory.path(), &database, &settings);
        let mailer = Mailer::new(&config).unwrap();
        let templates = templates::load(&config.email).unwrap();
        let mut catalog = plans::load(None).unwrap();
        name.clone_into(&mut catalog.name);
        let to = Recipient {
            email: "ada@example.com".parse().unwrap(),
            name: Some(name.parse().unwrap()),
        };
        let now = Timestamp::saturating(START);
        let mut written = 0;
        for language in Language::ALL {
            for sample in Kind::all_cases() {
                let letter = templates.preview(sample, language, &catalog, now).unwrap();
                written += 1;
                let (id, points) = (MailId::from_random(written), FailPoints::default());
                let at = points.at(fail_point::Place::TestMailSent);
                mailer.send(&id, &to, &letter, now, at).await.unwrap();
            }
        }
        let said = must_succeed(
            Command::new(oracles().join(".venv/bin/python"))
                .arg(oracles().join("parse_mail.py"))
                .arg(directory.path().join("mail"))
                .args([name, name, name]),
        );
        assert!(said.starts_with(&format!("read {written} mails, ")), "{said}");
    }
}

#[test]
#[ignore = "needs Node and Chromium: run ./scripts/test"]
fn a_browser_shows_every_mail_at_390_pixels() {
    let directory = tempfile::tempdir().unwrap();
    let previews = directory.path().join("previews");
    must_succeed(licentia(directory.path()).args(["email", "preview", "--all"]).arg(&previews));
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mail_screenshots");
    std::fs::create_dir_all(&screenshots).unwrap();
    let said = must_succeed(
        Command::new("node").arg(oracles().join("show_mail.mjs")).args([&previews, &screenshots]),
    );
    let texts = 2 * Language::ALL.len() * Kind::all_cases().count();
    assert_eq!(said, format!("showed {texts} texts\n"));
}

/// A real third-party SMTP server that handles mails as it is configured.
struct SmtpServer {
    child: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    port: String,
}

impl SmtpServer {
    fn start(answers: &str) -> Self {
        let mut child = Command::new(oracles().join(".venv/bin/python"))
            .arg(oracles().join("smtp_server.py"))
            .arg(answers)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect(WHY);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().expect(WHY).unwrap();
        Self { child, lines, port }
    }

    /// Returns the next mail that it received.
    fn mail(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Signs a customer up at a server that mails over SMTP.
async fn sign_up_over_smtp(smtp: &SmtpServer) -> (Server, tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let url = format!("smtp://127.0.0.1:{}", smtp.port);
    let server = Server::start(
        directory.path(),
        &database,
        &[
            ("LICENTIA_EMAIL__SMTP_URL", url.as_str()),
            ("LICENTIA_EMAIL__FROM", "Acme Licenses <licenses@acme.example>"),
        ],
    );
    let request = serde_json::json!({
        "email": "ada@example.com", "password": "SecurePass123", "name": "Ada Lövelace",
    });
    let answer = server.client.post("/api/customers/signup", &request).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    (server, directory, answer.text("/license/token").to_owned())
}

#[tokio::test]
#[ignore = "needs Python: run ./scripts/test"]
async fn aiosmtpd_receives_the_mail_with_the_license() {
    let mut smtp = SmtpServer::start("");
    let (_server, _directory, token) = sign_up_over_smtp(&smtp).await;
    let mail = smtp.mail();
    assert_eq!(
        (&mail["from"], &mail["to"][0]),
        (&"licenses@acme.example".into(), &"ada@example.com".into())
    );
    assert_eq!(mail["subject"], "Your trial of acme-app");
    let files = mail["files"].as_object().unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["license.json", "license.jwt"]);
    assert_eq!(files["license.jwt"], token.as_str());
    let file: serde_json::Value =
        serde_json::from_str(files["license.json"].as_str().unwrap()).unwrap();
    assert_eq!(file["license"], token.as_str());
    assert!(mail["text"].as_str().unwrap().starts_with("Hello,\r\n"), "{mail}");
    assert!(mail["message_id"].as_str().unwrap().ends_with("@acme.example>"), "{mail}");
}

/// The mail is refused temporarily, cut off, and left without a response after the data. In the end
/// it is accepted, and copies that were possibly accepted before have the same Message-ID.
#[tokio::test]
#[ignore = "needs Python: run ./scripts/test"]
async fn aiosmtpd_receives_the_mail_after_it_refused_disconnected_and_hung() {
    let mut smtp = SmtpServer::start("451,drop,hang,ok");
    let (server, _directory, token) = sign_up_over_smtp(&smtp).await;
    let (hung, taken) = (smtp.mail(), smtp.mail());
    assert_eq!(
        (&taken["files"]["license.jwt"], &taken["message_id"]),
        (&token.as_str().into(), &hung["message_id"])
    );
    // The delay of the mail delays nothing else.
    assert_eq!(server.client.get("/health/ready").await.status, 200);
}
