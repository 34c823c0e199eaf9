//! The simulation's command line: parses the arguments and prints the results. The histories are in
//! `lib.rs`.

use std::process::ExitCode;

use clap::Parser;
use licentia::error::Result;
use licentia::fail_point::Place;
use licentia_sim::{Plan, SEEDS_THAT_FAILED, fresh_seed};

/// Runs random histories of the service with faults, and checks the invariants at their end. The
/// same seed gives the same history.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release -p licentia-sim -- --seeds 1000
  cargo run --release -p licentia-sim -- --seed 42 --trace
  cargo run --release -p licentia-sim -- --seeds 100 --database postgres://localhost/throwaway"
)]
struct Arguments {
    /// The number of histories.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The seed of the first history; the next ones follow. The default is random.
    #[arg(long)]
    seed: Option<u64>,
    /// The database, ALL OF WHOSE CONTENTS ARE DELETED. The default is SQLite in memory.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Also run the seeds that failed once.
    #[arg(long)]
    failed: bool,
    /// Run each history twice and compare the results.
    #[arg(long)]
    twice: bool,
    /// Print the steps of each history.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<bool> {
    let first = arguments.seed.map_or_else(fresh_seed, Ok)?;
    let mut seeds: Vec<u64> = (0..arguments.seeds).map(|more| first.wrapping_add(more)).collect();
    if arguments.failed {
        seeds.extend(SEEDS_THAT_FAILED);
    }
    eprintln!("{} seeds from {first} on", arguments.seeds);
    let Arguments { database, twice, trace, .. } = arguments;
    let total = licentia_sim::run(&Plan { seeds, database, twice, trace })?;
    for violation in &total.violations {
        println!("{violation}");
    }
    let died: usize = total.deaths.values().sum();
    let (passed, places) = (total.deaths.len(), Place::ALL.len());
    println!(
        "{} steps in {} seconds; servers died {died} times, at {passed} of {places} fail points",
        total.steps, total.seconds,
    );
    println!(
        "{} changes compared with their previews, {} of them billed at once",
        total.changes, total.billed_changes,
    );
    println!("{} histories, {} violations", total.histories, total.violations.len());
    Ok(total.violations.is_empty())
}
