//! `licentia email`: previews mails, sends a test mail, and lists or retries the mails that were
//! given up. The texts are in [`crate::domain::message`].

use std::process::ExitCode;

use clap::Args;

use crate::cli::{print, with_app};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::contact::Email;
use crate::domain::ids::CustomerId;
use crate::domain::message::Kind;
use crate::domain::outbox::GivenUpMail;
use crate::error::Result;
use crate::flows::mail;
use crate::plans;

pub const EXAMPLES: &str = "Examples:
  licentia email --preview trial
  licentia email --preview trial --html > trial.html
  licentia email --preview cancellation --ended
  licentia email --send-test ada@example.com
  licentia email --list-failed
  licentia email --retry-failed";

#[derive(Debug, Args)]
pub struct EmailCommand {
    #[command(flatten)]
    action: Action,
    /// With --preview: show the HTML instead of the plain text
    #[arg(long, requires = "preview")]
    html: bool,
    /// With --preview: show the mail for a license that has ended
    #[arg(long, requires = "preview")]
    ended: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Action {
    /// Show a mail with made-up facts: trial, granted, upgrade, renewal, reissue, payment_pending,
    /// payment_problem, cancellation, signed_up, confirm_signup, account_exists, recovered, verify,
    /// verify_address, address_change_requested, address_changed, address_undone, reset,
    /// password_changed or account_deleted
    #[arg(long, value_name = "KIND")]
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
        match self.action {
            Action { send_test: Some(to), .. } => send_test(config, to),
            Action { list_failed: true, .. } => list_failed(config),
            Action { retry_failed: true, .. } => {
                let retried = with_app(config, mail::retry_given_up)?;
                print(format_args!("{retried} mails will be retried.\n"))
            }
            Action { .. } => self.show(config),
        }
    }

    fn show(self, config: &Config) -> Result<ExitCode> {
        let catalog = plans::load(config.plans_file.as_deref())?;
        let kind = self.action.preview.unwrap_or(Kind::Trial);
        let letter = mail::preview(&catalog, kind, self.ended, SystemClock.now())?;
        if self.html {
            return print(letter.html);
        }
        print(format_args!("Subject: {}\n\n{}", letter.subject, letter.text))
    }
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
