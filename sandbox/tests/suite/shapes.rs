//! Every object has the keys and the JSON types of Stripe's own example.
//!
//! The examples are Stripe's (`fixtures3.json` of its public API description) and not part of this
//! project. The test reads them where `STRIPE_FIXTURES` says, or next to the workspace. Without
//! them it passes with a note.

use std::collections::BTreeSet;
use std::path::PathBuf;

use licentia_sandbox::{
    Card, CouponDuration, CreditNote, Interval, NewPrice, Proration, TaxBehavior,
};
use serde_json::Value;

use crate::harness::{Receiver, Stripe};
use crate::taxes::{COLLECTS, german_company};

fn examples() -> Option<Value> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/stripe/fixtures3.json");
    let path = std::env::var_os("STRIPE_FIXTURES").map_or(beside.into(), PathBuf::from);
    let Ok(text) = std::fs::read(&path) else {
        println!("not checked: Stripe's examples are not at {}", path.display());
        return None;
    };
    Some(serde_json::from_slice::<Value>(&text).unwrap()["resources"].take())
}

/// Fields that the examples fill, but that Stripe returns as null if they have no value.
const MAY_BE_NULL: &[&str] = &[
    "billing_portal.configuration/business_profile/privacy_policy_url",
    "billing_portal.configuration/business_profile/terms_of_service_url",
    "billing_portal.session/flow",
    "charge/balance_transaction",
    "charge/billing_details/name",
    "charge/description",
    "charge/payment_method_details/card",
    "charge/payment_method_details/card/installments",
    "charge/payment_method_details/card/three_d_secure",
    "charge/payment_method_details/card/wallet",
    "charge/shipping",
    "charge/source",
    "charge/transfer_data",
    "checkout.session/after_expiration",
    "checkout.session/automatic_tax/liability",
    "checkout.session/collected_information",
    "checkout.session/consent",
    "checkout.session/consent_collection",
    "checkout.session/consent_collection/payment_method_reuse_agreement",
    "checkout.session/currency_conversion",
    "checkout.session/custom_text/after_submit",
    "checkout.session/custom_text/shipping_address",
    "checkout.session/custom_text/submit",
    "checkout.session/custom_text/terms_of_service_acceptance",
    "checkout.session/customer_details",
    "checkout.session/customer_details/address",
    "checkout.session/invoice_creation",
    "checkout.session/invoice_creation/invoice_data/issuer",
    "checkout.session/invoice_creation/invoice_data/rendering_options",
    "checkout.session/payment_intent",
    "checkout.session/payment_method_configuration_details",
    "checkout.session/permissions",
    "checkout.session/shipping_address_collection",
    "checkout.session/shipping_cost",
    "checkout.session/url",
    "checkout.session/wallet_options",
    "coupon/currency",
    "coupon/duration_in_months",
    "coupon/redeem_by",
    "credit_note/refunds/payment_record_refund",
    "credit_note/shipping_cost",
    "credit_note/voided_at",
    "credit_note_line_item/invoice_line_item",
    "customer/currency",
    "customer/discount",
    "customer/invoice_settings/rendering_options",
    "customer/shipping",
    "discount/end",
    "invoice/automatic_tax/liability",
    "invoice/customer_address",
    "invoice/customer_shipping",
    "invoice/due_date",
    "invoice/effective_at",
    "invoice/from_invoice",
    "invoice/last_finalization_error",
    "invoice/next_payment_attempt",
    "invoice/parent",
    "invoice/parent/quote_details",
    "invoice/payment_settings/payment_method_options",
    "invoice/rendering",
    "invoice/shipping_cost",
    "invoice/shipping_details",
    "invoice/webhooks_delivered_at",
    "item/adjustable_quantity",
    "line_item/parent/invoice_item_details",
    "line_item/parent/invoice_item_details/proration_details/credited_items",
    "line_item/parent/subscription_item_details",
    "line_item/parent/subscription_item_details/proration_details/credited_items",
    "payment_intent/automatic_payment_methods",
    "payment_intent/canceled_at",
    "payment_intent/last_payment_error",
    "payment_intent/next_action",
    "payment_intent/payment_method_configuration_details",
    "payment_intent/processing",
    "payment_intent/shipping",
    "payment_intent/transfer_data",
    "payment_link/automatic_tax/liability",
    "payment_link/consent_collection",
    "payment_link/custom_text/after_submit",
    "payment_link/custom_text/shipping_address",
    "payment_link/custom_text/submit",
    "payment_link/custom_text/terms_of_service_acceptance",
    "payment_link/invoice_creation",
    "payment_link/invoice_creation/invoice_data/issuer",
    "payment_link/invoice_creation/invoice_data/rendering_options",
    "payment_link/payment_intent_data",
    "payment_link/payment_method_options",
    "payment_link/restrictions",
    "payment_link/shipping_address_collection",
    "payment_link/subscription_data/trial_settings",
    "payment_link/transfer_data",
    "payment_method/billing_details/address/city",
    "payment_method/billing_details/address/country",
    "payment_method/billing_details/address/line1",
    "payment_method/billing_details/address/postal_code",
    "payment_method/billing_details/address/state",
    "payment_method/billing_details/phone",
    "payment_method/card",
    "payment_method/card/generated_from",
    "payment_method/card/wallet",
    "payment_record/shipping_details",
    "plan/transform_usage",
    "price/custom_unit_amount",
    "price/recurring",
    "price/transform_quantity",
    "product/default_price",
    "product/description",
    "product/package_dimensions",
    "promotion_code/expires_at",
    "quote/automatic_tax/liability",
    "quote/from_quote",
    "quote/transfer_data",
    "subscription/automatic_tax/liability",
    "subscription/billing_cycle_anchor_config",
    "subscription/billing_thresholds",
    "subscription/cancel_at",
    "subscription/canceled_at",
    "subscription/ended_at",
    "subscription/next_pending_invoice_item_invoice",
    "subscription/pause_collection",
    "subscription/payment_settings/payment_method_options",
    "subscription/pending_invoice_item_interval",
    "subscription/pending_update",
    "subscription/transfer_data",
    "subscription/trial_end",
    "subscription/trial_start",
    "subscription_item/billing_thresholds",
    "subscription_schedule/canceled_at",
    "subscription_schedule/completed_at",
    "subscription_schedule/current_phase",
    "subscription_schedule/default_settings/automatic_tax/liability",
    "subscription_schedule/default_settings/billing_thresholds",
    "subscription_schedule/default_settings/transfer_data",
    "subscription_schedule/phases/billing_thresholds",
    "subscription_schedule/phases/invoice_settings",
    "subscription_schedule/phases/items/billing_thresholds",
    "subscription_schedule/phases/transfer_data",
    "subscription_schedule/released_at",
    "webhook_endpoint/description",
];

#[derive(Default)]
struct Report {
    kinds: BTreeSet<String>,
    problems: BTreeSet<String>,
    nulls: BTreeSet<String>,
}

impl Report {
    /// Compares an object, and every object within it that has a kind.
    fn check(&mut self, examples: &Value, object: &Value) {
        match object {
            Value::Array(elements) => {
                elements.iter().for_each(|element| self.check(examples, element));
            }
            Value::Object(fields) => {
                let kind = fields.get("object").and_then(Value::as_str).unwrap_or_default();
                if object["deleted"] != true
                    && let Some(example) = examples.get(kind)
                {
                    self.kinds.insert(kind.to_owned());
                    self.compare(kind, example, object);
                }
                fields.values().for_each(|field| self.check(examples, field));
            }
            _ => {}
        }
    }

    fn compare(&mut self, path: &str, example: &Value, ours: &Value) {
        let has_a_kind = |value: &Value| value["object"].is_string() && value["object"] != "list";
        match (example, ours) {
            (Value::Null, _) => {}
            // An object with a kind is compared with the example of its kind.
            _ if path.contains('/') && has_a_kind(ours) => {}
            (_, Value::Null) => {
                self.nulls.insert(path.to_owned());
            }
            (Value::Object(example), Value::Object(ours)) => {
                for (key, example) in example {
                    let path = format!("{path}/{key}");
                    match ours.get(key) {
                        Some(ours) => self.compare(&path, example, ours),
                        None if path.contains("/metadata/") => {}
                        None => {
                            self.problems.insert(format!("{path} is missing"));
                        }
                    }
                }
            }
            (Value::Array(example), Value::Array(ours)) => {
                if let (Some(example), Some(ours)) = (example.first(), ours.first()) {
                    self.compare(path, example, ours);
                }
            }
            _ if std::mem::discriminant(example) == std::mem::discriminant(ours) => {}
            _ => {
                self.problems.insert(format!("{path} is {ours}, not like {example}"));
            }
        }
    }
}

/// Lets something of every kind happen.
async fn eventful_life(stripe: &Stripe) {
    let receiver = Receiver::start().await;
    stripe.sandbox.add_webhook_endpoint(&receiver.url, &["*"]);
    let (customer, subscription) = stripe.subscriber().await;
    stripe.post(&format!("/v1/customers/{customer}"), "name=Ada&description=x").await;
    let (_, intent) = stripe.payment(&subscription).await;
    let dispute = stripe.sandbox.open_dispute(&intent).unwrap();
    stripe.sandbox.close_dispute(&dispute, false).unwrap();
    stripe.sandbox.refund(&intent, Some(100)).unwrap();
    stripe.sandbox.change_plan(&subscription, "price_team_monthly").unwrap();
    let item = stripe.item(&subscription, 0);
    stripe.sandbox.set_quantity(&subscription, &item, 3, Proration::NextInvoice).unwrap();
    stripe.sandbox.schedule_change(&subscription, "price_pro_monthly").unwrap();
    stripe.sandbox.cancel(&subscription, true).unwrap();
    let portal = stripe.post("/v1/billing_portal/sessions", &format!("customer={customer}")).await;
    assert_eq!(portal.status, 200);
    for card in Card::ALL {
        let customer = stripe.customer().await;
        let session = stripe.session(&customer, "").await;
        stripe.sandbox.pay(&session, card).unwrap();
    }
    let trial = stripe.session(&customer, "&subscription_data[trial_period_days]=7").await;
    stripe.sandbox.pay(&trial, Card::DeclinedLater).unwrap();
    sold_otherwise(stripe).await;
    sold_once(stripe).await;
    taxed(stripe).await;
    stripe.sandbox.advance_days(40);
    stripe.sandbox.settled().await;
}

/// Lets the vendor sell without Checkout.
async fn sold_otherwise(stripe: &Stripe) {
    let sandbox = &stripe.sandbox;
    sandbox.add_coupon("HALF", 50, CouponDuration::Forever);
    sandbox.add_promotion_code("HALF", "FALL").unwrap();
    let form = "line_items[0][price]=price_pro_monthly&line_items[0][quantity]=1\
                &allow_promotion_codes=true&metadata[from]=page";
    let link = stripe.post("/v1/payment_links", form).await.id();
    let session = sandbox.open_payment_link(&link, None).unwrap();
    sandbox.enter_promotion_code(&session, "FALL").unwrap();
    sandbox.pay_as(&session, Card::Paid, "link@example.com").unwrap();
    let customer = sandbox.add_customer("quote@example.com", &[]);
    let quoted = sandbox.sell_by_quote(&customer, "price_pro_monthly", Some(14)).unwrap();
    let invoice = sandbox.object(&quoted)["latest_invoice"].as_str().unwrap().to_owned();
    sandbox.pay_part(&invoice, 1900, Card::Paid).unwrap();
    let note = CreditNote { amount: 1000, ..CreditNote::default() };
    sandbox.credit(&invoice, note).unwrap();
    sandbox.pay_out_of_band(&invoice, None).unwrap();
    let note = CreditNote { amount: 1000, refund: 500, balance: 500, out_of_band: 0 };
    sandbox.credit(&invoice, note).unwrap();
}

/// Sells for one-time payments, to a customer and to a guest.
async fn sold_once(stripe: &Stripe) {
    let (id, currency, interval) = ("price_studio", "usd", Interval::Once);
    stripe.sandbox.add_price(&NewPrice { id, product: id, amount: 19_900, currency, interval });
    let customer = stripe.customer().await;
    let session = stripe.payment_session(&customer, "&discounts[0][coupon]=HALF").await;
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    let session = stripe.create_payment("").await.id();
    stripe.sandbox.pay_as(&session, Card::Paid, "guest@example.com").unwrap();
    let form = "line_items[0][price]=price_studio&payment_intent_data[metadata][a]=b\
                &line_items[0][adjustable_quantity][enabled]=true";
    let link = stripe.post("/v1/payment_links", form).await.id();
    stripe.sandbox.open_payment_link(&link, None).unwrap();
    let form =
        "product_data[name]=X&currency=usd&unit_amount=5&currency_options[eur][unit_amount]=4";
    stripe.post("/v1/prices", form).await.id();
}

/// Sells with taxes, a tax id and names.
async fn taxed(stripe: &Stripe) {
    let id = stripe.taxed_price("price_taxed", TaxBehavior::Exclusive, Interval::Month);
    let more = format!("&line_items[0][price]={id}{COLLECTS}");
    let session = stripe.taxed_session(&more).await.id();
    stripe.sandbox.enter_details(&session, german_company()).unwrap();
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
}

/// Returns the payments outside of Stripe.
async fn invoice_payments(stripe: &Stripe) -> Vec<String> {
    let list = stripe.get("/v1/invoice_payments?limit=100").await.body;
    let records = list["data"].as_array().unwrap().iter();
    records.filter_map(|of| of["payment"]["payment_record"].as_str().map(str::to_owned)).collect()
}

/// Returns previews of a renewal, of a new subscription and of a purchase.
async fn previews_of(stripe: &Stripe) -> Vec<Value> {
    let customer = stripe.customer().await;
    let subscription = stripe.sandbox.subscribe(&customer, "price_pro_monthly", Card::Paid);
    let item = "[0][price]=price_pro_monthly";
    let mut previews = Vec::new();
    for form in [
        format!("subscription={}", subscription.unwrap()),
        format!("customer={customer}&subscription_details[items]{item}"),
        format!("customer={customer}&invoice_items[0][price]=price_studio"),
    ] {
        let preview = stripe.post("/v1/invoices/create_preview", &form).await;
        assert_eq!(preview.status, 200, "{:#}", preview.body);
        previews.push(preview.body);
    }
    previews
}

#[tokio::test]
async fn every_object_has_the_shape_of_stripes_example() {
    let Some(examples) = examples() else { return };
    let stripe = Stripe::start().await;
    eventful_life(&stripe).await;
    let mut report = Report::default();
    for path in [
        "customers",
        "products",
        "prices",
        "checkout/sessions",
        "subscriptions?status=all",
        "subscription_schedules",
        "invoices",
        "invoice_payments",
        "invoiceitems",
        "payment_intents",
        "payment_methods",
        "charges",
        "refunds",
        "disputes",
        "coupons",
        "credit_notes",
        "payment_links",
        "promotion_codes",
        "quotes",
        "billing_portal/configurations",
        "webhook_endpoints",
    ] {
        let list = stripe.get(&format!("/v1/{path}")).await;
        assert!(!list.ids().is_empty(), "no {path}");
        report.check(&examples, &list.body);
    }
    let sessions = stripe.get("/v1/checkout/sessions?expand[]=data.line_items").await;
    report.check(&examples, &sessions.body);
    let prices = stripe.get("/v1/prices?expand[]=data.currency_options").await;
    report.check(&examples, &prices.body);
    let subscriptions = stripe.get("/v1/subscriptions?expand[]=data.discounts").await;
    report.check(&examples, &subscriptions.body);
    report.check(&examples, &stripe.get("/v1/tax/settings").await.body);
    for record in invoice_payments(&stripe).await {
        report.check(&examples, &stripe.sandbox.object(&record));
    }
    for event in stripe.sandbox.events("") {
        report.check(&examples, &stripe.sandbox.object(&event));
    }
    for preview in previews_of(&stripe).await {
        report.check(&examples, &preview);
    }
    assert_eq!(report.problems, BTreeSet::new());
    let expected: BTreeSet<String> = MAY_BE_NULL.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(report.nulls, expected);
    let kinds: Vec<&str> = report.kinds.iter().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "balance_transaction",
            "billing_portal.configuration",
            "billing_portal.session",
            "charge",
            "checkout.session",
            "coupon",
            "credit_note",
            "credit_note_line_item",
            "customer",
            "customer_balance_transaction",
            "discount",
            "dispute",
            "event",
            "invoice",
            "invoice_payment",
            "invoiceitem",
            "item",
            "line_item",
            "payment_intent",
            "payment_link",
            "payment_method",
            "payment_record",
            "plan",
            "price",
            "product",
            "promotion_code",
            "quote",
            "refund",
            "subscription",
            "subscription_item",
            "subscription_schedule",
            "tax.settings",
            "tax_id",
            "webhook_endpoint",
        ]
    );
}
