//! No request of support or of a customer reads a whole table that grows with the customers. The
//! test sends every request of the OpenAPI document that reads, listens to the statements that they
//! run, and asks the database for the plan of each.

use std::collections::{BTreeMap, BTreeSet};

use licentia::domain::operator::admin_key::Scope;
use licentia::http::openapi;
use licentia::store::Store;
use licentia_sandbox::Options;
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::harness::database::{CUSTOMERS, Kind, execute, insert_customers, kind, texts};
use crate::harness::receiver::Receiver;
use crate::harness::shop::{Buyer, Shop};
use crate::harness::traced::Listener;
use crate::harness::{Client, TestApp};
use crate::outgoing::{SETTINGS, add};

/// The `now` figures count all customers, subscriptions and perpetual licenses, and the drift
/// compares all subscriptions, and all single payments by an index of them. Everything else has an
/// index.
const COUNTS: [&str; 4] = [
    "SELECT COUNT(*) FROM customers",
    "FROM subscriptions LEFT JOIN orders",
    "AND source = 'subscription' AND basis = 'once'",
    "COUNT(*) OVER () AS total",
];

/// The indexes of what waits in a queue, was given up, or belongs to no customer, and a table with
/// one row for each kind of event. They do not grow with the customers.
const QUEUES: [&str; 5] = [
    "_due_index",
    "_given_up_index",
    "webhook_deliveries_order_index",
    "unknown_buyers",
    "ignored_events",
];

/// The rows of other customers: enough that PostgreSQL does not choose among empty indexes.
const OTHERS: [(&str, &str); 8] = [
    (
        "sessions (session_id, user_id, token_hash, created_at, expires_at)",
        "'sess_' || i, login, 'hash' || i, 0, i",
    ),
    (
        "licenses (license_id, customer_id, seq, source, plan, key_id, token, issued_at,
             token_expires_at, expires_at)",
        "'lic_0000000000000000000000000' || i, id, 1, 'trial', 'trial', 'key', 'token', 0, 0, i",
    ),
    (
        "orders (order_id, customer_id, plan, amount, currency, status, stripe_invoice_id,
             stripe_payment_intent_id, created_at, purchased_at, updated_at)",
        "'ord_0000000000000000000000000' || i, id, 'starter', 1, 'usd', 'succeeded', 'in_' || i,
             'pi_' || i, 0, i, 0",
    ),
    (
        "subscriptions (customer_id, stripe_subscription_id, plan, status, created_at, updated_at)",
        "id, 'sub_' || i, 'starter', 'canceled', 0, 0",
    ),
    ("customer_terms (term, customer_id)", "'aa' || i, id"),
    (
        "audit_log (audit_id, at, actor, action, customer_id)",
        "'audit_0000000000000000000000000' || i, i, 'system', 'license.issued', id",
    ),
    (
        "outbox (mail_id, customer_id, kind, created_at, due_at, sent_at)",
        "'mail_0000000000000000000000000' || i, id, 'trial', i, i, i",
    ),
    (
        "inbox (event_id, kind, stripe_customer_id, body, happened_at, received_at, tried_since,
             due_at, done_at)",
        "'evt_' || i, 'invoice.paid', 'cus_' || i, '', i, i, i, i, i",
    ),
];

/// The callers of requests, as `security` of the OpenAPI document names them.
const ADMIN_KEY: &str = "admin_key";
const SESSION: &str = "session";

/// Every request that reads for this caller, with every combination of its filters. `values` has
/// the values of each parameter.
fn requests(caller: &str, values: &BTreeMap<&str, Vec<String>>) -> Vec<String> {
    let document = openapi::document();
    let mut requests = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let operation = &operations["get"];
        let callers = operation["security"].as_array();
        if !callers.is_some_and(|all| all.iter().any(|one| one.get(caller).is_some())) {
            continue;
        }
        let mut filled = vec![path.clone()];
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let (name, place) = (&parameter["name"], parameter["in"].as_str().unwrap());
            let name = name.as_str().unwrap();
            let known = values.get(name);
            let values = known.unwrap_or_else(|| panic!("{path}: no value for {name}"));
            let with = |request: &String, value: &String| match place {
                "path" => request.replace(&format!("{{{name}}}"), value),
                "query" => format!("{request}{}{name}={value}", separator(request)),
                _ => panic!("{path}: {name} is in {place}"),
            };
            let more: Vec<_> = filled
                .iter()
                .flat_map(|request| values.iter().map(move |value| with(request, value)))
                .collect();
            if place == "path" {
                filled = more;
            } else {
                filled.extend(more);
            }
        }
        requests.extend(filled);
    }
    requests
}

/// Returns the character before the next parameter of a query.
fn separator(request: &str) -> char {
    if request.contains('?') { '&' } else { '?' }
}

/// Sends every request that reads, each also for a later page.
async fn read_everything(shop: &Shop, ada: &Buyer, admin: &Client, webhook_id: &str) {
    let id = &ada.customer_id;
    let mut keys = ids_of(shop, id).await;
    keys.extend(["ada%40example.com", "ada", "ada+king", "ada+king+engines"].map(String::from));
    let event = "SELECT MAX(event_id) FROM inbox";
    let one = |text: &str| vec![text.to_owned()];
    let values = BTreeMap::from([
        ("customer_id", one(id)),
        ("event_id", texts(&shop.app.app.store, event).await),
        ("webhook_id", one(webhook_id)),
        ("query", keys),
        ("action", one("license.issued")),
        ("actor", one("system")),
        ("from", one("2026-11-20")),
        ("to", one("2026-11-21")),
        ("before", one("2")),
        // These two choose a page.
        ("limit", Vec::new()),
        ("after", Vec::new()),
    ]);
    for (caller, client) in [(ADMIN_KEY, admin), (SESSION, &ada.client)] {
        let requests = requests(caller, &values);
        assert!(requests.len() > 6, "{requests:?}");
        for request in requests {
            let answer = client.get(&request).await;
            assert_eq!(answer.status, 200, "{request}: {}", answer.text);
            let page = format!("{request}{}limit=1", separator(&request));
            let first = client.get(&page).await;
            if let Some(next) = first.body["next_after"].as_str() {
                let second = client.get(&format!("{page}&after={next}")).await;
                assert_eq!(second.status, 200, "{request}: {}", second.text);
            }
        }
    }
    for accept in ["text/csv", "application/jsonl"] {
        assert_eq!(admin.get_as(accept, "/api/admin/audit").await.status, 200);
    }
}

/// Returns every id of a customer.
async fn ids_of(shop: &Shop, id: &str) -> Vec<String> {
    let columns = [
        ("orders", "order_id"),
        ("orders", "stripe_invoice_id"),
        ("orders", "stripe_payment_intent_id"),
        ("orders", "stripe_checkout_session_id"),
        ("subscriptions", "stripe_subscription_id"),
        ("customers", "stripe_customer_id"),
        ("customers", "customer_id"),
        ("licenses", "license_id"),
        ("licenses", "token"),
    ];
    let mut keys = Vec::new();
    for (table, column) in columns {
        let query = format!("SELECT {column} FROM {table} WHERE customer_id = '{id}' LIMIT 1");
        keys.extend(texts(&shop.app.app.store, &query).await);
    }
    assert_eq!(keys.len(), columns.len(), "{keys:?}");
    keys
}

/// Returns the parts of a statement's plan that read a whole table or index.
async fn scans(store: &Store, statement: &str) -> Vec<String> {
    let plan = plan(store, statement).await;
    if kind() == Kind::Postgres {
        return postgres_scans(plan.into_iter());
    }
    // Not those of a part's result, which is in parentheses or has a name of its own.
    let is_table = |part: &String| {
        let name = part.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
        name.is_some_and(|name| {
            let own = ["CONSTANT", "tasks", "events", "counted", "live", "payments"];
            !name.starts_with('(') && !own.contains(&name)
        })
    };
    plan.into_iter().filter(is_table).collect()
}

/// Returns the database's plan of a statement.
async fn plan(store: &Store, statement: &str) -> Vec<String> {
    match store {
        Store::Sqlite { readers, .. } => {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let rows: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(explain).fetch_all(readers).await.unwrap();
            rows.into_iter().map(|(.., part)| part).collect()
        }
        Store::Postgres(pool) => {
            let mut tx = pool.begin().await.unwrap();
            // The tables are small: a scan would be chosen because it is cheap, not because an
            // index is missing. The plan must be right for any values.
            let settings = "SET LOCAL enable_seqscan = off;
                 SET LOCAL plan_cache_mode = force_generic_plan";
            sqlx::raw_sql(settings).execute(&mut *tx).await.unwrap();
            let prepare = AssertSqlSafe(format!("PREPARE explained AS {statement}"));
            sqlx::raw_sql(prepare).execute(&mut *tx).await.unwrap();
            let count = (1..).take_while(|n| statement.contains(&format!("${n}"))).count();
            let nulls = vec!["NULL"; count].join(", ");
            let values = if count == 0 { String::new() } else { format!("({nulls})") };
            let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE explained{values}"));
            let lines: Vec<(String,)> = sqlx::query_as(explain).fetch_all(&mut *tx).await.unwrap();
            sqlx::raw_sql("DEALLOCATE explained").execute(&mut *tx).await.unwrap();
            lines.into_iter().map(|(line,)| line).collect()
        }
    }
}

/// Returns the parts of PostgreSQL's plan that read a table, or an index without a condition. A
/// line with the cost begins a part.
fn postgres_scans(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut scans: Vec<String> = Vec::new();
    for line in lines {
        let reads = ["Seq Scan", "Index Scan", "Index Only Scan"];
        if line.contains("(cost=") && reads.iter().any(|kind| line.contains(kind)) {
            scans.push(line);
        } else if line.contains("Index Cond:") && line.contains(['=', '<', '>']) {
            // `IS NOT NULL` alone reads the whole index.
            scans.pop();
        }
    }
    scans
}

#[tokio::test]
async fn no_request_of_support_or_a_customer_reads_a_whole_table() {
    let shop = Shop::open_with(Options::default(), &SETTINGS).await;
    let receiver = Receiver::start().await;
    let admin = shop.app.admin(Scope::Admin).await;
    let (webhook_id, _) = add(&admin, &receiver.url, &["*"]).await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    shop.must_be_paid(&ada).await;
    let names = json!({ "name": "Ada King", "company_name": "Analytical Engines" });
    assert_eq!(ada.client.patch("/api/customers/me", &names).await.status, 200);
    let store = &shop.app.app.store;
    insert_customers(store, 2000, &CUSTOMERS).await;
    insert_customers(store, 2000, &OTHERS).await;
    // PostgreSQL does so by itself; the service does not do so on SQLite.
    if kind() == Kind::Postgres {
        execute(store, "ANALYZE").await.unwrap();
    }
    let listener = Listener::to_statements();
    read_everything(&shop, &ada, &admin, &webhook_id).await;
    let statements: BTreeSet<_> = listener.texts().into_iter().collect();
    drop(listener);
    assert!(statements.len() > 40, "{statements:#?}");
    let is_drift = |text: &&String| text.contains(COUNTS[3]);
    let drift = statements.iter().find(is_drift).expect("the customers without a license");
    let of_orders: Vec<_> = scans(store, drift).await;
    let of_orders: Vec<_> = of_orders.iter().filter(|scan| scan.contains("orders")).collect();
    let is_indexed = |scan: &&String| scan.contains("orders_paid_once_index");
    assert!(of_orders.iter().all(is_indexed), "it reads all orders: {of_orders:?}");
    let mut found = Vec::new();
    for statement in statements.iter().filter(|text| !text.contains("set_config")) {
        let mut scans = scans(store, statement).await;
        scans.retain(|scan| !QUEUES.iter().any(|queue| scan.contains(queue)));
        if !scans.is_empty() && !COUNTS.iter().any(|count| statement.contains(count)) {
            found.push(format!("{scans:?}: {statement}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The licenses of a revoked key are read a page after another. Without an index in that order,
/// each page would read all of them.
#[tokio::test]
async fn a_page_of_the_licenses_of_a_revoked_key_reads_no_others() {
    let app = TestApp::start().await;
    let store = &app.app.store;
    insert_customers(store, 2000, &CUSTOMERS).await;
    insert_customers(store, 2000, &OTHERS[1..2]).await;
    if kind() == Kind::Postgres {
        execute(store, "ANALYZE").await.unwrap();
    }
    let listener = Listener::to_statements();
    let mut tx = store.read().await.unwrap();
    let customers = tx.customers_of_key("key", app.app.now(), None, 100).await.unwrap();
    assert!(customers.is_empty(), "their licenses are over");
    assert_eq!(tx.licenses_of_key("key", None, 100).await.unwrap().len(), 100);
    drop(tx);
    let statements: BTreeSet<_> = listener.texts().into_iter().collect();
    drop(listener);
    let of_licenses = statements.iter().filter(|text| text.contains("FROM licenses"));
    let of_licenses: Vec<_> = of_licenses.collect();
    assert_eq!(of_licenses.len(), 2, "{statements:#?}");
    for statement in of_licenses {
        let plan = plan(store, statement).await.join("\n");
        assert!(plan.contains("customer_id"), "{plan}");
        assert!(!plan.contains("Sort") && !plan.contains("B-TREE"), "{plan}");
        assert!(scans(store, statement).await.is_empty(), "{plan}");
    }
}
