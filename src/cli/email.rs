//! `licentia email`: shows the mails, and sends a test mail.

use std::process::ExitCode;

use clap::Args;

use super::{print, with_app};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::contact::Email;
use crate::domain::message::Kind;
use crate::error::Result;
use crate::flows::mail;
use crate::plans;

pub const EXAMPLES: &str = "Examples:
  licentia email --preview trial
  licentia email --preview trial --html > trial.html
  licentia email --preview cancellation --ended
  licentia email --send-test ada@example.com";

#[derive(Debug, Args)]
pub struct EmailCommand {
    #[command(flatten)]
    action: Action,
    /// With --preview: show the HTML instead of the plain text
    #[arg(long, requires = "preview")]
    html: bool,
    /// With --preview: show the mail for a license that no longer works
    #[arg(long, requires = "preview")]
    ended: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Action {
    /// Show a mail with a sample license. KIND is trial, granted, upgrade, renewal,
    /// payment_pending, payment_problem or cancellation
    #[arg(long, value_name = "KIND")]
    preview: Option<Kind>,
    /// Send a trial mail with a sample license to this address
    #[arg(long, value_name = "EMAIL")]
    send_test: Option<Email>,
}

impl EmailCommand {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        match self.action.send_test {
            Some(to) => send_test(config, to),
            None => self.show(config),
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
    print(format_args!("The mail to {to} was accepted.\n"))
}
