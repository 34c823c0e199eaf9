//! Sales without the vendor's own Checkout sessions, and Stripe customers that the service did not
//! create.

use std::time::Duration;

use licentia_sandbox::{Card, Paid};

use crate::harness::{START, Stripe};

#[tokio::test]
async fn stripe_28_a_payment_link_sells_to_an_unknown_customer() {
    // https://docs.stripe.com/payment-links: each visit opens a Checkout session with the link's
    // metadata.
    let stripe = Stripe::start().await;
    let link = stripe.sandbox.add_payment_link("price_pro_monthly").unwrap();
    let session = stripe.sandbox.open_payment_link(&link, None).unwrap();
    let body = stripe.sandbox.object(&session);
    assert_eq!(
        (&body["payment_link"], &body["mode"]),
        (&link.as_str().into(), &"subscription".into())
    );
    assert!(body["client_reference_id"].is_null() && body["customer"].is_null());
    assert_eq!(body["metadata"], serde_json::json!({}));
    let bought = stripe.sandbox.pay_as(&session, Card::Paid, "grace@example.com");
    assert_eq!(bought, Ok(Paid::Completed));
    let body = stripe.sandbox.object(&session);
    let customer = body["customer"].as_str().unwrap();
    let object = stripe.sandbox.object(customer);
    assert_eq!(
        (&object["email"], &object["metadata"]),
        (&"grace@example.com".into(), &serde_json::json!({}))
    );
    let subscription = stripe.sandbox.object(body["subscription"].as_str().unwrap());
    assert_eq!(subscription["metadata"], serde_json::json!({}));
    assert_eq!(subscription["status"], "active");
    // The next buyer with the same address is another customer.
    let session = stripe.sandbox.open_payment_link(&link, Some("ref-1")).unwrap();
    let of_link = stripe.get(&format!("/v1/checkout/sessions?payment_link={link}")).await;
    assert_eq!(of_link.ids().len(), 2);
    assert_eq!(stripe.sandbox.object(&session)["client_reference_id"], "ref-1");
    stripe.sandbox.pay_as(&session, Card::Paid, "grace@example.com").unwrap();
    let found = stripe.get("/v1/customers?email=grace@example.com").await;
    assert_eq!(found.ids().len(), 2);
    stripe.post(&format!("/v1/payment_links/{link}"), "active=false").await.id();
    assert!(stripe.sandbox.open_payment_link(&link, None).is_err());
}

#[tokio::test]
async fn stripe_28_a_payment_link_sells_once_to_a_guest() {
    // https://docs.stripe.com/api/payment-link/create#create_payment_link-customer_creation: only
    // if required, by default.
    let stripe = Stripe::with_perpetual_plans().await;
    let link = stripe.sandbox.add_payment_link("price_studio").unwrap();
    let session = stripe.sandbox.open_payment_link(&link, None).unwrap();
    stripe.sandbox.pay_as(&session, Card::Paid, "grace@example.com").unwrap();
    stripe.sandbox.advance_days(1);
    let body = stripe.sandbox.object(&session);
    assert_eq!((&body["mode"], &body["payment_link"]), (&"payment".into(), &link.into()));
    assert!(body["customer"].is_null() && body["invoice"].is_null());
    assert_eq!(body["payment_status"], "paid");
    assert_eq!(body["customer_details"]["email"], "grace@example.com");
    let intent = body["payment_intent"].as_str().unwrap();
    let path = format!("/v1/checkout/sessions?payment_intent={intent}&expand[]=data.line_items");
    let found = stripe.get(&path).await.body;
    assert_eq!(found["data"][0]["line_items"]["data"][0]["price"]["id"], "price_studio");
    stripe.sandbox.refund(intent, None).unwrap();
    assert!(stripe.get("/v1/customers").await.ids().is_empty());
}

#[tokio::test]
async fn stripe_28_a_payment_link_may_create_a_customer_and_an_invoice() {
    // https://docs.stripe.com/payment-links/post-payment#invoices
    let stripe = Stripe::with_perpetual_plans().await;
    let form = "line_items[0][price]=price_studio&line_items[0][quantity]=2\
                &line_items[0][adjustable_quantity][enabled]=true&metadata[from]=page\
                &payment_intent_data[metadata][a]=b&invoice_creation[enabled]=true";
    let made = stripe.post("/v1/payment_links", form).await;
    assert_eq!(made.body["invoice_creation"]["enabled"], true);
    assert_eq!(made.body["customer_creation"], "if_required");
    let session = stripe.sandbox.open_payment_link(&made.id(), Some("ref-1")).unwrap();
    stripe.sandbox.choose_quantity(&session, "price_studio", 3).unwrap();
    stripe.sandbox.pay_as(&session, Card::Paid, "grace@example.com").unwrap();
    stripe.sandbox.advance_days(1);
    let body = stripe.sandbox.object(&session);
    assert_eq!(
        (&body["metadata"]["from"], &body["client_reference_id"]),
        (&"page".into(), &"ref-1".into())
    );
    let intent = stripe.sandbox.object(body["payment_intent"].as_str().unwrap());
    assert_eq!(intent["metadata"]["a"], "b");
    let invoice = stripe.sandbox.object(body["invoice"].as_str().unwrap());
    assert_eq!(
        (&invoice["customer"], &invoice["amount_paid"]),
        (&body["customer"], &(3 * 19_900).into())
    );
    // Without an invoice, `customer_creation` decides.
    let form = "line_items[0][price]=price_studio&customer_creation=always";
    let link = stripe.post("/v1/payment_links", form).await.id();
    let session = stripe.sandbox.open_payment_link(&link, None).unwrap();
    stripe.sandbox.pay_as(&session, Card::Paid, "grace@example.com").unwrap();
    assert!(stripe.sandbox.object(&session)["customer"].is_string());
    // A link for a subscription creates a customer in any case.
    let form = "line_items[0][price]=price_pro_monthly&customer_creation=always";
    let refused = stripe.post("/v1/payment_links", form).await;
    assert_eq!(refused.error("param"), "customer_creation");
}

#[tokio::test]
async fn stripe_28_a_quote_becomes_a_subscription() {
    // https://docs.stripe.com/quotes/create
    let stripe = Stripe::start().await;
    let customer = stripe.sandbox.add_customer("grace@example.com", &[]);
    let form = format!(
        "customer={customer}&line_items[0][price]=price_team_monthly\
         &collection_method=send_invoice&invoice_settings[days_until_due]=30"
    );
    let quote = stripe.post("/v1/quotes", &form).await.id();
    let path = format!("/v1/quotes/{quote}");
    assert_eq!(stripe.post(&format!("{path}/accept"), "").await.status, 400, "it is a draft");
    assert_eq!(stripe.post(&format!("{path}/finalize"), "").await.body["status"], "open");
    let accepted = stripe.post(&format!("{path}/accept"), "").await.body;
    assert_eq!(accepted["status"], "accepted");
    let subscription = accepted["subscription"].as_str().unwrap();
    assert_eq!(stripe.status(subscription), "active");
    assert_eq!(stripe.sandbox.object(subscription)["collection_method"], "send_invoice");
    let (invoice, _) = stripe.payment(subscription).await;
    assert_eq!(
        (stripe.status(&invoice), stripe.sandbox.object(&invoice)["amount_due"].clone()),
        ("open".into(), 9900.into())
    );
    assert_eq!(stripe.sandbox.events("quote.accepted").len(), 1);

    stripe.sandbox.replace_card(&customer, Card::Paid).unwrap();
    let charged = stripe.sandbox.sell_by_quote(&customer, "price_pro_monthly", None).unwrap();
    let (invoice, _) = stripe.payment(&charged).await;
    assert_eq!(
        (stripe.status(&charged), stripe.status(&invoice)),
        ("active".into(), "paid".into())
    );
}

#[tokio::test]
async fn stripe_21_several_customers_may_carry_the_same_metadata_and_address() {
    let stripe = Stripe::start().await;
    let first = stripe.sandbox.add_customer("ada@example.com", &[("customer_id", "cust_1")]);
    let second = stripe.sandbox.add_customer("ada@example.com", &[("customer_id", "cust_1")]);
    let third = stripe.sandbox.add_customer("ada@work.example.com", &[("customer_id", "cust_1")]);
    let subscription = stripe.sandbox.subscribe(&second, "price_pro_monthly", Card::Paid).unwrap();
    assert_eq!(stripe.status(&subscription), "active");
    let listed = stripe.get("/v1/customers?email=ada@example.com").await;
    assert_eq!(listed.ids(), [second.as_str(), first.as_str()]);
    // https://docs.stripe.com/search: `metadata['key']:'value'`
    let query = "metadata%5B%27customer_id%27%5D%3A%27cust_1%27";
    let found = stripe.get(&format!("/v1/customers/search?query={query}")).await;
    assert_eq!(found.ids(), [third.as_str(), second.as_str(), first.as_str()]);
    // https://docs.stripe.com/search#data-freshness: lists include new objects at once, searches
    // later.
    stripe.sandbox.delay_search(Duration::from_secs(60));
    let path = format!("/v1/customers/search?query={query}");
    assert_eq!(stripe.get(&path).await.ids().len(), 0);
    assert_eq!(stripe.get("/v1/customers?email=ada@example.com").await.ids().len(), 2);
    stripe.sandbox.advance(Duration::from_secs(60));
    assert_eq!(stripe.get(&path).await.ids().len(), 3);
}

#[tokio::test]
async fn stripe_33_a_long_history_is_listed_page_by_page() {
    // https://docs.stripe.com/api/pagination
    const COUNT: usize = 10_500;
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    stripe.sandbox.advance_days(5);
    stripe.sandbox.add_invoices(&customer, COUNT).unwrap();
    let (mut seen, mut after) = (0, String::new());
    loop {
        let path = format!("/v1/invoices?customer={customer}&limit=100{after}");
        let page = stripe.get(&path).await;
        seen += page.ids().len();
        after = format!("&starting_after={}", page.ids().last().unwrap());
        if page.body["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, COUNT + 1);
    stripe.sandbox.add_payments(&customer, 250).unwrap();
    let path = format!("/v1/payment_intents?customer={customer}&limit=100");
    assert_eq!(stripe.get(&path).await.body["has_more"], true);
    let since = START + 5 * 86_400 - 99;
    let path = format!("/v1/invoices?customer={customer}&limit=100&created[gte]={since}");
    let recent = stripe.get(&path).await;
    assert_eq!((recent.ids().len(), recent.body["has_more"].clone()), (99, false.into()));
    assert_eq!(stripe.sandbox.events("invoice.paid").len(), 1);
    assert_eq!(stripe.status(&subscription), "active");
}
