//! Metered prices beside the plan on one subscription: Licentia neither sells nor grants them.

use licentia_sandbox::{Card, Interval, NewPrice, PriceOptions};
use serde_json::json;

use crate::harness::subscriber::{CANCEL, Subscriber};

const METERED: &str = "price_calls";

/// Returns a subscriber of five seats who also pays 0.10 for each call.
async fn subscriber() -> Subscriber {
    let own = Subscriber::with_five_seats().await;
    let (currency, interval) = ("usd", Interval::Month);
    let new = NewPrice { id: METERED, product: "Calls", amount: 10, currency, interval };
    let options = PriceOptions { is_metered: true, ..PriceOptions::default() };
    own.shop.sandbox.add_price_with(&new, &options);
    let path = format!("subscriptions/{}", own.subscription);
    let form = [("items[0][price]", METERED), ("proration_behavior", "none")];
    own.shop.at_stripe(&path, &form).await;
    own.shop.settled().await;
    own
}

#[tokio::test]
async fn a_metered_item_beside_the_plan_disturbs_neither_changes_nor_renewals() {
    let mut own = subscriber().await;
    own.shop.sandbox.add_usage(&own.subscription, METERED, 42).unwrap();
    let wanted = json!({ "quantity": 8, "addons": ["pdf"] });
    let preview = own.preview(&wanted).await;
    assert_eq!(own.change_by(&wanted, &preview).await.status, 200);
    assert_eq!(own.newest_invoice()["amount_paid"], preview["due_now"], "{preview}");
    assert_eq!((own.seats().await, own.has_pdf().await), (8, true));
    let prices = |own: &Subscriber| {
        let items = own.shop.sandbox.object(&own.subscription)["items"]["data"].clone();
        let items = items.as_array().unwrap().iter();
        items.map(|item| item["price"]["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(prices(&own).contains(&METERED.to_owned()), "{:?}", prices(&own));

    let mut ada = own.ada.clone();
    own.shop.pass_days(&mut ada, 31).await;
    own.ada = ada;
    let renewal = own.newest_invoice();
    assert_eq!(renewal["amount_paid"], 8 * 1000 + 300 + 420, "{renewal}");
    assert_eq!((own.seats().await, own.has_pdf().await), (8, true));
    let order = own.shop.orders(&own.ada).await.remove(0);
    assert_eq!((&order["plan"], &order["quantity"]), (&json!("team"), &json!(8)), "{order}");
    let subscription = own.shop.subscription(&own.ada).await;
    assert_eq!((&subscription["quantity"], &subscription["plan"]), (&json!(8), &json!("team")));
    assert_eq!(own.shop.sync_all().await.drifted.len(), 0);

    let canceled = own.ada.client.post(CANCEL, &json!({ "at": "now" })).await;
    assert_eq!(canceled.status, 200, "{canceled:?}");
    own.shop.settled().await;
    assert_eq!(own.shop.license(&own.ada).await["status"], "revoked");
    assert_eq!(own.shop.sync_all().await.drifted.len(), 0);
}

/// Usage that reaches the threshold is billed within the period, for which the plan is paid.
#[tokio::test]
async fn unpaid_usage_takes_no_license() {
    let own = subscriber().await;
    let path = format!("subscriptions/{}", own.subscription);
    own.shop.at_stripe(&path, &[("billing_thresholds[amount_gte]", "1000")]).await;
    own.shop.sandbox.replace_card(&own.customer, Card::DeclinedLater).unwrap();
    own.shop.sandbox.add_usage(&own.subscription, METERED, 101).unwrap();
    own.shop.settled().await;
    let unpaid = own.newest_invoice();
    assert_eq!((&unpaid["status"], &unpaid["amount_due"]), (&json!("open"), &json!(1010)));
    assert_eq!(own.seats().await, 5);
    assert_eq!(own.shop.license(&own.ada).await["status"], "active");
    assert_eq!(own.shop.sync_all().await.drifted.len(), 0);
}
