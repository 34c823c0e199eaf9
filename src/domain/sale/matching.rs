//! Which of Stripe's customers is which of ours: what is sure, and what a person must decide. Pure;
//! listing and linking are done by [`crate::flows::sale::backfill`].
//!
//! Two things are sure. The metadata at Stripe names one of ours: only the vendor writes it. Or both have
//! one email address, which is known to be theirs here. An address that somebody merely signed up with
//! is not: whoever took another's address would take over the subscription with it.

use std::collections::{HashMap, HashSet};

use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::CustomerId;
use crate::domain::sale::stripe_ids::StripeCustomerId;

/// A customer at Stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Theirs {
    /// Who, there.
    pub id: StripeCustomerId,
    /// The address, if it is one that we take.
    pub email: Option<Email>,
    /// The name, if it is one that we take.
    pub name: Option<DisplayName>,
    /// Whom the metadata names.
    pub tag: Tag,
    /// The plan that they have a live subscription to, if any.
    pub plan: Option<String>,
}

/// What `metadata.customer_id` says at Stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Nothing.
    None,
    /// A customer with an id as we give them out.
    Ours(CustomerId),
    /// Something else: the vendor's own, from before. It says nothing to us, and is never changed.
    Foreign,
}

/// A customer here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours {
    /// Who.
    pub customer_id: CustomerId,
    /// The address.
    pub email: Email,
    /// Whether it is known to be theirs.
    pub is_email_verified: bool,
    /// Who that is at Stripe.
    pub stripe_customer_id: Option<StripeCustomerId>,
    /// Whether what Stripe says about them was ever fetched.
    pub is_synced: bool,
}

/// By what a customer at Stripe was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The metadata names one of ours.
    Metadata,
    /// Both have one address, which is verified here.
    Email,
}

/// What is to be done about a customer at Stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: they are linked.
    Settled,
    /// They are linked, and something of it is still to be done.
    Finish(CustomerId),
    /// They are one of ours, for sure.
    Link(CustomerId, Sign),
    /// Nobody here is them.
    Newcomer,
    /// It is left to a person.
    Leave(Doubt),
}

/// Why nothing is done about a Stripe customer. [`Doubt::advice`] tells the ways out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The customer that it seems to be is linked to another Stripe customer.
    Taken(CustomerId, StripeCustomerId),
    /// It is linked to the first customer, and its metadata names the second.
    Contradiction(CustomerId, CustomerId),
    /// Several customers at Stripe name one of ours.
    NamedTwice(CustomerId),
    /// The metadata names somebody who is not here.
    NotHere(CustomerId),
    /// The metadata names somebody whose account was deleted here.
    Deleted(CustomerId),
    /// Several customers at Stripe have one address; who has it here, if anybody.
    SharedEmail(Option<CustomerId>),
    /// Who has the address here may have signed up with another's.
    Unverified(CustomerId),
    /// There is no address, or none that we take.
    NoEmail,
    /// Nobody here has the address.
    NoAccount,
}

impl Doubt {
    /// The stable name, for programs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Taken(..) => "taken",
            Self::Contradiction(..) => "contradiction",
            Self::NamedTwice(_) => "named_twice",
            Self::NotHere(_) => "not_here",
            Self::Deleted(_) => "deleted",
            Self::SharedEmail(_) => "shared_email",
            Self::Unverified(_) => "unverified_email",
            Self::NoEmail => "no_email",
            Self::NoAccount => "no_account",
        }
    }

    /// Whom it is about here.
    #[must_use]
    pub fn customer_id(&self) -> Option<&CustomerId> {
        match self {
            Self::Taken(id, _) | Self::Contradiction(id, _) => Some(id),
            Self::NamedTwice(id) | Self::Unverified(id) => Some(id),
            Self::NotHere(id) | Self::Deleted(id) => Some(id),
            Self::SharedEmail(id) => id.as_ref(),
            Self::NoEmail | Self::NoAccount => None,
        }
    }
}

impl Doubt {
    /// Returns what is unclear about the Stripe customer `this`, and every way out. Each way works when it
    /// is followed to the letter.
    #[must_use]
    pub fn advice(&self, this: &StripeCustomerId) -> String {
        const IMPORT: &str = "import an account for it with its `stripe_customer_id` and an email \
                              address of its own, and run this again";
        match self {
            Self::Taken(id, other) => format!(
                "it seems to be {id}, but {id} is linked to {other}. If both are one person, only one of \
                 the two may have a live subscription: end the other one's at Stripe. If this one \
                 stays, then run `licentia stripe claim {this} --to {id}`. If they are two people, \
                 remove this one's `metadata.customer_id` at Stripe, if it has one, {IMPORT}"
            ),
            Self::Contradiction(linked, named) => format!(
                "it is linked to {linked}, but its `metadata.customer_id` at Stripe names {named}. It \
                 is not moved: set its `metadata.customer_id` to {linked}. If {named} should have what \
                 it pays for, end its subscription at Stripe, and let {named} buy one"
            ),
            Self::NamedTwice(id) => format!(
                "its `metadata.customer_id` at Stripe names {id}, and so does that of another Stripe \
                 customer. Remove it from the wrong one, and run this again"
            ),
            Self::NotHere(id) => format!(
                "its `metadata.customer_id` at Stripe names {id}, who is not here: newer than a \
                 backup that was restored, or of another installation. To give it a new account, \
                 remove its `metadata.customer_id` at Stripe, then run `licentia stripe claim {this} \
                 --create`"
            ),
            Self::Deleted(id) => format!(
                "its `metadata.customer_id` at Stripe names {id}, whose account was deleted here. End \
                 its subscription at Stripe. If they came back, run `licentia stripe claim {this} --to` \
                 with the id of their new account"
            ),
            Self::SharedEmail(Some(id)) => format!(
                "several Stripe customers have the email address of {id}. Run `licentia stripe claim \
                 {this} --to {id}` if this is the right one"
            ),
            Self::SharedEmail(None) => format!(
                "several Stripe customers have this email address. For each of them who pays, {IMPORT}"
            ),
            Self::Unverified(id) => format!(
                "{id} signed up with its email address, and has not shown that the address is theirs. \
                 Ask them. If they are one person, run `licentia stripe claim {this} --to {id}`. If \
                 not, {IMPORT}"
            ),
            Self::NoEmail => {
                "it has no email address that can be used. Set one at Stripe, and run this again"
                    .into()
            }
            Self::NoAccount => format!(
                "no account here has its email address. `licentia stripe claim {this} --create` makes \
                 one, `licentia stripe backfill --create` makes one for everybody who pays"
            ),
        }
    }
}

/// Decides about each customer at Stripe, in their order.
#[must_use]
pub fn decide(theirs: &[Theirs], ours: &[Ours]) -> Vec<Decision> {
    let directory = Directory::new(theirs, ours);
    theirs.iter().map(|one| directory.decide(one)).collect()
}

struct Directory<'a> {
    by_id: HashMap<&'a CustomerId, &'a Ours>,
    by_email: HashMap<&'a Email, &'a Ours>,
    by_link: HashMap<&'a StripeCustomerId, &'a Ours>,
    /// Who is named by whom; the first of them.
    named: HashMap<&'a CustomerId, &'a StripeCustomerId>,
    named_twice: HashSet<&'a CustomerId>,
    shared: HashSet<&'a Email>,
}

impl<'a> Directory<'a> {
    fn new(theirs: &'a [Theirs], ours: &'a [Ours]) -> Self {
        let links = ours.iter().filter_map(|one| Some((one.stripe_customer_id.as_ref()?, one)));
        let (mut named, mut named_twice) = (HashMap::new(), HashSet::new());
        let (mut seen, mut shared) = (HashSet::new(), HashSet::new());
        for one in theirs {
            if let Tag::Ours(id) = &one.tag
                && named.insert(id, &one.id).is_some()
            {
                named_twice.insert(id);
            }
            shared.extend(one.email.as_ref().filter(|email| !seen.insert(*email)));
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

    fn decide(&self, one: &Theirs) -> Decision {
        match (self.by_link.get(&one.id), &one.tag) {
            (Some(linked), tag) => linked_already(linked, tag),
            (None, Tag::Ours(id)) => self.by_metadata(id),
            (None, Tag::None | Tag::Foreign) => self.by_email(one.email.as_ref()),
        }
    }

    fn by_metadata(&self, id: &CustomerId) -> Decision {
        let Some(ours) = self.by_id.get(id) else {
            return Decision::Leave(Doubt::NotHere(id.clone()));
        };
        if let Some(other) = &ours.stripe_customer_id {
            return Decision::Leave(Doubt::Taken(id.clone(), other.clone()));
        }
        if self.named_twice.contains(id) {
            return Decision::Leave(Doubt::NamedTwice(id.clone()));
        }
        Decision::Link(id.clone(), Sign::Metadata)
    }

    fn by_email(&self, email: Option<&Email>) -> Decision {
        let Some(email) = email else { return Decision::Leave(Doubt::NoEmail) };
        let ours = self.by_email.get(email);
        let id = ours.map(|ours| ours.customer_id.clone());
        if let Some(ours) = ours {
            let named = self.named.get(&ours.customer_id).copied();
            if let Some(other) = ours.stripe_customer_id.as_ref().or(named) {
                return Decision::Leave(Doubt::Taken(ours.customer_id.clone(), other.clone()));
            }
        }
        if self.shared.contains(email) {
            return Decision::Leave(Doubt::SharedEmail(id));
        }
        match (id, ours.is_some_and(|ours| ours.is_email_verified)) {
            (Some(id), true) => Decision::Link(id, Sign::Email),
            (Some(id), false) => Decision::Leave(Doubt::Unverified(id)),
            (None, _) => Decision::Newcomer,
        }
    }
}

fn linked_already(linked: &Ours, tag: &Tag) -> Decision {
    let id = &linked.customer_id;
    match tag {
        Tag::Ours(named) if named != id => {
            Decision::Leave(Doubt::Contradiction(id.clone(), named.clone()))
        }
        // Named at Stripe, they are found again even if the link here is lost.
        Tag::None => Decision::Finish(id.clone()),
        _ if linked.is_synced => Decision::Settled,
        _ => Decision::Finish(id.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn id(number: u128) -> CustomerId {
        CustomerId::from_random(number)
    }

    fn ours(number: u128, email: &str, link: Option<&str>) -> Ours {
        Ours {
            customer_id: id(number),
            email: email.parse().unwrap(),
            is_email_verified: true,
            stripe_customer_id: link.map(|link| link.parse().unwrap()),
            is_synced: true,
        }
    }

    fn theirs(stripe_id: &str, email: &str, tag: Tag) -> Theirs {
        let (id, email) = (stripe_id.parse().unwrap(), email.parse().ok());
        Theirs { id, email, name: None, tag, plan: None }
    }

    fn one(one: Theirs, ours: &[Ours]) -> Decision {
        decide(&[one], ours).remove(0)
    }

    #[test]
    fn metadata_is_sure_whatever_the_address() {
        let ada = ours(1, "ada@example.com", None);
        let other = ours(2, "bob@example.com", None);
        let named = theirs("cus_1", "bob@example.com", Tag::Ours(id(1)));
        assert_eq!(one(named, &[ada, other]), Decision::Link(id(1), Sign::Metadata));
    }

    #[test]
    fn an_address_is_sure_only_if_it_is_verified_and_nobody_shares_it() {
        let email = "ada@example.com";
        let verified = ours(1, email, None);
        let plain = theirs("cus_1", email, Tag::None);
        assert_eq!(one(plain.clone(), from_ref(&verified)), Decision::Link(id(1), Sign::Email));
        let unverified = Ours { is_email_verified: false, ..verified.clone() };
        assert_eq!(one(plain.clone(), &[unverified]), Decision::Leave(Doubt::Unverified(id(1))));
        // The vendor's own number in the metadata is no obstacle.
        let numbered = theirs("cus_1", email, Tag::Foreign);
        assert_eq!(one(numbered, from_ref(&verified)), Decision::Link(id(1), Sign::Email));
        let twin = theirs("cus_2", email, Tag::None);
        let shared = Decision::Leave(Doubt::SharedEmail(Some(id(1))));
        assert_eq!(decide(&[plain.clone(), twin.clone()], &[verified]), [shared.clone(), shared]);
        let strangers = Decision::Leave(Doubt::SharedEmail(None));
        assert_eq!(decide(&[plain, twin], &[]), [strangers.clone(), strangers]);
        assert_eq!(one(theirs("cus_1", "", Tag::None), &[]), Decision::Leave(Doubt::NoEmail));
        assert_eq!(one(theirs("cus_1", email, Tag::None), &[]), Decision::Newcomer);
    }

    #[test]
    fn nobody_is_moved_from_one_to_another() {
        let email = "ada@example.com";
        let ada = [ours(1, email, Some("cus_1"))];
        let taken = Decision::Leave(Doubt::Taken(id(1), "cus_1".parse().unwrap()));
        assert_eq!(one(theirs("cus_2", email, Tag::None), &ada), taken);
        assert_eq!(one(theirs("cus_2", "x@example.com", Tag::Ours(id(1))), &ada), taken);
        let contradiction = Decision::Leave(Doubt::Contradiction(id(1), id(2)));
        assert_eq!(one(theirs("cus_1", email, Tag::Ours(id(2))), &ada), contradiction);
        let unknown = Decision::Leave(Doubt::NotHere(id(2)));
        assert_eq!(one(theirs("cus_2", email, Tag::Ours(id(2))), &ada), unknown);

        // Whom the metadata names is nobody else's by the address.
        let free = [ours(1, email, None)];
        let named = theirs("cus_1", email, Tag::Ours(id(1)));
        let plain = theirs("cus_2", email, Tag::None);
        let link = Decision::Link(id(1), Sign::Metadata);
        assert_eq!(decide(&[named.clone(), plain], &free), [link, taken]);
        let twice = Decision::Leave(Doubt::NamedTwice(id(1)));
        let twin = Theirs { id: "cus_3".parse().unwrap(), ..named.clone() };
        assert_eq!(decide(&[named, twin], &free), [twice.clone(), twice]);
    }

    #[test]
    fn what_was_begun_is_finished_and_then_left_alone() {
        let email = "ada@example.com";
        let synced = ours(1, email, Some("cus_1"));
        let begun = Ours { is_synced: false, ..synced.clone() };
        let finish = Decision::Finish(id(1));
        for (tag, ours, expected) in [
            (Tag::None, &begun, &finish),
            (Tag::None, &synced, &finish),
            (Tag::Ours(id(1)), &begun, &finish),
            (Tag::Ours(id(1)), &synced, &Decision::Settled),
            (Tag::Foreign, &begun, &finish),
            (Tag::Foreign, &synced, &Decision::Settled),
        ] {
            let theirs = theirs("cus_1", email, tag);
            assert_eq!(one(theirs.clone(), from_ref(ours)), *expected, "{theirs:?} {ours:?}");
        }
    }
}
