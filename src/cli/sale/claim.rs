//! `licentia stripe claim`: links one Stripe customer or single payment, or lists the buyers that
//! are not linked.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::app::App;
use crate::cli::sale::backfill::{description, paid_plan, stripe_customer};
use crate::cli::{NO, print, print_json, with_app};
use crate::config::Config;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::Actor;
use crate::domain::sale::buyer::{BuyerId, UnknownBuyer};
use crate::error::Result;
use crate::flows::sale::backfill::{Done, Undecided};
use crate::flows::sale::buyer_claim::claim;
use crate::flows::sale::buyers::list;
use crate::flows::sale::claim::ClaimTarget;

pub const EXAMPLES: &str = "Examples:
  licentia stripe claim                           list the buyers that are not linked
  licentia stripe claim cus_Qx1…                  link it to the customer that matches
  licentia stripe claim cus_Qx1… --create         create an account if no customer matches
  licentia stripe claim cus_Qx1… --to cust_0123…  link it to this customer
  licentia stripe claim cs_a1B2… --create         the same for the purchase of a guest

Exits with 0 when it is linked or no buyer needs it. Exits with 1 when the match is uncertain; the
output has the remedy.";

#[derive(Debug, Args)]
pub struct Claim {
    /// The Stripe customer, `cus_…`, or the Checkout session of a single payment, `cs_…`. Without
    /// one, the buyers that are not linked are listed
    buyer: Option<BuyerId>,
    /// Create an account with the email address from Stripe, if no account has it
    #[arg(long, requires = "buyer", conflicts_with = "to")]
    create: bool,
    /// Link it to this customer, `cust_…`, replacing a Stripe customer with neither a live
    /// subscription nor a perpetual license
    #[arg(long, value_name = "CUSTOMER", requires = "buyer")]
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
        let Some(buyer) = &self.buyer else {
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
            (None, false) => ClaimTarget::Recognized,
        };
        match claim(app, buyer, &to, Actor::Operator).await? {
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
    for UnknownBuyer { buyer_id, plan, first_seen_at } in buyers {
        print(format_args!(
            "{buyer_id} has paid for {plan} since {first_seen_at} or earlier and is not linked: \
             `licentia stripe claim {buyer_id}`\n"
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
        print(format_args!("note: {}: {alert}\n", done.buyer))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_undecided(undecided: &Undecided) -> Result<ExitCode> {
    let customer = stripe_customer(&undecided.buyer, undecided.email.as_ref());
    let plan = paid_plan(undecided.plan.as_deref());
    print(format_args!("not linked: {customer}{plan}: {}\n", undecided.message))
}
