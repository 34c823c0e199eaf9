//! `licentia events`: lists, shows and replays Stripe events that could not be processed. The flows
//! are in [`crate::flows::operator::events`].

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::{print, print_json, progress, with_app};
use crate::config::Config;
use crate::domain::operator::audit::Actor;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::flows::operator::events::{self, EventDetails, FailedEvents, MAX_LISTED, State};

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
    /// List the events that failed: those given up and those that will be retried
    ///
    /// Notes list event types that Stripe sends and Licentia does not use (thin events, and types
    /// that are not about sales), with the remedy.
    #[command(after_help = "Examples:\n  licentia events list\n  licentia events list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an event with its body, as JSON
    #[command(after_help = "Example:\n  licentia events show evt_1Q…")]
    Show {
        /// The event's id
        id: String,
    },
    /// Have the server process an event again, as if it had just been received
    #[command(
        after_help = "Examples:\n  licentia events replay evt_1Q…\n  licentia events replay --all"
    )]
    Replay {
        /// The event's id
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// Replay every event that failed
        #[arg(long)]
        all: bool,
        /// Print JSON
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
                let failed = events::failed(app, MAX_LISTED).await?;
                if !json {
                    return print_list(&failed);
                }
                let FailedEvents { events, more, ignored } = failed;
                let as_json =
                    |events: &[EventDetails]| events.iter().map(to_json).collect::<Vec<Value>>();
                let (events, ignored) = (as_json(&events), as_json(&ignored));
                print_json(&json!({ "events": events, "more": more, "ignored": ignored }))
            }
            Action::Show { id } => {
                let mut event = to_json(&events::explain(app, &id).await?);
                event["body"] = events::body(app, &id).await?.into();
                print_json(&event)
            }
            Action::Replay { id: Some(id), json, .. } => {
                let replayed = events::replay(app, &id, Actor::Operator).await?;
                if json {
                    return print_json(&to_json(&replayed));
                }
                print(format_args!("{id} will be processed again by the server.\n"))
            }
            Action::Replay { id: None, json, .. } => {
                let progress = progress("events replayed");
                let replayed = events::replay_all(app, Actor::Operator, progress).await?;
                if json {
                    return print_json(&json!({ "replayed": replayed }));
                }
                print(format_args!("{replayed} events will be processed again by the server.\n"))
            }
        }
    }
}

/// Returns an event as JSON, with the field names of the API.
pub fn to_json(explained: &EventDetails) -> Value {
    let EventDetails { event, customer_id, state } = explained;
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

fn print_list(failed: &FailedEvents) -> Result<ExitCode> {
    for EventDetails { event, state, .. } in &failed.events {
        let state = match (state, event.given_up_at) {
            (State::GivenUp, Some(at)) => format!("given up {at}"),
            _ => format!("next retry {}", event.due_at),
        };
        let reason = event.last_error.as_deref().unwrap_or("unknown reason");
        let (id, kind, attempts) = (&event.event_id, &event.kind, event.attempts);
        print(format_args!("{id}  {kind}  {state}, after {attempts} attempts: {reason}\n"))?;
    }
    if failed.more {
        let first = failed.events.len();
        print(format_args!(
            "These are the first {first}; there are more. `licentia events replay --all` replays \
             all of them.\n"
        ))?;
    }
    if failed.events.is_empty() {
        print("No event has failed.\n")?;
    }
    for EventDetails { event, .. } in &failed.ignored {
        let reason = event.last_error.as_deref().unwrap_or_default();
        print(format_args!("note: {}  {}  ignored: {reason}\n", event.event_id, event.kind))?;
    }
    Ok(ExitCode::SUCCESS)
}
