//! `licentia events`: what came from Stripe and could not be worked on.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{print, print_json, progress, with_app};
use crate::app::App;
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::flows::events::{self, Explained, MAX_LISTED, State, Troubled};

pub const EXAMPLES: &str = "Examples:
  licentia events list
  licentia events show evt_1Q…
  licentia events replay evt_1Q…
  licentia events replay --all";

#[derive(Debug, Args)]
pub struct Events {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the events that did not work: those given up, and those that are tried again
    ///
    /// Notes name the types of events that the webhook endpoint sends and that are of no use, with the
    /// remedy: thin events, and types that say nothing about a sale.
    #[command(after_help = "Examples:\n  licentia events list\n  licentia events list --json")]
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an event with its body, in JSON
    #[command(after_help = "Example:\n  licentia events show evt_1Q…")]
    Show {
        /// The event's id
        id: String,
    },
    /// Have the server work on an event again, as if it had just come
    #[command(
        after_help = "Examples:\n  licentia events replay evt_1Q…\n  licentia events replay --all"
    )]
    Replay {
        /// The event's id
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// Every event that did not work
        #[arg(long)]
        all: bool,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

impl Events {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        with_app(config, async |app| self.act(app).await)
    }

    async fn act(self, app: &App) -> Result<ExitCode> {
        match self.action {
            Action::List { json } => {
                let troubled = events::troubled(app, MAX_LISTED).await?;
                if !json {
                    return tell(&troubled);
                }
                let Troubled { events, more, ignored } = troubled;
                let shown = |events: &[Explained]| events.iter().map(shown).collect::<Vec<Value>>();
                let (events, ignored) = (shown(&events), shown(&ignored));
                print_json(&json!({ "events": events, "more": more, "ignored": ignored }))
            }
            Action::Show { id } => {
                let mut event = shown(&events::explain(app, &id).await?);
                event["body"] = events::body(app, &id).await?.into();
                print_json(&event)
            }
            Action::Replay { id: Some(id), json, .. } => {
                let replayed = events::replay(app, &id, Actor::Operator).await?;
                if json {
                    return print_json(&shown(&replayed));
                }
                print(format_args!("{id} is due again; the server works on it.\n"))
            }
            Action::Replay { id: None, json, .. } => {
                let progress = progress("events are due again");
                let replayed = events::replay_all(app, Actor::Operator, progress).await?;
                if json {
                    return print_json(&json!({ "replayed": replayed }));
                }
                print(format_args!("{replayed} events are due again.\n"))
            }
        }
    }
}

/// An event as JSON, with the names that the API has.
fn shown(explained: &Explained) -> Value {
    let Explained { event, customer_id, state } = explained;
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "event_id": event.event_id,
        "kind": event.kind,
        "customer_id": customer_id.as_ref().map(ToString::to_string),
        "stripe_customer_id": event.stripe_customer_id.as_ref().map(ToString::to_string),
        "stripe_payment_intent_id": event.stripe_payment_intent_id.as_ref().map(ToString::to_string),
        "happened_at": event.happened_at.to_string(),
        "received_at": event.received_at.to_string(),
        "state": state.as_str(),
        "attempts": event.attempts,
        "last_error": event.last_error,
        "due_at": event.due_at.to_string(),
        "done_at": time(event.done_at),
        "given_up_at": time(event.given_up_at),
        "next": explained.next(),
    })
}

fn tell(troubled: &Troubled) -> Result<ExitCode> {
    for Explained { event, state, .. } in &troubled.events {
        let state = match (state, event.given_up_at) {
            (State::GivenUp, Some(at)) => format!("given up {at}"),
            _ => format!("tried again {}", event.due_at),
        };
        let why = event.last_error.as_deref().unwrap_or("no reason is known");
        let (id, kind, tries) = (&event.event_id, &event.kind, event.attempts);
        print(format_args!("{id}  {kind}  {state}, after {tries} tries: {why}\n"))?;
    }
    if troubled.more {
        let first = troubled.events.len();
        print(format_args!(
            "… and more: these are the first {first}. `licentia events replay --all` replays all.\n"
        ))?;
    }
    if troubled.events.is_empty() {
        print("Every event was worked on.\n")?;
    }
    for Explained { event, .. } in &troubled.ignored {
        let why = event.last_error.as_deref().unwrap_or_default();
        print(format_args!("note: {}  {}  ignored: {why}\n", event.event_id, event.kind))?;
    }
    Ok(ExitCode::SUCCESS)
}
