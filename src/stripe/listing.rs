//! The calls that list the whole account: all Stripe customers and all live subscriptions. The
//! calls for a single customer are in `sale.rs`.

use super::wire::{Identified, Link, WireCustomer, WireSubscription};
use super::{Answer, Stripe, field};
use crate::domain::ids::CustomerId;
use crate::domain::matching::Theirs;
use crate::domain::stripe_ids::StripeCustomerId;
use crate::domain::subscription::Subscription;
use crate::fail_point::FailPoint;

/// The most pages of such a list: half a million customers, in half an hour.
const MAX_PAGES: usize = 5000;

impl Stripe {
    /// Returns every customer of the account, except deleted ones. `progress` gets the count so
    /// far.
    pub async fn every_customer(&self, progress: impl Fn(usize)) -> Answer<Vec<Theirs>> {
        let mut all = Vec::new();
        let take = |page: Vec<WireCustomer>| {
            all.extend(page.into_iter().filter_map(WireCustomer::into_domain));
            progress(all.len());
        };
        self.each("/customers", Vec::new(), MAX_PAGES, |customer| &customer.id, take).await?;
        Ok(all)
    }

    /// Passes every subscription of the account that was not canceled to `take`, with its customer.
    pub async fn every_subscription(
        &self,
        mut take: impl FnMut(StripeCustomerId, Subscription),
    ) -> Answer<()> {
        let each = |page: Vec<WireSubscription>| {
            for mut subscription in page {
                let customer = subscription.customer.take().as_ref().map(Link::id).map(str::parse);
                let subscription = subscription.into_domain();
                if let (Some(Ok(customer)), Some(subscription)) = (customer, subscription) {
                    take(customer, subscription);
                }
            }
        };
        self.each("/subscriptions", Vec::new(), MAX_PAGES, |listed| &listed.id, each).await
    }

    /// Sets `metadata.customer_id` of a Stripe customer.
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
