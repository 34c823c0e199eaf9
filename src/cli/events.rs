//! `licentia events`: what came from Stripe and could not be worked on.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{print, print_json, wait};
use crate::app::App;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::flows::events::{self, Explained, MAX_LISTED, State};
use crate::random::Random;
use crate::store::Actor;

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
    },
}

impl Events {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        wait(async {
            let app = App::open(config, Arc::new(SystemClock), Random::from_system()?).await?;
            let done = self.act(&app).await;
            app.store.close().await;
            done
        })
    }

    async fn act(self, app: &App) -> Result<ExitCode> {
        match self.action {
            Action::List { json } => {
                let troubled = events::troubled(app, MAX_LISTED).await?;
                if !json {
                    return tell(&troubled);
                }
                let shown: Vec<Value> = troubled.iter().map(shown).collect();
                print_json(&Value::Array(shown))
            }
            Action::Show { id } => {
                let mut event = shown(&events::explain(app, &id).await?);
                event["body"] = events::body(app, &id).await?.into();
                print_json(&event)
            }
            Action::Replay { id: Some(id), .. } => {
                events::replay(app, &id, Actor::Operator).await?;
                print(format_args!("{id} is due again; the server works on it.\n"))
            }
            Action::Replay { id: None, .. } => {
                let troubled = events::troubled(app, MAX_LISTED).await?;
                for explained in &troubled {
                    events::replay(app, &explained.event.event_id, Actor::Operator).await?;
                }
                print(format_args!("{} events are due again.\n", troubled.len()))
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

fn tell(troubled: &[Explained]) -> Result<ExitCode> {
    for Explained { event, state, .. } in troubled {
        let state = match (state, event.given_up_at) {
            (State::GivenUp, Some(at)) => format!("given up {at}"),
            _ => format!("tried again {}", event.due_at),
        };
        let why = event.last_error.as_deref().unwrap_or("no reason is known");
        let (id, kind, tries) = (&event.event_id, &event.kind, event.attempts);
        print(format_args!("{id}  {kind}  {state}, after {tries} tries: {why}\n"))?;
    }
    if troubled.is_empty() {
        return print("Every event was worked on.\n");
    }
    Ok(ExitCode::SUCCESS)
}
