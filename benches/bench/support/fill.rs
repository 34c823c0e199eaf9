//! Fills a database with customers as a vendor has them after two years: three of ten pay, half of
//! the names are common, and most customers name a company. The database itself makes the rows, and
//! its indexes are built at the end.

use std::time::{Duration, Instant};

use licentia::clock::{Clock, SystemClock};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

/// The customers that one statement makes.
const AT_ONCE: i64 = 50_000;

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(2);

/// The period over which the customers signed up, in seconds: two years.
const PERIOD: i64 = 2 * 365 * 86_400;

/// The entries in the timelines of the two customers that are added last.
pub const ENTRIES: [i64; 2] = [20, 5000];

/// The entries that each of them has in any case.
const USUAL_ENTRIES: i64 = 16;

/// Names have three syllables: the first 500 are first names, the next 2,000 family names, the next
/// 5,000 companies.
const SYLLABLES: [&str; 20] = [
    "ka", "lo", "mi", "ber", "tan", "el", "su", "ri", "von", "dra", "pe", "ho", "gu", "sten", "wa",
    "ny", "fi", "jo", "mar", "chi",
];

/// The rows that each customer has: table, number, share of customers in tenths, actor, kind,
/// detail.
const COPIES: &str = r#"
    ('license', 0, 10, '', 'trial', ''), ('license', 1, 3, '', 'subscription', ''),
    ('license', 2, 3, '', 'subscription', ''),
    ('order', 0, 3, '', '', ''), ('order', 1, 3, '', '', ''), ('order', 2, 3, '', '', ''),
    ('mail', 0, 10, '', 'trial', ''), ('mail', 1, 3, '', 'granted', ''),
    ('mail', 2, 3, '', 'renewal', ''), ('mail', 3, 7, '', 'trial_ended', ''),
    ('event', 0, 3, '', 'checkout.session.completed', ''), ('event', 1, 3, '', 'invoice.paid', ''),
    ('event', 2, 3, '', 'customer.subscription.updated', ''),
    ('audit', 0, 10, 'customer', 'customer.signed_up', '{"plan":"trial"}'),
    ('audit', 1, 10, 'system', 'license.issued', '{"plan":"trial","source":"trial"}'),
    ('audit', 2, 5, 'customer', 'customer.verified', '{}'),
    ('audit', 3, 3, 'system', 'subscription.changed', '{"from":null,"to":"active"}'),
    ('audit', 4, 3, 'system', 'order.changed', '{"from":"pending","to":"succeeded"}'),
    ('audit', 5, 3, 'system', 'license.issued', '{"plan":"professional","source":"subscription"}'),
    ('audit', 6, 3, 'system', 'customer.converted', '{}'),
    ('audit', 7, 3, 'system', 'license.issued', '{"plan":"professional","source":"subscription"}'),
    ('audit', 8, 3, 'system', 'order.changed', '{"from":null,"to":"succeeded"}'),
    ('audit', 9, 1, 'operator', 'license.extended', '{"plan":"professional"}')"#;

/// The statements that fill the tables. `{…}` are expressions of [`Filler::expressions`].
const TABLES: [&str; 10] = [
    "INSERT INTO bench_people (number, key, first, last, company, email, at)
     SELECT i, key, first, last, company,
         first || '.' || last || '.' || substr(key, 1, 4) || '@mail' || (hash % 1000) || '.example',
         {start} + i * {period} / {count}
     FROM (SELECT i, hash, {digits} AS key, f.word AS first,
               CASE WHEN i % 2 = 0 THEN l.word || {digits} ELSE l.word END AS last,
               CASE WHEN i % 10 < 6
                   THEN CASE WHEN i % 4 = 0 THEN c.word || {digits} ELSE c.word END
                       || CASE WHEN i % 10 < 3 THEN ' gmbh' ELSE ' inc' END END AS company
           FROM (SELECT i, i * 2654435761 % 4294967296 AS hash FROM (
                   WITH RECURSIVE numbers(i) AS (SELECT CAST({from} AS BIGINT)
                       UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < {to})
                   SELECT i FROM numbers) AS numbered) AS hashed
           JOIN bench_words AS f ON f.n = hash / 64 % 500
           JOIN bench_words AS l ON l.n = 500 + hash / 4096 % 2000
           JOIN bench_words AS c ON c.n = 2500 + hash / 1024 % 5000) AS named",
    "INSERT INTO users (user_id, email, password_hash, created_at, updated_at)
     SELECT 'user_' || key || {pad}, email, '{password}', at, at FROM bench_people WHERE {chunk}",
    "INSERT INTO customers (customer_id, user_id, email, name, company_name, stripe_customer_id,
         email_verified_at, created_at, updated_at, terms_at)
     SELECT 'cust_' || key || {pad}, 'user_' || key || {pad}, email, first || ' ' || last, company,
         CASE WHEN number % 10 < 3 THEN 'cus_' || key END,
         CASE WHEN number % 10 < 5 THEN at END, at, at, at
     FROM bench_people WHERE {chunk}",
    "INSERT INTO licenses (license_id, customer_id, seq, source, plan, key_id, token, issued_at,
         token_expires_at, expires_at, superseded_by, superseded_at)
     SELECT 'lic_' || key || n || {short_pad}, 'cust_' || key || {pad}, n + 1, name,
         CASE WHEN n = 0 THEN 'trial' ELSE 'professional' END, 'key', {token}, at + n, at + n,
         at + 2592000,
         CASE WHEN number % 10 < 3 AND n < 2 THEN 'lic_' || key || (n + 1) || {short_pad} END,
         CASE WHEN number % 10 < 3 AND n < 2 THEN at + n + 1 END
     FROM bench_people JOIN bench_copies ON what = 'license' AND number % 10 < share WHERE {chunk}",
    "INSERT INTO subscriptions (customer_id, stripe_subscription_id, plan, status,
         current_period_end, created_at, updated_at)
     SELECT 'cust_' || key || {pad}, 'sub_' || key, 'professional', 'active', at + 2592000, at, at
     FROM bench_people WHERE number % 10 < 3 AND {chunk}",
    "INSERT INTO orders (order_id, customer_id, plan, amount, currency, status,
         stripe_checkout_session_id, stripe_invoice_id, stripe_payment_intent_id, created_at,
         purchased_at, updated_at)
     SELECT 'ord_' || key || n || {short_pad}, 'cust_' || key || {pad}, 'professional', 4900, 'usd',
         'succeeded', CASE WHEN n = 0 THEN 'cs_' || key END, 'in_' || key || n, 'pi_' || key || n,
         at + n * 2592000, at + n * 2592000, at + n * 2592000
     FROM bench_people JOIN bench_copies ON what = 'order' AND number % 10 < share WHERE {chunk}",
    "INSERT INTO customer_terms (term, customer_id)
     SELECT DISTINCT {hex_term}, customer_id FROM (
         SELECT 'cust_' || key || {pad} AS customer_id, substr(email, 1, 48) AS term
             FROM bench_people WHERE {chunk}
         UNION ALL SELECT 'cust_' || key || {pad}, first FROM bench_people WHERE {chunk}
         UNION ALL SELECT 'cust_' || key || {pad}, last FROM bench_people WHERE {chunk}
         UNION ALL SELECT 'cust_' || key || {pad},
                 substr(company, 1, length(company) - CASE WHEN number % 10 < 3 THEN 5 ELSE 4 END)
             FROM bench_people WHERE company IS NOT NULL AND {chunk}
         UNION ALL SELECT 'cust_' || key || {pad},
                 CASE WHEN number % 10 < 3 THEN 'gmbh' ELSE 'inc' END
             FROM bench_people WHERE company IS NOT NULL AND {chunk}) AS terms",
    "INSERT INTO audit_log (audit_id, at, actor, action, customer_id, detail, request_id)
     SELECT 'audit_' || key || n || {short_pad}, at + n * 2592000, actor, name,
         'cust_' || key || {pad}, detail, 'req_' || key || n
     FROM bench_people JOIN bench_copies ON what = 'audit' AND number % 10 < share WHERE {chunk}",
    "INSERT INTO outbox (mail_id, customer_id, license_id, kind, created_at, due_at, sent_at)
     SELECT 'mail_' || key || n || {short_pad}, 'cust_' || key || {pad},
         'lic_' || key || 0 || {short_pad}, name, at + n, at + n, at + n + 1
     FROM bench_people JOIN bench_copies ON what = 'mail' AND number % 10 < share WHERE {chunk}",
    "INSERT INTO inbox (event_id, kind, stripe_customer_id, body, happened_at, received_at,
         tried_since, due_at, done_at)
     SELECT 'evt_' || key || n, name, 'cus_' || key, {token}, at + n, at + n, at + n, at + n, at + n
     FROM bench_people JOIN bench_copies ON what = 'event' AND number % 10 < share WHERE {chunk}",
];

/// The statements that add the further entries of a customer's timeline: of five, three are in the
/// audit log, one is a mail, and one an event.
const TIMELINE: [&str; 3] = [
    "INSERT INTO audit_log (audit_id, at, actor, action, customer_id)
     SELECT 'audit_' || {entry} || key || {half_pad}, at + i * 3600, 'customer', 'customer.changed',
         'cust_' || key || {pad} FROM ({entries}) AS entries, bench_people
     WHERE i % 5 < 3 AND number = {number}",
    "INSERT INTO outbox (mail_id, customer_id, kind, created_at, due_at, sent_at)
     SELECT 'mail_' || {entry} || key || {half_pad}, 'cust_' || key || {pad}, 'receipt',
         at + i * 3600, at, at FROM ({entries}) AS entries, bench_people
     WHERE i % 5 = 3 AND number = {number}",
    "INSERT INTO inbox (event_id, kind, stripe_customer_id, body, happened_at, received_at,
         tried_since, due_at, done_at)
     SELECT 'evt_' || {entry} || key, 'invoice.paid', 'cus_' || key, {token}, at, at + i * 3600, at,
         at, at FROM ({entries}) AS entries, bench_people WHERE i % 5 = 4 AND number = {number}",
];

/// A customer.
#[derive(Clone)]
pub struct Person {
    /// Eight hexadecimal digits, with which the customer's ids begin.
    pub key: String,
    pub first: String,
    pub last: String,
    pub company: String,
    pub email: String,
}

impl Person {
    /// Returns the id of the customer.
    pub fn customer_id(&self) -> String {
        format!("cust_{}{:024}", self.key, 0)
    }
}

/// A connection that only fills a database.
enum Filler {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Fills a migrated database with `count` customers whose password has this hash. Returns paying
/// customers with rare names, at most `most`, and then those of [`ENTRIES`].
pub async fn fill(url: &str, count: i64, password: &str, most: i64) -> (Vec<Person>, Vec<Person>) {
    let mut filler = Filler::connect(url).await;
    let begun = Instant::now();
    let indexes = filler.drop_indexes().await;
    filler.prepare().await;
    let (mut from, mut shown) = (0, begun);
    let all = count + 2;
    while from < all {
        let to = all.min(from + AT_ONCE);
        for table in TABLES {
            let text = filler.expressions(table, (from, to), count).replace("{password}", password);
            filler.run(&text).await;
            if shown.elapsed() > PROGRESS {
                shown = Instant::now();
                eprintln!("  {} % of {count} customers", from * 100 / count);
            }
        }
        from = to;
    }
    for (number, entries) in (count..).zip(ENTRIES) {
        for table in TIMELINE {
            let last = entries - USUAL_ENTRIES - 1;
            let numbers = format!(
                "WITH RECURSIVE numbers(i) AS (SELECT 0 UNION ALL
                     SELECT i + 1 FROM numbers WHERE i < {last}) SELECT i FROM numbers"
            );
            let text =
                table.replace("{entries}", &numbers).replace("{number}", &number.to_string());
            let text = filler.expressions(&text, (0, 0), count);
            filler.run(&text).await;
        }
    }
    for (place, create) in indexes.iter().enumerate() {
        if shown.elapsed() > PROGRESS {
            shown = Instant::now();
            eprintln!("  index {} of {}", place + 1, indexes.len());
        }
        filler.run(create).await;
    }
    let rare = format!("number % 20 = 0 AND number < {count} ORDER BY key LIMIT {most}");
    let people = filler.people(&rare).await;
    let last = filler.people(&format!("number >= {count} ORDER BY number")).await;
    filler.finish().await;
    eprintln!("  {count} customers in {} s", begun.elapsed().as_secs());
    (people, last)
}

impl Filler {
    async fn connect(url: &str) -> Self {
        let Some(path) = url.strip_prefix("sqlite://") else {
            return Self::Postgres(PgConnection::connect(url).await.unwrap());
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(false)
            .pragma("cache_size", "-400000")
            .disable_statement_logging();
        Self::Sqlite(options.connect().await.unwrap())
    }

    async fn run(&mut self, text: &str) {
        // Composed of literals only.
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        let done = match self {
            Self::Sqlite(own) => sql.execute(own).await.map(drop),
            Self::Postgres(own) => sql.execute(own).await.map(drop),
        };
        done.unwrap_or_else(|error| panic!("{error}: {text}"));
    }

    /// Creates the tables that the rows are made of.
    async fn prepare(&mut self) {
        if let Self::Postgres(_) = self {
            self.run("SET session_replication_role = replica").await;
            self.run("SET maintenance_work_mem = '400MB'").await;
        }
        self.run(
            "CREATE TABLE bench_words (n BIGINT NOT NULL PRIMARY KEY, word TEXT NOT NULL);
             CREATE TABLE bench_copies (what TEXT NOT NULL, n BIGINT NOT NULL,
                 share BIGINT NOT NULL, actor TEXT NOT NULL, name TEXT NOT NULL,
                 detail TEXT NOT NULL);
             CREATE TABLE bench_people (number BIGINT NOT NULL PRIMARY KEY, key TEXT NOT NULL,
                 first TEXT NOT NULL, last TEXT NOT NULL, company TEXT, email TEXT NOT NULL,
                 at BIGINT NOT NULL)",
        )
        .await;
        let syllable = |n: usize| SYLLABLES[n % SYLLABLES.len()];
        let word = |n| format!("({n}, '{}{}{}')", syllable(n), syllable(n / 20), syllable(n / 400));
        let words: Vec<_> = (0..8000).map(word).collect();
        self.run(&format!("INSERT INTO bench_words VALUES {}", words.join(", "))).await;
        self.run(&format!("INSERT INTO bench_copies VALUES {COPIES}")).await;
    }

    /// Replaces the expressions in a statement.
    fn expressions(&self, text: &str, (from, to): (i64, i64), count: i64) -> String {
        let (digits, entry, hex) = match self {
            Self::Sqlite(_) => ("printf('%08x', hash)", "printf('%08x', i)", "lower(hex(term))"),
            Self::Postgres(_) => (
                "lpad(to_hex(hash), 8, '0')",
                "lpad(to_hex(i), 8, '0')",
                "encode(convert_to(term, 'UTF8'), 'hex')",
            ),
        };
        // No license token is valid any more, so the server needs no key of theirs.
        let start = SystemClock.now().epoch_seconds() - PERIOD - 86_400;
        let pad = |length: usize| format!("'{}'", "0".repeat(length));
        [
            ("{digits}", digits.to_owned()),
            ("{entry}", entry.to_owned()),
            ("{hex_term}", hex.to_owned()),
            ("{pad}", pad(24)),
            ("{short_pad}", pad(23)),
            ("{half_pad}", pad(16)),
            // About as long as a license token.
            ("{token}", format!("'{}'", "t".repeat(500))),
            ("{start}", start.to_string()),
            ("{period}", PERIOD.to_string()),
            ("{count}", count.to_string()),
            ("{chunk}", format!("number >= {from} AND number < {to}")),
            ("{from}", from.to_string()),
            ("{to}", to.to_string()),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Returns customers.
    async fn people(&mut self, condition: &str) -> Vec<Person> {
        let text =
            format!("SELECT key, first, last, company, email FROM bench_people WHERE {condition}");
        let text = AssertSqlSafe(text);
        let rows: Vec<(String, String, String, Option<String>, String)> = match self {
            Self::Sqlite(own) => sqlx::query_as(text).fetch_all(own).await.unwrap(),
            Self::Postgres(own) => sqlx::query_as(text).fetch_all(own).await.unwrap(),
        };
        let person = |(key, first, last, company, email): (_, _, _, Option<String>, _)| Person {
            key,
            first,
            last,
            company: company.unwrap_or_default(),
            email,
        };
        rows.into_iter().map(person).collect()
    }

    /// Removes the indexes that no constraint needs. Returns the statements that create them.
    async fn drop_indexes(&mut self) -> Vec<String> {
        let indexes: Vec<(String, String)> = match self {
            Self::Sqlite(own) => {
                let list = "SELECT name, sql FROM sqlite_master
                     WHERE type = 'index' AND sql IS NOT NULL";
                sqlx::query_as(list).fetch_all(own).await.unwrap()
            }
            Self::Postgres(own) => {
                let list = "SELECT CAST(indexname AS TEXT), indexdef FROM pg_indexes
                     WHERE schemaname = 'public'
                       AND indexname NOT IN (SELECT conname FROM pg_constraint)";
                sqlx::query_as(list).fetch_all(own).await.unwrap()
            }
        };
        for (name, _) in &indexes {
            self.run(&format!("DROP INDEX {name}")).await;
        }
        indexes.into_iter().map(|(_, create)| create).collect()
    }

    /// Drops the auxiliary tables and updates the planner's statistics.
    async fn finish(mut self) {
        for table in ["bench_people", "bench_copies", "bench_words"] {
            self.run(&format!("DROP TABLE {table}")).await;
        }
        if let Self::Postgres(_) = self {
            self.run("VACUUM ANALYZE").await;
        }
        match self {
            Self::Sqlite(own) => own.close().await.unwrap(),
            Self::Postgres(own) => own.close().await.unwrap(),
        }
    }
}
