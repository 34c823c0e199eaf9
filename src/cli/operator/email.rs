//! `licentia email`: previews mails, sends a test mail, and lists or retries the mails that were
//! given up. The texts are in [`crate::domain::message`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::{WRONG_CALL, complain, print, with_app};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::contact::Email;
use crate::domain::ids::CustomerId;
use crate::domain::message::{Case, Kind, Language, Letter};
use crate::domain::outbox::GivenUpMail;
use crate::error::{Error, Result};
use crate::flows::mail;
use crate::{plans, templates};

pub const EXAMPLES: &str = "Examples:
  licentia email preview trial
  licentia email preview renewal --case offline --language de
  licentia email preview trial --html > trial.html
  licentia email preview --all previews
  licentia email templates my-templates
  licentia email --send-test ada@example.com
  licentia email --list-failed
  licentia email --retry-failed";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct EmailCommand {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    action: Action,
    /// With --preview: show the HTML instead of the plain text
    #[arg(long, requires = "preview", hide = true)]
    html: bool,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Show mails with made-up facts, from your templates if `email.templates` is set
    #[command(after_help = "Examples:
  licentia email preview
  licentia email preview payment_problem --case no_license
  licentia email preview --all previews --language de")]
    Preview(Preview),
    /// Write the built-in templates into a folder, to change them
    ///
    /// Existing files are kept. Delete the files that you do not change, and set
    /// `email.templates` to the folder.
    #[command(after_help = "Example:\n  licentia email templates /etc/licentia/mails")]
    Templates {
        /// The folder
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Preview {
    /// The mail; without it, every mail is shown
    kind: Option<Kind>,
    /// The case of the mail: by default its first one
    #[arg(long, requires = "kind")]
    case: Option<Case>,
    /// The language: en or de [default: `email.language`]
    #[arg(long)]
    language: Option<Language>,
    /// Show the HTML instead of the plain text
    #[arg(long, requires = "kind")]
    html: bool,
    /// Write every mail in every case into this folder, as text and HTML
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kind", "case", "html"])]
    all: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Action {
    /// The same as `licentia email preview KIND`
    #[arg(long, value_name = "KIND", hide = true)]
    preview: Option<Kind>,
    /// Send a trial mail with a sample license to this address
    #[arg(long, value_name = "EMAIL")]
    send_test: Option<Email>,
    /// List the mails that were given up: refused permanently, or not accepted within three days
    #[arg(long)]
    list_failed: bool,
    /// Retry every mail that was given up; the running server sends them within seconds
    #[arg(long)]
    retry_failed: bool,
}

impl EmailCommand {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        match (self.command, self.action) {
            (Some(Subcommands::Preview(preview)), _) => preview.run(config),
            (Some(Subcommands::Templates { folder }), _) => {
                let written = templates::export(&folder)?;
                print(format_args!("{written} templates were written.\n"))
            }
            (None, Action { send_test: Some(to), .. }) => send_test(config, to),
            (None, Action { list_failed: true, .. }) => list_failed(config),
            (None, Action { retry_failed: true, .. }) => {
                let retried = with_app(config, mail::retry_given_up)?;
                print(format_args!("{retried} mails will be retried.\n"))
            }
            (None, Action { preview: kind, .. }) => {
                let html = self.html;
                Preview { kind, case: None, language: None, html, all: None }.run(config)
            }
        }
    }
}

impl Preview {
    fn run(self, config: &Config) -> Result<ExitCode> {
        let catalog = plans::load(config.plans_file.as_deref())?;
        let templates = templates::load(&config.email)?;
        let now = SystemClock.now();
        let show = |kind, case, language| {
            let letter = templates.preview((kind, case), language, &catalog, now);
            letter.map_err(|invalid| Error::setup(format!("a mail cannot be written: {invalid}")))
        };
        if let Some(folder) = &self.all {
            let languages = self.language.map_or(Language::ALL.to_vec(), |language| vec![language]);
            return write_all(folder, &languages, show);
        }
        let language = self.language.unwrap_or(config.email.language);
        let Some(kind) = self.kind else {
            for (kind, case) in Kind::all_cases() {
                let text = as_text(&show(kind, case, language)?);
                print(format_args!("===== {kind}, case {case}\n\n{text}\n"))?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let case = self.case.unwrap_or(kind.usual_case());
        if !kind.cases().contains(&case) {
            let cases: Vec<_> = kind.cases().iter().map(|case| case.as_str()).collect();
            let cases = cases.join(", ");
            complain(format_args!("{kind} has no case {case}; its cases: {cases}"));
            return Ok(ExitCode::from(WRONG_CALL));
        }
        let letter = show(kind, case, language)?;
        print(if self.html { letter.html } else { as_text(&letter) })
    }
}

fn as_text(letter: &Letter) -> String {
    format!("Subject: {}\n\n{}", letter.subject, letter.text)
}

/// Writes every mail in every case into a folder: `LANGUAGE/KIND.CASE.txt` and `.html`.
fn write_all(
    folder: &Path,
    languages: &[Language],
    show: impl Fn(Kind, Case, Language) -> Result<Letter>,
) -> Result<ExitCode> {
    let mut written = 0;
    for language in languages {
        let folder = folder.join(language.as_str());
        let failed = |error: std::io::Error| {
            Error::setup(format!("{} cannot be written: {error}", folder.display()))
        };
        fs::create_dir_all(&folder).map_err(failed)?;
        for (kind, case) in Kind::all_cases() {
            let letter = show(kind, case, *language)?;
            let path = |ending| folder.join(format!("{kind}.{case}.{ending}"));
            fs::write(path("txt"), as_text(&letter)).map_err(failed)?;
            fs::write(path("html"), letter.html).map_err(failed)?;
            written += 1;
        }
    }
    print(format_args!("{written} mails were written.\n"))
}

fn send_test(config: &Config, to: Email) -> Result<ExitCode> {
    with_app(config, async |app| mail::send_test(app, Kind::Trial, to.clone()).await)?;
    print(format_args!("The mail server accepted the mail to {to}.\n"))
}

fn list_failed(config: &Config) -> Result<ExitCode> {
    let failed = with_app(config, mail::given_up)?;
    for GivenUpMail { mail_id, customer_id, kind, given_up_at, last_error } in &failed {
        let reason = last_error.as_deref().unwrap_or("unknown reason");
        let customer = customer_id.as_ref().map_or("no customer", CustomerId::as_str);
        print(format_args!("{mail_id}  {customer}  {kind}  given up {given_up_at}: {reason}\n"))?;
    }
    match i64::try_from(failed.len()) {
        Ok(0) => print("No mail was given up.\n"),
        Ok(mail::MAX_LISTED) => print("These are the oldest; there may be more.\n"),
        _ => Ok(ExitCode::SUCCESS),
    }
}
