//! The calls that list the whole account (all Stripe customers, all subscriptions), and those that
//! search it for one customer. The calls for a linked customer are in `sale.rs` and `purchases.rs`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::wire::{Identified, Link, List, WireCustomer, WireSession, WireSubscription};
use super::{Answer, PAGE, Stripe, field};
use crate::domain::ids::CustomerId;
use crate::domain::sale::buyer::BuyerId;
use crate::domain::sale::matching::{StripeCandidate, Tag};
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::Timestamp;
use crate::fail_point::FailPoint;

/// The maximum number of pages of such a list: half a million customers, in half an hour.
const MAX_PAGES: usize = 5000;

impl Stripe {
    /// Returns every customer of the account, except deleted ones. `progress` gets the count so
    /// far.
    pub async fn every_customer(&self, progress: impl Fn(usize)) -> Answer<Vec<StripeCandidate>> {
        let mut all = Vec::new();
        let take = |page: Vec<WireCustomer>| {
            all.extend(page.into_iter().filter_map(WireCustomer::into_domain));
            progress(all.len());
            ControlFlow::Continue(())
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
            ControlFlow::Continue(())
        };
        self.each("/subscriptions", Vec::new(), MAX_PAGES, |listed| &listed.id, each).await
    }

    /// Returns the buyers of the completed Checkout sessions of single payments that were created
    /// since then: all Stripe customers, and the guests who bought a price that `is_for_sale`
    /// accepts.
    pub async fn session_buyers(
        &self,
        since: Timestamp,
        is_for_sale: impl Fn(&str) -> bool,
    ) -> Answer<BTreeSet<BuyerId>> {
        let mut buyers = BTreeSet::new();
        let query = vec![
            field("status", "complete"),
            field("created[gte]", since.epoch_seconds().to_string()),
            field("expand[]", "data.line_items"),
        ];
        let take = |page: Vec<WireSession>| {
            let single = page.iter().filter(|session| session.is_single_payment());
            buyers.extend(single.filter_map(|session| session.buyer(&is_for_sale)));
            ControlFlow::Continue(())
        };
        self.each("/checkout/sessions", query, MAX_PAGES, |listed| &listed.id, take).await?;
        Ok(buyers)
    }

    /// Returns a customer; `None` if it was deleted or is not in this account.
    pub async fn find_customer(&self, id: &StripeCustomerId) -> Answer<Option<StripeCandidate>> {
        let customer: Option<WireCustomer> =
            self.known(&format!("/customers/{id}"), Vec::new()).await?;
        Ok(customer.and_then(WireCustomer::into_domain))
    }

    /// Returns every customer with this email address, in the same case. Unlike the search, the
    /// list contains a new customer immediately (<https://docs.stripe.com/search#data-freshness>).
    pub async fn customers_with_email(&self, email: &str) -> Answer<Vec<StripeCandidate>> {
        let query = vec![field("email", email)];
        let listed = self.all("/customers", query, |one: &WireCustomer| one.id.as_str()).await?;
        Ok(listed.into_iter().filter_map(WireCustomer::into_domain).collect())
    }

    /// Returns the Stripe customers whose metadata has this id, the newest hundred at most. The
    /// search may lag by a minute, or longer during an outage.
    ///
    /// # Errors
    /// Also [`super::StripeFailure::Refused`] if the account cannot search.
    pub async fn customers_named(&self, id: &CustomerId) -> Answer<Vec<StripeCandidate>> {
        let named = format!("metadata['customer_id']:'{id}'");
        let query = vec![field("query", named), field("limit", PAGE)];
        let matches: List<WireCustomer> = self.get("/customers/search", query).await?;
        let matches = matches.data.into_iter().filter_map(WireCustomer::into_domain);
        // The search index may be older than the object that it returns.
        Ok(matches.filter(|one| one.tag == Tag::Ours(id.clone())).collect())
    }

    /// Sets `metadata.customer_id` of a Stripe customer; `None` removes it.
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
