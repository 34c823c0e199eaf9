//! Matches Stripe customers with our customers, and lists the cases that an operator must decide.
//! Pure; [`crate::flows::sale::backfill`] fetches and links them.
//!
//! A match is certain in two cases. The metadata at Stripe has the id of our customer: only the
//! vendor can write it. Or both have the same email address, and it is verified here. An unverified
//! address is not enough: otherwise anybody could sign up with another person's address and get
//! their subscription. Neither is a verified one while a purchase waits for the proof whose account
//! it is: a buyer who expects a mail may have followed the link of somebody else's sign-up.

use std::collections::{HashMap, HashSet};

use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::CustomerId;
use crate::domain::sale::buyer::BuyerId;
use crate::domain::sale::plan::Slug;
use crate::domain::sale::stripe_ids::{CheckoutSessionId, StripeCustomerId};

/// A Stripe customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripeCandidate {
    /// The id.
    pub id: StripeCustomerId,
    /// The email address, if it is valid here.
    pub email: Option<Email>,
    /// The name, if it is valid here.
    pub name: Option<DisplayName>,
    /// The content of `metadata.customer_id`.
    pub tag: Tag,
    /// The plan of a live subscription, if there is one.
    pub plan: Option<String>,
}

/// The content of `metadata.customer_id` at Stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// It is not set.
    None,
    /// An id in our format.
    Ours(CustomerId),
    /// Another value, which the vendor set for another purpose. It is ignored and never changed.
    Foreign,
}

/// One of our customers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerCandidate {
    /// The id.
    pub customer_id: CustomerId,
    /// The email address.
    pub email: Email,
    /// Whether the email address is verified.
    pub is_email_verified: bool,
    /// Whether a purchase waits until the owner of the mailbox has set the password.
    pub has_waiting_purchase: bool,
    /// The linked Stripe customer.
    pub stripe_customer_id: Option<StripeCustomerId>,
    /// Whether the customer was ever synced with Stripe.
    pub is_synced: bool,
}

/// The reason why a match is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchReason {
    /// The metadata has the customer's id.
    Metadata,
    /// Both have the same email address, and it is verified here.
    Email,
}

/// The decision about a Stripe customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkDecision {
    /// Nothing: it is linked.
    Settled,
    /// It is linked to this customer, but the steps after that are not complete.
    Finish(CustomerId),
    /// Link it to this customer: the match is certain.
    Link(CustomerId, MatchReason),
    /// No customer matches.
    Newcomer,
    /// An operator must decide.
    Leave(Ambiguity),
}

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
    /// The metadata names a customer whose account was deleted, and whether it has a live
    /// subscription.
    Deleted(CustomerId, bool),
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
    /// All of its payments were claimed by their Checkout sessions, by these customers. `None` is a
    /// deleted one.
    AllClaimed(Vec<(CheckoutSessionId, Option<CustomerId>)>),
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
            Self::Deleted(..) => "deleted",
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
            Self::NotHere(id) | Self::Deleted(id, _) => Some(id),
            Self::SharedEmail(id) => id.as_ref(),
            Self::AllClaimed(claimed) => claimed.iter().find_map(|(_, owner)| owner.as_ref()),
            Self::NoEmail | Self::NoAccount | Self::Reserved | Self::NoPlan(_) => None,
        }
    }
}

impl Ambiguity {
    /// Returns what is unclear about the buyer `this`, and every way to fix it. Following the text
    /// exactly always works. `how` tells how to give the single payments of a Stripe customer to a
    /// customer who is linked to another one; `None` if there are none to give.
    #[must_use]
    pub fn advice(&self, this: &BuyerId, how: Option<&str>) -> String {
        const IMPORT: &str = "import an account for it with its `stripe_customer_id` and an email \
                              address of its own, and run this again";
        match self {
            Self::Taken(id, other) => format!(
                "it matches {id}, but {id} is linked to {other}. If both Stripe customers are the \
                 same person, only one of them can be linked. If {other} has a live subscription, \
                 cancel it at Stripe; then run `licentia stripe claim {this} --to {id}`. If \
                 {other} paid for a perpetual license, keep it: {}. If they are two people, remove \
                 this one's `metadata.customer_id` at Stripe, if it has one, {IMPORT}",
                keeping_both(this, id, how)
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
            Self::Deleted(id, is_subscribed) => {
                let remedy = match is_subscribed {
                    true => {
                        "Cancel its subscription at Stripe. If the person has a new account, \
                         instead run"
                    }
                    false => {
                        "It has no subscription, so nothing is charged. If the person has a new \
                         account that the purchase is for, run"
                    }
                };
                format!(
                    "its `metadata.customer_id` at Stripe names {id}, whose account was deleted \
                     here. {remedy} `licentia stripe claim {this} --to` with the id of that account"
                )
            }
            Self::SharedEmail(Some(id)) => format!(
                "several Stripe customers have the email address of {id}. Run `licentia stripe \
                 claim {this} --to {id}` if this is the right one"
            ),
            Self::SharedEmail(None) => format!(
                "several Stripe customers have this email address. For each one that pays, {IMPORT}"
            ),
            Self::Unverified(id) if matches!(this, BuyerId::Guest(_)) => format!(
                "{id} has the same email address, but has not proven that it is theirs. Ask the \
                 customer. If both are the same person, run `licentia stripe claim {this} --to \
                 {id}`. If not, \
                 name the account of the buyer instead"
            ),
            Self::NoEmail if matches!(this, BuyerId::Guest(_)) => format!(
                "it has no valid email address. Run `licentia stripe claim {this} --to` with the \
                 id of the buyer's account"
            ),
            Self::NoAccount if matches!(this, BuyerId::Guest(_)) => format!(
                "no account has its email address. `licentia stripe claim {this} --create` creates \
                 one"
            ),
            Self::Reserved => format!(
                "its email address is reserved for a customer who has changed it, so no account is \
                 created. If that is the buyer, run `licentia stripe claim {this} --to` with the \
                 id of that account"
            ),
            Self::NoPlan(bought) => format!(
                "no account has its email address, and it paid for {}, so none is created. Run \
                 `licentia stripe claim {this} --to` with the id of the buyer's account",
                bought
                    .as_ref()
                    .map_or("no plan".to_owned(), |id| format!("`{id}` without a license for it"))
            ),
            Self::AllClaimed(claimed) => {
                format!("nothing is left to link: {}", owners_text(claimed))
            }
            Self::Unverified(id) => format!(
                "{id} has the same email address, but has not proven that it is theirs. Ask the \
                 customer. If both are the same person, run `licentia stripe claim {this} --to \
                 {id}`. If not, \
                 {IMPORT}"
            ),
            Self::NoEmail => {
                "it has no valid email address. Set one at Stripe, and run this again".into()
            }
            Self::NoAccount => format!(
                "no account has its email address. `licentia stripe claim {this} --create` creates \
                 one; `licentia stripe backfill --create` creates one for each Stripe customer \
                 that pays"
            ),
        }
    }
}

/// Returns how a customer keeps a perpetual license and gets what another Stripe customer bought.
#[must_use]
pub fn keeping_both(this: &BuyerId, id: &CustomerId, how: Option<&str>) -> String {
    let subscription = format!(
        "cancel the subscription of {this} at Stripe, and let the customer buy one in the account \
         {id}"
    );
    match how {
        Some(how) => format!(
            "to add its single payments to {id}, {how}. If it has a subscription too, \
             {subscription}"
        ),
        None => format!(
            "{subscription}; or refund what {this} paid for, and grant {id} a license for it"
        ),
    }
}

fn owners_text(claimed: &[(CheckoutSessionId, Option<CustomerId>)]) -> String {
    let owner = |owner: &Option<CustomerId>| {
        owner.as_ref().map_or("a deleted customer".to_owned(), ToString::to_string)
    };
    let each = claimed.iter().map(|(id, of)| format!("{id} belongs to {}", owner(of)));
    each.collect::<Vec<_>>().join(", ")
}

/// Returns the decision about each Stripe customer, in the same order.
#[must_use]
pub fn decide(theirs: &[StripeCandidate], ours: &[CustomerCandidate]) -> Vec<LinkDecision> {
    let directory = Directory::new(theirs, ours);
    theirs.iter().map(|one| directory.decide(one)).collect()
}

struct Directory<'a> {
    by_id: HashMap<&'a CustomerId, &'a CustomerCandidate>,
    by_email: HashMap<&'a Email, &'a CustomerCandidate>,
    by_link: HashMap<&'a StripeCustomerId, &'a CustomerCandidate>,
    /// The last Stripe customer whose metadata names each of our customers.
    named: HashMap<&'a CustomerId, &'a StripeCustomerId>,
    named_twice: HashSet<&'a CustomerId>,
    shared: HashSet<&'a Email>,
}

impl<'a> Directory<'a> {
    fn new(theirs: &'a [StripeCandidate], ours: &'a [CustomerCandidate]) -> Self {
        let links = ours.iter().filter_map(|one| Some((one.stripe_customer_id.as_ref()?, one)));
        let (mut named, mut named_twice) = (HashMap::new(), HashSet::new());
        let (mut emails, mut shared) = (HashSet::new(), HashSet::new());
        for one in theirs {
            if let Tag::Ours(id) = &one.tag
                && named.insert(id, &one.id).is_some()
            {
                named_twice.insert(id);
            }
            shared.extend(one.email.as_ref().filter(|email| !emails.insert(*email)));
        }
        Self {
            by_id: ours.iter().map(|one| (&one.customer_id, one)).collect(),
            by_email: ours.iter().map(|one| (&one.email, one)).collect(),
            by_link: links.collect(),
            named,
            named_twice,
            shared,
        }
    }

    fn decide(&self, one: &StripeCandidate) -> LinkDecision {
        match (self.by_link.get(&one.id), &one.tag) {
            (Some(linked), tag) => linked_already(linked, tag),
            (None, Tag::Ours(id)) => self.by_metadata(id),
            (None, Tag::None | Tag::Foreign) => self.by_email(one.email.as_ref()),
        }
    }

    fn by_metadata(&self, id: &CustomerId) -> LinkDecision {
        let Some(ours) = self.by_id.get(id) else {
            return LinkDecision::Leave(Ambiguity::NotHere(id.clone()));
        };
        if let Some(other) = &ours.stripe_customer_id {
            return LinkDecision::Leave(Ambiguity::Taken(id.clone(), other.clone()));
        }
        if self.named_twice.contains(id) {
            return LinkDecision::Leave(Ambiguity::NamedTwice(id.clone()));
        }
        LinkDecision::Link(id.clone(), MatchReason::Metadata)
    }

    fn by_email(&self, email: Option<&Email>) -> LinkDecision {
        let Some(email) = email else { return LinkDecision::Leave(Ambiguity::NoEmail) };
        let ours = self.by_email.get(email);
        let id = ours.map(|ours| ours.customer_id.clone());
        if let Some(ours) = ours {
            let named = self.named.get(&ours.customer_id).copied();
            if let Some(other) = ours.stripe_customer_id.as_ref().or(named) {
                return LinkDecision::Leave(Ambiguity::Taken(
                    ours.customer_id.clone(),
                    other.clone(),
                ));
            }
        }
        if self.shared.contains(email) {
            return LinkDecision::Leave(Ambiguity::SharedEmail(id));
        }
        let is_proven =
            |ours: &CustomerCandidate| ours.is_email_verified && !ours.has_waiting_purchase;
        match (id, ours.is_some_and(|ours| is_proven(ours))) {
            (Some(id), true) => LinkDecision::Link(id, MatchReason::Email),
            (Some(id), false) => LinkDecision::Leave(Ambiguity::Unverified(id)),
            (None, _) => LinkDecision::Newcomer,
        }
    }
}

fn linked_already(linked: &CustomerCandidate, tag: &Tag) -> LinkDecision {
    let id = &linked.customer_id;
    match tag {
        Tag::Ours(named) if named != id => {
            LinkDecision::Leave(Ambiguity::Contradiction(id.clone(), named.clone()))
        }
        // The metadata is still missing. It allows a new match if the link here is lost.
        Tag::None => LinkDecision::Finish(id.clone()),
        _ if linked.is_synced => LinkDecision::Settled,
        _ => LinkDecision::Finish(id.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn id(number: u128) -> CustomerId {
        CustomerId::from_random(number)
    }

    fn ours(number: u128, email: &str, link: Option<&str>) -> CustomerCandidate {
        CustomerCandidate {
            customer_id: id(number),
            email: email.parse().unwrap(),
            is_email_verified: true,
            has_waiting_purchase: false,
            stripe_customer_id: link.map(|link| link.parse().unwrap()),
            is_synced: true,
        }
    }

    fn theirs(stripe_id: &str, email: &str, tag: Tag) -> StripeCandidate {
        let (id, email) = (stripe_id.parse().unwrap(), email.parse().ok());
        StripeCandidate { id, email, name: None, tag, plan: None }
    }

    fn one(one: StripeCandidate, ours: &[CustomerCandidate]) -> LinkDecision {
        decide(&[one], ours).remove(0)
    }

    #[test]
    fn a_match_by_metadata_is_certain_with_any_address() {
        let ada = ours(1, "ada@example.com", None);
        let other = ours(2, "bob@example.com", None);
        let named = theirs("cus_1", "bob@example.com", Tag::Ours(id(1)));
        assert_eq!(one(named, &[ada, other]), LinkDecision::Link(id(1), MatchReason::Metadata));
    }

    #[test]
    fn a_match_by_address_is_certain_only_if_it_is_verified_and_not_shared() {
        let email = "ada@example.com";
        let verified = ours(1, email, None);
        let plain = theirs("cus_1", email, Tag::None);
        assert_eq!(
            one(plain.clone(), from_ref(&verified)),
            LinkDecision::Link(id(1), MatchReason::Email)
        );
        let unverified = CustomerCandidate { is_email_verified: false, ..verified.clone() };
        let contested = CustomerCandidate { has_waiting_purchase: true, ..verified.clone() };
        for unproven in [unverified, contested] {
            assert_eq!(
                one(plain.clone(), &[unproven]),
                LinkDecision::Leave(Ambiguity::Unverified(id(1)))
            );
        }
        // Another value in the metadata is ignored.
        let numbered = theirs("cus_1", email, Tag::Foreign);
        assert_eq!(
            one(numbered, from_ref(&verified)),
            LinkDecision::Link(id(1), MatchReason::Email)
        );
        let twin = theirs("cus_2", email, Tag::None);
        let shared = LinkDecision::Leave(Ambiguity::SharedEmail(Some(id(1))));
        assert_eq!(decide(&[plain.clone(), twin.clone()], &[verified]), [shared.clone(), shared]);
        let strangers = LinkDecision::Leave(Ambiguity::SharedEmail(None));
        assert_eq!(decide(&[plain, twin], &[]), [strangers.clone(), strangers]);
        assert_eq!(
            one(theirs("cus_1", "", Tag::None), &[]),
            LinkDecision::Leave(Ambiguity::NoEmail)
        );
        assert_eq!(one(theirs("cus_1", email, Tag::None), &[]), LinkDecision::Newcomer);
    }

    #[test]
    fn a_link_is_never_moved_to_another_customer() {
        let email = "ada@example.com";
        let ada = [ours(1, email, Some("cus_1"))];
        let taken = LinkDecision::Leave(Ambiguity::Taken(id(1), "cus_1".parse().unwrap()));
        assert_eq!(one(theirs("cus_2", email, Tag::None), &ada), taken);
        assert_eq!(one(theirs("cus_2", "x@example.com", Tag::Ours(id(1))), &ada), taken);
        let contradiction = LinkDecision::Leave(Ambiguity::Contradiction(id(1), id(2)));
        assert_eq!(one(theirs("cus_1", email, Tag::Ours(id(2))), &ada), contradiction);
        let unknown = LinkDecision::Leave(Ambiguity::NotHere(id(2)));
        assert_eq!(one(theirs("cus_2", email, Tag::Ours(id(2))), &ada), unknown);

        // A customer that the metadata of one names is not linked to another by the address.
        let free = [ours(1, email, None)];
        let named = theirs("cus_1", email, Tag::Ours(id(1)));
        let plain = theirs("cus_2", email, Tag::None);
        let link = LinkDecision::Link(id(1), MatchReason::Metadata);
        assert_eq!(decide(&[named.clone(), plain], &free), [link, taken]);
        let twice = LinkDecision::Leave(Ambiguity::NamedTwice(id(1)));
        let twin = StripeCandidate { id: "cus_3".parse().unwrap(), ..named.clone() };
        assert_eq!(decide(&[named, twin], &free), [twice.clone(), twice]);
    }

    #[test]
    fn an_incomplete_link_is_finished_and_a_complete_one_is_settled() {
        let email = "ada@example.com";
        let synced = ours(1, email, Some("cus_1"));
        let unsynced = CustomerCandidate { is_synced: false, ..synced.clone() };
        let finish = LinkDecision::Finish(id(1));
        for (tag, ours, expected) in [
            (Tag::None, &unsynced, &finish),
            (Tag::None, &synced, &finish),
            (Tag::Ours(id(1)), &unsynced, &finish),
            (Tag::Ours(id(1)), &synced, &LinkDecision::Settled),
            (Tag::Foreign, &unsynced, &finish),
            (Tag::Foreign, &synced, &LinkDecision::Settled),
        ] {
            let theirs = theirs("cus_1", email, tag);
            assert_eq!(one(theirs.clone(), from_ref(ours)), *expected, "{theirs:?} {ours:?}");
        }
    }
}
