//! Tests of orders in settlements.

use super::*;
use crate::domain::sale::stripe_state::{CheckoutSession, CheckoutStatus};

/// Returns the order of a checkout.
fn of_checkout(session: &str) -> Order {
    Order {
        order_id: OrderId::from_random(7),
        customer_id: Some(record().customer.customer_id),
        plan: "professional".into(),
        amount: 4900,
        currency: "usd".into(),
        billing_interval: None,
        quantity: None,
        addons: None,
        tax: None,
        discount: None,
        returned: 0,
        status: OrderStatus::Pending,
        stripe_checkout_session_id: Some(session.parse().unwrap()),
        stripe_invoice_id: None,
        stripe_payment_intent_id: None,
        invoice_url: None,
        receipt_url: None,
        created_at: at(NOW),
        purchased_at: None,
        updated_at: at(NOW),
    }
}

fn complete(session: &str, invoice: Option<&str>) -> CheckoutSession {
    CheckoutSession {
        status: CheckoutStatus::Complete,
        subscription: Some("sub_1".parse().unwrap()),
        invoice: invoice.map(|id| id.parse().unwrap()),
        ..CheckoutSession::unknown_to_stripe(&session.parse().unwrap())
    }
}

/// Returns the orders after a settlement: id, status, invoice.
fn orders(record: &Record, state: &StripeState) -> Vec<(u128, OrderStatus, String)> {
    let after = apply(record.clone(), &settle_at(record, state, NOW), at(NOW));
    let own = after.orders.into_iter().filter(|order| order.customer_id.is_some());
    own.map(|order| {
        let id = order.order_id.as_str().trim_start_matches("ord_");
        let invoice = order.stripe_invoice_id.map(|id| id.to_string()).unwrap_or_default();
        (u128::from_str_radix(id, 16).unwrap(), order.status, invoice)
    })
    .collect()
}

#[test]
fn a_checkout_gives_its_order_to_the_first_invoice() {
    let record = Record { orders: vec![of_checkout("cs_1")], ..record() };
    for named in [Some("in_1"), None] {
        let mut state = paid("active");
        state.checkout_sessions = vec![complete("cs_1", named)];
        let expected = vec![(7, OrderStatus::Succeeded, "in_1".to_owned())];
        assert_eq!(orders(&record, &state), expected, "{named:?}");
    }
}

#[test]
fn a_claimed_payment_gives_its_order_to_the_invoice_at_once() {
    // Of another Stripe customer, the invoice itself is not read.
    let session = CheckoutSession { subscription: None, ..complete("cs_1", Some("in_1")) };
    let state = StripeState {
        checkout_sessions: vec![session],
        paid_sessions: vec![paid_session("cs_1", "price_studio_once")],
        ..StripeState::default()
    };
    let after = apply(record(), &settle_by(selling(), &record(), &state, NOW), at(NOW));
    assert_eq!(after.orders[0].stripe_invoice_id, Some("in_1".parse().unwrap()));
    let again = settle_by(selling(), &after, &state, NOW).changes;
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn an_order_has_the_tax_the_discount_the_refund_and_the_links_of_its_payment() {
    let page = |name: &str| Some(format!("https://pay.example/{name}").parse().unwrap());
    let mut billed = paid("active");
    let invoice = &mut billed.invoices[0];
    (invoice.tax, invoice.discount, invoice.returned) = (700, 500, 200);
    (invoice.url, invoice.receipt_url) = (page("in_1"), page("receipt"));
    let mut session = paid_session("cs_1", "price_studio_once");
    (session.total.tax, session.total.discount, session.returned) = (700, 500, 200);
    session.receipt_url = page("receipt");
    let once = StripeState { paid_sessions: vec![session], ..StripeState::default() };
    for (catalog, state, url) in [(catalog(), billed, page("in_1")), (selling(), once, None)] {
        let settlement = settle_by(catalog, &record(), &state, NOW);
        let after = apply(record(), &settlement, at(NOW));
        let [order] = &after.orders[..] else { panic!("{:?}", after.orders) };
        assert_eq!((order.tax, order.discount, order.returned), (Some(700), Some(500), 200));
        assert_eq!(order.status, OrderStatus::Succeeded, "only a part was returned");
        assert_eq!((&order.invoice_url, &order.receipt_url), (&url, &page("receipt")));
    }
}

#[test]
fn an_expired_checkout_fails_its_order() {
    let record = Record { orders: vec![of_checkout("cs_1")], ..record() };
    let expired = CheckoutSession::unknown_to_stripe(&"cs_1".parse().unwrap());
    let state = StripeState { checkout_sessions: vec![expired], ..StripeState::default() };
    assert_eq!(orders(&record, &state), vec![(7, OrderStatus::Failed, String::new())]);
}

#[test]
fn two_orders_of_one_purchase_are_merged() {
    let mut of_invoice = of_checkout("cs_1");
    of_invoice.order_id = OrderId::from_random(8);
    of_invoice.stripe_checkout_session_id = None;
    of_invoice.stripe_invoice_id = Some("in_1".parse().unwrap());
    let record = Record { orders: vec![of_invoice, of_checkout("cs_1")], ..record() };
    let mut state = paid("active");
    state.checkout_sessions = vec![complete("cs_1", Some("in_1"))];
    assert_eq!(orders(&record, &state), vec![(7, OrderStatus::Succeeded, "in_1".to_owned())]);
}

#[test]
fn the_order_of_a_deleted_account_is_taken_over_and_another_customers_is_not() {
    let mut ownerless = of_checkout("cs_1");
    ownerless.customer_id = None;
    ownerless.stripe_invoice_id = Some("in_1".parse().unwrap());
    let foreign = Order {
        customer_id: Some("cust_00000000000000000000000000000002".parse().unwrap()),
        ..ownerless.clone()
    };
    let mine = Record { orders: vec![ownerless], ..record() };
    assert_eq!(orders(&mine, &paid("active")), vec![(7, OrderStatus::Succeeded, "in_1".into())]);
    let theirs = Record { orders: vec![foreign.clone()], ..record() };
    let settlement = settle_at(&theirs, &paid("active"), NOW);
    let is_order_changed =
        settlement.changes.iter().any(|change| matches!(change, Change::Order { .. }));
    assert!(!is_order_changed, "{settlement:?}");
}

#[test]
fn each_invoice_decides_the_status_of_its_order() {
    use InvoiceStatus::{Draft, Open, Paid, Uncollectible, Void};
    for (status, subscription_status, expected) in [
        (Paid, "active", Some(OrderStatus::Succeeded)),
        (Open, "active", Some(OrderStatus::Pending)),
        (Open, "past_due", Some(OrderStatus::Failed)),
        (Void, "active", Some(OrderStatus::Failed)),
        (Uncollectible, "active", Some(OrderStatus::Failed)),
        (Draft, "active", None),
        (Open, "incomplete", None),
    ] {
        let mut state = paid(subscription_status);
        state.invoices[0].status = status;
        let decided = orders(&record(), &state).first().map(|(_, status, _)| *status);
        assert_eq!(decided, expected, "{status:?} {subscription_status}");
    }
}

#[test]
fn the_most_expensive_line_decides_the_plan_and_a_free_invoice_has_no_order() {
    let mut state = paid("active");
    state.invoices[0].lines = vec![
        line("price_starter_monthly", PERIOD_END, 100),
        line("price_pro_monthly", PERIOD_END, 4900),
    ];
    let plan = |state: &StripeState| {
        let settlement = settle_at(&record(), state, NOW);
        settlement.changes.into_iter().find_map(|change| match change {
            Change::Order { after, .. } => Some(after.plan),
            _ => None,
        })
    };
    assert_eq!(plan(&state).as_deref(), Some("professional"));
    state.invoices[0].amount = 0;
    assert_eq!(plan(&state), None);
}

#[test]
fn an_order_is_dated_no_later_than_its_invoice() {
    let record = Record { orders: vec![of_checkout("cs_1")], ..record() };
    let mut state = paid("active");
    state.checkout_sessions = vec![complete("cs_1", Some("in_1"))];
    let after = apply(record.clone(), &settle_at(&record, &state, NOW), at(NOW));
    let created: &Invoice = &state.invoices[0];
    assert_eq!(after.orders[0].created_at, created.created);
    assert_eq!(created.created, at(PERIOD_END - MONTH));
}
