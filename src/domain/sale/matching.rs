//! Matches Stripe customers with our customers, and lists the cases that an operator must decide.
//! Pure; [`crate::flows::sale::backfill`] fetches and links them.
//!
//! A match is certain in two cases. The metadata at Stripe has the id of our customer: only the
//! vendor can write it. Or both have the same email address, and it is verified here. An unverified
//! address is not enough: otherwise anybody could sign up with another person's address and get
//! their subscription. Neither is a verified one while a purchase waits for the proof whose account
//! it is: a buyer who expects a mail may have followed the link of somebody else's sign-up.

mod ambiguity;

use std::collections::{HashMap, HashSet};

use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::CustomerId;
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::time::Timestamp;

pub use ambiguity::{Ambiguity, ClaimAdvice, Claims, keeping_both};

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
    /// The plan that it pays for: by a live subscription, or, in
    /// [`crate::flows::sale::claim`], by anything.
    pub plan: Option<String>,
    /// Whether it has a live subscription, also to something besides the plans.
    pub is_subscribed: bool,
    /// Its account here that was deleted, if it has bought no plan since.
    pub deleted: Option<CustomerId>,
}

/// The deletion of a Stripe customer's account here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The customer here.
    pub customer_id: CustomerId,
    /// The time.
    pub at: Timestamp,
    /// Whether the metadata at Stripe names a deleted customer.
    pub is_named: bool,
}

impl StripeCandidate {
    /// Notes that its account was deleted. If it has bought a plan since, that needs an account
    /// like any purchase, and metadata that names a deleted customer says nothing any more.
    pub fn note_deletion(&mut self, deletion: Deletion, has_bought_since: bool) {
        if !has_bought_since {
            self.deleted = Some(deletion.customer_id);
        } else if deletion.is_named {
            self.tag = Tag::None;
        }
    }
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
    /// The email addresses of several Stripe customers, without those of deleted accounts.
    shared: HashSet<&'a Email>,
    /// The same, with those.
    shared_by_former: HashSet<&'a Email>,
}

impl<'a> Directory<'a> {
    fn new(theirs: &'a [StripeCandidate], ours: &'a [CustomerCandidate]) -> Self {
        let links = ours.iter().filter_map(|one| Some((one.stripe_customer_id.as_ref()?, one)));
        let (mut named, mut named_twice) = (HashMap::new(), HashSet::new());
        let (mut present, mut shared) = (HashSet::new(), HashSet::new());
        let (mut all, mut shared_by_former) = (HashSet::new(), HashSet::new());
        for one in theirs {
            if let Tag::Ours(id) = &one.tag
                && named.insert(id, &one.id).is_some()
            {
                named_twice.insert(id);
            }
            let Some(email) = &one.email else { continue };
            // A buyer who returns with another Stripe customer is not confused with the former one.
            let is_former = one.deleted.is_some() && !one.is_subscribed;
            if !is_former && !present.insert(email) {
                shared.insert(email);
            }
            if !all.insert(email) {
                shared_by_former.insert(email);
            }
        }
        Self {
            by_id: ours.iter().map(|one| (&one.customer_id, one)).collect(),
            by_email: ours.iter().map(|one| (&one.email, one)).collect(),
            by_link: links.collect(),
            named,
            named_twice,
            shared,
            shared_by_former,
        }
    }

    fn decide(&self, one: &StripeCandidate) -> LinkDecision {
        let decision = match (self.by_link.get(&one.id), &one.tag) {
            (Some(linked), tag) => linked_already(linked, tag),
            (None, Tag::Ours(id)) => self.by_metadata(id),
            (None, Tag::None | Tag::Foreign) => self.by_email(one),
        };
        match (decision, &one.deleted) {
            (
                LinkDecision::Newcomer
                | LinkDecision::Leave(Ambiguity::NotHere(_) | Ambiguity::SharedEmail(None)),
                Some(id),
            ) => {
                let (id, is_subscribed) = (id.clone(), one.is_subscribed);
                LinkDecision::Leave(Ambiguity::Deleted { id, is_subscribed })
            }
            (decision, _) => decision,
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

    fn by_email(&self, one: &StripeCandidate) -> LinkDecision {
        let Some(email) = &one.email else { return LinkDecision::Leave(Ambiguity::NoEmail) };
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
        let shared = if one.deleted.is_some() { &self.shared_by_former } else { &self.shared };
        if shared.contains(email) {
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
        let (name, plan, is_subscribed, deleted) = (None, None, false, None);
        StripeCandidate { id, email, name, tag, plan, is_subscribed, deleted }
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
    fn a_stripe_customer_whose_account_was_deleted_is_new_only_if_it_has_bought_since() {
        let email = "ada@example.com";
        let deletion = |is_named| Deletion { customer_id: id(1), at: Timestamp::MAX, is_named };
        let after = |tag: Tag, has_bought_since| {
            let is_named = tag == Tag::Ours(id(1));
            let mut one = theirs("cus_1", email, tag);
            one.note_deletion(deletion(is_named), has_bought_since);
            one
        };
        let deleted = LinkDecision::Leave(Ambiguity::Deleted { id: id(1), is_subscribed: false });
        for tag in [Tag::None, Tag::Foreign, Tag::Ours(id(1))] {
            assert_eq!(one(after(tag.clone(), false), &[]), deleted, "{tag:?}");
            assert_eq!(one(after(tag.clone(), true), &[]), LinkDecision::Newcomer, "{tag:?}");
            // Somebody who has a new account gets everything there.
            let again = [ours(2, email, None)];
            let link = LinkDecision::Link(id(2), MatchReason::Email);
            assert_eq!(one(after(tag, true), &again), link);
        }
        assert_eq!(one(after(Tag::Ours(id(3)), false), &[]), deleted);
        let not_here = LinkDecision::Leave(Ambiguity::NotHere(id(3)));
        assert_eq!(one(after(Tag::Ours(id(3)), true), &[]), not_here);
        // With another Stripe customer, the former one does not make the address ambiguous.
        let second = theirs("cus_2", email, Tag::None);
        let both = decide(&[second, after(Tag::Ours(id(1)), false)], &[]);
        assert_eq!(both, [LinkDecision::Newcomer, deleted]);
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
