//! Every object has the keys, and the JSON types, of Stripe's own example of its kind.
//!
//! The examples are Stripe's (`fixtures3.json` of its public API description) and no part of this
//! project: the test reads them where `LICENTIA_STRIPE_FIXTURES` says, or beside the workspace,
//! and passes with a note where they are not.

use std::collections::BTreeSet;
use std::path::PathBuf;

use licentia_sandbox::Card;
use serde_json::Value;

use crate::harness::{Receiver, Stripe};

fn examples() -> Option<Value> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/stripe/fixtures3.json");
    let path = std::env::var_os("LICENTIA_STRIPE_FIXTURES").map_or(beside.into(), PathBuf::from);
    let Ok(text) = std::fs::read(&path) else {
        println!("not checked: Stripe's examples are not at {}", path.display());
        return None;
    };
    Some(serde_json::from_slice::<Value>(&text).unwrap()["resources"].take())
}

/// What the examples show and Stripe answers as null while there is nothing to say.
const MAY_BE_NULL: &[&str] = &[];

#[derive(Default)]
struct Report {
    kinds: BTreeSet<String>,
    problems: BTreeSet<String>,
    nulls: BTreeSet<String>,
}

impl Report {
    /// Compares an object, and every object within it that has a kind of its own.
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
        match (example, ours) {
            (Value::Null, _) => {}
            (_, Value::Null) => {
                self.nulls.insert(path.to_owned());
            }
            (Value::Object(example), Value::Object(ours)) => {
                for (key, example) in example {
                    let path = format!("{path}.{key}");
                    match ours.get(key) {
                        // An event shows any kind of object, which is compared as what it is.
                        Some(_) if path == "event.data.object" => {}
                        Some(ours) => self.compare(&path, example, ours),
                        None if path.contains(".metadata.") => {}
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

/// Has something of every kind happen.
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
    stripe.sandbox.advance_days(40);
    stripe.sandbox.settled().await;
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
        "invoices",
        "invoice_payments",
        "payment_intents",
        "payment_methods",
        "charges",
        "refunds",
        "disputes",
        "billing_portal/configurations",
        "webhook_endpoints",
    ] {
        let list = stripe.get(&format!("/v1/{path}")).await;
        assert!(!list.ids().is_empty(), "no {path}");
        report.check(&examples, &list.body);
    }
    let sessions = stripe.get("/v1/checkout/sessions?expand[]=data.line_items").await;
    report.check(&examples, &sessions.body);
    for event in stripe.sandbox.events("") {
        report.check(&examples, &stripe.sandbox.object(&event));
    }
    assert_eq!(report.problems, BTreeSet::new());
    let expected: BTreeSet<String> = MAY_BE_NULL.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(report.nulls.difference(&expected).collect::<Vec<_>>(), [""; 0]);
    let kinds: Vec<&str> = report.kinds.iter().map(String::as_str).collect();
    assert_eq!(kinds, [
        "billing_portal.configuration",
        "billing_portal.session",
        "charge",
        "checkout.session",
        "customer",
        "dispute",
        "event",
        "invoice",
        "invoice_payment",
        "item",
        "line_item",
        "payment_intent",
        "payment_method",
        "plan",
        "price",
        "product",
        "refund",
        "subscription",
        "subscription_item",
        "webhook_endpoint",
    ]);
}
