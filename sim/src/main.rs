//! Random histories of the whole service, decided by seeds: sign-ups, checkouts, payments, renewals,
//! cancellations, refunds and the passing of time, while events are lost, repeated and reordered, Stripe and
//! the mail server fail, servers die at any fail point, and two of them work at once. Then calm: and what
//! must hold is checked.

mod checks;
mod database;
mod dice;
mod gate;
mod history;
mod people;
mod server;
mod timers;
mod truth;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use licentia::config::Config;
use licentia::domain::time::Timestamp;
use licentia::error::{Error, Result};
use licentia::keys::KeyRing;
use licentia::random::Random;
use licentia::{fail_point, plans};
use server::Ground;
use tokio::runtime::Builder;

/// When the keys of every history begin to sign, in days from its start: it lives through two rotations.
const KEYS: [i64; 3] = [-100, 20, 60];

/// How often it is said how far it is.
const BETWEEN_WORDS: Duration = Duration::from_secs(10);

/// Runs random histories of the service with faults, and checks what must hold in the end.
///
/// Example: cargo run --release -p licentia-sim -- --seeds 1000
#[derive(Parser)]
struct Arguments {
    /// How many histories.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first one's seed; the others follow. Without it, chance decides.
    #[arg(long)]
    seed: Option<u64>,
    /// The database, whose contents are deleted: `postgres://…`. Without it, SQLite in memory.
    #[arg(long)]
    database: Option<String>,
    /// Tells what happens in each history.
    #[arg(long)]
    trace: bool,
}

/// What all threads add to.
#[derive(Default)]
struct Total {
    next: AtomicU64,
    done: AtomicU64,
    steps: AtomicU64,
    violations: AtomicU64,
    deaths: Mutex<BTreeMap<&'static str, usize>>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::disallowed_methods)] // How long it takes, on the machine's clock.
fn run(arguments: &Arguments) -> Result<bool> {
    let first = match arguments.seed {
        Some(seed) => seed,
        // Seven digits, so that it is easily repeated.
        None => u64::try_from(Random::from_system()?.bits() % 10_000_000).unwrap_or(0),
    };
    let directory = tempfile::tempdir().map_err(|error| Error::setup(error.to_string()))?;
    let config = config(directory.path())?;
    let total = Total::default();
    let began = Instant::now();
    // A database that is named is one; in memory, each thread has its own.
    let threads = match arguments.database {
        Some(_) => 1,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    eprintln!("seeds {first} to {}, {threads} at once", first + arguments.seeds.max(1) - 1);
    let failed = std::thread::scope(|scope| {
        let work = || one_after_the_other(arguments, first, &config, &total, began);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let done = threads.into_iter().map(|thread| thread.join());
        done.map(|done| done.unwrap_or_else(|_| Err(Error::Internal("a thread ended".into()))))
            .find_map(Result::err)
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let deaths = total.deaths.lock().unwrap_or_else(PoisonError::into_inner);
    let places = fail_point::ALL.iter().filter(|place| deaths.contains_key(**place)).count();
    let (histories, steps) = (total.done.into_inner(), total.steps.into_inner());
    let violations = total.violations.into_inner();
    println!(
        "{steps} steps in {} seconds; servers died {} times, at {places} of {} fail points",
        began.elapsed().as_secs(),
        deaths.values().sum::<usize>(),
        fail_point::ALL.len(),
    );
    println!("{histories} histories, {violations} violations");
    Ok(violations == 0)
}

/// Runs histories until there are no more.
#[allow(clippy::disallowed_methods)] // As above.
fn one_after_the_other(
    arguments: &Arguments,
    first: u64,
    config: &Config,
    total: &Total,
    began: Instant,
) -> Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        // What can run here runs before it is looked what the database's thread answered, or the order
        // would depend on how fast that was.
        .global_queue_interval(u32::MAX)
        .build();
    let runtime = runtime.map_err(|error| Error::setup(error.to_string()))?;
    runtime.block_on(async {
        let store = database::open(arguments.database.as_deref()).await?;
        let plans = plans::load(None)?;
        let missing = || Error::Internal("the keys just made are not there".into());
        let keys = KeyRing::load(config)?.ok_or_else(missing)?;
        let ground = Ground { config: config.clone(), plans, keys, store };
        loop {
            let number = total.next.fetch_add(1, Ordering::SeqCst);
            if number >= arguments.seeds {
                break;
            }
            one(arguments, first + number, &ground, total).await?;
            if began.elapsed() > BETWEEN_WORDS && number.is_multiple_of(500) {
                eprintln!("{number} histories in {} seconds", began.elapsed().as_secs());
            }
        }
        Ok(())
    })
}

async fn one(arguments: &Arguments, seed: u64, ground: &Ground, total: &Total) -> Result<()> {
    database::empty(&ground.store).await?;
    let ending = history::run(ground, seed, arguments.trace).await?;
    for line in &ending.trace {
        println!("{line}");
    }
    for violation in &ending.violations {
        println!("seed {seed}: {violation}");
    }
    if arguments.trace {
        println!("seed {seed}: {} steps, digest {:016x}", ending.steps, ending.digest);
    }
    total.done.fetch_add(1, Ordering::SeqCst);
    total.steps.fetch_add(ending.steps as u64, Ordering::SeqCst);
    total.violations.fetch_add(ending.violations.len() as u64, Ordering::SeqCst);
    let mut deaths = total.deaths.lock().unwrap_or_else(PoisonError::into_inner);
    for (place, times) in ending.deaths {
        *deaths.entry(place).or_default() += times;
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
