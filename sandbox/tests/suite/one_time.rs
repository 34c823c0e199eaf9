//! One-time payments by Checkout, with and without an invoice.

use std::time::Duration;

use licentia_sandbox::{Card, CouponDuration, CreditNote, Interval, NewPrice, Paid};
use serde_json::{Value, json};

use crate::harness::{Answer, START, Stripe};

/// The invoice is created within this time after the payment.
const SOON: Duration = Duration::from_secs(1);

/// Invoices are on, with metadata of their own.
const INVOICE: &str = "&invoice_creation[enabled]=true\
                       &invoice_creation[invoice_data][metadata][customer_id]=cust_1";

impl Stripe {
    /// Starts with two prices that are paid once.
    pub async fn with_perpetual_plans() -> Self {
        let stripe = Self::start().await;
        for (id, amount) in [("price_studio", 19_900), ("price_pdf", 2_500)] {
            let (currency, interval) = ("usd", Interval::Once);
            stripe.sandbox.add_price(&NewPrice { id, product: id, amount, currency, interval });
        }
        stripe
    }

    pub async fn create_payment(&self, more: &str) -> Answer {
        let form = format!(
            "mode=payment&line_items[0][price]=price_studio&success_url=http://localhost/ok{more}"
        );
        self.post("/v1/checkout/sessions", &form).await
    }

    /// Returns a session for the customer, with an invoice.
    pub async fn payment_session(&self, customer: &str, more: &str) -> String {
        self.create_payment(&format!("&customer={customer}{INVOICE}{more}")).await.id()
    }

    /// Returns a customer, a paid session, its payment intent, and its invoice.
    pub async fn bought(&self) -> [String; 4] {
        let customer = self.customer().await;
        let session = self.payment_session(&customer, "").await;
        assert_eq!(self.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
        self.sandbox.advance(SOON);
        let body = self.sandbox.object(&session);
        let field = |name: &str| body[name].as_str().unwrap().to_owned();
        let (intent, invoice) = (field("payment_intent"), field("invoice"));
        [customer, session, intent, invoice]
    }

    /// Returns the types of the events about money, sessions and invoices, the oldest first.
    pub fn event_types(&self) -> Vec<String> {
        let about = ["charge", "payment_intent", "checkout", "invoice"];
        let events = self.sandbox.events("").into_iter();
        let types = events.map(|id| self.sandbox.object(&id)["type"].as_str().unwrap().to_owned());
        types.filter(|name| about.iter().any(|prefix| name.starts_with(prefix))).collect()
    }
}

#[tokio::test]
async fn a_price_without_an_interval_is_paid_once() {
    // https://docs.stripe.com/api/prices/object#price_object-type
    let stripe = Stripe::with_perpetual_plans().await;
    let price = stripe.get("/v1/prices/price_studio").await.body;
    assert_eq!((&price["type"], &price["recurring"]), (&json!("one_time"), &Value::Null));
    let form = "product_data[name]=X&currency=usd&unit_amount=100&tax_behavior=inclusive";
    let price = stripe.post("/v1/prices", form).await.body;
    assert_eq!((&price["type"], &price["tax_behavior"]), (&"one_time".into(), &"inclusive".into()));
    // It cannot be the price of a subscription.
    let customer = stripe.customer().await;
    let form = format!("customer={customer}&items[0][price]=price_studio");
    let refused = stripe.post("/v1/subscriptions", &form).await;
    assert_eq!((refused.status, refused.error("param")), (400, "items[0][price]"));
}

#[tokio::test]
async fn a_session_in_payment_mode_has_no_payment_before_it_is_confirmed() {
    // https://docs.stripe.com/changelog/2022-08-01/deferred-paymentintent-checkout-session
    let stripe = Stripe::with_perpetual_plans().await;
    let customer = stripe.customer().await;
    let session = stripe.payment_session(&customer, "").await;
    let body = stripe.sandbox.object(&session);
    assert_eq!((&body["mode"], &body["status"]), (&"payment".into(), &"open".into()));
    assert_eq!(
        (&body["payment_status"], &body["amount_total"]),
        (&"unpaid".into(), &19_900.into())
    );
    assert!(body["payment_intent"].is_null() && body["subscription"].is_null());
    assert_eq!(body["invoice_creation"]["enabled"], true);
    assert_eq!(body["invoice_creation"]["invoice_data"]["metadata"]["customer_id"], "cust_1");
    // A declined card leaves the session open. The next card pays the same payment intent.
    assert_eq!(stripe.sandbox.pay(&session, Card::Declined), Ok(Paid::Declined));
    let intent = stripe.sandbox.object(&session)["payment_intent"].clone();
    assert_eq!(stripe.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
    assert_eq!(stripe.sandbox.object(&session)["payment_intent"], intent);
    assert_eq!(stripe.sandbox.events("payment_intent.created").len(), 1);
}

#[tokio::test]
async fn stripe_17_the_invoice_comes_after_the_payment_with_events_of_its_own() {
    // https://docs.stripe.com/payments/checkout/receipts#paid-invoices: the invoice is created
    // and `invoice.paid` is sent once the payment succeeded. Stripe documents no order of the
    // events (https://docs.stripe.com/webhooks#event-ordering).
    let stripe = Stripe::with_perpetual_plans().await;
    let customer = stripe.customer().await;
    let session = stripe.payment_session(&customer, "&payment_intent_data[metadata][a]=b").await;
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    let body = stripe.sandbox.object(&session);
    assert_eq!((&body["status"], &body["payment_status"]), (&"complete".into(), &"paid".into()));
    assert!(body["invoice"].is_null(), "there is no invoice yet");
    let intent = stripe.sandbox.payment_intent(&session).unwrap();
    assert_eq!(stripe.sandbox.object(&intent)["metadata"], json!({ "a": "b" }));
    let paid = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"];
    let completed = ["checkout.session.completed"];
    assert_eq!(stripe.event_types(), [&paid[..], &completed].concat());
    let completed = stripe.sandbox.events("checkout.session.completed").remove(0);
    assert!(stripe.sandbox.object(&completed)["data"]["object"]["invoice"].is_null());

    stripe.sandbox.advance(SOON);
    let invoiced = ["invoice.created", "invoice.finalized", "invoice_payment.paid"];
    let paid = ["invoice.paid", "invoice.payment_succeeded"];
    assert_eq!(stripe.event_types()[4..], [&invoiced[..], &paid].concat());
    let invoice = stripe.sandbox.object(&session)["invoice"].as_str().unwrap().to_owned();
    assert_eq!(stripe.sandbox.payment_intent(&invoice), Some(intent));
}

#[tokio::test]
async fn the_invoice_of_a_payment_is_paid_and_belongs_to_no_subscription() {
    // https://docs.stripe.com/api/invoices/object#invoice_object-billing_reason: `manual` is
    // unrelated to a subscription.
    let stripe = Stripe::with_perpetual_plans().await;
    let [customer, _, intent, invoice] = stripe.bought().await;
    let path = format!("/v1/invoices/{invoice}?expand[]=payments");
    let body = stripe.get(&path).await.body;
    assert_eq!((&body["status"], &body["billing_reason"]), (&"paid".into(), &"manual".into()));
    assert!(body["parent"].is_null() && body["due_date"].is_null());
    assert_eq!((&body["total"], &body["amount_paid"]), (&19_900.into(), &19_900.into()));
    assert_eq!((&body["amount_remaining"], &body["auto_advance"]), (&0.into(), &false.into()));
    assert_eq!(body["metadata"], json!({ "customer_id": "cust_1" }));
    assert_eq!(body["status_transitions"]["paid_at"], START + 1);
    assert_eq!(body["payments"]["data"][0]["payment"]["payment_intent"], intent);
    let line = &body["lines"]["data"][0];
    assert_eq!((&line["amount"], &line["quantity"]), (&19_900.into(), &1.into()));
    assert_eq!(line["pricing"]["price_details"]["price"], "price_studio");
    // https://docs.stripe.com/api/invoice-line-item/object: an invoice item has no period.
    assert_eq!(line["period"], json!({ "start": START + 1, "end": START + 1 }));
    assert_eq!(line["parent"]["type"], "invoice_item_details");
    let listed = stripe.get(&format!("/v1/invoices?customer={customer}")).await;
    assert_eq!(listed.ids(), [invoice.as_str()]);
    // It neither applies nor changes the customer's balance, and no card is stored.
    assert_eq!(stripe.sandbox.object(&customer)["balance"], 0);
    assert_eq!(stripe.sandbox.events("payment_method.attached").len(), 0);
}

#[tokio::test]
async fn several_units_and_lines_are_billed_together() {
    let stripe = Stripe::with_perpetual_plans().await;
    let customer = stripe.customer().await;
    let more = "&line_items[0][quantity]=3&line_items[1][price]=price_pdf";
    let session = stripe.payment_session(&customer, more).await;
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    stripe.sandbox.advance(SOON);
    let invoice = stripe.sandbox.object(&session)["invoice"].as_str().unwrap().to_owned();
    let lines = stripe.get(&format!("/v1/invoices/{invoice}/lines")).await.body;
    let billed: Vec<_> = lines["data"].as_array().unwrap().iter().collect();
    let billed: Vec<_> = billed.iter().map(|line| (&line["quantity"], &line["amount"])).collect();
    assert_eq!(billed, [(&json!(3), &json!(59_700)), (&json!(1), &json!(2_500))]);
    assert_eq!(stripe.sandbox.object(&invoice)["amount_paid"], 62_200);
}

#[tokio::test]
async fn without_invoice_creation_there_is_no_invoice() {
    // https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-invoice_creation
    let stripe = Stripe::with_perpetual_plans().await;
    let customer = stripe.customer().await;
    let session = stripe.create_payment(&format!("&customer={customer}")).await.id();
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    stripe.sandbox.advance_days(2);
    let body = stripe.sandbox.object(&session);
    assert_eq!((&body["payment_status"], &body["invoice"]), (&"paid".into(), &Value::Null));
    assert_eq!(body["invoice_creation"]["enabled"], false);
    assert!(stripe.get(&format!("/v1/invoices?customer={customer}")).await.ids().is_empty());
    let intent = stripe.sandbox.payment_intent(&session).unwrap();
    let payments = stripe.get(&format!("/v1/payment_intents?customer={customer}")).await;
    assert_eq!(payments.ids(), [intent.as_str()]);
}

#[tokio::test]
async fn sessions_are_listed_by_customer_status_and_payment_with_their_lines() {
    // https://docs.stripe.com/api/checkout/sessions/list
    let stripe = Stripe::with_perpetual_plans().await;
    let [customer, session, intent, _] = stripe.bought().await;
    let open = stripe.payment_session(&customer, "").await;
    let [_, other, ..] = stripe.bought().await;
    let list = async |query: &str| {
        let path = format!("/v1/checkout/sessions?{query}&expand[]=data.line_items");
        let answer = stripe.get(&path).await;
        let ids = answer.ids().into_iter().map(str::to_owned).collect::<Vec<_>>();
        (ids, answer.body)
    };
    assert_eq!(list("limit=5").await.0, [other, open.clone(), session.clone()]);
    assert_eq!(list(&format!("customer={customer}")).await.0, [open, session.clone()]);
    let of_intent = list(&format!("payment_intent={intent}")).await;
    assert_eq!(of_intent.0, [session.as_str()]);
    let (ids, body) = list(&format!("customer={customer}&status=complete")).await;
    assert_eq!(ids, [session]);
    let line = &body["data"][0]["line_items"]["data"][0];
    assert_eq!((&line["price"]["id"], &line["quantity"]), (&"price_studio".into(), &1.into()));
    assert_eq!((&line["amount_total"], &line["currency"]), (&19_900.into(), &"usd".into()));
}

#[tokio::test]
async fn a_session_includes_ten_lines_and_its_list_has_the_rest() {
    // https://docs.stripe.com/api/checkout/sessions/line_items
    let stripe = Stripe::with_perpetual_plans().await;
    let mut more = String::new();
    for place in 1..12 {
        let id = format!("price_{place}");
        let (currency, interval) = ("usd", Interval::Once);
        let new = NewPrice { id: &id, product: &id, amount: 100, currency, interval };
        stripe.sandbox.add_price(&new);
        more = format!("{more}&line_items[{place}][price]={id}");
    }
    let session = stripe.create_payment(&more).await.id();
    let path = format!("/v1/checkout/sessions/{session}");
    let shown = stripe.get(&format!("{path}?expand[]=line_items")).await.body;
    assert_eq!(shown["line_items"]["data"].as_array().unwrap().len(), 10);
    assert_eq!(shown["line_items"]["has_more"], true);
    let last = shown["line_items"]["data"][9]["id"].as_str().unwrap();
    let rest = stripe.get(&format!("{path}/line_items?starting_after={last}")).await;
    assert_eq!((rest.ids().len(), &rest.body["has_more"]), (2, &false.into()));
    assert_eq!(stripe.get(&format!("{path}/line_items?limit=100")).await.ids().len(), 12);
}

#[tokio::test]
async fn stripe_36_an_order_without_cost_has_no_payment_and_no_invoice() {
    // https://docs.stripe.com/payments/checkout/no-cost-orders: no payment method is collected,
    // and a customer is created.
    let stripe = Stripe::with_perpetual_plans().await;
    stripe.sandbox.add_coupon("FREE", 100, CouponDuration::Once);
    let code = stripe.sandbox.add_promotion_code("FREE", "GIFT").unwrap();
    let session =
        stripe.create_payment(&format!("&allow_promotion_codes=true{INVOICE}")).await.id();
    stripe.sandbox.enter_promotion_code(&session, "GIFT").unwrap();
    // Even a card that is always declined completes it, because it is not used.
    let paid = stripe.sandbox.pay_as(&session, Card::Declined, "ada@example.com");
    assert_eq!(paid, Ok(Paid::Completed));
    stripe.sandbox.advance_days(1);
    let body = stripe.sandbox.object(&session);
    assert_eq!(body["payment_status"], "no_payment_required");
    assert_eq!((&body["payment_intent"], &body["invoice"]), (&Value::Null, &Value::Null));
    assert_eq!((&body["amount_subtotal"], &body["amount_total"]), (&19_900.into(), &0.into()));
    assert_eq!(body["payment_method_collection"], "if_required");
    let customer = stripe.sandbox.object(body["customer"].as_str().unwrap());
    assert_eq!(customer["email"], "ada@example.com");
    assert_eq!(stripe.sandbox.object(&code)["times_redeemed"], 1);
    let line = stripe.get(&format!("/v1/checkout/sessions/{session}/line_items")).await.body;
    let line = &line["data"][0];
    assert_eq!((&line["amount_discount"], &line["amount_total"]), (&19_900.into(), &0.into()));
    assert_eq!(stripe.event_types(), ["checkout.session.completed"]);
}

#[tokio::test]
async fn stripe_36_a_discount_is_on_the_invoice_and_split_among_its_lines() {
    // https://docs.stripe.com/api/discounts/object#discount_object-checkout_session
    let stripe = Stripe::with_perpetual_plans().await;
    stripe.sandbox.add_coupon("THIRD", 33, CouponDuration::Once);
    let customer = stripe.customer().await;
    let more = "&line_items[1][price]=price_pdf&discounts[0][coupon]=THIRD";
    let session = stripe.payment_session(&customer, more).await;
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    stripe.sandbox.advance(SOON);
    let body = stripe.sandbox.object(&session);
    let path = format!("/v1/invoices/{}?expand[]=discounts", body["invoice"].as_str().unwrap());
    let invoice = stripe.get(&path).await.body;
    assert_eq!((&invoice["subtotal"], &invoice["total"]), (&22_400.into(), &15_008.into()));
    assert_eq!(invoice["total_discount_amounts"][0]["amount"], 7_392);
    let discount = &invoice["discounts"][0];
    assert_eq!(
        (&discount["checkout_session"], &discount["source"]["coupon"]),
        (&session.as_str().into(), &"THIRD".into())
    );
    assert_eq!(
        (&discount["customer"], &discount["subscription"]),
        (&customer.as_str().into(), &Value::Null)
    );
    let lines = invoice["lines"]["data"].as_array().unwrap().iter();
    let off: Vec<i64> =
        lines.map(|line| line["discount_amounts"][0]["amount"].as_i64().unwrap()).collect();
    assert_eq!(off.iter().sum::<i64>(), 7_392);
    assert_eq!(stripe.sandbox.object("THIRD")["times_redeemed"], 1);
    assert_eq!(
        stripe
            .sandbox
            .payment_intent(&session)
            .map(|intent| { stripe.sandbox.object(&intent)["amount"].clone() }),
        Some(15_008.into())
    );
}

#[tokio::test]
async fn stripe_3_a_bank_debit_is_invoiced_when_it_arrives() {
    // https://docs.stripe.com/checkout/fulfillment#delayed-notification
    let stripe = Stripe::with_perpetual_plans().await;
    let customer = stripe.customer().await;
    let session = stripe.payment_session(&customer, "").await;
    assert_eq!(stripe.sandbox.pay(&session, Card::DelayedPaid), Ok(Paid::Completed));
    stripe.sandbox.advance_days(2);
    let body = stripe.sandbox.object(&session);
    assert_eq!((&body["status"], &body["payment_status"]), (&"complete".into(), &"unpaid".into()));
    assert!(body["invoice"].is_null());
    stripe.sandbox.advance_days(2);
    let body = stripe.sandbox.object(&session);
    assert_eq!(body["payment_status"], "paid");
    assert_eq!(stripe.status(body["invoice"].as_str().unwrap()), "paid");
    assert_eq!(stripe.sandbox.events("checkout.session.async_payment_succeeded").len(), 1);
    assert_eq!(stripe.sandbox.events("checkout.session.completed").len(), 1);

    let session = stripe.payment_session(&customer, "").await;
    stripe.sandbox.pay(&session, Card::DelayedFailed).unwrap();
    stripe.sandbox.advance_days(4);
    let body = stripe.sandbox.object(&session);
    assert_eq!((&body["payment_status"], &body["invoice"]), (&"unpaid".into(), &Value::Null));
    assert_eq!(stripe.sandbox.events("checkout.session.async_payment_failed").len(), 1);
    assert_eq!(stripe.sandbox.events("invoice.created").len(), 1);
}

#[tokio::test]
async fn three_d_secure_completes_a_payment_or_leaves_the_session_open() {
    // https://docs.stripe.com/payments/3d-secure/authentication-flow
    let stripe = Stripe::with_perpetual_plans().await;
    let customer = stripe.customer().await;
    let session = stripe.payment_session(&customer, "").await;
    for succeeds in [false, true] {
        let asked = stripe.sandbox.pay(&session, Card::Authenticate).unwrap();
        let Paid::AuthenticationRequired { payment_intent } = asked else { panic!("{asked:?}") };
        assert_eq!(stripe.status(&session), "open");
        stripe.sandbox.authenticate(&payment_intent, succeeds).unwrap();
    }
    assert_eq!(stripe.sandbox.object(&session)["payment_status"], "paid");
}

#[tokio::test]
async fn an_expired_session_cancels_its_payment() {
    // https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-payment_intent:
    // to cancel the payment intent, expire the session.
    let stripe = Stripe::with_perpetual_plans().await;
    let customer = stripe.customer().await;
    let session = stripe.payment_session(&customer, "").await;
    stripe.sandbox.pay(&session, Card::Authenticate).unwrap();
    let intent = stripe.sandbox.payment_intent(&session).unwrap();
    stripe.sandbox.advance_days(1);
    assert_eq!(
        (stripe.status(&session), stripe.status(&intent)),
        ("expired".into(), "canceled".into())
    );
    assert!(stripe.sandbox.authenticate(&intent, true).is_err());
}

#[tokio::test]
async fn a_buyer_without_a_customer_is_a_guest_unless_an_invoice_is_created() {
    // https://docs.stripe.com/payments/checkout/guest-customers
    // https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-customer_creation
    let stripe = Stripe::with_perpetual_plans().await;
    let bought = async |more: &str| {
        let session = stripe.create_payment(more).await.id();
        stripe.sandbox.pay_as(&session, Card::Paid, "ada@example.com").unwrap();
        stripe.sandbox.object(&session)
    };
    let guest = bought("").await;
    assert_eq!(
        (&guest["customer"], &guest["customer_creation"]),
        (&Value::Null, &"if_required".into())
    );
    assert_eq!(guest["customer_details"]["email"], "ada@example.com");
    let intent = stripe.sandbox.object(guest["payment_intent"].as_str().unwrap());
    assert!(intent["customer"].is_null());
    assert!(bought("&customer_creation=always").await["customer"].is_string());
    assert!(bought(INVOICE).await["customer"].is_string());
    assert_eq!(stripe.get("/v1/customers").await.ids().len(), 2);
}

#[tokio::test]
async fn stripe_15_a_payment_is_refunded_disputed_and_credited_like_any_other() {
    // https://docs.stripe.com/refunds, https://docs.stripe.com/disputes/how-disputes-work,
    // https://docs.stripe.com/invoicing/integration/programmatic-credit-notes
    let stripe = Stripe::with_perpetual_plans().await;
    let [_, _, intent, invoice] = stripe.bought().await;
    let form = format!("payment_intent={intent}&amount=1000");
    assert_eq!(stripe.post("/v1/refunds", &form).await.body["status"], "succeeded");
    let note = CreditNote { amount: 18_900, refund: 18_900, ..CreditNote::default() };
    stripe.sandbox.credit(&invoice, note).unwrap();
    assert_eq!(stripe.sandbox.object(&invoice)["post_payment_credit_notes_amount"], 18_900);
    let charge = stripe.sandbox.object(&intent)["latest_charge"].as_str().unwrap().to_owned();
    assert_eq!(stripe.sandbox.object(&charge)["refunded"], true);
    assert_eq!(stripe.status(&invoice), "paid");

    let [_, _, intent, _] = stripe.bought().await;
    let dispute = stripe.sandbox.open_dispute(&intent).unwrap();
    stripe.sandbox.close_dispute(&dispute, false).unwrap();
    let found = stripe.get(&format!("/v1/disputes?payment_intent={intent}")).await.body;
    assert_eq!(
        (&found["data"][0]["status"], &found["data"][0]["amount"]),
        (&"lost".into(), &19_900.into())
    );
}

#[tokio::test]
async fn parameters_of_the_other_mode_are_refused() {
    // https://docs.stripe.com/api/checkout/sessions/create
    let stripe = Stripe::with_perpetual_plans().await;
    let customer = stripe.customer().await;
    for (more, param) in [
        ("&line_items[1][price]=price_pro_monthly", "line_items[1][price]"),
        ("&subscription_data[metadata][a]=b", "subscription_data"),
        (&format!("&customer={customer}&customer_creation=always"), "customer_creation"),
    ] {
        let refused = stripe.create_payment(more).await;
        assert_eq!((refused.status, refused.error("param")), (400, param));
    }
    for (more, param) in [
        ("&payment_intent_data[metadata][a]=b", "payment_intent_data"),
        (INVOICE, "invoice_creation"),
        ("&line_items[0][price]=price_studio", "line_items[0][price]"),
    ] {
        let form = format!(
            "mode=subscription&line_items[0][price]=price_pro_monthly&success_url=http://x/{more}"
        );
        let refused = stripe.post("/v1/checkout/sessions", &form).await;
        assert_eq!((refused.status, refused.error("param")), (400, param));
    }
}
