//! Random histories with every fault (the crate `sim`), a few hundred with seeds that nobody chose, and
//! those that failed once. A failure names its seed: `cargo run -p licentia-sim -- --seed N --trace`.

use licentia_sim::{Plan, SEEDS_THAT_FAILED, Total, fresh_seed};

use crate::harness::TestDatabase;
use crate::harness::database::{Kind, kind};

/// On SQLite in memory, and on PostgreSQL, where each takes many times as long.
const ON_SQLITE: u64 = 200;
const ON_POSTGRES: u64 = 10;

/// How many are run a second time: each must be the same again.
const TWICE: u64 = 10;

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
async fn whatever_happens_what_must_hold_holds_in_the_end() {
    let first = fresh_seed().unwrap();
    let many = if kind() == Kind::Sqlite { ON_SQLITE } else { ON_POSTGRES };
    let seeds: Vec<u64> = (first..first + many).chain(SEEDS_THAT_FAILED).collect();
    let histories = seeds.len() as u64;
    let total = run(seeds, false).await;
    assert_eq!(total.histories, histories);
    assert!(!total.deaths.is_empty(), "no server ever died, from seed {first} on");
}

#[tokio::test]
async fn the_same_seed_is_the_same_history() {
    if kind() == Kind::Postgres {
        // Whose connections answer in an order of their own.
        return;
    }
    let first = fresh_seed().unwrap();
    run((first..first + TWICE).collect(), true).await;
}
