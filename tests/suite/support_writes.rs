//! Support creates, changes and deletes customers, and links them with Stripe.

use licentia::domain::operator::admin_key::Scope;
use licentia_sandbox::Card;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::process::{licentia, run};
use crate::harness::shop::Shop;
use crate::harness::{BEHIND_A_PROXY, PASSWORD, TestApp};

fn record(customer_id: &str) -> String {
    format!("/api/admin/customers/{customer_id}")
}

#[tokio::test]
async fn a_customer_is_created_and_sets_the_first_password_by_mail() {
    let app = TestApp::start().await;
    let admin = app.admin(Scope::Support).await;
    let new = json!({
        "email": "Ada@Example.com", "email_verified": true, "name": "Ada King",
        "company_name": "Engines", "metadata": { "crm": "4711" },
    });
    let made = admin.post("/api/admin/customers", &new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.text("/customer/email"), "ada@example.com");
    assert_eq!(made.body["metadata"], json!({ "crm": "4711" }));
    assert_eq!(
        (&made.body["license"], &made.body["customer"]["email_verified"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(app.take_mails("ada@example.com").await.len(), 0);
    let again = admin.post("/api/admin/customers", &new).await;
    assert_eq!(again.problem(), (409, "email_taken"));

    let path = record(made.text("/customer_id"));
    assert_eq!(admin.get(&path).await.body, made.body);
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(app.client.post("/api/customers/login", &login).await.status, 401);
    let asked = admin.send(Method::POST, &format!("{path}/password-reset"), None).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let mail = app.take_mail("ada@example.com").await;
    assert!(mail.text.contains("Hello Ada King,"), "{}", mail.text);
    let reset = json!({ "token": mail.token("reset"), "password": PASSWORD });
    assert_eq!(app.client.post("/api/customers/password/reset", &reset).await.status, 200);
    assert_eq!(app.client.post("/api/customers/login", &login).await.status, 200);
}

/// A thief who moved the account twice cannot move it back after support restored it, and the
/// address that support replaced gets no second trial.
#[tokio::test]
async fn after_support_changed_an_address_no_earlier_link_works_security_46() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let signed_up = app.sign_up("ada@example.com").await;
    app.take_mails("ada@example.com").await;
    let me = app.client.with_token(signed_up.text("/access_token"));
    app.change_email(&me, "thief@example.com").await;
    app.change_email(&me, "thief2@example.com").await;
    let mails = app.take_mails("thief@example.com").await;
    let undo =
        mails.iter().find(|mail| mail.subject.contains("was changed")).unwrap().token("undo");

    let admin = app.admin(Scope::Support).await;
    let path = record(signed_up.text("/customer/customer_id"));
    let restored = json!({ "email": "ada@example.com", "email_verified": true });
    assert_eq!(admin.patch(&path, &restored).await.text("/customer/email"), "ada@example.com");
    let undone = app.client.post("/api/customers/email/undo", &json!({ "token": undo })).await;
    assert_eq!(undone.problem(), (422, "invalid_link"));
    let again = app.sign_up("thief2@example.com").await;
    assert_eq!(again.body["license"], Value::Null, "{}", again.text);
    assert_eq!(again.text("/trial_refused"), "trial_used");
    // The customer can change the address again, to one that the account had before.
    app.change_email(&me, "ada.king@example.com").await;
    app.take_mails("ada@example.com").await;
    app.change_email(&me, "ada@example.com").await;
    assert_eq!(me.get("/api/customers/me").await.text("/email"), "ada@example.com");
}

#[tokio::test]
async fn a_new_address_takes_effect_at_once_and_both_addresses_get_a_notice() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let old_link = app.take_mail("ada@example.com").await.token("verify");
    let admin = app.admin(Scope::Support).await;
    let path = record(ada.text("/customer/customer_id"));
    let change = json!({ "email": "king@example.com", "email_verified": true });
    let changed = admin.patch(&path, &change).await;
    assert_eq!(changed.text("/customer/email"), "king@example.com", "{}", changed.text);
    assert_eq!(changed.body["customer"]["email_verified"], true);
    for address in ["ada@example.com", "king@example.com"] {
        let mail = app.take_mail(address).await;
        assert!(mail.subject.contains("was changed"), "{address}: {}", mail.subject);
        if address == "ada@example.com" {
            assert!(!mail.text.contains("king@"), "the old mailbox does not learn the new address");
        }
    }
    // The link to the old address verifies nothing any more.
    let used = app.client.post("/api/customers/verify", &json!({ "token": old_link })).await;
    assert_eq!(used.problem(), (422, "invalid_link"));
    for (email, status) in [("ada@example.com", 401), ("king@example.com", 200)] {
        let login = json!({ "email": email, "password": PASSWORD });
        assert_eq!(app.client.post("/api/customers/login", &login).await.status, status, "{email}");
    }
    // Without a word about it, a new address is not verified.
    let unverified = admin.patch(&path, &json!({ "email": "ada.k@example.com" })).await;
    assert_eq!(unverified.body["customer"]["email_verified"], false);
    let verified = admin.patch(&path, &json!({ "email_verified": true })).await;
    assert_eq!(verified.body["customer"]["email_verified"], true);
    app.sign_up("bob@example.com").await;
    let taken = admin.patch(&path, &json!({ "email": "bob@example.com" })).await;
    assert_eq!(taken.problem(), (409, "email_taken"));
}

#[tokio::test]
async fn names_and_metadata_are_changed_within_their_limits() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Support).await;
    let path = record(ada.text("/customer/customer_id"));
    let change =
        json!({ "name": "Ada", "company_name": "Engines", "metadata": { "a": "1", "b": "" } });
    assert_eq!(admin.patch(&path, &change).await.body["metadata"], json!({ "a": "1", "b": "" }));
    let change = json!({ "name": null, "metadata": { "c": "ü\u{0}" } });
    let changed = admin.patch(&path, &change).await;
    assert_eq!(changed.body["metadata"], json!({ "c": "ü\u{0}" }), "it replaces the kept ones");
    assert_eq!(changed.body["customer"]["name"], Value::Null);
    assert_eq!(changed.text("/customer/company_name"), "Engines");
    // Nothing to change is not a change.
    let before = app.count("audit_log").await;
    let same = admin.patch(&path, &json!({ "company_name": "Engines" })).await;
    assert_eq!((same.status, app.count("audit_log").await), (200, before + 1), "the key's use");

    let keys: serde_json::Map<_, _> = (0..51).map(|n| (n.to_string(), json!(""))).collect();
    for (wrong, problem) in [
        (json!({ "metadata": keys }), (422, "invalid_metadata")),
        (json!({ "metadata": { "k".repeat(41): "" } }), (422, "invalid_metadata")),
        (json!({ "metadata": { "": "" } }), (422, "invalid_metadata")),
        (json!({ "metadata": { "k": "v".repeat(501) } }), (422, "invalid_metadata")),
        (json!({ "metadata": { "k": 1 } }), (400, "invalid_request")),
        (json!({ "metadata": [] }), (400, "invalid_request")),
        (json!({ "email": "ada" }), (422, "invalid_email")),
        (json!({ "name": "\u{202e}" }), (422, "invalid_name")),
        (json!({ "email_verified": "yes" }), (400, "invalid_request")),
        (json!({ "customer_id": "cust_1" }), (400, "invalid_request")),
    ] {
        assert_eq!(admin.patch(&path, &wrong).await.problem(), problem, "{wrong}");
    }
    assert_eq!(admin.get(&path).await.body, changed.body);
    // The texts are for support only.
    let me = app.client.with_token(ada.text("/access_token"));
    assert!(!me.get("/api/customers/me").await.text.contains("metadata"));
}

#[tokio::test]
async fn a_customer_is_logged_out_everywhere() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    let second = app.client.post("/api/customers/login", &login).await;
    let admin = app.admin(Scope::Support).await;
    let path = format!("{}/logout", record(ada.text("/customer/customer_id")));
    let ended = admin.send(Method::POST, &path, None).await;
    assert_eq!(ended.body, json!({ "sessions_ended": 2 }), "{}", ended.text);
    for answer in [&ada, &second] {
        let me = app.client.with_token(answer.text("/access_token"));
        assert_eq!(me.get("/api/customers/me").await.status, 401);
    }
    assert_eq!(app.client.post("/api/customers/login", &login).await.status, 200);
}

#[tokio::test]
async fn an_address_changed_by_support_is_sent_to_stripe_and_a_deletion_ends_the_subscription() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let admin = shop.app.admin(Scope::Admin).await;
    let path = record(&ada.customer_id);
    admin.patch(&path, &json!({ "email": "king@example.com" })).await;
    shop.settled().await;
    let stripe_id = shop.stripe_customer_of(&session);
    assert_eq!(shop.sandbox.object(&stripe_id)["email"], "king@example.com");

    let support = shop.app.admin(Scope::Support).await;
    let refused = support.delete(&path).await;
    assert_eq!(refused.problem(), (403, "insufficient_scope"));
    let deleted = admin.delete(&path).await;
    assert_eq!(deleted.status, 204, "{}", deleted.text);
    let subscription = shop.subscription_of(&session);
    assert_eq!(shop.sandbox.object(&subscription)["status"], "canceled");
    shop.settled().await;
    let mails = shop.mails_about_sales("king@example.com");
    assert!(mails.iter().any(|mail| mail.subject().contains("was deleted")));
    assert_eq!(admin.get(&path).await.problem(), (404, "not_found"));
    assert_eq!(admin.delete(&path).await.problem(), (404, "not_found"));
    assert_eq!(ada.client.get("/api/customers/me").await.status, 401);
}

#[tokio::test]
async fn a_customer_is_linked_relinked_and_unlinked_after_checking_with_stripe() {
    let shop = Shop::open().await;
    let admin = shop.app.admin(Scope::Admin).await;
    let ada = shop.buyer("ada@example.com").await;
    let bob = shop.buyer("bob@example.com").await;
    let link = async |customer: &str, stripe_id: Value| {
        let path = format!("{}/stripe-link", record(customer));
        admin.post(&path, &json!({ "stripe_customer_id": stripe_id })).await
    };
    // A payment with another address, which nobody here can claim.
    let theirs = shop.old_buyer("billing@engines.example", &[]).await;
    let linked = link(&ada.customer_id, json!(theirs)).await;
    assert_eq!(linked.text("/stripe_customer_id"), theirs, "{}", linked.text);
    assert_eq!(linked.text("/license/plan"), "professional");
    let url = format!("https://dashboard.stripe.com/test/customers/{theirs}");
    assert_eq!(linked.text("/stripe_url"), url);
    assert_eq!(shop.license(&ada).await["plan"], "professional");

    for (customer, stripe_id, why) in [
        (&bob.customer_id, json!(theirs), "is linked to"),
        (&bob.customer_id, json!("cus_none"), "Stripe has no customer"),
        (&ada.customer_id, Value::Null, "live subscription"),
    ] {
        let refused = link(customer, stripe_id).await;
        assert_eq!(refused.problem(), (409, "stripe_link_refused"), "{why}");
        assert!(refused.text("/detail").contains(why), "{}", refused.text);
    }
    let other = shop.old_customer("other@engines.example", &[]).await;
    assert_eq!(link(&ada.customer_id, json!(other)).await.problem(), (409, "stripe_link_refused"));

    let subscription = linked.text("/subscription/stripe_subscription_id").to_owned();
    shop.sandbox.cancel_now(&subscription).unwrap();
    shop.settled().await;
    let relinked = link(&ada.customer_id, json!(other)).await;
    assert_eq!(relinked.text("/stripe_customer_id"), other, "{}", relinked.text);
    assert_eq!(relinked.body["subscription"], Value::Null);
    let unlinked = link(&ada.customer_id, Value::Null).await;
    assert_eq!(unlinked.body["stripe_customer_id"], Value::Null, "{}", unlinked.text);
    assert_eq!(link(&ada.customer_id, Value::Null).await.status, 200, "twice does no harm");
    // It is free again.
    assert_eq!(link(&bob.customer_id, json!(other)).await.status, 200);

    let path = format!("{}/stripe-link", record(&ada.customer_id));
    for wrong in
        [json!({}), json!({ "stripe_customer_id": "sub_1" }), json!({ "stripe_customer_id": 7 })]
    {
        assert_eq!(admin.post(&path, &wrong).await.problem(), (400, "invalid_request"), "{wrong}");
    }
    let support = shop.app.admin(Scope::Support).await;
    let refused = support.post(&path, &json!({ "stripe_customer_id": null })).await;
    assert_eq!(refused.problem(), (403, "insufficient_scope"));
}

#[tokio::test]
async fn a_sync_says_what_changed_and_needs_stripe() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let admin = shop.app.admin(Scope::Support).await;
    let path = format!("{}/sync", record(&ada.customer_id));
    let nothing = admin.send(Method::POST, &path, None).await;
    assert_eq!(nothing.body, json!({ "changes": [], "alerts": [], "needs_action": false }));
    // Paid twice, which an operator must end.
    let stripe_id = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&stripe_id, Card::Paid).unwrap();
    let form = [("customer", stripe_id.as_str()), ("items[0][price]", "price_starter_monthly")];
    shop.at_stripe("subscriptions", &form).await;
    shop.settled().await;
    let twice = admin.send(Method::POST, &path, None).await;
    assert_eq!(twice.body["needs_action"], true, "{}", twice.text);
    assert!(twice.text("/alerts/0").contains("several live subscriptions"), "{}", twice.text);

    // A customer who is not at Stripe has nothing to sync.
    let bob = shop.buyer("bob@example.com").await;
    let path = format!("{}/sync", record(&bob.customer_id));
    assert_eq!(admin.send(Method::POST, &path, None).await.body["changes"], json!([]));
}

#[tokio::test]
async fn the_command_line_finds_shows_and_changes_a_customer() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let id = ada.text("/customer/customer_id");
    let licentia = |arguments: &[&str]| {
        let mut command = licentia(app.directory.path());
        let url = app.config.database_url.expose_secret();
        run(command.arg("customer").args(arguments).env("LICENTIA_DATABASE_URL", url))
    };
    let json = |arguments: &[&str]| -> Value {
        let done = licentia(&[arguments, &["--json"]].concat());
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
        serde_json::from_str(&done.out).unwrap()
    };
    assert_eq!(json(&["find", "ada@exam"])["customers"][0]["customer_id"], id);
    assert_eq!(licentia(&["find", "nobody"]).code, 1);
    let admin = app.admin(Scope::Read).await;
    let key = ada.text("/license/license_id");
    for key in [id, "ada@example.com", key, ada.text("/license/token")] {
        let shown = json(&["show", key]);
        assert_eq!(shown["customer"]["email"], "ada@example.com", "{key}");
        let fields =
            |record: &Value| record.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(fields(&shown), fields(&admin.get(&record(id)).await.body));
    }
    assert!(licentia(&["show", id]).out.contains("license          lic_"));
    assert!(licentia(&["why", id]).out.contains("It is the trial of the sign-up"));
    for list in ["timeline", "licenses", "orders", "mails", "events"] {
        assert_eq!(json(&[list, id])["next_after"], Value::Null, "{list}");
        assert_eq!(licentia(&[list, id]).code, 0, "{list}");
    }
    let changed = json(&[
        "change",
        id,
        "--email",
        "king@example.com",
        "--verified",
        "--name",
        "Ada",
        "--metadata",
        "crm=1",
    ]);
    assert_eq!(changed["customer"]["email"], "king@example.com");
    assert_eq!(changed["metadata"], json!({ "crm": "1" }));
    assert_eq!(json(&["change", id, "--name", ""])["customer"]["name"], Value::Null);
    let made = json(&["create", "bob@example.com", "--company", "Engines"]);
    let bob = made["customer_id"].as_str().unwrap();
    assert_eq!(json(&["reset", bob])["requested"], true);
    assert_eq!(json(&["logout", id])["sessions_ended"], 1);
    assert_eq!(licentia(&["delete", bob]).code, 1, "only with --yes");
    assert_eq!(json(&["delete", bob, "--yes"])["deleted"], bob);
    let several = licentia(&["show", "example"]);
    assert_eq!(several.code, 1, "{several:?}");
    for wrong in [&["link", id][..], &["link", id, "sub_1"], &["change", id, "--metadata", "x"]] {
        assert_eq!(licentia(wrong).code, 2, "{wrong:?}");
    }
    let no_stripe = licentia(&["link", id, "cus_1"]);
    assert_eq!(no_stripe.code, 1, "{no_stripe:?}");
}
