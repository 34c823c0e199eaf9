//! Changes of a subscription that wait for their payment at Stripe: how they are completed, given
//! up or replaced.

use licentia::domain::operator::audit::OwnedActor;
use licentia::domain::sale::change::ChangeRequest;
use licentia::error::Code;
use licentia::flows::operator::support;
use licentia::flows::sale::change::{self, CancelAt};
use licentia_sandbox::{ApiFault, Card, Times};
use serde_json::{Value, json};

use crate::changes::must_be_outdated;
use crate::harness::subscriber::{CANCEL, CHANGE, RESUME, Subscriber};

#[tokio::test]
async fn a_declined_card_grants_nothing_higher_and_another_one_completes_it_stripe_14() {
    let own = Subscriber::with_five_seats().await;
    own.shop.sandbox.replace_card(&own.customer, Card::DeclinedLater).unwrap();
    let wanted = json!({ "quantity": 8, "addons": ["pdf"] });
    let preview = own.preview(&wanted).await;
    let refused = own.change_by(&wanted, &preview).await;
    assert_eq!((refused.status, refused.text("/code")), (402, "payment_failed"));
    let invoice = own.newest_invoice();
    assert_eq!(refused.body["payment_url"], invoice["hosted_invoice_url"]);
    assert_eq!(own.seats().await, 5);
    assert!(!own.has_pdf().await);
    let subscription = own.shop.subscription(&own.ada).await;
    assert_eq!(
        (&subscription["quantity"], &subscription["payment_pending"]),
        (&json!(5), &json!(true))
    );
    // The same request has the same result, and charges nothing else.
    let repeated = own.change_by(&wanted, &preview).await;
    assert_eq!((repeated.status, repeated.text("/code")), (402, "payment_failed"));
    assert_eq!(own.newest_invoice()["id"], invoice["id"]);

    let id = invoice["id"].as_str().unwrap();
    own.shop.sandbox.pay_invoice_with(id, Card::Paid).unwrap();
    assert_eq!(own.seats().await, 8);
    assert!(own.has_pdf().await);
    let subscription = own.shop.subscription(&own.ada).await;
    assert_eq!(
        (&subscription["quantity"], &subscription["payment_pending"]),
        (&json!(8), &json!(false))
    );
    assert_eq!(own.change_by(&wanted, &preview).await.status, 200, "it is done");
}

#[tokio::test]
async fn three_d_secure_completes_a_change_stripe_14() {
    let own = Subscriber::with_five_seats().await;
    own.shop.sandbox.replace_card(&own.customer, Card::Authenticate).unwrap();
    let refused = own.change(&json!({ "quantity": 8 })).await;
    assert_eq!((refused.status, refused.text("/code")), (402, "payment_action_required"));
    assert!(refused.body["payment_url"].is_string(), "{refused:?}");
    assert_eq!(own.seats().await, 5);
    let invoice = own.newest_invoice()["id"].as_str().unwrap().to_owned();
    let intent = own.shop.sandbox.payment_intent(&invoice).unwrap();
    own.shop.sandbox.authenticate(&intent, true).unwrap();
    assert_eq!(own.seats().await, 8);
}

#[tokio::test]
async fn an_abandoned_change_leaves_everything_as_it_was() {
    let own = Subscriber::with_five_seats().await;
    own.shop.sandbox.replace_card(&own.customer, Card::DeclinedLater).unwrap();
    let wanted = json!({ "quantity": 8 });
    let preview = own.preview(&wanted).await;
    assert_eq!(own.change_by(&wanted, &preview).await.status, 402);
    own.shop.settled().await;
    own.shop.sandbox.advance_days(1);
    assert_eq!(own.seats().await, 5);
    let subscription = own.shop.subscription(&own.ada).await;
    assert_eq!(
        (&subscription["quantity"], &subscription["payment_pending"]),
        (&json!(5), &json!(false))
    );
    assert_eq!(own.newest_invoice()["status"], "void");
    must_be_outdated(&own.change_by(&wanted, &preview).await, "abandoned");
}

#[tokio::test]
async fn a_change_to_what_is_there_gives_up_one_that_waits_for_its_payment() {
    let own = Subscriber::with_five_seats().await;
    own.shop.sandbox.replace_card(&own.customer, Card::DeclinedLater).unwrap();
    assert_eq!(own.change(&json!({ "quantity": 8 })).await.status, 402);
    let given_up = own.newest_invoice()["id"].as_str().unwrap().to_owned();
    let wanted = json!({ "quantity": 5 });
    let preview = own.preview(&wanted).await;
    assert_eq!(preview["due_now"], 0);
    let answer = own.change_by(&wanted, &preview).await;
    assert_eq!(
        (answer.status, &answer.body["payment_pending"]),
        (200, &json!(false)),
        "{answer:?}"
    );
    assert_eq!(own.shop.sandbox.object(&given_up)["status"], "void", "it can no longer be paid");
    assert_eq!(own.seats().await, 5);
}

#[tokio::test]
async fn a_cancellation_gives_up_a_change_that_waits_for_its_payment_stripe_12() {
    for at in ["period_end", "now"] {
        let own = Subscriber::with_five_seats().await;
        let end = own.shop.subscription(&own.ada).await["current_period_end"].clone();
        own.shop.sandbox.replace_card(&own.customer, Card::Authenticate).unwrap();
        assert_eq!(own.change(&json!({ "interval": "year" })).await.status, 402);
        let given_up = own.newest_invoice()["id"].as_str().unwrap().to_owned();
        let canceled = own.ada.client.post(CANCEL, &json!({ "at": at })).await;
        assert_eq!(canceled.status, 200, "{canceled:?}");
        assert_eq!(canceled.body["payment_pending"], false, "{at}");
        assert_eq!(own.shop.sandbox.object(&given_up)["status"], "void", "{at}");
        if at == "period_end" {
            assert_eq!(canceled.body["cancel_at"], end);
            assert_eq!(own.seats().await, 5);
        }
    }
}

#[tokio::test]
async fn a_year_that_is_paid_after_its_end_was_scheduled_is_reported_stripe_12() {
    let own = Subscriber::with_five_seats().await;
    own.shop.sandbox.replace_card(&own.customer, Card::Authenticate).unwrap();
    assert_eq!(own.change(&json!({ "interval": "year" })).await.status, 402);
    let invoice = own.newest_invoice()["id"].as_str().unwrap().to_owned();
    // Canceled in the portal, the change stays payable.
    own.shop.sandbox.cancel(&own.subscription, true).unwrap();
    let intent = own.shop.sandbox.payment_intent(&invoice).unwrap();
    own.shop.sandbox.authenticate(&intent, true).unwrap();
    own.shop.settled().await;
    let report = own.shop.sync_all().await;
    assert!(report.alerts[0].alerts[0].contains("refund the rest"), "{report:?}");
    assert!(report.alerts[0].needs_action);
    let resumed = own.ada.client.post(RESUME, &Value::Null).await;
    assert_eq!(resumed.status, 200, "{resumed:?}");
    own.shop.settled().await;
    assert_eq!(own.shop.sync_all().await.alerts.len(), 0, "the year is used in full");
}

#[tokio::test]
async fn a_deleted_account_cannot_pay_a_change_that_waited() {
    let own = Subscriber::with(json!({ "plan": "team", "quantity": 5 })).await;
    let first = own.newest_invoice()["id"].as_str().unwrap().to_owned();
    own.shop.sandbox.replace_card(&own.customer, Card::Authenticate).unwrap();
    assert_eq!(own.change(&json!({ "quantity": 8 })).await.status, 402);
    let waiting = own.newest_invoice()["id"].as_str().unwrap().to_owned();
    // The subscription has a newer invoice, for example of a vendor's own charge.
    let newer = json!({ "latest_invoice": first });
    own.shop.sandbox.edit(&own.subscription, newer, "customer.subscription.updated").unwrap();
    assert_eq!(own.ada.client.delete("/api/customers/me").await.status, 204);
    assert_eq!(own.shop.sandbox.object(&waiting)["status"], "void");
    assert_eq!(own.shop.sandbox.object(&first)["status"], "paid");
}

#[tokio::test]
async fn a_change_replaces_one_that_waits_for_its_payment() {
    let own = Subscriber::with_five_seats().await;
    own.shop.sandbox.replace_card(&own.customer, Card::DeclinedLater).unwrap();
    assert_eq!(own.change(&json!({ "quantity": 8 })).await.status, 402);
    let abandoned = own.newest_invoice()["id"].as_str().unwrap().to_owned();
    own.shop.sandbox.replace_card(&own.customer, Card::Paid).unwrap();
    let wanted = json!({ "quantity": 6 });
    let preview = own.preview(&wanted).await;
    let answer = own.change_by(&wanted, &preview).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(own.shop.sandbox.object(&abandoned)["status"], "void");
    assert_eq!(own.newest_invoice()["amount_due"], preview["due_now"]);
    assert_eq!(own.seats().await, 6);
}

/// Returns a customer whose change waits for its payment, and the id of its invoice.
async fn waiting() -> (Subscriber, String) {
    let own = Subscriber::with_five_seats().await;
    own.shop.sandbox.replace_card(&own.customer, Card::Authenticate).unwrap();
    assert_eq!(own.change(&json!({ "quantity": 8 })).await.status, 402);
    let invoice = own.newest_invoice()["id"].as_str().unwrap().to_owned();
    (own, invoice)
}

#[tokio::test]
async fn a_key_that_may_not_void_an_invoice_gives_up_no_change_and_ends_nothing() {
    let (mut own, invoice) = waiting().await;
    own.shop.settled().await;
    // A deletion needs the password.
    let mut ada = own.ada.clone();
    own.shop.log_in(&mut ada).await;
    own.ada = ada;
    let changed = async |quantity: u32| {
        let wanted = json!({ "quantity": quantity });
        let mut request = wanted.clone();
        request["preview_id"] = own.preview(&wanted).await["preview_id"].clone();
        request
    };
    let (present, another) = (changed(5).await, changed(6).await);
    let client = &own.ada.client;
    // Previews write invoices too.
    let void = "POST /v1/invoices/in_";
    own.shop.sandbox.faults().api_call(ApiFault::Forbidden, void, Times::Always);
    for (what, refused) in [
        ("an end with the period", client.post(CANCEL, &json!({ "at": "period_end" })).await),
        ("an end at once", client.post(CANCEL, &json!({ "at": "now" })).await),
        ("a change to what is there", client.post(CHANGE, &present).await),
        ("another change", client.post(CHANGE, &another).await),
        ("the deletion", client.delete("/api/customers/me").await),
    ] {
        assert_eq!(refused.problem(), (502, "billing_refused"), "{what}: {refused:?}");
    }
    assert_eq!(own.shop.sandbox.object(&invoice)["status"], "open");
    let subscription = own.shop.sandbox.object(&own.subscription);
    assert_eq!(subscription["status"], "active");
    assert_eq!(subscription["cancel_at_period_end"], false);
    assert_eq!(own.seats().await, 5);
    own.shop.sandbox.faults().clear();
    assert_eq!(client.delete("/api/customers/me").await.status, 204);
    assert_eq!(own.shop.sandbox.object(&invoice)["status"], "void");
}

/// A request that gives up a change that waits.
#[derive(Clone, Copy, Debug)]
enum GivingUp {
    End(CancelAt),
    Change,
    Deletion,
}

#[tokio::test]
async fn a_change_that_is_paid_at_the_same_moment_stays_unless_the_account_is_deleted() {
    use GivingUp::{Change, Deletion, End};
    for what in [End(CancelAt::PeriodEnd), End(CancelAt::Now), Change, Deletion] {
        let (own, invoice) = waiting().await;
        own.shop.settled().await;
        let intent = own.shop.sandbox.payment_intent(&invoice).unwrap();
        let present = own.preview(&json!({ "quantity": 5 })).await;
        let preview_id = present["preview_id"].as_str().unwrap().to_owned();
        let id = own.ada.customer_id.parse().unwrap();
        // Stripe answers that the invoice is open. Before that arrives, it is paid.
        let (slow, mut answer) = own.shop.server_with_held_answer("/v1/invoices").await;
        let given_up = tokio::spawn(async move {
            match what {
                End(at) => change::cancel(&slow, &id, at).await.map(drop),
                Change => {
                    let request = ChangeRequest { quantity: Some(5), ..ChangeRequest::default() };
                    change::change(&slow, &id, request, &preview_id).await.map(drop)
                }
                Deletion => support::delete(&slow, OwnedActor::Operator, &id).await,
            }
        });
        answer.given().await;
        own.shop.sandbox.authenticate(&intent, true).unwrap();
        answer.release();
        let given_up = given_up.await.unwrap().map_err(|error| error.code());
        assert_eq!(own.shop.sandbox.object(&invoice)["status"], "paid", "{what:?}");
        let subscription = own.shop.sandbox.object(&own.subscription);
        if matches!(what, Deletion) {
            assert_eq!((given_up, &subscription["status"]), (Ok(()), &json!("canceled")));
        } else {
            assert_eq!(given_up, Err(Code::Busy), "{what:?}");
            assert_eq!(subscription["status"], "active", "{what:?}");
            assert_eq!(subscription["cancel_at_period_end"], false, "{what:?}");
            assert_eq!(own.seats().await, 8, "{what:?}");
        }
    }
}
