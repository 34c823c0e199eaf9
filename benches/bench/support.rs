//! The requests of support, at 1,000 customers and at 1,000,000, on SQLite and on PostgreSQL, and
//! what counting the attempts adds to a login. Both sizes are measured in turns, so that other work
//! on the machine slows both down. Run by `./scripts/bench --support`, which needs PostgreSQL and
//! 20 GB of disk; `--support=20000` fills fewer customers, and `--sqlite` or `--postgres` one
//! database.

mod fill;
// The throwaway cluster of the suite.
#[allow(dead_code)]
#[path = "../../tests/suite/harness/postgres.rs"]
mod postgres;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use licentia::app::App;
use licentia::clock::SystemClock;
use licentia::config::Config;
use licentia::domain::account::password::Password;
use licentia::domain::operator::search::Search;
use licentia::domain::operator::stats::Period;
use licentia::domain::page::{Cursor, PageRequest};
use licentia::flows::account::{attempts, session};
use licentia::flows::operator::audit::{self, Filter};
use licentia::flows::operator::{customers, stats};
use licentia::passwords::Passwords;
use licentia::random::Random;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::fill::{ENTRIES, Person, fill};
use crate::median;

/// The number of customers of the small database.
const FEW: i64 = 1000;

/// The number of customers of the large database, unless the caller names one.
const MANY: i64 = 1_000_000;

/// The disk space that a customer takes at most, with the indexes and what PostgreSQL logs.
const BYTES_EACH: i64 = 20_000;

/// Rounds: the median of their ratios counts.
const ROUNDS: usize = 9;

/// The calls of each database in a round: enough for the slowest of a hundred.
const CALLS: usize = 300;

/// The logins of each kind. One takes as long as a hundred other calls.
const LOGINS: usize = 60;

/// The customers that are searched for: many more than SQLite's cache holds.
const SEARCHED: i64 = 2000;

const PASSWORD: &str = "SecurePass123";

/// A kind of query, and what it is for a customer.
type Query = (&'static str, fn(&Person) -> String);

/// The queries that find one customer among any number. `0` to `23` zeros end the ids.
const KEYS: [Query; 14] = [
    ("find cust_", Person::customer_id),
    ("find lic_", |one| format!("lic_{}2{:023}", one.key, 0)),
    ("find ord_", |one| format!("ord_{}1{:023}", one.key, 0)),
    ("find cus_", |one| format!("cus_{}", one.key)),
    ("find sub_", |one| format!("sub_{}", one.key)),
    ("find in_", |one| format!("in_{}1", one.key)),
    ("find pi_", |one| format!("pi_{}1", one.key)),
    ("find cs_", |one| format!("cs_{}", one.key)),
    ("find address", |one| one.email.clone()),
    ("find beginning of an address", |one| {
        let (name, _) = one.email.split_at(one.email.find('@').unwrap());
        name.to_owned()
    }),
    ("find family name", |one| one.last.clone()),
    ("find both names", |one| format!("{} {}", one.first, one.last)),
    ("find company", |one| one.company.clone()),
    ("find GmbH and a name", |one| format!("GmbH {}", &one.last[..one.last.len() - 1])),
];

/// The queries that find more customers when there are more.
const WORDS: [Query; 3] = [
    ("find GmbH: a full page", |_| "GmbH".to_owned()),
    ("find GmbH and a first name", |one| format!("GmbH {}", one.first)),
    ("find GmbH and an unknown word", |_| "GmbH xq".to_owned()),
];

/// A service with customers.
struct Filled {
    app: App,
    people: Vec<Person>,
    /// The customers with timelines of [`ENTRIES`].
    timelines: Vec<Person>,
}

/// Returns the number of customers of the large database, if this run measures support.
///
/// # Errors
/// How to use the argument.
pub fn customers(arguments: &[String]) -> Result<Option<i64>, &'static str> {
    let usage = "--support=N needs a number of customers; --json is not available with it";
    let Some(argument) = arguments.iter().find(|one| one.starts_with("--support")) else {
        return Ok(None);
    };
    let customers = match argument.strip_prefix("--support=") {
        Some(number) => number.parse().ok().filter(|number| *number > 0).ok_or(usage)?,
        None if argument == "--support" => MANY,
        None => return Err(usage),
    };
    if arguments.iter().any(|one| one == "--json") { Err(usage) } else { Ok(Some(customers)) }
}

/// Prints the figures of both databases.
pub fn run(runtime: &Runtime, customers: i64) {
    // An interrupted run removes its files, too.
    runtime.block_on(async {
        tokio::select! {
            () = on_both(customers) => (),
            _ = tokio::signal::ctrl_c() => eprintln!("interrupted"),
        }
    });
}

async fn on_both(customers: i64) {
    let named = |name: &str| std::env::args().any(|argument| argument == name);
    for (database, other) in [("SQLite", "--postgres"), ("PostgreSQL", "--sqlite")] {
        if named(other) {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        check_disk(directory.path(), customers);
        let mut services = Vec::new();
        for count in [FEW, customers] {
            eprintln!("{database}: {count} customers");
            services.push(open(database, &directory, count).await);
        }
        let [few, many] = services.as_slice() else { unreachable!() };
        println!(
            "\n{database}: milliseconds at {FEW} and at {customers} customers\n\
             {:<34} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7}",
            "", "p50", "p99", "p50", "p99", "p50", "p99"
        );
        for (name, query) in KEYS.into_iter().chain(WORDS) {
            compare(name, few, many, async |on, n| find(on, query, n).await).await;
        }
        timelines(few, many).await;
        audit_pages(few, many).await;
        statistics(few, many).await;
        logins(many).await;
        for filled in services {
            filled.app.store.close().await;
        }
    }
}

/// Refuses to fill a disk that has too little space.
fn check_disk(directory: &Path, customers: i64) {
    let output =
        Command::new("df").args(["--output=avail", "-B1"]).arg(directory).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let free: i64 = text.lines().last().unwrap().trim().parse().unwrap();
    let needed = customers * BYTES_EACH;
    assert!(free > needed, "{} needs {needed} bytes, and has {free}", directory.display());
}

async fn open(database: &str, directory: &TempDir, count: i64) -> Filled {
    let within = |name: &str| directory.path().join(name).display().to_string();
    let url = match database {
        "SQLite" => format!("sqlite://{}", within(&format!("{count}.db"))),
        _ => postgres::database(false).await,
    };
    std::fs::write(within("licentia.toml"), "").unwrap();
    let settings = [("LICENTIA_DATABASE_URL", url.clone()), ("LICENTIA_KEYS_DIR", within("keys"))];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    let config = Config::load(Some(within("licentia.toml").as_ref()), settings).unwrap();
    let start = async || {
        let random = Random::from_system().unwrap();
        App::start(&config, Arc::new(SystemClock), random).await.unwrap()
    };
    // The first start migrates the database and creates a signing key.
    start().await.store.close().await;
    let passwords = Passwords::default();
    let password = Password::new(PASSWORD.to_owned());
    let hash = passwords.hash(password, [7; 16]).await.unwrap();
    let (people, timelines) = fill(&url, count, &hash, SEARCHED).await;
    Filled { app: start().await, people, timelines }
}

/// Measures a call on both databases in turns, and prints the figures and their ratios.
async fn compare(name: &str, few: &Filled, many: &Filled, call: impl AsyncFn(&Filled, usize)) {
    let milliseconds = async |on: &Filled, n: usize| {
        let begun = Instant::now();
        call(on, n).await;
        begun.elapsed().as_secs_f64() * 1e3
    };
    for n in 0..CALLS {
        milliseconds(few, n).await;
        milliseconds(many, n).await;
    }
    let (mut rounds, mut next) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..CALLS {
            times[0].push(milliseconds(few, next).await);
            times[1].push(milliseconds(many, next).await);
            next += 1;
        }
        let [few, many] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            [times[CALLS / 2], times[CALLS * 99 / 100 - 1]]
        });
        rounds.push([few[0], few[1], many[0], many[1]]);
    }
    let of = |value: fn(&[f64; 4]) -> f64| median(rounds.iter().map(value));
    println!(
        "{name:<34} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>6.2}x {:>6.2}x",
        of(|round| round[0]),
        of(|round| round[1]),
        of(|round| round[2]),
        of(|round| round[3]),
        of(|round| round[2] / round[0]),
        of(|round| round[3] / round[1]),
    );
}

async fn find(on: &Filled, query: fn(&Person) -> String, n: usize) {
    let query = query(&on.people[n % on.people.len()]);
    let page = PageRequest { after: None, limit: 50 };
    let found = customers::find(&on.app, &Search::parse(&query), &page).await.unwrap();
    let is_empty = query.ends_with(" xq");
    assert!(found.entries.is_empty() == is_empty, "{query}");
}

async fn timelines(few: &Filled, many: &Filled) {
    for (place, entries) in ENTRIES.into_iter().enumerate() {
        let after = [later(few, place).await, later(many, place).await];
        for (page, is_first) in [("first page", true), ("a later page", false)] {
            let name = format!("timeline of {entries}: {page}");
            let call = async |on: &Filled, _| {
                let after = &after[usize::from(!std::ptr::eq(on, few))];
                timeline(on, place, after.clone().filter(|_| !is_first)).await;
            };
            compare(&name, few, many, call).await;
        }
    }
}

async fn audit_pages(few: &Filled, many: &Filled) {
    let list = async |on: &Filled, customer_id, action: Option<&str>, actor: Option<&str>| {
        let (action, actor) = (action.map(str::to_owned), actor.map(str::to_owned));
        let filter = Filter { customer_id, action, actor };
        let page = PageRequest { after: None, limit: 50 };
        let found = audit::list(&on.app, &filter, &page).await.unwrap();
        assert!(!found.entries.is_empty());
    };
    compare("audit log of a customer", few, many, async |on, n| {
        let id = on.people[n % on.people.len()].customer_id();
        list(on, id.parse().ok(), None, None).await;
    })
    .await;
    for action in ["license.issued", "license.extended"] {
        let name = format!("audit log, {action}");
        compare(&name, few, many, async |on, _| list(on, None, Some(action), None).await).await;
    }
    compare("audit log of the operator", few, many, async |on, _| {
        list(on, None, None, Some("operator")).await;
    })
    .await;
}

async fn timeline(on: &Filled, place: usize, after: Option<Cursor>) -> Option<Cursor> {
    let id = on.timelines[place].customer_id().parse().unwrap();
    // A page of a tenth of the shorter timeline, and the usual one of the longer.
    let request = PageRequest { after, limit: [5, 50][place] };
    customers::timeline(&on.app, &id, &request).await.unwrap().next_after
}

/// Returns the place in the middle of a timeline.
async fn later(on: &Filled, place: usize) -> Option<Cursor> {
    let mut after = None;
    for _ in 0..[2, 50][place] {
        after = timeline(on, place, after).await;
    }
    assert!(after.is_some());
    after
}

/// Measures the statistics of a month and of a year once: they count what there is.
async fn statistics(few: &Filled, many: &Filled) {
    let now = few.app.now();
    for days in [30, 366] {
        let to = now.to_datetime().date_naive();
        let from = to - chrono::Days::new(days - 1);
        let mut times = Vec::new();
        for on in [few, many] {
            let begun = Instant::now();
            stats::of(&on.app, Period { from, to }).await.unwrap();
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let name = format!("statistics of {days} days, once");
        println!("{name:<34} {:>8.3} {:>8} {:>8.3}", times[0], "", times[1]);
    }
}

/// Measures the login as the API does it, from a network that the customer has not used and then
/// from the same one, and a login whose attempt is not counted, in turns. Few attempts are allowed,
/// so each customer logs in three times.
async fn logins(on: &Filled) {
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for (n, person) in on.people.iter().take(LOGINS).enumerate() {
        let client = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + u32::try_from(n).unwrap() * 256));
        for (kind, times) in times.iter_mut().enumerate() {
            let begun = Instant::now();
            let mut attempt = None;
            if kind < 2 {
                attempt = attempts::log_in(&on.app, &person.email, client).await.ok();
                assert!(attempt.is_some(), "too many attempts");
            }
            let (email, password) = (person.email.parse().ok(), Password::new(PASSWORD.to_owned()));
            let (_, customer) = session::login(&on.app, email, password, None).await.unwrap();
            if let Some(attempt) = attempt {
                attempt.succeeded(&on.app, &customer.user_id).await;
            }
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    let ratio = |kind: usize| {
        median(times[kind].iter().zip(&times[2]).map(|(counted, bare)| counted / bare))
    };
    let [new, known, bare] = times.each_ref().map(|times| median(times.iter().copied()));
    println!(
        "login {bare:.2} ms; with a counted attempt from a known network {known:.2} ms ({:.2}x), \
         from a new one {new:.2} ms ({:.2}x)",
        ratio(1),
        ratio(0)
    );
}
