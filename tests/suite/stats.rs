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
    shop.buy(&bob, "starter").await;
    let admin = shop.app.admin(Scope::Support).await;
    let extend = format!("/api/admin/customers/{}/licenses/extend", ada.customer_id);
    let extended = admin.post(&extend, &json!({ "days": 1 })).await;
    // The first resend issues a license; the second sends the same one again.
    let resend = format!("/api/admin/licenses/{}/resend", extended.text("/license_id"));
    admin.post(&resend, &json!({ "reissue": true })).await;
    admin.post(&resend, &json!({})).await;
    let path = "/api/admin/stats?from=2026-11-19&to=2026-12-31";
    let stats = admin.get(path).await;
    assert_eq!(stats.status, 200, "{}", stats.text);
    let first = json!({
        "date": "2026-11-20", "signups": 3, "trials": 3, "conversions": 2, "churned": 0,
        "licenses_issued": 7, "revenue": [{ "currency": "usd", "amount": 6800 }],
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

    // A renewal is no conversion.
    shop.pass_days(&mut ada, 31).await;
    let stats = admin.get(path).await.body;
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
async fn money_that_is_returned_lowers_the_revenue_of_its_own_day() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    shop.settled().await;
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    let admin = shop.app.admin(Scope::Read).await;
    let revenue = async || {
        let stats = admin.get("/api/admin/stats?from=2026-11-20&to=2026-11-23").await.body;
        let days = stats["days"].as_array().unwrap();
        let amount = |day: &Value| {
            let amounts = day["revenue"].as_array().unwrap();
            amounts.iter().map(|one| one["amount"].as_i64().unwrap()).sum::<i64>()
        };
        days.iter().map(amount).collect::<Vec<_>>()
    };
    assert_eq!(revenue().await, [4900, 0, 0, 0]);
    for (refund, expected) in [
        (Some(1000), [4900, -1000, 0, 0]),
        (Some(500), [4900, -1000, -500, 0]),
        (None, [4900, -1000, -500, -3400]),
    ] {
        shop.sandbox.advance_days(1);
        shop.sandbox.refund(&payment, refund).unwrap();
        shop.settled().await;
        assert_eq!(revenue().await, expected);
    }
    // Another sync changes nothing, and the figures outlive the customer.
    shop.sync_all().await;
    let delete = shop.app.admin(Scope::Admin).await;
    let customer = format!("/api/admin/customers/{}", ada.customer_id);
    assert_eq!(delete.delete(&customer).await.status, 204);
    assert_eq!(revenue().await, [4900, -1000, -500, -3400]);
}

#[tokio::test]
async fn a_disputed_payment_counts_again_when_the_dispute_is_won() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    shop.settled().await;
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    let admin = shop.app.admin(Scope::Read).await;
    let revenue = async |date: &str| {
        let stats = admin.get(&format!("/api/admin/stats?from={date}&to={date}")).await.body;
        stats["days"][0]["revenue"][0]["amount"].as_i64().unwrap()
    };
    shop.sandbox.advance_days(1);
    let dispute = shop.sandbox.open_dispute_about(&payment, 4900).unwrap();
    shop.settled().await;
    assert_eq!(revenue("2026-11-21").await, -4900);
    shop.sandbox.advance_days(1);
    shop.sandbox.close_dispute(&dispute, true).unwrap();
    shop.settled().await;
    assert_eq!(revenue("2026-11-22").await, 4900);
    assert_eq!(revenue("2026-11-20").await, 4900);
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
