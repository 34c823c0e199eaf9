//! Subscription schedules: changes of plan at the end of the period.

use serde_json::json;

use crate::harness::{START, Stripe};

const DAY: i64 = 86_400;

fn price(stripe: &Stripe, subscription: &str) -> String {
    let item = stripe.sandbox.object(subscription)["items"]["data"][0].clone();
    item["price"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_scheduled_change_begins_with_its_phase_and_ends_with_the_last() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    stripe.sandbox.change_plan(&subscription, "price_team_monthly").unwrap();
    stripe.sandbox.schedule_change(&subscription, "price_pro_monthly").unwrap();
    let id = stripe.sandbox.object(&subscription)["schedule"].as_str().unwrap().to_owned();
    let listed = stripe.get(&format!("/v1/subscription_schedules?customer={customer}")).await;
    assert_eq!(listed.ids(), [id.as_str()]);
    let schedule = stripe.get(&format!("/v1/subscription_schedules/{id}")).await.body;
    assert_eq!(
        (&schedule["status"], &schedule["subscription"]),
        (&json!("active"), &json!(subscription))
    );
    let phases = schedule["phases"].as_array().unwrap();
    assert_eq!(phases.len(), 2);
    assert_eq!(phases[0]["items"][0]["price"], "price_team_monthly");
    assert_eq!(phases[1]["items"][0]["price"], "price_pro_monthly");
    assert_eq!(phases[1]["start_date"], START + 30 * DAY);
    let paid = stripe.sandbox.events("invoice.paid").len();
    assert_eq!(price(&stripe, &subscription), "price_team_monthly");

    stripe.sandbox.advance_days(31);
    assert_eq!(price(&stripe, &subscription), "price_pro_monthly");
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.sandbox.object(&invoice)["amount_paid"], 4900);
    assert_eq!(stripe.sandbox.events("invoice.paid").len(), paid + 1);
    assert_eq!(stripe.sandbox.object(&id)["current_phase"]["start_date"], START + 30 * DAY);
    assert_eq!(stripe.status(&id), "active");

    stripe.sandbox.advance_days(31);
    assert_eq!(stripe.status(&id), "completed");
    assert!(stripe.sandbox.object(&subscription)["schedule"].is_null());
    assert_eq!(price(&stripe, &subscription), "price_pro_monthly");
    for (event, times) in [("created", 1), ("updated", 2), ("completed", 1), ("released", 0)] {
        let events = stripe.sandbox.events(&format!("subscription_schedule.{event}"));
        assert_eq!(events.len(), times, "{event}");
    }
}

#[tokio::test]
async fn a_new_interval_is_counted_from_its_phase() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    stripe.sandbox.schedule_change(&subscription, "price_pro_yearly").unwrap();
    stripe.sandbox.advance_days(31);
    let item = stripe.sandbox.object(&subscription)["items"]["data"][0].clone();
    assert_eq!(item["current_period_start"], START + 30 * DAY);
    assert_eq!(item["current_period_end"], START + (30 + 365) * DAY);
    stripe.sandbox.advance_days(365);
    let item = stripe.sandbox.object(&subscription)["items"]["data"][0].clone();
    // 2028 is a leap year.
    assert_eq!(item["current_period_end"], START + (30 + 365 + 366) * DAY);
}

#[tokio::test]
async fn a_scheduled_change_can_be_changed_and_undone() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    stripe.sandbox.schedule_change(&subscription, "price_pro_yearly").unwrap();
    stripe.sandbox.schedule_change(&subscription, "price_team_monthly").unwrap();
    let id = stripe.sandbox.object(&subscription)["schedule"].as_str().unwrap().to_owned();
    assert_eq!(stripe.sandbox.events("subscription_schedule.created").len(), 1);
    // As in the API, a schedule prevents a cancellation.
    let path = format!("/v1/subscriptions/{subscription}");
    let refused = stripe.post(&path, "cancel_at_period_end=true").await;
    assert_eq!((refused.status, refused.error("type")), (400, "invalid_request_error"));
    assert!(refused.error("message").contains("managed by the subscription schedule"));

    let release = format!("/v1/subscription_schedules/{id}/release");
    let released = stripe.post(&release, "").await.body;
    assert_eq!(released["status"], "released");
    assert_eq!(released["released_subscription"], subscription.as_str());
    assert!(stripe.sandbox.object(&subscription)["schedule"].is_null());
    assert_eq!(stripe.post(&release, "").await.status, 400);
    stripe.sandbox.advance_days(31);
    assert_eq!(price(&stripe, &subscription), "price_pro_monthly");
}

#[tokio::test]
async fn a_cancellation_takes_precedence_over_a_scheduled_change() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    stripe.sandbox.schedule_change(&subscription, "price_team_monthly").unwrap();
    stripe.sandbox.cancel(&subscription, true).unwrap();
    assert_eq!(stripe.sandbox.events("subscription_schedule.released").len(), 1);
    assert!(stripe.sandbox.schedule_change(&subscription, "price_team_monthly").is_err());
    stripe.sandbox.cancel(&subscription, false).unwrap();

    stripe.sandbox.schedule_change(&subscription, "price_team_monthly").unwrap();
    let id = stripe.sandbox.object(&subscription)["schedule"].as_str().unwrap().to_owned();
    stripe.sandbox.cancel_now(&subscription).unwrap();
    assert_eq!(stripe.status(&id), "canceled");
    assert_eq!(stripe.sandbox.events("subscription_schedule.canceled").len(), 1);
}
