//! Credit notes and the customer's balance.
//!
//! <https://docs.stripe.com/api/credit_notes/create>: a note first lowers the amount due of an
//! invoice. The rest must be refunded, credited to the balance, or paid back outside of Stripe.
//! <https://docs.stripe.com/billing/customer/balance>: the balance is applied to the next invoice
//! that is finalized.

use licentia_sandbox::{Card, CreditNote};

use crate::harness::Stripe;

/// Returns a subscription with a declined card and its open renewal invoice.
async fn unpaid_renewal(stripe: &Stripe) -> (String, String) {
    let (customer, subscription) = stripe.subscriber().await;
    stripe.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    stripe.sandbox.advance_days(31);
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.status(&invoice), "open");
    (subscription, invoice)
}

#[tokio::test]
async fn stripe_26_a_note_on_a_paid_invoice_refunds_credits_and_is_recorded() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    let (invoice, intent) = stripe.payment(&subscription).await;
    let note = CreditNote { amount: 3000, refund: 1000, balance: 1500, out_of_band: 500 };
    let note = stripe.sandbox.credit(&invoice, note).unwrap();
    let note = stripe.get(&format!("/v1/credit_notes/{note}")).await.body;
    assert_eq!(note["type"], "post_payment");
    assert_eq!(
        (&note["pre_payment_amount"], &note["post_payment_amount"]),
        (&0.into(), &3000.into())
    );
    assert_eq!(note["out_of_band_amount"], 500);
    assert_eq!(note["refunds"][0]["amount_refunded"], 1000);
    let body = stripe.sandbox.object(&invoice);
    assert_eq!(body["status"], "paid");
    assert_eq!((&body["total"], &body["amount_paid"]), (&4900.into(), &4900.into()));
    assert_eq!(body["post_payment_credit_notes_amount"], 3000);
    let charge = stripe.sandbox.object(&intent)["latest_charge"].clone();
    assert_eq!(stripe.sandbox.object(charge.as_str().unwrap())["amount_refunded"], 1000);
    assert_eq!(stripe.sandbox.object(&customer)["balance"], -1500);
    let transaction = note["customer_balance_transaction"].as_str().unwrap();
    assert_eq!(stripe.sandbox.object(transaction)["type"], "credit_note");
    assert_eq!(stripe.sandbox.events("credit_note.created").len(), 1);

    // The balance lowers the next invoice, and the rest of it is charged.
    stripe.sandbox.advance_days(31);
    let (renewal, intent) = stripe.payment(&subscription).await;
    let body = stripe.sandbox.object(&renewal);
    assert_eq!((&body["starting_balance"], &body["ending_balance"]), (&(-1500).into(), &0.into()));
    assert_eq!((&body["total"], &body["amount_due"]), (&4900.into(), &3400.into()));
    assert_eq!((&body["status"], &body["amount_paid"]), (&"paid".into(), &3400.into()));
    assert_eq!(stripe.sandbox.object(&intent)["amount"], 3400);
    assert_eq!(stripe.sandbox.object(&customer)["balance"], 0);
}

#[tokio::test]
async fn stripe_26_the_api_refuses_a_note_whose_parts_do_not_add_up() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    let (invoice, _) = stripe.payment(&subscription).await;
    for wrong in ["amount=4900", "amount=4900&refund_amount=4000", "amount=5000&refund_amount=5000"]
    {
        let answer = stripe.post("/v1/credit_notes", &format!("invoice={invoice}&{wrong}")).await;
        assert_eq!(
            (answer.status, answer.error("type")),
            (400, "invalid_request_error"),
            "{wrong}"
        );
    }
    let form = format!("invoice={invoice}&amount=4900&refund_amount=4900&reason=order_change");
    let note = stripe.post("/v1/credit_notes", &form).await.id();
    for by in [format!("invoice={invoice}"), format!("customer={customer}")] {
        assert_eq!(stripe.get(&format!("/v1/credit_notes?{by}")).await.ids(), [note.as_str()]);
    }
    let again = stripe.post("/v1/credit_notes", &form).await;
    assert_eq!(again.status, 400, "all of it is credited");
    let voided = stripe.post(&format!("/v1/credit_notes/{note}/void"), "").await;
    assert_eq!(voided.status, 400, "the invoice is paid");
}

#[tokio::test]
async fn stripe_26_a_note_can_include_an_existing_refund() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    let (invoice, intent) = stripe.payment(&subscription).await;
    let refund = stripe.sandbox.refund(&intent, Some(900)).unwrap();
    let form = format!("invoice={invoice}&amount=900&refunds[0][refund]={refund}");
    let note = stripe.post("/v1/credit_notes", &form).await;
    assert_eq!(note.body["refunds"][0]["refund"], refund.as_str());
    assert_eq!(stripe.sandbox.events("refund.created").len(), 1);
}

#[tokio::test]
async fn stripe_26_a_note_on_an_open_invoice_lowers_the_amount_due() {
    let stripe = Stripe::start().await;
    let (subscription, invoice) = unpaid_renewal(&stripe).await;
    let note = CreditNote { amount: 900, ..CreditNote::default() };
    let note = stripe.sandbox.credit(&invoice, note).unwrap();
    assert_eq!(stripe.sandbox.object(&note)["type"], "pre_payment");
    let body = stripe.sandbox.object(&invoice);
    assert_eq!((&body["amount_due"], &body["amount_remaining"]), (&4000.into(), &4000.into()));
    assert_eq!((&body["total"], &body["status"]), (&4900.into(), &"open".into()));
    assert_eq!(body["pre_payment_credit_notes_amount"], 900);
    let (_, intent) = stripe.payment(&subscription).await;
    assert_eq!(stripe.sandbox.object(&intent)["amount"], 4000);
    stripe.sandbox.void_credit_note(&note).unwrap();
    assert_eq!(stripe.sandbox.object(&invoice)["amount_due"], 4900);
    assert_eq!(stripe.status(&note), "void");
    assert!(stripe.sandbox.void_credit_note(&note).is_err());
}

#[tokio::test]
async fn stripe_25_an_open_invoice_that_is_credited_in_full_is_paid_without_money() {
    let stripe = Stripe::start().await;
    let (subscription, invoice) = unpaid_renewal(&stripe).await;
    assert_eq!(stripe.status(&subscription), "past_due");
    let note = CreditNote { amount: 4900, ..CreditNote::default() };
    stripe.sandbox.credit(&invoice, note).unwrap();
    let body = stripe.sandbox.object(&invoice);
    assert_eq!((&body["status"], &body["amount_paid"]), (&"paid".into(), &0.into()));
    assert_eq!((&body["amount_due"], &body["amount_remaining"]), (&0.into(), &0.into()));
    assert_eq!(body["pre_payment_credit_notes_amount"], body["total"]);
    assert_eq!(stripe.status(&subscription), "active");
    let (_, intent) = stripe.payment(&subscription).await;
    assert_eq!(stripe.status(&intent), "canceled");
}

#[tokio::test]
async fn stripe_26_a_note_on_a_partly_paid_invoice_is_mixed() {
    let stripe = Stripe::start().await;
    let (_, invoice) = unpaid_renewal(&stripe).await;
    stripe.sandbox.pay_part(&invoice, 4000, Card::Paid).unwrap();
    let note = CreditNote { amount: 1900, refund: 1000, ..CreditNote::default() };
    let note = stripe.sandbox.credit(&invoice, note).unwrap();
    let note = stripe.sandbox.object(&note);
    assert_eq!(note["type"], "mixed");
    assert_eq!(
        (&note["pre_payment_amount"], &note["post_payment_amount"]),
        (&900.into(), &1000.into())
    );
    assert_eq!(stripe.status(&invoice), "paid");
    assert_eq!(stripe.sandbox.object(&invoice)["amount_paid"], 4000);
}

#[tokio::test]
async fn stripe_36_a_balance_that_covers_an_invoice_pays_it_without_a_payment() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    let path = format!("/v1/customers/{customer}/balance_transactions");
    let transaction = stripe.post(&path, "amount=-6000&currency=usd").await;
    assert_eq!(transaction.body["ending_balance"], -6000);
    stripe.sandbox.advance_days(31);
    let (invoice, intent) = stripe.payment(&subscription).await;
    assert_eq!(intent, "", "nothing was due");
    let body = stripe.sandbox.object(&invoice);
    assert_eq!((&body["status"], &body["amount_due"]), (&"paid".into(), &0.into()));
    assert_eq!((&body["amount_paid"], &body["total"]), (&0.into(), &4900.into()));
    assert_eq!(body["ending_balance"], -1100);
    assert_eq!(stripe.sandbox.object(&customer)["balance"], -1100);
    let kinds = stripe.get(&path).await.body;
    assert_eq!(kinds["data"][0]["type"], "applied_to_invoice");
    assert_eq!(kinds["data"][0]["invoice"], invoice.as_str());
}

#[tokio::test]
async fn stripe_36_a_voided_invoice_returns_the_balance() {
    // https://docs.stripe.com/changelog/2019-12-03/customer-balances-returned-voided-invoices
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    stripe.sandbox.adjust_balance(&customer, -1000).unwrap();
    stripe.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    stripe.sandbox.advance_days(31);
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.sandbox.object(&invoice)["amount_due"], 3900);
    assert_eq!(stripe.sandbox.object(&customer)["balance"], 0);
    stripe.sandbox.void_invoice(&invoice).unwrap();
    assert_eq!(stripe.sandbox.object(&customer)["balance"], -1000);
}
