//! Statistics by day.

use licentia::domain::operator::admin_key::Scope;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::shop::Shop;

/// Returns the figures of a day.
fn day<'a>(stats: &'a Value, date: &str) -> &'a Value {
    let mut days = stats["days"].as_array().unwrap().iter();
    days.find(|day| day["date"] == date).unwrap_or_else(|| panic!("no {date} in {stats}"))
}

#[tokio::test]
async fn the_days_show_trials_conversions_revenue_and_churn() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let bob = shop.buyer("bob@example.com").await;
    shop.buyer("eve@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let refunded = shop.buy(&bob, "starter").await;
    let admin = shop.app.admin(Scope::Support).await;
    let extend = format!("/api/admin/customers/{}/licenses/extend", ada.customer_id);
    admin.post(&extend, &json!({ "days": 1 })).await;
    let path = "/api/admin/stats?from=2026-11-19&to=2026-12-31";
    let stats = admin.get(path).await;
    assert_eq!(stats.status, 200, "{}", stats.text);
    let first = json!({
        "date": "2026-11-20", "signups": 3, "trials": 3, "conversions": 2, "churned": 0,
        "licenses_issued": 6, "revenue": [{ "currency": "usd", "amount": 6800 }],
    });
    assert_eq!(*day(&stats.body, "2026-11-20"), first);
    assert_eq!(day(&stats.body, "2026-11-19")["revenue"], json!([]));
    assert_eq!(stats.body["days"].as_array().unwrap().len(), 43);
    let active = |plan: &str, amount: i64| {
        let mrr = json!([{ "currency": "usd", "amount": amount }]);
        json!({ "plan": plan, "customers": 1, "mrr": mrr })
    };
    let active = [active("professional", 4900), active("starter", 1900)];
    let now = json!({ "customers": 3, "active": active });
    assert_eq!(stats.body["now"], now);

    // A refund is no revenue, and a renewal is no conversion.
    shop.sandbox.refund(&shop.sandbox.payment_intent(&refunded).unwrap(), None).unwrap();
    shop.settled().await;
    shop.pass_days(&mut ada, 31).await;
    let stats = admin.get(path).await.body;
    assert_eq!(
        day(&stats, "2026-11-20")["revenue"],
        json!([{ "currency": "usd", "amount": 4900 }])
    );
    let renewed: i64 = stats["days"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|day| day["date"] != "2026-11-20")
        .map(|day| day["conversions"].as_i64().unwrap())
        .sum();
    assert_eq!(renewed, 0, "{stats}");

    shop.sandbox.cancel_now(&shop.subscription_of(&session)).unwrap();
    shop.settled().await;
    let stats = admin.get(path).await.body;
    let churned = |stats: &Value| -> i64 {
        stats["days"].as_array().unwrap().iter().map(|day| day["churned"].as_i64().unwrap()).sum()
    };
    assert_eq!(churned(&stats), 1, "{stats}");
    // The figures outlive the customers. A deletion ends the other subscription.
    let delete = shop.app.admin(Scope::Admin).await;
    for id in [&ada.customer_id, &bob.customer_id] {
        assert_eq!(delete.delete(&format!("/api/admin/customers/{id}")).await.status, 204);
    }
    let stats = admin.get(path).await.body;
    assert_eq!((churned(&stats), &stats["now"]["customers"]), (2, &json!(1)), "{stats}");
    assert_eq!(day(&stats, "2026-11-20")["signups"], 3);
}

#[tokio::test]
async fn a_wrong_period_is_refused_and_none_is_the_last_month() {
    let app = TestApp::start().await;
    let admin = app.admin(Scope::Read).await;
    for wrong in [
        "from=2026-11-20&to=2026-11-19",
        "from=2025-01-01&to=2026-11-19",
        "from=x",
        "to=2026-02-30",
        "from=",
    ] {
        let answer = admin.get(&format!("/api/admin/stats?{wrong}")).await;
        assert_eq!(answer.problem(), (400, "invalid_request"), "{wrong}");
    }
    let stats = admin.get("/api/admin/stats").await.body;
    let days = stats["days"].as_array().unwrap();
    assert_eq!((days.len(), &days[29]["date"]), (30, &json!("2026-11-20")));
}
