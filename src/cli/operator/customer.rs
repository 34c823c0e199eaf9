//! `licentia customer`: finds, shows and changes a customer, as the admin API does.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::operator::changes::{Change, Create, Link};
use crate::cli::operator::events;
use crate::cli::operator::json;
use crate::cli::{NO, note, print, print_json, with_app};
use crate::config::Config;
use crate::domain::ids::CustomerId;
use crate::domain::license::Basis;
use crate::domain::license::parts::parts_text;
use crate::domain::operator::audit::{Actor, OwnedActor};
use crate::domain::operator::search::Search;
use crate::domain::page::{Cursor, MAX_ENTRIES, Page, PageRequest};
use crate::domain::private::Private;
use crate::domain::sale::addon_ids::AddonIds;
use crate::error::{Error, Result};
use crate::flows::operator::customers::{self, Found, Why};
use crate::flows::operator::support;

pub const EXAMPLES: &str = "Examples:
  licentia customer find ada@exam
  licentia customer show ada@example.com
  licentia customer why cus_Qx1…
  licentia customer sync ada@example.com
  licentia customer change ada@example.com --email ada.king@example.com --verified
  licentia customer reset ada@example.com

CUSTOMER is an id (cust_…), a whole email address, or any other key that `find` accepts and that
finds exactly one customer: a license or its id, an order, or an id at Stripe.";

#[derive(Debug, Args)]
pub struct CustomerCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Find customers by any key: an id, an address or its beginning, or words of a name
    #[command(after_help = "Examples:\n  licentia customer find ada@exam\n  \
                            licentia customer find \"ada king\" --json")]
    Find {
        /// The query
        query: Private,
        #[command(flatten)]
        pages: Pages,
    },
    /// Show what is stored about a customer
    #[command(after_help = "Example:\n  licentia customer show ada@example.com")]
    Show(One),
    /// Explain the current license of a customer, and why the customer has it
    ///
    /// Prints what the license says, the verdict of an app that has the newest keys and status
    /// list, and what changes next: the sentences of `licentia license explain`. The reasons
    /// follow, each with its time.
    #[command(after_help = "Example:\n  licentia customer why ada@example.com")]
    Why(One),
    /// Show what happened to a customer, newest first
    #[command(after_help = "Example:\n  licentia customer timeline ada@example.com --limit 100")]
    Timeline(List),
    /// List the licenses of a customer, newest first
    #[command(after_help = "Example:\n  licentia customer licenses ada@example.com")]
    Licenses(List),
    /// List the orders of a customer with their Stripe ids, newest first
    #[command(after_help = "Example:\n  licentia customer orders ada@example.com --json")]
    Orders(List),
    /// List the mails to a customer, newest first
    #[command(after_help = "Example:\n  licentia customer mails ada@example.com")]
    Mails(List),
    /// List the events about a customer, newest first
    #[command(after_help = "Example:\n  licentia customer events ada@example.com")]
    Events(List),
    /// Sync a customer with Stripe and print what changed
    ///
    /// Exits with 1 if an operator must act on an alert.
    #[command(after_help = "Example:\n  licentia customer sync ada@example.com")]
    Sync(One),
    /// Create a customer without a password and without a license
    #[command(after_help = "Example:\n  licentia customer create ada@example.com --verified \
                            --name \"Ada King\" --metadata crm=4711")]
    Create(Create),
    /// Change the address, the names or the metadata of a customer
    ///
    /// A new address takes effect at once, and both addresses get a notice.
    #[command(after_help = "Example:\n  licentia customer change ada@example.com --email \
                            ada.king@example.com --verified")]
    Change(Change),
    /// Delete a customer with all licenses; subscriptions are canceled first
    #[command(after_help = "Example:\n  licentia customer delete cust_0123… --yes")]
    Delete {
        #[command(flatten)]
        one: One,
        /// Really delete the customer
        #[arg(long)]
        yes: bool,
    },
    /// Link a customer to a Stripe customer, or remove the link
    #[command(after_help = "Examples:\n  licentia customer link ada@example.com cus_Qx1…\n  \
                            licentia customer link ada@example.com --remove")]
    Link(Link),
    /// Mail a customer the link that sets a password
    #[command(after_help = "Example:\n  licentia customer reset ada@example.com")]
    Reset(One),
    /// End all login sessions of a customer
    #[command(after_help = "Example:\n  licentia customer logout ada@example.com")]
    Logout(One),
}

/// One customer.
#[derive(Clone, Debug, Args)]
pub struct One {
    /// The customer: an id, a whole email address, or another key
    customer: Private,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
struct Pages {
    /// The maximum number of entries to print
    #[arg(long, value_name = "NUMBER", default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(1..=MAX_ENTRIES as u64))]
    limit: u64,
    /// The place of the next page, as printed after the previous one
    #[arg(long, value_name = "PLACE")]
    after: Option<Cursor>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Pages {
    fn request(&self) -> PageRequest {
        let limit = usize::try_from(self.limit).unwrap_or(MAX_ENTRIES);
        PageRequest { after: self.after.clone(), limit }
    }

    /// Prints a page.
    fn print<T>(
        &self,
        name: &str,
        page: &Page<T>,
        json: impl Fn(&T) -> Value,
        line: impl Fn(&T) -> String,
    ) -> Result<ExitCode> {
        let next = page.next_after.as_ref().map(ToString::to_string);
        if self.json {
            let entries: Vec<_> = page.entries.iter().map(json).collect();
            return print_json(&json!({ name: entries, "next_after": next }));
        }
        for entry in &page.entries {
            print(format_args!("{}\n", line(entry)))?;
        }
        if let Some(next) = next {
            note(format_args!("There are more: --after {next}\n"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
struct List {
    /// The customer: an id, a whole email address, or another key
    customer: Private,
    #[command(flatten)]
    pages: Pages,
}

impl One {
    /// Returns the customer's id.
    pub async fn id(&self, app: &App) -> Result<CustomerId> {
        resolve(app, self.customer.as_str()).await
    }
}

/// Returns the customer that a key finds.
async fn resolve(app: &App, key: &str) -> Result<CustomerId> {
    if let Ok(id) = key.parse::<CustomerId>() {
        return Ok(id);
    }
    let most = PageRequest { after: None, limit: 2 };
    let page = customers::find(app, &Search::parse(key), &most).await?;
    let (found, has_more) = (page.entries, page.next_after.is_some());
    let is_whole = |found: &&Found| found.customer.email.as_str() == key.trim().to_lowercase();
    match (found.as_slice(), found.iter().find(is_whole)) {
        (_, Some(found)) => Ok(found.customer.customer_id.clone()),
        ([found], None) if !has_more => Ok(found.customer.customer_id.clone()),
        ([], None) if !has_more => Err(Error::NotFound("customer")),
        ([], None) => Err(Error::setup(
            "these words are too common to search all customers; add a word, or give an id or a \
             whole address",
        )),
        _ => Err(Error::setup(
            "several customers match; choose one by `licentia customer find`, and give the id",
        )),
    }
}

impl CustomerCommand {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        with_app(config, async |app| self.act(app).await)
    }

    async fn act(self, app: &App) -> Result<ExitCode> {
        match self.action {
            Action::Find { query, pages } => find(app, &query, &pages).await,
            Action::Show(one) => show(app, &one).await,
            Action::Why(one) => why(app, &one).await,
            Action::Create(create) => create.run(app).await,
            Action::Change(change) => change.run(app).await,
            Action::Link(link) => link.run(app).await,
            Action::Sync(one) => sync(app, &one).await,
            Action::Delete { one, yes } => delete(app, &one, yes).await,
            Action::Reset(one) => {
                let id = one.id(app).await?;
                support::send_password_reset(app, Actor::Operator, &id).await?;
                let text = "The running server sends the mail within seconds.";
                done(&one, &json!({ "customer_id": id.as_str(), "requested": true }), text)
            }
            Action::Logout(one) => {
                let id = one.id(app).await?;
                let ended = support::end_sessions(app, Actor::Operator, &id).await?;
                let text = format!("{ended} login sessions were ended.");
                done(&one, &json!({ "sessions_ended": ended }), &text)
            }
            list => list_of(app, list).await,
        }
    }
}

/// Prints the result of a change.
fn done(one: &One, as_json: &Value, text: &str) -> Result<ExitCode> {
    if one.json { print_json(as_json) } else { print(format_args!("{text}\n")) }
}

async fn find(app: &App, query: &Private, pages: &Pages) -> Result<ExitCode> {
    let page = customers::find(app, &Search::parse(query.as_str()), &pages.request()).await?;
    let as_json = |Found { customer: found, license }: &Found| {
        json!({
            "customer_id": found.customer_id.as_str(),
            "email": found.email.as_str(),
            "email_verified": found.email_verified_at.is_some(),
            "name": found.name.as_ref().map(ToString::to_string),
            "company_name": found.company_name.as_ref().map(ToString::to_string),
            "stripe_customer_id": found.stripe_customer_id.as_ref().map(ToString::to_string),
            "license_id": license.as_ref().map(|license| license.license_id.as_str()),
            "plan": license.as_ref().map(|license| license.plan.as_str()),
            "created_at": found.created_at.to_string(),
        })
    };
    let line = |Found { customer: found, .. }: &Found| {
        let names = [&found.name, &found.company_name].into_iter().flatten();
        let names: Vec<_> = names.map(ToString::to_string).collect();
        format!("{}  {}  {}", found.customer_id, found.email, names.join(", "))
    };
    pages.print("customers", &page, as_json, line)?;
    Ok(if page.entries.is_empty() { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

async fn show(app: &App, one: &One) -> Result<ExitCode> {
    print_record(app, &one.id(app).await?, one.json).await
}

/// Prints what is stored about a customer.
pub async fn print_record(app: &App, id: &CustomerId, as_json: bool) -> Result<ExitCode> {
    let record = customers::record(app, id).await?;
    if as_json {
        return print_json(&json::record(&record, app));
    }
    let customer = &record.customer;
    let none = || "none".to_owned();
    let verified = if customer.is_email_verified() { "verified" } else { "not verified" };
    print(format_args!("{}  {} ({verified})\n", customer.customer_id, customer.email))?;
    for (label, value) in [
        ("name", customer.name.as_ref().map(ToString::to_string)),
        ("company", customer.company_name.as_ref().map(ToString::to_string)),
        ("Stripe customer", customer.stripe_customer_id.as_ref().map(ToString::to_string)),
        ("last sync", json::time(record.synced_at)),
        ("payment method", record.default_payment_method.clone()),
        (
            "subscription",
            record.subscription.as_ref().map(|row| {
                let plan = row.plan.as_deref().unwrap_or("no plan");
                let billed = row.billed(&app.plans);
                let units = billed.quantity.filter(|units| *units > 1);
                let parts = parts_text(units, &billed.addons.texts(), None);
                format!("{} {plan}{parts}, {}", row.stripe_subscription_id, row.status)
            }),
        ),
        ("license", record.license.as_ref().map(license_line)),
    ] {
        print(format_args!("{label:<16} {}\n", value.unwrap_or_else(none)))?;
    }
    for (key, value) in record.metadata.values() {
        print(format_args!("metadata         {key} = {value}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns a license as one line.
pub fn license_line(license: &crate::domain::license::IssuedLicense) -> String {
    let until = license.expires_at.map_or("without an end".into(), |end| format!("until {end}"));
    let state = match (license.revoked_at, license.superseded_at) {
        (Some(at), _) => format!(", revoked {at}"),
        (None, Some(at)) => format!(", replaced {at}"),
        (None, None) => String::new(),
    };
    let (id, plan) = (&license.license_id, &license.plan);
    // The stored source of everything that was paid for is `subscription`.
    let source = license.bought_by().map_or(license.source.as_str(), Basis::as_str);
    format!("{id} {plan} ({source}) {until}{}{state}", license.parts_text())
}

async fn why(app: &App, one: &One) -> Result<ExitCode> {
    let Why { record, explanation, reasons } = customers::why(app, &one.id(app).await?).await?;
    if one.json {
        let reasons: Vec<_> = reasons
            .iter()
            .map(|reason| {
                json!({
                    "at": reason.at.to_string(),
                    "text": reason.text,
                    "about": reason.subject.as_str(),
                    "id": reason.id,
                })
            })
            .collect();
        let license = record.license.as_ref().map(|held| json::license(held, app.now()));
        let why = json!({ "license": license, "explanation": explanation, "reasons": reasons });
        return print_json(&why);
    }
    if let Some(explanation) = explanation {
        print(format_args!("{}\nThe reasons\n", explanation.to_text()))?;
    }
    for reason in reasons {
        print(format_args!("  {}  {}\n", reason.at, reason.text))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn sync(app: &App, one: &One) -> Result<ExitCode> {
    let id = one.id(app).await?;
    let report = support::sync(app, OwnedActor::Operator, &id).await?;
    if one.json {
        print_json(&json::sync(&report))?;
    } else {
        for line in report.changes.iter().chain(&report.alerts) {
            print(format_args!("{line}\n"))?;
        }
        if report.changes.is_empty() {
            print("Nothing differs from Stripe.\n")?;
        }
    }
    Ok(if report.needs_action { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

async fn delete(app: &App, one: &One, yes: bool) -> Result<ExitCode> {
    let id = one.id(app).await?;
    if !yes {
        return Err(Error::setup(format!(
            "this deletes {id} with all licenses, and cancels the subscription; add --yes"
        )));
    }
    support::delete(app, OwnedActor::Operator, &id).await?;
    done(one, &json!({ "deleted": id.as_str() }), &format!("{id} was deleted."))
}

async fn list_of(app: &App, action: Action) -> Result<ExitCode> {
    match action {
        Action::Timeline(List { customer, pages }) => {
            let id = resolve(app, customer.as_str()).await?;
            let page = customers::timeline(app, &id, &pages.request()).await?;
            let as_json = |entry: &crate::domain::operator::timeline::Entry| {
                json!({
                    "at": entry.at.to_string(),
                    "by": entry.by,
                    "text": entry.text,
                    "kind": entry.kind.as_str(),
                    "id": entry.id,
                    "request_id": entry.request_id,
                })
            };
            pages.print("entries", &page, as_json, |entry| {
                format!("{}  {}  {}", entry.at, entry.by, entry.text)
            })
        }
        Action::Orders(List { customer, pages }) => {
            let id = resolve(app, customer.as_str()).await?;
            let page = customers::orders(app, &id, &pages.request()).await?;
            pages.print(
                "orders",
                &page,
                |order| json::order(order, app),
                |order| {
                    let invoice = order.stripe_invoice_id.as_ref().map(ToString::to_string);
                    let addons = order.addons.as_ref().map(AddonIds::texts).unwrap_or_default();
                    let units = order.quantity.filter(|units| *units > 1);
                    format!(
                        "{}  {}  {}{}  {} {}  {}  {}",
                        order.created_at,
                        order.order_id,
                        order.plan,
                        parts_text(units, &addons, None),
                        order.amount,
                        order.currency,
                        order.status,
                        invoice.unwrap_or_default()
                    )
                },
            )
        }
        Action::Mails(List { customer, pages }) => {
            let id = resolve(app, customer.as_str()).await?;
            let page = customers::mails(app, &id, &pages.request()).await?;
            pages.print("mails", &page, json::mail, |mail| {
                let sent = json::time(mail.sent_at).unwrap_or("not sent".into());
                format!("{}  {}  {}  sent: {sent}", mail.created_at, mail.mail_id, mail.kind)
            })
        }
        Action::Events(List { customer, pages }) => {
            let id = resolve(app, customer.as_str()).await?;
            let page = customers::events(app, &id, &pages.request()).await?;
            pages.print("events", &page, events::to_json, |details| {
                let event = &details.event;
                let (id, kind, state) = (&event.event_id, &event.kind, details.state.as_str());
                format!("{}  {id}  {kind}  {state}", event.received_at)
            })
        }
        Action::Licenses(List { customer, pages }) => {
            let id = resolve(app, customer.as_str()).await?;
            let page = customers::licenses(app, &id, &pages.request()).await?;
            let as_json = |license: &_| json::license(license, app.now());
            pages.print("licenses", &page, as_json, license_line)
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
