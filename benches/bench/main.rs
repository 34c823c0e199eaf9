//! Benchmarks of speed and size. Each figure has a baseline that is measured in the same run, in
//! turns. The time of an operation is the CPU time of this process, client and server together,
//! which other processes hardly change; a rate is that of one core. Run by `./scripts/bench`:
//! `--json` prints JSON, `--hot` measures only licenses and the requests of apps, `--support` what
//! support reads at two numbers of customers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hot;
mod languages;
mod load;
mod sale;
mod status;
mod support;

use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use argon2::Argon2;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use licentia::app::App;
use licentia::clock::{Clock, SystemClock};
use licentia::config::Config;
use licentia::domain::ids::{CustomerId, LicenseId};
use licentia::domain::license::status_list::StatusIndex;
use licentia::domain::license::{Entitlement, Holder, claims};
use licentia::random::Random;
use serde_json::json;
use tokio::runtime::Runtime;

/// The measurements of each pair; the median counts.
const ROUNDS: usize = 9;

/// The duration of one side of a round.
const ROUND: Duration = Duration::from_millis(200);

/// One line of the table.
#[derive(serde::Serialize)]
struct Row {
    name: &'static str,
    /// Our value.
    value: f64,
    unit: &'static str,
    better: Better,
    baseline: Option<Baseline>,
}

/// Whether a value is better when it is smaller (times, sizes) or larger (rates).
#[derive(Clone, Copy, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Better {
    Less,
    More,
}

/// The baseline.
#[derive(serde::Serialize)]
struct Baseline {
    name: &'static str,
    /// In the unit of the row.
    value: f64,
    /// Our value divided by the baseline: the median over the rounds.
    ratio: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let as_json = arguments.iter().any(|argument| argument == "--json");
    let runtime = Runtime::new().unwrap();
    match support::customers(&arguments) {
        Ok(None) => (),
        Ok(Some(customers)) => return support::run(&runtime, customers),
        Err(usage) => {
            eprintln!("{usage}");
            std::process::exit(2);
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (app, config) = runtime.block_on(start(directory.path()));

    let mut rows = vec![verify_row(&app), sign_row(&app)];
    rows.extend(hot::rows(&runtime, &app, &config));
    if !std::env::args().any(|argument| argument == "--hot") {
        rows.extend([
            signup_row(&runtime, &app, &config),
            cold_start_row(directory.path()),
            memory_row(directory.path()),
            size_row(),
        ]);
        rows.extend(languages::rows());
        rows.extend(sale::rows(&runtime));
    }
    if as_json {
        println!("{:#}", json!({ "rounds": ROUNDS, "rows": rows }));
        return;
    }
    print_table(&rows);
}

fn print_table(rows: &[Row]) {
    println!("{:<34} {:>10} {:<5} {:<6} {:>8}   baseline", "", "ours", "", "better", "ratio");
    for Row { name, value, unit, better, baseline } in rows {
        let better = match better {
            Better::Less => "less",
            Better::More => "more",
        };
        print!("{name:<34} {value:>10.2} {unit:<5} {better:<6}");
        match baseline {
            Some(Baseline { name, value, ratio }) => {
                println!(" {ratio:>7.2}x   {value:.2} {unit}: {name}");
            }
            None => println!("        -"),
        }
    }
}

async fn start(directory: &Path) -> (App, Config) {
    let file = directory.join("licentia.toml");
    std::fs::write(&file, "").unwrap();
    let settings = [
        ("LICENTIA_DATABASE_URL", format!("sqlite://{}", directory.join("licentia.db").display())),
        ("LICENTIA_KEYS_DIR", directory.join("keys").display().to_string()),
        // Each sign-up comes from an address of its own, so none is throttled.
        ("LICENTIA_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    let config = Config::load(Some(&file), settings).unwrap();
    let random = Random::from_system().unwrap();
    let app = App::start(&config, Arc::new(SystemClock), random).await.unwrap();
    (app, config)
}

/// Measures both sides in turns. Each returns a value in the row's unit.
fn compare(
    name: &'static str,
    unit: &'static str,
    better: Better,
    mut ours: impl FnMut() -> f64,
    baseline: &'static str,
    mut theirs: impl FnMut() -> f64,
) -> Row {
    // One call each to warm up.
    ours();
    theirs();
    let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (ours(), theirs())).collect();
    let ratio = median(rounds.iter().map(|(ours, theirs)| ours / theirs));
    let value = median(rounds.iter().map(|(ours, _)| *ours));
    let theirs = median(rounds.iter().map(|(_, theirs)| *theirs));
    let baseline = Baseline { name: baseline, value: theirs, ratio };
    Row { name, value, unit, better, baseline: Some(baseline) }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the CPU time of this process so far, in microseconds, to one hundredth of a second: the
/// fields `utime` and `stime` of `/proc/self/stat`, which follow the name in parentheses (proc(5)).
fn cpu_microseconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks = fields.skip(11).take(2).map(|field| field.parse::<f64>().unwrap());
    ticks.sum::<f64>() * 1e4
}

/// Returns the CPU time of one call, in microseconds.
fn microseconds(mut work: impl FnMut()) -> f64 {
    let (begun, cpu, mut count) = (Instant::now(), cpu_microseconds(), 0_u32);
    while begun.elapsed() < ROUND {
        for _ in 0..20 {
            work();
        }
        count += 20;
    }
    (cpu_microseconds() - cpu) / f64::from(count)
}

fn a_token(app: &App) -> (licentia_verify::Claims, String) {
    let now = app.now();
    let entitlement = Entitlement::trial(&app.plans, now);
    let (customer_id, license_id) = (CustomerId::from_random(1), LicenseId::from_random(1));
    let status = StatusIndex { list_id: 1, idx: 1 }.reference(&app.issuer);
    let holder =
        Holder { customer_id: &customer_id, license_id: &license_id, seq: 1, status: &status };
    let claims = claims(&entitlement, &holder, &app.plans, &app.issuer, now);
    let token = app.keys.signing(now).unwrap().sign(&claims).unwrap();
    (claims, token.expose().to_owned())
}

/// Measures a verification next to the check of the same signature over the same bytes.
fn verify_row(app: &App) -> Row {
    let (claims, _) = a_token(app);
    let key = SigningKey::from_bytes(&[7; 32]);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519", "kid": "key", "x": encode(key.verifying_key().as_bytes()),
    });
    let jwks = json!({ "keys": [jwk] }).to_string();
    let keys = licentia_verify::KeySet::from_jwks(&jwks, &claims.aud).unwrap();
    let header = json!({ "alg": "EdDSA", "typ": "license+jwt", "kid": "key" });
    let claims = serde_json::to_vec(&claims).unwrap();
    let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(&claims));
    let (public, signature) = (key.verifying_key(), key.sign(message.as_bytes()));
    let license = format!("{message}.{}", encode(&signature.to_bytes()));
    let now = SystemClock.now().to_system_time();
    licentia_verify::verify(&license, &keys, now).unwrap();
    compare(
        "verify a license",
        "µs",
        Better::Less,
        || at_many_depths(|| drop(black_box(licentia_verify::verify(&license, &keys, now)))),
        "a bare verify_strict of the same license",
        || at_many_depths(|| drop(black_box(public.verify_strict(message.as_bytes(), &signature)))),
    )
}

/// Returns the CPU time of one call, in microseconds: the mean over places of the stack. The place
/// alone changes the time of a signature check by a third, up or down, because the tables on the
/// stack share sets of the cache with those of the library (4 KiB aliasing).
fn at_many_depths(mut work: impl FnMut()) -> f64 {
    let mut depth = 0;
    microseconds(|| {
        depth = (depth + 1) % DEPTHS;
        deeper(depth, &mut work);
    })
}

/// The places on the stack, together 4 KiB.
const DEPTHS: usize = 32;

/// Calls `work` further down the stack.
#[inline(never)]
fn deeper(levels: usize, work: &mut dyn FnMut()) {
    let room = black_box([0_u8; 128]);
    match levels {
        0 => work(),
        levels => deeper(levels - 1, work),
    }
    black_box(room);
}

fn sign_row(app: &App) -> Row {
    let (claims, token) = a_token(app);
    let signing = app.keys.signing(app.now()).unwrap();
    let key = SigningKey::from_bytes(&[7; 32]);
    compare(
        "sign a license",
        "µs",
        Better::Less,
        || microseconds(|| drop(black_box(signing.sign(&claims)))),
        "a bare Ed25519 signature of as many bytes",
        || {
            microseconds(|| {
                black_box(key.sign(token.as_bytes()));
            })
        },
    )
}

/// Serves our service on a free port, until the runtime stops. Returns its URL.
fn serve(runtime: &Runtime, app: &App, config: &Config) -> String {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (app, config) = (app.clone(), config.clone());
    runtime.spawn(async move {
        licentia::http::serve(listener, &app, &config, std::future::pending()).await.unwrap();
    });
    address
}

fn signup_row(runtime: &Runtime, app: &App, config: &Config) -> Row {
    let cores = std::thread::available_parallelism().unwrap().get();
    let address = serve(runtime, app, config);
    let next = AtomicU64::new(0);
    let request = || {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "email": format!("{n:012}@example.com"), "password": "SecurePass123" });
        let body = body.to_string();
        format!(
            "POST /api/customers/signup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             x-forwarded-for: {}\r\ncontent-length: {}\r\n\r\n{body}",
            Ipv4Addr::from(u32::try_from(n % (1 << 24)).unwrap()),
            body.len()
        )
    };
    let hash = || {
        let (begun, cpu) = (Instant::now(), cpu_microseconds());
        let count: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut count, mut out) = (0, [0; 32]);
                        while begun.elapsed() < ROUND {
                            let argon2 = Argon2::default();
                            argon2
                                .hash_password_into(b"SecurePass123", &[7; 16], &mut out)
                                .unwrap();
                            count += 1;
                        }
                        count
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        (cpu_microseconds() - cpu) / f64::from(count)
    };
    compare(
        "POST /api/customers/signup",
        "µs",
        Better::Less,
        || runtime.block_on(load::microseconds(&address, cores * 2, ROUND, request)),
        "a bare Argon2id loop on as many cores",
        hash,
    )
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_licentia"))
}

/// Starts the server's binary. Returns the process once it listens.
fn start_process(directory: &Path) -> std::process::Child {
    let mut child = binary()
        .arg("serve")
        .current_dir(directory)
        .env("LICENTIA_LISTEN", "127.0.0.1:0")
        .env("LICENTIA_LOG", "off")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("listens on"), "{line}");
    child
}

fn cold_start_row(directory: &Path) -> Row {
    let milliseconds = |begun: Instant| begun.elapsed().as_secs_f64() * 1e3;
    compare(
        "cold start on an existing database",
        "ms",
        Better::Less,
        || {
            let begun = Instant::now();
            let mut child = start_process(directory);
            let elapsed = milliseconds(begun);
            child.kill().unwrap();
            child.wait().unwrap();
            elapsed
        },
        "the same binary with --version",
        || {
            let begun = Instant::now();
            binary().arg("--version").output().unwrap();
            milliseconds(begun)
        },
    )
}

fn memory_row(directory: &Path) -> Row {
    let resident = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024.0
    };
    compare(
        "resident memory, idle",
        "MiB",
        Better::Less,
        || {
            let mut child = start_process(directory);
            let mebibytes = resident(child.id());
            child.kill().unwrap();
            child.wait().unwrap();
            mebibytes
        },
        "a sleeping /bin/sh",
        || {
            let mut child = Command::new("sh")
                .args(["-c", "echo; read line"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
            let mebibytes = resident(child.id());
            child.kill().unwrap();
            child.wait().unwrap();
            mebibytes
        },
    )
}

/// It has no baseline, and is compared between releases.
fn size_row() -> Row {
    let bytes = std::fs::metadata(env!("CARGO_BIN_EXE_licentia")).unwrap().len();
    let value = f64::from(u32::try_from(bytes).unwrap()) / (1024.0 * 1024.0);
    Row { name: "binary size", value, unit: "MiB", better: Better::Less, baseline: None }
}
