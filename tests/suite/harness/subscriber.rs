//! A customer with a subscription, who changes it through the API.

use serde_json::{Value, json};

use super::Answer;
use super::shop::{Buyer, Shop};

/// The operations.
pub const PREVIEW: &str = "/api/subscriptions/preview";
pub const CHANGE: &str = "/api/subscriptions/change";
pub const CANCEL: &str = "/api/subscriptions/cancel";
pub const RESUME: &str = "/api/subscriptions/resume";

/// A customer with a subscription.
pub struct Subscriber {
    pub shop: Shop,
    pub ada: Buyer,
    /// Stripe's ids.
    pub subscription: String,
    pub customer: String,
}

impl Subscriber {
    /// Opens a shop and buys something there.
    pub async fn with(wanted: Value) -> Self {
        let shop = Shop::selling().await;
        let ada = shop.buyer("ada@example.com").await;
        let session = shop.purchase(&ada, wanted).await;
        let (subscription, customer) =
            (shop.subscription_of(&session), shop.stripe_customer_of(&session));
        Self { shop, ada, subscription, customer }
    }

    /// Buys five seats by the month, and lets ten days pass.
    pub async fn with_five_seats() -> Self {
        let own = Self::with(json!({ "plan": "team", "quantity": 5 })).await;
        own.shop.sandbox.advance_days(10);
        own
    }

    /// Returns the preview of a change.
    pub async fn preview(&self, wanted: &Value) -> Value {
        let answer = self.ada.client.post(PREVIEW, wanted).await;
        assert_eq!(answer.status, 200, "{wanted}: {answer:?}");
        answer.body
    }

    /// Requests a change with this preview.
    pub async fn change_by(&self, wanted: &Value, preview: &Value) -> Answer {
        let mut request = wanted.clone();
        request["preview_id"] = preview["preview_id"].clone();
        self.ada.client.post(CHANGE, &request).await
    }

    /// Previews a change and requests it.
    pub async fn change(&self, wanted: &Value) -> Answer {
        let preview = self.preview(wanted).await;
        self.change_by(wanted, &preview).await
    }

    /// Returns a field of the subscription's newest invoice at Stripe.
    pub fn newest_invoice(&self) -> Value {
        let subscription = self.shop.sandbox.object(&self.subscription);
        self.shop.sandbox.object(subscription["latest_invoice"].as_str().unwrap())
    }

    /// Returns the seats of the current license, once all work is done.
    pub async fn seats(&self) -> u64 {
        self.shop.settled().await;
        self.shop.claims(&self.ada).await.limits["seats"]
    }

    /// Returns whether the current license has the add-on, once all work is done.
    pub async fn has_pdf(&self) -> bool {
        self.shop.settled().await;
        let claims = self.shop.claims(&self.ada).await;
        claims.features.iter().any(|feature| feature == "pdf")
    }
}
