//! The calls of a sale: Stripe customers, Checkout sessions and the portal. What a customer bought
//! is fetched in `purchases.rs`. The calls for the whole account are in `account.rs` and
//! `listing.rs`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::{Identified, WireCustomer, WirePaymentIntent, WirePortal, WireSession};
use super::{Answer, Form, MAX_PAGES, Stripe, StripeFailure, field, read_id};
use crate::domain::ids::AttemptId;
use crate::domain::private::Private;
use crate::domain::sale::accepted_loss::AcceptedLoss;
use crate::domain::sale::plan::{CheckoutOptions, Currency};
use crate::domain::sale::stripe_ids::{CheckoutSessionId, PaymentIntentId, StripeCustomerId};
use crate::domain::sale::stripe_state::CheckoutSession;
use crate::fail_point::FailPoint;

/// The parameters of the call that creates a Stripe customer. They are stored unchanged until there
/// is a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerParameters {
    /// Our id, for the metadata.
    pub customer_id: String,
    /// The email address.
    pub email: Private,
    /// The person's name, or the company's.
    pub name: Option<Private>,
    /// The company's name, which invoices show.
    #[serde(default)]
    pub business_name: Option<Private>,
}

/// The fields of a Stripe customer to change. `None` keeps the value; an empty name removes it.
#[derive(Clone, Copy)]
pub struct CustomerChanges<'a> {
    /// The email address.
    pub email: Option<&'a str>,
    /// The person's name, or the company's.
    pub name: Option<&'a str>,
    /// The company's name.
    pub business_name: Option<&'a str>,
}

/// The parameters of the call that opens a Checkout session. They are stored unchanged until there
/// is a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionParameters {
    /// Our id, for the metadata.
    pub customer_id: String,
    /// The Stripe customer.
    pub stripe_customer_id: String,
    /// The plan's id, for the metadata.
    pub plan: String,
    /// The price of the first line: the plan's, or the first add-on's if no plan is sold.
    pub price: String,
    /// The units of the first line.
    #[serde(default = "one")]
    pub quantity: u32,
    /// The prices of the other lines, which are add-ons.
    #[serde(default)]
    pub addons: Vec<String>,
    /// Whether it sells a subscription or a single payment.
    #[serde(default)]
    pub mode: SessionMode,
    /// The currency, if one of the prices has several.
    #[serde(default)]
    pub currency: Option<String>,
    /// The fewest and the most units that the buyer can choose on the page.
    #[serde(default)]
    pub adjustable: Option<(u32, u32)>,
    /// The options of the page.
    #[serde(default)]
    pub options: CheckoutOptions,
    /// Stripe's id of the promotion code that was given in the request.
    #[serde(default)]
    pub promotion_code: Option<String>,
    /// The length of a trial at Stripe, in days.
    #[serde(default)]
    pub trial_days: Option<u32>,
    /// The parts of what the customer has that the license will not have, if they accepted that.
    /// It is not sent.
    #[serde(default)]
    pub accepted_loss: Option<AcceptedLoss>,
    /// The page after the payment.
    pub success_url: String,
    /// The page after a canceled checkout.
    pub cancel_url: String,
}

/// The quantity of attempts that were stored before it could be chosen.
fn one() -> u32 {
    1
}

/// The kind of sale of a Checkout session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionMode {
    /// A subscription.
    #[default]
    Subscription,
    /// A single payment.
    Payment,
}

impl SessionParameters {
    /// Returns the fields of a trial at Stripe. If the card is missing when it ends, the
    /// subscription is paused.
    fn trial(&self) -> Form {
        let Some(days) = self.trial_days else { return Vec::new() };
        let missing = "subscription_data[trial_settings][end_behavior][missing_payment_method]";
        vec![
            field("subscription_data[trial_period_days]", days.to_string()),
            field(missing, "pause"),
            field("payment_method_collection", "always"),
        ]
    }

    /// Returns the form of the call.
    fn form(&self, attempt: &AttemptId) -> Form {
        let is_once = self.mode == SessionMode::Payment;
        let mut form = vec![
            field("mode", if is_once { "payment" } else { "subscription" }),
            field("customer", &self.stripe_customer_id),
            field("client_reference_id", &self.customer_id),
            field("line_items[0][price]", &self.price),
            field("line_items[0][quantity]", self.quantity.to_string()),
        ];
        if let Some((least, most)) = self.adjustable {
            let place = "line_items[0][adjustable_quantity]";
            form.push(field(format!("{place}[enabled]"), "true"));
            form.push(field(format!("{place}[minimum]"), least.to_string()));
            form.push(field(format!("{place}[maximum]"), most.to_string()));
        }
        for (place, price) in self.addons.iter().enumerate() {
            form.push(field(format!("line_items[{}][price]", place + 1), price));
            form.push(field(format!("line_items[{}][quantity]", place + 1), "1"));
        }
        form.extend(self.currency.as_ref().map(|currency| field("currency", currency)));
        // The currency is ours to choose. Otherwise Stripe may offer the buyer's own.
        form.push(field("adaptive_pricing[enabled]", "false"));
        match &self.promotion_code {
            Some(code) => form.push(field("discounts[0][promotion_code]", code)),
            // Stripe refuses both together.
            None if self.options.promotion_codes => {
                form.push(field("allow_promotion_codes", "true"));
            }
            None => {}
        }
        form.extend(of_page(&self.options, true));
        form.extend(self.trial());
        form.push(field("success_url", &self.success_url));
        form.push(field("cancel_url", &self.cancel_url));
        let metadata: &[&str] = if is_once {
            form.push(field("invoice_creation[enabled]", "true"));
            &[
                "metadata",
                "payment_intent_data[metadata]",
                "invoice_creation[invoice_data][metadata]",
            ]
        } else {
            &["metadata", "subscription_data[metadata]"]
        };
        for place in metadata {
            form.push(field(format!("{place}[customer_id]"), &self.customer_id));
            form.push(field(format!("{place}[plan]"), &self.plan));
            form.push(field(format!("{place}[attempt_id]"), attempt.as_str()));
        }
        form
    }
}

/// Returns the fields for what the page asks for, except promotion codes. With a customer, Stripe
/// saves what the buyer enters to the customer, and so prints it on the invoice
/// (<https://docs.stripe.com/tax/checkout/tax-ids>).
pub(super) fn of_page(options: &CheckoutOptions, has_customer: bool) -> Form {
    let mut form = Vec::new();
    let mut add = |name: &str, value: &str| form.push(field(name, value));
    if options.automatic_tax {
        add("automatic_tax[enabled]", "true");
    }
    if let Some(address) = options.billing_address {
        add("billing_address_collection", address.as_str());
    }
    if options.tax_ids {
        add("tax_id_collection[enabled]", "true");
        add("name_collection[business][enabled]", "true");
        add("name_collection[business][optional]", "true");
    }
    if options.terms_of_service {
        add("consent_collection[terms_of_service]", "required");
    }
    if has_customer && (options.automatic_tax || options.billing_address.is_some()) {
        add("customer_update[address]", "auto");
    }
    if has_customer && options.tax_ids {
        add("customer_update[name]", "auto");
    }
    form
}

/// Events that Stripe could not deliver. There is no `Debug`: the events name people.
pub struct Undelivered {
    /// The events in the delivered form, newest first.
    pub events: Vec<Value>,
    /// Whether Stripe has more than these.
    pub more: bool,
}

/// The record of a Stripe customer.
#[derive(Clone, Debug, Default)]
pub struct StripeCustomer {
    /// Whether it was deleted.
    pub deleted: bool,
    /// The name.
    pub name: Option<Private>,
    /// The payment method that pays invoices.
    pub default_payment_method: Option<String>,
    /// The currency of earlier purchases.
    pub currency: Option<Currency>,
}

impl StripeCustomer {
    /// Returns the record of a deleted Stripe customer.
    pub(crate) fn deleted() -> Self {
        Self { deleted: true, ..Self::default() }
    }
}

impl Stripe {
    /// Creates a Stripe customer. The same attempt always returns the same one.
    pub async fn create_customer(
        &self,
        attempt: &AttemptId,
        parameters: &CustomerParameters,
        at: FailPoint<'_>,
    ) -> Answer<StripeCustomerId> {
        let mut form = vec![
            field("email", parameters.email.as_str()),
            field("metadata[customer_id]", &parameters.customer_id),
        ];
        let names = [("name", &parameters.name), ("business_name", &parameters.business_name)];
        for (key, name) in names {
            form.extend(name.as_ref().map(|name| field(key, name.as_str())));
        }
        let created: Identified = self.post("/customers", form, Some(attempt), at).await?;
        read_id(&created.id)
    }

    /// Updates a customer's email address and names.
    pub async fn update_customer(
        &self,
        id: &StripeCustomerId,
        changes: CustomerChanges<'_>,
        at: FailPoint<'_>,
    ) -> Answer<()> {
        let CustomerChanges { email, name, business_name } = changes;
        let fields = [("email", email), ("name", name), ("business_name", business_name)];
        let form = fields.into_iter().filter_map(|(key, value)| Some(field(key, value?))).collect();
        self.post::<Identified>(&format!("/customers/{id}"), form, None, at).await.map(drop)
    }

    /// Returns the record of a Stripe customer.
    pub async fn customer(&self, id: &StripeCustomerId) -> Answer<StripeCustomer> {
        let customer: WireCustomer = self.get(&format!("/customers/{id}"), Vec::new()).await?;
        let settings = customer.invoice_settings;
        let method = settings.and_then(|settings| settings.default_payment_method);
        let source = customer.default_source.map(|source| source.id().to_owned());
        let default_payment_method = method.map(|method| method.id().to_owned()).or(source);
        let currency = customer.currency.and_then(|currency| currency.parse().ok());
        Ok(StripeCustomer {
            deleted: customer.deleted,
            name: customer.name.map(Private::from),
            default_payment_method,
            currency,
        })
    }

    /// Returns the currency that may pin a Stripe customer: that of earlier purchases, and of open
    /// Checkout sessions for a subscription
    /// (<https://support.stripe.com/questions/set-or-change-currency-for-an-invoice-or-customer-in-stripe-billing>).
    pub async fn pinning_currencies(&self, id: &StripeCustomerId) -> Answer<Vec<Currency>> {
        let usual = self.customer(id).await?.currency;
        let query = vec![field("customer", id.as_str()), field("status", "open")];
        let open =
            self.all("/checkout/sessions", query, |one: &WireSession| one.id.as_str()).await?;
        let of_open = open.iter().filter(|session| !session.is_single_payment());
        let of_open = of_open.filter_map(|session| session.currency()?.parse().ok());
        Ok(usual.into_iter().chain(of_open).collect())
    }

    /// Returns the events of the last thirty days that Stripe could not deliver. If there are too
    /// many for one list, it returns only the newest; a reconciliation does not need the others.
    pub async fn undelivered_events(&self) -> Answer<Undelivered> {
        let query = vec![field("delivery_success", "false")];
        let mut events = Vec::new();
        let take = |page: Vec<Value>| {
            events.extend(page);
            ControlFlow::Continue(())
        };
        let listed = self.each(
            "/events",
            query,
            MAX_PAGES,
            |event: &Value| event["id"].as_str().unwrap_or_default(),
            take,
        );
        match listed.await {
            Ok(()) => Ok(Undelivered { events, more: false }),
            Err(StripeFailure::TooLong { .. }) => Ok(Undelivered { events, more: true }),
            Err(error) => Err(error),
        }
    }

    /// Returns the Stripe customer that made a payment; `None` if the payment has none.
    pub async fn payer(&self, payment: &PaymentIntentId) -> Answer<Option<StripeCustomerId>> {
        let path = format!("/payment_intents/{payment}");
        let intent: Option<WirePaymentIntent> = self.known(&path, Vec::new()).await?;
        Ok(intent.and_then(|intent| intent.customer()))
    }

    /// Opens a Checkout session. The same attempt always returns the same one.
    pub async fn create_session(
        &self,
        attempt: &AttemptId,
        parameters: &SessionParameters,
        at: FailPoint<'_>,
    ) -> Answer<CheckoutSession> {
        let form = parameters.form(attempt);
        read_session(self.post("/checkout/sessions", form, Some(attempt), at).await?)
    }

    /// Returns a Checkout session.
    pub async fn session(&self, id: &CheckoutSessionId) -> Answer<CheckoutSession> {
        read_session(self.get(&format!("/checkout/sessions/{id}"), Vec::new()).await?)
    }

    /// Returns the Checkout session that an attempt opened, if there is one.
    pub async fn find_session(
        &self,
        customer: &str,
        attempt: &AttemptId,
    ) -> Answer<Option<CheckoutSession>> {
        let query = vec![field("customer", customer)];
        let listed =
            self.all("/checkout/sessions", query, |one: &WireSession| one.id.as_str()).await?;
        let sessions = listed.into_iter().map(read_session).collect::<Answer<Vec<_>>>()?;
        let is_of_attempt =
            |session: &CheckoutSession| session.attempt_id.as_deref() == Some(attempt.as_str());
        Ok(sessions.into_iter().find(is_of_attempt))
    }

    /// Expires a Checkout session, so that it can no longer be paid.
    pub async fn expire_session(
        &self,
        id: &CheckoutSessionId,
        at: FailPoint<'_>,
    ) -> Answer<CheckoutSession> {
        let path = format!("/checkout/sessions/{id}/expire");
        read_session(self.post(&path, Vec::new(), None, at).await?)
    }

    /// Returns the URL of a portal page where the customer manages the subscription.
    pub async fn portal(
        &self,
        id: &StripeCustomerId,
        return_url: &str,
        at: FailPoint<'_>,
    ) -> Answer<String> {
        let form = vec![field("customer", id.as_str()), field("return_url", return_url)];
        let created: WirePortal = self.post("/billing_portal/sessions", form, None, at).await?;
        Ok(created.url)
    }
}

fn read_session(session: WireSession) -> Answer<CheckoutSession> {
    let read = session.to_domain(&BTreeMap::new());
    read.ok_or_else(|| StripeFailure::Unreadable(format!("the Checkout session {}", session.id)))
}
