//! Random histories with every fault (the crate `sim`): fixed seeds, so this test never fails by
//! chance, and every seed that failed once. `scripts/soak` runs random seeds. A failure prints
//! its seed: `cargo run --release -p licentia-sim -- --seed N --trace` repeats it.

use licentia_sim::{
    ACCOUNTS_FROM, ALL_KINDS_FROM, CHANGES_FROM, GUESTS_FROM, MANY_INVOICES_FROM, PERPETUAL_FROM,
    Plan, SEEDS_THAT_FAILED, SELLING_FROM, Total,
};

use crate::harness::TestDatabase;
use crate::harness::database::{Kind, kind};

/// The number of fixed seeds on SQLite in memory, and on PostgreSQL, where each takes far longer.
const ON_SQLITE: u64 = 280;
const ON_POSTGRES: u64 = 14;

/// On PostgreSQL, a seed gives almost the same history only: one in so many of those that failed.
const FAILED_ON_POSTGRES: usize = 2;

/// The number of histories that run twice and must be equal.
const TWICE: u64 = 14;

/// Returns fixed seeds: the same number from each range. The ranges differ in the kinds of step.
fn fixed(count: u64) -> impl Iterator<Item = u64> {
    let ranges = [
        1,
        ALL_KINDS_FROM,
        MANY_INVOICES_FROM,
        ACCOUNTS_FROM,
        SELLING_FROM,
        CHANGES_FROM,
        GUESTS_FROM,
        PERPETUAL_FROM,
    ];
    let each = count / ranges.len() as u64;
    ranges.into_iter().flat_map(move |first| first..first + each)
}

async fn run(seeds: Vec<u64>, twice: bool) -> Total {
    let directory = tempfile::tempdir().unwrap();
    let database = match kind() {
        Kind::Sqlite => None,
        Kind::Postgres => Some(TestDatabase::empty(directory.path()).await.url),
    };
    let plan = Plan { seeds, database, twice, trace: false };
    let total = tokio::task::spawn_blocking(move || licentia_sim::run(&plan)).await.unwrap();
    let total = total.unwrap();
    assert!(total.violations.is_empty(), "{:#?}", total.violations);
    total
}

#[tokio::test]
async fn every_invariant_holds_after_any_history_reliability_a_b_c_d_e_f_g() {
    let (count, step) = match kind() {
        Kind::Sqlite => (ON_SQLITE, 1),
        Kind::Postgres => (ON_POSTGRES, FAILED_ON_POSTGRES),
    };
    let seeds: Vec<u64> = fixed(count).chain(SEEDS_THAT_FAILED.into_iter().step_by(step)).collect();
    let histories = seeds.len() as u64;
    let total = run(seeds, false).await;
    assert_eq!(total.histories, histories);
    assert!(!total.deaths.is_empty(), "no server ever died");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_history() {
    if kind() == Kind::Postgres {
        // PostgreSQL's connections respond in an order that the seed does not decide.
        return;
    }
    run(fixed(TWICE).collect(), true).await;
}
