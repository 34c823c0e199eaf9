//! Applies and reverts the migrations in the folder `migrations`. Each migration is one
//! transaction: after a crash the database is as it was before that migration, and the next start
//! continues.

use std::sync::LazyLock;

use sqlx::SqlStr;
use sqlx::migrate::MigrationType::{ReversibleDown, ReversibleUp};
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use super::{MAX_ATTEMPTS, RETRY_PAUSE, Store};
use crate::error::{Error, Result};

/// The files of the folder `migrations`, built into the binary. A test checks that none is missing.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    macro_rules! pairs {
        ($($version:literal $file:literal),* $(,)?) => {
            Migrator::with_migrations(vec![$(
                step($version, $file, ReversibleUp, include_str!(concat!("../../migrations/", $file, ".up.sql"))),
                step($version, $file, ReversibleDown, include_str!(concat!("../../migrations/", $file, ".down.sql"))),
            )*])
        };
    }
    pairs! {
        1 "0001_accounts",
        2 "0002_licenses",
        3 "0003_audit_log",
        4 "0004_outbox",
        5 "0005_sales",
        6 "0006_inbox",
        7 "0007_admin_keys",
        8 "0008_verified_emails",
        9 "0009_revocation_reasons",
        10 "0010_unknown_buyers",
        11 "0011_closed_invoices",
        12 "0012_customer_addresses",
        13 "0013_account_mails",
        14 "0014_audit_values",
        15 "0015_password_times",
        16 "0016_customer_search",
        17 "0017_throttle",
        18 "0018_outgoing_webhooks",
        19 "0019_mail_texts",
        20 "0020_grants",
        21 "0021_account_addresses",
        22 "0022_idempotency_keys",
        23 "0023_support_at_scale",
        24 "0024_reset_required",
        25 "0025_seen_plans",
        26 "0026_selling",
        27 "0027_trial_cards",
        28 "0028_account_checks",
        29 "0029_subscription_changes",
        30 "0030_waiting_purchases",
        31 "0031_guest_purchases",
        32 "0032_paid_orders",
        33 "0033_signing_keys",
        34 "0034_key_bundles",
        35 "0035_status_lists",
        36 "0036_server_identity",
        37 "0037_licenses_of_key",
        38 "0038_deleted_buyers",
        39 "0039_accepted_losses",
    }
});

fn step(version: i64, file: &'static str, kind: MigrationType, sql: &'static str) -> Migration {
    let description = file.split_once('_').map_or(file, |(_, name)| name).replace('_', " ");
    Migration::new(version, description.into(), kind, SqlStr::from_static(sql), false)
}

/// sqlx's table of applied migrations.
const TABLE: &str = "_sqlx_migrations";

/// One migration, and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// The number.
    pub version: i64,
    /// The description, from the file's name.
    pub description: String,
    /// Whether the database has it.
    pub applied: bool,
}

impl Store {
    /// Applies all missing migrations. Several servers may start at once on one database: the
    /// migration of the one that loses the race is rolled back and retried.
    ///
    /// # Errors
    /// [`Error::Setup`] when the schema is newer than this binary, was changed by hand, or a
    /// migration fails.
    pub async fn migrate_up(&self) -> Result<()> {
        retry_races(async || {
            let migrator = unlocked();
            match self {
                Self::Sqlite { writer, .. } => migrator.run(writer).await,
                Self::Postgres(pool) => migrator.run(pool).await,
            }
        })
        .await
    }

    /// Reverts every migration above `version`, newest first. The data in their tables is lost.
    ///
    /// # Errors
    /// As [`Store::migrate_up`].
    pub async fn migrate_down_to(&self, version: i64) -> Result<()> {
        let migrator = unlocked();
        let reverted = match self {
            Self::Sqlite { writer, .. } => migrator.undo(writer, version).await,
            Self::Postgres(pool) => migrator.undo(pool, version).await,
        };
        reverted.map_err(explain)
    }

    /// Checks that the database has the schema of this binary.
    ///
    /// # Errors
    /// [`Error::Setup`] when the schema is older or newer.
    pub async fn must_be_current(&self) -> Result<()> {
        if self.migration_status().await?.iter().all(|step| step.applied) {
            return Ok(());
        }
        Err(Error::setup("the database has an older schema; run `licentia migrate up` first"))
    }

    /// Returns every migration of this binary, in order, and whether the database has it.
    ///
    /// # Errors
    /// When the schema is newer than this binary, or cannot be read.
    pub async fn migration_status(&self) -> Result<Vec<Step>> {
        let applied = retry_races(async || match self {
            Self::Sqlite { writer, .. } => applied(&mut *writer.acquire().await?).await,
            Self::Postgres(pool) => applied(&mut *pool.acquire().await?).await,
        });
        let applied = applied.await?;
        let known =
            MIGRATIONS.iter().filter(|migration| migration.migration_type.is_up_migration());
        let steps: Vec<Step> = known
            .map(|migration| Step {
                version: migration.version,
                description: migration.description.to_string(),
                applied: applied.contains(&migration.version),
            })
            .collect();
        let unknown = applied.iter().find(|version| !MIGRATIONS.version_exists(**version));
        unknown.map_or(Ok(steps), |version| Err(explain(MigrateError::VersionMissing(*version))))
    }
}

/// Retries work that fails because another process migrates at the same time. Reading the status
/// can fail that way too: it creates sqlx's table if it does not exist.
async fn retry_races<T>(work: impl AsyncFn() -> std::result::Result<T, MigrateError>) -> Result<T> {
    let mut attempts = 1;
    loop {
        match work().await {
            Ok(result) => return Ok(result),
            Err(error) if attempts < MAX_ATTEMPTS && may_be_a_race(&error) => {
                tracing::debug!(%error, attempts, "migration failed; another server may be migrating");
                tokio::time::sleep(RETRY_PAUSE).await;
                attempts += 1;
            }
            Err(error) => return Err(explain(error)),
        }
    }
}

async fn applied<C: Migrate>(connection: &mut C) -> std::result::Result<Vec<i64>, MigrateError> {
    connection.ensure_migrations_table(TABLE).await?;
    let applied = connection.list_applied_migrations(TABLE).await?;
    Ok(applied.into_iter().map(|migration| migration.version).collect())
}

/// Returns a migrator without sqlx's own lock. On PostgreSQL that is an advisory lock, which not
/// every engine with the same protocol supports.
fn unlocked() -> Migrator {
    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrator.set_locking(false);
    migrator
}

fn may_be_a_race(error: &MigrateError) -> bool {
    matches!(error, MigrateError::Execute(_) | MigrateError::ExecuteMigration(..))
}

fn explain(error: MigrateError) -> Error {
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    Error::setup(match error {
        MigrateError::VersionMissing(version) => format!(
            "the database has schema version {version}, but this binary knows up to {newest}: a \
             newer licentia has used it. Start the newer version, or restore an older backup"
        ),
        MigrateError::VersionMismatch(version) => format!(
            "migration {version} in the database differs from the one in this binary: the database \
             belongs to another build of licentia. Use that build, or restore a backup"
        ),
        MigrateError::Dirty(version) => format!(
            "migration {version} was interrupted and not rolled back. Restore a backup, then run \
             `licentia migrate up`"
        ),
        other => format!("the schema cannot be migrated: {other}"),
    })
}
