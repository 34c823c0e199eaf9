//! `licentia events`: what came from Stripe and could not be worked on.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::{print, print_json, wait};
use crate::app::App;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::flows::inbox;
use crate::random::Random;
use crate::store::StoredEvent;

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
                let events = inbox::troubled(app).await?;
                if json { print_json(&events) } else { tell(&events) }
            }
            Action::Show { id } => print_json(&inbox::event(app, &id).await?),
            Action::Replay { id: Some(id), .. } => {
                inbox::replay(app, &id).await?;
                print(format_args!("{id} is due again; the server works on it.\n"))
            }
            Action::Replay { id: None, .. } => {
                let events = inbox::troubled(app).await?;
                for event in &events {
                    inbox::replay(app, &event.event_id).await?;
                }
                print(format_args!("{} events are due again.\n", events.len()))
            }
        }
    }
}

fn tell(events: &[StoredEvent]) -> Result<ExitCode> {
    for event in events {
        let state = match event.given_up_at {
            Some(at) => format!("given up {}", Timestamp::saturating(at)),
            None => format!("tried again {}", Timestamp::saturating(event.due_at)),
        };
        let why = event.last_error.as_deref().unwrap_or("no reason is known");
        let (id, kind, tries) = (&event.event_id, &event.kind, event.attempts);
        print(format_args!("{id}  {kind}  {state}, after {tries} tries: {why}\n"))?;
    }
    if events.is_empty() {
        return print("Every event was worked on.\n");
    }
    Ok(ExitCode::SUCCESS)
}
