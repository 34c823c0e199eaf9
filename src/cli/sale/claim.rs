//! `licentia stripe claim`: links one Stripe customer, or lists the buyers that are not linked.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::app::App;
use crate::cli::sale::backfill::{description, paid_plan, stripe_customer};
use crate::cli::{NO, print, print_json, with_app};
use crate::config::Config;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::Actor;
use crate::domain::sale::buyer::UnknownBuyer;
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::error::Result;
use crate::flows::sale::backfill::{Done, Undecided};
use crate::flows::sale::claim::{ClaimTarget, claim, list};

pub const EXAMPLES: &str = "Examples:
  licentia stripe claim                           list the buyers that are not linked
  licentia stripe claim cus_Qx1…                  link it to the customer that matches
  licentia stripe claim cus_Qx1… --create         create an account if no customer matches
  licentia stripe claim cus_Qx1… --to cust_0123…  link it to this customer

Exits with 0 when it is linked or no buyer needs it. Exits with 1 when the match is uncertain; the
output has the remedy.";

#[derive(Debug, Args)]
pub struct Claim {
    /// The Stripe customer, `cus_…`. Without one, the buyers that are not linked are listed
    stripe_customer_id: Option<StripeCustomerId>,
    /// Create an account with the email address from Stripe, if no account has it
    #[arg(long, requires = "stripe_customer_id", conflicts_with = "to")]
    create: bool,
    /// Link it to this customer, `cust_…`, replacing a Stripe customer without a live subscription
    #[arg(long, value_name = "CUSTOMER", requires = "stripe_customer_id")]
    to: Option<CustomerId>,
    /// Print JSON
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
                print_buyers(&buyers)?;
            }
            return Ok(if buyers.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NO) });
        };
        let to = match (self.to, self.create) {
            (Some(id), _) => ClaimTarget::Customer(id),
            (None, true) => ClaimTarget::NewAccount,
            (None, false) => ClaimTarget::Recognised,
        };
        match claim(app, stripe_id, &to, Actor::Operator).await? {
            Ok(done) if self.json => print_json(&json!({ "done": done })),
            Ok(done) => print_done(&done),
            Err(undecided) => {
                if self.json {
                    print_json(&json!({ "left": undecided }))
                } else {
                    print_undecided(&undecided)
                }?;
                Ok(ExitCode::from(NO))
            }
        }
    }
}

fn print_buyers(buyers: &[UnknownBuyer]) -> Result<ExitCode> {
    for UnknownBuyer { stripe_customer_id, plan, first_seen_at } in buyers {
        print(format_args!(
            "{stripe_customer_id} has paid for {plan} since {first_seen_at} or earlier and is not \
             linked: `licentia stripe claim {stripe_customer_id}`\n"
        ))?;
    }
    if buyers.is_empty() {
        return print("Every known buyer is linked.\n");
    }
    Ok(ExitCode::SUCCESS)
}

fn print_done(done: &Done) -> Result<ExitCode> {
    print(format_args!("{}\n", description(done)))?;
    for alert in &done.alerts {
        print(format_args!("note: {}: {alert}\n", done.stripe_customer_id))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_undecided(undecided: &Undecided) -> Result<ExitCode> {
    let customer = stripe_customer(&undecided.stripe_customer_id, undecided.email.as_ref());
    let plan = paid_plan(undecided.plan.as_deref());
    print(format_args!("not linked: {customer}{plan}: {}\n", undecided.message))
}
