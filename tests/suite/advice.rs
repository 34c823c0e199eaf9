//! The advice about Stripe customers who cannot be recognized with certainty: each option is
//! followed exactly, with the printed command, and has the described effect. The backfill itself is
//! in `backfill`.

use licentia_sandbox::Card;

use crate::harness::database::{execute, texts};
use crate::harness::process::Done;
use crate::harness::vendor::Vendor;

/// Returns the commands in a text, each as its arguments.
fn commands(text: &str) -> Vec<Vec<String>> {
    let quoted = text.split('`').skip(1).step_by(2);
    let ours = quoted.filter_map(|command| command.strip_prefix("licentia "));
    ours.map(|command| command.split_whitespace().map(str::to_owned).collect()).collect()
}

impl Vendor {
    /// Runs the only command in the advice about a Stripe customer.
    async fn follow(&self, told: &Done, stripe_id: &str) -> Done {
        let [command] = self.advised(told, stripe_id).try_into().unwrap();
        self.run_words(&command).await
    }

    /// Returns the commands in the advice about a Stripe customer.
    fn advised(&self, told: &Done, stripe_id: &str) -> Vec<Vec<String>> {
        let about = format!("not linked: {stripe_id}");
        let lines: Vec<_> = told.out.lines().filter(|line| line.starts_with(&about)).collect();
        assert_eq!(lines.len(), 1, "{told:?}");
        commands(lines[0])
    }

    async fn run_words(&self, words: &[String]) -> Done {
        self.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    async fn name(&self, stripe_id: &str, customer_id: &str) {
        let form = [("metadata[customer_id]", customer_id)];
        self.at_stripe(&format!("customers/{stripe_id}"), &form).await;
    }

    /// Ends a Stripe customer's subscriptions.
    async fn end(&self, stripe_id: &str) {
        for subscription in self.sandbox.events("customer.subscription.created") {
            let event = self.sandbox.object(&subscription);
            if event["data"]["object"]["customer"] == stripe_id {
                let id = event["data"]["object"]["id"].as_str().unwrap();
                self.sandbox.cancel_now(id).unwrap();
            }
        }
    }

    async fn ask(&self, query: &str) -> Vec<String> {
        let store = self.database.open().await;
        let found = texts(&store, query).await;
        store.close().await;
        found
    }

    async fn id_of(&self, email: &str) -> String {
        let query = format!("SELECT customer_id FROM customers WHERE email = '{email}'");
        self.ask(&query).await.remove(0)
    }

    /// Asserts which account is linked to which Stripe customer, and that its license works.
    async fn must_be_licensed(&self, expected: &[(&str, &str)]) {
        let query = "SELECT c.email || ' ' || c.stripe_customer_id FROM customers c
             JOIN licenses l ON l.customer_id = c.customer_id
             WHERE l.superseded_at IS NULL AND l.revoked_at IS NULL AND l.plan = 'professional'
             ORDER BY 1";
        let expected = expected.iter().map(|(email, stripe_id)| format!("{email} {stripe_id}"));
        let mut expected: Vec<_> = expected.collect();
        expected.sort();
        assert_eq!(self.ask(query).await, expected);
    }

    /// Asserts that no advice is left.
    async fn must_be_done(&self) {
        let done = self.backfill(&[]).await;
        assert_eq!(done.code, 0, "{done:?}");
        let done = self.reconcile(&[]).await;
        assert_eq!(done.code, 0, "{done:?}");
    }

    async fn left(&self, reason: &str) -> Done {
        let json = self.backfill(&["--json", "--dry-run"]).await;
        let told: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        let left = told["left"].as_array().unwrap();
        assert!(left.iter().any(|left| left["reason"] == reason), "no {reason}: {json:?}");
        let told = self.backfill(&[]).await;
        assert_eq!(told.code, 1, "{told:?}");
        told
    }
}

const ADA: &str = "email,email_verified\nada@example.com,yes\n";

/// Returns a linked, paying customer with a second Stripe customer from the dashboard.
async fn taken(is_named: bool) -> (Vendor, String, String) {
    let vendor = Vendor::new().await;
    vendor.import(ADA).await;
    let old = vendor.buyer("ada@example.com").await;
    assert_eq!(vendor.backfill(&[]).await.code, 0);
    let new = vendor.buyer("ada@example.com").await;
    if is_named {
        vendor.name(&new, &vendor.id_of("ada@example.com").await).await;
    }
    (vendor, old, new)
}

#[tokio::test]
async fn stripe_30_one_person_with_two_stripe_customers_keeps_the_new_one() {
    for is_named in [true, false] {
        let (vendor, old, new) = taken(is_named).await;
        let told = vendor.left("taken").await;
        // Too early: the operator would lose sight of a customer who pays twice.
        let early = vendor.follow(&told, &new).await;
        assert_eq!(early.code, 1, "{early:?}");
        assert!(early.err.contains(&format!("{old}, which has a live subscription; end that")));
        vendor.must_be_licensed(&[("ada@example.com", &old)]).await;

        vendor.end(&old).await;
        let done = vendor.follow(&told, &new).await;
        assert_eq!(done.code, 0, "{done:?}");
        vendor.must_be_licensed(&[("ada@example.com", &new)]).await;
        vendor.must_be_done().await;
        vendor.must_be_licensed(&[("ada@example.com", &new)]).await;
        let id = vendor.id_of("ada@example.com").await;
        assert_eq!(vendor.sandbox.object(&new)["metadata"]["customer_id"], id);
        assert!(vendor.sandbox.object(&old)["metadata"]["customer_id"].is_null());
    }
}

#[tokio::test]
async fn stripe_30_one_person_with_two_stripe_customers_keeps_the_old_one() {
    let (vendor, old, new) = taken(true).await;
    vendor.left("taken").await;
    vendor.end(&new).await;
    vendor.must_be_done().await;
    vendor.must_be_licensed(&[("ada@example.com", &old)]).await;
}

#[tokio::test]
async fn stripe_30_two_people_with_the_same_address_get_two_accounts() {
    for is_named in [true, false] {
        let (vendor, old, new) = taken(is_named).await;
        vendor.left("taken").await;
        if is_named {
            vendor.name(&new, "").await;
        }
        vendor.import(&format!("email,stripe_customer_id\nbob@example.com,{new}\n")).await;
        vendor.must_be_done().await;
        vendor.must_be_licensed(&[("ada@example.com", &old), ("bob@example.com", &new)]).await;
    }
}

#[tokio::test]
async fn stripe_30_a_link_that_contradicts_the_metadata_is_resolved() {
    let vendor = Vendor::new().await;
    vendor.import("email\nada@example.com\nbob@example.com\n").await;
    let ada = vendor.buyer("ada@example.com").await;
    assert_eq!(vendor.backfill(&[]).await.code, 0);
    let (linked, named) =
        (vendor.id_of("ada@example.com").await, vendor.id_of("bob@example.com").await);
    vendor.name(&ada, &named).await;
    let told = vendor.left("contradiction").await;
    let advice = format!("set its `metadata.customer_id` to {linked}");
    assert!(told.out.contains(&advice), "{told:?}");
    // The link is not moved.
    let refused = vendor.run(&["stripe", "claim", &ada, "--to", &named]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("is not moved to another customer"), "{refused:?}");
    vendor.must_be_licensed(&[("ada@example.com", &ada)]).await;

    vendor.name(&ada, &linked).await;
    vendor.must_be_done().await;
    vendor.must_be_licensed(&[("ada@example.com", &ada)]).await;
    // The other option.
    vendor.name(&ada, &named).await;
    vendor.end(&ada).await;
    assert_eq!(vendor.backfill(&[]).await.code, 0);
}

#[tokio::test]
async fn stripe_30_an_account_that_two_stripe_customers_name_is_resolved() {
    let vendor = Vendor::new().await;
    vendor.import(ADA).await;
    let (right, wrong) = (vendor.buyer("ada@x.example").await, vendor.buyer("eve@x.example").await);
    let id = vendor.id_of("ada@example.com").await;
    for stripe_id in [&right, &wrong] {
        vendor.name(stripe_id, &id).await;
    }
    let told = vendor.left("named_twice").await;
    assert!(told.out.contains("Remove it from the wrong one, and run this again"), "{told:?}");
    vendor.name(&wrong, "").await;
    // The other Stripe customer has no account, which is reported too.
    let told = vendor.left("no_account").await;
    vendor.must_be_licensed(&[("ada@example.com", &right)]).await;
    let create = vendor.advised(&told, &wrong).remove(0);
    let done = vendor.run_words(&create).await;
    assert_eq!(done.code, 0, "{done:?}");
    vendor.must_be_done().await;
    vendor.must_be_licensed(&[("ada@example.com", &right), ("eve@x.example", &wrong)]).await;
}

#[tokio::test]
async fn stripe_30_metadata_that_names_an_unknown_account_is_resolved() {
    let vendor = Vendor::new().await;
    let ada = vendor.buyer("ada@example.com").await;
    vendor.name(&ada, "cust_0123456789abcdef0123456789abcdef").await;
    let told = vendor.left("not_here").await;
    vendor.name(&ada, "").await;
    let done = vendor.follow(&told, &ada).await;
    assert_eq!(done.code, 0, "{done:?}");
    vendor.must_be_done().await;
    vendor.must_be_licensed(&[("ada@example.com", &ada)]).await;
}

/// A time after all purchases of a test.
const LATER: i64 = 4_000_000_000;

/// Returns a vendor with a deleted account whose subscription continues.
async fn deleted() -> (Vendor, String) {
    let vendor = Vendor::new().await;
    vendor.import(ADA).await;
    let ada = vendor.buyer("ada@example.com").await;
    assert_eq!(vendor.backfill(&[]).await.code, 0);
    let id = vendor.id_of("ada@example.com").await;
    let store = vendor.database.open().await;
    execute(&store, "DELETE FROM users").await.unwrap();
    let entry = format!(
        "INSERT INTO audit_log (audit_id, at, actor, action, customer_id, detail)
         VALUES ('a', {LATER}, 'customer', 'customer.deleted', '{id}', '{{}}')"
    );
    execute(&store, &entry).await.unwrap();
    store.close().await;
    (vendor, ada)
}

#[tokio::test]
async fn stripe_30_the_subscription_of_a_deleted_account_is_ended() {
    let (vendor, ada) = deleted().await;
    let told = vendor.left("deleted").await;
    assert!(told.out.contains("Cancel its subscription at Stripe"), "{told:?}");
    vendor.end(&ada).await;
    vendor.must_be_done().await;
    vendor.must_be_licensed(&[]).await;
}

#[tokio::test]
async fn stripe_30_the_subscription_of_a_deleted_account_moves_to_the_new_account() {
    let (vendor, ada) = deleted().await;
    vendor.import("email\nada@new.example\n").await;
    let told = vendor.left("deleted").await;
    let mut command = vendor.advised(&told, &ada).remove(0);
    assert_eq!(command.last().unwrap(), "--to");
    command.push(vendor.id_of("ada@new.example").await);
    let done = vendor.run_words(&command).await;
    assert_eq!(done.code, 0, "{done:?}");
    vendor.must_be_done().await;
    vendor.must_be_licensed(&[("ada@new.example", &ada)]).await;
}

#[tokio::test]
async fn stripe_30_several_stripe_customers_with_the_address_of_an_account_are_resolved() {
    let vendor = Vendor::new().await;
    vendor.import(ADA).await;
    let (right, other) =
        (vendor.buyer("ada@example.com").await, vendor.buyer("ada@example.com").await);
    let told = vendor.left("shared_email").await;
    let done = vendor.follow(&told, &right).await;
    assert_eq!(done.code, 0, "{done:?}");
    vendor.must_be_licensed(&[("ada@example.com", &right)]).await;
    // The other Stripe customer is reported as another one of the same person.
    vendor.left("taken").await;
    vendor.end(&other).await;
    vendor.must_be_done().await;
    vendor.must_be_licensed(&[("ada@example.com", &right)]).await;
}

#[tokio::test]
async fn stripe_30_several_stripe_customers_with_an_unknown_address_are_resolved() {
    let vendor = Vendor::new().await;
    let (one, other) = (vendor.buyer("a@example.com").await, vendor.buyer("a@example.com").await);
    vendor.left("shared_email").await;
    let rows = format!("ada@example.com,{one}\nbob@example.com,{other}\n");
    vendor.import(&format!("email,stripe_customer_id\n{rows}")).await;
    vendor.must_be_done().await;
    vendor.must_be_licensed(&[("ada@example.com", &one), ("bob@example.com", &other)]).await;
}

#[tokio::test]
async fn stripe_30_a_stripe_customer_with_an_unverified_address_is_resolved() {
    for is_one_person in [true, false] {
        let vendor = Vendor::new().await;
        vendor.import("email,email_verified\nada@example.com,no\n").await;
        let ada = vendor.buyer("ada@example.com").await;
        let told = vendor.left("unverified_email").await;
        vendor.must_be_licensed(&[]).await;
        if is_one_person {
            let done = vendor.follow(&told, &ada).await;
            assert_eq!(done.code, 0, "{done:?}");
            vendor.must_be_done().await;
            vendor.must_be_licensed(&[("ada@example.com", &ada)]).await;
        } else {
            vendor.import(&format!("email,stripe_customer_id\nada@new.example,{ada}\n")).await;
            vendor.must_be_done().await;
            vendor.must_be_licensed(&[("ada@new.example", &ada)]).await;
        }
    }
}

#[tokio::test]
async fn stripe_30_a_stripe_customer_without_an_address_is_resolved() {
    let vendor = Vendor::new().await;
    let ada = vendor.buyer("not an address").await;
    let told = vendor.left("no_email").await;
    assert!(told.out.contains("Set one at Stripe, and run this again"), "{told:?}");
    vendor.at_stripe(&format!("customers/{ada}"), &[("email", "ada@example.com")]).await;
    let told = vendor.left("no_account").await;
    let [claim, backfill] = vendor.advised(&told, &ada).try_into().unwrap();
    let done = vendor.run_words(&claim).await;
    assert_eq!(done.code, 0, "{done:?}");
    let bob = vendor.buyer("bob@example.com").await;
    let done = vendor.run_words(&backfill).await;
    assert_eq!(done.code, 0, "{done:?}");
    vendor.must_be_done().await;
    vendor.must_be_licensed(&[("ada@example.com", &ada), ("bob@example.com", &bob)]).await;
}

#[tokio::test]
async fn stripe_30_an_interrupted_claim_is_completed_by_the_next_one() {
    let (vendor, old, new) = taken(true).await;
    let told = vendor.left("taken").await;
    vendor.end(&old).await;
    let command = vendor.advised(&told, &new).remove(0);
    let words: Vec<_> = command.iter().map(String::as_str).collect();
    let died = vendor.run_with(&words, &[("FAIL_POINT", "sync.fetched")]).await;
    assert_eq!(died.code, -1, "{died:?}");
    let store = vendor.database.open().await;
    execute(&store, "UPDATE customer_leases SET leased_until = NULL").await.unwrap();
    store.close().await;
    let done = vendor.run_words(&command).await;
    assert_eq!(done.code, 0, "{done:?}");
    vendor.must_be_done().await;
    vendor.must_be_licensed(&[("ada@example.com", &new)]).await;
}

#[tokio::test]
async fn a_claim_of_an_unknown_customer_is_an_error() {
    let vendor = Vendor::new().await;
    let ada = vendor.customer("ada@example.com").await;
    vendor.sandbox.replace_card(&ada, Card::Paid).unwrap();
    let nobody = "cust_0123456789abcdef0123456789abcdef";
    for (words, why) in [
        (vec!["stripe", "claim", "cus_none"], "Stripe has no customer cus_none in this account"),
        (vec!["stripe", "claim", &ada, "--to", nobody], "there is no customer cust_0123"),
    ] {
        let done = vendor.run(&words).await;
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.err.contains(why), "{done:?}");
    }
    let wrong = vendor.run(&["stripe", "claim", "--create"]).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
}
