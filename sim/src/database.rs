//! The database of a history: emptied at its start, and read from outside of the service. The only
//! file here that names sqlx.

use std::collections::BTreeMap;

use licentia::error::Result;
use licentia::fail_point::{FailPoints, Place};
use licentia::store::{IfMissing, Store, Tx};
use secrecy::SecretString;
use sqlx::AssertSqlSafe;

/// The default database, in memory.
const IN_MEMORY: &str = "sqlite::memory:";

/// Every table, in the order in which they are emptied. A row that stays would change the next
/// history.
const TABLES: [&str; 42] = [
    "account_checks",
    "trial_cards",
    "idempotency_keys",
    "deleted_buyers",
    "kept_purchases",
    "guest_purchases",
    "subscription_changes",
    "outbox",
    "mail_links",
    "former_addresses",
    "trial_addresses",
    "signup_links",
    "pending_signups",
    "customer_terms",
    "licenses",
    "status_places",
    "status_lists",
    "subscriptions",
    "order_returns",
    "orders",
    "stripe_attempts",
    "customer_leases",
    "sessions",
    "known_networks",
    "throttle_buckets",
    "customers",
    "users",
    "admin_keys",
    "waiting_purchases",
    "unknown_buyers",
    "ignored_events",
    "inbox",
    "audit_log",
    "seen_plans",
    "server_secrets",
    "server_identity",
    "webhook_deliveries",
    "webhook_messages",
    "webhooks",
    "signing_keys",
    "root_keys",
    "key_bundles",
];

/// Returns the rows of a query, on either database.
macro_rules! rows {
    ($store:expr, $row:ty, $sql:expr) => {
        match $store {
            Store::Sqlite { readers, .. } => {
                sqlx::query_as::<_, $row>($sql).fetch_all(readers).await?
            }
            Store::Postgres(pool) => sqlx::query_as::<_, $row>($sql).fetch_all(pool).await?,
        }
    };
}

/// An event in the inbox or a mail in the outbox: pending, done or given up.
pub struct Item {
    pub id: String,
    pub kind: String,
    pub since: i64,
    pub done: bool,
    pub given_up_at: Option<i64>,
    pub attempts: i64,
    pub last_error: Option<String>,
}

impl Item {
    pub fn is_open(&self) -> bool {
        !self.done && self.given_up_at.is_none()
    }
}

/// A row of an `Item`.
type Row = (String, String, i64, Option<i64>, Option<i64>, i64, Option<String>);

fn item((id, kind, since, done, given_up_at, attempts, last_error): Row) -> Item {
    Item { id, kind, since, done: done.is_some(), given_up_at, attempts, last_error }
}

/// Opens the database and migrates it to this version.
pub async fn open(url: Option<&str>) -> Result<Store> {
    let url = SecretString::from(url.unwrap_or(IN_MEMORY));
    let store = Store::open(&url, IfMissing::Create).await?;
    store.migrate_up().await?;
    Ok(store)
}

/// Empties it for the next history.
pub async fn empty(store: &Store) -> Result<()> {
    let mut tx = store.write().await?;
    for table in TABLES {
        let delete = AssertSqlSafe(format!("DELETE FROM {table}")); // One of the names above.
        match &mut tx {
            Tx::Sqlite(tx) => sqlx::query(delete).execute(&mut **tx).await?.rows_affected(),
            Tx::Postgres(tx) => sqlx::query(delete).execute(&mut **tx).await?.rows_affected(),
        };
    }
    tx.commit(FailPoints::default().at(Place::AccountDeleted)).await
}

/// Whether a transaction is open, which means that work is running.
pub fn is_busy(store: &Store) -> bool {
    match store {
        Store::Sqlite { writer, .. } => writer.num_idle() < writer.size() as usize,
        Store::Postgres(pool) => pool.num_idle() < pool.size() as usize,
    }
}

/// Returns how many events, mails and deliveries are neither done nor given up.
pub async fn undone(store: &Store) -> Result<i64> {
    let counts = rows!(
        store,
        (i64,),
        "SELECT (SELECT COUNT(*) FROM inbox WHERE done_at IS NULL AND given_up_at IS NULL)
              + (SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL AND given_up_at IS NULL)
              + (SELECT COUNT(*) FROM webhook_deliveries
                 WHERE delivered_at IS NULL AND given_up_at IS NULL)"
    );
    Ok(counts.into_iter().map(|(count,)| count).sum())
}

/// Returns every stored event, the oldest first.
pub async fn events(store: &Store) -> Result<Vec<Item>> {
    let rows = rows!(
        store,
        Row,
        "SELECT event_id, kind, received_at, done_at, given_up_at, attempts, last_error FROM inbox
         ORDER BY received_at, event_id"
    );
    Ok(rows.into_iter().map(item).collect())
}

/// Returns every mail, the oldest first, with the license that it is about, or else its own id.
pub async fn mails(store: &Store) -> Result<Vec<(Item, String)>> {
    let rows = rows!(
        store,
        (String, String, i64, Option<i64>, Option<i64>, i64, Option<String>, String),
        "SELECT mail_id, kind, created_at, sent_at, given_up_at, attempts, last_error,
             COALESCE(license_id, mail_id)
         FROM outbox ORDER BY created_at, mail_id"
    );
    let mail = |row| {
        let (id, kind, since, sent, given_up_at, attempts, error, license_id) = row;
        (item((id, kind, since, sent, given_up_at, attempts, error)), license_id)
    };
    Ok(rows.into_iter().map(mail).collect())
}

/// Returns the customer, invoice and status of every order.
pub async fn orders(store: &Store) -> Result<Vec<(Option<String>, Option<String>, String)>> {
    Ok(rows!(
        store,
        (Option<String>, Option<String>, String),
        "SELECT customer_id, stripe_invoice_id, status FROM orders ORDER BY order_id"
    ))
}

/// An entry of the audit log.
pub struct AuditRow {
    pub at: i64,
    pub actor: String,
    pub action: String,
    pub customer_id: Option<String>,
    pub detail: String,
}

/// Returns the audit log: on SQLite in the order of the commits, on PostgreSQL by time.
pub async fn audit(store: &Store) -> Result<Vec<AuditRow>> {
    type Row = (i64, String, String, Option<String>, String);
    let rows: Vec<Row> = match store {
        Store::Sqlite { readers, .. } => {
            let rows =
                "SELECT at, actor, action, customer_id, detail FROM audit_log ORDER BY rowid";
            sqlx::query_as(rows).fetch_all(readers).await?
        }
        Store::Postgres(pool) => {
            let rows = "SELECT at, actor, action, customer_id, detail FROM audit_log
                        ORDER BY at, audit_id";
            sqlx::query_as(rows).fetch_all(pool).await?
        }
    };
    let row = |(at, actor, action, customer_id, detail)| AuditRow {
        at,
        actor,
        action,
        customer_id,
        detail,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Returns how many mails of each kind there are for a customer.
pub async fn kinds_of_mails(store: &Store, id: &str) -> Result<BTreeMap<String, usize>> {
    let rows = rows!(store, (Option<String>, String), "SELECT customer_id, kind FROM outbox");
    let mut kinds = BTreeMap::new();
    for (_, kind) in rows.into_iter().filter(|(owner, _)| owner.as_deref() == Some(id)) {
        *kinds.entry(kind).or_default() += 1;
    }
    Ok(kinds)
}

/// Returns the addresses that two customers have or hold, each with the problem.
pub async fn contested(store: &Store, now: i64) -> Result<Vec<(String, String)>> {
    let customers = rows!(
        store,
        (String, String, String),
        "SELECT customers.email, users.email, customer_id FROM customers
         JOIN users ON users.user_id = customers.user_id ORDER BY customer_id"
    );
    let held = rows!(
        store,
        (String, String, i64),
        "SELECT email, customer_id, reserved_until FROM former_addresses ORDER BY customer_id"
    );
    let mut problems = Vec::new();
    for (place, (address, login, id)) in customers.iter().enumerate() {
        let mut before = customers.iter().take(place);
        if address != login {
            problems.push((address.clone(), format!("has the login {login}")));
        }
        if before.any(|(other, ..)| other == address) {
            problems.push((address.clone(), "has two customers".to_owned()));
        }
        let mut former = held.iter().filter(|(_, other, until)| other != id && *until > now);
        if former.any(|(other, ..)| other == address) {
            problems.push((address.clone(), format!("of {id} is held for another one")));
        }
    }
    Ok(problems)
}

/// The customer who has a claimed payment.
pub struct PaymentOwner {
    pub customer_id: String,
    pub stripe_customer_id: Option<String>,
}

/// Returns the owner of each claimed payment, by the Checkout session.
pub async fn claimed_payments(store: &Store) -> Result<BTreeMap<String, PaymentOwner>> {
    let rows = rows!(
        store,
        (String, String, Option<String>),
        "SELECT session_id, customers.customer_id, stripe_customer_id FROM guest_purchases
         JOIN customers ON customers.customer_id = guest_purchases.customer_id"
    );
    let owner = |(session, customer_id, stripe_customer_id)| {
        (session, PaymentOwner { customer_id, stripe_customer_id })
    };
    Ok(rows.into_iter().map(owner).collect())
}

/// Returns the payloads of the deliveries that were given up.
pub async fn given_up_payloads(store: &Store) -> Result<Vec<String>> {
    let rows = rows!(
        store,
        (String,),
        "SELECT payload FROM webhook_messages WHERE message_id IN (
             SELECT message_id FROM webhook_deliveries WHERE given_up_at IS NOT NULL)"
    );
    Ok(rows.into_iter().map(|(payload,)| payload).collect())
}

/// Returns the reminders: each kind, its customer, and the end of the license that it is about.
pub async fn reminders(store: &Store) -> Result<Vec<(String, String, i64)>> {
    Ok(rows!(
        store,
        (String, String, i64),
        "SELECT outbox.kind, outbox.customer_id, COALESCE(grace_until, expires_at) FROM outbox
         JOIN licenses ON licenses.license_id = outbox.license_id
         WHERE outbox.kind IN ('trial_ending', 'trial_ended', 'license_ended')
         ORDER BY outbox.kind, outbox.customer_id, mail_id"
    ))
}

/// The tables that keep addresses of people without an account: sign-ups that nobody confirmed, and
/// buyers who have none.
const OF_OTHERS: [&str; 2] = ["pending_signups", "unknown_buyers"];

/// Returns the rows that have one of these texts, each with its table. A mail that was given up
/// keeps its address for the operator.
pub async fn rows_with(store: &Store, texts: &[String]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for table in TABLES.into_iter().filter(|table| !OF_OTHERS.contains(table)) {
        let of = if table == "outbox" { "outbox WHERE given_up_at IS NULL" } else { table };
        let rows: Vec<(String,)> = match store {
            Store::Sqlite { readers, .. } => {
                let columns = AssertSqlSafe(format!(
                    "SELECT group_concat('quote(' || name || ')', ' || '','' || ')
                     FROM pragma_table_info('{table}')"
                ));
                let (columns,): (String,) = sqlx::query_as(columns).fetch_one(readers).await?;
                let rows = AssertSqlSafe(format!("SELECT {columns} FROM {of}"));
                sqlx::query_as(rows).fetch_all(readers).await?
            }
            Store::Postgres(pool) => {
                let rows = AssertSqlSafe(format!("SELECT CAST({table} AS TEXT) FROM {of}"));
                sqlx::query_as(rows).fetch_all(pool).await?
            }
        };
        let has = |row: &String| texts.iter().any(|text| row.contains(text.as_str()));
        let rows = rows.into_iter().map(|(row,)| row).filter(has);
        found.extend(rows.map(|row| (table.to_owned(), row)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::TABLES;

    #[test]
    fn every_table_is_emptied_between_histories() {
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
        let files = std::fs::read_dir(migrations).unwrap().map(|file| file.unwrap().path());
        let files = files.filter(|file| file.to_str().unwrap().ends_with(".up.sql"));
        let texts: Vec<_> = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let mut created = BTreeSet::new();
        for text in &texts {
            let tables = text.split("CREATE TABLE ").skip(1);
            created
                .extend(tables.filter_map(|rest| Some(rest.split([' ', '(']).next()?.to_owned())));
        }
        // A table that replaces another one may be created under a temporary name.
        let renamed = |name: &str| {
            let rename = format!("ALTER TABLE {name} RENAME TO ");
            texts.iter().find_map(|text| text.split(&rename).nth(1)?.split(';').next())
        };
        let all = created.clone();
        created.retain(|name| renamed(name).is_none_or(|new| !all.contains(new)));
        let emptied: BTreeSet<String> = TABLES.iter().map(|table| (*table).to_owned()).collect();
        assert_eq!(created, emptied);
    }
}
