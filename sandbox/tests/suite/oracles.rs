//! Stripe's own packages drive the sandbox; they know nothing of it but its address and key.
//!
//! They need Python and Node, whose packages `./scripts/test` installs before it runs these.

use std::path::Path;
use std::process::Command;

use licentia_sandbox::{Options, Sandbox};

const SAID: &str = "customers: created, changed, found, listed
checkout: declined, then paid, under one idempotency key
subscription: active, ending, going on, in the portal
invoice: paid, refunded in part; subscription: canceled
webhook: accepted; altered: refused; events: listed
errors: as Stripe's
";

async fn drive(program: &str, script: &str) {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let oracles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles");
    let program = if program == "node" { program.into() } else { oracles.join(program) };
    let mut command = Command::new(program);
    command.arg(oracles.join(script)).args([sandbox.url(), sandbox.secret_key()]);
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let problem = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "needs the packages: run ./scripts/test\n{said}{problem}");
    assert_eq!(said, SAID);
}

#[tokio::test]
#[ignore = "needs Python: run ./scripts/test"]
async fn the_python_package_of_stripe_drives_it() {
    drive(".venv/bin/python", "drive_stripe.py").await;
}

#[tokio::test]
#[ignore = "needs Node: run ./scripts/test"]
async fn the_npm_package_of_stripe_drives_it() {
    drive("node", "drive_stripe.mjs").await;
}
