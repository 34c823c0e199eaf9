//! Random histories of the whole service, decided by seeds. Customers sign up, pay, renew and
//! cancel, and time passes. Meanwhile events are lost, repeated and reordered, Stripe and the mail
//! server fail, servers die at any fail point, and two servers work at once. Then the faults stop,
//! and the invariants are checked. README.md describes what is simulated and what is not.

mod account_checks;
mod account_results;
mod accounts;
mod bills;
mod calendar;
mod calm;
mod changes;
mod checks;
mod comparison;
mod database;
mod dice;
mod gate;
mod guests;
mod history;
mod idle;
mod invoices;
mod ledger;
mod links;
mod mails;
mod mishaps;
mod money;
mod people;
mod perpetual;
mod selling;
mod server;
mod support;
mod timers;
mod trials;
mod truth;
mod unit_checks;
mod units;
mod webhooks;
mod work;
mod world;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use changes::Compared;
use futures_util::FutureExt;
use history::Ending;
use idle::Idle;
use licentia::config::Config;
use licentia::domain::time::Timestamp;
use licentia::error::{Error, Result};
use licentia::keys::KeyRing;
use licentia::plans;
use licentia::random::Random;
use licentia::templates;
use server::Ground;
use tokio::runtime::Builder;

/// The seeds of histories that failed once. A seed's history changes with the simulation, so each
/// fault that they found also has a test of its own.
#[rustfmt::skip] // Otherwise each is on a line of its own.
pub const SEEDS_THAT_FAILED: [u64; 125] = [
    49, 65, 100, 1026, 1281, 1295, 5018, 5225, 5247, 5309, 5686, 5770, 20514, 1000664, 1000689,
    1001941, 2000158, 2000520, 2000683, 2001205, 2001217, 11003752, 11006488, 11006772, 12011990,
    12012347, 12014520, 12016507, 21005170, 4247595, 930000032, 930000453, 930000456, 930000508,
    931000213, 931000259, 931000350, 931000507, 931000789, 931000850, 931000917, 950048783,
    980003877, 1100010225,
    10000000001, 10000000002, 10000000004, 10000000013, 10000000038, 10000000052, 10000000053,
    10000000054, 10000000056, 10000000061, 10000000070, 10000000408, 10000000524, 10000000707,
    10000001126, 10000001433, 10000001496, 10000002410, 10000002889, 10000003002, 10000003588,
    10000004515, 10000005178, 10000005869, 10000007241, 10000009763, 10000023838, 10000030275,
    10000034261, 10000051170, 10000055052, 10000505410,
    40000000277, 40000000427, 40000000329, 40000100797, 40000103327, 40000104258,
    40000105061, 40000105600, 40000105872, 50000000131,
    40000100962, 40000101221, 40000102034, 40000102792, 40000104014, 40000104323, 40000105672,
    40000106257, 50000100067, 50000100151, 60000001105,
    50000400933, 50000401349, 50000401625, 50000401634, 50000401922, 50000402041, 50000402262,
    50000404827, 60000007893, 40002003503, 60000103662, 50000603387,
    60000200231, 60000200392, 50000000004, 40003000639, 40003000661, 40003004931, 60000251538,
    60000300507, 60000301631, 60000302825, 60000304827, 40004021966,
    40004022669, 50000804176, 50000805793, 50000851066,
];

/// The first seed whose history draws the newer kinds of mishap. Seeds below draw only the older
/// kinds, because a new kind would change every later draw of the seeds that failed.
pub const ALL_KINDS_FROM: u64 = 10_000_000_000;

/// The first seed whose history also has customers with more invoices than a sync fetches again.
pub const MANY_INVOICES_FROM: u64 = 20_000_000_000;

/// The first seed whose history also has steps with accounts: changes of addresses and passwords,
/// deletions and returns.
pub const ACCOUNTS_FROM: u64 = 30_000_000_000;

/// The first seed whose history sells once, by the unit, with an add-on and in two currencies, by
/// plans of its own, and without the steps of the ranges between. If more kinds come, they need a
/// limit of their own.
pub const SELLING_FROM: u64 = 40_000_000_000;

/// The first seed whose history sells as those from [`SELLING_FROM`] do, and has customers who
/// change their subscriptions through the API.
pub const CHANGES_FROM: u64 = 50_000_000_000;

/// The first seed whose history sells as those from [`CHANGES_FROM`] do, also to guests: buyers of
/// whom Stripe has no customer.
pub const GUESTS_FROM: u64 = 60_000_000_000;

/// The first seed whose history sells as those from [`CHANGES_FROM`] do, and has a lower and a
/// higher plan that are sold once.
pub const PERPETUAL_FROM: u64 = 70_000_000_000;

/// When the keys of every history begin to sign, in days from its start. Each history has two
/// rotations.
const KEYS: [i64; 3] = [-100, 20, 60];

/// A number of histories with changes in which some change is certainly billed.
const ENOUGH: usize = 50;

/// The interval of progress reports.
const BETWEEN_WORDS: Duration = Duration::from_secs(30);

/// The histories to run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The seeds, one for each history.
    pub seeds: Vec<u64>,
    /// The URL of the database, whose contents are deleted; none for SQLite in memory.
    pub database: Option<String>,
    /// Whether to run each history twice and compare the results.
    pub twice: bool,
    /// Whether to print the steps to standard output.
    pub trace: bool,
}

/// The results.
#[derive(Debug, Default)]
pub struct Total {
    /// The number of completed histories.
    pub histories: u64,
    /// The number of their steps.
    pub steps: u64,
    /// The violations, each with its seed.
    pub violations: Vec<String>,
    /// The fail points where servers died, and how often.
    pub deaths: BTreeMap<&'static str, usize>,
    /// The changes of subscriptions that were compared with their previews.
    pub changes: u64,
    /// Those of them that made an invoice.
    pub billed_changes: u64,
    /// The duration in seconds.
    pub seconds: u64,
}

/// Returns a random seed of one of the newest ranges: with accounts, with more ways to sell, with
/// changes through the API, with guests, or with two perpetual plans.
///
/// # Errors
/// When the system provides no randomness.
pub fn fresh_seed() -> Result<u64> {
    let drawn = u64::try_from(Random::from_system()?.bits() % 500_000_000).unwrap_or(0);
    let ranges = [ACCOUNTS_FROM, SELLING_FROM, CHANGES_FROM, GUESTS_FROM, PERPETUAL_FROM];
    let (number, first) = (drawn / 5, usize::try_from(drawn % 5).unwrap_or(0));
    Ok(ranges[first] + number)
}

/// Runs histories, as many at once as there are cores.
///
/// # Errors
/// When the database cannot be used. Violations are no errors; they are in the result.
#[allow(clippy::disallowed_methods)] // How long it takes, on the machine's clock.
pub fn run(plan: &Plan) -> Result<Total> {
    let directory = tempfile::tempdir().map_err(|error| Error::setup(error.to_string()))?;
    let config = config(directory.path())?;
    let (next, total, began) = (AtomicUsize::new(0), Mutex::new(Total::default()), Instant::now());
    // A named database allows one thread. In memory, each thread has its own.
    let threads = match plan.database {
        Some(_) => 1,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let failed = std::thread::scope(|scope| {
        let (config, next, total) = (&config, &next, &total);
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let threads = (0..threads).map(|number| {
            let core = cores.get(number).copied().filter(|_| plan.database.is_none());
            scope.spawn(move || {
                // The database's thread inherits the core. The two take turns, which is faster on
                // one core.
                core.map(core_affinity::set_for_current);
                one_after_the_other(plan, config, next, total)
            })
        });
        let threads: Vec<_> = threads.collect();
        let ended = |_| Err(Error::Internal("a thread ended".into()));
        threads.into_iter().find_map(|thread| thread.join().unwrap_or_else(ended).err())
    });
    match failed {
        Some(error) => Err(error),
        None => {
            let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
            let with_changes = plan.seeds.iter().filter(|seed| **seed >= CHANGES_FROM).count();
            if with_changes >= ENOUGH && total.billed_changes == 0 {
                let what = "N: no change that was billed was compared with its preview";
                total.violations.push(what.to_owned());
            }
            Ok(Total { seconds: began.elapsed().as_secs(), ..total })
        }
    }
}

/// Runs histories until there are no more.
#[allow(clippy::disallowed_methods)] // As above.
fn one_after_the_other(
    plan: &Plan,
    config: &Config,
    next: &AtomicUsize,
    total: &Mutex<Total>,
) -> Result<()> {
    let idle = Idle::default();
    let watching = idle.clone();
    let mut builder = Builder::new_current_thread();
    if plan.database.is_some() {
        // Without sockets, the thread needs no I/O driver, and waiting is cheaper.
        builder.enable_io();
    }
    let runtime = builder
        .enable_time()
        .on_thread_park(move || watching.about_to_wait())
        // Runnable tasks run before the responses of the database's thread are polled. Otherwise
        // their order would depend on its speed.
        .global_queue_interval(u32::MAX)
        .build();
    let runtime = runtime.map_err(|error| Error::setup(error.to_string()))?;
    runtime.block_on(async {
        let store = database::open(plan.database.as_deref()).await?;
        let plans = plans::load(None)?;
        let selling_plans = plans::parse("selling.toml", selling::PLANS)?;
        let missing = || Error::Internal("the keys just made are not there".into());
        let keys = KeyRing::load(config)?.ok_or_else(missing)?;
        idle.watch(&store);
        let (config, templates) = (config.clone(), templates::load(&config.email)?);
        let ground = Ground { config, plans, selling_plans, keys, templates, store, idle };
        let mut told = Instant::now();
        while let Some(seed) = plan.seeds.get(next.fetch_add(1, Ordering::SeqCst)) {
            one(plan, *seed, &ground, total).await?;
            if told.elapsed() > BETWEEN_WORDS {
                let total = total.lock().unwrap_or_else(PoisonError::into_inner);
                let (histories, violations) = (total.histories, total.violations.len());
                eprintln!("{histories} histories, {violations} violations so far");
                told = Instant::now();
            }
        }
        ground.store.close().await;
        Ok(())
    })
}

async fn one(plan: &Plan, seed: u64, ground: &Ground, total: &Mutex<Total>) -> Result<()> {
    let once = async || {
        database::empty(&ground.store).await?;
        let run = AssertUnwindSafe(history::run(ground, seed, plan.trace)).catch_unwind();
        // The violation has the seed, too.
        let panicked = "a panic, told on standard error".to_owned();
        let panicked = Ending { violations: vec![panicked], ..Ending::default() };
        run.await.unwrap_or(Ok(panicked))
    };
    let mut ending = once().await?;
    if plan.twice && once().await?.digest != ending.digest {
        ending.violations.push("it was not the same the second time".to_owned());
    }
    for line in &ending.trace {
        println!("{line}");
    }
    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
    total.histories += 1;
    total.steps += ending.steps as u64;
    for violation in &ending.violations {
        let violation = format!("seed {seed}: {violation}");
        // Printed at once, because a long run may be stopped before its end.
        eprintln!("{violation}");
        total.violations.push(violation);
    }
    let Compared { all, billed } = ending.compared;
    total.changes += all;
    total.billed_changes += billed;
    for (place, times) in ending.deaths {
        *total.deaths.entry(place).or_default() += times;
    }
    Ok(())
}

/// Returns the configuration of every server, with the keys that it names.
fn config(directory: &Path) -> Result<Config> {
    let environment = [
        ("LICENTIA_KEYS_DIR", directory.join("keys").display().to_string()),
        ("LICENTIA_STRIPE__SECRET_KEY", licentia_sandbox::SECRET_KEY.to_owned()),
        ("LICENTIA_STRIPE__WEBHOOK_SECRET", "whsec_of_the_history".to_owned()),
    ];
    let file = directory.join("licentia.toml");
    std::fs::write(&file, "").map_err(|error| Error::setup(error.to_string()))?;
    let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value));
    let config = Config::load(Some(&file), environment)?;
    let random = Random::seeded(0);
    for days in KEYS {
        let from = Timestamp::saturating(world::START + days * 86_400);
        KeyRing::generate(&config, from, &random)?;
    }
    Ok(config)
}
