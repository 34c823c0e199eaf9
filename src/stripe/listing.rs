//! The calls that list the whole account: every customer, and everything that is live.

use super::wire::{Identified, Link, WireCustomer, WireSubscription};
use super::{Answer, Stripe, field};
use crate::domain::ids::CustomerId;
use crate::domain::matching::Theirs;
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

    /// Writes into a customer's metadata who they are here.
    pub async fn tag_customer(
        &self,
        id: &StripeCustomerId,
        customer_id: &CustomerId,
        at: FailPoint<'_>,
    ) -> Answer<()> {
        let form = vec![field("metadata[customer_id]", customer_id.as_str())];
        self.post::<Identified>(&format!("/customers/{id}"), form, None, at).await.map(drop)
    }
}
