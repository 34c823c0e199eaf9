//! The arguments of `licentia customer create`, `change` and `link`.

use std::process::ExitCode;

use clap::Args;

use crate::app::App;
use crate::cli::operator::customer::{One, print_record};
use crate::domain::account::metadata::Metadata;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::operator::audit::{Actor, OwnedActor};
use crate::domain::sale::buyer::BuyerId;
use crate::error::Result;
use crate::flows::account::customer::Change as FieldChange;
use crate::flows::operator::support::{self, NewCustomer, RecordChange};

/// A text that support keeps.
type Pair = (String, String);

/// Returns a key and a value.
fn pair(text: &str) -> std::result::Result<Pair, String> {
    let (key, value) = text.split_once('=').ok_or("use KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Debug, Args)]
pub struct Create {
    /// The email address, which is also the login
    email: Email,
    /// You vouch for the address
    #[arg(long)]
    verified: bool,
    /// The person's name
    #[arg(long, value_name = "NAME")]
    name: Option<DisplayName>,
    /// The company's name
    #[arg(long, value_name = "NAME")]
    company: Option<DisplayName>,
    /// A text that support keeps; can be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<Pair>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Change {
    #[command(flatten)]
    one: One,
    /// The new address, which takes effect at once
    #[arg(long, value_name = "EMAIL")]
    email: Option<Email>,
    /// The address is verified
    #[arg(long)]
    verified: bool,
    /// The address is not verified
    #[arg(long, conflicts_with = "verified")]
    unverified: bool,
    /// The person's name; an empty one removes it
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<Name>,
    /// The company's name; an empty one removes it
    #[arg(long, value_name = "NAME", value_parser = name)]
    company: Option<Name>,
    /// A text that support keeps; can be given several times, and replaces all kept ones
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<Pair>,
}

/// A name, or none to remove it.
#[derive(Clone, Debug)]
struct Name(Option<DisplayName>);

fn name(text: &str) -> std::result::Result<Name, String> {
    if text.is_empty() {
        return Ok(Name(None));
    }
    text.parse()
        .map(|name| Name(Some(name)))
        .map_err(|error: crate::domain::contact::InvalidName| error.to_string())
}

impl Name {
    fn change(given: Option<Self>) -> FieldChange<DisplayName> {
        match given {
            None => FieldChange::Keep,
            Some(Self(None)) => FieldChange::Clear,
            Some(Self(Some(name))) => FieldChange::Set(name),
        }
    }
}

#[derive(Debug, Args)]
pub struct Link {
    #[command(flatten)]
    one: One,
    /// The Stripe customer, `cus_…`, or the Checkout session of a single payment, `cs_…`
    #[arg(required_unless_present = "remove", conflicts_with = "remove")]
    buyer: Option<BuyerId>,
    /// Remove the link
    #[arg(long)]
    remove: bool,
}

impl Create {
    pub async fn run(self, app: &App) -> Result<ExitCode> {
        let new = NewCustomer {
            email: self.email,
            email_verified: self.verified,
            name: self.name,
            company_name: self.company,
            metadata: Metadata::new(self.metadata)?,
        };
        let id = support::create(app, Actor::Operator, new).await?;
        print_record(app, &id, self.json).await
    }
}

impl Change {
    pub async fn run(self, app: &App) -> Result<ExitCode> {
        let id = self.one.id(app).await?;
        let metadata = Some(self.metadata).filter(|pairs| !pairs.is_empty());
        let change = RecordChange {
            email: self.email,
            email_verified: (self.verified || self.unverified).then_some(self.verified),
            name: Name::change(self.name),
            company_name: Name::change(self.company),
            metadata: metadata.map(Metadata::new).transpose()?,
        };
        support::change(app, Actor::Operator, &id, change).await?;
        print_record(app, &id, self.one.json).await
    }
}

impl Link {
    pub async fn run(self, app: &App) -> Result<ExitCode> {
        let id = self.one.id(app).await?;
        support::link(app, OwnedActor::Operator, &id, self.buyer).await?;
        print_record(app, &id, self.one.json).await
    }
}
