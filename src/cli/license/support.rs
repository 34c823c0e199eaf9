//! `licentia license extend`, `revoke` and `resend`.

use std::process::ExitCode;

use chrono::TimeDelta;
use clap::Args;

use crate::app::App;
use crate::cli::operator::customer::{One, license_line};
use crate::cli::operator::json;
use crate::cli::{print, print_json};
use crate::domain::ids::LicenseId;
use crate::domain::license::IssuedLicense;
use crate::domain::license::grant::MAX_DAYS;
use crate::domain::operator::audit::{Actor, OwnedActor};
use crate::domain::private::Private;
use crate::error::Result;
use crate::flows::operator::licenses;

#[derive(Debug, Args)]
pub struct Extend {
    #[command(flatten)]
    one: One,
    /// The number of days, counted from the end of what the customer has
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=MAX_DAYS))]
    days: i64,
    /// A note for support
    #[arg(long, value_name = "TEXT")]
    note: Option<Private>,
}

#[derive(Debug, Args)]
pub struct Revoke {
    /// The license's id
    license: LicenseId,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Resend {
    /// The license's id
    license: LicenseId,
    /// Issue a new license first, in place of this one; needed if it was revoked
    #[arg(long)]
    reissue: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Extend {
    pub async fn run(self, app: &App) -> Result<ExitCode> {
        let (id, days) = (self.one.id(app).await?, TimeDelta::days(self.days));
        let license = licenses::extend(app, Actor::Operator, &id, days, self.note).await?;
        show(app, &license, self.one.json)
    }
}

impl Revoke {
    pub async fn run(self, app: &App) -> Result<ExitCode> {
        show(app, &licenses::revoke(app, Actor::Operator, &self.license).await?, self.json)
    }
}

impl Resend {
    pub async fn run(self, app: &App) -> Result<ExitCode> {
        let by = OwnedActor::Operator;
        let license = licenses::resend(app, &by, &self.license, self.reissue).await?;
        show(app, &license, self.json)
    }
}

fn show(app: &App, license: &IssuedLicense, as_json: bool) -> Result<ExitCode> {
    if as_json {
        return print_json(&json::license(license, app.now()));
    }
    print(format_args!("{}\n", license_line(license)))
}
