//! `licentia webhook`: outgoing webhooks and their deliveries. The flows are in
//! [`crate::flows::operator::webhooks`].

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::{note, print, print_json, with_app, write_out};
use crate::config::Config;
use crate::domain::ids::{DeliveryId, WebhookId};
use crate::domain::operator::audit::Actor;
use crate::domain::operator::webhook::{EventFilter, Webhook};
use crate::domain::operator::webhook_delivery::StoredDelivery;
use crate::domain::page::{MAX_ENTRIES, PageRequest};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::flows::operator::webhooks::{self, NewWebhook, WebhookChange};

pub const EXAMPLES: &str = "Examples:
  licentia webhook add https://acme.example/hooks --events license.issued,license.revoked
  licentia webhook list
  licentia webhook deliveries whk_0123456789abcdef0123456789abcdef
  licentia webhook replay whk_0123456789abcdef0123456789abcdef dlv_0123456789abcdef0123456789abcdef

A receiver verifies each delivery with the secret: docs/outgoing-webhooks.md.";

#[derive(Debug, Args)]
pub struct WebhookCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a webhook; its secret is shown only once
    ///
    /// Only the secret is written to standard output. If it is lost, `licentia webhook rotate`
    /// creates another one.
    #[command(after_help = "Examples:
  licentia webhook add https://acme.example/hooks
  licentia webhook add https://acme.example/hooks --events license.issued,order.paid --json")]
    Add {
        /// The URL that gets the events: https, at a public address unless
        /// `webhooks.allow_private` is set
        url: String,
        /// The events, separated by commas; * is all
        #[arg(long, alias = "event", value_name = "EVENTS", default_value = "*")]
        events: EventFilter,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the webhooks, the newest first
    #[command(after_help = "Examples:\n  licentia webhook list\n  licentia webhook list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a webhook with its deliveries, also those that wait
    #[command(
        after_help = "Example:\n  licentia webhook remove whk_0123456789abcdef0123456789abcdef"
    )]
    Remove {
        /// The webhook's id
        id: WebhookId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Start the deliveries of a disabled webhook again
    ///
    /// A receiver that answers 410 disables its webhook. Deliveries that were given up can be
    /// replayed.
    #[command(
        after_help = "Example:\n  licentia webhook enable whk_0123456789abcdef0123456789abcdef"
    )]
    Enable {
        /// The webhook's id
        id: WebhookId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Replace the secret of a webhook; the new one is shown only once
    ///
    /// The former secret also signs for 24 hours, so that the receiver can switch without a lost
    /// delivery. Only the new secret is written to standard output.
    #[command(
        after_help = "Example:\n  licentia webhook rotate whk_0123456789abcdef0123456789abcdef"
    )]
    Rotate {
        /// The webhook's id
        id: WebhookId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the last 100 deliveries of a webhook, the newest first
    #[command(after_help = "Examples:
  licentia webhook deliveries whk_0123456789abcdef0123456789abcdef
  licentia webhook deliveries whk_0123456789abcdef0123456789abcdef --json")]
    Deliveries {
        /// The webhook's id
        id: WebhookId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have the server send a delivery again, with the same id and payload
    #[command(after_help = "Example:
  licentia webhook replay whk_0123456789abcdef0123456789abcdef dlv_0123456789abcdef0123456789abcdef")]
    Replay {
        /// The webhook's id
        id: WebhookId,
        /// The delivery's id, as shown by `licentia webhook deliveries`
        delivery: DeliveryId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl WebhookCommand {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        with_app(config, async |app| self.act(app).await)
    }

    async fn act(self, app: &App) -> Result<ExitCode> {
        let by = Actor::Operator;
        match self.action {
            Action::Add { url, events, json } => {
                let new = NewWebhook { url, events, is_enabled: true };
                let webhook = webhooks::create(app, new, by).await?;
                if !json {
                    let (id, events) = (&webhook.webhook_id, &webhook.events);
                    note(format_args!(
                        "Added the webhook {id} ({events}). Its secret is shown only once:\n"
                    ));
                }
                hand_over(&webhook, json)
            }
            Action::List { json } => list(app, json).await,
            Action::Remove { id, json } => {
                webhooks::delete(app, &id, by).await?;
                if json {
                    return print_json(&json!({ "webhook_id": id.as_str(), "removed": true }));
                }
                print(format_args!("Removed {id} and its deliveries.\n"))
            }
            Action::Enable { id, json } => {
                let change = WebhookChange { is_enabled: Some(true), ..Default::default() };
                let webhook = webhooks::update(app, &id, change, by).await?;
                if json {
                    return print_json(&to_json(&webhook));
                }
                print(format_args!("Enabled {id}. It gets the events from now on.\n"))
            }
            Action::Rotate { id, json } => {
                let change = WebhookChange { rotates_secret: true, ..Default::default() };
                let webhook = webhooks::update(app, &id, change, by).await?;
                if !json {
                    note(format_args!(
                        "The former secret of {id} also signs for 24 hours. The new one is shown \
                         only once:\n"
                    ));
                }
                hand_over(&webhook, json)
            }
            Action::Deliveries { id, json } => deliveries(app, &id, json).await,
            Action::Replay { id, delivery, json } => {
                let replayed = webhooks::replay(app, &id, &delivery, by).await?;
                if json {
                    return print_json(&delivery_to_json(&replayed));
                }
                print(format_args!("{delivery} will be sent again by the server.\n"))
            }
        }
    }
}

/// Writes the secret of a webhook to standard output. Unlike [`print`], it fails when the pipe is
/// closed: nobody has the secret then.
fn hand_over(webhook: &Webhook, as_json: bool) -> Result<ExitCode> {
    let secret = webhook.secret.expose();
    if as_json {
        let mut shown = to_json(webhook);
        shown["secret"] = secret.into();
        return write_secret(webhook, format_args!("{shown:#}\n"));
    }
    write_secret(webhook, format_args!("{secret}\n"))
}

fn write_secret(webhook: &Webhook, text: impl Display) -> Result<ExitCode> {
    write_out(text).map_err(|error| {
        let id = &webhook.webhook_id;
        Error::setup(format!(
            "the secret could not be written to standard output ({error}), so nobody has it; run \
             `licentia webhook rotate {id}`"
        ))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The newest entries: there are never more webhooks than this.
const NEWEST: PageRequest = PageRequest { after: None, limit: MAX_ENTRIES };

async fn list(app: &App, as_json: bool) -> Result<ExitCode> {
    let webhooks = webhooks::list(app, &NEWEST).await?.entries;
    if as_json {
        let webhooks: Vec<_> = webhooks.iter().map(to_json).collect();
        return print_json(&json!({ "webhooks": webhooks }));
    }
    for webhook in &webhooks {
        let state = webhook.disabled_at.map_or("enabled".into(), |at| format!("disabled {at}"));
        let (id, events, url) = (&webhook.webhook_id, &webhook.events, webhook.url.as_str());
        print(format_args!("{id}  {state}  {events}  {url}\n"))?;
    }
    if webhooks.is_empty() {
        return print("There are no webhooks. `licentia webhook add URL` adds one.\n");
    }
    Ok(ExitCode::SUCCESS)
}

async fn deliveries(app: &App, id: &WebhookId, as_json: bool) -> Result<ExitCode> {
    let deliveries = webhooks::deliveries(app, id, &NEWEST).await?.entries;
    if as_json {
        let deliveries: Vec<_> = deliveries.iter().map(delivery_to_json).collect();
        return print_json(&json!({ "deliveries": deliveries }));
    }
    for delivery in &deliveries {
        let StoredDelivery { delivery_id, kind, created_at, attempts, .. } = delivery;
        let reason = delivery.last_error.as_deref();
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let state = delivery.state();
        print(format_args!(
            "{delivery_id}  {created_at}  {kind}  {state} after {attempts} attempts{reason}\n"
        ))?;
    }
    if deliveries.is_empty() {
        return print("This webhook has no deliveries yet.\n");
    }
    Ok(ExitCode::SUCCESS)
}

fn time(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_string())
}

/// Returns a webhook as JSON, with the field names of the API.
fn to_json(webhook: &Webhook) -> Value {
    json!({
        "webhook_id": webhook.webhook_id.as_str(),
        "url": webhook.url.as_str(),
        "events": webhook.events.texts(),
        "enabled": webhook.disabled_at.is_none(),
        "disabled_at": time(webhook.disabled_at),
        "former_secret_until": time(webhook.former_until),
        "created_at": webhook.created_at.to_string(),
        "updated_at": webhook.updated_at.to_string(),
    })
}

/// Returns a delivery as JSON, with the field names of the API.
fn delivery_to_json(delivery: &StoredDelivery) -> Value {
    json!({
        "delivery_id": delivery.delivery_id.as_str(),
        "message_id": delivery.message_id.as_str(),
        "kind": delivery.kind,
        "customer_id": delivery.customer_id.as_str(),
        "state": delivery.state().as_str(),
        "attempts": delivery.attempts,
        "status_code": delivery.status_code,
        "last_error": delivery.last_error,
        "created_at": delivery.created_at.to_string(),
        "due_at": delivery.due_at.to_string(),
        "delivered_at": time(delivery.delivered_at),
        "given_up_at": time(delivery.given_up_at),
    })
}
