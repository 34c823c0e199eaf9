//! Random histories of the whole service, decided by seeds: sign-ups, checkouts, payments,
//! renewals, cancellations, refunds and the passing of time, while events are lost, repeated and
//! reordered, Stripe and the mail server fail, servers die at any fail point, and two of them work
//! at once. Then calm: and what must hold is checked.

mod calm;
mod checks;
mod database;
mod dice;
mod gate;
mod history;
mod idle;
mod invoices;
mod mails;
mod mishaps;
mod money;
mod people;
mod server;
mod timers;
mod truth;
mod work;
mod world;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use history::Ending;
use idle::Idle;
use licentia::config::Config;
use licentia::domain::time::Timestamp;
use licentia::error::{Error, Result};
use licentia::keys::KeyRing;
use licentia::plans;
use licentia::random::Random;
use server::Ground;
use tokio::runtime::Builder;

/// The seeds of histories in which something did not hold once. What a seed stands for changes with
/// the simulation; what they had found has a test of its own.
#[rustfmt::skip] // Otherwise each is on a line of its own.
pub const SEEDS_THAT_FAILED: [u64; 72] = [
    49, 65, 100, 1026, 1281, 1295, 5018, 5225, 5247, 5309, 5686, 5770, 20514, 1000664, 1000689,
    1001941, 2000158, 2000520, 2000683, 2001205, 2001217, 11003752, 11006488, 11006772, 12011990,
    12012347, 12014520, 12016507, 21005170, 4247595, 930000032, 930000453, 930000456, 930000508,
    931000213, 931000259, 931000350, 931000507, 931000789, 931000850, 931000917, 950048783,
    980003877, 1100010225,
    10000000001, 10000000002, 10000000004, 10000000013, 10000000038, 10000000052, 10000000053,
    10000000054, 10000000056, 10000000061, 10000000070, 10000000408, 10000000524, 10000000707,
    10000001126, 10000001433, 10000001496, 10000002410, 10000002889, 10000003002, 10000003588,
    10000004515, 10000005178, 10000005869, 10000007241, 10000009763, 10000023838, 10000030275,
];

/// The first seed whose history draws every kind of mishap. Those below draw only the kinds that
/// there were until then, so that what failed once is still drawn: a new kind would move every
/// later draw. When more kinds come, they get a limit of their own.
pub const ALL_KINDS_FROM: u64 = 10_000_000_000;

/// When the keys of every history begin to sign, in days from its start: it lives through two
/// rotations.
const KEYS: [i64; 3] = [-100, 20, 60];

/// How often it is said how far it is.
const BETWEEN_WORDS: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// A history for each.
    pub seeds: Vec<u64>,
    /// The database, whose contents are deleted; none is SQLite in memory.
    pub database: Option<String>,
    /// Whether each is run twice, and must be the same.
    pub twice: bool,
    /// Whether it is told on standard output what happens.
    pub trace: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Total {
    /// How many histories were run to their end.
    pub histories: u64,
    /// How many steps they had.
    pub steps: u64,
    /// What did not hold, each with its seed.
    pub violations: Vec<String>,
    /// Where servers died, and how often.
    pub deaths: BTreeMap<&'static str, usize>,
    /// How long it took.
    pub seconds: u64,
}

/// A seed that nobody chose, of a history that draws every kind of mishap.
///
/// # Errors
/// When the system gives no randomness.
pub fn fresh_seed() -> Result<u64> {
    let drawn = u64::try_from(Random::from_system()?.bits() % 100_000_000).unwrap_or(0);
    Ok(ALL_KINDS_FROM + drawn)
}

/// Runs histories, as many at once as there are cores.
///
/// # Errors
/// When the database cannot be used. What does not hold is no error, but in the answer.
#[allow(clippy::disallowed_methods)] // How long it takes, on the machine's clock.
pub fn run(plan: &Plan) -> Result<Total> {
    let directory = tempfile::tempdir().map_err(|error| Error::setup(error.to_string()))?;
    let config = config(directory.path())?;
    let (next, total, began) = (AtomicUsize::new(0), Mutex::new(Total::default()), Instant::now());
    // A database that is named is one; in memory, each thread has its own.
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
                // Its database's thread inherits it: the two take turns, and sooner on the same
                // core.
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
            let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
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
        // Memory has no sockets, and a thread that looks after none waits at less cost.
        builder.enable_io();
    }
    let runtime = builder
        .enable_time()
        .on_thread_park(move || watching.about_to_wait())
        // What can run here runs before it is looked what the database's thread answered, or the
        // order would depend on how fast that was.
        .global_queue_interval(u32::MAX)
        .build();
    let runtime = runtime.map_err(|error| Error::setup(error.to_string()))?;
    runtime.block_on(async {
        let store = database::open(plan.database.as_deref()).await?;
        let plans = plans::load(None)?;
        let missing = || Error::Internal("the keys just made are not there".into());
        let keys = KeyRing::load(config)?.ok_or_else(missing)?;
        idle.watch(&store);
        let ground = Ground { config: config.clone(), plans, keys, store, idle };
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
        // It has its seed, too.
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
        // At once: a long run may be stopped before it ends.
        eprintln!("{violation}");
        total.violations.push(violation);
    }
    for (place, times) in ending.deaths {
        *total.deaths.entry(place).or_default() += times;
    }
    Ok(())
}

/// The configuration of every server, and the keys that it names.
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
