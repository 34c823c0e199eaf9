//! The reasons why a Stripe customer or a payment is given to nobody here, and the advice for an
//! operator about each.

use crate::domain::ids::CustomerId;
use crate::domain::sale::buyer::BuyerId;
use crate::domain::sale::plan::Slug;
use crate::domain::sale::stripe_ids::{CheckoutSessionId, StripeCustomerId};

/// The reason why an operator must decide about a Stripe customer. [`Ambiguity::advice`] lists the
/// possible fixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// The matching customer is linked to another Stripe customer.
    Taken(CustomerId, StripeCustomerId),
    /// It is linked to the first customer, but its metadata names the second.
    Contradiction(CustomerId, CustomerId),
    /// The metadata of several Stripe customers names this customer.
    NamedTwice(CustomerId),
    /// The metadata names a customer that does not exist.
    NotHere(CustomerId),
    /// Its account here was deleted, and it has bought no plan since.
    Deleted {
        /// The customer of that account.
        id: CustomerId,
        /// Whether the Stripe customer has a live subscription.
        is_subscribed: bool,
    },
    /// Several Stripe customers have the same email address. Our customer with it, if there is one.
    SharedEmail(Option<CustomerId>),
    /// Our customer with the email address has not verified it, or not by setting a password while
    /// a purchase waits for that.
    Unverified(CustomerId),
    /// It has no valid email address.
    NoEmail,
    /// No account has its email address.
    NoAccount,
    /// The same, and none is created: a customer who has changed the address may return to it.
    Reserved,
    /// The same, and none is created: it bought nothing, or only this add-on or the updates of this
    /// plan, which give a new account no license.
    NoPlan(Option<Slug>),
    /// All of its payments were claimed by their Checkout sessions.
    AllClaimed(Claims),
}

/// Checkout sessions that were claimed, each with the customer who has it. `None` is a deleted one.
pub type Claims = Vec<(CheckoutSessionId, Option<CustomerId>)>;

/// How the single payments of a Stripe customer are given to a customer who is linked to another
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimAdvice {
    /// By a claim of each of these Checkout sessions, at least one.
    Sessions(Vec<CheckoutSessionId>),
    /// They are not known here. A claim of the Stripe customer lists them.
    AskClaim,
    /// There are none to give.
    Nothing,
}

impl ClaimAdvice {
    /// Returns the instruction for giving the single payments of `this` to the customer `to`;
    /// `None` if there are none to give.
    #[must_use]
    pub fn text(&self, this: &BuyerId, to: &CustomerId) -> Option<String> {
        match self {
            Self::Sessions(sessions) => {
                let command = |id| format!("`licentia stripe claim {id} --to {to}`");
                let commands: Vec<_> = sessions.iter().map(command).collect();
                Some(format!("run {}", commands.join(" and ")))
            }
            Self::AskClaim => Some(format!("run `licentia stripe claim {this}`, which prints how")),
            Self::Nothing => None,
        }
    }
}

impl Ambiguity {
    /// Returns the stable name, for programs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Taken(..) => "taken",
            Self::Contradiction(..) => "contradiction",
            Self::NamedTwice(_) => "named_twice",
            Self::NotHere(_) => "not_here",
            Self::Deleted { .. } => "deleted",
            Self::SharedEmail(_) => "shared_email",
            Self::Unverified(_) => "unverified_email",
            Self::NoEmail => "no_email",
            Self::NoAccount => "no_account",
            Self::Reserved => "reserved_email",
            Self::NoPlan(_) => "no_plan",
            Self::AllClaimed(_) => "all_claimed",
        }
    }

    /// Returns our customer that it is about, if there is one.
    #[must_use]
    pub fn customer_id(&self) -> Option<&CustomerId> {
        match self {
            Self::Taken(id, _) | Self::Contradiction(id, _) => Some(id),
            Self::NamedTwice(id) | Self::Unverified(id) => Some(id),
            Self::NotHere(id) | Self::Deleted { id, .. } => Some(id),
            Self::SharedEmail(id) => id.as_ref(),
            Self::AllClaimed(claimed) => claimed.iter().find_map(|(_, owner)| owner.as_ref()),
            Self::NoEmail | Self::NoAccount | Self::Reserved | Self::NoPlan(_) => None,
        }
    }

    /// Returns what is unclear about the buyer `this`, and every way to fix it. Following the text
    /// exactly always works.
    #[must_use]
    pub fn advice(&self, this: &BuyerId, claim: &ClaimAdvice) -> String {
        let own = match this {
            BuyerId::Session(_) => self.advice_about_session(this),
            BuyerId::Customer(_) => None,
        };
        own.unwrap_or_else(|| self.advice_about_customer(this, claim))
    }

    /// Returns the advice that differs from that about a Stripe customer.
    fn advice_about_session(&self, this: &BuyerId) -> Option<String> {
        Some(match self {
            Self::Unverified(id) => format!(
                "{id} has the same email address, but has not proven that it is theirs. Ask the \
                 customer. If both are the same person, run `licentia stripe claim {this} --to \
                 {id}`. If not, name the account of the buyer instead"
            ),
            Self::NoEmail => format!(
                "it has no valid email address. Run `licentia stripe claim {this} --to` with the \
                 id of the buyer's account"
            ),
            Self::NoAccount => format!(
                "no account has its email address. `licentia stripe claim {this} --create` creates \
                 one"
            ),
            _ => return None,
        })
    }

    fn advice_about_customer(&self, this: &BuyerId, claim: &ClaimAdvice) -> String {
        const IMPORT: &str = "import an account for it with its `stripe_customer_id` and an email \
                              address of its own, and run this again";
        match self {
            Self::Taken(id, other) => format!(
                "it matches {id}, but {id} is linked to {other}. If both Stripe customers are the \
                 same person, only one of them can be linked. If {other} has a live subscription, \
                 cancel it at Stripe; then run `licentia stripe claim {this} --to {id}`. If \
                 {other} paid for a perpetual license, keep it: {}. If they are two people, remove \
                 this one's `metadata.customer_id` at Stripe, if it has one, {IMPORT}",
                keeping_both(this, id, claim)
            ),
            Self::Contradiction(linked, named) => format!(
                "it is linked to {linked}, but its `metadata.customer_id` at Stripe names {named}. \
                 A linked Stripe customer cannot be moved: set its `metadata.customer_id` to \
                 {linked}. If {named} should have the subscription, cancel it at Stripe and let \
                 {named} buy a new one"
            ),
            Self::NamedTwice(id) => format!(
                "its `metadata.customer_id` at Stripe names {id}, and that of another Stripe \
                 customer names {id} too. Remove it from the wrong one, and run this again"
            ),
            Self::NotHere(id) => format!(
                "its `metadata.customer_id` at Stripe names {id}, which does not exist here: it is \
                 newer than a restored backup, or belongs to another installation. To create an \
                 account for it, remove its `metadata.customer_id` at Stripe, then run `licentia \
                 stripe claim {this} --create`"
            ),
            Self::Deleted { id, is_subscribed } => deleted(this, id, *is_subscribed, claim),
            Self::SharedEmail(Some(id)) => format!(
                "several Stripe customers have the email address of {id}. Run `licentia stripe \
                 claim {this} --to {id}` if this is the right one"
            ),
            Self::SharedEmail(None) => format!(
                "several Stripe customers have this email address. For each one that pays, {IMPORT}"
            ),
            Self::Reserved => format!(
                "its email address is reserved for a customer who has changed it, so no account is \
                 created. If that is the buyer, run `licentia stripe claim {this} --to` with the \
                 id of that account"
            ),
            Self::NoPlan(bought) => {
                let reason = match bought {
                    Some(id) => {
                        format!("what it paid for (`{id}`) gives a new account no license")
                    }
                    None => "it paid for no plan".to_owned(),
                };
                format!(
                    "no account has its email address, and {reason}, so none is created. Run \
                     `licentia stripe claim {this} --to` with the id of the buyer's account"
                )
            }
            Self::AllClaimed(claimed) => {
                format!("nothing is left to link: {}", owners_text(claimed))
            }
            Self::Unverified(id) => format!(
                "{id} has the same email address, but has not proven that it is theirs. Ask the \
                 customer. If both are the same person, run `licentia stripe claim {this} --to \
                 {id}`. If not, {IMPORT}"
            ),
            Self::NoEmail => {
                "it has no valid email address. Set one at Stripe, and run this again".into()
            }
            Self::NoAccount => format!(
                "no account has its email address. If it pays for a plan, `licentia stripe claim \
                 {this} --create` creates one; `licentia stripe backfill --create` creates one for \
                 each Stripe customer that subscribes to a plan"
            ),
        }
    }
}

/// Returns how a customer keeps a perpetual license and gets what another Stripe customer bought.
#[must_use]
pub fn keeping_both(this: &BuyerId, id: &CustomerId, claim: &ClaimAdvice) -> String {
    let subscription = format!(
        "cancel the subscription of {this} at Stripe, and let the customer buy one in the account \
         {id}"
    );
    match claim.text(this, id) {
        Some(how) => format!(
            "to add its single payments to {id}, {how}. If it has a subscription too, \
             {subscription}"
        ),
        None => format!(
            "{subscription}; or refund what {this} paid for, and grant {id} a license for it"
        ),
    }
}

fn deleted(this: &BuyerId, id: &CustomerId, is_subscribed: bool, claim: &ClaimAdvice) -> String {
    let remedy = match is_subscribed {
        true => "Cancel its subscription at Stripe. If the person has a new account, instead run",
        false => {
            "It has no subscription, so nothing is charged. If the person has a new account that \
             the purchase is for, run"
        }
    };
    let of_single_payments = match claim {
        ClaimAdvice::AskClaim if !is_subscribed => {
            format!(". If it has bought something since, run `licentia stripe claim {this}`")
        }
        _ => String::new(),
    };
    format!(
        "its account {id} was deleted here. {remedy} `licentia stripe claim {this} --to` with the \
         id of that account{of_single_payments}"
    )
}

fn owners_text(claimed: &[(CheckoutSessionId, Option<CustomerId>)]) -> String {
    let owner = |owner: &Option<CustomerId>| {
        owner.as_ref().map_or("a deleted customer".to_owned(), ToString::to_string)
    };
    let each = claimed.iter().map(|(id, of)| format!("{id} belongs to {}", owner(of)));
    each.collect::<Vec<_>>().join(", ")
}
