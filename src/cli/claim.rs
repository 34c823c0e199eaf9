//! `licentia stripe claim`: links one Stripe customer, or lists those who bought and are unknown here.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::backfill::{named, paid, shown};
use super::{NO, print, print_json, with_app};
use crate::app::App;
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::buyer::UnknownBuyer;
use crate::domain::ids::CustomerId;
use crate::domain::stripe_ids::StripeCustomerId;
use crate::error::Result;
use crate::flows::backfill::{Done, Left};
use crate::flows::claim::{To, claim, list};

pub const EXAMPLES: &str = "Examples:
  licentia stripe claim                           who bought and is linked to nobody here?
  licentia stripe claim cus_Qx1…                  link it to the customer whom it is recognised as
  licentia stripe claim cus_Qx1… --create         or else to a new account
  licentia stripe claim cus_Qx1… --to cust_0123…  link it to this customer

Exits with 0 when it is linked, or nobody is left; with 1 when it is not sure who they are, and
tells what you can do.";

#[derive(Debug, Args)]
pub struct Claim {
    /// The Stripe customer, `cus_…`; without one, list the purchases of unknown Stripe customers
    stripe_customer_id: Option<StripeCustomerId>,
    /// Make an account with the email address that Stripe has, if nobody here has it
    #[arg(long, requires = "stripe_customer_id", conflicts_with = "to")]
    create: bool,
    /// Link it to this customer, `cust_…`, in place of a Stripe customer without a live subscription
    #[arg(long, value_name = "CUSTOMER", requires = "stripe_customer_id")]
    to: Option<CustomerId>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Claim {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        with_app(config, async |app| self.act(app).await)
    }

    async fn act(self, app: &App) -> Result<ExitCode> {
        let Some(stripe_id) = &self.stripe_customer_id else {
            let buyers = list(app).await?;
            if self.json {
                print_json(&json!({ "buyers": buyers }))?;
            } else {
                tell(&buyers)?;
            }
            return Ok(if buyers.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NO) });
        };
        let to = match (self.to, self.create) {
            (Some(id), _) => To::Customer(id),
            (None, true) => To::NewAccount,
            (None, false) => To::Recognised,
        };
        match claim(app, stripe_id, &to, Actor::Operator).await? {
            Ok(done) if self.json => print_json(&json!({ "done": done })),
            Ok(done) => tell_done(&done),
            Err(left) => {
                if self.json { print_json(&json!({ "left": left })) } else { tell_left(&left) }?;
                Ok(ExitCode::from(NO))
            }
        }
    }
}

fn tell(buyers: &[UnknownBuyer]) -> Result<ExitCode> {
    for UnknownBuyer { stripe_customer_id, plan, first_seen_at } in buyers {
        print(format_args!(
            "{stripe_customer_id} pays for {plan} since {first_seen_at} or longer, and is linked to \
             nobody here: `licentia stripe claim {stripe_customer_id}`\n"
        ))?;
    }
    if buyers.is_empty() {
        return print("Everybody who is known to pay for a plan is linked.\n");
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_done(done: &Done) -> Result<ExitCode> {
    print(format_args!("{}\n", shown(done)))?;
    for alert in &done.alerts {
        print(format_args!("note: {}: {alert}\n", done.stripe_customer_id))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_left(left: &Left) -> Result<ExitCode> {
    let who = named(&left.stripe_customer_id, left.email.as_deref());
    let plan = paid(left.plan.as_deref());
    print(format_args!("left: {who}{plan}: {}\n", left.message))
}
