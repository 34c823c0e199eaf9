//! The calls that list the whole account: every customer, and everything that is live; and those that
//! look for one customer by what is known here.

use super::wire::{Identified, Link, List, WireCustomer, WireSubscription};
use super::{Answer, PAGE, Stripe, field};
use crate::domain::ids::CustomerId;
use crate::domain::matching::{Tag, Theirs};
use crate::domain::stripe_ids::StripeCustomerId;
use crate::domain::subscription::Subscription;
use crate::fail_point::FailPoint;

/// Pages that are read of the whole account: half a million customers, in half an hour.
const MAX_PAGES: usize = 5000;

impl Stripe {
    /// Every customer of the account, deleted ones not. `progress` is told how many so far.
    pub async fn every_customer(&self, progress: impl Fn(usize)) -> Answer<Vec<Theirs>> {
        let mut all = Vec::new();
        let take = |page: Vec<WireCustomer>| {
            all.extend(page.into_iter().filter_map(WireCustomer::into_domain));
            progress(all.len());
        };
        self.each("/customers", Vec::new(), MAX_PAGES, |found| &found.id, take).await?;
        Ok(all)
    }

    /// Every subscription of the account that was not canceled, and whose it is, a page at a time.
    pub async fn every_subscription(
        &self,
        mut take: impl FnMut(StripeCustomerId, Subscription),
    ) -> Answer<()> {
        let each = |page: Vec<WireSubscription>| {
            for mut found in page {
                let whose = found.customer.take().as_ref().map(Link::id).map(str::parse);
                if let (Some(Ok(whose)), Some(found)) = (whose, found.into_domain()) {
                    take(whose, found);
                }
            }
        };
        self.each("/subscriptions", Vec::new(), MAX_PAGES, |found| &found.id, each).await
    }

    /// Returns a customer; `None` if it was deleted, or this account never had it.
    pub async fn find_customer(&self, id: &StripeCustomerId) -> Answer<Option<Theirs>> {
        let found: Option<WireCustomer> =
            self.known(&format!("/customers/{id}"), Vec::new()).await?;
        Ok(found.and_then(WireCustomer::into_domain))
    }

    /// Returns every customer with this email address. Unlike the search, the list has a new customer at
    /// once (<https://docs.stripe.com/search#data-freshness>). It compares letter by letter: an address
    /// that was written in another case is not found.
    pub async fn customers_with_email(&self, email: &str) -> Answer<Vec<Theirs>> {
        let query = vec![field("email", email)];
        let found = self.all("/customers", query, |found: &WireCustomer| found.id.as_str()).await?;
        Ok(found.into_iter().filter_map(WireCustomer::into_domain).collect())
    }

    /// Returns the customers whose metadata names this customer, whatever their email address. The search
    /// may lag by a minute, or longer during an outage, and has the newest hundred at most.
    ///
    /// # Errors
    /// [`super::StripeFailure::Refused`] too: not every account can search.
    pub async fn customers_named(&self, id: &CustomerId) -> Answer<Vec<Theirs>> {
        let named = format!("metadata['customer_id']:'{id}'");
        let query = vec![field("query", named), field("limit", PAGE)];
        let found: List<WireCustomer> = self.get("/customers/search", query).await?;
        let found = found.data.into_iter().filter_map(WireCustomer::into_domain);
        // What the search index has may be older than the object.
        Ok(found.filter(|one| one.tag == Tag::Ours(id.clone())).collect())
    }

    /// Writes into a customer's metadata who they are here; `None` removes it.
    pub async fn tag_customer(
        &self,
        id: &StripeCustomerId,
        customer_id: Option<&CustomerId>,
        at: FailPoint<'_>,
    ) -> Answer<()> {
        // An empty value removes the key (<https://docs.stripe.com/api/metadata>).
        let value = customer_id.map_or("", CustomerId::as_str);
        let form = vec![field("metadata[customer_id]", value)];
        self.post::<Identified>(&format!("/customers/{id}"), form, None, at).await.map(drop)
    }
}
