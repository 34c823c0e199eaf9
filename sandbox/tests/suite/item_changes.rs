//! Changes of a subscription's items (<https://docs.stripe.com/billing/subscriptions/change>) and
//! their prorations (<https://docs.stripe.com/billing/subscriptions/prorations>).

use licentia_sandbox::{Card, CouponDuration, Proration};
use serde_json::{Value, json};

use crate::harness::{Answer, START, Stripe};

const DAY: i64 = 86_400;

/// The period of every test here: from 20 November to 20 December.
const PERIOD: i64 = 30 * DAY;

impl Stripe {
    /// Returns a subscription of the team price with this quantity, in the middle of its period.
    async fn team_of(&self, quantity: i64, more: &str) -> String {
        let customer = self.customer().await;
        self.sandbox.replace_card(&customer, Card::Paid).unwrap();
        let form = format!(
            "customer={customer}&items[0][price]=price_team_monthly&items[0][quantity]={quantity}\
             {more}"
        );
        let subscription = self.post("/v1/subscriptions", &form).await.id();
        self.sandbox.advance_days(15);
        subscription
    }

    async fn change(&self, subscription: &str, form: &str) -> Answer {
        let item = self.item(subscription, 0);
        let form = form.replace("ITEM", &item);
        self.post(&format!("/v1/subscriptions/{subscription}"), &form).await
    }

    async fn set(&self, subscription: &str, quantity: i64, proration: &str) {
        let form = format!(
            "items[0][id]=ITEM&items[0][quantity]={quantity}&proration_behavior={proration}"
        );
        self.change(subscription, &form).await.id();
    }

    fn latest(&self, subscription: &str) -> Value {
        let latest = self.sandbox.object(subscription)["latest_invoice"].take();
        self.sandbox.object(latest.as_str().unwrap())
    }

    fn balance(&self, subscription: &str) -> i64 {
        let customer = self.sandbox.object(subscription)["customer"].take();
        self.sandbox.object(customer.as_str().unwrap())["balance"].as_i64().unwrap()
    }
}

fn lines(invoice: &Value) -> Vec<(i64, i64)> {
    let lines = invoice["lines"]["data"].as_array().unwrap().iter();
    lines
        .map(|line| (line["amount"].as_i64().unwrap(), line["quantity"].as_i64().unwrap()))
        .collect()
}

fn details(invoice: &Value, line: usize) -> &Value {
    &invoice["lines"]["data"][line]["parent"]["subscription_item_details"]
}

#[tokio::test]
async fn a_raised_quantity_is_billed_at_once_as_a_credit_and_a_debit() {
    let stripe = Stripe::start().await;
    let subscription = stripe.team_of(5, "").await;
    let first = stripe.latest(&subscription);
    stripe.set(&subscription, 8, "always_invoice").await;
    let invoice = stripe.latest(&subscription);
    assert_eq!(lines(&invoice), [(-5 * 4950, 5), (8 * 4950, 8)]);
    assert_eq!(
        (&invoice["total"], &invoice["amount_paid"], &invoice["billing_reason"]),
        (&json!(3 * 4950), &json!(3 * 4950), &json!("subscription_update"))
    );
    for line in invoice["lines"]["data"].as_array().unwrap() {
        assert_eq!(
            (&line["discountable"], &line["period"]),
            (&json!(false), &json!({ "start": START + 15 * DAY, "end": START + PERIOD }))
        );
        let of = &line["parent"]["subscription_item_details"];
        assert_eq!(
            (&of["proration"], &of["subscription_item"]),
            (&json!(true), &json!(stripe.item(&subscription, 0)))
        );
        let item = stripe.sandbox.object(of["invoice_item"].as_str().unwrap());
        assert_eq!((&item["invoice"], &item["proration"]), (&invoice["id"], &json!(true)));
    }
    let credited = &details(&invoice, 0)["proration_details"]["credited_items"];
    let debit = &first["lines"]["data"][0]["id"];
    assert_eq!(*credited, json!({ "invoice": first["id"], "invoice_line_items": [debit] }));
    assert_eq!(details(&invoice, 1)["proration_details"]["credited_items"], Value::Null);
    // The next renewal bills the new quantity.
    stripe.sandbox.advance_days(15);
    assert_eq!(lines(&stripe.latest(&subscription)), [(8 * 9900, 8)]);
}

#[tokio::test]
async fn a_negative_total_is_put_on_the_customers_balance() {
    let stripe = Stripe::start().await;
    let subscription = stripe.team_of(5, "").await;
    stripe.set(&subscription, 2, "always_invoice").await;
    let invoice = stripe.latest(&subscription);
    assert_eq!(
        (&invoice["total"], &invoice["amount_due"], &invoice["ending_balance"]),
        (&json!(-3 * 4950), &json!(0), &json!(-3 * 4950))
    );
    assert_eq!(invoice["status"], "paid");
    assert_eq!(stripe.balance(&subscription), -3 * 4950);
    stripe.sandbox.advance_days(15);
    let renewal = stripe.latest(&subscription);
    assert_eq!(
        (&renewal["total"], &renewal["amount_due"]),
        (&json!(2 * 9900), &json!(2 * 9900 - 3 * 4950))
    );
    assert_eq!(stripe.balance(&subscription), 0);
}

#[tokio::test]
async fn without_a_choice_the_next_invoice_bills_a_change() {
    let stripe = Stripe::start().await;
    let subscription = stripe.team_of(5, "").await;
    let first = stripe.latest(&subscription)["id"].take();
    stripe.change(&subscription, "items[0][id]=ITEM&items[0][quantity]=6").await.id();
    assert_eq!(stripe.latest(&subscription)["id"], first);
    assert_eq!(stripe.get("/v1/invoiceitems").await.ids().len(), 2);
    // A second change credits the debit that is still pending.
    stripe.sandbox.advance_days(5);
    stripe.change(&subscription, "items[0][id]=ITEM&items[0][quantity]=4").await.id();
    stripe.sandbox.advance_days(10);
    let renewal = stripe.latest(&subscription);
    let of = |quantity: i64, days: i64| quantity * 9900 * days / 30;
    assert_eq!(
        lines(&renewal),
        [(-of(5, 15), 5), (of(6, 15), 6), (-of(6, 10), 6), (of(4, 10), 4), (4 * 9900, 4)]
    );
    let debit = &renewal["lines"]["data"][1]["id"];
    let credited = &details(&renewal, 2)["proration_details"]["credited_items"];
    assert_eq!(*credited, json!({ "invoice": renewal["id"], "invoice_line_items": [debit] }));
    assert!(stripe.sandbox.object(&subscription)["status"] == "active");
}

#[tokio::test]
async fn flexible_billing_credits_what_was_debited_and_classic_the_current_quantity() {
    for (mode, credited) in [("flexible", 5), ("classic", 2)] {
        let stripe = Stripe::start().await;
        let more = format!("&billing_mode[type]={mode}");
        let subscription = stripe.team_of(5, &more).await;
        let billed = stripe.latest(&subscription)["id"].take();
        stripe.set(&subscription, 2, "none").await;
        assert_eq!(stripe.latest(&subscription)["id"], billed, "nothing is billed");
        stripe.set(&subscription, 4, "always_invoice").await;
        let invoice = stripe.latest(&subscription);
        assert_eq!(lines(&invoice), [(-credited * 4950, credited), (4 * 4950, 4)], "{mode}");
        let named = &details(&invoice, 0)["proration_details"]["credited_items"];
        assert_eq!(named["invoice"], billed, "{mode}");
        assert_eq!(stripe.sandbox.object(&subscription)["billing_mode"]["type"], mode);
    }
}

#[tokio::test]
async fn a_voided_debit_is_not_credited() {
    let stripe = Stripe::start().await;
    let subscription = stripe.team_of(1, "").await;
    let customer = stripe.sandbox.object(&subscription)["customer"].take();
    stripe.sandbox.replace_card(customer.as_str().unwrap(), Card::DeclinedLater).unwrap();
    stripe.set(&subscription, 3, "always_invoice").await;
    let unpaid = stripe.latest(&subscription);
    assert_eq!((&unpaid["status"], &unpaid["amount_due"]), (&json!("open"), &json!(2 * 4950)));
    stripe.sandbox.void_invoice(unpaid["id"].as_str().unwrap()).unwrap();
    stripe.set(&subscription, 4, "always_invoice").await;
    // The debit of the first unit was credited by the voided invoice only.
    assert_eq!(lines(&stripe.latest(&subscription)), [(-4950, 1), (4 * 4950, 4)]);
}

#[tokio::test]
async fn items_are_added_and_removed_with_the_subscriptions_period() {
    let stripe = Stripe::start().await;
    let subscription = stripe.team_of(2, "").await;
    let form = "items[0][price]=price_pro_monthly&proration_behavior=always_invoice";
    stripe.change(&subscription, form).await.id();
    let object = stripe.sandbox.object(&subscription);
    let added = &object["items"]["data"][1];
    assert_eq!(
        (&added["price"]["id"], &added["quantity"], &added["current_period_end"]),
        (&json!("price_pro_monthly"), &json!(1), &json!(START + PERIOD))
    );
    assert_eq!(lines(&stripe.latest(&subscription)), [(2450, 1)]);
    let twice = stripe.change(&subscription, form).await;
    assert_eq!((twice.status, twice.error("param")), (400, "items"));

    stripe.sandbox.advance_days(6);
    let added = stripe.item(&subscription, 1);
    let form =
        format!("items[0][id]={added}&items[0][deleted]=true&proration_behavior=always_invoice");
    stripe.change(&subscription, &form).await.id();
    assert_eq!(lines(&stripe.latest(&subscription)), [(-1470, 1)]);
    assert_eq!(stripe.sandbox.object(&subscription)["items"]["data"].as_array().unwrap().len(), 1);
    let last = stripe.change(&subscription, "items[0][id]=ITEM&items[0][deleted]=true").await;
    assert_eq!((last.status, last.error("param")), (400, "items"));
    stripe.sandbox.advance_days(9);
    assert_eq!(lines(&stripe.latest(&subscription)), [(2 * 9900, 2)]);
}

#[tokio::test]
async fn several_items_change_in_one_call() {
    let stripe = Stripe::start().await;
    let subscription = stripe.team_of(2, "&items[1][price]=price_pro_monthly").await;
    let second = stripe.item(&subscription, 1);
    let form = format!(
        "items[0][id]=ITEM&items[0][quantity]=3&items[1][id]={second}&items[1][deleted]=true\
         &items[2][price]=price_pro_yearly&proration_behavior=always_invoice"
    );
    stripe.change(&subscription, &form).await.id();
    let invoice = stripe.latest(&subscription);
    // The new interval is counted from the same time, and the rest of its period is billed.
    let yearly = 49_000 * 350 / 365;
    assert_eq!(lines(&invoice), [(-2 * 4950, 2), (3 * 4950, 3), (-2450, 1), (yearly, 1)]);
    assert_eq!(details(&invoice, 3)["proration"], true);
    let object = stripe.sandbox.object(&subscription);
    assert_eq!(object["items"]["data"][1]["current_period_end"], START + 365 * DAY);
    assert_eq!(object["billing_cycle_anchor"], START);
    stripe.sandbox.advance_days(15);
    assert_eq!(lines(&stripe.latest(&subscription)), [(3 * 9900, 3)]);
    stripe.sandbox.advance_days(335);
    let year = stripe.sandbox.object(&subscription)["items"]["data"][1].take();
    assert_eq!(year["current_period_start"], START + 365 * DAY);
}

#[tokio::test]
async fn a_change_of_every_interval_begins_a_period_that_is_billed_at_once() {
    let stripe = Stripe::start().await;
    let subscription = stripe.team_of(2, "&items[1][price]=price_pro_monthly").await;
    let second = stripe.item(&subscription, 1);
    let form = format!(
        "items[0][id]=ITEM&items[0][price]=price_pro_yearly&items[0][quantity]=3\
         &items[1][id]={second}&items[1][deleted]=true"
    );
    stripe.change(&subscription, &form).await.id();
    let invoice = stripe.latest(&subscription);
    assert_eq!(lines(&invoice), [(-2 * 4950, 2), (-2450, 1), (3 * 49_000, 3)]);
    assert_eq!(details(&invoice, 2)["proration"], false);
    let object = stripe.sandbox.object(&subscription);
    assert_eq!(object["items"]["data"][0]["current_period_start"], START + 15 * DAY);
    assert_eq!(object["billing_cycle_anchor"], START + 15 * DAY);
}

#[tokio::test]
async fn a_change_is_billed_from_its_proration_date() {
    let stripe = Stripe::start().await;
    let subscription = stripe.team_of(1, "").await;
    let form = |at: i64| {
        format!(
            "items[0][id]=ITEM&items[0][quantity]=2&proration_behavior=always_invoice\
             &proration_date={at}"
        )
    };
    for outside in [START - 1, START + PERIOD + 1] {
        let refused = stripe.change(&subscription, &form(outside)).await;
        assert_eq!((refused.status, refused.error("param")), (400, "proration_date"));
    }
    stripe.change(&subscription, &form(START + 10 * DAY)).await.id();
    assert_eq!(lines(&stripe.latest(&subscription)), [(-6600, 1), (2 * 6600, 2)]);
}

/// <https://docs.stripe.com/billing/subscriptions/coupons>
#[tokio::test]
async fn lasting_discounts_are_inside_of_prorations_and_others_wait_for_a_period() {
    let stripe = Stripe::start().await;
    stripe.sandbox.add_coupon("HALF", 50, CouponDuration::Forever);
    stripe.sandbox.add_coupon("TENTH", 10, CouponDuration::Once);
    let subscription = stripe.team_of(2, "&discounts[0][coupon]=HALF").await;
    let first = stripe.latest(&subscription);
    let off = &first["lines"]["data"][0]["discount_amounts"];
    assert_eq!((&first["total"], &off[0]["amount"]), (&json!(9900), &json!(9900)));
    stripe.sandbox.discount(&subscription, "TENTH").unwrap();
    stripe.set(&subscription, 4, "always_invoice").await;
    let invoice = stripe.latest(&subscription);
    assert_eq!(lines(&invoice), [(-4950, 2), (9900, 4)]);
    assert_eq!(invoice["amount_paid"], 4950);
    assert_eq!(stripe.sandbox.object(&subscription)["discounts"].as_array().unwrap().len(), 2);
    stripe.sandbox.advance_days(15);
    let renewal = stripe.latest(&subscription);
    assert_eq!(renewal["total"], 4 * 9900 / 2 * 9 / 10);
    assert_eq!(stripe.sandbox.object(&subscription)["discounts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_update_replaces_the_discounts_except_those_that_it_names() {
    let stripe = Stripe::start().await;
    stripe.sandbox.add_coupon("HALF", 50, CouponDuration::Forever);
    stripe.sandbox.add_coupon("TENTH", 10, CouponDuration::Forever);
    let subscription = stripe.team_of(2, "&discounts[0][coupon]=HALF").await;
    let kept = stripe.sandbox.object(&subscription)["discounts"][0].take();
    let form =
        format!("discounts[0][discount]={}&discounts[1][coupon]=TENTH", kept.as_str().unwrap());
    let changed = stripe.change(&subscription, &form).await.body;
    assert_eq!(changed["discounts"].as_array().unwrap().len(), 2);
    assert_eq!(changed["discounts"][0], kept);
    let changed = stripe.change(&subscription, "discounts[0][coupon]=TENTH").await.body;
    assert_eq!(changed["discounts"].as_array().unwrap().len(), 1);
    let changed = stripe.change(&subscription, "discounts=").await.body;
    assert_eq!(changed["discounts"], json!([]));
    let other = stripe.change(&subscription, "discounts[0][discount]=di_other").await;
    assert_eq!((other.status, other.error("param")), (400, "discounts[0][discount]"));
}

/// <https://docs.stripe.com/api/subscriptions/cancel>
#[tokio::test]
async fn pending_items_are_billed_at_the_end_and_dropped_by_a_cancellation_now() {
    for at_once in [true, false] {
        let stripe = Stripe::start().await;
        let subscription = stripe.team_of(1, "").await;
        let before = stripe.latest(&subscription)["id"].take();
        stripe.set(&subscription, 3, "create_prorations").await;
        if at_once {
            stripe.sandbox.cancel_now(&subscription).unwrap();
        } else {
            stripe.sandbox.cancel(&subscription, true).unwrap();
            stripe.sandbox.advance_days(15);
        }
        assert_eq!(stripe.status(&subscription), "canceled");
        let last = stripe.latest(&subscription);
        assert_eq!(last["id"] == before, at_once);
        if !at_once {
            assert_eq!((&last["total"], &last["status"]), (&json!(2 * 4950), &json!("paid")));
        }
    }
}

#[tokio::test]
async fn a_change_during_a_trial_bills_nothing() {
    let stripe = Stripe::start().await;
    let subscription = stripe.team_of(1, "&trial_period_days=20").await;
    let first = stripe.latest(&subscription)["id"].take();
    stripe.set(&subscription, 3, "always_invoice").await;
    stripe.sandbox.add_item(&subscription, "price_pro_monthly", 1, Proration::Now).unwrap();
    assert_eq!(stripe.latest(&subscription)["id"], first);
    stripe.sandbox.advance_days(5);
    assert_eq!(lines(&stripe.latest(&subscription)), [(3 * 9900, 3), (4900, 1)]);
}

#[tokio::test]
async fn the_dashboard_changes_items_as_the_api_does() {
    let stripe = Stripe::start().await;
    let sandbox = &stripe.sandbox;
    let subscription = stripe.team_of(1, "").await;
    let item = stripe.item(&subscription, 0);
    sandbox.set_quantity(&subscription, &item, 2, Proration::Now).unwrap();
    assert_eq!(lines(&stripe.latest(&subscription)), [(-4950, 1), (2 * 4950, 2)]);
    let added =
        sandbox.add_item(&subscription, "price_pro_monthly", 2, Proration::NextInvoice).unwrap();
    assert_eq!(stripe.item(&subscription, 1), added);
    sandbox.remove_item(&subscription, &added, Proration::None).unwrap();
    assert!(sandbox.remove_item(&subscription, &item, Proration::Now).is_err(), "the last one");
    assert!(sandbox.set_quantity(&subscription, &added, 3, Proration::Now).is_err(), "removed");
    assert!(sandbox.set_quantity(&subscription, &item, -1, Proration::Now).is_err());
    assert!(sandbox.add_item(&subscription, "price_team_monthly", 1, Proration::Now).is_err());
    stripe.sandbox.advance_days(15);
    // The added item is billed by the next invoice, although it was removed without a proration.
    assert_eq!(lines(&stripe.latest(&subscription)), [(4900, 2), (2 * 9900, 2)]);
}

#[tokio::test]
async fn a_quantity_is_changed_on_the_page_of_the_portal() {
    let stripe = Stripe::start().await;
    let subscription = stripe.team_of(1, "").await;
    let customer = stripe.sandbox.object(&subscription)["customer"].take();
    let form = format!("customer={}", customer.as_str().unwrap());
    let portal = stripe.post("/v1/billing_portal/sessions", &form).await.body;
    let page = portal["url"].as_str().unwrap();
    let text = stripe.http.get(page).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("Quantity of price_team_monthly"), "{text}");
    let item = stripe.item(&subscription, 0);
    let form = format!("subscription={subscription}&item={item}&quantity=3");
    let request = stripe.http.post(format!("{page}/quantity")).body(form);
    assert_eq!(request.send().await.unwrap().status(), 303);
    assert_eq!(stripe.latest(&subscription)["amount_paid"], 2 * 4950);
}
