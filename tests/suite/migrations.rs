//! Migrations: the schema goes up and down, survives a kill midway, and an unknown one is refused.

use std::process::Stdio;
use std::sync::LazyLock;

use licentia::domain::license::RevocationReason;
use licentia::store::Store;

use crate::harness::database::{Kind, TestDatabase, execute, kind, number};
use crate::harness::process::{licentia, run};

/// Returns the number and the description of each migration in the folder, in order.
fn in_folder() -> Vec<(i64, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = files.filter_map(|name| {
        let name = name.to_str().unwrap().strip_suffix(".up.sql")?.to_owned();
        assert!(
            std::fs::exists(format!("{folder}/{name}.down.sql")).unwrap(),
            "{name} has no way back"
        );
        let (version, what) = name.split_once('_').unwrap();
        Some((version.parse().unwrap(), what.replace('_', " ")))
    });
    let mut names: Vec<(i64, String)> = names.collect();
    names.sort();
    names
}

/// The newest migration.
static NEWEST: LazyLock<i64> = LazyLock::new(|| in_folder().last().unwrap().0);

#[tokio::test]
async fn every_migration_in_the_folder_is_built_in() {
    let directory = tempfile::tempdir().unwrap();
    let store = TestDatabase::empty(directory.path()).await.open().await;
    let built_in = store.migration_status().await.unwrap();
    let built_in: Vec<_> = built_in.into_iter().map(|s| (s.version, s.description)).collect();
    assert_eq!(built_in, in_folder());
}

async fn versions(store: &Store) -> Vec<(i64, bool)> {
    let steps = store.migration_status().await.unwrap();
    steps.into_iter().map(|step| (step.version, step.applied)).collect()
}

/// Returns every migration, and whether it is applied: those up to this one.
fn all(applied: i64) -> Vec<(i64, bool)> {
    in_folder().into_iter().map(|(version, _)| (version, version <= applied)).collect()
}

#[tokio::test]
async fn migrations_go_up_down_and_up_again_step_by_step() {
    let directory = tempfile::tempdir().unwrap();
    let store = TestDatabase::empty(directory.path()).await.open().await;
    assert_eq!(versions(&store).await, all(0));
    store.migrate_up().await.unwrap();
    store.migrate_up().await.unwrap();
    for version in (0..*NEWEST).rev() {
        store.migrate_down_to(version).await.unwrap();
        assert_eq!(versions(&store).await, all(version));
    }
    store.migrate_up().await.unwrap();
    assert_eq!(versions(&store).await, all(*NEWEST));
}

#[tokio::test]
async fn several_servers_may_migrate_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let servers = (0..4).map(|_| async { database.open().await.migrate_up().await });
    for done in futures_util::future::join_all(servers).await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_newer_or_changed_schema_is_refused_with_a_solution() {
    let newest = *NEWEST;
    let directory = tempfile::tempdir().unwrap();
    let store = TestDatabase::new(directory.path()).await.open().await;
    store.migrate_up().await.unwrap();
    let newer = format!("UPDATE _sqlx_migrations SET version = 9999 WHERE version = {newest}");
    execute(&store, &newer).await.unwrap();
    let error = store.migrate_up().await.unwrap_err().to_string();
    let named = format!("schema version 9999, but this binary knows up to {newest}");
    assert!(error.contains(&named), "{error}");
    assert!(error.contains("newer version"), "{error}");
    assert!(store.migration_status().await.is_err());

    let changed = format!(
        "UPDATE _sqlx_migrations SET version = {newest}, checksum = (SELECT checksum FROM \
         _sqlx_migrations WHERE version = 1) WHERE version = 9999"
    );
    execute(&store, &changed).await.unwrap();
    let error = store.migrate_up().await.unwrap_err().to_string();
    let named = format!("migration {newest} in the database differs");
    assert!(error.contains(&named), "{error}");
}

#[tokio::test]
async fn the_next_start_repairs_a_kill_at_any_moment() {
    let mut killed = 0;
    // At each millisecond of a whole run, from its start to its own end.
    for milliseconds in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let mut child = licentia(directory.path())
            .args(["migrate", "up"])
            .env("LICENTIA_DATABASE_URL", &database.url)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // This test varies the moment, so it does not await a condition.
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        child.kill().unwrap();
        let finished = child.wait().unwrap().success();

        let again = run(licentia(directory.path())
            .args(["migrate", "up"])
            .env("LICENTIA_DATABASE_URL", &database.url));
        assert_eq!(again.code, 0, "after {milliseconds} ms: {}", again.err);
        assert_eq!(versions(&database.open().await).await, all(*NEWEST));
        if finished {
            break;
        }
        killed += 1;
    }
    assert!(killed > 0, "it was never killed");
}

#[tokio::test]
async fn a_kill_within_a_migration_leaves_the_previous_schema() {
    if kind() == Kind::Sqlite {
        return; // SQLite has one writer, so nothing can delay a migration midway.
    }
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let store = database.open().await;
    // An uncommitted table with the same name, for which the second migration waits.
    let Store::Postgres(pool) = &store else { panic!("not PostgreSQL") };
    let mut blocker = pool.begin().await.unwrap();
    sqlx::query("CREATE TABLE licenses (x BIGINT)").execute(&mut *blocker).await.unwrap();
    let mut child = licentia(directory.path())
        .args(["migrate", "up"])
        .env("LICENTIA_DATABASE_URL", &database.url)
        .spawn()
        .unwrap();
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock'";
    loop {
        let (count,): (i64,) = sqlx::query_as(waiting).fetch_one(pool).await.unwrap();
        if count > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    blocker.rollback().await.unwrap();
    assert_eq!(versions(&store).await, all(1));
    store.migrate_up().await.unwrap();
    assert_eq!(versions(&store).await, all(*NEWEST));
}

#[tokio::test]
async fn an_interrupted_migration_is_rolled_back_completely() {
    let directory = tempfile::tempdir().unwrap();
    let store = TestDatabase::empty(directory.path()).await.open().await;
    // The second migration fails at its last statement, and must not leave its table.
    execute(&store, "CREATE TABLE blocker (token_expires_at BIGINT, key_id TEXT)").await.unwrap();
    let index = "CREATE INDEX licenses_token_expires_at_index ON blocker (key_id)";
    execute(&store, index).await.unwrap();
    assert!(store.migrate_up().await.is_err());
    assert_eq!(versions(&store).await, all(1));
    assert!(execute(&store, "SELECT * FROM licenses").await.is_err(), "half a migration stayed");
    execute(&store, "DROP TABLE blocker").await.unwrap();
    store.migrate_up().await.unwrap();
}

#[tokio::test]
async fn the_command_line_migrates_and_protects_data_from_loss() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let newest = *NEWEST;
    let migrate = |arguments: &[&str]| {
        run(licentia(directory.path())
            .arg("migrate")
            .args(arguments)
            .env("LICENTIA_DATABASE_URL", &database.url))
    };
    let went_up = format!("The schema was migrated from version 0 to {newest}.\n");
    assert_eq!(migrate(&[]).out, went_up);
    let current = format!("The schema is up to date at version {newest}.\n");
    assert_eq!(migrate(&["up"]).out, current);
    let status = migrate(&["status"]);
    assert!(status.out.contains("1  applied  accounts"), "{}", status.out);
    let status: serde_json::Value =
        serde_json::from_str(&migrate(&["status", "--json"]).out).unwrap();
    assert_eq!(
        (&status["version"], &status["migrations"][2]["applied"]),
        (&newest.into(), &true.into())
    );
    let before = in_folder().iter().rev().nth(1).unwrap().0;
    let went_down = format!("The schema was reverted from version {newest} to {before}.\n");
    assert_eq!(migrate(&["down"]).out, went_down);
    assert_eq!(migrate(&["up"]).code, 0);

    let id = "0123456789abcdef0123456789abcdef";
    let store = database.open().await;
    let user = format!(
        "INSERT INTO users (user_id, email, password_hash, created_at, updated_at)
                        VALUES ('user_{id}', 'ada@example.com', 'x', 1, 1)"
    );
    execute(&store, &user).await.unwrap();
    let customer = format!(
        "INSERT INTO customers (customer_id, user_id, email, created_at, updated_at)
         VALUES ('cust_{id}', 'user_{id}', 'ada@example.com', 1, 1)"
    );
    execute(&store, &customer).await.unwrap();
    let refused = migrate(&["down", "--to", "0"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("deletes data of 1 customers"), "{}", refused.err);
    store.close().await;
    assert_eq!(migrate(&["down", "--to", "0", "--yes"]).code, 0);
    assert_eq!(migrate(&["down"]).out, "Nothing to revert: the schema is at version 0.\n");
}

#[tokio::test]
async fn the_database_enforces_the_constraints() {
    let directory = tempfile::tempdir().unwrap();
    let store = TestDatabase::new(directory.path()).await.open().await;
    store.migrate_up().await.unwrap();
    let id = "0123456789abcdef0123456789abcdef";
    let user = format!(
        "INSERT INTO users (user_id, email, password_hash, created_at, updated_at)
                        VALUES ('user_{id}', 'ada@example.com', 'x', 1, 1)"
    );
    execute(&store, &user).await.unwrap();
    let customer = |customer: &str, user: &str, stripe: &str| {
        format!(
            "INSERT INTO customers
             (customer_id, user_id, email, stripe_customer_id, created_at, updated_at)
             VALUES ('{customer}', '{user}', 'ada@example.com', {stripe}, 1, 1)"
        )
    };
    let (ours, user) = (format!("cust_{id}"), format!("user_{id}"));
    for wrong in [
        customer("cust_1", &user, "NULL"),
        customer(&ours, "user_nobody", "NULL"),
        customer(&ours, &user, "'sub_1'"),
        customer(&ours, &user, "'cus_'"),
    ] {
        assert!(execute(&store, &wrong).await.is_err(), "{wrong}");
    }
    execute(&store, &customer(&ours, &user, "'cus_1'")).await.unwrap();
    let second = customer(&ours.replace('0', "1"), &user, "NULL");
    assert!(execute(&store, &second).await.is_err(), "two customers of one user");

    let license = |id: u8, seq: u8| {
        format!(
            "INSERT INTO licenses (license_id, customer_id, seq, source, plan, key_id, token,
             issued_at, token_expires_at) VALUES ('{id}', '{ours}', {seq}, 'trial', 'p', 'k', 't', 1, 2)"
        )
    };
    execute(&store, &license(1, 1)).await.unwrap();
    assert!(execute(&store, &license(2, 2)).await.is_err(), "two current licenses");
    let because = |reason: &str| format!("UPDATE licenses SET revocation_reason = '{reason}'");
    assert!(execute(&store, &because("whim")).await.is_err(), "no reason to revoke");
    for reason in RevocationReason::ALL {
        execute(&store, &because(reason.as_str())).await.unwrap();
    }
}

/// Mails that wait, and those that the older schema can hold, survive the new table of mails.
#[tokio::test]
async fn waiting_mails_and_verified_addresses_survive_a_migration_and_its_reversal() {
    let directory = tempfile::tempdir().unwrap();
    let store = TestDatabase::empty(directory.path()).await.open().await;
    store.migrate_up().await.unwrap();
    store.migrate_down_to(11).await.unwrap();
    let id = "0123456789abcdef0123456789abcdef";
    let rows = format!(
        "INSERT INTO users (user_id, email, password_hash, created_at, updated_at,
             email_verified_at)
         VALUES ('user_{id}', 'ada@example.com', 'x', 1, 1, 7);
         INSERT INTO customers (customer_id, user_id, email, created_at, updated_at)
         VALUES ('cust_{id}', 'user_{id}', 'ada@example.com', 1, 1);
         INSERT INTO licenses (license_id, customer_id, seq, source, plan, token, key_id, issued_at,
             token_expires_at)
         VALUES ('lic_{id}', 'cust_{id}', 1, 'trial', 'trial', 'a.b.c', 'k', 1, 2);
         INSERT INTO outbox (mail_id, customer_id, license_id, kind, created_at, due_at, attempts)
         VALUES ('mail_{id}', 'cust_{id}', 'lic_{id}', 'trial', 1, 5, 3)"
    );
    execute(&store, &rows).await.unwrap();
    store.migrate_up().await.unwrap();
    let waits = "SELECT COUNT(*) FROM outbox
        WHERE license_id IS NOT NULL AND due_at = 5 AND attempts = 3 AND sent_at IS NULL";
    assert_eq!(number(&store, waits).await, 1);
    let verified = "SELECT COUNT(*) FROM customers WHERE email_verified_at = 7";
    assert_eq!(number(&store, verified).await, 1);

    let newer = "INSERT INTO outbox (mail_id, recipient, kind, created_at, due_at)
        VALUES ('mail_1', 'bob@example.com', 'account_deleted', 1, 1)";
    execute(&store, newer).await.unwrap();
    store.migrate_down_to(11).await.unwrap();
    assert_eq!(number(&store, waits).await, 1);
    assert_eq!(number(&store, "SELECT COUNT(*) FROM outbox").await, 1);
    let verified = "SELECT COUNT(*) FROM users WHERE email_verified_at = 7";
    assert_eq!(number(&store, verified).await, 1);
    store.migrate_up().await.unwrap();
}

#[tokio::test]
async fn unknown_buyers_and_waiting_purchases_survive_a_migration_and_its_reversal() {
    let directory = tempfile::tempdir().unwrap();
    let store = TestDatabase::empty(directory.path()).await.open().await;
    store.migrate_up().await.unwrap();
    store.migrate_down_to(30).await.unwrap();
    let id = "0123456789abcdef0123456789abcdef";
    let rows = format!(
        "INSERT INTO users (user_id, email, password_hash, created_at, updated_at)
         VALUES ('user_{id}', 'ada@example.com', 'x', 1, 1);
         INSERT INTO customers (customer_id, user_id, email, created_at, updated_at)
         VALUES ('cust_{id}', 'user_{id}', 'ada@example.com', 1, 1);
         INSERT INTO unknown_buyers VALUES ('cus_1', 'studio', 1, 2), ('cus_2', 'studio', 3, 4);
         INSERT INTO waiting_purchases VALUES ('cus_1', 'cust_{id}', 5)"
    );
    execute(&store, &rows).await.unwrap();
    store.migrate_up().await.unwrap();
    let waits = "SELECT COUNT(*) FROM waiting_purchases
        WHERE buyer_id = 'cus_1' AND created_at = 5 AND mailed_at = 5 AND mails = 1";
    assert_eq!(number(&store, waits).await, 1);
    assert_eq!(number(&store, "SELECT COUNT(*) FROM unknown_buyers").await, 2);
    // The older version knows no guests.
    let guest = "INSERT INTO unknown_buyers VALUES ('cs_1', 'studio', 1, 1)";
    execute(&store, guest).await.unwrap();
    store.migrate_down_to(30).await.unwrap();
    let waits = "SELECT COUNT(*) FROM waiting_purchases
        WHERE stripe_customer_id = 'cus_1' AND created_at = 5";
    assert_eq!(number(&store, waits).await, 1);
    assert_eq!(number(&store, "SELECT COUNT(*) FROM unknown_buyers").await, 2);
    store.migrate_up().await.unwrap();
}
