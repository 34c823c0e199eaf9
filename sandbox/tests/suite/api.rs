//! The API's general rules: keys, errors, lists, expansions, idempotency. Sales and money are in
//! the other files.

use licentia_sandbox::{ApiFault, Options, Sandbox, StartError, Times};
use serde_json::Value;

use crate::harness::Stripe;

#[tokio::test]
async fn the_sandbox_listens_only_on_loopback() {
    for listen in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let listen = listen.parse().unwrap();
        for options in [
            Options { listen, ..Options::default() },
            Options { listen_smtp: listen, ..Options::default() },
        ] {
            assert!(matches!(Sandbox::start(options).await, Err(StartError::NotLoopback(_))));
        }
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let stripe = Stripe::start().await;
    let before = stripe.sandbox.api_calls();
    let url = format!("{}/v1/customers", stripe.sandbox.url());
    for request in [
        stripe.http.get(&url),
        stripe.http.get(&url).bearer_auth("sk_live_sandbox"),
        stripe.http.get(&url).basic_auth("", None::<&str>),
    ] {
        let answer = Stripe::answer(request).await.unwrap();
        assert_eq!((answer.status, answer.error("type")), (401, "invalid_request_error"));
    }
    let basic = stripe.http.get(&url).basic_auth("sk_test_sandbox", None::<&str>);
    assert_eq!(Stripe::answer(basic).await.unwrap().status, 200);
    assert_eq!(stripe.sandbox.api_calls() - before, 4, "refused calls count too");
}

#[tokio::test]
async fn errors_have_stripes_shape() {
    let stripe = Stripe::start().await;
    let cases = [
        (stripe.get("/v1/customers/cus_no").await, 404, "resource_missing", "id"),
        (
            stripe.get("/v1/subscriptions?customer=cus_no").await,
            400,
            "resource_missing",
            "customer",
        ),
        (stripe.post("/v1/customers", "emial=a").await, 400, "parameter_unknown", "emial"),
        (stripe.post("/v1/products", "").await, 400, "parameter_missing", "name"),
        (stripe.get("/v1/products?customer=cus_no").await, 400, "parameter_unknown", "customer"),
        (stripe.get("/v1/customers?limit=101").await, 400, "parameter_invalid_integer", "limit"),
        (stripe.get("/v1/customers?limit=x").await, 400, "parameter_invalid_integer", "limit"),
        (stripe.get("/v1/customers?expand[]=data.nothing.x").await, 200, "", ""),
        (
            stripe.post("/v1/prices", "currency=usd&unit_amount=1&product=prod_no").await,
            400,
            "resource_missing",
            "product",
        ),
    ];
    for (answer, status, code, param) in cases {
        assert_eq!(
            (answer.status, answer.error("code"), answer.error("param")),
            (status, code, param)
        );
        assert!(answer.request_id.starts_with("req_"));
        if status != 200 {
            assert_eq!(answer.error("type"), "invalid_request_error");
            assert!(!answer.error("message").is_empty());
        }
    }
    let nowhere = stripe.get("/v1/nothing").await;
    assert_eq!((nowhere.status, nowhere.error("type")), (404, "invalid_request_error"));
}

#[tokio::test]
async fn lists_come_newest_first_a_page_at_a_time() {
    let stripe = Stripe::start().await;
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(stripe.post("/v1/customers", &format!("email=c{number}@example.com")).await.id());
    }
    made.reverse();
    let first = stripe.get("/v1/customers?limit=2").await;
    assert_eq!((first.ids(), &first.body["has_more"]), (vec![&*made[0], &*made[1]], &true.into()));
    let after = stripe.get(&format!("/v1/customers?limit=3&starting_after={}", made[1])).await;
    assert_eq!(after.ids(), made[2..]);
    assert_eq!(after.body["has_more"], false);
    let before = stripe.get(&format!("/v1/customers?limit=2&ending_before={}", made[4])).await;
    assert_eq!(before.ids(), made[2..4]);
    assert_eq!(before.body["has_more"], true);
    let one = stripe.get("/v1/customers?email=c3@example.com").await;
    assert_eq!(one.ids(), made[1..2]);
    assert_eq!(one.body["url"], "/v1/customers");
}

#[tokio::test]
async fn customers_are_found_by_metadata_and_metadata_is_merged() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let query = "/v1/customers/search?query=metadata%5B%27customer_id%27%5D:%27cust_1%27";
    assert_eq!(stripe.get(query).await.ids(), [customer.as_str()]);
    assert_eq!(stripe.get(&query.replace("cust_1", "cust_2")).await.ids(), [""; 0]);
    let form = "metadata[customer_id]=&metadata[other]=x&name=Ada";
    let body = stripe.post(&format!("/v1/customers/{customer}"), form).await.body;
    assert_eq!(body["metadata"], serde_json::json!({ "other": "x" }));
    assert_eq!((&body["name"], &body["email"]), (&"Ada".into(), &"ada@example.com".into()));
    let event = stripe.sandbox.events("customer.updated").pop().unwrap();
    let event = stripe.sandbox.object(&event);
    assert_eq!(event["data"]["previous_attributes"]["name"], Value::Null);
    assert!(event["request"]["id"].as_str().unwrap().starts_with("req_"));
}

#[tokio::test]
async fn an_id_can_be_expanded_to_its_object() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    let path = format!(
        "/v1/subscriptions?customer={customer}&expand[]=data.customer\
         &expand[]=data.latest_invoice.payments.data.payment.payment_intent.latest_charge"
    );
    let too_deep = stripe.get(&path).await;
    assert_eq!((too_deep.status, too_deep.error("param")), (400, "expand"));
    let body = stripe.get(&path.replace(".latest_charge", "")).await.body;
    assert_eq!(body["data"][0]["customer"]["email"], "ada@example.com");
    let payments = &body["data"][0]["latest_invoice"]["payments"]["data"];
    assert_eq!(payments[0]["payment"]["payment_intent"]["status"], "succeeded");
    let wrong = stripe.get(&format!("/v1/subscriptions/{subscription}?expand[]=nothing")).await;
    assert_eq!((wrong.status, wrong.error("param")), (400, "expand"));
}

#[tokio::test]
async fn an_idempotency_key_returns_the_first_response_for_a_day() {
    let stripe = Stripe::start().await;
    let create = || stripe.post_with_key("key", "/v1/customers", "email=a@example.com");
    let first = create().await;
    let again = create().await;
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.id(), again.id());
    let other = stripe.post_with_key("key", "/v1/customers", "email=b@example.com").await;
    assert_eq!((other.status, other.error("type")), (400, "idempotency_error"));
    stripe.sandbox.advance_days(1);
    assert_ne!(create().await.id(), first.id());
}

#[tokio::test]
async fn the_response_of_a_call_that_never_began_is_not_stored() {
    let stripe = Stripe::start().await;
    let wrong = stripe.post_with_key("key", "/v1/customers", "emial=a").await;
    assert_eq!(wrong.status, 400);
    let right = stripe.post_with_key("key", "/v1/customers", "email=a@example.com").await;
    assert_eq!((right.status, right.replayed), (200, false));
}

#[tokio::test]
async fn a_failure_after_the_write_is_stored() {
    let stripe = Stripe::start().await;
    stripe.sandbox.faults().api(ApiFault::ErrorAfter, Times::Next(1));
    for replayed in [false, true] {
        let answer = stripe.post_with_key("key", "/v1/customers", "email=a@example.com").await;
        assert_eq!((answer.status, answer.error("type")), (500, "api_error"));
        assert_eq!(answer.replayed, replayed);
    }
    assert_eq!(stripe.get("/v1/customers").await.ids().len(), 1);
}

#[tokio::test]
async fn a_subscription_is_changed_and_canceled_by_the_api() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    let path = format!("/v1/subscriptions/{subscription}");
    let item = stripe.sandbox.object(&subscription)["items"]["data"][0]["id"].clone();
    let form = format!(
        "items[0][id]={}&items[0][price]=price_team_monthly&proration_behavior=none",
        item.as_str().unwrap()
    );
    let changed = stripe.post(&path, &form).await;
    assert_eq!(changed.body["items"]["data"][0]["price"]["id"], "price_team_monthly");
    assert_eq!(stripe.sandbox.events("invoice.paid").len(), 1);
    let listed = stripe.get("/v1/subscriptions?price=price_team_monthly").await;
    assert_eq!(listed.ids(), [subscription.as_str()]);
    let ending = stripe.post(&path, "cancel_at_period_end=true").await;
    assert_eq!(ending.body["cancel_at_period_end"], true);
    let going_on = stripe.post(&path, "cancel_at_period_end=false").await;
    assert_eq!(going_on.body["cancel_at"], Value::Null);
    assert_eq!(stripe.delete(&path).await.body["status"], "canceled");
    assert_eq!(stripe.delete(&path).await.status, 404);
    let live = stripe.get(&format!("/v1/subscriptions?customer={customer}")).await;
    assert_eq!(live.ids(), [""; 0]);
    let all = stripe.get(&format!("/v1/subscriptions?customer={customer}&status=all")).await;
    assert_eq!(all.ids(), [subscription.as_str()]);
}

#[tokio::test]
async fn a_session_is_found_and_can_be_expired_once() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "").await;
    let open = stripe.get(&format!("/v1/checkout/sessions?customer={customer}&status=open")).await;
    assert_eq!(open.ids(), [session.as_str()]);
    let path = format!("/v1/checkout/sessions/{session}/expire");
    assert_eq!(stripe.post(&path, "").await.body["status"], "expired");
    assert_eq!(stripe.post(&path, "").await.status, 400);
    let items = stripe.get(&format!("/v1/checkout/sessions/{session}/line_items")).await;
    assert_eq!(items.body["data"][0]["price"]["id"], "price_pro_monthly");
}
