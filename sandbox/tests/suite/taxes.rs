//! Taxes, and what the page collects from the buyer: country, names, tax id, consent.

use licentia_sandbox::{
    AccountSettings, BuyerDetails, Card, CouponDuration, CreditNote, Interval, NewPrice, Options,
    Paid, PriceOptions, TaxBehavior, TaxStatus,
};
use serde_json::{Value, json};

use crate::harness::{Answer, Stripe};

/// The page collects everything.
pub const COLLECTS: &str = "&automatic_tax[enabled]=true&tax_id_collection[enabled]=true\
    &name_collection[business][enabled]=true&name_collection[business][optional]=true\
    &name_collection[individual][enabled]=true\
    &billing_address_collection=required&consent_collection[terms_of_service]=required";

/// An existing customer may be changed.
const UPDATES: &str = "&customer_update[address]=auto&customer_update[name]=auto";

/// A company in Germany with a VAT id.
pub fn german_company() -> BuyerDetails {
    BuyerDetails {
        country: Some("DE".to_owned()),
        business_name: Some("Analytical Engines".to_owned()),
        tax_id: Some("DE123456789".to_owned()),
        ..BuyerDetails::default()
    }
}

impl Stripe {
    /// Adds a price of 10.00 with this tax behavior. Returns its id.
    pub fn taxed_price(&self, id: &'static str, tax: TaxBehavior, interval: Interval) -> &str {
        let new = NewPrice { id, product: id, amount: 1000, currency: "usd", interval };
        self.sandbox.add_price_with(&new, &PriceOptions { tax, ..PriceOptions::default() });
        id
    }

    /// Creates a session for a subscription.
    pub async fn taxed_session(&self, more: &str) -> Answer {
        let form = format!("mode=subscription&success_url=http://localhost/ok{more}");
        self.post("/v1/checkout/sessions", &form).await
    }

    /// Starts with a monthly price without taxes, and one that contains them.
    async fn with_taxed_prices() -> Self {
        let stripe = Self::start().await;
        stripe.taxed_price("price_net", TaxBehavior::Exclusive, Interval::Month);
        stripe.taxed_price("price_gross", TaxBehavior::Inclusive, Interval::Month);
        stripe
    }

    async fn latest_invoice(&self, session: &str) -> Value {
        let subscription =
            self.sandbox.object(session)["subscription"].as_str().unwrap().to_owned();
        let (invoice, _) = self.payment(&subscription).await;
        self.sandbox.object(&invoice)
    }
}

/// Returns total, tax and the amount without tax of an invoice, and checks that they add up.
fn amounts(invoice: &Value) -> (i64, i64, i64) {
    let number = |value: &Value| value.as_i64().unwrap();
    let sum = |taxes: &Value| -> i64 {
        taxes.as_array().unwrap().iter().map(|tax| number(&tax["amount"])).sum()
    };
    let lines = invoice["lines"]["data"].as_array().unwrap();
    let of_lines: i64 = lines.iter().map(|line| sum(&line["taxes"])).sum();
    let (total, tax) = (number(&invoice["total"]), sum(&invoice["total_taxes"]));
    let without = number(&invoice["total_excluding_tax"]);
    assert_eq!((of_lines, total - tax), (tax, without), "{invoice:#}");
    (total, tax, without)
}

#[tokio::test]
async fn taxes_are_added_once_the_country_is_known() {
    // https://docs.stripe.com/tax/checkout
    let stripe = Stripe::with_taxed_prices().await;
    let more = "&automatic_tax[enabled]=true&line_items[0][price]=price_net\
                &line_items[0][quantity]=3";
    let session = stripe.taxed_session(more).await;
    let state = &session.body["automatic_tax"];
    assert_eq!(state["status"], "requires_location_inputs");
    assert_eq!((&session.body["amount_total"], &state["enabled"]), (&json!(3000), &json!(true)));
    let session = session.id();
    let country = BuyerDetails { country: Some("FR".to_owned()), ..BuyerDetails::default() };
    stripe.sandbox.enter_details(&session, country).unwrap();
    let body = stripe.sandbox.object(&session);
    assert_eq!(body["automatic_tax"]["status"], "complete");
    assert_eq!((&body["amount_subtotal"], &body["amount_total"]), (&json!(3000), &json!(3600)));
    assert_eq!(body["total_details"]["amount_tax"], 600);
    let items = stripe.get(&format!("/v1/checkout/sessions/{session}/line_items")).await;
    assert_eq!(items.body["data"][0]["amount_tax"], 600);
    assert_eq!(items.body["data"][0]["amount_total"], 3600);
    assert_eq!(stripe.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
    let invoice = stripe.latest_invoice(&session).await;
    assert_eq!(amounts(&invoice), (3600, 600, 3000));
    assert_eq!((&invoice["amount_paid"], &invoice["subtotal"]), (&json!(3600), &json!(3000)));
    assert_eq!(invoice["total_taxes"][0]["tax_behavior"], "exclusive");
    assert_eq!(invoice["total_taxes"][0]["taxable_amount"], 3000);
    assert_eq!(invoice["customer_address"]["country"], "FR");
    stripe.sandbox.advance_days(31);
    let renewal = stripe.latest_invoice(&session).await;
    assert_eq!(
        (renewal["billing_reason"].as_str(), amounts(&renewal)),
        (Some("subscription_cycle"), (3600, 600, 3000))
    );
}

#[tokio::test]
async fn a_price_may_contain_its_tax() {
    // https://docs.stripe.com/tax/products-prices-tax-codes-tax-behavior
    let stripe = Stripe::with_taxed_prices().await;
    let more = "&automatic_tax[enabled]=true&line_items[0][price]=price_gross";
    let session = stripe.taxed_session(more).await.id();
    assert_eq!(stripe.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
    let body = stripe.sandbox.object(&session);
    assert_eq!(
        (&body["amount_total"], &body["total_details"]["amount_tax"]),
        (&json!(1000), &json!(167))
    );
    assert_eq!(body["customer_details"]["address"]["country"], "US", "the card's");
    let invoice = stripe.latest_invoice(&session).await;
    assert_eq!(amounts(&invoice), (1000, 167, 833));
    assert_eq!(invoice["subtotal_excluding_tax"], 833);
    assert_eq!(invoice["total_taxes"][0]["tax_behavior"], "inclusive");
}

#[tokio::test]
async fn a_discount_lowers_the_tax() {
    // https://docs.stripe.com/tax/how-tax-works
    let stripe = Stripe::with_taxed_prices().await;
    stripe.sandbox.add_coupon("HALF", 50, CouponDuration::Once);
    let more = "&automatic_tax[enabled]=true&discounts[0][coupon]=HALF\
                &line_items[0][price]=price_net&line_items[1][price]=price_gross";
    let session = stripe.taxed_session(more).await.id();
    assert_eq!(stripe.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
    let invoice = stripe.latest_invoice(&session).await;
    // 500 + 100, and 500 that contain 83.
    assert_eq!(amounts(&invoice), (1100, 183, 917));
    assert_eq!(stripe.sandbox.object(&session)["amount_total"], 1100);
    assert_eq!(invoice["total_discount_amounts"][0]["amount"], 1000);
    // A credit note has its share of the tax.
    let note = CreditNote { amount: 550, refund: 550, ..CreditNote::default() };
    let note = stripe.sandbox.credit(invoice["id"].as_str().unwrap(), note).unwrap();
    assert_eq!(stripe.sandbox.object(&note)["total_excluding_tax"], 458);
}

#[tokio::test]
async fn a_one_time_payment_is_taxed_and_so_is_its_invoice() {
    // https://docs.stripe.com/tax/checkout
    let stripe = Stripe::start().await;
    stripe.taxed_price("price_once", TaxBehavior::Exclusive, Interval::Once);
    let form = "mode=payment&success_url=http://localhost/ok&line_items[0][price]=price_once\
                &automatic_tax[enabled]=true&tax_id_collection[enabled]=true\
                &invoice_creation[enabled]=true";
    let session = stripe.post("/v1/checkout/sessions", form).await.id();
    stripe.sandbox.enter_details(&session, german_company()).unwrap();
    assert_eq!(stripe.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
    stripe.sandbox.advance(std::time::Duration::from_secs(1));
    let body = stripe.sandbox.object(&session);
    assert_eq!(
        (&body["amount_total"], &body["total_details"]["amount_tax"]),
        (&json!(1200), &json!(200))
    );
    let invoice = stripe.sandbox.object(body["invoice"].as_str().unwrap());
    assert_eq!(amounts(&invoice), (1200, 200, 1000));
    assert_eq!((&invoice["status"], &invoice["amount_paid"]), (&json!("paid"), &json!(1200)));
    assert_eq!(invoice["customer_tax_ids"], json!([{ "type": "eu_vat", "value": "DE123456789" }]));
    assert_eq!(invoice["customer_name"], "Analytical Engines");
    let charge = stripe
        .get(&format!("/v1/charges?payment_intent={}", body["payment_intent"].as_str().unwrap()))
        .await;
    assert!(charge.body["data"][0]["receipt_url"].is_string());
}

#[tokio::test]
async fn automatic_tax_needs_an_account_that_is_ready() {
    // https://docs.stripe.com/api/tax/settings/object#tax_settings-status
    let pending = AccountSettings { tax: TaxStatus::Pending, ..AccountSettings::default() };
    let stripe = Stripe::with(Options { account: pending, ..Options::default() }).await;
    stripe.taxed_price("price_net", TaxBehavior::Exclusive, Interval::Month);
    let settings = stripe.get("/v1/tax/settings").await.body;
    assert_eq!(settings["status"], "pending");
    assert_eq!(settings["status_details"]["pending"]["missing_fields"], json!(["head_office"]));
    let more = "&automatic_tax[enabled]=true&line_items[0][price]=price_net";
    let refused = stripe.taxed_session(more).await;
    assert_eq!((refused.status, refused.error("param")), (400, "automatic_tax[enabled]"));
    stripe.sandbox.set_account(AccountSettings::default());
    assert_eq!(stripe.get("/v1/tax/settings").await.body["status"], "active");
    stripe.taxed_session(more).await.id();
    // A price without a tax behavior cannot be taxed.
    let more = "&automatic_tax[enabled]=true&line_items[0][price]=price_pro_monthly";
    let refused = stripe.taxed_session(more).await;
    assert_eq!((refused.status, refused.error("param")), (400, "line_items[0][price]"));
}

#[tokio::test]
async fn an_existing_customer_is_changed_only_with_customer_update() {
    // https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-customer_update
    let stripe = Stripe::with_taxed_prices().await;
    let customer = stripe.customer().await;
    let own = format!("&customer={customer}&line_items[0][price]=price_net");
    let tax = format!("{own}&automatic_tax[enabled]=true");
    assert_eq!(stripe.taxed_session(&tax).await.error("code"), "customer_tax_location_invalid");
    let ids = format!("{own}&tax_id_collection[enabled]=true");
    assert_eq!(stripe.taxed_session(&ids).await.status, 400);
    stripe.taxed_session(&format!("{ids}&customer_update[name]=auto")).await.id();
    let nobody = "&line_items[0][price]=price_net&customer_update[name]=auto";
    assert_eq!(stripe.taxed_session(nobody).await.error("param"), "customer_update");

    let session = stripe.taxed_session(&format!("{own}{COLLECTS}{UPDATES}")).await.id();
    stripe.sandbox.enter_details(&session, german_company()).unwrap();
    assert_eq!(stripe.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
    let body = stripe.sandbox.object(&session);
    assert_eq!(body["consent"]["terms_of_service"], "accepted");
    let details = &body["customer_details"];
    assert_eq!(
        (&details["business_name"], &details["name"]),
        (&json!("Analytical Engines"), &json!("Analytical Engines"))
    );
    assert_eq!(details["tax_ids"], json!([{ "type": "eu_vat", "value": "DE123456789" }]));
    let path = format!("/v1/customers/{customer}?expand[]=tax_ids");
    let saved = stripe.get(&path).await.body;
    assert_eq!(
        (&saved["business_name"], &saved["address"]["country"]),
        (&json!("Analytical Engines"), &json!("DE"))
    );
    assert_eq!(saved["tax_ids"]["data"][0]["value"], "DE123456789");
    let invoice = stripe.latest_invoice(&session).await;
    assert_eq!(invoice["customer_name"], "Analytical Engines");
    assert_eq!(invoice["customer_tax_ids"][0]["value"], "DE123456789");
    // With an address, no update is needed. The address stays.
    let session = stripe.taxed_session(&tax).await.id();
    assert_eq!(stripe.sandbox.object(&session)["amount_total"], 1200);
}

#[tokio::test]
async fn the_page_takes_only_what_the_session_collects() {
    let stripe = Stripe::with_taxed_prices().await;
    let session = stripe.taxed_session("&line_items[0][price]=price_net").await.id();
    assert!(stripe.sandbox.enter_details(&session, german_company()).is_err());
    let more = format!("&line_items[0][price]=price_net{COLLECTS}");
    let session = stripe.taxed_session(&more).await.id();
    for wrong in [
        BuyerDetails { country: Some("Germany".to_owned()), ..BuyerDetails::default() },
        BuyerDetails { tax_id: Some("DE 1".to_owned()), ..BuyerDetails::default() },
    ] {
        assert!(stripe.sandbox.enter_details(&session, wrong).is_err());
    }
    stripe.sandbox.enter_details(&session, german_company()).unwrap();
}

#[tokio::test]
async fn terms_of_service_need_a_url_in_the_account() {
    // https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-consent_collection-terms_of_service
    let stripe = Stripe::start().await;
    let more = "&line_items[0][price]=price_pro_monthly\
                &consent_collection[terms_of_service]=required";
    stripe.taxed_session(more).await.id();
    let without = AccountSettings { terms_url: None, ..AccountSettings::default() };
    stripe.sandbox.set_account(without);
    let refused = stripe.taxed_session(more).await;
    assert_eq!(
        (refused.status, refused.error("param")),
        (400, "consent_collection[terms_of_service]")
    );
}

#[tokio::test]
async fn a_customer_has_tax_ids_names_and_an_address() {
    // https://docs.stripe.com/api/tax_ids, https://docs.stripe.com/api/customers/create
    let stripe = Stripe::start().await;
    let form = "email=ada@example.com&business_name=Engines&individual_name=Ada\
                &address[country]=DE&address[city]=Berlin\
                &tax_id_data[0][type]=eu_vat&tax_id_data[0][value]=DE123456789";
    let customer = stripe.post("/v1/customers", form).await;
    assert_eq!(
        (&customer.body["name"], &customer.body["individual_name"]),
        (&json!("Engines"), &json!("Ada"))
    );
    assert_eq!(customer.body["address"]["city"], "Berlin");
    let customer = customer.id();
    let path = format!("/v1/customers/{customer}/tax_ids");
    let added = stripe.post(&path, "type=gb_vat&value=GB123456789").await;
    assert_eq!((&added.body["country"], &added.body["customer"]), (&json!("GB"), &json!(customer)));
    assert_eq!(stripe.get(&path).await.ids().len(), 2);
    let wrong = stripe.post(&path, "type=eu_vat&value=XX1").await;
    assert_eq!((wrong.status, wrong.error("code")), (400, "tax_id_invalid"));
    let own = format!("{path}/{}", added.id());
    assert_eq!(stripe.get(&own).await.body["value"], "GB123456789");
    assert_eq!(stripe.delete(&own).await.body["deleted"], true);
    assert_eq!(stripe.get(&path).await.ids().len(), 1);
    let named = stripe.post(&format!("/v1/customers/{customer}"), "business_name=E&name=Ada").await;
    assert_eq!((&named.body["name"], &named.body["business_name"]), (&json!("Ada"), &json!("E")));
}

#[tokio::test]
async fn a_subscription_without_checkout_is_taxed_by_the_customers_address() {
    // https://docs.stripe.com/tax/subscriptions
    let stripe = Stripe::with_taxed_prices().await;
    let customer = stripe.customer().await;
    stripe.sandbox.replace_card(&customer, Card::Paid).unwrap();
    let form = format!("customer={customer}&items[0][price]=price_net&automatic_tax[enabled]=true");
    let refused = stripe.post("/v1/subscriptions", &form).await;
    assert_eq!(refused.error("code"), "customer_tax_location_invalid");
    stripe.post(&format!("/v1/customers/{customer}"), "address[country]=AT").await.id();
    let subscription = stripe.post("/v1/subscriptions", &form).await.id();
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(amounts(&stripe.sandbox.object(&invoice)), (1200, 200, 1000));
    let path = format!("/v1/subscriptions/{subscription}");
    let off = stripe.post(&path, "automatic_tax[enabled]=false").await;
    assert_eq!(off.body["automatic_tax"]["enabled"], false);
    stripe.sandbox.advance_days(31);
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.sandbox.object(&invoice)["total"], 1000);
}

#[tokio::test]
async fn a_change_within_a_period_is_taxed_and_so_is_its_credit() {
    // https://docs.stripe.com/tax/subscriptions,
    // https://docs.stripe.com/billing/subscriptions/prorations
    let stripe = Stripe::with_taxed_prices().await;
    let more = "&automatic_tax[enabled]=true&line_items[0][price]=price_net";
    let session = stripe.taxed_session(more).await.id();
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    let subscription = stripe.sandbox.object(&session)["subscription"].as_str().unwrap().to_owned();
    let item = stripe.sandbox.object(&subscription)["items"]["data"][0]["id"].clone();
    stripe.sandbox.advance_days(15);
    for (quantity, total) in [(3, 1200), (1, -1200)] {
        let form = format!(
            "items[0][id]={}&items[0][quantity]={quantity}&proration_behavior=always_invoice",
            item.as_str().unwrap()
        );
        stripe.post(&format!("/v1/subscriptions/{subscription}"), &form).await.id();
        let invoice = stripe.latest_invoice(&session).await;
        // Half of a month is left: 15 of 30 days.
        assert_eq!(amounts(&invoice), (total, total / 6, total / 6 * 5));
        assert_eq!(invoice["amount_due"], total.max(0));
    }
    let customer = stripe.sandbox.object(&session)["customer"].as_str().unwrap().to_owned();
    assert_eq!(stripe.sandbox.object(&customer)["balance"], -1200);
}

#[tokio::test]
async fn a_payment_link_collects_as_a_session_does() {
    // https://docs.stripe.com/api/payment-link/create
    let stripe = Stripe::with_taxed_prices().await;
    let form = format!(
        "line_items[0][price]=price_net&line_items[0][quantity]=1{COLLECTS}\
         &payment_method_collection=if_required&subscription_data[trial_period_days]=7"
    );
    let link = stripe.post("/v1/payment_links", &form).await;
    assert_eq!(link.body["automatic_tax"]["enabled"], true, "{:#}", link.body);
    let session = stripe.sandbox.open_payment_link(&link.id(), None).unwrap();
    stripe.sandbox.enter_details(&session, german_company()).unwrap();
    stripe.sandbox.pay_as(&session, Card::Paid, "charles@example.com").unwrap();
    let body = stripe.sandbox.object(&session);
    let subscription = stripe.sandbox.object(body["subscription"].as_str().unwrap());
    assert_eq!(subscription["automatic_tax"]["enabled"], true);
    assert!(subscription["default_payment_method"].is_null(), "no card was collected");
    assert_eq!(body["customer_details"]["tax_ids"][0]["value"], "DE123456789");
}
